/**
 * Who is measured by `deno task bench:engines`: the queues of this library, those
 * of others, and the clients by hand, all at least once and with JSON.
 *
 * @module
 */

import { consume } from "../../mod.ts";
import { NatsQueue } from "../../src/nats.ts";
import { RedisQueue } from "../../src/redis.ts";
import { CLIENTS } from "../support/redis_clients.ts";

/** Puts, a batch at a time. */
export interface Producing {
  put(items: string[]): Promise<void>;
  end(): Promise<void>;
}

/** Consumes until it is ended. */
export interface Consuming {
  end(): Promise<void>;
}

/** One who is measured. */
export interface Contender {
  readonly name: string;
  readonly server: "redis" | "nats";
  produce(url: string): Promise<Producing>;
  /** Up to `batch` handlers at a time, or that many items at once. */
  consume(
    url: string,
    batch: number,
    handler: (item: string) => Promise<void>,
  ): Promise<Consuming>;
}

const QUEUE = "bench";
const GROUP = "group";

/** All of them. */
export const CONTENDERS: readonly Contender[] = [
  {
    ...{ name: "bare redis", server: "redis" },
    ...{ produce: produceBareRedis, consume: consumeBareRedis },
  },
  ...highwater("redis"),
  {
    ...{ name: "bare ioredis", server: "redis" },
    ...{ produce: produceBareIO, consume: consumeBareIO },
  },
  ...highwater("ioredis"),
  {
    ...{ name: "bullmq", server: "redis" },
    ...{ produce: produceBullMQ, consume: consumeBullMQ },
  },
  {
    ...{ name: "bare nats", server: "nats" },
    ...{ produce: produceBareNats, consume: consumeBareNats },
  },
  {
    ...{ name: "highwater nats", server: "nats" },
    ...{ produce: produceNats, consume: consumeNats },
  },
];

function highwater(kind: string): Contender[] {
  const { connect } = CLIENTS.find(({ name }) => name === kind)!;
  return [{
    ...{ name: `highwater ${kind}`, server: "redis" },
    async produce(url) {
      const { client, [Symbol.asyncDispose]: end } = await connect(url);
      const queue = new RedisQueue<string>(client, QUEUE);
      return {
        put: (items) => queue.putMany(items),
        async end() {
          await queue.close();
          await end();
        },
      };
    },
    async consume(url, batch, handler) {
      const { client, [Symbol.asyncDispose]: end } = await connect(url);
      // By hand the next batch is begun before the last one is acknowledged, too.
      const unanswered = 2 * batch;
      const queue = new RedisQueue<string>(client, QUEUE, {
        prefetch: unanswered,
      });
      const ending = new AbortController();
      const consuming = consume(queue, handler, {
        concurrency: unanswered,
        signal: ending.signal,
      });
      return {
        async end() {
          ending.abort();
          await consuming;
          await queue.close();
          await end();
        },
      };
    },
  }];
}

// -- By hand: XADD, XREADGROUP, and XACK and XDEL of a batch in one command each --

async function produceBareRedis(url: string): Promise<Producing> {
  const { createClient } = await import("redis");
  const client = await createClient({ url }).connect();
  return {
    async put(items) {
      // In one turn: the client sends them together.
      await Promise.all(
        items.map((item) =>
          client.xAdd(QUEUE, "*", { p: JSON.stringify(item) })
        ),
      );
    },
    end: () => client.close(),
  };
}

async function consumeBareRedis(
  url: string,
  batch: number,
  handler: (item: string) => Promise<void>,
): Promise<Consuming> {
  const { createClient } = await import("redis");
  const client = await createClient({ url }).connect();
  const blocking = await client.duplicate().connect();
  await client.xGroupCreate(QUEUE, GROUP, "0", { MKSTREAM: true })
    .catch(() => {});
  let isEnding = false;
  const loop = (async () => {
    let answered: Promise<unknown> = Promise.resolve();
    while (!isEnding) {
      const read = await blocking.sendCommand([
        ...["XREADGROUP", "GROUP", GROUP, "me", "COUNT", String(batch)],
        ...["BLOCK", "100", "STREAMS", QUEUE, ">"],
      ]) as Record<string, [string, string[]][]> | null;
      const entries = read?.[QUEUE] ?? [];
      if (entries.length === 0) continue;
      await Promise.all(
        entries.map(([, fields]) => handler(JSON.parse(fields[1]!))),
      );
      await answered;
      const ids = entries.map(([id]) => id);
      answered = Promise.all([
        client.xAck(QUEUE, GROUP, ids),
        client.xDel(QUEUE, ids),
      ]);
    }
    await answered;
  })();
  return {
    async end() {
      isEnding = true;
      await loop;
      blocking.destroy();
      await client.close();
    },
  };
}

async function produceBareIO(url: string): Promise<Producing> {
  const { Redis } = await import("ioredis");
  const client = new Redis(url);
  return {
    async put(items) {
      const pipeline = client.pipeline();
      for (const item of items) {
        pipeline.xadd(QUEUE, "*", "p", JSON.stringify(item));
      }
      await pipeline.exec();
    },
    async end() {
      await client.quit();
    },
  };
}

async function consumeBareIO(
  url: string,
  batch: number,
  handler: (item: string) => Promise<void>,
): Promise<Consuming> {
  const { Redis } = await import("ioredis");
  const client = new Redis(url);
  const blocking = client.duplicate();
  await client.xgroup("CREATE", QUEUE, GROUP, "0", "MKSTREAM").catch(() => {});
  let isEnding = false;
  const loop = (async () => {
    let answered: Promise<unknown> = Promise.resolve();
    while (!isEnding) {
      const read = await blocking.xreadgroup(
        ...["GROUP", GROUP, "me", "COUNT", batch, "BLOCK", 100] as const,
        ...["STREAMS", QUEUE, ">"] as const,
      ) as [string, [string, string[]][]][] | null;
      const entries = read?.[0]?.[1] ?? [];
      if (entries.length === 0) continue;
      await Promise.all(
        entries.map(([, fields]) => handler(JSON.parse(fields[1]!))),
      );
      await answered;
      const ids = entries.map(([id]) => id);
      const pipeline = client.pipeline();
      pipeline.xack(QUEUE, GROUP, ...ids);
      pipeline.xdel(QUEUE, ...ids);
      answered = pipeline.exec();
    }
    await answered;
  })();
  return {
    async end() {
      isEnding = true;
      await loop;
      blocking.disconnect();
      await client.quit();
    },
  };
}

// -- BullMQ -------------------------------------------------------------------

async function produceBullMQ(url: string): Promise<Producing> {
  const { Queue } = await import("bullmq");
  const { hostname: host, port } = new URL(url);
  const queue = new Queue(QUEUE, {
    connection: { host, port: Number(port) },
    defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
  });
  await queue.waitUntilReady();
  return {
    async put(items) {
      await queue.addBulk(items.map((data) => ({ name: "job", data })));
    },
    end: () => queue.close(),
  };
}

async function consumeBullMQ(
  url: string,
  batch: number,
  handler: (item: string) => Promise<void>,
): Promise<Consuming> {
  const { Worker } = await import("bullmq");
  const { hostname: host, port } = new URL(url);
  const worker = new Worker(
    QUEUE,
    (job: { data: string }) => handler(job.data),
    {
      connection: { host, port: Number(port), maxRetriesPerRequest: null },
      concurrency: 2 * batch, // as the others: one batch is acknowledged while the next is worked on
    },
  );
  await worker.waitUntilReady();
  return { end: () => worker.close() };
}

// -- NATS: by hand a work-queue stream, ids, and each acknowledgement confirmed, as the queue does --

async function produceNats(url: string): Promise<Producing> {
  const { connect, headers } = await import("@nats-io/transport-node");
  const connection = await connect({ servers: url });
  const queue = new NatsQueue<string>({ connection, headers }, QUEUE);
  await queue.stats();
  return {
    put: (items) => queue.putMany(items),
    async end() {
      await queue.close();
      await connection.close();
    },
  };
}

async function consumeNats(
  url: string,
  batch: number,
  handler: (item: string) => Promise<void>,
): Promise<Consuming> {
  const { connect, headers } = await import("@nats-io/transport-node");
  const connection = await connect({ servers: url });
  const queue = new NatsQueue<string>({ connection, headers }, QUEUE, {
    prefetch: 2 * batch,
  });
  await queue.stats();
  const ending = new AbortController();
  const { signal } = ending;
  const consuming = consume(queue, handler, { concurrency: 2 * batch, signal });
  return {
    async end() {
      ending.abort();
      await consuming;
      await queue.close();
      await connection.close();
    },
  };
}

const SUBJECT = `${QUEUE}.item`;
const encoder = new TextEncoder();

async function bareNats(url: string) {
  const { connect } = await import("@nats-io/transport-node");
  const { AckPolicy, jetstream, jetstreamManager } = await import(
    "@nats-io/jetstream"
  );
  const connection = await connect({ servers: url });
  const manager = await jetstreamManager(connection);
  await manager.streams.add({
    ...{ name: QUEUE, subjects: [SUBJECT] },
    ...{ retention: "workqueue", discard: "new" },
  });
  await manager.consumers.add(QUEUE, {
    ...{ durable_name: GROUP, ack_policy: AckPolicy.Explicit },
    max_ack_pending: -1,
  });
  return { connection, client: jetstream(connection) };
}

async function produceBareNats(url: string): Promise<Producing> {
  const { connection, client } = await bareNats(url);
  const prefix = crypto.randomUUID();
  let id = 0;
  return {
    async put(items) {
      await Promise.all(
        items.map((item) =>
          client.publish(SUBJECT, encoder.encode(JSON.stringify(item)), {
            msgID: `${prefix}-${++id}`,
          })
        ),
      );
    },
    end: () => connection.close(),
  };
}

async function consumeBareNats(
  url: string,
  batch: number,
  handler: (item: string) => Promise<void>,
): Promise<Consuming> {
  const { connection, client } = await bareNats(url);
  const consumer = await client.consumers.get(QUEUE, GROUP);
  const messages = await consumer.consume({ max_messages: 2 * batch });
  const loop = (async () => {
    const acks = new Set<Promise<unknown>>();
    for await (const message of messages) {
      await handler(message.json());
      const ack: Promise<unknown> = message.ackAck()
        .then(() => acks.delete(ack));
      acks.add(ack);
      if (acks.size >= 2 * batch) await ack;
    }
    await Promise.all(acks);
  })();
  return {
    async end() {
      await messages.close();
      await loop;
      await connection.close();
    },
  };
}
