/**
 * Arguments that are refused, before anything moves.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import { full, type Group, group, inOrder } from "./cases.ts";

export const wrongArguments: Group = group("arguments");
const { promise } = wrongArguments;

for (
  const [name, max, type] of [
    ["0", 0, RangeError],
    ["a fraction", 1.5, RangeError],
    ["NaN", NaN, RangeError],
    ["-1", -1, RangeError],
    ["a string", "2" as unknown as number, TypeError],
    ["nothing", undefined as unknown as number, TypeError],
  ] as const
) {
  promise(
    `getMany(${name}) is a ${type.name} and takes nothing`,
    async (kind) => {
      const queue = full(kind, [1]);
      await assertRejects(
        () => queue.getMany(max),
        type,
        "Cannot get many: max",
      );
      assertEquals(queue.length, 1);
    },
  );
}

promise("getMany(Infinity) takes all that is there", async (kind) => {
  const queue = full(kind, [1, 2, 3]);
  assertEquals(await queue.getMany(Infinity), inOrder(kind, [1, 2, 3]));
}, { needs: ["batches"] });

for (
  const [name, linger, type] of [
    ["below 0", -1, RangeError],
    ["without end", Infinity, RangeError],
    ["NaN", NaN, RangeError],
    ["of no number", "1" as unknown as number, TypeError],
  ] as const
) {
  promise(
    `a linger ${name} is a ${type.name} and takes nothing`,
    async (kind) => {
      const queue = full(kind, [1]);
      await assertRejects(() => queue.getMany(2, { linger }), type, "linger");
      assertEquals(queue.length, 1);
    },
  );
}

promise("putMany() refuses what is not iterable", async (kind) => {
  const queue = kind.create<number>();
  for (const items of [undefined, null, 1, {}]) {
    await assertRejects(
      () => queue.putMany(items as unknown as number[]),
      TypeError,
      "Cannot put many: items must be iterable",
    );
  }
  assertEquals(queue.stats().put, 0);
});

promise(
  "options that are no object are a TypeError, nothing moves",
  async (kind) => {
    const queue = full(kind, [1], { highWaterMark: 9 });
    for (const options of [null, 1, "signal"]) {
      const wrong = options as unknown as { signal: AbortSignal };
      for (
        const act of [
          () => queue.put(2, wrong),
          () => queue.putMany([2], wrong),
          () => queue.get(wrong),
          () => queue.getMany(1, wrong),
        ]
      ) await assertRejects(act, TypeError, "options must be an object");
    }
    assertEquals(queue.clear(), [1]);
  },
);

promise("a signal that is none is a TypeError, nothing moves", async (kind) => {
  const queue = full(kind, [1], { highWaterMark: 9 });
  for (const signal of [null, 1, {}, new AbortController()]) {
    const wrong = { signal: signal as unknown as AbortSignal };
    for (
      const act of [
        () => queue.put(2, wrong),
        () => queue.putMany([2], wrong),
        () => queue.get(wrong),
        () => queue.getMany(1, wrong),
      ]
    ) await assertRejects(act, TypeError, "signal must be an AbortSignal");
  }
  assertEquals(queue.clear(), [1]);
});
