/**
 * Calls the functions of the user, and says where their errors go.
 *
 * @module
 */

import { wrongType } from "./checks.ts";

/** Anything but a promise: the result of a function that nobody waits for. */
export type NoPromise =
  | string
  | number
  | bigint
  | boolean
  | symbol
  | null
  | undefined
  | (object & { then?: undefined });

/**
 * Tells somebody something. It is the last thing an operation does: what is called
 * may call back. It may return a promise, which nobody waits for. What it throws,
 * or rejects with, is printed and goes no further.
 */
export function callOut<A extends unknown[]>(
  owner: string,
  name: string,
  callback: (...details: A) => unknown,
  ...details: A
): void {
  try {
    const result = callback(...details);
    if (!isThenable(result)) return;
    Promise.resolve(result).then(
      undefined,
      (error: unknown) => printFailure(owner, name, error),
    );
  } catch (error) {
    printFailure(owner, name, error);
  }
}

/** The one form in which the failure of a callback is printed. */
export function printFailure(
  owner: string,
  name: string,
  error: unknown,
): void {
  console.error(`${name} of ${owner} failed`, error);
}

/** Whether it is to be waited for. */
export function isThenable<T>(
  value: T | PromiseLike<T>,
): value is PromiseLike<T> {
  return typeof (value as PromiseLike<T> | null | undefined)?.then ===
    "function";
}

/**
 * Throws a `TypeError` if the result of a call, named as the user knows it, is to be
 * waited for: nobody would. What the promise rejects with is of no interest then.
 */
export function refusePromise(
  action: string,
  call: string,
  result: unknown,
): void {
  if (!isThenable(result)) return;
  Promise.resolve(result).then(undefined, ignore);
  throw wrongType(action, `${call} must not return a promise`, result);
}

/** For promises whose outcome somebody else looks at, or nobody. */
export function ignore(): undefined {}
