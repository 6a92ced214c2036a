/**
 * A queue as a native `WritableStream`, with writers that put straight into the
 * queue. Native pipes write through the underlying sink, one chunk at a time,
 * and so feel the backpressure of the queue.
 *
 * @module
 */

import { NativeWritable, NativeWriter } from "./native.ts";
import { FULFILLED, markHandled, WaiterGroup } from "../waiters.ts";
import { QueueClosedError, reasonOr } from "../errors.ts";

/** What a writable view needs of the queue behind it. */
export interface PuttingEnd<T> {
  readonly desiredSize: number | null;
  readonly ready: Promise<void>;
  /** As `put`; what waits joins the group. */
  put(item: T, group: WaiterGroup): Promise<void>;
  /** Whether a put may be refused for lack of room, so that a pipe has to wait for some first. */
  readonly refusesWhenFull: boolean;
  /** Whether the queue still takes items. */
  readonly open: boolean;
  /** The writer is done. Its stream closes once what it still waits to put is accepted, or as the promise says. */
  close(): void | Promise<void>;
  /** The writer gives up; `pending` is what it still waits to put. */
  abort(reason: unknown, pending: WaiterGroup): void;
  /** A write of a pipe failed, and the pipe with it. */
  failed(reason: unknown): void;
}

/**
 * The writing side of a queue. Its highWaterMark is 1, because a pipe into 0
 * never starts; the chunk it holds waits in the queue's line of puts.
 */
export class QueueWritable<T> extends NativeWritable<T> {
  readonly #sink: Sink<T>;

  constructor(end: PuttingEnd<T>) {
    const sink = new Sink(end);
    super({
      start: (controller) => sink.start(controller),
      write: (chunk) => sink.write(chunk),
      close: () => sink.close(),
      abort: (reason) => sink.abort(reason),
    }, { highWaterMark: 1 });
    this.#sink = sink;
  }

  override getWriter(): WritableStreamDefaultWriter<T> {
    return new QueueWriter<T>(this, this.#sink);
  }

  override close(): Promise<void> {
    if (!this.locked) this.#sink.finished = true;
    return super.close();
  }

  override abort(reason?: unknown): Promise<void> {
    return super.abort(aborted(reason));
  }

  /** The queue takes nothing more; the stream follows. */
  endedByQueue(): void {
    const sink = this.#sink;
    if (sink.finished) return;
    sink.closedByQueue = true;
    if (sink.writer !== undefined) markHandled(sink.writer.closeNatively());
    else if (!this.locked) markHandled(super.close());
    else {
      // A pipe holds the lock. Only an error makes it stop before its next chunk.
      sink.controller.error(
        new QueueClosedError(
          "Cannot write: the queue must be open, received a closed queue",
        ),
      );
    }
  }

  /** The queue has failed or was aborted; the stream follows. */
  erroredByQueue(reason: unknown): void {
    const sink = this.#sink;
    sink.finished = true;
    // Its own abort() errors the stream; Node 20 and 22 do not stand a second error within it.
    if (!sink.aborted) sink.controller.error(reason);
  }
}

/** The native side of the view: the underlying sink, and what it knows of its stream. */
class Sink<T> {
  readonly end: PuttingEnd<T>;
  readonly pending: WaiterGroup = new WaiterGroup();
  controller!: WritableStreamDefaultController;
  /** The writer of the short cut that holds the lock. */
  writer: QueueWriter<T> | undefined = undefined;
  /** Closed or aborted through this stream, or failed. */
  finished = false;
  aborted = false;
  closedByQueue = false;

  constructor(end: PuttingEnd<T>) {
    this.end = end;
  }

  start(controller: WritableStreamDefaultController): void {
    this.controller = controller;
    // abort() of a native stream waits for the write in flight, which may be
    // waiting for room for ever; the signal does not.
    controller.signal.addEventListener(
      "abort",
      () => this.abort(controller.signal.reason),
    );
  }

  write(chunk: T): Promise<void> | undefined {
    if (this.end.refusesWhenFull && !this.#hasRoom()) {
      return this.#writeWhenReady(chunk);
    }
    const accepted = this.end.put(chunk, this.pending);
    if (accepted === FULFILLED) return undefined;
    return accepted.catch((reason) => this.#fail(reason));
  }

  async #writeWhenReady(chunk: T): Promise<void> {
    try {
      while (!this.#hasRoom()) await this.end.ready;
      await this.end.put(chunk, this.pending);
    } catch (reason) {
      this.#fail(reason);
    }
  }

  #hasRoom(): boolean {
    return !this.end.open || this.end.desiredSize! > 0;
  }

  #fail(reason: unknown): never {
    if (!this.finished) {
      this.finished = true;
      this.end.failed(reason);
    }
    throw reason;
  }

  close(): Promise<void> | undefined {
    if (!this.closedByQueue) this.finished = true;
    const closed = this.end.close();
    const accepted = this.pending.settled();
    if (typeof closed !== "object") return accepted;
    markHandled(accepted);
    return closed;
  }

  abort(reason: unknown): void {
    this.finished = true;
    this.aborted = true;
    this.end.abort(aborted(reason), this.pending);
  }

  /** Node's `addAbortSignal` errors a stream behind the back of its sink. */
  noteError(reason: unknown): void {
    if (this.finished || this.closedByQueue) return;
    this.pending.withdrawAll(reason);
    this.finished = true;
    this.end.failed(reason);
  }
}

class QueueWriter<T> extends NativeWriter<T> {
  readonly #sink: Sink<T>;
  #released = false;

  constructor(stream: QueueWritable<T>, sink: Sink<T>) {
    super(stream);
    this.#sink = sink;
    sink.writer = this;
    this.closed.then(undefined, (reason) => {
      if (!this.#released) sink.noteError(reason);
    });
  }

  override write(chunk: T): Promise<void> {
    if (!this.#released && !this.#sink.finished) {
      return this.#sink.end.put(chunk, this.#sink.pending);
    }
    if (this.#released || super.desiredSize === null) return super.write(chunk);
    // Not the native words: Node 20 and 22 throw an internal error here.
    return Promise.reject(
      new TypeError(
        "Cannot write: the stream must be open, received one that is closed",
      ),
    );
  }

  override get desiredSize(): number | null {
    if (this.#released || this.#sink.finished) return super.desiredSize;
    return this.#sink.end.desiredSize;
  }

  // Some type libraries promise undefined here, some void: both are awaited for nothing.
  override get ready(): Promise<never> {
    if (this.#released || this.#sink.finished) {
      return super.ready as Promise<never>;
    }
    return this.#sink.end.ready as Promise<never>;
  }

  override abort(reason?: unknown): Promise<void> {
    return super.abort(aborted(reason));
  }

  override close(): Promise<void> {
    // The stream may already be closing because the queue is.
    if (this.#sink.closedByQueue && !this.#sink.finished) {
      this.#sink.finished = true;
      return this.closed.then(() => {});
    }
    if (!this.#released) this.#sink.finished = true;
    return super.close();
  }

  override releaseLock(): void {
    this.#released = true;
    if (this.#sink.writer === this) this.#sink.writer = undefined;
    super.releaseLock();
  }

  closeNatively(): Promise<void> {
    return super.close();
  }
}

function aborted(reason: unknown): unknown {
  return reasonOr(reason, "The stream was aborted");
}
