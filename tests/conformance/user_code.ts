/**
 * What a user's functions throw, or do to the queue they are called by.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
  fail,
} from "@std/assert";
import { type Queue, QueueClosedError } from "../../mod.ts";
import { printedBy } from "../support/printed.ts";
import { reasonOf, settled, turns } from "../support/waiting.ts";
import {
  boom,
  drain,
  full,
  type Group,
  group,
  inOrder,
  report,
} from "./cases.ts";

export const userCode: Group = group("P9 user code");
const { promise } = userCode;

promise(
  "what onUndelivered throws is printed and stops nothing",
  async (kind) => {
    const seen: number[] = [];
    const queue = full(kind, [1, 2, 3], {
      onUndelivered(item) {
        seen.push(item);
        throw boom;
      },
    });
    const closed = reasonOf(queue.closed);
    const printed = await printedBy(() => queue.abort("reason"));
    assertEquals(seen, inOrder(kind, [1, 2, 3]));
    assertEquals(printed.length, 3);
    assert(printed.every((values) => values.includes(boom)));
    assertEquals([queue.stats().state, await closed], ["errored", "reason"]);
  },
);

promise(
  "what onUndelivered rejects with is printed, and no unhandled rejection",
  async (kind) => {
    const queue = full(kind, [1, 2], {
      onUndelivered: () => Promise.reject(boom),
    });
    const closed = reasonOf(queue.closed);
    const printed = await printedBy(async () => {
      queue.abort("reason");
      await turns();
    });
    assertEquals(printed.length, 2);
    assert(printed.every((values) => values.includes(boom)));
    assertEquals(await closed, "reason");
  },
);

promise("a put whose drop report throws fulfils all the same", async (kind) => {
  for (const overflow of ["drop-oldest", "drop-newest"] as const) {
    const queue = full(kind, [1], {
      overflow,
      onUndelivered() {
        throw boom;
      },
    });
    const printed = await printedBy(() => queue.put(2));
    assertEquals(printed.length, 1);
    assertEquals(queue.length, 1);
  }
}, { needs: ["overflow"] });

promise("onUndelivered sees the queue after the change", async (kind) => {
  const seen: unknown[] = [];
  const queue: Queue<number> = full(kind, [1, 2], {
    overflow: "drop-oldest",
    onUndelivered(_item, reason) {
      const { length, undelivered, state } = queue.stats();
      seen.push([reason, length, undelivered, state]);
    },
  });
  await queue.put(3);
  queue.abort();
  assertEquals(seen, [
    ["drop-oldest", 2, 1, "open"],
    ["abort", 0, 3, "errored"],
    ["abort", 0, 3, "errored"],
  ]);
}, { needs: ["overflow"] });

promise(
  "what waits has settled before abort() reports an item",
  async (kind) => {
    const order: string[] = [];
    const queue = full(kind, [1], {
      onUndelivered: () => void order.push("report"),
    });
    const waiting = queue.put(2).catch(() => order.push("put rejected"));
    queue.abort(boom);
    order.push("abort returned");
    await waiting;
    assertEquals(order, ["report", "abort returned", "put rejected"]);
  },
);

for (
  const [reason, needs] of [
    ["drop-oldest", ["drop-oldest"]],
    ["drop-newest", ["overflow"]],
    ["abort", []],
  ] as const
) {
  promise(
    `onUndelivered may use the queue when an item goes by ${reason}`,
    async (kind) => {
      const seen: [number, string][] = [];
      const outcomes: Promise<unknown>[] = [];
      const queue: Queue<number> = kind.create<number>({
        highWaterMark: 2,
        overflow: reason === "abort" ? "wait" : reason,
        onUndelivered(item, why) {
          seen.push([item, why]);
          if (item >= 100) return;
          outcomes.push(
            queue.put(100 + item).catch((error) => error),
            queue.get().catch((error) => error),
            queue.getMany(1).catch((error) => error),
            queue.next().catch((error) => error),
          );
          queue.tryGet();
          try {
            queue.tryPut(200);
          } catch (error) {
            outcomes.push(Promise.resolve(error));
          }
          queue.clear();
          void queue.stats();
          queue.close();
        },
      });
      for (const item of [1, 2]) queue.tryPut(item);
      if (reason === "abort") queue.abort(boom);
      else await queue.put(3);
      await Promise.all(outcomes);
      const first =
        { "drop-oldest": 1, "drop-newest": 3, "abort": 0 }[reason] ||
        inOrder(kind, [1, 2])[0]!;
      assertEquals(seen[0], [first, reason]);
      assert(queue.stats().state !== "open");
      queue.abort();
    },
    { needs },
  );
}

promise("onUndelivered may abort the queue that is dropping", async (kind) => {
  const { items, reasons, onUndelivered } = report<number>();
  const queue: Queue<number> = full(kind, [1, 2], {
    overflow: "drop-oldest",
    onUndelivered(item, reason) {
      onUndelivered(item, reason);
      queue.abort(boom);
    },
  });
  await queue.put(3);
  assertEquals(items, [1, ...inOrder(kind, [2, 3])]);
  assertEquals(reasons, ["drop-oldest", "abort", "abort"]);
}, { needs: ["drop-oldest"] });

promise("onUndelivered may put the dropped item back", async (kind) => {
  let returned = false;
  const queue: Queue<number> = full(kind, [1, 2], {
    overflow: "drop-oldest",
    onUndelivered(item) {
      if (returned) return;
      returned = true;
      queue.tryPut(item);
    },
  });
  await queue.put(3);
  assertEquals(drain(queue), inOrder(kind, [3, 1]));
}, { needs: ["drop-oldest", "line"] });

promise(
  "what size throws rejects the put and changes nothing",
  async (kind) => {
    const queue = kind.create<number>({
      size() {
        throw boom;
      },
    });
    const writer = queue.producer().getWriter();
    assertStrictEquals(await reasonOf(queue.put(1)), boom);
    assertStrictEquals(await reasonOf(queue.putMany([1, 2])), boom);
    assertStrictEquals(await reasonOf(writer.write(1)), boom);
    assertStrictEquals(thrownBy(() => queue.tryPut(1)), boom);
    const { put, length, waitingPuts, state } = queue.stats();
    assertEquals([put, length, waitingPuts, state], [0, 0, 0, "open"]);
  },
  { needs: ["size", "identity"] },
);

promise(
  "an item that size refuses is not given to a waiting get",
  async (kind) => {
    const queue = kind.create<number>({
      size(item) {
        if (item === 1) throw boom;
        return 1;
      },
    });
    const get = queue.get();
    assertStrictEquals(await reasonOf(queue.put(1)), boom);
    assertEquals(await settled(get), "pending");
    queue.tryPut(2);
    assertEquals(await get, 2);
  },
  { needs: ["size", "identity"] },
);

for (const weight of [-1, NaN, Infinity, "1", undefined, null]) {
  const shown = typeof weight === "string" ? `"${weight}"` : weight;
  promise(`a size of ${shown} is a RangeError`, async (kind) => {
    const queue = kind.create<number>({ size: () => weight as number });
    const error = await assertRejects(() => queue.put(1), RangeError);
    assertMatch(error.message, /^Cannot put: size\(item\) .*, received /);
    assertThrows(() => queue.tryPut(1), RangeError, "Cannot put");
    assertEquals(queue.stats().put, 0);
  }, { needs: ["size", "answers"] });
}

promise(
  "size is asked once for each item, in order of the puts",
  async (kind) => {
    const asked: number[] = [];
    const queue = kind.create<number>({
      highWaterMark: 1,
      size(item) {
        asked.push(item);
        return 1;
      },
    });
    const get = queue.get();
    const puts = [queue.put(1), queue.put(2), queue.put(3), queue.putMany([4])];
    queue.highWaterMark = 2;
    queue.tryPut(5);
    await get;
    queue.clear();
    await Promise.all(puts);
    assertEquals(asked, [1, 2, 3, 4, 5]);
  },
  { needs: ["size", "answers"] },
);

promise(
  "an already aborted signal keeps size from being asked",
  async (kind) => {
    let asked = 0;
    const queue = kind.create<number>({ size: () => ++asked });
    const signal = AbortSignal.abort(boom);
    await reasonOf(queue.put(1, { signal }));
    assertEquals(asked, 0);
  },
);

promise("size may close the queue: its put is refused", async (kind) => {
  const queue: Queue<number> = kind.create<number>({
    size() {
      queue.close();
      return 1;
    },
  });
  const error = await assertRejects(() => queue.put(1), QueueClosedError);
  assertEquals(error.item, 1);
  assertEquals(queue.stats().state, "closed");
}, { needs: ["size"] });

promise(
  "size may abort the queue: its put rejects with the reason",
  async (kind) => {
    const queue: Queue<number> = kind.create<number>({
      size() {
        queue.abort(boom);
        return 1;
      },
    });
    assertStrictEquals(await reasonOf(queue.put(1)), boom);
    assertEquals(queue.length, 0);
  },
  { needs: ["size"] },
);

promise("size may put: the room it takes is gone", async (kind) => {
  let inside = false;
  const queue: Queue<number> = kind.create<number>({
    highWaterMark: 1,
    size() {
      if (inside) return 1;
      inside = true;
      assert(queue.tryPut(2));
      return 1;
    },
  });
  const put = queue.put(1);
  assertEquals(await settled(put), "pending");
  assertEquals([queue.tryGet(), queue.tryGet()], [2, 1]);
  await put;
}, { needs: ["size", "line"] });

promise("size may take and clear: the put goes on", async (kind) => {
  const queue: Queue<number> = kind.create<number>({
    highWaterMark: 2,
    size() {
      queue.tryGet();
      queue.clear();
      return 1;
    },
  });
  await queue.put(1);
  await queue.put(2);
  assertEquals(drain(queue), [2]);
}, { needs: ["size"] });

promise("size may get: the item goes to that get", async (kind) => {
  const gets: Promise<number>[] = [];
  const queue: Queue<number> = kind.create<number>({
    size() {
      gets.push(queue.get());
      return 1;
    },
  });
  await queue.put(1);
  assert(queue.tryPut(2));
  assertEquals(await Promise.all(gets), [1, 2]);
  assertEquals(queue.length, 0);
}, { needs: ["size"] });

promise(
  "a thenable's then may use the queue while it is handed over",
  async (kind) => {
    const queue = kind.create<unknown>({ highWaterMark: 1 });
    const item = {
      get then(): undefined {
        queue.tryGet();
        queue.tryPut("inner");
        queue.close();
        return undefined;
      },
    };
    const get = queue.get();
    await queue.put(item);
    assertStrictEquals(await get, item);
    assertEquals(queue.tryGet(), "inner");
    await queue.closed;
  },
  { needs: ["identity"] },
);

promise(
  "a signal's other listeners may use the queue while it fires",
  async (kind) => {
    const queue = kind.create<number>();
    const controller = new AbortController();
    controller.signal.addEventListener("abort", () => queue.tryPut(1));
    const first = reasonOf(queue.next().then(() => Promise.reject(boom)));
    const cancelled = queue.get({ signal: controller.signal });
    controller.signal.addEventListener("abort", () => queue.tryPut(2));
    controller.abort("reason");
    assertStrictEquals(await first, boom);
    assertEquals(await reasonOf(cancelled), "reason");
    assertEquals(drain(queue), [2]);
  },
);

promise("putMany()'s iterable may use the queue", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 1 });
  const taken: (number | undefined)[] = [];
  function* items(): Generator<number> {
    for (const item of [1, 2, 3]) {
      yield item;
      taken.push(queue.tryGet());
    }
  }
  await queue.putMany(items());
  assertEquals(taken, [1, 2, 3]);
});

promise("putMany()'s iterable may close the queue", async (kind) => {
  const queue = kind.create<number>();
  function* items(): Generator<number> {
    yield 1;
    queue.close();
    yield 2;
  }
  const error = await assertRejects(
    () => queue.putMany(items()),
    QueueClosedError,
  );
  assertEquals(error.item, 2);
  assertEquals(drain(queue), [1]);
});

function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  fail("threw nothing");
}
