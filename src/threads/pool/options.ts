/**
 * What a pool may be told.
 *
 * @module
 */

import {
  checkBoolean,
  checkCallbacks,
  checkCount,
  checkLimit,
  checkString,
  type Complete,
  withDefaults,
} from "../../checks.ts";
import { checkTimeLimit } from "../../clock.ts";
import type { ConcurrentMapOptions } from "../../flow/concurrent_map.ts";
import { checkHighWaterMark } from "../../strategy.ts";
import type { TransferableObject } from "../endpoint.ts";
import { checkWorkerSource, type WorkerSource } from "./thread.ts";

/** Options of {@linkcode WorkerPool}. */
export interface WorkerPoolOptions<T> {
  /** How many workers. Default: as many as the machine has cores (`navigator.hardwareConcurrency`), 4 where nobody knows. */
  size?: number | undefined;
  /** How many tasks may wait in the lane of each worker before `run()` waits for room. Default: 16. */
  highWaterMark?: number | undefined;
  /** How much an idle worker takes from another lane: the newer `"half"` or `"one"` task. Default: `"half"`. */
  steal?: "half" | "one" | undefined;
  /** How many tasks a worker does at a time. Default: 1. More is for handlers that wait for something else than their thread. */
  concurrency?: number | undefined;
  /** How many tasks are with a worker, begun or on the way, so that it never waits for a message. Default: 32 more than `concurrency`. Those not begun can still go to another worker. */
  inFlight?: number | undefined;
  /** How many workers may end while they do a task before it is given up. Default: 3. */
  attempts?: number | undefined;
  /** How many milliseconds after its signal a task may go on before its worker is ended. Default: Infinity, never. */
  grace?: number | undefined;
  /** How many milliseconds a worker may take to call `work()`. Default: 30,000. */
  startTimeout?: number | undefined;
  /** What is moved, not copied, to the worker with a task: part of it, see {@linkcode RunOptions.transfer}. Default: nothing. */
  transfer?: ((task: T) => TransferableObject[]) | undefined;
  /** Whether `readable` gives the results in the order of their tasks. Default: true. */
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
  /** How many tasks are under way at a time. Default: as many as fill the workers and what is on the way to them. */
  concurrency?: number | undefined;
}

/** The options, checked and complete. */
export type CheckedPoolOptions<T> =
  & Complete<WorkerPoolOptions<T>, "transfer" | "onUndelivered">
  & { readonly source: WorkerSource };

/** How many tasks are on the way to a worker beside those it does. */
const ON_THE_WAY = 32;

const ACTION = "make a pool";

/** Throws a `TypeError` or `RangeError` that names what cannot be used. */
export function checkPoolOptions<T>(
  source: WorkerSource,
  options: WorkerPoolOptions<T>,
): CheckedPoolOptions<T> {
  checkWorkerSource(ACTION, source);
  const checked = withDefaults<
    WorkerPoolOptions<T>,
    "inFlight" | "transfer" | "onUndelivered"
  >(ACTION, options, {
    size: cores(),
    highWaterMark: 16,
    steal: "half",
    concurrency: 1,
    inFlight: undefined,
    attempts: 3,
    grace: Infinity,
    startTimeout: 30_000,
    transfer: undefined,
    ordered: true,
    onUndelivered: undefined,
    name: "",
  });
  const { concurrency, transfer, onUndelivered } = checked;
  const { inFlight = concurrency + ON_THE_WAY } = checked;
  checkCount(ACTION, "size", checked.size, 1);
  checkCount(ACTION, "concurrency", concurrency, 1);
  checkCount(ACTION, "inFlight", inFlight, concurrency);
  checkLimit(ACTION, "attempts", checked.attempts, 1);
  checkTimeLimit(ACTION, "grace", checked.grace);
  checkTimeLimit(ACTION, "startTimeout", checked.startTimeout);
  checkHighWaterMark(ACTION, checked.highWaterMark);
  checkBoolean(ACTION, "ordered", checked.ordered);
  checkString(ACTION, "name", checked.name);
  checkCallbacks(ACTION, { transfer, onUndelivered });
  return { ...checked, source, inFlight };
}

function cores(): number {
  return (globalThis as { navigator?: { hardwareConcurrency?: number } })
    .navigator?.hardwareConcurrency ?? 4;
}
