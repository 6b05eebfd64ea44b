// A person at a browser.
import assert from "node:assert/strict";

import { audit } from "./audit.mjs";
import { Authenticator, read } from "./authenticator.mjs";
import { watch } from "./watch.mjs";

export const timeout = 30_000; // milliseconds, for what has to come

export class Visitor {
  // enter opens a browser of its own for a user at a site.
  static async enter(browser, { user, site, ...more }, options) {
    const context = await browser.newContext({
      locale: "en-GB", reducedMotion: "reduce", viewport: { width: 1280, height: 800 }, ...options,
    });
    context.setDefaultTimeout(timeout);
    const v = new Visitor();
    Object.assign(v, { context, user, site, ...more, problems: watch(context) });
    v.page = await v.#newPage();
    return v;
  }

  // tab is the same person in another tab.
  async tab() {
    const v = Object.assign(new Visitor(), this);
    v.page = await v.#newPage();
    return v;
  }

  async #newPage() {
    const page = await this.context.newPage();
    page.on("response", (response) => {
      if (response.request().isNavigationRequest() && response.frame() === page.mainFrame()) {
        this.status = response.status();
      }
    });
    return page;
  }

  // open goes to a path of the site, or to a URL.
  async open(where) {
    await this.page.goto(new URL(where, this.site).href);
  }

  // after does something that leads to another page, and waits for that.
  async after(action) {
    await this.page.bringToFront(); // nobody clicks on what is behind another tab, and Chromium takes its time with that
    const loaded = this.page.waitForEvent("load");
    await action();
    await loaded;
  }

  click(role, name) {
    return this.after(() => this.page.getByRole(role, { name }).click());
  }

  // press clicks a button.
  press(name) {
    return this.click("button", name);
  }

  // where is the path with what comes after it, of the site or of whoever else, to
  // be read.
  get where() {
    const { origin, pathname, search } = new URL(this.page.url());
    return (origin === this.site ? "" : origin) + pathname + decodeURIComponent(search.replaceAll("+", " "));
  }

  // at checks where the browser is, what the status was, and what the heading says.
  async at(where, status, heading) {
    const title = await this.page.locator("h1").first().textContent();
    assert.deepEqual([this.where, this.status, title], [where, status, heading], await this.text());
  }

  text() {
    return this.page.locator("body").innerText();
  }

  async says(...texts) {
    const all = await this.text();
    for (const text of texts) {
      assert.ok(text instanceof RegExp ? text.test(all) : all.includes(text), `no ${text} in: ${all}`);
    }
  }

  // seen is what the app was told, after it was reached at a path.
  async seen(where) {
    assert.deepEqual([this.where, this.status], [where, 200], await this.text());
    return JSON.parse(await this.page.locator("#seen").textContent());
  }

  // signIn fills the provider's form.
  async signIn() {
    const { page } = this;
    assert.ok(this.where.startsWith(`${this.provider}/sign-in?`), `at ${this.where}: ${await this.text()}`);
    await page.getByLabel("User name").fill(this.user);
    await page.getByLabel("Password").fill(this.password);
    await this.press("Sign in");
  }


  // enter submits a code.
  async enter(code, button = "Continue") {
    await this.page.locator("#otp").fill(code);
    await this.press(button);
  }

  // signInAtOther fills the form of the other provider.
  async signInAtOther() {
    assert.ok(this.where.startsWith(`${this.provider}/interaction/`), `at ${this.where}: ${await this.text()}`);
    await this.page.getByLabel("Login").fill(this.user);
    await this.page.getByLabel("Password").fill("any");
    await this.press("Sign in");
  }

  // focused is the id of what has the focus.
  focused() {
    return this.page.evaluate(() => document.activeElement?.id);
  }

  // tabTo presses Tab until a button or a link of that name has the focus, as one
  // can see.
  async tabTo(name) {
    for (let i = 0; i < 30; i++) {
      const found = this.page.locator(":focus").and(this.page.getByRole("button", { name }).or(this.page.getByRole("link", { name })));
      if (await found.count() === 1) {
        await this.#showsFocus();
        return;
      }
      await this.page.keyboard.press("Tab");
    }
    assert.fail(`Tab does not lead to ${name}`);
  }

  // type goes to a field by Tab, if it is not there yet, and fills it.
  async type(name, text) {
    for (let i = 0; i < 30; i++) {
      if (await this.page.locator(":focus").getAttribute("name", { timeout: 1000 }).catch(() => null) === name) {
        await this.#showsFocus();
        await this.page.keyboard.press("ControlOrMeta+a");
        await this.page.keyboard.type(text);
        return;
      }
      await this.page.keyboard.press("Tab");
    }
    assert.fail(`Tab does not lead to the field ${name}`);
  }

  async #showsFocus() {
    const { outlineStyle, outlineWidth } = await this.page.locator(":focus").evaluate((element) => {
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      return { outlineStyle, outlineWidth };
    });
    assert.ok(outlineStyle !== "none" && parseFloat(outlineWidth) >= 2, `the focus is not to be seen: ${outlineStyle} ${outlineWidth}`);
  }

  // refused checks that the code is refused: at the field, for everybody to see.
  async refused(message) {
    const error = this.page.getByRole("alert");
    assert.ok((await error.textContent()).startsWith(message), await this.text());
    const field = this.page.locator("#otp");
    const described = (await field.getAttribute("aria-describedby")).split(" ");
    assert.ok(described.includes(await error.getAttribute("id")), `the field is described by ${described}`);
    assert.equal(await field.getAttribute("aria-invalid"), "true");
    assert.equal(await this.focused(), "otp");
  }

  // control has an operator, or somebody like that, do something with the user.
  async control(action) {
    const answer = await fetch(`${this.helper}/${action}/${this.user}`, { method: "POST" });
    assert.equal(answer.status, 200);
    return answer.text();
  }

  // scan reads the QR code of the page.
  async scan() {
    const authenticator = new Authenticator(await read(this.page.getByRole("img", { name: "QR code" })));
    const key = await this.page.locator(".secret").textContent();
    assert.equal(authenticator.secret, key.replaceAll(/\s/g, ""), "the key in text");
    return authenticator;
  }

  // enrol sets up an authenticator on the page for that.
  async enrol(name) {
    await this.at(this.where, 200, "Set up your authenticator app");
    const authenticator = await this.scan();
    if (name !== undefined) {
      await this.page.getByLabel("Name of the device").fill(name);
    }
    await this.enter(authenticator.code(), "Activate");
    return authenticator;
  }

  // recoveryCodes are those that the page shows.
  async recoveryCodes() {
    const codes = await this.page.locator(".codes code").allTextContents();
    assert.equal(codes.length, 10);
    return codes;
  }

  // looksGood checks how a page is for everybody.
  async looksGood(name) {
    this.problems.push(...await audit(this.page, name, this.pictures));
  }

  // leave closes the browser, which must not have complained.
  async leave() {
    await this.context.close();
    assert.deepEqual(this.problems, []);
  }
}
