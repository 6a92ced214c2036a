/**
 * Whether the thread of a member still lives.
 *
 * A thread leaves waiters behind at a word of the shared memory
 * (`Atomics.waitAsync`). They are its own: however it ends, its runtime takes them
 * away, at once. So whoever notifies that word learns whether the thread is there,
 * without its help, and while it is busy for minutes as well. One waiter is used up
 * by that, and replaced by the thread when it gets to it; how many are left stands
 * beside the word, so that a thread which has not got to it for very long is not
 * taken for dead. Measured on Deno, Bun and Node: uncaught errors, `process.exit`,
 * `close` and `terminate()`, in a timer, in a loop and in `Atomics.wait`.
 *
 * Without `Atomics.waitAsync` nothing is known, and nobody is taken for dead here.
 *
 * @module
 */

import { memberAt, MEMBERS, Slot } from "./layout.ts";
import type { Memory } from "./layout.ts";
import type { WaitAsync } from "./wait_async.ts";

/**
 * How many waiters a thread leaves behind. Asked less and less often, one that does
 * not answer is known to live for a quarter of an hour; they take some 5 kB.
 */
const WAITERS = 24;
/** Stays: with none left, a thread would look like one that is just coming. */
const LAST = 1;
/** Nothing can be known of this member. */
const SILENT = -1;
/** How often a member is asked at most, in milliseconds, by all others together. */
const PERIOD = 1000;
/** Coming and leaving take no time: one that does so for so long has died there. */
const PASSAGE = 5000;
/** One that has not answered for long is asked less and less often: each time it has been silent for a third longer. */
const PATIENCE = 3;

/** Leaves waiters behind for the member at that place, for as long as it is of this generation. */
export function leavePulse(
  words: Int32Array<SharedArrayBuffer>,
  base: number,
  generation: number,
): void {
  if ((Atomics as WaitAsync).waitAsync === undefined) {
    return void Atomics.store(words, base + Slot.ANSWERS, SILENT);
  }
  const leave = (words: Int32Array): void => {
    const { waitAsync } = Atomics as Required<WaitAsync>;
    const waiter = waitAsync.call(Atomics, words, base + Slot.PULSE, 0);
    if (waiter.async) waiter.value.then(answer);
  };
  // A handle that nobody holds any more is not to be held by its waiters.
  const memory = new WeakRef(words);
  const answer = (): void => {
    const words = memory.deref();
    if (words === undefined) return;
    if (Atomics.load(words, base + Slot.GENERATION) !== generation) return;
    leave(words);
    Atomics.add(words, base + Slot.WAITERS, 1);
    Atomics.add(words, base + Slot.ANSWERS, 1);
  };
  for (let count = 0; count < WAITERS; count++) leave(words);
  Atomics.store(words, base + Slot.WAITERS, WAITERS);
}

/** Whatever was left behind at that place counts no more. */
export function clearPulse(words: Int32Array, base: number): void {
  Atomics.store(words, base + Slot.WAITERS, 0);
  Atomics.store(words, base + Slot.ANSWERS, 0);
  Atomics.notify(words, base + Slot.PULSE);
}

/** Nobody has to ask a thread that says so itself. */
export function sayAlive(words: Int32Array, base: number): void {
  if (Atomics.load(words, base + Slot.ANSWERS) === SILENT) return;
  Atomics.add(words, base + Slot.ANSWERS, 1);
}

/** Asks. False also when that is not known. */
export function isDead(words: Int32Array, base: number): boolean {
  const at = base + Slot.WAITERS;
  let left = Atomics.load(words, at);
  // One is claimed before it is woken: who asks at the same time wakes another.
  while (left > LAST) {
    const found = Atomics.compareExchange(words, at, left, left - 1);
    if (found === left) {
      return Atomics.notify(words, base + Slot.PULSE, 1) === 0;
    }
    left = found;
  }
  return false;
}

/** What was seen of a member. */
interface Sighting {
  generation: number;
  answers: number;
  waiters: number;
  /** Since when it has not answered. */
  silentSince: number;
  askAt: number;
}

/** Looks, now and then, for members whose threads have ended. */
export class Rounds {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #sightings: (Sighting | undefined)[] = [];

  constructor(memory: Memory) {
    this.#words = memory.words;
  }

  /** Those that were found dead. */
  find(): { index: number; generation: number }[] {
    const now = performance.now();
    const found: { index: number; generation: number }[] = [];
    for (let index = 0; index < MEMBERS; index++) {
      const at = memberAt(index) + Slot.GENERATION;
      const generation = Atomics.load(this.#words, at);
      if ((generation & 1) === 0) continue;
      if (this.#seemsDead(index, generation, now)) {
        found.push({ index, generation });
      }
    }
    return found;
  }

  #seemsDead(index: number, generation: number, now: number): boolean {
    const words = this.#words;
    const base = memberAt(index);
    const answers = Atomics.load(words, base + Slot.ANSWERS);
    const waiters = Atomics.load(words, base + Slot.WAITERS);
    const seen = this.#sightings[index];
    if (seen?.generation !== generation || seen.answers !== answers) {
      this.#sightings[index] = {
        generation,
        answers,
        waiters,
        silentSince: now,
        askAt: now + PERIOD,
      };
      return false;
    }
    const silence = now - seen.silentSince;
    const isInPassage = generation < 0 || (waiters === 0 && answers === 0);
    if (isInPassage) return silence >= PASSAGE;
    const asked = seen.waiters !== waiters;
    if (!asked && now < seen.askAt) return false;
    seen.askAt = now + Math.max(PERIOD, silence / PATIENCE);
    seen.waiters = waiters;
    // Another handle has asked just now.
    if (asked) return false;
    const dead = isDead(words, base);
    seen.waiters = Atomics.load(words, base + Slot.WAITERS);
    return dead;
  }
}
