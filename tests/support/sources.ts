/**
 * Sources that keep a book about what is done to them.
 *
 * @module
 */

import { never } from "./waiting.ts";

/** How a {@linkcode Watched} source behaves. */
export interface WatchedOptions {
  /** What it is read as. Default: an async iterator. */
  shape?: "async" | "sync" | "stream";
  /** How many items it has. Default: endless. */
  items?: number;
  /** Fails with this instead of ending. */
  error?: unknown;
  /** After its items it never answers again. */
  parks?: boolean;
  /** What leaving it does. */
  leaving?: "return" | "throw" | "hang";
  /** Makes an item of its number, from 1. */
  item?: (serial: number) => unknown;
}

/** A source, and what was done to it. */
export interface Watched {
  // deno-lint-ignore no-explicit-any
  source: any;
  /** Calls of `next` or `pull`. */
  pulled: number;
  /** The items it gave. */
  given: number;
  /** How often it was left before its end. */
  left: number;
  /** What a stream was cancelled with. */
  reason: unknown;
}

/** What a source throws that cannot be left. */
export const cannotLeave: Error = new Error("cannot leave");

/** Makes a source that is watched. */
export function watched(options: WatchedOptions = {}): Watched {
  const { shape = "async", items = Infinity, item = (serial) => serial } =
    options;
  const book: Watched = {
    source: undefined,
    pulled: 0,
    given: 0,
    left: 0,
    reason: undefined,
  };
  const step = (): IteratorResult<unknown> => {
    if (book.given < items) {
      return { done: false, value: item(++book.given) };
    }
    if ("error" in options) throw options.error;
    return { done: true, value: undefined };
  };
  const leave = (reason?: unknown): Promise<void> | void => {
    book.left++;
    book.reason = reason;
    if (options.leaving === "throw") throw cannotLeave;
    if (options.leaving === "hang") return never();
  };
  switch (shape) {
    case "sync":
      book.source = {
        [Symbol.iterator]: () => ({
          next: () => {
            book.pulled++;
            return step();
          },
          return: () => {
            leave();
            return { done: true, value: undefined };
          },
        }),
      };
      return book;
    case "async":
      book.source = {
        [Symbol.asyncIterator]: () => ({
          next: async () => {
            book.pulled++;
            if (options.parks && book.given === items) await never();
            return step();
          },
          return: async () => {
            await leave();
            return { done: true, value: undefined };
          },
        }),
      };
      return book;
    case "stream":
      book.source = new ReadableStream({
        async pull(controller): Promise<void> {
          book.pulled++;
          if (options.parks && book.given === items) await never();
          const { done, value } = step();
          if (done) controller.close();
          else controller.enqueue(value);
        },
        async cancel(reason): Promise<void> {
          await leave(reason);
        },
      }, { highWaterMark: 0 });
      return book;
  }
}
