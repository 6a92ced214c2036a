/**
 * One source, several streams that each see all of it.
 *
 * @module
 */

import { QueueReadable } from "../views/readable.ts";
import { deferred, markHandled } from "../waiters.ts";
import type { Deferred } from "../waiters.ts";
import { checkCount, checkOptions } from "../checks.ts";
import { Fan, readPace } from "./fan.ts";
import type { Cursor, LagPolicy, Pace } from "./fan.ts";
import { checkSource, open } from "./source.ts";
import type { Branches, Feed, Source, SourceReader } from "./source.ts";

/** Options of {@linkcode tee}. */
export interface TeeOptions {
  /** How many items a branch may be behind the fastest. A whole number from 1, or `Infinity`. Default: 16. */
  highWaterMark?: number | undefined;
  /** What happens to a branch that is that far behind when the fastest asks for more. Default: `"wait"`. */
  overflow?: LagPolicy | undefined;
  /**
   * Under `"drop-oldest"`: learns, when a slow branch reads on, how many items
   * that branch has skipped since it read last. What it throws or rejects with is printed and
   * goes no further.
   */
  onLag?: ((missed: number, branch: number) => void) | undefined;
}

/**
 * Splits a source into `count` streams that each deliver every item, in order.
 *
 * The branches share one ring with a cursor each: an item is stored once, and
 * only until the slowest has read it. What is held is the spread between the
 * fastest and the slowest branch, at most `highWaterMark` items, however many
 * branches there are. The `tee()` of a native stream holds whatever the slower
 * branch has not read, without limit.
 *
 * - The source is pulled, one item at a time, when somebody reads a branch that
 *   has read all there is, and never ahead. Under `"wait"` the slowest branch
 *   gates it: no branch gets more than `highWaterMark` items ahead of another.
 * - Under `"drop-oldest"` a slow branch skips the oldest items it has not read,
 *   and `onLag` learns how many; under `"evict"` its stream fails with a
 *   `LaggedError`, and the others go on.
 * - `cancel(reason)` of one branch lets go of what only that branch had still to
 *   read, and releases those who waited for it. When the last has been cancelled
 *   (or evicted), the source is cancelled, once, with an array of the reasons in
 *   the order of the branches; an iterator is returned. As with a native
 *   `tee()`, the promise of each `cancel()` settles as that does, or when the
 *   source ends. Breaking off a loop, and a pipe whose destination fails, wait
 *   for the source only in the last branch.
 * - When the source fails, each branch fails with the same reason once it has
 *   read the items before. An item is never lost between a source and a branch,
 *   also not by `releaseLock()` during a read.
 *
 * Throws a `TypeError` or `RangeError` that names the argument it cannot use,
 * and locks the source otherwise. Each item costs O(1), and O(1) for each branch.
 *
 * @example Two readers of one download
 * ```ts
 * import { tee } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const body = new Response("some text").body!;
 * const [counted, kept] = tee(body, 2, { highWaterMark: 4 });
 *
 * async function count(): Promise<number> {
 *   let bytes = 0;
 *   for await (const chunk of counted) bytes += chunk.length;
 *   return bytes;
 * }
 * const [bytes, text] = await Promise.all([count(), new Response(kept).text()]);
 * assertEquals([bytes, text], [9, "some text"]);
 * ```
 *
 * @example A branch that may miss items
 * ```ts
 * import { tee } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const lags: [number, number][] = [];
 * const [fast, slow] = tee([1, 2, 3, 4, 5], 2, {
 *   highWaterMark: 2,
 *   overflow: "drop-oldest",
 *   onLag: (missed, branch) => void lags.push([missed, branch]),
 * });
 * async function readAll(branch: ReadableStream<number>): Promise<number[]> {
 *   const items: number[] = [];
 *   for await (const item of branch) items.push(item);
 *   return items;
 * }
 * assertEquals(await readAll(fast), [1, 2, 3, 4, 5]); // waits for nobody
 * assertEquals(await readAll(slow), [4, 5]);
 * assertEquals(lags, [[3, 1]]);
 * ```
 */
export function tee<T, const Count extends number = number>(
  source: Source<T>,
  count: Count,
  options: TeeOptions = {},
): Branches<T, Count> {
  checkSource("tee", "source", source);
  checkCount("tee", "count", count, 1);
  checkOptions("tee", options, {
    highWaterMark: true,
    overflow: true,
    onLag: true,
  });
  const { overflow, highWaterMark, onLag } = options;
  const paceOf = (branch: number): Pace =>
    readPace("tee", {
      overflow,
      highWaterMark,
      // Whatever else it is must not be hidden from the check.
      onLag: typeof onLag === "function"
        ? (missed) => onLag(missed, branch)
        : onLag,
    }, 16);
  const paces = Array.from({ length: count }, (_, branch) => paceOf(branch));
  return new Tee<T>(open(source), paces).branches() as Branches<T, Count>;
}

class Tee<T> implements SourceReader<T> {
  readonly #feed: Feed<T>;
  readonly #fan: Fan<T>;
  readonly #cursors: Cursor<T>[];
  /** What the `cancel()` of each branch settles with. */
  readonly #left: Deferred<void> = deferred();
  #pulling = false;
  #looping = false;

  constructor(feed: Feed<T>, paces: Pace[]) {
    this.#feed = feed;
    this.#fan = new Fan<T>({
      replay: 0,
      name: "the tee",
      changed: () => this.#pullIfWanted(),
    });
    markHandled(this.#left.promise);
    const cancelled = (): Promise<void> => {
      this.#leaveIfDeserted();
      return this.#left.promise;
    };
    this.#cursors = paces.map((pace) =>
      this.#fan.subscribe(pace, 0, cancelled)
    );
  }

  branches(): ReadableStream<T>[] {
    return this.#cursors.map((cursor) => new QueueReadable<T>(cursor));
  }

  #pullIfWanted(): void {
    const fan = this.#fan;
    // A source that needs no waiting calls back in here.
    if (this.#looping) return;
    this.#looping = true;
    while (
      !this.#pulling && fan.ending === undefined && fan.isWanted() &&
      fan.hasRoom()
    ) {
      this.#pulling = true;
      this.#feed.pull(this);
    }
    this.#looping = false;
  }

  received(item: T): void {
    this.#pulling = false;
    if (this.#fan.cursors.size === 0) return;
    this.#fan.push(item);
    this.#fan.feed();
    this.#leaveIfDeserted();
    this.#pullIfWanted();
  }

  ended(): void {
    this.#pulling = false;
    this.#end(undefined);
  }

  failed(reason: unknown): void {
    this.#pulling = false;
    this.#end({ reason });
  }

  #end(failure: { reason: unknown } | undefined): void {
    if (this.#fan.cursors.size === 0) return;
    this.#left.resolve();
    this.#fan.finish({ failure });
  }

  /** Also eviction may take the last branch that still read. */
  #leaveIfDeserted(): void {
    if (this.#fan.cursors.size > 0) return;
    const reasons = this.#cursors.map((cursor) => cursor.reason);
    this.#feed.cancel(reasons).then(this.#left.resolve, this.#left.reject);
  }
}
