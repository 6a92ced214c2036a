/**
 * How an item becomes bytes and bytes an item again, for whatever keeps bytes: the
 * memory that threads share, and engines.
 *
 * @module
 */

import {
  checkBoolean,
  checkCallbacks,
  checkFunction,
  checkOptions,
  wrongType,
} from "./checks.ts";
import { refusePromise } from "./callbacks.ts";
import { checkJsonItem, isLossy, type JsonOptions } from "./json_item.ts";

/**
 * Turns items into bytes and back. All handles of a queue must use the same one.
 *
 * What it throws while an item is put is what the put throws, and nothing is stored.
 * What it throws while one is taken is what that get of a `SharedQueue` throws, whose
 * record stays with the handle and is the first that its next get tries again; on an
 * engine it is a failed delivery, in the end a dead letter.
 *
 * It may use the queue it belongs to, as nothing is locked while it runs.
 *
 * @example Two numbers in eight bytes, for threads and engines
 * ```ts
 * import { type Codec, SharedQueue } from "@highwater/queue/threads";
 * import { assertEquals } from "@std/assert";
 *
 * const point: Codec<[number, number]> = {
 *   encode: (item) => new Uint8Array(Float32Array.from(item).buffer),
 *   decode: (bytes) => {
 *     const [x, y] = new Float32Array(bytes.slice().buffer);
 *     return [x!, y!];
 *   },
 * };
 * const queue = new SharedQueue<[number, number]>({ bytes: 1024, codec: point });
 * await queue.put([1, 2.5]);
 * assertEquals(await queue.get(), [1, 2.5]);
 * queue.detach();
 * ```
 */
export interface Codec<T> {
  /**
   * The bytes of the item; a string goes as UTF-8. An engine sends them later, so
   * they must stay as they are.
   */
  encode(item: T): Uint8Array | string;
  /**
   * Makes the item of its bytes, which are valid during this call only: who keeps
   * some of them copies them. They may be part of a larger buffer.
   */
  decode(bytes: Uint8Array): T;
  /**
   * A faster road into memory that is there, which a `SharedQueue` takes instead of
   * `encode`. Writes the item to the start of `target` and returns how many bytes it
   * takes, or may take. When that is more than `target.length`, what was written does
   * not count, and it is called again with that much room, or all that an item may have.
   *
   * The bytes may be others than those of `encode`; `decode` makes the same item of both.
   * Default: what `encode` gives is copied.
   */
  encodeInto?(item: T, target: Uint8Array): number;
}

/** The first byte of a number as it is, which begins no JSON. */
export const NUMBER = 1;
/** What stands for `undefined`, and is no JSON. */
const UNDEFINED = "undefined";
/** Its first byte, with which no JSON begins. */
export const UNDEFINED_BEGIN = 0x75;
const NUMBER_LENGTH = 9;
/** Up to here a loop beats the call into the runtime. */
const SHORT_TEXT = 64;

const encoder = /* @__PURE__ */ new TextEncoder();
const decoder = /* @__PURE__ */ new TextDecoder("utf-8", { ignoreBOM: true });
const strictDecoder = /* @__PURE__ */ new TextDecoder("utf-8", {
  fatal: true,
  ignoreBOM: true,
});

/**
 * Anything that JSON carries as it is, and `undefined`, by that word; the default of
 * every queue that needs a codec. What would arrive as something else is refused with
 * a `TypeError` that names it (`item.tags`): a `Date`, a `Map`, bytes, `NaN`, what is made
 * by a class, functions, a circle, a bigint, `undefined` in arrays. Parts that are
 * `undefined` are left out, and -0 within an item is 0, as JSON has it.
 *
 * With `lossy`, what arrives is what `JSON.parse(JSON.stringify(item))` makes, and only a
 * function, a symbol and what `JSON.stringify` refuses is a `TypeError`. `structured()`
 * carries all of it.
 *
 * On engines it is text, which others can read; between threads finite numbers travel as
 * they are, in nine bytes.
 *
 * @example What JSON does not say
 * ```ts
 * import { json, SharedQueue } from "@highwater/queue/threads";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const strict = new SharedQueue<unknown>({ bytes: 1024, codec: json() });
 * await assertRejects(() => strict.put({ when: new Date(0) }), TypeError, "item.when");
 * strict.detach();
 *
 * const codec = json({ lossy: true });
 * const queue = new SharedQueue<unknown>({ bytes: 1024, codec });
 * await queue.put({ when: new Date(0) });
 * assertEquals(await queue.get(), { when: "1970-01-01T00:00:00.000Z" });
 * await assertRejects(() => queue.put(() => {}), TypeError);
 * queue.detach();
 * ```
 */
export function json<T>(options: JsonOptions = {}): Codec<T> {
  checkOptions("make the codec", options, { lossy: true });
  return new JsonCodec<T>(isLossy(options));
}

/** The codec whose items are said in JSON. */
export class JsonCodec<T> implements Codec<T> {
  readonly #number: Float64Array = new Float64Array(1);
  readonly #numberBytes: Uint8Array = new Uint8Array(this.#number.buffer);
  readonly #isLossy: boolean;

  constructor(isLossy: boolean) {
    this.#isLossy = isLossy;
  }

  encode(item: T): string {
    return Object.is(item, -0) ? "-0" : this.#textOf(item);
  }

  encodeInto(item: T, target: Uint8Array): number {
    if (typeof item === "number" && Number.isFinite(item)) {
      return this.#encodeNumber(item, target);
    }
    const text = this.#textOf(item);
    return text.length <= SHORT_TEXT && text.length <= target.length
      ? encodeShort(text, target)
      : encodeText(text, target);
  }

  decode(bytes: Uint8Array): T {
    if (bytes[0] === NUMBER && bytes.length === NUMBER_LENGTH) {
      return this.#decodeNumber(bytes) as T;
    }
    const text = textFrom(bytes);
    return text === UNDEFINED ? undefined as T : JSON.parse(text) as T;
  }

  /** A circle is found by JSON, and so must not be looked for before. */
  #textOf(item: T): string {
    const text = JSON.stringify(item) as string | undefined;
    if (text === undefined) {
      if (item === undefined) return UNDEFINED;
      throw wrongType(
        "encode",
        "item must be a value that JSON can hold",
        item,
      );
    }
    if (!this.#isLossy) checkJsonItem(item);
    return text;
  }

  #encodeNumber(item: number, target: Uint8Array): number {
    if (target.length < NUMBER_LENGTH) return NUMBER_LENGTH;
    this.#number[0] = item;
    const number = this.#numberBytes;
    target[0] = NUMBER;
    for (let at = 0; at < 8; at++) target[at + 1] = number[at]!;
    return NUMBER_LENGTH;
  }

  #decodeNumber(bytes: Uint8Array): number {
    const number = this.#numberBytes;
    for (let at = 0; at < 8; at++) number[at] = bytes[at + 1]!;
    return this.#number[0]!;
  }
}

/** The text of bytes of UTF-8; throws for others. On Deno a strict decoder takes three times as long. */
export function textFrom(bytes: Uint8Array): string {
  const text = decoder.decode(bytes);
  return text.includes("\ufffd") ? strictDecoder.decode(bytes) : text;
}

function encodeShort(text: string, target: Uint8Array): number {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code > 127) return encodeText(text, target);
    target[at] = code;
  }
  return text.length;
}

function encodeText(text: string, target: Uint8Array): number {
  const { read, written } = encoder.encodeInto(text, target);
  if (read === text.length) return written;
  // A unit of UTF-16 is at most three bytes of UTF-8.
  return target.length + (text.length - read) * 3;
}

/** Options of {@linkcode bytes}. */
export interface BytesOptions {
  /**
   * What one `getMany` of a `SharedQueue` returns lies in one `ArrayBuffer`, which is a
   * third of the work for small arrays or less: on V8 a buffer each costs more than all
   * else. Who transfers one transfers all of them, and who keeps one keeps them; take a
   * `slice()` for that. On engines each has its own. Default: false.
   */
  pooled?: boolean | undefined;
}

/**
 * Byte arrays as they are. What is put is copied at once, what arrives is a `Uint8Array`
 * of its own, unless `pooled`. Anything else is refused with a `TypeError`.
 *
 * @example A copy, not the array itself
 * ```ts
 * import { bytes, SharedQueue } from "@highwater/queue/threads";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new SharedQueue({ bytes: 1024, codec: bytes() });
 * const chunk = new Uint8Array([1, 2, 3]);
 * await queue.put(chunk);
 * chunk.fill(0); // is yours again at once
 * assertEquals(await queue.get(), new Uint8Array([1, 2, 3]));
 * queue.detach();
 * ```
 */
export function bytes(options: BytesOptions = {}): Codec<Uint8Array> {
  const action = "make the codec";
  checkOptions(action, options, { pooled: true });
  const { pooled = false } = options;
  checkBoolean(action, "pooled", pooled);
  return new BytesCodec(pooled);
}

/** The codec whose items are bytes. */
export class BytesCodec implements Codec<Uint8Array> {
  /** Whether many at once may share a buffer. */
  readonly pooled: boolean;

  constructor(pooled: boolean) {
    this.pooled = pooled;
  }

  encode(item: Uint8Array): Uint8Array {
    return new Uint8Array(checkBytesItem(item));
  }

  decode(bytes: Uint8Array): Uint8Array {
    return new Uint8Array(bytes);
  }

  encodeInto(item: Uint8Array, target: Uint8Array): number {
    const { length } = checkBytesItem(item);
    if (length <= target.length) target.set(item);
    return length;
  }
}

/** Throws unless the item is a `Uint8Array`. */
export function checkBytesItem(item: unknown): Uint8Array {
  if (item instanceof Uint8Array) return item;
  throw wrongType("encode", "item must be a Uint8Array", item);
}

/** The bytes of the item, or what is wrong with what the codec gave. */
export function payloadOf<T>(codec: Codec<T>, item: T): Uint8Array {
  const encoded: unknown = codec.encode(item);
  if (typeof encoded === "string") return encoder.encode(encoded);
  if (encoded instanceof Uint8Array) return encoded;
  const name = "codec.encode(item)";
  refusePromise("put", name, encoded);
  throw wrongType("put", `${name} must be a Uint8Array or a string`, encoded);
}

/** Throws a `TypeError` unless it can write and read. */
export function checkCodec(action: string, codec: unknown): void {
  const given = codec as Partial<Codec<unknown>> | null | undefined;
  checkFunction(action, "codec.encode", given?.encode);
  checkFunction(action, "codec.decode", given?.decode);
  checkCallbacks(action, { "codec.encodeInto": given?.encodeInto });
}
