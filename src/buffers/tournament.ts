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
 * smallest number. To ask for the winner is O(1), to change a key O(log players)
 * at most: it ends at the first match whose outcome is as before.
 */
export class Tournament {
  readonly #keys: Float64Array;
  /** Of match m, which is between the winners of 2m and 2m + 1; player p stands at count + p. */
  readonly #winners: Int32Array;

  constructor(keys: Float64Array) {
    this.#keys = keys;
    this.#winners = new Int32Array(keys.length);
    for (let match = keys.length - 1; match >= 1; match--) {
      this.#winners[match] = this.#outcome(match);
    }
  }

  /** The player with the smallest key. */
  get first(): number {
    return this.#at(1);
  }

  /** The key of a player. */
  key(player: number): number {
    return this.#keys[player]!;
  }

  set(player: number, key: number): void {
    const keys = this.#keys;
    if (keys[player] === key) return;
    keys[player] = key;
    let match = (keys.length + player) >> 1;
    for (; match >= 1; match >>= 1) {
      const winner = this.#outcome(match);
      if (winner !== player && winner === this.#winners[match]) return;
      this.#winners[match] = winner;
    }
  }

  #outcome(match: number): number {
    const one = this.#at(2 * match);
    const other = this.#at(2 * match + 1);
    const oneKey = this.#keys[one]!;
    const otherKey = this.#keys[other]!;
    if (oneKey === otherKey) return Math.min(one, other);
    return oneKey < otherKey ? one : other;
  }

  #at(match: number): number {
    const count = this.#keys.length;
    return match >= count ? match - count : this.#winners[match]!;
  }
}
