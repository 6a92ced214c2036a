/**
 * Some of the whole numbers below a count.
 *
 * @module
 */

/** A set of indices. To join, to leave and to pick one is O(1), however many there are. */
export class IndexSet {
  readonly #members: number[] = [];
  /** Where each index is among the members; −1 where it is none. */
  readonly #places: Int32Array;

  constructor(count: number) {
    this.#places = new Int32Array(count).fill(-1);
  }

  get size(): number {
    return this.#members.length;
  }

  has(index: number): boolean {
    return this.#places[index]! >= 0;
  }

  /** The member at that place, from 0 to the size, in no particular order. */
  at(place: number): number | undefined {
    return this.#members[place];
  }

  /** Lets the index in or out. */
  set(index: number, isMember: boolean): void {
    const place = this.#places[index]!;
    if (place >= 0 === isMember) return;
    if (isMember) {
      this.#places[index] = this.#members.length;
      this.#members.push(index);
      return;
    }
    const last = this.#members.pop()!;
    this.#places[index] = -1;
    if (last === index) return;
    this.#members[place] = last;
    this.#places[last] = place;
  }
}
