/**
 * A stand-in for the part of `@std/assert` that the tests use, for machines
 * that cannot reach JSR. Written for this project.
 *
 * @module
 */

// deno-lint-ignore no-explicit-any
type Class<T> = abstract new (...values: any[]) => T;

/** What a failed assertion throws. */
class AssertionError extends Error {
  override readonly name: string = "AssertionError";
}

/** Fails, always. */
export function fail(message?: string): never {
  throw new AssertionError(`Failed assertion${suffix(message, ": ", "")}`);
}

/** Fails unless `condition` is truthy. */
export function assert(
  condition: unknown,
  message: string = "",
): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Fails unless both are deeply equal. */
export function assertEquals<T>(
  actual: T,
  expected: T,
  message?: string,
): void {
  if (equal(actual, expected)) return;
  throw new AssertionError(
    `Values are not equal${suffix(message)}\n` +
      `  actual:   ${show(actual)}\n  expected: ${show(expected)}`,
  );
}

/** Fails unless both are the same value, by `Object.is`. */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  message?: string,
): asserts actual is T {
  if (Object.is(actual, expected)) return;
  throw new AssertionError(
    `Values are not the same${suffix(message)}\n` +
      `  actual:   ${show(actual)}\n  expected: ${show(expected)}`,
  );
}

/** Fails if both are the same value, by `Object.is`. */
export function assertNotStrictEquals<T>(
  actual: T,
  expected: T,
  message?: string,
): void {
  if (!Object.is(actual, expected)) return;
  throw new AssertionError(
    `Values are the same${suffix(message)}\n  both: ${show(actual)}`,
  );
}

/** Fails unless `actual` is an instance of `type`. */
export function assertInstanceOf<T>(
  actual: unknown,
  type: Class<T>,
  message?: string,
): asserts actual is T {
  if (actual instanceof type) return;
  throw new AssertionError(
    `Value is not an instance of ${type.name}${suffix(message)}\n` +
      `  actual: ${show(actual)}`,
  );
}

/** Fails unless `actual > expected`. */
export function assertGreater<T>(
  actual: T,
  expected: T,
  message?: string,
): void {
  if (actual > expected) return;
  throw compared(actual, ">", expected, message);
}

/** Fails unless `actual >= expected`. */
export function assertGreaterOrEqual<T>(
  actual: T,
  expected: T,
  message?: string,
): void {
  if (actual >= expected) return;
  throw compared(actual, ">=", expected, message);
}

/** Fails unless `actual < expected`. */
export function assertLess<T>(
  actual: T,
  expected: T,
  message?: string,
): void {
  if (actual < expected) return;
  throw compared(actual, "<", expected, message);
}

/** Fails unless `actual` matches `expected`. */
export function assertMatch(
  actual: string,
  expected: RegExp,
  message?: string,
): void {
  if (expected.test(actual)) return;
  throw new AssertionError(
    `Text does not match ${expected}${suffix(message)}\n` +
      `  actual: ${show(actual)}`,
  );
}

/** Fails unless `actual` contains `expected`. */
export function assertStringIncludes(
  actual: string,
  expected: string,
  message?: string,
): void {
  if (actual.includes(expected)) return;
  throw new AssertionError(
    `Text does not include ${show(expected)}${suffix(message)}\n` +
      `  actual: ${show(actual)}`,
  );
}

/** Fails unless `fn` throws; returns what it threw. */
export function assertThrows(fn: () => unknown, message?: string): unknown;
/** Fails unless `fn` throws such an error; returns it. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  type: Class<E>,
  includes?: string,
  message?: string,
): E;
export function assertThrows(
  fn: () => unknown,
  typeOrMessage?: Class<Error> | string,
  includes?: string,
  message?: string,
): unknown {
  try {
    fn();
  } catch (error) {
    return checkError(error, typeOrMessage, includes, message);
  }
  throw nothingFailed("function to throw", typeOrMessage, message);
}

/** Fails unless `fn` rejects; resolves to what it rejected with. */
export function assertRejects(
  fn: () => PromiseLike<unknown>,
  message?: string,
): Promise<unknown>;
/** Fails unless `fn` rejects with such an error; resolves to it. */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  type: Class<E>,
  includes?: string,
  message?: string,
): Promise<E>;
export async function assertRejects(
  fn: () => PromiseLike<unknown>,
  typeOrMessage?: Class<Error> | string,
  includes?: string,
  message?: string,
): Promise<unknown> {
  let promise: PromiseLike<unknown>;
  try {
    promise = fn();
  } catch (error) {
    throw new AssertionError(
      "Expected the function to reject, but it threw synchronously: " +
        show(error),
    );
  }
  try {
    await promise;
  } catch (error) {
    return checkError(error, typeOrMessage, includes, message);
  }
  throw nothingFailed("function to reject", typeOrMessage, message);
}

function checkError(
  error: unknown,
  typeOrMessage: Class<Error> | string | undefined,
  includes: string | undefined,
  message: string | undefined,
): unknown {
  if (typeof typeOrMessage !== "function") return error;
  if (!(error instanceof Error)) {
    throw new AssertionError(
      `Expected an Error${suffix(message)}\n  actual: ${show(error)}`,
    );
  }
  if (!(error instanceof typeOrMessage)) {
    throw new AssertionError(
      `Expected an error of class ${typeOrMessage.name}${suffix(message)}\n` +
        `  actual: ${show(error)}`,
    );
  }
  if (includes !== undefined && !error.message.includes(includes)) {
    throw new AssertionError(
      `Expected an error message with ${show(includes)}${suffix(message)}\n` +
        `  actual: ${show(error.message)}`,
    );
  }
  return error;
}

function nothingFailed(
  what: string,
  typeOrMessage: Class<Error> | string | undefined,
  message: string | undefined,
): AssertionError {
  const said = typeof typeOrMessage === "string" ? typeOrMessage : message;
  return new AssertionError(`Expected the ${what}${suffix(said)}`);
}

function compared(
  actual: unknown,
  sign: string,
  expected: unknown,
  message: string | undefined,
): AssertionError {
  return new AssertionError(
    `Expected ${show(actual)} ${sign} ${show(expected)}${suffix(message)}`,
  );
}

function suffix(
  message: string | undefined,
  before: string = ": ",
  otherwise: string = "",
): string {
  return message ? before + message : otherwise;
}

function show(value: unknown): string {
  const seen = new Set<unknown>();
  try {
    return describe(value, seen);
  } catch {
    return Object.prototype.toString.call(value);
  }
}

function describe(value: unknown, seen: Set<unknown>): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return `[function ${value.name}]`;
  if (typeof value !== "object" || value === null) {
    return Object.is(value, -0) ? "-0" : String(value);
  }
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (seen.has(value)) return "[circular]";
  seen.add(value);
  const parts = describeParts(value, seen);
  seen.delete(value);
  return parts;
}

function describeParts(value: object, seen: Set<unknown>): string {
  if (Array.isArray(value)) {
    return `[${
      value.map(function (item) {
        return describe(item, seen);
      }).join(", ")
    }]`;
  }
  if (value instanceof Map || value instanceof Set) {
    return `${value.constructor.name} ${describe([...value], seen)}`;
  }
  const fields = Reflect.ownKeys(value).map(function (key) {
    const field = (value as Record<PropertyKey, unknown>)[key];
    return `${String(key)}: ${describe(field, seen)}`;
  });
  const name = nameOfClass(value);
  return `${name === "Object" ? "" : name + " "}{ ${fields.join(", ")} }`;
}

function nameOfClass(value: object): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === null) return "[no prototype]";
  return value.constructor?.name ?? "Object";
}

function equal(
  left: unknown,
  right: unknown,
  seen: Map<unknown, unknown> = new Map(),
): boolean {
  if (Object.is(left, right)) return true;
  if (
    typeof left !== "object" || typeof right !== "object" ||
    left === null || right === null
  ) {
    return false;
  }
  if (seen.get(left) === right) return true;
  seen.set(left, right);
  if (!sameClass(left, right)) return false;
  return equalByKind(left, right, seen);
}

/** A plain object of another realm, as edge-runtime has one, is plain too. */
function sameClass(left: object, right: object): boolean {
  const [one, other] = [left, right].map(function (value): object | null {
    return Object.getPrototypeOf(value);
  });
  if (one === other) return true;
  if (!one || !other) return false;
  return Object.getPrototypeOf(one) === null &&
    Object.getPrototypeOf(other) === null;
}

function equalByKind(
  left: object,
  right: object,
  seen: Map<unknown, unknown>,
): boolean {
  if (left instanceof Date && right instanceof Date) {
    return Object.is(left.getTime(), right.getTime());
  }
  if (left instanceof RegExp || left instanceof URL) {
    return String(left) === String(right);
  }
  if (
    left instanceof Promise || left instanceof WeakMap ||
    left instanceof WeakSet || left instanceof WeakRef
  ) {
    return false;
  }
  if (left instanceof Error && right instanceof Error) {
    if (left.name !== right.name || left.message !== right.message) {
      return false;
    }
  }
  if (left instanceof Map && right instanceof Map) {
    return equalMembers([...left], [...right], seen);
  }
  if (left instanceof Set && right instanceof Set) {
    return equalMembers([...left], [...right], seen);
  }
  if (left instanceof ArrayBuffer && right instanceof ArrayBuffer) {
    return equal(new Uint8Array(left), new Uint8Array(right), seen);
  }
  return equalFields(left, right, seen);
}

/** Compares without regard to order, as maps and sets are compared. */
function equalMembers(
  left: unknown[],
  right: unknown[],
  seen: Map<unknown, unknown>,
): boolean {
  if (left.length !== right.length) return false;
  const rest = [...right];
  return left.every(function (member) {
    const at = rest.findIndex(function (other) {
      return equal(member, other, new Map(seen));
    });
    if (at < 0) return false;
    rest.splice(at, 1);
    return true;
  });
}

function equalFields(
  left: object,
  right: object,
  seen: Map<unknown, unknown>,
): boolean {
  const skipStack = left instanceof Error;
  const leftKeys = fieldsOf(left, skipStack);
  const rightKeys = fieldsOf(right, skipStack);
  if (leftKeys.length !== rightKeys.length) return false;
  const others = new Set(rightKeys);
  return leftKeys.every(function (key) {
    return others.has(key) && equal(
      (left as Record<PropertyKey, unknown>)[key],
      (right as Record<PropertyKey, unknown>)[key],
      seen,
    );
  });
}

function fieldsOf(value: object, skipStack: boolean): PropertyKey[] {
  return Reflect.ownKeys(value).filter(function (key) {
    if (skipStack && (key === "stack" || key === "message")) return false;
    return Object.prototype.propertyIsEnumerable.call(value, key) ||
      key === "cause" || key === "errors";
  });
}
