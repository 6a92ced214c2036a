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

/** Throws unless it is an object. */
export function checkObject(
  action: string,
  name: string,
  value: unknown,
): void {
  if (typeof value === "object" && value !== null) return;
  throw new TypeError(
    `Cannot ${action}: ${name} must be an object, received ${received(value)}`,
  );
}

/** The names of all options of a kind: one that is missing here, or too much, does not compile. */
export type Names<Options> = { readonly [Name in keyof Options]-?: true };

/**
 * Throws unless the options are an object whose names are all known. Only a plain
 * object is looked through: a strategy of the platform, or an instance of any
 * class, may carry what it likes.
 */
export function checkOptions<Options extends object>(
  action: string,
  options: Options,
  known: Names<NoInfer<Options>>,
  name: string = "options",
): void {
  checkObject(action, name, options);
  for (const option in options) {
    if (
      known[option] === true || !isPlain(options) ||
      !Object.hasOwn(options, option)
    ) continue;
    throw new TypeError(
      `Cannot ${action}: ${name} must have known names, received "${option}" ${
        hint(option, Object.keys(known))
      }`,
    );
  }
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** The name that was meant, if one comes near, else all that there are. */
function hint(option: string, known: string[]): string {
  const distances = known.map((name) => distance(option, name));
  const least = Math.min(...distances);
  if (least > 1 + option.length / 5) return `(known: ${known.join(", ")})`;
  return `(did you mean "${known[distances.indexOf(least)]}"?)`;
}

/** How many letters to add, leave out or exchange. */
function distance(from: string, to: string): number {
  let above = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (const letter of from.toLowerCase()) {
    const row = [above[0]! + 1];
    for (const [column, other] of [...to.toLowerCase()].entries()) {
      row.push(
        Math.min(
          row[column]! + 1,
          above[column + 1]! + 1,
          above[column]! + (letter === other ? 0 : 1),
        ),
      );
    }
    above = row;
  }
  return above[to.length]!;
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
