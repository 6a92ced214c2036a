import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { Broadcast, LaggedError, QueueClosedError } from "../../mod.ts";
import { assertInvariants } from "../../src/flow/broadcast.ts";
import { test } from "../support/harness.ts";
import { turn } from "../support/properties.ts";
import { settled } from "../support/waiting.ts";
import { readAll } from "../support/streams.ts";
import { upTo } from "../support/items.ts";

async function putAll<T>(broadcast: Broadcast<T>, items: T[]): Promise<void> {
  for (const item of items) await broadcast.put(item);
}

function lags(broadcast: Broadcast<unknown>): [number, number][] {
  return broadcast.stats().subscribers.map(({ lag, missed }) => [lag, missed]);
}

test("broadcast: every subscriber gets every item, one or a thousand, reading or piping", async () => {
  const items = upTo(30);
  for (const count of [1, 2, 1000]) {
    const broadcast = new Broadcast<number>({ highWaterMark: 3 });
    const reads = Array.from(
      { length: count },
      () => readAll(broadcast.subscribe()),
    );
    const piped: number[] = [];
    const piping = broadcast.subscribe().pipeTo(
      new WritableStream({ write: (item) => void piped.push(item) }),
    );
    await putAll(broadcast, items);
    broadcast.close();
    for (const read of await Promise.all(reads)) assertEquals(read, items);
    await piping;
    assertEquals(piped, items);
    await broadcast.closed;
    assertInvariants(broadcast);
  }
});

test("broadcast: undefined, null and promises are items", async () => {
  const items = [undefined, null, Promise.resolve(1), undefined];
  const broadcast = new Broadcast<unknown>();
  const early = broadcast.subscribe().getReader();
  const reading = early.read();
  await putAll(broadcast, items);
  broadcast.close();
  assertEquals(await reading, { done: false, value: undefined });
  for (const item of items.slice(1)) {
    assertStrictEquals((await early.read()).value, item);
  }
  assertEquals((await early.read()).done, true);
});

test("broadcast: without subscribers nothing waits, and nothing stays but what is kept for replay", async () => {
  for (const replay of [0, 3]) {
    const broadcast = new Broadcast<number>({ highWaterMark: 1, replay });
    for (let item = 0; item < 100; item++) {
      assertEquals(broadcast.desiredSize, 1);
      assertEquals(broadcast.tryPut(item), true);
    }
    const { length, put } = broadcast.stats();
    assertEquals([length, put], [replay, 100]);
    const late = broadcast.subscribe({ highWaterMark: 10 });
    await broadcast.put(100);
    broadcast.close();
    assertEquals(
      await readAll(late),
      replay === 0 ? [100] : [97, 98, 99, 100],
    );
  }
});

test("broadcast: the subscribers that make put wait gate it together, in order, and tryPut does not barge", async () => {
  const broadcast = new Broadcast<number>({ highWaterMark: 2 });
  const slow = broadcast.subscribe().getReader();
  const slower = broadcast.subscribe({ highWaterMark: 3 }).getReader();
  const quick = readAll(broadcast.subscribe());
  await putAll(broadcast, [0, 1]);
  assertEquals(broadcast.desiredSize, 0);
  const order: number[] = [];
  const waiting = [2, 3, 4].map((item) =>
    broadcast.put(item).then(() => order.push(item))
  );
  assertEquals(await settled(waiting[0]!), "pending");
  assertEquals([broadcast.desiredSize, broadcast.stats().waitingPuts], [-3, 3]);
  assertEquals(broadcast.tryPut(9), false);
  await slow.read();
  await turn();
  assertEquals(order, [2]);
  assertEquals(broadcast.tryPut(9), false, "3 waits");
  await slow.read();
  await turn();
  assertEquals(order, [2], "the other one is full");
  await slower.read();
  await slower.read();
  await turn();
  assertEquals(order, [2, 3]);
  void slow.cancel();
  await turn();
  assertEquals(order, [2, 3, 4]);
  broadcast.close();
  void slower.cancel();
  assertEquals(await quick, [0, 1, 2, 3, 4]);
});

test("broadcast: a policy for each, on one ring", async () => {
  const broadcast = new Broadcast<number>({ highWaterMark: 4 });
  const heard: number[] = [];
  const waiting = broadcast.subscribe().getReader();
  const dropping = broadcast.subscribe({
    overflow: "drop-oldest",
    highWaterMark: 2,
    onLag: (missed) => heard.push(missed),
  }).getReader();
  const evicted = broadcast.subscribe({ overflow: "evict", highWaterMark: 3 })
    .getReader();
  const closed = evicted.closed.catch((error) => error);
  await putAll(broadcast, [0, 1, 2]);
  assertEquals(lags(broadcast), [[3, 0], [2, 1], [3, 0]]);
  await broadcast.put(3);
  assertEquals(lags(broadcast), [[4, 0], [2, 2]]);
  const error = await closed;
  assertInstanceOf(error, LaggedError);
  assertEquals([error.missed, error.name], [4, "LaggedError"]);
  assertStrictEquals(await evicted.read().catch((error) => error), error);
  assertEquals((await dropping.read()).value, 2);
  assertEquals(heard, [2]);
  assertEquals(lags(broadcast), [[4, 0], [1, 2]]);
  const put = broadcast.put(4);
  assertEquals(await settled(put), "pending");
  assertEquals((await waiting.read()).value, 0);
  await put;
  assertEquals(broadcast.stats().length, 4, "each item is stored once");
  assertInvariants(broadcast);
});

test("broadcast: of 100,000 items no more are held than the subscribers' highWaterMark", async () => {
  const broadcast = new Broadcast<number>();
  broadcast.subscribe({ overflow: "drop-oldest" });
  broadcast.subscribe({ overflow: "drop-oldest", highWaterMark: 5 });
  const reading = readAll(broadcast.subscribe());
  let most = 0;
  for (let item = 0; item < 100_000; item++) {
    await broadcast.put(item);
    most = Math.max(most, broadcast.stats().length);
  }
  broadcast.close();
  assertEquals((await reading).length, 100_000);
  assert(most <= 17, `${most} held`);
  assertEquals(lags(broadcast), [[16, 99_984], [5, 99_995]]);
});

test("broadcast: who waits for an item is never slow, whatever is put at once", async () => {
  for (const overflow of ["wait", "drop-oldest", "evict"] as const) {
    const broadcast = new Broadcast<number>();
    const reader = broadcast.subscribe({ overflow, highWaterMark: 1 })
      .getReader();
    const reads = [reader.read(), reader.read(), reader.read()];
    for (let item = 0; item < 4; item++) {
      assertEquals(broadcast.tryPut(item), true, overflow);
    }
    const items = (await Promise.all(reads)).map(({ value }) => value);
    assertEquals(items, [0, 1, 2]);
    assertEquals((await reader.read()).value, 3);
  }
});

test("broadcast: a subscriber begins with the items to come, after as many of the last as it asks for", async () => {
  const broadcast = new Broadcast<number>({ replay: 3, highWaterMark: 2 });
  await putAll(broadcast, [0, 1, 2, 3]);
  const streams = {
    none: broadcast.subscribe({ replay: 0, highWaterMark: 9 }),
    one: broadcast.subscribe({ replay: 1, highWaterMark: 9 }),
    all: broadcast.subscribe({ highWaterMark: 9 }),
    dropping: broadcast.subscribe({ overflow: "drop-oldest" }),
    evicted: broadcast.subscribe({ overflow: "evict" }),
  };
  assertEquals(lags(broadcast).map(([lag]) => lag), [0, 1, 3, 2, 2]);
  await broadcast.put(4);
  broadcast.close();
  assertEquals(await readAll(streams.none), [4]);
  assertEquals(await readAll(streams.one), [3, 4]);
  assertEquals(await readAll(streams.all), [1, 2, 3, 4]);
  assertEquals(await readAll(streams.dropping), [3, 4]);
  await assertRejects(() => readAll(streams.evicted), LaggedError);
});

test("broadcast: a replay longer than highWaterMark makes put wait until it has been read", async () => {
  const broadcast = new Broadcast<number>({
    replay: Infinity,
    highWaterMark: 2,
  });
  await putAll(broadcast, [0, 1, 2, 3]);
  const reader = broadcast.subscribe().getReader();
  assertEquals(broadcast.desiredSize, -2);
  const put = broadcast.put(4);
  for (const item of [0, 1, 2]) {
    assertEquals(await settled(put), "pending");
    assertEquals((await reader.read()).value, item);
  }
  await put;
  assertEquals(broadcast.stats().length, 5, "all is kept");
});

test("broadcast: who subscribes after the end gets the replay, and then the end", async () => {
  const error = new Error("broke");
  for (const verb of ["close", "fail", "abort"] as const) {
    const broadcast = new Broadcast<number>({ replay: 2 });
    await putAll(broadcast, [0, 1, 2]);
    broadcast[verb](error);
    const reader = broadcast.subscribe().getReader();
    if (verb === "abort") {
      assertStrictEquals(await assertRejects(() => reader.read()), error);
      assertStrictEquals(await assertRejects(() => reader.closed), error);
      assertEquals(broadcast.stats().length, 0);
      continue;
    }
    assertEquals((await reader.read()).value, 1);
    assertEquals((await reader.read()).value, 2);
    if (verb === "close") assertEquals((await reader.read()).done, true);
    else assertStrictEquals(await assertRejects(() => reader.read()), error);
    assertInvariants(broadcast);
  }
});

test("broadcast: close() lets waiting puts in, then ends each subscriber after its last item", async () => {
  const broadcast = new Broadcast<number>({ highWaterMark: 1 });
  const slow = broadcast.subscribe().getReader();
  const quick = readAll(broadcast.subscribe());
  const puts = [0, 1, 2].map((item) => broadcast.put(item));
  broadcast.close();
  const error = await assertRejects(() => broadcast.put(9), QueueClosedError);
  assertEquals(error.item, 9);
  assertThrows(() => broadcast.tryPut(9), QueueClosedError, "closing");
  assertEquals(broadcast.desiredSize, 0);
  await broadcast.ready;
  for (const item of [0, 1, 2]) {
    assertEquals(await settled(broadcast.closed), "pending");
    assertEquals((await slow.read()).value, item);
  }
  await Promise.all(puts);
  assertEquals((await slow.read()).done, true);
  assertEquals(await quick, [0, 1, 2]);
  await broadcast.closed;
  assertEquals(broadcast.stats().state, "closed");
  broadcast.abort("too late");
  await broadcast.closed;
});

test("broadcast: fail() is the same with an error at the end; abort() rejects everybody at once", async () => {
  for (const verb of ["fail", "abort"] as const) {
    const error = new Error(verb);
    const broadcast = new Broadcast<number>({ highWaterMark: 1 });
    const slow = broadcast.subscribe().getReader();
    const quick = broadcast.subscribe().getReader();
    await broadcast.put(0);
    assertEquals((await quick.read()).value, 0);
    const read = quick.read().catch((reason) => reason);
    const put = broadcast.put(1).then(() => "put", (reason) => reason);
    const ready = broadcast.ready.catch((reason) => reason);
    const closed = broadcast.closed.catch((reason) => reason);
    broadcast[verb](error);
    assertStrictEquals(await ready, error);
    assertEquals(broadcast.desiredSize, null);
    if (verb === "fail") {
      assertEquals((await slow.read()).value, 0);
      assertEquals([await put, (await read).value], ["put", 1]);
      assertEquals((await slow.read()).value, 1);
    } else {
      assertStrictEquals(await put, error);
      assertStrictEquals(await read, error);
    }
    assertStrictEquals(await assertRejects(() => slow.read()), error);
    assertStrictEquals(await assertRejects(() => quick.read()), error);
    assertStrictEquals(await closed, error);
    await assertRejects(() => broadcast.ready, Error, verb);
    const late = await broadcast.put(2).catch((reason) => reason);
    if (verb === "fail") {
      assertInstanceOf(late, QueueClosedError);
      assertEquals([late.item, late.cause], [2, error]);
    } else assertStrictEquals(late, error);
    assertInvariants(broadcast);
  }
});

test("broadcast: abort() without a reason is an AbortError, and cuts a close() and a fail() short", async () => {
  for (const verb of ["close", "fail"] as const) {
    const broadcast = new Broadcast<number>({ highWaterMark: 1 });
    const reader = broadcast.subscribe().getReader();
    await broadcast.put(0);
    const put = broadcast.put(1);
    broadcast[verb]("first");
    broadcast.abort();
    for (const promise of [put, reader.read(), broadcast.closed]) {
      const error = await assertRejects(() => promise, DOMException);
      assertEquals(error.name, "AbortError");
    }
  }
});

test("broadcast: cancelling a subscriber leaves the others alone, and lets go of what only it had to read", async () => {
  const broadcast = new Broadcast<number>({ highWaterMark: 8 });
  const [slow, quick] = [broadcast.subscribe(), broadcast.subscribe()];
  const reader = quick.getReader();
  await putAll(broadcast, [0, 1, 2]);
  await reader.read();
  assertEquals(broadcast.stats().length, 3);
  await slow.cancel("enough");
  assertEquals(broadcast.stats().length, 2);
  assertEquals((await reader.read()).value, 1);
  broadcast.close();
  await reader.cancel();
  await broadcast.closed;
});

test("broadcast: a put that is cancelled has delivered nothing, and the one behind it goes on", async () => {
  const broadcast = new Broadcast<number>({ highWaterMark: 1 });
  const reader = broadcast.subscribe().getReader();
  const { signal: aborted } = abortedWith("before");
  await assertRejects(
    () => broadcast.put(9, { signal: aborted }).catch(asError),
    Error,
    "before",
  );
  await broadcast.put(0);
  const controller = new AbortController();
  const puts = [1, 2, 3].map((item) =>
    broadcast.put(item, item === 2 ? {} : { signal: controller.signal })
      .then(() => item, (reason) => reason)
  );
  controller.abort("gave up");
  broadcast.close();
  const items: number[] = [];
  for (;;) {
    const step = await reader.read();
    if (step.done) break;
    items.push(step.value);
  }
  assertEquals(items, [0, 2]);
  assertEquals(await Promise.all(puts), ["gave up", 2, "gave up"]);
  await assertRejects(
    () => broadcast.put(1, { signal: 7 as never }),
    TypeError,
  );

  function abortedWith(reason: string): AbortController {
    const controller = new AbortController();
    controller.abort(reason);
    return controller;
  }
  function asError(reason: string): never {
    throw new Error(reason);
  }
});

test("broadcast: a closing one whose last waiting put gives up has ended", async () => {
  const broadcast = new Broadcast<number>({ highWaterMark: 1 });
  const reader = broadcast.subscribe().getReader();
  const quick = broadcast.subscribe().getReader();
  await broadcast.put(0);
  await quick.read();
  const controller = new AbortController();
  const put = broadcast.put(1, { signal: controller.signal });
  broadcast.close();
  const read = quick.read();
  assertEquals(await settled(read), "pending", "1 may still come");
  controller.abort(new Error("gave up"));
  assertEquals((await read).done, true);
  await assertRejects(() => put, Error, "gave up");
  assertEquals((await reader.read()).value, 0);
  assertEquals((await reader.read()).done, true);
  await broadcast.closed;
});

test("broadcast: one listener per signal, and none when nobody waits with it", async () => {
  const controller = new AbortController();
  const { signal } = controller;
  let [added, removed] = [0, 0];
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: unknown[]): void => {
    added++;
    addEventListener.apply(signal, args as never);
  };
  signal.removeEventListener = (...args: unknown[]): void => {
    removed++;
    removeEventListener.apply(signal, args as never);
  };
  const broadcast = new Broadcast<number>({ highWaterMark: 1 });
  const reader = broadcast.subscribe().getReader();
  const puts = Array.from(
    { length: 1000 },
    (_, item) => broadcast.put(item, { signal }),
  );
  assertEquals([added, removed], [1, 0]);
  for (let item = 0; item < 1000; item++) {
    assertEquals((await reader.read()).value, item);
  }
  await Promise.all(puts);
  assertEquals([added, removed], [1, 1]);
});

test("broadcast: ready is pending while a subscriber has no room, and writers wait for it", async () => {
  const broadcast = new Broadcast<number>({ highWaterMark: 1 });
  const reader = broadcast.subscribe().getReader();
  const writer = broadcast.writable.getWriter();
  assertStrictEquals(broadcast.writable, broadcast.writable);
  await writer.ready;
  const write = writer.write(0);
  assertEquals([writer.desiredSize, broadcast.desiredSize], [0, 0]);
  assertEquals(await settled(broadcast.ready), "pending");
  await write;
  const second = writer.write(1);
  assertEquals(await settled(second), "pending");
  await reader.read();
  await second;
  await reader.read();
  await writer.ready;
  const closing = writer.close();
  assertEquals((await reader.read()).done, true);
  await closing;
  await broadcast.closed;
});

test("broadcast: the writable ends with the broadcast, and the broadcast with it", async () => {
  const error = new Error("gave up");
  const aborted = new Broadcast<number>();
  const reader = aborted.subscribe().getReader();
  await aborted.writable.abort(error);
  assertStrictEquals(await assertRejects(() => reader.read()), error);

  for (const early of [true, false]) {
    for (const verb of ["close", "fail", "abort"] as const) {
      const broadcast = new Broadcast<number>();
      const before = early ? broadcast.writable.getWriter() : undefined;
      broadcast[verb](error);
      const writer = before ?? broadcast.writable.getWriter();
      const closed = await writer.closed.then(() => "closed", (why) => why);
      assertStrictEquals(closed, verb === "close" ? "closed" : error);
      await assertRejects(() => writer.write(1));
    }
  }
});

test("broadcast: an error in the source of a pipe comes after the items before it when the pipe is told not to abort", async () => {
  const broadcast = new Broadcast<number>();
  const reading = readAll(broadcast.subscribe()).catch((reason) => reason);
  const source = new ReadableStream<number>({
    start(controller) {
      controller.error("broke");
    },
  });
  const reason = await source.pipeTo(broadcast.writable, { preventAbort: true })
    .catch((reason) => reason);
  broadcast.fail(reason);
  assertEquals(await reading, "broke");
});

test("broadcast: a pipe may put, subscribe and cancel while it is fed", async () => {
  const broadcast = new Broadcast<number>({ highWaterMark: 2 });
  const seen: number[] = [];
  const late: Promise<number[]>[] = [];
  const extra: Promise<void>[] = [];
  const other = broadcast.subscribe({ overflow: "evict", highWaterMark: 1 });
  const piping = broadcast.subscribe().pipeTo(
    new WritableStream({
      write(item) {
        seen.push(item);
        if (item >= 10) return;
        extra.push(broadcast.put(item + 10), broadcast.put(item + 20));
        if (item === 0) late.push(readAll(broadcast.subscribe()));
        assertInvariants(broadcast);
      },
    }),
  );
  const waiting = other.getReader();
  const reads = Array.from({ length: 9 }, () => waiting.read());
  await putAll(broadcast, [0, 1, 2]);
  await Promise.all(extra);
  await turn();
  await Promise.all(extra);
  broadcast.close();
  await piping;
  assertEquals([...seen].sort((a, b) => a - b), [
    0,
    1,
    2,
    10,
    11,
    12,
    20,
    21,
    22,
  ]);
  const items = (await Promise.all(reads)).map(({ value }) => value);
  assertEquals(items, seen, "in the same order, and nobody was too slow");
  const [began] = await Promise.all(late);
  assertEquals(began, seen.slice(-began!.length));
});

test("broadcast: 100,000 puts that wait are let in at once without a stack of calls", async () => {
  const broadcast = new Broadcast<number>({ highWaterMark: 1 });
  let count = 0;
  const piping = broadcast.subscribe().pipeTo(
    new WritableStream({ write: () => void count++ }, {
      highWaterMark: Infinity,
    }),
  );
  const blocking = broadcast.subscribe().getReader();
  const puts: Promise<void>[] = [];
  for (let item = 0; item < 100_000; item++) puts.push(broadcast.put(item));
  await turn();
  assertEquals(count, 1);
  await blocking.cancel();
  await Promise.all(puts);
  broadcast.close();
  await piping;
  assertEquals(count, 100_000);
});

test("broadcast: releaseLock() of a native read that waits puts nothing out of order", async () => {
  const broadcast = new Broadcast<number>();
  const stream = broadcast.subscribe();
  const native = new ReadableStreamDefaultReader(stream);
  const given = native.read();
  await turn();
  native.releaseLock();
  await assertRejects(() => given, TypeError);
  await putAll(broadcast, [1, 2]);
  broadcast.close();
  assertEquals(await readAll(stream), [1, 2]);
});

test("broadcast: a read that is given up between put() and its delivery leaves the item for the next", async () => {
  const broadcast = new Broadcast<number>();
  const stream = broadcast.subscribe();
  const reader = stream.getReader();
  const given = reader.read();
  void broadcast.put(1);
  reader.releaseLock();
  await assertRejects(() => given, TypeError);
  assertEquals((await stream.getReader().read()).value, 1);
});

test("broadcast: subscribers that come and go without an item leave nothing behind", async () => {
  const broadcast = new Broadcast<number>({ highWaterMark: 4 });
  for (let round = 0; round < 1000; round++) {
    const reader = broadcast.subscribe({ highWaterMark: 1 + round % 5 })
      .getReader();
    const read = reader.read();
    await reader.cancel();
    assertEquals((await read).done, true);
  }
  assertEquals(broadcast.stats().subscribers, []);
  assertEquals(broadcast.desiredSize, 4);
  assertInvariants(broadcast);
});

test("broadcast: a backlog of any size is counted, read and given back", async () => {
  const broadcast = new Broadcast<number>({ highWaterMark: Infinity });
  const readers = [1, 2, 3].map(() => broadcast.subscribe().getReader());
  for (let item = 0; item < 10_000; item++) await broadcast.put(item);
  for (const [index, reader] of readers.entries()) {
    for (let item = 0; item < 10_000; item++) {
      assertEquals((await reader.read()).value, item);
      if (item % 500 === index) assertInvariants(broadcast);
    }
  }
  assertEquals(broadcast.stats().length, 0);
  assertEquals(lags(broadcast), [[0, 0], [0, 0], [0, 0]]);
});

test("broadcast: stats() is a frozen snapshot", async () => {
  const broadcast = new Broadcast<number>({ name: "prices", replay: 1 });
  broadcast.subscribe({ overflow: "drop-oldest", highWaterMark: 3 });
  await broadcast.put(1);
  const stats = broadcast.stats();
  assertEquals(stats, {
    name: "prices",
    length: 1,
    desiredSize: 16,
    highWaterMark: 16,
    replay: 1,
    put: 1,
    waitingPuts: 0,
    state: "open",
    subscribers: [{
      overflow: "drop-oldest",
      highWaterMark: 3,
      lag: 1,
      missed: 0,
    }],
  });
  assert(Object.isFrozen(stats) && Object.isFrozen(stats.subscribers));
  assert(Object.isFrozen(stats.subscribers[0]));
});

test("broadcast: options that cannot be used are named", () => {
  const broadcast = new Broadcast<number>({ replay: 2, name: "prices" });
  const cases: [() => unknown, typeof TypeError | typeof RangeError, string][] =
    [
      [() => new Broadcast(null as never), TypeError, "make a broadcast"],
      [() => new Broadcast({ highWaterMark: 0 }), RangeError, "received 0"],
      [() => new Broadcast({ highWaterMark: NaN }), RangeError, "NaN"],
      [() => new Broadcast({ replay: -1 }), RangeError, "replay"],
      [() => new Broadcast({ replay: "1" as never }), TypeError, "replay"],
      [() => new Broadcast({ name: 1 as never }), TypeError, "name"],
      [() => broadcast.subscribe(7 as never), TypeError, "received 7"],
      [() => broadcast.subscribe({ highWaterMark: 0.5 }), RangeError, "0.5"],
      [
        () => broadcast.subscribe({ replay: 3 }),
        RangeError,
        'at most the 2 items that the broadcast "prices" keeps, received 3',
      ],
      [
        () => broadcast.subscribe({ overflow: "reject" as never }),
        TypeError,
        '"reject"',
      ],
      [() => broadcast.subscribe({ onLag: 1 as never }), TypeError, "onLag"],
    ];
  for (const [make, kind, message] of cases) assertThrows(make, kind, message);
  assertEquals(broadcast.stats().subscribers, []);
});

test("broadcast: aborting its writable without a reason is an AbortError", async () => {
  for (const way of ["stream", "writer"] as const) {
    const broadcast = new Broadcast<number>();
    const { writable } = broadcast;
    const reader = broadcast.subscribe().getReader();
    await (way === "stream" ? writable : writable.getWriter()).abort();
    for (const act of [() => broadcast.put(1), () => reader.read()]) {
      const { name } = await assertRejects(act, Error);
      assertEquals(name, "AbortError");
    }
  }
});
