/**
 * Every accepted item is delivered once, reported once, or still there.
 *
 * @module
 */

import { assertEquals, assertStrictEquals } from "@std/assert";
import { reasonOf } from "../support/waiting.ts";
import {
  boom,
  drain,
  full,
  type Group,
  group,
  inOrder,
  report,
} from "./cases.ts";
import { upTo } from "../support/items.ts";

export const conservation: Group = group("P1 conservation");
const { promise } = conservation;

promise("what is put in one after the other comes out", async (kind) => {
  const queue = kind.create<number>();
  for (const item of [1, 2, 3]) await queue.put(item);
  const items = [await queue.get(), await queue.get(), await queue.get()];
  assertEquals(items, inOrder(kind, [1, 2, 3]));
});

promise("each item goes to exactly one of many gets", async (kind) => {
  const queue = kind.create<number>();
  const gets = Array.from({ length: 50 }, () => queue.get());
  await queue.putMany(upTo(50));
  const items = await Promise.all(gets);
  assertEquals(items, upTo(50));
});

promise(
  "many producers and consumers lose and double nothing",
  async (kind) => {
    const queue = kind.create<number>({ highWaterMark: 3 });
    const producers = [0, 1, 2, 3].map(async (producer) => {
      for (let item = 0; item < 50; item++) {
        await queue.put(producer * 50 + item);
      }
    });
    const seen: number[] = [];
    const consumers = [0, 1, 2].map(async () => {
      for await (const item of queue) seen.push(item);
    });
    await Promise.all(producers);
    queue.close();
    await Promise.all(consumers);
    assertEquals(
      seen.sort((a, b) => a - b),
      upTo(200),
    );
  },
);

promise(
  "abort() reports every stored item once, in the order of its turn",
  (kind) => {
    const { items, reasons, onUndelivered } = report<number>();
    const queue = full(kind, [1, 2, 3], { onUndelivered });
    queue.abort(boom);
    queue.abort(boom);
    assertEquals(items, inOrder(kind, [1, 2, 3]));
    assertEquals(reasons, ["abort", "abort", "abort"]);
  },
);

promise(
  "a put that waits at abort() is not reported: its owner has it",
  async (kind) => {
    const { items, onUndelivered } = report<number>();
    const queue = full(kind, [1], { onUndelivered });
    const waiting = queue.put(2);
    queue.abort(boom);
    assertStrictEquals(await reasonOf(waiting), boom);
    assertEquals(items, [1]);
  },
);

promise("an item that was taken is not reported", async (kind) => {
  const { items, onUndelivered } = report<number>();
  const queue = full(kind, [1], { onUndelivered });
  await queue.get();
  queue.abort();
  assertEquals(items, []);
});

promise("clear() hands the items to its caller and reports none", (kind) => {
  const { items, onUndelivered } = report<number>();
  const queue = full(kind, [1, 2, 3], { onUndelivered });
  assertEquals(queue.clear(), inOrder(kind, [1, 2, 3]));
  assertEquals([queue.length, items.length], [0, 0]);
});

promise(
  "a signal that cancels a put leaves the items of the others",
  async (kind) => {
    const queue = full(kind, [1]);
    const controller = new AbortController();
    const cancelled = queue.put(2, { signal: controller.signal });
    const kept = queue.put(3);
    controller.abort(boom);
    await reasonOf(cancelled);
    assertEquals(queue.tryGet(), 1);
    await kept;
    assertEquals(drain(queue), [3]);
  },
);

promise("resizing down to nothing loses nothing", (kind) => {
  const queue = full(kind, [1, 2, 3]);
  queue.highWaterMark = 0;
  assertEquals(queue.length, 3);
  assertEquals(drain(queue), inOrder(kind, [1, 2, 3]));
}, { needs: ["rendezvous"] });

promise("disposal reports what is left", async (kind) => {
  const { items, onUndelivered } = report<number>();
  const queue = full(kind, [1, 2], { onUndelivered });
  await queue[Symbol.asyncDispose]();
  assertEquals(items, inOrder(kind, [1, 2]));
}, { needs: ["owner"] });
