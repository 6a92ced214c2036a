/**
 * Items on their way to an engine: in their order, in batches that grow with the
 * load, again after a failure.
 *
 * @module
 */

import { isSignal } from "../../checks.ts";
import { QueueClosedError, QueueFullError } from "../../errors.ts";
import {
  type Deferred,
  deferred,
  FULFILLED,
  Line,
  Putter,
  SignalGroups,
  type Waiter,
  type WaiterGroup,
} from "../../waiters.ts";
import type { Answer, Outgoing, PuttingDriver } from "./driver.ts";
import type { Connection } from "./connection.ts";

/** What an outbox is made of. */
export interface OutboxOptions {
  /** How many items may wait for their answer before `ready` is pending. */
  highWaterMark: number;
  /** What a full engine means for an item. */
  overflow: "wait" | "reject";
  /** What a failed word with the engine means for it. */
  offline: "wait" | "reject";
}

/** An item that the engine has not answered for. It stays in its groups until then, and in the line until it is sent. */
export class PendingPut<T> extends Putter<T> implements Outgoing {
  readonly id: string;
  readonly payload: Uint8Array;
  readonly key: string | undefined;
  /** Why it is not to be tried again. What is on its way may have arrived, and its answer counts. */
  givenUp: { readonly reason: unknown } | undefined = undefined;
  isUnderWay = false;

  constructor(
    item: T,
    id: string,
    payload: Uint8Array,
    key: string | undefined,
    withdrawn: () => void,
  ) {
    super(item, 1, undefined, withdrawn);
    this.id = id;
    this.payload = payload;
    this.key = key;
  }

  override withdraw(reason: unknown): void {
    this.givenUp = { reason };
    if (this.isUnderWay) this.leave();
    else super.withdraw(reason);
  }
}

/** Someone who waits until another put may begin, and begins it then. */
class Beginner extends Putter<undefined> {
  readonly #begin: () => void;

  constructor(begin: () => void, withdrawn: () => void) {
    super(undefined, 1, undefined, withdrawn);
    this.#begin = begin;
  }

  override accepted(): void {
    try {
      this.#begin();
      super.accepted();
    } catch (error) {
      this.reject(error);
    }
  }
}

/** The puts of one handle. */
export class Outbox<T> {
  readonly connection: Connection<PuttingDriver>;
  readonly #options: OutboxOptions;
  readonly #line: Line<PendingPut<T>> = new Line();
  readonly #beginners: Line<Beginner> = new Line();
  readonly #signals: SignalGroups = new SignalGroups();
  /** Sent, or to be sent again; in front of the line. */
  #batch: PendingPut<T>[] = [];
  #running = false;
  #closed = false;
  #accepted = 0;
  #ready: Deferred<void> | undefined = undefined;
  #drained: Deferred<void> | undefined = undefined;

  constructor(connection: Connection<PuttingDriver>, options: OutboxOptions) {
    this.connection = connection;
    this.#options = options;
  }

  /** Items that the engine has accepted. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Items without an answer. */
  get length(): number {
    return this.#batch.length + this.#line.length;
  }

  /** The bound. */
  get highWaterMark(): number {
    return this.#options.highWaterMark;
  }

  get desiredSize(): number {
    if (this.#closed) return 0;
    return this.#options.highWaterMark - this.length - this.#beginners.length;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Pending while there are as many items without an answer as there may be. */
  get ready(): Promise<void> {
    if (this.#closed || this.desiredSize > 0) return FULFILLED;
    return (this.#ready ??= deferred()).promise;
  }

  /**
   * Calls `begin`, which is to add an item, once there is room for it: those that
   * wait in their order. Fulfils then, or rejects with what it threw. With room
   * it is `FULFILLED` itself, which need not be waited for.
   */
  whenRoom(
    begin: () => void,
    by: AbortSignal | WaiterGroup | undefined,
  ): Promise<void> {
    if (this.#beginners.first === undefined && this.#hasRoom()) {
      try {
        begin();
        return FULFILLED;
      } catch (error) {
        return Promise.reject(error);
      }
    }
    const beginner = new Beginner(begin, () => this.#changed());
    this.#beginners.push(beginner);
    this.#join(beginner, by);
    return beginner.promise;
  }

  /** Puts an item in line. Its promise settles with the answer of the engine. */
  add(
    item: T,
    id: string,
    payload: Uint8Array,
    key: string | undefined,
    by: AbortSignal | WaiterGroup | undefined,
  ): Promise<void> {
    const put = new PendingPut(item, id, payload, key, () => this.#changed());
    this.#line.push(put);
    this.#join(put, by);
    this.#start();
    return put.promise;
  }

  /** Nothing more is put; fulfils when all there is has been answered. */
  close(): Promise<void> {
    this.#closed = true;
    this.#changed();
    if (this.length === 0) return FULFILLED;
    return (this.#drained ??= deferred()).promise;
  }

  /** Gives up what is not answered yet. What is on its way may have arrived; nobody waits to learn of it. */
  abort(reason: unknown): void {
    this.#closed = true;
    const batch = this.#batch;
    this.#batch = [];
    for (const put of batch) this.#refuse(put, reason);
    for (const line of [this.#line, this.#beginners]) {
      while (line.first !== undefined) line.first.withdraw(reason);
    }
    this.#changed();
  }

  #join(waiter: Waiter, by: AbortSignal | WaiterGroup | undefined): void {
    if (by === undefined) return;
    (isSignal(by) ? this.#signals.of(by) : by).add(waiter);
  }

  #hasRoom(): boolean {
    return this.#closed || this.length < this.#options.highWaterMark;
  }

  #admit(): void {
    for (
      let next = this.#beginners.first;
      next !== undefined && this.#hasRoom();
      next = this.#beginners.first
    ) {
      next.leave();
      next.accepted();
    }
  }

  #start(): void {
    if (this.#running) return;
    this.#running = true;
    // What is put in the same turn goes together.
    queueMicrotask(() => void this.#run());
  }

  async #run(): Promise<void> {
    while (this.#fill()) {
      const isFull = await this.#send();
      // Who learns of a failure has nothing more to put.
      await FULFILLED;
      this.#changed();
      if (isFull) await this.#waitForRoom();
      // Who has waited for room has more, which goes together.
      await FULFILLED;
    }
    this.#running = false;
    this.#changed();
  }

  /** True when the engine is full. */
  async #send(): Promise<boolean> {
    let answers: readonly Answer[];
    try {
      answers = await this.connection.attempt((driver) =>
        // Given up while the link was opened.
        this.#batch.length === 0 ? NOTHING : driver.send(this.#batch)
      );
    } catch (error) {
      if (
        this.#options.offline === "reject" || this.connection.isFinal(error)
      ) {
        this.#refuseBatch(error);
      } else {
        this.#dropGivenUp();
        await this.connection.pause();
      }
      if (this.connection.signal.aborted) this.#refuseBatch(error);
      return false;
    }
    return this.#settle(answers);
  }

  /** Makes the next batch of what has to be sent again and the head of the line. */
  #fill(): boolean {
    this.#dropGivenUp();
    const { maxBatch, maxBatchBytes } = this.connection.driver;
    let room = maxBatchBytes;
    for (const put of this.#batch) room -= put.payload.byteLength;
    for (
      let put = this.#line.first;
      put !== undefined && this.#batch.length < maxBatch &&
      (this.#batch.length === 0 || put.payload.byteLength <= room);
      put = this.#line.first
    ) {
      this.#line.remove(put);
      room -= put.payload.byteLength;
      this.#batch.push(put);
    }
    for (const put of this.#batch) put.isUnderWay = true;
    return this.#batch.length > 0;
  }

  /** True when the engine is full, and what it refused for that is still to be sent. */
  #settle(answers: readonly Answer[]): boolean {
    const again: PendingPut<T>[] = [];
    this.#batch.forEach((put, index) => {
      const answer = answers[index] ?? "full";
      if (answer === "accepted") {
        put.leave();
        this.#accepted++;
        put.accepted();
      } else if (answer !== "full") this.#refuse(put, answer.error);
      else if (this.#options.overflow === "reject") {
        this.#refuse(
          put,
          new QueueFullError(
            "Cannot put: the engine must have room, received one that is full",
            { item: put.item },
          ),
        );
      } else again.push(put);
    });
    this.#batch = again;
    this.#dropGivenUp();
    return this.#batch.length > 0;
  }

  async #waitForRoom(): Promise<void> {
    try {
      await this.connection.attempt((driver) =>
        driver.room(this.connection.signal)
      );
    } catch (error) {
      // What is final the next batch will hear as well.
      if (!this.connection.isFinal(error)) await this.connection.pause();
    }
  }

  #refuseBatch(error: unknown): void {
    for (const put of this.#batch.splice(0)) this.#refuse(put, error);
  }

  #refuse(put: PendingPut<T>, error: unknown): void {
    put.leave();
    put.reject(put.givenUp === undefined ? error : put.givenUp.reason);
  }

  /** Nothing of the batch is under way. */
  #dropGivenUp(): void {
    this.#batch = this.#batch.filter((put) => {
      put.isUnderWay = false;
      if (put.givenUp !== undefined) put.reject(put.givenUp.reason);
      return put.givenUp === undefined;
    });
  }

  #changed(): void {
    this.#admit();
    if (this.#closed || this.desiredSize > 0) {
      this.#ready?.resolve();
      this.#ready = undefined;
    }
    if (this.length === 0) {
      this.#drained?.resolve();
      this.#drained = undefined;
    }
  }
}

const NOTHING: Promise<readonly Answer[]> = /* @__PURE__ */ Promise.resolve([]);

/** For puts on a handle that is closed. */
export function closedError<T>(item: T): QueueClosedError<T> {
  return new QueueClosedError(
    "Cannot put: the queue must be open, received a closed queue",
    { item },
  );
}
