/**
 * What all handles on engines have in common: what is put, written or piped
 * becomes bytes and goes to the outbox, and the handle ends.
 *
 * @module
 */

import { outOfRange, wrongType } from "../../checks.ts";
import { refusePromise } from "../../callbacks.ts";
import { type Codec, payloadOf } from "../../codec.ts";
import { printBy } from "../../printing.ts";
import { comeInTime, putEach } from "../../putting.ts";
import { type PuttingEnd, QueueWritable } from "../../views/writable.ts";
import { FULFILLED, signalOf, WaiterGroup } from "../../waiters.ts";
import { Closing, type Half } from "./closing.ts";
import type { EnginePutOptions } from "./engine_queue.ts";
import { checkHeaders, framed, type ItemHeaders } from "./headers.ts";
import { closedError, type Outbox } from "./outbox.ts";

/** How items become what is sent. */
export interface EncodingOptions<T> {
  codec: Codec<T>;
  keyOf?: ((item: T) => string) | undefined;
  headersOf?: ((item: T) => ItemHeaders | undefined) | undefined;
}

/** Options of {@linkcode PuttingHandle.close}. */
export interface CloseOptions {
  /** Waits no longer: what is not answered is given up, what is still lent comes back to others when its time is over. */
  signal?: AbortSignal | undefined;
}

/** What one process can put into a queue on an engine with. */
export class PuttingHandle<T> implements AsyncDisposable {
  readonly #outbox: Outbox<T>;
  readonly #encoding: EncodingOptions<T>;
  /** Puts are named after their handle, which is one of its kind in the world. */
  #prefix: string | undefined = undefined;
  #puts = 0;
  #writable: WritableStream<T> | undefined = undefined;
  readonly #writables: Set<QueueWritable<T>> = new Set();
  readonly #closing: Closing;

  /** Made by the queues of the engines. The other half, if there is one, closes with this one. */
  constructor(
    outbox: Outbox<T>,
    encoding: EncodingOptions<T>,
    ...others: readonly Half[]
  ) {
    printBy(PuttingHandle.prototype, (handle) => handle.#facts());
    this.#outbox = outbox;
    this.#encoding = encoding;
    this.#closing = new Closing(outbox.connection, [
      {
        close: () => {
          for (const writable of this.#writables) writable.endedByQueue();
          return outbox.close();
        },
        abort: (reason) => outbox.abort(reason),
      },
      ...others,
    ]);
  }

  /** Puts what is written, see {@linkcode PuttingHandle.producer}; the same stream each time. */
  get writable(): WritableStream<T> {
    return this.#writable ??= this.producer();
  }

  /** Fulfils once {@linkcode PuttingHandle.close} has. */
  get closed(): Promise<void> {
    return this.#closing.closed;
  }

  /** Puts without an answer of the engine yet. */
  get waitingPuts(): number {
    return this.#outbox.length;
  }

  /**
   * Puts an item, and waits until the engine has it: until it can be reached and
   * has room, unless `offline` or `overflow` say otherwise. What is put in one turn
   * goes together.
   *
   * Rejects with what the codec throws, a `RangeError` for an item that is too
   * large for the engine, `QueueClosedError` on a closed handle, the words of the
   * engine when it refuses for good (no permission, wrong password, another kind of
   * key or stream, a connection that is closed), and the signal's
   * reason; then the item was not put. Only when the signal aborts, or the handle
   * is closed by force, while the engine cannot be reached, an item that was on its
   * way may have arrived; where `offline` is `"reject"`, so may one whose put
   * rejected with a failure of the connection.
   */
  put(item: T, options?: EnginePutOptions): Promise<void> {
    try {
      return this.#put(item, signalOf("put", options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Puts items in their order, as many on their way at a time as `highWaterMark`
   * says, and fulfils when the engine has them all. Rejects with the first that
   * failed; those before it were put, those behind it that had begun may have been.
   */
  async putMany(
    items: Iterable<T> | AsyncIterable<T>,
    options?: EnginePutOptions,
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
      await putEach(items, put, signal, this.closed);
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

  /**
   * A stream that puts what is written. A write fulfils when there is room for
   * it among the puts of this handle; closing the stream waits until the engine has
   * all of them. An item that cannot be put errors the stream. Aborting it takes
   * nothing back.
   */
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

  /**
   * Ends this handle, not the queue: nothing more is put or lent here, what is on
   * its way arrives, what was fetched early goes back at once. Fulfils when the
   * engine has all that was put, and all that was lent here has been acknowledged
   * or has gone back. The signal ends the wait; the promise fulfils then, too.
   */
  close(options?: CloseOptions): Promise<void> {
    return this.#closing.close(options);
  }

  /** Closes. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #facts(): Readonly<Record<string, unknown>> {
    const { name } = this as { name?: string };
    return {
      ...(name === undefined ? {} : { name }),
      waitingPuts: this.waitingPuts,
      highWaterMark: this.#outbox.highWaterMark,
      state: this.#closing.state,
    };
  }

  /** Throws what is wrong with the item. */
  #put(item: T, by: AbortSignal | WaiterGroup | undefined): Promise<void> {
    if (this.#outbox.closed) throw closedError(item);
    const { codec, keyOf, headersOf } = this.#encoding;
    const encoded = payloadOf(codec, item);
    const headers = headersOf?.(item);
    if (headers !== undefined) checkHeaders("put", headers);
    const payload = framed(encoded, headers);
    const { maxPayload } = this.#outbox.connection.driver;
    if (payload.byteLength > maxPayload) {
      const rule = `the encoded item must be at most ${maxPayload} bytes`;
      throw outOfRange("put", rule, payload.byteLength);
    }
    const key = keyOf?.(item);
    if (key !== undefined && typeof key !== "string") {
      refusePromise("put", "keyOf(item)", key);
      throw wrongType("put", "keyOf must return a string", key);
    }
    // Not earlier: some runtimes have no chance outside of a request.
    const prefix = this.#prefix ??= crypto.randomUUID();
    const id = `${prefix}-${++this.#puts}`;
    return this.#outbox.add(item, id, payload, key, by);
  }
}

/** For `await using`. */
export interface PuttingHandle<T> extends AsyncDisposable {}

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
