/**
 * Where the queues of this example are: in Redis or in NATS, for all its
 * processes.
 *
 * @module
 */

import type { EngineQueue } from "@highwater/queue/redis";
import { NatsQueue } from "@highwater/queue/nats";
import { RedisQueue } from "@highwater/queue/redis";
import type { Found, Hashed } from "../duplicates.ts";

/** What the workers and the producer tell the process that counts. */
export type Result =
  | { kind: "hashed"; file: Hashed }
  | { kind: "failed"; path: string; attempts: number; error: string }
  | { kind: "walked"; found: number };

/** The queues of one run. */
export interface Queues extends AsyncDisposable {
  readonly files: EngineQueue<Found>;
  readonly results: EngineQueue<Result>;
  /** Closes them here and removes them from the server; nobody else may have them open. */
  remove(): Promise<void>;
}

/** How long a file belongs to a worker that says nothing more, in milliseconds. */
const VISIBILITY = 10_000;

/** Opens the queues of a run on the server of that address. */
export async function openQueues(url: string, run: string): Promise<Queues> {
  const { protocol } = new URL(url);
  if (protocol === "redis:" || protocol === "rediss:") {
    return await openInRedis(url, run);
  }
  if (protocol === "nats:") return await openInNats(url, run);
  throw new Error(
    `the address must begin with redis: or nats:, not ${protocol}`,
  );
}

/** What to do when nobody answers there. */
export function advice(url: string): string {
  const { protocol, host } = new URL(url);
  const [name, line] = protocol === "nats:"
    ? ["NATS", "apt-get install nats-server; nats-server -js"]
    : ["Redis", "apt-get install redis-server; redis-server"];
  return `No ${name} answers at ${host}. Install and start one (${line}), ` +
    "or give the address of another by --server";
}

async function openInRedis(url: string, run: string): Promise<Queues> {
  const { createClient } = await import("redis");
  const client = createClient({ url });
  const refused = new Promise<never>((_, reject) => {
    // Later on it connects again by itself.
    client.on("error", reject);
  });
  await Promise.race([client.connect(), refused]).catch((error) => {
    client.destroy();
    throw error;
  });
  const options = { capacity: 10_000, visibility: VISIBILITY };
  const files = new RedisQueue<Found>(client, `${run}-files`, options);
  const results = new RedisQueue<Result>(client, `${run}-results`, options);
  return {
    files,
    results,
    async remove() {
      await Promise.all([files.close(), results.close()]);
      const match = { MATCH: `highwater:{${run}-*` };
      for await (const keys of client.scanIterator(match)) {
        if (keys.length > 0) await client.del(keys);
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([files.close(), results.close()]);
      await client.close();
    },
  };
}

async function openInNats(url: string, run: string): Promise<Queues> {
  const { connect, headers } = await import("@nats-io/transport-node");
  const { jetstreamManager } = await import("@nats-io/jetstream");
  const connection = await connect({ servers: url });
  const options = { capacity: 10_000, visibility: VISIBILITY };
  const client = { connection, headers };
  const files = new NatsQueue<Found>(client, `${run}-files`, options);
  const results = new NatsQueue<Result>(client, `${run}-results`, options);
  return {
    files,
    results,
    async remove() {
      await Promise.all([files.close(), results.close()]);
      const manager = await jetstreamManager(connection);
      for await (const name of manager.streams.names()) {
        if (name.startsWith(`${run}-`)) await manager.streams.delete(name);
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([files.close(), results.close()]);
      await connection.close();
    },
  };
}
