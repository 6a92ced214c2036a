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
import type { Kind } from "./suite.ts";

/** With nothing but equals, the item that a PriorityQueue drops is the one that arrives. */
const DROPS_THE_WORST: readonly string[] = [
  "onUndelivered may use the queue when an item goes by drop-oldest",
  "onUndelivered may abort the queue that is dropping",
  "onUndelivered may put the dropped item back",
  "drop-oldest: put() into a full queue fulfils",
  "drop-oldest: tryPut() into a full queue is true",
  "drop-oldest: putMany() into a full queue fulfils",
  "drop-oldest: writer.write() into a full queue fulfils",
  "drop-oldest makes way by as many items as it takes",
  "drop-oldest stops as soon as there is room",
  "drop-oldest drops the oldest stored, whatever comes out first",
  "a queue lowered under a dropping policy drops with the next put",
  "putMany() under a dropping policy puts in all there are",
];

/** Each kind; where nobody names a priority, the order is that of arrival. */
export const kinds: Kind[] = [
  {
    name: "Queue",
    order: "fifo",
    create: (options) => new Queue(options),
  },
  {
    name: "LifoQueue",
    order: "lifo",
    create: (options) => new LifoQueue(options),
  },
  {
    name: "PriorityQueue",
    order: "fifo",
    differs: DROPS_THE_WORST,
    create: (options) => new PriorityQueue(options),
  },
  {
    name: "WorkStealingQueue",
    order: "fifo",
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
