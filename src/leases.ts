/**
 * What a queue has lent: who holds which item, for how long, and what becomes of
 * it.
 *
 * @module
 */

import { Chain, type Chained } from "./chain.ts";
import { checkDelay, checkTimeLimit, type Clock, setAlarm } from "./clock.ts";
import { QueueClosedError } from "./errors.ts";
import type { Delivery, NackOptions } from "./delivery.ts";
import type { Entry } from "./buffers/buffer.ts";
import { FULFILLED, leaving, Line, Receiver } from "./waiters.ts";

/** What is known of an item beside its weight and rank. */
export interface History {
  /** How many times it was delivered. */
  readonly attempt: number;
  /** When it was put, where that is noted. */
  readonly enqueuedAt: number | undefined;
}

/** Of an item that was put at a time that nobody noted. */
export const NEW: History = { attempt: 0, enqueuedAt: undefined };

/** What leases need of the queue behind them. */
export interface LendingEnd<T> {
  readonly clock: Clock;
  /** How many items may be lent at a time. */
  readonly most: number;
  /** Gives the next item to the receiver, now or later. */
  serve(receiver: LeaseReceiver<T>): void;
  /** A lent item is done. */
  done(): void;
  /** A lent item comes back. */
  putBack(item: T, entry: Entry): void;
}

/** The leases of one queue. */
export class Leases<T> {
  readonly end: LendingEnd<T>;
  /** Items that are lent. */
  inFlight = 0;
  /** Items that wait for the end of a `nack` with a delay. */
  readonly delayed: Set<Lease<T>> = new Set();
  readonly #open: Chain<Lease<T>> = new Chain();
  /** Receivers that wait for an item: each may need a lease. */
  #reserved = 0;
  /** Receivers that wait until they may wait for an item. */
  readonly #line: Line<LeaseReceiver<T>> = new Line();

  constructor(end: LendingEnd<T>) {
    this.end = end;
  }

  /** Items that may still come back. */
  get outstanding(): number {
    return this.inFlight + this.delayed.size;
  }

  /** Receivers that wait for others to be done. */
  get waiting(): number {
    return this.#line.length;
  }

  /** Serves the receiver as soon as no more than `most` items are lent with it. */
  admit(receiver: LeaseReceiver<T>): void {
    if (this.mayLend()) this.#serve(receiver);
    else this.#line.push(receiver);
  }

  /** Whether one more may be lent without overtaking a receiver. */
  mayLend(): boolean {
    return this.#line.first === undefined && this.#hasRoom();
  }

  /** Lends an item that nobody has waited for. */
  lend(item: T, entry: Entry, visibility: number): Delivery<T> {
    this.inFlight++;
    const lease = new Lease(this, item, entry, visibility);
    this.#open.push(lease);
    return lease;
  }

  /** A receiver got its item. */
  lendReserved(
    item: T,
    entry: Entry,
    visibility: number,
  ): Delivery<T> {
    this.#reserved--;
    return this.lend(item, entry, visibility);
  }

  /** A receiver goes without an item. */
  unreserve(): void {
    this.#reserved--;
    this.#admitNext();
  }

  done(lease: Lease<T>): void {
    this.#close(lease);
    this.end.done();
    this.#admitNext();
  }

  /** The item is the queue's again, after a while. */
  putBack(lease: Lease<T>, delay: number, counted: boolean): void {
    this.#close(lease);
    const entry = lease.entryAfter(counted);
    if (delay > 0) {
      this.delayed.add(lease);
      lease.startTimer(delay, () => {
        this.delayed.delete(lease);
        this.end.putBack(lease.item, entry);
      });
    } else this.end.putBack(lease.item, entry);
    this.#admitNext();
  }

  /** The queue was aborted: tells all who hold an item, and returns those that were to come back later. */
  abort(reason: unknown): T[] {
    const items: T[] = [];
    for (const lease of this.delayed) {
      lease.stopTimer();
      items.push(lease.item);
    }
    this.delayed.clear();
    for (const receiver of leaving(this.#line)) receiver.reject(reason);
    for (
      let lease = this.#open.first;
      lease !== undefined;
      lease = this.#open.first
    ) {
      this.#open.remove(lease);
      lease.tell(reason);
    }
    return items;
  }

  #close(lease: Lease<T>): void {
    this.inFlight--;
    if (!lease.isTold) this.#open.remove(lease);
  }

  #hasRoom(): boolean {
    return this.inFlight + this.#reserved < this.end.most;
  }

  #serve(receiver: LeaseReceiver<T>): void {
    this.#reserved++;
    receiver.reserved = true;
    this.end.serve(receiver);
  }

  #admitNext(): void {
    while (this.#line.first !== undefined && this.#hasRoom()) {
      const receiver = this.#line.first;
      // It stays in the group of its signal.
      this.#line.remove(receiver);
      this.#serve(receiver);
    }
  }
}

/** Waits for an item that is to be lent. */
export class LeaseReceiver<T> extends Receiver<T> {
  /** Whether it has been promised a lease. */
  reserved = false;
  readonly #leases: Leases<T>;
  readonly #visibility: number;
  readonly #resolve: (delivery: Delivery<T>) => void;
  readonly #reject: (reason: unknown) => void;

  constructor(
    leases: Leases<T>,
    visibility: number,
    resolve: (delivery: Delivery<T>) => void,
    reject: (reason: unknown) => void,
  ) {
    super();
    this.#leases = leases;
    this.#visibility = visibility;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  accept(item: T, weight?: number, rank?: unknown, note?: unknown): void {
    this.leave();
    const entry = { weight: weight ?? 1, rank, note };
    this.#resolve(
      this.#leases.lendReserved(item, entry, this.#visibility),
    );
  }

  end(): void {
    this.reject(
      new QueueClosedError(
        "Cannot receive: the queue must be open or hold items, " +
          "received one that is closed and empty",
      ),
    );
  }

  reject(reason: unknown): void {
    this.#reject(reason);
    if (this.reserved) this.#leases.unreserve();
  }
}

/** An item that is lent. It is in the chain of those that are until it is given up, or told that it is lost. */
class Lease<T> implements Delivery<T>, Chained<Lease<T>> {
  previous: Lease<T> | undefined = undefined;
  next: Lease<T> | undefined = undefined;
  readonly item: T;
  readonly attempt: number;
  readonly enqueuedAt: number | undefined;
  readonly #entry: Entry;
  readonly #leases: Leases<T>;
  #isOpen = true;
  #timer: unknown = undefined;
  /** Made when somebody asks for the signal. */
  #controller: AbortController | undefined = undefined;
  #lost: { reason: unknown } | undefined = undefined;

  constructor(
    leases: Leases<T>,
    item: T,
    entry: Entry,
    visibility: number,
  ) {
    const { attempt, enqueuedAt } = (entry.note ?? NEW) as History;
    this.item = item;
    this.attempt = attempt + 1;
    this.enqueuedAt = enqueuedAt;
    this.#entry = entry;
    this.#leases = leases;
    this.#expireAfter(visibility);
  }

  /** What goes back with the item. */
  entryAfter(counted: boolean): Entry {
    if (!counted) return this.#entry;
    const { attempt, enqueuedAt } = this;
    const note: History = { attempt, enqueuedAt };
    return { ...this.#entry, note };
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#lost !== undefined) this.#controller.abort(this.#lost.reason);
    }
    return this.#controller.signal;
  }

  ack(): boolean {
    if (!this.#giveUp()) return false;
    this.#leases.done(this);
    return true;
  }

  nack(options?: NackOptions): boolean {
    const delay = options?.delay ?? 0;
    checkDelay("nack", "delay", delay);
    if (!this.#giveUp()) return false;
    this.#leases.putBack(this, delay, options?.counted !== false);
    return true;
  }

  extend(milliseconds: number): boolean {
    checkTimeLimit("extend", "milliseconds", milliseconds);
    if (!this.#isOpen) return false;
    this.stopTimer();
    this.#expireAfter(milliseconds);
    return true;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.nack();
    return FULFILLED;
  }

  /** Whoever works on the item was told to stop. */
  get isTold(): boolean {
    return this.#lost !== undefined;
  }

  /** Tells whoever works on the item to stop. */
  tell(reason: unknown): void {
    if (this.#lost !== undefined) return;
    this.#lost = { reason };
    this.#controller?.abort(reason);
  }

  startTimer(milliseconds: number, ring: () => void): void {
    this.#timer = setAlarm(this.#leases.end.clock, ring, milliseconds);
  }

  stopTimer(): void {
    if (this.#timer === undefined) return;
    this.#leases.end.clock.clearTimer(this.#timer);
    this.#timer = undefined;
  }

  #giveUp(): boolean {
    if (!this.#isOpen) return false;
    this.#isOpen = false;
    this.stopTimer();
    return true;
  }

  #expireAfter(milliseconds: number): void {
    this.startTimer(milliseconds, () => {
      this.#isOpen = false;
      this.#leases.putBack(this, 0, true);
      this.tell(
        new DOMException(
          "The item was lent for longer than its visibility",
          "TimeoutError",
        ),
      );
    });
  }
}
