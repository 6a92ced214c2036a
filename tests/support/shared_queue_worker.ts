/**
 * What the threads of the tests of SharedQueue do.
 *
 * @module
 */

import process from "node:process";
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { bytes, type Codec, SharedQueue } from "../../src/threads.ts";
import type { SharedQueueHandle } from "../../src/threads.ts";
import { pause } from "./waiting.ts";

/** A record of the soak: who made it, its number among that one's, and what fills it. */
export interface Parcel {
  readonly from: number;
  readonly number: number;
  readonly padding: string;
}

/** What a thread is to do. */
export interface Job {
  readonly handle: SharedQueueHandle;
  readonly kind:
    | "produce"
    | "consume"
    | "put for ever"
    | "get for ever"
    | "hold";
  /** With `"hold"`: what it has at the queue when it ends or stands still. */
  readonly holding?:
    | "put"
    | "get"
    | "ready"
    | "producer"
    | "nothing"
    | undefined;
  /** With `"hold"`: how it ends; it is told by the first word of `cell`, unless it stands still until then. */
  readonly ending?: "throw" | "reject" | "exit" | "stay" | "block" | undefined;
  readonly cell?: SharedArrayBuffer | undefined;
  readonly codec?: "json" | "bytes";
  readonly from?: number;
  readonly count?: number;
  /** The longest padding. */
  readonly padding?: number;
  readonly seed?: number;
  /** Waits only with `getSync` and `putSync`. */
  readonly blocking?: boolean;
  /** Lets `Atomics.wait` return at once now and then. */
  readonly spurious?: boolean;
}

/** What a consumer has seen. */
export interface Tally {
  readonly count: number;
  readonly sum: number;
  /** Parcels whose number was not above that of the one before from the same producer. */
  readonly disordered: number;
  /** Parcels whose padding was not that of its number. */
  readonly damaged: number;
}

/** Numbers that look random and are the same each time. */
export function randomNumbers(seed: number): () => number {
  let state = seed * 2654435761 + 1 >>> 0;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** The padding that a parcel must have. */
export function paddingOf(number: number, longest: number): string {
  const length = longest === 0 ? 0 : (number * 7919) % (longest + 1);
  return String.fromCharCode(97 + number % 26).repeat(length);
}

async function produce(queue: SharedQueue<Parcel>, job: Job): Promise<void> {
  const { from = 0, count = 0, padding = 0, seed = 1, blocking } = job;
  const random = randomNumbers(seed);
  const parcel = (number: number): Parcel => ({
    from,
    number,
    padding: paddingOf(number, padding),
  });
  for (let number = 0; number < count;) {
    const choice = random();
    if (blocking || choice < 0.2) queue.putSync(parcel(number++));
    else if (choice < 0.4) {
      const batch: Parcel[] = [];
      for (let left = 50 * random(); left > 0 && number < count; left--) {
        batch.push(parcel(number++));
      }
      await queue.putMany(batch);
    } else if (choice < 0.6) {
      const next = parcel(number);
      if (queue.tryPut(next)) number++;
      else await queue.ready;
    } else await queue.put(parcel(number++));
  }
}

async function consume(queue: SharedQueue<Parcel>, job: Job): Promise<Tally> {
  const { padding = 0, seed = 1, blocking } = job;
  const random = randomNumbers(seed);
  const last = new Map<number, number>();
  let [count, sum, disordered, damaged] = [0, 0, 0, 0];
  const see = (parcel: Parcel): void => {
    count++;
    sum += parcel.number;
    if ((last.get(parcel.from) ?? -1) >= parcel.number) disordered++;
    last.set(parcel.from, parcel.number);
    if (parcel.padding !== paddingOf(parcel.number, padding)) damaged++;
  };
  for (;;) {
    const choice = random();
    if (blocking) {
      try {
        see(queue.getSync());
      } catch {
        break;
      }
    } else if (choice < 0.3) {
      const batch = await queue.getMany(1 + Math.floor(60 * random()));
      if (batch.length === 0) break;
      batch.forEach(see);
    } else if (choice < 0.5) {
      const parcel = queue.tryGet();
      if (parcel !== undefined) see(parcel);
    } else {
      const step = await queue.next();
      if (step.done) break;
      see(step.value);
    }
  }
  return { count, sum, disordered, damaged };
}

/** Puts numbered records until it is terminated. */
async function putForEver(queue: SharedQueue<Uint8Array>, job: Job) {
  const random = randomNumbers(job.seed ?? 1);
  for (let number = 0;; number++) {
    const length = 8 + Math.floor(random() * (job.padding ?? 0));
    const record = new Uint8Array(length).fill(number);
    const view = new DataView(record.buffer);
    view.setUint32(0, job.from ?? 0);
    view.setUint32(4, number);
    if (job.blocking) queue.putSync(record);
    else await queue.put(record);
  }
}

async function getForEver(queue: SharedQueue<Uint8Array>, job: Job) {
  for (;;) {
    if (job.blocking) queue.getSync();
    else await queue.get();
  }
}

/** Has something at the queue, and then ends, or not. */
async function hold(queue: SharedQueue<unknown>, job: Job): Promise<unknown> {
  const { holding, ending, cell = new SharedArrayBuffer(4) } = job;
  let producer: WritableStream<unknown> | undefined;
  const ignored = (): void => {};
  if (holding === "put") queue.put("of the dead").catch(ignored);
  if (holding === "get") queue.get().catch(ignored);
  if (holding === "ready") queue.ready.catch(ignored);
  if (holding === "producer") producer = queue.producer();
  parentPort!.postMessage({ id: queue.id });
  if (ending === "stay") {
    return await new Promise(() => setInterval(ignored, 1000));
  }
  if (ending === "block") {
    while (Atomics.load(new Int32Array(cell), 0) === 0) {
      Atomics.wait(new Int32Array(cell), 0, 0, 100);
    }
    await producer?.close();
    queue.detach();
    return "let go";
  }
  // Not before what was said has been sent.
  await pause(20);
  if (ending === "exit") process.exit(3);
  if (ending === "reject") {
    void Promise.reject(new Error("nobody handles this"));
  } else {
    setTimeout(() => {
      throw new Error("nobody catches this");
    });
  }
  return await new Promise(() => setInterval(ignored, 1000));
}

/** A third of all waits ends at once: whoever relied on being woken would lose his turn. */
function wakeAtRandom(seed: number): void {
  const random = randomNumbers(seed);
  const { wait } = Atomics;
  const waiting = (
    words: Int32Array,
    at: number,
    value: number,
    timeout?: number,
  ) => wait(words, at, value, random() < 0.3 ? 0 : timeout);
  Object.defineProperty(Atomics, "wait", { value: waiting });
}

async function work(job: Job): Promise<unknown> {
  if (job.spurious) wakeAtRandom(job.seed ?? 1);
  const codec = job.codec === "bytes"
    ? { codec: bytes() as Codec<unknown> }
    : {};
  const queue = SharedQueue.attach<unknown>(job.handle, codec);
  if (job.kind === "hold") return await hold(queue, job);
  parentPort!.postMessage({ id: queue.id });
  switch (job.kind) {
    case "produce":
      await produce(queue as SharedQueue<Parcel>, job);
      queue.detach();
      return "done";
    case "consume": {
      const tally = await consume(queue as SharedQueue<Parcel>, job);
      queue.detach();
      return tally;
    }
    case "put for ever":
      return await putForEver(queue as SharedQueue<Uint8Array>, job);
    case "get for ever":
      return await getForEver(queue as SharedQueue<Uint8Array>, job);
  }
}

if (!isMainThread && workerData?.handle !== undefined) {
  work(workerData as Job).then(
    (result) => parentPort!.postMessage({ result }),
    (error) => parentPort!.postMessage({ error: String(error?.stack) }),
  );
}
