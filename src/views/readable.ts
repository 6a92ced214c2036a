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

import { reasonOr, received } from "../errors.ts";
import type { EndingView } from "../lifecycle.ts";
import { markHandled, Receiver, WaiterGroup } from "../waiters.ts";
import { NativeReadable, NativeReader } from "./native.ts";
import { isLocked, pipe, readPipeOptions } from "./pipe.ts";

/** What a readable view needs of the queue behind it. */
export interface TakingEnd<T> {
  /** The next item; what waits joins the group. */
  next(group: WaiterGroup): Promise<IteratorResult<T, undefined>>;
  /** Gives the next item to the receiver, now or later. */
  serve(receiver: Receiver<T>): void;
  /** Whether an item is there now. Left out where other threads may take it meanwhile. */
  hasNext?(): boolean;
  /** Removes that item. */
  take?(): T;
  /** The consumer leaves; `cancel()` of the stream settles as this does. Left out where nobody minds. */
  readonly cancel?: ((reason: unknown) => void | Promise<void>) | undefined;
  /** As `cancel`, for a loop that breaks off and a pipe that fails: settles without waiting for other consumers. Left out where that is no difference. */
  leave?(reason: unknown): void | Promise<void>;
  /** A reader has let go of the stream, and of the reads that it had under way. Left out where that is no difference. */
  released?(): void;
  /** Calls `view.ended` when the queue has ended, at once if it has already. */
  watch(view: EndingView): void;
  unwatch(view: EndingView): void;
}

/** The end of a queue from which nobody takes between two calls. */
export interface DirectEnd<T> extends TakingEnd<T> {
  hasNext(): boolean;
  take(): T;
}

/**
 * The reading side of a queue. It follows the queue from the start: a native
 * reader, a native `tee` and `cancel` see an ending without a read.
 */
export class QueueReadable<T> extends NativeReadable<T> {
  readonly #source: ViewSource<T>;

  /** Where the queue is not to keep the view, it keeps it only while a reader of the short cut holds the lock. */
  constructor(end: TakingEnd<T>, isKept = true) {
    const source = new ViewSource(end);
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
    source.follow(isKept);
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
    try {
      isLocked(WritableStream, "pipe", "destination", destination);
      return this.#pipeTo(
        "pipe",
        destination,
        readPipeOptions("pipe", options),
      );
    } catch (reason) {
      return Promise.reject(reason);
    }
  }

  override pipeThrough<R>(
    transform: ReadableWritablePair<R, T>,
    options?: StreamPipeOptions,
  ): ReadableStream<R> {
    const action = "pipe through";
    // Each getter once, and in the order of the standard: they may be user code.
    const { readable } = transform ?? {} as ReadableWritablePair<R, T>;
    isLocked(ReadableStream, action, "readable", readable);
    const { writable } = transform;
    isLocked(WritableStream, action, "writable", writable);
    markHandled(
      this.#pipeTo(action, writable, readPipeOptions(action, options)),
    );
    return readable;
  }

  /** Throws before anything is locked. */
  #pipeTo(
    action: string,
    destination: WritableStream<T>,
    options: StreamPipeOptions,
  ): Promise<void> {
    const locked = isLocked(ReadableStream, action, "the stream", this)
      ? this
      : isLocked(WritableStream, action, "the destination", destination)
      ? destination
      : undefined;
    if (locked !== undefined) {
      throw new TypeError(
        `Cannot ${action}: both streams must be unlocked, received ${
          received(locked)
        } that is locked`,
      );
    }
    const writer = destination.getWriter();
    return pipe<T>(new QueueReader<T>(this, this.#source), writer, options);
  }
}

/** The native side of the view: the underlying source, and what it knows of its stream. */
class ViewSource<T> implements EndingView {
  readonly end: TakingEnd<T>;
  stream: QueueReadable<T> | undefined = undefined;
  /** The reader of the short cut that holds the lock. */
  reader: QueueReader<T> | undefined = undefined;
  /** Nothing of the queue comes through this stream any more, whatever the queue does: it was cancelled, or errored from outside. */
  over = false;
  /** Whether the cancel under way is that of a loop or a pipe. */
  leaving = false;
  #controller!: ReadableStreamDefaultController<T>;
  #pulling: PullReceiver<T> | undefined = undefined;
  /** The stream is closed or errored. */
  finished = false;
  /** What the queue keeps of a stream that it does not keep itself. */
  #trace: EndingView | undefined = undefined;

  constructor(end: TakingEnd<T>) {
    this.end = end;
  }

  start(controller: ReadableStreamDefaultController<T>): void {
    this.#controller = controller;
  }

  follow(isKept: boolean): void {
    if (!isKept) this.#trace = traceOf(this, this.end);
    this.end.watch(this.#trace ?? this);
  }

  /** A reader of the short cut has the lock. */
  held(reader: QueueReader<T>): void {
    this.reader = reader;
    this.noteError();
    if (this.#trace !== undefined && !this.finished) this.end.watch(this);
  }

  released(): void {
    this.reader = undefined;
    if (this.#trace !== undefined) this.end.unwatch(this);
    this.end.released?.();
  }

  /** Node's `addAbortSignal` errors a stream behind the back of its source. */
  noteError(): void {
    if (this.finished || this.#controller.desiredSize !== null) return;
    this.#leave();
    this.#pulling?.leave();
  }

  #leave(): void {
    this.over = true;
    this.finished = true;
    // Or the queue would hold a consumer that left without releasing its lock.
    this.end.unwatch(this);
    if (this.#trace !== undefined) this.end.unwatch(this.#trace);
  }

  pull(): Promise<void> {
    return new Promise((resolve) => {
      this.#pulling = new PullReceiver(this, resolve);
      this.end.serve(this.#pulling);
    });
  }

  cancel(reason: unknown): void | Promise<void> {
    this.#leave();
    this.#pulling?.leave();
    this.reader?.pending.endAll();
    // An AbortError for nobody would cost more than all the rest.
    if (this.end.cancel === undefined) return;
    const why = reasonOr(reason, "The stream was cancelled");
    return this.leaving && this.end.leave !== undefined
      ? this.end.leave(why)
      : this.end.cancel(why);
  }

  enqueue(item: T): void {
    this.#controller.enqueue(item);
  }

  ended(): void {
    this.noteError();
    if (this.finished) return;
    this.finished = true;
    this.#controller.close();
  }

  errored(reason: unknown): void {
    if (this.finished) return;
    this.finished = true;
    this.#controller.error(reason);
  }

  /** False when the native read that asked has been given up by `releaseLock()`: an item enqueued now would be parked in the stream, out of sight. */
  hasNativeReader(): boolean {
    return this.stream!.locked && this.reader === undefined && !this.over &&
      this.#controller.desiredSize !== null;
  }
}

/**
 * Tells a view of the end without keeping it; undefined where the runtime knows
 * no weak references. Nobody cancels what they drop, so the end is told to
 * forget the trace of a view that is gone.
 */
function traceOf(
  view: EndingView,
  end: Pick<TakingEnd<never>, "unwatch">,
): EndingView | undefined {
  if (typeof WeakRef === "undefined") return undefined;
  const trace = new Trace(view);
  dropped ??= new FinalizationRegistry((forget) => forget());
  dropped.register(view, () => end.unwatch(trace));
  return trace;
}

let dropped: FinalizationRegistry<() => void> | undefined;

class Trace implements EndingView {
  readonly #view: WeakRef<EndingView>;

  constructor(view: EndingView) {
    this.#view = new WeakRef(view);
  }

  ended(): void {
    this.#view.deref()?.ended();
  }

  errored(reason: unknown): void {
    this.#view.deref()?.errored(reason);
  }
}

/** A native `pull` that waits. */
class PullReceiver<T> extends Receiver<T> {
  readonly #source: ViewSource<T>;
  readonly #pulled: () => void;

  constructor(source: ViewSource<T>, pulled: () => void) {
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

class QueueReader<T> extends NativeReader<T> {
  readonly pending: WaiterGroup = new WaiterGroup();
  readonly #source: ViewSource<T>;
  #released = false;

  constructor(stream: QueueReadable<T>, source: ViewSource<T>) {
    super(stream);
    this.#source = source;
    source.held(this);
    this.closed.then(undefined, (reason) => {
      source.noteError();
      if (source.over) this.pending.withdrawAll(reason);
    });
  }

  override read(): Promise<ReadableStreamReadResult<T>> {
    if (this.#released) return Promise.reject(released("read"));
    if (this.#source.over) return super.read();
    // Some type libraries leave no room for the `undefined` of a finished read.
    return this.#source.end.next(this.pending) as Promise<
      ReadableStreamReadResult<T>
    >;
  }

  override releaseLock(): void {
    if (this.#released) return;
    this.#released = true;
    this.#source.released();
    this.pending.withdrawAll(released("finish the read"));
    super.releaseLock();
  }

  hasNext(): boolean {
    return !this.#source.over && this.#source.end.hasNext?.() === true;
  }

  take(): T {
    return this.#source.end.take!();
  }

  serve(receiver: Receiver<T>): void {
    if (this.#source.over) return;
    this.#source.end.serve(receiver);
    if (receiver.line !== undefined) this.pending.add(receiver);
  }

  /** Cancels the stream without waiting for consumers beside this one. */
  leave(reason: unknown): Promise<void> {
    this.#source.leaving = true;
    const cancelled = this.cancel(reason);
    this.#source.leaving = false;
    return cancelled;
  }

  /** Whether there is nothing left to cancel. */
  get hasEnded(): boolean {
    this.#source.noteError();
    return this.#source.finished;
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

/** `for await` over a view: breaking off cancels it, but with `preventCancel`. */
export class QueueReadableIterator<T> {
  readonly #reader: QueueReader<T>;
  readonly #preventCancel: boolean;
  #done = false;
  // Made once: a stream that is filled on demand waits with every read.
  readonly #noteEnd: (step: ReadableStreamReadResult<T>) => void = (step) => {
    if (step.done) this.#finish();
  };
  readonly #noteError: () => void = () => this.#finish();

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
    result.then(this.#noteEnd, this.#noteError);
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
      : this.#reader.leave(value);
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
