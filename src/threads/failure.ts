/**
 * Reasons on their way to another thread. A structured clone forgets the name
 * and the class of most errors, and of some runtimes also the stack and the
 * cause; this does not.
 *
 * @module
 */

import { QueueClosedError, QueueFullError } from "../errors.ts";

/** A reason as any port can carry it. */
export type PackedReason =
  | { readonly kind: "value"; readonly value: unknown }
  | {
    readonly kind: "error";
    readonly name: string;
    readonly message: string;
    readonly stack: string | undefined;
    readonly code: string | number | undefined;
    readonly cause: PackedReason | undefined;
    readonly errors: readonly PackedReason[] | undefined;
    readonly isDOMException: boolean;
  };

/** How many causes of causes cross; a chain may be a circle. */
const MAX_DEPTH = 8;

const CLASSES: Readonly<Record<string, new (message: string) => Error>> = {
  EvalError,
  QueueClosedError,
  QueueFullError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
};

/** Makes it ready to be sent. What cannot be cloned goes as its text. */
export function packReason(reason: unknown, depth = 0): PackedReason {
  if (!isError(reason)) return { kind: "value", value: cloneable(reason) };
  const code = property(reason, "code");
  const cause = property(reason, "cause");
  const errors = property(reason, "errors");
  const stack = property(reason, "stack");
  const goesDeeper = depth < MAX_DEPTH;
  return {
    kind: "error",
    name: describe(property(reason, "name")),
    message: describe(property(reason, "message")),
    stack: stack === undefined ? undefined : describe(stack),
    code: typeof code === "string" || typeof code === "number"
      ? code
      : undefined,
    cause: goesDeeper && "cause" in reason
      ? packReason(cause, depth + 1)
      : undefined,
    errors: goesDeeper && Array.isArray(errors)
      ? errors.map((error) => packReason(error, depth + 1))
      : undefined,
    isDOMException: isDOMException(reason),
  };
}

/** Makes of it what it was: an error of the same class where that is one of the platform's or of this library's. */
export function unpackReason(packed: PackedReason): unknown {
  if (packed.kind === "value") return packed.value;
  const { name, message, stack, code, cause, errors } = packed;
  const error = packed.isDOMException
    ? new DOMException(message, name)
    : errors !== undefined
    ? new AggregateError(errors.map(unpackReason), message)
    : new (CLASSES[name] ?? Error)(message);
  if (error.name !== name) define(error, "name", name);
  if (stack !== undefined) define(error, "stack", stack);
  if (cause !== undefined) define(error, "cause", unpackReason(cause));
  if (code !== undefined && !packed.isDOMException) define(error, "code", code);
  return error;
}

/** What is told about it must not depend on what its getters throw. */
function property(error: Error, name: string): unknown {
  try {
    return (error as unknown as Record<string, unknown>)[name];
  } catch {
    return undefined;
  }
}

function isError(reason: unknown): reason is Error {
  return reason instanceof Error || isDOMException(reason);
}

function isDOMException(reason: unknown): reason is DOMException {
  return typeof DOMException === "function" && reason instanceof DOMException;
}

function cloneable(value: unknown): unknown {
  try {
    return structuredClone(value);
  } catch {
    return describe(value);
  }
}

function describe(value: unknown): string {
  try {
    return String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}

function define(error: Error, name: string, value: unknown): void {
  Object.defineProperty(error, name, {
    value,
    configurable: true,
    writable: true,
  });
}
