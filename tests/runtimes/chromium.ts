/**
 * Runs the conformance suite in a page of headless Chromium.
 *
 * @module
 */

import type { TestResult } from "../support/junit.ts";
import { exists, nodePath, pathOf, run } from "../support/tools.ts";

const CANDIDATES = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/** What is said where there is no Chromium. */
export const MISSING: TestResult = {
  name: "Chromium is missing:",
  status: "skipped",
  detail: "apt-get install chromium",
};

/** Where this machine has one, if it has. */
export function chromiumPath(): string | undefined {
  return CANDIDATES.find(exists);
}

/** Serves a page on loopback and lets Chromium run the script in it. */
export async function runInChromium(script: string): Promise<TestResult[]> {
  const chromium = chromiumPath();
  if (chromium === undefined) return [MISSING];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) =>
      new URL(request.url).pathname === "/script.js"
        ? respond(script, "text/javascript")
        : respond(
          "<!doctype html><script src=script.js></script>",
          "text/html; charset=utf-8",
        ),
  );
  try {
    const address = `http://127.0.0.1:${server.addr.port}/`;
    const host = pathOf("tests/runtimes/chromium_host.mjs");
    const outcome = await run(
      nodePath(24),
      ["--no-warnings", host, chromium, address],
      { timeout: 900_000 },
    );
    if (!outcome.success) throw new Error(outcome.stderr.slice(-2000));
    return JSON.parse(outcome.stdout) as TestResult[];
  } finally {
    await server.shutdown();
  }
}

/** Isolated from other origins, or there is no shared memory. */
function respond(body: string, type: string): Response {
  return new Response(body, {
    headers: {
      "content-type": type,
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
    },
  });
}
