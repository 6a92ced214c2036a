/**
 * Any value is an item.
 *
 * @module
 */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import type { QueueClosedError, QueueFullError } from "../../mod.ts";
import { reasonOf } from "../support/waiting.ts";
import { boom, full, type Group, group, report } from "./cases.ts";

export const anyValue: Group = group("P8 any value");
const { promise } = anyValue;

const oddValues: [string, unknown][] = [
  ["undefined", undefined],
  ["null", null],
  ["0", 0],
  ["NaN", NaN],
  ["an empty string", ""],
  ["false", false],
  ["a function", (): void => {}],
  ["an Error", boom],
  ["an array", [1]],
];

for (const [name, value] of oddValues) {
  const isReference = Object(value) === value;
  promise(`${name} is an item on every way in and out`, async (kind) => {
    const queue = kind.create<unknown>({ highWaterMark: 1 });
    const reader = queue.consumer().getReader();
    const writer = queue.producer().getWriter();
    await queue.put(value);
    assertStrictEquals(await queue.get(), value);
    assert(queue.tryPut(value));
    assertEquals(queue.length, 1);
    assertStrictEquals(queue.tryGet(), value);
    assertEquals(queue.length, 0);
    await writer.write(value);
    const read = await reader.read();
    assertEquals(read.done, false);
    assertStrictEquals(read.value, value);
    const next = queue.next();
    await queue.putMany([value]);
    assertEquals((await next).done, false);
    assertStrictEquals((await next).value, value);
    const get = queue.get();
    queue.tryPut(value);
    assertStrictEquals(await get, value);
    queue.tryPut(value);
    const [item] = await queue.getMany(1);
    assertStrictEquals(item, value);
    queue.tryPut(value);
    assertEquals(queue.clear(), [value]);
  }, { needs: isReference ? ["identity"] : [] });
}

promise("an undefined that waits to be put is an item", async (kind) => {
  const queue = kind.create<undefined>({ highWaterMark: 0 });
  const puts = [queue.put(undefined), queue.put(undefined)];
  assertEquals(await queue.next(), { done: false, value: undefined });
  assertEquals(await queue.getMany(2), [undefined]);
  await Promise.all(puts);
}, { needs: ["rendezvous"] });

promise("an undefined that is refused travels with the error", async (kind) => {
  const queue = kind.create<undefined>({
    highWaterMark: 0,
    overflow: "reject",
  });
  assert("item" in (await reasonOf(queue.put(undefined)) as QueueFullError));
  queue.close();
  assert("item" in (await reasonOf(queue.put(undefined)) as QueueClosedError));
  assert(!("item" in (await reasonOf(queue.get()) as QueueClosedError)));
}, { needs: ["rendezvous", "overflow"] });

promise("an undefined that is undelivered is reported", (kind) => {
  const { items, onUndelivered } = report<undefined>();
  const queue = full(kind, [undefined, undefined], { onUndelivered });
  queue.abort();
  assertEquals(items, [undefined, undefined]);
});

promise(
  "a promise is an item: it comes out as the same promise",
  async (kind) => {
    const { items, onUndelivered } = report<Promise<number>>();
    const queue = kind.create<Promise<number>>({ onUndelivered });
    const item = Promise.resolve(5);
    await queue.put(item);
    assertStrictEquals(queue.tryGet(), item);
    await queue.put(item);
    assertStrictEquals((await queue.getMany(1))[0], item);
    await queue.put(item);
    assertStrictEquals((await queue.next()).value, item);
    await queue.put(item);
    assertStrictEquals(queue.clear()[0], item);
    await queue.put(item);
    queue.abort();
    assertStrictEquals(items[0], item);
  },
  { needs: ["identity"] },
);

promise(
  "a promise that never settles does not hold up its put",
  async (kind) => {
    const queue = kind.create<Promise<void>>();
    await queue.put(new Promise(() => {}));
    await queue.putMany([new Promise(() => {})]);
    assertEquals(queue.length, 2);
    queue.clear();
  },
  { needs: ["identity"] },
);

promise("a thenable is stored, not followed", async (kind) => {
  let calls = 0;
  const item = {
    then(): void {
      calls++;
    },
  };
  const queue = kind.create<typeof item>();
  await queue.put(item);
  await queue.putMany([item]);
  assertStrictEquals(queue.tryGet(), item);
  assertStrictEquals((await queue.getMany(1))[0], item);
  assertEquals(calls, 0);
}, { needs: ["identity"] });
