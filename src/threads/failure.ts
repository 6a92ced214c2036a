/**
 * Reasons on their way to another thread. A structured clone forgets the name
 * and the class of most errors, and of some runtimes also the stack and the
 * cause; this does not.
 *
 * @module
 */

import {
  fieldsOf,
  QueueClosedError,
  QueueFullError,
  textOf,
} from "../errors.ts";

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
    /** What else it has of its own, as far as it can be cloned. */
    readonly fields: readonly PackedField[] | undefined;
    readonly isDOMException: boolean;
  };

type PackedField = readonly [name: string, value: PackedReason];

/** How many causes of causes cross; a chain may be a circle. */
const MAX_DEPTH = 8;

const CLASSES: ReadonlyMap<string, new (message: string) => Error> = new Map<
  string,
  new (message: string) => Error
>([
  ["EvalError", EvalError],
  ["QueueClosedError", QueueClosedError],
  ["QueueFullError", QueueFullError],
  ["RangeError", RangeError],
  ["ReferenceError", ReferenceError],
  ["SyntaxError", SyntaxError],
  ["TypeError", TypeError],
  ["URIError", URIError],
]);

/** Makes it ready to be sent. What cannot be cloned goes as its text. */
export function packReason(reason: unknown, depth = 0): PackedReason {
  if (!isError(reason)) return { kind: "value", value: cloneable(reason) };
  const code = property(reason, "code");
  const cause = property(reason, "cause");
  const list = property(reason, "errors");
  const errors = attempt(() => Array.isArray(list) ? [...list] : undefined);
  const stack = property(reason, "stack");
  const fields = packFields(reason, depth);
  const goesDeeper = depth < MAX_DEPTH;
  return {
    kind: "error",
    name: textOf(property(reason, "name")),
    message: textOf(property(reason, "message")),
    stack: stack === undefined ? undefined : textOf(stack),
    code: typeof code === "string" || typeof code === "number"
      ? code
      : undefined,
    cause: goesDeeper && attempt(() => "cause" in reason)
      ? packReason(cause, depth + 1)
      : undefined,
    errors: goesDeeper
      ? errors?.map((error) => packReason(error, depth + 1))
      : undefined,
    fields: fields.length === 0 ? undefined : fields,
    isDOMException: isDOMException(reason),
  };
}

/** Makes of it what it was: an error of the same class where that is one of the platform's or of this library's. */
export function unpackReason(packed: PackedReason): unknown {
  if (packed.kind === "value") return packed.value;
  const { name, message, stack, code, cause, errors, fields } = packed;
  const error = packed.isDOMException
    ? new DOMException(message, name)
    : errors !== undefined
    ? new AggregateError(errors.map(unpackReason), message)
    : new (CLASSES.get(name) ?? Error)(message);
  if (error.name !== name) define(error, "name", name);
  if (stack !== undefined) define(error, "stack", stack);
  if (cause !== undefined) define(error, "cause", unpackReason(cause));
  if (code !== undefined && !packed.isDOMException) define(error, "code", code);
  for (const [name, value] of fields ?? []) {
    define(error, name, unpackReason(value), true);
  }
  return error;
}

/** Whether it is one, whoever sent it. */
export function isPackedReason(
  value: unknown,
  depth = 0,
): value is PackedReason {
  const packed = value as Partial<PackedReason & { kind: "error" }> | null;
  if (typeof packed !== "object" || packed === null) return false;
  if (packed.kind as string === "value") return "value" in packed;
  if (packed.kind !== "error" || depth > MAX_DEPTH + 1) return false;
  const { name, message, stack, code, cause, errors, fields } = packed;
  const isPackedBelow = (value: unknown): boolean =>
    isPackedReason(value, depth + 1);
  return typeof name === "string" && typeof message === "string" &&
    (stack === undefined || typeof stack === "string") &&
    (code === undefined || typeof code === "string" ||
      typeof code === "number") &&
    (cause === undefined || isPackedBelow(cause)) &&
    (errors === undefined ||
      isDense(errors) && errors.every(isPackedBelow)) &&
    (fields === undefined ||
      isDense(fields) &&
        fields.every((field) =>
          Array.isArray(field) && typeof field[0] === "string" &&
          isPackedBelow(field[1])
        )) &&
    typeof packed.isDOMException === "boolean";
}

/** Without holes: looking for what is in none of billions takes its time. */
function isDense(list: unknown): list is unknown[] {
  return Array.isArray(list) && Object.keys(list).length === list.length;
}

function packFields(error: Error, depth: number): PackedField[] {
  return fieldsOf(error).flatMap(([name, value]): PackedField[] => {
    if (isError(value)) {
      return depth < MAX_DEPTH ? [[name, packReason(value, depth + 1)]] : [];
    }
    try {
      return [[name, { kind: "value", value: structuredClone(value) }]];
    } catch {
      return [];
    }
  });
}

function property(error: Error, name: string): unknown {
  return attempt(() => (error as unknown as Record<string, unknown>)[name]);
}

function isError(reason: unknown): reason is Error {
  return attempt(() => reason instanceof Error || isDOMException(reason)) ??
    false;
}

function isDOMException(reason: unknown): reason is DOMException {
  return typeof DOMException === "function" && reason instanceof DOMException;
}

/** What is told about an error must not depend on what its getters and traps throw. */
function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

function cloneable(value: unknown): unknown {
  try {
    return structuredClone(value);
  } catch {
    return textOf(value);
  }
}

function define(
  error: Error,
  name: string,
  value: unknown,
  enumerable = false,
): void {
  Object.defineProperty(error, name, {
    value,
    configurable: true,
    writable: true,
    enumerable,
  });
}
