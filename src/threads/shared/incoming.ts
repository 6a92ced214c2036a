/**
 * Items on their way out of the ring. They are decoded after the lock of the ring
 * was given back, because a codec is code of a user. A record that cannot be
 * decoded stays with the handle, and is the first that its next get tries again.
 *
 * @module
 */

import type { Codec } from "../../codec.ts";
import { Header } from "./layout.ts";
import { Records } from "./record.ts";
import type { SharedRing } from "./ring.ts";
import { isDirect, type RunReader, runReaderFor } from "./runs.ts";

/** Where records are counted that reach no consumer. */
type Tally = typeof Header.CLEARED | typeof Header.UNDELIVERED;

/** Takes the records of one handle and decodes them. */
export class Incoming<T> {
  readonly #ring: SharedRing;
  readonly #codec: Codec<T>;
  readonly #isDirect: boolean;
  readonly #runs: RunReader<T> | undefined;
  /** Lent to whoever decodes: a codec may take here as well. */
  #records: Records | undefined = new Records();
  /** Payloads that could not be decoded yet. */
  readonly #unread: Uint8Array[] = [];
  #item: T | undefined = undefined;

  constructor(ring: SharedRing, codec: Codec<T>) {
    this.#ring = ring;
    this.#codec = codec;
    this.#isDirect = isDirect(codec);
    this.#runs = runReaderFor(codec);
  }

  /** Records that are out of the ring and not yet with anybody. */
  get kept(): number {
    return this.#unread.length;
  }

  /** Takes the next item, for `item()` to hand over; false when there is none now. Throws what the codec throws. */
  take(): boolean {
    if (this.#unread.length > 0) return this.#takeUnread();
    if (this.#ring.isEmpty) return false;
    if (this.#isDirect) return this.#takeBytes();
    const records = this.#borrow();
    let left = 0;
    try {
      left = this.#ring.take(records, 1);
      if (left === 0) return false;
      this.#item = this.#codec.decode(records.payload(0));
      left = 0;
      return true;
    } finally {
      this.#giveBack(records, 0, left);
    }
  }

  /** The item that was taken. */
  item(): T {
    const item = this.#item as T;
    this.#item = undefined;
    return item;
  }

  #takeUnread(): boolean {
    this.#item = this.#codec.decode(this.#unread[0]!);
    this.#unread.shift();
    return true;
  }

  #takeBytes(): boolean {
    const payload = this.#ring.takeBytes();
    if (payload === undefined) return false;
    this.#item = payload as T;
    return true;
  }

  /** Adds items until there are `max`, or no more. What the codec throws it throws only if there is no item then. */
  takeMany(items: T[], max: number): void {
    try {
      while (items.length < max && this.#takeSome(items, max - items.length));
    } catch (error) {
      if (items.length === 0) throw error;
    }
  }

  /** False when there was nothing. */
  #takeSome(items: T[], most: number): boolean {
    if (this.#unread.length === 0 && !this.#isDirect && most > 1) {
      return !this.#ring.isEmpty && this.#takeBatch(items, most);
    }
    if (!this.take()) return false;
    items.push(this.item());
    return true;
  }

  #takeBatch(items: T[], most: number): boolean {
    const records = this.#borrow();
    let left = 0;
    let at = 0;
    try {
      const taken = left = this.#ring.take(records, most);
      while (left > 0) {
        const before = items.length;
        const end = this.#runs?.read(records, at, left, items) ?? at;
        left -= items.length - before;
        if (end > at) {
          at = end;
          continue;
        }
        items.push(this.#codec.decode(records.payload(at)));
        at = records.after(at);
        left--;
      }
      return taken > 0;
    } finally {
      this.#giveBack(records, at, left);
    }
  }

  #borrow(): Records {
    const records = this.#records ?? new Records();
    this.#records = undefined;
    return records;
  }

  /** Keeps what could not be decoded: so many records, from that word on. */
  #giveBack(records: Records, at: number, left: number): void {
    for (; left > 0; left--) {
      this.#unread.push(records.payload(at).slice());
      at = records.after(at);
    }
    records.shrink();
    this.#records = records;
  }

  /** Takes everything for `clear()`: what cannot be decoded stays. */
  clear(): T[] {
    return this.#takeOut(Header.CLEARED, this.#ring);
  }

  /** Takes everything for `abort()`: what cannot be decoded is lost. */
  abort(): T[] {
    return this.#takeOut(Header.UNDELIVERED, this.#ring);
  }

  /** Takes what is kept here: the handle takes part no longer. */
  giveUp(): T[] {
    return this.#takeOut(Header.UNDELIVERED, undefined);
  }

  #takeOut(tally: Tally, ring: SharedRing | undefined): T[] {
    const { words } = this.#ring.memory;
    const payloads = this.#unread.splice(0);
    Atomics.add(words, tally, payloads.length);
    const records = new Records();
    let left = ring?.takeAll(records, tally) ?? 0;
    for (let at = 0; left > 0; left--, at = records.after(at)) {
      payloads.push(records.payload(at));
    }
    const items: T[] = [];
    for (const payload of payloads) {
      try {
        items.push(this.#codec.decode(payload));
      } catch {
        if (tally !== Header.CLEARED) continue;
        Atomics.sub(words, tally, 1);
        this.#unread.push(payload.slice());
      }
    }
    return items;
  }
}
