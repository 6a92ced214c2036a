/**
 * What has gone wrong with the items of a run.
 *
 * @module
 */

/** What went wrong with an item so far. */
export interface Failure {
  attempts: number;
  first: unknown;
  last: unknown;
  firstAt: number;
  lastAt: number;
}

/** How many failures are remembered of items that are elsewhere meanwhile. */
const MEMORY = 1_000;

/**
 * What went wrong with the items that went back to where they came from, to be
 * delivered again. Equal items after equally many attempts are told apart by
 * nobody, so they may change places. Who does not come back is forgotten.
 */
export class FailureMemory<T> {
  readonly #failures: Map<T, Failure[]> = new Map();

  remember(item: T, failure: Failure): void {
    const failures = this.#failures.get(item);
    if (failures !== undefined) {
      failures.push(failure);
      if (failures.length > MEMORY) failures.shift();
      return;
    }
    this.#failures.set(item, [failure]);
    if (this.#failures.size <= MEMORY) return;
    const [oldest] = this.#failures.keys();
    this.#failures.delete(oldest as T);
  }

  recall(item: T, attempt: number): Failure | undefined {
    const failures = this.#failures.get(item);
    if (failures === undefined) return undefined;
    const at = failures.findIndex(({ attempts }) => attempts === attempt - 1);
    if (at === -1) return undefined;
    const [failure] = failures.splice(at, 1);
    if (failures.length === 0) this.#failures.delete(item);
    return failure;
  }
}
