/**
 * The items of a run and the calls of its handler.
 *
 * @module
 */

import type { Chained } from "../../chain.ts";
import type { Delivery } from "../../delivery.ts";
import type { ConsumeContext } from "./options.ts";
import type { Keyed } from "./keys.ts";
import type { Failure } from "./failures.ts";

/** One call of the handler: what it is told beside the item, or the items. */
export abstract class Call<T> implements ConsumeContext {
  attempt = 1;
  age: number | undefined = undefined;
  /** The signal of all calls, where none needs its own. */
  shared: AbortSignal | undefined = undefined;
  #own: AbortController | undefined = undefined;
  /** Why its signal aborts, looked at or not. */
  aborted: { reason: unknown } | undefined = undefined;

  /** Those it was made for. */
  abstract get jobs(): readonly ItemCall<T>[];

  /** What the handler gets. */
  abstract get work(): T | T[];

  /** Made when somebody looks: most handlers do not, and a controller each would cost more than all the rest. */
  get signal(): AbortSignal {
    if (this.shared !== undefined) return this.shared;
    if (this.#own === undefined) this.#makeOwn();
    return this.#own!.signal;
  }

  /** The signal, if somebody has looked at it and no other call has it. */
  get ownSignal(): AbortSignal | undefined {
    return this.#own?.signal;
  }

  abort(reason: unknown): void {
    this.aborted ??= { reason };
    this.#own?.abort(reason);
  }

  #makeOwn(): void {
    this.#own = new AbortController();
    if (this.aborted === undefined) this.#followDeliveries();
    if (this.aborted !== undefined) this.#own.abort(this.aborted.reason);
  }

  /** The listeners go with the deliveries. */
  #followDeliveries(): void {
    for (const { delivery } of this.jobs) {
      if (delivery === undefined) continue;
      const { signal } = delivery;
      const lost = (): void => this.abort(signal.reason);
      if (signal.aborted) lost();
      else signal.addEventListener("abort", lost);
    }
  }
}

/**
 * Where an attempt is: it waits for a place, for its key, or for its time; a handler
 * has it, or it is on its way to the dead letters; or it is no concern of the run.
 */
export type JobState = "waiting" | "under way" | "ended";

/**
 * One attempt at an item, from when that is taken until it has ended or is tried
 * again, and the call that the handler gets to see. All jobs are in one chain,
 * oldest first.
 */
export class ItemCall<T> extends Call<T>
  implements Keyed, Chained<ItemCall<T>> {
  readonly item: T;
  readonly delivery: Delivery<T> | undefined;
  key: unknown = undefined;
  /** When it began to wait; undefined if it did not. */
  waitingSince: number | undefined = undefined;
  failure: Failure | undefined = undefined;
  state: JobState = "waiting";
  /** The alarm of a retry. */
  timer: unknown = undefined;
  /** It has been lent for a while. */
  isOld = false;
  previous: ItemCall<T> | undefined = undefined;
  next: ItemCall<T> | undefined = undefined;

  constructor(item: T, delivery: Delivery<T> | undefined) {
    super();
    this.item = item;
    this.delivery = delivery;
    if (delivery !== undefined) this.attempt = delivery.attempt;
  }

  override get jobs(): readonly ItemCall<T>[] {
    return [this];
  }

  override get work(): T {
    return this.item;
  }

  get headers(): Readonly<Record<string, string>> | undefined {
    return this.delivery?.headers;
  }

  /** The next attempt: whoever kept this one will not see it change. */
  again(): ItemCall<T> {
    const job = new ItemCall(this.item, this.delivery);
    job.attempt = this.attempt + 1;
    job.key = this.key;
    job.failure = this.failure;
    job.isOld = this.isOld;
    return job;
  }
}

/** One call for several items. */
export class Batch<T> extends Call<T> {
  override readonly jobs: readonly ItemCall<T>[];

  constructor(jobs: readonly ItemCall<T>[]) {
    super();
    this.jobs = jobs;
    for (const { attempt, age } of jobs) {
      if (attempt > this.attempt) this.attempt = attempt;
      if (age !== undefined) this.age = Math.max(this.age ?? 0, age);
    }
  }

  override get work(): T[] {
    return this.jobs.map((job) => job.item);
  }
}
