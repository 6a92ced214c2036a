/**
 * Many records as items at once, for the codecs that gain by it.
 *
 * @module
 */

import {
  BytesCodec,
  type Codec,
  JsonCodec,
  NUMBER,
  textFrom,
  UNDEFINED_BEGIN,
} from "../../codec.ts";
import { RECORD_HEADER } from "./layout.ts";
import { type Records, wordsFor } from "./record.ts";

/** Reads many records at once. */
export interface RunReader<T> {
  /**
   * Adds the items of the records from word `at` on, up to so many. Returns the
   * word after them, or `at` when one has to go on record by record.
   */
  read(records: Records, at: number, most: number, items: T[]): number;
}

/** Whether items of the codec go straight between their own array and the ring. */
export function isDirect<T>(codec: Codec<T>): boolean {
  return codec instanceof BytesCodec && !codec.pooled;
}

/** What reads many records of the codec at once, if that is worth it. */
export function runReaderFor<T>(codec: Codec<T>): RunReader<T> | undefined {
  if (codec instanceof JsonCodec) return new JsonRuns<T>();
  if (!(codec instanceof BytesCodec) || !codec.pooled) return undefined;
  return new PooledRuns() as RunReader<unknown> as RunReader<T>;
}

const BLANK = 0x20;
const CLOSING = 0x5d;
/** What takes the place of the length of a record. */
const COMMA = /* @__PURE__ */ fourBytes("   ,");
const OPENING = /* @__PURE__ */ fourBytes("   [");

/** As many as are text: one parse for all of them costs a third. */
class JsonRuns<T> implements RunReader<T> {
  readonly #lengths: number[] = [];

  read(records: Records, at: number, most: number, items: T[]): number {
    const lengths = this.#lengths;
    lengths.length = 0;
    let end = at;
    while (lengths.length < most) {
      const length = records.words[end]!;
      const first = records.bytes[end * 4 + RECORD_HEADER];
      if (
        length === 0 || first === NUMBER || first === UNDEFINED_BEGIN
      ) break;
      lengths.push(length);
      end += wordsFor(length);
    }
    if (lengths.length < 2) return at;
    records.reserve(end + 1);
    const run = this.#parse(records, at, end);
    if (run === undefined) return at;
    for (const item of run) items.push(item);
    return end;
  }

  /** Reads the text of an array: what stands between the payloads becomes commas and blanks. */
  #parse(records: Records, at: number, end: number): T[] | undefined {
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
      const text = textFrom(bytes.subarray(at * 4, end * 4 + 1));
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
}

/** One buffer for all of them. */
class PooledRuns implements RunReader<Uint8Array> {
  read(
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
