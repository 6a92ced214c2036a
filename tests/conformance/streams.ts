/**
 * No stream keeps an item to itself.
 *
 * @module
 */

import { assertEquals, assertInstanceOf } from "@std/assert";
import { reasonOf, rounds } from "../support/waiting.ts";
import { boom, full, type Group, group } from "./cases.ts";

export const streams: Group = group("P7 streams hide nothing");
const { promise } = streams;

promise("an idle consumer takes nothing ahead", async (kind) => {
  const queue = full(kind, [1, 2]);
  const readers = [queue.consumer().getReader(), queue.readable.getReader()];
  await rounds();
  assertEquals(queue.length, 2);
  for (const reader of readers) reader.releaseLock();
});

promise("cancelling a consumer leaves items and others alone", async (kind) => {
  const queue = full(kind, [1]);
  const left = queue.consumer().getReader();
  const right = queue.consumer().getReader();
  await left.cancel(boom);
  assertEquals((await left.read()).done, true);
  assertEquals(await right.read(), { done: false, value: 1 });
  assertEquals(queue.stats().state, "open");
});

promise(
  "a consumer cancelled while it reads ends that read and takes nothing",
  async (kind) => {
    const queue = kind.create<number>();
    const reader = queue.consumer().getReader();
    const read = reader.read();
    await reader.cancel();
    assertEquals((await read).done, true);
    queue.tryPut(1);
    assertEquals(queue.length, 1);
  },
);

promise(
  "releaseLock() with reads pending rejects them and takes nothing",
  async (kind) => {
    const queue = kind.create<number>();
    const reader = queue.readable.getReader();
    const reads = [reader.read(), reader.read()];
    reader.releaseLock();
    for (const read of reads) assertInstanceOf(await reasonOf(read), TypeError);
    await queue.putMany([1, 2]);
    assertEquals(queue.length, 2);
    assertInstanceOf(await reasonOf(reader.read()), TypeError);
  },
);

promise(
  "an item that comes after releaseLock() survives a cancel of the consumer",
  async (kind) => {
    const queue = kind.create<number>();
    const consumer = queue.consumer();
    const reader = consumer.getReader();
    const read = reader.read();
    reader.releaseLock();
    await reasonOf(read);
    queue.tryPut(1);
    await rounds();
    await consumer.cancel();
    assertEquals(await queue.get(), 1);
  },
);

promise("a native read given up parks nothing in the stream", async (kind) => {
  const queue = kind.create<number>();
  const consumer = queue.consumer();
  const reader = ReadableStream.prototype.getReader.call(
    consumer,
  ) as ReadableStreamDefaultReader<number>;
  const read = reader.read();
  await rounds();
  read.catch(() => {});
  reader.releaseLock();
  queue.tryPut(1);
  await rounds();
  assertEquals(queue.length, 1);
  await consumer.cancel();
  assertEquals(queue.tryGet(), 1);
});

promise(
  "a native reader after one that gave up gets the next item",
  async (kind) => {
    const queue = kind.create<number>();
    const consumer = queue.consumer();
    const nativeReader = (): ReadableStreamDefaultReader<number> =>
      ReadableStream.prototype.getReader.call(
        consumer,
      ) as ReadableStreamDefaultReader<number>;
    const first = nativeReader();
    first.read().catch(() => {});
    await rounds();
    first.releaseLock();
    const second = nativeReader();
    const read = second.read();
    await rounds();
    queue.tryPut(1);
    queue.tryPut(2);
    assertEquals((await read).value, 1);
    assertEquals((await second.read()).value, 2);
  },
);

promise(
  "the last item reaches a native reader before the end does",
  async (kind) => {
    const queue = kind.create<number>();
    const reader = ReadableStream.prototype.getReader.call(
      queue.readable,
    ) as ReadableStreamDefaultReader<number>;
    const reads = [reader.read(), reader.read()];
    await rounds();
    queue.tryPut(1);
    queue.close();
    assertEquals(await reads[0], { done: false, value: 1 });
    assertEquals((await reads[1])!.done, true);
    await reader.closed;
  },
);

promise(
  "a native read given up parks nothing when a reader follows it",
  async (kind) => {
    const queue = kind.create<number>();
    const consumer = queue.consumer();
    const native = ReadableStream.prototype.getReader.call(
      consumer,
    ) as ReadableStreamDefaultReader<number>;
    native.read().catch(() => {});
    await rounds();
    native.releaseLock();
    const reader = consumer.getReader();
    queue.tryPut(1);
    assertEquals(queue.length, 1);
    assertEquals(await reader.read(), { done: false, value: 1 });
  },
);

promise(
  "a native read that its cancelled consumer gave up waits no more",
  async (kind) => {
    const queue = kind.create<number>();
    const reader = ReadableStream.prototype.getReader.call(
      queue.consumer(),
    ) as ReadableStreamDefaultReader<number>;
    const read = reader.read();
    await rounds();
    assertEquals(queue.stats().waitingGets, 1);
    await reader.cancel();
    assertEquals((await read).done, true);
    assertEquals(queue.stats().waitingGets, 0);
  },
);
