/**
 * What `tee` and `Broadcast` promise on every runtime, in a few cases.
 *
 * @module
 */

import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { Broadcast, LaggedError, tee } from "../../mod.ts";
import type { RuntimeCase } from "./runtimes.ts";
import { counting, readAll } from "../support/streams.ts";
import { pause } from "../support/waiting.ts";
import { upTo } from "../support/items.ts";

/** The cases. */
export const flowFanOutCases: RuntimeCase[] = [
  {
    name: "tee: every branch gets every item of a native stream",
    async run() {
      const branches = tee(counting(50).stream, 3, { highWaterMark: 4 });
      const items = upTo(50);
      assertEquals(await Promise.all(branches.map(readAll)), [
        items,
        items,
        items,
      ]);
    },
  },
  {
    name: "tee: native reads of a branch end, as a Response body does",
    async run() {
      const bytes = new TextEncoder().encode("text");
      const branches = tee([bytes, bytes], 2);
      const texts = branches.map((branch) => new Response(branch).text());
      assertEquals(await Promise.all(texts), ["texttext", "texttext"]);
    },
  },
  {
    name: "tee: the slowest branch gates the source",
    async run() {
      const source = counting(1000);
      const [fast, slow] = tee(source.stream, 2, { highWaterMark: 16 });
      const reader = fast!.getReader();
      for (let read = 0; read < 16; read++) await reader.read();
      const gated = reader.read();
      assertEquals(source.pulled, 16);
      assertEquals((await slow!.getReader().read()).value, 0);
      assertEquals((await gated).value, 16);
    },
  },
  {
    name:
      "tee: cancelling all branches cancels a native source with the reasons",
    async run() {
      const source = counting(1000);
      const [left, right] = tee(source.stream, 2);
      await Promise.all([left!.cancel("left"), right!.cancel("right")]);
      assertEquals(source.reason, ["left", "right"]);
    },
  },
  {
    name: "Broadcast: one subscriber waits, one drops, one is evicted",
    async run() {
      const broadcast = new Broadcast<number>({ highWaterMark: 2 });
      const waiting = broadcast.subscribe({ highWaterMark: 100 });
      const dropping = broadcast.subscribe({ overflow: "drop-oldest" });
      const evicted = broadcast.subscribe({ overflow: "evict" });
      for (let item = 0; item < 5; item++) await broadcast.put(item);
      broadcast.close();
      assertEquals(await readAll(waiting), [0, 1, 2, 3, 4]);
      assertEquals(await readAll(dropping), [3, 4]);
      const error = await assertRejects(() => readAll(evicted));
      assertInstanceOf(error, LaggedError);
      assertEquals(error.missed, 3);
      await broadcast.closed;
    },
  },
  {
    name: "Broadcast: a native pipe feels the slowest subscriber",
    async run() {
      const source = counting(20);
      const broadcast = new Broadcast<number>({ highWaterMark: 2 });
      const reader = broadcast.subscribe().getReader();
      const piping = source.stream.pipeTo(broadcast.writable);
      assertEquals((await reader.read()).value, 0);
      await pause(0);
      // Read one, hold two, and a few are under way in the pipe.
      if (source.pulled > 6) throw new Error(`${source.pulled} pulled`);
      for (let item = 1; item < 20; item++) {
        assertEquals((await reader.read()).value, item);
      }
      assertEquals((await reader.read()).done, true);
      await piping;
    },
  },
];
