/**
 * The queue that threads share.
 *
 * @module
 */

import { callOut } from "../../callbacks.ts";
import { checkCount, checkLimit } from "../../checks.ts";
import { checkDelay, systemClock } from "../../clock.ts";
import { QueueClosedError, reasonOr } from "../../errors.ts";
import { Lifecycle } from "../../lifecycle.ts";
import type { EndingView, Failure } from "../../lifecycle.ts";
import type {
  GetManyOptions,
  GetOptions,
  ProducerOptions,
  PutOptions,
} from "../../queue.ts";
import {
  BatchGetter,
  Getter,
  NextGetter,
  QueueIterator,
} from "../../taking.ts";
import { factsOfStats, printBy } from "../../printing.ts";
import { comeInTime, producerPolicy, putEach } from "../../putting.ts";
import { QueueReadable } from "../../views/readable.ts";
import type { TakingEnd } from "../../views/readable.ts";
import { QueueWritable } from "../../views/writable.ts";
import type { PuttingEnd } from "../../views/writable.ts";
import {
  FULFILLED,
  leaving,
  Putter,
  SignalGroups,
  signalOf,
} from "../../waiters.ts";
import type { Receiver, Waiter, WaiterGroup } from "../../waiters.ts";
import { Incoming } from "./incoming.ts";
import { Header, type SharedQueueHandle, Slot, State } from "./layout.ts";
import { countMembers, type Owed, total, type WaitField } from "./members.ts";
import { Attachment, deadlineOf, readOptions } from "./options.ts";
import type {
  AttachOptions,
  SharedQueueOptions,
  SharedQueueStats,
  SyncOptions,
} from "./options.ts";
import { Outgoing } from "./outgoing.ts";
import { Producers } from "./producers.ts";
import { readReason, writeReason } from "./reason_text.ts";
import { Lines } from "./lines.ts";
import { type Image, SharedRing } from "./ring.ts";
import { checkMayBlock, FillingGetter, SyncPutter } from "./waiting.ts";
import { type Waiting, WakeUps } from "./wake_up.ts";

/**
 * A bounded queue between threads: any number of them put, any number take, over
 * memory they share. Nothing is posted, so that nothing piles up: a full queue
 * makes its producers wait, wherever they are.
 *
 * Make one, send {@linkcode SharedQueue.handle} to the other threads, and let them
 * {@linkcode SharedQueue.attach}. Each handle works like a `Queue`: the same
 * promises, cancellation and streams.
 *
 * - **Conservation.** An accepted item is delivered to exactly one consumer on one
 *   thread, or reported once to `onUndelivered` by the handle that aborts, or
 *   still in the queue. What a thread had taken goes with it when it is
 *   terminated.
 * - **Cancellation is atomic.** A `put` that rejects has stored nothing, a `get`
 *   that rejects has taken nothing.
 * - **Order.** First in, first out: all items of the queue; and the waiting puts
 *   and the waiting gets of one handle. Between handles, who is awake goes first;
 *   a put that woke four times in vain gets the next room for itself.
 * - **Every promise settles** once the queue has ended on any thread, a put that
 *   waits on close as room comes; and when the handle is detached.
 * - **A thread that dies**, however and in whatever it was doing, is found out
 *   within two or three seconds by who waits at the queue, and at once by who
 *   attaches and finds no place: its waiting puts are withdrawn, its producers have
 *   failed, its place is free. A thread that is only busy is not taken for dead.
 *   Where there is no `Atomics.waitAsync` (some browsers), only one that died inside
 *   the queue is found; say so of others with {@linkcode SharedQueue.reap}.
 *
 * An item crosses as bytes, see {@linkcode Codec}: what arrives is a copy, taken
 * when `put` was called. A wait keeps Node and Deno alive until
 * {@linkcode SharedQueue.unref}.
 *
 * It needs `SharedArrayBuffer`: Deno, Bun, Node, and pages that are cross-origin
 * isolated.
 *
 * @example Two handles; the other one may be on any thread
 * ```ts
 * import { SharedQueue } from "@highwater/queue/threads";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new SharedQueue<string>({ bytes: 65536 });
 *
 * // In a worker: const tasks = SharedQueue.attach<string>(event.data);
 * const tasks = SharedQueue.attach<string>(structuredClone(queue.handle));
 * const seen: string[] = [];
 * const working = (async () => {
 *   for await (const task of tasks) seen.push(task);
 * })();
 *
 * for (const task of ["a", "b", "c"]) await queue.put(task); // waits while full
 * queue.close();
 * await working;
 * assertEquals(seen, ["a", "b", "c"]);
 * ```
 */
export class SharedQueue<T>
  implements ReadableWritablePair<T, T>, AsyncIterable<T>, AsyncDisposable {
  readonly #ring: SharedRing;
  readonly #outgoing: Outgoing<T>;
  readonly #incoming: Incoming<T>;
  readonly #wakeUps: WakeUps;
  readonly #producers: Producers;
  readonly #name: string;
  readonly #onUndelivered: AttachOptions<T>["onUndelivered"];
  readonly #onAbandoned: AttachOptions<T>["onAbandoned"];

  readonly #life: Lifecycle;
  /** Why this handle has ended the queue; of others it is read in the memory. */
  #ownFailure: Failure | undefined = undefined;
  #hasLeft = false;

  readonly #lines: Lines<T>;
  readonly #signals: SignalGroups = new SignalGroups();
  readonly #putWithdrawn: () => void = () => this.#move();
  #watchesEnd = false;

  #readable: QueueReadable<T> | undefined = undefined;
  #writable: QueueWritable<T> | undefined = undefined;
  /** Where else it is said that the item of a receiver cannot be decoded. */
  readonly #viewOf: WeakMap<Receiver<T>, EndingView> = new WeakMap();

  /**
   * Makes a queue, and this handle on it.
   *
   * Throws a `TypeError` or `RangeError` that names the option it cannot use, and
   * a `TypeError` where there is no `SharedArrayBuffer`.
   */
  constructor(options: SharedQueueOptions<T> = {}) {
    printBy(SharedQueue.prototype, factsOfStats);
    const settings = readOptions(options);
    const { codec, memory, name } = settings;
    this.#name = name;
    this.#life = new Lifecycle("queue", name);
    this.#onUndelivered = settings.onUndelivered;
    this.#onAbandoned = settings.onAbandoned;
    this.#ring = new SharedRing(memory, {
      busy: () => this.#wakeUps.lookSoon(),
      died: (id) => this.#foundDead(id),
    });
    this.#incoming = new Incoming(this.#ring, codec);
    this.#producers = new Producers(this.#ring, this, this.#life.called);
    this.#wakeUps = new WakeUps(this.#ring, this.#asWaiting());
    this.#lines = new Lines(this.#ring, this.#incoming, {
      release: (what) => this.#wakeUps.release(what),
      refuse: (receiver, error) => this.#refuseUnread(receiver, error),
    });
    this.#outgoing = new Outgoing(
      this.#ring,
      codec,
      this.#life.called,
      this.#lines,
    );
    // Later: nobody knows this handle yet.
    queueMicrotask(() => this.#bury(this.#ring.member.displaced));
  }

  /**
   * The queue behind a handle, on this thread or any other.
   *
   * Throws when the handle is none, when its memory is that of something else, of
   * another version of this library or of another size, and a `RangeError` when
   * 32 handles are attached already.
   *
   * @example From a worker's first message
   * ```ts
   * import { SharedQueue } from "@highwater/queue/threads";
   * import { assertThrows } from "@std/assert";
   *
   * const queue = new SharedQueue<number>();
   * const here = SharedQueue.attach<number>(queue.handle);
   * here.detach();
   * queue.detach();
   * assertThrows(() => SharedQueue.attach(JSON.parse("{}")), TypeError);
   * ```
   */
  static attach<T>(
    handle: SharedQueueHandle,
    options: AttachOptions<T> = {},
  ): SharedQueue<T> {
    return new SharedQueue<T>(new Attachment(handle, options));
  }

  // -- State ------------------------------------------------------------------

  /** What to send to other threads, for {@linkcode SharedQueue.attach}. */
  get handle(): SharedQueueHandle {
    return {
      kind: "highwater-shared-queue",
      buffer: this.#ring.memory.buffer,
      name: this.#name,
    };
  }

  /** Names this handle among all that ever were attached, for {@linkcode SharedQueue.reap}. */
  get id(): number {
    return this.#ring.member.token;
  }

  /** How many items are stored, whoever put them. */
  get length(): number {
    return this.#ring.length + this.#incoming.kept;
  }

  /**
   * The room left in items: highWaterMark − stored − waiting here; 0 or less also
   * while the ring has no room for any record or puts wait here for more of it.
   * 0 once `close()` was called, null once `fail()`, `abort()` or `detach()` was.
   */
  get desiredSize(): number | null {
    this.#observe();
    if (this.#life.failure !== undefined) return null;
    if (this.#life.state !== "open") return 0;
    const waiting = this.#lines.putters.length;
    const room = this.highWaterMark - this.#ring.length;
    if (waiting > 0) return Math.min(room, 0) - waiting;
    return this.#ring.hasRoomFor(1) ? room : Math.min(room, 0);
  }

  /**
   * The bound in items, for all handles. Raising it lets waiting puts in, lowering
   * it throws nothing out.
   *
   * Setting throws a `TypeError` for what is no number, a `RangeError` for what is
   * not a whole number from 1, or Infinity.
   */
  get highWaterMark(): number {
    return this.#ring.highWaterMark;
  }

  set highWaterMark(value: number) {
    checkLimit("set highWaterMark", "highWaterMark", value, 1);
    this.#ring.highWaterMark = value;
    this.#ring.member.wake(Header.WAIT_ROOM, Infinity);
    this.#move();
  }

  /**
   * Fulfilled while there is room (`desiredSize > 0`), pending while there is
   * none. Fulfilled after `close()`; rejects with the reason of `fail` or `abort`.
   */
  get ready(): Promise<void> {
    this.#observe();
    const ready = this.#life.ready(this.desiredSize! > 0);
    if (this.#life.awaitsRoom) this.#wakeUps.look();
    return ready;
  }

  /**
   * Fulfils when the queue was closed and the last item has been taken; rejects
   * with the reason of `fail` after the last item, of `abort` at once, and with a
   * `QueueClosedError` when this handle is detached before.
   */
  get closed(): Promise<void> {
    this.#observe();
    const { closed } = this.#life;
    this.#watchEnd();
    return closed;
  }

  // -- Putting ----------------------------------------------------------------

  /**
   * Puts a copy of one item in, and waits for room while the queue is full.
   *
   * Rejects with `QueueClosedError` after `close` or `fail`, with the reason after
   * `abort`, with the signal's reason when it fires, with what the codec throws,
   * and with a `RangeError` when the item takes more bytes than the ring has. A
   * put that rejects has stored nothing.
   *
   * @example Giving up after a while
   * ```ts
   * import { SharedQueue } from "@highwater/queue/threads";
   * import { assertEquals, assertRejects } from "@std/assert";
   *
   * const queue = new SharedQueue<string>({ highWaterMark: 1 });
   * await queue.put("first");
   * await assertRejects(
   *   () => queue.put("second", { signal: AbortSignal.timeout(10) }),
   *   DOMException,
   * );
   * assertEquals(queue.clear(), ["first"]);
   * queue.detach();
   * ```
   */
  put(item: T, options?: PutOptions): Promise<void> {
    if (options === undefined) return this.#put(item, undefined, undefined);
    let signal: AbortSignal | undefined;
    try {
      signal = signalOf("put", options);
    } catch (reason) {
      return Promise.reject(reason);
    }
    return this.#put(item, signal, undefined);
  }

  #put(
    item: T,
    signal: AbortSignal | undefined,
    group: WaiterGroup | undefined,
  ): Promise<void> {
    let image: Image | undefined;
    try {
      image = this.#storeNow(item);
    } catch (reason) {
      return Promise.reject(reason);
    }
    if (image === undefined) return FULFILLED;
    const putter = new Putter(item, 1, image, this.#putWithdrawn);
    if (!this.#standInLine(putter)) return Promise.reject(this.#refusal(item));
    if (signal !== undefined) group = this.#signals.of(signal);
    group?.add(putter);
    this.#wakeUps.look();
    return putter.promise;
  }

  /** False when the queue has ended meanwhile. */
  #standInLine(putter: Putter<T>): boolean {
    if (!this.#ring.announcePut(this.#lines.putters.length + 1)) {
      this.#observe();
      return false;
    }
    this.#lines.putters.push(putter);
    return true;
  }

  /**
   * Puts one item in if that needs no waiting, and says whether it did.
   *
   * False while the queue is full or a put waits at this handle. Throws
   * `QueueClosedError` after `close` or `fail`, the reason after `abort`, what the
   * codec throws, and a `RangeError` for an item larger than the ring. Never
   * waits longer than another thread takes to copy a record.
   */
  tryPut(item: T): boolean {
    return this.#storeNow(item) === undefined;
  }

  /** Stores the item, or returns what would have to wait. */
  #storeNow(item: T): Image | undefined {
    const image = this.#outgoing.put(item);
    if (image === undefined) return undefined;
    this.#observe();
    if (this.#life.state !== "open") throw this.#refusal(item);
    return image;
  }

  /**
   * Puts the items in one after the other, as {@linkcode SharedQueue.put} would,
   * and wakes consumers less often than so many puts. An array is read ahead in
   * batches; of any other iterable an item is asked only after the one before was
   * accepted.
   *
   * From an async iterable, a signal or the end of the queue also ends the wait for
   * the next item.
   *
   * When an item is refused, the promise rejects with the error of its put; those
   * before it stay accepted, and none after it is put.
   */
  async putMany(
    items: Iterable<T> | AsyncIterable<T>,
    options?: PutOptions,
  ): Promise<void> {
    const inTime = comeInTime(items);
    const signal = signalOf("put many", options);
    const put = (item: T): Promise<void> => this.put(item, options);
    if (inTime) {
      return await putEach(items, put, signal, this.closed);
    }
    return await this.#outgoing.putMany(items, put);
  }

  /**
   * Puts one item in and blocks the thread until there is room. For workers whose
   * work is not asynchronous.
   *
   * Throws as {@linkcode SharedQueue.put} rejects; a `TimeoutError` when the time
   * is over, and nothing is stored then; a `TypeError` when there is no room and
   * this thread may not block, as that of a page.
   *
   * @example A bound on the wait
   * ```ts
   * import { SharedQueue } from "@highwater/queue/threads";
   * import { assertEquals, assertThrows } from "@std/assert";
   *
   * const queue = new SharedQueue<number>({ highWaterMark: 1 });
   * queue.putSync(1);
   * assertThrows(() => queue.putSync(2, { timeout: 10 }), DOMException);
   * assertEquals(queue.getSync(), 1);
   * queue.detach();
   * ```
   */
  putSync(item: T, options?: SyncOptions): void {
    const action = "put synchronously";
    const deadline = deadlineOf(action, options);
    const image = this.#storeNow(item);
    if (image === undefined) return;
    const putter = new SyncPutter(item, 1, image, this.#putWithdrawn);
    checkMayBlock(action);
    if (!this.#standInLine(putter)) throw this.#refusal(item);
    this.#block(action, putter, deadline);
    if (putter.failure !== undefined) throw putter.failure.reason;
  }

  // -- Getting ----------------------------------------------------------------

  /**
   * Takes the next item, and waits for one while there is none.
   *
   * Rejects with `QueueClosedError` when the queue is closed and empty, with the
   * reason after `fail` (once empty) and `abort`, with the signal's reason when it
   * fires, with what the codec throws. A get that rejects has taken nothing.
   */
  get(options?: GetOptions): Promise<T> {
    let signal: AbortSignal | undefined;
    try {
      if (options !== undefined) signal = signalOf("get", options);
      if (this.#takeInTurn()) return Promise.resolve(this.#incoming.item());
    } catch (reason) {
      return Promise.reject(reason);
    }
    return new Promise<T>((resolve, reject) => {
      this.#wait(new Getter(resolve, reject), signal);
    });
  }

  /**
   * Takes the next item if there is one now; `undefined` if not, whatever the
   * state. Throws what the codec throws, and then has taken nothing. Never waits
   * longer than another thread takes to copy a record.
   */
  tryGet(): T | undefined {
    return this.#takeInTurn() ? this.#incoming.item() : undefined;
  }

  /**
   * Takes up to `max` items: what is there now, or, when there is nothing, what
   * comes first and is there by then. With `linger` it then waits that many
   * milliseconds for the batch to fill. The fastest way to take many.
   *
   * Fulfils with an empty array when the queue is closed and empty. Rejects like
   * {@linkcode SharedQueue.get}, and then has taken nothing.
   *
   * @example In batches
   * ```ts
   * import { SharedQueue } from "@highwater/queue/threads";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new SharedQueue<number>();
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
    const items: T[] = [];
    try {
      signal = signalOf("get many", options, {
        signal: true,
        linger: true,
      });
      checkLimit("get many", "max", max, 1);
      checkDelay("get many", "linger", linger);
      if (this.#isNext()) this.#takeMany(items, max);
    } catch (reason) {
      return Promise.reject(reason);
    }
    if (items.length === max || (items.length > 0 && linger === 0)) {
      return Promise.resolve(items);
    }
    return new Promise<T[]>((resolve, reject) => {
      this.#wait(
        linger > 0
          ? new BatchGetter(resolve, reject, items, max, linger, systemClock)
          : new FillingGetter<T>(
            resolve,
            reject,
            max,
            (batch) => this.#takeMany(batch, max),
          ),
        signal,
      );
    });
  }

  /**
   * Takes the next item and blocks the thread until there is one.
   *
   * Throws as {@linkcode SharedQueue.get} rejects; a `TimeoutError` when the time
   * is over; a `TypeError` when there is nothing and this thread may not block, as
   * that of a page.
   */
  getSync(options?: SyncOptions): T {
    const action = "get synchronously";
    const deadline = deadlineOf(action, options);
    if (this.#takeInTurn()) return this.#incoming.item();
    const outcome: { item?: T; failure?: { reason: unknown } } = {};
    const getter = new Getter<T>(
      (item) => outcome.item = item,
      (reason) => outcome.failure = { reason },
    );
    if (!this.#life.over && !this.#ring.isDrained) checkMayBlock(action);
    this.#standAtTheEnd(getter, undefined);
    this.#block(action, getter, deadline);
    if (outcome.failure !== undefined) throw outcome.failure.reason;
    return outcome.item as T;
  }

  /**
   * As {@linkcode SharedQueue.get}, in the words of an iterator: `{ done: true }`
   * when the queue is closed and empty.
   */
  next(): Promise<IteratorResult<T, undefined>> {
    return this.#next(undefined);
  }

  #next(group: WaiterGroup | undefined): Promise<IteratorResult<T, undefined>> {
    try {
      if (this.#takeInTurn()) {
        return Promise.resolve({ done: false, value: this.#incoming.item() });
      }
    } catch (reason) {
      return Promise.reject(reason);
    }
    return new Promise((resolve, reject) => {
      const getter = new NextGetter<T>(resolve, reject);
      this.#wait(getter, undefined);
      if (group !== undefined && getter.line !== undefined) group.add(getter);
    });
  }

  /**
   * Iterates over the items as one of any number of competing consumers, on all
   * threads: each item goes to one of them. Breaking off leaves the queue open and
   * loses nothing.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return new QueueIterator<T>((group) => this.#next(group));
  }

  /**
   * Takes all stored items out and returns them in the order of their turn; they
   * are yours. One that cannot be decoded stays.
   */
  clear(): T[] {
    const items = this.#incoming.clear();
    this.#afterTaking();
    return items;
  }

  // -- Ending -----------------------------------------------------------------

  /**
   * Ends the queue gracefully, on all threads: no new puts; those that wait
   * already are let in as room comes, consumers take what is left and then see
   * the end. Idempotent.
   */
  close(): void {
    if (this.#hasLeft) return;
    this.#ring.end(State.CLOSED, undefined);
    this.#observe();
  }

  /**
   * Ends the queue as {@linkcode SharedQueue.close} does, but consumers that have
   * taken everything see `reason` instead of the end, with its name, message,
   * stack and cause, on whatever thread. No effect once the queue is ended.
   *
   * The reason crosses in 8192 bytes. A longer one is cut until it fits: first the
   * stacks of its causes, then its stack, its causes, and the end of its message.
   *
   * @example Nothing is lost before the error
   * ```ts
   * import { SharedQueue } from "@highwater/queue/threads";
   * import { assertEquals, assertRejects } from "@std/assert";
   *
   * const queue = new SharedQueue<number>();
   * const elsewhere = SharedQueue.attach<number>(queue.handle);
   * await queue.put(1);
   * queue.fail(new RangeError("source broke"));
   * assertEquals(await elsewhere.get(), 1);
   * await assertRejects(() => elsewhere.get(), RangeError, "source broke");
   * ```
   */
  fail(reason: unknown): void {
    if (this.#hasLeft) return;
    if (this.#ring.end(State.FAILED, writeReason(reason))) {
      this.#ownFailure = { reason };
    }
    this.#observe();
  }

  /**
   * Ends the queue now, on all threads: puts and gets that wait reject with
   * `reason`, stored items go to the `onUndelivered` of this handle. Also cuts a
   * `close` or `fail` short. Without a reason it is an `AbortError`. The reason
   * crosses as that of {@linkcode SharedQueue.fail} does.
   */
  abort(reason?: unknown): void {
    if (this.#hasLeft) return;
    const why = reasonOr(reason, "The queue was aborted");
    if (!this.#ring.end(State.ABORTED, writeReason(why))) {
      return this.#observe();
    }
    this.#ownFailure = { reason: why };
    const items = this.#incoming.abort();
    this.#observe();
    this.#report(items);
  }

  // -- This handle ------------------------------------------------------------

  /**
   * Leaves the queue alone for good: what waits at this handle rejects with a
   * `QueueClosedError`, producers registered here count as failed, and the place
   * of the handle is free. The queue goes on for the others. Idempotent.
   *
   * A worker that is done should detach before it ends: there are 32 places, and
   * one that just ends counts as `abandoned`.
   */
  detach(): void {
    if (this.#hasLeft) return;
    this.#producers.failAll(this.#detachedError());
    this.#leave();
  }

  /** As {@linkcode SharedQueue.detach}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    this.detach();
    return FULFILLED;
  }

  /**
   * Says that the thread of a handle has been terminated, so that nobody has to
   * find out: what it held is free at once, its producers count as failed. True
   * when that handle was attached.
   *
   * Only for threads that are gone. A handle whose thread is alive takes part no
   * longer.
   *
   * @example After terminate()
   * ```ts
   * import { SharedQueue } from "@highwater/queue/threads";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new SharedQueue<number>();
   * const elsewhere = SharedQueue.attach<number>(queue.handle); // in a worker
   * const id = elsewhere.id; // which tells its id, and is terminated
   * assertEquals(queue.reap(id), true);
   * assertEquals(queue.stats().abandoned, 1);
   * queue.detach();
   * ```
   */
  reap(id: number): boolean {
    checkCount("reap", "id", id, 1);
    const owed = this.#ring.member.expel(id);
    if (owed !== undefined) this.#settle([owed]);
    return owed !== undefined;
  }

  /** Lets Node and Deno end while something waits at this handle. */
  unref(): void {
    this.#wakeUps.keepsAlive = false;
  }

  /** Keeps Node and Deno alive while something waits at this handle, as it is from the beginning. */
  ref(): void {
    this.#wakeUps.keepsAlive = true;
  }

  /** A frozen snapshot of the counters. */
  stats(): SharedQueueStats {
    if (!this.#hasLeft) this.#bury(this.#ring.member.expelDead());
    this.#observe();
    const { memory } = this.#ring;
    const { words } = memory;
    const undelivered = Atomics.load(words, Header.UNDELIVERED);
    return Object.freeze({
      name: this.#name,
      length: this.length,
      used: this.#ring.used,
      bytes: memory.capacity,
      desiredSize: this.desiredSize,
      highWaterMark: this.highWaterMark,
      put: this.#ring.count(Header.PUT),
      taken: this.#ring.count(Header.TAKE) - undelivered -
        Atomics.load(words, Header.CLEARED) - this.#incoming.kept,
      undelivered,
      waitingPuts: total(memory, Slot.WAITING_PUTS),
      waitingGets: this.#lines.getters.length,
      producers: total(memory, Slot.PRODUCERS),
      handles: countMembers(memory),
      abandoned: Atomics.load(words, Header.ABANDONED),
      state: this.#hasLeft ? "detached" : this.#life.state,
    });
  }

  // -- Streams ----------------------------------------------------------------

  /**
   * The queue as a `ReadableStream`; the same object each time. It reads ahead by
   * nothing. `cancel(reason)` aborts the queue; a stream that leaves the queue
   * alone is {@linkcode SharedQueue.consumer}.
   */
  get readable(): ReadableStream<T> {
    this.#readable ??= new QueueReadable<T>(
      this.#takingEnd((reason) => this.abort(reason)),
    );
    return this.#readable;
  }

  /**
   * The queue as a `WritableStream`; the same object each time. `close` is
   * `close`, `abort(reason)` is `abort(reason)`. For several sources, see
   * {@linkcode SharedQueue.producer}.
   */
  get writable(): WritableStream<T> {
    if (this.#writable === undefined) {
      this.#writable = new QueueWritable<T>(this.#puttingEnd({
        close: () => this.close(),
        abort: (reason) => this.abort(reason),
        failed: (reason) => this.fail(reason),
      }));
      this.#follow(this.#writable);
    }
    return this.#writable;
  }

  /**
   * Registers a producer and returns a `WritableStream` of its own. Closing it
   * means that this producer is done; when the last one is done, of those that
   * are registered on any thread, the queue closes. Aborting it means that this
   * producer failed, see `ProducerOptions.onError`. A producer whose thread is
   * found dead or whose handle is detached has failed.
   *
   * Register one on the thread that makes the queue until the workers have
   * registered theirs: the queue closes as soon as there is none left.
   *
   * Throws `QueueClosedError` once the queue has ended.
   */
  producer(options?: ProducerOptions): WritableStream<T> {
    const onError = producerPolicy(options);
    const producer = this.#hasLeft
      ? undefined
      : this.#producers.register(onError);
    if (producer === undefined) {
      this.#observe();
      throw this.#life.notOpen("register a producer");
    }
    const failed = (reason: unknown): void => {
      this.#life.unfollow(stream);
      producer.failed(reason);
    };
    const stream = new QueueWritable<T>(this.#puttingEnd({
      close: () => {
        this.#life.unfollow(stream);
        producer.done();
      },
      abort: (reason, pending) => {
        pending.withdrawAll(reason);
        failed(reason);
      },
      failed,
    }));
    this.#follow(stream);
    return stream;
  }

  /**
   * A `ReadableStream` of its own for one of several competing consumers, on all
   * threads. Cancelling it takes this consumer away and leaves the items and the
   * others alone.
   */
  consumer(): ReadableStream<T> {
    return new QueueReadable<T>(this.#takingEnd(), false);
  }

  // -- Taking -----------------------------------------------------------------

  /** Takes the next item for one who has just come: behind those that wait here. */
  #takeInTurn(): boolean {
    if (!this.#isNext() || !this.#incoming.take()) return false;
    this.#afterTaking();
    return true;
  }

  /** Whether nobody here waits longer. */
  #isNext(): boolean {
    if (this.#lines.getters.first !== undefined) this.#move();
    return this.#lines.getters.first === undefined;
  }

  /** Takes what is there, and throws only if the very first cannot be decoded. */
  #takeMany(items: T[], max: number): void {
    const before = items.length;
    this.#incoming.takeMany(items, max);
    if (items.length > before) this.#afterTaking();
  }

  /** Gives the receiver its item, now or later. */
  #serve(receiver: Receiver<T>): void {
    try {
      if (!this.#isNext() || !this.#incoming.take()) {
        return this.#wait(receiver, undefined);
      }
    } catch (error) {
      return this.#refuseUnread(receiver, error);
    }
    // The item goes over before the queue may end because of it.
    receiver.accept(this.#incoming.item());
    this.#afterTaking();
  }

  /** The record waits for a better codec; nobody waits for the record. */
  #refuseUnread(receiver: Receiver<T>, error: unknown): void {
    this.#viewOf.get(receiver)?.errored(error);
    receiver.leave();
    receiver.reject(error);
  }

  #afterTaking(): void {
    if (this.#lines.putters.first !== undefined) this.#move();
    if (this.#life.awaitsRoom) this.#signalRoom();
    if (this.#ring.state !== State.OPEN) this.#observe();
  }

  // -- Waiting ----------------------------------------------------------------

  #wait(receiver: Receiver<T>, signal: AbortSignal | undefined): void {
    if (this.#standAtTheEnd(receiver, signal)) this.#wakeUps.look();
  }

  /** False when there is nothing to wait for: the taker knows already. */
  #standAtTheEnd(
    receiver: Receiver<T>,
    signal: AbortSignal | undefined,
  ): boolean {
    this.#observe();
    if (this.#life.over) {
      this.#dismiss(receiver);
      return false;
    }
    this.#lines.getters.push(receiver);
    if (signal !== undefined) this.#signals.of(signal).add(receiver);
    return true;
  }

  #watchEnd(): void {
    this.#watchesEnd = true;
    if (!this.#life.over) this.#wakeUps.look();
  }

  #waitsForRoom(): boolean {
    return this.#lines.putters.first !== undefined || this.#life.awaitsRoom;
  }

  #asWaiting(): Waiting {
    const isAwaited = (): boolean =>
      this.#lines.getters.first !== undefined || this.#waitsForRoom() ||
      (this.#life.awaitsEnd && !this.#life.over);
    return {
      awaits: (what) => this.#awaits(what),
      get isAwaited(): boolean {
        return isAwaited();
      },
      move: () => this.#move(),
      woken: () => this.#lines.woken(),
      lookForDead: () => this.#bury(this.#ring.member.expelDead()),
      expelled: () => this.#leave(),
    };
  }

  #awaits(what: WaitField): boolean {
    if (what === Header.WAIT_ITEM) {
      return this.#lines.getters.first !== undefined;
    }
    if (what === Header.WAIT_ROOM) return this.#waitsForRoom();
    return this.#watchesEnd && !this.#life.over;
  }

  /** Lets puts in and gives items out, as long as either goes on. */
  #move(): void {
    this.#lines.move();
    if (this.#life.awaitsRoom) this.#signalRoom();
    this.#observe();
  }

  #signalRoom(): void {
    if (!(this.desiredSize! > 0)) return;
    this.#life.roomCame();
    this.#wakeUps.release(Header.WAIT_ROOM);
  }

  /** Blocks the thread until the waiter has left its line. */
  #block(action: string, waiter: Waiter, deadline: number): void {
    const hasLeft = (): boolean => waiter.line === undefined;
    if (this.#wakeUps.block(hasLeft, deadline)) return;
    waiter.withdraw(
      new DOMException(`Cannot ${action}: the time is over`, "TimeoutError"),
    );
  }

  // -- Endings ----------------------------------------------------------------

  /** Lets this handle follow what has become of the queue, on whatever thread. */
  #observe(): void {
    const { state } = this.#ring;
    if (state === State.OPEN || this.#life.over) return;
    if (state === State.ABORTED) {
      return this.#report(this.#endNow(this.#failure().reason));
    }
    const failure = state === State.FAILED ? this.#failure() : undefined;
    if (this.#life.close(failure)) {
      this.#life.tell();
      // The end of the drain is still to come.
      this.#watchEnd();
    }
    if (this.#incoming.kept === 0 && this.#ring.isDrained) this.#finish();
  }

  #failure(): Failure {
    return this.#ownFailure ?? { reason: readReason(this.#ring.reason()) };
  }

  #finish(): void {
    if (this.#life.over) return;
    this.#life.finish();
    this.#dismissAll();
  }

  /** Returns what nobody will get at this handle. */
  #endNow(reason: unknown): T[] {
    if (!this.#life.abort(reason)) return [];
    const kept = this.#incoming.giveUp();
    this.#dismissAll();
    return kept;
  }

  #dismissAll(): void {
    this.#wakeUps.rest();
    for (const putter of leaving(this.#lines.putters)) {
      putter.reject(this.#refusal(putter.item));
    }
    for (const getter of leaving(this.#lines.getters)) this.#dismiss(getter);
    this.#life.tell();
  }

  #dismiss(receiver: Receiver<T>): void {
    if (this.#life.failure === undefined) receiver.end();
    else receiver.reject(this.#life.reason);
  }

  /** Ends this handle, whatever the queue does. */
  #leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    const kept = this.#endNow(this.#detachedError());
    this.#ring.leave();
    this.#report(kept);
  }

  #report(items: T[]): void {
    const onUndelivered = this.#onUndelivered;
    if (onUndelivered === undefined) return;
    const { called } = this.#life;
    for (const item of items) {
      callOut(called, "onUndelivered", onUndelivered, item, "abort");
    }
  }

  /** Whoever has died is owed nothing, and nobody waits for it any more. */
  #bury(owed: readonly Owed[]): void {
    if (owed.length === 0) return;
    this.#settle(owed);
    for (const { token } of owed) this.#tellAbandoned(token);
  }

  #settle(owed: readonly Owed[]): void {
    for (const { token, producers } of owed) {
      this.#ring.leaveFor(token);
      this.#producers.abandon(producers);
    }
    this.#wakeUps.look();
  }

  #foundDead(id: number): void {
    this.reap(id);
    this.#tellAbandoned(id);
  }

  #tellAbandoned(id: number): void {
    const onAbandoned = this.#onAbandoned;
    if (onAbandoned === undefined) return;
    callOut(this.#life.called, "onAbandoned", onAbandoned, id);
  }

  #refusal(item: T): unknown {
    return this.#hasLeft
      ? this.#life.notOpen("put", { item })
      : this.#life.refusal(item);
  }

  #detachedError(): QueueClosedError {
    return new QueueClosedError(
      `Cannot use ${this.#life.called}: the handle must be attached, ` +
        "received one that is detached",
    );
  }

  // -- What the views see -----------------------------------------------------

  #takingEnd(cancel?: (reason: unknown) => void): TakingEnd<T> {
    let view: EndingView | undefined;
    return {
      next: (group) => this.#next(group),
      serve: (receiver) => {
        if (view !== undefined) this.#viewOf.set(receiver, view);
        this.#serve(receiver);
      },
      cancel,
      watch: (watching) => {
        view ??= watching;
        this.#observe();
        this.#life.watch(watching);
        this.#watchEnd();
      },
      unwatch: (watching) => this.#life.unwatch(watching),
    };
  }

  #puttingEnd(
    endings: Pick<PuttingEnd<T>, "close" | "abort" | "failed">,
  ): PuttingEnd<T> {
    const desiredSize = (): number | null => this.desiredSize;
    const ready = (): Promise<void> => this.ready;
    const open = (): boolean => this.#life.state === "open";
    return {
      put: (item, group) => this.#put(item, undefined, group),
      refusesWhenFull: false,
      get desiredSize(): number | null {
        return desiredSize();
      },
      get ready(): Promise<void> {
        return ready();
      },
      get open(): boolean {
        return open();
      },
      ...endings,
    };
  }

  /** Lets a writing stream end with the queue, also if the queue has ended already. */
  #follow(stream: QueueWritable<T>): void {
    this.#observe();
    this.#life.follow(stream);
    this.#watchEnd();
  }
}

/** For `for await` and `await using`. */
export interface SharedQueue<T> extends AsyncDisposable {
  /** One of any number of competing consumers. */
  [Symbol.asyncIterator](): AsyncIterableIterator<T>;
}
