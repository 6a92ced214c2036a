/**
 * What a queue throws, and how it words it:
 * "Cannot <do this>: <rule>, received <value>".
 *
 * @module
 */

/** What an error about a queue may carry beside its message. */
export interface QueueErrorOptions<T> {
  /** The item that was not taken over. Left out when the call had none. */
  item?: T;
  /** The reason given to `fail()`, when there was one. */
  cause?: unknown;
}

/**
 * The queue takes no more items, or has none left to give and never will.
 *
 * On a refused put, {@linkcode QueueClosedError.item} is the item, so nothing
 * is lost with the error. When the queue was ended by `fail(reason)`, `cause`
 * is that reason.
 *
 * @example An item that came too late
 * ```ts
 * import { Queue, QueueClosedError } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new Queue<string>();
 * queue.close();
 * try {
 *   await queue.put("late");
 * } catch (error) {
 *   if (!(error instanceof QueueClosedError)) throw error;
 *   assertEquals(error.item, "late");
 * }
 * ```
 */
export class QueueClosedError<T = unknown> extends Error {
  /** The item that was not taken over; absent when the call had none. */
  declare readonly item?: T;

  /** Makes the error; queues do this for you. */
  constructor(message: string, options: QueueErrorOptions<T> = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.name = "QueueClosedError";
    if ("item" in options) carryItem(this, options.item);
  }
}

/**
 * A queue made with `overflow: "reject"` was full. The item is in
 * {@linkcode QueueFullError.item}.
 *
 * @example Refusing instead of waiting
 * ```ts
 * import { Queue, QueueFullError } from "@highwater/queue";
 * import { assertRejects } from "@std/assert";
 *
 * const queue = new Queue<number>({ highWaterMark: 1, overflow: "reject" });
 * await queue.put(1);
 * const error = await assertRejects(() => queue.put(2), QueueFullError);
 * if (error.item !== 2) throw new Error("the item travels with the error");
 * ```
 */
export class QueueFullError<T = unknown> extends Error {
  /** The item that was not taken over. */
  declare readonly item?: T;

  /** Makes the error; queues do this for you. */
  constructor(message: string, options: QueueErrorOptions<T> = {}) {
    super(message);
    this.name = "QueueFullError";
    if ("item" in options) carryItem(this, options.item);
  }
}

/**
 * A subscriber read so slowly that it was let go, so that the others need not
 * wait for it.
 *
 * @example Who falls behind is let go
 * ```ts
 * import { Broadcast, LaggedError } from "@highwater/queue";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const news = new Broadcast<string>();
 * const slow = news.subscribe({ overflow: "evict", highWaterMark: 2 }).getReader();
 * for (const item of ["a", "b", "c"]) await news.put(item);
 * const error = await assertRejects(() => slow.read(), LaggedError);
 * assertEquals(error.missed, 3); // "c" came while "a" and "b" were still unread
 * ```
 */
export class LaggedError extends Error {
  /** How many items it had not read: those that were waiting for it, and the one that was too much. */
  readonly missed: number;

  /** Makes the error; `tee` and `Broadcast` do this for you. */
  constructor(message: string, options: { missed: number }) {
    super(message);
    this.name = "LaggedError";
    this.missed = options.missed;
  }
}

/** What something ends with: the reason, or an `AbortError` where nobody gave one. */
export function reasonOr(reason: unknown, message: string): unknown {
  return reason === undefined
    ? new DOMException(message, "AbortError")
    : reason;
}

/** Not enumerable, so that printing the error does not print a huge item. */
export function carryItem<E extends object>(error: E, item: unknown): E {
  return Object.defineProperty(error, "item", {
    value: item,
    configurable: true,
  });
}

/** How a value reads at the end of an error message. */
export function received(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function") return `function ${value.name}`.trim();
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value)) return "an array";
  const maker = (value as { constructor?: { name?: string } }).constructor;
  return `an object of ${maker?.name || "no class"}`;
}

/** Many errors as one, whose message tells the first: what is printed often ends there. */
export function allOf(errors: unknown[], message: string): AggregateError {
  const [first] = errors;
  const told = first instanceof Error
    ? `${first.name}: ${first.message}`
    : received(first);
  return new AggregateError(errors, `${message}, the first with ${told}`);
}

/** What an error has beside its own fields. */
const KNOWN: ReadonlySet<string> = new Set([
  "name",
  "message",
  "stack",
  "cause",
  "errors",
]);

/** What somebody has hung on an error: `status`, `errno`, `code`. What throws when it is looked at is left out. */
export function fieldsOf(error: object): [name: string, value: unknown][] {
  const fields: [string, unknown][] = [];
  try {
    for (const name of Object.keys(error)) {
      if (!KNOWN.has(name)) addField(fields, error, name);
    }
  } catch {
    // It does not want to be looked at.
  }
  return fields;
}

function addField(
  fields: [string, unknown][],
  error: object,
  name: string,
): void {
  try {
    fields.push([name, (error as Record<string, unknown>)[name]]);
  } catch {
    // The others may be seen.
  }
}

/** The words for a value, whatever it does about it. */
export function textOf(value: unknown): string {
  try {
    return String(value);
  } catch {
    try {
      return Object.prototype.toString.call(value);
    } catch {
      return "a value that cannot be looked at";
    }
  }
}

/** An error in words, with its fields, for where only text can be kept. */
export function wordsFor(error: unknown): string {
  try {
    if (!(error instanceof Error)) return textOf(error);
    const { name, message } = error;
    return `${name}: ${message}${fieldsInWords(error)}`;
  } catch {
    return textOf(error);
  }
}

function fieldsInWords(error: Error): string {
  const texts = fieldsOf(error).flatMap(([name, value]) => {
    const text = jsonOf(value);
    return text === undefined ? [] : [`${JSON.stringify(name)}:${text}`];
  });
  return texts.length === 0 ? "" : ` {${texts.join(",")}}`;
}

function jsonOf(value: unknown): string | undefined {
  try {
    return typeof value === "bigint" ? `"${value}"` : JSON.stringify(value);
  } catch {
    return undefined;
  }
}
