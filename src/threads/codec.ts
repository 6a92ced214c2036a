/**
 * How an item becomes bytes and bytes an item again.
 *
 * @module
 */

import { checkOptions } from "../arguments.ts";
import { received } from "../errors.ts";
import { checkJsonItem, isLossy, type JsonOptions } from "../json_item.ts";
import { RECORD_HEADER } from "./layout.ts";
import { type Records, wordsFor } from "./record.ts";

/**
 * Turns items into bytes and back. All handles of a queue must use the same one.
 *
 * Neither function may use the queue it belongs to for anything it then relies
 * on; they are called outside the critical sections, so that it does no harm.
 *
 * @example Two numbers in eight bytes
 * ```ts
 * import { type Codec, SharedQueue } from "@highwater/queue/threads";
 * import { assertEquals } from "@std/assert";
 *
 * const point: Codec<[number, number]> = {
 *   encode([x, y], target) {
 *     if (target.length < 8) return 8; // and is called again with more room
 *     const view = new DataView(target.buffer, target.byteOffset);
 *     view.setFloat32(0, x);
 *     view.setFloat32(4, y);
 *     return 8;
 *   },
 *   decode(bytes) {
 *     const view = new DataView(bytes.buffer, bytes.byteOffset);
 *     return [view.getFloat32(0), view.getFloat32(4)];
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
   * Writes the item to the start of `target` and returns how many bytes it takes.
   * When that is more than `target.length`, what was written does not count, and
   * it is called again with at least that much room.
   *
   * What it throws is what the put throws; nothing is stored then.
   */
  encode(item: T, target: Uint8Array): number;
  /**
   * Makes the item of its bytes, which are valid during this call only.
   *
   * What it throws is what the get throws; the record stays with that handle and
   * is the first that its next get tries again.
   */
  decode(bytes: Uint8Array): T;
}

const NUMBER = 1;
const BLANK = 0x20;
const CLOSING = 0x5d;
/** What takes the place of the length of a record. */
const COMMA = /* @__PURE__ */ fourBytes("   ,");
const OPENING = /* @__PURE__ */ fourBytes("   [");
/** Up to here a loop beats the call into the runtime. */
const SHORT_TEXT = 64;

/**
 * Anything that JSON carries as it is, and `undefined`; the default. What would arrive as
 * something else is refused with a `TypeError` that names it (`item.tags`): a `Date`, a
 * `Map`, bytes, `NaN`, what is made by a class, functions, a circle, a bigint, `undefined`
 * in arrays. Parts that are `undefined` are left out. Finite numbers travel as they are, in
 * nine bytes.
 *
 * With `lossy`, what arrives is what `JSON.parse(JSON.stringify(item))` makes, and only a
 * function, a symbol and what `JSON.stringify` refuses is a `TypeError`. `structured()`
 * carries all of it.
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

/** A codec that can also read many records at once. */
export interface RunCodec<T> extends Codec<T> {
  /**
   * Adds the items of the records from word `at` on, up to so many. Returns the
   * word after them, or `at` when one has to go on record by record.
   */
  decodeRun(records: Records, at: number, most: number, items: T[]): number;
}

/** Whether it can. */
export function readsRuns<T>(codec: Codec<T>): codec is RunCodec<T> {
  return codec instanceof JsonCodec || codec instanceof PooledBytesCodec;
}

class JsonCodec<T> implements RunCodec<T> {
  readonly #encoder: TextEncoder = new TextEncoder();
  readonly #decoder: TextDecoder = new TextDecoder();
  readonly #lengths: number[] = [];
  readonly #number: Float64Array = new Float64Array(1);
  readonly #numberBytes: Uint8Array = new Uint8Array(this.#number.buffer);
  readonly #isLossy: boolean;

  constructor(isLossy: boolean) {
    this.#isLossy = isLossy;
  }

  encode(item: T, target: Uint8Array): number {
    if (typeof item === "number" && Number.isFinite(item)) {
      return this.#encodeNumber(item, target);
    }
    if (item === undefined) return 0;
    const text = JSON.stringify(item) as string | undefined;
    if (text === undefined) {
      throw new TypeError(
        `Cannot encode: the item must be something JSON can say, received ${
          received(item)
        }`,
      );
    }
    if (!this.#isLossy) checkJsonItem(item);
    return text.length <= SHORT_TEXT && text.length <= target.length
      ? this.#encodeShort(text, target)
      : this.#encodeText(text, target);
  }

  decode(bytes: Uint8Array): T {
    if (bytes.length === 0) return undefined as T;
    if (bytes[0] !== NUMBER) return JSON.parse(this.#decoder.decode(bytes));
    const number = this.#numberBytes;
    for (let at = 0; at < 8; at++) number[at] = bytes[at + 1]!;
    return this.#number[0] as T;
  }

  /** As many as are text: one parse for all of them costs a third. */
  decodeRun(records: Records, at: number, most: number, items: T[]): number {
    const lengths = this.#lengths;
    lengths.length = 0;
    let end = at;
    while (lengths.length < most) {
      const length = records.words[end]!;
      const first = records.bytes[end * 4 + RECORD_HEADER];
      if (length === 0 || first === NUMBER) break;
      lengths.push(length);
      end += wordsFor(length);
    }
    if (lengths.length < 2) return at;
    records.reserve(end + 1);
    const run = this.#parseRun(records, at, end);
    if (run === undefined) return at;
    for (const item of run) items.push(item);
    return end;
  }

  /** Reads the text of an array: what stands between the payloads becomes commas and blanks. */
  #parseRun(records: Records, at: number, end: number): T[] | undefined {
    const { words, bytes } = records;
    const lengths = this.#lengths;
    const behind = words[end]!;
    let word = at;
    for (const length of lengths) {
      words[word] = COMMA;
      const next = word + wordsFor(length);
      const blanks = word * 4 + RECORD_HEADER + length;
      for (let byte = blanks; byte < next * 4; byte++) bytes[byte] = BLANK;
      word = next;
    }
    words[at] = OPENING;
    bytes[end * 4] = CLOSING;
    try {
      const text = this.#decoder.decode(bytes.subarray(at * 4, end * 4 + 1));
      const items = JSON.parse(text) as T[];
      if (items.length === lengths.length) return items;
    } catch {
      // Which of them it is comes out one by one.
    } finally {
      words[end] = behind;
    }
    for (const length of lengths) {
      words[at] = length;
      at += wordsFor(length);
    }
    return undefined;
  }

  #encodeNumber(item: number, target: Uint8Array): number {
    if (target.length < 9) return 9;
    this.#number[0] = item;
    const number = this.#numberBytes;
    target[0] = NUMBER;
    for (let at = 0; at < 8; at++) target[at + 1] = number[at]!;
    return 9;
  }

  #encodeShort(text: string, target: Uint8Array): number {
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code > 127) return this.#encodeText(text, target);
      target[at] = code;
    }
    return text.length;
  }

  #encodeText(text: string, target: Uint8Array): number {
    const { read, written } = this.#encoder.encodeInto(text, target);
    if (read === text.length) return written;
    // A unit of UTF-16 is at most three bytes of UTF-8.
    return target.length + (text.length - read) * 3;
  }
}

/** Options of {@linkcode bytes}. */
export interface BytesOptions {
  /**
   * What one `getMany` returns lies in one `ArrayBuffer`, which is a third of the
   * work for small arrays or less: on V8 a buffer each costs more than all else.
   * Who transfers one transfers all of them, and who keeps one keeps them; take a
   * `slice()` for that. False unless told.
   */
  pooled?: boolean | undefined;
}

/**
 * Byte arrays as they are: one copy into the queue, one out of it. What arrives
 * is a `Uint8Array` of its own, unless `pooled`. Anything else is refused with a
 * `TypeError`.
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
  checkOptions("make the codec", options, { pooled: true });
  const { pooled = false } = options;
  if (typeof pooled !== "boolean") {
    throw new TypeError(
      `Cannot make the codec: pooled must be a boolean, received ${
        received(pooled)
      }`,
    );
  }
  return pooled ? new PooledBytesCodec() : new BytesCodec();
}

/** The codec whose items are what lies in the ring. */
export class BytesCodec implements Codec<Uint8Array> {
  encode(item: Uint8Array, target: Uint8Array): number {
    const { length } = checkBytesItem(item);
    if (length <= target.length) target.set(item);
    return length;
  }

  decode(bytes: Uint8Array): Uint8Array {
    return new Uint8Array(bytes);
  }
}

class PooledBytesCodec extends BytesCodec implements RunCodec<Uint8Array> {
  decodeRun(
    { words, bytes }: Records,
    at: number,
    most: number,
    items: Uint8Array[],
  ): number {
    let end = at;
    for (let count = 0; count < most; count++) end += wordsFor(words[end]!);
    const { buffer } = bytes.slice(at * 4, end * 4);
    for (let word = at; word < end; word += wordsFor(words[word]!)) {
      const start = (word - at) * 4 + RECORD_HEADER;
      items.push(new Uint8Array(buffer, start, words[word]!));
    }
    return end;
  }
}

/** A word that is this text in memory, whatever the order of its bytes. */
function fourBytes(text: string): number {
  const bytes = new TextEncoder().encode(text);
  return new Int32Array(bytes.slice().buffer)[0]!;
}

/** Throws unless the item is a `Uint8Array`. */
export function checkBytesItem(item: unknown): Uint8Array {
  if (item instanceof Uint8Array) return item;
  throw new TypeError(
    `Cannot encode: the item must be a Uint8Array, received ${received(item)}`,
  );
}

/** Throws unless it can encode and decode. */
export function checkCodec<T>(action: string, codec: unknown): Codec<T> {
  const given = codec as Partial<Codec<T>> | null;
  if (
    typeof given === "object" && given !== null &&
    typeof given.encode === "function" && typeof given.decode === "function"
  ) return given as Codec<T>;
  throw new TypeError(
    `Cannot ${action}: codec must have encode() and decode(), received ${
      received(codec)
    }`,
  );
}
