/**
 * Queues in what production runs: a cluster of three primaries, and a primary that
 * sentinels look after.
 */

import { assertEquals, assertThrows } from "@std/assert";
import { Cluster, Redis } from "ioredis";
import { createCluster, createSentinel } from "redis";
import { consume } from "../../../mod.ts";
import { type RedisClient, RedisQueue } from "../../../src/redis.ts";
import { test } from "../../support/harness.ts";
import {
  noFleet,
  type RedisCluster,
  type SentinelFleet,
  startRedisCluster,
  startSentinelFleet,
} from "../../support/redis_fleet.ts";
import { ignore } from "../../support/waiting.ts";
import { upTo } from "../../support/items.ts";

interface Opened {
  readonly client: RedisClient;
  close(): unknown;
}

/** How the client of a package is made for a fleet. */
interface Kind<F> {
  readonly name: string;
  open(fleet: F): Promise<Opened>;
}

const KEY = "highwater:{jobs}:stream";

const OF_CLUSTER: readonly Kind<RedisCluster>[] = [
  {
    name: "redis",
    async open({ primaries }) {
      const rootNodes = primaries.map(({ port }) => ({
        socket: { host: "127.0.0.1", port, reconnectStrategy: 50 },
      }));
      const defaults = { socket: { reconnectStrategy: 50 } };
      const client = createCluster({ rootNodes, defaults });
      client.on("error", ignore);
      await client.connect();
      return { client, close: () => client.destroy() };
    },
  },
  {
    name: "redis, numbers of another type, keyPrefix",
    async open({ primaries }) {
      const { port } = primaries[0]!;
      const client = createCluster({
        rootNodes: [{ socket: { host: "127.0.0.1", port } }],
        commandOptions: { typeMapping: { 58: String } },
        keyPrefix: "app:",
      });
      client.on("error", ignore);
      await client.connect();
      return { client, close: () => client.destroy() };
    },
  },
  {
    name: "ioredis",
    open: ({ primaries }) =>
      Promise.resolve(closable(
        new Cluster(
          primaries.map(({ port }) => ({ host: "127.0.0.1", port })),
          { clusterRetryStrategy: () => 50 },
        ),
      )),
  },
  {
    name: "ioredis, stringNumbers, automatic pipelines, keyPrefix",
    open: ({ primaries }) =>
      Promise.resolve(closable(
        new Cluster([{ host: "127.0.0.1", port: primaries[0]!.port }], {
          enableAutoPipelining: true,
          keyPrefix: "app:",
          scaleReads: "slave",
          redisOptions: { stringNumbers: true, commandTimeout: 400 },
        }),
      )),
  },
];

const OF_SENTINEL: readonly Kind<SentinelFleet>[] = [
  {
    name: "redis",
    async open({ sentinel }) {
      const client = createSentinel({
        name: "main",
        sentinelRootNodes: [{ host: "127.0.0.1", port: sentinel.port }],
      });
      client.on("error", ignore);
      await client.connect();
      return { client, close: () => client.destroy() };
    },
  },
  {
    name: "redis, keyPrefix, several connections",
    async open({ sentinel }) {
      const client = createSentinel({
        name: "main",
        sentinelRootNodes: [{ host: "127.0.0.1", port: sentinel.port }],
        keyPrefix: "app:",
        masterPoolSize: 3,
        replicaPoolSize: 1,
      });
      client.on("error", ignore);
      await client.connect();
      return { client, close: () => client.destroy() };
    },
  },
  {
    name: "ioredis",
    open: ({ sentinel }) =>
      Promise.resolve(closable(
        new Redis({
          sentinels: [{ host: "127.0.0.1", port: sentinel.port }],
          name: "main",
          retryStrategy: () => 50,
          sentinelRetryStrategy: () => 50,
        }),
      )),
  },
];

function testOnFleet<F extends AsyncDisposable>(
  name: string,
  start: () => Promise<F>,
  kinds: readonly Kind<F>[],
  body: (queue: RedisQueue<number>, fleet: F) => Promise<void>,
  // The clients leave timers behind of connections that were lost.
  sanitize = false,
): void {
  for (const kind of kinds) {
    test(`redis fleet: ${name} (${kind.name})`, async () => {
      await using fleet = await start();
      const opened = await kind.open(fleet);
      const queue = new RedisQueue<number>(opened.client, "jobs", {
        onError: ignore,
      });
      try {
        await body(queue, fleet);
      } finally {
        await queue.close({ signal: AbortSignal.abort() });
        await opened.close();
      }
    }, { skip: noFleet, timeout: 120_000, sanitize });
  }
}

const cluster = (): Promise<RedisCluster> => startRedisCluster(KEY);

testOnFleet(
  "a cluster keeps a queue, and wakes who waits",
  cluster,
  OF_CLUSTER,
  wakesAndSettles,
  true,
);

testOnFleet(
  "a primary with sentinels keeps a queue, and wakes who waits",
  startSentinelFleet,
  OF_SENTINEL,
  wakesAndSettles,
  true,
);

test(
  "redis fleet: a client that a sentinel lends is refused, as it follows no failover",
  async () => {
    await using fleet = await startSentinelFleet();
    const sentinel = createSentinel({
      name: "main",
      sentinelRootNodes: [{ host: "127.0.0.1", port: fleet.sentinel.port }],
    });
    sentinel.on("error", ignore);
    await sentinel.connect();
    const lent = await sentinel.acquire();
    assertThrows(
      () => new RedisQueue(lent as unknown as RedisClient, "jobs"),
      TypeError,
      "client must be the sentinel that lent it",
    );
    await lent.release();
    await sentinel.destroy();
  },
  { skip: noFleet },
);

testOnFleet(
  "a queue moves to another node of its cluster while it is used",
  cluster,
  OF_CLUSTER.filter(({ name }) => !name.includes("keyPrefix")),
  async (queue, fleet) => {
    const seen = await seenDuring(queue, () => fleet.moveSlot());
    assertEquals(seen.sort((a, b) => a - b), numbers());
  },
);

testOnFleet(
  "the primary that has the queue is killed: its replica goes on with it",
  cluster,
  OF_CLUSTER.filter(({ name }) => !name.includes("keyPrefix")),
  survivesFailover(async (fleet) => {
    await fleet.untilReplicated();
    await fleet.owner.kill();
  }),
);

testOnFleet(
  "the primary is killed: what the sentinels put in its place goes on with the queue",
  startSentinelFleet,
  OF_SENTINEL,
  survivesFailover(async (fleet) => {
    await fleet.untilReplicated();
    await fleet.primary.kill();
  }),
);

async function wakesAndSettles(queue: RedisQueue<number>): Promise<void> {
  for (let round = 1; round <= 3; round++) {
    const waiting = queue.receive();
    await queue.put(round);
    const delivery = await waiting;
    assertEquals([delivery.item, delivery.attempt], [round, 1]);
    assertEquals(await delivery.extend(60_000), true);
    assertEquals(await delivery.ack(), true);
  }
  await queue.put(4);
  const fourth = await queue.receive();
  assertEquals(await fourth.nack(), true);
  const again = await queue.receive();
  assertEquals([again.item, again.attempt], [4, 2]);
  assertEquals(await again.bury!("poison"), true);
  const { backlog, inFlight, deadLetters } = await queue.stats();
  assertEquals([backlog, inFlight, deadLetters], [0, 0, 1]);
}

const COUNT = 60;

function numbers(): number[] {
  return upTo(COUNT);
}

/** What a consumer sees of some numbers, in the midst of which something happens. */
async function seenDuring(
  queue: RedisQueue<number>,
  happen: () => Promise<void>,
): Promise<number[]> {
  const seen: number[] = [];
  const stop = new AbortController();
  const consuming = consume(queue, (item) => {
    seen.push(item);
    if (new Set(seen).size === COUNT) stop.abort();
  }, { concurrency: 4, signal: stop.signal });
  const happening = happen();
  for (const number of numbers()) await queue.put(number);
  await happening;
  await consuming.catch(ignore);
  return seen;
}

/** Nothing is lost: what is in it before, and what is put while nobody is there. */
function survivesFailover<F>(
  kill: (fleet: F) => Promise<void>,
): (queue: RedisQueue<number>, fleet: F) => Promise<void> {
  return async (queue, fleet) => {
    const half = COUNT / 2;
    for (const number of numbers().slice(0, half)) await queue.put(number);
    const lent = await queue.receive();
    await kill(fleet);
    for (const number of numbers().slice(half)) await queue.put(number);
    assertEquals(await lent.ack(), true);
    const seen = new Set([lent.item]);
    while (seen.size < COUNT) {
      const delivery = await queue.receive();
      seen.add(delivery.item);
      await delivery.ack();
    }
    // Also who waits is at the one that is there now.
    const waiting = queue.receive();
    await queue.put(COUNT);
    const last = await waiting;
    assertEquals(last.item, COUNT);
    assertEquals(await last.ack(), true);
    const { backlog, inFlight, deadLetters } = await queue.stats();
    assertEquals([backlog, inFlight, deadLetters], [0, 0, 0]);
  };
}

function closable(client: Redis | Cluster): Opened {
  client.on("error", ignore);
  return {
    client,
    close: () => {
      const ended = new Promise((resolve) => client.once("end", resolve));
      client.disconnect();
      return ended;
    },
  };
}
