/**
 * How many calls may run at a time, and how often one may begin.
 *
 * @module
 */

import { Alarm, type Clock } from "../../clock.ts";
import { checkConcurrency, type ConsumeOptions } from "./options.ts";
import { SlidingWindow } from "./rate.ts";

/** Whether one more call may begin: now, or later by the rate, or after another has ended. */
export type Room = "now" | "later" | "full";

/** What `concurrency` and `rate` allow. */
export class Limits<T> {
  readonly #concurrency: number | (() => number);
  readonly #rate: SlidingWindow | undefined;
  readonly #clock: Clock;
  readonly #alarm: Alarm;

  /** Calls back when "later" has come. */
  constructor(
    { concurrency = 1, rate }: ConsumeOptions<T>,
    clock: Clock,
    hasCome: () => void,
  ) {
    this.#concurrency = concurrency;
    this.#rate = rate && new SlidingWindow("consume", rate);
    this.#clock = clock;
    this.#alarm = new Alarm(clock, hasCome);
  }

  /** How many calls may run at a time, where that cannot change. */
  get concurrency(): number | undefined {
    return typeof this.#concurrency === "number"
      ? this.#concurrency
      : undefined;
  }

  /** Whether a call may begin beside so many. Throws what the function of the user throws. */
  roomBeside(running: number): Room {
    if (running >= this.#mostAtATime()) return "full";
    if (this.#rate === undefined) return "now";
    const wait = this.#rate.waitFrom(this.#clock.now());
    if (wait === 0) return "now";
    this.#alarm.set(wait);
    return "later";
  }

  /** A call begins. */
  begun(): void {
    if (this.#rate !== undefined) this.#rate.note(this.#clock.now());
  }

  /** Calls back no more. */
  stop(): void {
    this.#alarm.clear();
  }

  #mostAtATime(): number {
    if (typeof this.#concurrency === "number") return this.#concurrency;
    const most = this.#concurrency();
    checkConcurrency(most);
    return most;
  }
}
