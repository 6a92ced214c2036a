/**
 * Checks of arguments that have nothing to do with what the argument is for, and the
 * one form of what they say: "Cannot <do this>: <rule>, received <value>".
 *
 * All of them take what the caller wanted to do (`"make a queue"`), the name of the
 * argument as he knows it (`"retry.delay"`), and the value. Durations are checked in
 * `clock.ts`, signals among the options of a call in `waiters.ts`.
 *
 * @module
 */

import { received } from "./errors.ts";

/** The error for an argument that is of the wrong type. */
export function wrongType(
  action: string,
  rule: string,
  value: unknown,
): TypeError {
  return new TypeError(refusal(action, rule, value));
}

/** The error for an argument of the right type that does not fit. */
export function outOfRange(
  action: string,
  rule: string,
  value: unknown,
): RangeError {
  return new RangeError(refusal(action, rule, value));
}

function refusal(action: string, rule: string, value: unknown): string {
  return `Cannot ${action}: ${rule}, received ${received(value)}`;
}

/** The error for what should have been such a number: it is none, or not such a one. */
export function wrongNumber(
  action: string,
  name: string,
  rule: string,
  value: unknown,
  unit = "a number",
): Error {
  return typeof value === "number"
    ? outOfRange(action, `${name} must be ${rule}`, value)
    : wrongType(action, `${name} must be ${unit}`, value);
}

/** Throws unless it is a whole number from `least` to `most`. */
export function checkCount(
  action: string,
  name: string,
  value: unknown,
  least: number,
  most: number = Number.MAX_SAFE_INTEGER,
): void {
  if (Number.isSafeInteger(value) && isWithin(value, least, most)) return;
  const rule = most === Number.MAX_SAFE_INTEGER
    ? `a whole number of ${least} or more`
    : `a whole number from ${least} to ${most}`;
  throw wrongNumber(action, name, rule, value);
}

/** Throws unless it is a whole number of `least` or more, or Infinity. */
export function checkLimit(
  action: string,
  name: string,
  value: unknown,
  least: number,
): void {
  const isWhole = value === Infinity || Number.isInteger(value);
  if (isWhole && isWithin(value, least, Infinity)) return;
  const rule = `a whole number of ${least} or more, or Infinity`;
  throw wrongNumber(action, name, rule, value);
}

function isWithin(value: unknown, least: number, most: number): boolean {
  return typeof value === "number" && value >= least && value <= most;
}

/** Throws unless it is a number of `least` or more; Infinity is one. */
export function checkAtLeast(
  action: string,
  name: string,
  value: unknown,
  least: number,
): void {
  if (isWithin(value, least, Infinity)) return;
  throw wrongNumber(action, name, `${least} or more`, value);
}

/** Throws unless it is a finite number from `least` to `most`. */
export function checkRange(
  action: string,
  name: string,
  value: unknown,
  least: number,
  most: number,
): void {
  if (Number.isFinite(value) && isWithin(value, least, most)) return;
  const rule = most === Infinity
    ? `a finite number of ${least} or more`
    : `from ${least} to ${most}`;
  throw wrongNumber(action, name, rule, value);
}

/** Throws unless it is a string. */
export function checkString(
  action: string,
  name: string,
  value: unknown,
): void {
  if (typeof value === "string") return;
  throw wrongType(action, `${name} must be a string`, value);
}

/** Throws unless it is a boolean. */
export function checkBoolean(
  action: string,
  name: string,
  value: unknown,
): void {
  if (typeof value === "boolean") return;
  throw wrongType(action, `${name} must be a boolean`, value);
}

/** Throws unless it is one of the words. */
export function checkWord(
  action: string,
  name: string,
  value: unknown,
  words: readonly string[],
): void {
  if (words.includes(value as string)) return;
  const list = words.map((word) => `"${word}"`).join(", ");
  const rule = list.replace(/, (?=[^,]*$)/, " or ");
  throw wrongType(action, `${name} must be ${rule}`, value);
}

/** Throws unless it says what the failure of one of many means. */
export function checkErrorPolicy(action: string, value: unknown): void {
  checkWord(action, "onError", value, ["collect", "abort", "ignore"]);
}

/** Throws unless it is a function. */
export function checkFunction(
  action: string,
  name: string,
  value: unknown,
): void {
  if (typeof value === "function") return;
  throw wrongType(action, `${name} must be a function`, value);
}

/** Throws unless each of them, by its name, is a function or left out. */
export function checkCallbacks(
  action: string,
  callbacks: Readonly<Record<string, unknown>>,
): void {
  for (const [name, callback] of Object.entries(callbacks)) {
    if (callback !== undefined) checkFunction(action, name, callback);
  }
}

/** By its shape: edge runtimes have classes of their own. */
export function isSignal(value: unknown): value is AbortSignal {
  const { aborted, addEventListener } = (value ?? {}) as Partial<AbortSignal>;
  return typeof aborted === "boolean" && typeof addEventListener === "function";
}

/** Throws unless it is an `AbortSignal`, or left out. */
export function checkAbortSignal(action: string, value: unknown): void {
  if (value === undefined || isSignal(value)) return;
  throw wrongType(action, "signal must be an AbortSignal", value);
}

/** Throws unless it is an object. */
export function checkObject(
  action: string,
  name: string,
  value: unknown,
): void {
  if (typeof value === "object" && value !== null) return;
  throw wrongType(action, `${name} must be an object`, value);
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
    const meant = hint(option, Object.keys(known));
    throw new TypeError(
      `Cannot ${action}: ${name} must have known names, received "${option}" ${meant}`,
    );
  }
}

/** Options where all is said; those that may be left out for good are named. */
export type Complete<Options, Bare extends keyof Options = never> = {
  readonly [Name in keyof Options]-?: Name extends Bare
    ? Options[Name] | undefined
    : Exclude<Options[Name], undefined>;
};

/** The options, after {@linkcode checkOptions}, with the defaults for what is left out. */
export function withDefaults<
  Options extends object,
  Bare extends keyof Options,
>(
  action: string,
  options: Options,
  defaults: Complete<Options, Bare>,
): Complete<Options, Bare> {
  const names = Object.keys(defaults) as (keyof Options)[];
  const known = Object.fromEntries(names.map((name) => [name, true]));
  checkOptions(action, options, known as Names<Options>);
  const given = names.filter((name) => options[name] !== undefined);
  return {
    ...defaults,
    ...Object.fromEntries(given.map((name) => [name, options[name]])),
  };
}

/** Whether it was made by no class, of this realm or another. */
export function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null ||
    (Object.getPrototypeOf(prototype) === null &&
      Object.hasOwn(prototype, "isPrototypeOf"));
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

/** Throws if something is not as the code itself has to see to it that it is. */
export function expect(holds: boolean, invariant: string): void {
  if (!holds) throw new Error(`Invariant broken: ${invariant}`);
}
