/**
 * The smallest cases of `merge`, `mergeSorted`, `zip` and `select` that show
 * whether a runtime carries them.
 *
 * @module
 */

import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import {
  merge,
  mergeSorted,
  Queue,
  QueueClosedError,
  select,
  zip,
} from "../../mod.ts";
import type { RuntimeCase } from "./runtimes.ts";
import { counting, readAll } from "../support/streams.ts";

/** The cases, each independent of all others. */
export const fanInCases: RuntimeCase[] = [
  {
    name: "merge: all items of all sources, each source in its order",
    async run(): Promise<void> {
      const queue = new Queue<number>();
      await queue.putMany([10, 20]);
      queue.close();
      const items = await readAll(merge([counting(3, 1).stream, queue, [100]]));
      assertEquals(items.filter((item) => item < 10), [1, 2, 3]);
      assertEquals(items.length, 6);
    },
  },
  {
    name:
      "merge: pulls no further than highWaterMark, and cancels with the reason",
    async run(): Promise<void> {
      const sources = [counting(100, 1), counting(100, 1)];
      const merged = merge(sources.map(({ stream }) => stream), {
        highWaterMark: 4,
      });
      const reader = merged.getReader();
      await reader.read();
      for (let wait = 0; wait < 100; wait++) await undefined;
      assertEquals(sources[0]!.pulled + sources[1]!.pulled <= 5, true);
      await reader.cancel("enough");
      assertEquals(sources.map(({ reason }) => reason), ["enough", "enough"]);
    },
  },
  {
    name: "merge: through the streams of the platform, to a Response",
    async run(): Promise<void> {
      const merged = merge([["a", "b"], ["c"]]);
      const body = merged.pipeThrough(
        new TransformStream<string, Uint8Array<ArrayBuffer>>({
          transform(text, controller): void {
            controller.enqueue(new TextEncoder().encode(text));
          },
        }),
      );
      const text = await new Response(body).text();
      assertEquals([...text].sort().join(""), "abc");
    },
  },
  {
    name: "merge: a signal ends it with its reason",
    async run(): Promise<void> {
      const controller = new AbortController();
      const source = counting(100, 1);
      const merged = merge([source.stream], { signal: controller.signal });
      const reader = merged.getReader();
      await reader.read();
      const reason = new Error("time is up");
      controller.abort(reason);
      assertStrictEquals(await assertRejects(() => reader.read()), reason);
      assertStrictEquals(source.reason, reason);
    },
  },
  {
    name: "mergeSorted: one order out of many",
    async run(): Promise<void> {
      const sorted = mergeSorted(
        [counting(3, 1).stream, [2, 2, 9]],
        (a, b) => a - b,
      );
      assertEquals(await readAll(sorted), [1, 2, 2, 2, 3, 9]);
    },
  },
  {
    name: "zip: tuples until the shortest ends, which cancels the others",
    async run(): Promise<void> {
      const longer = counting(100, 1);
      assertEquals(await readAll(zip(["a", "b"], longer.stream)), [
        ["a", 1],
        ["b", 2],
      ]);
      // Nothing was pulled for the tuple that the shortest did not begin.
      assertEquals([longer.pulled, longer.stream.locked], [2, false]);
    },
  },
  {
    name: "select: the losers keep their items",
    async run(): Promise<void> {
      const [left, right] = [new Queue<number>(), new Queue<number>()];
      const selected = select([left, right]);
      await right.put(1);
      await left.put(2);
      assertStrictEquals((await selected).queue, right);
      assertEquals(left.length, 1);
      assertEquals((await select([left, right])).item, 2);
      left.close();
      right.close();
      await assertRejects(() => select([left, right]), QueueClosedError);
    },
  },
];
