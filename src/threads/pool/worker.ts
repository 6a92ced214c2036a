/**
 * One worker of a pool, as the pool sees it.
 *
 * @module
 */

import { ignore } from "../../callbacks.ts";
import { keepAlive, setAlarm, systemClock } from "../../clock.ts";
import { received } from "../../errors.ts";
import { canShare, Claims } from "./claims.ts";
import { Endpoint, failureLosesMoved, type PortLike } from "../endpoint.ts";
import { packReason, unpackReason } from "../failure.ts";
import type { PoolTask } from "./task.ts";
import { isAnswer, isReady, VERSION } from "./messages.ts";
import type { Abort, Begin, SentTask } from "./messages.ts";
import { makeChannel, startWorker } from "./thread.ts";
import type { WorkerLike, WorkerSource } from "./thread.ts";

/** How workers are started and filled. */
export interface PoolWorkerSettings {
  readonly source: WorkerSource;
  readonly name: string;
  /** How many tasks a worker does at a time. */
  readonly concurrency: number;
  /** How many tasks are with a worker at a time, begun or not. */
  readonly inFlight: number;
  /** How many milliseconds a worker may take to call `work()`. */
  readonly startTimeout: number;
}

/** What a pool does about what a worker says. */
export interface MemberListener<T, R> {
  /** It can be given tasks. */
  ready(): void;
  succeeded(job: PoolTask<T, R>, result: R): void;
  /** The handler threw, or the task could not be sent. */
  failed(job: PoolTask<T, R>, error: unknown, aborted: boolean): void;
  /** It has ended, with these jobs, oldest first. */
  ended(jobs: LeftTask<T, R>[], cause: unknown): void;
}

/** A job that a worker left behind. */
export interface LeftTask<T, R> {
  readonly job: PoolTask<T, R>;
  readonly begun: boolean;
}

/** How long the last messages of a worker may take that has been ended, where nothing tells that there are no more. */
const LAST_WORDS = 100;

/** A worker that was started. */
export class PoolWorker<T, R> {
  /** How many tasks it has answered. */
  done = 0;
  /** Whoever ended it did so because of one task. */
  isAskedToEnd = false;
  state: "starting" | "ready" | "ending" | "ended" = "starting";
  readonly #settings: PoolWorkerSettings;
  readonly #listener: MemberListener<T, R>;
  readonly #claims: Claims | undefined;
  readonly #worker: WorkerLike | undefined;
  #parent: Endpoint | undefined = undefined;
  #port: Endpoint | undefined = undefined;
  #timer: unknown = undefined;
  #keepsAlive = true;
  #tickets = 0;
  /** In the order in which they were sent. */
  readonly #jobs: PoolTask<T, R>[] = [];
  readonly #byCell: (PoolTask<T, R> | undefined)[] = [];
  readonly #freeCells: number[] = [];
  /** Not sent yet. */
  #unsent: PoolTask<T, R>[] = [];
  /** Why it is ending. */
  #cause: { cause: unknown } | undefined = undefined;
  #terminated: Promise<unknown> = Promise.resolve();

  constructor(settings: PoolWorkerSettings, listener: MemberListener<T, R>) {
    this.#settings = settings;
    this.#listener = listener;
    for (let cell = this.room - 1; cell >= 0; cell--) {
      this.#freeCells.push(cell);
    }
    if (canShare()) this.#claims = Claims.ofSize(settings.inFlight);
    try {
      this.#worker = startWorker(settings.source, settings.name);
      this.#listen(this.#worker);
    } catch (error) {
      // Later: nobody knows this member yet.
      queueMicrotask(() => this.end(error));
    }
  }

  // -- Filling ----------------------------------------------------------------

  /** How many tasks it may hold: without claims, none that it cannot begin at once. */
  get room(): number {
    const { concurrency, inFlight } = this.#settings;
    return canShare() ? inFlight : concurrency;
  }

  get outstanding(): number {
    return this.#jobs.length;
  }

  /** Whether it would begin a task now. */
  get isIdle(): boolean {
    return this.state === "ready" &&
      this.#jobs.length < this.#settings.concurrency;
  }

  /** Whether so little is ahead of it that it should be sent more; not one by one. */
  get wantsMore(): boolean {
    const { concurrency } = this.#settings;
    const most = concurrency + ((this.room - concurrency) >> 1);
    return this.state === "ready" && this.#jobs.length <= most;
  }

  /** Whether tasks wait here for others. */
  get holdsBack(): boolean {
    return this.#jobs.length > this.#settings.concurrency;
  }

  get isFull(): boolean {
    return this.#jobs.length >= this.room;
  }

  /** How many of its tasks it is doing. */
  get running(): number {
    return this.#jobs.reduce(
      (count, job) => this.#hasBegun(job) ? count + 1 : count,
      0,
    );
  }

  /** Only called while it is not full. */
  take(job: PoolTask<T, R>): void {
    const cell = this.#freeCells.pop()!;
    this.#tickets = this.#tickets % 0x7fff_ffff + 1;
    job.cell = cell;
    job.ticket = this.#tickets;
    this.#byCell[cell] = job;
    this.#jobs.push(job);
    this.#unsent.push(job);
    this.#claims?.offer(cell, job.ticket);
  }

  /** Sends what was taken, in one message. */
  send(): void {
    if (this.#unsent.length === 0) return;
    const jobs = this.#unsent;
    this.#unsent = [];
    for (const together of inMessages(jobs)) {
      try {
        this.#post(together);
      } catch {
        for (const job of together) this.#postAlone(job);
      }
    }
  }

  /** Takes back the newest task that was not begun. */
  recall(): PoolTask<T, R> | undefined {
    if (this.#claims === undefined) return undefined;
    for (let index = this.#jobs.length - 1; index >= 0; index--) {
      const job = this.#jobs[index]!;
      if (job.canBeSentAgain && this.takeBack(job)) return job;
    }
    return undefined;
  }

  /** Takes the task back if it was not begun, and says whether it did. */
  takeBack(job: PoolTask<T, R>): boolean {
    if (this.#byCell[job.cell] !== job) return false;
    if (this.#claims?.recall(job.cell, job.ticket) !== true) return false;
    const unsent = this.#unsent.indexOf(job);
    if (unsent >= 0) this.#unsent.splice(unsent, 1);
    this.#release(job);
    return true;
  }

  has(job: PoolTask<T, R>): boolean {
    return this.#byCell[job.cell] === job;
  }

  /** Lets a task that was begun know that its signal has fired. */
  abort(job: PoolTask<T, R>, reason: unknown): void {
    const { cell, ticket } = job;
    const message: Abort = { cell, ticket, reason: packReason(reason) };
    this.#port?.post(message);
  }

  #post(jobs: PoolTask<T, R>[]): void {
    const sent = jobs.map(({ cell, ticket, crashes, task }): SentTask => ({
      cell,
      ticket,
      attempt: crashes + 1,
      task,
    }));
    this.#port!.post(sent, jobs.flatMap(({ transfer }) => transfer));
  }

  #postAlone(job: PoolTask<T, R>): void {
    try {
      this.#post([job]);
    } catch (error) {
      this.#release(job);
      this.#listener.failed(job, error, false);
    }
  }

  #release(job: PoolTask<T, R>): void {
    this.#byCell[job.cell] = undefined;
    this.#freeCells.push(job.cell);
    this.#jobs.splice(this.#jobs.indexOf(job), 1);
  }

  #hasBegun(job: PoolTask<T, R>): boolean {
    return this.#claims?.hasBegun(job.cell) ?? true;
  }

  // -- Listening --------------------------------------------------------------

  /** While it does not, the process may end beside it, where the runtime can do that. */
  set keepsAlive(keeps: boolean) {
    if (this.#keepsAlive === keeps) return;
    this.#keepsAlive = keeps;
    if (this.state === "ended") return;
    keepAlive(this.#worker, keeps);
    keepAlive(this.#timer, keeps);
    if (this.#port !== undefined) this.#port.keepsAlive = keeps;
  }

  #listen(worker: WorkerLike): void {
    const { startTimeout } = this.#settings;
    this.#parent = new Endpoint(worker as PortLike, {
      message: (data) => {
        if (this.state === "starting" && isReady(data)) this.#begin(data);
      },
      closed: () => {
        this.end(
          new Error(
            this.state === "starting"
              ? "The worker has ended and never called work()"
              : "The worker has ended",
          ),
        );
      },
      failed: (error) => this.end(error),
    });
    this.#timer = setAlarm(systemClock, () => {
      this.end(
        new DOMException(
          `The worker has not called work() within ${startTimeout} ms`,
          "TimeoutError",
        ),
      );
    }, startTimeout);
  }

  #begin({ version }: { version: number }): void {
    systemClock.clearTimer(this.#timer);
    if (version !== VERSION) {
      return this.end(
        new TypeError(
          "The worker uses another release of the library, whose messages " +
            `are those of version ${received(version)} and not ${VERSION}`,
        ),
      );
    }
    const { port1, port2 } = makeChannel();
    this.#port = new Endpoint(port1, {
      message: (data) => this.#heard(data),
      closed: () => this.#bury(new Error("The worker has ended")),
      failed: (error) => this.end(error),
    });
    const begin: Begin = {
      highwater: "begin",
      port: port2,
      claims: this.#claims?.buffer,
      concurrency: this.#settings.concurrency,
    };
    this.#parent!.post(begin, [port2]);
    this.state = "ready";
    if (!this.#keepsAlive) this.#port.keepsAlive = false;
    this.#listener.ready();
  }

  #heard(answer: unknown): void {
    if (this.state === "ended") return;
    if (!isAnswer(answer)) return this.#misunderstood(answer);
    const job = this.#byCell[answer.cell];
    // What was thrown out by abort() may still be answered.
    if (job === undefined) return;
    if (!this.#hasBegun(job)) return this.#misunderstood(answer);
    this.#release(job);
    this.done++;
    if ("error" in answer) {
      this.#listener.failed(job, unpackReason(answer.error), answer.aborted);
    } else this.#listener.succeeded(job, answer.result as R);
  }

  #misunderstood(message: unknown): void {
    this.end(
      new TypeError(
        "The worker must answer tasks that it has begun, received " +
          `${received(message)}`,
      ),
    );
  }

  // -- Ending -----------------------------------------------------------------

  /** Ends the thread for that reason; what it has said until then is still heard. */
  end(cause: unknown): void {
    if (this.state === "ending" || this.state === "ended") return;
    const wasReady = this.state === "ready";
    this.state = "ending";
    this.#cause = { cause };
    systemClock.clearTimer(this.#timer);
    this.#terminate();
    if (!wasReady) return this.#bury(cause);
    // A thread that never lets go does not close its port on every runtime.
    this.#timer = systemClock.setTimer(
      () => this.#bury(cause),
      LAST_WORDS,
    );
  }

  /** Ends the thread, with nobody to tell; fulfils when it has ended. */
  dismiss(): Promise<unknown> {
    if (this.state !== "ended") {
      this.#close();
      this.#terminate();
    }
    return this.#terminated;
  }

  #terminate(): void {
    try {
      this.#terminated = Promise.resolve(this.#worker?.terminate());
      this.#terminated.catch(ignore);
    } catch {
      // It has ended by itself.
    }
  }

  #bury(cause: unknown): void {
    if (this.state === "ended") return;
    if (this.state !== "ending") this.#terminate();
    const jobs = this.#jobs.map((job) => ({ job, begun: this.#hasBegun(job) }));
    this.#close();
    this.#listener.ended(
      jobs,
      this.#cause === undefined ? cause : this.#cause.cause,
    );
  }

  #close(): void {
    this.state = "ended";
    systemClock.clearTimer(this.#timer);
    // The parent is still listened to: an error that nobody hears would be this thread's.
    this.#port?.close();
    this.#jobs.length = 0;
    this.#byCell.length = 0;
    this.#unsent = [];
  }
}

/** What may go in one message, in their order. */
function inMessages<T, R>(jobs: PoolTask<T, R>[]): PoolTask<T, R>[][] {
  const isMoved = ({ canBeSentAgain }: PoolTask<T, R>): boolean =>
    !canBeSentAgain;
  if (jobs.length === 1 || !jobs.some(isMoved) || !failureLosesMoved()) {
    return [jobs];
  }
  const messages: PoolTask<T, R>[][] = [];
  let together: PoolTask<T, R>[] | undefined;
  for (const job of jobs) {
    if (isMoved(job)) {
      together = undefined;
      messages.push([job]);
    } else if (together === undefined) messages.push(together = [job]);
    else together.push(job);
  }
  return messages;
}
