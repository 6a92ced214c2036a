/**
 * The queue in NATS beside the bare client, on one server of its own: items per
 * second through 1, 2 and 4 processes that put and consume, and how long an
 * item takes from put to handler when there is time.
 *
 * Both sides store in a work-queue stream with ids, wait for each answer, and have
 * each acknowledgement confirmed. They take turns, so that only their ratio counts.
 *
 * `deno task bench:engines:nats [items]`
 *
 * @module
 */

import { AckPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, headers, type NatsConnection } from "@nats-io/transport-node";
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { consume } from "./mod.ts";
import { bytes, NatsQueue } from "./src/nats.ts";
import { noNats, startNats } from "./tests/support/nats_server.ts";

interface Job {
  kind: "queue" | "client";
  size: number;
  /** How many this process puts. */
  count: number;
  /** Milliseconds between two puts; 0 for as fast as it goes. */
  pace: number;
}

const BATCH = 512;
const CONCURRENCY = 128;
const encoder = new TextEncoder();

if (process.argv[2] === "worker") await work();
else await measureAll(Number(process.argv[2] ?? 6_000));

async function measureAll(items: number): Promise<void> {
  if (noNats !== undefined) throw new Error(noNats);
  console.log(
    "| payload | processes | queue, items/s | client, items/s | client : queue | queue, p50 / p99 ms | client, p50 / p99 ms |",
  );
  console.log("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
  for (const size of [100, 10_000]) {
    for (const processes of [1, 2, 4]) {
      const rates = { queue: [] as number[], client: [] as number[] };
      const times = { queue: [] as number[], client: [] as number[] };
      const count = Math.ceil((size > 1_000 ? items / 4 : items) / processes);
      for (let round = 0; round < 3; round++) {
        for (const kind of ["queue", "client"] as const) {
          const job = { kind, size, count, pace: 0 };
          const { seconds } = await run(processes, job);
          rates[kind].push(processes * count / seconds);
          const paced = { ...job, count: 100, pace: 5 * processes };
          times[kind].push(...(await run(processes, paced)).latencies);
        }
      }
      const [queue, client] = [median(rates.queue), median(rates.client)];
      const cells = [
        `${size} B`,
        processes,
        Math.round(queue),
        Math.round(client),
        (client / queue).toFixed(2),
        quantiles(times.queue),
        quantiles(times.client),
      ];
      console.log(`| ${cells.join(" | ")} |`);
    }
  }
}

/** One server, so many processes, until all that they put is done. */
async function run(
  processes: number,
  job: Job,
): Promise<{ seconds: number; latencies: number[] }> {
  await using server = await startNats();
  await using connection = await connect({ servers: server.address });
  const counts = { ready: 0, done: 0 };
  const total = processes * job.count;
  let wake = (): void => {};
  const until = async (word: "ready" | "done", count: number) => {
    while (counts[word] < count) {
      await new Promise<void>((resolve) => wake = resolve);
    }
  };
  for (const word of ["ready", "done"] as const) {
    connection.subscribe(`bench.${word}`, {
      callback: (_, message) => {
        counts[word] += Number(message.string());
        wake();
      },
    });
  }
  await connection.flush();
  const outputs = Array.from(
    { length: processes },
    () => outputOf(["worker", server.address, JSON.stringify(job)]),
  );
  await until("ready", processes);
  const start = performance.now();
  connection.publish("bench.go");
  await until("done", total);
  const seconds = (performance.now() - start) / 1_000;
  if (counts.done !== total) throw new Error(`${counts.done} of ${total} done`);
  connection.publish("bench.stop");
  await connection.flush();
  const latencies = (await Promise.all(outputs)).flatMap((output) =>
    JSON.parse(output) as number[]
  );
  return { seconds, latencies };
}

/** What this script says in a process of its own. */
function outputOf(args: string[]): Promise<string> {
  const child = spawn(
    process.execPath,
    [
      "run",
      "-A",
      "--quiet",
      "--no-check",
      fileURLToPath(import.meta.url),
      ...args,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let output = "";
  child.stdout.setEncoding("utf8");
  child.stdout.on("data", (text) => output += text);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`A process of the benchmark ended with ${code}`));
    });
  });
}

// -- In a process of its own ----------------------------------------------------

async function work(): Promise<void> {
  const connection = await connect({ servers: process.argv[3]! });
  const job = JSON.parse(process.argv[4]!) as Job;
  const stopped = new AbortController();
  connection.subscribe("bench.stop", { callback: () => stopped.abort() });
  const go = new Promise<void>((resolve) => {
    connection.subscribe("bench.go", { callback: () => resolve() });
  });
  const latencies: number[] = [];
  let done = 0;
  const tell = (): void => {
    connection.publish("bench.done", String(done));
    done = 0;
  };
  const timer = setInterval(() => done > 0 && tell(), 5);
  const side = job.kind === "queue" ? queueSide : clientSide;
  await side(connection, job, {
    ready: async () => {
      connection.publish("bench.ready", "1");
      await go;
    },
    handle: (payload) => {
      const sentAt = new DataView(payload.buffer, payload.byteOffset)
        .getFloat64(0);
      latencies.push(now() - sentAt);
    },
    done: () => void done++,
    signal: stopped.signal,
  });
  clearInterval(timer);
  await connection.close();
  console.log(JSON.stringify(latencies));
  process.exit(0);
}

interface Hooks {
  ready(): Promise<void>;
  handle(payload: Uint8Array): void;
  done(): void;
  signal: AbortSignal;
}

async function queueSide(
  connection: NatsConnection,
  job: Job,
  { ready, handle, done, signal }: Hooks,
): Promise<void> {
  const queue = new NatsQueue<Uint8Array>({ connection, headers }, "jobs", {
    codec: bytes(),
    prefetch: 256,
  });
  await queue.stats();
  await ready();
  const putting = job.pace === 0
    ? queue.putMany(payloads(job))
    : paced(job, (payload) => queue.put(payload));
  const consuming = consume(queue, (payload) => {
    handle(payload);
    done();
  }, { concurrency: CONCURRENCY, signal });
  await Promise.all([putting, consuming]);
  await queue.close();
}

async function clientSide(
  connection: NatsConnection,
  job: Job,
  { ready, handle, done, signal }: Hooks,
): Promise<void> {
  const manager = await jetstreamManager(connection);
  await manager.streams.add({
    name: "jobs",
    subjects: ["jobs.item"],
    retention: "workqueue",
    discard: "new",
  });
  await manager.consumers.add("jobs", {
    durable_name: "work",
    ack_policy: AckPolicy.Explicit,
    max_ack_pending: -1,
  });
  const client = jetstream(connection);
  const consumer = await client.consumers.get("jobs", "work");
  await ready();
  let id = 0;
  const prefix = crypto.randomUUID();
  const put = (payload: Uint8Array): Promise<unknown> =>
    client.publish("jobs.item", payload, { msgID: `${prefix}-${++id}` });
  const putting = job.pace === 0 ? putBatches(job, put) : paced(job, put);
  const messages = await consumer.consume({ max_messages: 256 });
  signal.addEventListener("abort", () => messages.stop());
  const acks = new Set<Promise<unknown>>();
  for await (const message of messages) {
    handle(message.data);
    const ack = message.ackAck().then(() => {
      acks.delete(ack);
      done();
    });
    acks.add(ack);
    if (acks.size >= CONCURRENCY) await ack;
  }
  await putting;
}

async function putBatches(
  job: Job,
  put: (payload: Uint8Array) => Promise<unknown>,
): Promise<void> {
  let batch: Promise<unknown>[] = [];
  for (const payload of payloads(job)) {
    batch.push(put(payload));
    if (batch.length === BATCH) {
      await Promise.all(batch);
      batch = [];
    }
  }
  await Promise.all(batch);
}

async function paced(
  job: Job,
  put: (payload: Uint8Array) => Promise<unknown>,
): Promise<void> {
  const puts: Promise<unknown>[] = [];
  for (const payload of payloads(job)) {
    puts.push(put(payload));
    await new Promise((resolve) => setTimeout(resolve, job.pace));
  }
  await Promise.all(puts);
}

function* payloads({ count, size }: Job): Generator<Uint8Array> {
  const text = encoder.encode("x".repeat(size));
  for (let index = 0; index < count; index++) {
    const payload = text.slice();
    new DataView(payload.buffer).setFloat64(0, now());
    yield payload;
  }
}

/** The same in all processes of a machine. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

function median(numbers: number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;
}

function quantiles(numbers: number[]): string {
  const sorted = numbers.toSorted((a, b) => a - b);
  const at = (part: number): string =>
    sorted[Math.floor(part * (sorted.length - 1))]!.toFixed(1);
  return `${at(0.5)} / ${at(0.99)}`;
}
