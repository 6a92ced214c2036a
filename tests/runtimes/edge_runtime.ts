/**
 * Runs the conformance suite inside edge-runtime.
 *
 * @module
 */

import type { TestResult } from "../support/junit.ts";
import { nodePath, pathOf, run, scratchPath } from "../support/tools.ts";

/** Runs the script in a fresh edge context of a Node process. */
export async function runInEdgeRuntime(script: string): Promise<TestResult[]> {
  const path = scratchPath("edge_script.js");
  Deno.writeTextFileSync(path, script);
  const host = pathOf("tests/runtimes/edge_host.mjs");
  const outcome = await run(nodePath(24), ["--no-warnings", host, path], {
    timeout: 900_000,
  });
  if (!outcome.success) throw new Error(outcome.stderr.slice(-2000));
  return JSON.parse(outcome.stdout) as TestResult[];
}
