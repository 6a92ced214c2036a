/**
 * What `consume` tells: how many items became what, and how long it took.
 *
 * @module
 */

import type { Clock } from "../../clock.ts";
import type { ItemCall } from "./calls.ts";
import { Histogram, type Quantiles, Sampling } from "./histogram.ts";

/**
 * What became of the items. *processed + failed + returned + lost* are all that
 * were taken; a retry on a source that lends is taken once more, and adds one to
 * *retried*.
 */
export interface ConsumeReport {
  /** Items whose handler ended well. */
  readonly processed: number;
  /** Items that failed for good: *deadLettered + undelivered*. */
  readonly failed: number;
  /** Attempts that failed and were followed by another. */
  readonly retried: number;
  /** Items that the `deadLetter` target has taken over. */
  readonly deadLettered: number;
  /** Items that failed and ended with `onUndelivered`, or nowhere if there is none. */
  readonly undelivered: number;
  /** Items that a stop gave back to the source, or to `onUndelivered` where it takes nothing back. */
  readonly returned: number;
  /** Items that somebody else has got meanwhile, as their delivery was lost. */
  readonly lost: number;
  /** Attempts whose handler did not end in time after its signal. */
  readonly overrun: number;
  /** What the first and the last failed attempt failed with; undefined when none did. */
  readonly errors:
    | { readonly first: unknown; readonly last: unknown }
    | undefined;
  /** Whether the signal ended the run. */
  readonly stopped: boolean;
  /** How many milliseconds it took. */
  readonly duration: number;
  /** How long items waited for their first attempt: since they were put, where the source notes that, else since they were taken. */
  readonly wait: Quantiles;
  /** How long calls of the handler took: measured for each, or, after 256, for one of sixteen while one is through every 0.05 ms. */
  readonly run: Quantiles;
}

/** How many items settled how. */
export type Counts = Pick<
  ConsumeReport,
  | "processed"
  | "retried"
  | "deadLettered"
  | "undelivered"
  | "returned"
  | "lost"
>;

/** Times of a run. */
export class Measures {
  readonly #clock: Clock;
  readonly #began: number;
  readonly #waits: Histogram = new Histogram();
  readonly #runs: Histogram = new Histogram();
  readonly #sampling: Sampling = new Sampling();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#began = clock.now();
  }

  /** A call begins with the job, now if that is known. Returns the time if it was needed. */
  begins<T>(job: ItemCall<T>, now?: number): number | undefined {
    const since = job.delivery?.enqueuedAt ?? job.waitingSince;
    let waited = 0;
    if (since !== undefined) {
      now ??= this.#clock.now();
      waited = Math.max(0, now - since);
    }
    if (job.delivery?.enqueuedAt !== undefined) job.age = waited;
    if (job.attempt === 1) this.#waits.record(waited);
    return now;
  }

  /** For how many calls the time of the next one is to stand; 0 if it need not be measured. */
  weightOfNext(): number {
    return this.#sampling.next();
  }

  /** A call took so long, beside so many. */
  ran(took: number, weight: number, running: number): void {
    this.#runs.record(took, weight);
    this.#sampling.note(took / running);
  }

  report(
    counts: Counts,
    more: Pick<ConsumeReport, "overrun" | "errors" | "stopped">,
  ): ConsumeReport {
    const { processed, retried, deadLettered, undelivered, returned, lost } =
      counts;
    return Object.freeze({
      processed,
      failed: deadLettered + undelivered,
      retried,
      deadLettered,
      undelivered,
      returned,
      lost,
      ...more,
      duration: this.#clock.now() - this.#began,
      wait: this.#waits.quantiles(),
      run: this.#runs.quantiles(),
    });
  }
}
