/**
 * The options of a queue, read and checked once.
 *
 * @module
 */

import {
  checkAtLeast,
  checkBoolean,
  checkCallbacks,
  checkLimit,
  checkOptions,
  checkString,
  checkWord,
  type Names,
  outOfRange,
} from "./checks.ts";
import { refusePromise } from "./callbacks.ts";
import { checkClock, systemClock } from "./clock.ts";
import type { Clock } from "./clock.ts";

/**
 * What a full queue does with one more item:
 *
 * - `"wait"`: `put` waits for room (the default);
 * - `"drop-oldest"`: the oldest item stored makes way;
 * - `"drop-newest"`: the *arriving* item is dropped;
 * - `"reject"`: `put` rejects with `QueueFullError`.
 */
export type Overflow = "wait" | "drop-oldest" | "drop-newest" | "reject";

/** Why an accepted item reaches no consumer: the policy that dropped it, or `abort()`. */
export type UndeliveredReason = "drop-oldest" | "drop-newest" | "abort";

/**
 * How a queue is bounded and what it reports. Any `QueuingStrategy` fits:
 * `new Queue(new ByteLengthQueuingStrategy({ highWaterMark: 65536 }))`.
 */
export interface QueueOptions<T> {
  /**
   * How much the queue holds before a put waits, in the unit of `size`.
   * Default: 16. 0 is a rendezvous, `Infinity` is unbounded.
   */
  highWaterMark?: number | undefined;
  /**
   * The weight of one item, a finite number of at least 0. Default: 1 for
   * every item. Called once per put, before anything has changed.
   */
  size?: ((item: T) => number) | undefined;
  /** What a full queue does. Default: `"wait"`. */
  overflow?: Overflow | undefined;
  /**
   * Receives each accepted item that will reach no consumer, once, after the
   * queue is consistent again. What it throws or rejects with is printed and goes no further.
   */
  onUndelivered?: ((item: T, reason: UndeliveredReason) => void) | undefined;
  /** A name for messages and `stats()`. */
  name?: string | undefined;
  /** How many items may be lent at a time, see `receive()`. Default: any number. */
  maxInFlight?: number | undefined;
  /** Notes when each item was put, for deliveries and monitors; costs a look at the clock an item. Default: false. */
  timestamps?: boolean | undefined;
  /** Where time comes from, for leases, timestamps and lingering. Default: the machine. */
  clock?: Clock | undefined;
}

/** {@linkcode QueueOptions} after the check, defaults filled in. */
export interface Strategy<T> {
  readonly highWaterMark: number;
  /** Undefined: every item weighs 1. */
  readonly size: ((item: T) => number) | undefined;
  readonly overflow: Overflow;
  readonly onUndelivered:
    | ((item: T, reason: UndeliveredReason) => void)
    | undefined;
  readonly name: string;
  readonly maxInFlight: number;
  readonly timestamps: boolean;
  readonly clock: Clock;
}

/** The names of the options that a kind of queue has beside those of all kinds. */
export type OwnNames<Options> = Names<Omit<Options, keyof QueueOptions<never>>>;

/**
 * Reads each option once, through its getter where it has one. `own` are names of
 * options that a kind of queue reads itself.
 */
export function readStrategy<T>(
  options: QueueOptions<T> = {},
  own: OwnNames<object> = {},
): Strategy<T> {
  checkOptions(ACTION, options, {
    highWaterMark: true,
    size: true,
    overflow: true,
    onUndelivered: true,
    name: true,
    maxInFlight: true,
    timestamps: true,
    clock: true,
    ...own,
  });
  const { highWaterMark = 16, size, overflow = "wait", onUndelivered } =
    options;
  const name = options.name ?? "";
  checkHighWaterMark(ACTION, highWaterMark);
  checkCallbacks(ACTION, { size, onUndelivered });
  checkWord(ACTION, "overflow", overflow, OVERFLOWS);
  checkString(ACTION, "name", name);
  const { maxInFlight = Infinity, timestamps = false, clock = systemClock } =
    options;
  checkLimit(ACTION, "maxInFlight", maxInFlight, 1);
  checkBoolean(ACTION, "timestamps", timestamps);
  checkClock(ACTION, clock);
  return {
    highWaterMark,
    size,
    overflow,
    onUndelivered,
    name,
    maxInFlight,
    timestamps,
    clock,
  };
}

const ACTION = "make a queue";
const OVERFLOWS: readonly Overflow[] = [
  "wait",
  "drop-oldest",
  "drop-newest",
  "reject",
];

/** Any number from 0 to Infinity. */
export function checkHighWaterMark(action: string, value: unknown): void {
  checkAtLeast(action, "highWaterMark", value, 0);
}

/** The weight of an item as `size` gave it, or an error that says what is wrong with it. */
export function checkWeight(weight: unknown): number {
  if (typeof weight === "number" && weight >= 0 && weight < Infinity) {
    return weight;
  }
  refusePromise("put", "size(item)", weight);
  const rule = "size(item) must be a finite number of 0 or more";
  throw outOfRange("put", rule, weight);
}
