// What a browser complains about.

// watch returns a list of what goes wrong in a context from now on, on any page: what
// a policy keeps out is said on the console.
export function watch(context) {
  const problems = [];
  context.on("console", (message) => {
    // The status of a page is none: some say 401, as they should.
    if (["error", "warning"].includes(message.type()) && !/^Failed to load resource: the server responded with a status of 4\d\d/.test(message.text())) {
      problems.push(`console: ${message.text()}`);
    }
  });
  context.on("weberror", (error) => problems.push(`script: ${error.error().message}`));
  context.on("requestfailed", (request) => {
    problems.push(`${request.method()} ${request.url()}: ${request.failure()?.errorText}`);
  });
  context.on("response", (response) => {
    if (response.status() >= 400 && !response.request().isNavigationRequest()) {
      problems.push(`${response.url()}: ${response.status()}`);
    }
  });
  return problems;
}
