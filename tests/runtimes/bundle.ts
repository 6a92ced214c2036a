/**
 * Builds the library and the conformance suite into one script for runtimes
 * that load no TypeScript: `globalThis.runConformance()` runs every case.
 *
 * @module
 */

import { binPath, pathOf, run, scratchPath } from "../support/tools.ts";

let built: Promise<string> | undefined;

/** The text of the script; built once. */
export function bundleForRuntimes(): Promise<string> {
  built ??= build();
  return built;
}

async function build(): Promise<string> {
  const output = scratchPath("conformance.js");
  const outcome = await run(binPath("esbuild"), [
    pathOf("tests/runtimes/entry.ts"),
    "--bundle",
    "--format=iife",
    "--target=es2022",
    `--alias:@std/assert=${pathOf("tests/stand_ins/assert/mod.ts")}`,
    `--outfile=${output}`,
    "--log-level=warning",
  ]);
  if (!outcome.success) throw new Error(outcome.stderr);
  return Deno.readTextFileSync(output);
}
