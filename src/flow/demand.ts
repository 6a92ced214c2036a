/**
 * A stream that is filled because somebody reads it.
 *
 * @module
 */

import { endOf, type Queue } from "../queue.ts";
import { QueueReadable } from "../views/readable.ts";
import { SignalGroups, Waiter } from "../waiters.ts";

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

const signals: SignalGroups = /* @__PURE__ */ new SignalGroups();

/** Does something when a signal fires, until it leaves. One listener per signal, however many wait for it. */
export class Abortion extends Waiter {
  readonly #aborted: (reason: unknown) => void;

  /** Calls at once if the signal has fired already. */
  constructor(
    signal: AbortSignal | undefined,
    aborted: (reason: unknown) => void,
  ) {
    super();
    this.#aborted = aborted;
    if (signal === undefined) return;
    if (signal.aborted) aborted(signal.reason);
    else signals.of(signal).add(this);
  }

  override reject(reason: unknown): void {
    this.#aborted(reason);
  }
}
