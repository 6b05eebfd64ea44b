// Runs a function of page.mjs in a Chromium, on a page of some origin:
//
//   node browser.mjs FUNCTION PAGE_URL '{"site": …, …}'
//
// It prints each step; at the first deviation it says which, and exits with 1.
import { build } from "esbuild";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

import { codeOf } from "./totp.mjs";

const [name, url, options] = process.argv.slice(2);

const bundle = await build({
  entryPoints: [fileURLToPath(new URL("page.mjs", import.meta.url))],
  bundle: true, write: false, platform: "browser", target: "chrome100", logLevel: "error",
});

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  chromiumSandbox: process.getuid() !== 0, // root has none
});
try {
  const page = await browser.newPage();
  page.on("console", (message) => console.log(`  console: ${message.text()}`));
  await page.exposeFunction("done", (step) => console.log(step));
  await page.exposeFunction("codeOf", codeOf);
  await page.goto(url);
  await page.addScriptTag({ content: bundle.outputFiles[0].text });
  await page.evaluate(([name, options]) => globalThis[name]({ ...JSON.parse(options), done, codeOf }), [name, options]);
} catch (error) {
  console.error(`${name}: ${error.message}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
