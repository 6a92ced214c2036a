/**
 * The budget of the queue as ratios, each measured in alternating rounds in one
 * process: the median of the rounds' ratios. Runs on Deno, Bun and Node.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import { monitor, Queue } from "../../mod.ts";
import { dashboard } from "../../src/dashboard.ts";
import { instrument, tracing } from "../../src/otel.ts";
import { filled, pipeThrough, transform, writeAndRead } from "../bench/rows.ts";
import { FakeMeter, followingApi } from "./telemetry.ts";
import { median } from "./items.ts";

const ITEMS = 30_000;
const TURN = 100_000;
const ROUNDS = 15;

type Work = () => Promise<void> | void;

const resolved = Promise.resolve();

function expect(count: number, wanted: number = ITEMS): void {
  if (count !== wanted) throw new Error(`${count} items instead of ${wanted}`);
}

async function bare(): Promise<void> {
  let count = 0;
  for (; count < ITEMS; count++) {
    await resolved;
    await resolved;
  }
  expect(count);
}

async function putGet(): Promise<void> {
  const queue = new Queue<number>();
  let count = 0;
  for (let item = 0; item < ITEMS; item++) {
    await queue.put(item);
    if (await queue.get() === item) count++;
  }
  expect(count);
}

/** Whoever watches gets a turn each 100,000 items, by count: time passes faster on a busy machine. */
async function putGetInTurns(
  queue: Queue<unknown>,
  takeTurn: () => void = () => {},
): Promise<void> {
  let count = 0;
  for (let turn = 0; turn < 10; turn++) {
    for (let item = 0; item < TURN; item++) {
      await queue.put(item);
      if (await queue.get() === item) count++;
    }
    takeTurn();
    await new Promise<void>((next) => setImmediate(next));
  }
  expect(count, TURN * 10);
}

/** A sample and a collection each turn: some 60 times as often as by default. */
async function putGetWatched(): Promise<void> {
  const queue = new Queue<unknown>();
  const meter = new FakeMeter();
  const instruments = instrument(queue, meter.meter);
  let now = 0;
  let alarms: (() => void)[] = [];
  const clock = {
    now: () => now,
    setTimer: (callback: () => void) => void alarms.push(callback),
    clearTimer: () => {},
  };
  const handler = dashboard(queue, { clock });
  const page = await handler(new Request("http://localhost/events"));
  const events = page.body!.getReader();
  const samples = monitor(queue, { clock }).getReader();
  let seen = 0;
  const sampling = (async () => {
    while (!(await samples.read()).done) seen++;
  })();
  let shown = 0;
  const showing = (async () => {
    while (!(await events.read()).done) shown++;
  })();
  await putGetInTurns(queue, () => {
    now += 1000;
    const due = alarms;
    alarms = [];
    for (const ring of due) ring();
    meter.collect();
  });
  instruments.stop();
  await Promise.all([samples.cancel(), events.cancel()]);
  await Promise.all([sampling, showing]);
  expect(seen, 11);
  if (shown < 10) throw new Error(`${shown} events in 10 turns`);
}

/** Objects, for only they have a context. */
async function putGetObjects(queue: Queue<object>): Promise<void> {
  let count = 0;
  for (let item = 0; item < ITEMS; item++) {
    await queue.put({ item });
    if (await queue.get() !== undefined) count++;
  }
  expect(count);
}

async function forAwait(): Promise<void> {
  const queue = new Queue<number>({ highWaterMark: 1000 });
  let count = 0;
  let put = 0;
  const refill = (): void => {
    while (put < ITEMS && queue.tryPut(put)) put++;
    if (put === ITEMS) queue.close();
  };
  refill();
  for await (const _item of queue) {
    count++;
    if (queue.length === 0) refill();
  }
  expect(count);
}

function turnOver(queue: Queue<number>): Work {
  return () => {
    let count = 0;
    for (let item = 0; item < ITEMS * 10; item++) {
      queue.tryPut(item);
      queue.tryGet();
      count++;
    }
    expect(count, ITEMS * 10);
  };
}

async function time(work: Work): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function ratio(ours: Work, theirs: Work): Promise<number> {
  for (let warm = 0; warm < 4; warm++) {
    await theirs();
    await ours();
  }
  const ratios: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const limit = await time(theirs);
    ratios.push(await time(ours) / limit);
  }
  return median(ratios);
}

async function nanoseconds(work: Work, items: number): Promise<number> {
  for (let warm = 0; warm < 4; warm++) await work();
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) times.push(await time(work));
  return median(times) / items * 1e6;
}

/** Takes batches out of a queue that was filled before; only the taking is timed. */
async function getManyTime(): Promise<number> {
  const times: number[] = [];
  // As many rounds to warm up as are counted: one has few calls of getMany().
  for (let round = 0; round < ROUNDS * 2; round++) {
    const queue = filled(ITEMS);
    let count = 0;
    const start = performance.now();
    while (count < ITEMS) count += (await queue.getMany(100)).length;
    times.push(performance.now() - start);
    expect(count);
  }
  return median(times.slice(ROUNDS)) / ITEMS * 1e6;
}

function bytesPerItem(): number | undefined {
  const collect = (globalThis as { gc?: () => void }).gc;
  const memory = (globalThis as {
    process?: { memoryUsage(): { heapUsed: number } };
  }).process;
  if (collect === undefined || memory === undefined) return undefined;
  const items = 1_500_000;
  collect();
  const before = memory.memoryUsage().heapUsed;
  const queue = filled(items); // small integers: no object of their own
  collect();
  const used = memory.memoryUsage().heapUsed - before;
  expect(queue.length, items);
  return used / items;
}

async function cancels(shared: boolean): Promise<[number, number]> {
  const reason = new Error("cancelled");
  const ours: number[] = [];
  const platform: number[] = [];
  for (let round = 0; round < 7; round++) {
    const controllers = Array.from(
      { length: 20_000 },
      () => new AbortController(),
    );
    const one = new AbortController();
    const queue = new Queue<number>();
    let count = 0;
    const gets = controllers.map(({ signal }) =>
      queue.get({ signal: shared ? one.signal : signal })
        .catch(() => void count++)
    );
    const start = performance.now();
    if (shared) one.abort(reason);
    else for (const controller of controllers) controller.abort(reason);
    ours.push(performance.now() - start);
    await Promise.all(gets);
    expect(count, 20_000);
    const others = Array.from({ length: 20_000 }, () => new AbortController());
    let fired = 0;
    for (const { signal } of others) {
      signal.addEventListener("abort", () => void fired++);
    }
    const began = performance.now();
    for (const controller of others) controller.abort(reason);
    platform.push(performance.now() - began);
    expect(fired, 20_000);
  }
  return [median(ours), median(platform)];
}

function report(
  name: string,
  value: number | undefined,
  unit: string,
  must: number,
  aim: number,
): void {
  if (value === undefined) {
    return console.log(`| ${name} | not measurable here |`);
  }
  const verdict = value <= aim ? "aim" : value <= must ? "met" : "MISSED";
  console.log(
    `| ${name} | ${
      value.toFixed(2)
    }${unit} | ≤ ${must}${unit} | ${aim}${unit} | ${verdict} |`,
  );
}

console.log("| case | measured | must | aim | |\n|---|---|---|---|---|");
report("put + get / two bare awaits", await ratio(putGet, bare), "×", 1.5, 1.2);
report(
  "put + get with monitor, dashboard and instruments / without",
  await ratio(putGetWatched, () => putGetInTurns(new Queue<unknown>())),
  "×",
  1.1,
  1.02,
);
const traces = tracing(followingApi());
report(
  "put + get with captureAtPut / without",
  await ratio(
    () => putGetObjects(new Queue<object>(traces.captureAtPut({}))),
    () => putGetObjects(new Queue<object>()),
  ),
  "×",
  5,
  2,
);
report(
  "tryPut + tryGet, an item",
  await nanoseconds(turnOver(filled(10)), ITEMS * 10),
  " ns",
  20,
  10,
);
report("getMany, an item", await getManyTime(), " ns", 20, 10);
report(
  "for await / two bare awaits",
  await ratio(forAwait, bare),
  "×",
  1.8,
  1.3,
);
report(
  "writer + reader / TransformStream",
  await ratio(
    async () => expect(await writeAndRead(new Queue<number>(), ITEMS)),
    async () => expect(await writeAndRead(transform(16), ITEMS)),
  ),
  "×",
  0.5,
  0.25,
);
report(
  "pipeThrough + pipeTo / TransformStream",
  await ratio(
    async () => expect(await pipeThrough(new Queue<number>(), ITEMS)),
    async () => expect(await pipeThrough(transform(16), ITEMS)),
  ),
  "×",
  "Deno" in globalThis ? 1.5 : 1,
  1,
);
report(
  "depth 1,000,000 / depth 10",
  await ratio(turnOver(filled(1_000_000)), turnOver(filled(10))),
  "×",
  1.5,
  1.1,
);
report("bytes an item, beyond the item", bytesPerItem(), " B", 24, 10);
for (const shared of [false, true]) {
  const [ours, platform] = await cancels(shared);
  report(
    `20,000 cancels, ${shared ? "one shared signal" : "a signal each"} ` +
      `(the platform's abort alone: ${platform.toFixed(1)} ms)`,
    ours,
    " ms",
    30,
    30,
  );
}
