/**
 * Many sources in one stream, in the order in which their items arrive.
 *
 * @module
 */

import { allOf } from "../errors.ts";
import { isAwaited, Queue } from "../queue.ts";
import { checkHighWaterMark } from "../strategy.ts";
import { checkSignal, Line, markHandled, Waiter } from "../waiters.ts";
import { Abortion, readableOnDemand, type Supplier } from "./demand.ts";
import {
  checkOneList,
  checkSource,
  checkSourceErrorPolicy,
  type Feed,
  type ItemOf,
  openAll,
  openChecked,
  type Source,
  type SourceErrorPolicy,
  type SourceReader,
} from "./source.ts";

/** Options of {@linkcode merge}. */
export interface MergeOptions {
  /**
   * What the error of one source means. `"collect"`: the others go on, and after
   * the last the stream fails with an `AggregateError` of all errors.
   * `"abort"`: the others are cancelled with it at once, and the stream fails
   * with it after what had arrived by then. `"ignore"`: that source is done.
   * `"collect"` unless told.
   */
  onError?: SourceErrorPolicy | undefined;
  /** The most items that are pulled and not yet delivered; 16 unless told. */
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
  checkSourceErrorPolicy("merge", onError);
  checkHighWaterMark("merge", highWaterMark);
  checkSource("merge", "sources", sources);
  const merging = new Merging<ItemOf<S>>(onError, highWaterMark);
  merging.start(sources as Iterable<Source<ItemOf<S>>>, signal);
  return merging.readable;
}

class Merging<T> implements Supplier, Turns {
  readonly readable: ReadableStream<T>;
  /** Unbounded: the bound is kept before a source is asked. */
  readonly #queue: Queue<T> = new Queue<T>({ highWaterMark: Infinity });
  readonly #onError: SourceErrorPolicy;
  readonly #highWaterMark: number;
  /** Those that have neither ended nor failed. */
  readonly #inputs: Set<Input> = new Set();
  /** Those of them that are not asked, in the order of their turns. */
  readonly #idle: Line<Input> = new Line();
  readonly #errors: unknown[] = [];
  #abortion: Abortion | undefined = undefined;
  #asking = false;

  constructor(onError: SourceErrorPolicy, highWaterMark: number) {
    this.#onError = onError;
    this.#highWaterMark = highWaterMark;
    this.readable = readableOnDemand(this.#queue, this);
  }

  start(
    sources: Iterable<Source<T>> | AsyncIterable<Source<T>>,
    signal: AbortSignal | undefined,
  ): void {
    if (comesInTime(sources)) {
      const feed = openChecked("merge", "sources", sources);
      this.#enter(
        new Input(feed, this, (source) => this.#add(source as Source<T>)),
      );
    } else {
      for (const feed of openAll("merge", sources)) this.#enterItems(feed);
    }
    this.#abortion = new Abortion(signal, (reason) => this.#abort(reason));
    this.#endIfDone();
  }

  asked(): void {
    let input = this.#idle.first;
    // A source that answers at once leads back here, and then waits its turn.
    if (input === undefined || this.#asking) return;
    this.#asking = true;
    for (
      ;
      input !== undefined && this.#mayAsk();
      input = this.#idle.first
    ) {
      input.ask();
    }
    this.#asking = false;
  }

  async cancel(reason: unknown): Promise<void> {
    const cancelled = this.#cancelAll(reason);
    this.#queue.abort(reason);
    await Promise.all(cancelled);
  }

  // -- What entrants tell

  answered(input: Input): void {
    this.#idle.push(input);
  }

  ended(input: Input): void {
    this.#inputs.delete(input);
    this.#endIfDone();
    this.asked();
  }

  failed(input: Input, reason: unknown): void {
    this.#inputs.delete(input);
    this.#fail(reason);
    this.#endIfDone();
    this.asked();
  }

  // -- Steps

  #mayAsk(): boolean {
    const held = this.#queue.length;
    const asked = this.#inputs.size - this.#idle.length;
    return held + asked < this.#highWaterMark ||
      (held === 0 && isAwaited(this.#queue));
  }

  #add(source: Source<T>): void {
    try {
      const feed = openChecked("merge", "a source from sources", source);
      this.#enterItems(feed);
    } catch (reason) {
      this.#fail(reason);
    }
  }

  #enterItems(feed: Feed<T>): void {
    this.#enter(
      new Input(feed, this, (item) => void this.#queue.tryPut(item as T)),
    );
  }

  #enter(input: Input): void {
    this.#inputs.add(input);
    this.#idle.push(input);
  }

  #fail(reason: unknown): void {
    if (this.#onError === "collect") this.#errors.push(reason);
    if (this.#onError !== "abort") return;
    this.#cancelAll(reason).forEach(markHandled);
    this.#queue.fail(reason);
  }

  #abort(reason: unknown): void {
    this.#cancelAll(reason).forEach(markHandled);
    this.#queue.abort(reason);
  }

  #cancelAll(reason: unknown): Promise<void>[] {
    const inputs = [...this.#inputs];
    this.#inputs.clear();
    for (const input of inputs) input.leave();
    this.#abortion?.leave();
    return inputs.map((input) => input.cancel(reason));
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

/** What an entrant tells of. */
interface Turns {
  asked(): void;
  answered(input: Input): void;
  ended(input: Input): void;
  failed(input: Input, reason: unknown): void;
}

/** A source, of items or of more sources, that takes turns with the others. */
class Input extends Waiter implements SourceReader<unknown> {
  readonly #feed: Feed<unknown>;
  readonly #turns: Turns;
  readonly #keep: (item: unknown) => void;

  constructor(
    feed: Feed<unknown>,
    turns: Turns,
    keep: (item: unknown) => void,
  ) {
    super();
    this.#feed = feed;
    this.#turns = turns;
    this.#keep = keep;
  }

  ask(): void {
    this.leave();
    this.#feed.pull(this);
  }

  cancel(reason: unknown): Promise<void> {
    return this.#feed.cancel(reason);
  }

  received(item: unknown): void {
    // First, so that those who are asked are found to be one less.
    this.#turns.answered(this);
    this.#keep(item);
    this.#turns.asked();
  }

  ended(): void {
    this.#turns.ended(this);
  }

  failed(reason: unknown): void {
    this.#turns.failed(this, reason);
  }

  /** Nobody gives up waiting for a turn. */
  override reject(): void {}
}

/** Whether sources are given one by one, rather than all at once. */
function comesInTime<T>(
  sources: Iterable<T> | AsyncIterable<T>,
): sources is AsyncIterable<T> {
  const candidate = sources as Partial<AsyncIterable<T> & ReadableStream<T>>;
  return typeof candidate.getReader === "function" ||
    typeof candidate[Symbol.asyncIterator] === "function";
}
