/**
 * Every promise settles once the queue has ended, and none is left unhandled.
 *
 * @module
 */

import {
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertStrictEquals,
} from "@std/assert";
import { type Queue, QueueClosedError } from "../../mod.ts";
import { reasonOf, rounds, settled, turns } from "../support/waiting.ts";
import { boom, full, type Group, group, inOrder } from "./cases.ts";

export const settling: Group = group("P4 every promise settles");
const { promise } = settling;

promise("close() ends gets that wait", async (kind) => {
  const queue = kind.create<number>();
  const gets = [queue.get(), queue.get()];
  const next = queue.next();
  const batch = queue.getMany(2);
  queue.close();
  for (const get of gets) {
    assertInstanceOf(await reasonOf(get), QueueClosedError);
  }
  assertEquals(await next, { done: true, value: undefined });
  assertEquals(await batch, []);
});

promise("fail() ends gets that wait with its reason", async (kind) => {
  const queue = kind.create<number>();
  const waiting = [queue.get(), queue.next(), queue.getMany(2), queue.closed];
  queue.fail(boom);
  for (const each of waiting) assertStrictEquals(await reasonOf(each), boom);
});

promise(
  "abort() rejects everything that waits with its reason",
  async (kind) => {
    const queue = full(kind, [1]);
    const waiting = [
      queue.put(2),
      queue.putMany([3, 4]),
      queue.closed,
      queue.ready,
      queue.join(),
    ];
    queue.abort(boom);
    // Nobody owes anything: the one stored item was thrown out.
    await waiting.pop();
    for (const each of waiting) assertStrictEquals(await reasonOf(each), boom);
  },
  { needs: ["join"] },
);

promise("disposal settles everything that waits", async (kind) => {
  const queue = kind.create<number>();
  const waiting = [queue.get(), queue.next(), queue.getMany(1), queue.closed];
  await queue[Symbol.asyncDispose]();
  for (const each of waiting) {
    assertEquals(((await reasonOf(each)) as Error).name, "AbortError");
  }
}, { needs: ["disposal"] });

promise("clear() lets waiting puts in", async (kind) => {
  const queue = full(kind, [1, 2]);
  const puts = [queue.put(3), queue.put(4), queue.put(5)];
  assertEquals(queue.clear(), inOrder(kind, [1, 2]));
  await puts[0];
  await puts[1];
  assertEquals(await settled(puts[2]!), "pending");
  assertEquals(queue.length, 2);
});

promise(
  "ignored closed and ready promises cause no unhandled rejection",
  async (kind) => {
    const queue = full(kind, [1]);
    void queue.closed;
    void queue.ready;
    queue.abort(boom);
    void queue.ready;
    void queue.closed;
    await rounds(); // a runner that sees an unhandled rejection fails the test
  },
);

promise(
  "streams that nobody looks at cause no unhandled rejection",
  async (kind) => {
    const queue = full(kind, [1]);
    void queue.readable;
    void queue.writable;
    void queue.producer();
    void queue.consumer();
    queue.abort(boom);
    await rounds();
  },
);

promise("every wait on a long line settles at close", async (kind) => {
  const queue = kind.create<number>();
  const nexts = Array.from({ length: 1000 }, () => queue.next());
  queue.close();
  const ends = await Promise.all(nexts);
  assertEquals(ends.filter((end) => end.done).length, 1000);
});

promise(
  "ready after an abort that cuts fail() short rejects with the abort's reason",
  async (kind) => {
    const queue = full(kind, [1]);
    const ready = queue.ready;
    queue.fail(new Error("first"));
    queue.abort(boom);
    assertMatch(String(await reasonOf(ready)), /first/);
    assertStrictEquals(await reasonOf(queue.ready), boom);
  },
);

for (const end of ["close", "fail"] as const) {
  promise(`${end}() lets puts in that wait, in order`, async (kind) => {
    const queue = full(kind, [0]);
    const accepted: number[] = [];
    const puts = [1, 2, 3].map((item) =>
      queue.put(item).then(() => accepted.push(item))
    );
    queue[end](boom);
    await turns();
    assertEquals(accepted, []);
    // One at a time, so that the order is that of the waiting puts.
    for (const item of [0, 1, 2, 3]) assertEquals(await queue.get(), item);
    await Promise.all(puts);
    assertEquals(accepted, [1, 2, 3]);
    assertEquals(
      await settled(queue.closed),
      end === "close" ? "fulfilled" : "rejected",
    );
  });
}

/** Each ends a queue, and says nothing of why. */
const endingsWithoutReason: Record<
  string,
  (queue: Queue<number>) => Promise<unknown>
> = {
  "abort()": (queue) => Promise.resolve(queue.abort()),
  "cancel() of the readable": (queue) => queue.readable.cancel(),
  "cancel() of its reader": (queue) => queue.readable.getReader().cancel(),
  "cancel() of a native reader": (queue) =>
    new ReadableStreamDefaultReader(queue.readable).cancel(),
  "breaking off a loop over the readable": async (queue) => {
    for await (const _item of queue.readable) break;
  },
  "return() of an iterator of the readable": (queue) =>
    queue.readable[Symbol.asyncIterator]().return!(),
  "a pipe out whose sink fails": (queue) =>
    queue.readable.pipeTo(
      new WritableStream({
        write: () => Promise.reject(),
      }),
    ).catch(() => {}),
  "abort() of the writable": (queue) => queue.writable.abort(),
  "abort() of its writer": (queue) => queue.writable.getWriter().abort(),
  "abort() of a native writer": (queue) =>
    new WritableStreamDefaultWriter(queue.writable).abort(),
  "a pipe in whose source fails": (queue) =>
    new ReadableStream<number>({
      start: (controller) => controller.error(undefined),
    }).pipeTo(queue.writable).catch(() => {}),
  "abort() of a producer": (queue) =>
    queue.producer({ onError: "abort" }).abort(),
  "abort() of the writer of a producer": (queue) =>
    queue.producer({ onError: "abort" }).getWriter().abort(),
};

for (const [name, end] of Object.entries(endingsWithoutReason)) {
  promise(`${name} without a reason is an AbortError`, async (kind) => {
    const queue = full(kind, [1], { highWaterMark: 3 });
    const closed = reasonOf(queue.closed);
    await end(queue);
    assertEquals(((await closed) as Error).name, "AbortError");
    const refusal = await reasonOf(queue.put(2)) as Error;
    assertEquals(refusal.name, "AbortError");
  });
}

promise(
  "a producer that fails without a reason fails with an AbortError",
  async (kind) => {
    const queue = kind.create<number>();
    const writer = queue.producer().getWriter();
    await writer.abort();
    const { errors } = await reasonOf(queue.get()) as AggregateError;
    assertEquals(errors.map(({ name }) => name), ["AbortError"]);
    const failure = await reasonOf(writer.closed) as Error;
    assertEquals(failure.name, "AbortError");
  },
);
