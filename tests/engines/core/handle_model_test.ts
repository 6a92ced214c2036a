/**
 * What all adapters share, over an engine in memory, in random interleavings:
 * words with the engine end in any order and fail, before or after they had their
 * effect, while items are put, lent, answered for, forgotten, and handles closed.
 */

import { assert, assertEquals } from "@std/assert";
import fc, { type Scheduler } from "fast-check";
import {
  consume,
  type ConsumeReport,
  type Delivery,
  unrecoverable,
} from "../../../mod.ts";
import {
  EngineHandle,
  type EngineHandleOptions,
} from "../../../src/engines/core/handle.ts";
import type { EngineDelivery } from "../../../src/engines/core/delivery.ts";
import { test } from "../../support/harness.ts";
import { type Kept, MemoryEngine } from "../../support/memory_engine.ts";
import { parameters, turn } from "../../support/properties.ts";
import { SteppedClock } from "../../support/stepped_clock.ts";
import { upTo } from "../../support/items.ts";

interface Step {
  verb:
    | "put"
    | "putMany"
    | "write"
    | "receive"
    | "receiveMany"
    | "next"
    | "return"
    | "read"
    | "release"
    | "garbage"
    | "ack"
    | "nack"
    | "bury"
    | "extend"
    | "dispose"
    | "forget"
    | "fail"
    | "pass"
    | "words"
    | "signal"
    | "bound"
    | "close"
    | "closeNow"
    | "abortWriter";
  /** Which handle. */
  handle: number;
  /** Which delivery, how many, how long. */
  choice: number;
  /** Whether it waits with the signal, or fails late. */
  flag: boolean;
}

interface Plan {
  steps: Step[];
  options: {
    prefetch: number;
    attempts: number;
    highWaterMark: number;
    overflow: "wait" | "reject";
    offline: "wait" | "reject";
  };
}

const VISIBILITY = 100;

const verbs: fc.Arbitrary<Step["verb"]> = fc.oneof(
  { weight: 6, arbitrary: fc.constant("put" as const) },
  { weight: 6, arbitrary: fc.constant("receive" as const) },
  { weight: 18, arbitrary: fc.constant("words" as const) },
  { weight: 6, arbitrary: fc.constant("ack" as const) },
  {
    weight: 18,
    arbitrary: fc.constantFrom(
      "putMany" as const,
      "write" as const,
      "receiveMany" as const,
      "next" as const,
      "return" as const,
      "read" as const,
      "release" as const,
      "garbage" as const,
      "nack" as const,
      "bury" as const,
      "extend" as const,
      "dispose" as const,
      "forget" as const,
      "fail" as const,
      "pass" as const,
      "signal" as const,
      "bound" as const,
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "close" as const,
      "closeNow" as const,
      "abortWriter" as const,
    ),
  },
);

const plans: fc.Arbitrary<Plan> = fc.record({
  steps: fc.array(
    fc.record({
      verb: verbs,
      handle: fc.integer({ min: 0, max: 1 }),
      choice: fc.integer({ min: 0, max: 9 }),
      flag: fc.boolean(),
    }),
    { minLength: 5, maxLength: 80, size: "max" },
  ),
  options: fc.record({
    prefetch: fc.constantFrom(0, 3),
    attempts: fc.constantFrom(2, 100),
    highWaterMark: fc.constantFrom(1, 3, 100),
    overflow: fc.constantFrom("wait", "reject"),
    offline: fc.constantFrom("wait", "reject"),
  }),
});

/** A promise and what became of it. */
interface Watched {
  what: string;
  state: "pending" | "fulfilled" | "rejected";
  reason?: unknown;
}

class Run {
  readonly clock: SteppedClock = new SteppedClock();
  readonly engine: MemoryEngine = new MemoryEngine(this.clock);
  readonly handles: EngineHandle<number, Kept>[];
  readonly writers: WritableStreamDefaultWriter<number>[];
  /** One handle is iterated over, the other is read from. */
  iterator: AsyncIterator<Delivery<number>>;
  reader: ReadableStreamDefaultReader<Delivery<number>>;
  readonly watched: Watched[] = [];
  readonly puts: Map<number, Watched> = new Map();
  readonly writes: Map<number, Watched> = new Map();
  readonly deliveries: Delivery<number>[] = [];
  readonly held: Delivery<number>[] = [];
  readonly settled: { item: number; by: "ack" | "bury"; watch: Watched }[] = [];
  /** Items in the order in which the engine took them. */
  readonly arrived: number[] = [];
  readonly #scheduler: Scheduler;
  readonly #options: EngineHandleOptions<number>;
  #controller: AbortController = new AbortController();
  #items = 0;
  #garbage = 0;
  /** Who put which: the items of one stay in order. */
  readonly #owners: Map<number, string> = new Map();

  constructor(scheduler: Scheduler, plan: Plan) {
    this.#scheduler = scheduler;
    this.#options = { ...plan.options };
    this.engine.before = () => scheduler.schedule(Promise.resolve(), "word");
    const { put } = this.engine;
    this.engine.put = (message) => {
      const before = this.engine.kept.length;
      const answer = put.call(this.engine, message);
      if (this.engine.kept.length > before) {
        this.arrived.push(itemOf(message.payload));
      }
      return answer;
    };
    this.handles = [0, 1].map(() =>
      new EngineHandle<number, Kept>("jobs", this.engine.connect(), {
        visibility: VISIBILITY,
        clock: this.clock,
        onError() {},
        ...this.#options,
      })
    );
    this.writers = this.handles.map((handle) => {
      const writer = handle.writable.getWriter();
      writer.closed.catch(() => {});
      return writer;
    });
    this.iterator = iterate(this.handles[0]!);
    this.reader = readerOf(this.handles[1]!);
  }

  watch(what: string, promise: Promise<unknown>): Watched {
    const watch: Watched = { what, state: "pending" };
    promise.then(
      () => watch.state = "fulfilled",
      (reason) => {
        watch.state = "rejected";
        watch.reason = reason;
      },
    );
    this.watched.push(watch);
    return watch;
  }

  step({ verb, handle: index, choice, flag }: Step): Promise<void> | void {
    const handle = this.handles[index]!;
    const options = flag ? { signal: this.#controller.signal } : {};
    const delivery = this.held[choice % this.held.length];
    switch (verb) {
      case "put": {
        const item = this.#newItem(`put ${index}`);
        this.puts.set(
          item,
          this.watch(`put ${item}`, handle.put(item, options)),
        );
        return;
      }
      case "putMany": {
        const items = Array.from(
          { length: choice },
          () => this.#newItem(`put many ${this.watched.length}`),
        );
        this.watch(
          `put many ${items}`,
          handle.putMany(items, options),
        );
        return;
      }
      case "write": {
        const item = this.#newItem(`write ${index}`);
        this.writes.set(
          item,
          this.watch(`write ${item}`, this.writers[index]!.write(item)),
        );
        return;
      }
      case "receive":
        this.watch(
          "receive",
          handle.receive(
            choice > 5 ? { ...options, visibility: choice * 20 } : options,
          ).then((delivery) => this.#got([delivery])),
        );
        return;
      case "receiveMany":
        this.watch(
          "receive many",
          handle.receiveMany(choice + 1, options)
            .then((deliveries) => this.#got(deliveries)),
        );
        return;
      case "next":
        this.watch(
          "next",
          this.iterator.next()
            .then(({ done, value }) => done ? undefined : this.#got([value])),
        );
        return;
      case "return": {
        this.watch("return", this.iterator.return!());
        this.iterator = iterate(this.handles[0]!);
        return;
      }
      case "read":
        this.watch(
          "read",
          this.reader.read().then(({ done, value }) =>
            done ? undefined : this.#got([value])
          ),
        );
        return;
      case "release":
        this.reader.releaseLock();
        this.reader = readerOf(this.handles[1]!);
        return;
      case "garbage":
        this.engine.put({
          id: `garbage ${this.#garbage}`,
          payload: new TextEncoder().encode(`${-++this.#garbage} is no JSON`),
          key: undefined,
        });
        return;
      case "ack":
      case "bury": {
        if (delivery === undefined) return;
        this.#letGo(delivery);
        const answer = Promise.resolve(delivery[verb]!());
        const watch = this.watch(`${verb} ${delivery.item}`, answer);
        answer.then((isOurs) => {
          if (isOurs) {
            this.settled.push({ item: delivery.item, by: verb, watch });
          }
        });
        return;
      }
      case "nack": {
        if (delivery === undefined) return;
        this.#letGo(delivery);
        const answer = delivery.nack({ delay: flag ? choice * 10 : 0 });
        this.watch(`nack ${delivery.item}`, Promise.resolve(answer));
        return;
      }
      case "extend": {
        if (delivery === undefined) return;
        const answer = delivery.extend(VISIBILITY);
        this.watch(`extend ${delivery.item}`, Promise.resolve(answer));
        return;
      }
      case "dispose": {
        if (delivery === undefined) return;
        this.#letGo(delivery);
        this.watch("dispose", Promise.resolve(delivery[Symbol.asyncDispose]()));
        return;
      }
      case "forget":
        if (delivery !== undefined) this.#letGo(delivery);
        return;
      case "fail":
        for (let count = 0; count <= choice % 4; count++) {
          this.engine.failures.push(new Error("The engine is down"));
        }
        this.engine.failsLate = flag;
        return;
      case "pass":
        return this.clock.pass(flag ? choice : choice * 20);
      case "words":
        return this.#speak(1 + choice);
      case "signal":
        this.#controller.abort(new Error("Enough"));
        this.#controller = new AbortController();
        return;
      case "bound":
        this.engine.bound = flag ? Infinity : choice;
        this.engine.changed();
        return;
      case "close":
        this.watch("close", handle.close());
        return;
      case "closeNow":
        return this.#closeNow(handle);
      case "abortWriter":
        this.watch("abort", this.writers[index]!.abort(new Error("Aborted")));
    }
  }

  /** The engine recovers, the handles are closed, and all comes to its end. */
  async finish(): Promise<void> {
    this.engine.failures = [];
    this.engine.bound = Infinity;
    this.engine.changed();
    await this.#speak(20);
    await this.clock.pass(10);
    await this.#speak(20);
    for (const handle of this.handles) {
      this.watch("the end", handle.close());
    }
    for (let round = 0; round < 30; round++) {
      await this.#speak(Infinity);
      await this.clock.pass(round < 15 ? 20 : 1_000);
    }
  }

  /** Lets so many words with the engine have their effect, as they come. */
  async #speak(most: number): Promise<void> {
    for (let count = 0; count < most; count++) {
      await turn();
      if (this.#scheduler.count() === 0) return;
      await this.#scheduler.waitOne();
    }
    await turn();
  }

  check(): void {
    const { kept, acked, buried } = this.engine;
    assertEquals(
      this.watched.filter(({ state }) => state === "pending")
        .map(({ what }) => what),
      [],
      "every promise settles",
    );
    const there = [
      ...kept.map(({ payload }) => itemOf(payload)),
      ...acked.map(itemOf),
      ...buried.map(({ payload }) => itemOf(payload)),
    ];
    assertEquals(there.length, new Set(there).size, "each item is there once");
    for (const [item, { state, reason }] of this.puts) {
      if (state === "fulfilled") {
        assert(there.includes(item), `${item} was accepted and lost`);
      }
      const { name } = (reason ?? {}) as { name?: string };
      if (name === "QueueClosedError" || name === "QueueFullError") {
        assert(!there.includes(item), `${item} was refused and is there`);
      }
    }
    for (const [item, { state }] of this.writes) {
      if (state === "rejected") {
        assert(!there.includes(item), `${item} was not written and is there`);
      }
    }
    for (const owner of new Set(this.#owners.values())) {
      const theirs = this.arrived.filter((item) =>
        this.#owners.get(item) === owner
      );
      assertEquals(theirs, [...theirs].sort((a, b) => a - b), "the order");
    }
    for (const { item, by } of this.settled) {
      const where = by === "ack"
        ? acked.map(itemOf)
        : buried.map(({ payload }) => itemOf(payload));
      assert(where.includes(item), `${by} of ${item} was true`);
    }
    const seen = this.deliveries.map(({ item, attempt }) =>
      `${item}, attempt ${attempt}`
    );
    assertEquals(
      seen.filter((name, index) => seen.indexOf(name) !== index),
      [],
      "each delivery goes to one",
    );
    const { attempts } = this.#options;
    for (const delivery of this.deliveries) {
      const { attempt, message } = delivery as EngineDelivery<number, Kept>;
      assert(
        attempt <= attempts! || message.lost === "beside",
        `received attempt ${attempt}`,
      );
    }
    for (const handle of this.handles) assertEquals(handle.waitingPuts, 0);
    assertEquals(this.clock.pending, 0, "no alarm is left");
  }

  /** Waits for no word that is under way. */
  async #closeNow(handle: EngineHandle<number, Kept>): Promise<void> {
    const signal = AbortSignal.abort(new Error("Now"));
    const { state } = this.watch("close now", handle.close({ signal }));
    assertEquals(state, "pending");
    await turn();
    assertEquals(this.watched.at(-1)!.state, "fulfilled", "closes now");
    assertEquals(handle.waitingPuts, 0);
  }

  #newItem(owner: string): number {
    this.#owners.set(++this.#items, owner);
    return this.#items;
  }

  #got(deliveries: Delivery<number>[]): void {
    this.deliveries.push(...deliveries);
    this.held.push(...deliveries);
  }

  #letGo(delivery: Delivery<number>): void {
    this.held.splice(this.held.indexOf(delivery), 1);
  }
}

type Handle = EngineHandle<number, Kept>;

function iterate(handle: Handle): AsyncIterator<Delivery<number>> {
  return handle.readable.values({ preventCancel: true });
}

function readerOf(
  handle: Handle,
): ReadableStreamDefaultReader<Delivery<number>> {
  const reader = handle.readable.getReader();
  reader.closed.catch(() => {});
  return reader;
}

function itemOf(payload: Uint8Array): number {
  return parseInt(new TextDecoder().decode(payload));
}

test("engines: in any interleaving nothing accepted is lost, nothing is there twice, and every promise settles", async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), plans, async (scheduler, plan) => {
      const run = new Run(scheduler, plan);
      for (const step of plan.steps) {
        await run.step(step);
        await turn();
      }
      await run.finish();
      run.check();
    }),
    parameters(150),
  );
});

test("engines: consume() over an engine that fails now and then does all that was put, and twice only what an answer was lost for", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.record({
        count: fc.integer({ min: 1, max: 40 }),
        /** What becomes of the next word, and so on, again and again. */
        words: fc.array(
          fc.constantFrom("done", "done", "done", "failed", "lost"),
          { minLength: 1, maxLength: 20 },
        ),
        /** What the handler makes of an item. */
        fates: fc.array(
          fc.constantFrom("good", "good", "good", "slow", "bad", "late"),
          { minLength: 1, maxLength: 10 },
        ),
        concurrency: fc.integer({ min: 1, max: 5 }),
        prefetch: fc.constantFrom(0, 8),
        visibility: fc.constantFrom(VISIBILITY, 10_000),
        stops: fc.boolean(),
      }),
      async (scheduler, plan) => {
        const { count, words, fates, concurrency, prefetch } = plan;
        const { visibility, stops } = plan;
        const clock = new SteppedClock();
        const engine = new MemoryEngine(clock);
        const arrived = new Set<string>();
        const { put } = engine;
        engine.put = (message) => {
          const answer = put.call(engine, message);
          if (answer === "accepted") arrived.add(message.id);
          return answer;
        };
        const isHealthy = !words.includes("failed") && !words.includes("lost");
        let healed = false;
        let word = 0;
        engine.before = async () => {
          await scheduler.schedule(Promise.resolve(), "word");
          const outcome = healed ? "done" : words[word++ % words.length]!;
          engine.failsLate = outcome === "lost";
          engine.failures = outcome === "done" ? [] : [new Error(outcome)];
        };
        const handles = [0, 1, 2].map(() =>
          new EngineHandle<number, Kept>("jobs", engine.connect(), {
            clock,
            prefetch,
            visibility,
            attempts: 1_000,
            highWaterMark: 8,
            onError() {},
          })
        );
        const runs: number[] = [];
        async function handler(item: number): Promise<void> {
          runs.push(item);
          const fate = fates[item % fates.length];
          if (fate === "slow") await scheduler.schedule(Promise.resolve());
          if (fate === "late") {
            await new Promise<void>((resolve) => clock.setTimer(resolve, 150));
          }
          if (fate === "bad") throw unrecoverable(new Error("bad"));
        }
        const stop = new AbortController();
        const [producer, ...consumers] = handles as [Handle, Handle, Handle];
        const items = upTo(count);
        const putting = producer.putMany(items);
        const consuming = consumers.map((handle, index) =>
          consume(handle, handler, {
            concurrency,
            visibility,
            clock,
            ...(index === 0 ? { signal: stop.signal } : {}),
          })
        );
        const closed = handles.map((handle) => handle.closed);
        // A handler may outlast its item, which somebody else has done by then.
        const all = Promise.all([putting, ...closed, ...consuming]);
        let over = false;
        all.then(() => over = true, () => over = true);
        for (let round = 0; !over; round++) {
          assert(round < 1_000, "it comes to its end");
          await turn();
          for (let spoken = 0; spoken < 5 && scheduler.count() > 0; spoken++) {
            await scheduler.waitOne();
            // One word leads to another, and no time passes in between.
            await turn();
          }
          // Words take a moment; without any it goes on with the next alarm.
          if (scheduler.count() > 0) await clock.pass(2);
          else if (clock.nextAt !== undefined) {
            await clock.pass(clock.nextAt - clock.now());
          }
          if (round === 10 && stops) stop.abort();
          if (round === 100) healed = true;
          if (arrived.size === count && engine.kept.length === 0) {
            for (const handle of handles) void handle.close();
          }
        }
        await all;
        const reports: ConsumeReport[] = await Promise.all(consuming);
        const done = [
          ...engine.acked.map(itemOf),
          ...engine.buried.map(({ payload }) => itemOf(payload)),
        ];
        assertEquals(done.sort((a, b) => a - b), items);
        assertEquals(new Set(runs).size, count);
        // Else words may wait for longer than an item is lent.
        if (isHealthy && !stops && visibility > VISIBILITY) {
          assertEquals(runs.length, count);
        }
        const sum = (of: (report: ConsumeReport) => number): number =>
          reports.reduce((total, report) => total + of(report), 0);
        const seen = sum(({ processed, failed, lost, returned }) =>
          processed + failed + lost + returned
        );
        assert(seen >= count, `received ${seen}`);
        assertEquals(clock.pending, 0);
      },
    ),
    parameters(60),
  );
});
