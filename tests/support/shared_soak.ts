/**
 * Many threads on one SharedQueue, and the account of it all.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { SharedQueue } from "../../src/threads.ts";
import type { Job, Parcel, Tally } from "./shared_queue_worker.ts";
import { runThreads } from "./threads.ts";

/** How much of what. */
export interface Soak {
  readonly producers: number;
  readonly consumers: number;
  /** Parcels of each producer. */
  readonly count: number;
  readonly bytes: number;
  readonly highWaterMark: number;
  readonly padding: number;
  readonly spurious?: boolean;
  readonly blocking?: boolean;
}

/** Runs it, and fails when a parcel is lost, doubled, damaged or out of order. */
export async function soak(options: Soak): Promise<void> {
  const { producers, consumers, count, padding } = options;
  const { spurious = false, blocking = false } = options;
  const queue = new SharedQueue<Parcel>({
    bytes: options.bytes,
    highWaterMark: options.highWaterMark,
  });
  const common = { handle: queue.handle, padding, spurious, blocking };
  const consuming = runThreads(
    Array.from({ length: consumers }, (_, index): Job => ({
      ...common,
      kind: "consume",
      seed: index + 1,
    })),
  );
  try {
    await runThreads(
      Array.from({ length: producers }, (_, from): Job => ({
        ...common,
        kind: "produce",
        from,
        count,
        seed: from + 100,
      })),
    );
  } finally {
    queue.close();
  }
  const tallies = await consuming as Tally[];
  const sum = (field: keyof Tally): number =>
    tallies.reduce((total, tally) => total + tally[field], 0);
  assertEquals({
    count: sum("count"),
    sum: sum("sum"),
    disordered: sum("disordered"),
    damaged: sum("damaged"),
  }, {
    count: producers * count,
    sum: producers * count * (count - 1) / 2,
    disordered: 0,
    damaged: 0,
  });
  await queue.closed;
  const { put, taken, length, used, waitingPuts, handles } = queue.stats();
  assertEquals({ put, taken, length, used, waitingPuts, handles }, {
    put: producers * count,
    taken: producers * count,
    length: 0,
    used: 0,
    waitingPuts: 0,
    handles: 1,
  });
  queue.detach();
}
