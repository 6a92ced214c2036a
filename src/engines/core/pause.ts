/**
 * Waiting for a while, for a signal, or for something to happen.
 *
 * @module
 */

import { type Clock, setAlarm } from "../../clock.ts";
import { deferred } from "../../waiters.ts";

/**
 * Fulfils after so many milliseconds, or when the signal aborts, or when what is given
 * to `listen` is called.
 */
export async function pause(
  clock: Clock,
  milliseconds: number,
  signal: AbortSignal,
  listen?: (wake: () => void) => void,
): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = deferred<void>();
  const wake = (): void => resolve();
  const timer = setAlarm(clock, wake, milliseconds);
  signal.addEventListener("abort", wake);
  listen?.(wake);
  await promise;
  clock.clearTimer(timer);
  signal.removeEventListener("abort", wake);
}
