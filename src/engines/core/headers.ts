/**
 * What travels beside an item: words by name, in front of its bytes. Engines see
 * bytes only, so that it is the same on all of them.
 *
 * @module
 */

import { checkObject, wrongType } from "../../checks.ts";

/** Words by name, as those of a request. */
export type ItemHeaders = Readonly<Record<string, string>>;

/** No text begins so, and bytes that do are framed to be told apart. */
const MARK: readonly number[] = [0x00, 0x48, 0x57, 0x01];
/** The mark, and the length of the headers. */
const FRONT = 8;

/** The bytes of an item behind its headers; the same bytes where there are none. */
export function framed(
  payload: Uint8Array,
  headers: ItemHeaders | undefined,
): Uint8Array {
  if (headers === undefined && !isMarked(payload)) return payload;
  const words = new TextEncoder().encode(JSON.stringify(headers ?? {}));
  const frame = new Uint8Array(FRONT + words.length + payload.length);
  frame.set(MARK);
  new DataView(frame.buffer).setUint32(4, words.length);
  frame.set(words, FRONT);
  frame.set(payload, FRONT + words.length);
  return frame;
}

/** Takes apart what {@linkcode framed} made. */
export function unframed(
  bytes: Uint8Array,
): { readonly payload: Uint8Array; readonly headers: ItemHeaders | undefined } {
  if (!isMarked(bytes)) return { payload: bytes, headers: undefined };
  const { buffer, byteOffset } = bytes;
  const end = FRONT + new DataView(buffer, byteOffset).getUint32(4);
  const words = new TextDecoder().decode(bytes.subarray(FRONT, end));
  return {
    payload: bytes.subarray(end),
    headers: Object.freeze(JSON.parse(words) as ItemHeaders),
  };
}

/** Throws a `TypeError` unless they are words by name. */
export function checkHeaders(action: string, headers: unknown): void {
  const name = "headersOf(item)";
  checkObject(action, name, headers);
  for (const [key, word] of Object.entries(headers as object)) {
    if (typeof word === "string") continue;
    const rule = `${name} must have text for ${JSON.stringify(key)}`;
    throw wrongType(action, rule, word);
  }
}

function isMarked(bytes: Uint8Array): boolean {
  return bytes.length >= FRONT &&
    MARK.every((byte, index) => bytes[index] === byte);
}
