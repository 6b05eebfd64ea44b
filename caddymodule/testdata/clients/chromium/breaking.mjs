// What goes wrong, and whether it would be noticed.
import assert from "node:assert/strict";

// instruments makes sure that what all other scenarios rely on can fail.
export async function instruments({ enter, step }) {
  const v = await enter();
  const found = async (problem, act) => {
    await act();
    for (let i = 0; i < 100 && !v.problems.some((p) => problem.test(p)); i++) {
      await v.page.evaluate(() => new Promise(requestAnimationFrame)); // it is told of a little later
    }
    assert.ok(v.problems.some((p) => problem.test(p)), `no ${problem} in ${v.problems.join("\n")}`);
    v.problems.length = 0;
    step(`${problem}`);
  };
  const html = (body, policy = "default-src * 'unsafe-inline'") => v.page.setContent(`<!doctype html><html lang="en"><head>
    <meta http-equiv="Content-Security-Policy" content="${policy}"><title>x</title></head><body><main><h1>x</h1>${body}</main>`);
  await v.open("/");
  await found(/inline script violates the following Content Security Policy/, () => html("<script>1</script>", "script-src 'none'"));
  await v.open("/");
  await found(/image .* violates the following Content Security Policy/, () => html(`<img src="/x" alt="">`, "img-src 'none'"));
  await found(/script: oh/, () => v.page.evaluate(() => void setTimeout(() => { throw new Error("oh"); })));
  await v.open("/");
  await html("<p>x</p>");
  await v.looksGood("good");
  assert.deepEqual(v.problems, []);
  await found(/^bad, 320 px, light: label/, async () => {
    await html("<input>");
    await v.looksGood("bad");
  });
  await found(/^grey, 1280 px, dark: color-contrast/, async () => {
    await html(`<style>@media (prefers-color-scheme: dark) { main { background: #000; color: #333 } }</style><p>hard to read</p>`);
    await v.looksGood("grey");
  });
  await found(/^wide, 320 px, light: 4\d\d pixels wide/, async () => {
    await html(`<p style="width: 400px">x</p>`);
    await v.looksGood("wide");
  });
}

export async function realErrors({ enter, step, site, both, provider }) {
  const v = await enter();
  await v.open("/.otp/callback?state=x&code=y");
  await v.at(v.where, 400, "Sign-in took too long");
  await v.looksGood("sign-in expired");
  await v.click("link", "Sign in again");
  assert.ok(v.where.startsWith(`${provider}/sign-in?`), v.where);
  step("a sign-in of nobody");

  // What the provider answers is another thing than it should.
  const answer = async (parameters) => {
    const w = await enter();
    const started = w.page.waitForRequest((request) => request.url().startsWith(provider) && new URL(request.url()).searchParams.has("state"));
    await w.open("/account");
    const state = new URL((await started).url()).searchParams.get("state");
    await w.open(`/.otp/callback?${new URLSearchParams({ state, ...parameters })}`);
    return w;
  };
  const denied = await answer({ error: "access_denied" });
  await denied.at(denied.where, 400, "Sign-in was cancelled");
  await denied.looksGood("sign-in denied");
  await denied.click("link", "Sign in again");
  await denied.signIn();
  await denied.seen("/account");
  step("a sign-in that the provider refuses");
  const failed = await answer({ code: "guessed" });
  await failed.at(failed.where, 400, "Sign-in did not work");
  await failed.looksGood("sign-in failed");
  step("a sign-in with a code that is none");

  await denied.open("/scope");
  await denied.at("/scope", 403, "You do not have access");
  await denied.says("not-given");
  await denied.looksGood("missing scope");
  step("a permission that is missing");
  await denied.open("/.otp/sign-out");
  await denied.at("/.otp/sign-out", 405, "This does not work here");
  step("a link to a form");

  // A form that another site sends.
  await denied.page.route("http://evil.test/", (route) => route.fulfill({
    contentType: "text/html", body: `<form method="post" action="${site}/.otp/sign-out"><button>Win a prize</button></form>`,
  }));
  await denied.open("http://evil.test/");
  await denied.press("Win a prize");
  await denied.at("/.otp/sign-out", 403, "This came from another site");
  await denied.looksGood("cross-origin");
  await denied.open("/account");
  await denied.seen("/account");
  step("a form of another site");

  await denied.open("/.otp/factors/new");
  await denied.page.locator("input[name=name]").evaluate((input) => {
    input.removeAttribute("maxlength");
    input.value = "x".repeat(20_000);
  });
  await denied.enter("123456", "Activate");
  await denied.at("/.otp/factors/new", 413, "That was too much");
  step("too much in a form");

  // Users of one provider where the other's are asked for: cookies know no ports.
  const refused = await enter({ site: both });
  await refused.open("/account");
  await refused.click("link", new URL(provider).host);
  await refused.signIn();
  await refused.seen("/account");
  refused.site = refused.second;
  await refused.open("/account");
  await refused.at("/account", 403, "This account is not accepted");
  await refused.looksGood("refused");
  step("somebody else's user");
}

const kinds = [
  "sign-in-failed", "sign-in-denied", "sign-in-expired", "sign-in-not-recent", "session-ended", "signed-out", "step-up-forgotten",
  "provider-unavailable", "storage-unavailable", "enrolment-closed", "factor-limit", "factor-not-found", "missing-scope",
  "refused", "cross-origin", "insecure", "too-early", "method-not-allowed", "request-body-too-large", "internal-error",
];

// What takes more than a browser to get to see is rendered for this.
export async function allErrors({ enter, step, broken }) {
  for (const locale of ["en", "de", "fr", "es"]) {
    const v = await enter({ site: broken }, { locale, viewport: { width: 320, height: 800 } });
    for (const kind of kinds) {
      await v.open(`/${kind}?missing=user:otp:create&missing=user:otp:verify`);
      const [lang, scroll, client] = await v.page.evaluate(() => {
        const { lang, scrollWidth, clientWidth } = document.documentElement;
        return [lang, scrollWidth, clientWidth];
      });
      assert.deepEqual([lang, scroll], [locale, client], kind);
    }
    step(locale);
  }
  const v = await enter({ site: broken });
  for (const kind of ["signed-out", "storage-unavailable", "internal-error"]) {
    await v.open(`/${kind}`);
    await v.looksGood(`error, ${kind}`);
    step(kind);
  }
}
