/**
 * First in, first out, or last in, first out: one ring of slots.
 *
 * @module
 */

import { type Buffer, type Entry, PLAIN } from "./buffer.ts";

const SMALLEST = 16;

/**
 * A ring whose capacity is a power of two.
 *
 * - Every operation is O(1), growth and shrinking amortised.
 * - 8 to 16 bytes an item while all weigh 1; the weights get a ring of their
 *   own with the first item that weighs something else, and so do the notes with
 *   the first item that has one.
 * - A slot is emptied when its item leaves, and a ring that a backlog has
 *   blown up gives the memory back.
 */
export class Ring<T> implements Buffer<T> {
  length = 0;
  size = 0;
  #slots: (T | undefined)[] = emptySlots(SMALLEST);
  #weights: number[] | undefined = undefined;
  #notes: unknown[] | undefined = undefined;
  #head = 0;
  /** Always the capacity − 1. Wraps an index by `& #mask`. */
  #mask: number = SMALLEST - 1;
  /** Below this many items the ring shrinks to half. */
  #fewest = 0;
  readonly #newestFirst: boolean;

  constructor(options: { newestFirst?: boolean } = {}) {
    this.#newestFirst = options.newestFirst === true;
  }

  push(item: T, weight: number, _rank?: unknown, note?: unknown): void {
    if (this.length > this.#mask) this.#resize((this.#mask + 1) * 2);
    const index = (this.#head + this.length) & this.#mask;
    this.#slots[index] = item;
    if (this.#weights !== undefined) this.#weights[index] = weight;
    else if (weight !== 1) this.#keepWeights(index, weight);
    if (this.#notes !== undefined) this.#notes[index] = note;
    else if (note !== undefined) this.#keepNotes(index, note);
    this.length++;
    this.size += weight;
  }

  next(): Entry {
    if (this.#weights === undefined && this.#notes === undefined) return PLAIN;
    const place = this.#newestFirst ? this.length - 1 : 0;
    return { weight: this.#weightAt(place), note: this.#noteAt(place) };
  }

  putBack(item: T, { weight, note }: Entry): void {
    if (this.#newestFirst) return this.push(item, weight, undefined, note);
    if (this.length > this.#mask) this.#resize((this.#mask + 1) * 2);
    const { length } = this;
    this.#head = (this.#head - 1) & this.#mask;
    // As if it were the only one, it goes to the head.
    this.length = 0;
    this.push(item, weight, undefined, note);
    this.length = length + 1;
  }

  /** The item so many places behind the oldest one; it stays. */
  at(place: number): T {
    return this.#slots[(this.#head + place) & this.#mask] as T;
  }

  shift(): T {
    if (!this.#newestFirst) return this.#removeOldest();
    const index = (this.#head + this.length - 1) & this.#mask;
    return this.#remove(index);
  }

  yieldsTo(): boolean {
    return this.length > 0;
  }

  evict(): T {
    return this.#removeOldest();
  }

  clear(): T[] {
    const items: T[] = [];
    for (let place = 0; place < this.length; place++) {
      items.push(this.#slots[(this.#head + place) & this.#mask] as T);
    }
    if (this.#newestFirst) items.reverse();
    this.length = 0;
    this.size = 0;
    this.#head = 0;
    this.#slots = emptySlots(SMALLEST);
    this.#mask = SMALLEST - 1;
    this.#fewest = 0;
    this.#weights = undefined;
    this.#notes = undefined;
    return items;
  }

  /**
   * Moves the newest items, in their order, to the end of another ring: as many
   * as told, but no more than it takes to fill `room`, and one at least.
   */
  moveNewest(to: Ring<T>, most: number, room: number): number {
    let count = 1;
    let weight = this.#weightAt(this.length - 1);
    while (count < most && weight < room) {
      count++;
      weight += this.#weightAt(this.length - count);
    }
    for (let place = this.length - count; place < this.length; place++) {
      const index = (this.#head + place) & this.#mask;
      const weight = this.#weightAt(place);
      to.push(this.#slots[index] as T, weight, undefined, this.#noteAt(place));
    }
    for (let left = count; left > 0; left--) {
      this.#remove((this.#head + this.length - 1) & this.#mask);
    }
    return count;
  }

  #weightAt(place: number): number {
    return this.#weights?.[(this.#head + place) & this.#mask] ?? 1;
  }

  #noteAt(place: number): unknown {
    return this.#notes?.[(this.#head + place) & this.#mask];
  }

  #removeOldest(): T {
    const index = this.#head;
    this.#head = (index + 1) & this.#mask;
    return this.#remove(index);
  }

  #remove(index: number): T {
    const slots = this.#slots;
    const item = slots[index] as T;
    slots[index] = undefined;
    if (this.#notes !== undefined) this.#notes[index] = undefined;
    const length = --this.length;
    if (this.#weights === undefined) this.size = length;
    // Fractions added and taken off again drift; an empty ring weighs nothing.
    else this.size = length === 0 ? 0 : this.size - this.#weights[index]!;
    if (length < this.#fewest) this.#resize((this.#mask + 1) / 2);
    return item;
  }

  #resize(capacity: number): void {
    this.#slots = unrolled(this.#slots, this.#head, this.length, capacity);
    if (this.#weights !== undefined) {
      this.#weights = unrolled(
        this.#weights,
        this.#head,
        this.length,
        capacity,
      ) as number[];
    }
    if (this.#notes !== undefined) {
      this.#notes = unrolled(this.#notes, this.#head, this.length, capacity);
    }
    this.#head = 0;
    this.#mask = capacity - 1;
    this.#fewest = capacity > SMALLEST * 2 ? capacity / 4 : 0;
  }

  #keepWeights(index: number, weight: number): void {
    this.#weights = new Array<number>(this.#mask + 1).fill(1);
    this.#weights[index] = weight;
  }

  #keepNotes(index: number, note: unknown): void {
    this.#notes = emptySlots(this.#mask + 1);
    this.#notes[index] = note;
  }
}

function emptySlots<T>(capacity: number): (T | undefined)[] {
  return new Array<T | undefined>(capacity).fill(undefined);
}

function unrolled<T>(
  slots: (T | undefined)[],
  head: number,
  length: number,
  capacity: number,
): (T | undefined)[] {
  const larger = emptySlots<T>(capacity);
  const mask = slots.length - 1;
  for (let place = 0; place < length; place++) {
    larger[place] = slots[(head + place) & mask];
  }
  return larger;
}
