/**
 * `deno task bench:engines [--quick] [--rounds=3] [--only=part of a title] [part of a
 * name ...]`: the queues on
 * engines beside others on the same server and beside the clients by hand.
 *
 * A server of its own on loopback, Redis without persistence, NATS with its files. Each contender is measured
 * in processes of its own, in rounds that take turns; the medians count, and each
 * run is checked: every item came once.
 *
 * @module
 */

import process from "node:process";
import type { Result, Task } from "./engines_worker.ts";
import { CONTENDERS } from "./engine_contenders.ts";
import { outcomeOf, startScript } from "../support/example.ts";
import { CLIENTS, type TestClient } from "../support/redis_clients.ts";
import { noNats, startNats } from "../support/nats_server.ts";
import { noRedis, startRedis } from "../support/redis_server.ts";
import { pause } from "../support/waiting.ts";

interface Setting {
  title: string;
  /** 1: one that puts and consumes; more: one half puts, the other consumes. */
  processes: number;
  batch: number;
  bytes: number;
  rate?: number;
}

interface Measured {
  throughput: number;
  p50: number;
  p99: number;
}

const words = process.argv.slice(2);
const isQuick = words.includes("--quick");
const rounds = Number(
  words.find((word) => word.startsWith("--rounds="))?.slice(9) ??
    (isQuick ? 1 : 3),
);
const parts = words.filter((word) => !word.startsWith("--"));
const contenders = CONTENDERS.filter(({ name, server }) =>
  (parts.length === 0 || parts.some((part) => name.includes(part))) &&
  (server === "redis" || noNats === undefined)
);
if (noNats !== undefined) console.error(noNats);

const ALL: Setting[] = [
  ...[1, 2, 4].flatMap((processes) =>
    [100, 10_000].map((bytes) => ({
      title: `${processes} process${processes > 1 ? "es" : ""}, ${bytes} B`,
      ...{ processes, bytes, batch: 100 },
    }))
  ),
  ...[1, 10, 500].map((batch) => ({
    title: `2 processes, 100 B, batches of ${batch}`,
    ...{ processes: 2, bytes: 100, batch },
  })),
  ...[100, 10_000].map((bytes) => ({
    title: `2 processes, ${bytes} B, 500 items a second, one by one`,
    ...{ processes: 2, bytes, batch: 1, rate: 500 },
  })),
];

const only = words.find((word) => word.startsWith("--only="))?.slice(7) ?? "";
const SETTINGS = ALL.filter(({ title }) => title.includes(only));

if (noRedis !== undefined) {
  console.error(noRedis);
  process.exit(1);
}
for (const setting of SETTINGS) {
  const runs = new Map<string, Measured[]>();
  for (const { name } of contenders) runs.set(name, []);
  for (let round = 0; round < rounds; round++) {
    for (const { name } of contenders) {
      runs.get(name)!.push(await measure(name, setting));
    }
  }
  print(setting, runs);
}
process.exit(0);

async function measure(name: string, setting: Setting): Promise<Measured> {
  const { processes, batch, bytes, rate } = setting;
  const count = countFor(setting);
  await using server = await startRedis();
  const redis = `redis://${server.address}`;
  await using client = await CLIENTS[1]!.connect(redis);
  await using nats = CONTENDERS.find((each) => each.name === name)!.server ===
      "nats"
    ? await startNats()
    : undefined;
  const url = nats?.address ?? redis;
  const producers = Math.ceil(processes / 2);
  const each = Math.ceil(count / producers);
  const tasks = Array.from({ length: processes }, (_, index): Task => ({
    first: index * each,
    count: index < producers ? each : 0,
    consumes: processes === 1 || index >= producers,
    ...{ batch, bytes, rate: rate && rate / producers },
  }));
  const ending = tasks.map((task) =>
    resultOf(name, [redis, url, name, JSON.stringify(task)])
  );
  const run = async (): Promise<void> => {
    await reaches(client, "bench:ready", processes);
    await client.command("SET", "bench:go", "1");
    await reaches(client, "bench:done", each * producers);
    await client.command("SET", "bench:stop", "1");
  };
  const [results] = await Promise.all([Promise.all(ending), run()]);
  const items = results.flatMap((result) => result.items);
  const distinct = new Set(items).size;
  if (items.length !== each * producers || distinct !== items.length) {
    throw new Error(
      `${name}: ${items.length} items came, ${distinct} of them once`,
    );
  }
  const began = Math.min(...results.map((result) => result.began));
  const ended = Math.max(...results.map((result) => result.ended));
  const latencies = results.flatMap((result) => result.latencies)
    .sort((one, other) => one - other);
  return {
    throughput: items.length / (ended - began) * 1000,
    p50: latencies[Math.floor(latencies.length * 0.5)]!,
    p99: latencies[Math.floor(latencies.length * 0.99)]!,
  };
}

async function resultOf(name: string, args: string[]): Promise<Result> {
  const script = "tests/bench/engines_worker.ts";
  const { code, stdout, stderr } = await outcomeOf(startScript(script, args));
  if (code !== 0) throw new Error(`${name} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout) as Result;
}

/** About a second or two for the fast ones. */
function countFor({ bytes, batch, rate }: Setting): number {
  if (rate !== undefined) return rate * (isQuick ? 1 : 3);
  const most = batch === 1 ? 3_000 : bytes > 1000 ? 10_000 : 40_000;
  return isQuick ? most / 4 : most;
}

async function reaches(
  client: TestClient,
  key: string,
  count: number,
): Promise<void> {
  const began = performance.now();
  while (Number(await client.command("GET", key) ?? 0) < count) {
    if (performance.now() - began > 120_000) {
      throw new Error(`${key} does not reach ${count}`);
    }
    await pause(10);
  }
}

function print(setting: Setting, runs: Map<string, Measured[]>): void {
  const median = (name: string, word: keyof Measured): number => {
    const values = runs.get(name)!.map((run) => run[word]);
    return values.sort((one, other) => one - other)[values.length >> 1]!;
  };
  console.log(`\n${setting.title}`);
  for (const name of runs.keys()) {
    const throughput = median(name, "throughput");
    const to = (other: string): string =>
      runs.has(other) && other !== name
        ? `  ${(throughput / median(other, "throughput")).toFixed(2)}× ${other}`
        : "";
    const others = name.startsWith("highwater")
      ? to(name.replace("highwater", "bare")) +
        (name.endsWith("nats") ? "" : to("bullmq"))
      : "";
    console.log(
      `  ${name.padEnd(18)} ${throughput.toFixed(0).padStart(8)} items/s` +
        `  p50 ${median(name, "p50").toFixed(2).padStart(8)} ms` +
        `  p99 ${median(name, "p99").toFixed(2).padStart(8)} ms` +
        others,
    );
  }
}
