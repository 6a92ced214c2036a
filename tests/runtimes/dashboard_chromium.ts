/**
 * Looks at the dashboard in a page of headless Chromium, while queues are at work.
 *
 * @module
 */

import { Queue } from "../../mod.ts";
import { dashboard } from "../../src/dashboard.ts";
import type { TestResult } from "../support/junit.ts";
import { nodePath, pathOf, run, scratchPath } from "../support/tools.ts";
import { chromiumPath, MISSING } from "./chromium.ts";

/** Serves it below a path, as a service would, and lets Chromium look at it. */
export async function lookAtDashboard(): Promise<TestResult[]> {
  const chromium = chromiumPath();
  if (chromium === undefined) return [MISSING];
  const [wave, filling, named] = [
    new Queue<number>({ name: "wave", highWaterMark: 20 }),
    new Queue<number>({ name: "filling", highWaterMark: 10 }),
    new Queue<number>({ name: "<script>alert(1)</script>" }),
  ];
  for (let item = 0; item < 9; item++) filling.tryPut(item);
  let step = 0;
  const working = setInterval(() => {
    const rising = step++ % 30 < 15;
    if (rising) wave.tryPut(step);
    else wave.tryGet();
  }, 20);
  const show = dashboard([wave, filling, named], {
    title: "Queues at work",
    interval: 50,
    sustained: 100,
  });
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => {
      const { pathname } = new URL(request.url);
      if (pathname.startsWith("/admin/queues/")) return show(request);
      if (pathname === "/admin/drain") filling.clear();
      if (pathname === "/admin/fill") {
        for (let item = 0; item < 9; item++) filling.tryPut(item);
      }
      return new Response(null, { status: 204 });
    },
  );
  try {
    const address = `http://127.0.0.1:${server.addr.port}/admin/queues/`;
    const host = pathOf("tests/runtimes/dashboard_host.mjs");
    const outcome = await run(
      nodePath(24),
      ["--no-warnings", host, chromium, address, scratchPath(".")],
      { timeout: 180_000 },
    );
    if (!outcome.success) throw new Error(outcome.stderr.slice(-2000));
    return JSON.parse(outcome.stdout) as TestResult[];
  } finally {
    clearInterval(working);
    await server.shutdown();
  }
}
