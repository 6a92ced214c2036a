/**
 * From a source to where its items are wanted, one at a time.
 *
 * @module
 */

import { FULFILLED } from "../waiters.ts";
import { type Feed, open, type Source } from "./source.ts";

/** Where a pump brings the items. */
export interface Destination<T> {
  /** Whether one more item should be pulled. */
  isWanted(): boolean;
  /** Takes an item, also one that was under way when the pump was stopped. Nothing is pulled until it has. */
  accept(item: T): Promise<void>;
  /** The source has ended. */
  end(): void;
  /** The source has failed. */
  fail(reason: unknown): void;
}

/** Pulls from the source for as long as the destination wants something. Asks it again at each `run()`. */
export class Pump<T> {
  readonly #feed: Feed<T>;
  readonly #destination: Destination<T>;
  #running = false;
  #over = false;

  /** Takes the lock of a stream; pulls nothing. */
  constructor(source: Source<T>, destination: Destination<T>) {
    this.#feed = open(source);
    this.#destination = destination;
  }

  run(): void {
    if (this.#running || this.#over || !this.#destination.isWanted()) return;
    this.#running = true;
    void this.#pull();
  }

  /** Leaves the source. */
  cancel(reason: unknown): Promise<void> {
    this.#over = true;
    return this.#feed.cancel(reason);
  }

  async #pull(): Promise<void> {
    const destination = this.#destination;
    do {
      let step: IteratorResult<T, unknown>;
      try {
        step = await this.#feed.next();
      } catch (reason) {
        return this.#finish(() => destination.fail(reason));
      }
      if (step.done) return this.#finish(() => destination.end());
      const accepted = destination.accept(step.value);
      if (accepted !== FULFILLED) await accepted;
    } while (!this.#over && destination.isWanted());
    this.#running = false;
  }

  #finish(tell: () => void): void {
    if (this.#over) return;
    this.#over = true;
    tell();
  }
}
