/**
 * When the items that are there make a batch.
 *
 * @module
 */

import { Alarm, type Clock } from "../../clock.ts";
import type { BatchOptions } from "./options.ts";

/** A batch is due when it is full, or when its first item has waited long enough. */
export class Batching {
  readonly max: number;
  readonly #linger: number;
  readonly #alarm: Alarm;
  #hasLingered = false;

  /** Calls back when one that is not full is due. */
  constructor(
    { max, linger = 0 }: BatchOptions,
    clock: Clock,
    lingered: () => void,
  ) {
    this.max = max;
    this.#linger = linger;
    this.#alarm = new Alarm(clock, () => {
      this.#hasLingered = true;
      lingered();
    });
  }

  /** Whether so many are to begin now. If not, the first of them begins to wait. */
  isDue(count: number): boolean {
    if (count >= this.max || this.#hasLingered) return true;
    this.#alarm.set(this.#linger);
    return false;
  }

  /** The next item begins to wait anew. */
  reset(): void {
    this.#hasLingered = false;
    this.#alarm.clear();
  }
}
