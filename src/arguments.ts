/**
 * Checks of arguments that have nothing to do with what the argument is for.
 *
 * @module
 */

import { received } from "./errors.ts";

/** Throws unless it is a whole number from `least` on. */
export function checkCount(
  action: string,
  name: string,
  value: unknown,
  least: number,
): void {
  if (typeof value !== "number") {
    throw new TypeError(
      `Cannot ${action}: ${name} must be a number, received ${received(value)}`,
    );
  }
  if (!Number.isSafeInteger(value) || value < least) {
    throw new RangeError(
      `Cannot ${action}: ${name} must be a whole number of ${least} or more, received ${value}`,
    );
  }
}

/** The same, and Infinity is one. */
export function checkLimit(
  action: string,
  name: string,
  value: unknown,
  least: number,
): void {
  if (value !== Infinity) checkCount(action, name, value, least);
}

/** Throws unless the options are an object or left out. */
export function checkOptions(action: string, options: unknown): void {
  if (typeof options === "object" && options !== null) return;
  throw new TypeError(
    `Cannot ${action}: options must be an object, received ${
      received(options)
    }`,
  );
}

/** Throws unless it is a function. */
export function checkFunction(
  action: string,
  name: string,
  value: unknown,
): void {
  if (typeof value === "function") return;
  throw new TypeError(
    `Cannot ${action}: ${name} must be a function, received ${received(value)}`,
  );
}
