/**
 * A wait that is cancelled has stored nothing and taken nothing.
 *
 * @module
 */

import {
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { QueueClosedError } from "../../mod.ts";
import { reasonOf } from "../support/waiting.ts";
import { boom, drain, full, type Group, group } from "./cases.ts";

export const cancellation: Group = group("P2 cancellation");
const { promise } = cancellation;

promise(
  "get() aborted while it waits rejects with the signal's reason",
  async (kind) => {
    const queue = kind.create<number>();
    const controller = new AbortController();
    const get = queue.get({ signal: controller.signal });
    controller.abort(boom);
    assertStrictEquals(await reasonOf(get), boom);
    assertEquals(queue.stats().waitingGets, 0);
  },
);

promise(
  "get() aborted while it waits takes nothing afterwards",
  async (kind) => {
    const queue = kind.create<number>();
    const controller = new AbortController();
    const get = queue.get({ signal: controller.signal });
    controller.abort(boom);
    await reasonOf(get);
    await queue.put(1);
    assertEquals(queue.length, 1);
  },
);

promise(
  "get() aborted after the item was handed over still delivers it",
  async (kind) => {
    const queue = kind.create<number>();
    const controller = new AbortController();
    const get = queue.get({ signal: controller.signal });
    queue.tryPut(1);
    controller.abort(boom);
    assertEquals(await get, 1);
  },
);

promise(
  "an already aborted signal wins over an item that is ready",
  async (kind) => {
    const queue = full(kind, [1]);
    const signal = AbortSignal.abort(boom);
    assertStrictEquals(await reasonOf(queue.get({ signal })), boom);
    assertStrictEquals(await reasonOf(queue.getMany(1, { signal })), boom);
    assertEquals(queue.length, 1);
  },
);

promise(
  "an already aborted signal wins over room that is there",
  async (kind) => {
    const queue = kind.create<number>();
    const signal = AbortSignal.abort(boom);
    assertStrictEquals(await reasonOf(queue.put(1, { signal })), boom);
    assertStrictEquals(await reasonOf(queue.putMany([1, 2], { signal })), boom);
    assertEquals(queue.length, 0);
  },
);

promise("put() aborted while it waits has stored nothing", async (kind) => {
  const queue = full(kind, [1]);
  const controller = new AbortController();
  const put = queue.put(2, { signal: controller.signal });
  controller.abort(boom);
  assertStrictEquals(await reasonOf(put), boom);
  assertEquals(drain(queue), [1]);
  assertEquals(queue.stats().put, 1);
});

promise("put() aborted after it was let in stays in", async (kind) => {
  const queue = full(kind, [1]);
  const controller = new AbortController();
  const put = queue.put(2, { signal: controller.signal });
  queue.tryGet();
  controller.abort(boom);
  await put;
  assertEquals(drain(queue), [2]);
});

promise(
  "a put aborted after a slot came free can be tried again",
  async (kind) => {
    const queue = full(kind, [1]);
    const controller = new AbortController();
    const put = queue.put(2, { signal: controller.signal });
    controller.abort(boom);
    await reasonOf(put);
    queue.tryGet();
    await queue.put(2);
    assertEquals(drain(queue), [2]);
  },
);

promise(
  "getMany() aborted while it has nothing rejects and takes nothing",
  async (kind) => {
    const queue = kind.create<number>();
    const controller = new AbortController();
    const batch = queue.getMany(3, {
      signal: controller.signal,
      linger: 60_000,
    });
    controller.abort(boom);
    assertStrictEquals(await reasonOf(batch), boom);
    queue.tryPut(1);
    assertEquals(queue.length, 1);
  },
);

promise(
  "getMany() aborted while it lingers gives what it has",
  async (kind) => {
    const queue = kind.create<number>();
    const controller = new AbortController();
    const batch = queue.getMany(3, {
      signal: controller.signal,
      linger: 60_000,
    });
    queue.tryPut(1);
    queue.tryPut(2);
    controller.abort(boom);
    assertEquals(await batch, [1, 2]);
  },
);

for (
  const [place, index] of [["oldest", 0], ["middle", 1], [
    "youngest",
    2,
  ]] as const
) {
  promise(
    `of three gets the ${place} one leaves, the others keep their order`,
    async (kind) => {
      const queue = kind.create<string>();
      const controllers = [0, 1, 2].map(() => new AbortController());
      const gets = controllers.map(({ signal }) => queue.get({ signal }));
      controllers[index]!.abort(boom);
      await reasonOf(gets[index]!);
      queue.tryPut("a");
      queue.tryPut("b");
      const others = gets.filter((_, at) => at !== index);
      assertEquals(await Promise.all(others), ["a", "b"]);
    },
  );

  promise(
    `of three puts the ${place} one leaves, the others keep their order`,
    async (kind) => {
      const queue = full(kind, [0]);
      const controllers = [1, 2, 3].map(() => new AbortController());
      const puts = controllers.map(({ signal }, at) =>
        queue.put(at + 1, { signal })
      );
      controllers[index]!.abort(boom);
      await reasonOf(puts[index]!);
      const taken = [queue.tryGet(), queue.tryGet(), queue.tryGet()];
      assertEquals(taken, [0, 1, 2, 3].filter((item) => item !== index + 1));
    },
    { needs: ["line"] },
  );
}

promise(
  "one signal withdraws all that wait with it and nobody else",
  async (kind) => {
    const queue = kind.create<number>();
    const controller = new AbortController();
    const { signal } = controller;
    const gets = [queue.get({ signal }), queue.get(), queue.get({ signal })];
    controller.abort(boom);
    assertStrictEquals(await reasonOf(gets[0]!), boom);
    assertStrictEquals(await reasonOf(gets[2]!), boom);
    queue.tryPut(1);
    assertEquals(await gets[1], 1);
  },
);

promise("one signal may cover two queues", async (kind) => {
  const [left, right] = [kind.create<number>(), kind.create<number>()];
  const controller = new AbortController();
  const gets = [left, right].map((queue) => queue.get(controller));
  controller.abort(boom);
  for (const get of gets) assertStrictEquals(await reasonOf(get), boom);
});

promise("a signal that fires long after changes nothing", async (kind) => {
  const queue = kind.create<number>();
  const controller = new AbortController();
  const get = queue.get({ signal: controller.signal });
  await queue.put(1);
  assertEquals(await get, 1);
  await queue.put(2, { signal: controller.signal });
  controller.abort(boom);
  assertEquals(drain(queue), [2]);
});

promise(
  "an aborted get passes the item on to the next in line",
  async (kind) => {
    const queue = kind.create<number>();
    const controller = new AbortController();
    const first = queue.get({ signal: controller.signal });
    const second = queue.get();
    controller.abort(boom);
    queue.tryPut(7);
    await reasonOf(first);
    assertEquals(await second, 7);
  },
);

promise(
  "the reason of a cancelled wait is passed on unchanged, undefined aside",
  async (kind) => {
    const queue = kind.create<number>();
    for (const reason of ["text", 5, null]) {
      const controller = new AbortController();
      const get = queue.get({ signal: controller.signal });
      controller.abort(reason);
      assertStrictEquals(await reasonOf(get), reason);
    }
  },
);

promise(
  "cancelling the last waiting put lets a closing queue end",
  async (kind) => {
    const queue = kind.create<number>({ highWaterMark: 0 });
    const controller = new AbortController();
    const put = queue.put(1, { signal: controller.signal });
    queue.close();
    assertEquals(queue.stats().state, "closing");
    controller.abort(boom);
    await reasonOf(put);
    await queue.closed;
  },
  { needs: ["rendezvous"] },
);

promise(
  "fractions that waited and gave up leave the room as it was, to the last bit",
  async (kind) => {
    const queue = full(kind, [1], { size: (item) => item });
    const cancel = new AbortController();
    const waiting = [0.1, 0.2, 0.3].map((item) =>
      reasonOf(queue.put(item, { signal: cancel.signal }))
    );
    cancel.abort(boom);
    assertEquals(await Promise.all(waiting), [boom, boom, boom]);
    assertEquals(queue.desiredSize, 0);
  },
  { needs: ["room"] },
);

promise(
  "a put after fail() carries its item and the reason, before the drain and after",
  async (kind) => {
    const queue = full(kind, [1]);
    queue.fail(boom);
    for (let item = 2; item < 4; item++) {
      const refused = [
        await reasonOf(queue.put(item)),
        await reasonOf(queue.putMany([item])),
        assertThrows(() => queue.tryPut(item)),
      ];
      for (const error of refused) {
        assertInstanceOf(error, QueueClosedError);
        assertEquals([error.item, error.cause], [item, boom]);
      }
      await queue.next().catch(() => {});
    }
    assertStrictEquals(await reasonOf(queue.get()), boom);
  },
);

promise("a put after abort() rejects with the reason", async (kind) => {
  for (const failed of [false, true]) {
    const queue = full(kind, [1]);
    if (failed) queue.fail(new Error("failed"));
    queue.abort(boom);
    assertStrictEquals(await reasonOf(queue.put(2)), boom);
    assertStrictEquals(assertThrows(() => queue.tryPut(2)), boom);
  }
});
