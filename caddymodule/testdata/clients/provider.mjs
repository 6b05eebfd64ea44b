// An OpenID provider beside our own, by another implementation:
//
//   node provider.mjs PORT REDIRECT_URI[,…] BACKCHANNEL_LOGOUT_URI
//
// It prints "ready" when it listens. Any name signs in, with any password, and
// consents to everything.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [port, redirects, backchannelLogoutURI] = process.argv.slice(2);
const redirectURIs = redirects.split(",");
const issuer = `http://127.0.0.1:${port}`;

const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });

const provider = new Provider(issuer, {
  clients: [{
    client_id: "caddy",
    client_secret: "caddy-secret",
    redirect_uris: redirectURIs,
    post_logout_redirect_uris: redirectURIs.map((uri) => new URL("/", uri).href),
    grant_types: ["authorization_code", "refresh_token"],
    backchannel_logout_uri: backchannelLogoutURI,
    backchannel_logout_session_required: true,
  }],
  jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), kid: "1", alg: "RS256", use: "sig" }] },
  cookies: { keys: [randomBytes(32).toString("hex")] },
  pkce: { methods: ["S256"], required: () => true },
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "preferred_username"] },
  conformIdTokenClaims: true, // e-mail and name are in userinfo alone
  rotateRefreshToken: true,
  // The library's own pages load fonts from elsewhere.
  features: {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => {
        ctx.body = page("Sign out", `${form}<p><button name="logout" value="yes" form="op.logoutForm">Sign out</button></p>`);
      },
      postLogoutSuccessSource: (ctx) => {
        ctx.body = page("Signed out", "");
      },
    },
  },
  renderError: (ctx, error) => {
    ctx.body = error;
  },
  interactions: { url: (_, { uid }) => `/interaction/${uid}` },
  ttl: { AccessToken: 300, IdToken: 300, RefreshToken: 3600, Interaction: 600, Session: 3600, Grant: 3600 },
  findAccount: (_, sub) => ({
    accountId: sub,
    claims: () => ({
      sub, email: `${sub}@example.com`, email_verified: true,
      name: sub === "alice" ? "Alice Liddell" : sub, preferred_username: sub,
    }),
  }),
  loadExistingGrant: async ({ oidc }) => {
    const grant = new provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
    grant.addOIDCScope("openid email profile offline_access");
    await grant.save();
    return grant;
  },
});

// Offline access needs consent (OpenID Connect Core, section 11). Clients that do not
// say so have it all the same here, as they have with many providers.
provider.use((ctx, next) => {
  const { scope = "", prompt = "" } = ctx.query;
  if (scope.split(" ").includes("offline_access") && prompt !== "none") {
    ctx.query = { ...ctx.query, prompt: `${prompt} consent`.trim() };
  }
  return next();
});

provider.on("server_error", (_, error) => console.error(error));
provider.on("backchannel.error", (_, error) => console.error(error.message));

function page(title, body) {
  return `<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<h1>${title}</h1>
${body}
</html>`;
}

const signIn = page("Sign in", `<form method="post">
  <p><label>Login <input name="login" required autofocus></label></p>
  <p><label>Password <input name="password" type="password" required></label></p>
  <p><button>Sign in</button></p>
</form>`);

async function interaction(request, response) {
  const { prompt } = await provider.interactionDetails(request, response);
  if (prompt.name === "consent") {
    await provider.interactionFinished(request, response, { consent: {} }, { mergeWithLastSubmission: true });
    return;
  }
  if (request.method !== "POST") {
    response.setHeader("Content-Type", "text/html; charset=utf-8").end(signIn);
    return;
  }
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  const accountId = new URLSearchParams(Buffer.concat(chunks).toString()).get("login");
  await provider.interactionFinished(request, response, { login: { accountId } }, { mergeWithLastSubmission: false });
}

const callback = provider.callback();
createServer((request, response) => {
  if (!request.url.startsWith("/interaction/")) {
    callback(request, response);
    return;
  }
  interaction(request, response).catch((error) => {
    response.writeHead(error.statusCode ?? 500, { "Content-Type": "text/plain" }).end(error.message);
  });
}).listen(Number(port), "127.0.0.1", () => console.log("ready"));
