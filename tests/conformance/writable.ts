/**
 * The writable side as a stream of the platform: writers, closing, aborting.
 *
 * @module
 */

import {
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { reasonOf, rounds, settled } from "../support/waiting.ts";
import { boom, drain, full, type Group, group, report } from "./cases.ts";

export const writable: Group = group("writable");
const { promise } = writable;

promise("queue.writable is one and the same native stream", (kind) => {
  const queue = kind.create<number>();
  assertStrictEquals(queue.writable, queue.writable);
  assertInstanceOf(queue.writable, WritableStream);
});

promise("a locked stream gives no second writer", (kind) => {
  const { writable } = kind.create<number>();
  const writer = writable.getWriter();
  assertInstanceOf(writer, WritableStreamDefaultWriter);
  assertThrows(() => writable.getWriter(), TypeError);
  writer.releaseLock();
  writable.getWriter();
});

promise("write() is put(): it waits for room", async (kind) => {
  const queue = full(kind, [1]);
  const writer = queue.writable.getWriter();
  const write = writer.write(2);
  assertEquals(await settled(write), "pending");
  queue.tryGet();
  await write;
  assertEquals(drain(queue), [2]);
});

promise("writer.desiredSize and ready are those of the queue", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 2 });
  const writer = queue.writable.getWriter();
  assertEquals(writer.desiredSize, 2);
  await queue.put(1);
  assertEquals(writer.desiredSize, 1);
  await writer.write(2);
  assertEquals(writer.desiredSize, 0);
  const { ready } = writer;
  assertEquals(await settled(ready), "pending");
  queue.tryGet();
  await ready;
});

promise(
  "writer.close() closes the queue, what was written is delivered",
  async (kind) => {
    const queue = kind.create<number>();
    const writer = queue.writable.getWriter();
    await writer.write(1);
    await writer.close();
    await writer.closed;
    assertEquals(await queue.get(), 1);
    await queue.closed;
  },
);

promise(
  "writer.close() fulfils when the writes that wait are let in",
  async (kind) => {
    const queue = full(kind, [1]);
    const writer = queue.writable.getWriter();
    const write = writer.write(2);
    const close = writer.close();
    assertEquals(await settled(close), "pending");
    assertEquals(queue.tryGet(), 1);
    await write;
    await close;
    assertEquals(queue.tryGet(), 2);
    await queue.closed;
  },
);

promise("write() after close() rejects with a TypeError", async (kind) => {
  const queue = kind.create<number>();
  const writer = queue.writable.getWriter();
  const close = writer.close();
  assertInstanceOf(await reasonOf(writer.write(1)), TypeError);
  await close;
  assertInstanceOf(await reasonOf(writer.close()), TypeError);
});

promise("writer.abort(reason) aborts the queue with it", async (kind) => {
  const { items, onUndelivered } = report<number>();
  const queue = full(kind, [1], { onUndelivered });
  const writer = queue.writable.getWriter();
  const waiting = [queue.put(2), writer.write(3)].map(reasonOf);
  await rounds();
  await writer.abort(boom);
  assertEquals(await Promise.all(waiting), [boom, boom]);
  assertStrictEquals(await reasonOf(queue.closed), boom);
  assertStrictEquals(await reasonOf(writer.closed), boom);
  assertEquals(items, [1]);
});

promise("abort() of the queue errors the stream", async (kind) => {
  const queue = kind.create<number>();
  const writer = queue.writable.getWriter();
  queue.abort(boom);
  assertStrictEquals(await reasonOf(writer.closed), boom);
  assertStrictEquals(await reasonOf(writer.ready), boom);
  assertStrictEquals(await reasonOf(writer.write(1)), boom);
  assertEquals(writer.desiredSize, null);
});

promise("close() of the queue closes the stream", async (kind) => {
  const queue = kind.create<number>();
  const writer = queue.writable.getWriter();
  queue.close();
  await writer.closed;
});

promise(
  "a stream first asked for after the end has ended, too",
  async (kind) => {
    const closed = kind.create<number>();
    closed.close();
    await closed.writable.getWriter().closed;
    const aborted = kind.create<number>();
    aborted.abort(boom);
    assertStrictEquals(
      await reasonOf(aborted.writable.getWriter().closed),
      boom,
    );
    assertStrictEquals(
      await reasonOf(aborted.readable.getReader().closed),
      boom,
    );
  },
);

promise("a released writer writes nothing", async (kind) => {
  const queue = kind.create<number>();
  const writer = queue.writable.getWriter();
  writer.releaseLock();
  assertInstanceOf(await reasonOf(writer.write(1)), TypeError);
  assertThrows(() => writer.desiredSize, TypeError);
  assertEquals(queue.length, 0);
});

promise("write() after close() of the stream itself rejects", async (kind) => {
  const queue = kind.create<number>();
  const stream = queue.writable;
  const closing = stream.close();
  const writer = stream.getWriter();
  assertInstanceOf(await reasonOf(writer.write(1)), TypeError);
  await closing;
  assertEquals(queue.stats().put, 0);
});

promise(
  "close() of the queue closes a stream whose writer was released",
  async (kind) => {
    const queue = kind.create<number>();
    queue.writable.getWriter().releaseLock();
    queue.close();
    const { closed } = queue.writable.getWriter();
    await rounds();
    assertEquals(await settled(closed), "fulfilled");
  },
);

promise("writer.close() waits for all its writes, in turn", async (kind) => {
  const queue = full(kind, [0]);
  const writer = queue.writable.getWriter();
  const writes = [writer.write(1), writer.write(2)];
  const closing = writer.close();
  await rounds();
  await queue.get();
  await rounds();
  assertEquals(await settled(writes[0]!), "fulfilled");
  assertEquals(await settled(closing), "pending");
  await queue.get();
  await closing;
});

promise(
  "a native writer that aborts takes back the write that waits",
  async (kind) => {
    const queue = full(kind, [0]);
    const writer = WritableStream.prototype.getWriter.call(
      queue.producer({ onError: "ignore" }),
    ) as WritableStreamDefaultWriter<number>;
    const closed = reasonOf(writer.closed);
    const write = reasonOf(writer.write(1));
    await rounds();
    assertEquals(queue.stats().waitingPuts, 1);
    const aborting = writer.abort(boom);
    await rounds();
    assertEquals(queue.stats().waitingPuts, 0);
    await Promise.all([closed, write, aborting]);
    assertEquals(drain(queue), [0]);
  },
);

promise(
  "a stream into a rendezvous has room for one until it is taken",
  async (kind) => {
    const queue = kind.create<number>({ highWaterMark: 0 });
    const writer = queue.writable.getWriter();
    assertEquals(writer.desiredSize, 1);
    const write = writer.write(1);
    assertEquals(writer.desiredSize, 0);
    assertEquals(await queue.get(), 1);
    await write;
    assertEquals(writer.desiredSize, 1);
  },
  { needs: ["rendezvous"] },
);
