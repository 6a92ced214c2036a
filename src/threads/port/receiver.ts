/**
 * Items that come over a port: asked for when somebody waits, and a little ahead.
 *
 * @module
 */

import type { Clock } from "../../clock.ts";
import {
  endOf,
  type GetManyOptions,
  type GetOptions,
  isAwaited,
  Queue,
  waitIn,
} from "../../queue.ts";
import type { DirectEnd, TakingEnd } from "../../views/readable.ts";
import { type WaiterGroup, WatchedLine } from "../../waiters.ts";
import type { ClientConnection } from "./connection.ts";

/** The taking side of a connected queue. */
export class PortReceiver<T> {
  readonly #wire: ClientConnection;
  /** How many may wait here for who takes next. */
  readonly #highWaterMark: number;
  /** Here, and not taken yet. */
  readonly #here: Queue<T>;
  readonly #end: DirectEnd<T>;
  /** Whether what goes back has to go itself. */
  returnsItems = false;
  /** How many came, less those that went back; and how many may come. */
  #arrived = 0;
  #asked = 0;
  /** The most that were ever asked for: what was lowered may have been sent. */
  #mostAsked = 0;
  /** How many were taken, as the other side knows. */
  #told = 0;
  /** Somebody would have taken an item. */
  #wished = false;
  #isServing = false;
  #over = false;

  constructor(
    wire: ClientConnection,
    { highWaterMark, clock }: { highWaterMark: number; clock: Clock },
  ) {
    this.#wire = wire;
    this.#highWaterMark = highWaterMark;
    this.#here = new Queue({ highWaterMark: Infinity, clock });
    this.#end = endOf(this.#here);
    waitIn(
      this.#here,
      new WatchedLine(() => {
        // Who is served may wait for the next before there is something to say.
        if (!this.#isServing) wire.touch();
      }),
    );
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

  get(options: GetOptions | undefined): Promise<T> {
    this.#wire.touch();
    return this.#here.get(options);
  }

  tryGet(): T | undefined {
    this.#wire.touch();
    this.#wished = true;
    return this.#here.tryGet();
  }

  getMany(max: number, options: GetManyOptions | undefined): Promise<T[]> {
    this.#wire.touch();
    return this.#here.getMany(max, options);
  }

  next(group?: WaiterGroup): Promise<IteratorResult<T, undefined>> {
    this.#wire.touch();
    return group === undefined ? this.#here.next() : this.#end.next(group);
  }

  /** As the end of a readable; cancelling that does no more than is said here. */
  end(cancel?: (reason: unknown) => void): TakingEnd<T> {
    return {
      next: (group) => this.next(group),
      serve: (receiver) => {
        this.#wire.touch();
        this.#end.serve(receiver);
      },
      hasNext: () => this.#end.hasNext(),
      take: () => {
        this.#wire.touch();
        return this.#end.take();
      },
      cancel,
      watch: (view) => this.#end.watch(view),
      unwatch: (view) => this.#end.unwatch(view),
    };
  }

  // -- What the other side says -------------------------------------------------

  /** Gives the rule of the protocol that the items break, if any. */
  arrive(items: readonly T[]): string | undefined {
    if (this.#arrived + items.length > this.#mostAsked) {
      return "items must have been asked for";
    }
    this.#arrived += items.length;
    if (this.#over) this.#giveBack(items);
    else this.#store(items);
    return undefined;
  }

  #store(items: readonly T[]): void {
    this.#isServing = true;
    for (const item of items) this.#here.tryPut(item);
    this.#isServing = false;
    const surplus = this.#here.length - this.#highWaterMark;
    // Whoever waited for them has left, perhaps without a word: a native read that was given up.
    if (surplus > 0) this.#giveBackNewest(surplus);
    this.#wire.touch();
  }

  /** All has been taken, and nothing more will come. */
  ended(): void {
    this.#over = true;
    this.#here.close();
  }

  /** What is here goes back, and who waits learns why. */
  abort(reason: unknown): void {
    if (!this.#over) this.#giveBackNewest(this.#here.length);
    this.drop(reason);
  }

  /** The same, where nobody is there to give anything back to. */
  drop(reason: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#arrived -= this.#here.length;
    this.#here.clear();
    this.#here.abort(reason);
  }

  /** Says what was taken and how many may come. */
  tend(): void {
    this.#tellTaken();
    const asked = this.#wanted();
    this.#wished = false;
    if (asked === this.#asked) return;
    this.#asked = asked;
    this.#mostAsked = Math.max(this.#mostAsked, asked);
    this.#wire.send(["ask", asked]);
  }

  // -- Asking -------------------------------------------------------------------

  /** Ahead of whom comes, some are fetched; half of them are missed before more are asked for. */
  #wanted(): number {
    if (this.#over) return this.#arrived;
    const { waiting, length } = this;
    const ahead = this.#highWaterMark;
    const most = this.#arrived + waiting + ahead - length;
    if (waiting > 0) return most;
    // Somebody for whom it was asked has left without an item.
    if (this.#asked > most) return this.#arrived;
    return this.#wished && length <= ahead / 2 ? most : this.#asked;
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
