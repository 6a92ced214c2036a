/**
 * Checks of arguments that several utilities have in common.
 *
 * @module
 */

import { received } from "../errors.ts";

/** Throws unless there can be so many branches. */
export function checkCount(action: string, count: unknown): void {
  if (typeof count !== "number") {
    throw new TypeError(
      `Cannot ${action}: count must be a number, received ${received(count)}`,
    );
  }
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new RangeError(
      `Cannot ${action}: count must be a whole number of 1 or more, received ${count}`,
    );
  }
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
