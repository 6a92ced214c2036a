/**
 * How a handle waits for other threads without blocking its own.
 *
 * What it waits for is asked for in the shared memory before it looks whether that
 * is there already; so it is either found, or a request comes for it (see
 * `members.ts`). One wait serves all that wait at the handle.
 *
 * @module
 */

import { keepAlive, systemClock } from "../../clock.ts";
import { Header } from "./layout.ts";
import { type Membership, WAIT_FIELDS, type WaitField } from "./members.ts";
import type { SharedRing } from "./ring.ts";
import { listen } from "./wait_async.ts";

/** How often a waiting handle looks by itself, in milliseconds: a thread that was to wake it may have died. */
const LOOK_AGAIN = 500;
/** How soon it looks again at a lock it found taken and may not sleep at. */
const BUSY_PAUSE = 1;

/** A handle, as its wake-ups see it. */
export interface Waiting {
  /** Whether it waits for that now. */
  awaits(what: WaitField): boolean;
  /** Whether somebody holds a promise of it that is pending. */
  readonly isAwaited: boolean;
  /** Does what can be done now. */
  move(): void;
  /** Learns that another thread has woken it. */
  woken(): void;
  /** Looks for threads that have died. */
  lookForDead(): void;
  /** Learns that it was taken for dead itself. */
  expelled(): void;
}

/** Sees to it that a handle hears of what it waits for. */
export class WakeUps {
  readonly #ring: SharedRing;
  readonly #member: Membership;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #waiting: Waiting;
  readonly #ticker: Ticker;
  #stopListening: (() => void) | undefined = undefined;
  #busyTimer: unknown = undefined;

  constructor(ring: SharedRing, waiting: Waiting) {
    this.#ring = ring;
    this.#member = ring.member;
    this.#words = ring.memory.words;
    this.#waiting = waiting;
    this.#ticker = new Ticker(() => {
      waiting.lookForDead();
      this.look();
    }, LOOK_AGAIN);
  }

  /** Whether the process stays alive while something is awaited. */
  set keepsAlive(keeps: boolean) {
    this.#ticker.keepsAlive = keeps;
  }

  /** Does what can be done now, and sees to it that the next chance is heard of. */
  look(): void {
    const requests = this.#askAndMove();
    for (const what of WAIT_FIELDS) {
      if (this.#waiting.awaits(what)) return this.#listen(requests);
    }
  }

  /** The same, after the moment that another thread needs to leave the ring. */
  lookSoon(): void {
    this.#busyTimer ??= systemClock.setTimer(() => {
      this.#busyTimer = undefined;
      this.look();
    }, BUSY_PAUSE);
  }

  /** The same again and again, blocking the thread, until it is over. False when the time is over before. */
  block(isOver: () => boolean, deadline: number): boolean {
    for (;;) {
      const requests = this.#askAndMove();
      if (isOver()) return true;
      const left = deadline - performance.now();
      if (left <= 0) return false;
      this.#sleep(requests, Math.min(left, LOOK_AGAIN));
    }
  }

  /** One less waits for that. A wake-up that was for it is passed on. */
  release(what: WaitField): void {
    if (this.#waiting.awaits(what)) return;
    this.#tickOrNot();
    if (!this.#member.stopAsking(what)) this.#passOn(what);
  }

  /** Nothing is to be heard any more. */
  rest(): void {
    this.#ticker.stop();
    systemClock.clearTimer(this.#busyTimer);
    this.#busyTimer = undefined;
    if (this.#stopListening === undefined) return;
    this.#stopListening();
    this.#stopListening = undefined;
    this.#member.wakeItself();
  }

  /** Returns what to wait for a change of. */
  #askAndMove(): number {
    const { requests } = this.#member;
    if (!this.#member.attached) this.#waiting.expelled();
    for (const what of WAIT_FIELDS) {
      if (this.#waiting.awaits(what)) this.#member.ask(what);
    }
    this.#waiting.move();
    return requests;
  }

  #listen(requests: number): void {
    this.#tickOrNot();
    this.#stopListening ??= listen(
      this.#words,
      this.#member.requestsAt,
      requests,
      () => this.#woken(),
    );
  }

  #woken(): void {
    this.#stopListening = undefined;
    this.#waiting.woken();
    this.look();
    // It may have been owed to one who has left meanwhile.
    this.#passOn(Header.WAIT_ITEM);
  }

  /** An item that nobody here waits for is another's. */
  #passOn(what: WaitField): void {
    if (what !== Header.WAIT_ITEM || this.#waiting.awaits(what)) return;
    if (!this.#ring.isEmpty) this.#member.wake(what, 1);
  }

  #sleep(requests: number, milliseconds: number): void {
    const at = this.#member.requestsAt;
    if (Atomics.wait(this.#words, at, requests, milliseconds) === "ok") {
      return this.#waiting.woken();
    }
    this.#member.answer();
    this.#waiting.lookForDead();
  }

  /**
   * Looks now and then while somebody waits. The timer also keeps the process
   * alive, and a thread of Deno that has no other reason to go on awake enough to
   * hear of a wake-up at all.
   */
  #tickOrNot(): void {
    if (this.#waiting.isAwaited) this.#ticker.start();
    else this.#ticker.stop();
  }
}

/** A timer that fires now and then, and keeps the process alive or not. */
class Ticker {
  readonly #tick: () => void;
  readonly #period: number;
  #timer: unknown = undefined;
  #keepsAlive = true;

  constructor(tick: () => void, period: number) {
    this.#tick = tick;
    this.#period = period;
  }

  set keepsAlive(keeps: boolean) {
    this.#keepsAlive = keeps;
    if (this.#timer !== undefined) keepAlive(this.#timer, keeps);
  }

  start(): void {
    if (this.#timer === undefined) this.#goOn();
  }

  stop(): void {
    systemClock.clearTimer(this.#timer);
    this.#timer = undefined;
  }

  #goOn(): void {
    this.#timer = systemClock.setTimer(() => {
      this.#goOn();
      this.#tick();
    }, this.#period);
    if (!this.#keepsAlive) keepAlive(this.#timer, false);
  }
}
