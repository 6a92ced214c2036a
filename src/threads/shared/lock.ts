/**
 * The lock of one end of a queue: one word that is 0 or names its owner.
 *
 * It is the mutex of Drepper, "Futexes Are Tricky" (2011), third version, with
 * one difference: its word also says who is inside, because that thread may be
 * terminated there. No code of a user runs under it, so that a section takes
 * microseconds, and one that is still the same after seconds is that of a dead
 * thread.
 *
 * Memory order: every operation on the word is an `Atomics` one, and those are in
 * one order that all threads agree on. Taking the lock comes after the release by
 * the owner before, so plain reads and writes of the words of this end are
 * ordered as well.
 *
 * @module
 */

import { RingEnd } from "./layout.ts";
import type { Memory } from "./layout.ts";

/** Somebody sleeps on the word and has to be woken. */
const CONTENDED = 1 << 30;
const SPINS = 200;
/** How long one look at a lock that does not move takes, in milliseconds. */
const LOOK = 50;
/** How many looks must see the same section before its owner counts as dead. */
const LOOKS = 40;

interface Pausing {
  pause?(): void;
}

/** One end's lock, as one thread sees it. */
export class ThreadLock {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #base: number;
  readonly #at: number;
  readonly #token: number;
  readonly #ownerDied: (token: number) => void;
  // What was seen of an owner that does not move.
  #seenOwner = 0;
  #seenSection = 0;
  #looks = 0;
  #lookedAt = 0;

  /** `ownerDied` is called, with the lock held, when an owner was found dead. */
  constructor(
    memory: Memory,
    base: number,
    token: number,
    ownerDied: (token: number) => void,
  ) {
    this.#words = memory.words;
    this.#base = base;
    this.#at = base + RingEnd.LOCK;
    this.#token = token;
    this.#ownerDied = ownerDied;
  }

  /**
   * Enters. Where the thread may not block and somebody stays inside, false,
   * unless it is told to be patient.
   */
  acquire(patient: boolean): boolean {
    const words = this.#words;
    if (Atomics.compareExchange(words, this.#at, 0, this.#token) !== 0) {
      if (!this.#acquireLate(patient)) return false;
    }
    words[this.#base + RingEnd.SECTIONS]!++;
    return true;
  }

  /** Leaves. False when this thread was taken for dead meanwhile. */
  release(): boolean {
    const words = this.#words;
    const token = this.#token;
    if (Atomics.compareExchange(words, this.#at, token, 0) === token) {
      return true;
    }
    const contended = token | CONTENDED;
    if (Atomics.compareExchange(words, this.#at, contended, 0) !== contended) {
      return false;
    }
    Atomics.notify(words, this.#at, 1);
    return true;
  }

  /** Enters in the place of an owner who is known to be dead. False when that one is not inside. */
  acquireFrom(token: number): boolean {
    const words = this.#words;
    for (;;) {
      const found = Atomics.load(words, this.#at);
      if ((found & ~CONTENDED) !== token) return false;
      const mine = this.#token | (found & CONTENDED);
      if (Atomics.compareExchange(words, this.#at, found, mine) !== found) {
        continue;
      }
      words[this.#base + RingEnd.SECTIONS]!++;
      return true;
    }
  }

  #acquireLate(patient: boolean): boolean {
    if (this.#spin()) return true;
    return mayBlock() ? this.#sleepUntilFree() : this.#spinUntilFree(patient);
  }

  #spin(): boolean {
    for (let spin = 0; spin < SPINS; spin++) {
      (Atomics as Pausing).pause?.();
      if (this.#isFree(this.#token)) return true;
    }
    return false;
  }

  /** Whether it was free, and so is taken now under that mark. */
  #isFree(mine: number): boolean {
    const words = this.#words;
    return Atomics.load(words, this.#at) === 0 &&
      Atomics.compareExchange(words, this.#at, 0, mine) === 0;
  }

  #sleepUntilFree(): boolean {
    // Who has slept here leaves the flag on, because others may still sleep.
    while (!this.#isFree(this.#token | CONTENDED)) {
      this.#sleep();
      if (this.#ownerSeemsDead() && this.#enterFromTheDead()) break;
    }
    return true;
  }

  #sleep(): void {
    const words = this.#words;
    const found = Atomics.load(words, this.#at);
    const asleep = found | CONTENDED;
    if (
      found === 0 || (found !== asleep &&
        Atomics.compareExchange(words, this.#at, found, asleep) !== found)
    ) return;
    Atomics.wait(words, this.#at, asleep, LOOK);
  }

  #spinUntilFree(patient: boolean): boolean {
    const begun = performance.now();
    while (!this.#spin()) {
      if (this.#ownerSeemsDead() && this.#enterFromTheDead()) break;
      if (!patient && performance.now() - begun > 1) return false;
    }
    return true;
  }

  #enterFromTheDead(): boolean {
    const dead = this.#seenOwner;
    if (!this.acquireFrom(dead)) return false;
    this.#ownerDied(dead);
    return true;
  }

  /** One look counts once per interval, so that a process that was stopped counts once as well. */
  #ownerSeemsDead(): boolean {
    const owner = Atomics.load(this.#words, this.#at) & ~CONTENDED;
    const section = Atomics.load(this.#words, this.#base + RingEnd.SECTIONS);
    const now = performance.now();
    if (
      owner === 0 || owner !== this.#seenOwner || section !== this.#seenSection
    ) {
      this.#seenOwner = owner;
      this.#seenSection = section;
      this.#looks = 0;
      this.#lookedAt = now;
      return false;
    }
    if (now - this.#lookedAt >= LOOK * 0.8) {
      this.#looks++;
      this.#lookedAt = now;
    }
    return this.#looks >= LOOKS;
  }
}

let blocking: boolean | undefined;

/** Whether this thread may sleep: not the main thread of a page. */
export function mayBlock(): boolean {
  if (blocking === undefined) {
    try {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0);
      blocking = true;
    } catch {
      blocking = false;
    }
  }
  return blocking;
}
