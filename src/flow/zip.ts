/**
 * Sources side by side: a tuple of one item of each.
 *
 * @module
 */

import { isAwaited } from "../queue.ts";
import { FanIn, type Input } from "./fan_in.ts";
import { canBeRead, type Feed, openAll, type Source } from "./source.ts";

/**
 * Reads sources in step: the first items of all make the first tuple, the second
 * ones the second.
 *
 * - **On demand.** A read pulls one item from each source, from all at once; in
 *   between nothing is pulled. So the slowest sets the pace of all.
 * - **Ends with the shortest**, at the moment it ends, and cancels the others
 *   with `undefined`. The items that some of them have given to the tuple that
 *   will never be complete are dropped: a source that may not lose any must not
 *   be the longer one.
 * - **An error** of one source comes after the complete tuples before it. It
 *   cancels the others with that error and drops what the tuple had, too.
 * - **Cancelling** the stream cancels all sources with the reason, settles as they
 *   do (the first error rejects), waits for none that is parked, and drops what an
 *   unfinished tuple has. Neither the end nor an error waits for the sources it
 *   cancels, or tells of the errors they leave with.
 *
 * Streams are locked by the call. It throws a `TypeError` that names the source
 * that cannot be read from or is locked, and for one array of sources: spread it,
 * `zip(...sources)`. Then no source is touched. Zero sources
 * make a stream that is closed. A tuple costs the promises of its sources and
 * that of its read.
 *
 * @example Lines and their numbers
 * ```ts
 * import { zip } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * function* numbers(): Generator<number> {
 *   for (let number = 1;; number++) yield number;
 * }
 *
 * const lines = new Blob(["first\nsecond"]).text().then((text) => text.split("\n"));
 * const numbered: string[] = [];
 * for await (const [number, line] of zip(numbers(), await lines)) {
 *   numbered.push(`${number}: ${line}`);
 * }
 * assertEquals(numbered, ["1: first", "2: second"]);
 * ```
 */
export function zip<Items extends unknown[]>(
  ...sources: { [Index in keyof Items]: Source<Items[Index]> }
): ReadableStream<Items> {
  checkSpread(sources);
  const feeds = openAll<unknown>("zip", sources);
  return new Zipping<Items>(feeds).readable;
}

/** One array of sources would be read as a source of sources. */
function checkSpread(sources: readonly unknown[]): void {
  const [first] = sources;
  if (sources.length !== 1 || !Array.isArray(first) || first.length === 0) {
    return;
  }
  if (!first.every(canBeRead)) return;
  throw new TypeError(
    "Cannot zip: each source must be an argument of its own, received an " +
      `array of ${first.length}`,
  );
}

class Zipping<Items extends unknown[]> extends FanIn<Items> {
  readonly #count: number;
  #tuple: unknown[] = [];
  /** How many items the tuple lacks; 0 while none is being made. */
  #missing = 0;

  constructor(feeds: Feed<unknown>[]) {
    super("abort");
    this.#count = feeds.length;
    for (const feed of feeds) this.enter(feed);
    this.start();
  }

  mayAsk(): boolean {
    return this.#missing === 0 && isAwaited(this.queue);
  }

  ask(): void {
    this.#tuple = new Array(this.#count);
    this.#missing = this.#count;
    // The one before may have ended it all: then there are no more.
    for (const input of this.inputs) input.feed.pull(input);
  }

  received({ index }: Input, item: unknown): void {
    this.#tuple[index] = item;
    if (--this.#missing > 0) return;
    this.queue.tryPut(this.#tuple as Items);
    this.asked();
  }

  override ended(input: Input): void {
    this.dismiss(undefined);
    super.ended(input);
  }

  override cancelAll(reason: unknown): Promise<void>[] {
    this.#tuple = [];
    return super.cancelAll(reason);
  }
}
