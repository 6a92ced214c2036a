/**
 * What the two sides of a queue on a port say to each other, and what it has to
 * look like: whoever is at the other end of a port may send anything.
 *
 * @module
 */

import { isPackedReason, type PackedReason } from "../failure.ts";

/** What the connected side says. */
export type ClientFrame =
  /** It is there; asked again when the serving side comes later. */
  | ["hello"]
  /** So many items may be sent to it altogether. */
  | ["ask", number]
  /** The oldest so many that it was lent have reached a consumer. */
  | ["taken", number]
  /** Of those it was lent, from the place on so many go back; the items themselves where they were transferred. */
  | ["back", place: number, count: number, items: unknown[]]
  /** The one it was lent at that place could not go back. */
  | ["lost", place: number]
  /** Items to be put, numbered from the first on. */
  | ["puts", first: number, items: unknown[]]
  /** A put is given up, if it is not too late. */
  | ["cancel", number]
  /** Puts wait, and there is no credit for them. */
  | ["want"]
  | ["producer", number, onError: "collect" | "abort" | "ignore"]
  | ["producer done", number]
  | ["producer failed", number, PackedReason]
  | ["close"]
  | ["fail", PackedReason]
  | ["abort", PackedReason]
  /** It leaves; with a reason because the serving side broke the protocol, and then it hears no answer. */
  | ["goodbye", reason?: PackedReason];

/** What the serving side says. */
export type ServerFrame =
  /** It is there, for who was earlier. */
  | ["here"]
  /** Answers a hello. */
  | ["welcome", returnsItems: boolean, refusesWhenFull: boolean]
  /** Items that are lent. */
  | ["items", unknown[]]
  /** So many puts more may be sent. */
  | ["credit", number]
  /** Puts that were accepted, numbered from the first on. */
  | ["accepted", first: number, count: number]
  /** A put that was not; without a reason: because it was given up. A reason is "own" where the connected side gave it. */
  | ["refused", number, PackedReason | "own" | undefined]
  /** The queue takes nothing more. */
  | ["closing", failure: PackedReason | "own" | undefined]
  /** Nothing more will come. */
  | ["ended"]
  | ["errored", PackedReason | "own", isDrained: boolean]
  /** Answers a goodbye: every put has been decided on. */
  | ["bye"]
  /** Nobody serves any more; with a reason because the connected side broke the protocol. */
  | ["gone", reason?: PackedReason];

/** What either side says by itself, in a message of its own. */
export type Heartbeat = ["ping"] | ["pong"];

export type Frame = ClientFrame | ServerFrame;

type Check = (part: unknown) => boolean;
/** What the parts of a frame have to be, by its verb. */
type Checks = ReadonlyMap<unknown, readonly Check[]>;

const fromClient: Checks = /* @__PURE__ */ checksOf<ClientFrame>({
  hello: [],
  ask: [isWhole],
  taken: [isPositive],
  back: [isWhole, isPositive, Array.isArray],
  lost: [isWhole],
  puts: [isPositive, isFilled],
  cancel: [isPositive],
  want: [],
  producer: [isPositive, isOnError],
  "producer done": [isPositive],
  "producer failed": [isPositive, isPackedReason],
  close: [],
  fail: [isPackedReason],
  abort: [isPackedReason],
  goodbye: [isReasonOrNone],
});

const fromServer: Checks = /* @__PURE__ */ checksOf<ServerFrame>({
  here: [],
  welcome: [isBoolean, isBoolean],
  items: [isFilled],
  credit: [isPositive],
  accepted: [isPositive, isPositive],
  refused: [isPositive, isAnyReasonOrNone],
  closing: [isAnyReasonOrNone],
  ended: [],
  errored: [isAnyReason, isBoolean],
  bye: [],
  gone: [isReasonOrNone],
});

/** Whether the connected side may say such a thing at all. */
export function isClientFrame(frame: unknown): frame is ClientFrame {
  return isFrame(fromClient, frame);
}

/** Whether the serving side may. */
export function isServerFrame(frame: unknown): frame is ServerFrame {
  return isFrame(fromServer, frame);
}

/** What a frame is about, if it is one. */
export function verbOf(frame: unknown): unknown {
  return Array.isArray(frame) ? frame[0] : undefined;
}

/** The items in a frame. */
export function itemsOf(frame: Frame | Heartbeat): readonly unknown[] {
  switch (frame[0]) {
    case "items":
      return frame[1];
    case "puts":
      return frame[2];
    case "back":
      return frame[3];
    default:
      return [];
  }
}

/** The frame as frames of one item each, with that item. */
export function partsOf(frame: Frame): [Frame, item: unknown][] {
  const items = itemsOf(frame);
  if (items.length === 0) return [[frame, undefined]];
  return items.map((item, index) => [partOf(frame, item, index), item]);
}

function partOf(frame: Frame, item: unknown, index: number): Frame {
  switch (frame[0]) {
    case "puts":
      return ["puts", frame[1] + index, [item]];
    case "back":
      // Each that has gone back makes a place free.
      return ["back", frame[1], 1, [item]];
    default:
      return ["items", [item]];
  }
}

/** Whether it is a number of things. */
export function isWhole(part: unknown): part is number {
  return Number.isSafeInteger(part) && part as number >= 0;
}

/** No verb may be found that an object has by itself. */
function checksOf<F extends Frame>(
  checks: Readonly<Record<F[0], readonly Check[]>>,
): Checks {
  return new Map(Object.entries<readonly Check[]>(checks));
}

function isFrame(known: Checks, frame: unknown): boolean {
  if (!Array.isArray(frame)) return false;
  const checks = known.get(frame[0]);
  return checks !== undefined && frame.length <= checks.length + 1 &&
    checks.every((check, index) => check(frame[index + 1]));
}

function isPositive(part: unknown): boolean {
  return isWhole(part) && part > 0;
}

function isBoolean(part: unknown): boolean {
  return typeof part === "boolean";
}

function isFilled(part: unknown): boolean {
  return Array.isArray(part) && part.length > 0;
}

function isOnError(part: unknown): boolean {
  return part === "collect" || part === "abort" || part === "ignore";
}

function isReasonOrNone(part: unknown): boolean {
  return part === undefined || isPackedReason(part);
}

function isAnyReason(part: unknown): boolean {
  return part === "own" || isPackedReason(part);
}

function isAnyReasonOrNone(part: unknown): boolean {
  return part === undefined || isAnyReason(part);
}
