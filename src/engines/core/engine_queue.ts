/**
 * The queue that all engines have in common.
 *
 * @module
 */

import type { EngineCounters } from "../../counters.ts";
import type {
  Delivery,
  DeliverySource,
  ReceiveOptions,
} from "../../delivery.ts";

/** Options of {@linkcode EngineQueue.put}. */
export interface EnginePutOptions {
  /**
   * Gives up: the promise rejects with the signal's reason and the item was not
   * put. Once the item is on its way to the engine the answer is waited for.
   */
  signal?: AbortSignal | undefined;
}

/** Options of {@linkcode EngineQueue.receiveMany}. */
export interface ReceiveManyOptions extends ReceiveOptions {
  /** How many milliseconds the first delivery waits for others. Default: 0, which takes what is there. */
  linger?: number | undefined;
}

/** What an engine says of its queue. */
export interface EngineStats extends EngineCounters {
  /** Deliveries this handle holds: those in use, and those fetched early. */
  readonly unacked: number;
}

/**
 * A queue that an engine keeps, as one process sees it. `consume`, `for await`
 * over `readable`, `pipeTo(writable)` and `producer()` work as on a `Queue`; what
 * differs is that items are delivered **at least once**: who crashes, or holds an
 * item for longer than its visibility, has it delivered again to somebody.
 */
export interface EngineQueue<T> extends DeliverySource<T>, AsyncDisposable {
  /** The name of the queue. */
  readonly name: string;
  /** The deliveries, each to be acknowledged by whoever reads it. Cancelling leaves the queue and the items alone. */
  readonly readable: ReadableStream<Delivery<T>>;
  /** Puts what is written. Closing it ends no queue: other processes may go on. */
  readonly writable: WritableStream<T>;
  /** Fulfils once {@linkcode EngineQueue.close} has. */
  readonly closed: Promise<void>;
  /** Puts an item, and waits until the engine has it. */
  put(item: T, options?: EnginePutOptions): Promise<void>;
  /** Puts items in their order, many on the way at a time, and waits until the engine has them all. */
  putMany(
    items: Iterable<T> | AsyncIterable<T>,
    options?: EnginePutOptions,
  ): Promise<void>;
  /** Lends the next item, and waits for one while there is none. Rejects with `QueueClosedError` once this handle is closed. */
  receive(options?: ReceiveOptions): Promise<Delivery<T>>;
  /** From 1 to `max` deliveries; none once this handle is closed. */
  receiveMany(
    max: number,
    options?: ReceiveManyOptions,
  ): Promise<Delivery<T>[]>;
  /** A stream that puts what is written. Closing or aborting it ends it alone. */
  producer(): WritableStream<T>;
  /**
   * Ends this handle, not the queue: nothing more is put or lent here, what is on
   * its way arrives, what was fetched early goes back at once. Fulfils when all
   * that was lent here has been acknowledged or has gone back.
   */
  close(): Promise<void>;
  /** Asks the engine how the queue is doing. */
  stats(): Promise<EngineStats>;
}
