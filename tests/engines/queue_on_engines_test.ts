/**
 * What a queue on an engine does, the same on Redis with either client and on NATS.
 */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { consume, QueueClosedError, QueueFullError } from "../../mod.ts";
import { bytes, json, structured } from "../../src/redis.ts";
import { MISSING, startEngine } from "../support/engine_servers.ts";
import {
  type EngineName,
  type EnginePlace,
  ENGINES,
} from "../support/engines.ts";
import { test } from "../support/harness.ts";
import { upTo } from "../support/items.ts";
import { pause, until } from "../support/waiting.ts";

function testOnEngines(
  name: string,
  body: (place: EnginePlace) => Promise<void>,
): void {
  for (const [engine, connect] of Object.entries(ENGINES)) {
    test(`${engine}: ${name}`, async () => {
      await using server = await startEngine(engine as EngineName);
      await using place = await connect(server.address);
      await body(place);
    }, { skip: MISSING[engine as EngineName] });
  }
}

testOnEngines(
  "items go from one handle to another, by all roads",
  async ({ open }) => {
    const [producer, consumer] = [open(), open()];
    await producer.put(1);
    await producer.putMany([2, 3]);
    const writer = producer.writable.getWriter();
    await writer.write(4);
    await writer.close();
    await ReadableStream.from([5, 6]).pipeTo(producer.producer());
    const first = await consumer.receive();
    assertEquals([first.item, first.attempt], [1, 1]);
    assertEquals(await first.ack(), true);
    const many: number[] = [];
    while (many.length < 2) {
      for (const delivery of await consumer.receiveMany(2 - many.length)) {
        many.push(delivery.item);
        await delivery.ack();
      }
    }
    const items: number[] = [];
    for await (const delivery of consumer.readable) {
      items.push(delivery.item);
      await delivery.ack();
      if (items.length === 3) break;
    }
    assertEquals([...many, ...items], [2, 3, 4, 5, 6]);
    const stats = await producer.stats();
    assertEquals([stats.backlog, stats.inFlight, stats.deadLetters], [0, 0, 0]);
    assertEquals(stats.oldestAge, undefined);
  },
);

testOnEngines(
  "what one process puts another consumes, as from any queue",
  async ({ open }) => {
    const [jobs, other] = [open(), open()];
    const seen: number[] = [];
    const ending = new AbortController();
    await jobs.putMany([1, 2, 3, 4]);
    const report = await consume(other, (item) => {
      seen.push(item);
      if (seen.length === 4) ending.abort();
    }, { signal: ending.signal });
    assertEquals(seen, [1, 2, 3, 4]);
    assertEquals(report.processed, 4);
  },
);

testOnEngines(
  "what always fails ends among the dead letters, with the error",
  async ({ open, stored }) => {
    const queue = open({ attempts: 3 });
    await queue.putMany([1, 2, 3]);
    const attempts: Record<number, number[]> = { 1: [], 2: [], 3: [] };
    const ending = new AbortController();
    const consuming = consume(queue, async (item, { attempt }) => {
      attempts[item]!.push(attempt);
      if (item === 2) {
        throw Object.assign(new Error("poison"), { status: 503 });
      }
      await undefined;
    }, {
      concurrency: 2,
      retry: { attempts: 3, delay: 1 },
      signal: ending.signal,
    });
    await until(async () => {
      const { backlog, inFlight } = await queue.stats();
      return backlog + inFlight === 0;
    });
    ending.abort();
    const report = await consuming;
    assertEquals(attempts, { 1: [1], 2: [1, 2, 3], 3: [1] });
    assertEquals([report.processed, report.retried], [2, 2]);
    assertEquals(report.deadLettered, 1);
    const [letter, ...others] = await stored("dead");
    assertEquals([letter!.text, others.length], ["2", 0]);
    assertStringIncludes(letter!.details, 'Error: poison {"status":503}');
  },
);

testOnEngines(
  "what cannot be decoded fails, is counted, and ends among the dead letters",
  async ({ open, inject, stored }) => {
    const queue = open({ attempts: 2 });
    await queue.put(1);
    await inject("{no json");
    await queue.put(2);
    const items: number[] = [];
    while (items.length < 2) {
      const delivery = await queue.receive();
      items.push(delivery.item);
      await delivery.ack();
    }
    assertEquals(items, [1, 2]);
    const next = queue.receive();
    await until(async () => (await queue.stats()).deadLetters === 1);
    const [letter] = await stored("dead");
    assertEquals(letter!.text, "{no json");
    assertStringIncludes(letter!.details, "undecodable");
    assert(/(attempt|Deliveries:) 2\b/.test(letter!.details), letter!.details);
    await queue.put(3);
    const after = await next;
    assertEquals(after.item, 3);
    await after.ack();
  },
);

testOnEngines(
  "what a crash cuts off too often is buried before a handler sees it",
  async ({ open, stored }) => {
    const queue = open<string>({ attempts: 2, visibility: 150 });
    await queue.put("crash");
    for (const attempt of [1, 2]) {
      const delivery = await queue.receive();
      assertEquals(delivery.attempt, attempt);
    }
    const none = queue.receive();
    none.catch(() => {});
    await until(async () => (await queue.stats()).deadLetters === 1);
    assertStringIncludes((await stored("dead"))[0]!.details, "deliveries");
  },
);

testOnEngines("bytes of any value arrive as they were", async ({ open }) => {
  const queue = open<Uint8Array>({ codec: bytes() });
  const all = Uint8Array.from({ length: 256 }, (_, index) => index);
  const items = [all, new Uint8Array(0), new Uint8Array([0, 255, 13, 10, 128])];
  await queue.putMany(items);
  for (const item of items) {
    const delivery = await queue.receive();
    assertEquals(delivery.item, item);
    assertEquals(delivery.item.buffer.byteLength, item.length);
    await delivery.ack();
  }
});

testOnEngines(
  "what JSON cannot carry arrives as it was with structured()",
  async ({ open }) => {
    const queue = open<unknown>({ codec: structured() });
    const items = [
      new Map([["when", new Date(5)]]),
      { rates: [NaN, -0, 1n], tags: new Set(["a"]) },
      new Float64Array([1.5, -2]),
      undefined,
      { body: new Uint8Array(5_000).fill(0xff) },
    ];
    await queue.putMany(items);
    for (const item of items) {
      const delivery = await queue.receive();
      assertEquals(delivery.item, item);
      await delivery.ack();
    }
  },
);

testOnEngines(
  "json is text on the engine, and may be put there by others",
  async ({ open, stored, inject }) => {
    const queue = open<unknown>();
    const texts = ['{"a":[1,null]}', "1.5", '"é"', "undefined"];
    const items = [{ a: [1, null] }, 1.5, "é", undefined];
    await queue.putMany(items);
    assertEquals((await stored()).map(({ text }) => text), texts);
    for (const text of texts) await inject(text);
    for (const item of [...items, ...items]) {
      const delivery = await queue.receive();
      assertEquals(delivery.item, item);
      await delivery.ack();
    }
    const strict = open<unknown>({ codec: json() }, "others");
    await assertRejects(
      () => strict.put({ tags: new Map() }),
      TypeError,
      "Cannot encode: item.tags must be what JSON carries unchanged",
    );
    assertEquals((await strict.stats()).backlog, 0);
  },
);

testOnEngines(
  "headers travel beside an item, as long as it may be",
  async ({ open }) => {
    const queue = open<string>({
      headersOf: (item) => ({ length: String(item.length) }),
    });
    const items = ["", "ü", "x".repeat(5_000)];
    await queue.putMany(items);
    for (const item of items) {
      const delivery = await queue.receive();
      assertEquals(delivery.item, item);
      assertEquals(delivery.headers, { length: String(item.length) });
      await delivery.ack();
    }
  },
);

testOnEngines(
  "at its capacity it refuses, or lets puts wait for room",
  async ({ open }) => {
    const queue = open<string>({ capacity: 2 });
    const strict = open<string>({ capacity: 2, overflow: "reject" });
    await queue.putMany(["a", "b"]);
    const error = await assertRejects(() => strict.put("c"), QueueFullError);
    assertEquals((error as QueueFullError<string>).item, "c");
    let isIn = false;
    const putting = queue.putMany(["c", "d", "e", "f"])
      .then(() => isIn = true);
    await pause(100);
    assertEquals([isIn, queue.waitingPuts], [false, 4]);
    const items: string[] = [];
    while (items.length < 6) {
      const { backlog, inFlight } = await queue.stats();
      assert(backlog + inFlight <= 2);
      const delivery = await queue.receive();
      items.push(delivery.item);
      await delivery.ack();
    }
    await putting;
    assertEquals(items, ["a", "b", "c", "d", "e", "f"]);
  },
);

testOnEngines(
  "a stream into a slow queue has the backpressure of its capacity",
  async ({ open }) => {
    const queue = open({ capacity: 5, highWaterMark: 3, prefetch: 0 });
    let pulled = 0;
    const source = new ReadableStream<number>({
      pull(controller) {
        if (pulled === 40) controller.close();
        else controller.enqueue(pulled++);
      },
    }, { highWaterMark: 0 });
    const piping = source.pipeTo(queue.producer());
    const seen: number[] = [];
    for (let count = 0; count < 40; count++) {
      const delivery = await queue.receive();
      await pause(2);
      // On the engine, on the way, in the streams, and this one.
      assert(pulled - seen.length <= 5 + 3 + 3 + 1, `${pulled - seen.length}`);
      seen.push(delivery.item);
      await delivery.ack();
    }
    await piping;
    assertEquals(seen, Array.from({ length: 40 }, (_, index) => index));
  },
);

testOnEngines(
  "queues that share a client share nothing else, and leave it open",
  async ({ open, isConnected }) => {
    const queues = ["a", "b", "c"].map((name) => open<string>({}, name));
    await Promise.all(queues.map((queue) => queue.put(queue.name)));
    for (const queue of queues) {
      const delivery = await queue.receive();
      assertEquals(delivery.item, queue.name);
      await delivery.ack();
      await queue.close();
    }
    assert(await isConnected());
  },
);

testOnEngines(
  "close() gives back what was fetched early, and refuses the rest",
  async ({ open, isConnected }) => {
    const [leaving, staying] = [open(), open()];
    await leaving.putMany([1, 2, 3]);
    const held = await leaving.receive();
    const waiting = open({}, "empty").receive();
    waiting.catch(() => {});
    const closing = leaving.close();
    await assertRejects(() => leaving.put(4), QueueClosedError);
    await assertRejects(() => leaving.receive(), QueueClosedError);
    const items: number[] = [];
    while (items.length < 2) {
      const delivery = await staying.receive();
      assertEquals(delivery.attempt, 1);
      items.push(delivery.item);
      await delivery.ack();
    }
    assertEquals(items, [2, 3]);
    assertEquals(await held.ack(), true);
    await closing;
    assert(await isConnected());
  },
);

testOnEngines(
  "close() gives back at once what nobody has looked at, and it does not count",
  async ({ open }) => {
    const jobs = open({ prefetch: 100 });
    await jobs.putMany(Array.from({ length: 50 }, (_, index) => index));
    const first = open({ prefetch: 100 });
    let taken = 0;
    // Who takes fast has some fetched early.
    while (taken < 20 || (await first.stats()).unacked === 0) {
      await (await first.receive()).ack();
      taken++;
    }
    await first.close();
    const left: number[] = [];
    while (taken + left.length < 50) {
      const next = await jobs.receive();
      assertEquals(next.attempt, 1);
      left.push(next.item);
      await next.ack();
    }
    left.sort((one, other) => one - other);
    assertEquals(left, upTo(50, taken));
  },
);

testOnEngines(
  "close() waits for what is lent, and afterwards nothing is",
  async ({ open }) => {
    const queue = open<string>();
    await queue.put("a");
    const delivery = await queue.receive();
    let isClosed = false;
    const closing = queue.close().then(() => isClosed = true);
    await pause(50);
    assert(!isClosed);
    assert(await delivery.ack());
    await closing;
    await assertRejects(() => queue.receive(), QueueClosedError);
    await assertRejects(() => queue.put("b"), QueueClosedError);
  },
);
