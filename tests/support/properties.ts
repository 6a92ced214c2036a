/**
 * What property tests share.
 *
 * @module
 */

import process from "node:process";
import { setImmediate } from "node:timers";
import type { Parameters } from "fast-check";
import { FACTOR } from "./harness.ts";

/**
 * `HIGHWATER_SEED=<seed>[/<path>]` repeats what a failure printed, and
 * `HIGHWATER_RUNS=<factor>` makes that many times the runs.
 */
export function parameters(runs: number): Parameters<unknown> {
  const numRuns = Math.ceil(runs * FACTOR);
  const [seed, path] = (process.env["HIGHWATER_SEED"] ?? "").split("/");
  if (!seed) return { numRuns };
  if (path === undefined) return { numRuns, seed: Number(seed) };
  return { numRuns, seed: Number(seed), path };
}

/** Everything that is due in microtasks, and the platform's own ticks. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
