/**
 * Items, and those who wait, keep their order.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { settled, turns } from "../support/waiting.ts";
import { drain, full, type Group, group, inOrder } from "./cases.ts";

export const order: Group = group("P3 order");
const { promise } = order;

promise("stored items come out in the order of the kind", (kind) => {
  const queue = full(kind, [1, 2, 3, 4]);
  assertEquals(drain(queue), inOrder(kind, [1, 2, 3, 4]));
});

promise("gets that wait are served oldest first", async (kind) => {
  const queue = kind.create<string>();
  const order: string[] = [];
  const gets = ["first", "second", "third"].map((name) =>
    queue.get().then((item) => order.push(`${name} ${item}`))
  );
  for (const item of ["a", "b", "c"]) queue.tryPut(item);
  await Promise.all(gets);
  assertEquals(order, ["first a", "second b", "third c"]);
});

promise("puts that wait are let in oldest first", async (kind) => {
  const queue = full(kind, [0]);
  const order: number[] = [];
  const puts = [1, 2, 3].map((item) =>
    queue.put(item).then(() => order.push(item))
  );
  assertEquals([0, 1, 2, 3].map(() => queue.tryGet()), [0, 1, 2, 3]);
  await Promise.all(puts);
  assertEquals(order, [1, 2, 3]);
}, { needs: ["line"] });

promise("tryPut() does not overtake a put that waits", (kind) => {
  const queue = full(kind, [1, 2]);
  void queue.put(3);
  queue.highWaterMark = 2;
  assertEquals(queue.tryPut(4), false);
  queue.tryGet();
  assertEquals(queue.tryPut(4), false);
  assertEquals(queue.length, 2);
});

promise(
  "tryGet() after a get that waits finds nothing of its",
  async (kind) => {
    const queue = kind.create<number>();
    const get = queue.get();
    queue.tryPut(1);
    assertEquals(queue.tryGet(), undefined);
    assertEquals(await get, 1);
  },
);

promise(
  "a heavy item that waits is not overtaken by light ones",
  async (kind) => {
    const queue = kind.create<number>({
      highWaterMark: 4,
      size: (item) => item,
    });
    await queue.put(4);
    const heavy = queue.put(10);
    const light = queue.put(1);
    assertEquals(queue.tryGet(), 4);
    await heavy;
    assertEquals(await settled(light), "pending");
    assertEquals([queue.tryGet(), queue.tryGet()], [10, 1]);
  },
  { needs: ["size"] },
);

promise("gets, reads and iterators share one line", async (kind) => {
  const queue = kind.create<number>();
  const reader = queue.consumer().getReader();
  const waiting = [
    queue.get(),
    reader.read().then((read) => read.value),
    queue.next().then((next) => next.value),
    queue.getMany(1).then((items) => items[0]),
  ];
  await queue.putMany([1, 2, 3, 4]);
  assertEquals(await Promise.all(waiting), [1, 2, 3, 4]);
});

promise("puts, writes and batches share one line", async (kind) => {
  const queue = full(kind, [0]);
  const writer = queue.writable.getWriter();
  const waiting = [queue.put(1), writer.write(2), queue.putMany([3])];
  await turns();
  assertEquals([0, 1, 2, 3].map(() => queue.tryGet()), [0, 1, 2, 3]);
  await Promise.all(waiting);
}, { needs: ["line"] });
