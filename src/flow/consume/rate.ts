/**
 * How often something may begin.
 *
 * @module
 */

import { checkPeriod } from "../../clock.ts";
import { checkCount } from "../../checks.ts";

/** So many calls in so much time, wherever one begins to measure it. */
export interface RateOptions {
  /** How many calls may begin within any `interval`; a whole number of 1 or more. The time of each is kept, in 8 bytes. */
  limit: number;
  /** In milliseconds, more than 0. */
  interval: number;
}

/** Remembers when the last `limit` calls began. */
export class SlidingWindow {
  readonly #limit: number;
  readonly #interval: number;
  /** A ring once it is full. */
  readonly #begun: number[] = [];
  #oldest = 0;

  constructor(action: string, { limit, interval }: RateOptions) {
    checkCount(action, "rate.limit", limit, 1);
    checkPeriod(action, "rate.interval", interval);
    this.#limit = limit;
    this.#interval = interval;
  }

  /** How many milliseconds to wait until one more may begin. */
  waitFrom(now: number): number {
    if (this.#begun.length < this.#limit) return 0;
    return Math.max(0, this.#begun[this.#oldest]! + this.#interval - now);
  }

  /** One begins. */
  note(now: number): void {
    if (this.#begun.length < this.#limit) {
      this.#begun.push(now);
      return;
    }
    this.#begun[this.#oldest] = now;
    this.#oldest = (this.#oldest + 1) % this.#limit;
  }
}
