import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { type Cluster, Redis } from "ioredis";
import {
  createClient,
  type createClientPool,
  type createCluster,
  type createSentinel,
} from "redis";
import {
  consume,
  type Delivery,
  QueueClosedError,
  QueueFullError,
} from "../../../mod.ts";
import {
  bytes,
  json,
  type RedisClient,
  RedisError,
  RedisQueue,
  type RedisQueueOptions,
  structured,
} from "../../../src/redis.ts";
import { test } from "../../support/harness.ts";
import { CLIENTS, type TestClient } from "../../support/redis_clients.ts";
import { turn } from "../../support/properties.ts";
import { noRedis, startRedis } from "../../support/redis_server.ts";
import { pause, until } from "../../support/waiting.ts";

// The real clients are what we ask for, in types, too.
type NodeRedis = ReturnType<typeof createClient>;
type NodeRedis2 = ReturnType<typeof olderProtocol>;
const accepted: [
  NodeRedis extends RedisClient ? true : false,
  NodeRedis2 extends RedisClient ? true : false,
  ReturnType<typeof createClientPool> extends RedisClient ? true : false,
  ReturnType<typeof createCluster> extends RedisClient ? true : false,
  ReturnType<typeof createSentinel> extends RedisClient ? true : false,
  Redis extends RedisClient ? true : false,
  Cluster extends RedisClient ? true : false,
  Date extends RedisClient ? true : false,
] = [true, true, true, true, true, true, true, false];

function olderProtocol() {
  return createClient({ RESP: 2, modules: {}, commandOptions: {} });
}

interface Place {
  readonly client: TestClient;
  open<T = string>(
    options?: RedisQueueOptions<T>,
    name?: string,
  ): RedisQueue<T>;
  command(...args: string[]): Promise<unknown>;
}

function testOnRedis(
  name: string,
  body: (place: Place) => Promise<void>,
): void {
  for (const kind of CLIENTS) {
    test(`redis: ${name} (${kind.name})`, async () => {
      await using server = await startRedis();
      await using client = await kind.connect(`redis://${server.address}`);
      const queues: RedisQueue<never>[] = [];
      try {
        await body({
          client,
          command: client.command,
          open(options = {}, name = "jobs") {
            const queue = new RedisQueue(client.client, name, options);
            queues.push(queue as unknown as RedisQueue<never>);
            return queue;
          },
        });
      } finally {
        const signal = AbortSignal.abort();
        await Promise.all(queues.map((queue) => queue.close({ signal })));
      }
    }, { skip: noRedis });
  }
}

test("redis: the types of both clients are accepted, and no others", () => {
  assertEquals(accepted.filter((isAccepted) => !isAccepted).length, 1);
});

test("redis: arguments are checked before anything is sent", () => {
  const client = createClient();
  function open(
    name: unknown,
    options: unknown = {},
    of: unknown = client,
  ): () => unknown {
    return () =>
      new RedisQueue(of as RedisClient, name as string, options as object);
  }
  assertThrows(
    open("jobs", {}, new Date()),
    TypeError,
    "Cannot open a queue in Redis: client must be one of the packages redis or ioredis, received an object of Date",
  );
  assertThrows(open("jobs", {}, null), TypeError, "received null");
  assertThrows(open(1), TypeError, "name must be a string, received 1");
  for (const name of ["", "{a}", "two words", "a\n", "x".repeat(129)]) {
    assertThrows(open(name), RangeError, "name must be 1 to 128 letters");
  }
  for (const word of ["prefix", "consumer"]) {
    assertThrows(open("jobs", { [word]: "{" }), RangeError, `${word} must be`);
    assertThrows(open("jobs", { [word]: null }), TypeError, `${word} must be`);
  }
  assertThrows(open("jobs", { consumer: "-" }), RangeError, "nobody has");
  assertThrows(
    open("jobs", { keyOf: (item: string) => item }),
    TypeError,
    "Cannot open a queue in Redis: keyOf must be left out, as Redis keeps one order",
  );
  assertThrows(
    open("jobs", { group: "mine" }),
    TypeError,
    "group must be left",
  );
  assertThrows(open("jobs", null), TypeError, "options must be an object");
  assertThrows(open("jobs", { capacity: 0 }), RangeError, "capacity");
  assertThrows(open("jobs", { capacity: "9" }), TypeError, "capacity");
  assertThrows(open("jobs", { maxPayload: 0.5 }), RangeError, "maxPayload");
  assertThrows(open("jobs", { maxDeadLetters: 0 }), RangeError, "maxDead");
  assertThrows(open("jobs", { overflow: "trim" }), TypeError, "overflow");
});

testOnRedis(
  "items go from one handle to another, by all roads",
  async ({ open }) => {
    const [producer, consumer] = [open<number>(), open<number>()];
    await producer.put(1);
    await producer.putMany([2, 3]);
    const writer = producer.writable.getWriter();
    await writer.write(4);
    await writer.close();
    await ReadableStream.from([5, 6]).pipeTo(producer.producer());
    const first = await consumer.receive();
    assertEquals([first.item, first.attempt], [1, 1]);
    assertEquals(await first.ack(), true);
    const many: Delivery<number>[] = [];
    while (many.length < 2) many.push(...await consumer.receiveMany(2));
    for (const delivery of many) await delivery.ack();
    const items: number[] = [];
    for await (const delivery of consumer.readable) {
      items.push(delivery.item);
      await delivery.ack();
      if (items.length === 3) break;
    }
    assertEquals([...many.map(({ item }) => item), ...items], [2, 3, 4, 5, 6]);
    const { backlog, inFlight, oldestAge } = await producer.stats();
    assertEquals([backlog, inFlight, oldestAge], [0, 0, undefined]);
  },
);

testOnRedis(
  "consume works as on a Queue, and gives up to the dead letters",
  async ({ open, command }) => {
    const queue = open<number>({ attempts: 3 });
    await queue.putMany([1, 2, 3]);
    const attempts: Record<number, number[]> = { 1: [], 2: [], 3: [] };
    const controller = new AbortController();
    const report = await consume(queue, async (item, { attempt }) => {
      attempts[item]!.push(attempt);
      if (item === 2) {
        throw Object.assign(new Error("poison"), { status: 503 });
      }
      await undefined;
    }, {
      concurrency: 2,
      retry: { attempts: 3, delay: 1 },
      signal: stopsWhen(controller, async () => {
        const { backlog, inFlight } = await queue.stats();
        return backlog + inFlight === 0;
      }),
    });
    assertEquals(attempts, { 1: [1], 2: [1, 2, 3], 3: [1] });
    assertEquals([report.processed, report.retried], [2, 2]);
    assertEquals((await queue.stats()).deadLetters, 1);
    const [[, fields]] = await command(
      ...["XRANGE", "highwater:{jobs}:dead", "-", "+"],
    ) as [[string, string[]]];
    assertEquals(fields.slice(0, 2), ["p", "2"]);
    assert(fields.includes('Error: poison {"status":503}'), `${fields}`);
  },
);

testOnRedis(
  "what cannot be decoded counts, and ends in the dead letters",
  async ({ open, command }) => {
    const queue = open<number>({ attempts: 1 });
    await queue.put(1);
    const stream = "highwater:{jobs}:stream";
    await command("XADD", stream, "*", "p", "{not json");
    await command("XADD", stream, "*", "foreign", "1");
    await queue.put(2);
    const items: number[] = [];
    while (items.length < 2) {
      const delivery = await queue.receive();
      items.push(delivery.item);
      await delivery.ack();
    }
    assertEquals(items, [1, 2]);
    await until(async () => (await queue.stats()).deadLetters === 2);
    const letters = await command(
      ...["XRANGE", "highwater:{jobs}:dead", "-", "+"],
    ) as [string, string[]][];
    for (const [, fields] of letters) assert(fields.includes("undecodable"));
  },
);

testOnRedis(
  "bytes stay bytes",
  async ({ open }) => {
    const queue = open<Uint8Array>({ codec: bytes() });
    const item = new Uint8Array([0, 255, 13, 10, 128]);
    await queue.put(item);
    const delivery = await queue.receive();
    assertEquals(delivery.item, item);
    assertEquals(delivery.item.buffer.byteLength, 5);
    await delivery.ack();
  },
);

testOnRedis(
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

testOnRedis(
  "json is text in Redis",
  async ({ command, open }) => {
    const queue = open<unknown>();
    const stream = "highwater:{jobs}:stream";
    const texts = ['{"a":[1,null]}', "1.5", '"é"', "undefined"];
    const items = [{ a: [1, null] }, 1.5, "é", undefined];
    await queue.putMany(items);
    const entries = await command("XRANGE", stream, "-", "+") as [
      string,
      string[],
    ][];
    assertEquals(entries.map(([, [, text]]) => text), texts);
    for (const text of texts) await command("XADD", stream, "*", "p", text);
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

testOnRedis(
  "an item that is too large is refused before it is sent",
  async ({ open }) => {
    const queue = open({ maxPayload: 10 });
    await assertRejects(
      () => queue.put("x".repeat(9)),
      RangeError,
      "Cannot put: the encoded item must be at most 10 bytes, received 11",
    );
    await queue.put("x".repeat(8));
  },
);

testOnRedis(
  "at its capacity it refuses, or lets puts wait for room",
  async ({ open }) => {
    const queue = open({ capacity: 2 });
    const strict = open({ capacity: 2, overflow: "reject" });
    await queue.putMany(["a", "b"]);
    const error = await assertRejects(() => strict.put("c"), QueueFullError);
    assertEquals(error.item, "c");
    const putting = queue.putMany(["c", "d", "e", "f"]);
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

testOnRedis(
  "queues of other names and prefixes are others",
  async ({ open, command }) => {
    const queue = open();
    await queue.put("a");
    const others = [open({}, "other"), open({ prefix: "x" })];
    for (const other of others) {
      assertEquals((await other.stats()).backlog, 0);
      await other.put("b");
    }
    assertEquals((await queue.stats()).backlog, 1);
    const keys = (await command("KEYS", "*") as string[]).sort();
    assertEquals(keys.filter((key) => key.endsWith(":stream")), [
      "highwater:{jobs}:stream",
      "highwater:{other}:stream",
      "x:{jobs}:stream",
    ]);
  },
);

testOnRedis(
  "closing gives back what was fetched early, leaves the client, and refuses the rest",
  async ({ open, command }) => {
    const [leaving, staying] = [open<number>(), open<number>()];
    await leaving.putMany([1, 2, 3]);
    const held = await leaving.receive();
    const waiting = open<number>({}, "empty").receive();
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
    assertEquals(await command("PING"), "PONG");
  },
);

test("redis: a client that is not connected is told of", async () => {
  const client = createClient();
  client.on("error", () => {});
  const errors: unknown[] = [];
  const queue = new RedisQueue(client, "jobs", {
    offline: "reject",
    onError: (error) => errors.push(error),
  });
  const error = await assertRejects(
    () => queue.put("a"),
    RedisError,
    "client must be connected, received one that is closed",
  );
  assertStrictEquals(errors[0], error);
  await queue.close();
});

test("redis: passwords are not in errors", async () => {
  const url = "redis://ada:sesame@127.0.0.1:1";
  const client = new Redis(url, { lazyConnect: true, retryStrategy: null });
  client.on("error", () => {});
  const queue = new RedisQueue(client, "jobs", { offline: "reject" });
  const error = await assertRejects(() => queue.put("a"), RedisError);
  assertInstanceOf(error, RedisError);
  const all = JSON.stringify(error, Object.getOwnPropertyNames(error));
  assertEquals(all.includes("sesame"), false);
  await queue.close();
});

/** A signal that aborts once it is so. */
function stopsWhen(
  controller: AbortController,
  isSo: () => Promise<boolean>,
): AbortSignal {
  void until(isSo).then(() => controller.abort());
  return controller.signal;
}

testOnRedis(
  "a lease of 90 days takes a handful of scripts, and a delay of any length is kept",
  async ({ open, command }) => {
    const queue = open();
    await queue.putMany(["held", "later"]);
    const scripts = async (): Promise<number> => {
      const told = String(await command("INFO", "commandstats"));
      return [...told.matchAll(/cmdstat_eval(?:sha)?:calls=([0-9]+)/g)]
        .reduce((sum, [, calls]) => sum + Number(calls), 0);
    };
    const latest = async (): Promise<number> => {
      const due = await command(
        "ZRANGE",
        "highwater:{jobs}:due",
        "-1",
        "-1",
        "WITHSCORES",
      );
      return Number(String(due).split(",")[1]); // in one array or in two
    };
    let sent = NaN;
    const stop = new AbortController();
    const run = await consume(queue, async (item) => {
      if (item === "later") throw new Error("once more");
      const before = await scripts();
      // An alarm that rings at once would ring as often.
      for (let alarm = 0; alarm < 50; alarm++) {
        await pause(1);
      }
      sent = await scripts() - before;
      while (await latest() < 2 ** 52) await turn();
      stop.abort();
    }, {
      concurrency: 2,
      visibility: 90 * 86_400_000,
      retry: { delay: Number.MAX_SAFE_INTEGER, maxDelay: Infinity, jitter: 0 },
      signal: stop.signal,
    });
    assertLess(sent, 10);
    assertEquals([run.processed, run.retried, run.errors?.last], [
      1,
      1,
      run.errors?.first,
    ]);
    assertEquals((await queue.stats()).backlog, 1);
  },
);

testOnRedis(
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
