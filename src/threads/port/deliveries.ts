/**
 * Items of a queue on their way over a port: deliveries that are not acknowledged
 * before a consumer there has the item.
 *
 * @module
 */

import type { Delivery } from "../../delivery.ts";
import { isAwaited, type Queue, receiveWith } from "../../queue.ts";
import type { Waiter } from "../../waiters.ts";
import type { ServerConnection } from "./connection.ts";
import { reportUndelivered } from "./errors.ts";
import type { CheckedPortOptions } from "./options.ts";

/** So many items are in flight, at most, whatever the other side asks for. */
const MOST_UNACKED = 4096;

/** An item that is there. */
interface Unacked<T> {
  readonly delivery: Delivery<T>;
  /** Whether nothing of it is left here. */
  moved: boolean;
}

/** What a connection sends. */
export class PortDeliveries<T> {
  readonly #queue: Queue<T>;
  readonly #wire: ServerConnection;
  readonly #options: CheckedPortOptions<T>;
  /** How many may be sent, and how many were, less those that came back. */
  #asked = 0;
  #count = 0;
  /** Those of which the other side has not said that they were taken; oldest first. */
  #unacked: Unacked<T>[] = [];
  /** There while the connection stands in line for an item. */
  #standing: Waiter | undefined = undefined;
  #over = false;

  constructor(
    queue: Queue<T>,
    wire: ServerConnection,
    options: CheckedPortOptions<T>,
  ) {
    this.#queue = queue;
    this.#wire = wire;
    this.#options = options;
  }

  /** What is there goes back. */
  end(): void {
    this.#over = true;
    this.#wire.unsendItems();
    this.#leaveLine();
    this.#giveBackAll(this.#unacked.splice(0));
  }

  // -- What the other side says: each gives the rule that it breaks, if any ---------

  ask(count: number): undefined {
    this.#asked = count;
    if (this.#count >= count) this.#leaveLine();
    this.#wire.touch();
  }

  taken(count: number): string | undefined {
    const rule = this.#ruleOfPlaces(0, count);
    if (rule !== undefined) return rule;
    for (const { delivery } of this.#unacked.splice(0, count)) delivery.ack();
    if (this.#maySend()) this.#wire.touch();
    return undefined;
  }

  back(place: number, count: number, items: readonly T[]): string | undefined {
    const returned = this.#options.transfer === undefined ? 0 : count;
    if (items.length !== returned) {
      return "what was moved must come back itself, and nothing else";
    }
    const rule = this.#ruleOfPlaces(place, count);
    if (rule !== undefined) return rule;
    this.#leaveLine();
    const unacked = this.#unacked.splice(place, count);
    this.#count -= count;
    for (const [index, item] of items.entries()) {
      // What was moved there and came back is the item from now on.
      const given = unacked[index]!;
      (given.delivery as { item: T }).item = item;
      given.moved = false;
    }
    this.#giveBackAll(unacked);
    this.#wire.touch();
    return undefined;
  }

  /** It could not come back. */
  lost(place: number): string | undefined {
    const rule = this.#ruleOfPlaces(place, 1);
    if (rule === undefined) this.#drop(place);
    return rule;
  }

  #ruleOfPlaces(place: number, count: number): string | undefined {
    const { length } = this.#unacked;
    return place + count <= length
      ? undefined
      : `it must be about items that are in flight, and ${length} are`;
  }

  // -- Sending ------------------------------------------------------------------

  /** It has no way over: it is taken out, or it would stand in the way of all others for ever. */
  unsendable(item: T, error: unknown): void {
    this.#drop(this.#placeOf(item));
    reportUndelivered(this.#options.onUndelivered, item, error);
  }

  /** Nothing of the item will be left here once it is sent. */
  moved(item: T): void {
    const unacked = this.#unacked[this.#placeOf(item)];
    if (unacked !== undefined) unacked.moved = true;
  }

  #placeOf(item: T): number {
    return this.#unacked.findLastIndex(({ delivery }) =>
      Object.is(delivery.item, item)
    );
  }

  #drop(place: number): void {
    this.#count--;
    this.#unacked.splice(place, 1)[0]?.delivery.ack();
    this.#wire.touch();
  }

  /** Sends what may be sent, and stands in line for the rest. */
  send(): void {
    while (this.#maySend()) {
      const delivery = this.#queue.tryReceive();
      if (delivery === undefined) break;
      this.#sendOne(delivery);
    }
    if (this.#maySend()) this.#standInLine();
  }

  #maySend(): boolean {
    return this.#count < this.#asked && this.#unacked.length < MOST_UNACKED &&
      this.#standing === undefined && !this.#over;
  }

  #standInLine(): void {
    let isServed = false;
    const left = (): void => {
      isServed = true;
      this.#standing = undefined;
    };
    const standing = receiveWith<T>(this.#queue, (delivery) => {
      left();
      this.#sendOne(delivery);
      this.send();
    }, left);
    // It may have been served, or the queue have ended, before it stood there.
    if (!isServed) this.#standing = standing;
  }

  /** Or what is given back would come again. */
  #leaveLine(): void {
    this.#standing?.withdraw(undefined);
  }

  #sendOne(delivery: Delivery<T>): void {
    this.#count++;
    this.#unacked.push({ delivery, moved: false });
    const last = this.#wire.last("items");
    if (last === undefined) this.#wire.send(["items", [delivery.item]]);
    else last[1].push(delivery.item);
  }

  /** The oldest to those who wait; of the rest the newest first, as each goes to the head of the queue. */
  #giveBackAll(unacked: readonly Unacked<T>[]): void {
    let given = 0;
    while (given < unacked.length && isAwaited(this.#queue)) {
      this.#giveBack(unacked[given++]!);
    }
    for (let index = unacked.length - 1; index >= given; index--) {
      this.#giveBack(unacked[index]!);
    }
  }

  #giveBack({ delivery, moved }: Unacked<T>): void {
    if (!moved) return void delivery.nack();
    delivery.ack();
    reportUndelivered(
      this.#options.onUndelivered,
      delivery.item,
      new DOMException(
        "The item was moved to a side that is gone",
        "DataCloneError",
      ),
    );
  }
}
