/**
 * A stream that is filled because somebody reads it.
 *
 * @module
 */

import { endOf, type Queue } from "../queue.ts";
import { QueueReadable } from "../views/readable.ts";

/** What fills the stream. */
export interface Supplier {
  /** Somebody has read: one item less is there, or one more reader waits. */
  asked(): void;
  /** The consumer leaves; `cancel()` of the stream settles as this does. */
  cancel(reason: unknown): Promise<void>;
}

/** The readable side of the queue, which tells the supplier of every read. */
export function readableOnDemand<T>(
  queue: Queue<T>,
  supplier: Supplier,
): ReadableStream<T> {
  const end = endOf(queue);
  return new QueueReadable<T>({
    next(group) {
      const result = end.next(group);
      supplier.asked();
      return result;
    },
    take() {
      const item = end.take();
      supplier.asked();
      return item;
    },
    serve(receiver) {
      end.serve(receiver);
      supplier.asked();
    },
    hasNext: end.hasNext,
    cancel: (reason) => supplier.cancel(reason),
    watch: end.watch,
    unwatch: end.unwatch,
  });
}
