import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { Broadcast, LaggedError, type LagPolicy } from "../../mod.ts";
import { assertInvariants } from "../../src/flow/broadcast.ts";
import { test } from "../support/harness.ts";
import { parameters, turn } from "../support/properties.ts";

interface SubscriberPlan {
  overflow: LagPolicy;
  highWaterMark: number;
  style: "reader" | "loop" | "native" | "pipe" | "restless";
  /** After how many items it leaves. */
  reads: number;
  /** Whether it comes when the first puts have been made. */
  late: boolean;
}

interface ProducerPlan {
  style: "put" | "writer" | "tryPut";
  items: number;
  /** Which of its puts is cancelled while it waits, if it waits. */
  cancels: number;
}

interface InterleavingPlan {
  replay: number;
  ending: "close" | "fail" | "abort";
  producers: ProducerPlan[];
  subscribers: SubscriberPlan[];
}

const plans: fc.Arbitrary<InterleavingPlan> = fc.record({
  replay: fc.constantFrom(0, 2),
  ending: fc.constantFrom("close", "close", "fail", "abort"),
  producers: fc.array(
    fc.record({
      style: fc.constantFrom("put", "put", "writer", "tryPut"),
      items: fc.integer({ min: 1, max: 12 }),
      cancels: fc.nat({ max: 20 }),
    }),
    { minLength: 1, maxLength: 3 },
  ),
  subscribers: fc.array(
    fc.record({
      overflow: fc.constantFrom("wait", "wait", "drop-oldest", "evict"),
      highWaterMark: fc.constantFrom(1, 2, 5),
      style: fc.constantFrom("reader", "loop", "native", "pipe", "restless"),
      reads: fc.integer({ min: 1, max: 40 }),
      late: fc.boolean(),
    }),
    { minLength: 1, maxLength: 4 },
  ),
}) as fc.Arbitrary<InterleavingPlan>;

/** A broadcast with everybody around it, and one who writes down what was put. */
class Interleaving {
  readonly #scheduler: fc.Scheduler;
  readonly #plan: InterleavingPlan;
  readonly #broadcast: Broadcast<number>;
  readonly #error: Error = new Error("the end");
  /** What the broadcast accepted, in that order. */
  readonly #log: number[] = [];
  readonly #accepted: Set<number> = new Set();
  readonly #pending: Set<string> = new Set();
  readonly #checks: (() => void)[] = [];
  #items = 0;

  constructor(scheduler: fc.Scheduler, plan: InterleavingPlan) {
    this.#scheduler = scheduler;
    this.#plan = plan;
    this.#broadcast = new Broadcast({ replay: plan.replay });
  }

  async run(): Promise<void> {
    const { producers, subscribers, ending } = this.#plan;
    const recorder = this.#broadcast.subscribe({ highWaterMark: Infinity })
      .getReader();
    void this.#act("recorder", this.#record(recorder));
    subscribers.forEach((plan, index) => {
      void this.#act(`subscriber ${index}`, this.#subscribe(plan));
    });
    const producing = producers.map((plan, index) =>
      this.#act(`producer ${index}`, this.#produce(plan))
    );
    void this.#act(
      "the end",
      Promise.all(producing).then(async () => {
        await this.#turn();
        this.#broadcast[ending](this.#error);
        await this.#broadcast.closed.catch(() => {});
      }),
    );
    for (let quiet = 0; quiet < 3; quiet++) {
      if (this.#scheduler.count() > 0) quiet = 0;
      await this.#scheduler.waitIdle();
      await turn();
      assertInvariants(this.#broadcast);
    }
    assertEquals([...this.#pending], [], "everything settles");
    assertEquals(
      new Set(this.#log),
      this.#accepted,
      "what was put, and only that",
    );
    assertEquals(this.#log.length, this.#accepted.size);
    for (const check of this.#checks) check();
  }

  async #record(reader: ReadableStreamDefaultReader<number>): Promise<void> {
    try {
      for (;;) {
        const step = await reader.read();
        if (step.done) return;
        this.#log.push(step.value);
      }
    } catch (reason) {
      assertEquals(reason, this.#error);
    }
  }

  async #produce({ style, items, cancels }: ProducerPlan): Promise<void> {
    const broadcast = this.#broadcast;
    for (let index = 0; index < items; index++) {
      await this.#turn();
      const item = this.#items++;
      if (style === "tryPut") {
        if (broadcast.tryPut(item)) this.#accepted.add(item);
      } else if (style === "writer" && !broadcast.writable.locked) {
        const writer = broadcast.writable.getWriter();
        const written = writer.write(item);
        writer.releaseLock();
        await written;
        this.#accepted.add(item);
      } else {
        const controller = new AbortController();
        const put = broadcast.put(item, { signal: controller.signal });
        if (index === cancels) {
          await this.#turn();
          controller.abort("cancelled");
        }
        try {
          await put;
          this.#accepted.add(item);
        } catch (reason) {
          assertEquals(reason, "cancelled");
        }
      }
      assertInvariants(broadcast);
    }
  }

  async #subscribe(plan: SubscriberPlan): Promise<void> {
    if (plan.late) { for (let step = 0; step < 6; step++) await this.#turn(); }
    const seen: number[] = [];
    const missed: number[] = [];
    const others = this.#broadcast.stats().subscribers.length;
    const stream = this.#broadcast.subscribe({
      overflow: plan.overflow,
      highWaterMark: plan.highWaterMark,
      onLag: (count) => missed.push(count),
    });
    const { put, subscribers } = this.#broadcast.stats();
    // One that comes after the end, with nothing to replay, has ended already.
    const lag = subscribers.length > others ? subscribers.at(-1)!.lag : 0;
    const first = put - lag;
    let end: unknown;
    try {
      end = await this.#read(stream, plan, seen);
    } catch (reason) {
      end = reason;
    }
    this.#checks.push(() => this.#check(plan, { seen, missed, first, end }));
  }

  async #read(
    stream: ReadableStream<number>,
    { style, reads }: SubscriberPlan,
    seen: number[],
  ): Promise<string> {
    if (style === "pipe") {
      await stream.pipeTo(
        new WritableStream({
          write: async (item) => {
            seen.push(item);
            await this.#turn();
          },
        }),
      );
      return "ended";
    }
    if (style === "loop") {
      for await (const item of stream) {
        seen.push(item);
        await this.#turn();
        if (seen.length >= reads) return "left";
      }
      return "ended";
    }
    let reader: ReadableStreamDefaultReader<number> = stream.getReader();
    while (seen.length < reads) {
      await this.#turn();
      if (style === "native") {
        reader.releaseLock();
        reader = new ReadableStreamDefaultReader(stream);
      }
      const reading = reader.read();
      if (style === "restless" && seen.length % 3 === 1) {
        await this.#turn();
        reader.releaseLock();
        reader = stream.getReader();
        reader.closed.catch(() => {});
      }
      try {
        const step = await reading;
        if (step.done) return "ended";
        seen.push(step.value);
      } catch (reason) {
        if (!(reason instanceof TypeError)) throw reason;
        const step = await reader.read();
        if (step.done) return "ended";
        seen.push(step.value);
      }
    }
    await reader.cancel();
    return "left";
  }

  #check(
    plan: SubscriberPlan,
    { seen, missed, first, end }: {
      seen: number[];
      missed: number[];
      first: number;
      end: unknown;
    },
  ): void {
    const skipped = missed.reduce((sum, count) => sum + count, 0);
    const due = this.#log.slice(first, first + seen.length + skipped);
    assertEquals(
      seen,
      skipped === 0 ? due : due.filter((item) => seen.includes(item)),
      "in order, and whole but for what it was told of",
    );
    if (skipped > 0) assertEquals(plan.overflow, "drop-oldest");
    if (end instanceof LaggedError) {
      assertEquals([plan.overflow, end.missed], [
        "evict",
        plan.highWaterMark + 1,
      ]);
    } else if (
      end === "ended" || (end === this.#error && this.#plan.ending === "fail")
    ) {
      assertEquals(first + seen.length + skipped, this.#log.length);
    } else if (end !== "left") assertEquals(end, this.#error);
  }

  #turn(): Promise<void> {
    return this.#scheduler.schedule(Promise.resolve());
  }

  async #act(name: string, acting: Promise<unknown>): Promise<void> {
    this.#pending.add(name);
    await acting;
    this.#pending.delete(name);
  }
}

test("broadcast: in any order of steps, each subscriber sees what was put in order, whole but for what it was told of", async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), plans, async (scheduler, plan) => {
      await new Interleaving(scheduler, plan).run();
    }),
    parameters(300),
  );
});
