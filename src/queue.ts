/**
 * The heart: one state machine for every kind of queue. What the items are
 * stored in decides their order (`buffers/`); waiting, admission, backpressure,
 * closing and cancellation live here, once.
 *
 * @module
 */

import { bufferOf } from "./buffers/buffer.ts";
import type { Buffer, Entry, Peer, Peers } from "./buffers/buffer.ts";
import { Ring } from "./buffers/ring.ts";
import { checkDelay, checkTimeLimit } from "./clock.ts";
import type { Delivery, ReceiveOptions } from "./delivery.ts";
import { callOut } from "./callbacks.ts";
import { QueueFullError, reasonOr } from "./errors.ts";
import { checkLimit, expect } from "./checks.ts";
import { Lifecycle } from "./lifecycle.ts";
import type { Failure, QueueFollower, QueueState } from "./lifecycle.ts";
import { LeaseReceiver, Leases, NEW } from "./leases.ts";
import type { History, LendingEnd } from "./leases.ts";
import { checkHighWaterMark, checkWeight, readStrategy } from "./strategy.ts";
import type {
  Overflow,
  QueueOptions,
  Strategy,
  UndeliveredReason,
} from "./strategy.ts";
import { factsOfStats, printBy } from "./printing.ts";
import { comeInTime, putEach } from "./putting.ts";
import { BatchGetter, Getter, NextGetter, QueueIterator } from "./taking.ts";
import { QueueReadable } from "./views/readable.ts";
import type { DirectEnd } from "./views/readable.ts";
import { QueueWritable } from "./views/writable.ts";
import { Producers, QueueSide, WholeEnd } from "./views/ends.ts";
import type { Endable, PuttingSide } from "./views/ends.ts";
import {
  deferred,
  FULFILLED,
  leaving,
  Line,
  Putter,
  SignalGroups,
  signalOf,
} from "./waiters.ts";
import type {
  Deferred,
  Receiver,
  Waiter,
  WaiterGroup,
  WaitingLine,
} from "./waiters.ts";

export type { QueueFollower, QueueState } from "./lifecycle.ts";

/** Options of {@linkcode Queue.put} and {@linkcode Queue.putMany}. */
export interface PutOptions {
  /** Gives up waiting: the put rejects with the signal's reason, the item is not taken over. */
  signal?: AbortSignal | undefined;
}

/** Options of {@linkcode Queue.get}. */
export interface GetOptions {
  /** Gives up waiting: the get rejects with the signal's reason and takes nothing. */
  signal?: AbortSignal | undefined;
}

/** Options of {@linkcode Queue.getMany}. */
export interface GetManyOptions extends GetOptions {
  /** How many milliseconds to wait for more after the first item. Default: 0. */
  linger?: number | undefined;
}

/** Options of {@linkcode Queue.producer}. */
export interface ProducerOptions {
  /**
   * What the failure (`abort`) of this producer means: `"collect"` lets the
   * others go on and ends the queue by `fail(AggregateError)` after the last,
   * `"abort"` aborts the queue, `"ignore"` counts it as done.
   * Default: `"collect"`.
   */
  onError?: "collect" | "abort" | "ignore" | undefined;
}

/** What {@linkcode Queue.stats} tells: a frozen snapshot. */
export interface QueueStats {
  /** The name the queue was given, or "". */
  readonly name: string;
  /** Items stored. */
  readonly length: number;
  /** Their weight, in the unit of `size`. Default: their number. */
  readonly size: number;
  /** Room left, in the unit of `size`; null once failed or aborted. */
  readonly desiredSize: number | null;
  /** The bound. */
  readonly highWaterMark: number;
  /** The most items that were ever stored at once. */
  readonly peakLength: number;
  /** Items accepted so far. */
  readonly put: number;
  /** Items given to consumers so far. */
  readonly taken: number;
  /** Items dropped by the overflow policy; they count as undelivered, too. */
  readonly dropped: number;
  /** Accepted items that reached no consumer: dropped, or thrown out by `abort()`. */
  readonly undelivered: number;
  /** Puts that wait for room. */
  readonly waitingPuts: number;
  /** Gets that wait for an item. */
  readonly waitingGets: number;
  /** Accepted items that nobody has marked as done, see {@linkcode Queue.join}. */
  readonly unfinished: number;
  /** Items that are lent, see {@linkcode Queue.receive}. */
  readonly inFlight: number;
  /** Items that a `nack` with a delay keeps back. */
  readonly delayed: number;
  /** How many times a lent item came back. Each of them counts as taken again when it is. */
  readonly returned: number;
  /** Registered producers that are not done yet. */
  readonly producers: number;
  /** When the item whose turn it is was put, on the clock of the queue; undefined without `timestamps`, and when there is none. */
  readonly oldest: number | undefined;
  /** Where the queue stands. */
  readonly state: QueueState;
}

/** What the rest of the library may do with a queue, beside its surface. */
interface Friend {
  isQueue(value: object): boolean;
  takeBack<T>(queue: Queue<T>, items: T[]): T[];
  endOf<T>(queue: Queue<T>): DirectEnd<T>;
  puttingSideOf<T>(queue: Queue<T>): PuttingSide<T>;
  watchPuts<T>(
    queue: Queue<T>,
    waits: (putter: Putter<T>) => void,
  ): PutWatch | undefined;
  isAwaited<T>(queue: Queue<T>): boolean;
  waitIn<T>(queue: Queue<T>, line: Line<Receiver<T>>): void;
  follow<T>(queue: Queue<T>, follower: QueueFollower): () => void;
  receiveWith<T>(
    queue: Queue<T>,
    delivered: (delivery: Delivery<T>) => void,
    none: (reason: unknown) => void,
  ): Waiter;
  assertInvariants<T>(queue: Queue<T>): void;
}

/** Made by the first queue there is: a bundler drops a module whose loading does nothing. */
let friend: Friend | undefined;

/** As `instanceof`, for who makes no queues: it keeps the class in no bundle that has none. */
export function isQueue<T>(value: unknown): value is Queue<T> {
  return friend !== undefined && typeof value === "object" && value !== null &&
    friend.isQueue(value);
}

/** Tells a queue that its kind took items out of the buffer, for the caller to keep. */
export function takeBack<T>(queue: Queue<T>, items: T[]): T[] {
  return friend!.takeBack(queue, items);
}

/**
 * The taking end of a queue; the same object each time, its `cancel` leaves the
 * queue alone. Who waits at several queues must be able to leave the lines of all
 * but one, which cannot be said in promises.
 */
export function endOf<T>(queue: Queue<T>): DirectEnd<T> {
  return friend!.endOf(queue);
}

/** How to put into a queue on behalf of others; the same object each time. */
export function puttingSideOf<T>(queue: Queue<T>): PuttingSide<T> {
  return friend!.puttingSideOf(queue);
}

/** Whether somebody waits for an item; a native read that was given up does not. */
export function isAwaited<T>(queue: Queue<T>): boolean {
  return friend!.isAwaited(queue);
}

/** From now on who waits for an item does so in that line; of a queue where nobody does. */
export function waitIn<T>(queue: Queue<T>, line: Line<Receiver<T>>): void {
  friend!.waitIn(queue, line);
}

/** Tells the follower when the queue takes nothing more, at once if it does not already; returns how to stop following. */
export function follow<T>(
  queue: Queue<T>,
  follower: QueueFollower,
): () => void {
  return friend!.follow(queue, follower);
}

/** As `receive`, for who has to know in the moment an item is lent; the waiter may be withdrawn. */
export function receiveWith<T>(
  queue: Queue<T>,
  delivered: (delivery: Delivery<T>) => void,
  none: (reason: unknown) => void,
): Waiter {
  return friend!.receiveWith(queue, delivered, none);
}

/** What there is to know about a queue whose puts are watched. */
export interface PutWatch {
  /** How the queue is called in messages. */
  readonly name: string;
  /** How many puts wait. */
  waiting(): number;
  /** How many items have ever been taken. */
  taken(): number;
  /** Changes with every item that comes or goes. */
  moves(): number;
  /** Whether somebody waits for an item, or has a view that could be read. */
  hasOthers(): boolean;
  /** Watches no longer. */
  end(): void;
}

/** Tells of each put that begins to wait. Undefined where it is watched already, or where other queues may take from it. */
export function watchPuts<T>(
  queue: Queue<T>,
  waits: (putter: Putter<T>) => void,
): PutWatch | undefined {
  return friend!.watchPuts(queue, waits);
}

/** Throws when the queue contradicts itself. For tests, after every step. */
export function assertInvariants<T>(queue: Queue<T>): void {
  friend!.assertInvariants(queue);
}

/**
 * A bounded queue between producers and consumers that is a pair of web
 * streams.
 *
 * - **Conservation.** An accepted item is delivered to exactly one consumer, or
 *   reported once to `onUndelivered`, or still in the queue.
 * - **Cancellation is atomic.** A `put` that rejects has stored nothing, a `get`
 *   that rejects has taken nothing. An already aborted signal wins over an item
 *   that is ready; once a promise is resolved, a later abort changes nothing.
 * - **Order.** First in, first out: items, waiting puts and waiting gets. Nobody
 *   overtakes one who waits.
 * - **Every promise settles** once the queue has ended: at once on abort and
 *   disposal, as the rest is taken on close and fail. A put that waits then is
 *   accepted as room comes, and waits while nobody takes anything.
 * - **Any value is an item**, `undefined` included.
 * - **Streams hide nothing.** A readable takes an item when somebody reads, not
 *   before.
 * - **Flat cost.** An operation costs the same at any depth, with any number of
 *   others waiting.
 *
 * | verb | new puts | waiting puts | stored items | waiting gets | `closed` |
 * |---|---|---|---|---|---|
 * | `close()` | reject | accepted, in order | delivered | served, then end | fulfils after the last item is taken |
 * | `fail(e)` | reject | accepted, in order | delivered | served, then reject `e` | rejects `e` after the last item is taken |
 * | `abort(e)` | reject `e` | reject `e` | to `onUndelivered` | reject `e` | rejects `e` at once |
 *
 * A `get` that waits does not keep a process alive by itself.
 *
 * @example A producer and a consumer
 * ```ts
 * import { Queue } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new Queue<number>({ highWaterMark: 2 });
 *
 * async function produce(): Promise<void> {
 *   for (let page = 1; page <= 5; page++) await queue.put(page); // waits while full
 *   queue.close();
 * }
 *
 * const seen: number[] = [];
 * const producing = produce();
 * for await (const page of queue) seen.push(page);
 * await producing;
 * assertEquals(seen, [1, 2, 3, 4, 5]);
 * ```
 *
 * @example In the middle of a pipe
 * ```ts
 * import { Queue } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new Queue<string>({ highWaterMark: 100 });
 * const source = new Response("one two").body!.pipeThrough(new TextDecoderStream());
 * let text = "";
 * await source.pipeThrough(queue).pipeTo(
 *   new WritableStream({ write: (chunk) => void (text += chunk) }),
 * );
 * assertEquals(text, "one two");
 * ```
 */
export class Queue<T>
  implements ReadableWritablePair<T, T>, AsyncIterable<T>, AsyncDisposable {
  readonly #buffer: Buffer<T>;
  /** Queues that this one shares items with. */
  readonly #peers: Peers<T> | undefined;
  readonly #strategy: Strategy<T>;
  readonly #sizeOf: ((item: T) => number) | undefined;
  /** Nothing about an arriving item has to be asked, of it or of others. */
  readonly #plain: boolean;
  readonly #overflow: Overflow;
  readonly #timestamps: boolean;
  #highWaterMark: number;
  readonly #life: Lifecycle;

  #getters: Line<Receiver<T>> = new Line();
  readonly #putters: WaitingLine<Putter<T>>;
  readonly #signals: SignalGroups = new SignalGroups();
  readonly #putWithdrawn: () => void = () => this.#endIfDrained();

  /** Learns of puts that wait, see {@linkcode watchPuts}. */
  #putWaits: ((putter: Putter<T>) => void) | undefined = undefined;

  #putCount = 0;
  #takenCount = 0;
  #droppedCount = 0;
  #undeliveredCount = 0;
  #clearedCount = 0;
  /** Items that came from other queues, less those that went there. */
  #movedCount = 0;
  /** Items that came back from where they were lent to. */
  #returnedCount = 0;
  /** Items that join() need not wait for any more. */
  #doneCount = 0;
  #peakLength = 0;

  #joined: Deferred<void> | undefined = undefined;

  #end: DirectEnd<T> | undefined = undefined;
  #readable: QueueReadable<T> | undefined = undefined;
  #side: PuttingSide<T> | undefined = undefined;
  #writable: QueueWritable<T> | undefined = undefined;
  #leases: Leases<T> | undefined = undefined;
  #producers: Producers<T> | undefined = undefined;

  /**
   * Makes a queue. Default: it holds 16 items.
   *
   * Throws a `TypeError` or `RangeError` that names the option it cannot use.
   */
  constructor(options?: QueueOptions<T>) {
    printBy(Queue.prototype, factsOfStats);
    friend ??= Queue.#makeFriend();
    this.#strategy = readStrategy(options);
    this.#life = new Lifecycle("queue", this.#strategy.name);
    this.#highWaterMark = this.#strategy.highWaterMark;
    this.#sizeOf = this.#strategy.size;
    this.#overflow = this.#strategy.overflow;
    this.#timestamps = this.#strategy.timestamps;
    this.#buffer = bufferOf(options) ?? new Ring<T>();
    this.#putters = this.#buffer.line<T>?.() ?? new Line<Putter<T>>();
    this.#peers = this.#buffer.join?.(this.#asPeer());
    this.#plain = this.#sizeOf === undefined &&
      this.#buffer.rank === undefined && this.#peers === undefined &&
      !this.#timestamps;
  }

  // -- State ------------------------------------------------------------------

  /** How many items are stored. What waits to be put is not among them. */
  get length(): number {
    return this.#buffer.length;
  }

  /**
   * The room left in the unit of `size`: highWaterMark − stored − waiting, so
   * below 0 while puts wait. 0 once `close()` was called, null once `fail()` or
   * `abort()` was.
   */
  get desiredSize(): number | null {
    if (this.#life.failure !== undefined) return null;
    if (this.#life.state !== "open") return 0;
    return this.#highWaterMark - this.#buffer.size - this.#putters.weight;
  }

  /**
   * The bound, in the unit of `size`. Raising it lets waiting puts in at once;
   * lowering it throws nothing out, puts wait until enough is taken.
   *
   * Setting throws a `TypeError` for what is no number, a `RangeError` for NaN
   * and below 0.
   */
  get highWaterMark(): number {
    return this.#highWaterMark;
  }

  set highWaterMark(value: number) {
    checkHighWaterMark("set highWaterMark", value);
    this.#highWaterMark = value;
    this.#peers?.changed();
    this.#admitWaitingPuts();
    this.#signalRoom();
    this.#endIfDrained();
  }

  /**
   * Fulfilled while there is room (`desiredSize > 0`), pending while there is
   * none. Fulfilled after `close()`; rejects with the reason of `fail` or
   * `abort`. A producer that waits for it before `tryPut` may still find the
   * room gone to another.
   */
  get ready(): Promise<void> {
    return this.#life.ready(this.#hasRoom());
  }

  /**
   * Fulfils when the queue was closed and the last item has been taken; rejects
   * with the reason of `fail` after the last item, of `abort` at once. Ignoring
   * it causes no unhandled rejection.
   */
  get closed(): Promise<void> {
    return this.#life.closed;
  }

  // -- Putting ----------------------------------------------------------------

  /**
   * Puts one item in, and waits for room while the queue is full.
   *
   * Fulfils when the item is accepted: handed to a waiting get, stored, or
   * dropped and reported under `"drop-newest"`. Waiting puts are let in in the
   * order of their arrival; a heavy one is not overtaken by light ones.
   *
   * Rejects with `QueueClosedError` after `close` or `fail`, with the reason
   * after `abort`, with `QueueFullError` when full under `"reject"`, with the
   * signal's reason when it fires, with whatever `size` throws. A put that
   * rejects has stored nothing. O(1).
   *
   * @example Giving up after a while
   * ```ts
   * import { Queue } from "@highwater/queue";
   * import { assertEquals, assertRejects } from "@std/assert";
   *
   * const queue = new Queue<string>({ highWaterMark: 1 });
   * await queue.put("first");
   * const giveUp = new AbortController();
   * const second = queue.put("second", { signal: giveUp.signal });
   * giveUp.abort(new Error("took too long")); // or AbortSignal.timeout(1000)
   * await assertRejects(() => second, Error, "took too long");
   * assertEquals(queue.clear(), ["first"]);
   * ```
   */
  put(item: T, options?: PutOptions): Promise<void> {
    // Most puts: no user code to ask, nobody waits, and there is room.
    if (
      options === undefined && this.#plain && this.#life.state === "open" &&
      this.#getters.first === undefined && this.#putters.first === undefined &&
      this.#hasRoom()
    ) {
      this.#putCount++;
      this.#store(item, 1, undefined);
      return FULFILLED;
    }
    return this.#put(item, options, undefined);
  }

  #put(
    item: T,
    options: PutOptions | undefined,
    group: WaiterGroup | undefined,
  ): Promise<void> {
    let rank: unknown;
    let weight = 1;
    let signal: AbortSignal | undefined;
    try {
      if (options !== undefined) signal = signalOf("put", options);
      // User code, so before anything is read: it may close or fill the queue.
      rank = this.#buffer.rank?.(item, options);
      if (this.#sizeOf !== undefined) weight = this.#weigh(item);
    } catch (reason) {
      return Promise.reject(reason);
    }
    if (this.#life.state !== "open") {
      return Promise.reject(this.#life.refusal(item));
    }
    if (
      this.#putters.first === undefined && this.#handOver(item, weight, rank)
    ) return FULFILLED;
    switch (this.#overflow) {
      case "wait": {
        const putter = new Putter(item, weight, rank, this.#putWithdrawn);
        this.#putters.push(putter);
        if (signal !== undefined) group = this.#signals.of(signal);
        group?.add(putter);
        this.#putWaits?.(putter);
        return putter.promise;
      }
      case "reject":
        return Promise.reject(this.#fullError(item));
      case "drop-newest":
        this.#putCount++;
        this.#drop([item], "drop-newest");
        return FULFILLED;
      case "drop-oldest":
        this.#replaceOldest(item, weight, rank);
        return FULFILLED;
    }
  }

  /**
   * Puts one item in if that needs no waiting, and says whether it did.
   *
   * False while the queue is full or a put waits; under `"drop-newest"` false
   * means that the item stays with you, unreported. Throws `QueueClosedError`
   * after `close` or `fail`, the reason after `abort`, and whatever `size`
   * throws. `options` are for kinds of queue that have some. O(1).
   *
   * @example Shedding load
   * ```ts
   * import { Queue } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>({ highWaterMark: 2 });
   * assertEquals([1, 2, 3].map((item) => queue.tryPut(item)), [true, true, false]);
   * ```
   */
  tryPut(item: T, options?: object): boolean {
    const rank = this.#buffer.rank?.(item, options);
    const weight = this.#sizeOf === undefined ? 1 : this.#weigh(item);
    if (this.#life.state !== "open") throw this.#life.refusal(item);
    if (
      this.#putters.first === undefined && this.#handOver(item, weight, rank)
    ) return true;
    if (this.#overflow !== "drop-oldest") return false;
    this.#replaceOldest(item, weight, rank);
    return true;
  }

  /**
   * Puts the items in one after the other, as {@linkcode Queue.put} would.
   *
   * Fulfils when all are accepted. An item is asked of the iterable only after
   * the one before was accepted, so a generator feels the backpressure. When one
   * is refused, the promise rejects with the error of its put, which carries
   * that item; those before it stay accepted, the iterable is closed, and none
   * after it has been asked for.
   *
   * From an async iterable, a signal or the end of the queue also ends the wait for
   * the next item; what a source that is busy then still gives goes to nobody.
   *
   * @example From a generator
   * ```ts
   * import { Queue } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * async function* pages(): AsyncGenerator<number> {
   *   yield* [3, 5];
   * }
   * await queue.putMany(pages());
   * await queue.putMany(new Set([8]));
   * assertEquals(await queue.getMany(10), [3, 5, 8]);
   * ```
   */
  async putMany(
    items: Iterable<T> | AsyncIterable<T>,
    options?: PutOptions,
  ): Promise<void> {
    const inTime = comeInTime(items);
    const signal = signalOf("put many", options);
    if (inTime) {
      const put = (item: T): Promise<void> => this.put(item, options);
      return await putEach(items, put, signal, this.closed);
    }
    for (const item of items) {
      const accepted = this.put(item, options);
      // Without a wait there is no reason to go through the event loop.
      if (accepted !== FULFILLED) await accepted;
    }
  }

  // -- Getting ----------------------------------------------------------------

  /**
   * Takes the next item, and waits for one while there is none.
   *
   * Waiting gets are served in the order of their arrival. Rejects with
   * `QueueClosedError` when the queue is closed and empty, with the reason after
   * `fail` (once empty) and `abort`, with the signal's reason when it fires; a
   * get that rejects has taken nothing. Do not race a get against a timer: its
   * item would go to nobody. Give it a signal. O(1).
   *
   * @example With a time limit
   * ```ts
   * import { Queue } from "@highwater/queue";
   * import { assertRejects } from "@std/assert";
   *
   * const queue = new Queue<string>();
   * await assertRejects(
   *   () => queue.get({ signal: AbortSignal.timeout(10) }),
   *   DOMException,
   * );
   * ```
   */
  get(options?: GetOptions): Promise<T> {
    let signal: AbortSignal | undefined;
    if (options !== undefined) {
      try {
        signal = signalOf("get", options);
      } catch (reason) {
        return Promise.reject(reason);
      }
    }
    if (this.#hasNext()) return Promise.resolve(this.#take());
    return new Promise<T>((resolve, reject) => {
      this.#wait(new Getter(resolve, reject), signal);
    });
  }

  /**
   * Takes the next item if there is one now; `undefined` if not, whatever the
   * state. Where `undefined` may be an item, `length` tells the two apart. O(1).
   *
   * @example Taking what is there
   * ```ts
   * import { Queue } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<string>();
   * queue.tryPut("item");
   * assertEquals(queue.tryGet(), "item");
   * assertEquals(queue.tryGet(), undefined);
   * ```
   */
  tryGet(): T | undefined {
    return this.#hasNext() ? this.#take() : undefined;
  }

  /**
   * Takes up to `max` items: what is there now, or, when there is nothing, what
   * comes first. With `linger` it then waits that many milliseconds for the
   * batch to fill.
   *
   * Fulfils with an empty array when the queue is closed and empty. Rejects like
   * {@linkcode Queue.get}, and then has taken nothing: a signal, `fail` or
   * `abort` that comes when it holds items already ends the lingering, and it
   * fulfils with what it has. `RangeError` when `max` is not a whole number from
   * 1 (or Infinity).
   *
   * @example Writing in batches
   * ```ts
   * import { Queue } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * await queue.putMany([1, 2, 3]);
   * queue.close();
   * assertEquals(await queue.getMany(2), [1, 2]);
   * assertEquals(await queue.getMany(2), [3]);
   * assertEquals(await queue.getMany(2), []);
   * ```
   */
  getMany(max: number, options?: GetManyOptions): Promise<T[]> {
    let signal: AbortSignal | undefined;
    const linger = options?.linger ?? 0;
    try {
      signal = signalOf("get many", options, {
        signal: true,
        linger: true,
      });
      checkLimit("get many", "max", max, 1);
      checkDelay("get many", "linger", linger);
    } catch (reason) {
      return Promise.reject(reason);
    }
    const items: T[] = [];
    while (items.length < max && this.#hasNext()) items.push(this.#take());
    if (items.length === max || (items.length > 0 && linger === 0)) {
      return Promise.resolve(items);
    }
    return new Promise<T[]>((resolve, reject) => {
      const { clock } = this.#strategy;
      this.#wait(
        new BatchGetter(resolve, reject, items, max, linger, clock),
        signal,
      );
    });
  }

  /**
   * As {@linkcode Queue.get}, in the words of an iterator: `{ done: true }` when
   * the queue is closed and empty. Rejects with the reason of `fail` or `abort`.
   * O(1).
   */
  next(): Promise<IteratorResult<T, undefined>> {
    return this.#next(undefined);
  }

  #next(group: WaiterGroup | undefined): Promise<IteratorResult<T, undefined>> {
    if (this.#hasNext()) {
      return Promise.resolve({ done: false, value: this.#take() });
    }
    return new Promise((resolve, reject) => {
      const getter = new NextGetter<T>(resolve, reject);
      this.#wait(getter, undefined);
      if (group !== undefined && getter.line !== undefined) group.add(getter);
    });
  }

  /**
   * Iterates over the items as one of any number of competing consumers: each
   * item goes to one of them. Ends when the queue is closed and empty, throws
   * the reason of `fail` or `abort`. Breaking off leaves the queue open and loses
   * nothing, also with a `next()` under way.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return new QueueIterator<T>((group) => this.#next(group));
  }

  // -- Ending -----------------------------------------------------------------

  /**
   * Ends the queue gracefully: no new puts; those that wait already are let in
   * as room comes, consumers take what is left and then see the end. Idempotent.
   *
   * @example The end for consumers
   * ```ts
   * import { Queue } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<string>();
   * await queue.put("last");
   * queue.close();
   * assertEquals(await queue.next(), { done: false, value: "last" });
   * assertEquals(await queue.next(), { done: true, value: undefined });
   * await queue.closed;
   * ```
   */
  close(): void {
    this.#close(undefined);
  }

  /**
   * Ends the queue as {@linkcode Queue.close} does, but consumers that have taken
   * everything see `reason` instead of the end. No effect once the queue is
   * closed, failed or aborted.
   *
   * @example Nothing is lost before the error
   * ```ts
   * import { Queue } from "@highwater/queue";
   * import { assertEquals, assertRejects } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * await queue.put(1);
   * queue.fail(new Error("source broke"));
   * assertEquals(await queue.get(), 1);
   * await assertRejects(() => queue.get(), Error, "source broke");
   * ```
   */
  fail(reason: unknown): void {
    this.#close({ reason });
  }

  #close(failure: Failure | undefined): void {
    if (!this.#life.close(failure)) return;
    this.#peers?.changed();
    this.#life.tell();
    this.#endIfDrained();
  }

  /**
   * Ends the queue now: puts and gets that wait reject with `reason`, stored
   * items go to `onUndelivered`. Also cuts a `close` or `fail` short. Without a
   * reason it is an `AbortError`.
   *
   * @example What was still inside
   * ```ts
   * import { Queue } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const left: string[] = [];
   * const queue = new Queue<string>({ onUndelivered: (item) => left.push(item) });
   * await queue.put("never taken");
   * queue.abort(new Error("shutting down"));
   * assertEquals(left, ["never taken"]);
   * ```
   */
  abort(reason?: unknown): void {
    this.#abort(reasonOr(reason, "The queue was aborted"));
  }

  #abort(reason: unknown): void {
    if (!this.#life.abort(reason)) return;
    const items = this.#buffer.clear();
    const delayed = this.#leases?.abort(reason) ?? [];
    this.#returnedCount += delayed.length;
    items.push(...delayed);
    this.#undeliveredCount += items.length;
    this.#markDone(items.length);
    for (const putter of leaving(this.#putters)) putter.reject(reason);
    for (const getter of leaving(this.#getters)) getter.reject(reason);
    this.#life.tell();
    this.#settleJoin();
    this.#peers?.ended();
    this.#report(items, "abort");
  }

  /**
   * Takes all stored items out and returns them in the order of their turn; they
   * are yours. Puts that wait are then let in. The items count as done for
   * {@linkcode Queue.join}.
   */
  clear(): T[] {
    return this.#takeBack(this.#buffer.clear());
  }

  /** What follows when items were taken out of the buffer for no consumer. */
  #takeBack(items: T[]): T[] {
    this.#clearedCount += items.length;
    this.#markDone(items.length);
    this.#admitWaitingPuts();
    this.#signalRoom();
    this.#settleJoin();
    this.#endIfDrained();
    return items;
  }

  /**
   * Aborts the queue unless it has ended by itself. For `await using`: nobody can
   * use the queue after the block, so nothing waits for a consumer.
   */
  [Symbol.asyncDispose](): Promise<void> {
    this.#abort(new DOMException("The queue was disposed", "AbortError"));
    return FULFILLED;
  }

  // -- Streams ----------------------------------------------------------------

  /**
   * The queue as a `ReadableStream`; the same object each time. It reads ahead by
   * nothing. `cancel(reason)` aborts the queue, as that of a `TransformStream`
   * would; a stream that leaves the queue alone is {@linkcode Queue.consumer}.
   */
  get readable(): ReadableStream<T> {
    this.#readable ??= new QueueReadable<T>(
      this.#takingEnd((reason) => this.#abort(reason)),
    );
    return this.#readable;
  }

  /**
   * The queue as a `WritableStream`; the same object each time. `write` is `put`,
   * `close` is `close`, `abort(reason)` is `abort(reason)`. A pipe waits for room
   * under every overflow policy but the dropping ones. A chunk that cannot be
   * put ends the pipe and fails the queue, as in a `TransformStream`. For several
   * sources, see {@linkcode Queue.producer}.
   */
  get writable(): WritableStream<T> {
    if (this.#writable === undefined) {
      this.#writable = new QueueWritable<T>(
        new WholeEnd(this.#puttingSide(), this.#endable()),
      );
      this.#life.follow(this.#writable);
    }
    return this.#writable;
  }

  /**
   * Registers a producer and returns a `WritableStream` of its own. Closing it
   * means that this producer is done; when the last registered one is done, the
   * queue closes. Aborting it means that this producer failed, see
   * {@linkcode ProducerOptions.onError}; what it has put in stays, what it waits
   * to put is rejected.
   *
   * Throws `QueueClosedError` once the queue has ended. The queue counts the
   * producer until its stream is closed or aborted.
   *
   * @example Many sources, one queue
   * ```ts
   * import { Queue } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * const sources = [[1, 2], [3, 4], [5]].map((part) =>
   *   new ReadableStream<number>({
   *     start(controller) {
   *       for (const item of part) controller.enqueue(item);
   *       controller.close();
   *     },
   *   })
   * );
   * const piping = Promise.all(sources.map((source) => source.pipeTo(queue.producer())));
   * let sum = 0;
   * for await (const item of queue) sum += item; // ends by itself
   * await piping;
   * assertEquals(sum, 15);
   * ```
   */
  producer(options?: ProducerOptions): WritableStream<T> {
    this.#producers ??= new Producers<T>(this.#endable());
    return this.#producers.register(this.#puttingSide(), options);
  }

  /**
   * A `ReadableStream` of its own for one of several competing consumers: each
   * item goes to one of them. Cancelling it takes this consumer away and leaves
   * the items and the others alone.
   *
   * @example Two consumers
   * ```ts
   * import { Queue } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<number>();
   * const [left, right] = [queue.consumer().getReader(), queue.consumer().getReader()];
   * const reads = [left.read(), right.read()];
   * await queue.putMany([1, 2, 3]);
   * assertEquals((await Promise.all(reads)).map((read) => read.value), [1, 2]);
   * await left.cancel();
   * assertEquals((await right.read()).value, 3);
   * ```
   */
  consumer(): ReadableStream<T> {
    return new QueueReadable<T>(this.#takingEnd(), false);
  }

  // -- Work under way ---------------------------------------------------------

  /**
   * Marks one taken item as done, for {@linkcode Queue.join}. `RangeError` when
   * all accepted items are marked already.
   */
  taskDone(): void {
    if (this.#unfinished() <= 0) {
      throw new RangeError(
        "Cannot mark a task as done: taskDone() goes with one item each of " +
          `${this.#life.called}, received one call more`,
      );
    }
    this.#markDone(1);
    this.#settleJoin();
  }

  /**
   * Fulfils when every accepted item was marked by {@linkcode Queue.taskDone};
   * dropped, aborted and cleared ones count as marked. After `abort` it waits
   * for nobody: it fulfils when nothing is owed and rejects with the reason
   * otherwise.
   *
   * @example Waiting for the work, not for the queue
   * ```ts
   * import { Queue } from "@highwater/queue";
   *
   * const queue = new Queue<string>();
   * await queue.putMany(["a", "b"]);
   * const worker = (async () => {
   *   for await (const _task of queue) queue.taskDone(); // after the work
   * })();
   * await queue.join();
   * queue.close();
   * await worker;
   * ```
   */
  join(): Promise<void> {
    if (this.#unfinished() === 0) return FULFILLED;
    // An aborted queue has no consumers left to wait for.
    if (this.#life.aborted) return Promise.reject(this.#life.reason);
    this.#joined ??= deferred();
    return this.#joined.promise;
  }

  // -- Items that are lent ----------------------------------------------------

  /**
   * Lends the next item, and waits for one while there is none, or while as many
   * are lent as `maxInFlight` allows. The item is done when its delivery is
   * acknowledged; it comes back, and is delivered again with the next higher
   * `attempt`, by `nack`, when the time it was lent for is over, and at the end
   * of an `await using` block without `ack`.
   *
   * It goes back to where it was taken from, whether or not there is room. While
   * an item is lent it counts for {@linkcode Queue.join} and not for the bound,
   * and a queue that was closed does not end. After `abort` the `signal` of each
   * delivery is aborted; what comes back then goes to `onUndelivered`.
   *
   * Rejects as {@linkcode Queue.get} does, and then has taken nothing. O(1); a
   * timer for each delivery with `visibility`.
   *
   * @example Nothing is lost with its worker
   * ```ts
   * import { Queue } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<string>();
   * await queue.put("task");
   * {
   *   await using delivery = await queue.receive();
   *   assertEquals([delivery.item, delivery.attempt], ["task", 1]);
   * } // left without ack(): the task goes back
   * const again = await queue.receive({ visibility: 30_000 });
   * assertEquals([again.item, again.attempt], ["task", 2]);
   * assertEquals(again.ack(), true);
   * await queue.join();
   * ```
   */
  receive(options?: ReceiveOptions): Promise<Delivery<T>> {
    let signal: AbortSignal | undefined;
    const visibility = options?.visibility ?? Infinity;
    try {
      signal = signalOf("receive", options);
      checkTimeLimit("receive", "visibility", visibility);
    } catch (reason) {
      return Promise.reject(reason);
    }
    const leases = this.#lending();
    return new Promise((resolve, reject) => {
      const receiver = new LeaseReceiver<T>(
        leases,
        visibility,
        resolve,
        reject,
      );
      leases.admit(receiver);
      if (signal !== undefined && receiver.line !== undefined) {
        this.#signals.of(signal).add(receiver);
      }
    });
  }

  /**
   * Lends the next item if there is one now that may be lent; `undefined` if not,
   * whatever the state. Otherwise as {@linkcode Queue.receive}. O(1).
   *
   * @example As many as there are
   * ```ts
   * import { Queue } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new Queue<string>();
   * queue.tryPut("task");
   * assertEquals(queue.tryReceive()?.item, "task");
   * assertEquals(queue.tryReceive(), undefined);
   * ```
   */
  tryReceive(
    options?: Pick<ReceiveOptions, "visibility">,
  ): Delivery<T> | undefined {
    const visibility = options?.visibility ?? Infinity;
    checkTimeLimit("receive", "visibility", visibility);
    const leases = this.#lending();
    if (!this.#hasNext() || !leases.mayLend()) return undefined;
    const entry = this.#nextEntry();
    const delivery = leases.lend(this.#remove(), entry, visibility);
    this.#afterRemoval();
    return delivery;
  }

  #lending(): Leases<T> {
    return this.#leases ??= new Leases<T>(this.#lendingEnd());
  }

  #lendingEnd(): LendingEnd<T> {
    return {
      clock: this.#strategy.clock,
      most: this.#strategy.maxInFlight,
      serve: (receiver) => {
        if (!this.#hasNext()) return this.#wait(receiver, undefined);
        // The item goes over before the queue may end because of it.
        const { weight, rank, note } = this.#nextEntry();
        receiver.accept(this.#remove(), weight, rank, note);
        this.#afterRemoval();
      },
      done: () => {
        this.#markDone(1);
        this.#settleJoin();
        this.#endIfDrained();
      },
      putBack: (item, entry) => this.#putBack(item, entry),
    };
  }

  /** What is known of the item that `#remove` will return. */
  #nextEntry(): Entry {
    if (!this.#hasOwn()) this.#peers!.fetch();
    if (this.#buffer.length === 0) {
      const { weight, rank } = this.#putters.first!;
      return { weight, rank, note: this.#noteNow() };
    }
    return this.#buffer.next();
  }

  /** What was lent is here again: for who waits, or stored whether or not there is room. */
  #putBack(item: T, entry: Entry): void {
    this.#returnedCount++;
    this.#peers?.changed();
    if (this.#life.state === "errored") {
      this.#undeliveredCount++;
      this.#markDone(1);
      this.#settleJoin();
      return this.#report([item], "abort");
    }
    const getter = this.#oldestGetter();
    if (getter !== undefined) {
      const { weight, rank, note } = entry;
      this.#takenCount++;
      getter.accept(item, weight, rank, note);
      return this.#endIfDrained();
    }
    if (this.#peers?.isWaiting() === true) {
      this.#peers.deliver(item, entry, this.#moved(1));
      return this.#endIfDrained();
    }
    this.#buffer.putBack(item, entry);
    this.#notePeak(this.#buffer.length);
  }

  /** A frozen snapshot of the counters. Costs nothing between calls. */
  stats(): QueueStats {
    return Object.freeze({
      name: this.#strategy.name,
      length: this.#buffer.length,
      size: this.#buffer.size,
      desiredSize: this.desiredSize,
      highWaterMark: this.#highWaterMark,
      peakLength: this.#peakLength,
      put: this.#putCount,
      taken: this.#takenCount,
      dropped: this.#droppedCount,
      undelivered: this.#undeliveredCount,
      waitingPuts: this.#putters.length,
      waitingGets: this.#getters.length + (this.#leases?.waiting ?? 0),
      unfinished: this.#unfinished(),
      inFlight: this.#leases?.inFlight ?? 0,
      delayed: this.#leases?.delayed.size ?? 0,
      returned: this.#returnedCount,
      producers: this.#producers?.count ?? 0,
      oldest: this.#oldest(),
      state: this.#life.state,
    });
  }

  // -- The hand-off -----------------------------------------------------------

  /**
   * The one way for an item into the queue: to the oldest get that still waits,
   * here or else with a neighbour, else into the buffer if there is room. Whoever calls has made sure that no
   * put waits before this one.
   */
  #handOver(item: T, weight: number, rank: unknown): boolean {
    if (this.#getters.first !== undefined) {
      const getter = this.#oldestGetter();
      if (getter !== undefined) {
        this.#putCount++;
        this.#takenCount++;
        this.#peers?.changed();
        getter.accept(item, weight, rank, this.#noteNow());
        return true;
      }
    }
    if (this.#peers?.isWaiting() === true) {
      this.#putCount++;
      const note = this.#noteNow();
      this.#peers.deliver(item, { weight, rank, note }, this.#moved(1));
      return true;
    }
    if (!this.#hasRoom()) return false;
    this.#putCount++;
    this.#store(item, weight, rank);
    return true;
  }

  #store(item: T, weight: number, rank: unknown): void {
    const buffer = this.#buffer;
    if (this.#timestamps) buffer.push(item, weight, rank, this.#noteNow());
    else buffer.push(item, weight, rank);
    if (buffer.length > this.#peakLength) this.#peakLength = buffer.length;
  }

  #notePeak(length: number): void {
    if (length > this.#peakLength) this.#peakLength = length;
  }

  #oldest(): number | undefined {
    if (this.#buffer.length === 0) return undefined;
    return (this.#buffer.next().note as History | undefined)?.enqueuedAt;
  }

  #noteNow(): History {
    if (!this.#timestamps) return NEW;
    return { attempt: 0, enqueuedAt: this.#strategy.clock.now() };
  }

  /** Passes over native reads that were given up, see `views/readable.ts`. */
  #oldestGetter(): Receiver<T> | undefined {
    let getter = this.#getters.first;
    while (getter !== undefined && !getter.isWaiting()) {
      getter.leave();
      getter.end();
      getter = this.#getters.first;
    }
    return getter;
  }

  /** Room for one more, whatever its weight. */
  #hasRoom(): boolean {
    return this.#buffer.size < this.#highWaterMark;
  }

  #admitWaitingPuts(): void {
    for (
      let putter = this.#putters.first;
      putter !== undefined && this.#hasRoom();
      putter = this.#putters.first
    ) {
      // It leaves first: an item's `then` may call back in here.
      putter.leave();
      putter.accepted();
      this.#handOver(putter.item, putter.weight, putter.rank);
    }
  }

  #hasNext(): boolean {
    if (this.#hasOwn()) return true;
    if (this.#peers === undefined) return false;
    return this.#life.state !== "errored" && this.#peers.hasItems();
  }

  #hasOwn(): boolean {
    return this.#buffer.length > 0 || this.#putters.first !== undefined;
  }

  /** Takes the next item; there is one. */
  #take(): T {
    const item = this.#remove();
    this.#afterRemoval();
    return item;
  }

  #remove(): T {
    this.#takenCount++;
    if (this.#buffer.length > 0) return this.#buffer.shift();
    if (this.#peers !== undefined && this.#putters.first === undefined) {
      this.#peers.fetch();
      return this.#buffer.shift();
    }
    // Nothing is stored, so there never is room: a rendezvous.
    const putter = this.#putters.first!;
    putter.leave();
    this.#putCount++;
    putter.accepted();
    return putter.item;
  }

  #afterRemoval(): void {
    if (this.#putters.first !== undefined) this.#admitWaitingPuts();
    if (this.#life.isCalm) return;
    this.#signalRoom();
    this.#endIfDrained();
  }

  #wait(receiver: Receiver<T>, signal: AbortSignal | undefined): void {
    if (this.#life.state === "closed") return receiver.end();
    if (this.#life.state === "errored") {
      return receiver.reject(this.#life.reason);
    }
    this.#getters.push(receiver);
    this.#peers?.waits(receiver);
    if (signal !== undefined) this.#signals.of(signal).add(receiver);
  }

  // -- Overflow ---------------------------------------------------------------

  #replaceOldest(item: T, weight: number, rank: unknown): void {
    const dropped: T[] = [];
    while (!this.#hasRoom() && this.#buffer.yieldsTo(rank)) {
      dropped.push(this.#buffer.evict());
    }
    this.#putCount++;
    if (this.#hasRoom()) this.#store(item, weight, rank);
    else dropped.push(item);
    this.#signalRoom();
    this.#drop(dropped, "drop-oldest");
  }

  #drop(items: T[], reason: UndeliveredReason): void {
    this.#droppedCount += items.length;
    this.#undeliveredCount += items.length;
    this.#markDone(items.length);
    this.#settleJoin();
    this.#report(items, reason);
  }

  /** The last thing an operation does: from here on user code runs. */
  #report(items: T[], reason: UndeliveredReason): void {
    const { onUndelivered } = this.#strategy;
    if (onUndelivered === undefined) return;
    const owner = this.#life.called;
    for (const item of items) {
      callOut(owner, "onUndelivered", onUndelivered, item, reason);
    }
  }

  #weigh(item: T): number {
    const sizeOf = this.#sizeOf!;
    return checkWeight(sizeOf(item));
  }

  // -- Endings ----------------------------------------------------------------

  #endIfDrained(): void {
    if (this.#life.state !== "closing" || this.#hasOwn()) return;
    if (this.#leases !== undefined && this.#leases.outstanding > 0) return;
    if (this.#peers?.mayHaveItems() === true) return;
    const { failure } = this.#life;
    this.#life.finish();
    for (const getter of leaving(this.#getters)) {
      if (failure === undefined) getter.end();
      else getter.reject(failure.reason);
    }
    this.#life.tell();
    this.#peers?.ended();
  }

  #signalRoom(): void {
    if (this.#life.awaitsRoom && this.#hasRoom()) this.#life.roomCame();
  }

  #settleJoin(): void {
    if (this.#joined === undefined) return;
    if (this.#unfinished() === 0) this.#joined.resolve();
    else if (this.#life.aborted) this.#joined.reject(this.#life.reason);
    else return;
    this.#joined = undefined;
  }

  /** No more than there is: an item may have been marked before it was taken. */
  #markDone(count: number): void {
    this.#peers?.changed();
    this.#doneCount += Math.min(count, this.#unfinished());
  }

  /** So many items are a neighbour's now. How many of them are marked as done, too. */
  #moved(count: number): number {
    const done = Math.max(count - this.#unfinished(), 0);
    this.#movedCount -= count;
    this.#doneCount -= done;
    this.#settleJoin();
    return done;
  }

  #unfinished(): number {
    return this.#putCount + this.#movedCount - this.#doneCount;
  }

  #fullError(item: T): QueueFullError<T> {
    return new QueueFullError<T>(
      `Cannot put: ${this.#life.called} must have room, received ` +
        `${this.#buffer.size} of ${this.#highWaterMark} in use`,
      { item },
    );
  }

  // -- What the views see -----------------------------------------------------

  #takingEnd(cancel?: (reason: unknown) => void): DirectEnd<T> {
    return {
      next: (group) => this.#next(group),
      hasNext: () => this.#hasNext(),
      take: () => this.#take(),
      serve: (receiver) => {
        if (!this.#hasNext()) return this.#wait(receiver, undefined);
        // The item goes over before the queue may end because of it.
        receiver.accept(this.#remove());
        this.#afterRemoval();
      },
      cancel,
      watch: (view) => this.#life.watch(view),
      unwatch: (view) => this.#life.unwatch(view),
    };
  }

  #puttingSide(): PuttingSide<T> {
    return this.#side ??= new QueueSide<T>(
      this,
      this.#life,
      this.#putters,
      (item, group) => this.#put(item, undefined, group),
      this.#overflow === "reject",
    );
  }

  #endable(): Endable {
    return {
      life: this.#life,
      close: () => this.close(),
      fail: (reason) => this.fail(reason),
      abort: (reason) => this.#abort(reason),
    };
  }

  #watchPuts(waits: (putter: Putter<T>) => void): PutWatch | undefined {
    if (this.#putWaits !== undefined || this.#peers !== undefined) {
      return undefined;
    }
    this.#putWaits = waits;
    return {
      name: this.#life.called,
      waiting: () => this.#putters.length,
      taken: () => this.#takenCount,
      moves: () => this.#putCount + this.#takenCount + this.#clearedCount,
      hasOthers: () =>
        this.#getters.first !== undefined || this.#life.isWatched,
      end: () => {
        this.#putWaits = undefined;
      },
    };
  }

  // -- What the neighbours see -------------------------------------------------

  #asPeer(): Peer<T> {
    return {
      tell: (known) => {
        known.open = this.#life.state === "open";
        known.waitingPuts = this.#putters.length;
        known.room = this.#highWaterMark - this.#buffer.size;
        known.unfinished = this.#unfinished();
        known.inFlight = this.#life.aborted
          ? 0
          : this.#leases?.outstanding ?? 0;
      },
      isWaiting: () => this.#oldestGetter() !== undefined,
      deliver: (item, { weight, rank, note }, done) => {
        this.#movedCount++;
        this.#doneCount += done;
        this.#takenCount++;
        this.#peers!.changed();
        this.#oldestGetter()!.accept(item, weight, rank, note);
      },
      admitOne: () => {
        const putter = this.#putters.first!;
        putter.leave();
        putter.accepted();
        this.#putCount++;
        this.#store(putter.item, putter.weight, putter.rank);
      },
      gave: (count) => {
        const done = this.#moved(count);
        this.#afterRemoval();
        return done;
      },
      received: (count, done) => {
        this.#movedCount += count;
        this.#doneCount += done;
        this.#peers!.changed();
        this.#notePeak(this.#buffer.length);
      },
      endIfDrained: () => this.#endIfDrained(),
    };
  }

  // -- Invariants -------------------------------------------------------------

  #assertInvariants(): void {
    const waitingGet = this.#oldestGetter() !== undefined;
    const stored = this.#buffer.length;
    expect(!(stored > 0 && waitingGet), "items stored, so no get waits");
    expect(
      !(this.#putters.length > 0 && waitingGet),
      "a put waits, so no get does",
    );
    expect(
      !(this.#peers?.hasItems() === true && waitingGet),
      "a neighbour has items, so no get waits",
    );
    expect(
      !(this.#hasRoom() && this.#putters.length > 0),
      "there is room, so no put waits",
    );
    expect(
      this.#putCount + this.#movedCount + this.#returnedCount ===
        this.#takenCount + stored + this.#undeliveredCount + this.#clearedCount,
      "put + moved here + returned = taken + stored + undelivered + cleared",
    );
    expect(this.#unfinished() >= 0, "no more is done than was put");
    expect(
      (this.#putters.length === 0) === (this.#putters.first === undefined) &&
        this.#getters.length === count(this.#getters),
      "a line is as long as it says",
    );
    const ended = this.#life.state === "closed" ||
      this.#life.state === "errored";
    expect(
      !ended ||
        (stored === 0 && this.#putters.length === 0 && !waitingGet),
      "an ended queue holds nothing and nobody",
    );
    expect(
      this.#life.state !== "closing" || this.#hasOwn() ||
        (this.#leases !== undefined && this.#leases.outstanding > 0) ||
        this.#peers?.mayHaveItems() === true,
      "a closing queue has something left",
    );
    this.#peers?.assertInvariants();
    const rank = RANKS.indexOf(this.#life.state);
    expect(rank >= this.#stateRank, "the state only moves forward");
    this.#stateRank = rank;
  }

  #stateRank = 0;

  static #makeFriend(): Friend {
    return {
      assertInvariants: (queue) => queue.#assertInvariants(),
      endOf: (queue) => queue.#end ??= queue.#takingEnd(),
      puttingSideOf: (queue) => queue.#puttingSide(),
      takeBack: (queue, items) => queue.#takeBack(items),
      follow(queue, follower): () => void {
        queue.#life.follow(follower);
        return () => queue.#life.unfollow(follower);
      },
      receiveWith(queue, delivered, none): Waiter {
        const leases = queue.#lending();
        const receiver = new LeaseReceiver(leases, Infinity, delivered, none);
        leases.admit(receiver);
        return receiver;
      },
      isQueue: (value) => #buffer in value,
      watchPuts: (queue, waits) => queue.#watchPuts(waits),
      isAwaited: (queue) => queue.#oldestGetter() !== undefined,
      waitIn: (queue, line) => void (queue.#getters = line),
    };
  }
}

// Said again beside the class, because `deno pack` leaves members that are named by
// symbols out of the declarations of a class.
/** For `for await` and `await using`. */
export interface Queue<T> extends AsyncDisposable {
  /** One of any number of competing consumers. */
  [Symbol.asyncIterator](): AsyncIterableIterator<T>;
}

const RANKS: readonly QueueState[] = ["open", "closing", "closed", "errored"];

function count(line: Line<Receiver<never>>): number {
  let length = 0;
  for (let at: unknown = line.first; at !== undefined; length++) {
    at = (at as Receiver<unknown>).next;
  }
  return length;
}
