/**
 * Queues on Redis and on NATS, opened in one way: for tests of what is the same on
 * both.
 *
 * @module
 */

import type { EngineQueue } from "../../src/engines/core/engine_queue.ts";
import { NatsQueue } from "../../src/nats.ts";
import { RedisQueue } from "../../src/redis.ts";
import { CLIENTS } from "./redis_clients.ts";

/** What a queue of either engine may be told. */
export interface SharedOptions {
  attempts?: number;
  visibility?: number;
  prefetch?: number;
  highWaterMark?: number;
  onError?: (error: unknown) => void;
}

/** A connection to an engine. */
export interface EnginePlace extends AsyncDisposable {
  /** A queue, which is closed with the place. */
  open<T = number>(options?: SharedOptions): EngineQueue<T>;
}

/** How each engine is connected to. */
export const ENGINES: Readonly<
  Record<"redis" | "nats", (address: string) => Promise<EnginePlace>>
> = { redis: connectRedis, nats: connectNats };

async function connectRedis(address: string): Promise<EnginePlace> {
  const client = await CLIENTS[1]!.connect(`redis://${address}`);
  return placeOf(
    <T>(options: SharedOptions) =>
      new RedisQueue<T>(client.client, "jobs", options),
    () => client[Symbol.asyncDispose](),
  );
}

async function connectNats(servers: string): Promise<EnginePlace> {
  // Only where it is used: it takes a while to load.
  const { connect, headers } = await import("@nats-io/transport-node");
  const connection = await connect({ servers, maxReconnectAttempts: -1 });
  return placeOf(
    <T>(options: SharedOptions) =>
      new NatsQueue<T>({ connection, headers }, "jobs", options),
    () => connection.close(),
  );
}

function placeOf(
  make: <T>(options: SharedOptions) => EngineQueue<T> & {
    close(options: { signal: AbortSignal }): Promise<void>;
  },
  end: () => PromiseLike<void>,
): EnginePlace {
  const closings: (() => Promise<void>)[] = [];
  return {
    open<T>(options: SharedOptions = {}): EngineQueue<T> {
      const queue = make<T>(options);
      closings.push(() => queue.close({ signal: AbortSignal.abort() }));
      return queue;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await Promise.all(closings.map((close) => close()));
      await end();
    },
  };
}
