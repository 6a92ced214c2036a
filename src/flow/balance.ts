/**
 * One source, several branches, each item to the branch that asks first.
 *
 * @module
 */

import { isAwaited, Queue } from "../queue.ts";
import { checkHighWaterMark, type UndeliveredReason } from "../strategy.ts";
import { checkCallbacks, checkCount, checkOptions } from "../checks.ts";
import { Distribution } from "./distribution.ts";
import type { Branches, Source } from "./source.ts";

/** Options of {@linkcode balance}. */
export interface BalanceOptions<T> {
  /**
   * How many items are pulled ahead, for all branches together. Default: 0:
   * an item is pulled when a branch asks for it.
   */
  highWaterMark?: number | undefined;
  /**
   * Receives, once, each item that was pulled and that no branch is left for,
   * with the reason `"abort"`. What it throws or rejects with is printed and goes no further.
   */
  onUndelivered?: ((item: T, reason: UndeliveredReason) => void) | undefined;
}

/**
 * Distributes a source over `count` branches: each item goes to **one** of them,
 * the one that has waited longest. A slow branch gets fewer items and holds
 * nobody up.
 *
 * - **Waiting.** Nothing is pulled before somebody reads, one item at a time
 *   after that, and never more than `highWaterMark` items ahead of the reads.
 * - **Cancelling** a branch leaves the source and every item to the others; what
 *   was pulled for it goes to another. Cancelling the last one cancels the source
 *   with an array of all reasons, in the order of the branches, and settles as
 *   that does; what was pulled goes to `onUndelivered`.
 * - **Endings.** The end of the source and its error reach all branches, after
 *   the items before them.
 * - An item costs the same with any number of branches.
 *
 * Throws a `TypeError` or `RangeError` that names the argument it cannot use, and
 * then has not touched the source.
 *
 * @example Two workers
 * ```ts
 * import { balance } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const done: number[] = [];
 * async function work(tasks: ReadableStream<number>): Promise<void> {
 *   for await (const task of tasks) done.push(task);
 * }
 *
 * await Promise.all(balance([1, 2, 3, 4, 5], 2).map(work));
 * assertEquals(done.sort(), [1, 2, 3, 4, 5]);
 * ```
 */
export function balance<T, const Count extends number = number>(
  source: Source<T>,
  count: Count,
  options: BalanceOptions<T> = {},
): Branches<T, Count> {
  checkCount("balance", "count", count, 1);
  checkOptions("balance", options, {
    highWaterMark: true,
    onUndelivered: true,
  });
  const { highWaterMark = 0, onUndelivered } = options;
  checkHighWaterMark("balance", highWaterMark);
  checkCallbacks("balance", { onUndelivered });
  const queue = new Queue<T>({ highWaterMark, onUndelivered });
  const balance = new Balance("balance", source, count, [queue], onUndelivered);
  return balance.branches as Branches<T, Count>;
}

class Balance<T> extends Distribution<T> {
  isWanted(): boolean {
    const queue = this.queues[0]!;
    const { desiredSize } = queue;
    return (desiredSize !== null && desiredSize > 0) || isAwaited(queue);
  }

  accept(item: T): Promise<void> {
    // It waits only if the branch that asked has gone, and then for any other.
    return this.putInto(this.queues[0]!, item);
  }
}
