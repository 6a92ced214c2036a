/**
 * What consume needs of a runtime, in a few cases that run inside each of them.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type Clock,
  consume,
  ConsumeError,
  type DeadLetter,
  Queue,
  QueueClosedError,
  QueueFullError,
  unrecoverable,
} from "../../mod.ts";
import { printedBy } from "../support/printed.ts";
import type { RuntimeCase } from "./runtimes.ts";

/** A second goes by at once. */
const hasty: Clock = {
  now: () => performance.now(),
  setTimer: (callback) => setTimeout(callback, 5),
  clearTimer: (timer) => clearTimeout(timer as number),
};

/** The cases. */
export const consumeCases: RuntimeCase[] = [
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
    name:
      "consume: a failure with nowhere to go is printed once and rejects the run after the drain",
    async run() {
      const queue = new Queue<number>({ highWaterMark: Infinity });
      for (let item = 0; item < 150; item++) queue.tryPut(item);
      queue.close();
      let error: unknown;
      const printed = await printedBy(async () => {
        const run = consume(queue, (item) => {
          if (item !== 7) throw new Error(`no ${item}`);
        });
        error = await assertRejects(() => run, ConsumeError);
      });
      assert(error instanceof ConsumeError && error instanceof AggregateError);
      const { errors, cause, message, report } = error;
      assertEquals([report.processed, report.undelivered], [1, 149]);
      assertEquals([errors.length, errors[99].message], [100, "no 149"]);
      assertEquals((cause as Error).message, "no 0");
      assert(message.includes("no 0") && message.includes("deadLetter"));
      assertEquals(printed.map(([, reason]) => reason), [cause]);
    },
  },
  {
    name: "consume: a failure that somebody hears of, or wants ignored, is not",
    async run() {
      const fail = (): never => {
        throw new Error("no");
      };
      const heard: unknown[] = [];
      const printed = await printedBy(async () => {
        await consume([1], fail, { deadLetter: (l) => heard.push(l.item) });
        await consume([2], fail, { onUndelivered: (item) => heard.push(item) });
        const ignored = await consume([3], fail, { onError: "ignore" });
        heard.push(ignored.undelivered);
        const abort = consume([4], fail, { onError: "abort" });
        await assertRejects(() => abort, Error, "no");
      });
      assertEquals([heard, printed], [[1, 2, 1], []]);
    },
  },
  {
    name: "consume: a dead letter that is not taken has nowhere to go either",
    async run() {
      let error: unknown;
      const printed = await printedBy(async () => {
        const deadLetter = new Queue<DeadLetter<number>>();
        deadLetter.close();
        const run = consume([1], () => Promise.reject("no"), { deadLetter });
        error = await assertRejects(() => run, ConsumeError);
      });
      assertEquals(printed.length, 1);
      assert((error as ConsumeError).cause instanceof QueueClosedError);
    },
  },
  {
    name: "consume: rows with a status of their own are no failures of a batch",
    async run() {
      const rows = [{ id: 1, status: "rejected" }, {
        id: 2,
        status: "fulfilled",
      }];
      const batch = { max: 2 };
      const report = await consume(rows, (batch) => batch, { batch });
      assertEquals([report.processed, report.failed], [2, 0]);
      const settled = [{ status: "rejected", reason: 0 }, rows[0]];
      const mixed = await consume(rows, () => settled, { batch });
      assertEquals(mixed.processed, 2);
      const failed: unknown[] = [];
      await consume(rows, () => Promise.allSettled([1, Promise.reject(0)]), {
        batch,
        onUndelivered: ({ id }) => failed.push(id),
      });
      assertEquals(failed, [2]);
    },
  },
  {
    name:
      "consume: handlers that wait for room in their own source are told, not left to hang",
    async run() {
      const frontier = new Queue<number>({ highWaterMark: 2 });
      await frontier.putMany([0, 0]);
      const refused: unknown[] = [];
      const run = consume(frontier, async (_depth, { signal }) => {
        await Promise.resolve();
        try {
          for (const child of [1, 2, 3]) await frontier.put(child, { signal });
        } catch (error) {
          refused.push(error);
          frontier.close();
          throw error;
        }
      }, { concurrency: 2, clock: hasty, onError: "ignore" });
      await run;
      const [error] = refused;
      assert(refused.length >= 2 && error instanceof QueueFullError);
      assert(error.item !== undefined);
      assert(error.message.includes("own source"), error.message);
    },
  },
  {
    name:
      "consume: a handler that puts into its own rendezvous at once is told so",
    async run() {
      const meeting = new Queue<number>({ highWaterMark: 0, name: "meeting" });
      const run = consume(meeting, (item) => meeting.put(item + 1), {
        clock: hasty,
        onError: "abort",
      });
      await meeting.put(0);
      const error = await assertRejects(() => run, QueueFullError);
      assertEquals((error as QueueFullError).item, 1);
    },
  },
  {
    name:
      "consume: an unbounded frontier, or tryPut, is how a handler feeds its own source",
    async run() {
      const frontier = new Queue<number>({ highWaterMark: Infinity });
      let open = 1;
      frontier.tryPut(5);
      const run = consume(frontier, async (depth, { signal }) => {
        await Promise.resolve();
        for (let child = 0; child < depth; child++) {
          open++;
          await frontier.put(child, { signal });
        }
        if (--open === 0) frontier.close();
      }, { concurrency: 2, clock: hasty });
      assertEquals((await run).processed, 32);
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
      }, { timeout: 5, onError: "ignore" });
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
