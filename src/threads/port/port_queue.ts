/**
 * The queue of another thread, over a port.
 *
 * @module
 */

import { checkDelay } from "../../clock.ts";
import { QueueClosedError, reasonOr, received } from "../../errors.ts";
import { printBy } from "../../printing.ts";
import { comeInTime, producerPolicy, putEach } from "../../putting.ts";
import { checkMax } from "../../queue.ts";
import type {
  GetManyOptions,
  GetOptions,
  ProducerOptions,
  PutOptions,
  QueueState,
} from "../../queue.ts";
import { QueueIterator } from "../../taking.ts";
import { QueueReadable } from "../../views/readable.ts";
import { type PuttingEnd, QueueWritable } from "../../views/writable.ts";
import { type Deferred, deferred, FULFILLED, signalOf } from "../../waiters.ts";
import type { WaiterGroup } from "../../waiters.ts";
import type { PortLike } from "./endpoint.ts";
import { type PackedReason, packReason, unpackReason } from "../failure.ts";
import { PortReceiver } from "./receiver.ts";
import { PortSender } from "./sender.ts";
import {
  brokenError,
  PortClosedError,
  reportBroken,
  reportUndelivered,
} from "./errors.ts";
import {
  type CheckedPortOptions,
  checkPortOptions,
  type PortOptions,
} from "./options.ts";
import {
  type ClientFrame,
  isServerFrame,
  type ServerFrame,
  verbOf,
} from "./frames.ts";
import { PortConnection, VERSION } from "./connection.ts";

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

const ANSWERS = "answers must be about puts that wait for one";

let connections = 0;

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
  readonly #wire: PortConnection<ClientFrame>;
  readonly #options: CheckedPortOptions<T>;
  readonly #receiver: PortReceiver<T>;
  readonly #sender: PortSender<T>;
  readonly #writables: Set<QueueWritable<T>> = new Set();
  #readable: QueueReadable<T> | undefined = undefined;
  #writable: QueueWritable<T> | undefined = undefined;
  #producers = 0;
  #connected = false;
  #refusesWhenFull = false;
  /** The queue has ended, and nothing more will come. */
  #ended = false;
  /** It is about to say goodbye. */
  #farewell = false;
  #leaving: Deferred<void> | undefined = undefined;

  /** Use {@linkcode connect}. */
  constructor(port: PortLike, options: PortOptions<T>) {
    printBy(PortQueue.prototype, (queue) => queue.#facts());
    this.#options = checkPortOptions("connect", port, options, 0);
    const { onUndelivered } = this.#options;
    const waits = (): boolean => this.#waits();
    this.#wire = new PortConnection("serving", { port, ...this.#options }, {
      get waits(): boolean {
        return waits();
      },
      tend: () => this.#tend(),
      heard: (session, frames) => this.#heard(session, frames),
      broken: (rule) => this.#broken(rule),
      foreign: (version) => this.#foreign(version),
      unsendable: (frame, item, error) =>
        this.#unsendable(frame, item as T, error),
      transferOf: (item) => this.#options.transfer?.(item as T) ?? [],
      closed: (reason) => this.#disconnected(reason),
    });
    this.#wire.session = `${++connections} ${Math.random()}`;
    this.#receiver = new PortReceiver<T>(this.#wire, this.#options);
    this.#sender = new PortSender<T>(this.#wire, { onUndelivered });
    this.#wire.keepsAlive = false;
    this.#wire.say(["hello"]);
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
    return this.#receiver.closed;
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
      return this.#sender.put(item, signalOf("put", options));
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
    try {
      return this.#receiver.get(signalOf("get", options));
    } catch (reason) {
      return Promise.reject(reason);
    }
  }

  /** Takes an item that is here; `undefined` if there is none, and then some are asked for, up to `highWaterMark`. O(1). */
  tryGet(): T | undefined {
    return this.#receiver.tryGet();
  }

  /** Takes up to `max` items, of those that are here or else of what comes first; with `linger` and errors as `Queue.getMany`. */
  getMany(max: number, options?: GetManyOptions): Promise<T[]> {
    try {
      const signal = signalOf("get many", options, {
        signal: true,
        linger: true,
      });
      const linger = options?.linger ?? 0;
      checkMax(max);
      checkDelay("get many", "linger", linger);
      return this.#receiver.getMany(max, signal, linger);
    } catch (reason) {
      return Promise.reject(reason);
    }
  }

  /** As {@linkcode PortQueue.get}, in the words of an iterator. */
  next(): Promise<IteratorResult<T, undefined>> {
    return this.#receiver.next(undefined);
  }

  /** Iterates as one of any number of competing consumers. Breaking off leaves the queue open and loses nothing. */
  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return new QueueIterator<T>((group) => this.#receiver.next(group));
  }

  // -- Ending -----------------------------------------------------------------

  /** Ends the queue gracefully for all its users, once what waits here has been sent. Idempotent. */
  close(): void {
    this.#sender.close(undefined, () => this.#wire.send(["close"]));
    this.#endWritables();
  }

  /** As {@linkcode PortQueue.close}, but consumers that have taken everything see `reason` instead of the end. */
  fail(reason: unknown): void {
    this.#sender.close(
      { reason },
      () => this.#wire.send(["fail", packReason(reason)]),
    );
    this.#endWritables();
  }

  /**
   * Ends the queue now, for all its users: what waits here rejects with `reason`, puts
   * under way as the other side decides, and what is stored goes to the
   * `onUndelivered` of the queue. Without a reason it is an `AbortError`.
   */
  abort(reason?: unknown): void {
    this.#abort(reasonOr(reason, "The queue was aborted"));
  }

  /**
   * Leaves the queue to its other users: items that are here go back to its head, what
   * waits here rejects with an `AbortError`, puts under way are taken back if they had
   * not been accepted, producers that are not done count as failed. The port stays
   * open. Fulfils when the fate of every put is known; what goes back is then at
   * its place, or on its way there.
   */
  disconnect(): Promise<void> {
    if (this.#leaving === undefined) {
      this.#leaving = deferred();
      this.#leave();
    }
    return this.#leaving.promise;
  }

  /** Disconnects. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.disconnect();
  }

  // -- Streams ----------------------------------------------------------------

  /** The queue as a `ReadableStream`; the same object each time. `cancel(reason)` aborts the queue. */
  get readable(): ReadableStream<T> {
    this.#readable ??= new QueueReadable<T>(
      this.#receiver.end((reason) => this.#abort(reason)),
    );
    return this.#readable;
  }

  /** The queue as a `WritableStream`; the same object each time. `close` closes the queue, `abort(reason)` aborts it, a chunk that cannot be put fails it. */
  get writable(): WritableStream<T> {
    if (this.#writable === undefined) {
      this.#writable = new QueueWritable<T>(this.#puttingEnd({
        put: (item, group) => this.#sender.put(item, group),
        close: () => this.close(),
        abort: (reason) => this.#abort(reason),
        failed: (reason) => this.fail(reason),
      }));
      this.#follow(this.#writable);
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
    if (!this.#sender.open) {
      const { failure } = this.#sender;
      throw new QueueClosedError(
        "Cannot register a producer: the queue must be open, " +
          `received one that is ${this.#state()}`,
        failure === undefined ? {} : { cause: failure.reason },
      );
    }
    const id = ++this.#producers;
    this.#wire.send(["producer", id, onError]);
    let waiting: WaiterGroup | undefined;
    let done = false;
    const finish = (frame: ClientFrame): void => {
      if (done) return;
      done = true;
      this.#writables.delete(stream);
      this.#wire.send(frame);
    };
    const failed = (reason: unknown): void =>
      finish(["producer failed", id, packReason(reason)]);
    const stream = new QueueWritable<T>(this.#puttingEnd({
      put: (item, group) => {
        waiting = group;
        return this.#sender.put(item, group);
      },
      close: async () => {
        try {
          await waiting?.settled();
        } catch (reason) {
          failed(reason);
          throw reason;
        }
        finish(["producer done", id]);
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

  /** A `ReadableStream` of its own for one of several competing consumers; cancelling it leaves the items and the others alone. */
  consumer(): ReadableStream<T> {
    return new QueueReadable<T>(this.#receiver.end(() => {}), false);
  }

  /** A frozen snapshot of what is known on this side. */
  stats(): PortQueueStats {
    return Object.freeze({
      connected: this.#connected,
      length: this.length,
      desiredSize: this.desiredSize,
      put: this.#sender.accepted,
      taken: this.#receiver.taken,
      waitingPuts: this.#sender.waiting,
      underWay: this.#sender.underWay,
      waitingGets: this.#receiver.waiting,
      state: this.#state(),
    });
  }

  // -- What the wire says -----------------------------------------------------

  #heard(session: string, frames: readonly unknown[]): void {
    if (verbOf(frames[0]) === "here") {
      if (!this.#connected) this.#wire.say(["hello"]);
      return;
    }
    if (session !== this.#wire.session) return;
    for (const frame of frames) {
      const rule = isServerFrame(frame)
        ? this.#ruleBrokenBy(frame)
        : `it must be one of the protocol, received ${received(frame)}`;
      if (rule !== undefined) return this.#broken(rule);
      this.#understand(frame as ServerFrame);
      if (this.#wire.stopped) return;
    }
    this.#wire.touch();
  }

  /** The rule of the protocol that the frame breaks, if it breaks one. */
  #ruleBrokenBy(frame: ServerFrame): string | undefined {
    const [verb] = frame;
    if (verb !== "gone" && (verb === "welcome") === this.#connected) {
      return "welcome must come first, and once";
    }
    switch (verb) {
      case "items":
        return !this.#ended && this.#receiver.mayArrive(frame[1].length)
          ? undefined
          : "items must have been asked for";
      case "credit":
        return this.#sender.mayBeCredited(frame[1])
          ? undefined
          : "credits must be a number of puts";
      case "accepted":
        return this.#sender.areUnderWay(frame[1], frame[2])
          ? undefined
          : ANSWERS;
      case "refused":
        return this.#sender.areUnderWay(frame[1], 1) &&
            (frame[2] !== undefined || this.#sender.isGivenUp(frame[1]))
          ? this.#ruleOfReason(frame[2])
          : ANSWERS;
      case "closing":
      case "errored":
        return this.#ruleOfReason(frame[1]);
      case "ended":
        // It would be of nobody whose they are, and `closed` would wait for them.
        return this.#receiver.length === 0
          ? undefined
          : "ended must come when all items are taken";
      case "bye":
        return this.#leaving === undefined
          ? "bye must answer a goodbye"
          : undefined;
    }
    return undefined;
  }

  #ruleOfReason(reason: PackedReason | "own" | undefined): string | undefined {
    return reason === "own" && this.#sender.failure === undefined
      ? "a reason of this side must be one"
      : undefined;
  }

  #broken(rule: string): void {
    const error = brokenError("Cannot reach the queue", rule);
    this.#wire.say(["goodbye", packReason(error)]);
    this.#disconnected(error);
    const { onError } = this.#options;
    if (onError !== undefined) reportBroken(onError, error);
  }

  #understand(frame: ServerFrame): void {
    switch (frame[0]) {
      case "welcome":
        this.#connected = true;
        this.#receiver.returnsItems = frame[1];
        this.#refusesWhenFull = frame[2];
        return this.#wire.open();
      case "items":
        return this.#receiver.arrive(frame[1] as T[]);
      case "credit":
        return this.#sender.credited(frame[1]);
      case "accepted":
        return this.#sender.answeredWell(frame[1], frame[2]);
      case "refused":
        return this.#sender.refused(frame[1], this.#unpack(frame[2]));
      case "closing":
        this.#sender.closedByQueue(this.#unpack(frame[1]));
        return this.#endWritables();
      case "ended":
        this.#ended = true;
        this.#sender.closedByQueue(undefined);
        this.#endWritables();
        return this.#receiver.ended();
      case "errored": {
        this.#ended = true;
        const failure = { reason: this.#unpack(frame[1])?.reason };
        // Puts after a drain are refused as those before it.
        if (frame[2]) this.#sender.closedByQueue(failure);
        else this.#sender.abort(failure.reason);
        this.#receiver.abort(failure.reason);
        return this.#endWritables();
      }
      case "bye":
        return this.#stop();
      case "gone":
        return this.#gone(frame[1]);
    }
  }

  #gone(packed: PackedReason | undefined): void {
    const cause = packed === undefined ? {} : { cause: unpackReason(packed) };
    this.#disconnected(
      new PortClosedError(
        "Cannot reach the queue: somebody must serve it, received a port " +
          "where nobody does any more",
        cause,
      ),
    );
    const { onError } = this.#options;
    if (packed === undefined || onError === undefined) return;
    reportBroken(onError, cause.cause);
  }

  #unpack(
    packed: PackedReason | "own" | undefined,
  ): { readonly reason: unknown } | undefined {
    if (packed === "own") return this.#sender.failure;
    return packed && { reason: unpackReason(packed) };
  }

  #foreign(version: unknown): void {
    this.#disconnected(
      new PortClosedError(
        `Cannot connect: both sides must speak version ${VERSION}, ` +
          `received version ${received(version)}`,
      ),
    );
  }

  #waits(): boolean {
    const { waiting, underWay } = this.#sender;
    return this.#receiver.waiting + waiting + underWay > 0;
  }

  #tend(): void {
    this.#receiver.tend();
    this.#sender.tend();
    if (this.#ended && this.#sender.underWay === 0) this.#sayGoodbye();
  }

  #unsendable(frame: ClientFrame | ServerFrame, item: T, error: unknown): void {
    if (frame[0] === "puts") this.#sender.unsendable(frame[1], error);
    if (frame[0] !== "back") return;
    this.#wire.say(["lost", frame[1]]);
    reportUndelivered(this.#options.onUndelivered, item, error);
  }

  // -- Endings ----------------------------------------------------------------

  #abort(reason: unknown): void {
    if (this.#receiver.over) return;
    this.#endHere(reason);
    this.#wire.send(["abort", packReason(reason)]);
  }

  /** What waits here rejects, what is here goes back. */
  #endHere(reason: unknown): void {
    this.#receiver.abort(reason);
    this.#sender.abort(reason);
    this.#endWritables();
  }

  #leave(): void {
    const reason = new DOMException(
      "This side of the queue was disconnected",
      "AbortError",
    );
    this.#endHere(reason);
    this.#sender.giveUp(reason);
    if (this.#wire.stopped) return this.#stop();
    this.#wire.flush(true);
    this.#wire.say(["goodbye"]);
    // Only the fate of a put has to be waited for.
    if (this.#sender.underWay === 0) this.#stop();
  }

  /** The queue has ended, all is decided: the rest of the way is free. */
  #sayGoodbye(): void {
    if (this.#farewell) return;
    this.#farewell = true;
    queueMicrotask(() => {
      if (this.#wire.stopped) return;
      this.#wire.flush(true);
      this.#wire.say(["goodbye"]);
      this.#stop();
    });
  }

  #disconnected(reason: PortClosedError): void {
    if (this.#wire.stopped) return;
    if (!this.#receiver.over) this.#receiver.drop(reason);
    this.#sender.drop(reason);
    this.#endWritables();
    this.#stop();
  }

  #stop(): void {
    this.#connected = false;
    this.#wire.stop();
    this.#leaving?.resolve();
  }

  #facts(): Readonly<Record<string, unknown>> {
    const { channel, highWaterMark } = this.#options;
    const { length, state } = this.stats();
    return { channel, length, highWaterMark, state };
  }

  #state(): QueueState {
    if (this.#receiver.over) {
      return this.#sender.failure === undefined ? "closed" : "errored";
    }
    return this.#sender.open ? "open" : "closing";
  }

  // -- What the views see -------------------------------------------------------

  #puttingEnd(
    own: Pick<PuttingEnd<T>, "put" | "close" | "abort" | "failed">,
  ): PuttingEnd<T> {
    const sender = this.#sender;
    const refusesWhenFull = (): boolean => this.#refusesWhenFull;
    return {
      get refusesWhenFull(): boolean {
        return refusesWhenFull();
      },
      get desiredSize(): number | null {
        return sender.desiredSize;
      },
      get ready(): Promise<void> {
        return sender.ready;
      },
      get open(): boolean {
        return sender.open;
      },
      ...own,
    };
  }

  #follow(stream: QueueWritable<T>): void {
    this.#writables.add(stream);
    if (!this.#sender.open) this.#endWritables();
  }

  /** The writing streams end with the queue. */
  #endWritables(): void {
    if (this.#sender.open) return;
    const writables = [...this.#writables];
    this.#writables.clear();
    const { failure } = this.#sender;
    for (const writable of writables) {
      if (failure === undefined) writable.endedByQueue();
      else writable.erroredByQueue(failure.reason);
    }
  }
}

/** For `for await` and `await using`. */
export interface PortQueue<T> extends AsyncDisposable {
  /** One of any number of competing consumers. */
  [Symbol.asyncIterator](): AsyncIterableIterator<T>;
}
