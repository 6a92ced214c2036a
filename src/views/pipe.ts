/**
 * `pipeTo` from a queue, with the rules of the standard and without its price:
 * while the destination has room and the queue has items, chunks go over
 * without a promise in between.
 *
 * Source: https://streams.spec.whatwg.org/#readable-stream-pipe-to
 *
 * @module
 */

import { ignore } from "../callbacks.ts";
import { wrongType } from "../checks.ts";
import { checkSignal, FULFILLED, markHandled, Receiver } from "../waiters.ts";

/** A reader that can be asked what is there without a promise. */
export interface DirectReader<T> extends ReadableStreamDefaultReader<T> {
  hasNext(): boolean;
  take(): T;
  /** Gives the next item to the receiver, now or when it comes. */
  serve(receiver: Receiver<T>): void;
  /** Cancels the stream without waiting for consumers beside this one. */
  leave(reason: unknown): Promise<void>;
  /** Whether there is nothing left to cancel. */
  readonly hasEnded: boolean;
  /** Ends the reads that wait; nothing is taken by them. */
  endPending(): void;
}

/** Whether the stream is locked. Throws a `TypeError` that names it unless it is one of that class, from whatever realm. */
export function isLocked(
  streams: typeof ReadableStream | typeof WritableStream,
  action: string,
  name: string,
  stream: unknown,
): boolean {
  try {
    // The getter of the platform knows its streams, whatever their prototype says.
    const locked: unknown = Reflect.get(streams.prototype, "locked", stream);
    if (typeof locked === "boolean") return locked;
  } catch { /* It is none. */ }
  throw wrongType(action, `${name} must be a ${streams.name}`, stream);
}

/** The options as the standard reads them: each getter once, in the order of the alphabet. */
export function readPipeOptions(
  action: string,
  options: StreamPipeOptions | null | undefined,
): StreamPipeOptions {
  if (options === undefined || options === null) return {};
  if (typeof options !== "object" && typeof options !== "function") {
    throw wrongType(action, "options must be an object", options);
  }
  const read: StreamPipeOptions = {
    preventAbort: Boolean(options.preventAbort),
    preventCancel: Boolean(options.preventCancel),
    preventClose: Boolean(options.preventClose),
  };
  const { signal } = options;
  if (signal === undefined) return read;
  checkSignal(action, { signal });
  return { ...read, signal };
}

/** Pipes what the reader reads into the writer, and releases both in the end. */
export function pipe<T>(
  reader: DirectReader<T>,
  writer: WritableStreamDefaultWriter<T>,
  options: StreamPipeOptions,
): Promise<void> {
  return new Pipe(reader, writer, options).run();
}

class Pipe<T> {
  readonly #options: StreamPipeOptions;
  readonly #reader: DirectReader<T>;
  readonly #writer: WritableStreamDefaultWriter<T>;
  #lastWrite: Promise<unknown> = FULFILLED;
  #stopped = false;
  #flowing = false;
  /** Whether the receiver has got its item. */
  #served = false;
  readonly #receiver: PipeReceiver<T>;
  readonly #resume: () => void = () => this.#flow();
  #finish!: () => void;
  #fail!: (reason: unknown) => void;

  constructor(
    reader: DirectReader<T>,
    writer: WritableStreamDefaultWriter<T>,
    options: StreamPipeOptions,
  ) {
    this.#reader = reader;
    this.#writer = writer;
    this.#options = options;
    this.#receiver = new PipeReceiver(writer, (item) => {
      this.#write(item);
      this.#served = true;
      if (!this.#flowing) this.#flow();
    });
  }

  run(): Promise<void> {
    const { preventAbort, preventCancel, preventClose, signal } = this.#options;
    const reader = this.#reader;
    const writer = this.#writer;
    const piped = new Promise<void>((resolve, reject) => {
      this.#finish = resolve;
      this.#fail = reject;
    });
    const aborted = (): void => {
      const reason = signal!.reason;
      // What has ended by then has nothing to say about why the pipe stopped.
      this.#stop(
        () =>
          Promise.all([
            preventAbort || writer.desiredSize === null
              ? undefined
              : writer.abort(reason),
            preventCancel || reader.hasEnded ? undefined : reader.leave(reason),
          ]),
        { reason },
      );
    };
    if (signal !== undefined) {
      if (signal.aborted) {
        aborted();
        return piped;
      }
      // An ending that came before the signal is about to stop the pipe itself.
      const fired = (): void => reader.hasEnded ? undefined : aborted();
      const settled = (): void => signal.removeEventListener("abort", fired);
      piped.then(settled, settled);
      signal.addEventListener("abort", fired);
    }
    reader.closed.then(
      () => {
        this.#stop(
          preventClose
            ? undefined
            // Refused when it is closed already, which is just as well.
            : () => writer.close().catch(() => writer.closed),
          undefined,
        );
      },
      (reason) => {
        this.#stop(preventAbort ? undefined : () => writer.abort(reason), {
          reason,
        });
      },
    );
    writer.closed.then(
      () => {
        const reason = new TypeError(
          "Cannot pipe: the destination must be open, received a closed stream",
        );
        this.#stop(preventCancel ? undefined : () => reader.leave(reason), {
          reason,
        });
      },
      (reason) => {
        this.#stop(preventCancel ? undefined : () => reader.leave(reason), {
          reason,
        });
      },
    );
    this.#flow();
    return piped;
  }

  /** Moves what can be moved now, then waits for whichever side is behind. */
  #flow(): void {
    this.#flowing = true;
    while (this.#hasRoom() && this.#moveOne());
    this.#flowing = false;
  }

  #hasRoom(): boolean {
    if (this.#stopped) return false;
    const room = this.#writer.desiredSize;
    // An error of the destination reaches the pipe through writer.closed.
    if (room === null) return false;
    if (room <= 0) this.#writer.ready.then(this.#resume, ignore);
    return room > 0;
  }

  /** False when the item is still to come. */
  #moveOne(): boolean {
    const reader = this.#reader;
    if (reader.hasNext()) {
      this.#write(reader.take());
      return true;
    }
    this.#served = false;
    reader.serve(this.#receiver);
    return this.#served;
  }

  #write(chunk: T): void {
    const written = this.#writer.write(chunk);
    if (written !== FULFILLED) markHandled(written);
    this.#lastWrite = written;
  }

  /** Ends the pipe once: the writes in flight, then the action, then the locks. */
  #stop(
    action: (() => Promise<unknown>) | undefined,
    failure: { reason: unknown } | undefined,
  ): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#reader.endPending();
    void this.#shutDown(action, failure);
  }

  async #shutDown(
    action: (() => Promise<unknown>) | undefined,
    failure: { reason: unknown } | undefined,
  ): Promise<void> {
    try {
      await this.#lastWrite.catch(ignore);
      await action?.();
    } catch (reason) {
      failure = { reason };
    }
    this.#reader.releaseLock();
    this.#writer.releaseLock();
    if (failure === undefined) this.#finish();
    else this.#fail(failure.reason);
  }
}

/** Writes an item in the moment it is handed over, so that none is ever between the two streams. */
class PipeReceiver<T> extends Receiver<T> {
  readonly #writer: WritableStreamDefaultWriter<T>;
  readonly #write: (item: T) => void;

  constructor(
    writer: WritableStreamDefaultWriter<T>,
    write: (item: T) => void,
  ) {
    super();
    this.#writer = writer;
    this.#write = write;
  }

  /** A destination that has failed takes nothing from the queue. */
  override isWaiting(): boolean {
    return this.#writer.desiredSize !== null;
  }

  accept(item: T): void {
    this.leave();
    this.#write(item);
  }

  /** The end and the failure of the queue reach the pipe through reader.closed. */
  end(): void {}
  reject(): void {}
}
