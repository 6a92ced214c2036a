/**
 * Who is first, of many whose keys change.
 *
 * Source: D. E. Knuth, The Art of Computer Programming, volume 3, 5.4.1, on
 * the tree of a tournament.
 *
 * @module
 */

/**
 * Players by number, each with a key. The smallest key wins, among equals the
 * smallest number. O(log players) at most; a change of key goes up only as far
 * as it makes a difference.
 */
export class Tournament {
  readonly #count: number;
  /** Of match m the smaller key of the matches, or players, 2m and 2m + 1; the players are the second half. */
  readonly #keys: Float64Array;

  constructor(keys: readonly number[]) {
    this.#count = 2 ** Math.ceil(Math.log2(keys.length));
    this.#keys = new Float64Array(2 * this.#count).fill(Infinity);
    this.#keys.set(keys, this.#count);
    for (let match = this.#count - 1; match >= 1; match--) {
      const one = this.#keys[2 * match]!;
      const other = this.#keys[2 * match + 1]!;
      this.#keys[match] = one <= other ? one : other;
    }
  }

  /** The player with the smallest key. */
  get first(): number {
    const keys = this.#keys;
    const count = this.#count;
    const key = keys[1];
    let match = 1;
    while (match < count) {
      match *= 2;
      if (keys[match] !== key) match++;
    }
    return match - count;
  }

  set(player: number, key: number): void {
    const keys = this.#keys;
    let match = this.#count + player;
    while (keys[match] !== key) {
      keys[match] = key;
      if (match === 1) return;
      const other = keys[match ^ 1]!;
      if (other < key) key = other;
      match >>= 1;
    }
  }
}
