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
      leave: () => Promise.resolve(client[Symbol.asyncDispose]()),
    };
  }
  const { connect, headers } = await import("@nats-io/transport-node");
  const { NatsQueue } = await import("../../src/nats.ts");
  const connection = await connect({
    servers: address,
    reconnectTimeWait: 50,
    maxReconnectAttempts: -1,
  });
  return {
    queue: new NatsQueue<Job>({ connection, headers }, "jobs", {
      ...options,
      onError,
    }),
    async deadLetters() {
      const found: string[] = [];
      for (let seq = 1;; seq++) {
        const answer = await connection.request(
          "$JS.API.STREAM.MSG.GET.jobs+dead",
          JSON.stringify({ seq }),
        );
        const { message } = answer.json<{ message?: { data?: string } }>();
        if (message === undefined) return numbersIn(found);
        found.push(atob(message.data ?? ""));
      }
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
