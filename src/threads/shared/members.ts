/**
 * The handles that are attached to a queue, one member each, and how they wake
 * one another.
 *
 * A member that is about to wait sets its bit in the word of what it waits for,
 * looks once more, and sleeps on its word of requests. Whoever makes that true publishes it
 * first and looks at the word then: in the one order of all `Atomics` operations
 * either the waiter sees what was published, or the other one sees the bit. Who
 * clears a bit adds a request there, so that each wake-up is owed to one member; one
 * that turns out to have no use for it passes it on. (The event counts of
 * Reed and Kanodia, 1979; the traps are those of Drepper, "Futexes Are Tricky".)
 *
 * @module
 */

import { Header, memberAt, MEMBERS, Slot } from "./layout.ts";
import type { Memory } from "./layout.ts";
import { clearPulse, isDead, leavePulse, Rounds, sayAlive } from "./pulse.ts";

/** The bits of those that wait for one thing. */
export type WaitField =
  | typeof Header.WAIT_ITEM
  | typeof Header.WAIT_ROOM
  | typeof Header.WAIT_END;

/** All that a member may wait for. */
export const WAIT_FIELDS: readonly WaitField[] = /* @__PURE__ */ waitFields();

function waitFields(): readonly WaitField[] {
  return [Header.WAIT_ITEM, Header.WAIT_ROOM, Header.WAIT_END];
}

const GENERATIONS = 0x3fffff;
/** What is taken from the negative generation by each who takes the cleaning over. */
const TAKEOVER = 0x400000;

/** What a handle owed whose place was freed. */
export interface Owed {
  readonly token: number;
  readonly producers: number;
}

/** One handle among those that are attached. */
export class Membership {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #base: number;
  readonly #bit: number;
  readonly #generation: number;
  /** Names this handle, and no other before or after. Fits beside the flag of a lock. */
  readonly token: number;
  /** What those owed whose places had to be freed for this one. */
  readonly displaced: readonly Owed[];
  readonly #rounds: Rounds;
  #turn: number;

  /** Takes a free place, or that of a thread that has ended. Throws when there is none. */
  constructor(memory: Memory) {
    const words = memory.words;
    let index = takePlace(words);
    this.displaced = index === undefined ? expelAllDead(words) : [];
    index ??= takePlace(words);
    if (index === undefined) throw noPlace();
    this.#words = words;
    this.#base = memberAt(index);
    this.#bit = 1 << index;
    this.#turn = index;
    this.#generation = words[this.#base + Slot.GENERATION]!;
    this.token = tokenOf(index, this.#generation);
    this.#rounds = new Rounds(memory);
    leavePulse(words, this.#base, this.#generation);
  }

  /** False once it has left or was taken for dead. */
  get attached(): boolean {
    return Atomics.load(this.#words, this.#base + Slot.GENERATION) ===
      this.#generation;
  }

  // -- Waiting ----------------------------------------------------------------

  /** What to look at before one sleeps, and hand to `sleep` or `waitAsync`. */
  get requests(): number {
    return Atomics.load(this.#words, this.#base + Slot.REQUESTS);
  }

  /** The index of that word, for `Atomics.wait` and `waitAsync`. */
  get requestsAt(): number {
    return this.#base + Slot.REQUESTS;
  }

  /** Asks to be woken. Look again afterwards, before sleeping. */
  ask(what: WaitField): void {
    Atomics.or(this.#words, what, this.#bit);
  }

  /** Asks no more. False when somebody has woken it already: then the wake-up is owed to another. */
  stopAsking(what: WaitField): boolean {
    return (Atomics.and(this.#words, what, ~this.#bit) & this.#bit) !== 0;
  }

  /** Wakes up to so many of those that wait, in turn. */
  wake(what: WaitField, count: number): void {
    for (let left = count; left > 0; left--) {
      const bits = Atomics.load(this.#words, what);
      if (bits === 0) return;
      const index = nextBit(bits, this.#turn);
      this.#turn = (index + 1) % MEMBERS;
      const bit = 1 << index;
      if ((Atomics.and(this.#words, what, ~bit) & bit) !== 0) {
        wake(this.#words, memberAt(index));
      }
    }
  }

  /** Wakes all that wait, for whatever. */
  wakeEverybody(): void {
    for (const what of WAIT_FIELDS) this.wake(what, MEMBERS);
  }

  /** Wakes the sleepers of this very handle. */
  wakeItself(): void {
    wake(this.#words, this.#base);
  }

  // -- What it owes -----------------------------------------------------------

  /** Puts that wait at this handle, for all to see: a queue that closes waits for them. */
  set waitingPuts(count: number) {
    Atomics.store(this.#words, this.#base + Slot.WAITING_PUTS, count);
  }

  /** Producers registered at this handle. */
  get producers(): number {
    return Atomics.load(this.#words, this.#base + Slot.PRODUCERS);
  }

  set producers(count: number) {
    Atomics.store(this.#words, this.#base + Slot.PRODUCERS, count);
  }

  /** Gives the place back. False when it was taken for dead before. */
  leave(): boolean {
    return vacate(this.#words, this.token) !== undefined;
  }

  /** Frees the place of another. Says what it owed, or nothing when it had left. */
  expel(token: number): Owed | undefined {
    return vacate(this.#words, token);
  }

  /** Says that its thread lives, where that can hear nothing. */
  answer(): void {
    sayAlive(this.#words, this.#base);
  }

  /** Frees the places of those whose threads have ended: within seconds, if it is called now and then. */
  expelDead(): Owed[] {
    return this.#rounds.find().flatMap(({ index, generation }) =>
      (generation > 0
        ? vacate(this.#words, tokenOf(index, generation))
        : takeOver(this.#words, index, generation)) ?? []
    );
  }
}

/** Sums a word over all members. */
export function total(memory: Memory, field: number, mask = -1): number {
  let sum = 0;
  for (let index = 0; index < MEMBERS; index++) {
    sum += Atomics.load(memory.words, memberAt(index) + field) & mask;
  }
  return sum;
}

/** How many handles are attached. */
export function countMembers(memory: Memory): number {
  return total(memory, Slot.GENERATION, 1);
}

/** Index and generation in one number below the flag of a lock. */
function tokenOf(index: number, generation: number): number {
  return generation * MEMBERS + index;
}

function indexOf(token: number): number {
  return token % MEMBERS;
}

function generationOf(token: number): number {
  return Math.floor(token / MEMBERS);
}

function takePlace(words: Int32Array): number | undefined {
  for (let index = 0; index < MEMBERS; index++) {
    const at = memberAt(index) + Slot.GENERATION;
    const generation = Atomics.load(words, at);
    if ((generation & 1) === 1) continue;
    const next = (generation + 1) & GENERATIONS;
    if (Atomics.compareExchange(words, at, generation, next) === generation) {
      return index;
    }
  }
  return undefined;
}

function noPlace(): RangeError {
  return new RangeError(
    `Cannot attach: a queue must have at most ${MEMBERS} handles at once ` +
      "(detach() those that are done), received one more",
  );
}

/** All of them, at once. */
function expelAllDead(words: Int32Array): Owed[] {
  const owed: Owed[] = [];
  for (let index = 0; index < MEMBERS; index++) {
    const base = memberAt(index);
    const generation = Atomics.load(words, base + Slot.GENERATION);
    if (!isDead(words, base)) continue;
    const left = vacate(words, tokenOf(index, generation));
    if (left !== undefined) owed.push(left);
  }
  return owed;
}

function vacate(words: Int32Array, token: number): Owed | undefined {
  const generation = generationOf(token);
  if ((generation & 1) === 0) return undefined;
  const index = indexOf(token);
  const at = memberAt(index) + Slot.GENERATION;
  // Nobody else cleans up, and nobody moves in before that is done.
  if (
    Atomics.compareExchange(words, at, generation, -generation) !== generation
  ) return undefined;
  return cleanUp(words, token, -generation);
}

/** Ends what another was about when its thread ended: to give that place free. */
function takeOver(
  words: Int32Array,
  index: number,
  mark: number,
): Owed | undefined {
  const at = memberAt(index) + Slot.GENERATION;
  const next = mark - TAKEOVER;
  if (Atomics.compareExchange(words, at, mark, next) !== mark) return undefined;
  return cleanUp(words, tokenOf(index, -mark & GENERATIONS), next);
}

function cleanUp(words: Int32Array, token: number, mark: number): Owed {
  const index = indexOf(token);
  const base = memberAt(index);
  for (const what of WAIT_FIELDS) Atomics.and(words, what, ~(1 << index));
  const producers = Atomics.exchange(words, base + Slot.PRODUCERS, 0);
  Atomics.store(words, base + Slot.WAITING_PUTS, 0);
  Atomics.compareExchange(words, Header.RESERVED, token, 0);
  clearPulse(words, base);
  Atomics.compareExchange(
    words,
    base + Slot.GENERATION,
    mark,
    (generationOf(token) + 1) & GENERATIONS,
  );
  wake(words, base);
  return { token, producers };
}

function wake(words: Int32Array, base: number): void {
  const at = base + Slot.REQUESTS;
  Atomics.add(words, at, 1);
  Atomics.notify(words, at);
}

/** The first bit that is set, from that place on and around. */
function nextBit(bits: number, from: number): number {
  const rotated = (bits >>> from) | (bits << (MEMBERS - from) % MEMBERS);
  return (from + 31 - Math.clz32(rotated & -rotated)) % MEMBERS;
}
