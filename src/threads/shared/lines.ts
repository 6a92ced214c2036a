/**
 * Who waits at a handle: puts for room, gets for an item.
 *
 * @module
 */

import { WatchedLine } from "../../waiters.ts";
import type { Putter, Receiver } from "../../waiters.ts";
import type { Incoming } from "./incoming.ts";
import { Header, State } from "./layout.ts";
import type { WaitField } from "./members.ts";
import type { Image, SharedRing } from "./ring.ts";

/** After so many wake-ups in vain a put lets nobody else put before it. */
const PATIENCE = 4;

/** What the handle does for those in its lines. */
export interface LineOwner<T> {
  /** One less waits for that. */
  release(what: WaitField): void;
  /** The item of that receiver cannot be decoded. */
  refuse(receiver: Receiver<T>, error: unknown): void;
}

/** The two lines of a handle. */
export class Lines<T> {
  readonly putters: WatchedLine<Putter<T>>;
  readonly getters: WatchedLine<Receiver<T>>;
  readonly #ring: SharedRing;
  readonly #incoming: Incoming<T>;
  readonly #owner: LineOwner<T>;
  /** Wake-ups of the first waiting put that were in vain. */
  #inVain = 0;

  constructor(
    ring: SharedRing,
    incoming: Incoming<T>,
    owner: LineOwner<T>,
  ) {
    this.#ring = ring;
    this.#incoming = incoming;
    this.#owner = owner;
    this.getters = new WatchedLine(() => owner.release(Header.WAIT_ITEM));
    this.putters = new WatchedLine((length) => this.#fewerPut(length));
  }

  /** A wake-up has come, perhaps for the first waiting put. */
  woken(): void {
    if (this.putters.first !== undefined) this.#inVain++;
  }

  /** Lets puts in and gives items out, as long as either goes on. */
  move(): void {
    while (this.#admitPuts() || this.#serveGets());
  }

  #admitPuts(): boolean {
    const before = this.putters.length;
    for (
      let putter = this.putters.first;
      putter !== undefined && this.#store(putter);
      putter = this.putters.first
    ) {
      // Stored first: until it has left the line, the queue does not end.
      putter.leave();
      putter.accepted();
    }
    if (this.putters.length === before) return false;
    this.#ring.unreserve();
    return true;
  }

  #store(putter: Putter<T>): boolean {
    if (this.#ring.store(putter.rank as Image, 1, true) === 0) {
      if (this.#inVain > PATIENCE) this.#ring.reserve();
      return false;
    }
    this.#inVain = 0;
    return true;
  }

  #serveGets(): boolean {
    let served = false;
    for (
      let receiver = this.#oldestGetter();
      receiver !== undefined;
      receiver = this.#oldestGetter()
    ) {
      try {
        if (!this.#incoming.take()) break;
      } catch (error) {
        this.#owner.refuse(receiver, error);
        continue;
      }
      served = true;
      receiver.accept(this.#incoming.item());
    }
    return served;
  }

  #oldestGetter(): Receiver<T> | undefined {
    let getter = this.getters.first;
    while (getter !== undefined && !getter.isWaiting()) {
      getter.leave();
      getter.end();
      getter = this.getters.first;
    }
    return getter;
  }

  #fewerPut(length: number): void {
    this.#ring.member.waitingPuts = length;
    if (length > 0) return;
    if (this.#ring.state !== State.OPEN && this.#ring.isDrained) {
      this.#ring.member.wakeEverybody();
    }
    this.#inVain = 0;
    this.#ring.unreserve();
    this.#owner.release(Header.WAIT_ROOM);
  }
}
