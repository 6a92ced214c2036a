/**
 * Node's `addAbortSignal` errors a stream behind the back of its source or sink.
 * What reads and writes through a view sees that, and the queue loses nothing.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { addAbortSignal, type Readable, type Writable } from "node:stream";
import {
  balance,
  Broadcast,
  concurrentMap,
  LifoQueue,
  merge,
  partition,
  PriorityQueue,
  Queue,
  tee,
  WorkStealingQueue,
  zip,
} from "../mod.ts";
import { assertInvariants } from "../src/queue.ts";
import { test } from "./support/harness.ts";

/** Returns what errors the stream. */
function abortable(stream: ReadableStream | WritableStream): () => void {
  const controller = new AbortController();
  // The types of Node speak of its own streams.
  addAbortSignal(controller.signal, stream as unknown as Readable & Writable);
  return () => controller.abort();
}

async function assertAborted(act: () => Promise<unknown>): Promise<void> {
  const { name } = await assertRejects(act, Error);
  assertEquals(name, "AbortError");
}

const queues: Record<string, () => Queue<number>> = {
  Queue: () => new Queue(),
  LifoQueue: () => new LifoQueue(),
  PriorityQueue: () => new PriorityQueue(),
  "lane of a WorkStealingQueue": () =>
    new WorkStealingQueue<number>({ lanes: 1 }).lane(0),
};

for (const [name, make] of Object.entries(queues)) {
  test(`addAbortSignal: ${name}: the reads of a view reject, those that wait and those that come`, async () => {
    for (const view of ["readable", "consumer"] as const) {
      const queue = make();
      const stream = view === "readable" ? queue.readable : queue.consumer();
      const abort = abortable(stream);
      const reader = stream.getReader();
      const waiting = reader.read();
      abort();
      await assertAborted(() => waiting);
      await assertAborted(() => reader.closed);
      await assertAborted(() => reader.read());
      await queue.put(1);
      await assertAborted(() => reader.read());
      reader.releaseLock();
      await assertAborted(() => stream.getReader().read());
      assertEquals(await queue.get(), 1);
      assertInvariants(queue);
    }
  });

  test(`addAbortSignal: ${name}: a native read loses no item, and the queue ends well`, async () => {
    for (const end of ["close", "fail", "abort"] as const) {
      const queue = make();
      const abort = abortable(queue.readable);
      const reader = new ReadableStreamDefaultReader(queue.readable);
      const waiting = reader.read();
      abort();
      await assertAborted(() => waiting);
      await queue.put(1);
      assertEquals(queue.tryGet(), 1);
      queue[end](new Error("the end"));
      await queue.closed.catch(() => {});
      await assertAborted(() => reader.closed);
      assertInvariants(queue);
    }
  });

  test(`addAbortSignal: ${name}: pipes and loops of a view that was aborted reject and take nothing`, async () => {
    const queue = make();
    const abort = abortable(queue.readable);
    abort();
    await queue.put(1);
    const items: number[] = [];
    const sink = (): WritableStream<number> =>
      new WritableStream({ write: (item) => void items.push(item) });
    await assertAborted(() => queue.readable.pipeTo(sink()));
    await assertAborted(async () => {
      for await (const item of queue.readable) items.push(item);
    });
    await assertAborted(() => queue.readable.cancel());
    assertEquals([items, queue.length], [[], 1]);
  });

  test(`addAbortSignal: ${name}: a pipe under way stops`, async () => {
    const queue = make();
    const abort = abortable(queue.readable);
    const items: number[] = [];
    const piping = queue.readable.pipeTo(
      new WritableStream({ write: (item) => void items.push(item) }),
    );
    await queue.put(1);
    abort();
    await assertAborted(() => piping);
    await queue.put(2);
    assertEquals(queue.tryGet(), 2);
  });

  test(`addAbortSignal: ${name}: a writer rejects, and the queue fails after what is in it`, async () => {
    const queue = make();
    const abort = abortable(queue.writable);
    const writer = queue.writable.getWriter();
    await writer.write(1);
    abort();
    await assertAborted(() => writer.closed);
    await assertAborted(() => writer.write(2));
    assertEquals(await queue.get(), 1);
    await assertAborted(() => queue.get());
  });

  test(`addAbortSignal: ${name}: a producer counts as failed`, async () => {
    const queue = make();
    const producer = queue.producer();
    const abort = abortable(producer);
    const writer = producer.getWriter();
    await writer.write(1);
    abort();
    await assertAborted(() => writer.closed);
    assertEquals(await queue.get(), 1);
    const { errors } = await assertRejects(() => queue.get(), AggregateError);
    assertEquals(errors.map((error: Error) => error.name), ["AbortError"]);
  });
}

/** Never gives anything. */
function silent(): ReadableStream<number> {
  return new ReadableStream<number>();
}

const views: Record<string, () => ReadableStream> = {
  merge: () => merge([silent()]),
  zip: () => zip(silent(), silent()),
  tee: () => tee(silent(), 2)[0]!,
  partition: () => partition(silent(), 2, (item) => item)[0]!,
  balance: () => balance(silent(), 2)[0]!,
  Broadcast: () => new Broadcast<number>().subscribe(),
  concurrentMap: () => concurrentMap((item: number) => item).readable,
};

for (const [name, make] of Object.entries(views)) {
  test(`addAbortSignal: a stream of ${name} is errored`, async () => {
    const stream = make();
    const abort = abortable(stream);
    const reader = stream.getReader();
    const waiting = reader.read();
    abort();
    await assertAborted(() => waiting);
    await assertAborted(() => reader.read());
    reader.releaseLock();
    assert(!stream.locked);
  });
}
