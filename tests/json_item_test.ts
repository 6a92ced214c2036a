import { assertEquals, assertThrows } from "@std/assert";
import { json as engineJson } from "../src/engines/codec.ts";
import { json as threadsJson } from "../src/threads/codec.ts";
import { test } from "./support/harness.ts";

class Job {
  readonly page = "/";
}

/** What JSON makes something else of, and what the refusal calls it. */
const CHANGED: readonly [unknown, string][] = [
  [{ tags: new Map([[1, 2]]) }, "item.tags"],
  [{ tags: new Set([1]) }, "item.tags"],
  [{ rate: NaN }, "item.rate"],
  [[1, [2, -Infinity]], "item[1][1]"],
  [{ body: new Uint8Array([1]) }, "item.body"],
  [{ "a b": [{ when: new Date(0) }] }, 'item["a b"][0].when'],
  [new Date(0), "item"],
  [new Map(), "item"],
  [new Job(), "item"],
  [new Error("no"), "item"],
  [Promise.resolve(), "item"],
  [Object(1), "item"],
  [NaN, "item"],
  [[undefined], "item[0]"],
  [new Array(1), "item[0]"],
  [{ run() {} }, "item.run"],
  [{ name: Symbol("name") }, "item.name"],
  [{ toJSON: () => "else" }, "item.toJSON"],
];

/** What arrives as it was put. */
const CARRIED: readonly unknown[] = [
  ...[null, true, "", "x\ud800", 0, -1.5, [], {}, [[null]]],
  { a: { b: [1, "2", false, null] } },
  Object.assign(Object.create(null), { a: 1 }),
];

const encoder = new TextEncoder();

/** Both codecs, as from an item to what arrives. */
const CODECS = {
  engines(item: unknown, lossy?: boolean): unknown {
    const codec = engineJson<unknown>({ lossy });
    return codec.decode(encoder.encode(String(codec.encode(item))));
  },
  threads(item: unknown, lossy?: boolean): unknown {
    const codec = threadsJson<unknown>({ lossy });
    const target = new Uint8Array(1000);
    return codec.decode(target.slice(0, codec.encode(item, target)));
  },
};

for (const [name, carry] of Object.entries(CODECS)) {
  test(`json of ${name}: what would arrive as something else is refused by its name`, () => {
    for (const [item, path] of CHANGED) {
      assertThrows(
        () => carry(item),
        TypeError,
        `Cannot encode: ${path} must be what JSON carries unchanged`,
      );
    }
  });

  test(`json of ${name}: what JSON carries arrives as it was`, () => {
    for (const item of CARRIED) {
      assertEquals(JSON.stringify(carry(item)), JSON.stringify(item));
    }
    // Reading it says the same.
    assertEquals(carry({ a: undefined, b: 1 }), { b: 1 });
  });

  test(`json of ${name}: a circle and a bigint are refused by JSON itself`, () => {
    const circle: unknown[] = [];
    circle.push(circle);
    assertThrows(() => carry(circle), TypeError);
    assertThrows(() => carry({ a: 1n }), TypeError);
  });

  test(`json of ${name}: lossy makes of it what JSON does`, () => {
    for (const [item] of CHANGED) {
      const text = JSON.stringify(item);
      assertEquals(JSON.stringify(carry(item, true)), text);
    }
    assertThrows(() => carry(() => {}, true), TypeError);
  });

  test(`json of ${name}: lossy is a boolean, and its name is known`, () => {
    assertThrows(
      () => carry(1, 1 as unknown as boolean),
      TypeError,
      "Cannot make the codec: lossy must be a boolean, received 1",
    );
  });
}
