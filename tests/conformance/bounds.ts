/**
 * What the bound lets in, whatever it is set to.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Queue } from "../../mod.ts";
import { settled } from "../support/waiting.ts";
import { drain, full, type Group, group, inOrder } from "./cases.ts";

export const bounds: Group = group("bounds");
const { promise } = bounds;

promise("the bound is 16 items unless told", async (kind) => {
  const queue = kind.create<number>();
  assertEquals([queue.highWaterMark, queue.desiredSize], [16, 16]);
  for (let item = 0; item < 16; item++) assert(queue.tryPut(item));
  assertEquals(queue.tryPut(16), false);
  assertEquals(await settled(queue.put(16)), "pending");
  assertEquals(queue.length, 16);
});

promise(
  "a put that finds the queue full waits for the next take",
  async (kind) => {
    const queue = full(kind, [1]);
    const put = queue.put(2);
    assertEquals(await settled(put), "pending");
    assertEquals([queue.length, queue.stats().waitingPuts], [1, 1]);
    assertEquals(await queue.get(), 1);
    await put;
    assertEquals([queue.length, queue.stats().waitingPuts], [1, 0]);
  },
);

promise("desiredSize counts down by what is stored and what waits", (kind) => {
  const queue = kind.create<number>({ highWaterMark: 4, size: (item) => item });
  const seen = [queue.desiredSize];
  for (const item of [3, 2, 5]) {
    void queue.put(item);
    seen.push(queue.desiredSize);
  }
  queue.clear();
  seen.push(queue.desiredSize);
  assertEquals(seen, [4, 1, -1, -6, -1]);
}, { needs: ["size", "room"] });

promise(
  "a rendezvous stores nothing: put() waits for its taker",
  async (kind) => {
    const queue = kind.create<number>({ highWaterMark: 0 });
    const put = queue.put(1);
    assertEquals(await settled(put), "pending");
    assertEquals([queue.length, queue.desiredSize], [0, -1]);
    assertEquals(await queue.get(), 1);
    await put;
  },
  { needs: ["rendezvous", "room"] },
);

promise("tryPut() into a rendezvous needs a get that waits", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 0 });
  assertEquals(queue.tryPut(1), false);
  const get = queue.get();
  assertEquals(queue.tryPut(2), true);
  assertEquals(queue.tryPut(3), false);
  assertEquals(await get, 2);
}, { needs: ["rendezvous", "answers"] });

promise(
  "a rendezvous takes from the put that has waited longest",
  async (kind) => {
    const queue = kind.create<number>({ highWaterMark: 0 });
    const puts = [1, 2, 3, 4].map((item) => queue.put(item));
    assertEquals(queue.tryGet(), 1);
    assertEquals(await queue.get(), 2);
    assertEquals(await queue.getMany(5), [3, 4]);
    await Promise.all(puts);
    assertEquals(queue.stats().peakLength, 0);
  },
  { needs: ["rendezvous", "line"] },
);

promise("a rendezvous takes one put for each get", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 0 });
  const puts = [queue.put(1), queue.put(2)];
  queue.tryGet();
  await puts[0];
  assertEquals(await settled(puts[1]!), "pending");
  queue.tryGet();
  await puts[1];
}, { needs: ["rendezvous"] });

promise(
  "a weightless item waits for its taker in a rendezvous, too",
  async (kind) => {
    const queue = kind.create<number>({ highWaterMark: 0, size: () => 0 });
    const put = queue.put(1);
    assertEquals(await settled(put), "pending");
    assertEquals(queue.tryPut(2), false);
    assertEquals(queue.tryGet(), 1);
    await put;
  },
  { needs: ["rendezvous", "size"] },
);

promise("an unbounded queue never makes a put wait", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: Infinity });
  for (let item = 0; item < 5000; item++) await queue.put(item);
  assertEquals([queue.length, queue.desiredSize], [5000, Infinity]);
  await queue.ready;
  assertEquals(drain(queue)[0], kind.order === "fifo" ? 0 : 4999);
}, { needs: ["room"] });

promise(
  "a bound of a fraction lets items in while anything of it is left",
  (kind) => {
    for (
      const [highWaterMark, count] of [[0.5, 1], [1, 1], [1.5, 2]] as const
    ) {
      const queue = kind.create<number>({ highWaterMark });
      let accepted = 0;
      while (queue.tryPut(accepted)) accepted++;
      assertEquals([accepted, queue.desiredSize], [
        count,
        highWaterMark - count,
      ]);
    }
  },
  { needs: ["rendezvous", "room"] },
);

promise("one heavy item may overshoot the bound", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 3, size: (item) => item });
  await queue.put(2);
  await queue.put(100);
  assertEquals([queue.length, queue.desiredSize], [2, -99]);
  assertEquals(queue.tryPut(0), false);
}, { needs: ["size", "room"] });

promise("a light item waits until enough weight is taken", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 3, size: (item) => item });
  const other: Queue<number> = kind.create<number>();
  await queue.putMany([1, 1, 1]);
  const light = queue.put(0.5);
  assertEquals(await settled(light), "pending");
  queue.tryGet();
  await light;
  assertEquals(queue.desiredSize, 0.5);
  assertEquals(other.length, 0);
}, { needs: ["size", "room"] });

promise("weightless items never fill the queue", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 1, size: () => 0 });
  for (let item = 0; item < 100; item++) assert(queue.tryPut(item));
  await queue.ready;
  assertEquals([queue.length, queue.desiredSize], [100, 1]);
}, { needs: ["size"] });

promise("the strategies of the platform are options", async (kind) => {
  const bytes = kind.create<Uint8Array>(
    new ByteLengthQueuingStrategy({ highWaterMark: 4 }),
  );
  await bytes.put(new Uint8Array(3));
  assertEquals([bytes.highWaterMark, bytes.desiredSize], [4, 1]);
  const count = kind.create<number>(
    new CountQueuingStrategy({ highWaterMark: 2 }),
  );
  await count.put(1000);
  assertEquals([count.highWaterMark, count.desiredSize], [2, 1]);
}, { needs: ["size", "room", "byte strategy"] });

promise(
  "lowering the bound makes puts wait until enough is taken",
  async (kind) => {
    const queue = full(kind, [1, 2, 3]);
    queue.highWaterMark = 1;
    assertEquals([queue.length, queue.desiredSize], [3, -2]);
    const put = queue.put(4);
    queue.tryGet();
    queue.tryGet();
    assertEquals(await settled(put), "pending");
    queue.tryGet();
    await put;
    assertEquals(drain(queue), [4]);
  },
  { needs: ["room"] },
);

promise(
  "raising the bound lets in no more than it has room for",
  async (kind) => {
    const queue = kind.create<number>({
      highWaterMark: 1,
      size: (item) => item,
    });
    await queue.put(1);
    const puts = [2, 3, 1].map((item) => queue.put(item));
    queue.highWaterMark = 2;
    await puts[0];
    assertEquals(await settled(puts[1]!), "pending");
    queue.highWaterMark = 4;
    await puts[1];
    assertEquals(await settled(puts[2]!), "pending");
    assertEquals([queue.length, queue.desiredSize], [3, -3]);
    queue.highWaterMark = Infinity;
    await puts[2];
  },
  { needs: ["size", "room"] },
);

promise("a rendezvous made larger stores what waits", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 0 });
  const puts = [queue.put(1), queue.put(2)];
  queue.highWaterMark = 1;
  await puts[0];
  assertEquals(await settled(puts[1]!), "pending");
  assertEquals(queue.length, 1);
  assertEquals([queue.tryGet(), queue.tryGet()], [1, 2]);
}, { needs: ["rendezvous"] });

promise(
  "a queue lowered to 0 is a rendezvous once it is empty",
  async (kind) => {
    const queue = full(kind, [1]);
    queue.highWaterMark = 0;
    assertEquals(queue.tryGet(), 1);
    const put = queue.put(2);
    assertEquals(await settled(put), "pending");
    assertEquals([queue.length, queue.tryGet()], [0, 2]);
  },
  { needs: ["rendezvous"] },
);

promise("resizing a closing queue still lets waiting puts in", async (kind) => {
  const queue = full(kind, [1]);
  const put = queue.put(2);
  queue.close();
  queue.highWaterMark = 2;
  await put;
  assertEquals(drain(queue), inOrder(kind, [1, 2]));
  await queue.closed;
});

promise("resizing an ended queue changes nothing else", async (kind) => {
  const queue = kind.create<number>();
  queue.close();
  queue.highWaterMark = 5;
  await queue.closed;
  assertEquals([queue.highWaterMark, queue.desiredSize], [5, 0]);
});
