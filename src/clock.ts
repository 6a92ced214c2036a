/**
 * Where time comes from, and what a number of milliseconds may be.
 *
 * One rule for all of them: 0 to `Number.MAX_SAFE_INTEGER` mean what they say. A
 * *limit*, after which something is given up that is expected to have ended before
 * (timeout, grace, visibility), may be Infinity: then it never is. A *delay* or a
 * *period*, after which something is to happen (retry, linger, interval), may not:
 * it would never happen.
 *
 * @module
 */

import { wrongNumber, wrongType } from "./checks.ts";

/** A clock with alarms. Give one of your own to run time as you like, in tests above all. */
export interface Clock {
  /** Milliseconds since some moment; it never goes back. */
  now(): number;
  /**
   * Calls back once, so many milliseconds from now, and returns what
   * {@linkcode Clock.clearTimer} takes. It gets what was asked for, up to
   * `Number.MAX_SAFE_INTEGER`; for Infinity it is not called. The `setTimeout` of
   * the platforms rings at once when it is given more than 2,147,483,647 (24.8
   * days): a clock that is made of it has to set another in turn, as the clock of
   * the machine does.
   */
  setTimer(callback: () => void, milliseconds: number): unknown;
  /** Takes an alarm back. Nothing happens if it has rung. */
  clearTimer(timer: unknown): void;
}

/** The clock of the machine. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimer: (callback, milliseconds) =>
    milliseconds > LONGEST
      ? new LongTimer(callback, milliseconds)
      : setTimeout(callback, milliseconds),
  clearTimer: (timer) => {
    if (timer instanceof LongTimer) timer.clear();
    else clearTimeout(timer as number);
  },
};

/** The longest that a timer of the platforms can wait; a longer one rings at once. */
const LONGEST = 2 ** 31 - 1;

/** Timers one after the other. */
class LongTimer {
  readonly #callback: () => void;
  #left: number;
  #timer: unknown = undefined;
  #keepsAlive = true;

  constructor(callback: () => void, milliseconds: number) {
    this.#callback = callback;
    this.#left = milliseconds;
    this.#goOn();
  }

  set keepsAlive(keeps: boolean) {
    this.#keepsAlive = keeps;
    keepAlive(this.#timer, keeps);
  }

  clear(): void {
    clearTimeout(this.#timer as number);
  }

  #goOn(): void {
    const step = Math.min(this.#left, LONGEST);
    this.#left -= step;
    this.#timer = setTimeout(() => {
      if (this.#left > 0) this.#goOn();
      else this.#callback();
    }, step);
    if (!this.#keepsAlive) keepAlive(this.#timer, false);
  }
}

/** Sets an alarm; for Infinity none, as it would never ring. */
export function setAlarm(
  clock: Clock,
  callback: () => void,
  milliseconds: number,
): unknown {
  if (milliseconds === Infinity) return undefined;
  return clock.setTimer(callback, milliseconds);
}

/** An alarm that is set again and again, and is set at most once at a time. */
export class Alarm {
  readonly #clock: Clock;
  readonly #ring: () => void;
  #timer: unknown = undefined;

  constructor(clock: Clock, ring: () => void) {
    this.#clock = clock;
    this.#ring = () => {
      this.#timer = undefined;
      ring();
    };
  }

  get isSet(): boolean {
    return this.#timer !== undefined;
  }

  /** Unless it is set. */
  set(milliseconds: number): void {
    this.#timer ??= setAlarm(this.#clock, this.#ring, milliseconds);
  }

  clear(): void {
    if (this.#timer !== undefined) this.#clock.clearTimer(this.#timer);
    this.#timer = undefined;
  }
}

/** Whether the process waits for the alarm, where the runtime can tell. All do at first. */
export function keepAlive(timer: unknown, keeps: boolean): void {
  if (timer instanceof LongTimer) timer.keepsAlive = keeps;
  else if (typeof timer === "number") {
    const { Deno } = globalThis as {
      Deno?: { refTimer?(id: number): void; unrefTimer?(id: number): void };
    };
    if (keeps) Deno?.refTimer?.(timer);
    else Deno?.unrefTimer?.(timer);
  } else {
    const handle = timer as { ref?(): void; unref?(): void } | null | undefined;
    if (keeps) handle?.ref?.();
    else handle?.unref?.();
  }
}

/** Throws a `TypeError` unless it has what a clock needs. */
export function checkClock(action: string, clock: unknown): void {
  const { now, setTimer, clearTimer } = (clock ?? {}) as Partial<Clock>;
  if (
    typeof now === "function" && typeof setTimer === "function" &&
    typeof clearTimer === "function"
  ) return;
  const rule = "clock must have now, setTimer and clearTimer";
  throw wrongType(action, rule, clock);
}

/** Throws unless something can happen after so many milliseconds. */
export function checkDelay(
  action: string,
  name: string,
  value: unknown,
  least = 0,
): void {
  if (isDuration(value) && value >= least) return;
  throw wrongDuration(action, name, `from ${least} to ${MOST}`, value);
}

/** The same for what happens again and again: more than 0. */
export function checkPeriod(
  action: string,
  name: string,
  value: unknown,
): void {
  if (isDuration(value) && value > 0) return;
  throw wrongDuration(action, name, `above 0, up to ${MOST}`, value);
}

/** Throws unless something can take so many milliseconds at most; Infinity is for ever. */
export function checkTimeLimit(
  action: string,
  name: string,
  value: unknown,
  least = 0,
): void {
  if (value === Infinity || isDuration(value) && value >= least) return;
  const rule = `from ${least} to ${MOST}, or Infinity`;
  throw wrongDuration(action, name, rule, value);
}

const MOST = "Number.MAX_SAFE_INTEGER milliseconds";

function isDuration(value: unknown): value is number {
  return typeof value === "number" && value <= Number.MAX_SAFE_INTEGER;
}

function wrongDuration(
  action: string,
  name: string,
  rule: string,
  value: unknown,
): Error {
  return wrongNumber(action, name, rule, value, "a number of milliseconds");
}
