/**
 * The seam of the library: what a queue stores its items in. The buffer
 * decides the order, and nothing else; waiting, admission, backpressure and
 * closing are the queue's.
 *
 * @module
 */

import type { QueueOptions } from "../strategy.ts";
import type { Putter, WaitingLine } from "../waiters.ts";

/** Items in some order. Nothing here calls user code except {@linkcode Buffer.rank}. */
export interface Buffer<T, R = unknown> {
  /** How many items are stored. */
  readonly length: number;
  /** The sum of their weights. */
  readonly size: number;
  /**
   * The place an arriving item asks for, from the item and the options of its
   * put: a value that only this buffer understands. May throw on bad options.
   * Left out where the order of arrival is all there is.
   */
  rank?(item: T, options: object | undefined): R;
  /** The line in which puts wait for room; left out where they wait in the order of arrival. */
  line?<P>(): WaitingLine<Putter<P>>;
  /** Stores an item. */
  push(item: T, weight: number, rank: R): void;
  /** Removes the item whose turn it is. Only called when there is one. */
  shift(): T;
  /** Whether a stored item should make way for an arriving one of that rank. */
  yieldsTo(rank: R): boolean;
  /** Removes the item that makes way. Only called after {@linkcode yieldsTo}. */
  evict(): T;
  /** Empties the buffer; the items come in the order of their turn. */
  clear(): T[];
}

const BUFFER: unique symbol = Symbol("buffer");

interface OrderedOptions<T> extends QueueOptions<T> {
  [BUFFER]?: Buffer<T>;
}

/** The options of a queue whose items are kept in `buffer`. Read one by one, because a strategy's getters live on its prototype. */
export function storedIn<T>(
  buffer: Buffer<T>,
  options: QueueOptions<T> | undefined,
): QueueOptions<T> {
  const ordered: OrderedOptions<T> = { [BUFFER]: buffer };
  if (options?.highWaterMark !== undefined) {
    ordered.highWaterMark = options.highWaterMark;
  }
  if (options?.size !== undefined) ordered.size = options.size;
  if (options?.overflow !== undefined) ordered.overflow = options.overflow;
  if (options?.onUndelivered !== undefined) {
    ordered.onUndelivered = options.onUndelivered;
  }
  if (options?.name !== undefined) ordered.name = options.name;
  return ordered;
}

/** The buffer that {@linkcode storedIn} put into the options, if it did. */
export function bufferOf<T>(
  options: QueueOptions<T> | undefined,
): Buffer<T> | undefined {
  return (options as OrderedOptions<T> | undefined)?.[BUFFER];
}
