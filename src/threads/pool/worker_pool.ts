/**
 * Tasks for threads.
 *
 * @module
 */

import type { TransferableObject } from "../endpoint.ts";
import { callOut, ignore, refusePromise } from "../../callbacks.ts";
import {
  checkCount,
  checkFunction,
  checkLimit,
  checkOptions,
} from "../../checks.ts";
import { checkTimeLimit, keepAlive, systemClock } from "../../clock.ts";
import type { Delivery } from "../../delivery.ts";
import { QueueClosedError, reasonOr, received } from "../../errors.ts";
import {
  type ConcurrentMapOptions,
  mapInPair,
} from "../../flow/concurrent_map.ts";
import { checkHighWaterMark } from "../../strategy.ts";
import { deferred, FULFILLED, markHandled, signalOf } from "../../waiters.ts";
import type { Deferred } from "../../waiters.ts";
import { printBy } from "../../printing.ts";
import { WorkStealingQueue } from "../../work_stealing_queue.ts";
import { PoolTask, WorkerCrashedError } from "./task.ts";
import {
  type LeftTask,
  PoolWorker,
  type PoolWorkerSettings,
} from "./worker.ts";
import { checkWorkerSource, type WorkerSource } from "./thread.ts";
import type { ResultOf, TaskOf } from "./work.ts";

/** Options of {@linkcode WorkerPool}. */
export interface WorkerPoolOptions<T> {
  /** How many workers; as many as the machine has cores unless told (`navigator.hardwareConcurrency`), 4 where nobody knows. */
  size?: number | undefined;
  /** How many tasks may wait in the lane of each worker before `run()` waits for room; 16 unless told. */
  highWaterMark?: number | undefined;
  /** How much an idle worker takes from another lane: the newer `"half"` or `"one"` task. `"half"` unless told. */
  steal?: "half" | "one" | undefined;
  /** How many tasks a worker does at a time; 1 unless told. More is for handlers that wait for something else than their thread. */
  concurrency?: number | undefined;
  /** How many tasks are with a worker, begun or on the way, so that it never waits for a message; 32 more than `concurrency` unless told. Those not begun can still go to another worker. */
  inFlight?: number | undefined;
  /** How many workers may end while they do a task before it is given up; 3 unless told. */
  attempts?: number | undefined;
  /** How many milliseconds after its signal a task may go on before its worker is ended; Infinity, never, unless told. */
  grace?: number | undefined;
  /** How many milliseconds a worker may take to call `work()`; 30,000 unless told. */
  startTimeout?: number | undefined;
  /** What is moved, not copied, to the worker with a task: part of it, see {@linkcode RunOptions.transfer}. Nothing unless told. */
  transfer?: ((task: T) => TransferableObject[]) | undefined;
  /** Whether `readable` gives the results in the order of their tasks; true unless told. */
  ordered?: boolean | undefined;
  /**
   * Receives each accepted task that no worker has finished, once, and what its
   * promise rejects with: cancelled before its worker was done, given up, or
   * thrown out by `abort()`. What it throws or rejects with is printed and goes no further.
   */
  onUndelivered?: ((task: T, reason: unknown) => void) | undefined;
  /** A name for messages, `stats()`, and the threads. */
  name?: string | undefined;
}

/** Options of {@linkcode WorkerPool.run}. */
export interface RunOptions {
  /** Cancels the task, see {@linkcode WorkerPool.run}. */
  signal?: AbortSignal | undefined;
  /** The worker it is meant for, an index from 0; another does it if that one is busy and the other idle. Unless told, the one with the fewest tasks waiting. */
  lane?: number | undefined;
  /** Parts of the task that are moved to the worker and not copied. They are gone here, and so the task is not tried again when its worker crashes. */
  transfer?: TransferableObject[] | undefined;
}

/** Options of {@linkcode WorkerPool.map}. */
export interface PoolMapOptions extends ConcurrentMapOptions {
  /** How many tasks are under way at a time; as many as fill the workers and what is on the way to them, unless told. */
  concurrency?: number | undefined;
}

/** What {@linkcode WorkerPool.stats} tells of a worker. */
export interface PoolWorkerStats {
  /** `"starting"` until it calls `work()`; `"ended"` while another is about to take its place. */
  readonly state: "starting" | "ready" | "ending" | "ended";
  /** Tasks it is doing. */
  readonly running: number;
  /** Tasks on the way to it, not begun. */
  readonly sent: number;
  /** Tasks waiting in its lane. */
  readonly waiting: number;
  /** Tasks it has answered, with a result or an error; those of the workers before it in this place included. */
  readonly done: number;
}

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

/** How many times in a row a worker may end without having been given a task to do. */
const START_ATTEMPTS = 3;

/** How many milliseconds until the second try; doubled with each. */
const START_DELAY = 50;

/** How many tasks are on the way to a worker beside those it does. */
const ON_THE_WAY = 32;

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
  readonly #name: string;
  readonly #size: number;
  readonly #attempts: number;
  readonly #grace: number;
  readonly #ordered: boolean;
  readonly #transfer: ((task: TaskOf<T>) => TransferableObject[]) | undefined;
  readonly #onUndelivered:
    | ((task: TaskOf<T>, reason: unknown) => void)
    | undefined;
  readonly #settings: PoolWorkerSettings;
  readonly #queue: WorkStealingQueue<PoolTask<TaskOf<T>, R>>;
  readonly #places: PoolLane<TaskOf<T>, R>[] = [];
  readonly #closed: Deferred<void> = deferred();
  #state: "open" | "closing" | "closed" | "aborted" = "open";
  #failure: { reason: unknown } | undefined = undefined;
  #pair: ReadableWritablePair<R, TaskOf<T>> | undefined = undefined;
  #dealing = false;
  #isReferenced = true;
  /** Those whose promises have not settled. */
  readonly #jobs: Set<PoolTask<TaskOf<T>, R>> = new Set();
  #done = 0;
  #failed = 0;
  #undelivered = 0;
  #retried = 0;
  #recalled = 0;
  #crashes = 0;

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
    checkWorkerSource("make a pool", source);
    checkOptions("make a pool", options, {
      size: true,
      highWaterMark: true,
      steal: true,
      concurrency: true,
      inFlight: true,
      attempts: true,
      grace: true,
      startTimeout: true,
      transfer: true,
      ordered: true,
      onUndelivered: true,
      name: true,
    });
    const {
      size = cores(),
      concurrency = 1,
      attempts = 3,
      grace = Infinity,
      startTimeout = 30_000,
      ordered = true,
      name = "",
      highWaterMark = 16,
      steal = "half",
      transfer,
      onUndelivered,
    } = options;
    checkCount("make a pool", "size", size, 1);
    checkCount("make a pool", "concurrency", concurrency, 1);
    const { inFlight = concurrency + ON_THE_WAY } = options;
    checkCount("make a pool", "inFlight", inFlight, concurrency);
    checkLimit("make a pool", "attempts", attempts, 1);
    checkTimeLimit("make a pool", "grace", grace);
    checkTimeLimit("make a pool", "startTimeout", startTimeout);
    checkHighWaterMark("make a pool", highWaterMark);
    checkOrdered(ordered);
    if (typeof name !== "string") {
      throw new TypeError(
        `Cannot make a pool: name must be a string, received ${received(name)}`,
      );
    }
    if (transfer !== undefined) {
      checkFunction("make a pool", "transfer", transfer);
    }
    if (onUndelivered !== undefined) {
      checkFunction("make a pool", "onUndelivered", onUndelivered);
    }
    this.#name = name;
    this.#size = size;
    this.#attempts = attempts;
    this.#grace = grace;
    this.#ordered = ordered;
    this.#transfer = transfer;
    this.#onUndelivered = onUndelivered;
    this.#queue = new WorkStealingQueue({ lanes: size, steal, highWaterMark });
    this.#settings = { source, name, concurrency, inFlight, startTimeout };
    markHandled(this.#closed.promise);
    this.#queue.closed.then(() => this.#end(), () => {});
    for (let index = 0; index < size; index++) {
      this.#places.push({ index, member: undefined, failures: 0, done: 0 });
    }
    for (const place of this.#places) this.#start(place);
  }

  // -- State ------------------------------------------------------------------

  /**
   * Fulfils when the pool was closed, every task has ended, and so have the
   * workers; rejects with the reason of `abort`. Ignoring it causes no unhandled
   * rejection.
   */
  get closed(): Promise<void> {
    return this.#closed.promise;
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
    const workers = this.#places.map(({ index, member, done }) => {
      const running = member?.running ?? 0;
      return Object.freeze({
        state: member?.state ?? "ended",
        running,
        sent: (member?.outstanding ?? 0) - running,
        waiting: this.#queue.lane(index).length,
        done: done + (member?.done ?? 0),
      });
    });
    const running = workers.reduce((sum, { running }) => sum + running, 0);
    return Object.freeze({
      name: this.#name,
      size: this.#size,
      waiting: this.#jobs.size - running,
      running,
      done: this.#done,
      failed: this.#failed,
      undelivered: this.#undelivered,
      retried: this.#retried,
      stolen: this.#queue.stats().steals,
      recalled: this.#recalled,
      crashes: this.#crashes,
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
      this.#checkOpen(task);
    } catch (reason) {
      return Promise.reject(reason);
    }
    return new Promise<R>((resolve, reject) => {
      const job = new PoolTask<TaskOf<T>, R>(task, transfer, resolve, reject);
      this.#jobs.add(job);
      if (this.#jobs.size === 1) this.#keepAlive();
      const accepted = signal === undefined && lane === undefined
        ? this.#queue.put(job)
        : this.#queue.put(job, { signal, lane });
      if (accepted !== FULFILLED) {
        job.accepted = accepted;
        accepted.then(undefined, (reason) => this.#giveUp(job, reason));
      }
      job.follow(signal, (reason) => this.#abortJob(job, reason));
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
      const pair = this.#mapInPair({ ordered: this.#ordered });
      this.#pair = pair;
      pair.finished.then(() => this.close(), () => this.close());
    }
    return this.#pair;
  }

  #mapInPair(
    options: PoolMapOptions,
  ): ReturnType<typeof mapInPair<TaskOf<T>, R>> {
    // As much again in the lanes as with the workers.
    const most = 2 * this.#size * this.#settings.inFlight;
    return mapInPair<TaskOf<T>, R>(
      (task, signal) => this.run(task, { signal }),
      { ...options, concurrency: options.concurrency ?? most },
    );
  }

  #facts(): Readonly<Record<string, unknown>> {
    const { name, size, waiting, running } = this.stats();
    const { highWaterMark } = this.#queue.lane(0);
    return { name, size, waiting, running, highWaterMark, state: this.#state };
  }

  #transferOf(
    task: TaskOf<T>,
    options: RunOptions | undefined,
  ): TransferableObject[] {
    const transfer = options?.transfer ?? this.#transfer?.(task);
    if (transfer === undefined) return NOTHING;
    if (Array.isArray(transfer)) return transfer;
    refusePromise("run", "transfer(task)", transfer);
    throw new TypeError(
      `Cannot run: transfer must be an array, received ${received(transfer)}`,
    );
  }

  #checkLane(lane: unknown): void {
    if (lane === undefined) return;
    checkCount("run", "lane", lane, 0);
    if (lane as number < this.#size) return;
    throw new RangeError(
      `Cannot run: lane must be a whole number below ${this.#size}, ` +
        `received ${lane}`,
    );
  }

  #checkOpen(task: TaskOf<T>): void {
    if (this.#state === "open") return;
    if (this.#failure !== undefined) throw this.#failure.reason;
    throw new QueueClosedError<TaskOf<T>>(
      `Cannot run: ${this.#called()} must be open, received one that is ${this.#state}`,
      { item: task },
    );
  }

  // -- Dealing ----------------------------------------------------------------

  /** After all that is put in this turn: what goes to one worker goes in one message. */
  #dealSoon(): void {
    if (this.#dealing) return;
    this.#dealing = true;
    queueMicrotask(() => {
      this.#dealing = false;
      this.#deal();
    });
  }

  #deal(): void {
    this.#giveToIdle();
    for (const { index, member } of this.#places) {
      if (member?.wantsMore === true) this.#sendAhead(index, member);
    }
    for (const { member } of this.#places) member?.send();
  }

  /** Each one task, until nobody is idle or nothing is left. */
  #giveToIdle(): void {
    for (let gave = true; gave;) {
      gave = false;
      for (const { index, member } of this.#places) {
        if (member?.isIdle !== true) continue;
        if (this.#give(index, member)) gave = true;
        else if (this.#recallOne()) gave = this.#give(index, member);
        else return;
      }
    }
  }

  /** Out of its own lane only. */
  #sendAhead(index: number, member: PoolWorker<TaskOf<T>, R>): void {
    const lane = this.#queue.lane(index);
    while (!member.isFull && lane.length > 0) this.#give(index, member);
  }

  #give(index: number, member: PoolWorker<TaskOf<T>, R>): boolean {
    const lane = this.#queue.lane(index);
    for (
      let delivery = lane.tryReceive();
      delivery !== undefined;
      delivery = lane.tryReceive()
    ) {
      const job = delivery.item;
      if (job.settled) {
        // Cancelled while it waited.
        delivery.ack();
        continue;
      }
      job.delivery = delivery;
      member.take(job);
      return true;
    }
    return false;
  }

  /** Puts a task back into a lane that is on the way to a busy worker. */
  #recallOne(): boolean {
    let busiest: PoolWorker<TaskOf<T>, R> | undefined;
    for (const { member } of this.#places) {
      if (member?.holdsBack !== true) continue;
      if (busiest === undefined || member.outstanding > busiest.outstanding) {
        busiest = member;
      }
    }
    const job = busiest?.recall();
    if (job === undefined) return false;
    this.#recalled++;
    (job.delivery as Delivery<unknown>).nack({ counted: false });
    return true;
  }

  // -- Endings of tasks -------------------------------------------------------

  #succeeded(job: PoolTask<TaskOf<T>, R>, result: R): void {
    if (job.settled) return;
    this.#done++;
    this.#settle(job);
    job.resolve(result);
    this.#dealSoon();
  }

  #failedWith(
    job: PoolTask<TaskOf<T>, R>,
    error: unknown,
    aborted: boolean,
  ): void {
    if (job.settled) return;
    if (aborted && job.aborted !== undefined) {
      // Not a copy that has been to the worker and back.
      this.#giveUp(job, job.aborted.reason);
    } else {
      this.#failed++;
      this.#settle(job);
      job.reject(error);
    }
    this.#dealSoon();
  }

  /** The task ends without a worker having finished it. */
  #giveUp(job: PoolTask<TaskOf<T>, R>, reason: unknown): void {
    if (job.settled) return;
    this.#undelivered++;
    this.#settle(job);
    job.reject(reason);
    const onUndelivered = this.#onUndelivered;
    if (onUndelivered === undefined) return;
    const tell = (): void =>
      callOut(
        this.#called(),
        "onUndelivered",
        onUndelivered,
        job.task,
        reason,
      );
    if (job.accepted === undefined) tell();
    else job.accepted.then(tell, ignore);
  }

  #settle(job: PoolTask<TaskOf<T>, R>): void {
    job.settle();
    void job.delivery?.ack();
    this.#jobs.delete(job);
    if (this.#jobs.size === 0) this.#keepAlive();
  }

  /** The signal of a task has fired. */
  #abortJob(job: PoolTask<TaskOf<T>, R>, reason: unknown): void {
    const member = this.#places.find(({ member }) => member?.has(job) === true)
      ?.member;
    if (member === undefined || member.takeBack(job)) {
      this.#giveUp(job, reason);
      return this.#dealSoon();
    }
    // Not before all others of the signal: what this one makes room for is theirs.
    queueMicrotask(() => {
      if (!job.settled && member.has(job)) member.abort(job, reason);
    });
    job.startTimer(this.#grace, () => {
      this.#giveUp(job, reason);
      member.isAskedToEnd = true;
      member.end(reason);
    });
  }

  // -- Workers ----------------------------------------------------------------

  #start(place: PoolLane<TaskOf<T>, R>): void {
    if (this.#state === "closed" || this.#state === "aborted") return;
    const member = new PoolWorker<TaskOf<T>, R>(this.#settings, {
      ready: () => this.#dealSoon(),
      succeeded: (job, result) => {
        place.failures = 0;
        this.#succeeded(job, result);
      },
      failed: (job, error, aborted) => {
        place.failures = 0;
        this.#failedWith(job, error, aborted);
      },
      ended: (jobs, cause) => this.#replace(place, jobs, cause),
    });
    member.keepsAlive = this.#keepsAlive;
    place.member = member;
  }

  #replace(
    place: PoolLane<TaskOf<T>, R>,
    endings: LeftTask<TaskOf<T>, R>[],
    cause: unknown,
  ): void {
    const { done, isAskedToEnd } = place.member!;
    place.member = undefined;
    place.done += done;
    const isTheirs = isAskedToEnd || endings.some(({ begun }) => begun);
    if (!isAskedToEnd) this.#crashes++;
    // What is put back goes to the head: the oldest last.
    for (const { job, begun } of endings.reverse()) {
      this.#comesBack(job, begun && !isAskedToEnd, cause);
    }
    if (isTheirs) this.#start(place);
    else this.#startAgain(place, cause);
    this.#dealSoon();
  }

  #comesBack(
    job: PoolTask<TaskOf<T>, R>,
    wasInCrash: boolean,
    cause: unknown,
  ): void {
    if (job.settled) return;
    if (job.aborted !== undefined) return this.#giveUp(job, job.aborted.reason);
    if (wasInCrash) job.crashes++;
    if (job.crashes >= this.#attempts || !job.canBeSentAgain) {
      const error = this.#crashedError(job, cause);
      return this.#giveUp(job, error);
    }
    if (wasInCrash) this.#retried++;
    void job.delivery!.nack({ counted: wasInCrash });
  }

  #crashedError(
    job: PoolTask<TaskOf<T>, R>,
    cause: unknown,
  ): WorkerCrashedError<TaskOf<T>> {
    const { task: item, crashes: attempts } = job;
    const rule = job.canBeSentAgain
      ? `a worker must survive the task, received ${attempts} that have not`
      : "a worker must survive a task that can be sent only once, " +
        "received one that has ended";
    return new WorkerCrashedError(
      `Cannot run in ${this.#called()}: ${rule}`,
      { item, attempts, cause },
    );
  }

  /** After a pause, unless it was tried too often. */
  #startAgain(place: PoolLane<TaskOf<T>, R>, cause: unknown): void {
    place.failures++;
    if (place.failures < START_ATTEMPTS) {
      const pause = START_DELAY * 2 ** (place.failures - 1);
      place.timer = systemClock.setTimer(() => this.#start(place), pause);
      keepAlive(place.timer, this.#keepsAlive);
      return;
    }
    const isGivenUp = (other: PoolLane<TaskOf<T>, R>): boolean =>
      other.failures >= START_ATTEMPTS;
    if (!this.#places.every(isGivenUp)) return;
    this.abort(
      new Error(
        `Cannot start the workers of ${this.#called()}: each has ended ` +
          `${START_ATTEMPTS} times before it could do a task`,
        { cause },
      ),
    );
  }

  get #keepsAlive(): boolean {
    return this.#isReferenced && this.#jobs.size > 0;
  }

  #keepAlive(): void {
    const keeps = this.#keepsAlive;
    for (const { member, timer } of this.#places) {
      if (member !== undefined) member.keepsAlive = keeps;
      keepAlive(timer, keeps);
    }
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
    if (this.#state === "open") {
      this.#state = "closing";
      this.#queue.close();
    }
    return this.#closed.promise;
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
    if (this.#state === "closed" || this.#state === "aborted") return;
    this.#state = "aborted";
    this.#failure = { reason };
    void this.#dismissAll();
    this.#queue.abort(reason);
    this.#closed.reject(reason);
    for (const job of [...this.#jobs]) this.#giveUp(job, reason);
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
    if (this.#state !== "closing") return;
    this.#state = "closed";
    this.#closed.resolve();
  }

  async #dismissAll(): Promise<void> {
    for (const { timer } of this.#places) systemClock.clearTimer(timer);
    await Promise.allSettled(
      this.#places.map(({ member }) => member?.dismiss()),
    );
  }

  #called(): string {
    return this.#name === ""
      ? "the pool"
      : `the pool ${JSON.stringify(this.#name)}`;
  }
}

/** For `await using`. */
export interface WorkerPool<T, R = ResultOf<T>> extends AsyncDisposable {}

/** Where one worker after the other does the tasks of a lane. */
interface PoolLane<T, R> {
  readonly index: number;
  member: PoolWorker<T, R> | undefined;
  /** How many workers in a row have ended here that no task has ended. */
  failures: number;
  /** What the workers before this one have answered. */
  done: number;
  timer?: unknown;
}

const NOTHING: TransferableObject[] = [];

function cores(): number {
  return (globalThis as { navigator?: { hardwareConcurrency?: number } })
    .navigator?.hardwareConcurrency ?? 4;
}

function checkOrdered(ordered: unknown): void {
  if (typeof ordered === "boolean") return;
  throw new TypeError(
    `Cannot make a pool: ordered must be true or false, received ${
      received(ordered)
    }`,
  );
}
