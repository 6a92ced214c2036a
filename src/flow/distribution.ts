/**
 * One source, several branches, each item to one of them: what `balance` and
 * `partition` have in common.
 *
 * @module
 */

import { callOut } from "../callbacks.ts";
import type { Queue } from "../queue.ts";
import type { UndeliveredReason } from "../strategy.ts";
import { FULFILLED } from "../waiters.ts";
import { readableOnDemand } from "./demand.ts";
import { type Destination, Pump } from "./pump.ts";
import type { Source } from "./source.ts";

/** Receives what was pulled and reaches no reader. */
export type OnUndelivered<T> =
  | ((item: T, reason: UndeliveredReason) => void)
  | undefined;

/**
 * Queues between a pump and the branches that are read: one for all, or one for
 * each. To which of them an item goes, and when one is wanted, is for its own class
 * to say.
 */
export abstract class Distribution<T> implements Destination<T> {
  readonly branches: ReadableStream<T>[];
  readonly queues: readonly Queue<T>[];
  readonly pump: Pump<T>;
  /** How many branches are read still. */
  left: number;
  readonly #action: string;
  readonly #onUndelivered: OnUndelivered<T>;
  readonly #reasons: unknown[] = [];

  constructor(
    action: string,
    source: Source<T>,
    count: number,
    queues: Queue<T>[],
    onUndelivered: OnUndelivered<T>,
  ) {
    this.#action = action;
    this.#onUndelivered = onUndelivered;
    this.left = count;
    this.queues = queues;
    this.pump = new Pump(action, source, this);
    this.branches = Array.from({ length: count }, (_, index) => {
      const queue = queues[index % queues.length]!;
      return readableOnDemand(queue, {
        asked: () => this.asked(index),
        cancel: (reason) => this.#leave(index, queue, reason),
      });
    });
  }

  abstract isWanted(): boolean;
  abstract accept(item: T): Promise<void>;

  /** The reader of a branch wants something. */
  asked(_index: number): void {
    this.pump.run();
  }

  /** What the queue refuses, because its branches were cancelled, is reported. */
  putInto(queue: Queue<T>, item: T): Promise<void> {
    const accepted = queue.put(item);
    if (accepted === FULFILLED) return accepted;
    return accepted.catch(() => this.report(item));
  }

  report(item: T): void {
    const onUndelivered = this.#onUndelivered;
    if (onUndelivered === undefined) return;
    callOut(this.#action, "onUndelivered", onUndelivered, item, "abort");
  }

  end(): void {
    for (const queue of this.queues) queue.close();
  }

  fail(reason: unknown): void {
    for (const queue of this.queues) queue.fail(reason);
  }

  #leave(index: number, queue: Queue<T>, reason: unknown): Promise<void> {
    this.#reasons[index] = reason;
    const isLast = --this.left === 0;
    const cancelled = isLast ? this.pump.cancel(this.#reasons) : FULFILLED;
    const isShared = this.queues.length === 1;
    if (isLast || !isShared) queue.abort(reason);
    return cancelled;
  }
}
