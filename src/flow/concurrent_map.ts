/**
 * A transform that runs several calls of an asynchronous function at a time.
 *
 * @module
 */

import { received } from "../errors.ts";
import { Queue, takingEndOf, writableOf } from "../queue.ts";
import { checkHighWaterMark } from "../strategy.ts";
import { type Deferred, deferred, markHandled, Taker } from "../waiters.ts";
import type { EndingView, TakingEnd } from "../views/readable.ts";
import { branchOf, checkFunction, checkOptions } from "./branch.ts";

/** Options of {@linkcode concurrentMap}. */
export interface ConcurrentMapOptions {
  /**
   * How many calls run at a time, a whole number of 1 or more, or Infinity; 16
   * unless told, which suits calls that wait for a network or a disk.
   */
  concurrency?: number | undefined;
  /** Whether results come in the order of their items, or as they are ready; true unless told. */
  ordered?: boolean | undefined;
  /** How many results may wait to be read beyond the first `concurrency` places, see {@linkcode concurrentMap}; 16 unless told. */
  highWaterMark?: number | undefined;
}

/**
 * A transform for `pipeThrough`: runs `fn(item, signal)` for each item written,
 * up to `concurrency` at a time, and gives out the results, in the order of the
 * items unless told otherwise. Any value is an item and a result, `undefined`
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
  checkFunction("map", "fn", fn);
  checkOptions("map", options);
  const { concurrency = 16, ordered = true, highWaterMark = 16 } = options;
  checkConcurrency(concurrency);
  checkHighWaterMark("map", highWaterMark);
  if (typeof ordered !== "boolean") {
    throw new TypeError(
      `Cannot map: ordered must be true or false, received ${
        received(ordered)
      }`,
    );
  }
  const { readable, writable } = new ConcurrentMap(
    fn,
    concurrency,
    concurrency + highWaterMark,
    ordered,
  );
  return { readable, writable };
}

function checkConcurrency(concurrency: unknown): void {
  if (typeof concurrency !== "number") {
    throw new TypeError(
      `Cannot map: concurrency must be a number, received ${
        received(concurrency)
      }`,
    );
  }
  if (
    concurrency !== Infinity &&
    (!Number.isSafeInteger(concurrency) || concurrency < 1)
  ) {
    throw new RangeError(
      "Cannot map: concurrency must be a whole number of 1 or more, " +
        `or Infinity, received ${concurrency}`,
    );
  }
}

/**
 * Calls between two queues. The first stores nothing, so that writes wait in its
 * line; the second stores results, and the room in it is reckoned here.
 */
class ConcurrentMap<T, R> implements EndingView {
  readonly readable: ReadableStream<R>;
  readonly writable: WritableStream<T>;
  readonly #fn: (item: T, signal: AbortSignal) => R | Promise<R>;
  readonly #concurrency: number;
  readonly #places: number;
  readonly #ordered: boolean;
  readonly #input: Queue<T> = new Queue({ highWaterMark: 0 });
  readonly #items: TakingEnd<T> = takingEndOf(this.#input, ignore);
  readonly #output: Queue<R> = new Queue({ highWaterMark: Infinity });
  readonly #starter: Starter<T> = new Starter((item) => this.#start(item));
  readonly #controller: AbortController = new AbortController();
  /** Settles the closing of the writer. */
  readonly #finished: Deferred<void> = deferred();
  #running = 0;
  /** Calls whose result is not in the output: those that run, and those held up by an earlier one. */
  #begun = 0;
  /** The calls that began and are not in the output, oldest first. */
  #oldest: Call<R> | undefined = undefined;
  #newest: Call<R> | undefined = undefined;
  #starting = false;
  #inputEnded = false;
  /** What the pair ends with, once no more calls begin. */
  #failure: { reason: unknown } | undefined = undefined;
  /** Results are of no interest any more. */
  #over = false;

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
    markHandled(this.#finished.promise);
    this.readable = branchOf(this.#output, {
      asked: () => this.#startMore(),
      cancel: (reason) => this.#abort(reason),
    });
    this.writable = writableOf(this.#input, {
      close: () => this.#close(),
      abort: (reason) => this.#abort(reason),
      failed: (reason) => this.#abort(reason),
    });
    this.#items.watch(this);
    this.#startMore();
  }

  // -- Calls ------------------------------------------------------------------

  /** Keeps the starter in the line of the input for as long as there is room. */
  #startMore(): void {
    // A call that ends at once comes back in here.
    if (this.#starting) return;
    this.#starting = true;
    while (this.#hasRoom() && this.#starter.line === undefined) {
      this.#items.serve(this.#starter);
    }
    this.#starting = false;
  }

  #hasRoom(): boolean {
    return this.#running < this.#concurrency &&
      this.#begun + this.#output.length < this.#places &&
      !this.#inputEnded && this.#failure === undefined;
  }

  #start(item: T): void {
    this.#running++;
    this.#begun++;
    const call = new Call<R>();
    if (this.#ordered) this.#lineUp(call);
    if (!this.#hasRoom()) this.#starter.leave();
    let result: R | Promise<R>;
    try {
      result = (0, this.#fn)(item, this.#controller.signal);
      if (isThenable(result)) {
        Promise.resolve(result).then(
          (value) => this.#succeeded(call, value),
          (reason) => this.#failed(call, reason),
        );
        return;
      }
    } catch (reason) {
      return this.#failed(call, reason);
    }
    this.#succeeded(call, result);
  }

  #lineUp(call: Call<R>): void {
    if (this.#newest === undefined) this.#oldest = call;
    else this.#newest.next = call;
    this.#newest = call;
  }

  #succeeded(call: Call<R>, result: R): void {
    this.#running--;
    if (this.#over) return;
    if (!this.#ordered) this.#give(result);
    else {
      call.result = { value: result };
      this.#giveInOrder();
    }
    this.#endIfFinished();
    this.#startMore();
  }

  #failed(call: Call<R>, reason: unknown): void {
    this.#running--;
    if (this.#over) return;
    const isFirst = this.#failure === undefined;
    this.#failure ??= { reason };
    if (this.#ordered) {
      call.hasFailed = true;
      this.#giveInOrder();
    } else this.#fail();
    if (!isFirst) return;
    this.#input.abort(reason);
    this.#finished.reject(reason);
    this.#controller.abort(reason);
  }

  // -- Results ----------------------------------------------------------------

  /** Gives what no call holds up any more. */
  #giveInOrder(): void {
    for (
      let call = this.#oldest;
      call !== undefined;
      call = this.#oldest
    ) {
      if (call.hasFailed) return this.#fail();
      if (call.result === undefined) return;
      this.#oldest = call.next;
      if (call.next === undefined) this.#newest = undefined;
      this.#give(call.result.value);
    }
  }

  #give(result: R): void {
    this.#begun--;
    this.#output.tryPut(result);
  }

  // -- Endings ----------------------------------------------------------------

  #close(): Promise<void> {
    this.#input.close();
    return this.#finished.promise;
  }

  /** All items have begun. */
  ended(): void {
    this.#inputEnded = true;
    this.#endIfFinished();
  }

  /** Whoever aborts the input does the rest. */
  errored(): void {}

  #endIfFinished(): void {
    if (!this.#inputEnded || this.#begun > 0 || this.#over) return;
    this.#over = true;
    this.#output.close();
    this.#finished.resolve();
  }

  /** The readable ends in the failure, after the results it has. */
  #fail(): void {
    this.#over = true;
    this.#output.fail(this.#failure!.reason);
  }

  #abort(
    reason: unknown = new DOMException("The map was aborted", "AbortError"),
  ): void {
    this.#failure ??= { reason };
    this.#over = true;
    this.#oldest = undefined;
    this.#newest = undefined;
    this.#input.abort(reason);
    this.#output.abort(reason);
    this.#finished.reject(reason);
    this.#controller.abort(reason);
  }
}

/** A call whose result has to wait for its turn. */
class Call<R> {
  result: { value: R } | undefined = undefined;
  hasFailed = false;
  next: Call<R> | undefined = undefined;
}

/** Starts a call with each item that comes, for as long as it stays in line. */
class Starter<T> extends Taker<T> {
  readonly #start: (item: T) => void;

  constructor(start: (item: T) => void) {
    super();
    this.#start = start;
  }

  accept(item: T): void {
    this.#start(item);
  }

  /** The input tells of its end by itself. */
  end(): void {}
  reject(): void {}
}

function isThenable<R>(result: R | Promise<R>): result is Promise<R> {
  return typeof (result as Promise<R> | null | undefined)?.then === "function";
}

function ignore(): void {}
