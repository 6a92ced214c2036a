/**
 * What the utilities read from, and how they read it: one item at a time, and
 * only when somebody wants it.
 *
 * @module
 */

import { checkObject, checkWord, wrongType } from "../checks.ts";
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

/** Throws a `TypeError` unless it is one of the three. */
export function checkSourceErrorPolicy(action: string, onError: unknown): void {
  checkWord(action, "onError", onError, ["collect", "abort", "ignore"]);
}

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

class StreamFeed<T> implements Feed<T> {
  readonly #reader: ReadableStreamDefaultReader<T>;
  #over = false;
  #caller: SourceReader<T> | undefined = undefined;
  readonly #given: (step: ReadableStreamReadResult<T>) => void;
  readonly #failed: (reason: unknown) => void;

  constructor(reader: ReadableStreamDefaultReader<T>) {
    this.#reader = reader;
    this.#given = (step) => {
      if (this.#over) return;
      if (!step.done) return this.#caller!.received(step.value);
      this.#leave();
      this.#caller!.ended();
    };
    this.#failed = (reason) => {
      if (this.#over) return;
      this.#leave();
      this.#caller!.failed(reason);
    };
  }

  pull(caller: SourceReader<T>): void {
    this.#caller = caller;
    this.#reader.read().then(this.#given, this.#failed);
  }

  async next(): Promise<IteratorResult<T, unknown>> {
    try {
      const step = await this.#reader.read();
      if (step.done) this.#leave();
      return step as IteratorResult<T, unknown>;
    } catch (reason) {
      this.#leave();
      throw reason;
    }
  }

  cancel(reason: unknown): Promise<void> {
    if (this.#over) return Promise.resolve();
    const cancelled = this.#reader.cancel(reason);
    this.#leave();
    return cancelled;
  }

  release(): void {
    this.#leave();
  }

  #leave(): void {
    if (this.#over) return;
    this.#over = true;
    this.#reader.releaseLock();
  }
}

class IteratorFeed<T> implements Feed<T> {
  readonly #iterator: Iterator<T> | AsyncIterator<T>;
  readonly #waits: boolean;
  #parked = false;
  #over = false;
  #caller: SourceReader<T> | undefined = undefined;
  readonly #given: (step: IteratorResult<T, unknown>) => void;
  readonly #failed: (reason: unknown) => void;

  constructor(iterator: Iterator<T> | AsyncIterator<T>, waits: boolean) {
    this.#iterator = iterator;
    this.#waits = waits;
    this.#given = (step) => this.#give(step);
    this.#failed = (reason) => this.#fail(reason);
  }

  pull(caller: SourceReader<T>): void {
    this.#caller = caller;
    this.#parked = true;
    let step: ReturnType<AsyncIterator<T>["next"] | Iterator<T>["next"]>;
    try {
      step = this.#iterator.next();
    } catch (reason) {
      return this.#fail(reason);
    }
    if (this.#waits) {
      Promise.resolve(step).then(this.#given, this.#failed);
    } else this.#give(step as IteratorResult<T>);
  }

  #give(step: IteratorResult<T, unknown>): void {
    this.#parked = false;
    if (this.#over) return;
    let item: T;
    try {
      checkObject("read on", "what next() of a source gives", step);
      // Reading them may be user code.
      if (step.done) this.#over = true;
      item = step.value as T;
    } catch (reason) {
      return this.#fail(reason);
    }
    if (this.#over) this.#caller!.ended();
    else this.#caller!.received(item);
  }

  #fail(reason: unknown): void {
    this.#parked = false;
    if (this.#over) return;
    this.#over = true;
    this.#caller!.failed(reason);
  }

  async next(): Promise<IteratorResult<T, unknown>> {
    this.#parked = true;
    try {
      const step = await this.#iterator.next();
      checkObject("read on", "what next() of a source gives", step);
      if (step.done) this.#over = true;
      return step;
    } catch (reason) {
      this.#over = true;
      throw reason;
    } finally {
      this.#parked = false;
    }
  }

  async cancel(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    if (typeof this.#iterator.return !== "function") return;
    const returned = Promise.resolve(this.#iterator.return());
    if (this.#parked) markHandled(returned);
    else await returned;
  }

  release(): void {
    this.#over = true;
  }
}
