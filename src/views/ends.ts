/**
 * The ends that the writing streams of a queue put through: that of the queue as
 * a whole, of one of its producers, and of who puts on behalf of others.
 *
 * @module
 */

import { ignore } from "../callbacks.ts";
import { allOf } from "../errors.ts";
import type { Failure, Lifecycle } from "../lifecycle.ts";
import { producerPolicy } from "../putting.ts";
import type { Putter, WaiterGroup, WaitingLine } from "../waiters.ts";
import { QueueWritable } from "./writable.ts";
import type { PuttingEnd } from "./writable.ts";

/** What all ends of a queue have in common: how to put, and whether there is room. */
export type PuttingSide<T> = Omit<PuttingEnd<T>, "close" | "abort" | "failed">;

/** How a queue ends, and that it does. */
export interface Endable {
  readonly life: Lifecycle;
  close(): void;
  fail(reason: unknown): void;
  abort(reason: unknown): void;
}

/** What a queue says of its room. */
interface Room {
  readonly desiredSize: number | null;
  readonly highWaterMark: number;
  readonly ready: Promise<void>;
}

/**
 * A queue as a stream that writes sees it. A rendezvous never has room, and a
 * writer that waits for room would wait for ever: it looks like a highWaterMark of 1.
 */
export class QueueSide<T> implements PuttingSide<T> {
  readonly put: (item: T, group: WaiterGroup) => Promise<void>;
  readonly refusesWhenFull: boolean;
  readonly #queue: Room;
  readonly #life: Lifecycle;
  readonly #putters: WaitingLine<Putter<T>>;

  constructor(
    queue: Room,
    life: Lifecycle,
    putters: WaitingLine<Putter<T>>,
    put: (item: T, group: WaiterGroup) => Promise<void>,
    refusesWhenFull: boolean,
  ) {
    this.#queue = queue;
    this.#life = life;
    this.#putters = putters;
    this.put = put;
    this.refusesWhenFull = refusesWhenFull;
  }

  get open(): boolean {
    return this.#life.state === "open";
  }

  get desiredSize(): number | null {
    return this.#isRendezvous()
      ? 1 - this.#putters.length
      : this.#queue.desiredSize;
  }

  get ready(): Promise<void> {
    return this.#isRendezvous() ? this.#nobodyPuts() : this.#queue.ready;
  }

  #isRendezvous(): boolean {
    return this.#queue.highWaterMark === 0 && this.open;
  }

  async #nobodyPuts(): Promise<void> {
    for (
      let putter = this.#putters.first;
      putter !== undefined;
      putter = this.#putters.first
    ) {
      await putter.promise.catch(ignore);
    }
    return this.#life.failure === undefined ? undefined : this.#queue.ready;
  }
}

/** An end that passes puts on. */
abstract class End<T> implements PuttingEnd<T> {
  readonly side: PuttingSide<T>;
  readonly refusesWhenFull: boolean;

  constructor(side: PuttingSide<T>) {
    this.side = side;
    this.refusesWhenFull = side.refusesWhenFull;
  }

  get open(): boolean {
    return this.side.open;
  }

  get desiredSize(): number | null {
    return this.side.desiredSize;
  }

  get ready(): Promise<void> {
    return this.side.ready;
  }

  put(item: T, group: WaiterGroup): Promise<void> {
    return this.side.put(item, group);
  }

  abstract close(): void;
  abstract abort(reason: unknown, pending: WaiterGroup): void;
  abstract failed(reason: unknown): void;
}

/** The end of the one stream that is the queue: what ends it ends the queue. */
export class WholeEnd<T> extends End<T> {
  readonly #queue: Endable;

  constructor(side: PuttingSide<T>, queue: Endable) {
    super(side);
    this.#queue = queue;
  }

  close(): void {
    this.#queue.close();
  }

  abort(reason: unknown): void {
    this.#queue.abort(reason);
  }

  failed(reason: unknown): void {
    this.#queue.fail(reason);
  }
}

/** The end of one producer, which ends once and leaves the rest to whoever registered it. */
class ProducerEnd<T> extends End<T> {
  readonly stream: QueueWritable<T>;
  readonly #life: Lifecycle;
  readonly #finished: (failure: Failure | undefined) => void;
  #isDone = false;

  constructor(
    side: PuttingSide<T>,
    life: Lifecycle,
    finished: (failure: Failure | undefined) => void,
  ) {
    super(side);
    this.#life = life;
    this.#finished = finished;
    this.stream = new QueueWritable<T>(this);
    life.follow(this.stream);
  }

  close(): void {
    this.#finish(undefined);
  }

  abort(reason: unknown, pending: WaiterGroup): void {
    // Before the queue may close because of it, which lets waiting puts in.
    pending.withdrawAll(reason);
    this.#finish({ reason });
  }

  failed(reason: unknown): void {
    this.#finish({ reason });
  }

  #finish(failure: Failure | undefined): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#life.unfollow(this.stream);
    this.#finished(failure);
  }
}

/** The registered producers of a queue: when the last is done, the queue ends. */
export class Producers<T> {
  readonly #queue: Endable;
  readonly #errors: unknown[] = [];
  #count = 0;

  constructor(queue: Endable) {
    this.#queue = queue;
  }

  /** No producer outlives the open state. */
  get count(): number {
    return this.#queue.life.state === "open" ? this.#count : 0;
  }

  register(
    side: PuttingSide<T>,
    options: Parameters<typeof producerPolicy>[0],
  ): WritableStream<T> {
    const onError = producerPolicy(options);
    const { life } = this.#queue;
    if (life.state !== "open") throw life.notOpen("register a producer");
    this.#count++;
    return new ProducerEnd<T>(side, life, (failure) => {
      if (life.state !== "open") return;
      if (failure !== undefined && onError === "abort") {
        return this.#queue.abort(failure.reason);
      }
      if (failure !== undefined && onError === "collect") {
        this.#errors.push(failure.reason);
      }
      this.#oneLess();
    }).stream;
  }

  #oneLess(): void {
    this.#count--;
    if (this.#count > 0) return;
    const { length } = this.#errors;
    if (length === 0) return this.#queue.close();
    const { called } = this.#queue.life;
    const message = `${length} of the producers of ${called} failed`;
    this.#queue.fail(allOf(this.#errors, message));
  }
}
