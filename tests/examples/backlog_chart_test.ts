/**
 * `examples/backlog_chart.ts` in a process of its own, on the runtime that runs
 * this test: a real run, and what it draws.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outcomeOf, startExample } from "../support/example.ts";
import { test } from "../support/harness.ts";

function pointsOf(svg: string): number[][] {
  const [, points] = /<polyline class="depth"\s+points="([^"]+)"/.exec(svg)!;
  return points!.split(" ").map((point) => point.split(",").map(Number));
}

function levelOf(svg: string, name: string): number {
  const found = new RegExp(`class="${name}"[^>]* y1="([\\d.]+)"`).exec(svg);
  return Number(found![1]);
}

test(
  "backlog_chart draws the depth of a real run, and marks the alerts on it",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "highwater-chart-"));
    try {
      const output = join(folder, "backlog.svg");
      const { code, stdout, stderr } = await outcomeOf(startExample(
        "backlog_chart.ts",
        ["--output", output, "--high-water-mark", "30", "--samples", "8"],
      ));
      assertEquals([code, stderr], [0, ""]);
      const alerts = [...stdout.matchAll(/^[\d.]+ s: ([a-z ]+), \d+ items$/gm)]
        .map(([, alert]) => alert!);
      assert(alerts.includes("stalled"), stdout);
      const raised = alerts.indexOf("backlog");
      const over = alerts.lastIndexOf("recovered from backlog");
      assert(raised !== -1 && over > raised, stdout);

      const svg = readFileSync(output, "utf8");
      assertMatch(svg, /^<svg [^>]*viewBox="0 0 760 300"/);
      assertStringIncludes(svg, ">highWaterMark 30</text>");
      assertEquals(svg.match(/<circle /g)!.length, alerts.length);
      assertEquals(svg.includes("NaN") || svg.includes("Infinity"), false);
      const points = pointsOf(svg);
      assertGreater(points.length, 23);
      for (const [index, [x]] of points.entries()) {
        if (index > 0) assertGreater(x!, points[index - 1]![0]!);
      }
      // The depth has reached the bound, and has gone back below `high`.
      const heights = points.map(([, y]) => y!);
      assertEquals(Math.min(...heights), levelOf(svg, "bound"));
      assertGreater(heights.at(-1)!, levelOf(svg, "high"));
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test(
  "backlog_chart answers what it cannot do with one line and 2",
  async () => {
    for (const option of ["--samples=none", "--high-water-mark=1"]) {
      const { code, stdout, stderr } = await outcomeOf(
        startExample("backlog_chart.ts", [option]),
      );
      assertEquals([code, stdout], [2, ""]);
      assertMatch(stderr, /^--[\w-]+ must be a whole number [^\n]+\n$/);
    }
  },
);

test("backlog_chart has drawn the picture of the README", () => {
  const root = new URL("../../", import.meta.url);
  const readme = readFileSync(new URL("README.md", root), "utf8");
  const [, path] = /!\[[^\]]+\]\((docs\/backlog\.svg)\)/.exec(readme)!;
  const svg = readFileSync(new URL(path!, root), "utf8");
  assertGreater(pointsOf(svg).length, 50);
  assertMatch(svg, /class="raised"[^>]*>backlog</);
});
