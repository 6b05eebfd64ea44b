// Codes, right and wrong, and what they are made by.
import assert from "node:assert/strict";

const newFactor = "/.otp/factors/new?rd=/admin";

export async function wrongCodes({ enter, step }) {
  const v = await enter();
  await v.open("/admin");
  await v.signIn();
  await v.at(newFactor, 200, "Set up your authenticator app");
  const authenticator = await v.scan();
  await v.enter(authenticator.wrong(), "Activate");
  await v.at("/.otp/factors/new", 422, "Set up your authenticator app");
  await v.refused("That code does not match.");
  assert.equal((await v.scan()).secret, authenticator.secret, "the key after a wrong code");
  await v.looksGood("new factor, wrong code");
  await v.enter(authenticator.code(), "Activate");
  await v.seen("/admin");
  await v.open("/.otp/");
  await v.press("Create recovery codes");
  const codes = await v.recoveryCodes();
  step("enrolled after a wrong code");

  const w = await enter();
  await w.open("/admin");
  await w.signIn();
  await w.at("/admin", 401, "Confirm it’s you");
  await w.enter(authenticator.used());
  await w.at("/.otp/step-up", 401, "Confirm it’s you");
  await w.refused("That code did not work.");
  step("a code is good once");
  await w.looksGood("step-up, wrong code");
  await w.enter(authenticator.wrong());
  await w.refused("That code did not work.");
  await w.click("link", "Use a recovery code");
  await w.at("/.otp/step-up?rd=/admin&types=account login device-totp totp&recovery=1", 200, "Confirm it’s you");
  assert.equal(await w.page.locator("#otp").getAttribute("inputmode"), "text");
  await w.looksGood("step-up, recovery");
  await w.enter("AAAA-BBBB-CCCC-DDDD");
  await w.refused("That recovery code did not work.");
  await w.looksGood("step-up, recovery, wrong");
  await w.click("link", "Use another kind of code");
  await w.enter(authenticator.wrong());
  await w.refused("That code did not work.");
  await w.enter(authenticator.code()); // comes too late
  await w.at("/.otp/step-up", 429, "Too many wrong codes");
  await w.says(/You can try again in 1[45] minutes \(\d\d:\d\d/, "A recovery code still works.");
  await w.looksGood("step-up, locked, with recovery codes");
  step("locked");
  await w.enter(codes[2].toLowerCase().replaceAll("-", " "));
  await w.at(newFactor, 200, "Set up your authenticator app");
  await w.says("Your recovery code worked.");
  await w.looksGood("new factor, recovered");
  step("a recovery code works all the same");
  await w.open("/.otp/");
  await w.press("Remove Authenticator app");
  await w.at("/.otp/?notice=removed", 200, "Two-step verification");
  step("and is enough to manage factors");
}

export async function lockedEnrolment({ enter, step }) {
  const v = await enter();
  await v.open("/admin");
  await v.signIn();
  const authenticator = await v.scan();
  for (let i = 0; i < 3; i++) {
    await v.enter(authenticator.wrong(), "Activate");
    await v.refused("That code does not match.");
  }
  await v.enter(authenticator.code(), "Activate");
  await v.at("/.otp/factors/new", 429, "Too many wrong codes");
  await v.says(/in 1[45] minutes/);
  await v.looksGood("new factor, locked");
  step("locked");
  await v.control("administer/unlock");
  await v.click("link", "Try again");
  await v.at(newFactor, 200, "Set up your authenticator app");
  assert.equal((await v.scan()).secret, authenticator.secret, "the key after a lock");
  await v.enter(authenticator.code(), "Activate");
  await v.seen("/admin");
  step("until an operator helps");
}

export async function mailedCodes({ enter, step }) {
  const v = await enter();
  await v.open("/mail");
  await v.signIn();
  await v.at("/mail", 401, "Confirm it’s you");
  await v.says(`We can send a code to ${v.user[0]}•••@example.com.`);
  await v.looksGood("step-up, mail first");
  await v.press("Email me a code");
  await v.at("/.otp/step-up?rd=/mail&sent=&types=login", 200, "Confirm it’s you");
  await v.says("We sent a code to");
  assert.equal(await v.focused(), "otp");
  await v.looksGood("step-up, mailed");
  await v.enter(await v.control("mail"));
  assert.equal((await v.seen("/mail")).amr, "otp,login");
  step("a mailed code");

  const w = await enter();
  await w.open("/admin");
  await w.signIn();
  await w.at(newFactor, 200, "Set up your authenticator app");
  await w.looksGood("new factor, or mail");
  await w.click("link", "Use a code by email instead");
  await w.at("/.otp/step-up?rd=/admin", 200, "Confirm it’s you");
  await w.press("Email me a code");
  await w.looksGood("step-up, mailed instead of a factor");
  await w.enter(await w.control("mail"));
  assert.equal((await w.seen("/admin")).amr, "otp,login");
  step("instead of a factor");

  const x = await enter();
  await x.open("/mail");
  await x.signIn();
  await x.press("Email me a code");
  for (let i = 0; i < 5 && x.status !== 429; i++) {
    await x.press("Email me another code");
  }
  await x.at("/.otp/step-up/send", 429, "Confirm it’s you");
  await x.says(/ask for another one in (1 hour|\d+ minutes)/);
  await x.looksGood("step-up, too many mails");
  step("not too many of them");
}

export async function recoverFactor({ enter, step }) {
  const v = await enter();
  await v.open("/.otp/");
  await v.signIn();
  await v.at("/.otp/", 200, "Two-step verification");
  await v.looksGood("account, empty");
  await v.click("link", "Set up an authenticator app");
  await v.enrol("Lost phone");
  await v.at("/.otp/?notice=added", 200, "Two-step verification");
  await v.says("Done. Your authenticator is set up.", "Lost phone");
  await v.looksGood("account, added");
  await v.press("Create recovery codes");
  await v.at("/.otp/recovery-codes", 200, "Your recovery codes");
  await v.looksGood("recovery codes");
  const codes = await v.recoveryCodes();
  assert.equal(new Set(codes).size, 10);
  await v.click("link", "Done");
  await v.says("You have 10 codes left");
  await v.looksGood("account, with recovery codes");
  step("ten recovery codes");

  const w = await enter();
  await w.open("/admin");
  await w.signIn();
  await w.click("link", "Use a recovery code");
  await w.enter(codes[0]);
  await w.at(newFactor, 200, "Set up your authenticator app");
  await w.enrol("New phone");
  assert.equal((await w.seen("/admin")).amr, "otp,totp");
  await w.open("/.otp/");
  await w.says("Lost phone", "New phone", "You have 9 codes left", "remove one first");
  await w.looksGood("account, no room for another");
  step("one of them leads to a new factor");
  await w.press("Create new recovery codes");
  assert.ok(!(await w.recoveryCodes()).includes(codes[1]));

  const x = await enter();
  await x.open("/admin");
  await x.signIn();
  await x.enter(codes[1]);
  await x.at("/.otp/step-up", 401, "Confirm it’s you");
  step("the old ones are void");
}

export async function removeFactor({ enter, step }) {
  const v = await enter();
  await v.open("/admin");
  await v.signIn();
  await v.enrol("Phone");
  const authenticator = await (async () => {
    await v.open("/.otp/factors/new?rd=/.otp/");
    return v.enrol("Tablet");
  })();
  await v.says("Phone", "Tablet");
  const w = await v.tab();
  await w.open("/.otp/");
  await v.press("Remove Phone");
  await v.at("/.otp/?notice=removed", 200, "Two-step verification");
  await v.says("The authenticator was removed.", "Tablet");
  assert.ok(!(await v.text()).includes("Phone"));
  await v.looksGood("account, removed");
  step("removed");
  await w.press("Remove Phone");
  await w.at(w.where, 404, "No longer there");
  await w.looksGood("factor not found");
  await w.click("link", "Show my authenticators");
  await w.at("/.otp/", 200, "Two-step verification");
  step("once");

  const x = await enter(); // signed in, and no more than that
  await x.open("/.otp/");
  await x.signIn();
  await x.press("Remove Tablet");
  await x.at(x.where, 401, "Confirm it’s you");
  await x.says("What you sent was not passed on.");
  await x.looksGood("step-up, interrupted");
  await x.enter(authenticator.code());
  await x.at("/.otp/", 200, "Two-step verification");
  await x.says("Tablet");
  await x.press("Remove Tablet");
  await x.says("The authenticator was removed.", "Set up an authenticator app");
  step("not without a code");
}

export async function nameWithMarkup({ enter, step }) {
  const name = `<img src=x onerror=alert(1)><b>"Ada's" & co</b>`;
  const v = await enter();
  v.page.on("dialog", (dialog) => v.problems.push(dialog.message()));
  await v.open("/.otp/factors/new");
  await v.signIn();
  const authenticator = await v.scan();
  await v.page.getByLabel("Name of the device").fill(name);
  await v.enter(authenticator.wrong(), "Activate");
  assert.equal(await v.page.getByLabel("Name of the device").inputValue(), name);
  await v.page.getByLabel("Name of the device").fill(name);
  await v.enter(authenticator.code(), "Activate");
  await v.at("/.otp/?notice=added", 200, "Two-step verification");
  assert.equal(await v.page.locator(".rows strong").textContent(), name);
  await v.page.getByRole("button", { name: `Remove ${name}` }).waitFor();
  await v.looksGood("account, a name with markup");
  step("is a name like any other");
}
