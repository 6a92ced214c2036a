/**
 * A transform that runs several calls of an asynchronous function at a time.
 *
 * @module
 */

import { ignore, isThenable } from "../callbacks.ts";
import { Lifecycle } from "../lifecycle.ts";
import { Queue } from "../queue.ts";
import { checkHighWaterMark } from "../strategy.ts";
import { type PuttingEnd, QueueWritable } from "../views/writable.ts";
import {
  FULFILLED,
  leaving,
  Line,
  Putter,
  type WaiterGroup,
} from "../waiters.ts";
import {
  checkBoolean,
  checkFunction,
  checkLimit,
  checkOptions,
} from "../checks.ts";
import { readableOnDemand } from "./demand.ts";

/** Options of {@linkcode concurrentMap}. */
export interface ConcurrentMapOptions {
  /**
   * How many calls run at a time, a whole number of 1 or more, or Infinity.
   * Default: 16, which suits calls that wait for a network or a disk.
   */
  concurrency?: number | undefined;
  /** Whether results come in the order of their items, or as they are ready. Default: true. */
  ordered?: boolean | undefined;
  /** How many results may wait to be read beyond the first `concurrency` places, see {@linkcode concurrentMap}. Default: 16. */
  highWaterMark?: number | undefined;
}

/**
 * A transform for `pipeThrough`: runs `fn(item, signal)` for each item written,
 * up to `concurrency` at a time, and gives out the results, by default in the order
 * of the items. Any value is an item and a result, `undefined`
 * included.
 *
 * - **Waiting.** A call begins when its item is written, read or not, as long as
 *   fewer than `concurrency` calls run and *calls that run + results not read* are
 *   fewer than `concurrency + highWaterMark`. Else the write waits, in line, and
 *   the writer's `ready` with it. A result that an earlier one holds up counts as
 *   not read.
 * - **Errors.** What `fn` throws or rejects with ends the pair: no call begins any
 *   more, the signals of the calls under way abort with the reason, the writer is
 *   errored with it, and so is the readable, after the results before it. Those
 *   are, in order, the results of all earlier items, calls under way included,
 *   whose own failure then only ends the wait; unordered, what was ready to be
 *   read. All that comes later is dropped.
 * - **Cancelling** the readable or aborting the writer does the same at once on
 *   both sides: unread results are dropped, the calls under way see their signal
 *   abort, and are not waited for.
 * - **Closing** the writer lets the writes that wait begin, and fulfils when all
 *   calls have ended well. The readable ends after the last result.
 * - All calls have **one signal**, that of the pair. It is not aborted by a good end.
 *
 * Throws a `TypeError` or `RangeError` that names the argument it cannot use.
 *
 * @example Pages, four at a time, in order
 * ```ts
 * import { concurrentMap, Queue } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * async function lengthOf(page: string, signal: AbortSignal): Promise<number> {
 *   signal.throwIfAborted(); // or fetch(page, { signal })
 *   return await Promise.resolve(page.length);
 * }
 *
 * const pages = new Queue<string>();
 * await pages.putMany(["/", "/about", "/news"]);
 * pages.close();
 * const lengths: number[] = [];
 * const mapped = pages.readable.pipeThrough(concurrentMap(lengthOf, { concurrency: 4 }));
 * for await (const length of mapped) lengths.push(length);
 * assertEquals(lengths, [1, 6, 5]);
 * ```
 */
export function concurrentMap<T, R>(
  fn: (item: T, signal: AbortSignal) => R | Promise<R>,
  options: ConcurrentMapOptions = {},
): ReadableWritablePair<R, T> {
  const { readable, writable } = mapInPair(fn, options);
  return { readable, writable };
}

/** The same, for who wants to know when all is over: `finished` fulfils when all calls have ended well, and rejects with why they have not. */
export function mapInPair<T, R>(
  fn: (item: T, signal: AbortSignal) => R | Promise<R>,
  options: ConcurrentMapOptions,
): ReadableWritablePair<R, T> & { readonly finished: Promise<void> } {
  checkFunction("map", "fn", fn);
  checkOptions("map", options, {
    concurrency: true,
    ordered: true,
    highWaterMark: true,
  });
  const { concurrency = 16, ordered = true, highWaterMark = 16 } = options;
  checkLimit("map", "concurrency", concurrency, 1);
  checkHighWaterMark("map", highWaterMark);
  checkBoolean("map", "ordered", ordered);
  return new ConcurrentMap(
    fn,
    concurrency,
    concurrency + highWaterMark,
    ordered,
  );
}

/** Calls between a line of writes that wait and a queue of results, whose room is reckoned here. */
class ConcurrentMap<T, R> implements PuttingEnd<T> {
  readonly readable: ReadableStream<R>;
  readonly writable: QueueWritable<T>;
  readonly refusesWhenFull = false;
  readonly #fn: (item: T, signal: AbortSignal) => R | Promise<R>;
  readonly #concurrency: number;
  /** How many calls and unread results there may be. */
  readonly #places: number;
  readonly #ordered: boolean;
  readonly #controller: AbortController = new AbortController();
  readonly #putters: Line<Putter<T>> = new Line();
  readonly #results: Queue<R> = new Queue({ highWaterMark: Infinity });
  #running = 0;
  /** Calls that run, and those whose result an earlier one holds up; in order, oldest first. */
  #begun = 0;
  #oldest: Mapping<R> | undefined = undefined;
  #newest: Mapping<R> | undefined = undefined;
  #free: Mapping<R> | undefined = undefined;
  readonly #life: Lifecycle = new Lifecycle("map");
  /** The readable has got all it will get. */
  #over = false;
  #admitting = false;
  /** When the writer's close would fulfil. */
  get finished(): Promise<void> {
    return this.#life.closed;
  }

  constructor(
    fn: (item: T, signal: AbortSignal) => R | Promise<R>,
    concurrency: number,
    places: number,
    ordered: boolean,
  ) {
    this.#fn = fn;
    this.#concurrency = concurrency;
    this.#places = places;
    this.#ordered = ordered;
    this.writable = new QueueWritable<T>(this);
    this.readable = readableOnDemand(this.#results, {
      asked: () => this.#admit(),
      cancel: (reason) => {
        this.abort(reason);
        return FULFILLED;
      },
    });
  }

  // -- Writing ----------------------------------------------------------------

  get open(): boolean {
    return this.#life.state === "open";
  }

  get desiredSize(): number | null {
    if (this.#life.failure !== undefined) return null;
    if (!this.open) return 0;
    return Math.min(
      this.#concurrency - this.#running,
      this.#places - this.#begun - this.#results.length,
    ) - this.#putters.length;
  }

  get ready(): Promise<void> {
    return this.#life.ready(this.desiredSize! > 0);
  }

  put(item: T, group: WaiterGroup): Promise<void> {
    if (this.#life.aborted) return Promise.reject(this.#life.reason);
    if (this.#putters.first === undefined && this.#hasRoom()) {
      this.#start(item);
      return FULFILLED;
    }
    const putter = new Putter(item, 1, undefined, ignore);
    this.#putters.push(putter);
    group.add(putter);
    return putter.promise;
  }

  #hasRoom(): boolean {
    return this.#running < this.#concurrency &&
      this.#begun + this.#results.length < this.#places;
  }

  /** Lets waiting writes in, and those that wait for room to write. */
  #admit(): void {
    // A call that ends at once comes back in here.
    if (this.#admitting || !this.#hasRoom()) return;
    this.#admitting = true;
    while (this.#putters.first !== undefined && this.#hasRoom()) {
      const putter = this.#putters.first;
      putter.leave();
      putter.accepted();
      this.#start(putter.item);
    }
    this.#admitting = false;
    if (this.#life.awaitsRoom && this.desiredSize! > 0) this.#life.roomCame();
  }

  // -- Calls ------------------------------------------------------------------

  #start(item: T): void {
    this.#running++;
    this.#begun++;
    const call = this.#freeCall();
    if (this.#ordered) this.#lineUp(call);
    let result: R | Promise<R>;
    try {
      result = (0, this.#fn)(item, this.#controller.signal);
      if (isThenable(result)) {
        Promise.resolve(result).then(call.succeeded, call.failed);
        return;
      }
    } catch (reason) {
      return this.#failed(call, reason);
    }
    this.#succeeded(call, result);
  }

  /** Calls are used again: an object and two functions for each item cost a tenth of the whole. */
  #freeCall(): Mapping<R> {
    const call = this.#free;
    if (call !== undefined) {
      this.#free = call.next;
      call.next = undefined;
      return call;
    }
    return new Mapping<R>(
      (call, result) => this.#succeeded(call, result),
      (call, reason) => this.#failed(call, reason),
    );
  }

  #reuse(call: Mapping<R>): void {
    call.state = "running";
    call.result = undefined;
    call.next = this.#free;
    this.#free = call;
  }

  #lineUp(call: Mapping<R>): void {
    if (this.#newest === undefined) this.#oldest = call;
    else this.#newest.next = call;
    this.#newest = call;
  }

  #succeeded(call: Mapping<R>, result: R): void {
    this.#running--;
    if (this.#over) return;
    if (this.#ordered) {
      call.result = result;
      call.state = "done";
      this.#giveInOrder();
    } else this.#give(call, result);
    this.#endIfDone();
    this.#admit();
  }

  #failed(call: Mapping<R>, reason: unknown): void {
    this.#running--;
    if (this.#over) return;
    call.state = "failed";
    this.#refuseWrites(reason);
    if (this.#ordered) this.#giveInOrder();
    else this.#failResults();
    this.#controller.abort(reason);
  }

  // -- Results ----------------------------------------------------------------

  /** Gives what no earlier call holds up any more. */
  #giveInOrder(): void {
    for (
      let call = this.#oldest;
      call !== undefined && call.state !== "running";
      call = this.#oldest
    ) {
      if (call.state === "failed") return this.#failResults();
      this.#oldest = call.next;
      if (call.next === undefined) this.#newest = undefined;
      this.#give(call, call.result as R);
    }
  }

  #give(call: Mapping<R>, result: R): void {
    this.#begun--;
    this.#reuse(call);
    this.#results.tryPut(result);
  }

  // -- Endings ----------------------------------------------------------------

  close(): Promise<void> {
    this.#life.close();
    this.#endIfDone();
    return this.#life.closed;
  }

  failed(reason: unknown): void {
    this.abort(reason);
  }

  /** Ends both sides now. */
  abort(reason: unknown): void {
    this.#over = true;
    this.#oldest = undefined;
    this.#newest = undefined;
    this.#refuseWrites(reason);
    this.#results.abort(reason);
    this.#controller.abort(reason);
  }

  #endIfDone(): void {
    if (this.#life.state !== "closing") return;
    if (this.#begun > 0 || this.#putters.length > 0) return;
    this.#over = true;
    this.#results.close();
    this.#life.finish();
    this.#life.tell();
  }

  /** No call begins any more. */
  #refuseWrites(reason: unknown): void {
    if (!this.#life.abort(reason)) return;
    for (const putter of leaving(this.#putters)) putter.reject(reason);
    this.#life.tell();
    this.writable.erroredByQueue(reason);
  }

  /** The readable fails once the results before are read. */
  #failResults(): void {
    this.#over = true;
    this.#results.fail(this.#life.reason);
  }
}

/** A call, until its result is given; then it serves for another. */
class Mapping<R> {
  state: "running" | "done" | "failed" = "running";
  result: R | undefined = undefined;
  next: Mapping<R> | undefined = undefined;
  readonly succeeded: (result: R) => void;
  readonly failed: (reason: unknown) => void;

  constructor(
    succeeded: (call: Mapping<R>, result: R) => void,
    failed: (call: Mapping<R>, reason: unknown) => void,
  ) {
    this.succeeded = (result) => succeeded(this, result);
    this.failed = (reason) => failed(this, reason);
  }
}
