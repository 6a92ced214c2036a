/**
 * An item that an engine has lent to this process.
 *
 * @module
 */

import { checkDelay } from "../../clock.ts";
import type { Delivery, NackOptions } from "../../delivery.ts";
import { wordsFor } from "../../errors.ts";
import type { BurialReason, Driver, Message } from "./driver.ts";
import type { ItemHeaders } from "./headers.ts";
import type { Connection } from "./connection.ts";

/** What a lent item needs of the handle it came to. */
export interface DeliveryHost<T, M extends Message> {
  readonly connection: Connection<Driver<M>>;
  /** How many deliveries an item has before it goes to the dead letters. */
  readonly attempts: number;
  /** It is no longer held here. */
  ended(delivery: EngineDelivery<T, M>): void;
}

/** A lent item; what is told of it is told to the engine. */
export class EngineDelivery<T, M extends Message> implements Delivery<T> {
  readonly item: T;
  readonly headers: ItemHeaders | undefined;
  readonly message: M;
  readonly attempt: number;
  readonly enqueuedAt: number | undefined;
  /** When it came, and until when it is lent, on the clock of this process. */
  readonly since: number;
  deadline: number;
  readonly #host: DeliveryHost<T, M>;
  #isOpen = true;
  #controller: AbortController | undefined = undefined;
  #lost: { readonly reason: unknown } | undefined = undefined;
  #timer: unknown = undefined;

  constructor(
    host: DeliveryHost<T, M>,
    item: T,
    headers: ItemHeaders | undefined,
    message: M,
    since: number,
    deadline: number,
  ) {
    this.item = item;
    this.headers = headers;
    this.message = message;
    this.attempt = message.attempt;
    this.enqueuedAt = message.age === undefined
      ? undefined
      : since - Math.max(0, message.age);
    this.since = since;
    this.deadline = deadline;
    this.#host = host;
  }

  /** Whether nobody has said yet what became of it. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Only who looks at it pays for the alarm. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#lost !== undefined) this.#controller.abort(this.#lost.reason);
      else this.watchDeadline();
    }
    return this.#controller.signal;
  }

  ack(): Promise<boolean> {
    return this.#settle((driver) => driver.ack(this.message));
  }

  nack(options?: NackOptions): Promise<boolean> {
    const delay = options?.delay ?? 0;
    checkDelay("nack", "delay", delay);
    if (options?.counted === false) return this.release(delay);
    if (this.attempt >= this.#host.attempts) {
      return this.#bury("failed", options?.reason);
    }
    return this.#settle((driver) => driver.nack(this.message, delay));
  }

  bury(reason?: unknown): Promise<boolean> {
    return this.#bury("rejected", reason);
  }

  /** Gives back what nothing is known against. */
  release(delay = 0): Promise<boolean> {
    return this.#settle((driver) => driver.release(this.message, delay));
  }

  async extend(milliseconds: number): Promise<boolean> {
    checkDelay("extend", "milliseconds", milliseconds);
    if (!this.#isOpen) return false;
    const { connection } = this.#host;
    const asked = connection.clock.now();
    const isOurs = await connection.insist(
      (driver) => driver.extend(this.message, milliseconds),
      () => this.deadline,
    );
    if (isOurs === true) this.#moveDeadline(asked + milliseconds);
    else if (isOurs === false) this.lose();
    return isOurs === true && this.#isOpen;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.nack();
  }

  /** It is somebody else's now, or about to be. */
  lose(): void {
    if (!this.#isOpen) return;
    this.#end();
    this.#lost = {
      reason: new DOMException(
        "The item was lent for longer than its visibility",
        "TimeoutError",
      ),
    };
    this.#controller?.abort(this.#lost.reason);
    this.#host.ended(this);
  }

  #bury(reason: BurialReason, error: unknown): Promise<boolean> {
    const words = error === undefined ? undefined : wordsOf(error);
    return this.#settle((driver) => driver.bury(this.message, reason, words));
  }

  async #settle(
    request: (driver: Driver<M>) => Promise<boolean>,
  ): Promise<boolean> {
    if (!this.#isOpen) return false;
    this.#end();
    try {
      const isOurs = await this.#host.connection.insist(
        request,
        () => this.deadline,
      );
      return isOurs === true;
    } finally {
      this.#host.ended(this);
    }
  }

  #end(): void {
    this.#isOpen = false;
    this.#host.connection.clock.clearTimer(this.#timer);
  }

  #moveDeadline(deadline: number): void {
    const isEarlier = deadline < this.deadline;
    this.deadline = deadline;
    if (!isEarlier || this.#timer === undefined) return;
    this.#host.connection.clock.clearTimer(this.#timer);
    this.#timer = undefined;
    this.watchDeadline();
  }

  /** Loses the item when its time is over, which may have moved on until then. */
  watchDeadline(): void {
    if (!this.#isOpen || this.#timer !== undefined) return;
    const { clock } = this.#host.connection;
    if (clock.now() >= this.deadline) return this.lose();
    this.#timer = clock.setTimer(() => {
      this.#timer = undefined;
      this.watchDeadline();
    }, this.deadline - clock.now());
  }
}

/** The most characters of an error that a dead letter tells. */
const MAX_WORDS = 2_000;

/** What a dead letter tells of an error. */
export function wordsOf(error: unknown): string {
  return wordsFor(error).slice(0, MAX_WORDS);
}
