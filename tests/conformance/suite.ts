/**
 * What every kind of queue promises, case by case, grouped by promise. The same
 * cases run for each kind and inside each runtime, so nothing here knows a
 * runtime, a runner or a kind.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
  fail,
} from "@std/assert";
import { QueueClosedError, QueueFullError } from "../../mod.ts";
import { printedBy } from "../support/printed.ts";
import type { Queue, QueueOptions, UndeliveredReason } from "../../mod.ts";

/** A kind of queue under test. */
export interface Kind {
  /** The name of its class. */
  name: string;
  /** Which of several stored items comes first. */
  order: "fifo" | "lifo";
  /** Cases whose promise this kind gives in another form, which its own tests check. */
  differs?: readonly string[];
  /** Makes a queue of that kind. */
  create<T>(options?: QueueOptions<T>): Queue<T>;
}

/** One promise, and how to see it kept. */
export interface Case {
  /** The promise it belongs to. */
  group: string;
  /** The promise in words. */
  name: string;
  /** Fails when it is broken. */
  run(kind: Kind): Promise<void> | void;
}

/** All cases. */
export const cases: Case[] = [];

/** Those that a kind has to pass. */
export function casesFor(kind: Kind): Case[] {
  return cases.filter(({ name }) => !kind.differs?.includes(name));
}

let group = "";

function promise(name: string, run: Case["run"]): void {
  cases.push({ group, name, run });
}

// -- Helpers --------------------------------------------------------------------

/** Items put in this order come out in that one. */
function inOrder<T>(kind: Kind, items: T[]): T[] {
  return kind.order === "fifo" ? [...items] : [...items].reverse();
}

/** Lets everything happen that waits for nothing but its turn. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 30; turn++) await undefined;
}

/** Also lets native streams get to their point. */
async function rounds(): Promise<void> {
  for (let round = 0; round < 4; round++) {
    await turns();
    await new Promise<void>((resolve) => setTimeout(resolve, 0));
  }
}

async function settled(
  waiting: Promise<unknown>,
): Promise<"pending" | "fulfilled" | "rejected"> {
  let state: "pending" | "fulfilled" | "rejected" = "pending";
  waiting.then(() => state = "fulfilled", () => state = "rejected");
  await turns();
  return state;
}

async function reasonOf(rejecting: Promise<unknown>): Promise<unknown> {
  let value: unknown;
  try {
    value = await rejecting;
  } catch (reason) {
    return reason;
  }
  fail(`fulfilled with ${String(value)} instead of rejecting`);
}

function drain<T>(queue: Queue<T>): T[] {
  const items: T[] = [];
  while (queue.length > 0) items.push(queue.tryGet() as T);
  return items;
}

async function collectFrom<T>(stream: ReadableStream<T>): Promise<T[]> {
  const items: T[] = [];
  await stream.pipeTo(sinkInto(items));
  return items;
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

function full<T>(
  kind: Kind,
  items: T[],
  options: QueueOptions<T> = {},
): Queue<T> {
  const queue = kind.create<T>({ highWaterMark: items.length, ...options });
  for (const item of items) assert(queue.tryPut(item));
  return queue;
}

function sourceOf<T>(items: T[]): ReadableStream<T> {
  let at = 0;
  return new ReadableStream<T>({
    pull(controller) {
      if (at < items.length) controller.enqueue(items[at++]!);
      else controller.close();
    },
  }, { highWaterMark: 0 });
}

function sinkInto<T>(items: T[]): WritableStream<T> {
  return new WritableStream<T>({ write: (item) => void items.push(item) });
}

/** A sink with room for plenty that writes nothing before it is told to. */
function slowSink<T>(): {
  written: T[];
  sink: WritableStream<T>;
  finish: () => void;
} {
  const written: T[] = [];
  let finish!: () => void;
  const told = new Promise<void>((resolve) => finish = resolve);
  const sink = new WritableStream<T>({
    async write(item) {
      await told;
      written.push(item);
    },
  }, { highWaterMark: 10 });
  return { written, sink, finish };
}

interface Report<T> {
  readonly items: T[];
  readonly reasons: UndeliveredReason[];
  readonly onUndelivered: (item: T, reason: UndeliveredReason) => void;
}

function report<T>(): Report<T> {
  const items: T[] = [];
  const reasons: UndeliveredReason[] = [];
  return {
    items,
    reasons,
    onUndelivered(item, reason) {
      items.push(item);
      reasons.push(reason);
    },
  };
}

const boom = new Error("boom");

// -- P1 -------------------------------------------------------------------------

group = "P1 conservation";

promise("what is put in one after the other comes out", async (kind) => {
  const queue = kind.create<number>();
  for (const item of [1, 2, 3]) await queue.put(item);
  const items = [await queue.get(), await queue.get(), await queue.get()];
  assertEquals(items, inOrder(kind, [1, 2, 3]));
});

promise("each item goes to exactly one of many gets", async (kind) => {
  const queue = kind.create<number>();
  const gets = Array.from({ length: 50 }, () => queue.get());
  await queue.putMany(Array.from({ length: 50 }, (_, item) => item));
  const items = await Promise.all(gets);
  assertEquals(items, Array.from({ length: 50 }, (_, item) => item));
});

promise(
  "many producers and consumers lose and double nothing",
  async (kind) => {
    const queue = kind.create<number>({ highWaterMark: 3 });
    const producers = [0, 1, 2, 3].map(async (producer) => {
      for (let item = 0; item < 50; item++) {
        await queue.put(producer * 50 + item);
      }
    });
    const seen: number[] = [];
    const consumers = [0, 1, 2].map(async () => {
      for await (const item of queue) seen.push(item);
    });
    await Promise.all(producers);
    queue.close();
    await Promise.all(consumers);
    assertEquals(
      seen.sort((a, b) => a - b),
      Array.from({ length: 200 }, (_, item) => item),
    );
  },
);

promise(
  "abort() reports every stored item once, in the order of its turn",
  (kind) => {
    const { items, reasons, onUndelivered } = report<number>();
    const queue = full(kind, [1, 2, 3], { onUndelivered });
    queue.abort(boom);
    queue.abort(boom);
    assertEquals(items, inOrder(kind, [1, 2, 3]));
    assertEquals(reasons, ["abort", "abort", "abort"]);
  },
);

promise(
  "a put that waits at abort() is not reported: its owner has it",
  async (kind) => {
    const { items, onUndelivered } = report<number>();
    const queue = full(kind, [1], { onUndelivered });
    const waiting = queue.put(2);
    queue.abort(boom);
    assertStrictEquals(await reasonOf(waiting), boom);
    assertEquals(items, [1]);
  },
);

promise("an item that was taken is not reported", async (kind) => {
  const { items, onUndelivered } = report<number>();
  const queue = full(kind, [1], { onUndelivered });
  await queue.get();
  queue.abort();
  assertEquals(items, []);
});

promise("clear() hands the items to its caller and reports none", (kind) => {
  const { items, onUndelivered } = report<number>();
  const queue = full(kind, [1, 2, 3], { onUndelivered });
  assertEquals(queue.clear(), inOrder(kind, [1, 2, 3]));
  assertEquals([queue.length, items.length], [0, 0]);
});

promise(
  "a signal that cancels a put leaves the items of the others",
  async (kind) => {
    const queue = full(kind, [1]);
    const controller = new AbortController();
    const cancelled = queue.put(2, { signal: controller.signal });
    const kept = queue.put(3);
    controller.abort(boom);
    await reasonOf(cancelled);
    assertEquals(queue.tryGet(), 1);
    await kept;
    assertEquals(drain(queue), [3]);
  },
);

promise("resizing down to nothing loses nothing", (kind) => {
  const queue = full(kind, [1, 2, 3]);
  queue.highWaterMark = 0;
  assertEquals(queue.length, 3);
  assertEquals(drain(queue), inOrder(kind, [1, 2, 3]));
});

promise("disposal reports what is left", async (kind) => {
  const { items, onUndelivered } = report<number>();
  const queue = full(kind, [1, 2], { onUndelivered });
  await queue[Symbol.asyncDispose]();
  assertEquals(items, inOrder(kind, [1, 2]));
});

// -- P2 -------------------------------------------------------------------------

group = "P2 cancellation";

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
);

// -- P3 -------------------------------------------------------------------------

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
);

group = "P3 order";

promise("stored items come out in the order of the kind", (kind) => {
  const queue = full(kind, [1, 2, 3, 4]);
  assertEquals(drain(queue), inOrder(kind, [1, 2, 3, 4]));
});

promise("gets that wait are served oldest first", async (kind) => {
  const queue = kind.create<string>();
  const order: string[] = [];
  const gets = ["first", "second", "third"].map((name) =>
    queue.get().then((item) => order.push(`${name} ${item}`))
  );
  for (const item of ["a", "b", "c"]) queue.tryPut(item);
  await Promise.all(gets);
  assertEquals(order, ["first a", "second b", "third c"]);
});

promise("puts that wait are let in oldest first", async (kind) => {
  const queue = full(kind, [0]);
  const order: number[] = [];
  const puts = [1, 2, 3].map((item) =>
    queue.put(item).then(() => order.push(item))
  );
  assertEquals([0, 1, 2, 3].map(() => queue.tryGet()), [0, 1, 2, 3]);
  await Promise.all(puts);
  assertEquals(order, [1, 2, 3]);
});

promise("tryPut() does not overtake a put that waits", (kind) => {
  const queue = full(kind, [1, 2]);
  void queue.put(3);
  queue.highWaterMark = 2;
  assertEquals(queue.tryPut(4), false);
  queue.tryGet();
  assertEquals(queue.tryPut(4), false);
  assertEquals(queue.length, 2);
});

promise(
  "tryGet() after a get that waits finds nothing of its",
  async (kind) => {
    const queue = kind.create<number>();
    const get = queue.get();
    queue.tryPut(1);
    assertEquals(queue.tryGet(), undefined);
    assertEquals(await get, 1);
  },
);

promise(
  "a heavy item that waits is not overtaken by light ones",
  async (kind) => {
    const queue = kind.create<number>({
      highWaterMark: 4,
      size: (item) => item,
    });
    await queue.put(4);
    const heavy = queue.put(10);
    const light = queue.put(1);
    assertEquals(queue.tryGet(), 4);
    await heavy;
    assertEquals(await settled(light), "pending");
    assertEquals([queue.tryGet(), queue.tryGet()], [10, 1]);
  },
);

promise("gets, reads and iterators share one line", async (kind) => {
  const queue = kind.create<number>();
  const reader = queue.consumer().getReader();
  const waiting = [
    queue.get(),
    reader.read().then((read) => read.value),
    queue.next().then((next) => next.value),
    queue.getMany(1).then((items) => items[0]),
  ];
  await queue.putMany([1, 2, 3, 4]);
  assertEquals(await Promise.all(waiting), [1, 2, 3, 4]);
});

promise("puts, writes and batches share one line", async (kind) => {
  const queue = full(kind, [0]);
  const writer = queue.writable.getWriter();
  const waiting = [queue.put(1), writer.write(2), queue.putMany([3])];
  await turns();
  assertEquals([0, 1, 2, 3].map(() => queue.tryGet()), [0, 1, 2, 3]);
  await Promise.all(waiting);
});

// -- P4 -------------------------------------------------------------------------

group = "P4 every promise settles";

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
);

promise("disposal settles everything that waits", async (kind) => {
  const queue = kind.create<number>();
  const waiting = [queue.get(), queue.next(), queue.getMany(1), queue.closed];
  await queue[Symbol.asyncDispose]();
  for (const each of waiting) {
    assertEquals(((await reasonOf(each)) as Error).name, "AbortError");
  }
});

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

// -- P7 and the views -----------------------------------------------------------

group = "P7 streams hide nothing";

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

group = "readable";

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

group = "writable";

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
);

group = "pipes";

promise(
  "a pipe through the queue delivers all in order and closes both ends",
  async (kind) => {
    const queue = kind.create<number>({ highWaterMark: 1 });
    const items: number[] = [];
    await sourceOf([1, 2, 3, 4]).pipeThrough(queue).pipeTo(sinkInto(items));
    assertEquals(items, [1, 2, 3, 4]);
    await queue.closed;
  },
);

promise("a pipe into a rendezvous moves", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 0 });
  const items: number[] = [];
  await sourceOf([1, 2, 3]).pipeThrough(queue).pipeTo(sinkInto(items));
  assertEquals(items, [1, 2, 3]);
});

promise(
  "a pipe from queue to queue moves, also into a rendezvous",
  async (kind) => {
    const first = full(kind, [1, 2, 3]);
    first.close();
    const second = kind.create<number>({ highWaterMark: 0 });
    const piping = first.readable.pipeTo(second.writable);
    assertEquals(await collect(second), inOrder(kind, [1, 2, 3]));
    await piping;
  },
);

promise(
  "a pipe takes from its source only what the queue has room for",
  async (kind) => {
    let pulled = 0;
    const source = new ReadableStream<number>({
      pull(controller) {
        controller.enqueue(pulled++);
      },
    }, { highWaterMark: 0 });
    const queue = kind.create<number>({ highWaterMark: 3 });
    const piping = source.pipeTo(queue.writable);
    await rounds();
    assert(pulled >= 3 && pulled <= 5, `pulled ${pulled}`);
    queue.abort(boom);
    assertStrictEquals(await reasonOf(piping), boom);
  },
);

promise(
  "a pipe out of the queue takes only what its sink has room for",
  async (kind) => {
    const queue = full(kind, [1, 2, 3, 4, 5]);
    let finish!: () => void;
    const first = new Promise<void>((resolve) => finish = resolve);
    const sink = new WritableStream<number>({ write: () => first }, {
      highWaterMark: 2,
    });
    const piping = queue.readable.pipeTo(sink);
    await rounds();
    assertEquals(queue.length, 3);
    finish();
    queue.close();
    await piping;
  },
);

promise("an error of the source aborts the queue", async (kind) => {
  const queue = kind.create<number>();
  const source = new ReadableStream<number>({
    start: (controller) => controller.error(boom),
  });
  assertStrictEquals(await reasonOf(source.pipeTo(queue.writable)), boom);
  assertStrictEquals(await reasonOf(queue.get()), boom);
});

promise("preventAbort and preventClose keep the queue open", async (kind) => {
  const queue = kind.create<number>();
  const broken = new ReadableStream<number>({
    start: (controller) => controller.error(boom),
  });
  await reasonOf(broken.pipeTo(queue.writable, { preventAbort: true }));
  await sourceOf([1]).pipeTo(queue.writable, { preventClose: true });
  await queue.put(2);
  assertEquals(drain(queue), inOrder(kind, [1, 2]));
});

promise("abort() of the queue cancels the source of a pipe", async (kind) => {
  const queue = kind.create<number>();
  let cancelled: unknown;
  const source = new ReadableStream<number>({
    cancel(reason) {
      cancelled = reason;
    },
  });
  const piping = source.pipeTo(queue.writable);
  await rounds();
  queue.abort(boom);
  assertStrictEquals(await reasonOf(piping), boom);
  assertStrictEquals(cancelled, boom);
});

promise(
  "close() of the queue stops a pipe into it before its next item",
  async (kind) => {
    const queue = kind.create<number>();
    const piping = new ReadableStream<number>().pipeTo(queue.writable);
    await rounds();
    queue.close();
    assertInstanceOf(await reasonOf(piping), QueueClosedError);
  },
);

promise("an error of the sink aborts the queue", async (kind) => {
  const queue = full(kind, [1, 2]);
  const sink = new WritableStream<number>({
    write() {
      throw boom;
    },
  });
  assertStrictEquals(await reasonOf(queue.readable.pipeTo(sink)), boom);
  assertStrictEquals(await reasonOf(queue.closed), boom);
});

promise("preventCancel keeps the queue when the sink breaks", async (kind) => {
  const queue = full(kind, [1, 2, 3]);
  const sink = new WritableStream<number>({
    write() {
      throw boom;
    },
  });
  const piping = queue.readable.pipeTo(sink, { preventCancel: true });
  assertStrictEquals(await reasonOf(piping), boom);
  assertEquals([queue.stats().state, queue.length], ["open", 2]);
  assert(!queue.readable.locked);
});

promise(
  "a pipe whose sink has broken takes nothing that comes later",
  async (kind) => {
    const queue = kind.create<number>();
    let broken!: WritableStreamDefaultController;
    const sink = new WritableStream<number>({
      start(controller) {
        broken = controller;
      },
    });
    const piping = queue.readable.pipeTo(sink, { preventCancel: true });
    await rounds();
    broken.error(boom);
    queue.tryPut(1);
    assertStrictEquals(await reasonOf(piping), boom);
    assertEquals(queue.length, 1);
  },
);

promise(
  "the signal of a pipe stops it and loses nothing that is stored",
  async (kind) => {
    const queue = kind.create<number>();
    const controller = new AbortController();
    const items: number[] = [];
    const piping = queue.readable.pipeTo(sinkInto(items), {
      signal: controller.signal,
      preventCancel: true,
      preventAbort: true,
    });
    queue.tryPut(1);
    await rounds();
    controller.abort(boom);
    assertStrictEquals(await reasonOf(piping), boom);
    queue.tryPut(2);
    assertEquals([items, drain(queue)], [[1], [2]]);
  },
);

promise(
  "the signal of a pipe aborts both ends unless told otherwise",
  async (kind) => {
    const queue = kind.create<number>();
    const controller = new AbortController();
    let aborted: unknown;
    const sink = new WritableStream<number>({
      abort(reason) {
        aborted = reason;
      },
    });
    const piping = queue.readable.pipeTo(sink, { signal: controller.signal });
    controller.abort(boom);
    assertStrictEquals(await reasonOf(piping), boom);
    assertStrictEquals(aborted, boom);
    assertStrictEquals(await reasonOf(queue.closed), boom);
  },
);

promise(
  "fail() reaches the sink of a pipe after the last item",
  async (kind) => {
    const queue = full(kind, [1, 2]);
    const items: number[] = [];
    let aborted: unknown;
    const sink = new WritableStream<number>({
      write: (item) => void items.push(item),
      abort(reason) {
        aborted = reason;
      },
    });
    queue.fail(boom);
    assertStrictEquals(await reasonOf(queue.readable.pipeTo(sink)), boom);
    assertEquals(items, inOrder(kind, [1, 2]));
    assertStrictEquals(aborted, boom);
  },
);

promise("preventClose leaves the sink of a pipe open", async (kind) => {
  const queue = full(kind, [1]);
  queue.close();
  const sink = sinkInto<number>([]);
  await queue.readable.pipeTo(sink, { preventClose: true });
  const writer = sink.getWriter();
  await writer.ready;
  assertEquals(writer.desiredSize, 1);
});

promise("a pipe refuses what is locked or no stream", async (kind) => {
  const queue = kind.create<number>();
  const locked = sinkInto<number>([]);
  locked.getWriter();
  assertInstanceOf(await reasonOf(queue.readable.pipeTo(locked)), TypeError);
  assertInstanceOf(
    await reasonOf(queue.readable.pipeTo({} as WritableStream)),
    TypeError,
  );
  queue.readable.getReader();
  assertInstanceOf(
    await reasonOf(queue.readable.pipeTo(sinkInto([]))),
    TypeError,
  );
});

promise("a pipe waits for room under the policy that rejects", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 1, overflow: "reject" });
  const items: number[] = [];
  await sourceOf([1, 2, 3]).pipeThrough(queue).pipeTo(sinkInto(items));
  assertEquals(items, [1, 2, 3]);
});

promise(
  "a chunk that cannot be put ends the pipe and fails the queue",
  async (kind) => {
    const queue = kind.create<number>({
      size(item) {
        if (item === 2) throw boom;
        return 1;
      },
    });
    assertStrictEquals(
      await reasonOf(sourceOf([1, 2, 3]).pipeTo(queue.writable)),
      boom,
    );
    assertEquals(await queue.get(), 1);
    assertStrictEquals(await reasonOf(queue.get()), boom);
  },
);

promise(
  "a pipe fulfils when its sink has written the last item",
  async (kind) => {
    const queue = full(kind, [1, 2]);
    queue.close();
    const { written, sink, finish } = slowSink<number>();
    const piping = queue.readable.pipeTo(sink, { preventClose: true });
    await rounds();
    assertEquals(await settled(piping), "pending");
    finish();
    await piping;
    assertEquals(written, inOrder(kind, [1, 2]));
  },
);

promise(
  "fail() lets a slow sink write every item before it is aborted",
  async (kind) => {
    const queue = full(kind, [1, 2, 3]);
    queue.fail(boom);
    const { written, sink, finish } = slowSink<number>();
    const piping = reasonOf(queue.readable.pipeTo(sink));
    await rounds();
    finish();
    assertStrictEquals(await piping, boom);
    assertEquals(written, inOrder(kind, [1, 2, 3]));
  },
);

promise(
  "a pipe that waits for its last write takes nothing more",
  async (kind) => {
    const queue = full(kind, [1]);
    const { written, sink, finish } = slowSink<number>();
    const controller = new AbortController();
    const piping = reasonOf(queue.readable.pipeTo(sink, {
      signal: controller.signal,
      preventAbort: true,
      preventCancel: true,
    }));
    await rounds();
    controller.abort(boom);
    queue.tryPut(2);
    finish();
    assertStrictEquals(await piping, boom);
    assertEquals([written, drain(queue)], [[1], [2]]);
  },
);

promise("a sink that breaks on the last item fails the pipe", async (kind) => {
  const queue = full(kind, [1]);
  queue.close();
  const sink = new WritableStream<number>({
    async write() {
      await rounds();
      throw boom;
    },
  });
  assertStrictEquals(await reasonOf(queue.readable.pipeTo(sink)), boom);
});

promise(
  "a sink that breaks with several writes under way leaves none unhandled",
  async (kind) => {
    const queue = full(kind, [1, 2, 3]);
    const sink = new WritableStream<number>({
      async write() {
        await rounds();
        throw boom;
      },
    }, { highWaterMark: 3 });
    assertStrictEquals(await reasonOf(queue.readable.pipeTo(sink)), boom);
    await rounds();
  },
);

promise("a pipe into a closed sink cancels its queue", async (kind) => {
  const queue = kind.create<number>();
  const sink = sinkInto<number>([]);
  await sink.close();
  const piping = reasonOf(queue.readable.pipeTo(sink));
  await rounds();
  assertEquals(queue.stats().state, "errored");
  assertInstanceOf(await piping, TypeError);
});

promise("preventAbort leaves the sink of a pipe open", async (kind) => {
  const controller = new AbortController();
  const { signal } = controller;
  const stopped = sinkInto<number>([]);
  const stopping = kind.create<number>().readable.pipeTo(stopped, {
    signal,
    preventAbort: true,
  });
  controller.abort(boom);
  assertStrictEquals(await reasonOf(stopping), boom);
  const failed = kind.create<number>();
  failed.fail(boom);
  const sink = sinkInto<number>([]);
  const piping = failed.readable.pipeTo(sink, { preventAbort: true });
  assertStrictEquals(await reasonOf(piping), boom);
  for (const open of [stopped, sink]) {
    const writer = open.getWriter();
    await writer.write(1);
    assertEquals(writer.desiredSize, 1);
  }
});

promise("a pipe and gets take turns, and none is passed over", async (kind) => {
  const queue = kind.create<number>();
  const piped: number[] = [];
  const piping = queue.readable.pipeTo(
    new WritableStream({ write: (item) => void piped.push(item) }, {
      highWaterMark: 10,
    }),
  );
  await rounds();
  const got: number[] = [];
  const gets = [queue.get(), queue.get()].map(async (get) => {
    got.push(await get);
  });
  for (let item = 1; item <= 6; item++) queue.tryPut(item);
  queue.close();
  await Promise.all([piping, ...gets]);
  assertEquals([piped, got], [[1, 4, 5, 6], [2, 3]]);
});

group = "consumers";

promise("two consumers share the items, each goes to one", async (kind) => {
  const queue = kind.create<number>();
  const both = [queue.consumer(), queue.consumer()].map((stream) =>
    collect(stream)
  );
  await queue.putMany([1, 2, 3, 4, 5, 6]);
  queue.close();
  const [left, right] = await Promise.all(both);
  assertEquals([...left!, ...right!].sort(), [1, 2, 3, 4, 5, 6]);
  assert(left!.length > 0 && right!.length > 0);
});

promise(
  "breaking out of a loop over a consumer cancels only that one",
  async (kind) => {
    const queue = full(kind, [1, 2, 3]);
    for await (const _item of queue.consumer()) break;
    assertEquals([queue.length, queue.stats().state], [2, "open"]);
  },
);

promise("all consumers end when the queue closes", async (kind) => {
  const queue = kind.create<number>();
  const readers = [0, 1].map(() => queue.consumer().getReader());
  const reads = readers.map((reader) => reader.read());
  queue.close();
  assertEquals((await Promise.all(reads)).map((read) => read.done), [
    true,
    true,
  ]);
  await Promise.all(readers.map((reader) => reader.closed));
});

group = "producers";

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
});

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

// -- P5, P6 ---------------------------------------------------------------------

group = "P5 one hand-off";

promise(
  "whatever puts an item in, it goes to the get that has waited longest",
  async (kind) => {
    const queue = kind.create<string>();
    const writer = queue.producer().getWriter();
    const gets = [queue.get(), queue.get(), queue.get(), queue.get()];
    await queue.put("put");
    assert(queue.tryPut("tryPut"));
    await queue.putMany(["putMany"]);
    await writer.write("write");
    assertEquals(await Promise.all(gets), [
      "put",
      "tryPut",
      "putMany",
      "write",
    ]);
  },
);

promise("an item handed to a waiting get is never stored", async (kind) => {
  const queue = kind.create<number>();
  const get = queue.get();
  queue.tryPut(1);
  assertEquals([queue.length, queue.stats().peakLength], [0, 0]);
  assertEquals(await get, 1);
});

promise("a batch that lingers stands in line like a get", async (kind) => {
  const queue = kind.create<number>();
  const batch = queue.getMany(2, { linger: 60_000 });
  const get = queue.get();
  await queue.putMany([1, 2, 3]);
  assertEquals(await batch, [1, 2]);
  assertEquals(await get, 3);
});

promise("raising the bound lets waiting puts in oldest first", async (kind) => {
  const queue = full(kind, [0]);
  const puts = [1, 2, 3].map((item) => queue.put(item));
  queue.highWaterMark = 3;
  await Promise.all(puts.slice(0, 2));
  assertEquals(await settled(puts[2]!), "pending");
  assertEquals(
    [queue.tryGet(), queue.tryGet(), queue.tryGet(), queue.tryGet()],
    kind.order === "fifo" ? [0, 1, 2, 3] : [2, 3, 1, 0],
  );
});

group = "P6 waiting";

/** Looks like an AbortSignal, and counts who listens. */
class CountingSignal extends EventTarget {
  aborted = false;
  reason: unknown = undefined;
  listeners = 0;
  added = 0;

  override addEventListener(
    ...listening: Parameters<EventTarget["addEventListener"]>
  ): void {
    this.listeners++;
    this.added++;
    super.addEventListener(...listening);
  }

  override removeEventListener(
    ...listening: Parameters<EventTarget["removeEventListener"]>
  ): void {
    this.listeners--;
    super.removeEventListener(...listening);
  }

  abort(reason: unknown): void {
    this.aborted = true;
    this.reason = reason;
    this.dispatchEvent(new Event("abort"));
  }

  get asOption(): { signal: AbortSignal } {
    return { signal: this as unknown as AbortSignal };
  }
}

promise("one listener serves all that wait on one signal", async (kind) => {
  const signal = new CountingSignal();
  const queue = kind.create<number>();
  const waiting = Array.from(
    { length: 100 },
    () => reasonOf(queue.get(signal.asOption)),
  );
  assertEquals(signal.added, 1);
  signal.abort(boom);
  assertEquals(new Set(await Promise.all(waiting)), new Set([boom]));
});

promise("the listener goes with the last that waits", async (kind) => {
  const signal = new CountingSignal();
  const queue = kind.create<number>({ highWaterMark: 1 });
  const gets = [queue.get(signal.asOption), queue.get(signal.asOption)];
  queue.tryPut(1);
  assertEquals(signal.listeners, 1);
  queue.tryPut(2);
  assertEquals(signal.listeners, 0);
  await Promise.all(gets);
  queue.tryPut(3);
  const put = queue.put(4, signal.asOption);
  assertEquals(signal.listeners, 1);
  queue.tryGet();
  assertEquals(signal.listeners, 0);
  await put;
});

for (const end of ["close", "fail", "abort"] as const) {
  promise(`${end}() takes the listeners off the signals`, async (kind) => {
    const signal = new CountingSignal();
    const queue = kind.create<number>();
    const waiting = [
      queue.get(signal.asOption),
      queue.getMany(2, signal.asOption),
    ].map((each) => each.catch(() => {}));
    assertEquals(signal.listeners, 1);
    queue[end](boom);
    assertEquals(signal.listeners, 0);
    await Promise.all(waiting);
  });
}

promise("what needs no waiting listens to no signal", async (kind) => {
  const signal = new CountingSignal();
  const queue = kind.create<number>();
  await queue.put(1, signal.asOption);
  await queue.putMany([2, 3], signal.asOption);
  await queue.get(signal.asOption);
  await queue.getMany(2, signal.asOption);
  assertEquals(signal.added, 0);
});

for (
  const [direction, turn] of [
    ["oldest", (_: unknown, at: number): number => at],
    ["youngest", (_: unknown, at: number): number => 299 - at],
    ["a mixed order of", (_: unknown, at: number): number => at * 7 % 300],
  ] as const
) {
  promise(
    `300 gets and puts cancelled ${direction} first leave nobody in line`,
    async (kind) => {
      const empty = kind.create<number>();
      const none = kind.create<number>({ highWaterMark: 0 });
      const controllers = Array.from(
        { length: 300 },
        () => new AbortController(),
      );
      const waiting = controllers.flatMap((controller, item) => [
        reasonOf(empty.get(controller)),
        reasonOf(none.put(item, controller)),
      ]);
      const last = [empty.get(), none.put(300)];
      for (const at of controllers.map(turn)) controllers[at]!.abort(at);
      const reasons = await Promise.all(waiting);
      assertEquals(reasons.filter((_, at) => at % 2 === 0), [
        ...controllers.keys(),
      ]);
      assertEquals([
        empty.stats().waitingGets,
        none.stats().waitingPuts,
        none.desiredSize,
      ], [1, 1, -1]);
      assertEquals(none.tryGet(), 300);
      empty.tryPut(301);
      assertEquals(await Promise.all(last), [301, undefined]);
    },
  );
}

// -- P8 -------------------------------------------------------------------------

group = "P8 any value";

const oddValues: [string, unknown][] = [
  ["undefined", undefined],
  ["null", null],
  ["0", 0],
  ["NaN", NaN],
  ["an empty string", ""],
  ["false", false],
  ["a function", (): void => {}],
  ["an Error", boom],
  ["an array", [1]],
];

for (const [name, value] of oddValues) {
  promise(`${name} is an item on every way in and out`, async (kind) => {
    const queue = kind.create<unknown>({ highWaterMark: 1 });
    const reader = queue.consumer().getReader();
    const writer = queue.producer().getWriter();
    await queue.put(value);
    assertStrictEquals(await queue.get(), value);
    assert(queue.tryPut(value));
    assertEquals(queue.length, 1);
    assertStrictEquals(queue.tryGet(), value);
    assertEquals(queue.length, 0);
    await writer.write(value);
    const read = await reader.read();
    assertEquals(read.done, false);
    assertStrictEquals(read.value, value);
    const next = queue.next();
    await queue.putMany([value]);
    assertEquals((await next).done, false);
    assertStrictEquals((await next).value, value);
    const get = queue.get();
    queue.tryPut(value);
    assertStrictEquals(await get, value);
    queue.tryPut(value);
    const [item] = await queue.getMany(1);
    assertStrictEquals(item, value);
    queue.tryPut(value);
    assertEquals(queue.clear(), [value]);
  });
}

promise("an undefined that waits to be put is an item", async (kind) => {
  const queue = kind.create<undefined>({ highWaterMark: 0 });
  const puts = [queue.put(undefined), queue.put(undefined)];
  assertEquals(await queue.next(), { done: false, value: undefined });
  assertEquals(await queue.getMany(2), [undefined]);
  await Promise.all(puts);
});

promise("an undefined that is refused travels with the error", async (kind) => {
  const queue = kind.create<undefined>({
    highWaterMark: 0,
    overflow: "reject",
  });
  assert("item" in (await reasonOf(queue.put(undefined)) as QueueFullError));
  queue.close();
  assert("item" in (await reasonOf(queue.put(undefined)) as QueueClosedError));
  assert(!("item" in (await reasonOf(queue.get()) as QueueClosedError)));
});

promise("an undefined that is undelivered is reported", (kind) => {
  const { items, onUndelivered } = report<undefined>();
  const queue = full(kind, [undefined, undefined], { onUndelivered });
  queue.abort();
  assertEquals(items, [undefined, undefined]);
});

promise(
  "a promise is an item: it comes out as the same promise",
  async (kind) => {
    const { items, onUndelivered } = report<Promise<number>>();
    const queue = kind.create<Promise<number>>({ onUndelivered });
    const item = Promise.resolve(5);
    await queue.put(item);
    assertStrictEquals(queue.tryGet(), item);
    await queue.put(item);
    assertStrictEquals((await queue.getMany(1))[0], item);
    await queue.put(item);
    assertStrictEquals((await queue.next()).value, item);
    await queue.put(item);
    assertStrictEquals(queue.clear()[0], item);
    await queue.put(item);
    queue.abort();
    assertStrictEquals(items[0], item);
  },
);

promise(
  "a promise that never settles does not hold up its put",
  async (kind) => {
    const queue = kind.create<Promise<void>>();
    await queue.put(new Promise(() => {}));
    await queue.putMany([new Promise(() => {})]);
    assertEquals(queue.length, 2);
    queue.clear();
  },
);

promise("a thenable is stored, not followed", async (kind) => {
  let calls = 0;
  const item = {
    then(): void {
      calls++;
    },
  };
  const queue = kind.create<typeof item>();
  await queue.put(item);
  await queue.putMany([item]);
  assertStrictEquals(queue.tryGet(), item);
  assertStrictEquals((await queue.getMany(1))[0], item);
  assertEquals(calls, 0);
});

// -- P9 -------------------------------------------------------------------------

group = "P9 user code";

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
});

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
});

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

for (const reason of ["drop-oldest", "drop-newest", "abort"] as const) {
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
});

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
});

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
);

for (const weight of [-1, NaN, Infinity, "1", undefined, null]) {
  const shown = typeof weight === "string" ? `"${weight}"` : weight;
  promise(`a size of ${shown} is a RangeError`, async (kind) => {
    const queue = kind.create<number>({ size: () => weight as number });
    const error = await assertRejects(() => queue.put(1), RangeError);
    assertMatch(error.message, /^Cannot put: size\(item\) .*, received /);
    assertThrows(() => queue.tryPut(1), RangeError, "Cannot put");
    assertEquals(queue.stats().put, 0);
  });
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
});

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
});

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
});

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
});

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

// -- Bounds ---------------------------------------------------------------------

group = "bounds";

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
});

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
);

promise("tryPut() into a rendezvous needs a get that waits", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 0 });
  assertEquals(queue.tryPut(1), false);
  const get = queue.get();
  assertEquals(queue.tryPut(2), true);
  assertEquals(queue.tryPut(3), false);
  assertEquals(await get, 2);
});

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
);

promise("a rendezvous takes one put for each get", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 0 });
  const puts = [queue.put(1), queue.put(2)];
  queue.tryGet();
  await puts[0];
  assertEquals(await settled(puts[1]!), "pending");
  queue.tryGet();
  await puts[1];
});

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
);

promise("an unbounded queue never makes a put wait", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: Infinity });
  for (let item = 0; item < 5000; item++) await queue.put(item);
  assertEquals([queue.length, queue.desiredSize], [5000, Infinity]);
  await queue.ready;
  assertEquals(drain(queue)[0], kind.order === "fifo" ? 0 : 4999);
});

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
);

promise("one heavy item may overshoot the bound", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 3, size: (item) => item });
  await queue.put(2);
  await queue.put(100);
  assertEquals([queue.length, queue.desiredSize], [2, -99]);
  assertEquals(queue.tryPut(0), false);
});

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
});

promise("weightless items never fill the queue", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 1, size: () => 0 });
  for (let item = 0; item < 100; item++) assert(queue.tryPut(item));
  await queue.ready;
  assertEquals([queue.length, queue.desiredSize], [100, 1]);
});

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
});

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
);

promise("a rendezvous made larger stores what waits", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 0 });
  const puts = [queue.put(1), queue.put(2)];
  queue.highWaterMark = 1;
  await puts[0];
  assertEquals(await settled(puts[1]!), "pending");
  assertEquals(queue.length, 1);
  assertEquals([queue.tryGet(), queue.tryGet()], [1, 2]);
});

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

// -- Overflow -------------------------------------------------------------------

group = "overflow";

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
  for (const way of ["put", "tryPut", "putMany", "writer.write"] as const) {
    const says: string = {
      pending: "waits",
      fulfilled: "fulfils",
      QueueFullError: "rejects with the item",
      true: "is true",
      false: "is false",
    }[ways[way]];

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
    });

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
  );

  promise(`${overflow}: an unbounded queue never overflows`, async (kind) => {
    const queue = kind.create<number>({ highWaterMark: Infinity, overflow });
    for (let item = 0; item < 100; item++) await queue.put(item);
    assertEquals([queue.length, queue.stats().dropped], [100, 0]);
  });

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
});

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
});

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
);

promise("a QueueFullError says what the room was", async (kind) => {
  const queue = full(kind, [1, 2], { overflow: "reject", name: "mail" });
  const error = await assertRejects(() => queue.put(3), QueueFullError);
  assertMatch(error.message, /^Cannot put: .*"mail".*, received 2 of 2 /);
  assertEquals([error.name, error.item], ["QueueFullError", 3]);
});

// -- Iterating ------------------------------------------------------------------

group = "iteration";

promise("a loop takes what is left after close(), and ends", async (kind) => {
  const queue = full(kind, [1, 2, 3]);
  queue.close();
  assertEquals(await collect(queue), inOrder(kind, [1, 2, 3]));
  await queue.closed;
});

promise(
  "breaking off leaves the queue open and loses nothing",
  async (kind) => {
    const queue = full(kind, [1, 2, 3]);
    const taken: number[] = [];
    for await (const item of queue) {
      taken.push(item);
      if (taken.length === 2) break;
    }
    assertEquals([...taken, ...queue.clear()], inOrder(kind, [1, 2, 3]));
    assertEquals(queue.stats().state, "open");
    await queue.put(4);
  },
);

promise("return() does not stand behind a pending next()", async (kind) => {
  const queue = kind.create<number>();
  const iterator = queue[Symbol.asyncIterator]();
  const nexts = [iterator.next(), iterator.next()];
  const other = queue.next();
  assertEquals(await iterator.return!(), { done: true, value: undefined });
  for (const next of nexts) {
    assertEquals(await next, { done: true, value: undefined });
  }
  // Nobody is left in line before the other one.
  await queue.put(1);
  assertEquals(await other, { done: false, value: 1 });
  assertEquals(await iterator.next(), { done: true, value: undefined });
});

promise("abort() ends a loop with its reason", async (kind) => {
  const queue = kind.create<number>();
  const looping = collect(queue);
  await turns();
  queue.abort(boom);
  assertStrictEquals(await reasonOf(looping), boom);
});

promise(
  "fail() ends a loop with its reason after the last item",
  async (kind) => {
    const queue = full(kind, [1, 2]);
    queue.fail(boom);
    const taken: number[] = [];
    async function loop(): Promise<void> {
      for await (const item of queue) taken.push(item);
    }
    assertStrictEquals(await reasonOf(loop()), boom);
    assertEquals(taken, inOrder(kind, [1, 2]));
  },
);

// -- Against what went wrong elsewhere --------------------------------------------

group = "P4 every promise settles";

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

group = "P6 waiting";

promise("40,000 are cancelled at once by a signal they share", async (kind) => {
  const empty = kind.create<number>();
  const none = kind.create<number>({ highWaterMark: 0 });
  const cancel = new AbortController();
  const count = new Map<unknown, number>();
  const note = (reason: unknown): void =>
    void count.set(reason, (count.get(reason) ?? 0) + 1);
  const waiting: Promise<unknown>[] = [];
  for (let item = 0; item < 20_000; item++) {
    waiting.push(empty.get(cancel).catch(note));
    waiting.push(none.put(item, cancel).catch(note));
  }
  cancel.abort(boom);
  await Promise.all(waiting);
  assertEquals([...count], [[boom, 40_000]]);
  assertEquals(empty.stats().waitingGets + none.stats().waitingPuts, 0);
});

promise("40,000 are cancelled one by one, youngest first", async (kind) => {
  const empty = kind.create<number>();
  const none = kind.create<number>({ highWaterMark: 0 });
  let cancelled = 0;
  const note = (): void => void cancelled++;
  const controllers: AbortController[] = [];
  const waiting: Promise<unknown>[] = [];
  for (let item = 0; item < 20_000; item++) {
    const cancel = new AbortController();
    controllers.push(cancel);
    waiting.push(empty.get(cancel).catch(note));
    waiting.push(none.put(item, cancel).catch(note));
  }
  for (const cancel of controllers.reverse()) cancel.abort(boom);
  await Promise.all(waiting);
  assertEquals(cancelled, 40_000);
  assertEquals(empty.stats().waitingGets + none.stats().waitingPuts, 0);
});

// -- More of pipes ----------------------------------------------------------------

group = "pipes";

promise(
  "a pipe into a full queue waits, whatever a put would do",
  async (kind) => {
    const queue = kind.create<number>({ highWaterMark: 1, overflow: "reject" });
    const piping = sourceOf([1, 2, 3, 4]).pipeTo(queue.writable);
    await rounds();
    assertEquals(queue.length, 1);
    assertEquals(await collect(queue), [1, 2, 3, 4]);
    await piping;
  },
);

promise("a pipe that waits for room learns of abort()", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 1, overflow: "reject" });
  const piping = sourceOf([1, 2, 3, 4]).pipeTo(queue.writable);
  await rounds();
  queue.abort(boom);
  assertStrictEquals(await reasonOf(piping), boom);
});

promise("a queue is piped through a transform", async (kind) => {
  const queue = full(kind, [1, 2, 3]);
  queue.close();
  const doubling = new TransformStream<number, number>({
    transform: (item, controller) => controller.enqueue(item * 2),
  });
  assertEquals(
    await collectFrom(queue.readable.pipeThrough(doubling)),
    inOrder(kind, [2, 4, 6]),
  );
});

promise("pipeThrough() refuses what is locked or no pair", (kind) => {
  const queue = full(kind, [1]);
  const pair = new TransformStream<number, number>();
  const writer = pair.writable.getWriter();
  assertThrows(() => queue.readable.pipeThrough(pair), TypeError);
  writer.releaseLock();
  assertThrows(
    () => queue.readable.pipeThrough({} as TransformStream<number, number>),
    TypeError,
  );
  assertEquals(queue.length, 1);
});

promise("a pipe whose signal has fired already moves nothing", async (kind) => {
  const queue = full(kind, [1, 2]);
  const items: number[] = [];
  const sink = sinkInto(items);
  const reason = await reasonOf(
    queue.consumer().pipeTo(sink, {
      signal: AbortSignal.abort(boom),
      preventAbort: true,
    }),
  );
  assertStrictEquals(reason, boom);
  assert(!sink.locked);
  assertEquals([items, queue.length], [[], 2]);
});

promise("a pipe into a sink that has failed takes nothing", async (kind) => {
  const queue = full(kind, [1, 2]);
  const sink = new WritableStream<number>({
    start: (controller) => controller.error(boom),
  });
  // A stream of workerd that is as young as this one still says it has room.
  await turns();
  const reason = await reasonOf(
    queue.readable.pipeTo(sink, { preventCancel: true }),
  );
  assertStrictEquals(reason, boom);
  assert(!queue.readable.locked);
  assertEquals(queue.length, 2);
});

promise("a pipe rejects with what the end of its sink throws", async (kind) => {
  const queue = full(kind, [1]);
  queue.close();
  const sink = new WritableStream<number>({
    close() {
      throw boom;
    },
  });
  assertStrictEquals(await reasonOf(queue.readable.pipeTo(sink)), boom);
  assert(!sink.locked);
});

group = "readable";

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

// -- Streams as the platform has them ------------------------------------------------

group = "pipes";

/** Options that the standard refuses, and what reading them throws. */
const wrongPipeOptions: [name: string, options: unknown, thrown: unknown][] = [
  ["a controller for a signal", { signal: new AbortController() }, undefined],
  ["null for a signal", { signal: null }, undefined],
  ["a number", 1, undefined],
  ...["preventAbort", "preventCancel", "preventClose", "signal"].map(
    (name): [string, unknown, unknown] => [
      `an option ${name} that throws`,
      Object.defineProperty({}, name, {
        get() {
          throw boom;
        },
      }),
      boom,
    ],
  ),
];

for (const [name, options, thrown] of wrongPipeOptions) {
  promise(`a pipe given ${name} rejects and locks nothing`, async (kind) => {
    const queue = full(kind, [1]);
    for (const readable of [queue.readable, queue.consumer()]) {
      const pair = new TransformStream<number, number>();
      const piping = readable.pipeTo(
        pair.writable,
        options as StreamPipeOptions,
      );
      const reason = await reasonOf(piping);
      if (thrown === undefined) assertInstanceOf(reason, TypeError);
      else assertStrictEquals(reason, thrown);
      let caught: unknown;
      try {
        readable.pipeThrough(pair, options as StreamPipeOptions);
      } catch (error) {
        caught = error;
      }
      if (thrown === undefined) assertInstanceOf(caught, TypeError);
      else assertStrictEquals(caught, thrown);
      assert(!readable.locked && !pair.writable.locked);
    }
    assertEquals(queue.length, 1);
  });
}

promise("a pipe into no stream rejects and locks nothing", async (kind) => {
  const queue = full(kind, [1]);
  for (const sink of [undefined, null, {}, "sink", queue.readable]) {
    const wrong = sink as unknown as WritableStream<number>;
    assertInstanceOf(await reasonOf(queue.readable.pipeTo(wrong)), TypeError);
  }
  const forged = Object.create(WritableStream.prototype);
  assertInstanceOf(await reasonOf(queue.readable.pipeTo(forged)), TypeError);
  assert(!queue.readable.locked);
  assertEquals(queue.length, 1);
});

promise("pipeThrough() refuses a readable that is none", (kind) => {
  const queue = full(kind, [1]);
  const { writable } = new TransformStream<number, number>();
  for (const readable of [undefined, null, {}, writable]) {
    const wrong = { readable, writable } as unknown as TransformStream<
      number,
      number
    >;
    assertThrows(() => queue.readable.pipeThrough(wrong), TypeError);
  }
  for (const pair of [undefined, null, 1]) {
    const wrong = pair as unknown as TransformStream<number, number>;
    assertThrows(() => queue.readable.pipeThrough(wrong), TypeError);
  }
  assert(!queue.readable.locked && !writable.locked);
});

promise(
  "a pipe reads each of its arguments once, in the order of the standard",
  async (kind) => {
    const queue = kind.create<number>();
    queue.close();
    const pair = new TransformStream<number, number>();
    const read: string[] = [];
    const watched = <T extends object>(values: T): T =>
      new Proxy(values, {
        get(target, key): unknown {
          read.push(String(key));
          return Reflect.get(target, key);
        },
      });
    const { readable, writable } = pair;
    const options = watched<StreamPipeOptions>({});
    const piped = queue.readable.pipeThrough(
      watched({ readable, writable }),
      options,
    );
    assertStrictEquals(piped, readable);
    const names = ["preventAbort", "preventCancel", "preventClose", "signal"];
    assertEquals(read.splice(0), ["readable", "writable", ...names]);
    assertEquals(await collectFrom(piped), []);
    await queue.consumer().pipeTo(new WritableStream(), options);
    assertEquals(read, names);
  },
);

promise(
  "a signal that fires after the end of the source changes nothing",
  async (kind) => {
    for (const end of ["close", "abort"] as const) {
      const queue = kind.create<number>();
      const controller = new AbortController();
      const items: number[] = [];
      const piping = queue.readable.pipeTo(sinkInto(items), {
        signal: controller.signal,
      });
      await rounds();
      queue[end](boom);
      controller.abort(new Error("too late"));
      if (end === "close") await piping;
      else assertStrictEquals(await reasonOf(piping), boom);
    }
  },
);

promise(
  "a pipe that its signal stopped says so, whatever its source ends with meanwhile",
  async (kind) => {
    const queue = full(kind, [1]);
    const { written, sink, finish } = slowSink<number>();
    const controller = new AbortController();
    const piping = queue.readable.pipeTo(sink, { signal: controller.signal });
    await rounds();
    const stopped = new Error("stopped");
    controller.abort(stopped);
    queue.abort(boom);
    finish();
    assertStrictEquals(await reasonOf(piping), stopped);
    assertEquals(written, [1]);
  },
);

group = "P2 cancellation";

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

group = "P4 every promise settles";

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

group = "readable";

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

// -- Arguments ----------------------------------------------------------------------

group = "arguments";

for (
  const [name, max, type] of [
    ["0", 0, RangeError],
    ["a fraction", 1.5, RangeError],
    ["NaN", NaN, RangeError],
    ["-1", -1, RangeError],
    ["a string", "2" as unknown as number, TypeError],
    ["nothing", undefined as unknown as number, TypeError],
  ] as const
) {
  promise(
    `getMany(${name}) is a ${type.name} and takes nothing`,
    async (kind) => {
      const queue = full(kind, [1]);
      await assertRejects(
        () => queue.getMany(max),
        type,
        "Cannot get many: max",
      );
      assertEquals(queue.length, 1);
    },
  );
}

promise("getMany(Infinity) takes all that is there", async (kind) => {
  const queue = full(kind, [1, 2, 3]);
  assertEquals(await queue.getMany(Infinity), inOrder(kind, [1, 2, 3]));
});

for (
  const [name, linger, type] of [
    ["below 0", -1, RangeError],
    ["without end", Infinity, RangeError],
    ["NaN", NaN, RangeError],
    ["of no number", "1" as unknown as number, TypeError],
  ] as const
) {
  promise(
    `a linger ${name} is a ${type.name} and takes nothing`,
    async (kind) => {
      const queue = full(kind, [1]);
      await assertRejects(() => queue.getMany(2, { linger }), type, "linger");
      assertEquals(queue.length, 1);
    },
  );
}

promise("putMany() refuses what is not iterable", async (kind) => {
  const queue = kind.create<number>();
  for (const items of [undefined, null, 1, {}]) {
    await assertRejects(
      () => queue.putMany(items as unknown as number[]),
      TypeError,
      "Cannot put many: items must be iterable",
    );
  }
  assertEquals(queue.stats().put, 0);
});

promise(
  "options that are no object are a TypeError, nothing moves",
  async (kind) => {
    const queue = full(kind, [1], { highWaterMark: 9 });
    for (const options of [null, 1, "signal"]) {
      const wrong = options as unknown as { signal: AbortSignal };
      for (
        const act of [
          () => queue.put(2, wrong),
          () => queue.putMany([2], wrong),
          () => queue.get(wrong),
          () => queue.getMany(1, wrong),
        ]
      ) await assertRejects(act, TypeError, "options must be an object");
    }
    assertEquals(queue.clear(), [1]);
  },
);

promise("a signal that is none is a TypeError, nothing moves", async (kind) => {
  const queue = full(kind, [1], { highWaterMark: 9 });
  for (const signal of [null, 1, {}, new AbortController()]) {
    const wrong = { signal: signal as unknown as AbortSignal };
    for (
      const act of [
        () => queue.put(2, wrong),
        () => queue.putMany([2], wrong),
        () => queue.get(wrong),
        () => queue.getMany(1, wrong),
      ]
    ) await assertRejects(act, TypeError, "signal must be an AbortSignal");
  }
  assertEquals(queue.clear(), [1]);
});
