/**
 * Runs the conformance suite inside edge-runtime, by its own server.
 *
 * @module
 */

import type { TestResult } from "../support/junit.ts";
import { nodePath, pathOf, run, scratchPath } from "../support/tools.ts";

/** Runs the script in a fresh edge context of a Node process. */
export async function runInEdgeRuntime(script: string): Promise<TestResult[]> {
  const host = scratchPath("edge_host.mjs");
  Deno.writeTextFileSync(scratchPath("edge_script.js"), script);
  Deno.writeTextFileSync(
    host,
    `import { EdgeRuntime } from ${
      JSON.stringify(
        "file://" + pathOf("node_modules/edge-runtime/dist/index.js"),
      )
    };
import { readFileSync } from "node:fs";
const runtime = new EdgeRuntime({
  initialCode: readFileSync(new URL("edge_script.js", import.meta.url), "utf8") + \`
addEventListener("fetch", (event) => {
  event.respondWith(runConformance().then((results) => new Response(JSON.stringify(results))));
});\`,
});
const keepAlive = setInterval(() => {}, 1000);
const response = await runtime.dispatchFetch("http://edge.test/");
process.stdout.write(await response.text());
clearInterval(keepAlive);
`,
  );
  const outcome = await run(nodePath(20), ["--no-warnings", host]);
  if (!outcome.success) throw new Error(outcome.stderr.slice(-2000));
  return JSON.parse(outcome.stdout) as TestResult[];
}
