/**
 * Runs a handler on the items of a source: bounded, each item accounted for, one
 * failure never stops the rest.
 *
 * A run moves from phase to phase (`run.ts`) and is made of parts: `intake.ts` takes
 * from the source, `backlog.ts` has all that has not ended, `keys.ts` and
 * `batching.ts` tell what of it may begin and `limits.ts` when, `slots.ts` runs the
 * calls, `outcomes.ts` decides what becomes of the items, `report.ts` counts and
 * measures.
 *
 * @module
 */

import { refusePromise } from "../../callbacks.ts";
import { checkFunction } from "../../checks.ts";
import { Alarm, type Clock, systemClock } from "../../clock.ts";
import type { Delivery, DeliverySource } from "../../delivery.ts";
import { isQueue } from "../../queue.ts";
import { unrecoverable } from "../../retry.ts";
import { type Deferred, deferred } from "../../waiters.ts";
import { checkSource, type Source } from "../source.ts";
import { Backlog } from "./backlog.ts";
import { Batching } from "./batching.ts";
import { Batch, type Call, type ItemCall } from "./calls.ts";
import { type Intake, intakeOf, type IntakeOwner, lends } from "./intake.ts";
import { Limits, type Room } from "./limits.ts";
import {
  type BatchOptions,
  checkConsumeOptions,
  type ConsumeOptions,
  type Handler,
  type Work,
} from "./options.ts";
import { Outcomes, type OutcomesOwner } from "./outcomes.ts";
import { type OwnPuts, type PuttingRun, watchOwnPuts } from "./own_puts.ts";
import { type ConsumeReport, Measures } from "./report.ts";
import { Slots, type SlotsOwner } from "./slots.ts";

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

/**
 * Where a run is:
 *
 * - `"taking"`: it asks the source for items;
 * - `"draining"`: that has ended, and what is here is worked on;
 * - `"stopping"`: nothing begins any more, what is under way may end;
 * - `"returning"`: what has not ended goes back;
 * - `"over"`.
 */
type Phase = "taking" | "draining" | "stopping" | "returning" | "over";

/** Where it may go from there. */
const NEXT: Readonly<Record<Phase, readonly Phase[]>> = {
  taking: ["draining", "stopping"],
  // A source that was empty and closed has something again when an item goes back to it.
  draining: ["taking", "stopping", "returning"],
  stopping: ["returning"],
  returning: ["over"],
  // For what was on its way here.
  over: ["returning"],
};

/** Why a run ends before the work is done, or with an error. */
interface Cause {
  readonly reason: unknown;
  /** The reason is what the run rejects with. */
  readonly isFailure: boolean;
}

/** Of a source that lends nothing. */
const NO_LIMITS: { visibility?: undefined; attempts?: undefined } = {};

class Run<T>
  implements IntakeOwner<T>, OutcomesOwner, PuttingRun<T>, SlotsOwner {
  readonly #options: ConsumeOptions<T>;
  readonly #clock: Clock;
  readonly #limits: Limits<T>;
  readonly #batching: Batching | undefined;
  readonly #backlog: Backlog<T>;
  readonly #outcomes: Outcomes<T>;
  readonly #measures: Measures;
  readonly #intake: Intake<T>;
  readonly #slots: Slots<T>;
  readonly #ownPuts: OwnPuts<T> | undefined;
  /** Aborts when the run is stopped. */
  readonly #controller: AbortController = new AbortController();
  /** Undefined where each attempt may need its own. */
  readonly #sharedSignal: AbortSignal | undefined;
  readonly #grace: Alarm;
  readonly #aborted: () => void;
  readonly #finished: Deferred<ConsumeReport> = deferred();
  #phase: Phase = "taking";
  #cause: Cause | undefined = undefined;
  #isAdvancing = false;

  constructor(
    source: Source<T> | DeliverySource<T>,
    handler: Handler<T & T[]>,
    options: ConsumeOptions<T>,
  ) {
    const { batch, signal, clock = systemClock } = options;
    const advance = (): void => this.advance();
    this.#options = options;
    this.#clock = clock;
    const { visibility, attempts } = lends(source) ? source : NO_LIMITS;
    this.#limits = new Limits(options, clock, advance);
    this.#batching = batch && new Batching(batch, clock, advance);
    this.#backlog = new Backlog(
      options,
      clock,
      options.visibility ?? visibility,
    );
    this.#outcomes = new Outcomes(
      options,
      clock,
      this.#backlog,
      this,
      attempts,
    );
    try {
      this.#intake = intakeOf(source, this, this.signal, options.visibility);
    } catch (error) {
      this.#outcomes.close();
      throw error;
    }
    if (options.timeout === undefined && !lends(source)) {
      this.#sharedSignal = this.signal;
    }
    if (isQueue<T>(source) && this.#limits.concurrency !== undefined) {
      this.#ownPuts = watchOwnPuts<T>(source, this, clock);
    }
    this.#measures = new Measures(clock);
    this.#slots = new Slots(handler, options, {
      clock,
      measures: this.#measures,
      judge: this.#outcomes,
      owner: this,
      ownPuts: this.#ownPuts,
    });
    this.#grace = new Alarm(clock, () => {
      this.#slots.tellOverruns();
      void this.#finish();
    });
    this.#aborted = () =>
      this.#stop({ reason: signal!.reason, isFailure: false });
    if (signal?.aborted === true) this.#aborted();
    else {
      signal?.addEventListener("abort", this.#aborted);
      this.advance();
    }
  }

  get outcome(): Promise<ConsumeReport> {
    return this.#finished.promise;
  }

  // -- What the parts ask, and tell -------------------------------------------

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get received(): number {
    return this.#backlog.received;
  }

  get isStopping(): boolean {
    return this.#phase !== "taking" && this.#phase !== "draining";
  }

  /** The key of an item is not free while its handler runs. */
  get leavesOverrunning(): boolean {
    return this.#options.keyOf === undefined && !this.isStopping;
  }

  arrived(item: T, delivery: Delivery<T> | undefined): void {
    const job = this.#backlog.add(item, delivery);
    if (this.#phase === "over") return void this.#giveBack();
    if (!this.isStopping && this.#mayBegin(job)) this.#backlog.release(job);
    this.advance();
  }

  ended(): void {
    this.#moveTo("draining");
    this.advance();
  }

  failed(reason: unknown): void {
    if (this.#moveTo("draining")) this.#cause = { reason, isFailure: true };
    this.advance();
  }

  endCame(): void {
    this.advance();
  }

  returned(): void {
    this.#moveTo("taking");
  }

  fail(reason: unknown): void {
    this.#stop({ reason, isFailure: true });
  }

  allCalls(): Call<T>[] | undefined {
    const isFull = this.#slots.taken === this.#limits.concurrency;
    return isFull && !this.isStopping ? this.#slots.calls() : undefined;
  }

  // -- Taking, and beginning --------------------------------------------------

  /** Does what can be done now, and ends the run if there is nothing left to do. */
  advance(): void {
    // A handler that does not wait comes back in here.
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    while (this.#step());
    this.#isAdvancing = false;
    if (this.#backlog.ready > 0) this.#backlog.noteWaiting();
    if (this.#isDone()) void this.#finish();
  }

  /** Begins a call, or takes an item. False when there is nothing to do until something happens. */
  #step(): boolean {
    const isReady = this.#isCallReady();
    if (!isReady && !this.#wantsItem()) return false;
    const room = this.#roomForCall();
    if (room === "full") return false;
    if (room === "now") return isReady ? this.#beginReady() : this.#take();
    return !isReady && this.#mayBeOver() && this.#ask();
  }

  #isCallReady(): boolean {
    const { ready } = this.#backlog;
    if (ready === 0 || this.isStopping) return false;
    return this.#batching === undefined || this.#phase === "draining" ||
      this.#batching.isDue(ready);
  }

  #wantsItem(): boolean {
    return this.#phase === "taking" && !this.#intake.isAsked &&
      this.#backlog.hasRoom;
  }

  #roomForCall(): Room {
    try {
      return this.#limits.roomBeside(this.#slots.taken);
    } catch (error) {
      this.fail(error);
      return "full";
    }
  }

  /** Nothing is left here, so the end of the source would be that of the run, however long the rate allows no call. */
  #mayBeOver(): boolean {
    return this.#backlog.isEmpty && this.#intake.mayHaveEnded();
  }

  /** Takes what is there now; asks for it if that cannot be told at once. */
  #take(): boolean {
    const delivery = this.#intake.take();
    if (delivery === undefined) return this.#ask();
    const job = this.#backlog.add(delivery.item, delivery);
    if (!this.#mayBegin(job)) return true;
    if (this.#batching === undefined) this.#begin(job);
    else this.#backlog.release(job);
    return true;
  }

  #ask(): false {
    this.#intake.ask();
    return false;
  }

  /** With keys, only when its own is free; otherwise its turn comes when that is. */
  #mayBegin(job: ItemCall<T>): boolean {
    if (job.attempt > 1) this.#outcomes.recall(job);
    const { keyOf } = this.#options;
    if (keyOf === undefined) return true;
    try {
      job.key = keyOf(job.item);
    } catch (error) {
      job.key = job; // a key that nobody else has
      this.#failBefore(job, unrecoverable(error));
      return false;
    }
    try {
      // No two promises are the same, and the order would be lost without a word.
      refusePromise("consume", "keyOf(item)", job.key);
    } catch (error) {
      this.fail(error);
      return false;
    }
    return this.#backlog.enterLine(job);
  }

  /** It fails before a call could begin with it. */
  #failBefore(job: ItemCall<T>, error: unknown): void {
    this.#backlog.enterLine(job);
    this.#backlog.begin(job);
    void Promise.resolve(this.#outcomes.failed(job, error))
      .then(() => this.advance());
  }

  /** Calls the handler with what is ready. */
  #beginReady(): true {
    if (this.#batching === undefined) this.#begin(this.#backlog.next());
    else this.#beginBatch(this.#batching);
    return true;
  }

  #begin(job: ItemCall<T>): void {
    this.#backlog.begin(job);
    this.#measures.begins(job);
    this.#call(job);
  }

  #beginBatch(batching: Batching): void {
    const jobs: ItemCall<T>[] = [];
    let now: number | undefined;
    while (jobs.length < batching.max && this.#backlog.ready > 0) {
      const job = this.#backlog.next();
      this.#backlog.begin(job);
      now = this.#measures.begins(job, now);
      jobs.push(job);
    }
    batching.reset();
    this.#call(new Batch(jobs));
  }

  #call(call: Call<T>): void {
    call.shared = this.#sharedSignal;
    this.#limits.begun();
    this.#slots.run(call);
  }

  // -- Endings ----------------------------------------------------------------

  /** The one place where the run moves on. False where it cannot go there from where it is. */
  #moveTo(phase: Phase): boolean {
    if (!NEXT[this.#phase].includes(phase)) return false;
    this.#phase = phase;
    return true;
  }

  #stop(cause: Cause): void {
    if (!this.#moveTo("stopping")) return;
    this.#cause = cause;
    this.#backlog.stopRetries();
    this.#limits.stop();
    this.#batching?.reset();
    this.#grace.set(this.#options.grace ?? 1000);
    this.#intake.leave(cause.reason);
    this.#controller.abort(cause.reason);
    this.#slots.abort(cause.reason);
    this.advance();
  }

  /** A stopped run waits for what is under way, the others until there is nothing left. */
  #isDone(): boolean {
    if (this.#intake.isAsked) return false;
    if (this.#phase === "stopping") return this.#backlog.underWay === 0;
    return this.#phase === "draining" && this.#backlog.isEmpty;
  }

  async #finish(): Promise<void> {
    const isStopped = this.#phase === "stopping";
    this.#ownPuts?.end();
    this.#grace.clear();
    this.#limits.stop();
    this.#options.signal?.removeEventListener("abort", this.#aborted);
    await this.#giveBack();
    this.#backlog.stopRenewal();
    this.#outcomes.close();
    if (this.#cause?.isFailure) {
      return this.#finished.reject(this.#cause.reason);
    }
    const { counts, errors, unheard } = this.#outcomes;
    const report = this.#measures.report(counts, {
      overrun: this.#slots.overruns,
      errors,
      stopped: isStopped,
    });
    const error = unheard.errorWith(report);
    if (error === undefined) this.#finished.resolve(report);
    else this.#finished.reject(error);
  }

  async #giveBack(): Promise<void> {
    // What arrives meanwhile goes with the rest.
    if (!this.#moveTo("returning")) return;
    await this.#outcomes.giveBack(this.#cause?.reason);
    this.#moveTo("over");
  }
}
