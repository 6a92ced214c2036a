/**
 * One writer, subscribers that come and go.
 *
 * @module
 */

import { reasonOr, received } from "../errors.ts";
import { Lifecycle } from "../lifecycle.ts";
import type { Failure, QueueState } from "../lifecycle.ts";
import type { PutOptions } from "../queue.ts";
import { factsOfStats, printBy } from "../printing.ts";
import { QueueReadable } from "../views/readable.ts";
import { QueueWritable } from "../views/writable.ts";
import {
  FULFILLED,
  leaving,
  Line,
  Putter,
  SignalGroups,
  signalOf,
} from "../waiters.ts";
import type { WaiterGroup } from "../waiters.ts";
import { checkLimit, checkOptions } from "../checks.ts";
import { Fan, readPace } from "./fan.ts";
import type { LagPolicy } from "./fan.ts";

/** Options of {@linkcode Broadcast}. */
export interface BroadcastOptions {
  /** How many items a subscriber may be behind that does not say so itself. A whole number from 1, or `Infinity`. Default: 16. */
  highWaterMark?: number | undefined;
  /** How many of the last items are kept for those who subscribe later. Default: 0. `Infinity` keeps all there ever were. */
  replay?: number | undefined;
  /** A name for messages and `stats()`. */
  name?: string | undefined;
}

/** Options of {@linkcode Broadcast.subscribe}. */
export interface SubscribeOptions {
  /** What happens when this subscriber is `highWaterMark` items behind and one more comes. Default: `"wait"`. */
  overflow?: LagPolicy | undefined;
  /** How many items it may be behind. Default: that of the broadcast. */
  highWaterMark?: number | undefined;
  /** With how many of the last items it begins. Default: as many as the broadcast keeps. More than that is a `RangeError`. */
  replay?: number | undefined;
  /**
   * Under `"drop-oldest"`: learns, when the subscriber reads on, how many items
   * it has skipped since it read last. What it throws or rejects with is printed and goes no
   * further.
   */
  onLag?: ((missed: number) => void) | undefined;
}

/** One subscriber in {@linkcode BroadcastStats}. */
export interface SubscriberStats {
  /** Its policy. */
  readonly overflow: LagPolicy;
  /** Its bound, in items. */
  readonly highWaterMark: number;
  /** Items that wait for it. */
  readonly lag: number;
  /** Items it has skipped. */
  readonly missed: number;
}

/** What {@linkcode Broadcast.stats} tells: a frozen snapshot. */
export interface BroadcastStats {
  /** The name the broadcast was given, or "". */
  readonly name: string;
  /** Items held: for the slowest subscriber, or for replay. Each counts once. */
  readonly length: number;
  /** Room left; null once failed or aborted. */
  readonly desiredSize: number | null;
  /** How many items a subscriber may be behind that does not say so itself. */
  readonly highWaterMark: number;
  /** How many of the last items are kept for late subscribers. */
  readonly replay: number;
  /** Items accepted so far. */
  readonly put: number;
  /** Puts that wait for a slow subscriber. */
  readonly waitingPuts: number;
  /** Where the broadcast stands. */
  readonly state: QueueState;
  /** Those who still read, in the order they came. */
  readonly subscribers: readonly SubscriberStats[];
}

/** Throws when the broadcast contradicts itself. For tests, after every step; there once there is a broadcast. */
export let assertInvariants: <T>(broadcast: Broadcast<T>) => void;

/**
 * Delivers every item to every subscriber. Subscribers come and go, and each
 * says what shall happen when it is slow.
 *
 * - **One ring.** An item is stored once and only until the slowest has read it,
 *   however many read. What is held is the spread between the fastest and the
 *   slowest, at most the largest `highWaterMark`, or what is kept for `replay`.
 * - **A policy for each.** A subscriber that is `highWaterMark` items behind
 *   makes `put` wait, skips its oldest item, or is evicted with a `LaggedError`.
 *   What one of them does is no concern of the others, except that they wait
 *   together for those that make `put` wait.
 * - **From now on.** A subscriber gets what is put after `subscribe()`, and
 *   before that up to `replay` of the last items. Without subscribers nothing
 *   waits: an item is accepted and, unless it is kept for replay, gone.
 * - **Cancellation is atomic.** A `put` that rejects has delivered nothing to
 *   anyone, one that fulfils has delivered to all or waits for them in the ring.
 * - **Order.** First in, first out, also among waiting puts: while one waits,
 *   `tryPut` is false. An item reaches the subscribers in the order they came to
 *   wait for it.
 * - **Every promise settles** once it has ended: at once on abort, as the rest is
 *   read on close and fail, which also let waiting puts in. Any value is an item.
 *
 * | verb | new puts | waiting puts | stored items | subscribers | `closed` |
 * |---|---|---|---|---|---|
 * | `close()` | reject | accepted, in order | delivered | read all, then end | fulfils after the last subscriber has read all or left |
 * | `fail(e)` | reject | accepted, in order | delivered | read all, then fail with `e` | rejects `e` after the last subscriber has read all or left |
 * | `abort(e)` | reject `e` | reject `e` | dropped | fail with `e` now | rejects `e` at once |
 *
 * A `put` costs O(1), and O(1) for each distinct pair of policy and
 * highWaterMark among the subscribers; a read costs O(1).
 *
 * @example One that waits and one that may miss items
 * ```ts
 * import { Broadcast } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const prices = new Broadcast<number>();
 * const archive = prices.subscribe({ highWaterMark: 100 }); // put waits for it
 * const ticker = prices.subscribe({ overflow: "drop-oldest", highWaterMark: 1 });
 *
 * for (const price of [10, 11, 12]) await prices.put(price);
 * prices.close();
 *
 * async function readAll(prices: ReadableStream<number>): Promise<number[]> {
 *   const items: number[] = [];
 *   for await (const price of prices) items.push(price);
 *   return items;
 * }
 * assertEquals(await readAll(archive), [10, 11, 12]);
 * assertEquals(await readAll(ticker), [12]); // only the latest
 * ```
 */
export class Broadcast<T> {
  readonly #fan: Fan<T>;
  readonly #highWaterMark: number;
  readonly #replay: number;
  readonly #name: string;
  readonly #life: Lifecycle;
  readonly #putters: Line<Putter<T>> = new Line();
  readonly #signals: SignalGroups = new SignalGroups();
  readonly #putWithdrawn: () => void = () => this.#endIfDrained();
  #admitting = false;
  #writable: QueueWritable<T> | undefined = undefined;

  /** Makes a broadcast without subscribers. Throws a `TypeError` or `RangeError` that names the option it cannot use. */
  constructor(options: BroadcastOptions = {}) {
    printBy(Broadcast.prototype, factsOfStats);
    assertInvariants ??= (broadcast) => broadcast.#assertInvariants();
    const action = "make a broadcast";
    checkOptions(action, options, {
      highWaterMark: true,
      replay: true,
      name: true,
    });
    const { highWaterMark = 16, replay = 0, name = "" } = options;
    checkLimit(action, "highWaterMark", highWaterMark, 1);
    checkLimit(action, "replay", replay, 0);
    if (typeof name !== "string") {
      throw new TypeError(
        `Cannot ${action}: name must be a string, received ${received(name)}`,
      );
    }
    this.#highWaterMark = highWaterMark;
    this.#replay = replay;
    this.#name = name;
    this.#life = new Lifecycle("broadcast", name);
    this.#fan = new Fan<T>({
      replay,
      name: this.#life.called,
      changed: () => this.#changed(),
    });
  }

  // -- Subscribing ------------------------------------------------------------

  /**
   * A stream of what is put from now on, and before that of up to `replay` of
   * the last items. It reads ahead by nothing: what it has not been asked for
   * stays in the ring. `cancel()` takes this subscriber away and leaves the
   * others alone; so does breaking off a loop. A subscriber under `"wait"` that
   * is neither read nor cancelled makes every `put` wait.
   *
   * Replay counts as being behind. Under `"wait"` that only means that `put`
   * waits until it has caught up; under the other policies at most
   * `highWaterMark` items are replayed.
   *
   * After `close()` and `fail()` there is still the replay, and then the end; a
   * broadcast that was aborted gives a stream that has failed. Throws a
   * `TypeError` or `RangeError` that names the option it cannot use. O(replay).
   *
   * @example A late comer
   * ```ts
   * import { Broadcast } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const status = new Broadcast<string>({ replay: 1 });
   * for (const text of ["starting", "running"]) await status.put(text);
   * const reader = status.subscribe().getReader();
   * assertEquals((await reader.read()).value, "running");
   * ```
   */
  subscribe(options: SubscribeOptions = {}): ReadableStream<T> {
    checkOptions("subscribe", options, {
      overflow: true,
      highWaterMark: true,
      replay: true,
      onLag: true,
    });
    const pace = readPace("subscribe", options, this.#highWaterMark);
    const { replay = this.#replay } = options;
    checkLimit("subscribe", "replay", replay, 0);
    if (replay > this.#replay) {
      throw new RangeError(
        `Cannot subscribe: replay must be at most the ${this.#replay} items ` +
          `that ${this.#life.called} keeps, received ${replay}`,
      );
    }
    return new QueueReadable<T>(this.#fan.subscribe(pace, replay));
  }

  // -- Putting ----------------------------------------------------------------

  /**
   * Delivers one item to all subscribers, and waits for those that make it wait.
   *
   * Fulfils when the item is accepted: handed to the reads that wait for it, and
   * stored for those who have still to read it. Waiting puts are let in in the
   * order of their arrival.
   *
   * Rejects with `QueueClosedError`, which carries the item, after `close` or
   * `fail`; with the reason after `abort`; with the signal's reason when it
   * fires. A put that rejects has delivered nothing to anyone.
   *
   * @example The slowest sets the pace
   * ```ts
   * import { Broadcast } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const broadcast = new Broadcast<number>({ highWaterMark: 1 });
   * const reader = broadcast.subscribe().getReader();
   * await broadcast.put(1);
   * const second = broadcast.put(2); // waits: 1 is still unread
   * assertEquals((await reader.read()).value, 1);
   * await second;
   * ```
   */
  put(item: T, options?: PutOptions): Promise<void> {
    return this.#put(item, options, undefined);
  }

  #put(
    item: T,
    options: PutOptions | undefined,
    group: WaiterGroup | undefined,
  ): Promise<void> {
    let signal: AbortSignal | undefined;
    if (options !== undefined) {
      try {
        signal = signalOf("put", options);
      } catch (reason) {
        return Promise.reject(reason);
      }
    }
    // Before the state is looked at, as it may run user code.
    const hasRoom = this.#fan.hasRoom();
    if (this.#life.state !== "open") {
      return Promise.reject(this.#life.refusal(item));
    }
    if (hasRoom && this.#putters.first === undefined) {
      this.#fan.push(item);
      this.#fan.feedSoon();
      return FULFILLED;
    }
    const putter = new Putter(item, 1, undefined, this.#putWithdrawn);
    this.#putters.push(putter);
    if (signal !== undefined) group = this.#signals.of(signal);
    group?.add(putter);
    return putter.promise;
  }

  /**
   * Delivers one item if that needs no waiting, and says whether it did: false
   * while a subscriber that makes `put` wait has no room, or a put waits. Throws
   * `QueueClosedError` after `close` or `fail`, the reason after `abort`.
   */
  tryPut(item: T): boolean {
    const hasRoom = this.#fan.hasRoom();
    if (this.#life.state !== "open") throw this.#life.refusal(item);
    if (!hasRoom || this.#putters.first !== undefined) return false;
    this.#fan.push(item);
    this.#fan.feedSoon();
    return true;
  }

  /**
   * The broadcast as a `WritableStream`; the same object each time. `write` is
   * `put`, `close` is `close`, `abort(reason)` is `abort(reason)`.
   *
   * @example At the end of a pipe
   * ```ts
   * import { Broadcast } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const broadcast = new Broadcast<Uint8Array>();
   * const copies = [broadcast.subscribe(), broadcast.subscribe()];
   * const piping = new Response("text").body!.pipeTo(broadcast.writable);
   * const texts = copies.map((copy) => new Response(copy).text());
   * assertEquals(await Promise.all(texts), ["text", "text"]);
   * await piping;
   * ```
   */
  get writable(): WritableStream<T> {
    if (this.#writable === undefined) {
      this.#writable = this.#makeWritable();
      this.#life.follow(this.#writable);
    }
    return this.#writable;
  }

  // -- State ------------------------------------------------------------------

  /**
   * How many more items may be put before one waits: the room of the subscriber
   * under `"wait"` that has least, minus the puts that wait. Without one it is
   * the highWaterMark. 0 once `close()` was called, null once `fail()` or
   * `abort()` was.
   */
  get desiredSize(): number | null {
    if (this.#life.failure !== undefined) return null;
    if (this.#life.state !== "open") return 0;
    const { room } = this.#fan;
    return (room === Infinity ? this.#highWaterMark : room) -
      this.#putters.length;
  }

  /**
   * Fulfilled while there is room (`desiredSize > 0`), pending while there is
   * none. Fulfilled after `close()`; rejects with the reason of `fail` or
   * `abort`.
   */
  get ready(): Promise<void> {
    return this.#life.ready(this.#hasRoomForMore());
  }

  /**
   * Fulfils when the broadcast was closed and each subscriber has read
   * everything or left; rejects with the reason of `fail` then, of `abort` at
   * once. Ignoring it causes no unhandled rejection.
   */
  get closed(): Promise<void> {
    return this.#life.closed;
  }

  /**
   * A frozen snapshot, with the lag of each subscriber.
   *
   * @example Who is slow
   * ```ts
   * import { Broadcast } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const broadcast = new Broadcast<number>();
   * const reader = broadcast.subscribe().getReader();
   * broadcast.subscribe({ overflow: "drop-oldest", highWaterMark: 1 });
   * for (const item of [1, 2, 3]) await broadcast.put(item);
   * await reader.read();
   * assertEquals(broadcast.stats().subscribers.map(({ lag, missed }) => [lag, missed]), [
   *   [2, 0],
   *   [1, 2],
   * ]);
   * ```
   */
  stats(): BroadcastStats {
    const subscribers = [...this.#fan.cursors].map((cursor) =>
      Object.freeze({
        overflow: cursor.overflow,
        highWaterMark: cursor.highWaterMark,
        lag: cursor.lag,
        missed: cursor.missed,
      })
    );
    return Object.freeze({
      name: this.#name,
      length: this.#fan.length,
      desiredSize: this.desiredSize,
      highWaterMark: this.#highWaterMark,
      replay: this.#replay,
      put: this.#fan.end,
      waitingPuts: this.#putters.length,
      state: this.#life.state,
      subscribers: Object.freeze(subscribers),
    });
  }

  // -- Ending -----------------------------------------------------------------

  /**
   * Ends the broadcast gracefully: no new puts; those that wait already are let
   * in as room comes, subscribers read what is left and then see the end.
   * Idempotent.
   */
  close(): void {
    this.#close(undefined);
  }

  /**
   * Ends the broadcast as {@linkcode Broadcast.close} does, but subscribers that
   * have read everything see `reason` instead of the end. No effect once it is
   * closed, failed or aborted.
   *
   * @example Nothing is lost before the error
   * ```ts
   * import { Broadcast } from "@highwater/queue";
   * import { assertEquals, assertRejects } from "@std/assert";
   *
   * const broadcast = new Broadcast<number>();
   * const reader = broadcast.subscribe().getReader();
   * await broadcast.put(1);
   * broadcast.fail(new Error("source broke"));
   * assertEquals((await reader.read()).value, 1);
   * await assertRejects(() => reader.read(), Error, "source broke");
   * ```
   */
  fail(reason: unknown): void {
    this.#close({ reason });
  }

  #close(failure: Failure | undefined): void {
    if (!this.#life.close(failure)) return;
    this.#life.tell();
    this.#endIfDrained();
  }

  /**
   * Ends the broadcast now: puts that wait reject with `reason`, subscribers
   * fail with it, what they have not read is dropped, and so is what was kept
   * for replay. Also cuts a `close` or `fail` short. Without a reason it is an
   * `AbortError`.
   */
  abort(reason?: unknown): void {
    this.#abort(reasonOr(reason, "The broadcast was aborted"));
  }

  #abort(reason: unknown): void {
    // Who waits for what has come gets it, and so may see the end of a close().
    this.#fan.feed();
    if (!this.#life.abort(reason)) return;
    for (const putter of leaving(this.#putters)) putter.reject(reason);
    this.#fan.abort(reason);
    this.#life.tell();
  }

  // -- Within -----------------------------------------------------------------

  /** Somebody has read or left: whoever waited for that goes on. */
  #changed(): void {
    if (this.#putters.first !== undefined) this.#admitWaitingPuts();
    if (this.#life.awaitsRoom && this.#hasRoomForMore()) this.#life.roomCame();
    if (this.#life.state !== "open") this.#endIfDrained();
  }

  #admitWaitingPuts(): void {
    // A subscriber that is fed may get here again; the loop goes on for it.
    if (this.#admitting) return;
    this.#admitting = true;
    while (this.#putters.first !== undefined && this.#fan.hasRoom()) {
      // Asking for room may feed a reader, which may cancel the put.
      const putter = this.#putters.first;
      if (putter === undefined) break;
      putter.leave();
      this.#fan.push(putter.item);
      putter.accepted();
    }
    this.#admitting = false;
    this.#fan.feedSoon();
  }

  #hasRoomForMore(): boolean {
    return this.desiredSize! > 0;
  }

  #endIfDrained(): void {
    if (this.#life.state !== "closing" || this.#putters.first !== undefined) {
      return;
    }
    const { failure } = this.#life;
    if (this.#fan.ending === undefined) this.#fan.finish({ failure });
    if (this.#fan.cursors.size > 0) return;
    this.#life.finish();
    this.#life.tell();
  }

  #makeWritable(): QueueWritable<T> {
    const desiredSize = (): number | null => this.desiredSize;
    const ready = (): Promise<void> => this.ready;
    const open = (): boolean => this.#life.state === "open";
    return new QueueWritable<T>({
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
      close: () => this.close(),
      abort: (reason) => this.#abort(reason),
      failed: (reason) => this.fail(reason),
    });
  }

  #assertInvariants(): void {
    this.#fan.assertInvariants();
    const { state, desiredSize, waitingPuts, subscribers } = this.stats();
    const ended = state === "closed" || state === "errored";
    if (waitingPuts > 0 && (ended || this.#fan.hasRoom())) {
      throw new Error("Invariant broken: a put waits, so there is no room");
    }
    if (state === "closing" && waitingPuts + subscribers.length === 0) {
      throw new Error("Invariant broken: a closing broadcast has readers left");
    }
    if ((desiredSize === null) !== (this.#life.failure !== undefined)) {
      throw new Error("Invariant broken: desiredSize is null after a failure");
    }
  }
}
