/**
 * A process of `bench_engines.ts`: puts, consumes, or both, when it is told to go.
 *
 * Arguments: url of a Redis through which all are told, url of the server that is
 * measured, name of the contender, JSON of the {@linkcode Task}. Prints the JSON of
 * its {@linkcode Result}.
 *
 * @module
 */

import process from "node:process";
import { type Contender, CONTENDERS } from "./engine_contenders.ts";
import { CLIENTS } from "../support/redis_clients.ts";
import { pause } from "../support/waiting.ts";

/** What a process does. */
export interface Task {
  /** The first of its items, and how many it puts. */
  first: number;
  count: number;
  consumes: boolean;
  batch: number;
  bytes: number;
  /** Items a second; as many as there can be if undefined. */
  rate: number | undefined;
}

/** What a process has seen; times are milliseconds since 1970. */
export interface Result {
  began: number;
  ended: number;
  /** The numbers of the items that came. */
  items: number[];
  /** From put to handler, in milliseconds. */
  latencies: number[];
}

function now(): number {
  return performance.timeOrigin + performance.now();
}

if (process.argv[5] !== undefined) await main();

async function main(): Promise<void> {
  const [told, url, name, json] = process.argv.slice(2) as string[] as [
    ...[string, string, string, string],
  ];
  const task = JSON.parse(json) as Task;
  const contender = CONTENDERS.find((each) => each.name === name)!;
  const control = await CLIENTS[1]!.connect(told);
  const result: Result = { began: now(), ended: 0, items: [], latencies: [] };
  let untold = 0;
  const consuming = task.consumes
    ? await contender.consume(url, task.batch, (item) => {
      const time = now();
      const [number, sent] = item.split(" ", 2) as [string, string];
      result.items.push(Number(number));
      result.latencies.push(Math.round((time - Number(sent)) * 100) / 100);
      result.ended = time;
      untold++;
      return Promise.resolve();
    })
    : undefined;
  const producing = task.count > 0 ? await contender.produce(url) : undefined;
  const telling = setInterval(() => {
    if (untold === 0) return;
    void control.command("INCRBY", "bench:done", String(untold));
    untold = 0;
  }, 10);
  await control.command("INCR", "bench:ready");
  while (await control.command("EXISTS", "bench:go") === 0) await pause(5);
  result.began = now();
  if (producing !== undefined) await put(producing, task);
  while (await control.command("EXISTS", "bench:stop") === 0) await pause(20);
  clearInterval(telling);
  await consuming?.end();
  await producing?.end();
  await control[Symbol.asyncDispose]();
  // All of it, before the end.
  process.stdout.write(JSON.stringify(result), () => process.exit(0));
}

async function put(
  producing: Awaited<ReturnType<Contender["produce"]>>,
  { first, count, batch, bytes, rate }: Task,
): Promise<void> {
  const filling = "x".repeat(bytes);
  const began = performance.now();
  for (let index = 0; index < count;) {
    const items: string[] = [];
    const sent = now();
    while (items.length < batch && index < count) {
      const head = `${first + index++} ${sent} `;
      items.push(head + filling.slice(head.length));
    }
    await producing.put(items);
    const due = rate === undefined ? 0 : began + index * 1000 / rate;
    if (due > performance.now()) await pause(due - performance.now());
  }
}
