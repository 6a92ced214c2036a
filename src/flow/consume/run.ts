/**
 * Runs a handler on the items of a source: bounded, each item accounted for, one
 * failure never stops the rest.
 *
 * @module
 */

import { Ring } from "../../buffers/ring.ts";
import { callOut, ignore, isThenable, refusePromise } from "../../callbacks.ts";
import { Chain } from "../../chain.ts";
import { type Clock, setAlarm, systemClock } from "../../clock.ts";
import type { Delivery, DeliverySource } from "../../delivery.ts";
import { type Deferred, deferred } from "../../waiters.ts";
import { checkFunction } from "../../checks.ts";
import { Batch, type Call, ItemCall, Slot } from "./calls.ts";
import { Unheard } from "./error.ts";
import {
  type BatchOptions,
  checkConcurrency,
  checkConsumeOptions,
  type ConsumeOptions,
  type ConsumeReport,
  type Handler,
  type UnconsumedReason,
  type Work,
} from "./options.ts";
import {
  type DeadLetter,
  type DeadLetterSink,
  deadLetterSink,
} from "./dead_letter.ts";
import { type OwnPuts, type PuttingRun, watchOwnPuts } from "./own_puts.ts";
import { Histogram, Sampling } from "./histogram.ts";
import { isQueue } from "../../queue.ts";
import { type Intake, intakeOf, type IntakeOwner, lends } from "./intake.ts";
import { KeyLines } from "./keys.ts";
import { SlidingWindow } from "./rate.ts";
import { FailureMemory } from "./failures.ts";
import { type FailureReason, Retry, unrecoverable } from "../../retry.ts";
import { checkSource, type Source } from "../source.ts";

/**
 * Runs `handler(item, context)` on all items of a source, up to `concurrency` at a
 * time, until the source ends, and fulfils with a report of what became of them.
 *
 * - **Nothing is lost.** Each item taken ends in one of these: its handler ended
 *   well; it failed for good and `deadLetter` has it, or `onUndelivered`; the run
 *   was stopped and it went back to the source, or to `onUndelivered`.
 * - **Bounded.** An item is taken when a call can begin with it, not before. One
 *   item may be early: when a retry or a full batch got the place it was asked
 *   for, and while `rate` allows no call, where the end of the source is only
 *   learnt by asking it for an item (not that of a queue, here or on an engine). With `keyOf` up to `readAhead` more wait aside. Up to 1,000 items may wait
 *   to be tried again; then nothing new is taken.
 * - **Failures** stop nothing, unless `onError` is `"abort"`. With `retry` an item
 *   is tried again later; until then it holds no place. After the last attempt, or
 *   an error marked by {@linkcode unrecoverable}, the item goes to `deadLetter`,
 *   which may take its time: the place is held meanwhile, so that a full target
 *   slows the run down.
 * - **Sources that lend** (anything with a `receive`) get `ack` when the item has
 *   ended and `nack` for a retry, so that the attempts of all consumers count.
 *   What a stop gives back counts for nothing: the next delivery has the same
 *   `attempt`. What is worked on for longer than it is lent for is renewed; a
 *   handler that hangs is what `timeout` is for. With `keyOf` retries wait here
 *   instead, or others of the key would overtake. Without a `deadLetter`, what
 *   failed for good goes to the dead letters of the source, if it keeps some.
 *   Where the source gives up by itself after fewer attempts than
 *   `retry.attempts`, that is a `RangeError`.
 * - **Timeouts.** After `timeout` the signal of the attempt aborts. A handler that
 *   then ends well has ended well, one that rejects has failed, and one that
 *   does neither within `grace` is overrunning: that is reported, its item goes on
 *   as failed, and its place stays taken until it settles. With `keyOf` the item,
 *   and all of its key, wait for that.
 * - **Batches.** With `batch` the handler gets an array. If it throws, all items
 *   have failed; if it returns what `Promise.allSettled` gives, for as many items,
 *   the rejected ones have; anything else is success for all, rows with a `status`
 *   of their own too. Each item is acked, retried and reported by itself.
 * - **Nothing is swallowed.** What failed for good and has nowhere to go (no
 *   `deadLetter`, no `onUndelivered`, no dead letters of the source) stops nothing
 *   either: the first is printed at once, and in the end the promise rejects with a
 *   `ConsumeError` that has the errors and the report, unless `onError` is
 *   `"ignore"`.
 *
 * **A handler that puts into its own source** must not wait for room that it alone
 * can make: when all calls wait so, nobody takes. A frontier that grows is unbounded
 * (`highWaterMark: Infinity`), or the handler uses `tryPut` and keeps what is refused.
 * Where it can be known that all calls wait in such a put (its source is a `Queue`,
 * `concurrency` is a number, the put began before the first `await` of the handler or
 * with the `signal` of its context, nobody else has taken or has a view to read, and
 * nothing has moved for a second) these puts reject with a `QueueFullError` that has
 * the item. Others hang: give such puts the signal.
 *
 * **Closing** the source drains: what is in it is still worked on, then the
 * promise fulfils. The **signal** stops: nothing more is taken, the signals of the
 * handlers abort, and when they have ended, or `grace` is over, what is not
 * finished goes back, to the head of the queue and in order where the source
 * lends. The promise fulfils then, too, with `stopped: true`. Other sources are
 * left as a `break` would leave them, so a stream is cancelled.
 *
 * Rejects with a `ConsumeError` as above, after a stop as well; with the source's
 * error, after the items before it; under
 * `onError: "abort"` with the error of the item that failed for good, after a stop
 * as above; that item goes back, too, unless it was dead-lettered. A `TypeError` or
 * `RangeError` names the argument that cannot be used, nothing has been taken then.
 *
 * Costs about as much as two awaits an item, and no timer unless an option asks
 * for one.
 *
 * @example Four at a time, each tried three times
 * ```ts
 * import { consume, type DeadLetter, Queue } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const pages = new Queue<string>();
 * const dead = new Queue<DeadLetter<string>>();
 * await pages.putMany(["/", "/news", "/broken"]);
 * pages.close(); // the end of production is the end of the run
 *
 * async function visit(page: string, { signal }: { signal: AbortSignal }): Promise<void> {
 *   await Promise.resolve(signal); // fetch(page, { signal })
 *   if (page === "/broken") throw new Error("500");
 * }
 *
 * const report = await consume(pages, visit, {
 *   concurrency: 4,
 *   timeout: 5_000,
 *   retry: { attempts: 3, delay: 2 },
 *   deadLetter: dead,
 * });
 * assertEquals([report.processed, report.retried, report.deadLettered], [2, 2, 1]);
 * assertEquals((await dead.get()).item, "/broken");
 * ```
 *
 * @example In batches, of which some items fail
 * ```ts
 * import { consume } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * async function save(line: string): Promise<void> {
 *   await Promise.resolve();
 *   if (line === "") throw new Error("empty");
 * }
 *
 * const failed: string[] = [];
 * const report = await consume(
 *   ["a", "", "b"],
 *   (lines) => Promise.allSettled(lines.map(save)),
 *   { batch: { max: 100, linger: 5 }, onUndelivered: (line) => failed.push(line) },
 * );
 * assertEquals([report.processed, failed], [2, [""]]);
 * ```
 */
export async function consume<
  T,
  Batch extends BatchOptions | undefined = undefined,
>(
  source: Source<T> | DeliverySource<T>,
  handler: Handler<Work<T, Batch>>,
  options: ConsumeOptions<T, Batch> = {},
): Promise<ConsumeReport> {
  if (!lends(source)) checkSource("consume", "source", source);
  checkFunction("consume", "handler", handler);
  checkConsumeOptions(options);
  return await new Run<T>(
    source,
    handler as Handler<T & T[]>,
    options as ConsumeOptions<T>,
  ).outcome;
}

/** Of a source that lends nothing. */
const NO_LIMITS: { visibility?: undefined; attempts?: undefined } = {};

/** How many items may wait to be tried again. */
const MAX_WAITING = 1_000;

class Run<T> implements IntakeOwner<T>, PuttingRun<T> {
  readonly #intake: Intake<T>;
  readonly #handler: Handler<T & T[]>;
  readonly #options: ConsumeOptions<T>;
  readonly #concurrency: number | (() => number);
  readonly #retry: Retry;
  /** For how long what is here is lent at a time; undefined when for ever. */
  readonly #visibility: number | undefined;
  readonly #grace: number;
  readonly #clock: Clock;
  readonly #deadLetters: DeadLetterSink<T> | undefined;
  readonly #keys: KeyLines<ItemCall<T>> | undefined;
  readonly #rate: SlidingWindow | undefined;
  readonly #memory: FailureMemory<T> = new FailureMemory();
  readonly #unheard: Unheard = new Unheard();
  readonly #ownPuts: OwnPuts<T> | undefined;
  received = 0;
  /** Aborts when the run is stopped. */
  readonly #controller: AbortController = new AbortController();
  /** Undefined where each attempt may need its own. */
  readonly #sharedSignal: AbortSignal | undefined;
  readonly #finished: Deferred<ConsumeReport> = deferred();
  readonly #stopped: () => void;

  /** Jobs that can begin, in order. */
  readonly #ready: Ring<ItemCall<T>> = new Ring();
  readonly #free: Slot<T>[] = [];
  /** All there are. */
  readonly #slots: Slot<T>[] = [];
  /** Slots that are taken. */
  #running = 0;
  /** Jobs with a handler, or on their way to the dead letters. */
  #underWay = 0;
  /** Jobs that wait to be tried again. */
  #waiting = 0;
  /** All that have not ended, oldest first. */
  readonly #jobs: Chain<ItemCall<T>> = new Chain();

  #advancing = false;
  #asking = false;
  #sourceEnded = false;
  #sourceFailure: { reason: unknown } | undefined = undefined;
  #stopReason: { reason: unknown; isFailure: boolean } | undefined = undefined;
  #over = false;
  #givingBack = false;

  #rateTimer: unknown = undefined;
  #lingerTimer: unknown = undefined;
  #lingered = false;
  #leaseTimer: unknown = undefined;
  #graceTimer: unknown = undefined;

  #processed = 0;
  readonly #noteProcessed: () => void = () => void this.#processed++;
  #retried = 0;
  #deadLettered = 0;
  #undelivered = 0;
  #returned = 0;
  #lost = 0;
  #overrun = 0;
  #errors: { first: unknown; last: unknown } | undefined = undefined;
  readonly #began: number;
  /** That of the end of a call, for one that begins right after it: some clocks cost more than all the rest. */
  #time: number | undefined = undefined;
  readonly #waits: Histogram = new Histogram();
  readonly #runs: Histogram = new Histogram();
  readonly #sampling: Sampling = new Sampling();

  constructor(
    source: Source<T> | DeliverySource<T>,
    handler: Handler<T & T[]>,
    options: ConsumeOptions<T>,
  ) {
    const { retry, random = Math.random, rate, deadLetter, signal } = options;
    this.#handler = handler;
    this.#options = options;
    this.#concurrency = options.concurrency ?? 1;
    this.#grace = options.grace ?? 1000;
    this.#clock = options.clock ?? systemClock;
    const { visibility, attempts } = lends(source) ? source : NO_LIMITS;
    this.#retry = new Retry("consume", retry, random, attempts);
    const deliveredFor = options.visibility ?? visibility;
    this.#visibility = deliveredFor === Infinity ? undefined : deliveredFor;
    this.#rate = rate && new SlidingWindow("consume", rate);
    this.#keys = options.keyOf && new KeyLines();
    if (options.timeout === undefined && !lends(source)) {
      this.#sharedSignal = this.#controller.signal;
    }
    this.#deadLetters = deadLetter && deadLetterSink("consume", deadLetter);
    try {
      const { signal } = this.#controller;
      this.#intake = intakeOf(source, this, signal, options.visibility);
    } catch (error) {
      this.#deadLetters?.release();
      throw error;
    }
    if (isQueue<T>(source) && typeof this.#concurrency === "number") {
      this.#ownPuts = watchOwnPuts<T>(source, this, this.#clock);
    }
    this.#began = this.#clock.now();
    this.#stopped = () => this.#stop(signal!.reason, false);
    if (signal?.aborted === true) this.#stopped();
    else {
      signal?.addEventListener("abort", this.#stopped);
      this.#advance();
    }
  }

  get outcome(): Promise<ConsumeReport> {
    return this.#finished.promise;
  }

  // -- Taking -----------------------------------------------------------------

  arrived(item: T, delivery: Delivery<T> | undefined): void {
    this.#asking = false;
    const job = new ItemCall(item, delivery);
    this.#list(job);
    if (this.#over) return void this.#giveBack();
    if (this.#stopReason === undefined && this.#mayBegin(job)) {
      this.#ready.push(job, 1);
    }
    this.#advance();
    // Most begin at once, and the time is not worth asking for.
    if (job.isListed && !job.underWay) job.waitingSince = this.#clock.now();
  }

  ended(): void {
    this.#asking = false;
    this.#sourceEnded = true;
    this.#advance();
  }

  failed(reason: unknown): void {
    if (this.#stopReason === undefined) this.#sourceFailure = { reason };
    this.ended();
  }

  endCame(): void {
    this.#advance();
  }

  /** With keys, only when its own is free; otherwise its turn comes when that is. */
  #mayBegin(job: ItemCall<T>): boolean {
    if (job.attempt > 1) {
      job.failure = this.#memory.recall(job.item, job.attempt);
    }
    if (this.#keys === undefined) return true;
    try {
      job.key = this.#options.keyOf!(job.item);
    } catch (error) {
      job.key = job; // a key that nobody else has
      this.#keys.enter(job);
      this.#startWork(job);
      void Promise.resolve(this.#fail(job, unrecoverable(error)))
        .then(() => this.#advance());
      return false;
    }
    if (typeof job.key === "object" && !this.#isKey(job.key)) return false;
    return this.#keys.enter(job);
  }

  /** A promise is none: no two would be the same, and the order would be lost without a word. */
  #isKey(key: unknown): boolean {
    try {
      refusePromise("consume", "keyOf(item)", key);
      return true;
    } catch (error) {
      this.#stop(error, true);
      return false;
    }
  }

  /** Begins what can begin, asks for more if that could begin as well, and ends the run if there is nothing left. */
  #advance(): void {
    // A handler that does not wait comes back in here.
    if (this.#advancing || this.#over) return;
    this.#advancing = true;
    do {
      while (this.#canBegin()) this.#begin(this.#nextCall());
    } while (this.#wantsMore() && this.#take());
    this.#advancing = false;
    if (this.#isDone()) void this.#finish();
  }

  /** Takes what is there now; asks for it if that cannot be told at once. */
  #take(): boolean {
    // What comes now may have to wait for the rate.
    const delivery = this.#isWithinRate() ? this.#intake.take() : undefined;
    if (delivery === undefined) {
      this.#asking = true;
      this.#intake.ask();
      return false;
    }
    const job = new ItemCall(delivery.item, delivery);
    this.#list(job);
    if (!this.#mayBegin(job)) return true;
    // keyOf may have stopped the run.
    if (this.#stopReason !== undefined) return false;
    if (this.#options.batch === undefined) {
      this.#noteStart(job);
      this.#begin(job);
    } else {
      // It waits for others.
      job.waitingSince = this.#clock.now();
      this.#ready.push(job, 1);
    }
    return true;
  }

  #canBegin(): boolean {
    const count = this.#ready.length;
    if (count === 0 || this.#stopReason !== undefined) return false;
    const { batch } = this.#options;
    if (
      batch !== undefined && count < batch.max && !this.#lingered &&
      !this.#sourceEnded
    ) {
      this.#linger(batch.linger ?? 0);
      return false;
    }
    return this.#hasSlot() && this.#isWithinRate();
  }

  #wantsMore(): boolean {
    return !this.#asking && !this.#sourceEnded &&
      this.#ready.length < (this.#options.batch?.max ?? 1) &&
      this.#waiting < MAX_WAITING &&
      (this.#keys === undefined ||
        this.#keys.waiting < (this.#options.readAhead ?? 64)) &&
      this.#hasSlot() && this.#stopReason === undefined &&
      (this.#isWithinRate() || this.#mayBeOver());
  }

  /** Nothing is left here, so the end of the source would be that of the run, however long the rate allows no call. */
  #mayBeOver(): boolean {
    return this.#jobs.first === undefined && this.#intake.mayHaveEnded();
  }

  #hasSlot(): boolean {
    if (typeof this.#concurrency === "number") {
      return this.#running < this.#concurrency;
    }
    try {
      const limit = this.#concurrency();
      checkConcurrency(limit);
      return this.#running < limit;
    } catch (error) {
      this.#stop(error, true);
      return false;
    }
  }

  #isWithinRate(): boolean {
    if (this.#rate === undefined) return true;
    const wait = this.#rate.waitFrom(this.#clock.now());
    if (wait === 0) return true;
    this.#rateTimer ??= this.#clock.setTimer(() => {
      this.#rateTimer = undefined;
      this.#advance();
    }, wait);
    return false;
  }

  #linger(milliseconds: number): void {
    this.#lingerTimer ??= this.#clock.setTimer(() => {
      this.#lingered = true;
      this.#advance();
    }, milliseconds);
  }

  #clear(timer: unknown): void {
    if (timer !== undefined) this.#clock.clearTimer(timer);
  }

  // -- Running ----------------------------------------------------------------

  #begin(call: Call<T>): void {
    const slot = this.#takeSlot();
    slot.call = call;
    call.shared = this.#sharedSignal;
    slot.weight = this.#sampling.next();
    if (this.#rate !== undefined) this.#rate.note(this.#now());
    if (slot.weight > 0) slot.began = this.#now();
    // The handler may take its time before it returns.
    this.#time = undefined;
    const { timeout } = this.#options;
    if (timeout !== undefined) {
      slot.timer = setAlarm(this.#clock, slot.timedOut, timeout);
    }
    const own = this.#ownPuts;
    try {
      const items = call instanceof ItemCall
        ? call.item
        : call.jobs.map((job) => job.item);
      if (own !== undefined) own.beginning = slot;
      const result = (0, this.#handler)(items as T & T[], call);
      if (own !== undefined) own.beginning = undefined;
      if (isThenable(result)) {
        Promise.resolve(result).then(slot.fulfilled, slot.rejected);
        return;
      }
      this.#fulfilled(slot, result);
    } catch (error) {
      if (own !== undefined) own.beginning = undefined;
      this.#rejected(slot, error);
    }
  }

  allCalls(): Call<T>[] | undefined {
    if (this.#running !== this.#concurrency || this.#stopReason !== undefined) {
      return undefined;
    }
    const calls: Call<T>[] = [];
    // A place without a call waits for a dead letter to be taken.
    for (const { call } of this.#slots) {
      if (call === undefined) return undefined;
      calls.push(call);
    }
    return calls;
  }

  #takeSlot(): Slot<T> {
    this.#running++;
    const slot = this.#free.pop();
    if (slot !== undefined) return slot;
    const made = new Slot<T>({
      fulfilled: (slot, result) => this.#fulfilled(slot, result),
      rejected: (slot, error) => this.#rejected(slot, error),
      timedOut: (slot) => this.#timedOut(slot),
      overran: (slot) => this.#overran(slot),
    });
    this.#slots.push(made);
    return made;
  }

  /** With what is ready. */
  #nextCall(): Call<T> {
    const { batch } = this.#options;
    const job = this.#nextReady();
    if (batch === undefined) return job;
    return new Batch([job, ...this.#takeOthers(batch.max - 1)]);
  }

  #nextReady(): ItemCall<T> {
    const job = this.#ready.shift();
    this.#noteStart(job);
    return job;
  }

  /** A call begins with it. */
  #noteStart(job: ItemCall<T>): void {
    this.#startWork(job);
    const since = job.delivery?.enqueuedAt;
    if (since !== undefined) job.age = Math.max(0, this.#now() - since);
    if (job.attempt > 1) return;
    const { waitingSince } = job;
    const waited = job.age ??
      (waitingSince === undefined ? 0 : this.#now() - waitingSince);
    this.#waits.record(waited);
  }

  #takeOthers(max: number): ItemCall<T>[] {
    const others: ItemCall<T>[] = [];
    while (others.length < max && this.#ready.length > 0) {
      others.push(this.#nextReady());
    }
    this.#clear(this.#lingerTimer);
    this.#lingerTimer = undefined;
    this.#lingered = false;
    return others;
  }

  #now(): number {
    return this.#time ??= this.#clock.now();
  }

  #fulfilled(slot: Slot<T>, result: unknown): void {
    const call = this.#endCall(slot);
    if (slot.isOverrunning) return this.#freeSlot(slot);
    if (call instanceof ItemCall) {
      const ending = this.#succeed(call);
      if (ending === undefined) return this.#freeSlot(slot);
      return this.#freeSlotAfter(slot, [ending]);
    }
    const { jobs } = call;
    const failures = failuresIn(result, jobs.length);
    let endings: Promise<void>[] | undefined;
    for (let index = 0; index < jobs.length; index++) {
      const job = jobs[index]!;
      const failure = failures?.[index];
      const ending = failure === undefined
        ? this.#succeed(job)
        : this.#fail(job, failure.reason);
      if (ending !== undefined) (endings ??= []).push(ending);
    }
    this.#freeSlotAfter(slot, endings);
  }

  #rejected(slot: Slot<T>, error: unknown): void {
    const call = this.#endCall(slot);
    if (slot.isOverrunning) return this.#freeSlot(slot);
    this.#freeSlotAfter(slot, this.#failAll(call, error));
  }

  #failAll(call: Call<T>, error: unknown): Promise<void>[] | undefined {
    let endings: Promise<void>[] | undefined;
    for (const job of call.jobs) {
      const ending = this.#fail(job, error);
      if (ending !== undefined) (endings ??= []).push(ending);
    }
    return endings;
  }

  #endCall(slot: Slot<T>): Call<T> {
    const call = slot.call!;
    slot.call = undefined;
    this.#clear(slot.timer);
    slot.timer = undefined;
    if (slot.weight > 0) this.#measure(slot);
    return call;
  }

  #measure({ began, weight }: Slot<T>): void {
    this.#time = this.#clock.now();
    const took = this.#time - began;
    this.#runs.record(took, weight);
    this.#sampling.note(took / this.#running);
  }

  #freeSlotAfter(slot: Slot<T>, endings: Promise<void>[] | undefined): void {
    if (endings === undefined) this.#freeSlot(slot);
    else {
      this.#time = undefined;
      Promise.all(endings).then(() => this.#freeSlot(slot));
    }
  }

  #freeSlot(slot: Slot<T>): void {
    slot.isOverrunning = false;
    slot.isReported = false;
    this.#running--;
    this.#free.push(slot);
    this.#advance();
    this.#time = undefined;
  }

  #timedOut(slot: Slot<T>): void {
    const call = slot.call!;
    const reason = new DOMException(
      `The handler took longer than ${this.#options.timeout} ms`,
      "TimeoutError",
    );
    // Before the handler learns of it: it may end at once.
    slot.timer = setAlarm(this.#clock, slot.overran, this.#grace);
    call.abort(reason);
  }

  #overran(slot: Slot<T>): void {
    slot.timer = undefined;
    this.#noteOverrun(slot);
    // Its key is not free while it runs.
    if (this.#keys !== undefined || this.#stopReason !== undefined) return;
    slot.isOverrunning = true;
    const call = slot.call!;
    const endings = this.#failAll(call, call.aborted!.reason);
    if (endings === undefined) this.#advance();
    else Promise.all(endings).then(() => this.#advance());
  }

  #noteOverrun(slot: Slot<T>): void {
    if (slot.isReported) return;
    slot.isReported = true;
    this.#overrun++;
    const { onOverrun } = this.#options;
    if (onOverrun === undefined) return;
    for (const { item, attempt } of slot.call!.jobs) {
      callOut("consume", "onOverrun", onOverrun, item, attempt);
    }
  }

  // -- What becomes of a job --------------------------------------------------

  /** These return a promise when the slot has to wait for it; it never rejects. */
  #succeed(job: ItemCall<T>): Promise<void> | undefined {
    return this.#acknowledge(job, this.#noteProcessed);
  }

  #fail(job: ItemCall<T>, error: unknown): Promise<void> | undefined {
    if (!job.isListed) return undefined;
    // An answer to the stop says nothing about the item, which goes back.
    if (this.#stopReason !== undefined) return this.#endWork(job);
    this.#noteFailure(job, error);
    const reason = this.#reasonToGiveUp(job, error);
    if (reason !== undefined) return this.#bury(job, reason);
    let delay: number;
    try {
      delay = this.#retry.delayAfter(job.attempt);
    } catch (thrown) {
      this.#stop(thrown, true);
      return this.#endWork(job);
    }
    if (job.delivery === undefined || this.#keys !== undefined) {
      return this.#waitForRetry(job, delay);
    }
    return this.#returnForRetry(job, delay);
  }

  #noteFailure(job: ItemCall<T>, error: unknown): void {
    this.#errors ??= { first: error, last: error };
    this.#errors.last = error;
    const now = this.#clock.now();
    job.failure ??= {
      attempts: job.attempt,
      first: error,
      last: error,
      firstAt: now,
      lastAt: now,
    };
    job.failure.attempts = job.attempt;
    job.failure.last = error;
    job.failure.lastAt = now;
  }

  #reasonToGiveUp(job: ItemCall<T>, error: unknown): FailureReason | undefined {
    try {
      return this.#retry.reasonToGiveUp(job.attempt, error);
    } catch (thrown) {
      this.#noteFailure(job, thrown);
      return "when";
    }
  }

  #waitForRetry(job: ItemCall<T>, delay: number): undefined {
    this.#endWork(job);
    this.#retried++;
    this.#waiting++;
    const next = job.again();
    this.#jobs.replace(job, next);
    job.isListed = false;
    next.timer = this.#clock.setTimer(() => {
      next.timer = undefined;
      this.#waiting--;
      this.#ready.push(next, 1);
      this.#advance();
    }, delay);
  }

  #returnForRetry(
    job: ItemCall<T>,
    delay: number,
  ): Promise<void> | undefined {
    const failure = job.failure!;
    // Before it can come back.
    this.#memory.remember(job.item, failure);
    const options = { delay, reason: failure.last };
    return this.#settle(job, (delivery) => delivery.nack(options), () => {
      this.#retried++;
      // A source that was empty and closed has something again.
      this.#sourceEnded = false;
    });
  }

  async #bury(job: ItemCall<T>, reason: FailureReason): Promise<void> {
    const { onError } = this.#options;
    const error = job.failure!.last;
    if (this.#deadLetters !== undefined) {
      await this.#send(job, reason, this.#deadLetters);
    } else if (onError === "abort") {
      this.#endWork(job);
    } else if (job.delivery?.bury !== undefined) {
      const deadLetter = (): void => void this.#deadLettered++;
      await this.#settle(job, (delivery) => delivery.bury!(error), deadLetter);
    } else {
      await this.#acknowledge(job, () => this.#reportFailed(job, "failed"));
    }
    if (onError === "abort") this.#stop(error, true);
  }

  async #send(
    job: ItemCall<T>,
    reason: FailureReason,
    sink: DeadLetterSink<T>,
  ): Promise<void> {
    const { attempts, first, last, firstAt, lastAt } = job.failure!;
    const epoch = this.#options.clock === undefined
      ? performance.timeOrigin
      : 0;
    const deadLetter: DeadLetter<T> = {
      item: job.item,
      attempts,
      errors: { first, last },
      firstAt: epoch + firstAt,
      lastAt: epoch + lastAt,
      reason,
    };
    try {
      await sink.send(deadLetter, this.#controller.signal);
    } catch (error) {
      // Cut short by a stop: it goes back like everything else.
      if (this.#stopReason !== undefined) return this.#endWork(job);
      await this.#acknowledge(
        job,
        () => this.#reportFailed(job, "dead-letter", error),
      );
      return;
    }
    await this.#acknowledge(job, () => void this.#deadLettered++);
  }

  #reportFailed(
    job: ItemCall<T>,
    reason: UnconsumedReason,
    error: unknown = job.failure!.last,
  ): void {
    this.#undelivered++;
    const { onUndelivered, onError } = this.#options;
    if (onUndelivered !== undefined) this.#report(job.item, reason, error);
    else if (onError !== "ignore") this.#unheard.note(error);
  }

  #acknowledge(job: ItemCall<T>, done: () => void): Promise<void> | undefined {
    if (job.delivery !== undefined) return this.#settle(job, acknowledge, done);
    if (!job.isListed) return undefined;
    this.#leave(job);
    done();
    return undefined;
  }

  /** Lets go of what was lent, and counts it as lost if it was not ours any more. */
  #settle(
    job: ItemCall<T>,
    letGo: (delivery: Delivery<T>) => boolean | Promise<boolean>,
    done: () => void,
  ): Promise<void> | undefined {
    let settled: boolean | Promise<boolean>;
    try {
      settled = letGo(job.delivery!);
    } catch {
      settled = false;
    }
    if (typeof settled !== "boolean") {
      return settled.then(undefined, () => false).then((isOurs) =>
        this.#settled(job, isOurs, done)
      );
    }
    this.#settled(job, settled, done);
    return undefined;
  }

  #settled(job: ItemCall<T>, isOurs: boolean, done: () => void): void {
    if (!job.isListed) return;
    this.#leave(job);
    if (isOurs) done();
    else this.#lost++;
  }

  #startWork(job: ItemCall<T>): void {
    job.underWay = true;
    this.#underWay++;
  }

  #endWork(job: ItemCall<T>): undefined {
    if (!job.underWay) return;
    job.underWay = false;
    this.#underWay--;
  }

  #report(item: T, reason: UnconsumedReason, error: unknown): void {
    const { onUndelivered } = this.#options;
    if (onUndelivered === undefined) return;
    callOut("consume", "onUndelivered", onUndelivered, item, reason, error);
  }

  // -- The list of jobs -------------------------------------------------------

  #list(job: ItemCall<T>): void {
    this.received++;
    this.#jobs.push(job);
    if (this.#visibility !== undefined) this.#renewLater();
  }

  /** The job has ended; who is behind it can begin. */
  #leave(job: ItemCall<T>): void {
    this.#endWork(job);
    this.#jobs.remove(job);
    job.isListed = false;
    if (this.#keys === undefined || this.#stopReason !== undefined) return;
    const follower = this.#keys.leave(job.key);
    if (follower !== undefined) this.#ready.push(follower, 1);
  }

  /** One alarm for all that is lent: who has been here at two of them in a row needs more time. */
  #renewLater(): void {
    const visibility = this.#visibility!;
    this.#leaseTimer ??= setAlarm(this.#clock, () => {
      this.#leaseTimer = undefined;
      for (let job = this.#jobs.first; job !== undefined; job = job.next) {
        if (job.isOld) extend(job.delivery, visibility);
        job.isOld = true;
      }
      if (this.#jobs.first !== undefined) this.#renewLater();
    }, visibility / 3);
  }

  // -- Endings ----------------------------------------------------------------

  #stop(reason: unknown, isFailure: boolean): void {
    if (this.#stopReason !== undefined || this.#over) return;
    this.#stopReason = { reason, isFailure };
    for (let job = this.#jobs.first; job !== undefined; job = job.next) {
      this.#clear(job.timer);
    }
    this.#clear(this.#rateTimer);
    this.#clear(this.#lingerTimer);
    this.#graceTimer = setAlarm(this.#clock, () => {
      for (const slot of this.#slots) {
        if (slot.call !== undefined) this.#noteOverrun(slot);
      }
      void this.#finish();
    }, this.#grace);
    this.#intake.leave(reason);
    this.#controller.abort(reason);
    for (const { call } of this.#slots) call?.abort(reason);
    this.#advance();
  }

  /** A stopped run waits for what is under way, the others until there is nothing left. */
  #isDone(): boolean {
    if (this.#over || this.#asking) return false;
    if (this.#stopReason !== undefined) return this.#underWay === 0;
    return this.#sourceEnded && this.#jobs.first === undefined;
  }

  async #finish(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    this.#ownPuts?.end();
    this.#clear(this.#graceTimer);
    this.#clear(this.#rateTimer);
    this.#options.signal?.removeEventListener("abort", this.#stopped);
    await this.#giveBack();
    this.#clear(this.#leaseTimer);
    this.#deadLetters?.release();
    const failure = this.#stopReason?.isFailure === true
      ? this.#stopReason
      : this.#stopReason === undefined
      ? this.#sourceFailure
      : undefined;
    if (failure !== undefined) return this.#finished.reject(failure.reason);
    const report = this.#makeReport();
    const unheard = this.#unheard.errorWith(report);
    if (unheard === undefined) this.#finished.resolve(report);
    else this.#finished.reject(unheard);
  }

  /** The newest first, where each goes to the head of a queue. */
  async #giveBack(): Promise<void> {
    if (this.#givingBack) return;
    this.#givingBack = true;
    const reason = this.#stopReason?.reason;
    const toReport: T[] = [];
    while (this.#jobs.last !== undefined) {
      const answers: (Promise<void> | undefined)[] = [];
      // In one turn: engines put back in order what they hear of together.
      for (
        let job = this.#jobs.last, next = job;
        job !== undefined;
        job = next
      ) {
        next = job.previous!;
        if (job.delivery === undefined) {
          this.#leave(job);
          this.#returned++;
          toReport.push(job.item);
        } else answers.push(this.#return(job, reason));
      }
      await Promise.all(answers);
    }
    this.#givingBack = false;
    for (const item of toReport.reverse()) {
      this.#report(item, "stopped", reason);
    }
  }

  /** The stop is no attempt of the item; what failed before it is. */
  #return(job: ItemCall<T>, reason: unknown): Promise<void> | undefined {
    const counted = job.attempt > job.delivery!.attempt ||
      job.failure?.attempts === job.attempt;
    return this.#settle(
      job,
      (delivery) => delivery.nack({ reason, counted }),
      () => void this.#returned++,
    );
  }

  #makeReport(): ConsumeReport {
    return Object.freeze({
      processed: this.#processed,
      failed: this.#deadLettered + this.#undelivered,
      retried: this.#retried,
      deadLettered: this.#deadLettered,
      undelivered: this.#undelivered,
      returned: this.#returned,
      lost: this.#lost,
      overrun: this.#overrun,
      errors: this.#errors,
      stopped: this.#stopReason !== undefined,
      duration: this.#clock.now() - this.#began,
      wait: this.#waits.quantiles(),
      run: this.#runs.quantiles(),
    });
  }
}

/**
 * The rejected ones among what `Promise.allSettled` gave, if that is what the handler
 * of a batch returned. Rows of the user's own that look a little like it are not.
 */
export function failuresIn(
  result: unknown,
  count: number,
): (PromiseRejectedResult | undefined)[] | undefined {
  if (!Array.isArray(result) || !result.every(isSettled)) return undefined;
  const failures = result.map((entry) =>
    entry.status === "rejected" ? entry : undefined
  );
  if (failures.every((failure) => failure === undefined)) return undefined;
  if (result.length === count) return failures;
  // Whose failures they are cannot be told.
  const reason = new TypeError(
    `Cannot tell which items failed: the handler of a batch must return a ` +
      `result for each of its ${count} items, received ${result.length}`,
  );
  return Array.from({ length: count }, () => ({ status: "rejected", reason }));
}

function isSettled(entry: unknown): entry is PromiseSettledResult<unknown> {
  if (typeof entry !== "object" || entry === null) return false;
  const { status } = entry as Partial<PromiseSettledResult<unknown>>;
  return status === "fulfilled"
    ? Object.hasOwn(entry, "value")
    : status === "rejected" && Object.hasOwn(entry, "reason");
}

function acknowledge<T>(delivery: Delivery<T>): boolean | Promise<boolean> {
  return delivery.ack();
}

function extend<T>(
  delivery: Delivery<T> | undefined,
  milliseconds: number,
): void {
  try {
    const answer = delivery?.extend(milliseconds);
    if (typeof answer === "object") answer.catch(ignore);
  } catch {
    // Lost, or about to be: the signal of the delivery tells.
  }
}
