/**
 * How a handle on an engine ends: in its time, or at once.
 *
 * @module
 */

import { checkSignal, type Deferred, deferred } from "../../waiters.ts";

/** What ends with a handle. */
export interface Ending {
  /** Takes nothing more; fulfils when all that is under way has come to its end. */
  drain(): Promise<unknown>;
  /** Waits for none of that any longer. */
  giveUp(reason: unknown): void;
  /** Leaves the engine, after either of them. */
  leave(): Promise<void> | void;
}

/** The end of one handle. It comes once, however often it is asked for. */
export class Closing {
  readonly #ending: Ending;
  readonly #closed: Deferred<void> = deferred();
  #begun = false;
  #left = false;

  constructor(ending: Ending) {
    this.#ending = ending;
  }

  /** Fulfils when the handle has ended. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Where the handle stands. */
  get state(): "open" | "closing" | "closed" {
    if (!this.#begun) return "open";
    return this.#left ? "closed" : "closing";
  }

  /** Ends it. A signal that aborts ends the wait. */
  close(
    options: { signal?: AbortSignal | undefined } | undefined,
  ): Promise<void> {
    const signal = checkSignal("close", options, { signal: true });
    if (!this.#begun) {
      this.#begun = true;
      void this.#ending.drain().then(() => this.#leave()).then(
        this.#closed.resolve,
      );
    }
    if (signal !== undefined) this.#hurryBy(signal);
    return this.closed;
  }

  #hurryBy(signal: AbortSignal): void {
    const hurry = (): void => {
      this.#ending.giveUp(signal.reason);
      // Not waited for: an engine may never answer.
      void this.#leave();
      this.#closed.resolve();
    };
    if (signal.aborted) return hurry();
    signal.addEventListener("abort", hurry);
    void this.closed.then(() => signal.removeEventListener("abort", hurry));
  }

  async #leave(): Promise<void> {
    if (this.#left) return;
    this.#left = true;
    try {
      await this.#ending.leave();
    } catch {
      // It is gone as it is.
    }
  }
}
