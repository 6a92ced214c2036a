/**
 * Where things are in the memory that threads share.
 *
 * Words that the putting threads write, words that the taking threads write and
 * words that are rarely written lie on lines of the cache of their own: a core
 * that writes a word takes the whole line away from all others.
 *
 * @module
 */

import { checkCount, outOfRange, wrongType } from "../../checks.ts";

/**
 * What one thread sends to another, by `postMessage` or `workerData`, so that it
 * can attach to the same queue. Any structured clone of it will do.
 */
export interface SharedQueueHandle {
  /** What kind of thing it is. */
  readonly kind: "highwater-shared-queue";
  /** The memory of the queue. */
  readonly buffer: SharedArrayBuffer;
  /** The name of the queue, or "". */
  readonly name: string;
}

/** Words of the whole queue, as indices of an `Int32Array`. */
export const Header = {
  MAGIC: 0,
  VERSION: 1,
  /** Bytes of the ring, a multiple of 4. */
  CAPACITY: 2,
  /** How many threads' handles there may be. */
  MEMBERS: 3,
  /** Bytes of the whole buffer. */
  SIZE: 4,

  STATE: 32,
  HIGH_WATER_MARK: 33,
  /** Length of the text of the reason, in bytes. */
  REASON: 34,
  /** How many handles were found dead. */
  ABANDONED: 35,
  /** How many stored records `abort()` threw out. */
  UNDELIVERED: 36,
  /** How many records `clear()` took out. */
  CLEARED: 37,
  /** Members that wait for an item, for room, for the end: a bit each. */
  WAIT_ITEM: 38,
  WAIT_ROOM: 39,
  WAIT_END: 40,
  /** The member that has waited longest for room for a large record. */
  RESERVED: 41,

  PUT: 64,
  TAKE: 96,
} as const;

/** Words of one end, from {@linkcode Header.PUT} or {@linkcode Header.TAKE} on. */
export const RingEnd = {
  /** 0, or the token of the member that is in the critical section. */
  LOCK: 0,
  /** Counts critical sections, to tell a long one from many. */
  SECTIONS: 1,
  /** Where the next record begins, from 0 to twice the capacity. */
  POSITION: 2,
  /** Records so far, modulo 2 ** 32. The word that publishes. */
  COUNT: 3,
  /** What POSITION is to be once COUNT is the one that follows. */
  NEXT_POSITION: 4,
  NEXT_COUNT: 5,
  /** How many times COUNT came round. */
  ROUNDS: 6,
} as const;

/** Words of one member, a line each. */
export const Slot = {
  /** Odd while in use; negative while somebody cleans up. */
  GENERATION: 0,
  /** What its waiting threads sleep on. */
  REQUESTS: 1,
  WAITING_PUTS: 2,
  PRODUCERS: 3,
  /** Where its thread leaves waiters behind, to be there while it lives. */
  PULSE: 4,
  /** How many of them are there. */
  WAITERS: 5,
  /** How many it has replaced. */
  ANSWERS: 6,
} as const;

/** Where a queue stands, as {@linkcode Header.STATE}. */
export const State = { OPEN: 0, CLOSED: 1, FAILED: 2, ABORTED: 3 } as const;

/** A handle has a bit in a word. */
export const MEMBERS = 32;
/** What a reason may take, in bytes of JSON. */
export const REASON_BYTES = 8192;
/** What each record takes beside its payload. */
export const RECORD_HEADER = 4;

const MAGIC = 0x31515748; // "HWQ1"
const VERSION = 2;
const LINE_WORDS = 32;
const MEMBERS_AT = 128;
const REASON_AT = (MEMBERS_AT + MEMBERS * LINE_WORDS) * 4;
const RING_AT = REASON_AT + REASON_BYTES;
const MAX_CAPACITY = 2 ** 30;

/** The words of a member. */
export function memberAt(index: number): number {
  return MEMBERS_AT + index * LINE_WORDS;
}

/** The views of one thread on the shared memory. */
export interface Memory {
  readonly buffer: SharedArrayBuffer;
  readonly words: Int32Array<SharedArrayBuffer>;
  /** The ring, in words and in bytes. */
  readonly ringWords: Int32Array<SharedArrayBuffer>;
  readonly ring: Uint8Array<SharedArrayBuffer>;
  readonly reason: Uint8Array<SharedArrayBuffer>;
  readonly capacity: number;
}

/** Makes the memory of a queue. */
export function createMemory(bytes: number, highWaterMark: number): Memory {
  if (typeof SharedArrayBuffer !== "function") {
    const rule = "the runtime must have SharedArrayBuffer " +
      "(a page must be cross-origin isolated)";
    throw wrongType("make a shared queue", rule, undefined);
  }
  const capacity = Math.ceil(bytes / 4) * 4;
  const buffer = new SharedArrayBuffer(RING_AT + capacity);
  const words = new Int32Array(buffer, 0, REASON_AT / 4);
  words[Header.VERSION] = VERSION;
  words[Header.CAPACITY] = capacity;
  words[Header.MEMBERS] = MEMBERS;
  words[Header.SIZE] = buffer.byteLength;
  words[Header.HIGH_WATER_MARK] = toStoredMark(highWaterMark);
  Atomics.store(words, Header.MAGIC, MAGIC);
  return viewsOf(buffer, capacity);
}

/** Looks at the memory behind a handle. Throws unless a queue of this version is in it. */
export function openMemory(handle: unknown): Memory {
  const { kind, buffer } = (handle ?? {}) as Partial<SharedQueueHandle>;
  if (typeof handle !== "object" || kind !== "highwater-shared-queue") {
    const rule = "handle must be the handle of a SharedQueue";
    throw wrongType("attach", rule, handle);
  }
  if (
    typeof SharedArrayBuffer !== "function" ||
    Object.prototype.toString.call(buffer) !== "[object SharedArrayBuffer]"
  ) {
    const rule = "the memory of the handle must be a SharedArrayBuffer";
    throw wrongType("attach", rule, buffer);
  }
  const shared = buffer as SharedArrayBuffer;
  if (shared.byteLength < RING_AT) {
    throw mismatch("memory", `${RING_AT} bytes or more`, shared.byteLength);
  }
  const words = new Int32Array(shared, 0, REASON_AT / 4);
  const expected = [
    ["magic number", MAGIC, Atomics.load(words, Header.MAGIC)],
    ["version", VERSION, words[Header.VERSION]!],
    ["number of members", MEMBERS, words[Header.MEMBERS]!],
    ["size", shared.byteLength, words[Header.SIZE]!],
    ["ring", shared.byteLength - RING_AT, words[Header.CAPACITY]!],
  ] as const;
  for (const [name, wanted, found] of expected) {
    if (found !== wanted) throw mismatch(name, `${wanted}`, found);
  }
  return viewsOf(shared, words[Header.CAPACITY]!);
}

/** Throws unless a ring may have so many bytes. */
export function checkBytes(action: string, bytes: unknown): void {
  checkCount(action, "bytes", bytes, 16, MAX_CAPACITY);
}

/** A bound as it is stored; Infinity is the largest. */
export function toStoredMark(highWaterMark: number): number {
  return Math.min(highWaterMark, 0x7fffffff);
}

/** The bound that is stored. */
export function fromStoredMark(stored: number): number {
  return stored === 0x7fffffff ? Infinity : stored;
}

function viewsOf(buffer: SharedArrayBuffer, capacity: number): Memory {
  return {
    buffer,
    capacity,
    words: new Int32Array(buffer, 0, REASON_AT / 4),
    ringWords: new Int32Array(buffer, RING_AT, capacity / 4),
    ring: new Uint8Array(buffer, RING_AT, capacity),
    reason: new Uint8Array(buffer, REASON_AT, REASON_BYTES),
  };
}

function mismatch(name: string, wanted: string, found: number): RangeError {
  const rule = `the ${name} in the memory of the handle must be ${wanted}`;
  return outOfRange("attach", rule, found);
}
