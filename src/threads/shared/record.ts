/**
 * Room of one thread for records on their way into a ring and out of it.
 *
 * @module
 */

import { RECORD_HEADER } from "./layout.ts";

/** Views up to this length are made once: making one costs more than filling it. */
const CACHED = 512;
/** Copied word by word up to here: making the views for `set` costs as much as that. */
const LOOPED = 96;
/** Larger than this is no room that is kept. */
const KEPT = 64 * 1024;

/**
 * A run of records as they lie in the ring: the length of the payload in a word,
 * the payload, and what is missing to the next word.
 */
export class Records {
  words: Int32Array = new Int32Array(256);
  bytes: Uint8Array<ArrayBuffer> = bytesOf(this.words);
  /** Where the payload of the first record goes. */
  room: Uint8Array<ArrayBuffer> = this.bytes.subarray(RECORD_HEADER);
  #views: Uint8Array<ArrayBuffer>[] = [];

  /** Makes room for so many words, and keeps what is there. */
  reserve(count: number): void {
    if (count <= this.words.length) return;
    const words = new Int32Array(Math.max(count, this.words.length * 2));
    words.set(this.words);
    this.#use(words);
  }

  /** Copies the only record of another to that word; there is room. */
  append(from: Records, count: number, at: number): void {
    copyWords(from.words, 0, count, this.words, at);
  }

  /** Lets go of what a large record has left behind. */
  shrink(): void {
    if (this.words.length <= KEPT) return;
    this.#use(new Int32Array(256));
  }

  #use(words: Int32Array): void {
    this.words = words;
    this.bytes = bytesOf(words);
    this.room = this.bytes.subarray(RECORD_HEADER);
    this.#views = [];
  }

  /** Where the record after the one at this word begins. */
  after(at: number): number {
    return at + wordsFor(this.words[at]!);
  }

  /** The payload of the record at this word; gone with the next operation. */
  payload(at: number): Uint8Array<ArrayBuffer> {
    const length = this.words[at]!;
    const start = at * 4 + RECORD_HEADER;
    if (at > 0 || length > CACHED) {
      return this.bytes.subarray(start, start + length);
    }
    return this.#views[length] ??= this.bytes.subarray(start, start + length);
  }
}

/** Copies so many words from one place to another. */
export function copyWords(
  from: Int32Array,
  at: number,
  count: number,
  to: Int32Array,
  target: number,
): void {
  if (count > LOOPED) return to.set(from.subarray(at, at + count), target);
  for (let index = 0; index < count; index++) {
    to[target + index] = from[at + index]!;
  }
}

/** How many words a record with such a payload takes. */
export function wordsFor(payloadBytes: number): number {
  return (payloadBytes + RECORD_HEADER + 3) >>> 2;
}

function bytesOf(words: Int32Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(words.buffer as ArrayBuffer);
}
