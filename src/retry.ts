/**
 * Whether something that failed is tried again, and when.
 *
 * @module
 */

import { refusePromise } from "./callbacks.ts";
import { received } from "./errors.ts";
import {
  checkCount,
  checkFunction,
  checkOptions,
  checkRange,
  outOfRange,
} from "./checks.ts";
import { checkDelay, checkTimeLimit } from "./clock.ts";

/** How often and when an item is tried again. */
export interface RetryOptions {
  /** How often an item is tried in all, the first time included; a whole number of 1 or more. Default: 5, or as many as the source allows if those are fewer. */
  attempts?: number | undefined;
  /** Milliseconds before the second attempt, at most. Default: 1000. */
  delay?: number | undefined;
  /** What the delay is multiplied by for each attempt after it, 1 or more. Default: 2. */
  factor?: number | undefined;
  /** What the delay grows to at most, in milliseconds. Default: 60,000. */
  maxDelay?: number | undefined;
  /**
   * The part of the delay that is left to chance, from 0 to 1. Default: 1
   * ("full jitter"): anything from none to all of it, so that what failed
   * together does not come back together.
   */
  jitter?: number | undefined;
  /** False for an error that would come again: no further attempt. Asked after each failed attempt but the last. */
  when?: ((error: unknown) => boolean) | undefined;
}

/** Why there is no further attempt: there have been as many as allowed, `unrecoverable` has marked the error, or `when` was false. */
export type FailureReason = "attempts" | "unrecoverable" | "when";

/** The rule after its check. Without options there is one attempt. */
export class Retry {
  readonly #attempts: number;
  readonly #delay: number;
  readonly #factor: number;
  readonly #maxDelay: number;
  readonly #jitter: number;
  readonly #when: ((error: unknown) => boolean) | undefined;
  readonly #random: () => number;

  constructor(
    action: string,
    options: RetryOptions | undefined,
    random: () => number,
    most: number = Infinity,
  ) {
    if (options !== undefined) {
      checkOptions(action, options, {
        attempts: true,
        delay: true,
        factor: true,
        maxDelay: true,
        jitter: true,
        when: true,
      }, "retry");
    }
    const {
      attempts = Math.min(5, most),
      delay = 1000,
      factor = 2,
      maxDelay = 60_000,
      jitter = 1,
      when,
    } = options ?? { attempts: 1 };
    checkCount(action, "retry.attempts", attempts, 1);
    if (attempts > most) {
      throw outOfRange(
        action,
        `retry.attempts must be at most the attempts of the source, which are ${most}`,
        attempts,
      );
    }
    checkDelay(action, "retry.delay", delay);
    checkRange(action, "retry.factor", factor, 1, Infinity);
    checkTimeLimit(action, "retry.maxDelay", maxDelay);
    checkRange(action, "retry.jitter", jitter, 0, 1);
    if (when !== undefined) checkFunction(action, "retry.when", when);
    this.#attempts = attempts;
    this.#delay = delay;
    this.#factor = factor;
    this.#maxDelay = maxDelay;
    this.#jitter = jitter;
    this.#when = when;
    this.#random = random;
  }

  /** Why so many attempts are enough, or undefined if there is to be another. What `when` throws is thrown. */
  reasonToGiveUp(attempt: number, error: unknown): FailureReason | undefined {
    if (isUnrecoverable(error)) return "unrecoverable";
    if (attempt >= this.#attempts) return "attempts";
    const when = this.#when;
    if (when === undefined) return undefined;
    const isTriedAgain = when(error);
    refusePromise("retry", "retry.when(error)", isTriedAgain);
    return isTriedAgain ? undefined : "when";
  }

  /** How many milliseconds to wait after that attempt. What `random` throws is thrown. */
  delayAfter(attempt: number): number {
    if (this.#delay === 0) return 0;
    const full = Math.min(
      this.#delay * this.#factor ** (attempt - 1),
      this.#maxDelay,
      Number.MAX_SAFE_INTEGER,
    );
    if (this.#jitter === 0) return full;
    const chance = this.#random();
    if (chance >= 0 && chance <= 1) return full * (1 - this.#jitter * chance);
    refusePromise("retry", "random()", chance);
    throw outOfRange("retry", "random() must be from 0 to 1", chance);
  }
}

/** A set and no field of the error: it may be frozen, and others may print it. */
const poison: WeakSet<object> = new WeakSet();

/**
 * Marks an error as one that would come again: an item whose handler fails with
 * it is not tried again, whatever `retry` says, and goes to `deadLetter` at once.
 *
 * Returns the same error; what is no `Error` becomes the cause of one.
 *
 * @example Nothing can be made of it
 * ```ts
 * import { consume, type DeadLetter, unrecoverable } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const letters: DeadLetter<string>[] = [];
 * await consume(["{}", "{", "[]"], function (text) {
 *   try {
 *     JSON.parse(text);
 *   } catch (error) {
 *     throw unrecoverable(error);
 *   }
 * }, { retry: { attempts: 10 }, deadLetter: (letter) => letters.push(letter) });
 * assertEquals(letters.map(({ item, attempts }) => [item, attempts]), [["{", 1]]);
 * assertEquals(letters[0]!.reason, "unrecoverable");
 * ```
 */
export function unrecoverable(error: unknown): Error {
  const marked = error instanceof Error
    ? error
    : new Error(`Unrecoverable: ${received(error)}`, { cause: error });
  poison.add(marked);
  return marked;
}

function isUnrecoverable(error: unknown): boolean {
  return typeof error === "object" && error !== null && poison.has(error);
}
