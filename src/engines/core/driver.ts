/**
 * The seam between the queues on engines and what is different about each of them.
 *
 * An adapter is a class that extends {@linkcode EngineHandle}, checks its options and
 * gives it a {@linkcode Driver}. Done for it are: codecs and headers, batches of puts,
 * backpressure, waiting, prefetching, attempts and dead letters, backoff and repetition
 * after failures, what is lent alone, counters, and the end. What a driver has to see to:
 *
 * - **Puts are told by their ids.** One that is sent again is no second message.
 * - **Loans end by time**, on the clock of the engine, and are known apart: who names one
 *   that is over is told `false`, and changes nothing.
 * - **Deliveries are counted**, without those that were released; and it is noted whether
 *   one was worked on alone, for who gets the message after a crash.
 * - **Order.** What comes back at once comes before what is new.
 *
 * @module
 */

import type { EngineCounters } from "../../counters.ts";

/** An item on its way to the engine. */
export interface Outgoing {
  /** Names this put: the same at each try, so that an engine can tell a repetition. */
  readonly id: string;
  /** The encoded item. */
  readonly payload: Uint8Array;
  /** Items of one key stay in order, where the adapter offers that. */
  readonly key: string | undefined;
}

/** A message that the engine has lent to this handle. */
export interface Message {
  /** The encoded item. */
  readonly payload: Uint8Array;
  /** How many times it was delivered, this time included, releases left out; from 1. */
  readonly attempt: number;
  /**
   * What is known of the delivery before, if nobody ever answered for it: that one
   * was worked on `"alone"`, see {@linkcode Driver.isolate}, or it was lent
   * `"beside"` others, any of which may have brought the process down.
   */
  readonly lost: "alone" | "beside" | undefined;
  /** How many milliseconds ago it was put, by the clock of the engine. */
  readonly age: number | undefined;
  /** The key it was put with. */
  readonly key?: string | undefined;
}

/** What became of a message of a batch: `"accepted"`, `"full"` when the bound of the queue left no room, or the error it was refused with for good. */
export type Answer = "accepted" | "full" | { readonly error: unknown };

/** Why a message goes to the dead letters: `"failed"` too often by `nack`, too many `"deliveries"` of which the last was alone and without an answer, it could not be decoded ("undecodable"), or the consumer said so ("rejected"). */
export type BurialReason =
  | "failed"
  | "deliveries"
  | "undecodable"
  | "rejected";

/** The putting half of an engine. Whatever rejects with an error counts as a failed connection and is tried again later, unless the error lasts. */
export interface PuttingDriver {
  /** The most messages of one `send`. */
  readonly maxBatch: number;
  /** The most bytes of one payload, and of one `send`. */
  readonly maxPayload: number;
  /** The most bytes of all payloads of one `send`. */
  readonly maxBatchBytes: number;
  /** Makes what the queue needs on the engine; called before all else, and again after a failure. */
  open(): Promise<void>;
  /**
   * Sends messages, in their order, and answers for each. Once one is `"full"`
   * those behind it are, too. A rejection leaves open what has arrived: they
   * are sent again with the same ids.
   */
  send(messages: readonly Outgoing[]): Promise<readonly Answer[]>;
  /** Whether an error will not pass by itself; undefined where only time can tell. Left out where all pass. */
  lasts?(error: unknown): boolean | undefined;
  /** Waits until there may be room again after `"full"`; a rough guess will do. */
  room(signal: AbortSignal): Promise<void>;
}

/** An engine, as one handle uses it. */
export interface Driver<M extends Message> extends PuttingDriver {
  /**
   * Up to `max` messages, lent for `visibility` milliseconds each. Waits for the
   * first of them for as long as it likes, and may come back with none. Once the
   * signal aborts it comes back soon, with what it has.
   */
  fetch(
    max: number,
    visibility: number,
    signal: AbortSignal,
  ): Promise<readonly M[]>;
  /** The message is done. False when it was not ours any more. */
  ack(message: M): Promise<boolean>;
  /** The message is to be delivered again, after so many milliseconds. False when it was not ours any more. */
  nack(message: M, delay: number): Promise<boolean>;
  /** As `nack`, but the delivery does not count, and one that was lost before still has to be worked on alone. */
  release(message: M, delay: number): Promise<boolean>;
  /** Notes that the message is worked on alone from now on: who takes this process down, it is this one. False when it was not ours any more. */
  isolate(message: M): Promise<boolean>;
  /** Lends the message for so many milliseconds from now. False when it was not ours any more. */
  extend(message: M, milliseconds: number): Promise<boolean>;
  /** The message goes to the dead letters with the reason and the words of an error, and is done. False when it was not ours any more. */
  bury(
    message: M,
    reason: BurialReason,
    error: string | undefined,
  ): Promise<boolean>;
  /** What the engine knows of its queue. */
  measure(): Promise<Measures>;
  /** Leaves the engine; what still waits in `fetch` or `room` comes back. */
  close(): Promise<void>;
}

/** What the engine knows of its queue. */
export type Measures = Pick<
  EngineCounters,
  | "backlog"
  | "delayed"
  | "capacity"
  | "inFlight"
  | "oldestAge"
  | "deadLetters"
>;
