/**
 * How a handle on an engine ends: in its time, or at once.
 *
 * @module
 */

import { checkSignal, type Deferred, deferred } from "../../waiters.ts";
import type { ConnectedDriver, Connection } from "./connection.ts";

/** One of the two directions of a handle. */
export interface Half {
  /** Takes nothing more; fulfils when all that is under way has come to its end. */
  close(): Promise<void>;
  /** Waits for none of that any longer. */
  abort(reason: unknown): void;
}

/** The end of one handle. It comes once, however often it is asked for. */
export class Closing {
  readonly #connection: Connection<ConnectedDriver>;
  readonly #halves: readonly Half[];
  readonly #closed: Deferred<void> = deferred();
  #begun = false;
  #left = false;

  constructor(
    connection: Connection<ConnectedDriver>,
    halves: readonly Half[],
  ) {
    this.#connection = connection;
    this.#halves = halves;
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
      void Promise.all(this.#halves.map((half) => half.close()))
        .then(() => this.#leave()).then(this.#closed.resolve);
    }
    if (signal !== undefined) this.#hurryBy(signal);
    return this.closed;
  }

  #hurryBy(signal: AbortSignal): void {
    const hurry = (): void => {
      for (const half of this.#halves) half.abort(signal.reason);
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
    await this.#connection.end();
  }
}
