/**
 * Many sources in one stream, in the order in which their items arrive.
 *
 * @module
 */

import { checkErrorPolicy } from "../checks.ts";
import { isAwaited } from "../queue.ts";
import { checkHighWaterMark } from "../strategy.ts";
import { checkSignal, Line } from "../waiters.ts";
import { FanIn, type Input } from "./fan_in.ts";
import {
  checkOneList,
  checkSource,
  type Feed,
  type ItemOf,
  openAll,
  openChecked,
  type Source,
  type SourceErrorPolicy,
} from "./source.ts";

/** Options of {@linkcode merge}. */
export interface MergeOptions {
  /**
   * What the error of one source means. `"collect"`: the others go on, and after
   * the last the stream fails with an `AggregateError` of all errors.
   * `"abort"`: the others are cancelled with it at once, and the stream fails
   * with it after what had arrived by then. `"ignore"`: that source is done.
   * Default: `"collect"`.
   */
  onError?: SourceErrorPolicy | undefined;
  /** The most items that are pulled and not yet delivered. Default: 16. */
  highWaterMark?: number | undefined;
  /** Cancels all sources with its reason and fails the stream with it, at once. */
  signal?: AbortSignal | undefined;
}

/**
 * Reads many sources into one stream, in the order in which items arrive.
 *
 * - **Fair.** Each source is asked for one item at a time, and those that wait to
 *   be asked take turns. So between two items of one source there are at most
 *   as many of others as may be held; a flood starves nobody.
 * - **On demand.** Nothing is pulled before the first read. Then a source is asked
 *   while the items held and those asked for are fewer than `highWaterMark`.
 *   When a reader waits and nothing is held, all are asked, or idle sources
 *   could keep the others out. So no more than `highWaterMark` are ever held, or
 *   one of each source where there are more sources than that.
 * - **An error comes after the items before it**, under each policy of `onError`.
 *   What the others have under way when `"abort"` cancels them is dropped.
 * - **Cancelling** the stream cancels all sources with the reason, settles as they
 *   do (the first error rejects) and waits for none that is parked. What has
 *   been pulled and not been read is dropped. So it is when `signal` fires, and
 *   the stream then fails with the reason of the signal.
 *
 * `sources` may be an AsyncIterable, a stream of streams: it takes turns with
 * the sources it has given, and its own error counts as one of a source. An
 * Iterable of sources is read, and every stream locked, by the call. A queue
 * among the sources is left open by a cancel.
 *
 * Throws a `TypeError` that names what cannot be read from or is locked, and a
 * `TypeError` or `RangeError` for an option; then no source is touched. Zero
 * sources make a stream that is closed. An item costs the promise of its source
 * and that of its read.
 *
 * @example Two logs, as they come
 * ```ts
 * import { merge } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * async function* log(name: string): AsyncGenerator<string> {
 *   for (let line = 1; line <= 2; line++) yield `${name} ${line}`;
 * }
 *
 * const lines: string[] = [];
 * for await (const line of merge([log("web"), log("database")])) lines.push(line);
 * assertEquals(lines, ["web 1", "database 1", "web 2", "database 2"]);
 * ```
 */
export function merge<T, S extends Source<T> = Source<T>>(
  sources: Iterable<S> | AsyncIterable<S>,
  options?: MergeOptions,
): ReadableStream<ItemOf<S>> {
  checkOneList("merge", "sources", options);
  const signal = checkSignal("merge", options, {
    onError: true,
    highWaterMark: true,
    signal: true,
  });
  const { onError = "collect", highWaterMark = 16 } = options ?? {};
  checkErrorPolicy("merge", onError);
  checkHighWaterMark("merge", highWaterMark);
  checkSource("merge", "sources", sources);
  const merging = new Merging<ItemOf<S>>(onError, highWaterMark);
  merging.open(sources as Iterable<Source<ItemOf<S>>>);
  merging.start(signal);
  return merging.readable;
}

class Merging<T> extends FanIn<T> {
  readonly #highWaterMark: number;
  /** Those that are not asked, in the order of their turns. */
  readonly #idle: Line<Input> = new Line();
  /** The source of the sources, where they come one by one. */
  #more: Input | undefined = undefined;

  constructor(onError: SourceErrorPolicy, highWaterMark: number) {
    super(onError);
    this.#highWaterMark = highWaterMark;
  }

  open(sources: Iterable<Source<T>> | AsyncIterable<Source<T>>): void {
    if (comesInTime(sources)) {
      this.#more = this.enter(openChecked("merge", "sources", sources));
    } else for (const feed of openAll("merge", sources)) this.enter(feed);
  }

  override enter(feed: Feed<unknown>): Input {
    const input = super.enter(feed);
    this.#idle.push(input);
    return input;
  }

  mayAsk(): boolean {
    if (this.#idle.first === undefined) return false;
    const held = this.queue.length;
    const asked = this.inputs.size - this.#idle.length;
    return held + asked < this.#highWaterMark ||
      (held === 0 && isAwaited(this.queue));
  }

  ask(): void {
    const input = this.#idle.first!;
    input.leave();
    input.feed.pull(input);
  }

  received(input: Input, item: unknown): void {
    // First, so that those who are asked are found to be one less.
    this.#idle.push(input);
    if (input === this.#more) this.#add(item as Source<T>);
    else this.queue.tryPut(item as T);
    this.asked();
  }

  #add(source: Source<T>): void {
    try {
      this.enter(openChecked("merge", "a source from sources", source));
    } catch (reason) {
      this.fail(reason);
    }
  }
}

/** Whether sources are given one by one, rather than all at once. */
function comesInTime<T>(
  sources: Iterable<T> | AsyncIterable<T>,
): sources is AsyncIterable<T> {
  const candidate = sources as Partial<AsyncIterable<T> & ReadableStream<T>>;
  return typeof candidate.getReader === "function" ||
    typeof candidate[Symbol.asyncIterator] === "function";
}
