/**
 * Every case beside its peers, each doing the same job for the same number of
 * items, which is checked inside.
 *
 * ```sh
 * deno task bench        # deno bench
 * deno task bench:bun    # the same cases on Bun
 * deno task bench:node   # and on Node 24
 * deno task bench -- consume  # the groups whose names begin so
 * deno task bench -- growth [lanes]   # 10 to 10,000 of everything there may be many of, in a table of its own
 * ```
 *
 * @module
 */

import { PriorityQueue as DatastructuresQueue } from "@datastructures-js/priority-queue";
import { Repeater } from "@repeaterjs/repeater";
import async from "async";
import { Effect, Queue as EffectQueue } from "effect";
import fastq from "fastq";
import { Heap as HeapJs } from "heap-js";
import itMerge from "it-merge";
import { pushable } from "it-pushable";
import { merge as ixMerge, zip as ixZip } from "ix/asynciterable";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { Readable } from "node:stream";
import { setImmediate } from "node:timers";
import pLimit from "p-limit";
import pMap, { pMapIterable } from "p-map";
import PQueue from "p-queue";
import {
  concatMap,
  count,
  from,
  lastValueFrom,
  merge as rxMerge,
  mergeMap,
  share,
  Subject,
} from "rxjs";
import type { Observable } from "rxjs";
import {
  Broadcast,
  concurrentMap,
  consume,
  LifoQueue,
  merge,
  PriorityQueue,
  Queue,
  tee,
  WorkStealingQueue,
  zip,
} from "./mod.ts";
import { measureGrowth } from "./tests/bench/growth.ts";

/** `deno task bench -- consume`: only the groups whose names begin so. */
const wanted = process.argv.slice(2).filter((word) => !word.startsWith("-"));

// First and alone: what the others set up fills the memory.
if (wanted[0] === "growth") {
  await measureGrowth(wanted.slice(1));
  process.exit();
}

const ITEMS = 10_000;

/** One row: a way to move its items; the promise is that of their number. */
interface Row {
  group: string;
  name: string;
  baseline?: boolean;
  /** ITEMS unless told. */
  items?: number;
  run(): Promise<number> | number;
}

interface Channel {
  send(item: number): Promise<void>;
  receive(): Promise<number>;
  close(): void;
}

/** `Channel` of `@std/async`, where JSR answers within three seconds. */
async function findChannel(): Promise<
  (new (capacity?: number) => Channel) | undefined
> {
  const specifier = "jsr:@std/async@^1.5/channel";
  try {
    return (await within(3_000, import(specifier), specifier)).Channel;
  } catch {
    console.error("@std/async Channel is left out: JSR cannot be reached.");
    return undefined;
  }
}

type PooledMap = <T, R>(
  limit: number,
  items: Iterable<T>,
  fn: (item: T) => Promise<R>,
) => AsyncIterable<R>;

/** `pooledMap` of `@std/async`, likewise. */
async function findPooledMap(): Promise<PooledMap | undefined> {
  const specifier = "jsr:@std/async@^1.5/pool";
  try {
    return (await within(3_000, import(specifier), specifier)).pooledMap;
  } catch {
    console.error("@std/async pooledMap is left out: JSR cannot be reached.");
    return undefined;
  }
}

interface MuxAsyncIterator extends AsyncIterable<number> {
  add(source: AsyncIterable<number>): void;
}

/** `MuxAsyncIterator` of `@std/async`, where JSR answers within three seconds. */
async function findMuxAsyncIterator(): Promise<
  (new () => MuxAsyncIterator) | undefined
> {
  const specifier = "jsr:@std/async@^1.5/mux-async-iterator";
  try {
    const found = await within(3_000, import(specifier), specifier);
    return found.MuxAsyncIterator;
  } catch {
    console.error("MuxAsyncIterator is left out: JSR cannot be reached.");
    return undefined;
  }
}

/** The same promise, but an error naming it if it takes longer. */
async function within<T>(
  milliseconds: number,
  promise: T | Promise<T>,
  name: string,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${name}: not settled after ${milliseconds} ms`));
    }, milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The queue that tutorials teach: an array of items, an array of resolvers, shift(). Unbounded. */
class TutorialQueue<T> {
  readonly #items: T[] = [];
  readonly #resolvers: ((item: T) => void)[] = [];

  put(item: T): void {
    const resolve = this.#resolvers.shift();
    if (resolve === undefined) this.#items.push(item);
    else resolve(item);
  }

  get(): Promise<T> {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift()!);
    return new Promise((resolve) => this.#resolvers.push(resolve));
  }
}

const resolved = Promise.resolve();

async function alternate(
  put: (item: number) => unknown,
  get: () => Promise<unknown>,
): Promise<number> {
  let count = 0;
  for (let item = 0; item < ITEMS; item++) {
    await put(item);
    await get();
    count++;
  }
  return count;
}

/** Producers and consumers at the same time, `many` of each. */
async function together(
  many: number,
  put: (item: number) => unknown,
  get: () => Promise<unknown>,
): Promise<number> {
  let count = 0;
  const share = ITEMS / many;
  const work: Promise<void>[] = [];
  for (let worker = 0; worker < many; worker++) {
    work.push((async () => {
      for (let item = 0; item < share; item++) await put(item);
    })());
    work.push((async () => {
      for (let item = 0; item < share; item++) {
        await get();
        count++;
      }
    })());
  }
  await Promise.all(work);
  return count;
}

async function drain(items: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _item of items) count++;
  return count;
}

async function writeAndRead(
  pair: ReadableWritablePair<number, number>,
): Promise<number> {
  const writer = pair.writable.getWriter();
  const reader = pair.readable.getReader();
  const writing = (async () => {
    for (let item = 0; item < ITEMS; item++) {
      await writer.ready;
      writer.write(item).catch(() => {});
    }
    await writer.close();
  })();
  let count = 0;
  while (!(await reader.read()).done) count++;
  await writing;
  return count;
}

function source(): ReadableStream<number> {
  let item = 0;
  return new ReadableStream({
    pull(controller) {
      if (item < ITEMS) controller.enqueue(item++);
      else controller.close();
    },
  });
}

async function pipeThrough(
  pair: ReadableWritablePair<number, number>,
): Promise<number> {
  let count = 0;
  const sink = new WritableStream<number>({ write: () => void count++ });
  await source().pipeThrough(pair).pipeTo(sink);
  return count;
}

function transform(highWaterMark: number): TransformStream<number, number> {
  return new TransformStream({}, { highWaterMark }, { highWaterMark: 0 });
}

function filled(depth: number): Queue<number> {
  const queue = new Queue<number>({ highWaterMark: Infinity });
  for (let item = 0; item < depth; item++) queue.tryPut(item);
  return queue;
}

async function cancel(shared: boolean): Promise<number> {
  const queue = new Queue<number>();
  const reason = new Error("cancelled");
  const one = new AbortController();
  const controllers = shared
    ? [one]
    : Array.from({ length: 20_000 }, () => new AbortController());
  let count = 0;
  const gets = Array.from({ length: 20_000 }, (_, index) => {
    const { signal } = shared ? one : controllers[index]!;
    return queue.get({ signal }).catch(() => void count++);
  });
  for (const controller of controllers) controller.abort(reason);
  await Promise.all(gets);
  return count / 2;
}

function abortListeners(): number {
  const reason = new Error("cancelled");
  const controllers = Array.from(
    { length: 20_000 },
    () => new AbortController(),
  );
  let count = 0;
  for (const { signal } of controllers) {
    signal.addEventListener("abort", () => void count++);
  }
  for (const controller of controllers) controller.abort(reason);
  return count / 2;
}

function effectQueue(capacity: number): EffectQueue.Queue<number> {
  return Effect.runSync(EffectQueue.bounded<number>(capacity));
}

function effectTogether(many: number, capacity: number): Promise<number> {
  const queue = effectQueue(capacity);
  const share = ITEMS / many;
  const puts = Effect.gen(function* () {
    for (let item = 0; item < share; item++) {
      yield* EffectQueue.offer(queue, item);
    }
    return 0;
  });
  const gets = Effect.gen(function* () {
    let count = 0;
    for (; count < share; count++) yield* EffectQueue.take(queue);
    return count;
  });
  const all = Array.from({ length: many }, () => [puts, gets]).flat();
  return Effect.runPromise(Effect.all(all, { concurrency: "unbounded" }))
    .then((counts) => counts.reduce((sum, count) => sum + count, 0));
}

/** A stream without a queue around it: its controller puts, its reader gets. */
function nativeStream(): {
  put: (item: number) => void;
  get: () => Promise<unknown>;
} {
  let controller: ReadableStreamDefaultController<number> | undefined;
  const stream = new ReadableStream<number>({
    start: (own) => void (controller = own),
  }, { highWaterMark: 16 });
  const reader = stream.getReader();
  return {
    put: (item) => controller!.enqueue(item),
    get: () => reader.read(),
  };
}

/** Workers, and for each of them somebody who puts what is dealt out to it. */
async function dealt(
  queues: Queue<number>[],
  workerOf: (item: number) => number,
): Promise<number> {
  let count = 0;
  const putting = queues.map(async (queue, worker) => {
    for (let item = 0; item < ITEMS; item++) {
      if (workerOf(item) === worker) await queue.put(item);
    }
  });
  const working = queues.map(async (queue) => {
    for await (const item of queue) {
      for (let turn = item % 4; turn >= 0; turn--) await undefined;
      count++;
    }
  });
  await Promise.all(putting);
  for (const queue of queues) queue.close();
  await Promise.all(working);
  return count;
}

/** What a priority queue does without waiting; the smallest number first. */
interface Ranked {
  put(item: number, priority: number): unknown;
  get(): number | undefined;
}

interface Prioritized {
  item: number;
  priority: number;
}

function byPriority(one: Prioritized, other: Prioritized): number {
  return one.priority - other.priority;
}

function ownRanked(): Ranked {
  const queue = new PriorityQueue<number>({ highWaterMark: Infinity });
  return {
    put: (item, priority) => queue.tryPut(item, { priority }),
    get: () => queue.tryGet(),
  };
}

function datastructuresRanked(): Ranked {
  const queue = new DatastructuresQueue<Prioritized>(byPriority);
  return {
    put: (item, priority) => queue.enqueue({ item, priority }),
    get: () => queue.dequeue()?.item,
  };
}

function heapJsRanked(): Ranked {
  const heap = new HeapJs<Prioritized>(byPriority);
  return {
    put: (item, priority) => heap.push({ item, priority }),
    get: () => heap.pop()?.item,
  };
}

/** p-queue's own PriorityQueue; its package does not export it, so it is there only where npm has installed p-queue. */
interface PQueueRanked {
  enqueue(run: unknown, options: { priority: number }): void;
  dequeue(): unknown;
}

async function findPQueueRanked(): Promise<(() => Ranked) | undefined> {
  const url = new URL(
    "./node_modules/p-queue/dist/priority-queue.js",
    import.meta.url,
  ).href;
  let RankedQueue: new () => PQueueRanked;
  try {
    RankedQueue = (await import(url)).default;
  } catch {
    console.error(
      "p-queue's PriorityQueue is left out: `deno task tools` installs it.",
    );
    return undefined;
  }
  return () => {
    const queue = new RankedQueue();
    return {
      // The largest number first there.
      put: (item, priority) => queue.enqueue(item, { priority: -priority }),
      get: () => queue.dequeue() as number | undefined,
    };
  };
}

/** Items are their own priorities, so that their order can be checked. */
function putAllGetAll(queue: Ranked, items: number): number {
  for (let at = 0; at < items; at++) {
    queue.put(priorities[at]!, priorities[at]!);
  }
  return inOrder(items, () => queue.get()!);
}

/** How many come, up to the first that is out of order. */
function inOrder(items: number, get: () => number): number {
  let last = -Infinity;
  for (let count = 0; count < items; count++) {
    const item = get();
    if (!(item >= last)) return count;
    last = item;
  }
  return items;
}

function atDepth(queue: Ranked): number {
  let count = 0;
  for (let at = 0; at < ITEMS; at++) {
    queue.put(priorities[at]!, priorities[at]!);
    if (queue.get() !== undefined) count++;
  }
  return count;
}

async function asyncPriorityQueue(items: number): Promise<number> {
  const taken: number[] = [];
  const queue = async.priorityQueue<number>(
    (item: number, done: () => void) => {
      taken.push(item);
      done();
    },
    1,
  );
  queue.pause();
  const drained = queue.drain();
  for (let at = 0; at < items; at++) {
    // With a callback it makes no promise for each.
    queue.push(priorities[at]!, priorities[at]!, ignore);
  }
  queue.resume();
  await drained;
  let at = 0;
  return inOrder(taken.length, () => taken[at++]!);
}

function ignore(): void {}

async function pQueueTasks(items: number): Promise<number> {
  const taken: number[] = [];
  const queue = new PQueue({ concurrency: 1, autoStart: false });
  for (const priority of priorities.subarray(0, items)) {
    queue.add(() => void taken.push(priority), { priority: -priority });
  }
  queue.start();
  await queue.onIdle();
  let at = 0;
  return inOrder(taken.length, () => taken[at++]!);
}

const ASYNCIO = `
import asyncio, random, time
async def main(items):
    keys = [random.random() for _ in range(items)]
    queue = asyncio.PriorityQueue()
    start = time.perf_counter()
    for key in keys: queue.put_nowait((key, key))
    got = [queue.get_nowait()[1] for _ in range(items)]
    spent = time.perf_counter() - start
    assert got == sorted(keys)
    print(f"{items:,} random priorities: asyncio.PriorityQueue {spent * 1000:.0f} ms")
for items in (80_000, 1_000_000): asyncio.run(main(items))
`;

/** Python counts for itself; on standard error, which leaves a report in JSON alone. */
function measureAsyncio(): void {
  const { error, status, stdout, stderr } = spawnSync(
    "python3",
    ["-c", ASYNCIO],
    { encoding: "utf8", timeout: 60_000 },
  );
  if (error !== undefined) {
    console.error(`asyncio.PriorityQueue is left out: ${error.message}`);
  } else if (status !== 0) throw new Error(`asyncio.PriorityQueue: ${stderr}`);
  else console.error(stdout.trim());
}

async function* counted(total: number): AsyncGenerator<number> {
  for (let item = 0; item < total; item++) yield item;
}

/** Sources that have ITEMS items together. */
function generators(many: number): AsyncGenerator<number>[] {
  return Array.from({ length: many }, () => counted(ITEMS / many));
}

/** Has an observable push into a function, which cannot make it wait. */
function subscribe(items: Observable<unknown>): Promise<number> {
  return new Promise((resolve, reject) => {
    let count = 0;
    items.subscribe({
      next: () => void count++,
      complete: () => resolve(count),
      error: reject,
    });
  });
}

/** Splits in two, and each half again, until there are so many. */
function nestedTee(
  stream: ReadableStream<number>,
  count: number,
): ReadableStream<number>[] {
  if (count === 1) return [stream];
  return stream.tee().flatMap((half) => nestedTee(half, count / 2));
}

async function read(stream: ReadableStream<number>): Promise<number> {
  const reader = stream.getReader();
  let count = 0;
  while (!(await reader.read()).done) count++;
  return count;
}

/** ITEMS, if that is what every branch came to. */
async function readAll(branches: ReadableStream<number>[]): Promise<number> {
  const counts = await Promise.all(branches.map(read));
  return counts.every((count) => count === ITEMS) ? ITEMS : -1;
}

/** A stream whose items are put instead of pulled: the last is followed by its end. */
function putStream(): {
  stream: ReadableStream<number>;
  put: (item: number) => void;
  close: () => void;
} {
  let controller: ReadableStreamDefaultController<number> | undefined;
  const stream = new ReadableStream<number>({
    start: (own) => void (controller = own),
  });
  return {
    stream,
    put: (item) => controller!.enqueue(item),
    close: () => controller!.close(),
  };
}

async function putItems(
  put: (item: number) => unknown,
  close: () => void,
): Promise<void> {
  for (let item = 0; item < ITEMS; item++) await put(item);
  close();
}

/** rxjs knows no reads and no backpressure: each subscriber is called. */
async function shared(count: number): Promise<number> {
  const counts = new Array<number>(count).fill(0);
  const source = new Subject<number>();
  const items = source.pipe(share());
  for (let index = 0; index < count; index++) {
    items.subscribe(() => void counts[index]!++);
  }
  await putItems((item) => source.next(item), () => source.complete());
  return counts.every((count) => count === ITEMS) ? ITEMS : -1;
}
/** What is there already, by a handler that does nothing; counted by the report. */
async function consumeAll(
  concurrency: number,
  closed: Queue<number>,
): Promise<number> {
  const { processed } = await consume(closed, doNothing, { concurrency });
  return processed;
}

async function doNothing(): Promise<void> {}

const batch = Array.from({ length: 100 }, (_, item) => item);
const depths = new Map(
  [10, 1_000, 1_000_000].map((depth) => [depth, filled(depth)]),
);
const Channel = await findChannel();
const pQueueRanked = await findPQueueRanked();
const priorities = Float64Array.from({ length: 1_000_000 }, Math.random);
const ranked: [string, () => Ranked][] = [
  ["PriorityQueue", ownRanked],
  ["@datastructures-js/priority-queue, not stable", datastructuresRanked],
  ["heap-js, not stable", heapJsRanked],
];
if (pQueueRanked !== undefined) {
  ranked.push(["p-queue, PriorityQueue", pQueueRanked]);
}
const deep: [string, Ranked][] = ranked.map(([name, make]) => {
  const queue = make();
  for (const priority of priorities.subarray(0, 10_000)) {
    queue.put(priority, priority);
  }
  return [name, queue];
});
const pooledMap = await findPooledMap();

type Call = (item: number) => Promise<number>;

const calls: [name: string, call: Call][] = [
  ["calls that end at once", (item) => Promise.resolve(item + 1)],
  [
    "calls that wait a turn",
    (item) =>
      new Promise((resolve) => {
        setImmediate(resolve, item + 1);
      }),
  ],
];
const numbers = Array.from({ length: ITEMS }, (_, item) => item);

async function mapByWriter(call: Call): Promise<number> {
  const { readable, writable } = concurrentMap(call);
  const writer = writable.getWriter();
  const reader = readable.getReader();
  const writing = (async () => {
    for (const item of numbers) await writer.write(item);
    await writer.close();
  })();
  let count = 0;
  while (!(await reader.read()).done) count++;
  await writing;
  return count;
}

/** Maps ITEMS numbers by the call, 16 at a time. */
function mapRows(name: string, call: Call): Row[] {
  const group = `concurrentMap 16, ${name}`;
  return [
    {
      group,
      name: "concurrentMap",
      baseline: true,
      run: () => mapByWriter(call),
    },
    {
      group,
      name: "concurrentMap, queue.readable piped through, for await",
      run() {
        const queue = filled(ITEMS);
        queue.close();
        return drain(queue.readable.pipeThrough(concurrentMap(call)));
      },
    },
    {
      group,
      name: "concurrentMap, a native stream piped through, for await",
      run: () => drain(source().pipeThrough(concurrentMap(call))),
    },
    {
      group,
      name: "p-limit",
      async run() {
        const limit = pLimit(16);
        const results = numbers.map((item) => limit(call, item));
        return (await Promise.all(results)).length;
      },
    },
    {
      group,
      name: "p-map",
      run: async () => (await pMap(numbers, call, { concurrency: 16 })).length,
    },
    {
      group,
      name: "p-map, pMapIterable",
      run: () => drain(pMapIterable(numbers, call, { concurrency: 16 })),
    },
    {
      group,
      name: "rxjs mergeMap, unordered",
      run: () => lastValueFrom(from(numbers).pipe(mergeMap(call, 16), count())),
    },
    {
      group,
      name: "Readable.map of Node",
      run: () => drain(Readable.from(numbers).map(call, { concurrency: 16 })),
    },
    ...(pooledMap === undefined ? [] : [{
      group,
      name: "@std/async pooledMap",
      run: () => drain(pooledMap(16, numbers, call)),
    }]),
  ];
}

const MuxAsyncIterator = await findMuxAsyncIterator();

const rows: Row[] = [
  {
    group: "put, then get",
    name: "two bare awaits (the limit)",
    baseline: true,
    run: () => alternate(() => resolved, () => resolved),
  },
  {
    group: "put, then get",
    name: "Queue",
    run() {
      const queue = new Queue<number>();
      return alternate((item) => queue.put(item), () => queue.get());
    },
  },
  {
    group: "put, then get",
    name: "LifoQueue",
    run() {
      const queue = new LifoQueue<number>();
      return alternate((item) => queue.put(item), () => queue.get());
    },
  },
  {
    group: "put, then get",
    name: "PriorityQueue",
    run() {
      const queue = new PriorityQueue<number>();
      return alternate((item) => queue.put(item), () => queue.get());
    },
  },
  {
    group: "put, then get",
    name: "tutorial array queue, unbounded",
    run() {
      const queue = new TutorialQueue<number>();
      return alternate((item) => queue.put(item), () => queue.get());
    },
  },
  {
    group: "put, then get",
    name: "native ReadableStream, enqueue and read",
    run() {
      const { put, get } = nativeStream();
      return alternate(put, get);
    },
  },
  ...(Channel === undefined ? [] : [{
    group: "put, then get",
    name: "@std/async Channel",
    run() {
      const channel = new Channel(16);
      return alternate((item) => channel.send(item), () => channel.receive());
    },
  }]),
  {
    group: "put, then get",
    name: "effect Queue",
    run() {
      const queue = effectQueue(16);
      return Effect.runPromise(Effect.gen(function* () {
        let count = 0;
        for (let item = 0; item < ITEMS; item++) {
          yield* EffectQueue.offer(queue, item);
          yield* EffectQueue.take(queue);
          count++;
        }
        return count;
      }));
    },
  },
  ...([
    ["4 workers, work dealt out evenly", (item) => item % 4],
    [
      "4 workers, 90 % of the work for one",
      (item) => item % 10 < 9 ? 0 : 1 + Math.floor(item / 10) % 3,
    ],
  ] as [string, (item: number) => number][]).flatMap(([group, workerOf]) => {
    const options = { highWaterMark: 64 };
    return [
      {
        group,
        name: "Queue, shared",
        baseline: true,
        run() {
          const queue = new Queue<number>(options);
          return dealt([queue, queue, queue, queue], workerOf);
        },
      },
      {
        group,
        name: "Queue, one for each",
        run: () =>
          dealt([1, 2, 3, 4].map(() => new Queue<number>(options)), workerOf),
      },
      {
        group,
        name: "WorkStealingQueue",
        run() {
          const queue = new WorkStealingQueue<number>({ ...options, lanes: 4 });
          return dealt([0, 1, 2, 3].map((lane) => queue.lane(lane)), workerOf);
        },
      },
    ];
  }),
  ...[1, 4].flatMap((many): Row[] => [
    {
      group: `${many}:${many} at once, room for 64`,
      name: "Queue",
      baseline: true,
      run() {
        const queue = new Queue<number>({ highWaterMark: 64 });
        return together(many, (item) => queue.put(item), () => queue.get());
      },
    },
    {
      group: `${many}:${many} at once, room for 64`,
      name: "tutorial array queue, unbounded",
      run() {
        const queue = new TutorialQueue<number>();
        return together(many, (item) => queue.put(item), () => queue.get());
      },
    },
    ...(Channel === undefined ? [] : [{
      group: `${many}:${many} at once, room for 64`,
      name: "@std/async Channel",
      run() {
        const channel = new Channel(64);
        return together(
          many,
          (item) => channel.send(item),
          () => channel.receive(),
        );
      },
    }]),
    {
      group: `${many}:${many} at once, room for 64`,
      name: "effect Queue",
      run() {
        return effectTogether(many, 64);
      },
    },
    {
      group: `${many}:${many} at once, room for 64`,
      name: "fastq, tasks",
      async run() {
        let count = 0;
        const queue = fastq.promise((_item: number) => {
          count++;
          return resolved;
        }, many);
        for (let item = 0; item < ITEMS; item++) {
          const done = queue.push(item);
          if (queue.length() >= 64) await done;
        }
        await queue.drained();
        return count;
      },
    },
    {
      group: `${many}:${many} at once, room for 64`,
      name: "async.queue, tasks",
      async run() {
        let count = 0;
        const queue = async.queue<number>((_item: number, done: () => void) => {
          count++;
          done();
        }, many);
        for (let item = 0; item < ITEMS; item++) {
          const done = queue.push(item);
          if (queue.length() >= 64) await done;
        }
        if (!queue.idle()) await queue.drain();
        return count;
      },
    },
    {
      group: `${many}:${many} at once, room for 64`,
      name: "p-queue, tasks",
      async run() {
        let count = 0;
        const queue = new PQueue({ concurrency: many });
        for (let item = 0; item < ITEMS; item++) {
          const done = queue.add(() => {
            count++;
            return resolved;
          });
          if (queue.size >= 64) await done;
        }
        await queue.onIdle();
        return count;
      },
    },
  ]),
  ...[1, 64].flatMap((concurrency): Row[] => {
    const group = `consume ${ITEMS} that are there, ${concurrency} at a time`;
    return [
      {
        group,
        name: "Queue",
        baseline: true,
        run() {
          const queue = filled(ITEMS);
          queue.close();
          return consumeAll(concurrency, queue);
        },
      },
      {
        group,
        name: "for await, without a report or anything else (the limit)",
        async run() {
          const queue = filled(ITEMS);
          queue.close();
          let count = 0;
          await Promise.all(Array.from({ length: concurrency }, async () => {
            for await (const _item of queue) {
              await doNothing();
              count++;
            }
          }));
          return count;
        },
      },
      {
        group,
        name: "fastq",
        async run() {
          let count = 0;
          const queue = fastq.promise((_item: number) => {
            count++;
            return doNothing();
          }, concurrency);
          for (let item = 0; item < ITEMS; item++) void queue.push(item);
          await queue.drained();
          return count;
        },
      },
      {
        group,
        name: "p-queue",
        async run() {
          let count = 0;
          const queue = new PQueue({ concurrency });
          for (let item = 0; item < ITEMS; item++) {
            void queue.add(() => {
              count++;
              return doNothing();
            });
          }
          await queue.onIdle();
          return count;
        },
      },
    ];
  }),
  ...[0, 1].map((highWaterMark): Row => ({
    group: "ping-pong",
    name: `Queue, highWaterMark ${highWaterMark}`,
    baseline: highWaterMark === 0,
    run() {
      const queue = new Queue<number>({ highWaterMark });
      return together(1, (item) => queue.put(item), () => queue.get());
    },
  })),
  ...(Channel === undefined ? [] : [{
    group: "ping-pong",
    name: "@std/async Channel, capacity 0",
    run() {
      const channel = new Channel(0);
      return together(
        1,
        (item) => channel.send(item),
        () => channel.receive(),
      );
    },
  }]),
  {
    group: "ping-pong",
    name: "effect Queue, capacity 1",
    run: () => effectTogether(1, 1),
  },
  {
    group: "for await",
    name: "two bare awaits (the limit)",
    baseline: true,
    run: () => alternate(() => resolved, () => resolved),
  },
  {
    group: "for await",
    name: "Queue",
    run() {
      const queue = filled(ITEMS);
      queue.close();
      return drain(queue);
    },
  },
  {
    group: "for await",
    name: "queue.readable",
    run() {
      const queue = filled(ITEMS);
      queue.close();
      return drain(queue.readable);
    },
  },
  {
    group: "for await",
    name: "it-pushable",
    run() {
      const items = pushable<number>({ objectMode: true });
      for (let item = 0; item < ITEMS; item++) items.push(item);
      items.end();
      return drain(items);
    },
  },
  {
    group: "for await",
    name: "native ReadableStream",
    run: () => drain(source()),
  },
  {
    group: "without waiting",
    name: "Queue: tryPut, tryGet",
    baseline: true,
    run() {
      const queue = new Queue<number>();
      let count = 0;
      for (let item = 0; item < ITEMS; item++) {
        if (queue.tryPut(item) && queue.tryGet() === item) count++;
      }
      return count;
    },
  },
  {
    group: "without waiting",
    name: "Queue: putMany, getMany, 100 at a time",
    async run() {
      const queue = new Queue<number>({ highWaterMark: 100 });
      let count = 0;
      while (count < ITEMS) {
        await queue.putMany(batch);
        count += (await queue.getMany(100)).length;
      }
      return count;
    },
  },
  {
    group: "writer and reader",
    name: "TransformStream",
    baseline: true,
    run: () => writeAndRead(transform(16)),
  },
  {
    group: "writer and reader",
    name: "Queue",
    run: () => writeAndRead(new Queue<number>()),
  },
  {
    group: "source.pipeThrough(x).pipeTo(sink)",
    name: "TransformStream",
    baseline: true,
    run: () => pipeThrough(transform(16)),
  },
  {
    group: "source.pipeThrough(x).pipeTo(sink)",
    name: "Queue",
    run: () => pipeThrough(new Queue<number>()),
  },
  {
    group: "merge of 8",
    name: "merge",
    baseline: true,
    run: () => drain(merge(generators(8))),
  },
  {
    group: "merge of 8",
    name: "it-merge",
    run: () => drain(itMerge(...generators(8))),
  },
  {
    group: "merge of 8",
    name: "ix merge",
    run() {
      const [first, ...others] = generators(8);
      return drain(ixMerge(first!, ...others));
    },
  },
  {
    group: "merge of 8",
    name: "Repeater.merge",
    run: () => drain(Repeater.merge(generators(8))),
  },
  ...(MuxAsyncIterator === undefined ? [] : [{
    group: "merge of 8",
    name: "@std/async MuxAsyncIterator",
    run() {
      const mux = new MuxAsyncIterator();
      for (const source of generators(8)) mux.add(source);
      return drain(mux);
    },
  }]),
  {
    group: "merge of 8",
    name: "rxjs merge, to a consumer that is waited for, unbounded",
    run() {
      const merged = rxMerge(...generators(8).map((source) => from(source)));
      return subscribe(merged.pipe(concatMap(async (item) => await item)));
    },
  },
  {
    group: "merge of 8",
    name: "rxjs merge, pushed into a function",
    run: () =>
      subscribe(
        rxMerge(...generators(8).map((source) => from(source))),
      ),
  },
  {
    group: "zip of 2",
    name: "zip",
    baseline: true,
    run: () => drain(zip(counted(ITEMS), counted(ITEMS))),
  },
  {
    group: "zip of 2",
    name: "ix zip",
    run: () => drain(ixZip(counted(ITEMS), counted(ITEMS))),
  },
  ...[2, 4].flatMap((many): Row[] => [
    {
      group: `${many}-way broadcast`,
      name: "native tee, nested, of a stream that is pulled",
      baseline: true,
      run: () => readAll(nestedTee(source(), many)),
    },
    {
      group: `${many}-way broadcast`,
      name: "native tee, nested, of a stream that is put into, unbounded",
      async run() {
        const { stream, put, close } = putStream();
        const reading = readAll(nestedTee(stream, many));
        await putItems(put, close);
        return reading;
      },
    },
    {
      group: `${many}-way broadcast`,
      name: "tee() of a stream that is pulled",
      run: () => readAll(tee(source(), many)),
    },
    {
      group: `${many}-way broadcast`,
      name: "Broadcast",
      async run() {
        const broadcast = new Broadcast<number>();
        const reading = readAll(
          Array.from({ length: many }, () => broadcast.subscribe()),
        );
        await putItems((item) => broadcast.put(item), () => broadcast.close());
        return reading;
      },
    },
    {
      group: `${many}-way broadcast`,
      name: "rxjs share, calls without backpressure",
      run: () => shared(many),
    },
  ]),
  ...[...depths].map(([depth, queue]): Row => ({
    group: "tryPut, tryGet at a depth",
    name: `depth ${depth}`,
    baseline: depth === 10,
    run() {
      let count = 0;
      for (let item = 0; item < ITEMS; item++) {
        queue.tryPut(item);
        queue.tryGet();
        count++;
      }
      return count;
    },
  })),
  ...[80_000, 1_000_000].flatMap((items) =>
    ranked
      // p-queue moves half of what is stored with each put: minutes for a million.
      .filter(([, make]) => items === 80_000 || make !== pQueueRanked)
      .map(([name, make]): Row => ({
        group: `${items} random priorities, put all, get all`,
        name,
        baseline: make === ownRanked,
        items,
        run: () => putAllGetAll(make(), items),
      }))
  ),
  {
    group: "80000 random priorities, put all, get all",
    name: "async.priorityQueue, tasks",
    items: 80_000,
    run: () => asyncPriorityQueue(80_000),
  },
  {
    group: "80000 random priorities, put all, get all",
    name: "p-queue, tasks",
    items: 80_000,
    run: () => pQueueTasks(80_000),
  },
  ...deep.map(([name, queue]): Row => ({
    group: "random priorities at depth 10000, put and get",
    name,
    baseline: name === "PriorityQueue",
    run: () => atDepth(queue),
  })),
  {
    group: "20,000 cancels",
    name: "AbortController and one listener each (the platform)",
    baseline: true,
    run: abortListeners,
  },
  {
    group: "20,000 cancels",
    name: "Queue: get() with a signal each",
    run: () => cancel(false),
  },
  {
    group: "20,000 cancels",
    name: "Queue: get() on one shared signal",
    run: () => cancel(true),
  },
  ...calls.flatMap(([name, call]) => mapRows(name, call)),
];

const chosen = rows.filter(({ group }) =>
  wanted.length === 0 || wanted.some((word) => group.startsWith(word))
);

async function checked(row: Row): Promise<void> {
  const name = `${row.group}, ${row.name}`;
  const count = await within(20_000, row.run(), name);
  const { items = ITEMS } = row;
  if (count !== items) {
    throw new Error(`${name}: ${count} instead of ${items}`);
  }
}

if (chosen.some(({ group }) => group.endsWith("put all, get all"))) {
  measureAsyncio();
}
if ("Deno" in globalThis) {
  for (const row of chosen) {
    Deno.bench({
      group: row.group,
      name: row.name,
      baseline: row.baseline ?? false,
      // Seconds each, for some peers.
      ...(row.items === undefined ? {} : { n: 5, warmup: 3 }),
      // Deno awaits only what is declared `async`. Anything else it takes for
      // synchronous, whatever it returns, and starts it over and over at once.
      async fn() {
        await checked(row);
      },
    });
  }
} else {
  const { bench, group, run, summary } = await import("mitata");
  for (const name of new Set(chosen.map((row) => row.group))) {
    group(name, () => {
      summary(() => {
        for (const row of chosen.filter((row) => row.group === name)) {
          bench(row.name, () => checked(row)).baseline(row.baseline ?? false);
        }
      });
    });
  }
  const json = process.argv.includes("--json");
  const { benchmarks } = await run({ format: json ? "json" : "mitata" });
  const errors = benchmarks.flatMap(({ runs }) => runs)
    .flatMap(({ error }) => error === undefined ? [] : [error]);
  if (errors.length > 0) throw new AggregateError(errors, "Rows have failed");
}
