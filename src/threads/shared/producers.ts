/**
 * The producers that are registered at a handle: the last one to be done, of those
 * of all threads, ends the queue.
 *
 * @module
 */

import { allOf } from "../../errors.ts";
import { addFailure, readFailures } from "./reason_text.ts";
import type { SharedRing } from "./ring.ts";

/** What the end of a producer may do to its queue. */
export interface ProducedQueue {
  close(): void;
  fail(reason: unknown): void;
  abort(reason: unknown): void;
}

/** The producers of one handle. */
export class Producers {
  readonly #ring: SharedRing;
  readonly #queue: ProducedQueue;
  readonly #called: string;
  readonly #registered: Set<Producer> = new Set();

  constructor(ring: SharedRing, queue: ProducedQueue, called: string) {
    this.#ring = ring;
    this.#queue = queue;
    this.#called = called;
  }

  /** Registers one more; undefined when the queue has ended. */
  register(onError: "collect" | "abort" | "ignore"): Producer | undefined {
    if (!this.#ring.addProducer()) return undefined;
    const producer = new Producer((failure) => {
      if (!this.#registered.delete(producer)) return;
      if (failure === undefined) this.#count(1, undefined);
      else if (onError === "abort") this.#queue.abort(failure.reason);
      else this.#count(1, onError === "collect" ? failure : undefined);
    });
    this.#registered.add(producer);
    return producer;
  }

  /** All that are registered here have failed. */
  failAll(reason: unknown): void {
    for (const producer of [...this.#registered]) producer.failed(reason);
  }

  /** So many were registered by a thread that has ended. */
  abandon(count: number): void {
    if (count === 0) return;
    const reason = new Error(
      `The thread of ${count} producers has ended before them`,
    );
    this.#count(0, { reason });
  }

  #count(done: number, failure: { reason: unknown } | undefined): void {
    const note = failure === undefined
      ? undefined
      : (found: Uint8Array) => addFailure(found, failure.reason);
    if (this.#ring.removeProducers(done, note)) this.#endQueue();
  }

  #endQueue(): void {
    const { failures, more } = readFailures(this.#ring.reason());
    const failed = failures.length + more;
    if (failed === 0) return this.#queue.close();
    const message = `${failed} of the producers of ${this.#called} failed`;
    this.#queue.fail(allOf(failures, message));
  }
}

/** One of them. */
export class Producer {
  readonly #end: (failure: { reason: unknown } | undefined) => void;

  constructor(end: (failure: { reason: unknown } | undefined) => void) {
    this.#end = end;
  }

  done(): void {
    this.#end(undefined);
  }

  failed(reason: unknown): void {
    this.#end({ reason });
  }
}
