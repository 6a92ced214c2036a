/**
 * The tasks of a pool, and what becomes of each.
 *
 * @module
 */

import { callOut, ignore } from "../../callbacks.ts";
import { type PoolTask, WorkerCrashedError } from "./task.ts";

/** How a pool treats its tasks. */
export interface PoolTasksSettings<T> {
  /** The pool, as messages name it. */
  readonly called: string;
  readonly attempts: number;
  readonly onUndelivered: ((task: T, reason: unknown) => void) | undefined;
}

/** Those whose promises have not settled. */
export class PoolTasks<T, R> {
  /** How many have ended in which way. */
  readonly counts = { done: 0, failed: 0, undelivered: 0, retried: 0 };
  readonly #settings: PoolTasksSettings<T>;
  readonly #tasks: Set<PoolTask<T, R>> = new Set();
  /** There is a first one, or none any more. */
  readonly #changed: () => void;

  constructor(settings: PoolTasksSettings<T>, changed: () => void) {
    this.#settings = settings;
    this.#changed = changed;
  }

  get size(): number {
    return this.#tasks.size;
  }

  add(task: PoolTask<T, R>): void {
    this.#tasks.add(task);
    if (this.#tasks.size === 1) this.#changed();
  }

  succeeded(task: PoolTask<T, R>, result: R): void {
    if (task.settled) return;
    this.counts.done++;
    this.#settle(task);
    task.resolve(result);
  }

  failed(task: PoolTask<T, R>, error: unknown, aborted: boolean): void {
    if (task.settled) return;
    if (aborted && task.aborted !== undefined) {
      // Not a copy that has been to the worker and back.
      return this.giveUp(task, task.aborted.reason);
    }
    this.counts.failed++;
    this.#settle(task);
    task.reject(error);
  }

  /** The task ends without a worker having finished it. */
  giveUp(task: PoolTask<T, R>, reason: unknown): void {
    if (task.settled) return;
    this.counts.undelivered++;
    this.#settle(task);
    task.reject(reason);
    const { onUndelivered, called } = this.#settings;
    if (onUndelivered === undefined) return;
    const tell = (): void =>
      callOut(called, "onUndelivered", onUndelivered, task.item, reason);
    if (task.accepted === undefined) tell();
    else task.accepted.then(tell, ignore);
  }

  giveUpAll(reason: unknown): void {
    for (const task of [...this.#tasks]) this.giveUp(task, reason);
  }

  /** Its worker has ended. */
  comesBack(task: PoolTask<T, R>, wasInCrash: boolean, cause: unknown): void {
    if (task.settled) return;
    if (task.aborted !== undefined) {
      return this.giveUp(task, task.aborted.reason);
    }
    if (wasInCrash) task.crashes++;
    if (task.crashes >= this.#settings.attempts || !task.canBeSentAgain) {
      return this.giveUp(task, this.#crashed(task, cause));
    }
    if (wasInCrash) this.counts.retried++;
    void task.delivery!.nack({ counted: wasInCrash });
  }

  #crashed(task: PoolTask<T, R>, cause: unknown): WorkerCrashedError<T> {
    const { item, crashes: attempts } = task;
    const rule = task.canBeSentAgain
      ? `a worker must survive the task, received ${attempts} that have not`
      : "a worker must survive a task that can be sent only once, " +
        "received one that has ended";
    return new WorkerCrashedError(
      `Cannot run in ${this.#settings.called}: ${rule}`,
      { item, attempts, cause },
    );
  }

  #settle(task: PoolTask<T, R>): void {
    task.settle();
    void task.delivery?.ack();
    this.#tasks.delete(task);
    if (this.#tasks.size === 0) this.#changed();
  }
}
