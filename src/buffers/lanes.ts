/**
 * Lanes that steal from each other.
 *
 * Source: R. D. Blumofe and C. E. Leiserson, "Scheduling multithreaded
 * computations by work stealing", Journal of the ACM 46 (1999); D. Hendler and
 * N. Shavit, "Non-blocking steal-half work queues", PODC 2002, for taking half.
 *
 * @module
 */

import type {
  Buffer,
  Neighbour,
  Neighbourhood,
  Particulars,
} from "./buffer.ts";
import { Ring } from "./ring.ts";

/** How lanes steal. */
export interface Stealing {
  /** How much of a victim one theft takes. */
  readonly amount: "half" | "one";
  /** Which lane is the victim: the longest, or any that has items. */
  readonly victim: "longest" | "random";
  /** From 0 to 1, 1 excluded; for random victims. */
  readonly random: () => number;
}

/** Rings that belong together. */
export class Lanes<T> {
  readonly all: readonly Lane<T>[];
  /** Thefts so far. */
  batches = 0;
  readonly #stealing: Stealing;
  #ending = false;

  constructor(count: number, stealing: Stealing) {
    this.#stealing = stealing;
    this.all = Array.from({ length: count }, () => new Lane(this));
  }

  haveItems(): boolean {
    return this.all.some((lane) => lane.load > 0);
  }

  mayHaveItems(): boolean {
    return this.all.some(({ queue, load }) =>
      queue.open || load > 0 || queue.lent > 0
    );
  }

  /** Of the lanes in which somebody waits for an item, the one where this began first. */
  longestWaiting(): Lane<T> | undefined {
    let found: Lane<T> | undefined;
    let since = Infinity;
    for (const lane of this.all) {
      const { waitingSince } = lane.queue;
      if (waitingSince >= since) continue;
      since = waitingSince;
      found = lane;
    }
    return found;
  }

  /** The one that a put without a lane goes to, of those that are open. */
  emptiest(): Lane<T> | undefined {
    const waiting = this.longestWaiting();
    if (waiting?.queue.open === true) return waiting;
    let found: Lane<T> | undefined;
    for (const lane of this.all) {
      if (!lane.queue.open) continue;
      if (found === undefined || lane.isEmptierThan(found)) found = lane;
    }
    return found;
  }

  /** Brings items into the thief, which has none. Only called when another has. */
  stealFor(thief: Lane<T>): void {
    const victim = this.#victim();
    // All that it has may be puts that wait: a lane without room for anything.
    if (victim.length === 0) victim.queue.admitOne();
    const most = this.#stealing.amount === "one"
      ? 1
      : Math.ceil(victim.length / 2);
    const count = victim.moveNewest(thief, most, thief.queue.room);
    this.#note(victim, thief, count);
    thief.queue.received(count, victim.queue.gave(count));
  }

  /** Gives an item that was put into the lane to the one that has waited longest. */
  deliver(lane: Lane<T>, item: T, particulars: Particulars): void {
    const thief = this.longestWaiting()!;
    this.#note(lane, thief, 1);
    thief.queue.deliver(item, particulars);
  }

  #note(victim: Lane<T>, thief: Lane<T>, count: number): void {
    this.batches++;
    victim.stolenFrom += count;
    thief.stolenBy += count;
  }

  /** Ends the lanes that have waited for nothing but each other. */
  endIfDrained(): void {
    if (this.#ending) return;
    this.#ending = true;
    for (const lane of this.all) lane.queue.endIfDrained();
    this.#ending = false;
  }

  #victim(): Lane<T> {
    const victims = this.all.filter((lane) => lane.load > 0);
    if (this.#stealing.victim === "random") {
      return victims[Math.floor(this.#stealing.random() * victims.length)]!;
    }
    return victims.reduce((longest, lane) =>
      lane.load > longest.load ? lane : longest
    );
  }
}

/** One of the rings: its own queue takes the oldest item, the others take the newest. */
export class Lane<T> extends Ring<T> implements Buffer<T>, Neighbourhood<T> {
  /** The queue that stores its items here. */
  queue!: Neighbour<T>;
  /** Items that others took from here. */
  stolenFrom = 0;
  /** Items that came here from others. */
  stolenBy = 0;
  readonly #lanes: Lanes<T>;

  constructor(lanes: Lanes<T>) {
    super();
    this.#lanes = lanes;
  }

  /** Items, stored or waiting to be. */
  get load(): number {
    return this.length + this.queue.waitingPuts;
  }

  isEmptierThan(other: Lane<T>): boolean {
    const hasRoom = this.queue.room > 0;
    if (hasRoom !== other.queue.room > 0) return hasRoom;
    return this.load < other.load;
  }

  join(queue: Neighbour<T>): Neighbourhood<T> {
    this.queue = queue;
    return this;
  }

  hasItems(): boolean {
    return this.#lanes.haveItems();
  }

  mayHaveItems(): boolean {
    return this.#lanes.mayHaveItems();
  }

  fetch(): void {
    this.#lanes.stealFor(this);
  }

  isWaiting(): boolean {
    return this.#lanes.longestWaiting() !== undefined;
  }

  deliver(item: T, particulars: Particulars): void {
    this.#lanes.deliver(this, item, particulars);
  }

  ended(): void {
    this.#lanes.endIfDrained();
  }
}
