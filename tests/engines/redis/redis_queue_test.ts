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
import { consume } from "../../../mod.ts";
import {
  type RedisClient,
  RedisError,
  RedisQueue,
  type RedisQueueOptions,
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
  "an entry of somebody else's ends in the dead letters",
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
