/**
 * What becomes of the items: done, tried again, given up, given back. Each settles
 * in one place.
 *
 * @module
 */

import { callOut } from "../../callbacks.ts";
import type { Clock } from "../../clock.ts";
import type { Delivery } from "../../delivery.ts";
import { type FailureReason, Retry } from "../../retry.ts";
import type { Backlog } from "./backlog.ts";
import { type Call, ItemCall } from "./calls.ts";
import {
  type DeadLetter,
  type DeadLetterSink,
  deadLetterSink,
} from "./dead_letter.ts";
import { Unheard } from "./error.ts";
import { FailureMemory } from "./failures.ts";
import type { ConsumeOptions, UnconsumedReason } from "./options.ts";
import type { Counts } from "./report.ts";
import type { Judge } from "./slots.ts";

/** How an item settles, as the report counts it. */
export type Outcome = keyof Counts;

/** What the outcomes need of their run. */
export interface OutcomesOwner {
  /** Aborts when the run is stopped. */
  readonly signal: AbortSignal;
  readonly isStopping: boolean;
  /** Ends the run with an error. */
  fail(reason: unknown): void;
  /** A delayed item can begin. */
  advance(): void;
  /** An item has gone back to the source, which has something again. */
  returned(): void;
}

/** Why an item is undelivered. */
interface Unconsumed {
  readonly reason: UnconsumedReason;
  readonly error: unknown;
}

/**
 * Decides what becomes of each job once its call has ended. Where that takes time
 * the result is a promise; it never rejects.
 */
export class Outcomes<T> implements Judge<T> {
  readonly counts: Record<Outcome, number> = {
    processed: 0,
    retried: 0,
    deadLettered: 0,
    undelivered: 0,
    returned: 0,
    lost: 0,
  };
  errors: { first: unknown; last: unknown } | undefined = undefined;
  readonly unheard: Unheard = new Unheard();
  readonly #options: ConsumeOptions<T>;
  readonly #clock: Clock;
  readonly #backlog: Backlog<T>;
  readonly #owner: OutcomesOwner;
  readonly #retry: Retry;
  readonly #sink: DeadLetterSink<T> | undefined;
  readonly #memory: FailureMemory<T> = new FailureMemory();

  /** Locks the target of the dead letters. `attempts` are those of the source, if it gives up by itself. */
  constructor(
    options: ConsumeOptions<T>,
    clock: Clock,
    backlog: Backlog<T>,
    owner: OutcomesOwner,
    attempts: number | undefined,
  ) {
    const { retry, random = Math.random, deadLetter } = options;
    this.#options = options;
    this.#clock = clock;
    this.#backlog = backlog;
    this.#owner = owner;
    this.#retry = new Retry("consume", retry, random, attempts);
    this.#sink = deadLetter && deadLetterSink("consume", deadLetter);
  }

  /** Lets go of the target of the dead letters. */
  close(): void {
    this.#sink?.release();
  }

  /** What went wrong with an item that comes again. */
  recall(job: ItemCall<T>): void {
    job.failure = this.#memory.recall(job.item, job.attempt);
  }

  fulfilled(call: Call<T>, result: unknown): Promise<unknown> | undefined {
    if (call instanceof ItemCall) {
      return this.#settle(call, acknowledge, "processed");
    }
    const { jobs } = call;
    const failures = failuresIn(result, jobs.length);
    return whenAll(jobs, (job, index) => {
      const failure = failures?.[index];
      return failure === undefined
        ? this.#settle(job, acknowledge, "processed")
        : this.failed(job, failure.reason);
    });
  }

  rejected(call: Call<T>, error: unknown): Promise<unknown> | undefined {
    return whenAll(call.jobs, (job) => this.failed(job, error));
  }

  /** An attempt has failed. */
  failed(job: ItemCall<T>, error: unknown): Promise<void> | undefined {
    if (job.state === "ended") return undefined;
    // An answer to the stop says nothing about the item, which goes back.
    if (this.#owner.isStopping) return this.#backlog.rest(job);
    this.#noteFailure(job, error);
    const reason = this.#reasonToGiveUp(job, error);
    if (reason !== undefined) return this.#giveUp(job, reason);
    let delay: number;
    try {
      delay = this.#retry.delayAfter(job.attempt);
    } catch (thrown) {
      this.#owner.fail(thrown);
      return this.#backlog.rest(job);
    }
    return this.#tryAgain(job, delay);
  }

  /** Gives everything back that has not ended; the newest first, where each goes to the head of a queue. */
  async giveBack(reason: unknown): Promise<void> {
    const backlog = this.#backlog;
    const kept: T[] = [];
    while (!backlog.isEmpty) {
      const answers: (Promise<void> | undefined)[] = [];
      // In one turn: engines put back in order what they hear of together.
      let job = backlog.newest;
      while (job !== undefined) {
        const { previous } = job;
        answers.push(this.#return(job, reason));
        if (job.delivery === undefined) kept.push(job.item);
        job = previous;
      }
      await Promise.all(answers);
    }
    for (const item of kept.reverse()) this.#tell(item, "stopped", reason);
  }

  #noteFailure(job: ItemCall<T>, error: unknown): void {
    this.errors ??= { first: error, last: error };
    this.errors.last = error;
    const { attempt } = job;
    const now = this.#clock.now();
    const { first, firstAt } = job.failure ?? { first: error, firstAt: now };
    const last = { last: error, lastAt: now };
    job.failure = { attempts: attempt, first, firstAt, ...last };
  }

  #reasonToGiveUp(job: ItemCall<T>, error: unknown): FailureReason | undefined {
    try {
      return this.#retry.reasonToGiveUp(job.attempt, error);
    } catch (thrown) {
      this.#noteFailure(job, thrown);
      return "when";
    }
  }

  /** Here, or by way of the source: but with keys others would overtake. */
  #tryAgain(job: ItemCall<T>, delay: number): Promise<void> | undefined {
    if (job.delivery !== undefined && this.#options.keyOf === undefined) {
      const failure = job.failure!;
      // Before it can come back.
      this.#memory.remember(job.item, failure);
      const options = { delay, reason: failure.last };
      return this.#settle(job, (delivery) => delivery.nack(options), "retried");
    }
    this.counts.retried++;
    this.#backlog.retryAfter(job, delay, () => this.#owner.advance());
    return undefined;
  }

  async #giveUp(job: ItemCall<T>, reason: FailureReason): Promise<void> {
    const { onError } = this.#options;
    const error = job.failure!.last;
    if (this.#sink !== undefined) {
      await this.#send(job, reason, this.#sink);
    } else if (onError === "abort") {
      this.#backlog.rest(job);
    } else if (job.delivery?.bury !== undefined) {
      const bury = (delivery: Delivery<T>): ReturnType<Delivery<T>["ack"]> =>
        delivery.bury!(error);
      await this.#settle(job, bury, "deadLettered");
    } else {
      const failed: Unconsumed = { reason: "failed", error };
      await this.#settle(job, acknowledge, "undelivered", failed);
    }
    if (onError === "abort") this.#owner.fail(error);
  }

  async #send(
    job: ItemCall<T>,
    reason: FailureReason,
    sink: DeadLetterSink<T>,
  ): Promise<void> {
    try {
      await sink.send(this.#deadLetter(job, reason), this.#owner.signal);
    } catch (error) {
      // Cut short by a stop: it goes back like everything else.
      if (this.#owner.isStopping) return this.#backlog.rest(job);
      const refused: Unconsumed = { reason: "dead-letter", error };
      await this.#settle(job, acknowledge, "undelivered", refused);
      return;
    }
    await this.#settle(job, acknowledge, "deadLettered");
  }

  #deadLetter(job: ItemCall<T>, reason: FailureReason): DeadLetter<T> {
    const { attempts, first, last, firstAt, lastAt } = job.failure!;
    const epoch = this.#options.clock === undefined
      ? performance.timeOrigin
      : 0;
    return {
      item: job.item,
      attempts,
      errors: { first, last },
      firstAt: epoch + firstAt,
      lastAt: epoch + lastAt,
      reason,
    };
  }

  /** The stop is no attempt of the item; what failed before it is. */
  #return(job: ItemCall<T>, reason: unknown): Promise<void> | undefined {
    const { attempt, failure, delivery } = job;
    const counted = failure?.attempts === attempt ||
      (delivery !== undefined && attempt > delivery.attempt);
    const nack = (delivery: Delivery<T>): ReturnType<Delivery<T>["nack"]> =>
      delivery.nack({ reason, counted });
    return this.#settle(job, nack, "returned");
  }

  /** Lets go of what was lent; it counts as lost if it was not ours any more. */
  #settle(
    job: ItemCall<T>,
    letGo: (delivery: Delivery<T>) => boolean | Promise<boolean>,
    outcome: Outcome,
    unconsumed?: Unconsumed,
  ): Promise<void> | undefined {
    let isOurs: boolean | Promise<boolean> = true;
    try {
      if (job.delivery !== undefined) isOurs = letGo(job.delivery);
    } catch {
      isOurs = false;
    }
    if (typeof isOurs === "boolean") {
      return this.#settled(job, isOurs ? outcome : "lost", unconsumed);
    }
    return isOurs.then(undefined, () => false).then((isOurs) =>
      this.#settled(job, isOurs ? outcome : "lost", unconsumed)
    );
  }

  /** Here every item settles, but for those that are tried again without leaving. */
  #settled(
    job: ItemCall<T>,
    outcome: Outcome,
    unconsumed: Unconsumed | undefined,
  ): undefined {
    if (job.state === "ended") return;
    this.#backlog.remove(job);
    this.counts[outcome]++;
    if (outcome === "processed") return;
    if (outcome === "retried") this.#owner.returned();
    if (outcome === "undelivered") this.#report(job.item, unconsumed!);
  }

  #report(item: T, { reason, error }: Unconsumed): void {
    const { onUndelivered, onError } = this.#options;
    if (onUndelivered !== undefined) this.#tell(item, reason, error);
    else if (onError !== "ignore") this.unheard.note(error);
  }

  #tell(item: T, reason: UnconsumedReason, error: unknown): void {
    const { onUndelivered } = this.#options;
    if (onUndelivered === undefined) return;
    callOut("consume", "onUndelivered", onUndelivered, item, reason, error);
  }
}

/** Undefined if nothing is to be waited for. */
function whenAll<T>(
  jobs: readonly ItemCall<T>[],
  end: (job: ItemCall<T>, index: number) => Promise<void> | undefined,
): Promise<unknown> | undefined {
  let endings: Promise<void>[] | undefined;
  for (let index = 0; index < jobs.length; index++) {
    const ending = end(jobs[index]!, index);
    if (ending !== undefined) (endings ??= []).push(ending);
  }
  return endings && Promise.all(endings);
}

function acknowledge<T>(delivery: Delivery<T>): boolean | Promise<boolean> {
  return delivery.ack();
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
