/**
 * The failures of a run that nobody else was told of.
 *
 * @module
 */

import { Ring } from "../../buffers/ring.ts";
import { received } from "../../errors.ts";
import type { ConsumeReport } from "./report.ts";

/**
 * Items of a run of `consume` failed for good and there was nowhere for them to go:
 * no `deadLetter`, no `onUndelivered`, no dead letters of the source. All others have
 * been worked on all the same, as the report says.
 *
 * `errors` are the last 100 that items failed with, `cause` is the first.
 *
 * @example What went wrong, and what went well
 * ```ts
 * import { consume, ConsumeError } from "@highwater/queue";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const printed = console.error;
 * console.error = () => {}; // the first failure is printed when it happens
 * const run = consume(["1", "{", "2"], (text) => JSON.parse(text));
 * const error = await assertRejects(() => run, ConsumeError);
 * console.error = printed;
 * assertEquals([error.report.processed, error.errors.length], [2, 1]);
 * ```
 */
export class ConsumeError extends AggregateError {
  /** What became of the items. */
  readonly report: ConsumeReport;

  /** Makes the error; `consume` does this for you. */
  constructor(
    errors: Iterable<unknown>,
    message: string,
    options: { report: ConsumeReport; cause: unknown },
  ) {
    super(errors, message, { cause: options.cause });
    this.name = "ConsumeError";
    this.report = options.report;
  }
}

/** How many errors are kept. */
const MOST = 100;

const WHAT_TO_PASS = 'deadLetter, onUndelivered, or onError: "ignore" where ' +
  "the report is enough";

/** Failures with nowhere to go: the first is printed when it happens, the rest is told at the end. */
export class Unheard {
  #count = 0;
  #first: unknown = undefined;
  readonly #last: Ring<unknown> = new Ring();

  note(error: unknown): void {
    if (++this.#count > MOST) this.#last.shift();
    this.#last.push(error, 1);
    if (this.#count > 1) return;
    this.#first = error;
    console.error(
      `An item of consume failed and has nowhere to go: pass ${WHAT_TO_PASS}`,
      error,
    );
  }

  /** What the run rejects with, if there was one. */
  errorWith(report: ConsumeReport): ConsumeError | undefined {
    if (this.#count === 0) return undefined;
    const cause = this.#first;
    const items = this.#count === 1 ? "1 item" : `${this.#count} items`;
    return new ConsumeError(
      Array.from({ length: this.#last.length }, () => this.#last.shift()),
      `Cannot consume ${items}: what fails must have somewhere to go ` +
        `(${WHAT_TO_PASS}), received ${
          cause instanceof Error
            ? `${cause.name}: ${cause.message}`
            : received(cause)
        }`,
      { report, cause },
    );
  }
}
