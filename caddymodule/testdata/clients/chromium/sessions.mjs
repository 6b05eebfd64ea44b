// What tabs, the back button and the end of a session do to who is in the middle
// of something.
import assert from "node:assert/strict";

const newFactor = "/.otp/factors/new?rd=/admin";

export async function twoTabs({ enter, step }) {
  const v = await enter();
  const w = await v.tab();
  await v.open("/admin");
  await w.open("/account?tab=2");
  await w.signIn();
  await w.seen("/account?tab=2");
  await v.signIn();
  await v.at(newFactor, 200, "Set up your authenticator app");
  await w.open("/account?tab=2");
  await w.seen("/account?tab=2");
  step("sign in beside each other");

  await w.open("/admin");
  await w.at(newFactor, 200, "Set up your authenticator app");
  const authenticator = await v.scan();
  assert.equal((await w.scan()).secret, authenticator.secret, "the key in the other tab");
  await v.enter(authenticator.code(), "Activate");
  await v.seen("/admin");
  step("show one key");
  await w.enter(authenticator.wrong(), "Activate");
  await w.seen("/admin");
  step("and the other is in as well");

  const x = await enter();
  const y = await x.tab();
  await x.open("/admin");
  await x.signIn();
  await y.open("/admin/2");
  await y.at("/admin/2", 401, "Confirm it’s you");
  await x.enter(authenticator.code());
  await x.seen("/admin");
  await y.page.reload();
  await y.seen("/admin/2");
  step("one code for both");
}

export async function backAndReload({ enter, step }) {
  const v = await enter();
  await v.open("/");
  await v.open("/admin");
  await v.signIn();
  const authenticator = await v.scan();
  await v.page.reload();
  assert.equal((await v.scan()).secret, authenticator.secret, "the key after a reload");
  await v.open("/");
  await v.page.goBack();
  await v.at(newFactor, 200, "Set up your authenticator app");
  assert.equal((await v.scan()).secret, authenticator.secret, "the key after going back");
  await v.enter(authenticator.wrong(), "Activate");
  await v.refused("That code does not match.");
  await v.page.goBack();
  await v.at(newFactor, 200, "Set up your authenticator app");
  await v.enter(authenticator.code(), "Activate");
  await v.seen("/admin");
  step("the QR code stays the same");
  await v.page.goBack();
  await v.page.goForward();
  await v.seen("/admin");

  const w = await enter();
  await w.open("/");
  await w.open("/admin");
  await w.signIn();
  await w.at("/admin", 401, "Confirm it’s you");
  await w.page.reload();
  await w.at("/admin", 401, "Confirm it’s you");
  await w.enter(authenticator.used());
  await w.refused("That code did not work.");
  await w.page.goBack();
  await w.at("/admin", 401, "Confirm it’s you");
  await w.enter(authenticator.code());
  await w.seen("/admin");
  await w.page.reload();
  await w.seen("/admin");
  step("the challenge too");
}

// The session is alive, and a gate wants more than that.
export async function interruptedForm({ enter, step }) {
  const v = await enter();
  await v.open("/admin");
  await v.signIn();
  const authenticator = await v.enrol();
  const w = await enter();
  await w.open("/account?page=2");
  await w.signIn();
  await w.page.getByLabel("Note").fill("important");
  await w.press("Save");
  await w.at("/admin/save", 401, "Confirm it’s you");
  await w.says("What you sent was not passed on. After this step you are taken back to the page, to send it again.");
  await w.looksGood("step-up, interrupted by a gate");
  await w.enter(authenticator.code());
  await w.seen("/account?page=2");
  step("back at the form");
  await w.page.getByLabel("Note").fill("important");
  await w.press("Save");
  const { method, note } = await w.seen("/admin/save");
  assert.deepEqual([method, note], ["POST", "important"]);
  step("sent again");
}

export async function endedSession({ enter, step }) {
  const v = await enter();
  const end = () => v.control("administer/revoke");
  // Who is told that a session has ended signs in, mostly without being asked for a
  // password, and goes on from there.
  const ended = async (where) => {
    await v.at(where, 401, "Your session has ended");
    await v.says("What you sent was not passed on.");
    await v.click("link", "Sign in");
  };
  await v.open("/admin");
  await v.signIn();
  await v.scan();
  await v.control("sign-out");
  await v.enter("123456", "Activate");
  await v.looksGood("session ended");
  await ended("/.otp/factors/new");
  await v.signIn(); // the provider's session has ended too
  await v.at(newFactor, 200, "Set up your authenticator app");
  const authenticator = await v.enrol("Phone");
  await v.seen("/admin");
  step("on the QR page");

  await v.open("/account?page=2");
  await end();
  await v.press("Save");
  await ended("/admin/save");
  await v.seen("/account?page=2");
  step("on a form of the app");

  await v.open("/admin");
  await v.at("/admin", 401, "Confirm it’s you");
  await end();
  await v.enter("123456");
  await ended("/.otp/step-up");
  await v.at("/admin", 401, "Confirm it’s you");
  await v.enter(authenticator.code());
  await v.seen("/admin");
  step("on the challenge");

  await v.open("/.otp/");
  await end();
  await v.press("Create recovery codes");
  await ended("/.otp/recovery-codes");
  await v.at("/.otp/", 200, "Two-step verification");
  step("on the user's own page");

  await end();
  await v.open("/admin");
  await v.at("/admin", 401, "Confirm it’s you");
  step("and on the way to another, where nothing is lost");
}

// What an operator revoked is not made good by a sign-in of before.
export async function revokedEnrolment({ enter, step }) {
  const v = await enter();
  await v.open("/admin");
  await v.signIn();
  const authenticator = await v.scan();
  await v.control("administer/revoke");
  await v.enter(authenticator.code(), "Activate");
  await v.at("/.otp/factors/new", 401, "Your session has ended");
  await v.click("link", "Sign in");
  step("another sign-in is asked for");
  await v.signIn();
  await v.enrol("Phone");
  await v.seen("/admin");
  step("with the password");
}

export async function signOut({ enter, step }) {
  const v = await enter();
  await v.open("/admin");
  await v.signIn();
  await v.enrol();
  const w = await v.tab();
  await w.open("/account");
  await v.open("/.otp/");
  await v.press("Sign out");
  assert.ok(v.where.startsWith(`${v.provider}/signed-out`), v.where);
  await v.looksGood("signed out at the provider");
  step("ends at the provider");
  assert.deepEqual((await v.context.cookies()).filter(({ name }) => name.includes("otp_")), []);
  for (const tab of [v, w]) {
    await tab.open("/account");
    assert.ok(tab.where.startsWith(`${v.provider}/sign-in?`), tab.where);
  }
  step("in all tabs");
  await v.signIn();
  await v.seen("/account");
  await v.open("/admin");
  await v.at("/admin", 401, "Confirm it’s you");
  step("the elevation too");
}

export async function backChannel({ enter, step }) {
  const v = await enter();
  const w = await enter();
  for (const each of [v, w]) {
    await each.open("/account");
    await each.signIn();
    await each.seen("/account");
  }
  await v.control("sign-out");
  for (const each of [v, w]) {
    await each.open("/account");
    assert.ok(each.where.startsWith(`${v.provider}/sign-in?`), each.where);
  }
  step("the next page asks for a sign-in, in both browsers");
}
