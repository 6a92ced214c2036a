/**
 * The clients of both packages, made in one way.
 *
 * @module
 */

import type { RedisClient } from "../../src/redis.ts";
import { ignore } from "./waiting.ts";

/** A client that belongs to a test. */
export interface TestClient extends AsyncDisposable {
  readonly client: RedisClient;
  /** Sends a command; strings of the reply are strings. */
  command(...args: string[]): Promise<unknown>;
}

/** How the client of a package is made. */
export interface ClientKind {
  readonly name: string;
  connect(url: string): Promise<TestClient>;
}

/** Each of the packages. */
export const CLIENTS: readonly ClientKind[] = [
  { name: "redis", connect: connectNodeRedis },
  { name: "ioredis", connect: connectIORedis },
];

async function connectNodeRedis(url: string): Promise<TestClient> {
  // Only where it is used: each takes a while to load.
  const { createClient } = await import("redis");
  const client = createClient({
    url,
    socket: { reconnectStrategy: 50 },
  });
  client.on("error", ignore);
  await client.connect();
  return {
    client,
    command: (...args) => client.sendCommand(args),
    [Symbol.asyncDispose]: () => {
      if (client.isOpen) client.destroy();
      return Promise.resolve();
    },
  };
}

async function connectIORedis(url: string): Promise<TestClient> {
  const { Redis } = await import("ioredis");
  const client = new Redis(url, {
    lazyConnect: true,
    retryStrategy: () => 50,
  });
  client.on("error", ignore);
  await client.connect();
  return {
    client,
    command: (name, ...args) => client.call(name!, ...args) as Promise<unknown>,
    [Symbol.asyncDispose]: async () => {
      const ended = new Promise((resolve) => client.once("end", resolve));
      if (client.status === "end") return;
      client.disconnect();
      await ended;
    },
  };
}
