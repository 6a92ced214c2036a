/**
 * Several consumers of one queue.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { collect } from "../support/streams.ts";
import { full, type Group, group } from "./cases.ts";

export const consumers: Group = group("consumers");
const { promise } = consumers;

promise("two consumers share the items, each goes to one", async (kind) => {
  const queue = kind.create<number>();
  const both = [queue.consumer(), queue.consumer()].map((stream) =>
    collect(stream)
  );
  await queue.putMany([1, 2, 3, 4, 5, 6]);
  queue.close();
  const [left, right] = await Promise.all(both);
  assertEquals([...left!, ...right!].sort(), [1, 2, 3, 4, 5, 6]);
  assert(left!.length > 0 && right!.length > 0);
});

promise(
  "breaking out of a loop over a consumer cancels only that one",
  async (kind) => {
    const queue = full(kind, [1, 2, 3]);
    for await (const _item of queue.consumer()) break;
    assertEquals([queue.length, queue.stats().state], [2, "open"]);
  },
);

promise("all consumers end when the queue closes", async (kind) => {
  const queue = kind.create<number>();
  const readers = [0, 1].map(() => queue.consumer().getReader());
  const reads = readers.map((reader) => reader.read());
  queue.close();
  assertEquals((await Promise.all(reads)).map((read) => read.done), [
    true,
    true,
  ]);
  await Promise.all(readers.map((reader) => reader.closed));
});
