/**
 * What each policy does with an item that finds no room.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
} from "@std/assert";
import {
  type Queue,
  QueueFullError,
  type QueueOptions,
  type UndeliveredReason,
} from "../../mod.ts";
import { reasonOf, settled } from "../support/waiting.ts";
import {
  drain,
  full,
  type Group,
  group,
  inOrder,
  type Need,
  report,
} from "./cases.ts";

export const overflow: Group = group("overflow");
const { promise } = overflow;

type Outcome = "pending" | "fulfilled" | "QueueFullError" | "true" | "false";

interface Ways {
  put: Outcome;
  tryPut: Outcome;
  putMany: Outcome;
  "writer.write": Outcome;
}

async function outcomeOf(
  queue: Queue<number>,
  way: keyof Ways,
  item: number,
): Promise<Outcome> {
  if (way === "tryPut") return queue.tryPut(item) ? "true" : "false";
  const putting = way === "put"
    ? queue.put(item)
    : way === "putMany"
    ? queue.putMany([item])
    : queue.writable.getWriter().write(item);
  const outcome = await settled(putting);
  if (outcome !== "rejected") return outcome;
  const error = await assertRejects(() => putting, QueueFullError);
  assertEquals(error.item, item);
  return "QueueFullError";
}

const policies: [NonNullable<QueueOptions<number>["overflow"]>, Ways][] = [
  ["wait", {
    put: "pending",
    tryPut: "false",
    putMany: "pending",
    "writer.write": "pending",
  }],
  ["reject", {
    put: "QueueFullError",
    tryPut: "false",
    putMany: "QueueFullError",
    "writer.write": "QueueFullError",
  }],
  ["drop-oldest", {
    put: "fulfilled",
    tryPut: "true",
    putMany: "fulfilled",
    "writer.write": "fulfilled",
  }],
  ["drop-newest", {
    put: "fulfilled",
    tryPut: "false",
    putMany: "fulfilled",
    "writer.write": "fulfilled",
  }],
];

for (const [overflow, ways] of policies) {
  const policy = overflow === "drop-oldest" ? overflow : "overflow";
  for (const way of ["put", "tryPut", "putMany", "writer.write"] as const) {
    const says: string = {
      pending: "waits",
      fulfilled: "fulfils",
      QueueFullError: "rejects with the item",
      true: "is true",
      false: "is false",
    }[ways[way]];

    /** For a party that only knows whether it may send, one answer is a guess. */
    const asks = (guess: Outcome): Need[] =>
      way === "tryPut" && ways.tryPut === guess ? ["answers"] : [];

    promise(`${overflow}: ${way}() into a full queue ${says}`, async (kind) => {
      const { items, reasons, onUndelivered } = report<number>();
      const queue = full(kind, [1, 2], { overflow, onUndelivered });
      assertEquals(await outcomeOf(queue, way, 3), ways[way]);
      const dropped = overflow === "drop-oldest"
        ? [1]
        : overflow === "drop-newest" && way !== "tryPut"
        ? [3]
        : [];
      assertEquals(items, dropped);
      assertEquals(reasons, dropped.map(() => overflow as UndeliveredReason));
      const { length, undelivered, state } = queue.stats();
      assertEquals(
        [length, queue.stats().dropped, undelivered, state],
        [2, dropped.length, dropped.length, "open"],
      );
      const stored = overflow === "drop-oldest" ? [2, 3] : [1, 2];
      assertEquals(queue.clear(), inOrder(kind, stored));
    }, { needs: [policy, ...asks("true")] });

    promise(
      `${overflow}: ${way}() into a rendezvous without a taker ${says}`,
      async (kind) => {
        const { items, onUndelivered } = report<number>();
        const queue = kind.create<number>({
          highWaterMark: 0,
          overflow,
          onUndelivered,
        });
        assertEquals(await outcomeOf(queue, way, 3), ways[way]);
        const drops = overflow === "drop-oldest" ||
          overflow === "drop-newest" && way !== "tryPut";
        assertEquals(items, drops ? [3] : []);
        assertEquals(queue.length, 0);
      },
      { needs: ["overflow", "rendezvous", ...asks("false")] },
    );
  }

  promise(
    `${overflow}: an item with a get that waits never overflows`,
    async (kind) => {
      const { items, onUndelivered } = report<number>();
      const queue = kind.create<number>({
        highWaterMark: 0,
        overflow,
        onUndelivered,
      });
      const gets = [queue.get(), queue.get(), queue.get()];
      await queue.put(1);
      assert(queue.tryPut(2));
      await queue.writable.getWriter().write(3);
      assertEquals(await Promise.all(gets), [1, 2, 3]);
      assertEquals([items.length, queue.stats().dropped], [0, 0]);
    },
    { needs: ["overflow", "rendezvous"] },
  );

  promise(`${overflow}: an unbounded queue never overflows`, async (kind) => {
    const queue = kind.create<number>({ highWaterMark: Infinity, overflow });
    for (let item = 0; item < 100; item++) await queue.put(item);
    assertEquals([queue.length, queue.stats().dropped], [100, 0]);
  }, { needs: ["overflow"] });

  promise(
    `${overflow}: a heavy item overflows only without any room`,
    async (kind) => {
      const { items, onUndelivered } = report<number>();
      const queue = kind.create<number>({
        highWaterMark: 3,
        size: (item) => item,
        overflow,
        onUndelivered,
      });
      await queue.put(2);
      await queue.put(10);
      assertEquals([queue.length, items.length], [2, 0]);
    },
  );
}

promise("drop-oldest makes way by as many items as it takes", async (kind) => {
  const { items, onUndelivered } = report<number>();
  const queue = kind.create<number>({
    highWaterMark: 3,
    size: (item) => item,
    overflow: "drop-oldest",
    onUndelivered,
  });
  await queue.putMany([0, 1, 10]);
  await queue.put(2);
  assertEquals(items, [0, 1, 10]);
  assertEquals(queue.clear(), [2]);
}, { needs: ["drop-oldest", "size"] });

promise("drop-oldest stops as soon as there is room", async (kind) => {
  const { items, onUndelivered } = report<number>();
  const queue = kind.create<number>({
    highWaterMark: 3,
    size: (item) => item,
    overflow: "drop-oldest",
    onUndelivered,
  });
  await queue.putMany([1, 2]);
  await queue.put(5);
  assertEquals(items, [1]);
  assertEquals(queue.clear(), inOrder(kind, [2, 5]));
}, { needs: ["drop-oldest", "size"] });

promise(
  "drop-oldest drops the oldest stored, whatever comes out first",
  async (kind) => {
    const { items, onUndelivered } = report<number>();
    const queue = full(kind, [1, 2, 3], {
      overflow: "drop-oldest",
      onUndelivered,
    });
    await queue.putMany([4, 5]);
    assertEquals(items, [1, 2]);
    assertEquals(drain(queue), inOrder(kind, [3, 4, 5]));
  },
  { needs: ["drop-oldest"] },
);

promise(
  "a queue lowered under a dropping policy drops with the next put",
  async (kind) => {
    const { items, onUndelivered } = report<number>();
    const queue = full(kind, [1, 2, 3], {
      overflow: "drop-oldest",
      onUndelivered,
    });
    queue.highWaterMark = 1;
    assertEquals(items, []);
    await queue.put(4);
    assertEquals(items, [1, 2, 3]);
    assertEquals(drain(queue), [4]);
  },
  { needs: ["drop-oldest"] },
);

promise(
  "putMany() under a dropping policy puts in all there are",
  async (kind) => {
    for (const overflow of ["drop-oldest", "drop-newest"] as const) {
      const { items, onUndelivered } = report<number>();
      const queue = kind.create<number>({
        highWaterMark: 2,
        overflow,
        onUndelivered,
      });
      await queue.putMany([1, 2, 3, 4, 5]);
      const kept = overflow === "drop-oldest" ? [4, 5] : [1, 2];
      assertEquals(drain(queue), inOrder(kind, kept));
      assertEquals(
        items,
        [1, 2, 3, 4, 5].filter((item) => !kept.includes(item)),
      );
    }
  },
  { needs: ["drop-oldest"] },
);

promise(
  "putMany() under reject stops at the first that finds no room",
  async (kind) => {
    const queue = kind.create<number>({ highWaterMark: 2, overflow: "reject" });
    const error = await assertRejects(
      () => queue.putMany([1, 2, 3, 4]),
      QueueFullError,
    );
    assertEquals(error.item, 3);
    assertEquals(drain(queue), inOrder(kind, [1, 2]));
  },
  { needs: ["overflow"] },
);

promise(
  "a writer whose write was rejected for room goes on writing",
  async (kind) => {
    const queue = full(kind, [1], { overflow: "reject" });
    const writer = queue.writable.getWriter();
    assertInstanceOf(await reasonOf(writer.write(2)), QueueFullError);
    queue.tryGet();
    await writer.write(3);
    assertEquals(drain(queue), [3]);
  },
  { needs: ["overflow"] },
);

promise(
  "an item dropped by put() counts as put, one kept by tryPut() does not",
  async (kind) => {
    const queue = full(kind, [1], { overflow: "drop-newest" });
    await queue.put(2);
    assertEquals([queue.stats().put, queue.stats().dropped], [2, 1]);
    assertEquals(queue.tryPut(3), false);
    assertEquals([queue.stats().put, queue.stats().dropped], [2, 1]);
  },
  { needs: ["overflow"] },
);

promise("a QueueFullError says what the room was", async (kind) => {
  const queue = full(kind, [1, 2], { overflow: "reject", name: "mail" });
  const error = await assertRejects(() => queue.put(3), QueueFullError);
  assertMatch(error.message, /^Cannot put: .*"mail".*, received 2 of 2 /);
  assertEquals([error.name, error.item], ["QueueFullError", 3]);
}, { needs: ["overflow"] });
