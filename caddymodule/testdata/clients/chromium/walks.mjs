// From the first sign-in to the first elevation, in every way there is.
import assert from "node:assert/strict";

const newFactor = "/.otp/factors/new?rd=/admin";

export async function firstWalk({ enter, step }) {
  const v = await enter();
  await v.open("/admin");
  await v.looksGood("sign-in at the provider");
  await v.signIn();
  await v.at(newFactor, 200, "Set up your authenticator app");
  const authenticator = await v.scan();
  assert.equal(authenticator.issuer, "Example");
  assert.equal(authenticator.label, `Example:${v.user}`);
  step("the QR code is read");
  await v.looksGood("new factor");
  await v.enter(authenticator.code(), "Activate");
  const seen = await v.seen("/admin");
  assert.equal(seen.user, v.user);
  assert.equal(seen.email, `${v.user}@example.com`);
  assert.equal(seen.amr, "otp,totp");
  assert.doesNotMatch(seen.cookie, /otp_/, "what reaches the app");
  step("the app shows");

  const again = await enter();
  await again.open("/admin");
  await again.signIn();
  await again.at("/admin", 401, "Confirm it’s you");
  assert.equal(await again.focused(), "otp");
  await again.looksGood("step-up");
  await again.enter(authenticator.code());
  assert.equal((await again.seen("/admin")).amr, "otp,totp");
  step("in another browser, a code will do");
}

// What is clicked and filled in needs no script, and none of the page's is run.
export async function noScript({ enter, step }) {
  const context = { javaScriptEnabled: false };
  const v = await enter({}, context);
  await v.open("data:text/html,<h1>off</h1><script>document.querySelector('h1').textContent='on'</script>");
  assert.equal(await v.page.locator("h1").textContent(), "off");
  await v.open("/admin");
  await v.signIn();
  const authenticator = await v.enrol("Phone");
  assert.equal((await v.seen("/admin")).user, v.user);
  step("enrolled");
  await v.open("/.otp/");
  await v.press("Create recovery codes");
  const [code] = await v.recoveryCodes();
  await v.click("link", "Done");
  await v.at("/.otp/", 200, "Two-step verification");
  await v.says("Phone", "You have 10 codes left");
  await v.press("Sign out");
  assert.equal(new URL(v.page.url()).origin, v.provider);
  step("signed out");

  const other = await enter({}, context);
  await other.open("/admin");
  await other.signIn();
  await other.at("/admin", 401, "Confirm it’s you");
  await other.enter(authenticator.used());
  await other.at("/.otp/step-up", 401, "Confirm it’s you");
  await other.enter(authenticator.code());
  await other.seen("/admin");
  step("stepped up");

  const lost = await enter({}, context);
  await lost.open("/admin");
  await lost.signIn();
  await lost.click("link", "Use a recovery code");
  await lost.enter(code);
  await lost.at(newFactor, 200, "Set up your authenticator app");
  await lost.open("/.otp/");
  await lost.press("Remove Phone");
  await lost.at("/.otp/?notice=removed", 200, "Two-step verification");
  step("recovered, and removed");
}

export async function keyboard({ enter, step }) {
  const v = await enter();
  const { keyboard } = v.page;
  await v.open("/admin");
  await v.type("name", v.user);
  await v.type("password", v.password);
  await v.after(() => keyboard.press("Enter"));
  await v.at(newFactor, 200, "Set up your authenticator app");
  const authenticator = await v.scan();
  await v.type("otp", authenticator.code());
  await v.type("name", "My phone");
  await v.after(() => keyboard.press("Enter"));
  await v.seen("/admin");
  step("enrolled");

  const other = await enter();
  await other.open("/admin");
  await other.type("name", v.user);
  await other.type("password", v.password);
  await other.after(() => other.page.keyboard.press("Enter"));
  await other.type("otp", authenticator.wrong());
  await other.after(() => other.page.keyboard.press("Enter"));
  await other.at("/.otp/step-up", 401, "Confirm it’s you");
  await other.type("otp", authenticator.code()); // where the focus is
  await other.tabTo("Continue");
  await other.after(() => other.page.keyboard.press("Space"));
  await other.seen("/admin");
  step("stepped up");

  await other.open("/.otp/");
  await other.tabTo("Create recovery codes");
  await other.after(() => other.page.keyboard.press("Enter"));
  await other.recoveryCodes();
  await other.tabTo("Done");
  await other.after(() => other.page.keyboard.press("Enter"));
  await other.tabTo("Remove My phone");
  await other.after(() => other.page.keyboard.press("Enter"));
  await other.at("/.otp/?notice=removed", 200, "Two-step verification");
  step("removed");
  await other.tabTo("Sign out");
  await other.after(() => other.page.keyboard.press("Enter"));
  assert.equal(new URL(other.page.url()).origin, v.provider);
  step("signed out");
}

// The other provider leaves e-mail and name to userinfo, and says when somebody
// signed in only to who asks for a recent sign-in.
export async function secondOP({ enter, step, second, other }) {
  const v = await enter({ site: second, user: "alice", provider: other });
  await v.open("/account");
  await v.signInAtOther();
  const seen = await v.seen("/account");
  assert.deepEqual([seen.user, seen.issuer, seen.email, seen.name], ["alice", other, "alice@example.com", "Alice Liddell"]);
  step("what userinfo says reaches the app");
  await v.open("/admin");
  assert.match(v.where, /^\/\.otp\/factors\/new\?.*signed_in=1/, "a recent sign-in was not asked for");
  const authenticator = await v.enrol("Phone");
  assert.equal((await v.seen("/admin")).amr, "otp,totp");
  step("enrolled");

  const again = await enter({ site: second, user: "alice", provider: other });
  await again.open("/admin");
  await again.signInAtOther();
  await again.at("/admin", 401, "Confirm it’s you");
  await again.enter(authenticator.code());
  await again.seen("/admin");
  step("stepped up");

  await v.open("/.otp/");
  await v.says("Alice Liddell", "alice@example.com", "Phone");
  await v.press("Sign out");
  assert.ok(v.where.startsWith(`${other}/session/end?`), v.where);
  await v.press("Sign out");
  assert.equal(new URL(v.page.url()).origin, other);
  await v.open("/account");
  assert.ok(v.where.startsWith(`${other}/interaction/`), v.where);
  step("signed out");
  await again.open("/account");
  await again.seen("/account");
  step("in this browser alone");
}

// Who signs out at the provider is signed out here.
export async function secondOut({ enter, step, second, other }) {
  const v = await enter({ site: second, user: "bob", provider: other });
  await v.open("/account");
  await v.signInAtOther();
  await v.seen("/account");
  await v.open(`${other}/session/end`);
  await v.press("Sign out");
  await v.open("/account");
  assert.ok(v.where.startsWith(`${other}/interaction/`), v.where);
  step("the next page asks for a sign-in");
}

export async function twoIssuers({ enter, step, both, provider, other }) {
  const v = await enter({ site: both });
  await v.open("/account?page=2");
  await v.at("/.otp/sign-in?rd=/account?page=2", 200, "Sign in");
  await v.looksGood("issuers");
  await v.click("link", new URL(provider).host);
  await v.signIn();
  const seen = await v.seen("/account?page=2");
  assert.deepEqual([seen.user, seen.issuer], [v.user, provider]);
  step("one");

  const w = await enter({ site: both, user: "carol", provider: other });
  await w.open("/account");
  await w.click("link", new URL(other).host);
  await w.signInAtOther();
  assert.deepEqual(await w.seen("/account").then(({ user, issuer }) => [user, issuer]), ["carol", other]);
  step("the other");
}
