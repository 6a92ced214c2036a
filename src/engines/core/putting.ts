/**
 * The putting half of a handle: what is put, written or piped becomes bytes, and
 * goes to the outbox.
 *
 * @module
 */

import { checkFunction, checkLimit } from "../../checks.ts";
import { refusePromise } from "../../callbacks.ts";
import { checkClock, type Clock } from "../../clock.ts";
import { checkCodec, type Codec, payloadOf } from "../../codec.ts";
import { received } from "../../errors.ts";
import { comeInTime, putEach } from "../../putting.ts";
import { type PuttingEnd, QueueWritable } from "../../views/writable.ts";
import { FULFILLED, signalOf, WaiterGroup } from "../../waiters.ts";
import type { PuttingDriver } from "./driver.ts";
import type { EnginePutOptions } from "./engine_queue.ts";
import { checkHeaders, framed, type ItemHeaders } from "./headers.ts";
import type { Connection } from "./connection.ts";
import { closedError, Outbox, type OutboxOptions } from "./outbox.ts";

/** What the putting half of a handle is made of. */
export interface PuttingOptions<T> extends OutboxOptions {
  codec: Codec<T>;
  keyOf: ((item: T) => string) | undefined;
  headersOf?: ((item: T) => ItemHeaders | undefined) | undefined;
}

/** The puts of one handle, and the streams that put. */
export class Putting<T> {
  readonly #driver: PuttingDriver;
  readonly #outbox: Outbox<T>;
  readonly #codec: Codec<T>;
  readonly #keyOf: ((item: T) => string) | undefined;
  readonly #headersOf: ((item: T) => ItemHeaders | undefined) | undefined;
  /** Puts are named after their handle, which is one of its kind in the world. */
  #prefix: string | undefined = undefined;
  #puts = 0;
  readonly #writables: Set<QueueWritable<T>> = new Set();

  constructor(
    connection: Connection<PuttingDriver>,
    options: PuttingOptions<T>,
  ) {
    this.#driver = connection.driver;
    this.#codec = options.codec;
    this.#keyOf = options.keyOf;
    this.#headersOf = options.headersOf;
    this.#outbox = new Outbox(connection, options);
  }

  /** Puts without an answer of the engine yet. */
  get length(): number {
    return this.#outbox.length;
  }

  /** Items that the engine has accepted. */
  get accepted(): number {
    return this.#outbox.accepted;
  }

  /** The bound of them. */
  get highWaterMark(): number {
    return this.#outbox.highWaterMark;
  }

  put(item: T, options: EnginePutOptions | undefined): Promise<void> {
    try {
      return this.#put(item, signalOf("put", options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async putMany(
    items: Iterable<T> | AsyncIterable<T>,
    options: EnginePutOptions | undefined,
    closed: Promise<void>,
  ): Promise<void> {
    const inTime = comeInTime(items);
    const signal = signalOf("put many", options, { signal: true });
    const arriving = new Set<Promise<void>>();
    let failure: { readonly error: unknown } | undefined;
    const begin = (item: T): void => {
      if (failure !== undefined) return;
      const arrival = this.#put(item, signal);
      arriving.add(arrival);
      arrival.then(
        () => arriving.delete(arrival),
        (error) => failure ??= { error },
      );
    };
    const whenRoom = (item: T): Promise<void> =>
      this.#outbox.whenRoom(() => begin(item), signal);
    if (inTime) {
      const put = async (item: T): Promise<void> => {
        await whenRoom(item);
        signal?.throwIfAborted();
        if (failure !== undefined) throw failure.error;
      };
      await putEach(items, put, signal, closed);
    } else {
      for (const item of items) {
        const begun = whenRoom(item);
        // What needs no waiting goes together.
        if (begun !== FULFILLED) await begun;
        signal?.throwIfAborted();
        if (failure !== undefined) break;
      }
    }
    await Promise.all(arriving);
  }

  producer(): WritableStream<T> {
    const writable: QueueWritable<T> = new QueueWritable<T>(
      new Writing<T>({
        outbox: this.#outbox,
        put: (item, group) => this.#put(item, group),
        failed: (reason) => writable.erroredByQueue(reason),
        left: () => this.#writables.delete(writable),
      }),
    );
    this.#writables.add(writable);
    if (this.#outbox.closed) writable.endedByQueue();
    return writable;
  }

  /** Nothing more is put here; fulfils when the engine has answered for all there is. */
  close(): Promise<void> {
    for (const writable of this.#writables) writable.endedByQueue();
    return this.#outbox.close();
  }

  /** Gives up what has no answer. */
  abort(reason: unknown): void {
    this.#outbox.abort(reason);
  }

  /** Throws what is wrong with the item. */
  #put(item: T, by: AbortSignal | WaiterGroup | undefined): Promise<void> {
    if (this.#outbox.closed) throw closedError(item);
    const encoded = payloadOf(this.#codec, item);
    const headers = this.#headersOf?.(item);
    if (headers !== undefined) checkHeaders("put", headers);
    const payload = framed(encoded, headers);
    const { maxPayload } = this.#driver;
    if (payload.byteLength > maxPayload) {
      throw new RangeError(
        `Cannot put: the encoded item must be at most ${maxPayload} bytes, received ${payload.byteLength}`,
      );
    }
    const key = this.#keyOf?.(item);
    if (key !== undefined && typeof key !== "string") {
      refusePromise("put", "keyOf(item)", key);
      throw new TypeError(
        `Cannot put: keyOf must return a string, received ${received(key)}`,
      );
    }
    // Not earlier: some runtimes have no chance outside of a request.
    const prefix = this.#prefix ??= crypto.randomUUID();
    const id = `${prefix}-${++this.#puts}`;
    return this.#outbox.add(item, id, payload, key, by);
  }
}

/** What a writable needs of its handle. */
interface WritingOptions<T> {
  outbox: Outbox<T>;
  put(item: T, group: WaiterGroup): Promise<void>;
  failed(reason: unknown): void;
  left(): void;
}

/** The end behind a writable: its writes fulfil early, and it closes when all have arrived. */
class Writing<T> implements PuttingEnd<T> {
  readonly refusesWhenFull = false;
  readonly #options: WritingOptions<T>;
  readonly #arriving: WaiterGroup = new WaiterGroup();
  /** Writes that have not begun. */
  #waiting: WaiterGroup | undefined = undefined;
  #failure: { readonly reason: unknown } | undefined = undefined;

  constructor(options: WritingOptions<T>) {
    this.#options = options;
  }

  get desiredSize(): number {
    return this.#options.outbox.desiredSize;
  }

  get ready(): Promise<void> {
    return this.#options.outbox.ready;
  }

  get open(): boolean {
    return !this.#options.outbox.closed;
  }

  put(item: T, group: WaiterGroup): Promise<void> {
    this.#waiting = group;
    return this.#options.outbox.whenRoom(() => this.#begin(item), group);
  }

  async close(): Promise<void> {
    this.#options.left();
    await this.#waiting?.settled();
    await this.#arriving.settled();
  }

  /** What has begun goes on. */
  abort(reason: unknown, pending: WaiterGroup): void {
    this.#options.left();
    pending.withdrawAll(reason);
  }

  failed(): void {
    this.#options.left();
  }

  #begin(item: T): void {
    if (this.#failure !== undefined) throw this.#failure.reason;
    try {
      this.#options.put(item, this.#arriving)
        .catch((reason) => this.#fail(reason));
    } catch (reason) {
      this.#fail(reason);
      throw reason;
    }
  }

  #fail(reason: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { reason };
    this.#options.left();
    this.#options.failed(reason);
    this.#waiting?.withdrawAll(reason);
  }
}

/** Throws unless a handle can put with them. */
export function checkPuttingOptions<T>(
  action: string,
  options: {
    codec?: Codec<T> | undefined;
    keyOf?: ((item: T) => string) | undefined;
    headersOf?: ((item: T) => ItemHeaders | undefined) | undefined;
    highWaterMark?: number | undefined;
    overflow?: string | undefined;
    offline?: string | undefined;
    onError?: ((error: unknown) => void) | undefined;
    clock?: Clock | undefined;
  },
): void {
  const { highWaterMark, codec, clock } = options;
  if (highWaterMark !== undefined) {
    checkLimit(action, "highWaterMark", highWaterMark, 1);
  }
  for (const word of ["overflow", "offline"] as const) {
    const value = options[word];
    if (value !== undefined && value !== "wait" && value !== "reject") {
      throw new TypeError(
        `Cannot ${action}: ${word} must be "wait" or "reject", received ${
          received(value)
        }`,
      );
    }
  }
  for (const word of ["keyOf", "headersOf", "onError"] as const) {
    if (options[word] !== undefined) checkFunction(action, word, options[word]);
  }
  if (codec !== undefined) checkCodec(action, codec);
  if (clock !== undefined) checkClock(action, clock);
}
