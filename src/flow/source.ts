/**
 * What the utilities read from, and how they read it: one item at a time, and
 * only when somebody wants it.
 *
 * @module
 */

import { checkObject, wrongType } from "../checks.ts";
import { received } from "../errors.ts";
import { markHandled } from "../waiters.ts";

/**
 * Where items come from: a stream, or any object one can iterate over. A queue is
 * one, too; a string is none.
 */
export type Source<T> =
  | ReadableStream<T>
  | AsyncIterable<T>
  | (Iterable<T> & object);

/** What a source gives; of a union of sources, what any of them gives. Of `any` it is `any`. */
export type ItemOf<S> = 0 extends 1 & S ? S
  : S extends
    ReadableStream<infer T> | AsyncIterable<infer T> | Iterable<infer T> ? T
  : never;

/**
 * As many streams as were asked for: a tuple where `Count` is a number that is
 * known when the program is compiled, up to 64, else an array.
 */
export type Branches<
  T,
  Count extends number,
  Begun extends ReadableStream<T>[] = [],
> = number extends Count ? ReadableStream<T>[]
  : Begun["length"] extends 64 ? ReadableStream<T>[]
  : Count extends Begun["length"] ? Begun
  : Branches<T, Count, [...Begun, ReadableStream<T>]>;

/** A source under way. It is read by one caller, who waits for one `next` before the next. */
export interface Feed<T> {
  /** The next item, or the end. Rejects with what the source fails with. */
  next(): Promise<IteratorResult<T, unknown>>;
  /**
   * As `next`, but tells the receiver, at once where the source needs no waiting:
   * a loop over synchronous sources has to be a loop. Nothing is told any more
   * after `cancel`.
   */
  pull(caller: SourceReader<T>): void;
  /**
   * Leaves the source before its end: cancels a stream with the reason, returns
   * an iterator. Settles as that does, but waits for no `next` that is under way:
   * behind one that is parked it would wait for ever. Once the source has ended,
   * failed or been left there is nothing to do.
   */
  cancel(reason: unknown): Promise<void>;
  /** Gives back a source that nothing was pulled from: unlocks a stream, leaves an iterator as it is. */
  release(): void;
}

/** Learns what a source gives to a {@linkcode Feed.pull}. Must not throw. */
export interface SourceReader<T> {
  received(item: T): void;
  ended(): void;
  failed(reason: unknown): void;
}

/** Throws a `TypeError` that names the argument unless it can be read from. */
export function checkSource(
  action: string,
  name: string,
  source: unknown,
): void {
  if (canBeRead(source)) return;
  throw wrongType(
    action,
    `${name} must be a ReadableStream or iterable`,
    source,
  );
}

/** The characters of a string are asked for by nobody: it is an item where a source was meant. */
export function canBeRead(source: unknown): source is Source<unknown> {
  if (typeof source === "string") return false;
  const candidate = source as Partial<Openable<unknown>> | null | undefined;
  return typeof candidate?.getReader === "function" ||
    typeof candidate?.[Symbol.asyncIterator] === "function" ||
    typeof candidate?.[Symbol.iterator] === "function";
}

/** Throws a `TypeError` where one more source stands in the place of the options. */
export function checkOneList(
  action: string,
  name: string,
  options: unknown,
): void {
  if (!canBeRead(options)) return;
  throw new TypeError(
    `Cannot ${action}: ${name} must be given in one list, received ${
      received(options)
    } after it`,
  );
}

/** What the failure of one source means for the others. */
export type SourceErrorPolicy = "collect" | "abort" | "ignore";

/** Starts to read: takes the lock of a stream, asks an iterable for its iterator. Pulls nothing yet. */
export function open<T>(source: Source<T>): Feed<T> {
  const { getReader, [Symbol.asyncIterator]: iterate } = source as Openable<T>;
  if (typeof getReader === "function") {
    return new StreamFeed((source as ReadableStream<T>).getReader());
  }
  const iterator = typeof iterate === "function"
    ? iterate.call(source)
    : (source as Iterable<T>)[Symbol.iterator]();
  checkObject("read", "the iterator of a source", iterator);
  return new IteratorFeed(iterator, typeof iterate === "function");
}

/** As {@linkcode open}, after the check; a locked stream is a `TypeError`, too. */
export function openChecked<T>(
  action: string,
  name: string,
  source: Source<T>,
): Feed<T> {
  checkUnlocked(action, name, source);
  return open(source);
}

/**
 * Opens all sources of a list, or none: where one cannot be read from, the
 * streams are unlocked again, and a `TypeError` names it.
 */
export function openAll<T>(
  action: string,
  sources: Iterable<Source<T>>,
): Feed<T>[] {
  if (
    typeof sources === "string" ||
    typeof (sources as Iterable<Source<T>> | null)?.[Symbol.iterator] !==
      "function"
  ) {
    throw wrongType(action, "sources must be iterable", sources);
  }
  const list = [...sources];
  const nameOf = (index: number): string => `sources[${index}]`;
  list.forEach((source, index) => {
    checkUnlocked(action, nameOf(index), source);
  });
  const feeds: Feed<T>[] = [];
  try {
    list.forEach((source, index) => {
      // Once more: the same stream may be in the list twice.
      feeds.push(openChecked(action, nameOf(index), source));
    });
  } catch (reason) {
    for (const feed of feeds) feed.release();
    throw reason;
  }
  return feeds;
}

function checkUnlocked(action: string, name: string, source: unknown): void {
  checkSource(action, name, source);
  if ((source as { locked?: boolean }).locked !== true) return;
  throw new TypeError(
    `Cannot ${action}: ${name} must not be locked, received ${
      received(source)
    } that is`,
  );
}

interface Openable<T> extends AsyncIterable<T>, Iterable<T> {
  getReader: ReadableStream<T>["getReader"];
}

/** How a source is read, whichever kind it is of. */
abstract class OpenFeed<T> implements Feed<T> {
  isOver = false;
  /** A step is under way. */
  isParked = false;
  #caller: SourceReader<T> | undefined = undefined;
  readonly #waits: boolean;
  readonly #given: (step: IteratorResult<T, unknown>) => void;
  readonly #failed: (reason: unknown) => void;

  /** `waits`: steps are promises, or may be. */
  constructor(waits: boolean) {
    this.#waits = waits;
    this.#given = (step) => this.#give(step);
    this.#failed = (reason) => this.#fail(reason);
  }

  abstract step():
    | IteratorResult<T, unknown>
    | PromiseLike<IteratorResult<T, unknown>>;
  abstract cancel(reason: unknown): Promise<void>;

  pull(caller: SourceReader<T>): void {
    this.#caller = caller;
    this.isParked = true;
    let step: ReturnType<OpenFeed<T>["step"]>;
    try {
      step = this.step();
    } catch (reason) {
      return this.#fail(reason);
    }
    if (this.#waits) {
      Promise.resolve(step).then(this.#given, this.#failed);
    } else this.#give(step as IteratorResult<T>);
  }

  async next(): Promise<IteratorResult<T, unknown>> {
    this.isParked = true;
    try {
      const step = await this.step();
      checkStep(step);
      if (step.done) this.release();
      return step;
    } catch (reason) {
      this.release();
      throw reason;
    } finally {
      this.isParked = false;
    }
  }

  release(): void {
    this.isOver = true;
  }

  #give(step: IteratorResult<T, unknown>): void {
    this.isParked = false;
    if (this.isOver) return;
    let isDone: boolean;
    let item: T;
    try {
      checkStep(step);
      // Reading them may be user code. At the end no loop looks at the value.
      isDone = Boolean(step.done);
      if (!isDone) item = step.value as T;
    } catch (reason) {
      return this.#fail(reason);
    }
    if (!isDone) return this.#caller!.received(item!);
    this.release();
    this.#caller!.ended();
  }

  #fail(reason: unknown): void {
    this.isParked = false;
    if (this.isOver) return;
    this.release();
    this.#caller!.failed(reason);
  }
}

function checkStep(step: unknown): void {
  checkObject("read on", "what next() of a source gives", step);
}

class StreamFeed<T> extends OpenFeed<T> {
  readonly #reader: ReadableStreamDefaultReader<T>;

  constructor(reader: ReadableStreamDefaultReader<T>) {
    super(true);
    this.#reader = reader;
  }

  step(): Promise<IteratorResult<T, unknown>> {
    return this.#reader.read() as Promise<IteratorResult<T, unknown>>;
  }

  cancel(reason: unknown): Promise<void> {
    if (this.isOver) return Promise.resolve();
    const cancelled = this.#reader.cancel(reason);
    this.release();
    return cancelled;
  }

  override release(): void {
    if (this.isOver) return;
    super.release();
    this.#reader.releaseLock();
  }
}

class IteratorFeed<T> extends OpenFeed<T> {
  readonly #iterator: Iterator<T> | AsyncIterator<T>;

  constructor(iterator: Iterator<T> | AsyncIterator<T>, waits: boolean) {
    super(waits);
    this.#iterator = iterator;
  }

  step(): ReturnType<OpenFeed<T>["step"]> {
    return this.#iterator.next();
  }

  async cancel(): Promise<void> {
    if (this.isOver) return;
    this.release();
    if (typeof this.#iterator.return !== "function") return;
    const returned = Promise.resolve(this.#iterator.return());
    if (this.isParked) markHandled(returned);
    else await returned;
  }
}
