/**
 * Producers that register, fail and finish.
 *
 * @module
 */

import {
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { QueueClosedError } from "../../mod.ts";
import { collect, sourceOf } from "../support/streams.ts";
import { reasonOf } from "../support/waiting.ts";
import { boom, drain, full, type Group, group, inOrder } from "./cases.ts";

export const producers: Group = group("producers");
const { promise } = producers;

promise(
  "the queue closes when the last registered producer is done",
  async (kind) => {
    const queue = kind.create<number>();
    const writers = [0, 1].map(() => queue.producer().getWriter());
    assertEquals(queue.stats().producers, 2);
    await writers[0]!.write(1);
    await writers[0]!.close();
    assertEquals([queue.stats().state, queue.stats().producers], ["open", 1]);
    await writers[1]!.write(2);
    await writers[1]!.close();
    assertEquals(queue.stats().state, "closing");
    assertEquals(await collect(queue), inOrder(kind, [1, 2]));
  },
);

promise("several sources are piped into one queue", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 2 });
  const piping = [[1, 2, 3], [4, 5], []].map((items) =>
    sourceOf(items).pipeTo(queue.producer())
  );
  assertEquals((await collect(queue)).sort(), [1, 2, 3, 4, 5]);
  await Promise.all(piping);
});

promise(
  "collect: the others go on, the queue ends in an AggregateError",
  async (kind) => {
    const queue = kind.create<number>();
    const failing = queue.producer().getWriter();
    const working = queue.producer({ onError: "collect" }).getWriter();
    await failing.write(1);
    await failing.abort(boom);
    await working.write(2);
    await working.close();
    assertEquals([queue.tryGet(), queue.tryGet()], inOrder(kind, [1, 2]));
    const error = await assertRejects(() => queue.get(), AggregateError);
    assertEquals(error.errors, [boom]);
  },
);

promise("abort: a failing producer aborts the queue", async (kind) => {
  const queue = kind.create<number>();
  queue.producer();
  const writer = queue.producer({ onError: "abort" }).getWriter();
  await writer.abort(boom);
  assertStrictEquals(await reasonOf(queue.get()), boom);
}, { needs: ["identity"] });

promise("ignore: a failing producer counts as done", async (kind) => {
  const queue = kind.create<number>();
  const writer = queue.producer({ onError: "ignore" }).getWriter();
  await writer.write(1);
  await writer.abort(boom);
  assertEquals(await collect(queue), [1]);
});

promise(
  "a failing producer's writes that wait are rejected, those of others stay",
  async (kind) => {
    const queue = full(kind, [0]);
    const failing = queue.producer({ onError: "ignore" }).getWriter();
    const working = queue.producer().getWriter();
    const writes = [failing.write(1), working.write(2)];
    await failing.abort(boom);
    assertStrictEquals(await reasonOf(writes[0]!), boom);
    assertEquals(queue.tryGet(), 0);
    await writes[1];
    assertEquals(drain(queue), [2]);
  },
);

promise(
  "a producer that is done counts once, whatever it does then",
  async (kind) => {
    const queue = kind.create<number>();
    const writer = queue.producer().getWriter();
    queue.producer();
    await writer.close();
    await writer.abort(boom).catch(() => {});
    assertEquals([queue.stats().producers, queue.stats().state], [1, "open"]);
  },
);

promise(
  "a producer closes with writes waiting: they are let in",
  async (kind) => {
    const queue = full(kind, [0]);
    const writer = queue.producer().getWriter();
    const write = writer.write(1);
    const close = writer.close();
    assertEquals(queue.tryGet(), 0);
    await write;
    await close;
    assertEquals(await collect(queue), [1]);
  },
);

promise("no producer registers once the queue has ended", (kind) => {
  for (const end of ["close", "fail", "abort"] as const) {
    const queue = full(kind, [1]);
    queue[end](boom);
    assertThrows(() => queue.producer(), QueueClosedError, "Cannot register");
  }
});

promise(
  "close() of the queue ends the producers that are left",
  async (kind) => {
    const queue = kind.create<number>();
    const writer = queue.producer().getWriter();
    queue.close();
    await writer.closed;
    assertEquals(queue.stats().producers, 0);
  },
);

promise("an unknown error policy is refused", (kind) => {
  const queue = kind.create<number>();
  assertThrows(
    () => queue.producer({ onError: "retry" as "abort" }),
    TypeError,
    'received "retry"',
  );
});
