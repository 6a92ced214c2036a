/**
 * The word with an engine: tried again, ever later, until the engine answers.
 *
 * @module
 */

import { callOut } from "../callbacks.ts";
import type { Clock } from "../clock.ts";
import { Retry } from "../flow/retry.ts";
import { deferred } from "../waiters.ts";

/** What a link is made of. */
export interface LinkOptions {
  clock: Clock;
  /** Learns of each failed word. */
  onError: ((error: unknown) => void) | undefined;
}

/** One handle's word with its engine. */
export class Link<D extends { open(): Promise<void> }> {
  readonly driver: D;
  readonly clock: Clock;
  /** What the last word failed with. */
  failure: { readonly error: unknown } | undefined = undefined;
  readonly #onError: ((error: unknown) => void) | undefined;
  readonly #backoff: Retry = new Retry(
    "open",
    { delay: 100, maxDelay: 5_000, jitter: 0.5 },
    Math.random,
  );
  readonly #over: AbortController = new AbortController();
  #opened: Promise<void> | undefined = undefined;
  #failures = 0;
  /** When the next failure counts. */
  #countsFrom = 0;

  constructor(driver: D, { clock, onError }: LinkOptions) {
    this.driver = driver;
    this.clock = clock;
    this.#onError = onError;
  }

  /** Aborts when the link is over: whoever waits at the engine comes back. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** One word; what it fails with is noted and thrown. Opens first what the failure before may have broken. */
  async attempt<R>(word: (driver: D) => Promise<R>): Promise<R> {
    try {
      await (this.#opened ??= this.driver.open());
      const answer = await word(this.driver);
      this.failure = undefined;
      this.#failures = 0;
      return answer;
    } catch (error) {
      this.#opened = undefined;
      if (!this.#over.signal.aborted) this.#note(error);
      throw error;
    }
  }

  /** Waits before the next word after a failed one, unless the signal says that there will be none. */
  async pause(signal: AbortSignal = this.signal): Promise<void> {
    if (signal.aborted) return;
    const { promise, resolve } = deferred<void>();
    const over = (): void => resolve();
    const delay = this.#backoff.delayAfter(Math.max(1, this.#failures));
    const timer = this.clock.setTimer(over, delay);
    signal.addEventListener("abort", over);
    await promise;
    this.clock.clearTimer(timer);
    signal.removeEventListener("abort", over);
  }

  /** Tries until the engine answers, the deadline has passed, or the link is over; undefined without an answer. */
  async insist<R>(
    word: (driver: D) => Promise<R>,
    deadline: () => number,
  ): Promise<R | undefined> {
    while (true) {
      try {
        return await this.attempt(word);
      } catch {
        if (this.signal.aborted || this.clock.now() >= deadline()) {
          return undefined;
        }
        await this.pause();
      }
    }
  }

  /** Nothing is tried again. */
  end(): void {
    this.#over.abort();
  }

  /** However many words fail in the time of one pause, that is one failure: or the pauses would grow with the load, not with the outage. */
  #note(error: unknown): void {
    this.failure = { error };
    const now = this.clock.now();
    if (this.#failures === 0 || now >= this.#countsFrom) {
      this.#failures++;
      this.#countsFrom = now + this.#backoff.delayAfter(this.#failures);
    }
    const onError = this.#onError;
    if (onError === undefined) return;
    callOut("a queue on an engine", "onError", onError, error);
  }
}
