/**
 * Last in, first out.
 *
 * @module
 */

import { storedIn } from "./buffers/buffer.ts";
import { Ring } from "./buffers/ring.ts";
import { Queue } from "./queue.ts";
import { readStrategy } from "./strategy.ts";
import type { QueueOptions } from "./strategy.ts";

/**
 * A {@linkcode Queue} that gives out the newest item first: for work whose value
 * fades, or to go deep before going wide.
 *
 * Everything else is as in `Queue`: waiting puts and gets are served in the
 * order of their arrival, and `"drop-oldest"` drops the item that has been in
 * the queue the longest.
 *
 * @example Newest first
 * ```ts
 * import { LifoQueue } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new LifoQueue<string>();
 * await queue.putMany(["old", "new"]);
 * assertEquals(await queue.get(), "new");
 * ```
 */
export class LifoQueue<T> extends Queue<T> {
  /** Takes the options of a {@linkcode Queue}. */
  constructor(options?: QueueOptions<T>) {
    super(storedIn(new Ring<T>({ newestFirst: true }), readStrategy(options)));
  }
}
