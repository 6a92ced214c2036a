/**
 * The queue of another thread, over a port.
 *
 * @module
 */

import { reasonOr } from "../../errors.ts";
import { printBy } from "../../printing.ts";
import { comeInTime, producerPolicy, putEach } from "../../putting.ts";
import type {
  GetManyOptions,
  GetOptions,
  ProducerOptions,
  PutOptions,
  QueueState,
} from "../../queue.ts";
import { QueueIterator } from "../../taking.ts";
import { QueueReadable } from "../../views/readable.ts";
import { QueueWritable } from "../../views/writable.ts";
import { FULFILLED, signalOf } from "../../waiters.ts";
import type { PortLike } from "../endpoint.ts";
import { PortClient } from "./client.ts";
import {
  type CheckedPortOptions,
  checkPortOptions,
  type PortOptions,
} from "./options.ts";
import { PortProducer } from "./producer.ts";
import type { PortReceiver } from "./receiver.ts";
import type { PortSender } from "./sender.ts";

/** What {@linkcode PortQueue.stats} tells of this side: a frozen snapshot. */
export interface PortQueueStats {
  /** Whether the other side has answered, and is still there. */
  readonly connected: boolean;
  /** Items that are here and not taken yet. */
  readonly length: number;
  /** Puts that may be sent at once, less those that wait; null once failed or aborted. */
  readonly desiredSize: number | null;
  /** Puts of this side that the queue has accepted. */
  readonly put: number;
  /** Items that consumers of this side have taken. */
  readonly taken: number;
  /** Puts that wait here for a credit. */
  readonly waitingPuts: number;
  /** Puts that were sent and have no answer yet. */
  readonly underWay: number;
  /** Gets that wait for an item. */
  readonly waitingGets: number;
  /** Where the queue stands, as far as is known here. */
  readonly state: QueueState;
}

/**
 * Connects to the queue that is served at the other end of the port, now or later.
 * Before and after are the same: what is put or asked for in the meantime waits.
 *
 * Throws a `TypeError` or `RangeError` that names the argument it cannot use.
 *
 * @example Results from a thread
 * ```ts
 * import { Queue } from "@highwater/queue";
 * import { connect, serve } from "@highwater/queue/threads";
 * import { assertEquals } from "@std/assert";
 *
 * const { port1, port2 } = new MessageChannel(); // port2 goes to a worker
 * const results = new Queue<string>({ highWaterMark: 1 });
 * const served = serve(results, port1);
 *
 * const there = connect<string>(port2);
 * const working = (async () => {
 *   await there.put("first"); // fulfils when the queue has it
 *   await there.put("second"); // waits for room, as it would here
 *   there.close();
 * })();
 * const seen: string[] = [];
 * for await (const result of results) seen.push(result);
 * assertEquals(seen, ["first", "second"]);
 * await working;
 * await served.stop();
 * port1.close();
 * port2.close();
 * ```
 */
export function connect<T>(
  port: PortLike,
  options: PortOptions<T> = {},
): PortQueue<T> {
  return new PortQueue<T>(port, options);
}

/**
 * A queue that lives in another thread, with the surface of a `Queue`.
 *
 * What differs, because the queue is not here:
 *
 * | | over a port |
 * |---|---|
 * | `put` | fulfils when the queue over there has accepted the item |
 * | `tryPut` | true when a credit is at hand; should the queue end before the item is there, it goes to `onUndelivered` |
 * | `length` | items that are here already, at most `highWaterMark` |
 * | `tryGet` | takes of those; with `highWaterMark: 0` there are none |
 * | `desiredSize` | credits at hand, less puts that wait here |
 * | `close`, `fail`, `abort` | end the queue, for all its users; `disconnect` only leaves it |
 *
 * - **Nothing is lost or doubled.** An item is lent to this side until a consumer
 *   has it. A signal that fires while a put is under way asks the other side to take
 *   it back, and that side decides: the promise rejects with the signal's reason if
 *   the item was still waiting, and fulfils if it had been accepted.
 * - **Bounded.** No more puts are under way than the other side has given credits
 *   for, and no more items than somebody waits for here plus `highWaterMark`.
 *   Nothing is fetched before somebody asks. With `highWaterMark: 0` an item is
 *   fetched only for who waits, which suits tasks that others could do meanwhile.
 * - **A side that breaks the protocol** is disconnected: everything that waits here
 *   rejects with a `PortClosedError` that says what was wrong.
 * - **A port that breaks off** ends this side: everything that waits rejects with
 *   `PortClosedError`, items that are here go back.
 * - It keeps the process alive while somebody waits for an item, a credit or an
 *   answer, and not otherwise.
 *
 * Made by {@linkcode connect}.
 *
 * @example Leaving without ending the queue
 * ```ts
 * import { Queue } from "@highwater/queue";
 * import { connect, serve } from "@highwater/queue/threads";
 * import { assertEquals } from "@std/assert";
 *
 * const { port1, port2 } = new MessageChannel();
 * const queue = new Queue<number>();
 * const served = serve(queue, port1);
 * {
 *   await using there = connect<number>(port2);
 *   await there.putMany([1, 2, 3]);
 *   assertEquals(await there.get(), 1);
 * } // what had been sent ahead goes back to its place
 * assertEquals([await queue.get(), await queue.get()], [2, 3]);
 * await served.stop();
 * port1.close();
 * port2.close();
 * ```
 */
export class PortQueue<T>
  implements ReadableWritablePair<T, T>, AsyncIterable<T>, AsyncDisposable {
  readonly #options: CheckedPortOptions<T>;
  readonly #client: PortClient<T>;
  readonly #receiver: PortReceiver<T>;
  readonly #sender: PortSender<T>;
  #readable: QueueReadable<T> | undefined = undefined;
  #writable: QueueWritable<T> | undefined = undefined;
  #producers = 0;

  /** Use {@linkcode connect}. */
  constructor(port: PortLike, options: PortOptions<T>) {
    printBy(PortQueue.prototype, (queue) => queue.#facts());
    this.#options = checkPortOptions("connect", port, options, 0);
    this.#client = new PortClient<T>(port, this.#options);
    this.#receiver = this.#client.receiver;
    this.#sender = this.#client.sender;
  }

  // -- State ------------------------------------------------------------------

  /** How many items are here, at most `highWaterMark`. How many the queue stores is not known here. */
  get length(): number {
    return this.#receiver.length;
  }

  /** Puts that may be sent at once, less those that wait here. 0 once closed and before the other side has answered, null once failed or aborted. */
  get desiredSize(): number | null {
    return this.#sender.desiredSize;
  }

  /** Fulfilled while a credit is at hand, pending while there is none. Fulfilled after `close()`; rejects with the reason of `fail` or `abort`. */
  get ready(): Promise<void> {
    return this.#sender.ready;
  }

  /**
   * Fulfils when the queue was closed and its last item has been taken, here or
   * elsewhere; rejects with the reason of `fail` after the last item, of `abort` at
   * once, with `PortClosedError` when the port breaks off, with an `AbortError` after
   * {@linkcode PortQueue.disconnect}. Ignoring it causes no unhandled rejection.
   */
  get closed(): Promise<void> {
    return this.#client.life.closed;
  }

  // -- Putting ----------------------------------------------------------------

  /**
   * Puts one item in, and fulfils when the queue on the other side has accepted it.
   *
   * Rejects as `Queue.put` does: with `QueueClosedError`, the reason of `abort`,
   * `QueueFullError` under `"reject"`, the signal's reason, each with nothing stored;
   * also with a `DataCloneError` for what cannot be sent (`item` is the item), and
   * with `PortClosedError` when the port breaks off, after which nobody knows whether
   * an item that was on its way had been accepted. A put that waits here for a credit
   * when the queue is closed over there is refused. O(1).
   */
  put(item: T, options?: PutOptions): Promise<void> {
    try {
      return this.#sender.put(item, undefined, signalOf("put", options));
    } catch (reason) {
      return Promise.reject(reason);
    }
  }

  /**
   * Sends one item if a credit is at hand, and says whether it did. It waits for
   * nothing; should the queue end before the item is there, or the item not be
   * cloneable, it goes to `onUndelivered`. Throws as `Queue.tryPut`. O(1).
   */
  tryPut(item: T): boolean {
    return this.#sender.tryPut(item);
  }

  /**
   * Puts the items in one after the other, as many under way as there are credits.
   *
   * Fulfils when all are accepted. An item is asked of the iterable only when there
   * is a credit for it. When one is refused, the promise rejects with the error of
   * its put; those before it stay accepted, those behind it that were under way may
   * be, and none after them has been asked for.
   */
  async putMany(
    items: Iterable<T> | AsyncIterable<T>,
    options?: PutOptions,
  ): Promise<void> {
    const inTime = comeInTime(items);
    const signal = signalOf("put many", options);
    const failures: unknown[] = [];
    const underWay = new Set<Promise<void>>();
    const begin = (item: T): Promise<void> => {
      const accepted = this.put(item, options);
      const answered = accepted.then(
        () => void underWay.delete(answered),
        (reason) => {
          failures.push(reason);
          underWay.delete(answered);
        },
      );
      underWay.add(answered);
      // Without a credit left, the next would only wait.
      return this.desiredSize! > 0 ? FULFILLED : answered;
    };
    try {
      if (inTime) {
        const put = async (item: T): Promise<void> => {
          await begin(item);
          if (failures.length > 0) throw failures[0];
        };
        await putEach(items, put, signal, this.closed);
      } else {
        for (const item of items) {
          const begun = begin(item);
          if (begun !== FULFILLED) await begun;
          if (failures.length > 0) break;
        }
      }
    } finally {
      await Promise.all(underWay);
    }
    if (failures.length > 0) throw failures[0];
  }

  // -- Getting ----------------------------------------------------------------

  /**
   * Takes the next item, and waits for one while there is none. Rejects as
   * `Queue.get` does, and with `PortClosedError`; then it has taken nothing. O(1).
   */
  get(options?: GetOptions): Promise<T> {
    return this.#receiver.get(options);
  }

  /** Takes an item that is here; `undefined` if there is none, and then some are asked for, up to `highWaterMark`. O(1). */
  tryGet(): T | undefined {
    return this.#receiver.tryGet();
  }

  /** Takes up to `max` items, of those that are here or else of what comes first; with `linger` and errors as `Queue.getMany`. */
  getMany(max: number, options?: GetManyOptions): Promise<T[]> {
    return this.#receiver.getMany(max, options);
  }

  /** As {@linkcode PortQueue.get}, in the words of an iterator. */
  next(): Promise<IteratorResult<T, undefined>> {
    return this.#receiver.next();
  }

  /** Iterates as one of any number of competing consumers. Breaking off leaves the queue open and loses nothing. */
  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return new QueueIterator<T>((group) => this.#receiver.next(group));
  }

  // -- Ending -----------------------------------------------------------------

  /** Ends the queue gracefully for all its users, once what waits here has been sent. Idempotent. */
  close(): void {
    this.#sender.close();
  }

  /** As {@linkcode PortQueue.close}, but consumers that have taken everything see `reason` instead of the end. */
  fail(reason: unknown): void {
    this.#sender.fail(reason);
  }

  /**
   * Ends the queue now, for all its users: what waits here rejects with `reason`, puts
   * under way as the other side decides, and what is stored goes to the
   * `onUndelivered` of the queue. Without a reason it is an `AbortError`.
   */
  abort(reason?: unknown): void {
    this.#client.abort(reasonOr(reason, "The queue was aborted"));
  }

  /**
   * Leaves the queue to its other users: items that are here go back to its head, what
   * waits here rejects with an `AbortError`, puts under way are taken back if they had
   * not been accepted, producers that are not done count as failed. The port stays
   * open. Fulfils when the fate of every put is known; what goes back is then at
   * its place, or on its way there.
   */
  disconnect(): Promise<void> {
    return this.#client.leave();
  }

  /** Disconnects. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.disconnect();
  }

  // -- Streams ----------------------------------------------------------------

  /** The queue as a `ReadableStream`; the same object each time. `cancel(reason)` aborts the queue. */
  get readable(): ReadableStream<T> {
    this.#readable ??= new QueueReadable<T>(
      this.#receiver.end((reason) => this.#client.abort(reason)),
    );
    return this.#readable;
  }

  /** The queue as a `WritableStream`; the same object each time. `close` closes the queue, `abort(reason)` aborts it, a chunk that cannot be put fails it. */
  get writable(): WritableStream<T> {
    if (this.#writable === undefined) {
      this.#writable = new QueueWritable<T>(this.#sender);
      this.#client.life.follow(this.#writable);
    }
    return this.#writable;
  }

  /**
   * Registers a producer with the queue on the other side and returns a
   * `WritableStream` of its own, see `Queue.producer`. The registration arrives with
   * the next message: a queue whose other producers are all done before may have
   * closed by then.
   */
  producer(options?: ProducerOptions): WritableStream<T> {
    const onError = producerPolicy(options);
    const { life, wire } = this.#client;
    if (!this.#sender.open) throw life.notOpen("register a producer");
    const id = ++this.#producers;
    return new PortProducer<T>(wire, this.#sender, life, id, onError).stream;
  }

  /** A `ReadableStream` of its own for one of several competing consumers; cancelling it leaves the items and the others alone. */
  consumer(): ReadableStream<T> {
    return new QueueReadable<T>(this.#receiver.end(), false);
  }

  /** A frozen snapshot of what is known on this side. */
  stats(): PortQueueStats {
    return Object.freeze({
      connected: this.#client.connected,
      length: this.length,
      desiredSize: this.desiredSize,
      put: this.#sender.accepted,
      taken: this.#receiver.taken,
      waitingPuts: this.#sender.waiting,
      underWay: this.#sender.underWay,
      waitingGets: this.#receiver.waiting,
      state: this.#client.life.state,
    });
  }

  #facts(): Readonly<Record<string, unknown>> {
    const { channel, highWaterMark } = this.#options;
    const { length, state } = this.stats();
    return { channel, length, highWaterMark, state };
  }
}

/** For `for await` and `await using`. */
export interface PortQueue<T> extends AsyncDisposable {
  /** One of any number of competing consumers. */
  [Symbol.asyncIterator](): AsyncIterableIterator<T>;
}
