// Runs on Node: `node dashboard_host.mjs CHROMIUM ADDRESS SCREENSHOTS` looks at
// the dashboard at ADDRESS in a headless Chromium, as dashboard_chromium.ts
// serves it, and prints what it found as JSON.

import assert from "node:assert/strict";
import process from "node:process";
import { launch } from "./launch.mjs";

const [, , executablePath, address, screenshots] = process.argv;
const { origin } = new URL(address);
const results = [];

const browser = await launch(executablePath);

/** Opens the page and keeps what it asks for, says and shows. */
async function open(options = {}) {
  const page = await browser.newPage({
    viewport: { width: 1100, height: 1000 },
    ...options,
  });
  page.setDefaultTimeout(90_000);
  const seen = { requests: [], messages: [], dialogs: 0 };
  page.on("request", (request) => seen.requests.push(request.url()));
  page.on("console", (message) => seen.messages.push(message.text()));
  page.on("pageerror", (error) => seen.messages.push(String(error)));
  page.on("dialog", (dialog) => {
    seen.dialogs++;
    dialog.dismiss();
  });
  await page.goto(address);
  return { page, seen };
}

async function look(name, run, options) {
  const { page, seen } = await open(options);
  try {
    await run(page, seen);
    results.push({ name, status: "passed", detail: "" });
  } catch (error) {
    const said = seen.messages.join("\n");
    const detail = `${error.stack}\n${said}`;
    results.push({ name, status: "failed", detail });
  } finally {
    await page.close();
  }
}

function pathOf(page, line) {
  return page.locator(`[data-index="0"] .${line}`).getAttribute("d");
}

/** Waits until the path of a line is another one than before. */
async function moves(page, line) {
  const before = await pathOf(page, line);
  await page.waitForFunction(
    ([line, before]) =>
      document.querySelector(`[data-index="0"] .${line}`).getAttribute("d") !==
        before,
    [line, before],
  );
  return await pathOf(page, line);
}

try {
  await look("dashboard: the charts move", async (page) => {
    for (const line of ["stored", "bound", "in", "out", "puts", "gets"]) {
      assert.match(await moves(page, line), /^M\d/);
    }
    const early = await pathOf(page, "stored");
    assert.ok((await moves(page, "stored")).length > 0 && early.length > 0);
    const read = (name) =>
      page.locator(`[data-index="0"] [data-value=${name}]`).textContent();
    assert.match(await read("length"), /^\d+$/);
    assert.equal(await read("state"), "open");
    assert.equal(await page.textContent("#status"), "Live");
  });

  await look(
    "dashboard: an alert shows, and that it is over",
    async (page) => {
      const alert = page.locator('[data-index="1"] .alerts li');
      await alert.filter({ hasText: "Backlog: nearly full" }).waitFor();
      await page.locator('[data-index="1"].troubled').waitFor();
      const log = page.locator("#log li");
      await log.filter({ hasText: "filling: Backlog" }).first().waitFor();
      await page.screenshot({ path: `${screenshots}/dashboard_light.png` });
      await fetch(new URL("../drain", address));
      await log.filter({ hasText: "Recovered from backlog" }).first().waitFor();
      await alert.filter({ hasText: "Backlog" }).waitFor({ state: "detached" });
      await fetch(new URL("../fill", address));
    },
  );

  await look("dashboard: light and dark, each readable", async (page) => {
    const grounds = [];
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await moves(page, "stored");
      const { ground, contrasts } = await page.evaluate(readColours);
      grounds.push(ground);
      for (const [what, contrast] of contrasts) {
        assert.ok(contrast >= 4.5, `${what}: ${contrast} in ${colorScheme}`);
      }
      const path = `${screenshots}/dashboard_${colorScheme}.png`;
      if (colorScheme === "dark") await page.screenshot({ path });
    }
    assert.ok(grounds[0] > 0.8 && grounds[1] < 0.1, `${grounds}`);
  });

  await look("dashboard: the keyboard reaches everything", async (page) => {
    await moves(page, "stored");
    const reached = [];
    for (let press = 0; press < 12; press++) {
      await page.keyboard.press("Tab");
      reached.push(
        await page.evaluate(() => {
          const { activeElement: focus } = document;
          return focus.id || focus.getAttribute("aria-label") ||
            focus.getAttribute("href");
        }),
      );
      if (reached.at(-1) === "metrics") break;
    }
    assert.equal(reached[0], "pause");
    assert.equal(reached.length, 1 + 3 * 3 + 1);
    assert.ok(reached[1].endsWith("stored, against the bound"));

    const depth = page.locator('[data-index="0"] .depth');
    await depth.focus();
    await page.waitForFunction(() =>
      document.querySelector(".depth").getAttribute("aria-valuemin") < -3
    );
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("ArrowLeft");
    assert.match(await depth.getAttribute("aria-valuetext"), /ago: .* of 20$/);
    await page.keyboard.press("End");
    assert.match(await depth.getAttribute("aria-valuetext"), /^Now: /);

    await page.locator("#pause").focus();
    await page.keyboard.press("Enter");
    assert.equal(await page.textContent("#status"), "Paused");
    const before = await pathOf(page, "stored");
    await page.waitForTimeout(200);
    assert.equal(await pathOf(page, "stored"), before);
    await page.keyboard.press("Enter");
    await moves(page, "stored");
  });

  await look(
    "dashboard: a name is text, and no other origin is asked",
    async (page, seen) => {
      await moves(page, "stored");
      const name = "<script>alert(1)</script>";
      assert.equal(await page.textContent('[data-index="2"] h2'), name);
      assert.equal(await page.locator("script").count(), 1);
      assert.equal(seen.dialogs, 0);
      assert.ok(seen.requests.length >= 2);
      for (const url of seen.requests) {
        assert.ok(url === "data:," || new URL(url).origin === origin, url);
      }
      assert.deepEqual(seen.messages, []);
      // The policy is not only there: it forbids.
      const blocked = await page.evaluate(async () => {
        const forbidden = [];
        addEventListener("securitypolicyviolation", (event) => {
          forbidden.push(event.effectiveDirective);
        });
        await fetch("http://127.0.0.1:9/").catch(() => {});
        const script = document.createElement("script");
        try {
          script.textContent = "globalThis.broken = 1";
        } catch {
          forbidden.push("trusted types");
        }
        document.body.append(script);
        await new Promise((resolve) => setTimeout(resolve, 50));
        return { forbidden, broken: globalThis.broken };
      });
      assert.ok(blocked.forbidden.includes("connect-src"));
      assert.equal(blocked.broken, undefined);
    },
  );

  await look("dashboard: fits a narrow screen", async (page) => {
    await moves(page, "stored");
    const wider = await page.evaluate(() =>
      document.documentElement.scrollWidth - innerWidth
    );
    assert.ok(wider <= 0, `${wider} px too wide`);
    const path = `${screenshots}/dashboard_narrow.png`;
    await page.screenshot({ path, fullPage: true });
  }, { viewport: { width: 340, height: 700 } });

  process.stdout.write(JSON.stringify(results));
} finally {
  await browser.close();
}

/** Runs in the page: how light its ground is, and the contrast of what is on it. */
function readColours() {
  const numbers = (colour) => colour.match(/[\d.]+/g).slice(0, 3).map(Number);
  const light = (colour) => {
    const [red, green, blue] = numbers(colour).map((value) => {
      const share = value / 255;
      return share <= 0.04045
        ? share / 12.92
        : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (one, other) => {
    const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  };
  const style = (selector) =>
    getComputedStyle(document.querySelector(selector));
  const panel = style("section").backgroundColor;
  const ground = style("body").backgroundColor;
  const contrasts = [
    ["text", contrast(style("dd").color, panel)],
    ["label", contrast(style("dt").color, panel)],
    ["status", contrast(style("#status").color, ground)],
    ["link", contrast(style("a").color, ground)],
  ];
  for (const line of ["stored", "bound", "in", "out"]) {
    contrasts.push([line, contrast(style(`.${line}`).stroke, panel)]);
  }
  return { ground: light(ground), contrasts };
}
