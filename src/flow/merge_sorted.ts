/**
 * Sorted sources in one sorted stream.
 *
 * @module
 */

import { checkErrorPolicy, checkFunction } from "../checks.ts";
import { refusePromise } from "../callbacks.ts";
import { isAwaited } from "../queue.ts";
import { checkSignal } from "../waiters.ts";
import { FanIn, type Input } from "./fan_in.ts";
import {
  checkOneList,
  type Feed,
  type ItemOf,
  openAll,
  type Source,
  type SourceErrorPolicy,
} from "./source.ts";

/** Options of {@linkcode mergeSorted}. */
export interface MergeSortedOptions {
  /**
   * What the error of one source means. `"collect"`: it counts as ended, and
   * after the last item of the others the stream fails with an `AggregateError`
   * of all errors. `"abort"`: the others are cancelled with it at once, the items
   * held are delivered in order, and the stream fails with it. `"ignore"`: it
   * counts as ended. Default: `"collect"`.
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
  checkErrorPolicy("merge sorted", onError);
  const feeds = openAll(
    "merge sorted",
    sources as Iterable<Source<ItemOf<S>>>,
  );
  const merging = new SortedMerging(compare, onError);
  merging.open(feeds);
  merging.start(signal);
  return merging.readable;
}

class SortedMerging<T> extends FanIn<T> {
  /** Those whose item went, to be asked with the next read. */
  #empty: Input[] = [];
  /** How many are asked and have not answered. */
  #asked = 0;
  readonly #heads: Heads<T>;

  constructor(compare: (a: T, b: T) => number, onError: SourceErrorPolicy) {
    super(onError);
    this.#heads = new Heads(compare);
  }

  open(feeds: Feed<T>[]): void {
    this.#empty = feeds.map((feed) => this.enter(feed));
  }

  mayAsk(): boolean {
    return this.#asked === 0 && this.inputs.size > 0 && isAwaited(this.queue);
  }

  ask(): void {
    if (this.#empty.length > 0) this.#askEmpty();
    else this.#giveSome(1);
  }

  received(input: Input, item: unknown): void {
    this.#asked--;
    input.item = item;
    try {
      this.#heads.push(input);
    } catch (reason) {
      return this.breakOff(reason);
    }
    this.asked();
  }

  override ended(input: Input): void {
    this.#asked--;
    super.ended(input);
  }

  override failed(input: Input, reason: unknown): void {
    if (this.onError === "abort") this.#giveSome(this.#heads.length);
    super.failed(input, reason);
  }

  override cancelAll(reason: unknown): Promise<void>[] {
    this.#heads.clear();
    return super.cancelAll(reason);
  }

  #askEmpty(): void {
    const inputs = this.#empty;
    this.#empty = [];
    this.#asked = inputs.length;
    for (const input of inputs) {
      // One before it may have ended everything.
      if (this.inputs.has(input)) input.feed.pull(input);
    }
  }

  /** What `compare` throws ends everything. */
  #giveSome(count: number): void {
    try {
      for (; count > 0; count--) this.#give();
    } catch (reason) {
      this.breakOff(reason);
    }
  }

  #give(): void {
    const input = this.#heads.pop();
    const item = input.item as T;
    input.item = undefined;
    this.#empty.push(input);
    this.queue.tryPut(item);
  }
}

/** Sources by the items they hold, the earlier source among equals: a binary heap. */
class Heads<T> {
  #inputs: Input[] = [];
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

  push(input: Input): void {
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

  pop(): Input {
    const inputs = this.#inputs;
    const first = inputs[0]!;
    const last = inputs.pop()!;
    if (inputs.length > 0) this.#sink(last);
    return first;
  }

  /** Puts the source where the first was, and down to where it belongs. */
  #sink(input: Input): void {
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

  #precedes(input: Input, other: Input): boolean {
    const order = this.#compare(input.item as T, other.item as T);
    if (order < 0) return true;
    if (order > 0) return false;
    if (typeof order === "object") {
      refusePromise("merge sorted", "compare(a, b)", order);
    }
    return input.index < other.index;
  }
}
