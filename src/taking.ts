/**
 * Who waits for an item, and what each of them makes of one.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import { QueueClosedError } from "./errors.ts";
import { Receiver, WaiterGroup } from "./waiters.ts";

/** Waits for one item, in the words of `get()`. */
export class Getter<T> extends Receiver<T> {
  readonly #resolve: (item: T) => void;
  readonly #reject: (reason: unknown) => void;

  constructor(resolve: (item: T) => void, reject: (reason: unknown) => void) {
    super();
    this.#resolve = resolve;
    this.#reject = reject;
  }

  accept(item: T): void {
    this.leave();
    this.#resolve(item);
  }

  end(): void {
    this.#reject(
      new QueueClosedError(
        "Cannot get: the queue must be open or hold items, " +
          "received one that is closed and empty",
      ),
    );
  }

  reject(reason: unknown): void {
    this.#reject(reason);
  }
}

/** Waits for one item, in the words of an iterator. */
export class NextGetter<T> extends Receiver<T> {
  readonly #resolve: (result: IteratorResult<T, undefined>) => void;
  readonly #reject: (reason: unknown) => void;

  constructor(
    resolve: (result: IteratorResult<T, undefined>) => void,
    reject: (reason: unknown) => void,
  ) {
    super();
    this.#resolve = resolve;
    this.#reject = reject;
  }

  accept(value: T): void {
    this.leave();
    this.#resolve({ done: false, value });
  }

  end(): void {
    this.#resolve({ done: true, value: undefined });
  }

  reject(reason: unknown): void {
    this.#reject(reason);
  }
}

/** Collects a batch. From its first item on it lingers, and no longer fails. */
export class BatchGetter<T> extends Receiver<T> {
  readonly #resolve: (items: T[]) => void;
  readonly #reject: (reason: unknown) => void;
  readonly #items: T[];
  readonly #max: number;
  readonly #linger: number;
  readonly #clock: Clock;
  #timer: unknown = undefined;

  constructor(
    resolve: (items: T[]) => void,
    reject: (reason: unknown) => void,
    items: T[],
    max: number,
    linger: number,
    clock: Clock,
  ) {
    super();
    this.#resolve = resolve;
    this.#reject = reject;
    this.#items = items;
    this.#max = max;
    this.#linger = linger;
    this.#clock = clock;
    if (items.length > 0) this.#startLingering();
  }

  accept(item: T): void {
    this.#items.push(item);
    if (this.#items.length === this.#max || this.#linger === 0) {
      this.leave();
      this.end();
    } else if (this.#items.length === 1) this.#startLingering();
  }

  end(): void {
    if (this.#timer !== undefined) this.#clock.clearTimer(this.#timer);
    this.#resolve(this.#items);
  }

  reject(reason: unknown): void {
    if (this.#items.length > 0) this.end();
    else this.#reject(reason);
  }

  #startLingering(): void {
    this.#timer = this.#clock.setTimer(() => {
      this.leave();
      this.end();
    }, this.#linger);
  }
}

/** One consumer's iteration. Written by hand: a generator costs four times as much, and its return() waits behind a pending next(). */
export class QueueIterator<T> implements AsyncIterableIterator<T> {
  readonly #next: (
    group: WaiterGroup,
  ) => Promise<IteratorResult<T, undefined>>;
  readonly #pending: WaiterGroup = new WaiterGroup();
  #done = false;

  constructor(
    next: (group: WaiterGroup) => Promise<IteratorResult<T, undefined>>,
  ) {
    this.#next = next;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#done) return Promise.resolve({ done: true, value: undefined });
    return this.#next(this.#pending);
  }

  return(value?: unknown): Promise<IteratorResult<T, undefined>> {
    this.#done = true;
    this.#pending.endAll();
    return Promise.resolve({ done: true, value: value as undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
