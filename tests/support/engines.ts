/**
 * Queues on Redis and on NATS, opened in one way: for tests of what is the same on
 * both, and for the processes that they start.
 *
 * @module
 */

import type { Codec } from "../../src/codec.ts";
import type { EngineQueue } from "../../src/engines/core/engine_queue.ts";
import type { CloseOptions } from "../../src/engines/core/putting.ts";
import { NatsQueue } from "../../src/nats.ts";
import { RedisQueue } from "../../src/redis.ts";
import { CLIENTS } from "./redis_clients.ts";

/** What a queue of any engine may be told. */
export interface SharedOptions<T = number> {
  attempts?: number;
  visibility?: number;
  prefetch?: number;
  highWaterMark?: number;
  capacity?: number;
  overflow?: "wait" | "reject";
  offline?: "wait" | "reject";
  codec?: Codec<T>;
  headersOf?: (item: T) => Readonly<Record<string, string>> | undefined;
  onError?: (error: unknown) => void;
}

/** What an engine keeps of an item: its text, and what is told beside it. */
export interface StoredText {
  readonly text: string;
  readonly details: string;
}

/** A queue of the tests. */
export interface TestQueue<T> extends EngineQueue<T> {
  readonly waitingPuts: number;
  close(options?: CloseOptions): Promise<void>;
}

/** A connection to an engine. */
export interface EnginePlace extends AsyncDisposable {
  /** A queue, which is closed with the place; "jobs" unless it has a name. */
  open<T = number>(options?: SharedOptions<T>, name?: string): TestQueue<T>;
  /** Puts a text past the queue "jobs". */
  inject(text: string): Promise<unknown>;
  /** What is in the queue "jobs", or among its dead letters. */
  stored(where?: "queue" | "dead"): Promise<StoredText[]>;
  /** Whether the client is in use still. */
  isConnected(): Promise<boolean>;
}

/** An engine with a client. */
export type EngineName = "redis" | "node-redis" | "nats";

/** How each engine is connected to. */
export const ENGINES: Readonly<
  Record<EngineName, (address: string) => Promise<EnginePlace>>
> = {
  redis: (address) => connectRedis(address, "ioredis"),
  "node-redis": (address) => connectRedis(address, "redis"),
  nats: connectNats,
};

async function connectRedis(
  address: string,
  kind: string,
): Promise<EnginePlace> {
  const { connect } = CLIENTS.find(({ name }) => name === kind)!;
  const { client, command, [Symbol.asyncDispose]: end } = await connect(
    `redis://${address}`,
  );
  return {
    ...placeOf(
      (name, options) => new RedisQueue(client, name, options),
      end,
    ),
    inject: (text) =>
      command("XADD", "highwater:{jobs}:stream", "*", "p", text),
    async stored(where = "queue") {
      const key = where === "dead" ? "dead" : "stream";
      const entries = await command(
        ...["XRANGE", `highwater:{jobs}:${key}`, "-", "+"],
      ) as [string, string[]][];
      return entries.map(([, [, text = "", ...details]]) => ({
        text,
        details: details.join(" "),
      }));
    },
    isConnected: async () => await command("PING") === "PONG",
  };
}

async function connectNats(servers: string): Promise<EnginePlace> {
  // Only where it is used: it takes a while to load.
  const { connect, headers } = await import("@nats-io/transport-node");
  const connection = await connect({
    servers,
    reconnectTimeWait: 20,
    maxReconnectAttempts: -1,
  });
  return {
    ...placeOf(
      (name, options) => new NatsQueue({ connection, headers }, name, options),
      () => connection.close(),
    ),
    inject: (text) => connection.request("jobs.item", text),
    async stored(where = "queue") {
      const stream = where === "dead" ? "jobs+dead" : "jobs";
      const ask = async <R>(subject: string, body: object): Promise<R> =>
        (await connection.request(
          `$JS.API.STREAM.${subject}.${stream}`,
          JSON.stringify(body),
        )).json<R>();
      const { state } = await ask<
        { state: { first_seq: number; last_seq: number } }
      >("INFO", {});
      const found: StoredText[] = [];
      for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
        const { message } = await ask<
          { message?: { data?: string; hdrs?: string } }
        >("MSG.GET", { seq });
        if (message === undefined) continue;
        const { data = "", hdrs = "" } = message;
        found.push({ text: textOf(data), details: textOf(hdrs) });
      }
      return found;
    },
    isConnected: () => Promise.resolve(!connection.isClosed()),
  };
}

function textOf(base64: string): string {
  const bytes = Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0));
  return new TextDecoder().decode(bytes);
}

function placeOf(
  make: <T>(name: string, options: SharedOptions<T>) => TestQueue<T>,
  end: () => PromiseLike<void>,
): Pick<EnginePlace, "open" | typeof Symbol.asyncDispose> {
  const closings: (() => Promise<void>)[] = [];
  return {
    open<T = number>(
      options: SharedOptions<T> = {},
      name = "jobs",
    ): TestQueue<T> {
      const queue = make<T>(name, options);
      closings.push(() => queue.close({ signal: AbortSignal.abort() }));
      return queue;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await Promise.all(closings.map((close) => close()));
      await end();
    },
  };
}
