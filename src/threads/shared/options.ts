/**
 * What a handle is given, and what it tells of itself.
 *
 * @module
 */

import { checkCallbacks, checkLimit, checkOptions } from "../../checks.ts";
import { checkTimeLimit } from "../../clock.ts";
import { checkCodec, json } from "../../codec.ts";
import type { Codec } from "../../codec.ts";
import { checkBytes, createMemory, openMemory } from "./layout.ts";
import type { Memory, SharedQueueHandle } from "./layout.ts";

/** Options of {@linkcode SharedQueue.attach}. */
export interface AttachOptions<T> {
  /** How items become bytes: the same at all handles. Default: `json()`. */
  codec?: Codec<T> | undefined;
  /** Learns of the items that {@linkcode SharedQueue.abort} throws out at this handle. */
  onUndelivered?: ((item: T, reason: "abort") => void) | undefined;
  /** Learns that this handle found the thread of another dead, by its {@linkcode SharedQueue.id}. */
  onAbandoned?: ((id: number) => void) | undefined;
}

/** Options of {@linkcode SharedQueue}. */
export interface SharedQueueOptions<T> extends AttachOptions<T> {
  /**
   * How many bytes the ring has for records. Default: 1 MiB. A record takes
   * the bytes of its item, four more, and what is missing to a multiple of four.
   */
  bytes?: number | undefined;
  /** How many items it holds at most. Default: 1024. */
  highWaterMark?: number | undefined;
  /** What errors and `stats()` call it. */
  name?: string | undefined;
}

/** Options of {@linkcode SharedQueue.putSync} and {@linkcode SharedQueue.getSync}. */
export interface SyncOptions {
  /** How many milliseconds to wait at most. Default: for ever. */
  timeout?: number | undefined;
}

/** What {@linkcode SharedQueue.stats} tells: a frozen snapshot. */
export interface SharedQueueStats {
  /** The name the queue was given, or "". */
  readonly name: string;
  /** Items stored. */
  readonly length: number;
  /** Bytes of the ring in use. */
  readonly used: number;
  /** Bytes of the ring. */
  readonly bytes: number;
  /** Room left, see {@linkcode SharedQueue.desiredSize}. */
  readonly desiredSize: number | null;
  /** The bound in items. */
  readonly highWaterMark: number;
  /** Items accepted so far, from all threads. */
  readonly put: number;
  /** Items given to consumers so far, on all threads. */
  readonly taken: number;
  /** Accepted items that `abort()` threw out. */
  readonly undelivered: number;
  /** Puts that wait for room, on all threads. */
  readonly waitingPuts: number;
  /** Gets that wait for an item at this handle. */
  readonly waitingGets: number;
  /** Registered producers that are not done yet, on all threads. */
  readonly producers: number;
  /** Handles that are attached. */
  readonly handles: number;
  /** Handles whose thread was found dead, or was said to be. */
  readonly abandoned: number;
  /** Where the queue stands, as this handle knows it. */
  readonly state: SharedQueueState;
}

/** Where a handle stands; it only moves forward. */
export type SharedQueueState =
  | "open"
  | "closing"
  | "closed"
  | "errored"
  | "detached";

/** The options of a handle on a queue that is there already. */
export class Attachment<T> implements AttachOptions<T> {
  readonly memory: Memory;
  readonly name: string;
  readonly codec: AttachOptions<T>["codec"];
  readonly onUndelivered: AttachOptions<T>["onUndelivered"];
  readonly onAbandoned: AttachOptions<T>["onAbandoned"];

  constructor(handle: SharedQueueHandle, options: AttachOptions<T>) {
    checkOptions("attach", options, {
      codec: true,
      onUndelivered: true,
      onAbandoned: true,
    });
    this.memory = openMemory(handle);
    this.name = typeof handle.name === "string" ? handle.name : "";
    this.codec = options.codec;
    this.onUndelivered = options.onUndelivered;
    this.onAbandoned = options.onAbandoned;
  }
}

/** Options that were checked, with the memory they ask for. */
export interface Settings<T> extends AttachOptions<T> {
  readonly codec: Codec<T>;
  readonly memory: Memory;
  readonly name: string;
}

/** Throws a `TypeError` or `RangeError` that names the option it cannot use. */
export function readOptions<T>(options: SharedQueueOptions<T>): Settings<T> {
  const action = "make a shared queue";
  checkOptions(action, options, {
    codec: true,
    onUndelivered: true,
    onAbandoned: true,
    bytes: true,
    highWaterMark: true,
    name: true,
  });
  const { codec = json<T>(), onUndelivered, onAbandoned, name = "" } = options;
  checkCodec(action, codec);
  checkCallbacks(action, { onUndelivered, onAbandoned });
  const memory = options instanceof Attachment
    ? options.memory
    : newMemory(action, options);
  return { codec, onUndelivered, onAbandoned, memory, name };
}

function newMemory<T>(action: string, options: SharedQueueOptions<T>): Memory {
  const { bytes = 2 ** 20, highWaterMark = 1024 } = options;
  checkBytes(action, bytes);
  checkLimit(action, "highWaterMark", highWaterMark, 1);
  return createMemory(bytes, highWaterMark);
}

/** When a wait that may block the thread is over. */
export function deadlineOf(
  action: string,
  options: SyncOptions | undefined,
): number {
  if (options === undefined) return Infinity;
  checkOptions(action, options, { timeout: true });
  const { timeout = Infinity } = options;
  checkTimeLimit(action, "timeout", timeout);
  return performance.now() + timeout;
}
