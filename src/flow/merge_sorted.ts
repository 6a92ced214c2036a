/**
 * Sorted sources in one sorted stream.
 *
 * @module
 */

import { checkFunction } from "../checks.ts";
import { allOf } from "../errors.ts";
import { refusePromise } from "../callbacks.ts";
import { isAwaited, Queue } from "../queue.ts";
import { checkSignal, markHandled } from "../waiters.ts";
import { Abortion, readableOnDemand, type Supplier } from "./demand.ts";
import {
  checkOneList,
  checkSourceErrorPolicy,
  type Feed,
  type ItemOf,
  openAll,
  type Source,
  type SourceErrorPolicy,
  type SourceReader,
} from "./source.ts";

/** Options of {@linkcode mergeSorted}. */
export interface MergeSortedOptions {
  /**
   * What the error of one source means. `"collect"`: it counts as ended, and
   * after the last item of the others the stream fails with an `AggregateError`
   * of all errors. `"abort"`: the others are cancelled with it at once, the items
   * held are delivered in order, and the stream fails with it. `"ignore"`: it
   * counts as ended. `"collect"` unless told.
   */
  onError?: SourceErrorPolicy | undefined;
  /** Cancels all sources with its reason and fails the stream with it, at once. */
  signal?: AbortSignal | undefined;
}

/**
 * Merges sources that are sorted each into one stream that is sorted.
 *
 * - **Stable.** Items that compare as equal come in the order of their sources,
 *   and those of one source in their own.
 * - **On demand.** The first read pulls one item from every source, each read
 *   after that one from the source whose item went last. So one item of each
 *   source is held at most, and a read waits for the slowest source that may have
 *   the smallest.
 * - **An error comes after the items before it**, under each policy of `onError`;
 *   nothing that was received is dropped by it.
 * - **Cancelling** the stream cancels all sources with the reason, settles as they
 *   do (the first error rejects), waits for none that is parked, and drops the
 *   items held. So it is when `signal` fires or `compare` throws; the stream then
 *   fails with the reason.
 *
 * `compare(a, b)` is negative when `a` comes first, as for `Array.prototype.sort`;
 * what is out of order within its source stays behind where it stands. Streams
 * are locked by the call. It throws a `TypeError` that names what it cannot use;
 * then no source is touched. Zero sources make a stream that is closed. An item
 * costs O(log n) calls of `compare` among n sources.
 *
 * @example Two logs by time
 * ```ts
 * import { mergeSorted } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const web = [{ at: 1, text: "request" }, { at: 5, text: "response" }];
 * const database = [{ at: 2, text: "query" }, { at: 5, text: "rows" }];
 * const texts: string[] = [];
 * for await (const { text } of mergeSorted([web, database], (a, b) => a.at - b.at)) {
 *   texts.push(text);
 * }
 * assertEquals(texts, ["request", "query", "response", "rows"]);
 * ```
 */
export function mergeSorted<T, S extends Source<T> = Source<T>>(
  sources: Iterable<S>,
  compare: (a: ItemOf<S>, b: ItemOf<S>) => number,
  options?: MergeSortedOptions,
): ReadableStream<ItemOf<S>> {
  checkFunction("merge sorted", "compare", compare);
  checkOneList("merge sorted", "sources", options);
  const signal = checkSignal("merge sorted", options, {
    onError: true,
    signal: true,
  });
  const onError = options?.onError ?? "collect";
  checkSourceErrorPolicy("merge sorted", onError);
  const feeds = openAll(
    "merge sorted",
    sources as Iterable<Source<ItemOf<S>>>,
  );
  const merging = new SortedMerging(feeds, compare, onError);
  merging.start(signal);
  return merging.readable;
}

class SortedMerging<T> implements Supplier {
  readonly readable: ReadableStream<T>;
  /** Unbounded: an item goes in when somebody waits for it. */
  readonly #queue: Queue<T> = new Queue<T>({ highWaterMark: Infinity });
  readonly #onError: SourceErrorPolicy;
  /** Those that have neither ended nor failed. */
  readonly #inputs: Set<Input<T>> = new Set();
  /** Those whose item went, to be asked with the next read. */
  #empty: Input<T>[] = [];
  /** How many are asked and have not answered. */
  #asked = 0;
  readonly #heads: Heads<T>;
  readonly #errors: unknown[] = [];
  #abortion: Abortion | undefined = undefined;
  #advancing = false;

  constructor(
    feeds: Feed<T>[],
    compare: (a: T, b: T) => number,
    onError: SourceErrorPolicy,
  ) {
    this.#onError = onError;
    this.#heads = new Heads(compare);
    feeds.forEach((feed, index) => {
      const input = new Input(feed, index, this);
      this.#inputs.add(input);
      this.#empty.push(input);
    });
    this.readable = readableOnDemand(this.#queue, this);
  }

  start(signal: AbortSignal | undefined): void {
    this.#abortion = new Abortion(signal, (reason) => {
      this.#cancelAll(reason).forEach(markHandled);
      this.#queue.abort(reason);
    });
    this.#endIfDone();
  }

  asked(): void {
    // A source that answers at once leads back here.
    if (this.#advancing) return;
    this.#advancing = true;
    while (
      this.#asked === 0 && this.#inputs.size > 0 && isAwaited(this.#queue)
    ) {
      if (this.#empty.length > 0) this.#askEmpty();
      else this.#giveSmallest();
    }
    this.#advancing = false;
  }

  async cancel(reason: unknown): Promise<void> {
    const cancelled = this.#cancelAll(reason);
    this.#queue.abort(reason);
    await Promise.all(cancelled);
  }

  // -- What runs tell

  received(input: Input<T>): void {
    this.#asked--;
    try {
      this.#heads.push(input);
    } catch (reason) {
      return this.#breakOff(reason);
    }
    this.asked();
  }

  ended(input: Input<T>): void {
    this.#asked--;
    this.#inputs.delete(input);
    this.#endIfDone();
    this.asked();
  }

  failed(input: Input<T>, reason: unknown): void {
    if (this.#onError === "collect") this.#errors.push(reason);
    if (this.#onError !== "abort") return this.ended(input);
    this.#inputs.delete(input);
    try {
      while (this.#heads.length > 0) this.#give();
    } catch (error) {
      reason = error;
    }
    this.#breakOff(reason);
  }

  // -- Steps

  #askEmpty(): void {
    const inputs = this.#empty;
    this.#empty = [];
    this.#asked = inputs.length;
    for (const input of inputs) {
      // One before it may have ended everything.
      if (this.#inputs.has(input)) input.feed.pull(input);
    }
  }

  #giveSmallest(): void {
    try {
      this.#give();
    } catch (reason) {
      this.#breakOff(reason);
    }
  }

  #give(): void {
    const input = this.#heads.pop();
    const item = input.item as T;
    input.item = undefined;
    this.#empty.push(input);
    this.#queue.tryPut(item);
  }

  #breakOff(reason: unknown): void {
    this.#cancelAll(reason).forEach(markHandled);
    this.#queue.fail(reason);
  }

  #cancelAll(reason: unknown): Promise<void>[] {
    const inputs = [...this.#inputs];
    this.#inputs.clear();
    this.#heads.clear();
    this.#abortion?.leave();
    return inputs.map(({ feed }) => feed.cancel(reason));
  }

  #endIfDone(): void {
    if (this.#inputs.size > 0) return;
    this.#abortion?.leave();
    const errors = this.#errors;
    if (errors.length === 0) return this.#queue.close();
    const message = `${errors.length} of the merged sources failed`;
    this.#queue.fail(allOf(errors, message));
  }
}

/** One of the sources, with the item of it that is held. */
class Input<T> implements SourceReader<T> {
  readonly feed: Feed<T>;
  readonly index: number;
  item: T | undefined = undefined;
  readonly #merging: SortedMerging<T>;

  constructor(feed: Feed<T>, index: number, merging: SortedMerging<T>) {
    this.feed = feed;
    this.index = index;
    this.#merging = merging;
  }

  received(item: T): void {
    this.item = item;
    this.#merging.received(this);
  }

  ended(): void {
    this.#merging.ended(this);
  }

  failed(reason: unknown): void {
    this.#merging.failed(this, reason);
  }
}

/** Runs by the items they hold, the earlier run among equals: a binary heap. */
class Heads<T> {
  #inputs: Input<T>[] = [];
  readonly #compare: (a: T, b: T) => number;

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  get length(): number {
    return this.#inputs.length;
  }

  clear(): void {
    this.#inputs = [];
  }

  push(input: Input<T>): void {
    const inputs = this.#inputs;
    let place = inputs.length;
    while (place > 0) {
      const above = (place - 1) >> 1;
      if (!this.#precedes(input, inputs[above]!)) break;
      inputs[place] = inputs[above]!;
      place = above;
    }
    inputs[place] = input;
  }

  pop(): Input<T> {
    const inputs = this.#inputs;
    const first = inputs[0]!;
    const last = inputs.pop()!;
    if (inputs.length > 0) this.#sink(last);
    return first;
  }

  /** Puts the run where the first was, and down to where it belongs. */
  #sink(input: Input<T>): void {
    const inputs = this.#inputs;
    let place = 0;
    for (;;) {
      let below = place * 2 + 1;
      if (below >= inputs.length) break;
      const right = below + 1;
      if (
        right < inputs.length && this.#precedes(inputs[right]!, inputs[below]!)
      ) {
        below = right;
      }
      if (!this.#precedes(inputs[below]!, input)) break;
      inputs[place] = inputs[below]!;
      place = below;
    }
    inputs[place] = input;
  }

  #precedes(input: Input<T>, other: Input<T>): boolean {
    const order = this.#compare(input.item as T, other.item as T);
    if (order < 0) return true;
    if (order > 0) return false;
    if (typeof order === "object") {
      refusePromise("merge sorted", "compare(a, b)", order);
    }
    return input.index < other.index;
  }
}
