/**
 * A d-ary heap of slots.
 *
 * Source: D. B. Johnson, "Priority queues with update and finding minimum
 * spanning trees", Information Processing Letters 4 (1975), for heaps with more
 * than two children.
 *
 * @module
 */

/** A node has 4 children: two levels of a binary tree for one line of cache. */
const SHIFT = 2;
const CHILDREN: number = 1 << SHIFT;
const SMALLEST = 8;

/** Slots in the order of their keys, and of their arrival among equal keys. */
export class Tree {
  length = 0;
  keys: Float64Array = new Float64Array(SMALLEST);
  slots: Int32Array = new Int32Array(SMALLEST);
  /** By slot. */
  arrivals: Float64Array = new Float64Array(SMALLEST);

  arrive(slot: number, arrival: number): void {
    if (slot >= this.arrivals.length) {
      this.arrivals = grown(this.arrivals, new Float64Array(2 * slot));
    }
    this.arrivals[slot] = arrival;
  }

  /** Adds a slot that has arrived. */
  push(key: number, slot: number): void {
    const place = this.length++;
    if (place === this.keys.length) {
      this.keys = grown(this.keys, new Float64Array(2 * place));
      this.slots = grown(this.slots, new Int32Array(2 * place));
    }
    this.#rise(place, key, slot);
  }

  removeFirst(): void {
    const last = --this.length;
    if (last > 0) this.#replaceFirst(this.keys[last]!, this.slots[last]!);
  }

  /** Puts another slot with the same key in the place of the first. */
  replaceFirst(slot: number): void {
    this.#replaceFirst(this.keys[0]!, slot);
  }

  #rise(place: number, key: number, slot: number): void {
    const { keys, slots, arrivals } = this;
    while (place > 0) {
      const parent = (place - 1) >> SHIFT;
      const other = keys[parent]!;
      const moved = slots[parent]!;
      if (other < key) break;
      if (other === key && arrivals[moved]! < arrivals[slot]!) break;
      keys[place] = other;
      slots[place] = moved;
      place = parent;
    }
    keys[place] = key;
    slots[place] = slot;
  }

  /** What comes from the end belongs near it: it rises from there, which takes fewer comparisons than to sink. */
  #replaceFirst(key: number, slot: number): void {
    const { keys, slots, arrivals, length } = this;
    let place = 0;
    for (let best = 1; best < length; best = (place << SHIFT) + 1) {
      const end = best + CHILDREN < length ? best + CHILDREN : length;
      let bestKey = keys[best]!;
      for (let child = best + 1; child < end; child++) {
        const other = keys[child]!;
        if (other > bestKey) continue;
        if (
          other === bestKey &&
          arrivals[slots[child]!]! > arrivals[slots[best]!]!
        ) continue;
        best = child;
        bestKey = other;
      }
      keys[place] = bestKey;
      slots[place] = slots[best]!;
      place = best;
    }
    this.#rise(place, key, slot);
  }
}

/** A larger array with what is in a smaller one. */
export function grown<A extends Float64Array | Int32Array>(from: A, to: A): A {
  to.set(from);
  return to;
}
