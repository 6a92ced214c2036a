/**
 * Sources side by side: a tuple of one item of each.
 *
 * @module
 */

import { isAwaited, Queue } from "../queue.ts";
import { markHandled } from "../waiters.ts";
import { readableOnDemand, type Supplier } from "./demand.ts";
import {
  canBeRead,
  type Feed,
  openAll,
  type Source,
  type SourceReader,
} from "./source.ts";

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

class Zipping<Items extends unknown[]> implements Supplier {
  readonly readable: ReadableStream<Items>;
  /** Holds nothing: a tuple is made when somebody waits for it. */
  readonly #queue: Queue<Items> = new Queue<Items>({ highWaterMark: Infinity });
  #inputs: Input[];
  #tuple: unknown[] = [];
  /** How many items the tuple lacks; 0 while none is being made. */
  #missing = 0;
  #pulling = false;

  constructor(feeds: Feed<unknown>[]) {
    this.#inputs = feeds.map((feed, index) => new Input(feed, index, this));
    this.readable = readableOnDemand(this.#queue, this);
    if (feeds.length === 0) this.#queue.close();
  }

  asked(): void {
    // Sources that answer at once complete a tuple within the loop.
    if (this.#pulling) return;
    this.#pulling = true;
    while (this.#missing === 0 && isAwaited(this.#queue)) this.#pullAll();
    this.#pulling = false;
  }

  async cancel(reason: unknown): Promise<void> {
    const cancelled = this.#cancelAll(reason);
    this.#queue.abort(reason);
    await Promise.all(cancelled);
  }

  // -- What strands tell

  received(index: number, item: unknown): void {
    this.#tuple[index] = item;
    if (--this.#missing > 0) return;
    this.#queue.tryPut(this.#tuple as Items);
    this.asked();
  }

  ended(): void {
    this.#cancelAll(undefined).forEach(markHandled);
    this.#queue.close();
  }

  failed(reason: unknown): void {
    this.#cancelAll(reason).forEach(markHandled);
    this.#queue.fail(reason);
  }

  // -- Steps

  #pullAll(): void {
    const inputs = this.#inputs;
    this.#tuple = new Array(inputs.length);
    this.#missing = inputs.length;
    for (const input of inputs) {
      // The one before may have ended it all: then nothing more is pulled.
      if (inputs !== this.#inputs) return;
      input.feed.pull(input);
    }
  }

  #cancelAll(reason: unknown): Promise<void>[] {
    const inputs = this.#inputs;
    this.#inputs = [];
    this.#tuple = [];
    return inputs.map(({ feed }) => feed.cancel(reason));
  }
}

/** A source at its place in the tuple. */
class Input implements SourceReader<unknown> {
  readonly feed: Feed<unknown>;
  readonly #index: number;
  readonly #zipping: Zipping<unknown[]>;

  // deno-lint-ignore no-explicit-any
  constructor(feed: Feed<unknown>, index: number, zipping: Zipping<any>) {
    this.feed = feed;
    this.#index = index;
    this.#zipping = zipping;
  }

  received(item: unknown): void {
    this.#zipping.received(this.#index, item);
  }

  ended(): void {
    this.#zipping.ended();
  }

  failed(reason: unknown): void {
    this.#zipping.failed(reason);
  }
}
