/**
 * What crosses from one thread to another, beside its peers, each moving the same
 * records, which are counted.
 *
 * ```sh
 * deno task bench:threads
 * ```
 *
 * @module
 */

import {
  isMainThread,
  parentPort,
  Worker,
  workerData,
} from "node:worker_threads";
import { RingBuffer } from "ringbuf.js";
import {
  bytes,
  SharedQueue,
  type SharedQueueHandle,
} from "../../src/threads.ts";

const SIZES = [16, 256, 4096, 65536];
const ROUNDS = 3;
/** Bytes of every ring. */
const RING = 1 << 20;
const BATCH = 64;

/** What the other thread is given. */
interface Shared {
  readonly objects: SharedQueueHandle;
  readonly records: SharedQueueHandle;
  readonly pooled: SharedQueueHandle;
  readonly back: SharedQueueHandle;
  readonly storage: SharedArrayBuffer;
}

/** What the other thread is told to send. */
interface Order {
  readonly way: string;
  readonly size: number;
  readonly count: number;
}

/** One way for records to cross; the promise is that of their number. */
interface Way {
  readonly name: string;
  /** Objects instead of byte arrays; only where the size is 16. */
  readonly objects?: boolean;
  receive(order: Order): Promise<number>;
}

function runtimeName(): string {
  const scope = globalThis as { Deno?: unknown; Bun?: unknown };
  if (scope.Deno !== undefined) return "Deno";
  return scope.Bun !== undefined ? "Bun" : "Node";
}

// -- The thread that sends -------------------------------------------------------

function makeRecord(size: number): Uint8Array {
  return new Uint8Array(size).fill(7);
}

function send(shared: Shared): void {
  const port = parentPort!;
  const objects = SharedQueue.attach<object>(shared.objects);
  const records = SharedQueue.attach<Uint8Array>(shared.records, {
    codec: bytes(),
  });
  const pooled = SharedQueue.attach<Uint8Array>(shared.pooled, {
    codec: bytes({ pooled: true }),
  });
  const back = SharedQueue.attach<number>(shared.back);
  const ring = new RingBuffer(shared.storage, Uint8Array);
  port.on("message", async ({ way, size, count }: Order) => {
    const record = makeRecord(size);
    switch (way) {
      case "postMessage":
        for (let sent = 0; sent < count; sent++) port.postMessage(record);
        break;
      case "postMessage, objects":
        for (let id = 0; id < count; id++) port.postMessage({ id, n: "ab" });
        break;
      case "SharedQueue put, for await":
        for (let sent = 0; sent < count; sent++) await records.put(record);
        break;
      case "SharedQueue put, for await, objects":
        for (let id = 0; id < count; id++) await objects.put({ id, n: "ab" });
        break;
      case "SharedQueue putMany, getMany":
      case "SharedQueue putMany, getMany, pooled":
        for (let sent = 0; sent < count; sent += BATCH) {
          await (way.endsWith("pooled") ? pooled : records).putMany(
            Array(Math.min(BATCH, count - sent)).fill(record),
          );
        }
        break;
      case "SharedQueue putMany, getMany, objects":
        for (let id = 0; id < count;) {
          const batch: object[] = [];
          while (batch.length < BATCH && id < count) {
            batch.push({ id: id++, n: "ab" });
          }
          await objects.putMany(batch);
        }
        break;
      case "transferred ReadableStream": {
        let sent = 0;
        const stream = new ReadableStream<Uint8Array>({
          pull(controller) {
            if (sent++ < count) controller.enqueue(record);
            else controller.close();
          },
        });
        port.postMessage(stream, [stream] as never);
        break;
      }
      case "ringbuf.js (one to one, spinning)":
        for (let sent = 0; sent < count;) {
          if (ring.availableWrite() < size) continue;
          ring.push(record);
          sent++;
        }
        break;
      case "ping-pong, postMessage":
        port.postMessage(0);
        break;
      case "ping-pong, SharedQueue":
        for (let sent = 0; sent < count; sent++) {
          await back.put(Number(await objects.get()));
        }
        break;
      case "ping-pong, SharedQueue blocking":
        for (let sent = 0; sent < count; sent++) {
          back.putSync(Number(objects.getSync()));
        }
        break;
    }
  });
  port.postMessage("ready");
}

// -- The thread that receives ------------------------------------------------------

async function measure(): Promise<void> {
  const objects = new SharedQueue<object>({ bytes: RING, highWaterMark: 8192 });
  const records = new SharedQueue<Uint8Array>({
    bytes: RING,
    highWaterMark: 8192,
    codec: bytes(),
  });
  const pooled = new SharedQueue<Uint8Array>({
    bytes: RING,
    highWaterMark: 8192,
    codec: bytes({ pooled: true }),
  });
  const back = new SharedQueue<number>();
  const storage = RingBuffer.getStorageForCapacity(
    RING,
    Uint8Array,
  ) as unknown as SharedArrayBuffer;
  const ring = new RingBuffer(storage, Uint8Array);
  const shared: Shared = {
    objects: objects.handle,
    records: records.handle,
    pooled: pooled.handle,
    back: back.handle,
    storage,
  };
  const worker = new Worker(new URL(import.meta.url), { workerData: shared });
  const first = new Promise((resolve) => worker.once("message", resolve));
  await first;

  const byMessage = ({ count }: Order): Promise<number> =>
    new Promise((resolve) => {
      let received = 0;
      worker.removeAllListeners("message");
      worker.on("message", () => {
        if (++received === count) resolve(received);
      });
    });
  const oneByOne = async (
    queue: AsyncIterable<unknown>,
    { count }: Order,
  ): Promise<number> => {
    let received = 0;
    for await (const _ of queue) if (++received === count) break;
    return received;
  };
  const inBatches = async (
    queue: SharedQueue<never>,
    { count }: Order,
  ): Promise<number> => {
    let received = 0;
    while (received < count) received += (await queue.getMany(256)).length;
    return received;
  };
  const ways: Way[] = [
    { name: "postMessage", receive: byMessage },
    {
      name: "SharedQueue put, for await",
      receive: (order) => oneByOne(records, order),
    },
    {
      name: "SharedQueue putMany, getMany",
      receive: (order) => inBatches(records as never, order),
    },
    {
      name: "SharedQueue putMany, getMany, pooled",
      receive: (order) => inBatches(pooled as never, order),
    },
    {
      name: "ringbuf.js (one to one, spinning)",
      receive({ size, count }) {
        const record = new Uint8Array(size);
        let received = 0;
        while (received < count) {
          if (ring.availableRead() < size) continue;
          ring.pop(record);
          received++;
        }
        return Promise.resolve(received);
      },
    },
    { name: "postMessage, objects", objects: true, receive: byMessage },
    {
      name: "SharedQueue put, for await, objects",
      objects: true,
      receive: (order) => oneByOne(objects, order),
    },
    {
      name: "SharedQueue putMany, getMany, objects",
      objects: true,
      receive: (order) => inBatches(objects as never, order),
    },
  ];
  if (runtimeName() !== "Bun") {
    ways.push({
      name: "transferred ReadableStream",
      async receive() {
        const stream = await new Promise<ReadableStream>((resolve) => {
          worker.removeAllListeners("message");
          worker.on("message", resolve);
        });
        let received = 0;
        for await (const _ of stream) received++;
        return received;
      },
    });
  }
  for (const size of SIZES) {
    const fitting = ways.filter((way) => !way.objects || size === 16);
    const best = new Map<string, number>();
    for (let round = 0; round < ROUNDS; round++) {
      // One after the other in each round, so that a slow spell hits them all.
      for (const way of fitting) {
        const many = Math.max(200, Math.min(200_000, 2 ** 25 / size));
        const count = way.name.startsWith("transferred") ? 500 : many;
        const order: Order = { way: way.name, size, count };
        const begun = performance.now();
        worker.postMessage(order);
        const received = await way.receive(order);
        if (received !== count) {
          throw new Error(`${way.name}: ${received} of ${count} arrived`);
        }
        const each = (performance.now() - begun) * 1e6 / count;
        best.set(way.name, Math.min(best.get(way.name) ?? Infinity, each));
      }
    }
    report(`one way, ${size} bytes`, best);
  }
  await pingPong(worker, objects, back);
  await worker.terminate();
  for (const queue of [objects, records, pooled, back]) queue.detach();
}

async function pingPong(
  worker: Worker,
  there: SharedQueue<object>,
  back: SharedQueue<number>,
): Promise<void> {
  const count = 500;
  const best = new Map<string, number>();
  for (let round = 0; round < ROUNDS; round++) {
    for (
      const way of [
        "ping-pong, postMessage",
        "ping-pong, SharedQueue",
        "ping-pong, SharedQueue blocking",
      ]
    ) {
      const order: Order = { way, size: 16, count };
      const begun = performance.now();
      if (way === "ping-pong, postMessage") {
        for (let sent = 0; sent < count; sent++) {
          await new Promise((resolve) => {
            worker.removeAllListeners("message");
            worker.on("message", resolve);
            worker.postMessage(order);
          });
        }
      } else {
        worker.postMessage(order);
        for (let sent = 0; sent < count; sent++) {
          await there.put(sent as never);
          const returned = way === "ping-pong, SharedQueue"
            ? await back.get()
            : back.getSync();
          if (returned !== sent) throw new Error(`${way}: ${returned}`);
        }
      }
      const each = (performance.now() - begun) * 1e6 / count;
      best.set(way, Math.min(best.get(way) ?? Infinity, each));
    }
  }
  report("there and back", best);
}

/** The first row is what the others are measured by. */
function report(group: string, best: Map<string, number>): void {
  console.log(`\n${runtimeName()}: ${group}`);
  for (const [name, each] of best) {
    const baseline = name.endsWith("objects")
      ? best.get("postMessage, objects")!
      : [...best.values()][0]!;
    const ratio = (baseline / each).toFixed(1);
    console.log(
      `${name.padEnd(40)} ${each.toFixed(0).padStart(9)} ns ${
        ratio.padStart(6)
      }x`,
    );
  }
}

if (isMainThread) await measure();
else if (workerData?.objects !== undefined) send(workerData as Shared);
