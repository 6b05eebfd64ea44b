// What a page is like for who cannot see it, or sees it on a phone, or at night.
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const widths = [320, 1280]; // pixels: a small phone, a desktop

// All rules by day; by night those of colours, which are all that is different then.
const schemes = {
  light: { rules: { "target-size": { enabled: true } } },
  dark: { runOnly: ["cat.color"] },
};

// audit returns what is wrong with a page as it stands there. With a folder, it
// leaves pictures.
export async function audit(page, name, folder) {
  const found = new Set();
  await page.evaluate(axe); // which no policy of the page keeps out
  for (const [colorScheme, rules] of Object.entries(schemes)) {
    await page.emulateMedia({ colorScheme });
    for (const width of widths) {
      await page.setViewportSize({ width, height: 800 });
      const where = `${name}, ${width} px, ${colorScheme}`;
      for (const problem of await page.evaluate(inspect, rules)) {
        found.add(`${where}: ${problem}`);
      }
      if (folder) {
        await mkdir(folder, { recursive: true });
        await page.screenshot({ path: `${folder}/${name.replaceAll(/\W+/g, "-")}.${width}.${colorScheme}.png`, fullPage: true });
      }
    }
  }
  return [...found];
}

// inspect runs in the page.
async function inspect(rules) {
  const { violations } = await globalThis.axe.run({ resultTypes: ["violations"], ...rules });
  const problems = violations.flatMap(({ id, help, nodes }) => nodes.map(({ html, any }) => `${id}, ${help}: ${html} ${any[0]?.message ?? ""}`));
  const { scrollWidth, clientWidth } = document.documentElement;
  if (scrollWidth > clientWidth) {
    problems.push(`${scrollWidth} pixels wide`);
  }
  return problems;
}
