import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  PriorityQueue,
  Queue,
  QueueClosedError,
  QueueFullError,
  type QueueOptions,
} from "../../../mod.ts";
import { assertInvariants } from "../../../src/queue.ts";
import {
  connect,
  PortClosedError,
  type PortOptions,
  type PortQueue,
  serve,
  type ServedQueue,
} from "../../../src/threads.ts";
import { fakeChannel, type FakePort } from "../../support/fake_ports.ts";
import { test } from "../../support/harness.ts";
import { turn } from "../../support/properties.ts";
import { SteppedClock } from "../../support/stepped_clock.ts";
import { reasonOf } from "../../support/waiting.ts";
import { upTo } from "../../support/items.ts";

/** A queue, and the same queue over there. */
interface Pair<T> {
  queue: Queue<T>;
  served: ServedQueue;
  there: PortQueue<T>;
  ports: [FakePort, FakePort];
  undelivered: T[];
  refused: [T, unknown][];
}

interface PairOptions<T> extends QueueOptions<T> {
  serving?: PortOptions<T>;
  connecting?: PortOptions<T>;
}

function pair<T>(options: PairOptions<T> = {}): Pair<T> {
  const { serving, connecting, ...rest } = options;
  const undelivered: T[] = [];
  const refused: [T, unknown][] = [];
  const queue = new Queue<T>({
    onUndelivered: (item) => undelivered.push(item),
    ...rest,
  });
  const ports = fakeChannel();
  const onUndelivered = (item: T, reason: unknown): void => {
    refused.push([item, reason]);
  };
  const served = serve(queue, ports[0], { onUndelivered, ...serving });
  const there = connect<T>(ports[1], { onUndelivered, ...connecting });
  return { queue, served, there, ports, undelivered, refused };
}

/** The same when both know of each other. */
async function connected<T>(options: PairOptions<T> = {}): Promise<Pair<T>> {
  const both = pair(options);
  await turn();
  assert(both.there.stats().connected && both.served.connected);
  return both;
}

const boom = new RangeError("boom");

// -- There and back ---------------------------------------------------------------

test("port: items go over in order, and the end after them", async () => {
  const { queue, there } = pair<number>({ highWaterMark: 4 });
  const items: number[] = [];
  const taking = (async () => {
    for await (const item of there) items.push(item);
  })();
  await queue.putMany(upTo(100));
  queue.close();
  await taking;
  await Promise.all([queue.closed, there.closed]);
  assertEquals(items, upTo(100));
  assertInvariants(queue);
});

test("port: items come over in order, and the close after them", async () => {
  const { queue, there } = pair<number>({ highWaterMark: 3 });
  const putting = there.putMany(upTo(100)).then(() => there.close());
  const items: number[] = [];
  for await (const item of queue) items.push(item);
  await putting;
  await there.closed;
  assertEquals(items, upTo(100));
  assertEquals([there.stats().put, queue.stats().put], [100, 100]);
});

test("port: any value is an item", async () => {
  const { queue, there } = pair<unknown>();
  const values = [undefined, null, 0, NaN, "", { a: [1n] }, new Map([[1, 2]])];
  await there.putMany(values);
  assertEquals(await queue.getMany(10), values);
  await queue.putMany(values);
  for (const value of values) assertEquals(await there.get(), value);
});

test("port: who connects before anybody serves is served then", async () => {
  const [left, right] = fakeChannel();
  const there = connect<number>(right);
  const put = there.put(1);
  const get = there.get();
  await turn();
  assertEquals([there.stats().connected, there.stats().waitingPuts], [
    false,
    1,
  ]);
  serve(new Queue<number>(), left);
  await put;
  assertEquals(await get, 1);
});

test("port: two queues on one port do not hear each other", async () => {
  const [left, right] = fakeChannel();
  const queues = ["tasks", "results"].map((channel) => {
    const queue = new Queue<string>();
    serve(queue, left, { channel });
    return queue;
  });
  const there = ["tasks", "results"].map((channel) =>
    connect<string>(right, { channel })
  );
  await there[0]!.put("task");
  await there[1]!.put("result");
  assertEquals(queues.map((queue) => queue.clear()), [["task"], ["result"]]);
});

test("port: each end may serve and be connected", async () => {
  const [left, right] = fakeChannel();
  const [here, there] = [new Queue<number>(), new Queue<number>()];
  serve(here, left);
  serve(there, right);
  await connect<number>(right).put(1);
  await connect<number>(left).put(2);
  assertEquals([here.clear(), there.clear()], [[1], [2]]);
});

test("port: the messages of others are left alone", async () => {
  const { ports: [left, right], there, queue } = await connected<number>();
  const envelope = { highwater: 1, channel: "", to: "serving", session: "x" };
  for (
    const message of [
      null,
      undefined,
      1,
      "hello",
      {},
      { highwater: 1 },
      { ...envelope, frames: [["puts", 1, [1]]] },
      { ...envelope, channel: "other", frames: [["close"]] },
      { ...envelope, frames: "close" },
    ]
  ) {
    left.postMessage(message, []);
    right.postMessage(message, []);
  }
  await turn();
  await there.put(7);
  assertEquals([queue.clear(), queue.stats().state], [[7], "open"]);
});

test("port: another version on the other side ends the connection, and says so", async () => {
  const [left, right] = fakeChannel();
  const there = connect<number>(right);
  const get = there.get();
  left.postMessage(
    { highwater: 2, channel: "", to: "connected", session: "", frames: [] },
    [],
  );
  const reason = await reasonOf(get);
  assertInstanceOf(reason, PortClosedError);
  assertEquals(
    reason.message,
    "Cannot connect: both sides must speak version 1, received version 2",
  );
});

test("port: a burst goes in one message, and so do its answers", async () => {
  const { queue, there, ports } = await connected<number>({
    highWaterMark: 100,
    serving: { highWaterMark: 100 },
    connecting: { highWaterMark: 100 },
  });
  const before = ports.map((port) => port.sent);
  await there.putMany(upTo(100));
  assertEquals(queue.length, 100);
  // The puts, the answer, and that it was heard.
  assertEquals(ports.map((port, index) => port.sent - before[index]!), [1, 2]);
  const items = await Promise.all(upTo(100).map(() => there.get()));
  assertEquals(items, upTo(100));
  assertEquals(ports[0].sent - before[0]!, 2);
});

// -- Bounds -----------------------------------------------------------------------

test("port: nothing is fetched before somebody asks", async () => {
  const { queue, there } = await connected<number>();
  queue.tryPut(1);
  await turn();
  assertEquals([queue.length, there.length], [1, 0]);
});

test("port: of a consumer that stops, highWaterMark items wait there", async () => {
  const { queue, there } = await connected<number>({
    highWaterMark: Infinity,
    connecting: { highWaterMark: 5 },
  });
  await queue.putMany(upTo(1000));
  const items: number[] = [];
  for (let taken = 0; taken < 100; taken++) {
    items.push(await there.get());
    assert(there.length <= 6 && queue.stats().inFlight <= 7);
  }
  await turn();
  assertEquals(items, upTo(100));
  assert(queue.stats().inFlight <= 6, `${queue.stats().inFlight} in flight`);
  await there.disconnect();
  assertEquals(await queue.getMany(900), upTo(1000).slice(100));
});

test("port: with highWaterMark 0 an item goes only to who waits", async () => {
  const { queue, there } = await connected<number>({
    connecting: { highWaterMark: 0 },
  });
  await queue.putMany([1, 2, 3]);
  assertEquals(await there.get(), 1);
  await turn();
  assertEquals([queue.length, queue.stats().inFlight], [2, 0]);
  assertEquals(there.tryGet(), undefined);
  await turn();
  assertEquals([queue.length, there.length], [2, 0]);
});

test("port: tryGet() takes what is here and asks for more", async () => {
  const { queue, there } = await connected<number>();
  await queue.putMany([1, 2, 3]);
  assertEquals(there.tryGet(), undefined);
  await turn();
  assertEquals(there.length, 3);
  assertEquals([there.tryGet(), there.tryGet(), there.tryGet()], [1, 2, 3]);
  assertEquals(there.tryGet(), undefined);
  await turn();
  assertEquals([queue.stats().inFlight, there.stats().taken], [0, 3]);
});

test("port: no more puts are sent than there is room for, and one to stand in line", async () => {
  const { queue, there } = await connected<number>({
    highWaterMark: 3,
    serving: { highWaterMark: 2 },
  });
  const puts = upTo(10).map((item) => there.put(item));
  await turn();
  assertEquals(queue.length, 3);
  assertEquals(queue.stats().waitingPuts, 1);
  assertEquals([there.stats().underWay, there.stats().waitingPuts], [1, 6]);
  assertEquals(there.desiredSize, -6);
  const items: number[] = [];
  while (items.length < 10) items.push(await queue.get());
  await Promise.all(puts);
  assertEquals(items, upTo(10));
});

test("port: tryPut() is true while there are credits, of the room over there", async () => {
  const { queue, there } = await connected<number>({ highWaterMark: 2 });
  assertEquals(there.desiredSize, 2);
  assertEquals([1, 2, 3].map((item) => there.tryPut(item)), [
    true,
    true,
    false,
  ]);
  const { ready } = there;
  await turn();
  assertEquals([queue.length, there.desiredSize], [2, 0]);
  assertEquals(there.tryPut(3), false);
  assertEquals(await queue.get(), 1);
  await ready;
  assertEquals(there.tryPut(3), true);
  await turn();
  assertEquals(queue.clear(), [2, 3]);
});

test("port: what was promised and cannot arrive is reported", async () => {
  const { queue, there, refused } = await connected<number>();
  queue.close();
  assertEquals(there.tryPut(1), true);
  await turn();
  assertEquals(refused.length, 1);
  assertEquals(refused[0]![0], 1);
  assertInstanceOf(refused[0]![1], QueueClosedError);
});

test("port: a rendezvous takes one put at a time", async () => {
  const { queue, there } = await connected<number>({ highWaterMark: 0 });
  const puts = [1, 2].map((item) => there.put(item));
  await turn();
  assertEquals([queue.length, queue.stats().waitingPuts], [0, 1]);
  assertEquals([await queue.get(), await queue.get()], [1, 2]);
  await Promise.all(puts);
});

test("port: the weight of an item is that of the queue", async () => {
  const { queue, there } = await connected<string>({
    highWaterMark: 10,
    size: (item) => item.length,
  });
  const puts = ["12345678", "12345", "1"].map((item) => there.put(item));
  await turn();
  assertEquals([queue.length, queue.stats().waitingPuts], [2, 1]);
  assertEquals(await queue.getMany(2), ["12345678", "12345"]);
  await Promise.all(puts);
});

// -- Cancelling -------------------------------------------------------------------

test("port: a signal that has fired wins, and nothing moves", async () => {
  const { queue, there } = await connected<number>();
  await queue.put(1);
  const signal = AbortSignal.abort(boom);
  assertStrictEquals(await reasonOf(there.get({ signal })), boom);
  assertStrictEquals(await reasonOf(there.getMany(2, { signal })), boom);
  assertStrictEquals(await reasonOf(there.put(2, { signal })), boom);
  assertStrictEquals(await reasonOf(there.putMany([2], { signal })), boom);
  await turn();
  assertEquals(queue.clear(), [1]);
});

test("port: a put that stands in line is taken back by its signal", async () => {
  const { queue, there } = await connected<number>({ highWaterMark: 1 });
  const controller = new AbortController();
  const { signal } = controller;
  await there.put(0);
  const puts = [1, 2].map((item) => there.put(item, { signal }));
  const kept = there.put(3);
  await turn();
  assertEquals(queue.stats().waitingPuts, 1);
  controller.abort(boom);
  for (const put of puts) assertStrictEquals(await reasonOf(put), boom);
  await turn();
  assertEquals(await queue.getMany(9), [0, 3]);
  await kept;
  assertEquals(queue.length, 0);
});

test("port: a put whose signal fires when it has been accepted stays", async () => {
  const { queue, there } = await connected<number>();
  const controller = new AbortController();
  const put = there.put(1, controller);
  await Promise.resolve(); // it is on its way
  controller.abort(boom);
  await put;
  assertEquals(queue.clear(), [1]);
});

test("port: a get that is cancelled takes nothing, and an item that was on its way goes back", async () => {
  const { queue, there } = await connected<number>({
    connecting: { highWaterMark: 0 },
  });
  const controller = new AbortController();
  const get = there.get(controller);
  await turn();
  const order: number[] = [];
  queue.tryPut(1);
  queue.tryPut(2);
  controller.abort(boom);
  assertStrictEquals(await reasonOf(get), boom);
  await turn();
  assertEquals(queue.stats().inFlight, 0);
  order.push(await queue.get(), await queue.get());
  assertEquals(order, [1, 2]);
});

test("port: a get that is cancelled before the item exists stands in line no more", async () => {
  const { queue, there } = await connected<number>();
  const controller = new AbortController();
  const get = there.get(controller);
  await turn();
  assertEquals(queue.stats().waitingGets, 1);
  controller.abort(boom);
  await reasonOf(get);
  await turn();
  assertEquals(queue.stats().waitingGets, 0);
  const again = there.get();
  queue.tryPut(1);
  assertEquals(await again, 1);
});

test("port: breaking off a loop leaves the line", async () => {
  const { queue, there } = await connected<number>({
    connecting: { highWaterMark: 0 },
  });
  const iterator = there[Symbol.asyncIterator]();
  const next = iterator.next();
  await turn();
  await iterator.return!();
  assertEquals(await next, { done: true, value: undefined });
  await turn();
  assertEquals([queue.stats().waitingGets, queue.tryPut(1)], [0, true]);
  await turn();
  assertEquals(queue.length, 1);
});

test("port: a released reader and a cancelled consumer leave the line", async () => {
  const { queue, there } = await connected<number>({
    connecting: { highWaterMark: 0 },
  });
  const reader = there.consumer().getReader();
  const read = reader.read();
  await turn();
  assertEquals(queue.stats().waitingGets, 1);
  reader.releaseLock();
  await assertRejects(() => read, TypeError);
  await turn();
  assertEquals(queue.stats().waitingGets, 0);
  const other = there.consumer();
  const native = ReadableStreamDefaultReader;
  const second = new native(other).read();
  await turn();
  assertEquals(queue.stats().waitingGets, 1);
  void second;
});

test("port: getMany() lingers, and takes what is there", async () => {
  const { queue, there } = await connected<number>();
  const batch = there.getMany(3, { linger: 60_000 });
  for (const item of [1, 2, 3]) await queue.put(item);
  assertEquals(await batch, [1, 2, 3]);
  const controller = new AbortController();
  const cut = there.getMany(3, { linger: 60_000, signal: controller.signal });
  await queue.put(4);
  await turn();
  controller.abort(boom);
  assertEquals(await cut, [4]);
});

test("port: 2,000 gets and puts are cancelled, one by one and at once", async () => {
  const empty = await connected<number>();
  const full = await connected<number>({ highWaterMark: 1 });
  await full.there.put(0);
  const shared = new AbortController();
  const own = Array.from({ length: 1_000 }, () => new AbortController());
  const waiting: Promise<unknown>[] = [];
  for (const { signal } of [...own, ...own.map(() => shared)]) {
    waiting.push(empty.there.get({ signal }), full.there.put(1, { signal }));
  }
  await turn();
  for (const controller of own.reverse()) controller.abort(boom);
  shared.abort(boom);
  const fates = await Promise.allSettled(waiting);
  assert(
    fates.every((fate) => fate.status === "rejected" && fate.reason === boom),
  );
  await turn();
  assertEquals(
    [empty.there.stats().waitingGets, empty.queue.stats().waitingGets],
    [0, 0],
  );
  assertEquals([full.there.stats().waitingPuts, full.queue.clear()], [0, [0]]);
});

// -- Endings ----------------------------------------------------------------------

test("port: close() there lets in what waits, and ends the queue here", async () => {
  const { queue, there } = await connected<number>({ highWaterMark: 1 });
  const puts = [1, 2, 3, 4].map((item) => there.put(item));
  there.close();
  const late = await reasonOf(there.put(5));
  assertInstanceOf(late, QueueClosedError);
  assertEquals(late.item, 5);
  assertThrows(() => there.tryPut(5), QueueClosedError);
  assertEquals([there.desiredSize, await there.ready], [0, undefined]);
  const items: number[] = [];
  for await (const item of queue) items.push(item);
  await Promise.all(puts);
  await there.closed;
  assertEquals(items, [1, 2, 3, 4]);
  assertEquals(there.stats().state, "closed");
});

test("port: close() here reaches puts there", async () => {
  const { queue, there } = await connected<number>({ highWaterMark: 1 });
  const puts = [1, 2, 3].map((item) => there.put(item));
  await turn();
  queue.close();
  // The first is stored, the second stands in line, the third had no credit.
  const reason = await reasonOf(puts[2]!);
  assertInstanceOf(reason, QueueClosedError);
  assertEquals(reason.item, 3);
  assertEquals(await queue.getMany(5), [1, 2]);
  await Promise.all(puts.slice(0, 2));
  assertEquals(await there.getMany(5), []);
});

test("port: fail() there: what is stored is delivered, then the reason", async () => {
  const { queue, there } = await connected<number>();
  await there.put(1);
  there.fail(boom);
  assertEquals(there.desiredSize, null);
  assertStrictEquals(await reasonOf(there.ready), boom);
  assertEquals(await queue.get(), 1);
  const reason = await reasonOf(queue.get());
  assertInstanceOf(reason, RangeError);
  assertEquals(reason.message, "boom");
  assertStrictEquals(await reasonOf(there.closed), boom);
  assertStrictEquals(await reasonOf(there.get()), boom);
});

test("port: fail() here: the same from the other side", async () => {
  const { queue, there } = await connected<number>();
  await queue.put(1);
  queue.fail(boom);
  assertEquals(await there.get(), 1);
  const reason = await reasonOf(there.get());
  assertInstanceOf(reason, RangeError);
  assertEquals(reason.message, "boom");
  const refusal = await reasonOf(there.put(2));
  assertInstanceOf(refusal, QueueClosedError);
  assertEquals(refusal.item, 2);
  assertInstanceOf(refusal.cause, RangeError);
});

test("port: abort() there: what waits rejects now, what is stored is reported here", async () => {
  const { queue, there, undelivered } = await connected<number>({
    highWaterMark: 2,
    connecting: { highWaterMark: 1 },
  });
  await there.putMany([1, 2]);
  assertEquals(await there.get(), 1);
  await turn();
  const puts = [3, 4, 5].map((item) => there.put(item));
  await turn();
  there.abort(boom);
  assertStrictEquals(await reasonOf(there.closed), boom);
  assertStrictEquals(await reasonOf(there.get()), boom);
  assertStrictEquals(await reasonOf(there.put(9)), boom);
  const fates = await Promise.allSettled(puts);
  await turn();
  const accepted = [3, 4, 5].filter((_, at) =>
    fates[at]!.status === "fulfilled"
  );
  assertEquals(undelivered.sort(), [2, ...accepted]);
  assertEquals((await reasonOf(queue.closed) as Error).message, "boom");
  assertInvariants(queue);
});

test("port: abort() here: the same from the other side", async () => {
  const { queue, there, undelivered } = await connected<number>({
    highWaterMark: 3,
    connecting: { highWaterMark: 1 },
  });
  await queue.putMany([1, 2, 3]);
  assertEquals(await there.get(), 1);
  await turn();
  assertEquals(there.length, 1);
  queue.abort(boom);
  await turn();
  assertEquals(undelivered.sort(), [2, 3]);
  assertInstanceOf(await reasonOf(there.get()), RangeError);
  assertInstanceOf(await reasonOf(there.closed), RangeError);
  assertEquals(queue.stats().inFlight, 0);
});

test("port: abort() without a reason is an AbortError on both sides", async () => {
  const { queue, there } = await connected<number>();
  there.abort();
  for (const closed of [there.closed, queue.closed]) {
    const reason = await reasonOf(closed);
    assertInstanceOf(reason, DOMException);
    assertEquals(reason.name, "AbortError");
  }
});

test("port: the first verb wins, and abort() may cut a close() short", async () => {
  const { queue, there } = await connected<number>();
  await there.put(1);
  there.close();
  there.fail(boom);
  there.close();
  await turn();
  there.abort(boom);
  assertStrictEquals(await reasonOf(there.closed), boom);
  await turn();
  assertEquals(queue.stats().state, "errored");
});

test("port: a queue that had ended before is ended there", async () => {
  const queue = new Queue<number>();
  queue.close();
  const [left, right] = fakeChannel();
  serve(queue, left);
  const there = connect<number>(right);
  assertEquals(await there.next(), { done: true, value: undefined });
  await there.closed;
  const aborted = new Queue<number>();
  aborted.abort(boom);
  const [third, fourth] = fakeChannel();
  serve(aborted, third);
  assertInstanceOf(await reasonOf(connect<number>(fourth).get()), RangeError);
});

test("port: verbs before anybody serves arrive", async () => {
  const [left, right] = fakeChannel();
  const there = connect<number>(right);
  const put = there.put(1);
  there.close();
  await turn();
  const queue = new Queue<number>();
  serve(queue, left);
  await put;
  assertEquals(await queue.getMany(2), [1]);
  await queue.closed;
});

// -- Leaving ----------------------------------------------------------------------

test("port: who disconnects gives back what it has, in order, and ends nothing", async () => {
  const { queue, there, served } = await connected<number>();
  await queue.putMany(upTo(10));
  assertEquals(await there.getMany(1), [0]);
  await turn();
  const get = there.get();
  assertEquals(await get, 1);
  const waiting = reasonOf(there.closed);
  await there.disconnect();
  assertEquals((await waiting as Error).name, "AbortError");
  assertEquals((await reasonOf(there.put(1)) as Error).name, "AbortError");
  await turn();
  assert(!served.connected);
  assertEquals(await queue.getMany(10), upTo(10).slice(2));
  assertEquals(queue.stats().state, "open");
  await there.disconnect();
});

test("port: who disconnects learns the fate of its puts", async () => {
  const { queue, there } = await connected<number>({ highWaterMark: 1 });
  const puts = [1, 2, 3].map((item) => there.put(item));
  await turn();
  await there.disconnect();
  const fates = await Promise.allSettled(puts);
  assertEquals(fates.map((fate) => fate.status), [
    "fulfilled",
    "rejected",
    "rejected",
  ]);
  assertEquals([queue.clear(), queue.stats().waitingPuts], [[1], 0]);
});

test("port: another may connect after one has left, or instead of it", async () => {
  const { queue, there, ports } = await connected<number>();
  await there.put(1);
  await there.disconnect();
  const second = connect<number>(ports[1]);
  assertEquals(await second.get(), 1);
  const lent = queue.put(2).then(() => turn());
  await lent;
  assertEquals(second.length, 1);
  const third = connect<number>(ports[1]);
  assertEquals(await third.get(), 2);
});

test("port: when nobody serves any more, what waits rejects and nothing is lost", async () => {
  const { queue, there, served } = await connected<number>({
    highWaterMark: 2,
    connecting: { highWaterMark: 1 },
  });
  await queue.putMany([1, 2]);
  assertEquals(await there.get(), 1);
  await turn();
  await there.putMany([3, 4]);
  const put = there.put(5);
  await turn();
  await served.stop();
  const reason = await reasonOf(put);
  assertInstanceOf(reason, PortClosedError);
  await turn();
  assertEquals(queue.stats().waitingPuts, 0);
  assertInstanceOf(await reasonOf(there.get()), PortClosedError);
  assertEquals(queue.clear(), [2, 3, 4]);
  await served.stop();
});

test("port: a closed port ends this side, and gives back what it had", async () => {
  const { queue, there, ports, served } = await connected<number>({
    highWaterMark: 2,
    connecting: { highWaterMark: 1 },
  });
  await queue.putMany([1, 2]);
  assertEquals(await there.get(), 1);
  await turn();
  await there.putMany([3, 4]);
  const put = there.put(5);
  await turn();
  ports[1].close();
  const reason = await reasonOf(put);
  assertInstanceOf(reason, PortClosedError);
  assertEquals(reason.item, 5);
  for (const waiting of [there.get(), there.closed, there.put(6)]) {
    assertInstanceOf(await reasonOf(waiting), PortClosedError);
  }
  await turn();
  assert(!served.connected);
  assertEquals(queue.clear(), [2, 3, 4]);
  assertInvariants(queue);
});

test("port: what a side had whose port is closed goes back in its order", async () => {
  const { queue, there, ports } = await connected<number>({
    highWaterMark: 9,
  });
  await queue.putMany([1, 2, 3, 4, 5]);
  assertEquals(await there.get(), 1);
  await turn();
  assertEquals(there.length, 4);
  ports[1].close();
  await turn();
  assertEquals([there.length, queue.clear()], [0, [2, 3, 4, 5]]);
});

test("port: of what goes back the oldest goes to who waits", async () => {
  const { queue, there } = await connected<number>();
  await queue.putMany([1, 2, 3, 4]);
  assertEquals(await there.get(), 1);
  await turn();
  const gets = [queue.get(), queue.get()];
  await there.disconnect();
  assertEquals(await Promise.all(gets), [2, 3]);
  assertEquals(await queue.get(), 4);
});

test("port: a side that is silent for three heartbeats is gone", async () => {
  const clock = new SteppedClock();
  const { queue, there, ports, served } = await connected<number>({
    serving: { heartbeat: 100, clock },
    connecting: { heartbeat: 100, clock },
  });
  await queue.putMany([1, 2]);
  assertEquals(await there.get(), 1);
  for (let beat = 0; beat < 20; beat++) {
    clock.advance(100);
    await turn();
  }
  assert(served.connected && there.stats().connected);
  ports[0].silent = true;
  ports[1].silent = true;
  const get = reasonOf(there.next().then(() => there.next()));
  for (let beat = 0; beat < 5; beat++) {
    clock.advance(100);
    await turn();
  }
  assertInstanceOf(await get, PortClosedError);
  assert(!served.connected);
  assertEquals(queue.clear(), [2]);
});

// -- What cannot be sent ----------------------------------------------------------

test("port: a put that cannot be cloned rejects alone, with its item", async () => {
  const { queue, there, refused } = await connected<unknown>();
  const wrong = (): void => {};
  const puts = [1, wrong, 2].map((item) => there.put(item));
  const reason = await reasonOf(puts[1]!) as Error & { item: unknown };
  assertEquals(reason.name, "DataCloneError");
  assertStrictEquals(reason.item, wrong);
  await Promise.all([puts[0], puts[2]]);
  assertEquals(queue.clear(), [1, 2]);
  assert(there.tryPut(wrong));
  await turn();
  assertStrictEquals(refused[0]![0], wrong);
  // The credits were not used up.
  for (let attempt = 0; attempt < 40; attempt++) {
    await reasonOf(there.put(wrong));
  }
  await there.put(3);
});

test("port: an item that cannot be cloned is reported, those behind it go on", async () => {
  const { queue, there, refused } = await connected<unknown>();
  const wrong = Symbol("wrong");
  await queue.putMany([1, wrong, 2, wrong, wrong]);
  queue.close();
  const items: unknown[] = [];
  for await (const item of there) items.push(item);
  assertEquals(items, [1, 2]);
  assertEquals(refused.map(([item]) => item), [wrong, wrong, wrong]);
  await queue.closed;
});

test("port: what is transferred is moved, both ways", async () => {
  const transfer = (item: Uint8Array<ArrayBuffer>): Transferable[] => [
    item.buffer,
  ];
  const { queue, there } = await connected<Uint8Array<ArrayBuffer>>({
    serving: { transfer },
    connecting: { transfer, highWaterMark: 0 },
  });
  const out = new Uint8Array([1, 2, 3]);
  await queue.put(out);
  assertEquals([...await there.get()], [1, 2, 3]);
  assertEquals(out.byteLength, 0);
  const back = new Uint8Array([4]);
  await there.put(back);
  assertEquals(back.byteLength, 0);
  assertEquals([...await queue.get()], [4]);
});

test("port: what cannot be cloned costs its neighbours nothing that is moved with them", async () => {
  type Item = { bytes: Uint8Array<ArrayBuffer>; odd?: () => void };
  const transfer = ({ bytes }: Item): Transferable[] => [bytes.buffer];
  const item = (byte: number): Item => ({ bytes: new Uint8Array([byte]) });
  const { port1, port2 } = new MessageChannel();
  const lost: unknown[] = [];
  const onUndelivered = (item: Item): void => void lost.push(item);
  const queue = new Queue<Item>();
  const served = serve(queue, port1, { transfer, onUndelivered });
  const there = connect<Item>(port2, { transfer, onUndelivered });
  await queue.putMany([item(1), { ...item(0), odd: () => {} }, item(2)]);
  assertEquals([...(await there.get()).bytes], [1]);
  assertEquals([...(await there.get()).bytes], [2]);
  assertEquals(lost.length, 1);
  const puts = [item(3), { ...item(0), odd: () => {} }, item(4)]
    .map((item) => there.put(item));
  assertEquals(((await reasonOf(puts[1]!)) as Error).name, "DataCloneError");
  await Promise.all([puts[0], puts[2]]);
  assertEquals([...(await there.get()).bytes], [3]);
  assertEquals([...(await there.get()).bytes], [4]);
  await there.disconnect();
  await served.stop();
  port1.close();
  port2.close();
});

test("port: what was moved comes back whole when it is given back", async () => {
  const transfer = (item: Uint8Array<ArrayBuffer>): Transferable[] => [
    item.buffer,
  ];
  const { queue, there } = await connected<Uint8Array<ArrayBuffer>>({
    serving: { transfer },
  });
  await queue.putMany([1, 2, 3].map((byte) => new Uint8Array([byte])));
  assertEquals([...await there.get()], [1]);
  await turn();
  assertEquals(there.length, 2);
  await there.disconnect();
  await turn();
  assertEquals(queue.clear().map((item) => [...item]), [[2], [3]]);
});

test("port: what was moved to a side that dies is reported", async () => {
  const transfer = (item: Uint8Array<ArrayBuffer>): Transferable[] => [
    item.buffer,
  ];
  const { queue, there, ports, refused } = await connected<
    Uint8Array<ArrayBuffer>
  >({ serving: { transfer } });
  await queue.putMany([1, 2].map((byte) => new Uint8Array([byte])));
  assertEquals([...await there.get()], [1]);
  await turn();
  ports[1].close();
  await turn();
  assertEquals([refused.length, queue.length], [1, 0]);
  queue.close();
  await queue.closed;
});

test("port: a transfer that throws refuses that item alone", async () => {
  const transfer = (item: number): Transferable[] => {
    if (item === 2) throw boom;
    return [];
  };
  const { queue, there } = await connected<number>({
    connecting: { transfer },
  });
  const puts = [1, 2, 3].map((item) => there.put(item));
  assertStrictEquals(await reasonOf(puts[1]!), boom);
  await Promise.all([puts[0], puts[2]]);
  assertEquals(queue.clear(), [1, 3]);
});

// -- Streams and producers --------------------------------------------------------

test("port: pipes go both ways, natively and by the short cut", async () => {
  const { queue, there } = await connected<number>({ highWaterMark: 3 });
  const source = (): ReadableStream<number> =>
    new ReadableStream({
      start(controller) {
        for (const item of upTo(30)) controller.enqueue(item);
        controller.close();
      },
    });
  const native = source().pipeTo(there.writable);
  const items: number[] = [];
  await queue.readable.pipeTo(
    new WritableStream({ write: (item) => void items.push(item) }),
  );
  await native;
  assertEquals(items, upTo(30));

  const other = await connected<number>({ highWaterMark: 3 });
  const piped = source().pipeThrough(other.queue);
  assert(piped instanceof ReadableStream);
  const second: number[] = [];
  const third = new Queue<number>({ highWaterMark: 2 });
  const piping = other.there.readable.pipeTo(third.writable);
  for await (const item of third) second.push(item);
  await piping;
  assertEquals(second, upTo(30));
});

test("port: writable and readable end the queue as those of a queue do", async () => {
  const first = await connected<number>();
  assertStrictEquals(first.there.writable, first.there.writable);
  assertStrictEquals(first.there.readable, first.there.readable);
  await first.there.writable.close();
  await first.queue.closed;
  const second = await connected<number>();
  await second.there.writable.abort(boom);
  assertInstanceOf(await reasonOf(second.queue.closed), RangeError);
  const third = await connected<number>();
  await third.there.readable.cancel(boom);
  assertInstanceOf(await reasonOf(third.queue.closed), RangeError);
  const fourth = await connected<number>();
  await fourth.there.consumer().cancel(boom);
  await turn();
  assertEquals(fourth.queue.stats().state, "open");
});

test("port: the queue closes when the last producer of either side is done", async () => {
  const { queue, there } = await connected<number>({ highWaterMark: 2 });
  const writers = [queue.producer(), there.producer(), there.producer()].map(
    (stream) => stream.getWriter(),
  );
  await turn();
  assertEquals(queue.stats().producers, 3);
  const writing = writers.map(async (writer, index) => {
    for (const item of upTo(10)) await writer.write(index * 10 + item);
    await writer.close();
  });
  const items: number[] = [];
  for await (const item of queue) items.push(item);
  await Promise.all(writing);
  assertEquals(items.sort((a, b) => a - b), upTo(30));
});

test("port: a producer that fails there fails the queue after the others", async () => {
  const { queue, there } = await connected<number>();
  const [bad, good] = [there.producer(), there.producer()];
  await bad.getWriter().abort(boom);
  const writer = good.getWriter();
  await writer.write(1);
  await writer.close();
  assertEquals(await queue.get(), 1);
  const reason = await reasonOf(queue.get());
  assertInstanceOf(reason, AggregateError);
  assertInstanceOf(reason.errors[0], RangeError);
  const over = await reasonOf(there.get());
  assertInstanceOf(over, AggregateError);
  assertThrows(() => there.producer(), QueueClosedError);
});

test("port: producers of a side that leaves have failed", async () => {
  const { queue, there } = await connected<number>();
  there.producer();
  await turn();
  assertEquals(queue.stats().producers, 1);
  await there.disconnect();
  await turn();
  assertInstanceOf(await reasonOf(queue.closed), AggregateError);
});

test("port: onError of a producer means there what it means here", async () => {
  const first = await connected<number>();
  await first.there.producer({ onError: "abort" }).abort(boom);
  assertInstanceOf(await reasonOf(first.queue.closed), RangeError);
  const second = await connected<number>();
  await second.there.producer({ onError: "ignore" }).abort(boom);
  await second.queue.closed;
  assertThrows(
    () => first.there.producer({ onError: "hide" as "abort" }),
    TypeError,
    "Cannot register a producer: onError must be",
  );
});

// -- Kinds, overflow, arguments ---------------------------------------------------

test("port: a PriorityQueue keeps its order, a full one its policy", async () => {
  const queue = new PriorityQueue<number>({ priority: (item) => item });
  const [left, right] = fakeChannel();
  serve(queue, left);
  const there = connect<number>(right, { highWaterMark: 0 });
  await there.putMany([3, 1, 2]);
  assertEquals(
    [await there.get(), await there.get(), await there.get()],
    [1, 2, 3],
  );
  const rejecting = await connected<number>({
    highWaterMark: 1,
    overflow: "reject",
  });
  await rejecting.there.put(1);
  const reason = await reasonOf(rejecting.there.put(2));
  assertInstanceOf(reason, QueueFullError);
  assertEquals(reason.item, 2);
  const dropping = await connected<number>({
    highWaterMark: 1,
    overflow: "drop-newest",
  });
  await dropping.there.putMany([1, 2]);
  assertEquals([dropping.queue.clear(), dropping.undelivered], [[1], [2]]);
});

test("port: what size() throws reaches the put", async () => {
  const { there } = await connected<number>({
    size: (item) => {
      if (item === 1) throw boom;
      return 1;
    },
  });
  const reason = await reasonOf(there.put(1));
  assertInstanceOf(reason, RangeError);
  await there.put(2);
});

test("port: wrong arguments are named, and nothing has begun", () => {
  const [left] = fakeChannel();
  const queue = new Queue<number>();
  const wrong = (value: unknown): never => value as never;
  for (
    const [act, message] of [
      [() => serve(wrong({}), left), "Cannot serve: queue must be a Queue"],
      [() => serve(queue, wrong(1)), "Cannot serve: port must be"],
      [() => connect(wrong({})), "Cannot connect: port must be"],
      [() => connect(left, wrong(null)), "options must be an object"],
      [() => connect(left, { channel: wrong(1) }), "channel must be a string"],
      [() => connect(left, { highWaterMark: -1 }), "highWaterMark must be"],
      [() => serve(queue, left, { highWaterMark: 0 }), "highWaterMark must be"],
      [() => connect(left, { heartbeat: 0 }), "heartbeat must be"],
      [() => connect(left, { transfer: wrong([]) }), "transfer must be"],
      [() => connect(left, { onUndelivered: wrong(1) }), "onUndelivered must"],
      [() => connect(left, { clock: wrong({}) }), "clock must have"],
    ] as const
  ) {
    const error = assertThrows(act, Error);
    assert(
      error.message.includes(message) &&
        (error instanceof TypeError || error instanceof RangeError),
      error.message,
    );
  }
  assertEquals(left.sent, 0);
});
