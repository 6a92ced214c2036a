/**
 * One source, several branches, each key to a branch of its own.
 *
 * @module
 */

import { IndexSet } from "../buffers/index_set.ts";
import { refusePromise } from "../callbacks.ts";
import { isAwaited, Queue } from "../queue.ts";
import { checkHighWaterMark, type UndeliveredReason } from "../strategy.ts";
import { FULFILLED, markHandled } from "../waiters.ts";
import {
  checkCallbacks,
  checkCount,
  checkFunction,
  checkOptions,
  checkWord,
  wrongType,
} from "../checks.ts";
import { Distribution } from "./distribution.ts";
import type { Branches, Source } from "./source.ts";

/** Options of {@linkcode partition}. */
export interface PartitionOptions<T> {
  /** How many items each branch holds for its reader. Default: 16. */
  highWaterMark?: number | undefined;
  /**
   * What happens to an item whose branch is full, as in a `Queue`: `"wait"` stops
   * the source until that branch is read, `"drop-oldest"` and `"drop-newest"`
   * drop an item of that branch and hold nobody up. Default: `"wait"`.
   */
  overflow?: "wait" | "drop-oldest" | "drop-newest" | undefined;
  /**
   * Receives, once, each item that was pulled and reaches no reader: dropped by
   * the policy, or, with the reason `"abort"`, because its branch was cancelled
   * or it has no key. What it throws or rejects with is printed and goes no further.
   */
  onUndelivered?: ((item: T, reason: UndeliveredReason) => void) | undefined;
}

/**
 * Distributes a source over `count` branches by key: items with the same key come
 * out of the same branch, in their order. Which branch that is depends on the key
 * and `count` alone, on any machine.
 *
 * Keys are strings and numbers; 0 and −0 are one key, and so are all NaN.
 * `keyOf` is called once an item, when the item is pulled.
 *
 * - **Waiting.** Nothing is pulled before somebody reads. From then on, one item
 *   at a time is pulled while somebody waits for one or all branches have room.
 *   A branch that nobody reads therefore holds `highWaterMark` items; under
 *   `"wait"` the next one for it stops the source, and with it all branches.
 * - **Cancelling** a branch sends what it holds to `onUndelivered`, and what comes
 *   for it later, too; it holds nobody up any more, and nothing is pulled ahead
 *   from then on. Cancelling the last one cancels
 *   the source with an array of all reasons, in the order of the branches, and
 *   settles as that does.
 * - **Endings.** The end of the source and its error reach all branches, after
 *   the items before them. What `keyOf` throws, or a `TypeError` for a key that is
 *   neither string nor number, does the same; then the source is cancelled with
 *   it, and the item goes to `onUndelivered`.
 * - An item costs the same with any number of branches, and O(length) of a string
 *   key.
 *
 * Throws a `TypeError` or `RangeError` that names the argument it cannot use, and
 * then has not touched the source.
 *
 * @example One worker an account, so that nothing overtakes
 * ```ts
 * import { partition } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const moves = [
 *   { account: "ada", amount: 5 },
 *   { account: "bob", amount: 7 },
 *   { account: "ada", amount: -2 },
 * ];
 * const amounts: Record<string, number[]> = { ada: [], bob: [] };
 * async function book(branch: ReadableStream<typeof moves[0]>): Promise<void> {
 *   for await (const { account, amount } of branch) amounts[account]!.push(amount);
 * }
 *
 * await Promise.all(partition(moves, 4, (move) => move.account).map(book));
 * assertEquals(amounts, { ada: [5, -2], bob: [7] });
 * ```
 */
export function partition<T, const Count extends number = number>(
  source: Source<T>,
  count: Count,
  keyOf: (item: T) => string | number,
  options: PartitionOptions<T> = {},
): Branches<T, Count> {
  checkCount("partition", "count", count, 1);
  checkFunction("partition", "keyOf", keyOf);
  checkOptions("partition", options, {
    highWaterMark: true,
    overflow: true,
    onUndelivered: true,
  });
  const { highWaterMark = 16, overflow = "wait", onUndelivered } = options;
  checkHighWaterMark("partition", highWaterMark);
  checkWord("partition", "overflow", overflow, OVERFLOWS);
  checkCallbacks("partition", { onUndelivered });
  const branch = { highWaterMark, overflow, onUndelivered };
  const partition = new Partition(source, count, keyOf, branch);
  return partition.branches as Branches<T, Count>;
}

const OVERFLOWS = ["wait", "drop-oldest", "drop-newest"] as const;

class Partition<T> extends Distribution<T> {
  readonly #keyOf: (item: T) => string | number;
  /** All that may be waited for. Those that are not are found out in passing, so that the look at all is spared. */
  readonly #asking: IndexSet;
  /** All that may be full, likewise. */
  readonly #full: IndexSet;

  constructor(
    source: Source<T>,
    count: number,
    keyOf: (item: T) => string | number,
    branch: PartitionOptions<T>,
  ) {
    const queues = Array.from({ length: count }, () => new Queue<T>(branch));
    super("partition", source, count, queues, branch.onUndelivered);
    this.#keyOf = keyOf;
    // Not a Set: who leaves it in front and joins it behind leaves a gap that each
    // look at the first one has to pass over.
    this.#asking = new IndexSet(count);
    this.#full = new IndexSet(count);
  }

  isWanted(): boolean {
    if (this.#oneOf(this.#asking, isAwaited)) return true;
    // Once a branch was cancelled: a source that has items for nobody else
    // would be pulled to its end, for no reader.
    return this.left === this.queues.length && !this.#oneOf(this.#full, isFull);
  }

  accept(item: T): Promise<void> {
    let index: number;
    try {
      index = this.#placeOf(item);
    } catch (reason) {
      markHandled(this.pump.cancel(reason));
      this.fail(reason);
      this.report(item);
      return FULFILLED;
    }
    const queue = this.queues[index]!;
    const accepted = this.putInto(queue, item);
    if (isFull(queue)) this.#full.set(index, true);
    return accepted;
  }

  override asked(index: number): void {
    if (isAwaited(this.queues[index]!)) this.#asking.set(index, true);
    super.asked(index);
  }

  #placeOf(item: T): number {
    const key = (0, this.#keyOf)(item);
    if (typeof key === "object") {
      refusePromise("partition", "keyOf(item)", key);
    }
    return hashOf(key) % this.queues.length;
  }

  /** Whether one of them is so. Those that are not any more leave. */
  #oneOf(indices: IndexSet, is: (queue: Queue<T>) => boolean): boolean {
    for (
      let index = indices.at(0);
      index !== undefined;
      index = indices.at(0)
    ) {
      if (is(this.queues[index]!)) return true;
      indices.set(index, false);
    }
    return false;
  }
}

function isFull<T>(queue: Queue<T>): boolean {
  const { desiredSize } = queue;
  return desiredSize !== null && desiredSize <= 0;
}

const double: DataView = /* @__PURE__ */ new DataView(
  /* @__PURE__ */ new ArrayBuffer(8),
);

/**
 * 32 bits of a key: FNV-1a over the UTF-16 units of a string, the two halves of a
 * number, and in the end the finaliser of MurmurHash3, because a remainder looks
 * at the low bits only.
 *
 * Sources: http://www.isthe.com/chongo/tech/comp/fnv/ and
 * https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp (fmix32)
 */
export function hashOf(key: unknown): number {
  let hash = 0x811c9dc5;
  if (typeof key === "string") {
    for (let at = 0; at < key.length; at++) {
      hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
    }
  } else if (typeof key === "number") {
    // Adding 0 makes one zero of the two.
    double.setFloat64(0, key + 0);
    // The bits of a NaN are the machine's to choose.
    if (key !== key) double.setFloat64(0, Infinity);
    hash = mixed(hash ^ double.getInt32(0)) ^ double.getInt32(4);
  } else {
    throw wrongType("partition", "keyOf(item) must be a string or number", key);
  }
  return mixed(hash) >>> 0;
}

function mixed(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
