/**
 * The best first: a stable d-ary heap.
 *
 * Source: D. B. Johnson, "Priority queues with update and finding minimum
 * spanning trees", Information Processing Letters 4 (1975), for heaps with more
 * than two children.
 *
 * @module
 */

import { refusePromise } from "../callbacks.ts";
import type { Putter, WaitingLine } from "../waiters.ts";
import type { Buffer, Particulars } from "./buffer.ts";

/** A node has 4 children: two levels of a binary tree for one line of cache. */
const SHIFT = 2;
const CHILDREN: number = 1 << SHIFT;
const SMALLEST = 16;
const PAGE_SHIFT = 12;
const PAGE_MASK: number = (1 << PAGE_SHIFT) - 1;
/** How many numbers may be out of use, beyond as many as are in use. */
const SPARE = 1_024;
/** So many are sorted in the cache; more are kept in runs of so many each. */
const RUN = 16_384;
/** This many runs may be used up to any extent before they are made into one. */
const RUNS = 16;

/** Where an item belongs: the smaller `key` comes first. */
export interface Rank {
  readonly key: number;
  /** What the moment of its arrival has added to the key. */
  readonly since: number;
}

/**
 * Items in the order of their keys, and of their arrival among equals.
 *
 * - `push` and `shift` are O(log n) amortised; about 20 bytes an item, and 8 more
 *   for weights that differ, 8 more for aging.
 * - An item known by identity is found in O(1) and moved in O(log n). What that
 *   takes is made by the first such call, O(n), and dropped when about as many
 *   items have left as are stored.
 * - `evict` takes the last in order, O(log n) amortised; what that takes is made
 *   and dropped likewise.
 * - What is put back comes before its equals. While the heap knows where each item
 *   is, for one of those two, it comes behind them.
 *
 * Items are numbered as they arrive, so that a number tells both where the item
 * is and which of two equals came first. What is sorted is a key and a number. At
 * many items a heap misses the cache all the time, so only the latest are in one
 * and the others are a backlog of sorted runs, until somebody looks for an item.
 */
export class Heap<T> implements Buffer<T, Rank> {
  size = 0;
  readonly rank: (item: T, options: object | undefined) => Rank;
  /** The latest to arrive, or everything. */
  readonly #order: Tree = new Tree();
  /** All before those, if there are many. */
  readonly #backlog: Backlog<T> = new Backlog();
  /** Whether everything is in the tree, where it can be found, and has to stay there. */
  #unrolled = false;

  // By number.
  readonly #items: Column<T | undefined> = new Column<T | undefined>(undefined);
  readonly #weights: Column<number> = new Column(1);
  readonly #since: Column<number> = new Column(0);
  readonly #notes: Column<unknown> = new Column<unknown>(undefined);
  /** The number of the next to arrive. */
  #next = 0;
  /** While above 0, what is stored keeps its number and no number is given twice. */
  #holds = 0;

  /** The numbers of an item; most items are stored once. */
  #identities: Map<T, number | number[]> | undefined = undefined;
  /** All that is stored, turned round so that the last comes first, and some that has left. */
  #fromTheEnd: Tree | undefined = undefined;

  constructor(rank: (item: T, options: object | undefined) => Rank) {
    this.rank = rank;
  }

  get length(): number {
    return this.#order.length + this.#backlog.length;
  }

  push(item: T, weight: number, rank: Rank, note?: unknown): void {
    if (this.#next > 2 * this.length + SPARE) this.#renumber();
    if (this.#order.length >= RUN && !this.#unrolled) {
      this.#backlog.add(this.#order, this.#items);
    }
    this.#append(item, this.#enter(item, weight, rank, note), rank.key);
  }

  next(): Particulars<Rank> {
    const isBacklog = this.#isBacklogFirst();
    const number = isBacklog ? this.#backlog.number : this.#order.numberAt(0);
    const key = isBacklog ? this.#backlog.key : this.#order.keyAt(0);
    return {
      weight: this.#weights.get(number),
      rank: { key, since: this.#since.get(number) },
      note: this.#notes.get(number),
    };
  }

  putBack(item: T, { weight, rank, note }: Particulars<Rank>): void {
    const { key } = rank!;
    const number = this.#enter(item, weight, rank!, note);
    if (this.#unrolled) this.#append(item, number, key);
    else this.#backlog.addFirst(key, number, item);
  }

  shift(): T {
    if (!this.#isBacklogFirst()) return this.#removeAt(0);
    const number = this.#backlog.number;
    return this.#gone(number, this.#backlog.take());
  }

  line<P>(): WaitingLine<Putter<P>> {
    return new RankedLine<P>();
  }

  /** The first in order. Only called when there is one. */
  first(): T {
    return this.#isBacklogFirst()
      ? this.#backlog.item
      : this.#items.get(this.#order.numberAt(0)) as T;
  }

  yieldsTo({ key }: Rank): boolean {
    // Among equals the arriving one is the last.
    return this.length > 0 && this.#order.keyAt(this.#lastPlace()) > key;
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
    const order = this.#order;
    return this.#matching(match)
      .sort((left, right) => order.compare(left, right))
      .map((number) => this.#removeAt(order.placeOf(number)));
  }

  /** Gives those that match another key; what their arrival has added stays. Returns how many. */
  rerank(match: T | ((item: T) => boolean), key: number): number {
    const numbers = this.#matching(match);
    for (const number of numbers) {
      const next = key + this.#since.get(number);
      this.#fromTheEnd?.push(-next, ~number);
      this.#order.rekey(number, next);
    }
    return numbers.length;
  }

  // -- Storing ----------------------------------------------------------------

  /** Writes down all but where it is in order. */
  #enter(item: T, weight: number, rank: Rank, note: unknown): number {
    const number = this.#next++;
    this.#weights.set(number, weight);
    this.#since.set(number, rank.since);
    this.#notes.set(number, note);
    this.size += weight;
    if (this.#identities !== undefined) {
      identify(this.#identities, item, number);
    }
    this.#fromTheEnd?.push(-rank.key, ~number);
    return number;
  }

  #append(item: T, number: number, key: number): void {
    this.#items.set(number, item);
    this.#order.push(key, number);
  }

  #removeAt(place: number): T {
    const number = this.#order.numberAt(place);
    const item = this.#items.take(number) as T;
    this.#order.removeAt(place);
    return this.#gone(number, item);
  }

  /** What follows when an item has been taken out. */
  #gone(number: number, item: T): T {
    this.size -= this.#weights.get(number);
    this.#notes.take(number);
    if (this.#identities !== undefined) forget(this.#identities, item, number);
    if (this.length === 0) this.#empty();
    return item;
  }

  #empty(): void {
    // Fractions added and taken off again drift; an empty heap weighs nothing.
    this.size = 0;
    if (this.#holds > 0) return;
    this.#fromTheEnd = undefined;
    this.#unrolled = false;
    this.#weights.clear();
    this.#since.clear();
    this.#notes.clear();
    if (this.#next > SPARE) {
      // The memory of a backlog is given back.
      this.#items.clear();
      this.#order.clear();
    }
    this.#next = 0;
  }

  #isBacklogFirst(): boolean {
    if (this.#backlog.length === 0) return false;
    // Among equals what is in the backlog came first.
    return this.#order.length === 0 ||
      this.#backlog.key <= this.#order.keyAt(0);
  }

  /** Numbers what is stored from 0 again. O(n), once n have left. */
  #renumber(): void {
    if (this.#holds > 0) return;
    this.#identities = undefined;
    this.#fromTheEnd = undefined;
    this.#unrolled = false;
    const later = new Int32Array(this.#next);
    this.#order.mark(later);
    this.#backlog.mark(later);
    const kept = new Int32Array(this.length);
    let next = 0;
    for (let number = 0; number < later.length; number++) {
      if (later[number] === 0) continue;
      kept[next] = number;
      later[number] = next++;
    }
    this.#order.renumber(later);
    this.#backlog.renumber(later);
    for (
      const column of [this.#items, this.#weights, this.#since, this.#notes]
    ) column.keep(kept);
    this.#next = next;
  }

  // -- Finding ----------------------------------------------------------------

  #matching(match: T | ((item: T) => boolean)): number[] {
    this.#unroll();
    const known = this.#index().get(match as T);
    if (known !== undefined) {
      return typeof known === "number" ? [known] : [...known];
    }
    if (typeof match !== "function") return [];
    const isStored = (number: number): boolean =>
      this.#order.placeOf(number) >= 0;
    // The predicate is user code and may use the queue meanwhile.
    this.#holds++;
    try {
      return [...this.#order.stored()].filter((number) => {
        if (!isStored(number)) return false;
        const item = this.#items.get(number) as T;
        const matches = (match as (item: T) => boolean)(item);
        refusePromise("match", "match(item)", matches);
        return matches;
      }).filter(isStored);
    } finally {
      this.#holds--;
    }
  }

  #index(): Map<T, number | number[]> {
    if (this.#identities === undefined) {
      this.#identities = new Map();
      for (const number of this.#order.stored()) {
        identify(this.#identities, this.#items.get(number) as T, number);
      }
    }
    return this.#identities;
  }

  #unroll(): void {
    this.#unrolled = true;
    this.#backlog.moveInto(this.#order, this.#items);
  }

  /** The place of the last in order. */
  #lastPlace(): number {
    this.#unroll();
    const order = this.#order;
    const known = this.#fromTheEnd;
    if (known === undefined || known.length > 2 * this.length + SPARE) {
      this.#fromTheEnd = order.reversed();
    }
    for (const ends = this.#fromTheEnd!;; ends.removeAt(0)) {
      const place = order.placeOf(~ends.numberAt(0));
      // What has left, or got another key since, is passed over.
      if (place >= 0 && order.keyAt(place) === -ends.keyAt(0)) return place;
    }
  }
}

/** Numbers in the order of their keys, and in their own among equal keys. */
class Tree {
  length = 0;
  #keys: Float64Array = new Float64Array(SMALLEST);
  #numbers: Int32Array = new Int32Array(SMALLEST);
  /** By number. Kept only once somebody asks: writing it down costs as much as all the rest. */
  #places: Int32Array | undefined = undefined;

  keyAt(place: number): number {
    return this.#keys[place]!;
  }

  numberAt(place: number): number {
    return this.#numbers[place]!;
  }

  /** The place of a number, -1 if it is not in here. */
  placeOf(number: number): number {
    const place = (this.#places ??= this.#findPlaces())[number]!;
    return place < this.length && this.#numbers[place] === number ? place : -1;
  }

  /** All numbers in here, by place. */
  stored(): Int32Array {
    return this.#numbers.slice(0, this.length);
  }

  push(key: number, number: number): void {
    if (this.length === this.#keys.length) this.#resize(this.length * 2);
    if (this.#places !== undefined && number >= this.#places.length) {
      this.#places = resized(this.#places, new Int32Array(number * 2));
    }
    this.#rise(this.length++, key, number);
  }

  removeAt(place: number): void {
    const last = --this.length;
    if (place !== last) {
      this.#settle(place, this.#keys[last]!, this.#numbers[last]!);
    }
  }

  /** Gives the first another key, which is no smaller. */
  replaceFirst(key: number): void {
    this.#sink(0, key, this.#numbers[0]!);
  }

  rekey(number: number, key: number): void {
    this.#settle(this.placeOf(number), key, number);
  }

  clear(): void {
    this.length = 0;
    this.#places = undefined;
    this.#resize(SMALLEST);
  }

  /** The same with all turned round: what is last here is first there. */
  reversed(): Tree {
    const other = new Tree();
    for (let place = 0; place < this.length; place++) {
      other.push(-this.#keys[place]!, ~this.#numbers[place]!);
    }
    return other;
  }

  /** Sets the mark of each number in here to 1. */
  mark(marks: Int32Array): void {
    for (let place = 0; place < this.length; place++) {
      marks[this.#numbers[place]!] = 1;
    }
  }

  /** Gives each number a new one, in the same order. */
  renumber(later: Int32Array): void {
    for (let place = 0; place < this.length; place++) {
      this.#numbers[place] = later[this.#numbers[place]!]!;
    }
    this.#places = undefined;
    if (this.#keys.length > 4 * this.length + SMALLEST) {
      this.#resize(2 * this.length + SMALLEST);
    }
  }

  /** The order of two numbers in here. */
  compare(left: number, right: number): number {
    const leftKey = this.#keys[this.placeOf(left)]!;
    const rightKey = this.#keys[this.placeOf(right)]!;
    if (leftKey !== rightKey) return leftKey < rightKey ? -1 : 1;
    return left - right;
  }

  #findPlaces(): Int32Array {
    const numbers = this.stored();
    const highest = numbers.reduce((one, other) => Math.max(one, other), 0);
    const places = new Int32Array(highest + SMALLEST);
    for (const [place, number] of numbers.entries()) places[number] = place;
    return places;
  }

  #resize(capacity: number): void {
    this.#keys = resized(this.#keys, new Float64Array(capacity));
    this.#numbers = resized(this.#numbers, new Int32Array(capacity));
  }

  #comesBefore(key: number, number: number, place: number): boolean {
    const other = this.#keys[place]!;
    return key === other ? number < this.#numbers[place]! : key < other;
  }

  /** Puts a number down where it belongs, above or below a place. */
  #settle(place: number, key: number, number: number): void {
    if (place > 0 && this.#comesBefore(key, number, (place - 1) >> SHIFT)) {
      this.#rise(place, key, number);
    } else this.#sink(place, key, number);
  }

  #rise(place: number, key: number, number: number): void {
    const keys = this.#keys;
    const numbers = this.#numbers;
    const places = this.#places;
    while (place > 0) {
      const parent = (place - 1) >> SHIFT;
      if (!this.#comesBefore(key, number, parent)) break;
      const moved = numbers[parent]!;
      keys[place] = keys[parent]!;
      numbers[place] = moved;
      if (places !== undefined) places[moved] = place;
      place = parent;
    }
    keys[place] = key;
    numbers[place] = number;
    if (places !== undefined) places[number] = place;
  }

  /** The hot loop: written out, because a call for each comparison costs a third more. */
  #sink(place: number, key: number, number: number): void {
    const keys = this.#keys;
    const numbers = this.#numbers;
    const places = this.#places;
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
          (other === bestKey && numbers[child]! < numbers[best]!)
        ) {
          best = child;
          bestKey = other;
        }
      }
      const moved = numbers[best]!;
      if (key < bestKey || (key === bestKey && number < moved)) break;
      keys[place] = bestKey;
      numbers[place] = moved;
      if (places !== undefined) places[moved] = place;
      place = best;
    }
    keys[place] = key;
    numbers[place] = number;
    if (places !== undefined) places[number] = place;
  }
}

/** Items that have been sorted, with keys and numbers; those before `at` have left. */
interface Run<T> {
  readonly keys: Float64Array;
  readonly numbers: Int32Array;
  readonly items: (T | undefined)[];
  at: number;
}

/**
 * Many items, as sorted runs that are read from front to back. A large tree
 * misses the cache at each level and again for the item; here only the first of
 * each run are compared, and the next of a run lie side by side.
 */
class Backlog<T> {
  length = 0;
  /** The keys of the first of each run. A run with a higher number has the later items, so that decides among equals. */
  readonly #firsts: Tree = new Tree();
  readonly #runs: Map<number, Run<T>> = new Map();
  #next = 0;
  /** The number of the run that is before all others. */
  #first = 0;

  get key(): number {
    return this.#firsts.keyAt(0);
  }

  get number(): number {
    const { numbers, at } = this.#firstRun();
    return numbers[at]!;
  }

  get item(): T {
    const { items, at } = this.#firstRun();
    return items[at] as T;
  }

  take(): T {
    const run = this.#firstRun();
    const item = run.items[run.at] as T;
    run.items[run.at++] = undefined;
    this.length--;
    if (run.at < run.keys.length) this.#firsts.replaceFirst(run.keys[run.at]!);
    else {
      this.#runs.delete(this.#firsts.numberAt(0));
      this.#firsts.removeAt(0);
    }
    return item;
  }

  /** Sorts all that is in a tree, which came after everything in here, and empties the tree. */
  add(order: Tree, items: Column<T | undefined>): void {
    if (this.#runs.size > RUNS + 2 * this.length / RUN) this.#merge();
    const run = emptyRun<T>(order.length);
    for (let at = 0; at < run.keys.length; at++) {
      const number = order.numberAt(0);
      run.keys[at] = order.keyAt(0);
      run.numbers[at] = number;
      run.items.push(items.take(number));
      order.removeAt(0);
    }
    items.clear();
    this.#include(run, this.#next++);
  }

  /** Adds an item that comes before its equals. */
  addFirst(key: number, number: number, item: T): void {
    const run = emptyRun<T>(1);
    run.keys[0] = key;
    run.numbers[0] = number;
    run.items.push(item);
    this.#include(run, --this.#first);
  }

  /** Puts everything into a tree. */
  moveInto(order: Tree, items: Column<T | undefined>): void {
    while (this.length > 0) {
      const { key, number } = this;
      order.push(key, number);
      items.set(number, this.take());
    }
  }

  mark(marks: Int32Array): void {
    for (const { numbers, at } of this.#runs.values()) {
      for (let place = at; place < numbers.length; place++) {
        marks[numbers[place]!] = 1;
      }
    }
  }

  renumber(later: Int32Array): void {
    for (const { numbers, at } of this.#runs.values()) {
      for (let place = at; place < numbers.length; place++) {
        numbers[place] = later[numbers[place]!]!;
      }
    }
  }

  /** Gives back the memory of what has left, and makes a few runs of many. */
  #merge(): void {
    const run = emptyRun<T>(this.length);
    for (let at = 0; at < run.keys.length; at++) {
      run.keys[at] = this.key;
      run.numbers[at] = this.number;
      run.items.push(this.take());
    }
    this.#include(run, this.#next++);
  }

  #include(run: Run<T>, number: number): void {
    this.length += run.keys.length;
    this.#firsts.push(run.keys[0]!, number);
    this.#runs.set(number, run);
  }

  #firstRun(): Run<T> {
    return this.#runs.get(this.#firsts.numberAt(0))!;
  }
}

function emptyRun<T>(length: number): Run<T> {
  return {
    keys: new Float64Array(length),
    numbers: new Int32Array(length),
    items: [],
    at: 0,
  };
}

/**
 * Values by number, in pages so that growing copies nothing. A page of which all
 * are as usual takes no memory.
 */
class Column<V> {
  readonly #usual: V;
  #pages: (V[] | undefined)[] = [];

  constructor(usual: V) {
    this.#usual = usual;
  }

  get(number: number): V {
    const page = this.#pages[number >> PAGE_SHIFT];
    return page === undefined ? this.#usual : page[number & PAGE_MASK]!;
  }

  /** Returns a value and makes it the usual one. */
  take(number: number): V {
    const page = this.#pages[number >> PAGE_SHIFT];
    if (page === undefined) return this.#usual;
    const value = page[number & PAGE_MASK]!;
    page[number & PAGE_MASK] = this.#usual;
    return value;
  }

  /** Changes a value, or adds the next. */
  set(number: number, value: V): void {
    const page = this.#pages[number >> PAGE_SHIFT];
    if (page !== undefined) page[number & PAGE_MASK] = value;
    else if (value !== this.#usual) this.#begin(number, value);
  }

  #begin(number: number, value: V): void {
    const page = new Array<V>(number & PAGE_MASK).fill(this.#usual);
    page.push(value);
    while (this.#pages.length < number >> PAGE_SHIFT) {
      this.#pages.push(undefined);
    }
    this.#pages[number >> PAGE_SHIFT] = page;
  }

  /** Keeps the values of these numbers, which ascend; they are then numbered from 0. */
  keep(numbers: Int32Array): void {
    if (this.#pages.length === 0) return;
    for (let next = 0; next < numbers.length; next++) {
      this.set(next, this.get(numbers[next]!));
    }
    const last = numbers.length >> PAGE_SHIFT;
    this.#pages.length = Math.min(this.#pages.length, last + 1);
    const page = this.#pages[last];
    if (page !== undefined) {
      page.length = Math.min(page.length, numbers.length & PAGE_MASK);
    }
  }

  clear(): void {
    this.#pages = [];
  }
}

/** An item that is stored more than once has several numbers. */
function identify<T>(
  identities: Map<T, number | number[]>,
  item: T,
  number: number,
): void {
  const others = identities.get(item);
  if (others === undefined) identities.set(item, number);
  else if (typeof others === "number") identities.set(item, [others, number]);
  else others.push(number);
}

function forget<T>(
  identities: Map<T, number | number[]>,
  item: T,
  number: number,
): void {
  const numbers = identities.get(item)!;
  if (typeof numbers === "number" || numbers.length === 1) {
    identities.delete(item);
  } else numbers.splice(numbers.indexOf(number), 1);
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
