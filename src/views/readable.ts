/**
 * A queue as a native `ReadableStream`, with readers that ask the queue itself.
 *
 * Everything native (a `Response` body, `tee`, a transfer) goes through `pull`,
 * which takes one item when, and only when, somebody reads: the stream has a
 * highWaterMark of 0 and stores nothing. `getReader()`, iteration and `pipeTo`
 * take the short cut.
 *
 * @module
 */

import { markHandled, Taker, WaiterGroup } from "../waiters.ts";
import { pipe } from "./pipe.ts";

/** What a readable view needs of the queue behind it. */
export interface TakingEnd<T> {
  /** The next item; what waits joins the group. */
  next(group: WaiterGroup): Promise<IteratorResult<T, undefined>>;
  /** Gives the next item to the taker, now or later. */
  serve(taker: Taker<T>): void;
  /** Whether an item is there now. */
  hasNext(): boolean;
  /** Removes that item. */
  take(): T;
  /** The consumer leaves; `cancel()` of the stream settles as this does. */
  cancel(reason: unknown): void | Promise<void>;
  /** Calls `view.ended` when the queue has ended, at once if it has already. */
  watch(view: EndingView): void;
  unwatch(view: EndingView): void;
}

/** Learns of the end of the queue. */
export interface EndingView {
  ended(): void;
  errored(reason: unknown): void;
}

/** The reading side of a queue. */
export class QueueReadable<T> extends ReadableStream<T> {
  readonly #source: Source<T>;

  constructor(end: TakingEnd<T>) {
    const source = new Source(end);
    super(
      {
        start: (controller) => source.start(controller),
        pull: () => source.pull(),
        cancel: (reason) => source.cancel(reason),
      },
      { highWaterMark: 0 },
    );
    this.#source = source;
    source.stream = this;
  }

  override getReader(options: { mode: "byob" }): ReadableStreamBYOBReader;
  override getReader(
    options?: { mode?: undefined },
  ): ReadableStreamDefaultReader<T>;
  override getReader(
    options?: { mode?: "byob" | undefined },
  ): ReadableStreamDefaultReader<T> | ReadableStreamBYOBReader {
    // Only the plain reader has a short cut; native words for the rest.
    if (options?.mode !== undefined) {
      return super.getReader(options as { mode: "byob" });
    }
    return new QueueReader<T>(this, this.#source);
  }

  override values(
    options?: { preventCancel?: boolean },
  ): QueueReadableIterator<T> {
    return new QueueReadableIterator<T>(
      new QueueReader<T>(this, this.#source),
      options?.preventCancel === true,
    );
  }

  override [Symbol.asyncIterator](
    options?: { preventCancel?: boolean },
  ): QueueReadableIterator<T> {
    return this.values(options);
  }

  override pipeTo(
    destination: WritableStream<T>,
    options?: StreamPipeOptions,
  ): Promise<void> {
    if (
      this.locked || !(destination instanceof WritableStream) ||
      destination.locked
    ) return super.pipeTo(destination, options);
    const reader = new QueueReader<T>(this, this.#source);
    return pipe<T>(reader, destination.getWriter(), options ?? {});
  }

  override pipeThrough<R>(
    transform: ReadableWritablePair<R, T>,
    options?: StreamPipeOptions,
  ): ReadableStream<R> {
    const { readable, writable } = transform;
    if (
      this.locked || !(writable instanceof WritableStream) || writable.locked
    ) return super.pipeThrough(transform, options);
    markHandled(this.pipeTo(writable, options));
    return readable;
  }
}

/** The native side of the view: the underlying source, and what it knows of its stream. */
class Source<T> implements EndingView {
  readonly end: TakingEnd<T>;
  stream: QueueReadable<T> | undefined = undefined;
  /** The reader of the short cut that holds the lock. */
  reader: QueueReader<T> | undefined = undefined;
  cancelled = false;
  #controller!: ReadableStreamDefaultController<T>;
  #pulling: PullTaker<T> | undefined = undefined;
  #finished = false;

  constructor(end: TakingEnd<T>) {
    this.end = end;
  }

  start(controller: ReadableStreamDefaultController<T>): void {
    this.#controller = controller;
  }

  pull(): Promise<void> {
    return new Promise((resolve) => {
      this.#pulling = new PullTaker(this, resolve);
      this.end.serve(this.#pulling);
    });
  }

  cancel(reason: unknown): void | Promise<void> {
    this.cancelled = true;
    this.#finished = true;
    this.#pulling?.leave();
    this.reader?.pending.endAll();
    // Or the queue would hold a consumer that left without releasing its lock.
    this.end.unwatch(this);
    return this.end.cancel(reason);
  }

  enqueue(item: T): void {
    this.#controller.enqueue(item);
  }

  ended(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#controller.close();
  }

  errored(reason: unknown): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#controller.error(reason);
  }

  /** False when the native read that asked has been given up by `releaseLock()`: an item enqueued now would be parked in the stream, out of sight. */
  hasNativeReader(): boolean {
    return this.stream!.locked && this.reader === undefined && !this.cancelled;
  }
}

/** A native `pull` that waits. */
class PullTaker<T> extends Taker<T> {
  readonly #source: Source<T>;
  readonly #pulled: () => void;

  constructor(source: Source<T>, pulled: () => void) {
    super();
    this.#source = source;
    this.#pulled = pulled;
  }

  override isWaiting(): boolean {
    return this.#source.hasNativeReader();
  }

  accept(item: T): void {
    this.leave();
    // At once, not in a microtask: the queue may end right after its last
    // item, and a chunk enqueued after close() would be lost.
    this.#source.enqueue(item);
    this.#pulled();
  }

  end(): void {
    if (!this.isWaiting()) return this.#pulled();
    this.#source.ended();
    this.#pulled();
  }

  reject(reason: unknown): void {
    this.#source.errored(reason);
    this.#pulled();
  }
}

class QueueReader<T> extends ReadableStreamDefaultReader<T> {
  readonly pending: WaiterGroup = new WaiterGroup();
  readonly #source: Source<T>;
  #released = false;

  constructor(stream: QueueReadable<T>, source: Source<T>) {
    super(stream);
    this.#source = source;
    source.reader = this;
    source.end.watch(source);
  }

  override read(): Promise<ReadableStreamReadResult<T>> {
    if (this.#released) return Promise.reject(released("read"));
    if (this.#source.cancelled) {
      return Promise.resolve(
        { done: true, value: undefined } as ReadableStreamReadResult<T>,
      );
    }
    // Some type libraries leave no room for the `undefined` of a finished read.
    return this.#source.end.next(this.pending) as Promise<
      ReadableStreamReadResult<T>
    >;
  }

  override releaseLock(): void {
    if (this.#released) return;
    this.#released = true;
    this.#source.reader = undefined;
    this.#source.end.unwatch(this.#source);
    this.pending.withdrawAll(released("finish the read"));
    super.releaseLock();
  }

  hasNext(): boolean {
    return !this.#source.cancelled && this.#source.end.hasNext();
  }

  take(): T {
    return this.#source.end.take();
  }

  serve(taker: Taker<T>): void {
    this.#source.end.serve(taker);
    if (taker.line !== undefined) this.pending.add(taker);
  }

  /** Ends the reads that wait, as if the stream had. */
  endPending(): void {
    this.pending.endAll();
  }
}

function released(action: string): TypeError {
  return new TypeError(
    `Cannot ${action}: the reader must hold the lock, received a released reader`,
  );
}

/** `for await` over a view: breaking off cancels it, unless told not to. */
export class QueueReadableIterator<T> {
  readonly #reader: QueueReader<T>;
  readonly #preventCancel: boolean;
  #done = false;

  constructor(reader: QueueReader<T>, preventCancel: boolean) {
    this.#reader = reader;
    this.#preventCancel = preventCancel;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#done) return Promise.resolve({ done: true, value: undefined });
    const ready = this.#reader.hasNext();
    const result = this.#reader.read();
    // What is there now cannot be the end, which is where the lock goes.
    if (ready) return result as Promise<IteratorResult<T, undefined>>;
    result.then((step) => step.done && this.#finish(), () => this.#finish());
    return result as Promise<IteratorResult<T, undefined>>;
  }

  async return(value?: unknown): Promise<IteratorResult<T, undefined>> {
    const result = { done: true as const, value: value as undefined };
    if (this.#done) return result;
    this.#done = true;
    // The reads that wait end at once: return() must not stand behind them.
    this.#reader.endPending();
    const cancelled = this.#preventCancel
      ? undefined
      : this.#reader.cancel(value);
    this.#reader.releaseLock();
    await cancelled;
    return result;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  #finish(): void {
    if (this.#done) return;
    this.#done = true;
    this.#reader.releaseLock();
  }
}
