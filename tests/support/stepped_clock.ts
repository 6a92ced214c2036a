/**
 * Time that passes when a test says so.
 *
 * @module
 */

import type { Clock } from "../../src/clock.ts";
import { turn } from "./properties.ts";

interface Alarm {
  at: number;
  serial: number;
  callback: () => void;
}

/** A {@linkcode Clock} that stands still. */
export class SteppedClock implements Clock {
  /** How many alarms were ever set. */
  set = 0;
  readonly #alarms: Set<Alarm> = new Set();
  #now = 0;

  now(): number {
    return this.#now;
  }

  setTimer(callback: () => void, milliseconds: number): unknown {
    const alarm = {
      at: this.#now + milliseconds,
      serial: this.set++,
      callback,
    };
    this.#alarms.add(alarm);
    return alarm;
  }

  clearTimer(timer: unknown): void {
    this.#alarms.delete(timer as Alarm);
  }

  /** Alarms that have not rung. */
  get pending(): number {
    return this.#alarms.size;
  }

  /** When the next alarm rings; undefined when there is none. */
  get nextAt(): number | undefined {
    return this.#next()?.at;
  }

  /** Lets so much time pass: rings what is due, in order, with a turn after each. */
  async pass(milliseconds: number): Promise<void> {
    const until = this.#now + milliseconds;
    await turn();
    for (
      let alarm = this.#next();
      alarm !== undefined && alarm.at <= until;
      alarm = this.#next()
    ) {
      this.ring(alarm);
      await turn();
    }
    this.#now = until;
    await turn();
  }

  /** The same at once, without the turns. */
  advance(milliseconds: number): void {
    const until = this.#now + milliseconds;
    for (
      let alarm = this.#next();
      alarm !== undefined && alarm.at <= until;
      alarm = this.#next()
    ) this.ring(alarm);
    this.#now = until;
  }

  /** Goes to the next alarm and rings it, if there is one. */
  ring(alarm: Alarm | undefined = this.#next()): boolean {
    if (alarm === undefined) return false;
    this.#alarms.delete(alarm);
    this.#now = alarm.at;
    alarm.callback();
    return true;
  }

  #next(): Alarm | undefined {
    let next: Alarm | undefined;
    for (const alarm of this.#alarms) {
      if (
        next === undefined || alarm.at < next.at ||
        (alarm.at === next.at && alarm.serial < next.serial)
      ) next = alarm;
    }
    return next;
  }
}
