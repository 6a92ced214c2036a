/**
 * For how long messages are lent here. The server lends for one time for all: who has
 * longer is kept by word of life, who has less is given back when it is over.
 *
 * @module
 */

import type { Clock } from "../../clock.ts";
import { NAK, type NatsWire, WORKING } from "./wire.ts";

/** What is remembered of a loan. */
export interface NatsLoan {
  /** Where what becomes of it is told. */
  readonly reply: string;
  /** Since when it is lent at least, on the clock of this process. */
  renewedAt: number;
  /** Until when it is to be lent. */
  until: number;
  /** Rings when it has to be renewed, or is to go back. */
  timer: unknown;
  /** Whether it has been said what becomes of it. */
  isSettled: boolean;
}

/** The loans of one handle. */
export class NatsLoans {
  readonly #wire: NatsWire;
  readonly #clock: Clock;
  /** For how many milliseconds the server lends without further word. */
  readonly #ackWait: () => number;
  /** Those with an alarm. */
  readonly #kept: Set<NatsLoan> = new Set();

  constructor(wire: NatsWire, clock: Clock, ackWait: () => number) {
    this.#wire = wire;
    this.#clock = clock;
    this.#ackWait = ackWait;
  }

  /** The server answers for all it hears; only the time tells whether the message is still ours. */
  holds(loan: NatsLoan): boolean {
    const now = this.#clock.now();
    return !this.#wire.isClosed && now < loan.until &&
      now < loan.renewedAt + this.#ackWait();
  }

  /** Lends for so many milliseconds from now. False when it was not ours any more. */
  async extend(loan: NatsLoan, milliseconds: number): Promise<boolean> {
    if (!this.holds(loan)) return false;
    const asked = this.#clock.now();
    await this.#wire.request(loan.reply, WORKING);
    if (loan.isSettled || !this.holds(loan)) return false;
    loan.renewedAt = asked;
    loan.until = asked + milliseconds;
    this.keep(loan);
    return true;
  }

  /** Says what becomes of it. False when it was not ours any more. */
  async settle(loan: NatsLoan, word: string): Promise<boolean> {
    loan.isSettled = true;
    this.#leave(loan);
    if (!this.holds(loan)) return false;
    await this.#wire.request(loan.reply, word);
    return true;
  }

  /** Sees to its time, where that is not the server's. */
  keep(loan: NatsLoan): void {
    this.#leave(loan);
    const now = this.#clock.now();
    const ackWait = this.#ackWait();
    const end = loan.renewedAt + ackWait;
    if (loan.isSettled || now >= end) return;
    this.#kept.add(loan);
    const isLast = loan.until <= end;
    const at = isLast ? loan.until : loan.renewedAt + ackWait / 2;
    loan.timer = this.#clock.setTimer(
      () => void (isLast ? this.#giveBack(loan) : this.#renew(loan)),
      Math.max(at - now, isLast ? 0 : ackWait / 16),
    );
  }

  /** Sees to none of them any longer. */
  close(): void {
    for (const loan of this.#kept) this.#leave(loan);
  }

  async #renew(loan: NatsLoan): Promise<void> {
    if (!this.holds(loan)) return this.#leave(loan);
    const asked = this.#clock.now();
    try {
      await this.#wire.request(loan.reply, WORKING);
      // An answer that comes late may be to a word for who has got it since.
      if (this.holds(loan)) loan.renewedAt = asked;
    } catch {
      // It is tried again, as long as it may help.
    }
    if (this.#kept.has(loan)) this.keep(loan);
  }

  async #giveBack(loan: NatsLoan): Promise<void> {
    this.#leave(loan);
    try {
      await this.#wire.request(loan.reply, NAK);
    } catch {
      // The server will do it later.
    }
  }

  #leave(loan: NatsLoan): void {
    this.#clock.clearTimer(loan.timer);
    this.#kept.delete(loan);
  }
}
