/**
 * The readable side as a stream of the platform: readers, loops, cancelling.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotStrictEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import type { Queue } from "../../mod.ts";
import { collect, sinkInto } from "../support/streams.ts";
import { reasonOf, rounds, settled } from "../support/waiting.ts";
import { boom, full, type Group, group, inOrder, report } from "./cases.ts";

export const readable: Group = group("readable");
const { promise } = readable;

promise("queue.readable is one and the same native stream", (kind) => {
  const queue = kind.create<number>();
  assertStrictEquals(queue.readable, queue.readable);
  assertInstanceOf(queue.readable, ReadableStream);
  assertNotStrictEquals(queue.consumer(), queue.consumer());
});

promise("a locked stream gives no second reader", (kind) => {
  const { readable } = kind.create<number>();
  const reader = readable.getReader();
  assertInstanceOf(reader, ReadableStreamDefaultReader);
  assert(readable.locked);
  assertThrows(() => readable.getReader(), TypeError);
  assertThrows(() => readable.values(), TypeError);
  reader.releaseLock();
  assert(!readable.locked);
  readable.getReader();
});

promise("there is no byob reader", (kind) => {
  const { readable } = kind.create<number>();
  assertThrows(() => void readable.getReader({ mode: "byob" }), TypeError);
  assert(!readable.locked);
});

promise("reads come in the order of their calls", async (kind) => {
  const queue = kind.create<number>();
  const reader = queue.readable.getReader();
  const reads = [reader.read(), reader.read()];
  await queue.putMany([1, 2]);
  assertEquals((await Promise.all(reads)).map((read) => read.value), [1, 2]);
});

promise("a read after the end is done, reader.closed fulfils", async (kind) => {
  const queue = full(kind, [1]);
  const reader = queue.readable.getReader();
  queue.close();
  assertEquals(await settled(reader.closed), "pending");
  assertEquals((await reader.read()).value, 1);
  assertEquals((await reader.read()).done, true);
  await reader.closed;
});

promise("a reader made after the end is closed", async (kind) => {
  const queue = kind.create<number>();
  queue.close();
  const reader = queue.readable.getReader();
  await reader.closed;
  assertEquals((await reader.read()).done, true);
});

promise(
  "abort() rejects reads and reader.closed with its reason",
  async (kind) => {
    const queue = kind.create<number>();
    const reader = queue.readable.getReader();
    const read = reader.read();
    queue.abort(boom);
    assertStrictEquals(await reasonOf(read), boom);
    assertStrictEquals(await reasonOf(reader.closed), boom);
    assertStrictEquals(await reasonOf(reader.read()), boom);
  },
);

promise("fail() reaches a reader after the last item", async (kind) => {
  const queue = full(kind, [1]);
  const reader = queue.readable.getReader();
  queue.fail(boom);
  assertEquals((await reader.read()).value, 1);
  assertStrictEquals(await reasonOf(reader.read()), boom);
  assertStrictEquals(await reasonOf(reader.closed), boom);
});

promise("readable.cancel(reason) aborts the queue with it", async (kind) => {
  const { items, onUndelivered } = report<number>();
  const queue = full(kind, [1], { onUndelivered });
  const put = queue.put(2);
  await queue.readable.cancel(boom);
  assertStrictEquals(await reasonOf(put), boom);
  assertStrictEquals(await reasonOf(queue.closed), boom);
  assertEquals(items, [1]);
});

promise("reader.cancel() ends the reads of that reader", async (kind) => {
  const queue = kind.create<number>();
  const reader = queue.readable.getReader();
  const read = reader.read();
  await reader.cancel(boom);
  assertEquals((await read).done, true);
  assertEquals((await reader.read()).done, true);
});

promise(
  "breaking out of a loop over queue.readable aborts the queue",
  async (kind) => {
    const queue = full(kind, [1, 2]);
    for await (const _item of queue.readable) break;
    assertEquals(queue.stats().state, "errored");
  },
);

promise(
  "breaking out with preventCancel leaves the queue and unlocks the stream",
  async (kind) => {
    const queue = full(kind, [1, 2]);
    for await (const _item of queue.readable.values({ preventCancel: true })) {
      break;
    }
    assertEquals([queue.stats().state, queue.length], ["open", 1]);
    assert(!queue.readable.locked);
  },
);

promise("a loop over a stream to its end unlocks it", async (kind) => {
  const queue = full(kind, [1, 2]);
  queue.close();
  assertEquals(await collect(queue.readable), inOrder(kind, [1, 2]));
  assert(!queue.readable.locked);
});

promise(
  "an iterator of a stream ends at once with next() pending",
  async (kind) => {
    const queue = kind.create<number>();
    const iterator = queue.consumer()[Symbol.asyncIterator]();
    const next = iterator.next();
    await iterator.return!();
    assertEquals((await next).done, true);
    queue.tryPut(1);
    assertEquals(queue.length, 1);
  },
);

promise("the stream is the body of a Response", async (kind) => {
  const queue = kind.create<Uint8Array<ArrayBuffer>>();
  const encoder = new TextEncoder();
  const text = new Response(queue.readable).text();
  await queue.put(encoder.encode("a"));
  await queue.put(encoder.encode("b"));
  queue.close();
  assertEquals(await text, "ab");
});

promise("native tee() gives every item to both branches", async (kind) => {
  const queue = kind.create<number>();
  const branches = queue.readable.tee();
  const both = Promise.all(branches.map((branch) => {
    const items: number[] = [];
    return branch.pipeTo(sinkInto(items)).then(() => items);
  }));
  await queue.putMany([1, 2, 3]);
  queue.close();
  const [left, right] = await both;
  assertEquals([...left!].sort(), [1, 2, 3]);
  assertEquals(left, right);
});

promise(
  "disposing of a loop over a consumer cancels that one",
  async (kind) => {
    const queue = full(kind, [1, 2]);
    const consumer = queue.consumer();
    const iterator = consumer[Symbol.asyncIterator]() as
      & AsyncIterableIterator<number>
      & AsyncDisposable;
    await iterator.next();
    await iterator[Symbol.asyncDispose]();
    assertEquals((await iterator.next()).done, true);
    assert(!consumer.locked);
    assertEquals(queue.length, 1);
  },
);

const viewMakers: Record<string, (queue: Queue<number>) => ReadableStream> = {
  "the readable": (queue) => queue.readable,
  "a consumer": (queue) => queue.consumer(),
};

for (const [name, view] of Object.entries(viewMakers)) {
  promise(`a native reader of ${name} sees the end unasked`, async (kind) => {
    const closed = kind.create<number>();
    const reader = new ReadableStreamDefaultReader(view(closed));
    closed.close();
    await reader.closed;

    const aborted = kind.create<number>();
    const other = new ReadableStreamDefaultReader(view(aborted));
    aborted.abort(boom);
    assertStrictEquals(await reasonOf(other.closed), boom);
  });

  promise(
    `a native reader of ${name} gets the last item before the end`,
    async (kind) => {
      for (const failed of [false, true]) {
        for (const waits of [false, true]) {
          const queue = kind.create<number>();
          const reader = new ReadableStreamDefaultReader(view(queue));
          const reading = waits ? reader.read() : undefined;
          await rounds();
          await queue.put(1);
          if (failed) queue.fail(boom);
          else queue.close();
          assertEquals(await (reading ?? reader.read()), {
            done: false,
            value: 1,
          });
          if (failed) assertStrictEquals(await reasonOf(reader.closed), boom);
          else await reader.closed;
        }
      }
    },
  );

  promise(`cancel() of ${name} rejects after abort()`, async (kind) => {
    for (const early of [false, true]) {
      const queue = kind.create<number>();
      const seen = early ? view(queue) : undefined;
      queue.abort(boom);
      assertStrictEquals(await reasonOf((seen ?? view(queue)).cancel()), boom);
    }
  });

  promise(
    `cancel() of ${name} fulfils after the end, and does nothing`,
    async (kind) => {
      const queue = kind.create<number>();
      const stream = view(queue);
      queue.close();
      await stream.cancel(boom);
      await queue.closed;
    },
  );

  promise(`a native tee of ${name} learns of abort() at once`, async (kind) => {
    const queue = kind.create<number>();
    const readers = view(queue).tee().map((branch) => branch.getReader());
    await rounds();
    queue.abort(boom);
    for (const reader of readers) {
      assertStrictEquals(await reasonOf(reader.closed), boom);
    }
  });
}

promise(
  "a released view follows its queue, too, and locks again",
  async (kind) => {
    const queue = full(kind, [1]);
    const consumer = queue.consumer();
    const reader = consumer.getReader();
    reader.releaseLock();
    const native = new ReadableStreamDefaultReader(consumer);
    queue.close();
    assertEquals((await native.read()).value, 1);
    await native.closed;
  },
);
