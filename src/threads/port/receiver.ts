/**
 * Items that come over a port: asked for when somebody waits, and a little ahead.
 *
 * @module
 */

import type { Clock } from "../../clock.ts";
import { endOf, isAwaited, Queue } from "../../queue.ts";
import { BatchGetter, Getter, NextGetter } from "../../taking.ts";
import type { TakingEnd } from "../../views/readable.ts";
import {
  type Receiver,
  SignalGroups,
  type WaiterGroup,
} from "../../waiters.ts";
import type { ClientFrame } from "./frames.ts";
import type { PortConnection } from "./connection.ts";

/** The taking side of a connected queue. */
export class PortReceiver<T> {
  readonly #wire: PortConnection<ClientFrame>;
  /** How many may wait here for who takes next. */
  readonly #highWaterMark: number;
  readonly #clock: Clock;
  /** Here, and not taken yet. */
  readonly #here: Queue<T> = new Queue({ highWaterMark: Infinity });
  readonly #end: TakingEnd<T> = endOf(this.#here);
  readonly #signals: SignalGroups = new SignalGroups();
  /** Whether what goes back has to go itself. */
  returnsItems = false;
  /** How many came, less those that went back; and how many may come. */
  #arrived = 0;
  #asked = 0;
  /** The most that were ever asked for: what was lowered may have been sent. */
  #mostAsked = 0;
  /** How many were taken, as the other side knows. */
  #told = 0;
  /** Somebody has left without an item. */
  #left = false;
  /** Somebody would have taken an item. */
  #wished = false;
  #over = false;
  readonly #whenLeft: () => void = () => {
    this.#left = true;
    this.#wire.touch();
  };

  constructor(
    wire: PortConnection<ClientFrame>,
    { highWaterMark, clock }: { highWaterMark: number; clock: Clock },
  ) {
    this.#wire = wire;
    this.#highWaterMark = highWaterMark;
    this.#clock = clock;
  }

  /** Items that are here. */
  get length(): number {
    return this.#here.length;
  }

  /** Items that a consumer here has got. */
  get taken(): number {
    return this.#arrived - this.#here.length;
  }

  /** Those who wait for an item. */
  get waiting(): number {
    return isAwaited(this.#here) ? this.#here.stats().waitingGets : 0;
  }

  get closed(): Promise<void> {
    return this.#here.closed;
  }

  /** Whether nothing more will be taken. */
  get over(): boolean {
    return this.#over;
  }

  get(signal: AbortSignal | undefined): Promise<T> {
    if (this.#hasNext()) return Promise.resolve(this.#take());
    return new Promise((resolve, reject) => {
      this.#serve(new PortGetter(resolve, reject, this.#whenLeft), signal);
    });
  }

  tryGet(): T | undefined {
    if (this.#hasNext()) return this.#take();
    this.#wished = true;
    this.#wire.touch();
    return undefined;
  }

  getMany(
    max: number,
    signal: AbortSignal | undefined,
    linger: number,
  ): Promise<T[]> {
    const items: T[] = [];
    while (items.length < max && this.#hasNext()) items.push(this.#take());
    if (items.length === max || (items.length > 0 && linger === 0)) {
      return Promise.resolve(items);
    }
    return new Promise((resolve, reject) => {
      this.#serve(
        new PortBatchGetter(
          resolve,
          reject,
          items,
          max,
          linger,
          this.#clock,
          this.#whenLeft,
        ),
        signal,
      );
    });
  }

  next(
    group: WaiterGroup | undefined,
  ): Promise<IteratorResult<T, undefined>> {
    if (this.#hasNext()) {
      return Promise.resolve({ done: false, value: this.#take() });
    }
    return new Promise((resolve, reject) => {
      const getter = new PortNextGetter<T>(resolve, reject, this.#whenLeft);
      this.#serve(getter, undefined);
      if (group !== undefined && getter.line !== undefined) group.add(getter);
    });
  }

  /** As the end of a readable. */
  end(cancel: (reason: unknown) => void): TakingEnd<T> {
    return {
      next: (group) => this.next(group),
      serve: (receiver) => this.#serve(receiver, undefined),
      hasNext: () => this.#hasNext(),
      take: () => this.#take(),
      cancel: (reason) => {
        this.#whenLeft();
        cancel(reason);
      },
      released: this.#whenLeft,
      watch: this.#end.watch,
      unwatch: this.#end.unwatch,
    };
  }

  // -- What the other side says -------------------------------------------------

  /** Whether so many may come. */
  mayArrive(count: number): boolean {
    return this.#arrived + count <= this.#mostAsked;
  }

  arrive(items: readonly T[]): void {
    this.#arrived += items.length;
    if (this.#over) return this.#giveBack(items);
    for (const item of items) this.#here.tryPut(item);
    const surplus = this.#here.length - this.#highWaterMark;
    if (surplus > 0) {
      // Whoever waited for them has left, perhaps without a word: a native read that was given up.
      this.#giveBackNewest(surplus);
      this.#whenLeft();
    }
    this.#wire.touch();
  }

  /** All has been taken, and nothing more will come. */
  ended(): void {
    this.#over = true;
    this.#here.close();
  }

  /** What is here goes back, and who waits learns why. */
  abort(reason: unknown): void {
    if (this.#over) return;
    this.#giveBackNewest(this.#here.length);
    this.drop(reason);
  }

  /** The same, where nobody is there to give anything back to. */
  drop(reason: unknown): void {
    this.#over = true;
    this.#arrived -= this.#here.length;
    this.#here.clear();
    this.#here.abort(reason);
  }

  /** Says what was taken and how many may come. */
  tend(): void {
    this.#tellTaken();
    const asked = this.#wanted();
    this.#left = false;
    this.#wished = false;
    if (asked === this.#asked) return;
    this.#asked = asked;
    this.#mostAsked = Math.max(this.#mostAsked, asked);
    this.#wire.send(["ask", asked]);
  }

  // -- Taking -------------------------------------------------------------------

  #serve(receiver: Receiver<T>, signal: AbortSignal | undefined): void {
    this.#end.serve(receiver);
    if (signal !== undefined && receiver.line !== undefined) {
      this.#signals.of(signal).add(receiver);
    }
    this.#wire.touch();
  }

  #hasNext(): boolean {
    return this.#end.hasNext();
  }

  #take(): T {
    this.#wire.touch();
    return this.#end.take();
  }

  // -- Asking -------------------------------------------------------------------

  /** Ahead of whom comes, some are fetched; half of them are missed before more are asked for. */
  #wanted(): number {
    if (this.#over) return this.#arrived;
    const { waiting, length } = this;
    const ahead = this.#highWaterMark;
    if (waiting > 0) return this.#arrived + waiting + ahead;
    if (this.#left) return this.#arrived;
    if (!this.#wished || length > ahead / 2) return this.#asked;
    return Math.max(this.#asked, this.#arrived + ahead - length);
  }

  #tellTaken(): void {
    const { taken } = this;
    if (taken === this.#told) return;
    this.#wished = true;
    this.#wire.send(["taken", taken - this.#told]);
    this.#told = taken;
  }

  #giveBackNewest(count: number): void {
    if (count === 0) return;
    const items = this.#here.clear();
    const kept = items.length - count;
    for (const item of items.slice(0, kept)) this.#here.tryPut(item);
    this.#arrived -= count;
    this.#tellTaken();
    this.#back(kept, items.slice(kept));
  }

  /** What came too late. */
  #giveBack(items: readonly T[]): void {
    this.#arrived -= items.length;
    this.#tellTaken();
    this.#back(0, items);
  }

  #back(place: number, items: readonly T[]): void {
    const returned = this.returnsItems ? [...items] : [];
    this.#wire.send(["back", place, items.length, returned]);
  }
}

class PortGetter<T> extends Getter<T> {
  readonly #left: () => void;

  constructor(
    resolve: (item: T) => void,
    reject: (reason: unknown) => void,
    left: () => void,
  ) {
    super(resolve, reject);
    this.#left = left;
  }

  override reject(reason: unknown): void {
    super.reject(reason);
    this.#left();
  }
}

class PortNextGetter<T> extends NextGetter<T> {
  readonly #left: () => void;

  constructor(
    resolve: (result: IteratorResult<T, undefined>) => void,
    reject: (reason: unknown) => void,
    left: () => void,
  ) {
    super(resolve, reject);
    this.#left = left;
  }

  override end(): void {
    super.end();
    this.#left();
  }

  override reject(reason: unknown): void {
    super.reject(reason);
    this.#left();
  }
}

class PortBatchGetter<T> extends BatchGetter<T> {
  readonly #left: () => void;

  constructor(
    resolve: (items: T[]) => void,
    reject: (reason: unknown) => void,
    items: T[],
    max: number,
    linger: number,
    clock: Clock,
    left: () => void,
  ) {
    super(resolve, reject, items, max, linger, clock);
    this.#left = left;
  }

  override end(): void {
    super.end();
    this.#left();
  }

  override reject(reason: unknown): void {
    super.reject(reason);
    this.#left();
  }
}
