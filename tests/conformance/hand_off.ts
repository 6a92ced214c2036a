/**
 * Whatever puts an item in, it goes to whoever has waited longest.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { settled } from "../support/waiting.ts";
import { full, type Group, group } from "./cases.ts";

export const handOff: Group = group("P5 one hand-off");
const { promise } = handOff;

promise(
  "whatever puts an item in, it goes to the get that has waited longest",
  async (kind) => {
    const queue = kind.create<string>();
    const writer = queue.producer().getWriter();
    const gets = [queue.get(), queue.get(), queue.get(), queue.get()];
    await queue.put("put");
    assert(queue.tryPut("tryPut"));
    await queue.putMany(["putMany"]);
    await writer.write("write");
    assertEquals(await Promise.all(gets), [
      "put",
      "tryPut",
      "putMany",
      "write",
    ]);
  },
);

promise("an item handed to a waiting get is never stored", async (kind) => {
  const queue = kind.create<number>();
  const get = queue.get();
  queue.tryPut(1);
  assertEquals([queue.length, queue.stats().peakLength], [0, 0]);
  assertEquals(await get, 1);
}, { needs: ["hand-off"] });

promise("a batch that lingers stands in line like a get", async (kind) => {
  const queue = kind.create<number>();
  const batch = queue.getMany(2, { linger: 60_000 });
  const get = queue.get();
  await queue.putMany([1, 2, 3]);
  assertEquals(await batch, [1, 2]);
  assertEquals(await get, 3);
});

promise("raising the bound lets waiting puts in oldest first", async (kind) => {
  const queue = full(kind, [0]);
  const puts = [1, 2, 3].map((item) => queue.put(item));
  queue.highWaterMark = 3;
  await Promise.all(puts.slice(0, 2));
  assertEquals(await settled(puts[2]!), "pending");
  assertEquals(
    [queue.tryGet(), queue.tryGet(), queue.tryGet(), queue.tryGet()],
    kind.order === "fifo" ? [0, 1, 2, 3] : [2, 3, 1, 0],
  );
});
