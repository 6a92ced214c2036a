/**
 * What partition, balance and concurrentMap need of a runtime, in a few cases
 * that run inside each of them.
 *
 * @module
 */

import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { balance, concurrentMap, partition } from "../../mod.ts";
import type { RuntimeCase } from "./runtimes.ts";
import { counting, readAll } from "../support/streams.ts";

/** The cases. */
export const partitionCases: RuntimeCase[] = [
  {
    name: "partition: a key has one branch, the same everywhere",
    async run() {
      const { stream } = counting(12);
      const branches = partition(stream, 3, (item) => `key ${item % 4}`);
      assertEquals(await Promise.all(branches.map(readAll)), [
        [3, 7, 11],
        [0, 4, 8],
        [1, 2, 5, 6, 9, 10],
      ]);
    },
  },
  {
    name: "partition: cancelling all branches cancels the source",
    async run() {
      const source = counting(100);
      const [one, two] = partition(source.stream, 2, (item) => item);
      await one!.cancel("one");
      assertEquals([source.pulled, source.reason], [0, undefined]);
      await two!.cancel("two");
      assertEquals([source.pulled, source.reason], [0, ["one", "two"]]);
    },
  },
  {
    name: "balance: an item goes to one branch, pulled when it asks",
    async run() {
      const source = counting(100);
      const [one, two] = balance(source.stream, 2).map((branch) =>
        branch.getReader()
      );
      assertEquals(source.pulled, 0);
      const reads = await Promise.all([two!.read(), one!.read()]);
      assertEquals(reads.map(({ value }) => value), [0, 1]);
      assertEquals(source.pulled, 2);
      await Promise.all([one!.cancel(), two!.cancel()]);
    },
  },
  {
    name: "concurrentMap: a native stream goes through it in order",
    async run() {
      const { stream } = counting(50);
      let hops = 0;
      const mapped = stream.pipeThrough(
        concurrentMap<number, number>(async (item) => {
          for (let hop = hops++ % 7; hop > 0; hop--) await undefined;
          return item * 2;
        }, { concurrency: 4 }),
      );
      const results = await readAll(mapped);
      assertEquals(
        results,
        Array.from({ length: 50 }, (_, index) => index * 2),
      );
    },
  },
  {
    name: "concurrentMap: an error in fn ends both sides and aborts the signal",
    async run() {
      const reason = new Error("fn");
      let signal: AbortSignal | undefined;
      const { readable, writable } = concurrentMap<number, number>(
        (item, given) => {
          signal = given;
          if (item === 2) throw reason;
          return item;
        },
      );
      const writer = writable.getWriter();
      writer.closed.catch(() => {});
      for (const item of [0, 1, 2]) await writer.write(item);
      const reader = readable.getReader();
      reader.closed.catch(() => {});
      assertEquals((await reader.read()).value, 0);
      assertEquals((await reader.read()).value, 1);
      assertStrictEquals(await assertRejects(() => reader.read()), reason);
      assertStrictEquals(await assertRejects(() => writer.closed), reason);
      assertStrictEquals(signal!.reason, reason);
    },
  },
];
