// Runs on Node: `node chromium_host.mjs CHROMIUM ADDRESS` opens the page in a
// headless Chromium and prints the results of its runConformance() as JSON.

import process from "node:process";
import { launch } from "./launch.mjs";

const [, , executablePath, address] = process.argv;

const browser = await launch(executablePath);
try {
  const page = await browser.newPage();
  await page.goto(address);
  const results = await page.evaluate("runConformance()");
  process.stdout.write(JSON.stringify(results));
} finally {
  await browser.close();
}
