/**
 * How items become the bytes that an engine keeps, and items again.
 *
 * @module
 */

import { checkOptions } from "../arguments.ts";
import { checkJsonItem, isLossy, type JsonOptions } from "../json_item.ts";

/**
 * Writes items as bytes and reads them again. Both may throw: what cannot be
 * written is never sent, and what cannot be read is a failed delivery.
 */
export interface Codec<T> {
  /** The bytes of the item; a string goes as UTF-8. */
  encode(item: T): Uint8Array | string;
  /** The item of the bytes, which are the caller's to keep; they may be part of a larger buffer. */
  decode(payload: Uint8Array): T;
}

const encoder = /* @__PURE__ */ new TextEncoder();
const decoder = /* @__PURE__ */ new TextDecoder("utf-8", {
  fatal: true,
  ignoreBOM: true,
});

/**
 * JSON in UTF-8. What would arrive as something else is refused with a `TypeError` that
 * names it (`item.tags`): a `Date`, a `Map`, bytes, `NaN`, what is made by a class, functions,
 * `undefined` in arrays. Parts that are `undefined` are left out. With `lossy` it arrives
 * as `JSON.parse(JSON.stringify(item))`; only what JSON has no word for is refused then.
 */
export function json<T>(options: JsonOptions = {}): Codec<T> {
  checkOptions("make the codec", options, { lossy: true });
  const encode = isLossy(options) ? toJson : toSameJson;
  return { encode, decode: fromJson<T> };
}

/** Bytes as they are. */
export function bytes(): Codec<Uint8Array> {
  return { encode: sameBytes, decode: ownBytes };
}

/** What is sent for what a codec gave. */
export function toBytes(encoded: Uint8Array | string): Uint8Array {
  return typeof encoded === "string" ? encoder.encode(encoded) : encoded;
}

/** A circle is found by JSON, and so must not be looked for before. */
function toSameJson(item: unknown): string {
  const text = toJson(item);
  checkJsonItem(item);
  return text;
}

function toJson(item: unknown): string {
  const text = JSON.stringify(item) as string | undefined;
  if (text !== undefined) return text;
  throw new TypeError(
    `Cannot encode: item must be a value that JSON can hold, received ${typeof item}`,
  );
}

function fromJson<T>(payload: Uint8Array): T {
  return JSON.parse(decoder.decode(payload)) as T;
}

function sameBytes(payload: Uint8Array): Uint8Array {
  if (payload instanceof Uint8Array) return payload;
  throw new TypeError(
    `Cannot encode: item must be a Uint8Array, received ${typeof payload}`,
  );
}

/** Those of a larger buffer are copied, so that the item can be sent away with its buffer, and holds no other. */
function ownBytes(payload: Uint8Array): Uint8Array {
  return payload.byteLength === payload.buffer.byteLength
    ? payload
    : new Uint8Array(payload);
}
