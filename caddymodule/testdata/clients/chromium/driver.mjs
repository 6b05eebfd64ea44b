// Runs scenarios in one Chromium, several at a time if asked to: for each line with
// {"scenario": NAME, …} it prints one with {"scenario": NAME, "steps": […], "error"?: …}.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

import * as breaking from "./breaking.mjs";
import * as factors from "./factors.mjs";
import * as pictures from "./pictures.mjs";
import * as sessions from "./sessions.mjs";
import { Visitor } from "./visitor.mjs";
import * as walks from "./walks.mjs";

const scenarios = { ...breaking, ...factors, ...pictures, ...sessions, ...walks };

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  chromiumSandbox: process.getuid() !== 0, // root has none
  args: [
    "--explicitly-allowed-ports=10080", // a port that sites may have here
    "--disable-lcd-text", // whose colours are of no use in a picture
  ],
});

async function run({ scenario, ...options }) {
  const visitors = [], steps = [];
  const enter = async (more, context) => {
    const v = await Visitor.enter(browser, { ...options, ...more }, context);
    visitors.push(v);
    return v;
  };
  try {
    await scenarios[scenario]({ ...options, enter, step: (text) => steps.push(text) });
    for (const v of visitors) {
      await v.leave();
    }
    return { scenario, steps };
  } catch (error) {
    const at = await Promise.all(visitors.map((v) => v.page.isClosed() ? "closed" : v.page.url()));
    await Promise.all(visitors.map((v) => v.context.close()));
    return { scenario, steps, error: `${error.stack}\nat ${at}` };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  run(JSON.parse(line)).then((result) => console.log(JSON.stringify(result)));
}
await browser.close();
