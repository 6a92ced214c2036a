/**
 * The word with an engine: tried again, ever later, until the engine answers, or
 * has refused it for good.
 *
 * @module
 */

import { callOut } from "../../callbacks.ts";
import type { Clock } from "../../clock.ts";
import { Retry } from "../../retry.ts";
import { pause } from "./pause.ts";

/** What a link is made of. */
export interface ConnectionOptions {
  /** The name of the queue, for who reads what is printed. */
  name: string;
  clock: Clock;
  /** Learns of each failed word. */
  onError: ((error: unknown) => void) | undefined;
}

/** What a link needs of the engine. */
export interface ConnectedDriver {
  open(): Promise<void>;
  /** Whether an error will not pass by itself; undefined where only time can tell. Left out where all pass. */
  lasts?(error: unknown): boolean | undefined;
  /** Leaves the engine; what still waits there comes back. Left out where there is nothing to leave. */
  close?(): Promise<void>;
}

/** How many milliseconds an error of which only time can tell may last: a replica becomes a primary meanwhile. */
const DOUBT = 2_000;
/** How many kinds of failures are printed, once each. */
const MAX_PRINTED = 100;

/** One handle's word with its engine. */
export class Connection<D extends ConnectedDriver> {
  readonly driver: D;
  readonly clock: Clock;
  /** What the last word failed with. */
  failure: { readonly error: unknown } | undefined = undefined;
  readonly #name: string;
  readonly #onError: ((error: unknown) => void) | undefined;
  readonly #printed: Set<string> = new Set();
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
  /** Since when all that failed may pass by itself or not. */
  #doubtSince: number | undefined = undefined;

  constructor(driver: D, { name, clock, onError }: ConnectionOptions) {
    this.driver = driver;
    this.clock = clock;
    this.#name = name;
    this.#onError = onError;
  }

  /** Aborts when the link is over: whoever waits at the engine comes back. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** One word; what it fails with is noted and thrown. Opens first what the failure before may have broken. */
  async attempt<R>(request: (driver: D) => Promise<R>): Promise<R> {
    try {
      await (this.#opened ??= this.driver.open());
      const answer = await request(this.driver);
      this.failure = undefined;
      this.#failures = 0;
      this.#doubtSince = undefined;
      return answer;
    } catch (error) {
      this.#opened = undefined;
      if (!this.#over.signal.aborted) this.#note(error);
      throw error;
    }
  }

  /** Whether it is no use to try again after this error, which was the last. */
  isFinal(error: unknown): boolean {
    const lasts = this.#lasts(error);
    if (lasts !== undefined) return lasts;
    return this.#doubtSince !== undefined &&
      this.clock.now() >= this.#doubtSince + DOUBT;
  }

  /** Waits before the next word after a failed one, unless the signal says that there will be none. */
  async pause(signal: AbortSignal = this.signal): Promise<void> {
    if (signal.aborted) return;
    if (this.#onError === undefined) this.#print();
    const delay = this.#backoff.delayAfter(Math.max(1, this.#failures));
    await pause(this.clock, delay, signal);
  }

  /** Tries until the engine answers, the deadline has passed, or the link is over; undefined without an answer. Rejects with an error that is final. */
  async insist<R>(
    request: (driver: D) => Promise<R>,
    deadline: () => number,
  ): Promise<R | undefined> {
    while (true) {
      try {
        return await this.attempt(request);
      } catch (error) {
        if (this.signal.aborted || this.clock.now() >= deadline()) {
          return undefined;
        }
        if (this.isFinal(error)) {
          if (this.#onError === undefined) this.#print();
          throw error;
        }
        await this.pause();
      }
    }
  }

  /** Leaves the engine: nothing is tried again. */
  async end(): Promise<void> {
    this.#over.abort();
    try {
      await this.driver.close?.();
    } catch {
      // It is gone as it is.
    }
  }

  /** However many words fail in the time of one pause, that is one failure: or the pauses would grow with the load, not with the outage. */
  #note(error: unknown): void {
    this.failure = { error };
    const now = this.clock.now();
    if (this.#lasts(error) === undefined) this.#doubtSince ??= now;
    else this.#doubtSince = undefined;
    if (this.#failures === 0 || now >= this.#countsFrom) {
      this.#failures++;
      this.#countsFrom = now + this.#backoff.delayAfter(this.#failures);
    }
    const onError = this.#onError;
    if (onError === undefined) return;
    callOut("a queue on an engine", "onError", onError, error);
  }

  #lasts(error: unknown): boolean | undefined {
    return this.driver.lasts === undefined ? false : this.driver.lasts(error);
  }

  /** Nobody else would say why it takes so long, or is given up. */
  #print(): void {
    if (this.failure === undefined) return;
    const { error } = this.failure;
    const kind = String(error).replaceAll(/[0-9a-f]*[0-9][0-9a-f]*/g, "#");
    if (this.#printed.has(kind) || this.#printed.size >= MAX_PRINTED) return;
    this.#printed.add(kind);
    console.error(`The queue "${this.#name}" had no answer: ${error}`);
  }
}
