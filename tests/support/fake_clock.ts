/**
 * A clock that a test sets.
 *
 * @module
 */

import type { Clock } from "../../mod.ts";

interface Alarm {
  readonly at: number;
  readonly ring: () => void;
}

/** Stands still until it is told to go on. */
export class FakeClock implements Clock {
  #now = 0;
  readonly #alarms: Set<Alarm> = new Set();

  /** Alarms that have not rung. */
  get pending(): number {
    return this.#alarms.size;
  }

  now(): number {
    return this.#now;
  }

  setTimer(ring: () => void, milliseconds: number): unknown {
    const alarm = { at: this.#now + milliseconds, ring };
    this.#alarms.add(alarm);
    return alarm;
  }

  clearTimer(timer: unknown): void {
    this.#alarms.delete(timer as Alarm);
  }

  /** Goes on by so many milliseconds, and rings what is due on the way, each at its time. */
  advance(milliseconds: number): void {
    const end = this.#now + milliseconds;
    for (;;) {
      let next: Alarm | undefined;
      for (const alarm of this.#alarms) {
        if (alarm.at <= end && (next === undefined || alarm.at < next.at)) {
          next = alarm;
        }
      }
      if (next === undefined) break;
      this.#alarms.delete(next);
      this.#now = next.at;
      next.ring();
    }
    this.#now = end;
  }
}
