/**
 * Items that go over a port: each with a credit of the queue on the other side,
 * and not done before its answer.
 *
 * @module
 */

import { QueueClosedError, QueueFullError } from "../../errors.ts";
import {
  type Deferred,
  deferred,
  FULFILLED,
  Line,
  markHandled,
  Putter,
  SignalGroups,
  type WaiterGroup,
} from "../../waiters.ts";
import { type PortClosedError, reportUndelivered } from "./errors.ts";
import type { ClientFrame } from "./frames.ts";
import type { PortConnection } from "./connection.ts";

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

/** What departures are made of. */
export interface PortSenderOptions<T> {
  onUndelivered: ((item: T, reason: unknown) => void) | undefined;
}

/** The putting side of a connected queue. */
export class PortSender<T> {
  readonly #wire: PortConnection<ClientFrame>;
  readonly #options: PortSenderOptions<T>;
  /** Those that wait for a credit. */
  readonly #line: Line<PendingPut<T>> = new Line();
  readonly #signals: SignalGroups = new SignalGroups();
  /** Those that wait for their answer. */
  readonly #underWay: Map<number, PendingPut<T>> = new Map();
  #ids = 0;
  #credits = 0;
  #state: "open" | "closing" | "errored" = "open";
  #failure: { readonly reason: unknown } | undefined = undefined;
  #ready: Deferred<void> | undefined = undefined;
  /** What is to happen once nothing waits for a credit. */
  #whenSent: (() => void) | undefined = undefined;
  /** The other side knows that puts wait. */
  #wanted = false;
  accepted = 0;
  readonly #withdrawn: () => void = () => this.#changed();
  readonly #cancel: (id: number) => void = (id) =>
    this.#wire.send(["cancel", id]);

  constructor(
    wire: PortConnection<ClientFrame>,
    options: PortSenderOptions<T>,
  ) {
    this.#wire = wire;
    this.#options = options;
  }

  get open(): boolean {
    return this.#state === "open";
  }

  /** Those that wait for a credit. */
  get waiting(): number {
    return this.#line.length;
  }

  /** Those that wait for their answer. */
  get underWay(): number {
    return this.#underWay.size;
  }

  /** With what the queue was ended, if it was by an error. */
  get failure(): { readonly reason: unknown } | undefined {
    return this.#failure;
  }

  get desiredSize(): number | null {
    if (this.#failure !== undefined) return null;
    return this.open ? this.#credits - this.#line.length : 0;
  }

  get ready(): Promise<void> {
    if (this.#ready !== undefined) return this.#ready.promise;
    if (this.#failure === undefined) {
      if (!this.open || this.desiredSize! > 0) return FULFILLED;
      this.#ready = deferred();
    } else {
      this.#ready = deferred();
      this.#ready.reject(this.#failure.reason);
    }
    markHandled(this.#ready.promise);
    return this.#ready.promise;
  }

  /** Puts an item in line; the promise settles with the answer. */
  put(item: T, by: AbortSignal | WaiterGroup | undefined): Promise<void> {
    if (!this.open) return Promise.reject(this.#refusal(item));
    const put = this.#make(item, false);
    if (by !== undefined) {
      (isSignal(by) ? this.#signals.of(by) : by).add(put);
    }
    this.#line.push(put);
    this.#sendWaiting();
    return put.promise;
  }

  /** Sends an item if there is a credit for it. Throws what speaks against any put. */
  tryPut(item: T): boolean {
    if (!this.open) throw this.#refusal(item);
    if (this.#line.first !== undefined || this.#credits === 0) return false;
    this.#send(this.#make(item, true));
    return true;
  }

  // -- Ending -------------------------------------------------------------------

  /** Takes nothing more; calls back once all that waits is sent. */
  close(
    failure: { readonly reason: unknown } | undefined,
    whenSent: () => void,
  ): void {
    if (!this.open) return;
    this.#seal("closing", failure);
    this.#whenSent = whenSent;
    this.#changed();
  }

  /** The queue takes nothing more: what is not sent is refused. */
  closedByQueue(failure: { readonly reason: unknown } | undefined): void {
    if (!this.open && this.#whenSent === undefined) return;
    if (this.open) this.#seal("closing", failure);
    this.#whenSent = undefined;
    this.#refuseWaiting((item) => this.#refusal(item));
  }

  /** Refuses what is not sent. What is under way is answered by the other side. */
  abort(reason: unknown): void {
    if (this.#state === "errored") return;
    this.#seal("errored", { reason });
    this.#whenSent = undefined;
    this.#refuseWaiting(() => reason);
  }

  /** Asks to take back what is under way. */
  giveUp(reason: unknown): void {
    for (const put of this.#underWay.values()) put.giveUp(reason);
  }

  /** Nobody will answer. */
  drop(failure: PortClosedError): void {
    this.abort(failure);
    for (const put of [...this.#underWay.values()]) {
      this.#refuse(put, failure.withItem(put.item));
    }
  }

  // -- What the other side says -------------------------------------------------

  /** Whether so many more are a number of credits. */
  mayBeCredited(count: number): boolean {
    return Number.isSafeInteger(this.#credits + count);
  }

  /** Whether these wait for their answer; with a refusal that has no reason, because they were given up. */
  areUnderWay(first: number, count: number): boolean {
    if (count > this.#underWay.size) return false;
    for (let id = first; id < first + count; id++) {
      if (!this.#underWay.has(id)) return false;
    }
    return true;
  }

  isGivenUp(id: number): boolean {
    return this.#underWay.get(id)?.givenUp !== undefined;
  }

  credited(count: number): void {
    this.#credits += count;
    this.#wanted = false;
    this.#sendWaiting();
  }

  answeredWell(first: number, count: number): void {
    for (let id = first; id < first + count; id++) {
      const put = this.#underWay.get(id);
      if (put === undefined) continue;
      this.#underWay.delete(id);
      this.accepted++;
      put.leave();
      put.accepted();
    }
    this.#changed();
  }

  /** Without a reason because it was given up. */
  refused(id: number, refusal: { readonly reason: unknown } | undefined): void {
    const put = this.#underWay.get(id);
    if (put === undefined) return;
    const reason = put.givenUp === undefined
      ? withItem(refusal?.reason, put.item)
      : put.givenUp.reason;
    this.#refuse(put, reason);
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

  // -- Sending ------------------------------------------------------------------

  #make(item: T, isPromised: boolean): PendingPut<T> {
    return new PendingPut(item, isPromised, this.#withdrawn, this.#cancel);
  }

  #sendWaiting(): void {
    for (
      let put = this.#line.first;
      put !== undefined && this.#credits > 0;
      put = this.#line.first
    ) {
      this.#line.remove(put);
      this.#send(put);
    }
    this.#changed();
  }

  #send(put: PendingPut<T>): void {
    this.#credits--;
    put.id = ++this.#ids;
    this.#underWay.set(put.id, put);
    this.#wire.sendPut(put.id, put.item);
  }

  #refuse(put: PendingPut<T>, reason: unknown): void {
    this.#underWay.delete(put.id);
    put.leave();
    if (put.isPromised) {
      reportUndelivered(this.#options.onUndelivered, put.item, reason);
    } else put.reject(reason);
    this.#changed();
  }

  #refuseWaiting(reasonFor: (item: T) => unknown): void {
    for (
      let put = this.#line.first;
      put !== undefined;
      put = this.#line.first
    ) {
      put.leave();
      put.reject(reasonFor(put.item));
    }
    this.#changed();
  }

  #seal(
    state: "closing" | "errored",
    failure: { readonly reason: unknown } | undefined,
  ): void {
    this.#state = state;
    if (failure === undefined) this.#ready?.resolve();
    else this.#ready?.reject(failure.reason);
    this.#ready = undefined;
    this.#failure = failure;
  }

  #changed(): void {
    this.#wire.touch();
    if (this.open && this.desiredSize! > 0) {
      this.#ready?.resolve();
      this.#ready = undefined;
    }
    if (this.#line.first !== undefined) return;
    const whenSent = this.#whenSent;
    this.#whenSent = undefined;
    whenSent?.();
  }

  #refusal(item: T): unknown {
    if (this.#state === "errored") return this.#failure!.reason;
    return new QueueClosedError<T>(
      "Cannot put: the queue must be open, received one that is closing",
      this.#failure === undefined
        ? { item }
        : { item, cause: this.#failure.reason },
    );
  }
}

/** The reason came without the item, which was here all the time. */
function withItem<T>(reason: unknown, item: T): unknown {
  const isOurs = reason instanceof QueueClosedError ||
    reason instanceof QueueFullError ||
    (reason as { name?: unknown } | null)?.name === "DataCloneError";
  if (!isOurs) return reason;
  return Object.defineProperty(reason as object, "item", {
    value: item,
    configurable: true,
  });
}

function isSignal(by: AbortSignal | WaiterGroup): by is AbortSignal {
  return typeof (by as Partial<AbortSignal>).addEventListener === "function";
}
