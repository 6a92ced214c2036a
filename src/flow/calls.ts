/**
 * The items of a run and the calls of its handler.
 *
 * @module
 */

import type { Delivery } from "../delivery.ts";
import type { ConsumeContext } from "./consume_options.ts";
import type { Keyed } from "./keys.ts";
import type { Failure } from "./retry.ts";

/** An item from when it is taken until it has ended. All of them are in one list, oldest first. */
export class Job<T> implements Keyed {
  readonly item: T;
  readonly delivery: Delivery<T> | undefined;
  attempt: number;
  key: unknown = undefined;
  /** When it began to wait; undefined if it did not. */
  waitingSince: number | undefined = undefined;
  failure: Failure | undefined = undefined;
  /** A handler has it, or it is on its way to the dead letters. */
  underWay = false;
  /** The alarm of a retry. */
  timer: unknown = undefined;
  /** It has been lent for a while. */
  isOld = false;
  isListed = true;
  previous: Job<T> | undefined = undefined;
  next: Job<T> | undefined = undefined;

  constructor(item: T, delivery: Delivery<T> | undefined) {
    this.item = item;
    this.delivery = delivery;
    this.attempt = delivery === undefined ? 1 : delivery.attempt;
  }
}

/** One call of the handler: what it was called with. */
export class Call<T> implements ConsumeContext {
  readonly job: Job<T>;
  /** Those of the same batch. */
  readonly others: readonly Job<T>[] | undefined;
  readonly attempt: number;
  readonly age: number | undefined;
  readonly began: number;
  /** For how many calls its time stands; 0 when it is not measured. */
  readonly weight: number;
  /** Its jobs do not wait for it any more. */
  isOverrunning = false;
  isReported = false;
  readonly #shared: AbortSignal | undefined;
  #own: AbortController | undefined = undefined;
  /** Why its signal aborts, looked at or not. */
  aborted: { reason: unknown } | undefined = undefined;

  constructor(
    job: Job<T>,
    others: readonly Job<T>[] | undefined,
    attempt: number,
    age: number | undefined,
    began: number,
    weight: number,
    shared: AbortSignal | undefined,
  ) {
    this.job = job;
    this.others = others;
    this.attempt = attempt;
    this.age = age;
    this.began = began;
    this.weight = weight;
    this.#shared = shared;
  }

  get jobs(): readonly Job<T>[] {
    return this.others === undefined ? [this.job] : [this.job, ...this.others];
  }

  /** Made when somebody looks: most handlers do not, and a controller each would cost more than all the rest. */
  get signal(): AbortSignal {
    if (this.#shared !== undefined) return this.#shared;
    if (this.#own === undefined) this.#makeOwn();
    return this.#own!.signal;
  }

  abort(reason: unknown): void {
    this.aborted ??= { reason };
    this.#own?.abort(reason);
  }

  #makeOwn(): void {
    this.#own = new AbortController();
    const isLent = this.job.delivery !== undefined;
    if (isLent && this.aborted === undefined) this.#followDeliveries();
    if (this.aborted !== undefined) this.#own.abort(this.aborted.reason);
  }

  /** The listeners go with the deliveries. */
  #followDeliveries(): void {
    for (const { delivery } of this.jobs) {
      const { signal } = delivery!;
      const lost = (): void => this.abort(signal.reason);
      if (signal.aborted) lost();
      else signal.addEventListener("abort", lost);
    }
  }
}

/** A place for a call, used again: its functions are made once. */
export class Slot<T> {
  call: Call<T> | undefined = undefined;
  timer: unknown = undefined;
  readonly fulfilled: (result: unknown) => void;
  readonly rejected: (error: unknown) => void;
  readonly timedOut: () => void;
  readonly overran: () => void;

  constructor(owner: {
    fulfilled(slot: Slot<T>, result: unknown): void;
    rejected(slot: Slot<T>, error: unknown): void;
    timedOut(slot: Slot<T>): void;
    overran(slot: Slot<T>): void;
  }) {
    this.fulfilled = (result) => owner.fulfilled(this, result);
    this.rejected = (error) => owner.rejected(this, error);
    this.timedOut = () => owner.timedOut(this);
    this.overran = () => owner.overran(this);
  }
}
