/**
 * What the utilities read from, and how they read it: one item at a time, and
 * only when somebody wants it.
 *
 * @module
 */

import { received } from "../errors.ts";
import { markHandled } from "../waiters.ts";

/**
 * Where items come from: a stream, or anything one can iterate over. A queue is
 * one, too.
 */
export type Source<T> = ReadableStream<T> | AsyncIterable<T> | Iterable<T>;

/** A source under way. It is read by one caller, who waits for one `next` before the next. */
export interface Feed<T> {
  /** The next item, or the end. Rejects with what the source fails with. */
  next(): Promise<IteratorResult<T, unknown>>;
  /**
   * Leaves the source before its end: cancels a stream with the reason, returns
   * an iterator. Settles as that does, but waits for no `next` that is under way:
   * behind one that is parked it would wait for ever. Once the source has ended,
   * failed or been left there is nothing to do.
   */
  cancel(reason: unknown): Promise<void>;
}

/** Throws a `TypeError` that names the argument unless it can be read from. */
export function checkSource(
  action: string,
  name: string,
  source: unknown,
): void {
  const candidate = source as Partial<Openable<unknown>> | null | undefined;
  if (
    typeof candidate?.getReader === "function" ||
    typeof candidate?.[Symbol.asyncIterator] === "function" ||
    typeof candidate?.[Symbol.iterator] === "function"
  ) return;
  throw new TypeError(
    `Cannot ${action}: ${name} must be a ReadableStream or iterable, received ${
      received(source)
    }`,
  );
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
  return new IteratorFeed(iterator);
}

interface Openable<T> extends AsyncIterable<T>, Iterable<T> {
  getReader: ReadableStream<T>["getReader"];
}

class StreamFeed<T> implements Feed<T> {
  readonly #reader: ReadableStreamDefaultReader<T>;
  #over = false;

  constructor(reader: ReadableStreamDefaultReader<T>) {
    this.#reader = reader;
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

  #leave(): void {
    if (this.#over) return;
    this.#over = true;
    this.#reader.releaseLock();
  }
}

class IteratorFeed<T> implements Feed<T> {
  readonly #iterator: Iterator<T> | AsyncIterator<T>;
  #parked = false;
  #over = false;

  constructor(iterator: Iterator<T> | AsyncIterator<T>) {
    this.#iterator = iterator;
  }

  async next(): Promise<IteratorResult<T, unknown>> {
    this.#parked = true;
    try {
      const step = await this.#iterator.next();
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
}
