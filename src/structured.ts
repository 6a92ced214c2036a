/**
 * The structured clone as bytes, by the serializer of the runtime.
 *
 * @module
 */

import type { Codec } from "./codec.ts";
import { wrongType } from "./checks.ts";

/** What is used of `node:v8`. */
interface Serializer {
  serialize(value: unknown): Uint8Array;
  deserialize(bytes: Uint8Array): unknown;
}

interface Scope {
  process?: { getBuiltinModule?(name: string): unknown };
}

/**
 * Anything that `structuredClone` takes: dates, maps, sets, errors, bigints, circles,
 * typed arrays. Parts cannot be moved; they are copied.
 *
 * The bytes are those of the serializer of the runtime, `node:v8`. Deno and Node (from
 * 20.16) read each other's, Bun its own only, and what is older cannot read what a newer
 * version has added: what they cannot read fails, as with any codec. They are no text for
 * others, and to be read from where only yourself can write. It is several times as slow
 * as `json()` on small items.
 *
 * Throws a `TypeError` where there is no such serializer, as in browsers: use `json()`
 * there, a codec of your own, or a queue on a port.
 *
 * Putting a function, a symbol or something else that cannot be cloned rejects with
 * what the serializer throws; nothing is stored then.
 *
 * @example What JSON does not say
 * ```ts
 * import { SharedQueue, structured } from "@highwater/queue/threads";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new SharedQueue<Map<string, Date>>({ codec: structured() });
 * await queue.put(new Map([["begin", new Date(0)]]));
 * assertEquals((await queue.get()).get("begin"), new Date(0));
 * queue.detach();
 * ```
 */
export function structured<T>(): Codec<T> {
  const { process } = globalThis as unknown as Scope;
  const found = process?.getBuiltinModule?.("node:v8") as
    | Partial<Serializer>
    | undefined;
  if (
    typeof found?.serialize !== "function" ||
    typeof found.deserialize !== "function"
  ) {
    throw wrongType(
      "make a codec of structured clones",
      "the runtime must have the serializer of node:v8",
      found,
    );
  }
  return new StructuredCodec<T>(found as Serializer);
}

class StructuredCodec<T> implements Codec<T> {
  readonly #serializer: Serializer;

  constructor(serializer: Serializer) {
    this.#serializer = serializer;
  }

  encode(item: T): Uint8Array {
    return this.#serializer.serialize(item);
  }

  decode(bytes: Uint8Array): T {
    // Bun would make null of nothing.
    if (bytes.length === 0) {
      throw new TypeError(
        "Cannot decode: bytes must be a structured clone, received none",
      );
    }
    // Typed arrays come out as views of what goes in, which is not ours to keep.
    return this.#serializer.deserialize(new Uint8Array(bytes)) as T;
  }
}
