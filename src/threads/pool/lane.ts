/**
 * Where one worker after the other does the tasks of a lane.
 *
 * @module
 */

import { keepAlive, systemClock } from "../../clock.ts";
import type { Lane } from "../../work_stealing_queue.ts";
import type { PoolTask } from "./task.ts";
import type { PoolTasks } from "./tasks.ts";
import { type LeftTask, PoolWorker } from "./worker.ts";
import type { PoolWorkerSettings, WorkerListener } from "./worker.ts";

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

/** How many times in a row a worker may end without having been given a task to do. */
const START_ATTEMPTS = 3;

/** How many milliseconds until the second try; doubled with each. */
const START_DELAY = 50;

/** What a lane tells its pool. */
export interface LaneListener {
  /** There may be somebody to give tasks to, or something to give. */
  deal(): void;
  /** Another worker of the lane has ended before it could do a task, as often as it may be tried. */
  gaveUp(attempts: number, cause: unknown): void;
}

/** A lane and its worker. */
export class PoolLane<T, R> implements WorkerListener<T, R> {
  /** Workers that ended unasked. */
  crashes = 0;
  readonly #settings: PoolWorkerSettings;
  readonly #lane: Lane<PoolTask<T, R>>;
  readonly #tasks: PoolTasks<T, R>;
  readonly #listener: LaneListener;
  #worker: PoolWorker<T, R> | undefined = undefined;
  /** How many workers in a row have ended here that no task has ended. */
  #failures = 0;
  /** What the workers before this one have answered. */
  #done = 0;
  #timer: unknown = undefined;
  #keepsAlive = false;
  #closed = false;

  constructor(
    settings: PoolWorkerSettings,
    lane: Lane<PoolTask<T, R>>,
    tasks: PoolTasks<T, R>,
    listener: LaneListener,
  ) {
    this.#settings = settings;
    this.#lane = lane;
    this.#tasks = tasks;
    this.#listener = listener;
    this.#start();
  }

  get worker(): PoolWorker<T, R> | undefined {
    return this.#worker;
  }

  get isGivenUp(): boolean {
    return this.#failures >= START_ATTEMPTS;
  }

  stats(): PoolWorkerStats {
    const running = this.#worker?.running ?? 0;
    return Object.freeze({
      state: this.#worker?.state ?? "ended",
      running,
      sent: (this.#worker?.outstanding ?? 0) - running,
      waiting: this.#lane.length,
      done: this.#done + (this.#worker?.done ?? 0),
    });
  }

  /** Whether it was given a task: of its own, or one that waits longest elsewhere. */
  give(): boolean {
    for (;;) {
      const delivery = this.#lane.tryReceive();
      if (delivery === undefined) return false;
      const task = delivery.item;
      if (!task.settled) {
        task.delivery = delivery;
        this.#worker!.take(task);
        return true;
      }
      // Cancelled while it waited.
      delivery.ack();
    }
  }

  /** More tasks to a worker that will soon have done its own; out of its own lane only. */
  sendAhead(): void {
    if (this.#worker?.wantsMore !== true) return;
    while (!this.#worker.isFull && this.#lane.length > 0) this.give();
  }

  keepAlive(keeps: boolean): void {
    this.#keepsAlive = keeps;
    if (this.#worker !== undefined) this.#worker.keepsAlive = keeps;
    keepAlive(this.#timer, keeps);
  }

  /** Ends the worker, and no other comes; fulfils when it has ended. */
  async dismiss(): Promise<void> {
    this.#closed = true;
    systemClock.clearTimer(this.#timer);
    await this.#worker?.dismiss();
  }

  // -- What the worker says -----------------------------------------------------

  ready(): void {
    this.#listener.deal();
  }

  succeeded(task: PoolTask<T, R>, result: R): void {
    this.#failures = 0;
    this.#tasks.succeeded(task, result);
    this.#listener.deal();
  }

  failed(task: PoolTask<T, R>, error: unknown, aborted: boolean): void {
    this.#failures = 0;
    this.#tasks.failed(task, error, aborted);
    this.#listener.deal();
  }

  ended(left: LeftTask<T, R>[], cause: unknown): void {
    const { done, isAskedToEnd } = this.#worker!;
    this.#worker = undefined;
    this.#done += done;
    if (!isAskedToEnd) this.crashes++;
    // What is put back goes to the head: the oldest last.
    for (const { task, begun } of left.reverse()) {
      this.#tasks.comesBack(task, begun && !isAskedToEnd, cause);
    }
    if (isAskedToEnd || left.some(({ begun }) => begun)) this.#start();
    else this.#startAgain(cause);
    this.#listener.deal();
  }

  #start(): void {
    if (this.#closed) return;
    this.#worker = new PoolWorker<T, R>(this.#settings, this);
    this.#worker.keepsAlive = this.#keepsAlive;
  }

  /** After a pause, unless it was tried too often. */
  #startAgain(cause: unknown): void {
    this.#failures++;
    if (this.isGivenUp) return this.#listener.gaveUp(START_ATTEMPTS, cause);
    const pause = START_DELAY * 2 ** (this.#failures - 1);
    this.#timer = systemClock.setTimer(() => this.#start(), pause);
    keepAlive(this.#timer, this.#keepsAlive);
  }
}
