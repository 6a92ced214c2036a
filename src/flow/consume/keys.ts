/**
 * One at a time for each key.
 *
 * @module
 */

/** What goes by a key. */
export interface Keyed {
  key: unknown;
}

/** Who is under way under which key, and who has to wait for that. */
export class KeyLines<K extends Keyed> {
  /** An entry for each key that is busy, with those behind it, in order. */
  readonly #lines: Map<unknown, K[]> = new Map();
  /** How many wait. */
  waiting = 0;

  /** Whether it may go on; if not, it waits until {@linkcode KeyLines.leave} returns it. */
  enter(keyed: K): boolean {
    const line = this.#lines.get(keyed.key);
    if (line === undefined) {
      this.#lines.set(keyed.key, []);
      return true;
    }
    line.push(keyed);
    this.waiting++;
    return false;
  }

  /** The one under way is done. Returns who is next under its key. */
  leave(key: unknown): K | undefined {
    const line = this.#lines.get(key);
    const next = line?.shift();
    if (next === undefined) this.#lines.delete(key);
    else this.waiting--;
    return next;
  }
}
