/**
 * Who a task belongs to that is on its way: the worker that has begun it, or the
 * pool that has called it back. Decided in memory that both see, so that a task
 * behind a long one can go elsewhere without asking a thread that is busy.
 *
 * A cell holds the ticket of the task that was sent for it, until one side swaps
 * it for a word of its own. Tickets are never 0 or below, and each is used once, so
 * a message that was overtaken finds another ticket and is dropped. The cell is
 * written before the message is sent, and sending orders the two.
 *
 * @module
 */

const BEGUN = -1;
const RECALLED = 0;

/** Where there is no shared memory to be had, what was sent cannot be recalled. */
export function canShare(): boolean {
  return typeof SharedArrayBuffer === "function" &&
    (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated !==
      false;
}

/** The cells of one worker. */
export class Claims {
  readonly buffer: SharedArrayBuffer;
  readonly #cells: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#cells = new Int32Array(buffer);
  }

  static ofSize(cells: number): Claims {
    return new Claims(
      new SharedArrayBuffer(cells * Int32Array.BYTES_PER_ELEMENT),
    );
  }

  /** The pool is about to send a task. */
  offer(cell: number, ticket: number): void {
    Atomics.store(this.#cells, cell, ticket);
  }

  /** The worker wants to begin. False when the task was called back. */
  begin(cell: number, ticket: number): boolean {
    return this.#swap(cell, ticket, BEGUN);
  }

  /** The pool wants the task back. False when the worker has begun. */
  recall(cell: number, ticket: number): boolean {
    return this.#swap(cell, ticket, RECALLED);
  }

  hasBegun(cell: number): boolean {
    return Atomics.load(this.#cells, cell) === BEGUN;
  }

  #swap(cell: number, ticket: number, word: number): boolean {
    return Atomics.compareExchange(this.#cells, cell, ticket, word) === ticket;
  }
}
