// What a page does with a site of another origin. It is bundled for the browser.
import { walk } from "./walk.mjs";
import { grpcWeb } from "./zitadel.mjs";

// routes goes from the challenge of a gate to its answer, by nothing but fetch.
async function routes({ site, token, pin, done }) {
  const send = async (path, body) => {
    const headers = { Authorization: `Bearer ${token}`, ...(body && { "Content-Type": "application/json" }) };
    const answer = await fetch(site + path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
    return { status: answer.status, header: (name) => answer.headers.get(name), body: await answer.text() };
  };
  const check = (step, answer, status, ...more) => {
    if (answer.status !== status || !more.every(Boolean)) {
      throw new Error(`${step}: got ${answer.status}, ${more.map(Boolean)}: ${answer.body}`);
    }
    done(step);
  };

  const refused = await send("/gated");
  check("a gate refuses", refused, 401, JSON.parse(refused.body).errors[0].code === "otp-required",
    refused.header("WWW-Authenticate")?.includes('error="insufficient_user_authentication"'), refused.header("Request-Id"));

  const none = await send("/user/otp", { pin: `${pin}0` });
  check("a wrong PIN makes no code", none, 404, JSON.parse(none.body).errors[0].code === "invalid-credentials");
  const created = await send("/user/otp", { pin });
  check("a code is made", created, 201);

  const wrong = await send("/user/otp/verify", { otp: "0" });
  check("a wrong one is refused", wrong, 404, JSON.parse(wrong.body).errors[0].code === "invalid-otp");
  const verified = await send("/user/otp/verify", { otp: JSON.parse(created.body).otp });
  check("it is verified", verified, 204, verified.header("Otp-Type") === "account");

  const passed = await send("/gated");
  check("the gate lets pass", passed, 200, JSON.parse(passed.body).Path === "/gated");
}

// refused is what a page of an origin meets that the site does not know.
async function refused({ site, token, userId, done }) {
  const opaque = await fetch(`${site}/gated`, { mode: "no-cors" });
  if (opaque.type !== "opaque") { // else nothing could be told from what fails below
    throw new Error(`the site answers as ${opaque.type}`);
  }
  const authorization = { Authorization: `Bearer ${token}` };
  const json = { "Content-Type": "application/json" };
  const procedure = `${site}/zitadel.user.v2.UserService/RegisterTOTP`;
  for (const [step, url, init] of [
    ["a gate", `${site}/gated`, { headers: authorization }],
    ["a gate, without a token", `${site}/gated`, {}],
    ["a route", `${site}/user/devices/totp`, { headers: authorization }],
    ["a route, with JSON", `${site}/user/otp/verify`, { method: "POST", headers: { ...authorization, ...json }, body: '{"otp":"0"}' }],
    ["a route, as a form could", `${site}/user/otp/verify`, { method: "POST", body: "otp=0" }],
    ["a procedure", procedure, { method: "POST", headers: { ...authorization, ...json }, body: JSON.stringify({ userId }) }],
  ]) {
    const answer = await fetch(url, init).catch((error) => error);
    if (!(answer instanceof TypeError)) {
      throw new Error(`${step}: the page reads ${answer.status}`);
    }
    done(step);
  }
  const client = grpcWeb(site);
  const answer = await client.connect(token).registerTOTP({ userId }).catch((error) => client.read(error));
  if (answer.secret !== undefined || answer.id !== undefined || !/failed to fetch/i.test(answer.message)) {
    throw new Error(`@zitadel/client: the page reads ${JSON.stringify(answer)}`);
  }
  done("@zitadel/client");
}

Object.assign(globalThis, {
  routes,
  refused,
  zitadel: ({ site, ...rest }) => walk({ ...grpcWeb(site), ...rest, passes: false }),
});
