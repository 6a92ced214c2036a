/**
 * A stream on a queue whose owner fills it on demand.
 *
 * @module
 */

import { received } from "../errors.ts";
import { type Queue, takingEndOf } from "../queue.ts";
import { QueueReadable } from "../views/readable.ts";

/** What the owner of a branch learns. */
export interface BranchOwner {
  /** Somebody waits for an item or has taken one. */
  asked(): void;
  /** The consumer left; `cancel()` of the stream settles as this does. */
  cancel(reason: unknown): void | Promise<void>;
}

/** The items of the queue as a stream, in competition with its other consumers. */
export function branchOf<T>(
  queue: Queue<T>,
  owner: BranchOwner,
): ReadableStream<T> {
  const end = takingEndOf(queue, (reason) => owner.cancel(reason));
  return new QueueReadable<T>({
    ...end,
    next(group) {
      const step = end.next(group);
      owner.asked();
      return step;
    },
    serve(taker) {
      end.serve(taker);
      owner.asked();
    },
    take() {
      const item = end.take();
      owner.asked();
      return item;
    },
  });
}

/** Throws unless there can be so many branches. */
export function checkCount(action: string, count: unknown): void {
  if (typeof count !== "number") {
    throw new TypeError(
      `Cannot ${action}: count must be a number, received ${received(count)}`,
    );
  }
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new RangeError(
      `Cannot ${action}: count must be a whole number of 1 or more, received ${count}`,
    );
  }
}

/** Throws unless the options are an object or left out. */
export function checkOptions(action: string, options: unknown): void {
  if (typeof options === "object" && options !== null) return;
  throw new TypeError(
    `Cannot ${action}: options must be an object, received ${
      received(options)
    }`,
  );
}

/** Throws unless it is a function. */
export function checkFunction(
  action: string,
  name: string,
  value: unknown,
): void {
  if (typeof value === "function") return;
  throw new TypeError(
    `Cannot ${action}: ${name} must be a function, received ${received(value)}`,
  );
}
