/**
 * A queue that lends, as plain as possible: for tests of those who borrow.
 *
 * @module
 */

import type { Clock } from "../../src/clock.ts";
import type {
  Delivery,
  DeliverySource,
  NackOptions,
  ReceiveOptions,
} from "../../src/delivery.ts";
import { QueueClosedError } from "../../src/errors.ts";

interface Entry<T> {
  item: T;
  attempt: number;
  enqueuedAt: number;
}

/** What became of the items, by the name of the call. */
export interface LendingLog<T> {
  acked: T[];
  nacked: { item: T; delay: number; reason: unknown }[];
  extended: { item: T; milliseconds: number }[];
  expired: T[];
}

/** A {@linkcode DeliverySource} over an array. */
export class Lending<T> implements DeliverySource<T> {
  readonly log: LendingLog<T> = {
    acked: [],
    nacked: [],
    extended: [],
    expired: [],
  };
  readonly stored: Entry<T>[] = [];
  /** Deliveries that are neither acked nor back. */
  lent = 0;
  delayed = 0;
  mostLent = 0;
  readonly #clock: Clock;
  readonly #waiting: Set<() => void> = new Set();
  readonly #answersLater: boolean;
  #failure: { reason: unknown } | undefined = undefined;
  #closed = false;

  constructor(items: Iterable<T>, clock: Clock, answersLater = false) {
    this.#clock = clock;
    this.#answersLater = answersLater;
    for (const item of items) this.put(item);
  }

  put(item: T): void {
    this.stored.push({ item, attempt: 1, enqueuedAt: this.#clock.now() });
    this.#wake();
  }

  close(): this {
    this.#closed = true;
    this.#wake();
    return this;
  }

  fail(reason: unknown): void {
    this.#failure = { reason };
    this.close();
  }

  /** How many wait in `receive`. */
  get waiting(): number {
    return this.#waiting.size;
  }

  async receive(options: ReceiveOptions = {}): Promise<Delivery<T>> {
    const { signal, visibility } = options;
    for (;;) {
      if (signal?.aborted) throw signal.reason;
      const delivery = this.take(visibility);
      if (delivery !== undefined) return delivery;
      if (this.#closed && this.lent + this.delayed === 0) {
        throw this.#failure?.reason ??
          new QueueClosedError("Cannot receive: closed and empty");
      }
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake);
          signal?.removeEventListener("abort", wake);
          resolve();
        };
        this.#waiting.add(wake);
        signal?.addEventListener("abort", wake);
      });
    }
  }

  /** Lends what is there now. */
  take(visibility: number | undefined): Delivery<T> | undefined {
    const entry = this.stored.shift();
    return entry === undefined ? undefined : this.#lend(entry, visibility);
  }

  #lend(entry: Entry<T>, visibility: number | undefined): Delivery<T> {
    const { item, attempt, enqueuedAt } = entry;
    const controller = new AbortController();
    let timer: unknown;
    let isOurs = true;
    this.mostLent = Math.max(this.mostLent, ++this.lent);
    const give = (back: boolean, delay: number): boolean => {
      if (!isOurs) return false;
      isOurs = false;
      this.lent--;
      if (timer !== undefined) this.#clock.clearTimer(timer);
      if (back) this.#putBack(entry, delay);
      this.#wake();
      return true;
    };
    const lend = (milliseconds: number): void => {
      timer = this.#clock.setTimer(() => {
        this.log.expired.push(item);
        give(true, 0);
        controller.abort(new Error("expired"));
      }, milliseconds);
    };
    if (visibility !== undefined) lend(visibility);
    const answer = (value: boolean): boolean | Promise<boolean> =>
      this.#answersLater ? Promise.resolve(value) : value;
    const { log } = this;
    const clock = this.#clock;
    return {
      item,
      attempt,
      enqueuedAt,
      signal: controller.signal,
      ack() {
        const done = give(false, 0);
        if (done) log.acked.push(item);
        return answer(done);
      },
      nack({ delay = 0, reason }: NackOptions = {}) {
        const done = give(true, delay);
        if (done) log.nacked.push({ item, delay, reason });
        return answer(done);
      },
      extend(milliseconds) {
        if (!isOurs) return answer(false);
        log.extended.push({ item, milliseconds });
        if (timer !== undefined) clock.clearTimer(timer);
        lend(milliseconds);
        return answer(true);
      },
      [Symbol.asyncDispose]() {
        give(true, 0);
        return Promise.resolve();
      },
    };
  }

  #putBack({ item, attempt, enqueuedAt }: Entry<T>, delay: number): void {
    const entry = { item, attempt: attempt + 1, enqueuedAt };
    if (delay === 0) {
      this.stored.unshift(entry);
      return;
    }
    this.delayed++;
    this.#clock.setTimer(() => {
      this.delayed--;
      this.stored.unshift(entry);
      this.#wake();
    }, delay);
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}

/** One that can tell at once whether it has something. */
export class PromptLending<T> extends Lending<T> {
  tryReceive(options: ReceiveOptions = {}): Delivery<T> | undefined {
    return this.take(options.visibility);
  }
}
