/**
 * Every case beside its peers, each doing the same job for the same number of
 * items, which is checked inside.
 *
 * ```sh
 * deno task bench        # deno bench
 * deno task bench:bun    # the same cases on Bun
 * deno task bench:node   # and on Node 24
 * ```
 *
 * @module
 */

import async from "async";
import { Effect, Queue as EffectQueue } from "effect";
import fastq from "fastq";
import { pushable } from "it-pushable";
import process from "node:process";
import PQueue from "p-queue";
import {
  consume,
  LifoQueue,
  PriorityQueue,
  Queue,
  WorkStealingQueue,
} from "./mod.ts";

const ITEMS = 10_000;

/** One row: a way to move ITEMS items; the promise is that of their number. */
interface Row {
  group: string;
  name: string;
  baseline?: boolean;
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
];

async function checked(row: Row): Promise<void> {
  const name = `${row.group}, ${row.name}`;
  const count = await within(20_000, row.run(), name);
  if (count !== ITEMS) {
    throw new Error(`${name}: ${count} instead of ${ITEMS}`);
  }
}

if ("Deno" in globalThis) {
  for (const row of rows) {
    Deno.bench({
      group: row.group,
      name: row.name,
      baseline: row.baseline ?? false,
      // Deno awaits only what is declared `async`. Anything else it takes for
      // synchronous, whatever it returns, and starts it over and over at once.
      async fn() {
        await checked(row);
      },
    });
  }
} else {
  const { bench, group, run, summary } = await import("mitata");
  for (const name of new Set(rows.map((row) => row.group))) {
    group(name, () => {
      summary(() => {
        for (const row of rows.filter((row) => row.group === name)) {
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
