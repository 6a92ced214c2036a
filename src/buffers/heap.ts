/**
 * The best first: a stable heap.
 *
 * @module
 */

import { refusePromise } from "../callbacks.ts";
import type { Putter, WaitingLine } from "../waiters.ts";
import type { Buffer, Entry } from "./buffer.ts";
import { grown, Tree } from "./tree.ts";

const SMALLEST = 8;
/** How many slots may be out of use in any case. */
const SPARE = 1_024;
/** How many keys are remembered of those that came lately; a power of two. */
const RECENT = 32;
/** In place of the slot that follows: there is none. */
const NONE = -1;
/** In a slot whose item has left. */
const GONE: unique symbol = Symbol("gone");

/** Where an item belongs: the smaller `key` comes first. */
export interface Rank {
  readonly key: number;
  /** What the moment of its arrival has added to the key. */
  readonly since: number;
}

/**
 * Items in the order of their keys, and of their arrival among equals.
 *
 * - `push` and `shift` are O(log n) amortised, and O(1) where there are few keys.
 * - About 24 bytes an item, 12 more where most keys differ, 8 more for weights that
 *   differ, 8 more for aging; half as much again after it has just grown.
 * - An item known by identity is found in O(1), and removed or moved in O(log n).
 * - `evict` takes the last in order, O(log n) amortised.
 * - What those take is made by the first such call, O(n), and dropped when about
 *   twice as many items have come and left as are stored.
 * - What is put back comes before its equals.
 *
 * An item stays in its slot; what is sorted is a key and a slot. An item with the
 * key of one that came lately is not sorted but chained to that one. What leaves
 * before its turn leaves its slot behind, which is passed over in its turn.
 */
export class Heap<T> implements Buffer<T, Rank> {
  size = 0;
  length = 0;
  readonly rank: (item: T, options: object | undefined) => Rank;
  /** The first of each chain. When anything is stored, its first is. */
  #tree: Tree = new Tree();
  /** All that is stored, turned round so that the last comes first, and some that has left. */
  #fromTheEnd: Tree | undefined = undefined;
  /** The slots of an item; most items are stored once. */
  #identities: Map<T, number | Set<number>> | undefined = undefined;

  // By slot.
  #items: (T | typeof GONE)[] = [];
  /** The next of its chain, or the next that is free. */
  #nexts: Int32Array = new Int32Array(SMALLEST);
  #known: Known = new Known();
  #free: number = NONE;

  /** By key, modulo their count: the keys that came lately, and the ends of their chains. */
  readonly #recent: number[] = new Array<number>(RECENT).fill(NaN);
  readonly #ends: number[] = new Array<number>(RECENT).fill(NONE);
  #latest = 0;
  #earliest = 0;
  /** Whether items were looked for. No slot is used twice from then on, so that all is tidied up before long. */
  #isIndexed = false;
  /** While above 0, what is stored keeps its slot. */
  #holds = 0;

  constructor(rank: (item: T, options: object | undefined) => Rank) {
    this.rank = rank;
  }

  push(item: T, weight: number, rank: Rank, note?: unknown): void {
    const { key } = rank;
    const slot = this.#fill(item, weight, rank, note, this.#latest++);
    const at = key & (RECENT - 1);
    if (this.#recent[at] === key) this.#nexts[this.#ends[at]!] = slot;
    else {
      this.#tree.push(key, slot);
      this.#recent[at] = key;
    }
    this.#ends[at] = slot;
  }

  next(): Entry<Rank> {
    const slot = this.#tree.slots[0]!;
    return this.#known.get(slot, this.#tree.keys[0]!);
  }

  putBack(item: T, entry: Entry<Rank>): void {
    this.#insert(item, entry, --this.#earliest);
  }

  shift(): T {
    const item = this.#vacate(this.#tree.slots[0]!);
    this.#tidy();
    return item;
  }

  line<P>(): WaitingLine<Putter<P>> {
    return new RankedLine<P>();
  }

  /** The first in order. Only called when there is one. */
  first(): T {
    return this.#items[this.#tree.slots[0]!] as T;
  }

  yieldsTo({ key }: Rank): boolean {
    // Among equals the arriving one is the last.
    return this.length > 0 && -this.#reversed().keys[0]! > key;
  }

  evict(): T {
    const item = this.#vacate(this.#reversed().slots[0]!);
    this.#tidy();
    return item;
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
      const keys = this.#keys();
      const { arrivals } = this.#tree;
      // Two infinite keys differ by NaN.
      slots.sort((one, other) =>
        keys[one]! - keys[other]! || arrivals[one]! - arrivals[other]!
      );
    }
    const items = slots.map((slot) => this.#vacate(slot));
    this.#tidy();
    return items;
  }

  /** Gives those that match another key; what their arrival has added stays. Returns how many. */
  rerank(match: T | ((item: T) => boolean), key: number): number {
    const slots = this.#matching(match);
    for (const slot of slots) {
      const since = this.#known.sinceOf(slot);
      const known = this.#known.get(slot, key + since);
      const arrival = this.#tree.arrivals[slot]!;
      this.#insert(this.#vacate(slot), known, arrival);
    }
    this.#tidy();
    return slots.length;
  }

  // -- Slots ------------------------------------------------------------------

  #insert(item: T, known: Entry<Rank>, arrival: number): void {
    const { weight, rank, note } = known;
    const slot = this.#fill(item, weight, rank!, note, arrival);
    this.#tree.push(rank!.key, slot);
  }

  #fill(
    item: T,
    weight: number,
    { key, since }: Rank,
    note: unknown,
    arrival: number,
  ): number {
    let slot = this.#free;
    if (slot !== NONE) this.#free = this.#nexts[slot]!;
    else slot = this.#items.length;
    if (slot === this.#nexts.length) {
      this.#nexts = grown(this.#nexts, new Int32Array(2 * slot));
    }
    this.#items[slot] = item;
    this.#nexts[slot] = NONE;
    this.#known.set(slot, weight, since, note);
    this.#tree.arrive(slot, arrival);
    this.#fromTheEnd?.arrive(slot, -arrival);
    this.#fromTheEnd?.push(-key, slot);
    this.length++;
    this.size += weight;
    if (this.#identities !== undefined) this.#identify(item, slot);
    return slot;
  }

  #vacate(slot: number): T {
    const item = this.#items[slot] as T;
    this.#items[slot] = GONE;
    this.length--;
    // Fractions added and taken off again drift; an empty heap weighs nothing.
    if (this.length === 0) this.size = 0;
    else this.size -= this.#known.weightOf(slot);
    this.#known.dropNote(slot);
    if (this.#identities !== undefined) this.#forget(item, slot);
    return item;
  }

  /** Sees to it that the first in the tree is stored, and that little else is kept. */
  #tidy(): void {
    const tree = this.#tree;
    while (tree.length > 0 && this.#items[tree.slots[0]!] === GONE) {
      const slot = tree.slots[0]!;
      const next = this.#nexts[slot]!;
      if (next === NONE) {
        const at = tree.keys[0]! & (RECENT - 1);
        if (this.#ends[at] === slot) this.#recent[at] = NaN;
        tree.removeFirst();
      } else tree.replaceFirst(next);
      if (this.#isIndexed) continue;
      this.#nexts[slot] = this.#free;
      this.#free = slot;
    }
    const most = (this.#isIndexed ? 3 : 8) * this.length + SPARE;
    if (this.#items.length > most && this.#holds === 0) this.#rebuild();
  }

  /** Lets go of all slots that are not in use. O(n). */
  #rebuild(): void {
    const { keys, slots, length, arrivals } = this.#tree;
    const [items, nexts, known] = [this.#items, this.#nexts, this.#known];
    this.#tree = new Tree();
    this.#fromTheEnd = this.#identities = undefined;
    this.#isIndexed = false;
    this.#items = [];
    this.#nexts = new Int32Array(SMALLEST);
    this.#known = new Known();
    this.#free = NONE;
    this.#recent.fill(NaN);
    this.length = this.size = 0;
    for (let place = 0; place < length; place++) {
      let last = NONE;
      for (let slot = slots[place]!; slot !== NONE; slot = nexts[slot]!) {
        const item = items[slot];
        if (item === GONE) continue;
        const key = keys[place]!;
        const { weight, rank, note } = known.get(slot, key);
        const arrival = arrivals[slot]!;
        const next = this.#fill(item as T, weight, rank!, note, arrival);
        if (last === NONE) this.#tree.push(key, next);
        else this.#nexts[last] = next;
        last = next;
      }
    }
  }

  #stored(): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < this.#items.length; slot++) {
      if (this.#items[slot] !== GONE) slots.push(slot);
    }
    return slots;
  }

  // -- Finding ----------------------------------------------------------------

  #matching(match: T | ((item: T) => boolean)): number[] {
    const known = this.#identified().get(match as T);
    if (typeof known === "number") return [known];
    if (known !== undefined) return [...known];
    if (typeof match !== "function") return [];
    // The predicate is user code and may use the queue meanwhile.
    this.#holds++;
    try {
      return this.#stored().filter((slot) => {
        const item = this.#items[slot];
        if (item === GONE) return false;
        const matches = (match as (item: T) => boolean)(item as T);
        refusePromise("match", "match(item)", matches);
        return matches;
      }).filter((slot) => this.#items[slot] !== GONE);
    } finally {
      this.#holds--;
    }
  }

  #identified(): Map<T, number | Set<number>> {
    if (this.#identities === undefined) {
      this.#isIndexed = true;
      this.#identities = new Map();
      for (const slot of this.#stored()) {
        this.#identify(this.#items[slot] as T, slot);
      }
    }
    return this.#identities;
  }

  #identify(item: T, slot: number): void {
    const identities = this.#identities!;
    const known = identities.get(item);
    if (known === undefined) identities.set(item, slot);
    else if (typeof known !== "number") known.add(slot);
    else identities.set(item, new Set([known, slot]));
  }

  #forget(item: T, slot: number): void {
    const known = this.#identities!.get(item);
    if (typeof known === "object") known.delete(slot);
    if (known === slot || (known as Set<number>).size === 0) {
      this.#identities!.delete(item);
    }
  }

  /** The tree in which the last comes first, when that is stored. */
  #reversed(): Tree {
    if (this.#fromTheEnd === undefined) {
      this.#isIndexed = true;
      this.#fromTheEnd = new Tree();
      const keys = this.#keys();
      for (const slot of this.#stored()) {
        this.#fromTheEnd.arrive(slot, -this.#tree.arrivals[slot]!);
        this.#fromTheEnd.push(-keys[slot]!, slot);
      }
    }
    const ends = this.#fromTheEnd;
    while (this.#items[ends.slots[0]!] === GONE) ends.removeFirst();
    return ends;
  }

  /** The keys by slot. O(n). */
  #keys(): Float64Array {
    const keys = new Float64Array(this.#items.length);
    for (let place = 0; place < this.#tree.length; place++) {
      const key = this.#tree.keys[place]!;
      let slot = this.#tree.slots[place]!;
      for (; slot !== NONE; slot = this.#nexts[slot]!) keys[slot] = key;
    }
    return keys;
  }
}

/** What is known of items, by slot; while all is as usual it takes no memory. */
class Known {
  #weights: number[] | undefined = undefined;
  #since: number[] | undefined = undefined;
  #notes: unknown[] | undefined = undefined;

  set(slot: number, weight: number, since: number, note: unknown): void {
    this.#weights = noted(this.#weights, slot, weight, 1);
    this.#since = noted(this.#since, slot, since, 0);
    this.#notes = noted(this.#notes, slot, note, undefined);
  }

  get(slot: number, key: number): Entry<Rank> {
    const rank = { key, since: this.sinceOf(slot) };
    return { weight: this.weightOf(slot), rank, note: this.#notes?.[slot] };
  }

  weightOf(slot: number): number {
    return this.#weights?.[slot] ?? 1;
  }

  sinceOf(slot: number): number {
    return this.#since?.[slot] ?? 0;
  }

  dropNote(slot: number): void {
    if (this.#notes?.[slot] !== undefined) this.#notes[slot] = undefined;
  }
}

function noted<V>(
  values: V[] | undefined,
  slot: number,
  value: V,
  usual: V,
): V[] | undefined {
  if (values === undefined && value === usual) return undefined;
  values ??= [];
  // No holes: with large ones an array becomes a dictionary.
  while (values.length < slot) values.push(usual);
  values[slot] = value;
  return values;
}

function noRank(): never {
  throw new Error("This heap is told the rank of each item");
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
    if (putter === this.first) this.#heap.shift();
    else this.#heap.remove(putter);
    putter.line = undefined;
    this.#changed();
  }

  #changed(): void {
    this.length = this.#heap.length;
    this.weight = this.#heap.size;
    this.first = this.length === 0 ? undefined : this.#heap.first();
  }
}
