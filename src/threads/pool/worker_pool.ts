/**
 * Tasks for threads.
 *
 * @module
 */

import { refusePromise } from "../../callbacks.ts";
import { checkCount, outOfRange, wrongType } from "../../checks.ts";
import { reasonOr } from "../../errors.ts";
import { mapInPair } from "../../flow/concurrent_map.ts";
import { Lifecycle } from "../../lifecycle.ts";
import { printBy } from "../../printing.ts";
import { FULFILLED, signalOf } from "../../waiters.ts";
import { WorkStealingQueue } from "../../work_stealing_queue.ts";
import type { TransferableObject } from "../endpoint.ts";
import { PoolLane, type PoolWorkerStats } from "./lane.ts";
import { checkPoolOptions } from "./options.ts";
import type {
  CheckedPoolOptions,
  PoolMapOptions,
  RunOptions,
  WorkerPoolOptions,
} from "./options.ts";
import { PoolTask } from "./task.ts";
import { PoolTasks } from "./tasks.ts";
import type { WorkerSource } from "./thread.ts";
import type { PoolWorker } from "./worker.ts";
import type { ResultOf, TaskOf } from "./work.ts";

/** What {@linkcode WorkerPool.stats} tells: a frozen snapshot. */
export interface PoolStats {
  /** The name the pool was given, or "". */
  readonly name: string;
  /** How many workers there should be. */
  readonly size: number;
  /** Tasks that no worker has begun, those that wait for room included. */
  readonly waiting: number;
  /** Tasks that a worker is doing. */
  readonly running: number;
  /** Tasks that ended with a result. */
  readonly done: number;
  /** Tasks that ended with an error of their handler, or could not be sent. */
  readonly failed: number;
  /** Tasks that ended otherwise: cancelled, given up, or thrown out by `abort()`. */
  readonly undelivered: number;
  /** How many times a task went back to be done again, because its worker ended. */
  readonly retried: number;
  /** Tasks that went to another worker than the one whose lane they were in. */
  readonly stolen: number;
  /** Tasks that were called back on the way to a busy worker, for an idle one. */
  readonly recalled: number;
  /** Workers that ended unasked, or could not be started. */
  readonly crashes: number;
  /** Each worker, by the index of its lane. */
  readonly workers: readonly PoolWorkerStats[];
}

const NOTHING: TransferableObject[] = [];

/**
 * Threads that do tasks: each has a lane of a `WorkStealingQueue`, and who has
 * nothing to do takes from the others.
 *
 * - **Every task ends once**: with its result, with the error of its handler, or
 *   with the reason why nobody has finished it. An error of one task is nobody
 *   else's.
 * - **Bounded.** `run()` waits for room in a lane. A worker holds the task it does
 *   and a few that are on the way to it.
 * - **Nobody sleeps beside work.** An idle worker takes from the longest lane, and
 *   then what is on the way to a busy worker and not begun. That is decided in
 *   shared memory and asks no busy thread; where there is none (a page that is not
 *   cross-origin isolated) nothing is sent ahead.
 * - **Crashes are survived.** A worker that ends, by an error that nobody catches,
 *   `process.exit`, `close` or `terminate`, is replaced. The tasks it was doing are
 *   tried again, `attempts` times in all, so a task may be begun more than once;
 *   those on the way go back and nothing is counted.
 *   In a page nothing tells of a worker that closes itself: only its errors count.
 * - **A worker that does not start** is tried three times, with a growing pause. When
 *   all have been given up, the pool is aborted with the reason.
 *
 * `T` is the type of the tasks, or that of the worker's handler, from which the rest
 * follows: `WorkerPool<typeof import("./worker.ts").handler>`, see {@linkcode work}.
 * Tasks and results must be of a kind that `structuredClone` takes.
 *
 * `size` workers are started at once. The pool keeps the process alive while it has
 * tasks, see {@linkcode WorkerPool.unref}; on Deno and in a page until it is closed.
 *
 * | verb | new tasks | waiting tasks | running tasks | `closed` |
 * |---|---|---|---|---|
 * | `close()` | reject | done | done | fulfils when the last worker has ended |
 * | `abort(e)` | reject `e` | reject `e` | reject `e`, their workers are ended | rejects `e` |
 *
 * @example Tasks, and a stream of tasks
 * ```ts
 * import { WorkerPool } from "@highwater/queue/threads";
 * import { assertEquals } from "@std/assert";
 *
 * // Usually a file of its own: new URL("./worker.ts", import.meta.url)
 * const library = import.meta.resolve("@highwater/queue/threads");
 * const worker = `
 *   import { work } from ${JSON.stringify(library)};
 *   work((number) => number * number);
 * `;
 * const url = URL.createObjectURL(new Blob([worker], { type: "text/javascript" }));
 *
 * const pool = new WorkerPool<number, number>(url, { size: 2 });
 * assertEquals(await pool.run(3), 9);
 * const source = new Blob(["x"]).stream().pipeThrough(
 *   new TransformStream<unknown, number>({
 *     transform(_chunk, controller) {
 *       for (const number of [1, 2, 3]) controller.enqueue(number);
 *     },
 *   }),
 * );
 * const squares: number[] = [];
 * for await (const square of source.pipeThrough(pool)) squares.push(square);
 * assertEquals(squares, [1, 4, 9]);
 * await pool.closed; // the end of the stream has closed it
 * ```
 */
export class WorkerPool<T, R = ResultOf<T>>
  implements ReadableWritablePair<R, TaskOf<T>>, AsyncDisposable {
  readonly #options: CheckedPoolOptions<TaskOf<T>>;
  readonly #queue: WorkStealingQueue<PoolTask<TaskOf<T>, R>>;
  readonly #tasks: PoolTasks<TaskOf<T>, R>;
  readonly #lanes: PoolLane<TaskOf<T>, R>[] = [];
  readonly #life: Lifecycle;
  #pair: ReadableWritablePair<R, TaskOf<T>> | undefined = undefined;
  #isDealing = false;
  #isReferenced = true;
  #recalled = 0;

  /**
   * Starts the workers: from the module at that URL, or each as the function
   * returns it, a `Worker` of the web or of `node:worker_threads`. A path in place
   * of a URL is as the runtime's own `Worker` understands it.
   *
   * Throws a `TypeError` or `RangeError` that names the argument it cannot use.
   */
  constructor(
    source: WorkerSource,
    options: WorkerPoolOptions<TaskOf<T>> = {},
  ) {
    printBy(WorkerPool.prototype, (pool) => pool.#facts());
    this.#options = checkPoolOptions(source, options);
    const { size: lanes, steal, highWaterMark, name } = this.#options;
    this.#life = new Lifecycle("pool", name);
    this.#queue = new WorkStealingQueue({ lanes, steal, highWaterMark });
    this.#tasks = new PoolTasks(
      { ...this.#options, called: this.#life.called },
      () => this.#keepAlive(),
    );
    this.#queue.closed.then(() => this.#end(), () => {});
    const listener = {
      deal: () => this.#dealSoon(),
      gaveUp: (times: number, cause: unknown) => this.#gaveUp(times, cause),
    };
    for (let index = 0; index < lanes; index++) {
      const lane = this.#queue.lane(index);
      this.#lanes.push(
        new PoolLane(this.#options, lane, this.#tasks, listener),
      );
    }
  }

  // -- State ------------------------------------------------------------------

  /**
   * Fulfils when the pool was closed, every task has ended, and so have the
   * workers; rejects with the reason of `abort`. Ignoring it causes no unhandled
   * rejection.
   */
  get closed(): Promise<void> {
    return this.#life.closed;
  }

  /**
   * A frozen snapshot of the counters. O(size).
   *
   * @example How busy the workers are
   * ```ts
   * import type { WorkerPool } from "@highwater/queue/threads";
   *
   * function load(pool: WorkerPool<string, number>): number {
   *   const { running, size } = pool.stats();
   *   return running / size;
   * }
   * ```
   */
  stats(): PoolStats {
    const workers = this.#lanes.map((lane) => lane.stats());
    const running = workers.reduce((sum, { running }) => sum + running, 0);
    return Object.freeze({
      name: this.#options.name,
      size: this.#options.size,
      waiting: this.#tasks.size - running,
      running,
      ...this.#tasks.counts,
      stolen: this.#queue.stats().steals,
      recalled: this.#recalled,
      crashes: this.#lanes.reduce((sum, { crashes }) => sum + crashes, 0),
      workers: Object.freeze(workers),
    });
  }

  // -- Tasks ------------------------------------------------------------------

  /**
   * Has a task done, and fulfils with its result. Waits for room in a lane, for a
   * worker, and for the result.
   *
   * Rejects with the error of the handler; with a `DataCloneError` when the task or
   * its result cannot be cloned; with {@linkcode WorkerCrashedError} when its
   * workers crash; with `QueueClosedError`, which carries the task, after `close`;
   * with the reason after `abort`.
   *
   * When `signal` fires before a worker has begun, the promise rejects with its
   * reason at once, and no worker will begin. Afterwards the `signal` in the worker
   * fires, and the promise settles as the handler does: with the reason if it throws
   * that, with its result if it does not care. With the option `grace`, the worker
   * is ended after that time; the promise rejects with the reason, and the other
   * tasks of the worker are begun again elsewhere without that being counted.
   *
   * O(size), and a promise.
   */
  run(task: TaskOf<T>, options?: RunOptions): Promise<R> {
    let signal: AbortSignal | undefined;
    let transfer: TransferableObject[];
    const lane = options?.lane;
    try {
      signal = signalOf("run", options, {
        signal: true,
        lane: true,
        transfer: true,
      });
      this.#checkLane(lane);
      transfer = this.#transferOf(task, options);
      if (this.#life.state !== "open") throw this.#refusal(task);
    } catch (reason) {
      return Promise.reject(reason);
    }
    return new Promise<R>((resolve, reject) => {
      const added = new PoolTask<TaskOf<T>, R>(task, transfer, resolve, reject);
      this.#tasks.add(added);
      const accepted = signal === undefined && lane === undefined
        ? this.#queue.put(added)
        : this.#queue.put(added, { signal, lane });
      if (accepted !== FULFILLED) {
        added.accepted = accepted;
        accepted.then(
          undefined,
          (reason) => this.#tasks.giveUp(added, reason),
        );
      }
      added.follow(signal, (reason) => this.#abortTask(added, reason));
      this.#dealSoon();
    });
  }

  /**
   * A pair of streams of its own, that leaves the pool open: tasks in, results out.
   * As `concurrentMap` with {@linkcode WorkerPool.run} for its function: the first
   * task that fails ends the pair, and cancels the tasks of the pair that are under
   * way.
   *
   * @example Two streams, one pool
   * ```ts
   * import type { WorkerPool } from "@highwater/queue/threads";
   *
   * async function both(
   *   pool: WorkerPool<string, number>,
   *   one: ReadableStream<string>,
   *   other: ReadableStream<string>,
   * ): Promise<number> {
   *   let sum = 0;
   *   await Promise.all([one, other].map(async (source) => {
   *     for await (const result of source.pipeThrough(pool.map())) sum += result;
   *   }));
   *   return sum;
   * }
   * ```
   */
  map(options: PoolMapOptions = {}): ReadableWritablePair<R, TaskOf<T>> {
    const { readable, writable } = this.#mapInPair(options);
    return { readable, writable };
  }

  /**
   * Where the results of what is written to `writable` come out. The two are one
   * `concurrentMap`; its end, good or bad, is `close()` of the pool: what was given to
   * `run()` is still done. For a stream that leaves the pool open see
   * {@linkcode WorkerPool.map}.
   */
  get readable(): ReadableStream<R> {
    return this.#onlyPair().readable;
  }

  /** Takes tasks, whose results come out of {@linkcode WorkerPool.readable}. */
  get writable(): WritableStream<TaskOf<T>> {
    return this.#onlyPair().writable;
  }

  #onlyPair(): ReadableWritablePair<R, TaskOf<T>> {
    if (this.#pair === undefined) {
      const pair = this.#mapInPair({ ordered: this.#options.ordered });
      this.#pair = pair;
      pair.finished.then(() => this.close(), () => this.close());
    }
    return this.#pair;
  }

  #mapInPair(
    options: PoolMapOptions,
  ): ReturnType<typeof mapInPair<TaskOf<T>, R>> {
    // As much again in the lanes as with the workers.
    const most = 2 * this.#options.size * this.#options.inFlight;
    return mapInPair<TaskOf<T>, R>(
      (task, signal) => this.run(task, { signal }),
      { ...options, concurrency: options.concurrency ?? most },
    );
  }

  #facts(): Readonly<Record<string, unknown>> {
    const { name, size, waiting, running } = this.stats();
    const { highWaterMark } = this.#queue.lane(0);
    return {
      name,
      size,
      waiting,
      running,
      highWaterMark,
      state: this.#life.state,
    };
  }

  #transferOf(
    task: TaskOf<T>,
    options: RunOptions | undefined,
  ): TransferableObject[] {
    const transfer = options?.transfer ?? this.#options.transfer?.(task);
    if (transfer === undefined) return NOTHING;
    if (Array.isArray(transfer)) return transfer;
    refusePromise("run", "transfer(task)", transfer);
    throw wrongType("run", "transfer must be an array", transfer);
  }

  #checkLane(lane: unknown): void {
    if (lane === undefined) return;
    checkCount("run", "lane", lane, 0);
    const { size } = this.#options;
    if (lane as number < size) return;
    throw outOfRange("run", `lane must be a whole number below ${size}`, lane);
  }

  #refusal(item: TaskOf<T>): unknown {
    return this.#life.aborted
      ? this.#life.reason
      : this.#life.notOpen("run", { item });
  }

  // -- Dealing ----------------------------------------------------------------

  /** After all that is put in this turn: what goes to one worker goes in one message. */
  #dealSoon(): void {
    if (this.#isDealing) return;
    this.#isDealing = true;
    queueMicrotask(() => {
      this.#isDealing = false;
      this.#giveToIdle();
      for (const lane of this.#lanes) lane.sendAhead();
      for (const { worker } of this.#lanes) worker?.send();
    });
  }

  /** Each one task, until nobody is idle or nothing is left. */
  #giveToIdle(): void {
    for (let gave = true; gave;) {
      gave = false;
      for (const lane of this.#lanes) {
        if (lane.worker?.isIdle !== true) continue;
        if (lane.give()) gave = true;
        else if (this.#recallOne()) gave = lane.give();
        else return;
      }
    }
  }

  /** Puts a task back into a lane that is on the way to a busy worker. */
  #recallOne(): boolean {
    let busiest: PoolWorker<TaskOf<T>, R> | undefined;
    for (const { worker } of this.#lanes) {
      if (worker?.holdsBack !== true) continue;
      if (worker.outstanding > (busiest?.outstanding ?? 0)) busiest = worker;
    }
    const task = busiest?.recall();
    if (task === undefined) return false;
    this.#recalled++;
    void task.delivery!.nack({ counted: false });
    return true;
  }

  /** The signal of a task has fired. */
  #abortTask(task: PoolTask<TaskOf<T>, R>, reason: unknown): void {
    const worker = this.#lanes.find(({ worker }) => worker?.has(task))?.worker;
    if (worker === undefined || worker.takeBack(task)) {
      this.#tasks.giveUp(task, reason);
      return this.#dealSoon();
    }
    // Not before all others of the signal: what this one makes room for is theirs.
    queueMicrotask(() => worker.abort(task, reason));
    task.startTimer(this.#options.grace, () => {
      this.#tasks.giveUp(task, reason);
      worker.isAskedToEnd = true;
      worker.end(reason);
    });
  }

  #gaveUp(times: number, cause: unknown): void {
    if (!this.#lanes.every(({ isGivenUp }) => isGivenUp)) return;
    this.abort(
      new Error(
        `Cannot start the workers of ${this.#life.called}: each has ended ` +
          `${times} times before it could do a task`,
        { cause },
      ),
    );
  }

  // -- Keeping alive ------------------------------------------------------------

  #keepAlive(): void {
    const keeps = this.#isReferenced && this.#tasks.size > 0;
    for (const lane of this.#lanes) lane.keepAlive(keeps);
  }

  /**
   * Lets the process end while the pool has tasks, as `unref()` of a timer does; the
   * tasks end with it. Where a worker has no `unref()`, as those of Deno and of pages,
   * it keeps the process alive until the pool is closed.
   *
   * @example A pool that nobody waits for
   * ```ts
   * import type { WorkerPool } from "@highwater/queue/threads";
   *
   * function warmCache(pool: WorkerPool<string, void>, pages: string[]): void {
   *   pool.unref();
   *   for (const page of pages) pool.run(page).catch(console.error);
   * }
   * ```
   */
  unref(): void {
    this.#isReferenced = false;
    this.#keepAlive();
  }

  /** Keeps the process alive while the pool has tasks, as it is from the beginning. */
  ref(): void {
    this.#isReferenced = true;
    this.#keepAlive();
  }

  // -- Ending -----------------------------------------------------------------

  /**
   * Ends the pool gracefully: no new tasks; all that were given are done, then the
   * workers are ended. Returns {@linkcode WorkerPool.closed}. Idempotent.
   */
  close(): Promise<void> {
    if (this.#life.close()) this.#queue.close();
    return this.#life.closed;
  }

  /**
   * Ends the pool now: every task rejects with `reason` and is reported to
   * `onUndelivered`, the workers are ended in the middle of what they do. Also cuts
   * a `close` short. Without a reason it is an `AbortError`.
   */
  abort(reason?: unknown): void {
    this.#abort(reasonOr(reason, "The pool was aborted"));
  }

  #abort(reason: unknown): void {
    if (!this.#life.abort(reason)) return;
    void this.#dismissAll();
    this.#queue.abort(reason);
    this.#life.tell();
    this.#tasks.giveUpAll(reason);
  }

  /**
   * Aborts the pool unless it has ended by itself, and fulfils when the workers
   * have ended. For `await using`.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort(new DOMException("The pool was disposed", "AbortError"));
    await this.#dismissAll();
  }

  /** All tasks are done. */
  async #end(): Promise<void> {
    await this.#dismissAll();
    if (this.#life.over) return;
    this.#life.finish();
    this.#life.tell();
  }

  async #dismissAll(): Promise<void> {
    await Promise.allSettled(this.#lanes.map((lane) => lane.dismiss()));
  }
}

/** For `await using`. */
export interface WorkerPool<T, R = ResultOf<T>> extends AsyncDisposable {}
