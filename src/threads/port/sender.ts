/**
 * Items that go over a port: each with a credit of the queue on the other side,
 * and not done before its answer.
 *
 * @module
 */

import { carryItem, QueueClosedError, QueueFullError } from "../../errors.ts";
import type { Failure, Lifecycle } from "../../lifecycle.ts";
import type { PuttingEnd } from "../../views/writable.ts";
import {
  leaving,
  Line,
  Putter,
  SignalGroups,
  type WaiterGroup,
} from "../../waiters.ts";
import { type PackedReason, packReason, unpackReason } from "../failure.ts";
import type { ClientConnection } from "./connection.ts";
import { type PortClosedError, reportUndelivered } from "./errors.ts";
import type { ClientFrame } from "./frames.ts";

const ANSWERS = "answers must be about puts that wait for one";

/** A put without an answer. It stays in its group until then, and in the line until it is sent. */
class PendingPut<T> extends Putter<T> {
  /** Its number, once it is sent. */
  id = 0;
  /** Whether it was promised to arrive. */
  readonly isPromised: boolean;
  givenUp: { readonly reason: unknown } | undefined = undefined;
  readonly #cancel: (id: number) => void;

  constructor(
    item: T,
    isPromised: boolean,
    withdrawn: () => void,
    cancel: (id: number) => void,
  ) {
    super(item, 1, undefined, withdrawn);
    this.isPromised = isPromised;
    this.#cancel = cancel;
  }

  /** What is under way is for the other side to decide. */
  override withdraw(reason: unknown): void {
    if (this.id === 0) return super.withdraw(reason);
    this.leave();
    this.giveUp(reason);
  }

  giveUp(reason: unknown): void {
    if (this.givenUp !== undefined) return;
    this.givenUp = { reason };
    this.#cancel(this.id);
  }
}

/** The putting side of a connected queue. */
export class PortSender<T> implements PuttingEnd<T> {
  refusesWhenFull = false;
  /** How many puts the queue has accepted. */
  accepted = 0;
  readonly #life: Lifecycle;
  readonly #wire: ClientConnection;
  readonly #onUndelivered: ((item: T, reason: unknown) => void) | undefined;
  /** Aborts the whole queue. */
  readonly #abort: (reason: unknown) => void;
  /** Those that wait for a credit. */
  readonly #line: Line<PendingPut<T>> = new Line();
  readonly #signals: SignalGroups = new SignalGroups();
  /** Those that wait for their answer. */
  readonly #underWay: Map<number, PendingPut<T>> = new Map();
  #ids = 0;
  #credits = 0;
  /** What is to be said once nothing waits for a credit. */
  #ending: ClientFrame | undefined = undefined;
  /** The other side knows that puts wait. */
  #wanted = false;
  readonly #withdrawn: () => void = () => this.#changed();
  readonly #cancel: (id: number) => void = (id) =>
    this.#wire.send(["cancel", id]);

  constructor(
    life: Lifecycle,
    wire: ClientConnection,
    onUndelivered: ((item: T, reason: unknown) => void) | undefined,
    abort: (reason: unknown) => void,
  ) {
    this.#life = life;
    this.#wire = wire;
    this.#onUndelivered = onUndelivered;
    this.#abort = abort;
  }

  get open(): boolean {
    return this.#life.state === "open";
  }

  /** Those that wait for a credit. */
  get waiting(): number {
    return this.#line.length;
  }

  /** Those that wait for their answer. */
  get underWay(): number {
    return this.#underWay.size;
  }

  get desiredSize(): number | null {
    if (this.#life.failure !== undefined) return null;
    return this.open ? this.#credits - this.#line.length : 0;
  }

  get ready(): Promise<void> {
    return this.#life.ready(this.desiredSize! > 0);
  }

  /** Puts an item in line; the promise settles with the answer. */
  put(item: T, group?: WaiterGroup, signal?: AbortSignal): Promise<void> {
    if (!this.open) return Promise.reject(this.#life.refusal(item));
    const put = this.#make(item, false);
    (signal === undefined ? group : this.#signals.of(signal))?.add(put);
    this.#line.push(put);
    this.#sendWaiting();
    return put.promise;
  }

  /** Sends an item if there is a credit for it. Throws what speaks against any put. */
  tryPut(item: T): boolean {
    if (!this.open) throw this.#life.refusal(item);
    if (this.#line.first !== undefined || this.#credits === 0) return false;
    this.#send(this.#make(item, true));
    return true;
  }

  // -- Ending -------------------------------------------------------------------

  /** Takes nothing more; the other side learns of it once all that waits is sent. */
  close(): void {
    this.#close(["close"], undefined);
  }

  fail(reason: unknown): void {
    this.#close(["fail", packReason(reason)], { reason });
  }

  failed(reason: unknown): void {
    this.fail(reason);
  }

  abort(reason: unknown): void {
    this.#abort(reason);
  }

  /** Refuses what is not sent. What is under way is answered by the other side. */
  stop(reason: unknown): void {
    if (!this.#life.abort(reason)) return;
    this.#life.tell();
    this.#ending = undefined;
    this.#refuseWaiting();
  }

  /** Asks to take back what is under way. */
  giveUp(reason: unknown): void {
    for (const put of this.#underWay.values()) put.giveUp(reason);
  }

  /** Nobody will answer. */
  drop(failure: PortClosedError): void {
    this.stop(failure);
    for (const put of [...this.#underWay.values()]) {
      this.#refuse(put, failure.withItem(put.item));
    }
  }

  // -- What the other side says: each gives the rule that it breaks, if any ---------

  credited(count: number): string | undefined {
    if (!Number.isSafeInteger(this.#credits + count)) {
      return "credits must be a number of puts";
    }
    this.#credits += count;
    this.#wanted = false;
    this.#sendWaiting();
    return undefined;
  }

  acceptedThere(first: number, count: number): string | undefined {
    if (!this.#areUnderWay(first, count)) return ANSWERS;
    for (let id = first; id < first + count; id++) {
      const put = this.#underWay.get(id)!;
      this.#underWay.delete(id);
      this.accepted++;
      put.leave();
      put.accepted();
    }
    this.#changed();
    return undefined;
  }

  /** Without a reason because it was given up. */
  refused(
    id: number,
    packed: PackedReason | "own" | undefined,
  ): string | undefined {
    const put = this.#underWay.get(id);
    if (put === undefined) return ANSWERS;
    if (packed === undefined && put.givenUp === undefined) return ANSWERS;
    const reason = put.givenUp === undefined
      ? withItem(this.unpack(packed)?.reason, put.item)
      : put.givenUp.reason;
    this.#refuse(put, reason);
    return undefined;
  }

  /** The queue takes nothing more: what is not sent is refused. */
  closing(failure: Failure | undefined): void {
    if (this.#life.close(failure)) this.#life.tell();
    else if (this.#ending === undefined) return;
    this.#ending = undefined;
    this.#refuseWaiting();
  }

  /** A reason as it came; it may be one that was given on this side. */
  unpack(packed: PackedReason | "own" | undefined): Failure | undefined {
    if (packed === "own") return this.#life.failure;
    return packed && { reason: unpackReason(packed) };
  }

  /** It was not sent after all. */
  unsendable(id: number, error: unknown): void {
    const put = this.#underWay.get(id);
    if (put === undefined) return;
    this.#credits++;
    this.#refuse(put, withItem(error, put.item));
    this.#sendWaiting();
  }

  /** Says that puts wait for a credit. */
  tend(): void {
    if (this.#line.first === undefined || this.#wanted) return;
    this.#wanted = true;
    this.#wire.send(["want"]);
  }

  #areUnderWay(first: number, count: number): boolean {
    if (count > this.#underWay.size) return false;
    for (let id = first; id < first + count; id++) {
      if (!this.#underWay.has(id)) return false;
    }
    return true;
  }

  // -- Sending ------------------------------------------------------------------

  #make(item: T, isPromised: boolean): PendingPut<T> {
    return new PendingPut(item, isPromised, this.#withdrawn, this.#cancel);
  }

  #sendWaiting(): void {
    while (this.#line.first !== undefined && this.#credits > 0) {
      const put = this.#line.first;
      this.#line.remove(put);
      this.#send(put);
    }
    this.#changed();
  }

  #send(put: PendingPut<T>): void {
    this.#credits--;
    put.id = ++this.#ids;
    this.#underWay.set(put.id, put);
    const last = this.#wire.last("puts");
    if (last === undefined) this.#wire.send(["puts", put.id, [put.item]]);
    else last[2].push(put.item);
  }

  #refuse(put: PendingPut<T>, reason: unknown): void {
    this.#underWay.delete(put.id);
    put.leave();
    if (put.isPromised) {
      reportUndelivered(this.#onUndelivered, put.item, reason);
    } else put.reject(reason);
    this.#changed();
  }

  #refuseWaiting(): void {
    for (const put of leaving(this.#line)) {
      put.reject(this.#life.refusal(put.item));
    }
    this.#changed();
  }

  #close(ending: ClientFrame, failure: Failure | undefined): void {
    if (!this.#life.close(failure)) return;
    this.#life.tell();
    this.#ending = ending;
    this.#changed();
  }

  #changed(): void {
    this.#wire.touch();
    if (this.#life.awaitsRoom && this.desiredSize! > 0) this.#life.roomCame();
    if (this.#line.first !== undefined || this.#ending === undefined) return;
    this.#wire.send(this.#ending);
    this.#ending = undefined;
  }
}

/** The reason came without the item, which was here all the time. */
function withItem<T>(reason: unknown, item: T): unknown {
  const isOurs = reason instanceof QueueClosedError ||
    reason instanceof QueueFullError ||
    (reason as { name?: unknown } | null)?.name === "DataCloneError";
  if (!isOurs) return reason;
  return carryItem(reason as object, item);
}
