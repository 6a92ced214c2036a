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
export interface WorkerListener<T, R> {
  /** It can be given tasks. */
  ready(): void;
  succeeded(task: PoolTask<T, R>, result: R): void;
  /** The handler threw, or the task could not be sent. */
  failed(task: PoolTask<T, R>, error: unknown, aborted: boolean): void;
  /** It has ended, with these tasks, oldest first. */
  ended(tasks: LeftTask<T, R>[], cause: unknown): void;
}

/** A task that a worker left behind. */
export interface LeftTask<T, R> {
  readonly task: PoolTask<T, R>;
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
  readonly #listener: WorkerListener<T, R>;
  readonly #claims: Claims | undefined;
  readonly #worker: WorkerLike | undefined;
  #parent: Endpoint | undefined = undefined;
  #port: Endpoint | undefined = undefined;
  #timer: unknown = undefined;
  #keepsAlive = true;
  #tickets = 0;
  /** By their cells, in the order in which they were sent. */
  readonly #tasks: Map<number, PoolTask<T, R>> = new Map();
  readonly #freeCells: number[] = [];
  /** Not sent yet. */
  #unsent: PoolTask<T, R>[] = [];
  /** Why it is ending. */
  #ending: { cause: unknown } | undefined = undefined;
  #terminated: Promise<unknown> = Promise.resolve();

  constructor(settings: PoolWorkerSettings, listener: WorkerListener<T, R>) {
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
      // Later: nobody knows this worker yet.
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
    return this.#tasks.size;
  }

  /** Whether it would begin a task now. */
  get isIdle(): boolean {
    return this.state === "ready" &&
      this.#tasks.size < this.#settings.concurrency;
  }

  /** Whether so little is ahead of it that it should be sent more; not one by one. */
  get wantsMore(): boolean {
    const { concurrency } = this.#settings;
    const most = concurrency + ((this.room - concurrency) >> 1);
    return this.state === "ready" && this.#tasks.size <= most;
  }

  /** Whether tasks wait here for others. */
  get holdsBack(): boolean {
    return this.#tasks.size > this.#settings.concurrency;
  }

  get isFull(): boolean {
    return this.#tasks.size >= this.room;
  }

  /** How many of its tasks it is doing. */
  get running(): number {
    return [...this.#tasks.values()].filter((task) => this.#hasBegun(task))
      .length;
  }

  /** Only called while it is not full. */
  take(task: PoolTask<T, R>): void {
    this.#tickets = this.#tickets % 0x7fff_ffff + 1;
    task.cell = this.#freeCells.pop()!;
    task.ticket = this.#tickets;
    this.#tasks.set(task.cell, task);
    this.#unsent.push(task);
    this.#claims?.offer(task.cell, task.ticket);
  }

  /** Sends what was taken, in one message. */
  send(): void {
    if (this.#unsent.length === 0) return;
    const tasks = this.#unsent;
    this.#unsent = [];
    if (mustGoAlone(tasks)) {
      return tasks.forEach((task) => this.#postAlone(task));
    }
    try {
      this.#post(tasks);
    } catch {
      for (const task of tasks) this.#postAlone(task);
    }
  }

  /** Takes back the newest task that was not begun. */
  recall(): PoolTask<T, R> | undefined {
    if (this.#claims === undefined) return undefined;
    return [...this.#tasks.values()].reverse().find((task) =>
      task.canBeSentAgain && this.takeBack(task)
    );
  }

  /** Takes the task back if it was not begun, and says whether it did. */
  takeBack(task: PoolTask<T, R>): boolean {
    if (!this.has(task)) return false;
    if (this.#claims?.recall(task.cell, task.ticket) !== true) return false;
    this.#unsent = this.#unsent.filter((other) => other !== task);
    this.#release(task);
    return true;
  }

  has(task: PoolTask<T, R>): boolean {
    return this.#tasks.get(task.cell) === task;
  }

  /** Lets a task that was begun know that its signal has fired. */
  abort(task: PoolTask<T, R>, reason: unknown): void {
    if (task.settled || !this.has(task)) return;
    const { cell, ticket } = task;
    const message: Abort = { cell, ticket, reason: packReason(reason) };
    this.#port?.post(message);
  }

  #post(tasks: PoolTask<T, R>[]): void {
    const sent = tasks.map(({ cell, ticket, crashes, item }): SentTask => ({
      cell,
      ticket,
      attempt: crashes + 1,
      task: item,
    }));
    this.#port!.post(sent, tasks.flatMap(({ transfer }) => transfer));
  }

  #postAlone(task: PoolTask<T, R>): void {
    try {
      this.#post([task]);
    } catch (error) {
      this.#release(task);
      this.#listener.failed(task, error, false);
    }
  }

  #release(task: PoolTask<T, R>): void {
    this.#tasks.delete(task.cell);
    this.#freeCells.push(task.cell);
  }

  #hasBegun(task: PoolTask<T, R>): boolean {
    return this.#claims?.hasBegun(task.cell) ?? true;
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
    const task = this.#tasks.get(answer.cell);
    // What was thrown out by abort() may still be answered.
    if (task === undefined) return;
    if (!this.#hasBegun(task)) return this.#misunderstood(answer);
    this.#release(task);
    this.done++;
    if ("error" in answer) {
      this.#listener.failed(task, unpackReason(answer.error), answer.aborted);
    } else this.#listener.succeeded(task, answer.result as R);
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
    this.#ending = { cause };
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
    const left = [...this.#tasks.values()].map((task) => ({
      task,
      begun: this.#hasBegun(task),
    }));
    this.#close();
    this.#listener.ended(
      left,
      this.#ending === undefined ? cause : this.#ending.cause,
    );
  }

  #close(): void {
    this.state = "ended";
    systemClock.clearTimer(this.#timer);
    // The parent is still listened to: an error that nobody hears would be this thread's.
    this.#port?.close();
    this.#tasks.clear();
    this.#unsent = [];
  }
}

/** What is moved may be lost with a task beside it that cannot be sent. */
function mustGoAlone(tasks: readonly PoolTask<unknown, never>[]): boolean {
  return tasks.length > 1 && failureLosesMoved() &&
    !tasks.every(({ canBeSentAgain }) => canBeSentAgain);
}
