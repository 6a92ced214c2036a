/**
 * What must compile, and what must not: the assertions are for the compilers, of
 * `deno check` and `tsc`.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import {
  balance,
  type BalanceOptions,
  type BatchOptions,
  Broadcast,
  type BroadcastOptions,
  type ConcurrentMapOptions,
  consume,
  type ConsumeOptions,
  type DeliverySource,
  type GetManyOptions,
  LifoQueue,
  merge,
  type MergeOptions,
  mergeSorted,
  type MergeSortedOptions,
  type MonitorOptions,
  type NackOptions,
  partition,
  type PartitionOptions,
  type PriorityPutOptions,
  PriorityQueue,
  type PriorityQueueOptions,
  type ProducerOptions,
  type PutOptions,
  Queue,
  type QueueOptions,
  type ReceiveOptions,
  type ReplayOptions,
  type RetryOptions,
  select,
  type Selected,
  type SelectOptions,
  type Source,
  type SubscribeOptions,
  tee,
  type TeeOptions,
  type WorkStealingPutOptions,
  WorkStealingQueue,
  type WorkStealingQueueOptions,
  zip,
} from "../mod.ts";
import type {
  CloudflareQueueOptions,
  QueueHandlerOptions,
} from "../src/cloudflare.ts";
import type { DashboardOptions } from "../src/dashboard.ts";
import type { NatsQueueOptions } from "../src/nats.ts";
import type { InstrumentOptions, TracingOptions } from "../src/otel.ts";
import type {
  CloseOptions,
  EngineHandleOptions,
  ReceiveManyOptions,
  RedisQueueOptions,
} from "../src/redis.ts";
import type {
  AttachOptions,
  BytesOptions,
  PoolMapOptions,
  PortOptions,
  RunOptions,
  SharedQueueOptions,
  SyncOptions,
  WorkerPoolOptions,
} from "../src/threads.ts";
import { test } from "./support/harness.ts";
import { collect } from "./support/streams.ts";

/** Compiles where the two types are one and the same. */
type Same<A, B> = (<X>() => X extends A ? 1 : 2) extends
  (<X>() => X extends B ? 1 : 2) ? true : false;

function isExactly<Wanted>(): <Given>(
  value: Given & (Same<Given, Wanted> extends true ? unknown : never),
) => Given {
  return (value) => value;
}

/** Only compiled. */
function types(..._checks: (() => unknown)[]): void {}

async function* letters(): AsyncGenerator<string> {
  yield* "ab";
}

test("types: merge, mergeSorted and zip give what any of their sources gives", async () => {
  const queue = new Queue<boolean>();
  await queue.put(true);
  queue.close();
  const stream = new Blob(["x"]).stream();
  isExactly<ReadableStream<Uint8Array<ArrayBuffer> | string | boolean>>()(
    merge([stream, letters(), queue]),
  );
  const merged = merge([[1, 2], ["a"]]);
  isExactly<ReadableStream<number | string>>()(merged);
  assertEquals((await collect(merged)).sort(), [1, 2, "a"]);
  isExactly<ReadableStream<number>>()(merge(new Set([[1], [2]])));
  isExactly<ReadableStream<number>>()(merge<number>([[1], new Set([2])]));
  isExactly<ReadableStream<number>>()(merge(new ReadableStream<number[]>()));
  const sorted = mergeSorted([[1, 3], ["2"]], (a, b) => Number(a) - Number(b));
  isExactly<ReadableStream<number | string>>()(sorted);
  assertEquals(await collect(sorted), [1, "2", 3]);
  isExactly<ReadableStream<[number, string, boolean]>>()(
    zip([1], letters(), queue),
  );
});

test("types: select gives a queue and an item of the same", async () => {
  const numbers = new Queue<number>();
  const strings = new PriorityQueue<string>();
  await strings.put("a");
  const chosen = await select([numbers, strings]);
  isExactly<Selected<number> | Selected<string>>()(chosen);
  assertEquals(chosen.item, "a");
  await numbers.put(1);
  const list = [numbers, strings];
  isExactly<Promise<Selected<number> | Selected<string>>>()(select(list));
  function generic<T>(queues: Queue<T>[]): Promise<Selected<T>> {
    return select(queues);
  }
  types(() => generic([numbers]));
});

test("types: as many branches as asked for, where the number is known", async () => {
  const [left, right] = tee([1, 2], 2);
  assertEquals([await collect(left), await collect(right)], [[1, 2], [1, 2]]);
  types(
    () => isExactly<ReadableStream<number>[]>()(tee([1], Number("2"))),
    () =>
      isExactly<[ReadableStream<number>, ReadableStream<number>]>()(
        partition([1], 2, String),
      ),
    () => isExactly<[ReadableStream<number>]>()(balance([1], 1)),
    () => isExactly<ReadableStream<number>[]>()(balance([1], 1_000)),
    () => isExactly<ReadableStream<number>[]>()(tee<number>([1], 2)),
    () => tee([1], 2 as 2 | 3).map((branch) => branch.locked),
    // @ts-expect-error: there is no third.
    () => tee([1], 2)[2],
  );
});

test("types: a string is no source", () => {
  types(
    // @ts-expect-error: its characters are meant by nobody.
    () => consume("text", (letter) => letter),
    // @ts-expect-error: nor here.
    () => merge(["some", "text"]),
    // @ts-expect-error: nor here.
    () => merge("text"),
    // @ts-expect-error: nor here.
    () => zip([1], "text"),
    // @ts-expect-error: nor here.
    () => tee("text", 2),
    // @ts-expect-error: one list of sources, not one argument for each.
    () => merge([1], [2]),
  );
});

test("types: consume tells by batch what its handler gets", async () => {
  const batches: string[][] = [];
  await consume(letters(), (items) => {
    batches.push(isExactly<string[]>()(items));
  }, {
    batch: { max: 2, linger: 10_000 },
    onUndelivered: (item) => item.at(0),
  });
  assertEquals(batches, [["a", "b"]]);
  const source = ["a"];
  function one(item: string): void {
    item.at(0);
  }
  function many(items: string[]): void {
    items.at(0);
  }
  function queued(queue: Queue<string>, lending: DeliverySource<string>) {
    types(
      () => consume(queue, one),
      () => consume(lending, (item) => isExactly<string>()(item)),
      () => consume(lending, many, { batch: { max: 3 } }),
    );
  }
  function generic<T>(source: Source<T>, handler: (item: T) => unknown) {
    return consume(source, (item) => handler(item), { concurrency: 2 });
  }
  types(
    () => queued,
    () => generic,
    () => consume(source, (item) => isExactly<string>()(item)),
    () => consume(source, one, { batch: undefined, keyOf: (item) => item[0] }),
    () => consume<string>(source, one, { retry: { attempts: 3 } }),
    // @ts-expect-error: with batch it gets arrays.
    () => consume(source, one, { batch: { max: 3 } }),
    // @ts-expect-error: without it gets items.
    () => consume(source, many),
    // @ts-expect-error: who does not know gets either.
    () => consume(source, one, {} as ConsumeOptions<string>),
    () =>
      consume(source, (work) => {
        isExactly<string | string[]>()(work);
      }, {} as ConsumeOptions<string>),
    // @ts-expect-error: misspelt.
    () => consume(source, one, { concurency: 3 }),
    // @ts-expect-error: misspelt in depth.
    () => consume(source, many, { batch: { max: 3, lingr: 3 } }),
    // @ts-expect-error: the linger is a number.
    () => consume(source, many, { batch: { max: 3, linger: "3" } }),
    // @ts-expect-error: nothing of an object is awaited by a number.
    () => consume([1], one),
  );
});

test("types: an option may be undefined, in every options interface", async () => {
  type Undefined<Options> = {
    [Name in keyof Options]-?: Options extends Required<Pick<Options, Name>>
      ? never
      : undefined extends Required<Options>[Name] ? never
      : Name;
  }[keyof Options];
  isExactly<"a">()("a" as Undefined<{ a?: string; b: 1; c?: undefined }>);
  type Every = [
    Undefined<AttachOptions<string>>,
    Undefined<BalanceOptions<string>>,
    Undefined<BatchOptions>,
    Undefined<BroadcastOptions>,
    Undefined<BytesOptions>,
    Undefined<CloseOptions>,
    Undefined<CloudflareQueueOptions<string>>,
    Undefined<ConcurrentMapOptions>,
    Undefined<ConsumeOptions<string>>,
    Undefined<DashboardOptions>,
    Undefined<EngineHandleOptions<string>>,
    Undefined<GetManyOptions>,
    Undefined<InstrumentOptions>,
    Undefined<MergeOptions>,
    Undefined<MergeSortedOptions>,
    Undefined<MonitorOptions>,
    Undefined<NackOptions>,
    Undefined<NatsQueueOptions<string>>,
    Undefined<PartitionOptions<string>>,
    Undefined<PoolMapOptions>,
    Undefined<PortOptions<string>>,
    Undefined<PriorityPutOptions>,
    Undefined<PriorityQueueOptions<string>>,
    Undefined<ProducerOptions>,
    Undefined<PutOptions>,
    Undefined<QueueHandlerOptions<string>>,
    Undefined<QueueOptions<string>>,
    Undefined<ReceiveManyOptions>,
    Undefined<ReceiveOptions>,
    Undefined<RedisQueueOptions<string>>,
    Undefined<ReplayOptions<string>>,
    Undefined<RetryOptions>,
    Undefined<RunOptions>,
    Undefined<SelectOptions>,
    Undefined<SharedQueueOptions<string>>,
    Undefined<SubscribeOptions>,
    Undefined<SyncOptions>,
    Undefined<TeeOptions>,
    Undefined<TracingOptions<string>>,
    Undefined<WorkerPoolOptions<string>>,
    Undefined<WorkStealingPutOptions>,
    Undefined<WorkStealingQueueOptions<string>>,
  ][number];
  types(
    () => isExactly<never>()(undefined as unknown as Every),
  );
  const all = {
    highWaterMark: undefined,
    size: undefined,
    overflow: undefined,
    onUndelivered: undefined,
    name: undefined,
    maxInFlight: undefined,
    timestamps: undefined,
    clock: undefined,
  };
  for (
    const Kind of [Queue<number>, LifoQueue<number>, PriorityQueue<number>]
  ) {
    const queue = new Kind(all);
    assertEquals(queue.highWaterMark, 16);
    await queue.put(1, { signal: undefined });
  }
  const lanes = new WorkStealingQueue<number>({ ...all, lanes: 2 });
  assertEquals(lanes.lane(1).highWaterMark, 16);
  assertEquals(new Broadcast({ name: undefined }).stats().name, "");
  types(
    () => new Queue<number>(new CountQueuingStrategy({ highWaterMark: 3 })),
    () =>
      new Queue<Uint8Array>(
        new ByteLengthQueuingStrategy({ highWaterMark: 3 }),
      ),
    // @ts-expect-error: misspelt.
    () => new Queue<number>({ maxSize: 3 }),
  );
});
