import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type Alert,
  monitor,
  type MonitorOptions,
  type MonitorSample,
  Queue,
} from "../mod.ts";
import { SteppedClock } from "./support/stepped_clock.ts";
import { test } from "./support/harness.ts";
import { turns } from "./support/waiting.ts";

/** Reads the next sample, and lets time go on until it comes. */
async function next(
  reader: ReadableStreamDefaultReader<MonitorSample>,
  clock: SteppedClock,
): Promise<MonitorSample | undefined> {
  const reading = reader.read();
  await turns();
  if (clock.pending > 0) clock.advance(1000);
  return (await reading).value;
}

/** A day in the life of a queue: puts and takes before each sample, one sample a second. */
type Shape = (second: number) => { puts: number; takes: number };

async function watch(
  seconds: number,
  shape: Shape,
  options: MonitorOptions = {},
): Promise<{ alerts: string[]; samples: MonitorSample[] }> {
  const clock = new SteppedClock();
  const queue = new Queue<number>({ highWaterMark: 100, clock });
  const alerts: string[] = [];
  const samples: MonitorSample[] = [];
  const reader = monitor(queue, {
    clock,
    onAlert: ({ kind, of, at }: Alert) =>
      alerts.push(`${at / 1000} ${kind}${of === undefined ? "" : ` of ${of}`}`),
    ...options,
  }).getReader();
  const getting: Promise<unknown>[] = [];
  for (let second = 0; second < seconds; second++) {
    const { puts, takes } = shape(second);
    for (let put = 0; put < puts; put++) queue.tryPut(put);
    for (let take = 0; take < takes; take++) {
      if (queue.length > 0) queue.tryGet();
      else if (queue.stats().waitingGets === 0) getting.push(queue.get());
    }
    samples.push((await next(reader, clock))!);
  }
  await reader.cancel();
  queue.abort();
  await Promise.allSettled(getting);
  return { alerts, samples };
}

test("monitor: steady work raises nothing", async () => {
  const { alerts } = await watch(60, () => ({ puts: 30, takes: 30 }));
  assertEquals(alerts, []);
});

test("monitor: a short burst raises nothing, a long one a backlog that is over once", async () => {
  const burst = (seconds: number): Shape => (second) => ({
    puts: second < 10 ? 90 : second < 10 + seconds ? 30 : 10,
    takes: second === 0 ? 0 : second < 10 + seconds ? 30 : 30,
  });
  assertEquals((await watch(40, burst(0))).alerts, []);
  const { alerts } = await watch(60, (second) => ({
    puts: second === 5 ? 90 : 10,
    takes: second < 5 ? 10 : second < 20 ? 10 : 15,
  }));
  assertEquals(alerts, ["10 backlog", "25 recovered of backlog"]);
});

test("monitor: a slow leak is a backlog in the end, once", async () => {
  const { alerts, samples } = await watch(90, (second) => ({
    puts: 11,
    takes: second === 0 ? 0 : 10,
  }));
  assertEquals(alerts, ["74 backlog"]);
  const { growth, timeToFull, inRate, outRate, fill } = samples[40]!;
  assertEquals([growth, inRate, outRate], [1, 11, 10]);
  assertEquals([fill, timeToFull], [0.51, 49]);
  assertEquals(samples[40]!.timeToEmpty, Infinity);
});

test("monitor: a stuck consumer is stalled, then a backlog, and recovers from both", async () => {
  const { alerts } = await watch(60, (second) => ({
    puts: second < 40 ? 10 : 0,
    takes: second < 10 || second >= 40 ? 10 : 0,
  }));
  assertEquals(alerts, [
    "15 stalled",
    "22 backlog",
    "40 recovered of stalled",
    "44 recovered of backlog",
    "55 starved",
  ]);
});

test("monitor: a saw between low and high raises nothing, and one above high does not flap", async () => {
  const saw = (base: number, height: number): Shape => (second) => {
    if (second === 0) return { puts: base, takes: 0 };
    return second % 4 < 2
      ? { puts: height, takes: 1 }
      : { puts: 1, takes: height };
  };
  assertEquals((await watch(80, saw(55, 10))).alerts, []);
  // Up and down across `high`, never down to `low`.
  const { alerts, samples } = await watch(80, saw(70, 12), { sustained: 0 });
  assert(samples.some(({ fill }) => fill > 0.8));
  assert(samples.slice(5).some(({ fill }) => fill < 0.8));
  assertEquals(alerts.length, 1);
});

test("monitor: consumers without work are starved until the next put", async () => {
  const { alerts } = await watch(30, (second) => ({
    puts: second < 5 || second === 20 ? 10 : 0,
    takes: 10,
  }));
  assertEquals(alerts, ["10 starved", "20 recovered of starved", "26 starved"]);
});

test("monitor: a sample tells rates, waiting, what is lent and the age of the oldest", async () => {
  const clock = new SteppedClock();
  const queue = new Queue<number>({
    name: "jobs",
    highWaterMark: 4,
    clock,
    timestamps: true,
  });
  const reader = monitor(queue, { clock }).getReader();
  await queue.putMany([1, 2, 3]);
  const first = (await next(reader, clock))!;
  assertEquals(
    [first.name, first.index, first.at, first.length, first.fill],
    ["jobs", 0, 0, 3, 0.75],
  );
  assertEquals([first.inRate, first.outRate, first.growth], [0, 0, 0]);
  const lent = await queue.receive();
  await queue.putMany([4, 5]);
  const waiting = queue.put(6);
  const second = (await next(reader, clock))!;
  assertEquals(second, {
    at: 1000,
    name: "jobs",
    index: 0,
    state: "open",
    length: 4,
    size: 4,
    highWaterMark: 4,
    fill: 1.25,
    inRate: 2,
    outRate: 1,
    growth: 1,
    timeToFull: 0,
    timeToEmpty: Infinity,
    oldestAge: 1000,
    waitingPuts: 1,
    waitingGets: 0,
    inFlight: 1,
    deadLetters: undefined,
    failure: undefined,
    alerts: [],
  });
  assert(Object.isFrozen(second));
  lent.ack();
  queue.clear();
  await waiting;
  queue.clear();
  assertEquals((await next(reader, clock))!.oldestAge, undefined);
});

test("monitor: several queues are sampled together, and the stream ends with the last of them", async () => {
  const clock = new SteppedClock();
  const queues = ["a", "b"].map((name) => new Queue<number>({ name }));
  const reader = monitor(queues, { clock }).getReader();
  queues[0]!.close();
  const names: string[] = [];
  for (let round = 0; round < 4; round++) {
    const { name, at } = (await next(reader, clock))!;
    names.push(`${name}${at}`);
  }
  assertEquals(names, ["a0", "b0", "a1000", "b1000"]);
  queues[1]!.abort();
  await next(reader, clock);
  await next(reader, clock);
  assertEquals(await next(reader, clock), undefined);
});

test("monitor: no timer without a read that waits, and none after the end", async () => {
  const clock = new SteppedClock();
  const queue = new Queue<number>();
  const reader = monitor(queue, { clock }).getReader();
  await turns();
  assertEquals(clock.pending, 0);
  await next(reader, clock);
  await turns();
  assertEquals(clock.pending, 0);
  const reading = reader.read();
  await turns();
  assertEquals(clock.pending, 1);
  await reader.cancel();
  assertEquals((await reading).done, true);
  assertEquals(clock.pending, 0);
});

test("monitor: its signal ends the stream, also while a read waits", async () => {
  const clock = new SteppedClock();
  const stop = new AbortController();
  const options = { clock, signal: stop.signal };
  const reader = monitor(new Queue<number>(), options).getReader();
  await next(reader, clock);
  const reading = reader.read();
  await turns();
  stop.abort();
  assertEquals((await reading).done, true);
  assertEquals(clock.pending, 0);
  const late = monitor(new Queue<number>(), options).getReader();
  assertEquals((await late.read()).done, true);
});

test("monitor: a sample late by a slow reader counts the time that has really gone by", async () => {
  const clock = new SteppedClock();
  const queue = new Queue<number>({ highWaterMark: 1000 });
  const reader = monitor(queue, { clock }).getReader();
  await next(reader, clock);
  for (let item = 0; item < 100; item++) queue.tryPut(item);
  clock.advance(10_000);
  assertEquals((await next(reader, clock))!.inRate, 10);
});

test("monitor: an alert handler that throws is printed and the stream goes on", async () => {
  const { error } = console;
  const printed: unknown[][] = [];
  console.error = (...args: unknown[]) => void printed.push(args);
  try {
    const { alerts, samples } = await watch(20, () => ({ puts: 9, takes: 0 }), {
      onAlert() {
        throw new Error("handler broke");
      },
    });
    assertEquals([alerts.length, samples.length], [0, 20]);
    assertEquals(printed.length, 2);
  } finally {
    console.error = error;
  }
});

test("monitor: fill of a rendezvous, an unbounded and a closed queue", async () => {
  const clock = new SteppedClock();
  const fill = async (queue: Queue<number>): Promise<number> =>
    (await next(monitor(queue, { clock }).getReader(), clock))!.fill;
  const rendezvous = new Queue<number>({ highWaterMark: 0 });
  assertEquals(await fill(rendezvous), 0);
  const putting = rendezvous.put(1);
  assertEquals(await fill(rendezvous), 1);
  await rendezvous.get();
  await putting;
  const unbounded = new Queue<number>({ highWaterMark: Infinity });
  await unbounded.put(1);
  assertEquals(await fill(unbounded), 0);
  const closed = new Queue<number>({ highWaterMark: 4 });
  await closed.put(1);
  closed.close();
  assertEquals(await fill(closed), 0.25);
});

test("monitor: what it cannot use is named", async () => {
  const queue = new Queue<number>();
  const cases: [unknown, MonitorOptions, string][] = [
    [1, {}, "queues must be a queue or iterable, received 1"],
    [[], {}, "queues must have one queue or more, received none"],
    [[queue, {}], {}, "queues[1] must have stats()"],
    [
      queue,
      { interval: 0 },
      "interval must be from 1 to Number.MAX_SAFE_INTEGER",
    ],
    [queue, { interval: Infinity }, "interval must be from 1 to"],
    [queue, { high: NaN }, "high must be 0 or more, received NaN"],
    [queue, { low: 0.9 }, "low must be at most high, received 0.9 and 0.8"],
    [queue, { sustained: -1 }, "sustained must be from 0 to"],
    [queue, { onAlert: 1 as never }, "onAlert must be a function"],
    [queue, { clock: {} as never }, "clock must have now"],
    [queue, { signal: {} as never }, "signal must be an AbortSignal"],
  ];
  for (const [queues, options, message] of cases) {
    assertThrows(
      () => monitor(queues as Queue<number>, options),
      Error,
      `Cannot monitor: ${message}`,
    );
  }
  await assertRejects(
    async () => {
      for await (const _ of monitor(queue)) throw new Error("reader broke");
    },
    Error,
    "reader broke",
  );
});
