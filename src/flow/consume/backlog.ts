/**
 * The items of a run that have not ended: which of them can begin, which wait for
 * their key or to be tried again, and which are under way.
 *
 * @module
 */

import { Ring } from "../../buffers/ring.ts";
import { ignore } from "../../callbacks.ts";
import { Chain } from "../../chain.ts";
import { Alarm, type Clock } from "../../clock.ts";
import type { Delivery } from "../../delivery.ts";
import { ItemCall } from "./calls.ts";
import { KeyLines } from "./keys.ts";
import type { ConsumeOptions } from "./options.ts";

/** How many items may wait to be tried again. */
const MAX_DELAYED = 1_000;

/** All jobs of a run, until they end. */
export class Backlog<T> {
  /** How many items have come. */
  received = 0;
  /** Jobs with a handler, or on their way to the dead letters. */
  underWay = 0;
  /** Jobs that wait to be tried again. */
  #delayed = 0;
  /** Oldest first. */
  readonly #all: Chain<ItemCall<T>> = new Chain();
  /** Those that can begin, in order. */
  readonly #ready: Ring<ItemCall<T>> = new Ring();
  readonly #keys: KeyLines<ItemCall<T>> | undefined;
  readonly #readAhead: number;
  readonly #clock: Clock;
  /** For how long the items are lent at a time; undefined when for ever. */
  readonly #visibility: number | undefined;
  readonly #renewal: Alarm;

  constructor(
    { keyOf, readAhead = 64 }: ConsumeOptions<T>,
    clock: Clock,
    visibility: number | undefined,
  ) {
    this.#keys = keyOf && new KeyLines();
    this.#readAhead = readAhead;
    this.#clock = clock;
    this.#visibility = visibility === Infinity ? undefined : visibility;
    this.#renewal = new Alarm(clock, () => this.#renew());
  }

  get isEmpty(): boolean {
    return this.#all.first === undefined;
  }

  /** The one that came last. */
  get newest(): ItemCall<T> | undefined {
    return this.#all.last;
  }

  /** How many can begin. */
  get ready(): number {
    return this.#ready.length;
  }

  /** Whether items may be taken beside those that can begin. */
  get hasRoom(): boolean {
    return this.#delayed < MAX_DELAYED &&
      (this.#keys === undefined || this.#keys.waiting < this.#readAhead);
  }

  /** An item has come. */
  add(item: T, delivery: Delivery<T> | undefined): ItemCall<T> {
    const job = new ItemCall(item, delivery);
    this.received++;
    this.#all.push(job);
    if (this.#visibility !== undefined) this.#renewLater();
    return job;
  }

  /** Whether no other job of its key is ahead; if one is, it can begin when those have ended. */
  enterLine(job: ItemCall<T>): boolean {
    if (this.#keys === undefined || this.#keys.enter(job)) return true;
    job.waitingSince = this.#clock.now();
    return false;
  }

  /** It can begin. */
  release(job: ItemCall<T>): void {
    this.#ready.push(job, 1);
  }

  /** The first that can begin. */
  next(): ItemCall<T> {
    return this.#ready.shift();
  }

  /** A call begins with it. */
  begin(job: ItemCall<T>): void {
    job.state = "under way";
    this.underWay++;
  }

  /** Nobody works on it any more. */
  rest(job: ItemCall<T>): undefined {
    if (job.state !== "under way") return;
    job.state = "waiting";
    this.underWay--;
  }

  /** Tries it again after a while, in its place; then calls back. */
  retryAfter(job: ItemCall<T>, delay: number, released: () => void): void {
    this.rest(job);
    this.#delayed++;
    const next = job.again();
    this.#all.replace(job, next);
    job.state = "ended";
    next.timer = this.#clock.setTimer(() => {
      next.timer = undefined;
      this.#delayed--;
      this.release(next);
      released();
    }, delay);
  }

  /** It has ended; who is behind it can begin. */
  remove(job: ItemCall<T>): void {
    if (job.state === "under way") this.underWay--;
    job.state = "ended";
    this.#all.remove(job);
    if (this.#keys === undefined) return;
    const follower = this.#keys.leave(job.key);
    if (follower !== undefined) this.release(follower);
  }

  /** Those that came and could not begin at once begin to wait. Most can, and the time is not worth asking for. */
  noteWaiting(): void {
    let now: number | undefined;
    for (
      let job = this.#all.last;
      job?.state === "waiting" && job.waitingSince === undefined;
      job = job.previous
    ) job.waitingSince = now ??= this.#clock.now();
  }

  /** Nothing is tried again any more. */
  stopRetries(): void {
    for (let job = this.#all.first; job !== undefined; job = job.next) {
      if (job.timer !== undefined) this.#clock.clearTimer(job.timer);
    }
  }

  /** Nothing is renewed any more. */
  stopRenewal(): void {
    this.#renewal.clear();
  }

  #renewLater(): void {
    this.#renewal.set(this.#visibility! / 3);
  }

  /** One alarm for all that is lent: who has been here at two of them in a row needs more time. */
  #renew(): void {
    for (let job = this.#all.first; job !== undefined; job = job.next) {
      if (job.isOld) extend(job.delivery, this.#visibility!);
      job.isOld = true;
    }
    if (!this.isEmpty) this.#renewLater();
  }
}

function extend<T>(
  delivery: Delivery<T> | undefined,
  milliseconds: number,
): void {
  try {
    const answer = delivery?.extend(milliseconds);
    if (typeof answer === "object") answer.catch(ignore);
  } catch {
    // Lost, or about to be: the signal of the delivery tells.
  }
}
