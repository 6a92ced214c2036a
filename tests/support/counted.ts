/**
 * A source that keeps count of what is done to it.
 *
 * @module
 */

/** A source to read from, and what happened to it. */
export class Counted<T> implements AsyncIterable<T> {
  /** How often an item was asked for. */
  pulled = 0;
  /** How often it was left before its end. */
  returned = 0;
  readonly #itemAt: (index: number) => T | Promise<T>;
  readonly #length: number;
  readonly #onReturn: () => unknown;

  constructor(
    length: number,
    itemAt: (index: number) => T | Promise<T>,
    onReturn: () => unknown = () => {},
  ) {
    this.#length = length;
    this.#itemAt = itemAt;
    this.#onReturn = onReturn;
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return {
      next: async () => {
        if (this.pulled === this.#length) {
          return { done: true, value: undefined };
        }
        return { done: false, value: await this.#itemAt(this.pulled++) };
      },
      return: async () => {
        this.returned++;
        await this.#onReturn();
        return { done: true, value: undefined };
      },
    };
  }
}

/** So many numbers, from 0. */
export function numbers(
  length: number,
  onReturn?: () => unknown,
): Counted<number> {
  return new Counted(length, (index) => index, onReturn);
}
