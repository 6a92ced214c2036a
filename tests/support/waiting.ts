/**
 * How tests wait, on every runtime: for turns of the loop, for what comes to
 * hold, and for how a promise ends.
 *
 * @module
 */

/** How a promise stands. */
export type State = "pending" | "fulfilled" | "rejected";

/** Lets everything happen that waits for nothing but its turn. */
export async function turns(): Promise<void> {
  for (let turn = 0; turn < 60; turn++) await undefined;
}

/** Also lets native streams get to their point. */
export async function rounds(): Promise<void> {
  for (let round = 0; round < 4; round++) {
    await turns();
    await pause(0);
  }
}

/** How a promise stands once everything has had its turn. */
export async function settled(waiting: Promise<unknown>): Promise<State> {
  const watch = watched(waiting);
  await turns();
  await pause(0);
  return watch.state;
}

/** A promise under watch. */
export interface Watch {
  state: State;
  /** What it was rejected with. */
  reason?: unknown;
}

/** How a promise stands, at any time. */
export function watched(waiting: Promise<unknown>): Watch {
  const watch: Watch = { state: "pending" };
  waiting.then(
    () => watch.state = "fulfilled",
    (reason) => Object.assign(watch, { state: "rejected", reason }),
  );
  return watch;
}

/** What a promise rejects with. */
export async function reasonOf(rejecting: Promise<unknown>): Promise<unknown> {
  let value: unknown;
  try {
    value = await rejecting;
  } catch (reason) {
    return reason;
  }
  throw new Error(`Fulfilled with ${String(value)} instead of rejecting`);
}

/** Asks until it holds. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string = String(holds),
): Promise<void> {
  const limit = performance.now() + 100_000;
  while (!await holds()) {
    if (performance.now() > limit) throw new Error(`Never: ${what}`);
    await pause(5);
  }
}

/** The same promise, or an error if it takes longer. */
export async function within<T>(
  milliseconds: number,
  running: T | Promise<T>,
  what: string,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${what} did not end within ${milliseconds} ms`));
    }, milliseconds);
  });
  try {
    return await Promise.race([running, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** So long, for what tells nobody that it has happened. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** What never happens. */
export function never(): Promise<never> {
  return new Promise(ignore);
}

/** For what a test does not look at. */
export function ignore(): void {}
