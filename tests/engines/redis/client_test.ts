import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Redis, type RedisOptions } from "ioredis";
import { createClient, createClientPool, RESP_TYPES } from "redis";
import {
  type RedisClient,
  RedisError,
  RedisQueue,
} from "../../../src/redis.ts";
import { test } from "../../support/harness.ts";
import { noRedis, startRedis } from "../../support/redis_server.ts";
import { ignore } from "../../support/waiting.ts";

/** A client, and how it is let go. */
interface Opened {
  readonly client: RedisClient;
  close(): unknown;
}

/** How a client is configured, and what the names of keys begin with then. */
interface Configured {
  readonly name: string;
  readonly prefix?: string;
  open(host: string, port: number): Opened | Promise<Opened>;
}

type NodeRedisOptions = NonNullable<Parameters<typeof createClient>[0]>;

const CONFIGURED: readonly Configured[] = [
  nodeRedis("of a server", {}),
  nodeRedis("RESP 2", { RESP: 2 }),
  nodeRedis("RESP 3", { RESP: 3 }),
  nodeRedis("keyPrefix", { keyPrefix: "app:" }, "app:"),
  nodeRedis("numbers and texts of other types", {
    commandOptions: {
      typeMapping: {
        [RESP_TYPES.NUMBER]: String,
        [RESP_TYPES.SIMPLE_STRING]: Buffer,
        [RESP_TYPES.BLOB_STRING]: String,
        [RESP_TYPES.ARRAY]: Array,
      },
    },
  }),
  nodeRedis("a short time limit for sockets", {
    socket: { socketTimeout: 300 },
    pingInterval: 100,
  }),
  nodeRedis("no offline queue", { disableOfflineQueue: true }),
  nodeRedis("another database", { database: 3 }),
  nodeRedis("withTypeMapping", {}, "", (client) =>
    client.withTypeMapping({
      [RESP_TYPES.NUMBER]: String,
    }) as unknown as RedisClient),
  {
    name: "redis, a pool",
    open: (host, port) => openPool(host, port, {}),
  },
  {
    name: "redis, a pool with keyPrefix",
    prefix: "app:",
    open: (host, port) => openPool(host, port, { keyPrefix: "app:" }),
  },
  ioredis("of a server", {}),
  ioredis("protocol 3", { protocol: 3 }),
  ioredis("protocol 3 as it is", { protocol: 3, replyMapping: "resp3" }),
  ioredis("stringNumbers", { stringNumbers: true }),
  ioredis("stringNumbers, protocol 3", { stringNumbers: true, protocol: 3 }),
  ioredis("enableAutoPipelining", { enableAutoPipelining: true }),
  ioredis("keyPrefix", { keyPrefix: "app:" }, "app:"),
  ioredis("keyPrefix, enableAutoPipelining, stringNumbers", {
    keyPrefix: "app:",
    enableAutoPipelining: true,
    stringNumbers: true,
  }, "app:"),
  ioredis("lazyConnect", { lazyConnect: true }),
  ioredis("no offline queue", { enableOfflineQueue: false }),
  ioredis("lazyConnect, no offline queue", {
    lazyConnect: true,
    enableOfflineQueue: false,
  }),
  ioredis("short time limits", {
    commandTimeout: 400,
    blockingTimeout: 300,
    socketTimeout: 300,
    maxRetriesPerRequest: 1,
  }),
  ioredis("showFriendlyErrorStack, another database", {
    showFriendlyErrorStack: true,
    db: 3,
  }),
];

function nodeRedis(
  name: string,
  options: NodeRedisOptions,
  prefix = "",
  change: (client: ReturnType<typeof createClient>) => RedisClient = (client) =>
    client,
): Configured {
  return {
    name: `redis, ${name}`,
    prefix,
    async open(host, port) {
      const { socket } = options;
      const client = createClient({
        ...options,
        socket: { ...socket, host, port } as NonNullable<typeof socket>,
      });
      client.on("error", ignore);
      await client.connect();
      return {
        client: change(client as unknown as ReturnType<typeof createClient>),
        close: () => client.destroy(),
      };
    },
  };
}

async function openPool(
  host: string,
  port: number,
  options: NodeRedisOptions,
): Promise<Opened> {
  const client = createClientPool({ ...options, socket: { host, port } });
  client.on("error", ignore);
  await client.connect();
  return { client, close: () => client.close() };
}

function ioredis(
  name: string,
  options: RedisOptions,
  prefix = "",
): Configured {
  return {
    name: `ioredis, ${name}`,
    prefix,
    open(host, port) {
      const client = new Redis(port, host, options as object);
      client.on("error", ignore);
      return {
        client,
        close: () => {
          const ended = new Promise((resolve) => client.once("end", resolve));
          client.disconnect();
          return ended;
        },
      };
    },
  };
}

for (const { name, prefix = "", open } of CONFIGURED) {
  test(`redis clients: a queue works with ${name}`, async () => {
    await using server = await startRedis();
    const failures: unknown[] = [];
    const opened = await open("127.0.0.1", server.port);
    const queue = new RedisQueue<unknown>(opened.client, "jobs", {
      capacity: 2,
      onError: (error) => failures.push(error),
    });
    try {
      // Nothing is there: who waits is blocked in Redis until it rings.
      const waiting = queue.receive();
      const large = "x".repeat(100_000);
      await queue.put({ first: 1 });
      const first = await waiting;
      assertEquals(first.item, { first: 1 });
      await queue.put(large);
      // There is no room until something is done.
      const third = queue.put("third");
      assertEquals(await first.extend(60_000), true);
      assertEquals(await first.ack(), true);
      await third;
      const second = await queue.receive();
      assertEquals(second.item, large);
      assertEquals(await second.nack({ delay: 10 }), true);
      const again = [await queue.receive(), await queue.receive()];
      assertEquals(
        new Map(again.map(({ item, attempt }) => [item, attempt])),
        new Map([["third", 1], [large, 2]]),
      );
      for (const delivery of again) assertEquals(await delivery.ack(), true);
      const { backlog, inFlight, deadLetters } = await queue.stats();
      assertEquals({ backlog, inFlight, deadLetters }, {
        ...{ backlog: 0, inFlight: 0, deadLetters: 0 },
      });
    } finally {
      await queue.close({ signal: AbortSignal.abort() });
      await opened.close();
    }
    await using look = await plainClient(server.port);
    const keys: string[] = [];
    for (const database of ["0", "3"]) {
      await look.client.sendCommand(["SELECT", database]);
      keys.push(...await look.client.sendCommand(["KEYS", "*"]) as string[]);
    }
    const wanted = `${prefix}highwater:{jobs}:`;
    assert(keys.length > 0);
    assertEquals(keys.filter((key) => !key.startsWith(wanted)), []);
    // One that connects meanwhile may not be there in time on a busy machine; nothing else may fail.
    assertEquals(
      failures.map(String).filter((words) => !/no connection/.test(words)),
      [],
    );
  }, { skip: noRedis });
}

test("redis clients: one that is from the packages, but no use, is refused with the reason", () => {
  const redis = new Redis({ lazyConnect: true });
  function open(client: unknown): () => unknown {
    return () => new RedisQueue(client as RedisClient, "jobs");
  }
  assertThrows(
    open(redis.pipeline()),
    TypeError,
    "Cannot open a queue in Redis: client must be the one that the pipeline was made of",
  );
  assertThrows(
    open(createClient().legacy()),
    TypeError,
    "client must be the one that legacy() was called on",
  );
  assertThrows(open({}), TypeError, "must be one of the packages redis or");
});

test(
  "redis clients: one that listens to channels cannot be asked, and says so",
  async () => {
    await using server = await startRedis();
    const redis = new Redis(server.port, "127.0.0.1", { protocol: 2 });
    redis.on("error", ignore);
    await redis.subscribe("news");
    const queue = new RedisQueue(redis, "jobs", { onError: ignore });
    await assertRejects(() => queue.put(1), RedisError, "subscriber mode");
    await queue.close({ signal: AbortSignal.abort() });
    const ended = new Promise((resolve) => redis.once("end", resolve));
    redis.disconnect();
    await ended;
  },
  { skip: noRedis },
);

interface Look extends AsyncDisposable {
  readonly client: ReturnType<typeof createClient>;
}

async function plainClient(port: number): Promise<Look> {
  const client = createClient({ socket: { host: "127.0.0.1", port } });
  await client.connect();
  return {
    client: client as unknown as ReturnType<typeof createClient>,
    [Symbol.asyncDispose]: async () => await client.close(),
  };
}
