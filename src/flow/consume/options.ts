/**
 * What `consume` is told, and what it tells.
 *
 * @module
 */

import { type NoPromise, refusePromise } from "../../callbacks.ts";
import { checkDelay, checkTimeLimit, type Clock } from "../../clock.ts";
import {
  checkAbortSignal,
  checkCallbacks,
  checkCount,
  checkLimit,
  checkOptions,
  checkRange,
  checkWord,
  wrongType,
} from "../../checks.ts";
import type { DeadLetterTarget } from "./dead_letter.ts";
import type { RateOptions } from "./rate.ts";
import type { RetryOptions } from "../../retry.ts";

/** What a handler gets beside its item. */
export interface ConsumeContext {
  /**
   * Aborts when the handler should end: `timeout` is over, the run was stopped,
   * or the delivery was lost to somebody else. Its `reason` tells which.
   */
  readonly signal: AbortSignal;
  /** How often the item has been tried, this time included; from 1. For a batch the most of its items. */
  readonly attempt: number;
  /** For how many milliseconds the item has existed, where its source notes that; for a batch the oldest of its items. */
  readonly age: number | undefined;
  /** What travelled beside the item, see `Delivery.headers`; undefined for a batch. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** Items in groups. */
export interface BatchOptions {
  /** The most items of one call; a whole number of 1 or more. */
  max: number;
  /** How many milliseconds the first item waits for others, or until the source has ended. Default: 0, which takes what is there. */
  linger?: number | undefined;
}

/**
 * Why an item ended with `onUndelivered`: it `"failed"` for good and there is no
 * `deadLetter`, the `"dead-letter"` target failed, or the run was `"stopped"`
 * and the source takes nothing back.
 */
export type UnconsumedReason = "failed" | "dead-letter" | "stopped";

/** Options of `consume`. `Batch` tells whether there is `batch` among them. */
export interface ConsumeOptions<
  T,
  Batch extends BatchOptions | undefined = BatchOptions | undefined,
> {
  /**
   * How many calls of the handler run at a time, from 1 to Infinity. Default: 1. A function is asked whenever a call may begin or has ended, so that the
   * number can be changed meanwhile.
   */
  concurrency?: number | (() => number) | undefined;
  /** Whether and when an item that failed is tried again. Default: never. No more often than a source that lends allows: `attempts` above those of the queue are a `RangeError`. */
  retry?: RetryOptions | undefined;
  /** How many milliseconds an attempt may take before its signal aborts. Default: Infinity. */
  timeout?: number | undefined;
  /** How many milliseconds a handler has to end once its signal has aborted, before it counts as overrunning. Default: 1000. */
  grace?: number | undefined;
  /** For sources that lend, for how many milliseconds at a time. Renewed for as long as the item is here. Default: as the source lends. */
  visibility?: number | undefined;
  /** Gets what failed for good. A full target is waited for. */
  deadLetter?: DeadLetterTarget<T> | undefined;
  /** Gets each item that ended in no other way, once, and what went wrong. What it throws or rejects with is printed and goes no further. */
  onUndelivered?:
    | ((item: T, reason: UnconsumedReason, error: unknown) => void)
    | undefined;
  /** Learns at once of a handler that did not end in time after its signal. */
  onOverrun?: ((item: T, attempt: number) => void) | undefined;
  /**
   * What an item that failed for good means for the run. `"continue"`: nothing, but
   * where it has nowhere to go the run rejects in the end. `"abort"`: the run ends.
   * `"ignore"`: nothing, the report is enough. Default: `"continue"`.
   */
  onError?: "continue" | "abort" | "ignore" | undefined;
  /** Items of one key are run one after the other, in their order. Keys are told apart as in a `Map`; a promise is none, and rejects the run with a `TypeError`. */
  keyOf?: ((item: T) => NoPromise) | undefined;
  /** With `keyOf`: how many items whose key is busy may be taken and wait aside. Default: 64. */
  readAhead?: number | undefined;
  /** How often calls of the handler may begin; retries are calls, too. */
  rate?: RateOptions | undefined;
  /** Gives the handler arrays. Not together with `keyOf`. */
  batch?:
    & Batch
    // What is inferred would hide a name that is misspelt.
    & (Batch extends BatchOptions
      ? { [Name in Exclude<keyof Batch, keyof BatchOptions>]: never }
      : unknown);
  /** Stops the run now. */
  signal?: AbortSignal | undefined;
  /** Where time comes from. Default: the machine. */
  clock?: Clock | undefined;
  /** Where the jitter of retries comes from, from 0 to 1, 1 excluded. Default: `Math.random`. */
  random?: (() => number) | undefined;
}

/** What a handler gets: an item, or with the option `batch` an array of them. */
export type Work<T, Batch> = Batch extends undefined ? T : T[];

/** Works on an item. What it throws or rejects with is a failed attempt. */
export type Handler<T> = (item: T, context: ConsumeContext) => unknown;

/** Works on a batch, see `consume`. */
export type BatchHandler<T> = (items: T[], context: ConsumeContext) => unknown;

const action = "consume";

/** Throws unless they can be used. What is checked where it is used is left out: retry, rate and deadLetter. */
export function checkConsumeOptions<T>(options: ConsumeOptions<T>): void {
  checkOptions(action, options, {
    concurrency: true,
    retry: true,
    timeout: true,
    grace: true,
    visibility: true,
    deadLetter: true,
    onUndelivered: true,
    onOverrun: true,
    onError: true,
    keyOf: true,
    readAhead: true,
    rate: true,
    batch: true,
    signal: true,
    clock: true,
    random: true,
  });
  const { concurrency = 1, timeout, grace, visibility, readAhead } = options;
  if (typeof concurrency !== "function") checkConcurrency(concurrency);
  if (timeout !== undefined) checkTimeLimit(action, "timeout", timeout);
  if (grace !== undefined) checkTimeLimit(action, "grace", grace);
  if (visibility !== undefined) {
    checkTimeLimit(action, "visibility", visibility, 1);
  }
  if (readAhead !== undefined) {
    checkRange(action, "readAhead", readAhead, 1, Infinity);
  }
  const { onUndelivered, onOverrun, keyOf, random } = options;
  checkCallbacks(action, { onUndelivered, onOverrun, keyOf, random });
  const { onError = "continue", rate, batch, signal } = options;
  checkWord(action, "onError", onError, ["continue", "abort", "ignore"]);
  if (rate !== undefined) {
    checkOptions(action, rate, { limit: true, interval: true }, "rate");
  }
  if (batch !== undefined) checkBatch(batch, keyOf);
  checkAbortSignal(action, signal);
}

function checkBatch(batch: BatchOptions, keyOf: unknown): void {
  checkOptions(action, batch, { max: true, linger: true }, "batch");
  const { max, linger = 0 } = batch;
  checkCount(action, "batch.max", max, 1);
  checkDelay(action, "batch.linger", linger);
  if (keyOf === undefined) return;
  throw new TypeError(
    "Cannot consume: batch and keyOf do not go together, received both",
  );
}

/** Throws unless so many calls may run at a time. */
export function checkConcurrency(concurrency: unknown): void {
  if (typeof concurrency === "number") {
    return checkLimit(action, "concurrency", concurrency, 1);
  }
  refusePromise(action, "concurrency()", concurrency);
  const rule = "concurrency must be a number or a function that gives one";
  throw wrongType(action, rule, concurrency);
}
