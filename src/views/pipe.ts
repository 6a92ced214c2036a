/**
 * `pipeTo` from a queue, with the rules of the standard and without its price:
 * while the destination has room and the queue has items, chunks go over
 * without a promise in between.
 *
 * Source: https://streams.spec.whatwg.org/#readable-stream-pipe-to
 *
 * @module
 */

import { FULFILLED, markHandled } from "../waiters.ts";

/** A reader that can be asked what is there without a promise. */
export interface DirectReader<T> extends ReadableStreamDefaultReader<T> {
  hasNext(): boolean;
  take(): T;
  /** Ends the reads that wait; nothing is taken by them. */
  endPending(): void;
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
  #reading: Promise<void> = FULFILLED;
  #stopped = false;
  #dry = false;
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
      this.#stop(
        () =>
          Promise.all([
            preventAbort ? undefined : writer.abort(reason),
            preventCancel ? undefined : reader.cancel(reason),
          ]),
        { reason },
      );
    };
    if (signal !== undefined) {
      const settled = (): void => signal.removeEventListener("abort", aborted);
      piped.then(settled, settled);
      if (signal.aborted) {
        aborted();
        return piped;
      }
      signal.addEventListener("abort", aborted);
    }
    reader.closed.then(
      () => {
        this.#stop(
          preventClose ? undefined : () => closeUnlessClosing(writer),
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
        this.#stop(preventCancel ? undefined : () => reader.cancel(reason), {
          reason,
        });
      },
      (reason) => {
        this.#stop(preventCancel ? undefined : () => reader.cancel(reason), {
          reason,
        });
      },
    );
    void this.#flow();
    return piped;
  }

  async #flow(): Promise<void> {
    const reader = this.#reader;
    const writer = this.#writer;
    while (!this.#stopped && !this.#dry) {
      const room = writer.desiredSize;
      if (room === null) return;
      if (room <= 0) {
        // A rejection of ready is one of closed as well, and handled there.
        await writer.ready.catch(ignore);
      } else if (reader.hasNext()) {
        this.#write(reader.take());
      } else {
        this.#reading = this.#writeNext();
        await this.#reading;
      }
    }
  }

  async #writeNext(): Promise<void> {
    // Done or failed: reader.closed tells the pipe so.
    const result = await this.#reader.read().catch(ignore);
    if (result === undefined || result.done) this.#dry = true;
    else this.#write(result.value);
  }

  #write(chunk: T): void {
    const written = this.#writer.write(chunk);
    markHandled(written);
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
      // What has been read is written, whatever stops the pipe.
      await this.#reading;
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

function closeUnlessClosing<T>(
  writer: WritableStreamDefaultWriter<T>,
): Promise<void> {
  return writer.desiredSize === null ? writer.closed.then(ignore) : writer
    .close();
}

function ignore(): undefined {}
