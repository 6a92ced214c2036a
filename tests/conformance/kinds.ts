/**
 * The kinds of queue that the suite runs over, on every runtime.
 *
 * @module
 */

import {
  LifoQueue,
  PriorityQueue,
  Queue,
  WorkStealingQueue,
} from "../../mod.ts";
import type { QueueOptions, WorkStealingQueueOptions } from "../../mod.ts";
import { everything, everythingBut, type Kind } from "./cases.ts";

/** Each kind; where nobody names a priority, the order is that of arrival. */
export const kinds: Kind[] = [
  {
    name: "Queue",
    order: "fifo",
    can: everything,
    create: (options) => new Queue(options),
  },
  {
    name: "LifoQueue",
    order: "lifo",
    can: everything,
    create: (options) => new LifoQueue(options),
  },
  {
    name: "PriorityQueue",
    order: "fifo",
    // With nothing but equals, the item that it drops is the one that arrives.
    can: everythingBut("drop-oldest"),
    create: (options) => new PriorityQueue(options),
  },
  {
    name: "WorkStealingQueue",
    order: "fifo",
    can: everything,
    create: (options) => {
      const queue = new WorkStealingQueue(withLanes(options));
      // The end of a lane comes with the end of the others.
      queue.lane(0).close();
      queue.lane(2).close();
      return queue.lane(1);
    },
  },
];

/** Option by option, because a strategy's getters live on its prototype. */
function withLanes<T>(
  options: QueueOptions<T> | undefined,
): WorkStealingQueueOptions<T> {
  if (options === undefined) return { lanes: 3 };
  // Not an object: for the queue to refuse.
  if (options === null || typeof options !== "object") return options;
  const { highWaterMark, size, overflow, onUndelivered, name } = options;
  const told = { highWaterMark, size, overflow, onUndelivered, name, lanes: 3 };
  return told as WorkStealingQueueOptions<T>;
}
