/**
 * Items on their way into the ring. They are encoded before the lock of the ring
 * is taken, because a codec is code of a user.
 *
 * @module
 */

import { refusePromise } from "../../callbacks.ts";
import { checkBytesItem, type Codec, payloadOf } from "../../codec.ts";
import { outOfRange } from "../../checks.ts";
import { FULFILLED } from "../../waiters.ts";
import { RECORD_HEADER } from "./layout.ts";
import type { Lines } from "./lines.ts";
import { Records, wordsFor } from "./record.ts";
import type { Image, SharedRing } from "./ring.ts";
import { isDirect } from "./runs.ts";

/** Words of records that are stored at once. */
const BATCH_WORDS = 8192;

/** Encodes the items of one handle and stores them. */
export class Outgoing<T> {
  readonly #ring: SharedRing;
  readonly #codec: Codec<T>;
  readonly #isDirect: boolean;
  /** The most bytes of an item. */
  readonly #longest: number;
  readonly #called: string;
  readonly #lines: Lines<T>;
  /** Lent to whoever encodes: a codec may put here as well. */
  #records: Records | undefined = new Records();

  constructor(
    ring: SharedRing,
    codec: Codec<T>,
    called: string,
    lines: Lines<T>,
  ) {
    this.#ring = ring;
    this.#codec = codec;
    this.#isDirect = isDirect(codec);
    this.#longest = ring.memory.capacity - RECORD_HEADER;
    this.#called = called;
    this.#lines = lines;
  }

  /** Stores the item, or returns what would have to wait. */
  put(item: T): Image | undefined {
    if (this.#isDirect) return this.#putBytes(checkBytesItem(item));
    const records = this.#borrow();
    try {
      this.#encode(item, records);
      if (this.#store(records.words, 1) > 0) return undefined;
      return records.words.slice(0, wordsFor(records.words[0]!));
    } finally {
      records.shrink();
      this.#records = records;
    }
  }

  #putBytes(payload: Uint8Array): Uint8Array | undefined {
    this.#checkLength(payload.length);
    return this.#store(payload, 1) > 0 ? undefined : payload.slice();
  }

  /** Stores them one after the other, an array in batches. What has no room, or is to be refused, is for `putOne`. */
  async putMany(
    items: Iterable<T>,
    putOne: (item: T) => Promise<void>,
  ): Promise<void> {
    if (Array.isArray(items) && !this.#isDirect) {
      return await this.#putArray(items, putOne);
    }
    for (const item of items) {
      const accepted = putOne(item);
      if (accepted !== FULFILLED) await accepted;
    }
  }

  async #putArray(
    items: readonly T[],
    putOne: (item: T) => Promise<void>,
  ): Promise<void> {
    const batch = new Records();
    for (let at = 0; at < items.length;) {
      const stored = this.#putBatch(items, at, batch);
      at += stored;
      if (stored > 0 || at === items.length) continue;
      const accepted = putOne(items[at++]!);
      if (accepted !== FULFILLED) await accepted;
    }
  }

  /** As many as there is room for now. An item that cannot be encoded ends the batch. */
  #putBatch(items: readonly T[], from: number, batch: Records): number {
    if (!this.#overtakesNobody()) return 0;
    const count = this.#encodeBatch(items, from, batch);
    return count === 0 ? 0 : this.#store(batch.words, count);
  }

  #encodeBatch(items: readonly T[], from: number, batch: Records): number {
    const records = this.#borrow();
    let at = from;
    try {
      for (let end = 0; at < items.length && end < BATCH_WORDS; at++) {
        this.#encode(items[at]!, records);
        const words = wordsFor(records.words[0]!);
        batch.reserve(end + words);
        batch.append(records, words, end);
        end += words;
      }
    } catch {
      // Those before it go first.
    } finally {
      this.#records = records;
    }
    return at - from;
  }

  #store(image: Image, count: number): number {
    // After the codec, which may have put something as well.
    if (!this.#overtakesNobody()) return 0;
    const stored = this.#ring.store(image, count, false);
    if (stored > 0 && this.#lines.getters.first !== undefined) {
      this.#lines.move();
    }
    return stored;
  }

  #overtakesNobody(): boolean {
    const { putters } = this.#lines;
    if (putters.first !== undefined) this.#lines.move();
    return putters.first === undefined;
  }

  #borrow(): Records {
    const records = this.#records ?? new Records();
    this.#records = undefined;
    return records;
  }

  #encode(item: T, records: Records): void {
    const codec = this.#codec;
    if (codec.encodeInto === undefined) return this.#encodeWhole(item, records);
    let length = codec.encodeInto(item, records.room);
    while (length > records.room.length) {
      // A codec that only guesses may need less.
      if (records.room.length >= this.#longest) this.#refuseGuess(item, length);
      records.reserve(wordsFor(Math.min(length, this.#longest)));
      length = codec.encodeInto(item, records.room);
    }
    if (length >>> 0 !== length) refuseLength(length);
    this.#checkLength(length);
    records.words[0] = length;
  }

  #encodeWhole(item: T, records: Records): void {
    const payload = payloadOf(this.#codec, item);
    this.#checkLength(payload.length);
    records.reserve(wordsFor(payload.length));
    records.room.set(payload);
    records.words[0] = payload.length;
  }

  /** With so much room as it guessed, no codec has to guess. */
  #refuseGuess(item: T, guess: number): never {
    if (!Number.isSafeInteger(guess)) refuseLength(guess);
    let length = guess;
    try {
      length = this.#codec.encodeInto!(item, new Uint8Array(guess));
    } catch {
      // There is no such room, or it has changed its mind.
    }
    throw this.#tooLarge(length);
  }

  #checkLength(length: number): void {
    if (length > this.#longest) throw this.#tooLarge(length);
  }

  #tooLarge(length: number): RangeError {
    return new RangeError(
      `Cannot put: an item must fit into the ${this.#longest} bytes that ` +
        `${this.#called} has for one, received one of ${length} bytes`,
    );
  }
}

function refuseLength(length: unknown): never {
  const name = "codec.encodeInto(item, target)";
  refusePromise("put", name, length);
  const rule = `${name} must be a whole number of 0 or more`;
  throw outOfRange("put", rule, length);
}
