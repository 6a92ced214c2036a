/**
 * A task, from `run()` until its promise has settled.
 *
 * @module
 */

import { setAlarm, systemClock } from "../../clock.ts";
import type { Delivery } from "../../delivery.ts";
import { carryItem } from "../../errors.ts";
import { Abortion } from "../../waiters.ts";
import type { TransferableObject } from "../endpoint.ts";

/**
 * A worker ended while it did the task, as often as the pool's `attempts` allow; or
 * once, when parts of the task were moved to it and are gone. `cause` is why the
 * worker ended.
 *
 * @example What to do with a task that kills its worker
 * ```ts
 * import { WorkerCrashedError, WorkerPool } from "@highwater/queue/threads";
 *
 * async function runOrNote(pool: WorkerPool<string, number>, task: string): Promise<void> {
 *   try {
 *     await pool.run(task);
 *   } catch (error) {
 *     if (!(error instanceof WorkerCrashedError)) throw error;
 *     console.error(`given up after ${error.attempts} attempts:`, error.item, error.cause);
 *   }
 * }
 * ```
 */
export class WorkerCrashedError<T = unknown> extends Error {
  /** The task. */
  declare readonly item: T;
  /** How many times it was begun. */
  readonly attempts: number;

  /** Makes the error; pools do this for you. */
  constructor(
    message: string,
    options: { item: T; attempts: number; cause: unknown },
  ) {
    super(message, { cause: options.cause });
    this.name = "WorkerCrashedError";
    this.attempts = options.attempts;
    carryItem(this, options.item);
  }
}

/** A task and who waits for its result. */
export class PoolTask<T, R> {
  readonly item: T;
  /** What is moved to the worker: then the task can be sent only once. */
  readonly transfer: TransferableObject[];
  readonly resolve: (result: R) => void;
  readonly reject: (reason: unknown) => void;
  /** How many workers ended while they did it. */
  crashes = 0;
  /** Fulfils when a lane has taken it, which was full. */
  accepted: Promise<void> | undefined = undefined;
  /** Nobody waits for it any more. */
  settled = false;
  /** Its signal has fired. */
  aborted: { reason: unknown } | undefined = undefined;
  /** The lane's, while it is with a worker. */
  delivery: Delivery<PoolTask<T, R>> | undefined = undefined;
  /** Where it is with the worker. */
  cell = -1;
  ticket = 0;
  #abortion: Abortion | undefined = undefined;
  #timer: unknown = undefined;

  constructor(
    item: T,
    transfer: TransferableObject[],
    resolve: (result: R) => void,
    reject: (reason: unknown) => void,
  ) {
    this.item = item;
    this.transfer = transfer;
    this.resolve = resolve;
    this.reject = reject;
  }

  get canBeSentAgain(): boolean {
    return this.transfer.length === 0;
  }

  /** Calls back once if the signal fires before the task is settled. */
  follow(
    signal: AbortSignal | undefined,
    aborted: (reason: unknown) => void,
  ): void {
    if (signal === undefined) return;
    this.#abortion = new Abortion(signal, (reason) => {
      this.aborted = { reason };
      aborted(reason);
    });
  }

  /** Rings once, unless the task is settled before. */
  startTimer(milliseconds: number, ring: () => void): void {
    this.#timer = setAlarm(systemClock, ring, milliseconds);
  }

  /** Whoever calls this settles the promise. */
  settle(): void {
    this.settled = true;
    this.#abortion?.leave();
    if (this.#timer !== undefined) systemClock.clearTimer(this.#timer);
  }
}
