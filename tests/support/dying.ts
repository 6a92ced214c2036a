/**
 * A thread that dies, step by step: everything that threads see of one another
 * goes through `Atomics`, so an operation that is broken off before its n-th call
 * has done what a thread had done that was terminated there.
 *
 * @module
 */

/** Thrown in the place of the step at which the thread dies. */
export class Died extends Error {}

type Call = (...args: unknown[]) => unknown;

const NAMES = [
  "add",
  "and",
  "compareExchange",
  "exchange",
  "load",
  "notify",
  "or",
  "store",
  "sub",
  "wait",
  "waitAsync",
] as const;

/** Runs what the thread does until it is to make that call of `Atomics`. False when it got to its end before. */
export function dieBefore(call: number, run: () => unknown): boolean {
  const target = Atomics as unknown as Record<string, Call>;
  const originals = NAMES.filter((name) => target[name] !== undefined)
    .map((name) => [name, target[name]!] as const);
  let calls = 0;
  let died = false;
  for (const [name, original] of originals) {
    target[name] = (...args) => {
      // The dead do nothing more, also not in a finally block.
      if (died || calls++ === call) {
        died = true;
        throw new Died();
      }
      return original.apply(Atomics, args);
    };
  }
  try {
    run();
  } catch (error) {
    if (!died) throw error;
  } finally {
    for (const [name, original] of originals) target[name] = original;
  }
  return died;
}
