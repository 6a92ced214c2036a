/**
 * The best first: a stable d-ary heap.
 *
 * Source: D. B. Johnson, "Priority queues with update and finding minimum
 * spanning trees", Information Processing Letters 4 (1975), for heaps with more
 * than two children.
 *
 * @module
 */

import type { Putter, WaitingLine } from "../waiters.ts";
import type { Buffer } from "./buffer.ts";

/** A node has 4 children: two levels of a binary tree for one line of cache. */
const SHIFT = 2;
const CHILDREN: number = 1 << SHIFT;
const SMALLEST = 16;

/** Where an item belongs: the smaller `key` comes first. */
export interface Rank {
  readonly key: number;
  /** What the moment of its arrival has added to the key. */
  readonly since: number;
}

/**
 * Items in the order of their keys, and of their arrival among equals.
 *
 * - `push` and `shift` are O(log n); about 40 bytes an item.
 * - An item known by identity is found in O(1) and moved in O(log n); the index
 *   for that is made by the first such call, and kept from then on.
 * - `evict` takes the last in order, O(log n) amortised; the order from the
 *   other end is made by the first such call, too.
 *
 * What is sorted is a key and the number of a slot, so that sorting a million
 * items stays within the cache; the item itself does not move.
 */
export class Heap<T> implements Buffer<T, Rank> {
  length = 0;
  size = 0;
  readonly rank: (item: T, options: object | undefined) => Rank;
  #arrivalCount = 0;

  // By place in the heap.
  #keys: Float64Array = new Float64Array(SMALLEST);
  #slots: Int32Array = new Int32Array(SMALLEST);

  // By slot.
  #items: (T | undefined)[] = [];
  #arrivals: Float64Array = new Float64Array(SMALLEST);
  #since: Float64Array = new Float64Array(SMALLEST);
  #weights: Float64Array = new Float64Array(SMALLEST);
  /** Kept only once somebody asks for an item: writing it down costs as much as all the rest. */
  #places: Int32Array | undefined = undefined;
  readonly #freeSlots: number[] = [];
  /** Spares a look at a weight, which is one miss of the cache an item. */
  #allWeighOne = true;

  /** The slots of an item; most items are stored once. */
  #identities: Map<T, number | number[]> | undefined = undefined;
  /** All that is stored, the last in order first, and some that has left. */
  #fromTheEnd: Heap<End> | undefined = undefined;

  constructor(rank: (item: T, options: object | undefined) => Rank) {
    this.rank = rank;
  }

  push(item: T, weight: number, rank: Rank): void {
    this.#insert(item, weight, rank, this.#arrivalCount++);
  }

  shift(): T {
    return this.#removeAt(0);
  }

  line<P>(): WaitingLine<Putter<P>> {
    return new RankedLine<P>();
  }

  /** The first in order. Only called when there is one. */
  first(): T {
    return this.#items[this.#slots[0]!] as T;
  }

  yieldsTo({ key }: Rank): boolean {
    // Among equals the arriving one is the last.
    return this.length > 0 && this.#keys[this.#lastPlace()]! > key;
  }

  evict(): T {
    return this.#removeAt(this.#lastPlace());
  }

  clear(): T[] {
    const items: T[] = [];
    while (this.length > 0) items.push(this.shift());
    return items;
  }

  /** Removes those that match, an item or a predicate, and returns them in their order. */
  remove(match: T | ((item: T) => boolean)): T[] {
    const slots = this.#matching(match);
    if (slots.length > 1) {
      slots.sort((left, right) => this.#compare(left, right));
    }
    return slots.map((slot) => this.#removeAt(this.#placeOf(slot)));
  }

  /** Gives those that match another key; what their arrival has added stays. Returns how many. */
  rerank(match: T | ((item: T) => boolean), key: number): number {
    const slots = this.#matching(match);
    for (const slot of slots) {
      const place = this.#placeOf(slot);
      const next = key + this.#since[slot]!;
      const rises = next <= this.#keys[place]!;
      this.#noteEnd(slot, next);
      if (rises) this.#rise(place, next, slot);
      else this.#sink(place, next, slot);
    }
    return slots.length;
  }

  // -- Storing ----------------------------------------------------------------

  #insert(item: T, weight: number, rank: Rank, arrival: number): void {
    const slot = this.#freeSlots.pop() ?? this.length;
    if (slot === this.#arrivals.length) this.#resize(slot * 2);
    this.#items[slot] = item;
    this.#arrivals[slot] = arrival;
    this.#since[slot] = rank.since;
    this.#weights[slot] = weight;
    if (weight !== 1) this.#allWeighOne = false;
    this.size += weight;
    if (this.#identities !== undefined) this.#identify(item, slot);
    this.#noteEnd(slot, rank.key);
    this.#rise(this.length++, rank.key, slot);
  }

  #removeAt(place: number): T {
    const slot = this.#slots[place]!;
    const item = this.#items[slot] as T;
    const last = --this.length;
    // Fractions added and taken off again drift; an empty heap weighs nothing.
    if (this.#allWeighOne) this.size = last;
    else this.size = last === 0 ? 0 : this.size - this.#weights[slot]!;
    this.#items[slot] = undefined;
    this.#arrivals[slot] = NaN;
    if (this.#identities !== undefined) this.#forget(item, slot);
    if (place !== last) {
      const key = this.#keys[last]!;
      const moved = this.#slots[last]!;
      if (place > 0 && this.#comesBefore(key, moved, (place - 1) >> SHIFT)) {
        this.#rise(place, key, moved);
      } else this.#sink(place, key, moved);
    }
    if (last === 0) this.#empty();
    else this.#freeSlots.push(slot);
    return item;
  }

  /** An empty heap gives the memory of a backlog back. */
  #empty(): void {
    this.#freeSlots.length = 0;
    this.#allWeighOne = true;
    this.#items = [];
    this.#fromTheEnd = undefined;
    if (this.#arrivals.length > SMALLEST * 64) this.#resize(SMALLEST);
  }

  #resize(capacity: number): void {
    this.#keys = resized(this.#keys, new Float64Array(capacity));
    this.#slots = resized(this.#slots, new Int32Array(capacity));
    this.#arrivals = resized(this.#arrivals, new Float64Array(capacity));
    this.#since = resized(this.#since, new Float64Array(capacity));
    this.#weights = resized(this.#weights, new Float64Array(capacity));
    if (this.#places !== undefined) {
      this.#places = resized(this.#places, new Int32Array(capacity));
    }
  }

  // -- Finding ----------------------------------------------------------------

  #matching(match: T | ((item: T) => boolean)): number[] {
    this.#index();
    const known = this.#slotsOf(match as T);
    if (known.length > 0 || typeof match !== "function") return known;
    const slots = [...this.#slots.subarray(0, this.length)];
    const arrivals = slots.map((slot) => this.#arrivals[slot]);
    // The predicate is user code and may use the queue meanwhile.
    return slots.filter((slot, at) =>
      this.#arrivals[slot] === arrivals[at] &&
      (match as (item: T) => boolean)(this.#items[slot] as T) &&
      this.#arrivals[slot] === arrivals[at]
    );
  }

  #placeOf(slot: number): number {
    if (this.#places === undefined) {
      this.#places = new Int32Array(this.#slots.length);
      for (let place = 0; place < this.length; place++) {
        this.#places[this.#slots[place]!] = place;
      }
    }
    return this.#places[slot]!;
  }

  #slotsOf(item: T): number[] {
    const found = this.#identities!.get(item);
    if (found === undefined) return [];
    return typeof found === "number" ? [found] : [...found];
  }

  #index(): void {
    if (this.#identities !== undefined) return;
    this.#identities = new Map();
    for (const slot of this.#slots.subarray(0, this.length)) {
      this.#identify(this.#items[slot] as T, slot);
    }
  }

  #identify(item: T, slot: number): void {
    const others = this.#identities!.get(item);
    if (others === undefined) this.#identities!.set(item, slot);
    else if (typeof others === "number") {
      this.#identities!.set(item, [others, slot]);
    } else others.push(slot);
  }

  #forget(item: T, slot: number): void {
    const others = this.#identities!.get(item)!;
    if (typeof others === "number" || others.length === 1) {
      this.#identities!.delete(item);
    } else others.splice(others.indexOf(slot), 1);
  }

  /** The place of the last in order. */
  #lastPlace(): number {
    const known = this.#fromTheEnd;
    if (known === undefined || known.length > this.length * 2 + SMALLEST) {
      this.#fromTheEnd = new Heap<End>(noRank);
      for (let place = 0; place < this.length; place++) {
        this.#noteEnd(this.#slots[place]!, this.#keys[place]!);
      }
    }
    for (const ends = this.#fromTheEnd!;; ends.shift()) {
      const { slot, arrival, key } = ends.first();
      // What has left, or got another key since, is passed over.
      if (this.#arrivals[slot] !== arrival) continue;
      const place = this.#placeOf(slot);
      if (this.#keys[place] === key) return place;
    }
  }

  /** Everything is turned round, so that the last in order is the first there. */
  #noteEnd(slot: number, key: number): void {
    if (this.#fromTheEnd === undefined) return;
    const arrival = this.#arrivals[slot]!;
    const rank = { key: -key, since: 0 };
    this.#fromTheEnd.#insert({ slot, arrival, key }, 0, rank, -arrival);
  }

  // -- Sorting ----------------------------------------------------------------

  #compare(left: number, right: number): number {
    const leftKey = this.#keys[this.#placeOf(left)]!;
    const rightKey = this.#keys[this.#placeOf(right)]!;
    if (leftKey !== rightKey) return leftKey < rightKey ? -1 : 1;
    return this.#arrivals[left]! - this.#arrivals[right]!;
  }

  #comesBefore(key: number, slot: number, place: number): boolean {
    const other = this.#keys[place]!;
    return key === other
      ? this.#arrivals[slot]! < this.#arrivals[this.#slots[place]!]!
      : key < other;
  }

  #rise(place: number, key: number, slot: number): void {
    const keys = this.#keys;
    const slots = this.#slots;
    const places = this.#places;
    while (place > 0) {
      const parent = (place - 1) >> SHIFT;
      if (!this.#comesBefore(key, slot, parent)) break;
      const moved = slots[parent]!;
      keys[place] = keys[parent]!;
      slots[place] = moved;
      if (places !== undefined) places[moved] = place;
      place = parent;
    }
    keys[place] = key;
    slots[place] = slot;
    if (places !== undefined) places[slot] = place;
  }

  /** The hot loop: written out, because a call for each comparison costs a third more. */
  #sink(place: number, key: number, slot: number): void {
    const keys = this.#keys;
    const slots = this.#slots;
    const places = this.#places;
    const arrivals = this.#arrivals;
    const arrival = arrivals[slot]!;
    const length = this.length;
    for (;;) {
      let best = (place << SHIFT) + 1;
      if (best >= length) break;
      let bestKey = keys[best]!;
      const end = best + CHILDREN < length ? best + CHILDREN : length;
      for (let child = best + 1; child < end; child++) {
        const other = keys[child]!;
        if (
          other < bestKey ||
          (other === bestKey &&
            arrivals[slots[child]!]! < arrivals[slots[best]!]!)
        ) {
          best = child;
          bestKey = other;
        }
      }
      const bestSlot = slots[best]!;
      if (key < bestKey || (key === bestKey && arrival < arrivals[bestSlot]!)) {
        break;
      }
      keys[place] = bestKey;
      slots[place] = bestSlot;
      if (places !== undefined) places[bestSlot] = place;
      place = best;
    }
    keys[place] = key;
    slots[place] = slot;
    if (places !== undefined) places[slot] = place;
  }
}

/** What is in the heap of ends: it is outdated when another item has the slot or the item another key. */
interface End {
  readonly slot: number;
  readonly arrival: number;
  readonly key: number;
}

function noRank(): never {
  throw new Error("This heap is told the rank of each item");
}

function resized<A extends Float64Array | Int32Array>(from: A, to: A): A {
  to.set(from.subarray(0, to.length));
  return to;
}

/** Puts that wait, the best first and in the order of arrival among equals. Joining and leaving are O(log n). */
class RankedLine<T> implements WaitingLine<Putter<T>> {
  first: Putter<T> | undefined = undefined;
  length = 0;
  weight = 0;
  readonly #heap: Heap<Putter<T>> = new Heap(noRank);

  push(putter: Putter<T>): void {
    putter.line = this as unknown as WaitingLine<never>;
    this.#heap.push(putter, putter.weight, putter.rank as Rank);
    this.#changed();
  }

  remove(putter: Putter<T>): void {
    this.#heap.remove(putter);
    putter.line = undefined;
    this.#changed();
  }

  #changed(): void {
    this.length = this.#heap.length;
    this.weight = this.#heap.size;
    this.first = this.length === 0 ? undefined : this.#heap.first();
  }
}
