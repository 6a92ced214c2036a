/**
 * The jobs of a chaos run, and the queue they go through.
 *
 * @module
 */

import type { EngineQueue } from "../../src/redis.ts";

/** A job; what becomes of it follows from its number. */
export interface Job {
  number: number;
  text: string;
}

/** How a job ends. */
export type Fate = "quick" | "slow" | "failing" | "poisonous" | "oversized";

/** No engine takes items of so many bytes here. */
export const TOO_LARGE = 1_100_000;

/** What is done with a job. */
export function fateOf({ number }: Pick<Job, "number">): Fate {
  if (number % 1_999 === 97) return "poisonous";
  if (number % 401 === 9) return "oversized";
  if (number % 307 === 7) return "failing";
  if (number % 211 === 5) return "slow";
  return "quick";
}

/** An engine, as one process sees it. */
export interface Opened {
  queue: EngineQueue<Job>;
  /** Of what is dead, as far as the engine keeps it: the numbers of the jobs. */
  deadLetters(): Promise<number[]>;
  /** What is on the server when all jobs are done, and should not be: each in words. */
  leftovers(): Promise<string[]>;
  leave(): Promise<void>;
}

const CAPACITY = 500;

/** Opens the queue of a chaos run. */
export async function openEngine(
  engine: string,
  address: string,
  visibility: number,
): Promise<Opened> {
  const options = { visibility, capacity: CAPACITY };
  // What fails while the server is away is what this is about.
  const onError = (): void => {};
  if (engine === "redis") {
    const { CLIENTS } = await import("./redis_clients.ts");
    const { RedisQueue } = await import("../../src/redis.ts");
    const client = await CLIENTS[0]!.connect(`redis://${address}`);
    return {
      queue: new RedisQueue<Job>(client.client, "jobs", {
        ...options,
        maxPayload: 1_000_000,
        onError,
      }),
      deadLetters: async () =>
        numbersIn(
          await client.command("XRANGE", "highwater:{jobs}:dead", "-", "+"),
        ),
      async leftovers() {
        const found: string[] = [];
        for (const key of await client.command("KEYS", "*") as string[]) {
          // Else it ends by itself, as what is known of puts.
          if (Number(await client.command("PTTL", key)) >= 0) continue;
          const part = key.replace("highwater:{jobs}:", "");
          if (part === "dead") continue;
          const length = part === "stream"
            ? await client.command("XLEN", key)
            : part === "bell" || part === "room"
            ? Number(await client.command("LLEN", key)) - 1
            : undefined;
          if (length !== 0) found.push(`${key} (${length ?? "?"} too many)`);
        }
        return found;
      },
      leave: () => Promise.resolve(client[Symbol.asyncDispose]()),
    };
  }
  const { connect, headers } = await import("@nats-io/transport-node");
  const { NatsQueue } = await import("../../src/nats.ts");
  const connection = await connect({
    servers: address,
    reconnectTimeWait: 50,
    waitOnFirstConnect: true,
    maxReconnectAttempts: -1,
  });
  const ask = async <R>(subject: string, body: object = {}): Promise<R> => {
    const answer = await connection.request(
      `$JS.API.${subject}`,
      JSON.stringify(body),
    );
    return answer.json<R>();
  };
  return {
    queue: new NatsQueue<Job>({ connection, headers }, "jobs", {
      ...options,
      onError,
    }),
    async deadLetters() {
      const found: string[] = [];
      for (let seq = 1;; seq++) {
        const { message } = await ask<{ message?: { data?: string } }>(
          "STREAM.MSG.GET.jobs+dead",
          { seq },
        );
        if (message === undefined) return numbersIn(found);
        found.push(atob(message.data ?? ""));
      }
    },
    async leftovers() {
      const found: string[] = [];
      const { streams } = await ask<{ streams: string[] }>("STREAM.NAMES");
      for (const stream of streams) {
        const { consumers } = await ask<{ consumers: string[] | null }>(
          `CONSUMER.NAMES.${stream}`,
        );
        found.push(...(consumers ?? []).map((name) => `${stream}: ${name}`));
      }
      const known = ["jobs", "jobs+dead", "jobs+notes"];
      return [
        ...streams.filter((name) => !known.includes(name)),
        ...found.filter((name) => name !== "jobs: work"),
      ];
    },
    leave: () => connection.close(),
  };
}

function numbersIn(entries: unknown): number[] {
  return (entries as unknown[]).flatMap((entry) =>
    [...String(entry).matchAll(/"number":(\d+)/g)].map(([, found]) =>
      Number(found)
    )
  );
}
