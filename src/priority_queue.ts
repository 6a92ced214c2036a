/**
 * The most urgent first.
 *
 * @module
 */

import { refusePromise } from "./callbacks.ts";
import { storedIn } from "./buffers/buffer.ts";
import { Heap } from "./buffers/heap.ts";
import type { Rank } from "./buffers/heap.ts";
import { checkPeriod } from "./clock.ts";
import { checkCallbacks, wrongNumber } from "./checks.ts";
import { Queue, takeBack } from "./queue.ts";
import type { PutOptions } from "./queue.ts";
import { readStrategy } from "./strategy.ts";
import type { OwnNames, QueueOptions } from "./strategy.ts";

/** Options of a {@linkcode PriorityQueue}. */
export interface PriorityQueueOptions<T> extends QueueOptions<T> {
  /** The priority of an item whose put names none, as all that come by a stream. Default: 0. */
  priority?: ((item: T) => number) | undefined;
  /**
   * How many milliseconds of waiting are worth one level, so that nothing
   * starves. Default: waiting is worth nothing.
   */
  aging?: number | undefined;
  /** The clock for `aging`, in milliseconds. Default: `performance.now`. */
  now?: (() => number) | undefined;
}

const OWN_OPTIONS: OwnNames<PriorityQueueOptions<never>> = {
  priority: true,
  aging: true,
  now: true,
};

/** Options of {@linkcode PriorityQueue.put}. */
export interface PriorityPutOptions extends PutOptions {
  /** **Smaller is more urgent.** Any number but NaN. */
  priority?: number | undefined;
}

/**
 * A {@linkcode Queue} that gives out the most urgent item first: **the smallest
 * number**, as in asyncio and BullMQ (p-queue has it the other way round), and
 * the oldest among equals.
 *
 * - **Bounded as every queue.** Of the puts that wait, the most urgent is let in
 *   first, the oldest among equals. An item that is stored already is not
 *   exchanged for one that waits.
 * - `"drop-oldest"` drops the *least urgent* item, the latest among equals; that
 *   may be the arriving one.
 * - **Nothing starves** with `aging`: a level is bought by waiting. All items age
 *   at the same rate, so the order of two never changes, and no timer runs.
 * - Putting and getting cost O(log n), amortised, and O(1) where there are few
 *   priorities. At times a put makes room for twice as many items, or a get tidies
 *   up after all that has left.
 *
 * Everything else is as in `Queue`.
 *
 * @example The smallest number first
 * ```ts
 * import { PriorityQueue } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new PriorityQueue<string>();
 * await queue.put("newsletter", { priority: 10 });
 * await queue.put("receipt");
 * await queue.put("alarm", { priority: -1 });
 * assertEquals(await queue.getMany(3), ["alarm", "receipt", "newsletter"]);
 * ```
 *
 * @example Priorities for a stream, and no starving
 * ```ts
 * import { PriorityQueue } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new PriorityQueue<{ url: string; depth: number }>({
 *   priority: (page) => page.depth,
 *   aging: 1000, // a second of waiting is worth one level
 * });
 * const writer = queue.writable.getWriter();
 * await writer.write({ url: "/a/b", depth: 2 });
 * await writer.write({ url: "/", depth: 0 });
 * assertEquals((await queue.get()).url, "/");
 * ```
 */
export class PriorityQueue<T> extends Queue<T> {
  readonly #heap: Heap<T>;

  /** Throws a `TypeError` or `RangeError` that names the option it cannot use. */
  constructor(options?: PriorityQueueOptions<T>) {
    const strategy = readStrategy(options, OWN_OPTIONS);
    const heap = new Heap<T>(ranking(options));
    super(storedIn(heap, strategy));
    this.#heap = heap;
  }

  /**
   * As {@linkcode Queue.put}, with a priority. Also rejects with a `RangeError`
   * or `TypeError` for a priority that is not a number, and then has stored
   * nothing. O(log n).
   */
  override put(item: T, options?: PriorityPutOptions): Promise<void> {
    return super.put(item, options);
  }

  /** As {@linkcode Queue.tryPut}, with a priority. O(log n). */
  override tryPut(item: T, options?: PriorityPutOptions): boolean {
    return super.tryPut(item, options);
  }

  /** As {@linkcode Queue.putMany}, all with one priority if it is given. */
  override putMany(
    items: Iterable<T> | AsyncIterable<T>,
    options?: PriorityPutOptions,
  ): Promise<void> {
    return super.putMany(items, options);
  }

  /**
   * Gives stored items another priority and tells how many there were. `match` is
   * an item, compared by identity, or a predicate. The arrival of an item, and so
   * what aging has bought it, stays. Puts that wait keep theirs.
   *
   * O(log n) for an item, O(n) for a predicate, for the first call, and for the
   * next after about twice as many items have come and left as are stored.
   *
   * @example A customer calls
   * ```ts
   * import { PriorityQueue } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new PriorityQueue<string>();
   * await queue.putMany(["a", "b", "c"]);
   * assertEquals(queue.reprioritize("c", -1), 1);
   * assertEquals(await queue.get(), "c");
   * ```
   */
  reprioritize(match: T | ((item: T) => boolean), priority: number): number {
    checkPriority("reprioritize", "priority", priority);
    return this.#heap.rerank(match, priority);
  }

  /**
   * Takes stored items out and returns them in the order of their turn; they are
   * yours, and count as done for {@linkcode Queue.join}. `match` is an item,
   * compared by identity, or a predicate. Puts that wait are then let in.
   *
   * O(log n) for an item, O(n) for a predicate, for the first call, and for the
   * next after about twice as many items have come and left as are stored.
   *
   * @example Cancelling what has not begun
   * ```ts
   * import { PriorityQueue } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new PriorityQueue<number>();
   * await queue.putMany([1, 2, 3, 4]);
   * assertEquals(queue.remove((item) => item % 2 === 0), [2, 4]);
   * assertEquals(queue.length, 2);
   * ```
   */
  remove(match: T | ((item: T) => boolean)): T[] {
    return takeBack(this, this.#heap.remove(match));
  }
}

/** How items are ranked: by a key that never changes, because all age alike. */
function ranking<T>(
  options: PriorityQueueOptions<T> | undefined,
): (item: T, put: object | undefined) => Rank {
  const priorityOf = options?.priority;
  const aging = options?.aging ?? Infinity;
  const now = options?.now ?? (() => performance.now());
  checkCallbacks("make a queue", { priority: priorityOf, now });
  if (aging !== Infinity) checkPeriod("make a queue", "aging", aging);
  return function rank(item, put) {
    const told = (put as PriorityPutOptions | undefined)?.priority;
    const priority = told ?? priorityOf?.(item) ?? 0;
    checkPriority(
      "put",
      told === undefined ? "priority(item)" : "priority",
      priority,
    );
    const since = aging === Infinity ? 0 : now() / aging;
    return { key: priority + since, since };
  };
}

function checkPriority(action: string, name: string, value: unknown): void {
  if (typeof value === "number" && !Number.isNaN(value)) return;
  refusePromise(action, name, value);
  throw wrongNumber(action, name, "a number other than NaN", value);
}
