/**
 * The seam of the library: what a queue stores its items in. The buffer
 * decides the order, and nothing else; waiting, admission, backpressure and
 * closing are the queue's.
 *
 * @module
 */

import type { QueueOptions, Strategy } from "../strategy.ts";
import type { Putter, Waiter, WaitingLine } from "../waiters.ts";

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
  /** Stores an item, and what the queue wants to know about it later, if anything. */
  push(item: T, weight: number, rank: R, note?: unknown): void;
  /** What is known of the item whose turn it is. Only called when there is one. */
  next(): Entry<R>;
  /** Stores an item that was removed, so that it is its turn again. */
  putBack(item: T, entry: Entry<R>): void;
  /** Removes the item whose turn it is. Only called when there is one. */
  shift(): T;
  /** Whether a stored item should make way for an arriving one of that rank. */
  yieldsTo(rank: R): boolean;
  /** Removes the item that makes way. Only called after {@linkcode yieldsTo}. */
  evict(): T;
  /** Empties the buffer; the items come in the order of their turn. */
  clear(): T[];
  /** Called once, by the queue, where items may go to other queues and come from them; left out where not. */
  join?(peer: Peer<T>): Peers<T>;
}

/** What a buffer knows of an item. */
export interface Entry<R = unknown> {
  readonly weight: number;
  readonly rank?: R;
  readonly note: unknown;
}

/** What is known of most items. Shared: an object each would cost as much as to store them. */
export const PLAIN: Entry = { weight: 1, note: undefined };

/** How a queue stands, as the others that it shares items with see it. */
export interface Standing {
  /** Whether puts are let in. */
  open: boolean;
  /** Puts that wait for room. */
  waitingPuts: number;
  /** Room left in the buffer, in the unit of `size`. */
  room: number;
  /** Accepted items that nobody has marked as done. */
  unfinished: number;
  /** Items that were taken and may come back. */
  inFlight: number;
}

/** What a queue tells, and does for, the others that it shares items with. */
export interface Peer<T> {
  /** Brings what is known of it up to date. */
  tell(known: Standing): void;
  /** Whether a get waits. */
  isWaiting(): boolean;
  /** Gives an item that was put elsewhere to its oldest waiting get. Only called when there is one. */
  deliver(item: T, entry: Entry, done: number): void;
  /** Lets the first waiting put in whether or not there is room. Only called when there is one. */
  admitOne(): void;
  /** So many of its items have gone to another buffer; tells how many of them were marked as done. */
  gave(count: number): number;
  /** So many items have come from another buffer, some of them marked as done. */
  received(count: number, done: number): void;
  /** Ends if it waited for nothing but the others. */
  endIfDrained(): void;
}

/** The queues that share their items, as one of them sees them. */
export interface Peers<T> {
  /** Whether an item is to be had. */
  hasItems(): boolean;
  /** Whether an item may still come to be had. */
  mayHaveItems(): boolean;
  /** Brings one or more items into the buffer, which is empty. Only called when an item is to be had. */
  fetch(): void;
  /** A get has joined the line of the queue. */
  waits(getter: Waiter): void;
  /** Whether somebody waits for an item. */
  isWaiting(): boolean;
  /** Gives an arriving item to the one who has waited longest. Only called when somebody waits. */
  deliver(item: T, entry: Entry, done: number): void;
  /** The queue does not stand as it did. Of the items in the buffer, and the puts in its line, the buffer knows itself. */
  changed(): void;
  /** The queue has ended. */
  ended(): void;
  /** Throws when what is kept of the queues is not what they tell. For tests. */
  assertInvariants(): void;
}

const BUFFER: unique symbol = Symbol("buffer");

interface OrderedOptions<T> extends QueueOptions<T> {
  [BUFFER]?: Buffer<T>;
}

/** The options of a queue whose items are kept in `buffer`. */
export function storedIn<T>(
  buffer: Buffer<T>,
  strategy: Strategy<T>,
): QueueOptions<T> {
  return { ...strategy, [BUFFER]: buffer } as OrderedOptions<T>;
}

/** The buffer that {@linkcode storedIn} put into the options, if it did. */
export function bufferOf<T>(
  options: QueueOptions<T> | undefined,
): Buffer<T> | undefined {
  return (options as OrderedOptions<T> | undefined)?.[BUFFER];
}
