/**
 * Loops over the queue itself.
 *
 * @module
 */

import { assertEquals, assertStrictEquals } from "@std/assert";
import { collect } from "../support/streams.ts";
import { reasonOf, turns } from "../support/waiting.ts";
import { boom, full, type Group, group, inOrder } from "./cases.ts";

export const iteration: Group = group("iteration");
const { promise } = iteration;

promise("a loop takes what is left after close(), and ends", async (kind) => {
  const queue = full(kind, [1, 2, 3]);
  queue.close();
  assertEquals(await collect(queue), inOrder(kind, [1, 2, 3]));
  await queue.closed;
});

promise(
  "breaking off leaves the queue open and loses nothing",
  async (kind) => {
    const queue = full(kind, [1, 2, 3]);
    const taken: number[] = [];
    for await (const item of queue) {
      taken.push(item);
      if (taken.length === 2) break;
    }
    assertEquals([...taken, ...queue.clear()], inOrder(kind, [1, 2, 3]));
    assertEquals(queue.stats().state, "open");
    await queue.put(4);
  },
);

promise("return() does not stand behind a pending next()", async (kind) => {
  const queue = kind.create<number>();
  const iterator = queue[Symbol.asyncIterator]();
  const nexts = [iterator.next(), iterator.next()];
  const other = queue.next();
  assertEquals(await iterator.return!(), { done: true, value: undefined });
  for (const next of nexts) {
    assertEquals(await next, { done: true, value: undefined });
  }
  // Nobody is left in line before the other one.
  await queue.put(1);
  assertEquals(await other, { done: false, value: 1 });
  assertEquals(await iterator.next(), { done: true, value: undefined });
});

promise("abort() ends a loop with its reason", async (kind) => {
  const queue = kind.create<number>();
  const looping = collect(queue);
  await turns();
  queue.abort(boom);
  assertStrictEquals(await reasonOf(looping), boom);
});

promise(
  "fail() ends a loop with its reason after the last item",
  async (kind) => {
    const queue = full(kind, [1, 2]);
    queue.fail(boom);
    const taken: number[] = [];
    async function loop(): Promise<void> {
      for await (const item of queue) taken.push(item);
    }
    assertStrictEquals(await reasonOf(loop()), boom);
    assertEquals(taken, inOrder(kind, [1, 2]));
  },
);
