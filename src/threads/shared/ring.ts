/**
 * Records of any length in a ring of shared memory, for any number of threads at
 * both ends.
 *
 * Each end has a lock, so that putting and taking never wait for each other: the
 * two-lock queue of Michael and Scott (1996) over the ring of Lamport (1977). A
 * thread has encoded its records before it takes the lock and decodes them after
 * it has given it back, so that a section is a copy of bytes and a few words. A
 * ring of slots that threads claim without a lock (Vyukov's bounded queue, the
 * Disruptor) wants slots of one size; with records of any length its claims have
 * to be told in order again, and whoever dies between claim and commit leaves a
 * hole before which all others stand.
 *
 * Measured against such a ring, 16 bytes in slots of 32 (Node 24 and Deno, two
 * cores, one pair of threads and two): one by one the slots took 0.3 to 0.5 of the
 * time; against batches of 64, which pay for the lock once, 0.8 to 1.5. A put that
 * is awaited costs more than either, so what the locks give for it (any length, an
 * order without holes, threads that may die anywhere) is worth more.
 *
 * Memory order. A record is written with plain stores and published by
 * `Atomics.store` of the count of the putting end; who reads that count with
 * `Atomics.load` sees the record. The space of a record that was taken is given
 * back in the same way by the count and then the position of the taking end.
 * Everything else at an end is read and written under its lock only.
 *
 * Death. A thread may end anywhere. The count is the one word that matters: before
 * it changes, nothing has happened; after it, everything has. What follows from it
 * (the position) is written down beforehand, so that the next owner of the lock
 * can do what the dead one did not.
 *
 * @module
 */

import {
  fromStoredMark,
  Header,
  REASON_BYTES,
  RingEnd,
  Slot,
  State,
  toStoredMark,
} from "./layout.ts";
import type { Memory } from "./layout.ts";
import { ThreadLock } from "./lock.ts";
import { Membership, total } from "./members.ts";
import { copyWords, type Records, wordsFor } from "./record.ts";

/** How many words of records are taken at once, if they are small. */
const BATCH = 4096;

/** After so many milliseconds a reservation is lifted. */
const RESERVATION = 2000;

/** What is stored: records as they lie in the ring, or the payload of one. */
export type Image = Int32Array | Uint8Array;

/** What a ring tells its handle. */
export interface RingObserver {
  /** Somebody is inside and this thread may not sleep, so nothing was done: come again soon. */
  busy(): void;
  /** The thread of the handle with that token was found dead. */
  died(token: number): void;
}

/** The ring as one handle sees it. */
export class SharedRing {
  readonly memory: Memory;
  readonly member: Membership;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #ring: Int32Array<SharedArrayBuffer>;
  /** Words of the ring. */
  readonly #size: number;
  readonly #putLock: ThreadLock;
  readonly #takeLock: ThreadLock;
  readonly #observer: RingObserver;
  #hasLeft = false;
  #reservedBy = 0;
  #reservedSince = 0;

  /** Attaches a handle. Throws when there is no place. */
  constructor(memory: Memory, observer: RingObserver) {
    this.memory = memory;
    this.#words = memory.words;
    this.#ring = memory.ringWords;
    this.#size = memory.ringWords.length;
    this.member = new Membership(memory);
    this.#observer = observer;
    this.#putLock = this.#lockOf(Header.PUT);
    this.#takeLock = this.#lockOf(Header.TAKE);
  }

  #lockOf(end: number): ThreadLock {
    return new ThreadLock(this.memory, end, this.member.token, (owner) => {
      this.#repair(end);
      // Not now: the lock is held. What a handle is told may be anything.
      queueMicrotask(() => this.#observer.died(owner));
    });
  }

  #busyNow(): 0 {
    this.#observer.busy();
    return 0;
  }

  // -- State ------------------------------------------------------------------

  /** Records that are stored. */
  get length(): number {
    const words = this.#words;
    // In this order: taking cannot have overtaken what was put before.
    const taken = Atomics.load(words, Header.TAKE + RingEnd.COUNT);
    return (Atomics.load(words, Header.PUT + RingEnd.COUNT) - taken) >>> 0;
  }

  get isEmpty(): boolean {
    const words = this.#words;
    return Atomics.load(words, Header.PUT + RingEnd.COUNT) ===
      Atomics.load(words, Header.TAKE + RingEnd.COUNT);
  }

  /** Bytes of the ring in use. */
  get used(): number {
    const words = this.#words;
    const head = Atomics.load(words, Header.TAKE + RingEnd.POSITION);
    const tail = Atomics.load(words, Header.PUT + RingEnd.POSITION);
    return this.#distance(head, tail) * 4;
  }

  get state(): number {
    return Atomics.load(this.#words, Header.STATE);
  }

  get highWaterMark(): number {
    return fromStoredMark(Atomics.load(this.#words, Header.HIGH_WATER_MARK));
  }

  set highWaterMark(value: number) {
    Atomics.store(this.#words, Header.HIGH_WATER_MARK, toStoredMark(value));
  }

  /** Records that went through an end so far. */
  count(end: typeof Header.PUT | typeof Header.TAKE): number {
    const rounds = Atomics.load(this.#words, end + RingEnd.ROUNDS);
    const count = Atomics.load(this.#words, end + RingEnd.COUNT) >>> 0;
    return rounds * 2 ** 32 + count;
  }

  /** Whether the queue was closed or has failed, and nothing is left to come. */
  get isDrained(): boolean {
    const state = this.state;
    if (state === State.OPEN) return false;
    if (state === State.ABORTED) return true;
    // In this order: a put that no longer waits has been published.
    return total(this.memory, Slot.WAITING_PUTS) === 0 && this.isEmpty;
  }

  /** Whether a record of that many words would be let in now. */
  hasRoomFor(words: number): boolean {
    return this.#room() >= words &&
      this.length < Atomics.load(this.#words, Header.HIGH_WATER_MARK) &&
      !this.#isReserved();
  }

  // -- Putting ----------------------------------------------------------------

  /**
   * Stores the first of so many records, or the payload of one, as far as there is
   * room; how many. `waits` says that they belong to puts that waited already,
   * which a closed queue still takes.
   */
  store(image: Image, count: number, waits: boolean): number {
    if (this.#hasLeft) return 0;
    if (!this.#putLock.acquire(false)) return this.#busyNow();
    const stored = this.#mayStore(waits) ? this.#storeNow(image, count) : 0;
    this.#release(this.#putLock);
    if (stored > 0 && Atomics.load(this.#words, Header.WAIT_ITEM) !== 0) {
      this.member.wake(Header.WAIT_ITEM, stored);
    }
    return stored;
  }

  /** Notes that one more put waits here, which makes so many. False when the queue has ended before. */
  announcePut(waiting: number): boolean {
    return this.#whileOpen(() => this.member.waitingPuts = waiting);
  }

  /** Lets nobody else put until this handle has; others may be so many, and so light, that a heavy record never fits. */
  reserve(): void {
    Atomics.compareExchange(this.#words, Header.RESERVED, 0, this.member.token);
  }

  /** Lets the others put again. */
  unreserve(): void {
    const { token } = this.member;
    if (Atomics.load(this.#words, Header.RESERVED) !== token) return;
    Atomics.compareExchange(this.#words, Header.RESERVED, token, 0);
    this.member.wake(Header.WAIT_ROOM, Infinity);
  }

  /** Under the lock under which the state changes. */
  #mayStore(waits: boolean): boolean {
    const state = this.#words[Header.STATE]!;
    const takesIt = waits ? state !== State.ABORTED : state === State.OPEN;
    return takesIt && !this.#isReserved();
  }

  /** Whether the next room is for another handle. */
  #isReserved(): boolean {
    const reserved = Atomics.load(this.#words, Header.RESERVED);
    return reserved !== 0 && reserved !== this.member.token &&
      !this.#outlasts(reserved);
  }

  /** Whether a reservation is so old that its owner may be dead; then it is lifted. */
  #outlasts(reserved: number): boolean {
    const now = performance.now();
    if (reserved !== this.#reservedBy) {
      this.#reservedBy = reserved;
      this.#reservedSince = now;
    }
    if (now - this.#reservedSince < RESERVATION) return false;
    this.#reservedBy = 0;
    Atomics.compareExchange(this.#words, Header.RESERVED, reserved, 0);
    this.member.wake(Header.WAIT_ROOM, Infinity);
    return true;
  }

  #storeNow(image: Image, count: number): number {
    return image instanceof Uint8Array
      ? this.#storePayload(image)
      : this.#storeWhatFits(image, count);
  }

  #storePayload(payload: Uint8Array): number {
    const count = wordsFor(payload.length);
    if (!this.hasRoomFor(count)) return 0;
    const position = this.#words[Header.PUT + RingEnd.POSITION]!;
    const at = this.#placeOf(position);
    this.#ring[at] = payload.length;
    this.#copyBytesIn(payload, (at + 1) * 4);
    this.#publish(Header.PUT, this.#advance(position, count), 1);
    return 1;
  }

  #storeWhatFits(records: Int32Array, count: number): number {
    const words = this.#words;
    const taken = Atomics.load(words, Header.TAKE + RingEnd.COUNT);
    const length = (words[Header.PUT + RingEnd.COUNT]! - taken) >>> 0;
    const most = Atomics.load(words, Header.HIGH_WATER_MARK) - length;
    const head = Atomics.load(words, Header.TAKE + RingEnd.POSITION);
    const position = words[Header.PUT + RingEnd.POSITION]!;
    const room = this.#size - this.#distance(head, position);
    let stored = 0;
    let end = 0;
    while (stored < count && stored < most) {
      const next = end + wordsFor(records[end]!);
      if (next > room) break;
      end = next;
      stored++;
    }
    if (stored === 0) return 0;
    this.#copyIn(records, end, position);
    this.#publish(Header.PUT, this.#advance(position, end), stored);
    return stored;
  }

  // -- Taking -----------------------------------------------------------------

  /** Takes up to so many records, oldest first; how many. */
  take(into: Records, most: number): number {
    if (!this.#enterToTake()) return 0;
    const taken = this.#takeSome(into, most);
    this.#release(this.#takeLock);
    if (taken > 0) this.#gaveRoom();
    return taken;
  }

  /** As `take` of one record, straight into an array of its own. */
  takeBytes(): Uint8Array<ArrayBuffer> | undefined {
    if (!this.#enterToTake()) return undefined;
    const payload = this.isEmpty ? undefined : this.#takePayload();
    this.#release(this.#takeLock);
    if (payload !== undefined) this.#gaveRoom();
    return payload;
  }

  /** False when there is nothing to be had now. */
  #enterToTake(): boolean {
    if (this.#hasLeft) return false;
    if (!this.#takeLock.acquire(false)) return this.#busyNow() > 0;
    // Later than the abort, if that has let go of this lock before.
    if (this.state !== State.ABORTED) return true;
    this.#release(this.#takeLock);
    return false;
  }

  #takePayload(): Uint8Array<ArrayBuffer> {
    const position = this.#words[Header.TAKE + RingEnd.POSITION]!;
    const at = this.#placeOf(position);
    const length = this.#ring[at]!;
    const payload = new Uint8Array(length);
    this.#copyBytesOut(payload, (at + 1) * 4);
    this.#publish(Header.TAKE, this.#advance(position, wordsFor(length)), 1);
    return payload;
  }

  /** Takes everything for `clear()`, or what `abort()` has left behind. */
  takeAll(
    into: Records,
    tally: typeof Header.CLEARED | typeof Header.UNDELIVERED,
  ): number {
    if (this.#hasLeft) return 0;
    this.#takeLock.acquire(true);
    const taken = this.#takeSome(into, Infinity);
    Atomics.add(this.#words, tally, taken);
    this.#release(this.#takeLock);
    if (taken > 0) this.#gaveRoom();
    return taken;
  }

  #takeSome(into: Records, most: number): number {
    const words = this.#words;
    const stored = (Atomics.load(words, Header.PUT + RingEnd.COUNT) -
      words[Header.TAKE + RingEnd.COUNT]!) >>> 0;
    const position = words[Header.TAKE + RingEnd.POSITION]!;
    const limit = Math.min(stored, most);
    let taken = 0;
    let end = 0;
    while (taken < limit && (end < BATCH || most === Infinity)) {
      const at = (position + end) % this.#size;
      end += wordsFor(this.#ring[at]!);
      taken++;
    }
    if (taken === 0) return 0;
    into.reserve(end);
    this.#copyOut(into.words, end, position);
    this.#publish(Header.TAKE, this.#advance(position, end), taken);
    return taken;
  }

  #gaveRoom(): void {
    const words = this.#words;
    // All of them: a record that does not fit must not keep one waiting that does.
    if (Atomics.load(words, Header.WAIT_ROOM) !== 0) {
      this.member.wake(Header.WAIT_ROOM, Infinity);
    }
    if (Atomics.load(words, Header.STATE) !== State.OPEN && this.isDrained) {
      this.member.wakeEverybody();
    }
  }

  // -- Ending -----------------------------------------------------------------

  /**
   * Moves the state forward and leaves the reason there, if it is told. False
   * when the queue stands there already, or beyond.
   */
  end(state: number, reason: Uint8Array | undefined): boolean {
    this.#putLock.acquire(true);
    const found = this.state;
    const moves = state === State.ABORTED
      ? found !== State.ABORTED && !(found !== State.OPEN && this.isDrained)
      : found === State.OPEN;
    if (moves) {
      if (reason !== undefined) this.#writeReason(reason);
      Atomics.store(this.#words, Header.STATE, state);
    }
    this.#release(this.#putLock);
    if (moves) this.member.wakeEverybody();
    return moves;
  }

  /** The bytes of the reason. */
  reason(): Uint8Array<ArrayBuffer> {
    const length = Atomics.load(this.#words, Header.REASON);
    const copy = new Uint8Array(length);
    copy.set(this.memory.reason.subarray(0, length));
    return copy;
  }

  #writeReason(reason: Uint8Array): void {
    const bytes = reason.subarray(0, REASON_BYTES);
    this.memory.reason.set(bytes);
    Atomics.store(this.#words, Header.REASON, bytes.length);
  }

  /** Counts a producer in. False when the queue has ended. */
  addProducer(): boolean {
    return this.#whileOpen(() => this.member.producers++);
  }

  /** Does it unless the queue has ended, and says whether it did. */
  #whileOpen(change: () => void): boolean {
    this.#putLock.acquire(true);
    const open = this.state === State.OPEN;
    if (open) change();
    this.#release(this.#putLock);
    return open;
  }

  /**
   * Counts producers out. `note` is given the reason area as it is, and may say
   * what is to be there. True when they were the last: the caller ends the queue.
   */
  removeProducers(
    count: number,
    note: ((found: Uint8Array) => Uint8Array) | undefined,
  ): boolean {
    this.#putLock.acquire(true);
    const open = this.state === State.OPEN;
    this.member.producers = Math.max(this.member.producers - count, 0);
    if (open && note !== undefined) this.#writeReason(note(this.reason()));
    const last = open && total(this.memory, Slot.PRODUCERS) === 0;
    this.#release(this.#putLock);
    return last;
  }

  // -- Leaving ----------------------------------------------------------------

  /** Gives the place of the handle back: it puts and takes no more. */
  leave(): void {
    this.#hasLeft = true;
    this.member.leave();
    this.member.wakeEverybody();
  }

  /** Leaves the locks in which a handle was that has no place any more. */
  leaveFor(token: number): void {
    for (
      const [lock, end] of [
        [this.#putLock, Header.PUT],
        [this.#takeLock, Header.TAKE],
      ] as const
    ) {
      if (!lock.acquireFrom(token)) continue;
      this.#repair(end);
      this.#release(lock);
    }
    Atomics.add(this.#words, Header.ABANDONED, 1);
    // What it was woken for is owed to others.
    this.member.wakeEverybody();
  }

  /** Does what follows from the count, if the owner before did not. */
  #repair(end: number): void {
    const words = this.#words;
    if (
      Atomics.load(words, end + RingEnd.COUNT) ===
        words[end + RingEnd.NEXT_COUNT]
    ) {
      Atomics.store(
        words,
        end + RingEnd.POSITION,
        words[end + RingEnd.NEXT_POSITION]!,
      );
    }
  }

  // -- Words ------------------------------------------------------------------

  #publish(end: number, position: number, count: number): void {
    const words = this.#words;
    const before = words[end + RingEnd.COUNT]!;
    const after = (before + count) | 0;
    words[end + RingEnd.NEXT_POSITION] = position;
    words[end + RingEnd.NEXT_COUNT] = after;
    if ((after >>> 0) < (before >>> 0)) words[end + RingEnd.ROUNDS]!++;
    Atomics.store(words, end + RingEnd.COUNT, after);
    // What was taken out is given back with this; after the copy, and after the count.
    if (end === Header.TAKE) {
      Atomics.store(words, end + RingEnd.POSITION, position);
    } else words[end + RingEnd.POSITION] = position;
  }

  #release(lock: ThreadLock): void {
    if (lock.release()) return;
    throw new Error(
      "Cannot use the queue: the handle must be attached, received one whose " +
        "thread was taken for dead while it stood still inside the queue",
    );
  }

  #room(): number {
    const words = this.#words;
    const head = Atomics.load(words, Header.TAKE + RingEnd.POSITION);
    const tail = Atomics.load(words, Header.PUT + RingEnd.POSITION);
    return this.#size - this.#distance(head, tail);
  }

  /** Positions run to twice the size, so that full and empty differ. */
  #distance(head: number, tail: number): number {
    const distance = tail - head;
    return distance < 0 ? distance + 2 * this.#size : distance;
  }

  /** The word of the ring at that position. */
  #placeOf(position: number): number {
    return position < this.#size ? position : position - this.#size;
  }

  #advance(position: number, count: number): number {
    const next = position + count;
    return next < 2 * this.#size ? next : next - 2 * this.#size;
  }

  #copyIn(source: Int32Array, count: number, position: number): void {
    const to = this.#placeOf(position);
    const first = Math.min(count, this.#size - to);
    copyWords(source, 0, first, this.#ring, to);
    if (first < count) copyWords(source, first, count - first, this.#ring, 0);
  }

  #copyOut(target: Int32Array, count: number, position: number): void {
    const from = this.#placeOf(position);
    const first = Math.min(count, this.#size - from);
    copyWords(this.#ring, from, first, target, 0);
    if (first < count) copyWords(this.#ring, 0, count - first, target, first);
  }

  #copyBytesIn(payload: Uint8Array, at: number): void {
    const { ring } = this.memory;
    const to = at % ring.length;
    const first = Math.min(payload.length, ring.length - to);
    if (first === payload.length) return ring.set(payload, to);
    ring.set(payload.subarray(0, first), to);
    ring.set(payload.subarray(first), 0);
  }

  #copyBytesOut(target: Uint8Array, at: number): void {
    const { ring } = this.memory;
    const from = at % ring.length;
    const first = Math.min(target.length, ring.length - from);
    target.set(ring.subarray(from, from + first), 0);
    if (first < target.length) {
      target.set(ring.subarray(0, target.length - first), first);
    }
  }
}
