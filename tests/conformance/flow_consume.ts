/**
 * What consume needs of a runtime, in a few cases that run inside each of them.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { consume, type DeadLetter, Queue, unrecoverable } from "../../mod.ts";

/** One promise, and how to see it kept. */
export interface FlowCase {
  /** The promise in words. */
  name: string;
  /** Fails when it is broken. */
  run(): Promise<void>;
}

/** The cases. */
export const consumeCases: FlowCase[] = [
  {
    name: "consume: what fails is tried again, and then a dead letter",
    async run() {
      const queue = new Queue<number>({ highWaterMark: 2 });
      const putting = queue.putMany([0, 1, 2, 3]).then(() => queue.close());
      const letters = new Queue<DeadLetter<number>>();
      const report = await consume(queue, async (item, { attempt }) => {
        await Promise.resolve();
        if (item === 1 && attempt === 1) throw new Error("once");
        if (item === 2) return await Promise.reject(undefined);
        if (item === 3) throw unrecoverable(new Error("poison"));
      }, {
        concurrency: 2,
        retry: { attempts: 2, delay: 2 },
        deadLetter: letters,
      });
      await putting;
      assertEquals([report.processed, report.retried], [2, 2]);
      const ends = letters.clear().map(({ item, reason }) => [item, reason]);
      assertEquals(ends.sort(), [[2, "attempts"], [3, "unrecoverable"]]);
      assert(report.duration >= 0 && report.run.max >= report.run.p50);
    },
  },
  {
    name: "consume: a key that is a promise rejects the run, nothing is lost",
    async run() {
      const queue = new Queue<number>();
      await queue.putMany([1, 2]);
      queue.close();
      const begun: number[] = [];
      const keyOf = (item: number): never => Promise.reject(item) as never;
      const run = consume(queue, (item) => begun.push(item), { keyOf });
      const error = await assertRejects(() => run, TypeError);
      assert((error as Error).message.includes("keyOf(item)"));
      assertEquals([begun, queue.clear()], [[], [1, 2]]);
    },
  },
  {
    name: "consume: a timeout aborts the signal of its attempt",
    async run() {
      const reasons: string[] = [];
      const report = await consume([0], (_item, { signal }) => {
        return new Promise<void>((_, reject) => {
          signal.addEventListener("abort", () => {
            reasons.push((signal.reason as Error).name);
            reject(signal.reason);
          });
        });
      }, { timeout: 5 });
      assertEquals([reasons, report.failed], [["TimeoutError"], 1]);
    },
  },
  {
    name:
      "consume: a stop cancels a stream and gives back what is not finished",
    async run() {
      const stop = new AbortController();
      const reported: unknown[][] = [];
      const cancelled: unknown[] = [];
      let next = 0;
      const stream = new ReadableStream<number>({
        pull: (controller) => controller.enqueue(next++),
        cancel: (reason) => void cancelled.push(reason),
      }, { highWaterMark: 0 });
      const running = consume(stream, (item, { signal }) => {
        if (item < 2) return;
        return new Promise<void>((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
          if (item === 3) stop.abort("enough");
        });
      }, {
        concurrency: 2,
        signal: stop.signal,
        onUndelivered: (item, reason) => void reported.push([item, reason]),
      });
      const report = await running;
      assertEquals([report.stopped, report.processed], [true, 2]);
      assertEquals(reported, [[2, "stopped"], [3, "stopped"]]);
      assertEquals(cancelled, ["enough"]);
    },
  },
  {
    name: "consume: under onError abort it rejects with the error",
    async run() {
      const reason = new Error("fatal");
      const running = consume([0, 1], () => Promise.reject(reason), {
        onError: "abort",
      });
      assertEquals(await assertRejects(() => running), reason);
    },
  },
];
