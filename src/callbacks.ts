/**
 * Calls the functions of the user, and says where their errors go.
 *
 * @module
 */

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

/** For promises whose outcome somebody else looks at, or nobody. */
export function ignore(): undefined {}
