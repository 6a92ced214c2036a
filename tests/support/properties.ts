/**
 * What property tests share.
 *
 * @module
 */

import process from "node:process";
import { setImmediate } from "node:timers";
import type { Parameters } from "fast-check";

/** `HIGHWATER_SEED=<seed>[/<path>]` repeats what a failure printed. */
export function parameters(numRuns: number): Parameters<unknown> {
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
