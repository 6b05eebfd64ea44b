// The pictures of the documentation.
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { PNG } from "pngjs";

// The same letters on every machine.
const font = createRequire(import.meta.url).resolve("@fontsource-variable/inter/files/inter-latin-wght-normal.woff2");

const views = [
  { name: "desktop", colorScheme: "light", viewport: { width: 1280, height: 560 } },
  { name: "phone", colorScheme: "dark", viewport: { width: 390, height: 560 } },
];

export async function screenshots({ enter, step, folder }) {
  const style = `
    @font-face { font-family: Inter; font-weight: 100 900; src: url(data:font/woff2;base64,${await readFile(font, "base64")}) }
    body { font-family: Inter }
    :focus-visible { outline: none }`;
  const v = await enter({}, { bypassCSP: true });
  const take = async (name) => {
    const tag = await v.page.addStyleTag({ content: style });
    for (const { name: view, colorScheme, viewport } of views) {
      await v.page.emulateMedia({ colorScheme });
      await v.page.setViewportSize(viewport);
      await v.page.evaluate(() => document.fonts.ready);
      const picture = PNG.sync.read(await v.page.screenshot({ fullPage: true }));
      await writeFile(`${folder}/${name}-${view}.png`, PNG.sync.write(picture, { colorType: 2, filterType: 0, deflateLevel: 9, deflateStrategy: 0 }));
    }
    await tag.evaluate((element) => element.remove());
    step(name);
  };
  await v.open("/admin");
  await v.signIn();
  await take("enrolment"); // with a key that dies with the site
  const authenticator = await v.enrol("Phone");
  await v.open("/.otp/");
  await v.press("Create recovery codes");
  await take("recovery-codes");
  await v.click("link", "Done");
  await take("account");
  await v.press("Sign out");
  await v.open("/admin");
  await v.signIn();
  await take("challenge");
  await v.enter(authenticator.code());
  await v.seen("/admin");
}
