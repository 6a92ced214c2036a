/**
 * Where time comes from.
 *
 * @module
 */

import { received } from "./errors.ts";

/** A clock with alarms. Give one of your own to run time as you like, in tests above all. */
export interface Clock {
  /** Milliseconds since some moment; it never goes back. */
  now(): number;
  /** Calls back once, so many milliseconds from now, and returns what {@linkcode Clock.clearTimer} takes. */
  setTimer(callback: () => void, milliseconds: number): unknown;
  /** Takes an alarm back. Nothing happens if it has rung. */
  clearTimer(timer: unknown): void;
}

/** The clock of the machine. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimer: (callback, milliseconds) => setTimeout(callback, milliseconds),
  clearTimer: (timer) => clearTimeout(timer as number),
};

/** Throws a `TypeError` unless it has what a clock needs. */
export function checkClock(action: string, clock: unknown): void {
  const { now, setTimer, clearTimer } = (clock ?? {}) as Partial<Clock>;
  if (
    typeof now === "function" && typeof setTimer === "function" &&
    typeof clearTimer === "function"
  ) return;
  throw new TypeError(
    `Cannot ${action}: clock must have now, setTimer and clearTimer, received ${
      received(clock)
    }`,
  );
}
