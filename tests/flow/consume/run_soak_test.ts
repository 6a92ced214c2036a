/**
 * `consume` under everything at once.
 *
 * @module
 */

import { assert, assertEquals, assertLess } from "@std/assert";
import fc from "fast-check";
import {
  consume,
  type ConsumeContext,
  type DeadLetter,
  Queue,
  unrecoverable,
} from "../../../mod.ts";
import { canCollectGarbage, heapUsed, test } from "../../support/harness.ts";
import { Lending, PromptLending } from "../../support/lending.ts";
import { parameters, turn } from "../../support/properties.ts";
import { SteppedClock } from "../../support/stepped_clock.ts";

const ITEMS = 200_000;

/** What a handler may do with an item, by its last digit; the rest ends well. */
const MISDEEDS: Record<
  number,
  (attempt: number, signal: AbortSignal) => unknown
> = {
  0: () => Promise.reject(new Error("fails")),
  1: () => Promise.reject(undefined),
  2() {
    throw new Error("throws");
  },
  3: (_attempt, signal) =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    }),
  4: (attempt) => attempt < 3 && Promise.reject(new Error("fails twice")),
  5: () => Promise.reject(unrecoverable(new Error("poison"))),
};

test(
  "consume: 200,000 items whose handlers fail, hang, throw and reject with nothing are all accounted for, on a flat heap",
  async () => {
    // One in a hundred misbehaves, in each of the ways, so that hangs do not
    // take longer than everything else.
    const clock = new SteppedClock();
    const queue = new Queue<number>({ highWaterMark: 256 });
    const letters = new Queue<DeadLetter<number>>({ highWaterMark: 8 });
    const heaps: number[] = [];
    const ended = new Uint8Array(ITEMS);
    let running = 0;
    let most = 0;
    let isOver = false;

    async function produce(): Promise<void> {
      for (let item = 0; item < ITEMS; item++) {
        await queue.put(item);
        if (item % 50_000 === 49_999) {
          heaps.push(canCollectGarbage() ? await heapUsed() : 0);
        }
      }
      queue.close();
    }
    async function collect(): Promise<void> {
      for await (const { item, attempts, reason } of letters) {
        ended[item]!++;
        const digit = Math.floor(item / 100) % 10;
        assertEquals(attempts, digit === 5 ? 1 : 3);
        assertEquals(reason, digit === 5 ? "unrecoverable" : "attempts");
      }
    }
    /** Time passes whenever nothing else happens. */
    async function tick(): Promise<void> {
      while (!isOver) {
        await turn();
        clock.ring();
      }
    }
    function work(item: number, { attempt, signal }: ConsumeContext): unknown {
      most = Math.max(most, ++running);
      try {
        const misdeed = item % 100 === 7
          ? MISDEEDS[Math.floor(item / 100) % 10]
          : undefined;
        const result = misdeed?.(attempt, signal);
        const isLong = item % 64 === 0;
        return Promise.resolve(result).then(() => isLong ? turn() : undefined)
          .then(() => void ended[item]!++)
          .finally(() => running--);
      } catch (error) {
        running--;
        throw error;
      }
    }

    const ticking = tick();
    const collecting = collect();
    const producing = produce();
    const report = await consume(queue, work, {
      concurrency: 32,
      timeout: 5,
      retry: { attempts: 3, delay: 20 },
      deadLetter: letters,
      clock,
    });
    letters.close();
    isOver = true;
    await Promise.all([producing, collecting, ticking]);

    const each = ITEMS / 1_000;
    assertEquals(report.processed, ITEMS - 5 * each);
    assertEquals([report.failed, report.deadLettered], [5 * each, 5 * each]);
    // Digits 0 to 4 are tried three times, poison is not.
    assertEquals(report.retried, 5 * each * 2);
    assertEquals([report.overrun, report.lost, report.returned], [0, 0, 0]);
    assert(ended.every((count) => count === 1), "each ended once");
    assertEquals([running, most], [0, 32]);
    assertEquals(clock.pending, 0);
    if (!canCollectGarbage()) return;
    const growth = heaps.at(-1)! - heaps[1]!;
    assertLess(growth, 2_000_000, `the heap grew by ${growth} bytes`);
  },
);

type Deed = "well" | "throws" | "rejects" | "poison" | "hangs" | "ignores";

test("consume: in any order of steps each item ends exactly once", async () => {
  const plans = fc.record({
    deeds: fc.array(
      fc.record({
        deed: fc.constantFrom<Deed>(
          "well",
          "well",
          "throws",
          "rejects",
          "poison",
          "hangs",
          "ignores",
        ),
        /** From this attempt on it goes well. */
        heals: fc.integer({ min: 2, max: 5 }),
      }),
      { maxLength: 15 },
    ),
    concurrency: fc.integer({ min: 1, max: 4 }),
    attempts: fc.integer({ min: 1, max: 3 }),
    source: fc.constantFrom(
      "stream" as const,
      "lending" as const,
      "prompt" as const,
    ),
    answersLater: fc.boolean(),
    keys: fc.constantFrom(0, 0, 1, 3),
    batch: fc.constantFrom(0, 0, 2),
    rate: fc.constantFrom(0, 0, 2),
    letters: fc.constantFrom(
      "queue" as const,
      "function" as const,
      "failing" as const,
      "none" as const,
    ),
    onError: fc.constantFrom(
      "continue" as const,
      "continue" as const,
      "abort" as const,
    ),
    stopAfter: fc.option(fc.nat({ max: 40 })),
  });
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), plans, async (scheduler, plan) => {
      const { deeds, concurrency, attempts, keys, batch, rate } = plan;
      const clock = new SteppedClock();
      const items = deeds.map((_, index) => ({ index }));
      type Item = typeof items[0];
      const ends = items.map(() => [] as string[]);
      const tries = items.map(() => 0);
      const runningKeys = new Set<number>();
      const stop = new AbortController();
      const stopReason = new Error("stop");
      let running = 0;
      let isStopping = false;

      async function tryOne(item: Item, signal: AbortSignal): Promise<void> {
        const { deed, heals } = deeds[item.index]!;
        const attempt = ++tries[item.index]!;
        await scheduler.schedule(Promise.resolve());
        if (attempt >= heals || deed === "well") return;
        if (deed === "poison") throw unrecoverable(new Error(deed));
        if (deed === "hangs" && !signal.aborted) {
          await new Promise<void>((resolve) => {
            signal.addEventListener("abort", () => resolve());
          });
        }
        if (deed === "ignores") await new Promise(() => {});
        throw deed === "rejects" ? undefined : new Error(deed);
      }
      async function work(item: Item, context: ConsumeContext): Promise<void> {
        const key = item.index % Math.max(keys, 1);
        assert(++running <= concurrency, "concurrency");
        if (keys > 0) {
          assert(!runningKeys.has(key), "a key at a time");
          runningKeys.add(key);
        }
        try {
          await tryOne(item, context.signal);
          ends[item.index]!.push("processed");
        } finally {
          running--;
          runningKeys.delete(key);
        }
      }
      async function workAll(
        items: Item[],
        context: ConsumeContext,
      ): Promise<unknown> {
        assert(items.length <= batch && ++running <= concurrency);
        const results = await Promise.allSettled(
          items.map((item) => tryOne(item, context.signal)),
        );
        running--;
        results.forEach(({ status }, index) => {
          if (status === "fulfilled") {
            ends[items[index]!.index]!.push("processed");
          }
        });
        return results;
      }

      const Lender = plan.source === "prompt" ? PromptLending : Lending;
      const lending = new Lender(items, clock, plan.answersLater).close();
      const queue = new Queue<Item>({ highWaterMark: Infinity });
      for (const item of items) queue.tryPut(item);
      queue.close();
      const source = plan.source === "stream" ? queue.consumer() : lending;
      const letters = new Queue<DeadLetter<Item>>({ highWaterMark: 1 });
      async function collect(): Promise<void> {
        for await (const { item, attempts } of letters) {
          ends[item.index]!.push("dead");
          assert(attempts >= 1);
          await scheduler.schedule(Promise.resolve());
        }
      }
      const options = {
        concurrency,
        retry: { attempts, delay: 10 },
        timeout: 20,
        grace: 5,
        rate: rate === 0 ? undefined : { limit: rate, interval: 3 },
        deadLetter: {
          queue: letters,
          function: async ({ item }: DeadLetter<Item>) => {
            await scheduler.schedule(Promise.resolve());
            ends[item.index]!.push("dead");
          },
          failing: () => Promise.reject(new Error("dead letter")),
          none: undefined,
        }[plan.letters],
        onError: plan.onError,
        onUndelivered: (item: Item, reason: string) =>
          void ends[item.index]!.push(reason),
        signal: stop.signal,
        clock,
      };
      const run = batch > 0
        ? consume(source, workAll, { ...options, batch: { max: batch } })
        : consume(source, work, {
          ...options,
          keyOf: keys > 0 ? (item: Item) => item.index % keys : undefined,
        });
      let isOver = false;
      const outcome = run.then((report) => ({ report }), (error) => ({ error }))
        .finally(() => isOver = true);
      const collecting = collect();
      for (let step = 0; !isOver && step < 3_000; step++) {
        if (step === plan.stopAfter || step === 2_000) {
          isStopping = true;
          stop.abort(stopReason);
        }
        if (scheduler.count() > 0) await scheduler.waitOne();
        else {
          await turn();
          if (!isOver && scheduler.count() === 0) clock.ring();
        }
      }
      assert(isOver, "the run ends");
      letters.close();
      await scheduler.waitFor(collecting);
      await turn();
      const { report, error } = await outcome as {
        report?: Awaited<typeof run>;
        error?: unknown;
      };
      if (plan.onError === "continue") assert(report !== undefined, `${error}`);
      while (clock.ring()) await turn();
      assertEquals(lending.lent, 0);
      const left = new Set(
        plan.source === "stream"
          ? queue.clear()
          : lending.stored.map(({ item }) => item),
      );
      if (plan.onError === "continue" && !isStopping) {
        assertEquals(left.size, 0);
      }
      for (const item of items) {
        // One that ignores its signal is given back while it still runs.
        if (deeds[item.index]!.deed === "ignores") continue;
        const all = [...ends[item.index]!, ...(left.has(item) ? ["left"] : [])];
        assertEquals(all.length, 1, `${item.index} ended as ${all}`);
      }
      if (report !== undefined && plan.source === "stream") {
        const { processed, failed, returned, lost } = report;
        const counted = processed + failed + returned + lost;
        assertEquals(counted + left.size, items.length, "counts add up");
        assertEquals(failed, report.deadLettered + report.undelivered);
      }
    }),
    parameters(300),
  );
});
