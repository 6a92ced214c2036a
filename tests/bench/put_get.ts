/**
 * Putting and getting beside other queues: in turn, at once, without waiting, at any depth.
 *
 * @module
 */

import async from "async";
import fastq from "fastq";
import PQueue from "p-queue";
import { Effect, Queue as EffectQueue } from "effect";
import { LifoQueue, PriorityQueue, Queue } from "../../mod.ts";
import { upTo } from "../support/items.ts";
import {
  alternate,
  filled,
  findInStd,
  ITEMS,
  resolved,
  type Row,
  together,
} from "./rows.ts";

interface Channel {
  send(item: number): Promise<void>;
  receive(): Promise<number>;
  close(): void;
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

/** The rows. */
export async function putGetRows(): Promise<Row[]> {
  const Channel = await findInStd<new (capacity?: number) => Channel>(
    "channel",
    "Channel",
  );
  const batch = upTo(100);
  const depths = [10, 1_000, 1_000_000].map((depth) =>
    [depth, filled(depth)] as const
  );
  return [
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
          const queue = async.queue<number>(
            (_item: number, done: () => void) => {
              count++;
              done();
            },
            many,
          );
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
    ...depths.map(([depth, queue]): Row => ({
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
  ];
}
