import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import {
  consume,
  type ConsumeContext,
  type ConsumeOptions,
  type ConsumeReport,
  type DeadLetter,
  type Delivery,
  Queue,
  QueueClosedError,
  unrecoverable,
} from "../../../mod.ts";
import {
  type Failure,
  FailureMemory,
} from "../../../src/flow/consume/failures.ts";
import { consumeCases } from "../../conformance/flow_consume.ts";
import { numbers } from "../../support/counted.ts";
import { Lending, PromptLending } from "../../support/lending.ts";
import { test } from "../../support/harness.ts";
import { turn } from "../../support/properties.ts";
import { deferred } from "../../../src/waiters.ts";
import { SteppedClock } from "../../support/stepped_clock.ts";
import { upTo } from "../../support/items.ts";

/** A handler whose calls end when the test says so. */
class Held {
  readonly started: number[] = [];
  readonly contexts: ConsumeContext[] = [];
  readonly #ends: Map<
    number,
    { resolve: (value?: unknown) => void; reject: (reason: unknown) => void }
  > = new Map();

  readonly handler = (
    item: number,
    context: ConsumeContext,
  ): Promise<unknown> => {
    this.started.push(item);
    this.contexts.push(context);
    return new Promise((resolve, reject) => {
      this.#ends.set(item, { resolve, reject });
    });
  };

  async finish(...items: number[]): Promise<void> {
    for (const item of items) this.#ends.get(item)!.resolve();
    await turn();
  }

  async fail(item: number, reason: unknown): Promise<void> {
    this.#ends.get(item)!.reject(reason);
    await turn();
  }
}

/** What is not zero, without the times. */
function figures(report: ConsumeReport): Record<string, number> {
  return Object.fromEntries(
    Object.entries(report).filter(([, value]) =>
      typeof value === "number" && value !== 0
    ).filter(([name]) => name !== "duration"),
  );
}

/** Lets time pass until the run has ended. */
async function ended<R>(clock: SteppedClock, running: Promise<R>): Promise<R> {
  let isOver = false;
  const noted = running.finally(() => isOver = true);
  noted.catch(() => {});
  while (!isOver) {
    await turn();
    await turn();
    if (!isOver) clock.ring();
  }
  return await noted;
}

for (const { name, run } of consumeCases) test(name, run);

test("consume: every item of any source has one call, and the report counts them", async () => {
  const queue = new Queue<number>();
  void queue.putMany(upTo(5)).then(() => queue.close());
  const stream = new Queue<number>();
  void stream.putMany(upTo(5)).then(() => stream.close());
  const sources = [
    upTo(5),
    new Set(upTo(5)),
    queue,
    stream.readable,
    numbers(5),
    (async function* () {
      yield* upTo(5);
    })(),
    new Lending(upTo(5), new SteppedClock()).close(),
    new PromptLending(upTo(5), new SteppedClock()).close(),
  ];
  for (const source of sources) {
    const seen: number[] = [];
    const report = await consume(source, async (item, { attempt }) => {
      await Promise.resolve();
      assertEquals(attempt, 1);
      seen.push(item);
    });
    assertEquals(seen, upTo(5));
    assertEquals(figures(report), { processed: 5 });
    assertEquals([report.stopped, report.errors], [false, undefined]);
    assert(Object.isFrozen(report));
  }
});

test("consume: any value is an item, and an error", async () => {
  const items = [undefined, null, 0, Promise.resolve(1)];
  const letters: DeadLetter<unknown>[] = [];
  const seen: unknown[] = [];
  const report = await consume(new Set<unknown>(items), (item) => {
    seen.push(item);
    return Promise.reject(undefined);
  }, { deadLetter: (letter) => letters.push(letter) });
  assertEquals(seen, items);
  assertEquals(letters.map(({ item }) => item), items);
  assertEquals(letters[0]!.errors, { first: undefined, last: undefined });
  assertEquals(report.errors, { first: undefined, last: undefined });
  assertEquals(figures(report), { failed: 4, deadLettered: 4 });
});

test("consume: as many calls as places, and an item is taken when one is free", async () => {
  for (const concurrency of [1, 3, 64]) {
    const source = numbers(200);
    let running = 0;
    let most = 0;
    let begun = 0;
    await consume(source, async (item) => {
      assertEquals(item, begun++);
      most = Math.max(most, ++running);
      assert(source.pulled <= begun + 1, "nothing is taken ahead");
      for (let turns = item % 3; turns >= 0; turns--) await turn();
      running--;
      assert(source.pulled <= begun + (running < concurrency ? 1 : 0));
    }, { concurrency });
    assertEquals(most, concurrency);
  }
  const held = new Held();
  const queue = new Queue<number>();
  await queue.putMany(upTo(10));
  void consume(queue, held.handler, { concurrency: 2 });
  await turn();
  assertEquals([held.started, queue.length], [[0, 1], 8]);
  await held.finish(1);
  assertEquals([held.started, queue.length], [[0, 1, 2], 7]);
  queue.abort();
});

test("consume: concurrency is read live, and one that is no number stops the run", async () => {
  let concurrency: number = 1;
  const held = new Held();
  const lending = new Lending(upTo(10), new SteppedClock());
  const running = consume(lending, held.handler, {
    concurrency: () => concurrency,
    grace: 0,
    clock: new SteppedClock(),
  });
  running.catch(() => {});
  await turn();
  assertEquals(held.started, [0]);
  concurrency = 3;
  await held.finish(0);
  assertEquals(held.started, [0, 1, 2, 3]);
  concurrency = 1;
  await held.finish(1, 2);
  assertEquals(held.started, [0, 1, 2, 3]);
  await held.finish(3);
  assertEquals(held.started, [0, 1, 2, 3, 4]);
  concurrency = NaN;
  await held.finish(4);
  await assertRejects(() => running, RangeError, "received NaN");
  assertEquals(lending.stored.map(({ item }) => item), upTo(10).slice(5));
});

test("consume: one failure stops nothing, and without dead letters it goes to onUndelivered", async () => {
  const reported: unknown[][] = [];
  const reasons = [new Error("thrown"), new Error("rejected")];
  const report = await consume(upTo(6), (item) => {
    if (item === 1) throw reasons[0];
    if (item === 3) return Promise.reject(reasons[1]);
  }, {
    concurrency: 2,
    onUndelivered(...what) {
      reported.push(what);
      throw what[2]; // goes no further
    },
  });
  assertEquals(reported, [[1, "failed", reasons[0]], [
    3,
    "failed",
    reasons[1],
  ]]);
  assertEquals(figures(report), { processed: 4, failed: 2, undelivered: 2 });
  assertStrictEquals(report.errors!.first, reasons[0]);
  assertStrictEquals(report.errors!.last, reasons[1]);
});

test("consume: a retry waits longer each time, as chance and maxDelay have it, and holds no place", async () => {
  const clock = new SteppedClock();
  const begun: [number, number, number][] = [];
  const chance = [0.5, 0, 0.25];
  const letters: DeadLetter<number>[] = [];
  const running = consume([0, 1, 2], (item, { attempt }) => {
    begun.push([item, attempt, clock.now()]);
    if (item === 0) throw new Error(`attempt ${attempt}`);
  }, {
    retry: { attempts: 4, delay: 100, factor: 3, maxDelay: 400 },
    random: () => chance.shift()!,
    deadLetter: (letter) => letters.push(letter),
    clock,
  });
  const report = await ended(clock, running);
  assertEquals(begun, [
    [0, 1, 0],
    [1, 1, 0],
    [2, 1, 0],
    [0, 2, 50],
    [0, 3, 350],
    [0, 4, 650],
  ]);
  const [{ errors, ...letter }] = letters as [DeadLetter<number>];
  assertEquals(
    [errors.first, errors.last].map((error) => (error as Error).message),
    ["attempt 1", "attempt 4"],
  );
  assertEquals(letter, {
    item: 0,
    attempts: 4,
    firstAt: 0,
    lastAt: 650,
    reason: "attempts",
  });
  assertEquals(figures(report), {
    processed: 2,
    failed: 1,
    retried: 3,
    deadLettered: 1,
  });
  assertEquals(report.wait.max, 0); // the first attempts did not wait
});

test("consume: without options retries wait one second at most, then two, then four", async () => {
  const clock = new SteppedClock();
  const begun: number[] = [];
  const running = consume([0], () => {
    begun.push(clock.now());
    throw new Error("never");
  }, { retry: {}, random: () => 0, clock, onError: "ignore" });
  await ended(clock, running);
  assertEquals(begun, [0, 1_000, 3_000, 7_000, 15_000]);
});

test("consume: jitter 0 is the delay itself", async () => {
  const clock = new SteppedClock();
  const begun: number[] = [];
  await ended(
    clock,
    consume([0], () => {
      begun.push(clock.now());
      throw new Error("never");
    }, {
      retry: { attempts: 3, delay: 10, jitter: 0 },
      clock,
      onError: "ignore",
    }),
  );
  assertEquals(begun, [0, 10, 30]);
});

test("consume: what is unrecoverable and what when() does not want is not tried again", async () => {
  const letters: DeadLetter<number>[] = [];
  const broken = new Error("when");
  await consume([0, 1, 2, 3], (item) => {
    if (item === 0) throw unrecoverable(new Error("poison"));
    if (item === 1) return Promise.reject(unrecoverable("text"));
    throw new Error(`error ${item}`);
  }, {
    retry: {
      attempts: 5,
      when(error) {
        if ((error as Error).message === "error 3") throw broken;
        return false;
      },
    },
    deadLetter: (letter) => letters.push(letter),
  });
  assertEquals(
    letters.map(({ item, attempts, reason }) => [item, attempts, reason]),
    [
      [0, 1, "unrecoverable"],
      [1, 1, "unrecoverable"],
      [2, 1, "when"],
      [3, 1, "when"],
    ],
  );
  assertEquals((letters[0]!.errors.last as Error).message, "poison");
  assertEquals((letters[1]!.errors.last as Error).cause, "text");
  assertStrictEquals(letters[3]!.errors.last, broken);
});

test("consume: a full dead-letter queue is waited for, in the item's place", async () => {
  const letters = new Queue<DeadLetter<number>>({ highWaterMark: 1 });
  const seen: number[] = [];
  const running = consume(upTo(5), (item) => {
    seen.push(item);
    throw new Error("no");
  }, { concurrency: 2, deadLetter: letters });
  await turn();
  assertEquals(seen, [0, 1, 2]);
  assertEquals((await letters.get()).item, 0);
  await turn();
  assertEquals(seen, [0, 1, 2, 3]);
  letters.highWaterMark = Infinity;
  assertEquals(figures(await running), { failed: 5, deadLettered: 5 });
  assertEquals(letters.clear().map(({ item }) => item), [1, 2, 3, 4]);
});

test("consume: dead letters go into a stream, which is unlocked after", async () => {
  const items: number[] = [];
  const stream = new WritableStream<DeadLetter<number>>({
    write: async ({ item }) => {
      await turn();
      items.push(item);
    },
  });
  const running = consume(upTo(4), () => Promise.reject(new Error("no")), {
    deadLetter: stream,
  });
  await turn();
  assert(stream.locked);
  const report = await running;
  assertEquals([items, report.deadLettered], [upTo(4), 4]);
  assertEquals(stream.locked, false);
});

test("consume: when the dead-letter target fails, the item goes to onUndelivered with its reason", async () => {
  const reason = new Error("target");
  const closed = new Queue<DeadLetter<number>>();
  closed.abort(reason);
  const targets = [
    closed,
    () => Promise.reject(reason),
    () => {
      throw reason;
    },
    new WritableStream({ write: () => Promise.reject(reason) }),
  ];
  for (const deadLetter of targets) {
    const reported: unknown[][] = [];
    const report = await consume([7, 8], () => {
      throw new Error("handler");
    }, { deadLetter, onUndelivered: (...what) => void reported.push(what) });
    assertEquals(reported, [
      [7, "dead-letter", reason],
      [8, "dead-letter", reason],
    ]);
    assertEquals(figures(report), { failed: 2, undelivered: 2 });
  }
});

test("consume: a timeout aborts the attempt's signal alone; what the handler makes of it counts", async () => {
  const clock = new SteppedClock();
  const signals: AbortSignal[] = [];
  const running = consume([0, 1, 2], (item, { signal, attempt }) => {
    signals.push(signal);
    if (item === 2) return;
    return new Promise<void>((resolve, reject) => {
      signal.addEventListener("abort", () => {
        assertEquals((signal.reason as Error).name, "TimeoutError");
        if (item === 1 || attempt === 2) resolve();
        else reject(signal.reason);
      });
    });
  }, {
    concurrency: 3,
    timeout: 50,
    retry: { attempts: 2, delay: 10, jitter: 0 },
    clock,
  });
  await clock.pass(49);
  assertEquals(signals.map(({ aborted }) => aborted), [false, false, false]);
  await clock.pass(1);
  assertEquals(signals.map(({ aborted }) => aborted), [true, true, false]);
  const report = await ended(clock, running);
  assertEquals(clock.now(), 110);
  assertEquals(figures(report), { processed: 3, retried: 1 });
  assertEquals(clock.pending, 0);
});

test("consume: a signal that is looked at after the timeout is aborted, too", async () => {
  const clock = new SteppedClock();
  let context: ConsumeContext | undefined;
  const held = new Held();
  const running = consume([0], (item, given) => {
    context = given;
    return held.handler(item, given);
  }, { timeout: 5, clock });
  await clock.pass(5);
  assert(context!.signal.aborted);
  assertStrictEquals(context!.signal, context!.signal);
  await held.finish(0);
  assertEquals(figures(await running), { processed: 1 });
});

test("consume: a handler that ignores its signal is reported, and keeps its place until it settles", async () => {
  const clock = new SteppedClock();
  const held = new Held();
  const overrun: number[][] = [];
  const letters: DeadLetter<number>[] = [];
  const running = consume([0, 1, 2], (item, context) => {
    return held.handler(item, context);
  }, {
    concurrency: 2,
    timeout: 50,
    grace: 20,
    deadLetter: (letter) => letters.push(letter),
    onOverrun: (...what) => void overrun.push(what),
    clock,
  });
  await turn();
  await held.finish(1);
  await held.finish(2);
  assertEquals(held.started, [0, 1, 2]);
  await clock.pass(69);
  assertEquals([overrun, letters.length], [[], 0]);
  await clock.pass(1);
  assertEquals(overrun, [[0, 1]]);
  // The item has ended, so the run does as well.
  assertEquals(figures(await running), {
    processed: 2,
    failed: 1,
    deadLettered: 1,
    overrun: 1,
  });
  assertEquals((letters[0]!.errors.last as Error).name, "TimeoutError");
  await held.finish(0);

  const places = new Held();
  const queue = new Queue<number>();
  await queue.putMany([0, 1, 2]);
  queue.close();
  const other = consume(queue, places.handler, {
    concurrency: 1,
    timeout: 50,
    grace: 20,
    clock,
    onError: "ignore",
  });
  await clock.pass(1_000);
  assertEquals(places.started, [0]);
  await places.finish(0); // too late for the item, but the place is free
  assertEquals(places.started, [0, 1]);
  await places.finish(1);
  await places.finish(2);
  assertEquals(figures(await other), {
    processed: 2,
    failed: 1,
    undelivered: 1,
    overrun: 1,
  });
});

test("consume: a handler that ends well after its item has failed changes nothing", async () => {
  const clock = new SteppedClock();
  const held = new Held();
  const attempts: number[] = [];
  const running = consume([0], (item, context) => {
    attempts.push(context.attempt);
    if (context.attempt === 1) return held.handler(item, context);
  }, {
    timeout: 10,
    grace: 10,
    retry: { delay: 100, jitter: 0 },
    clock,
  });
  await clock.pass(50);
  await held.finish(0);
  assertEquals(attempts, [1]);
  const report = await ended(clock, running);
  assertEquals(attempts, [1, 2]);
  assertEquals(figures(report), { processed: 1, retried: 1, overrun: 1 });
});

test("consume: a stop takes back what waits for a full stream of dead letters", async () => {
  const clock = new SteppedClock();
  const stop = new AbortController();
  const written: number[] = [];
  let release = (): void => {};
  const letters = new WritableStream<DeadLetter<number>>({
    write({ item }) {
      written.push(item);
      return new Promise<void>((resolve) => release = resolve);
    },
  });
  const lending = new Lending([0, 1], clock);
  const running = consume(lending, () => Promise.reject(new Error("no")), {
    concurrency: 2,
    deadLetter: letters,
    signal: stop.signal,
    clock,
  });
  await turn();
  stop.abort();
  await turn();
  release();
  await turn();
  assertEquals(written, [0]);
  assertEquals(figures(await running), {
    failed: 1,
    deadLettered: 1,
    returned: 1,
  });
  assertEquals(lending.stored.map(({ item }) => item), [1]);
});

test("consume: what comes while the rest is given back is given back once, too", async () => {
  const clock = new SteppedClock();
  const stop = new AbortController();
  const log: string[] = [];
  const answers: (() => void)[] = [];
  const receiving: ((delivery: Delivery<string>) => void)[] = [];
  function deliver(item: string): void {
    receiving.shift()!({
      item,
      attempt: 1,
      enqueuedAt: undefined,
      signal: new AbortController().signal,
      ack: () => false,
      nack() {
        log.push(item);
        return new Promise((resolve) => answers.push(() => resolve(true)));
      },
      extend: () => false,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
  }
  // It does not look at the signal.
  const source = {
    receive: () =>
      new Promise<Delivery<string>>((resolve) => receiving.push(resolve)),
  };
  const running = consume(source, () => new Promise(() => {}), {
    concurrency: 2,
    signal: stop.signal,
    grace: 10,
    clock,
  });
  deliver("a");
  await turn();
  stop.abort();
  await clock.pass(10);
  assertEquals(log, ["a"]);
  deliver("b");
  await turn();
  assertEquals(log, ["a"]);
  answers[0]!();
  await turn();
  answers[1]!();
  assertEquals(log, ["a", "b"]);
  assertEquals(figures(await running), { returned: 2, overrun: 1 });
});

test("consume: a source that throws when asked has failed", async () => {
  const reason = new Error("receive");
  const lending = new Lending([0], new SteppedClock());
  let asked = 0;
  const source = {
    receive(): Promise<Delivery<number>> {
      if (++asked > 1) throw reason;
      return lending.receive();
    },
  };
  const running = consume(source, () => {});
  assertStrictEquals(await assertRejects(() => running), reason);
  assertEquals(lending.log.acked, [0]);
});

test("consume: a source that was empty and closed is asked again for what goes back to it", async () => {
  const clock = new SteppedClock();
  const lending = new Lending([0], clock);
  const source = {
    receive() {
      if (lending.stored.length > 0) return lending.receive();
      return Promise.reject(new QueueClosedError("Cannot receive"));
    },
  };
  const held = new Held();
  const running = consume(source, held.handler, {
    concurrency: 2,
    retry: { delay: 0 },
    clock,
  });
  await turn();
  await held.fail(0, new Error("once"));
  assertEquals(held.started, [0, 0]);
  await held.finish(0);
  assertEquals(figures(await running), { processed: 1, retried: 1 });
});

test("consume: without a time from the source, a batch has waited since it was taken", async () => {
  for (const Lender of [Lending, PromptLending]) {
    const clock = new SteppedClock();
    const lending = new Lender([0, 1], clock);
    const timeless = <T extends Delivery<number> | undefined>(
      delivery: T,
    ): T => delivery && Object.create(delivery, { enqueuedAt: {} });
    const source = {
      receive: async (options: object) =>
        timeless(await lending.receive(options)),
      ...(lending instanceof PromptLending &&
        { tryReceive: () => timeless(lending.tryReceive()) }),
    };
    const stop = new AbortController();
    const running = consume(source, (_items, { age }) => {
      assertEquals(age, undefined);
    }, { batch: { max: 5, linger: 30 }, signal: stop.signal, clock });
    await clock.pass(30);
    stop.abort();
    const { wait, processed } = await running;
    assertEquals([wait.max, processed], [30, 2]);
  }
});

test("consume: what one handler takes before it returns is not counted for the next", async () => {
  let now = 0;
  let concurrency = 1;
  const clock = { now: () => now, setTimer() {}, clearTimer() {} };
  const lending = new PromptLending([0, 1, 2], clock).close();
  const held = new Held();
  const running = consume(lending, (item, context) => {
    if (item === 1) now += 100;
    return held.handler(item, context);
  }, { concurrency: () => concurrency, clock });
  await turn();
  concurrency = 2;
  await held.finish(0);
  assertEquals(held.started, [0, 1, 2]);
  now += 10;
  await held.finish(1, 2);
  const { run } = await running;
  assert(run.p50 <= 11, `${run.p50}: 0, 110 and 10`);
  assertEquals(run.max, 110);
});

test("consume: onError abort ends the run with the error, and the rest goes back", async () => {
  const reason = new Error("fatal");
  const clock = new SteppedClock();
  const lending = new Lending(upTo(6), clock);
  const signals: AbortSignal[] = [];
  const running = consume(lending, async (item, { signal }) => {
    signals.push(signal);
    await turn();
    if (item === 1) throw reason;
    if (item >= 2) {
      return new Promise((_, reject) => {
        if (signal.aborted) reject(signal.reason);
        signal.addEventListener("abort", () => reject(signal.reason));
      });
    }
  }, { concurrency: 3, onError: "abort", clock });
  assertStrictEquals(await assertRejects(() => running), reason);
  assert(signals.every(({ aborted }, index) => aborted === (index > 1)));
  assertEquals(lending.log.acked, [0]);
  assertEquals(lending.stored.map(({ item }) => item), [1, 2, 3, 4, 5]);

  const letters: number[] = [];
  const reported: unknown[][] = [];
  await assertRejects(() =>
    consume(upTo(6), (item) => {
      if (item === 2) throw reason;
    }, {
      onError: "abort",
      deadLetter: ({ item }) => letters.push(item),
      onUndelivered: (...what) => void reported.push(what),
    })
  );
  assertEquals([letters, reported], [[2], []]);
});

test("consume: the error of a source comes after the items before it", async () => {
  const reason = new Error("source");
  const clock = new SteppedClock();
  const queue = new Queue<number>();
  await queue.putMany(upTo(3));
  queue.fail(reason);
  const lending = new Lending(upTo(3), clock);
  lending.fail(reason);
  for (const source of [queue, lending]) {
    const done: number[] = [];
    const running = consume(source, async (item, { attempt }) => {
      await turn();
      if (item === 1 && attempt === 1) throw new Error("once");
      done.push(item);
    }, { retry: { delay: 10 }, concurrency: 2, clock });
    assertStrictEquals(
      await assertRejects(() => ended(clock, running)),
      reason,
    );
    assertEquals(done, [0, 2, 1]);
  }
});

test("consume: a stop aborts what runs and gives back the rest, in order", async () => {
  const clock = new SteppedClock();
  for (const answersLater of [false, true]) {
    const stop = new AbortController();
    const lending = new Lending(upTo(10), clock, answersLater);
    const seen: number[] = [];
    const running = consume(lending, (item, { signal }) => {
      seen.push(item);
      if (item === 0) return;
      return new Promise<void>((resolve, reject) => {
        signal.addEventListener("abort", () => {
          // The last taken settles first, one of them well.
          setTimeout(item === 2 ? resolve : reject, 5 - item);
        });
      });
    }, { concurrency: 3, signal: stop.signal, retry: {}, clock });
    await turn();
    assertEquals(seen, [0, 1, 2, 3]);
    stop.abort(new Error("stop"));
    const report = await running;
    assertEquals(report.stopped, true);
    assertEquals(figures(report), { processed: 2, returned: 2 });
    assertEquals(report.errors, undefined);
    assertEquals(lending.log.acked, [0, 2]);
    assertEquals(
      lending.stored.map(({ item }) => item),
      [1, 3, 4, 5, 6, 7, 8, 9],
    );
    assertStrictEquals(lending.log.nacked[0]!.reason, stop.signal.reason);
    assertEquals([lending.lent, lending.waiting, clock.pending], [0, 0, 0]);
  }
});

test("consume: a stop reports what its source does not take back, and waits for no handler for ever", async () => {
  const clock = new SteppedClock();
  const stop = new AbortController();
  const queue = new Queue<number>();
  await queue.putMany(upTo(8));
  const reported: unknown[][] = [];
  const overrun: number[] = [];
  const held = new Held();
  // A consumer of its own: the stream of it takes nothing back.
  const running = consume(queue.consumer(), (item, context) => {
    if (item === 0) throw new Error("again later");
    return held.handler(item, context);
  }, {
    concurrency: 3,
    signal: stop.signal,
    retry: { delay: 1e6 },
    grace: 30,
    onUndelivered: (...what) => void reported.push(what),
    onOverrun: (item) => void overrun.push(item),
    clock,
  });
  await turn();
  assertEquals(held.started, [1, 2, 3]);
  const reason = new Error("stop");
  stop.abort(reason);
  assert(held.contexts.every(({ signal }) => signal.aborted));
  await held.finish(2);
  await clock.pass(29);
  assertEquals(reported, []);
  await clock.pass(1);
  const report = await running;
  assertEquals(figures(report), {
    processed: 1,
    retried: 1,
    returned: 3,
    overrun: 2,
  });
  assertEquals(reported, [0, 1, 3].map((item) => [item, "stopped", reason]));
  assertEquals(overrun, [1, 3]);
  assertEquals([queue.length, queue.stats().state], [4, "open"]);
  assertEquals([queue.stats().waitingGets, clock.pending], [0, 0]);
  await held.finish(1, 3); // nobody counts them any more
  assertEquals(reported.length, 3);
});

test("consume: a signal that has aborted takes nothing, and none is left with a listener", async () => {
  const queue = new Queue<number>();
  await queue.putMany(upTo(3));
  const report = await consume(queue, () => assert(false), {
    signal: AbortSignal.abort(new Error("before")),
  });
  assertEquals([report.stopped, figures(report)], [true, {}]);
  assertEquals(queue.length, 3);

  const { signal } = new AbortController();
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: unknown[]) => {
    listeners++;
    addEventListener.apply(signal, args as never);
  };
  signal.removeEventListener = (...args: unknown[]) => {
    listeners--;
    removeEventListener.apply(signal, args as never);
  };
  const running = consume(upTo(100), () => turn(), { signal });
  assertEquals(listeners, 1);
  await running;
  assertEquals(listeners, 0);
});

test("consume: a stop while it waits for an item takes none", async () => {
  const clock = new SteppedClock();
  const queue = new Queue<number>();
  const lending = new Lending<number>([], clock);
  const cancelled: unknown[] = [];
  const stream = new ReadableStream<number>({
    cancel: (reason) => void cancelled.push(reason),
  });
  for (const source of [queue, lending, stream]) {
    const stop = new AbortController();
    const running = consume(source, () => {}, {
      signal: stop.signal,
      concurrency: 5,
      clock,
    });
    await turn();
    stop.abort("enough");
    assertEquals((await running).stopped, true);
  }
  await queue.put(1);
  lending.put(1);
  assertEquals([queue.length, lending.stored.length], [1, 1]);
  assertEquals([cancelled, stream.locked], [["enough"], false]);

  // An iterator that cannot be left is waited for as long as a handler.
  let give = (_item: number): void => {};
  const stop = new AbortController();
  const reported: unknown[] = [];
  const running = consume(
    (async function* () {
      yield await new Promise<number>((resolve) => give = resolve);
    })(),
    () => {},
    {
      signal: stop.signal,
      onUndelivered: (item, reason) => void reported.push([item, reason]),
      clock,
    },
  );
  await turn();
  stop.abort();
  await clock.pass(1_000);
  await running;
  give(5);
  await turn();
  assertEquals(reported, [[5, "stopped"]]);
});

test("consume: deliveries are acked, and given back for a retry with delay and reason", async () => {
  for (const answersLater of [false, true]) {
    const clock = new SteppedClock();
    const lending = new Lending(["a", "b", "b"], clock, answersLater).close();
    const seen: [string, number, number | undefined][] = [];
    const letters: DeadLetter<string>[] = [];
    const running = consume(lending, (item, { attempt, age }) => {
      seen.push([item, attempt, age]);
      if (item === "a" && attempt === 1) throw new Error("once");
      if (item === "b") throw new Error(`attempt ${attempt}`);
    }, {
      retry: { attempts: 2, delay: 10, jitter: 0 },
      deadLetter: (letter) => letters.push(letter),
      clock,
    });
    await turn();
    assertEquals(seen, [["a", 1, 0], ["b", 1, 0], ["b", 1, 0]]);
    assertEquals(
      lending.log.nacked.map(({ item, delay, reason }) => [
        item,
        delay,
        (reason as Error).message,
      ]),
      [
        ["a", 10, "once"],
        ["b", 10, "attempt 1"],
        ["b", 10, "attempt 1"],
      ],
    );
    const report = await ended(clock, running);
    assertEquals(seen.slice(3).sort(), [["a", 2, 10], ["b", 2, 10], [
      "b",
      2,
      10,
    ]]);
    assertEquals(lending.log.acked.sort(), ["a", "b", "b"]);
    for (const { attempts, errors, firstAt, lastAt } of letters) {
      assertEquals([attempts, firstAt, lastAt], [2, 0, 10]);
      assertEquals((errors.first as Error).message, "attempt 1");
      assertEquals((errors.last as Error).message, "attempt 2");
    }
    assertEquals(figures(report), {
      processed: 1,
      failed: 2,
      deadLettered: 2,
      retried: 3,
    });
  }
});

test("consume: a delivery that is lost aborts the signal, and is counted as lost", async () => {
  const clock = new SteppedClock();
  const lending = new Lending([0], clock).close();
  const reasons: unknown[] = [];
  const held = new Held();
  // Lent for 100 ms by a source of its own mind: nothing here renews that.
  const source = {
    receive: (options: object) =>
      lending.receive({ ...options, visibility: 100 }),
  };
  const running = consume(source, (item, context) => {
    if (context.attempt === 2) return;
    const { signal } = context;
    signal.addEventListener("abort", () => void reasons.push(signal.reason));
    return held.handler(item, context);
  }, { concurrency: 2, clock });
  await clock.pass(100);
  assertEquals(reasons.map((reason) => (reason as Error).message), ["expired"]);
  assert(held.contexts[0]!.signal.aborted);
  await held.finish(0);
  assertEquals(figures(await running), { processed: 1, lost: 1 });
  assertEquals(lending.log.acked, [0]);

  const late = new Lending([0], clock).close();
  const contexts: ConsumeContext[] = [];
  const other = new Held();
  const again = consume({
    receive: (options: object) => late.receive({ ...options, visibility: 100 }),
  }, (item, context) => {
    contexts.push(context);
    return context.attempt === 2 ? undefined : other.handler(item, context);
  }, { concurrency: 2, clock });
  await clock.pass(100);
  assert(contexts[0]!.signal.aborted, "looked at after it was lost");
  assert(!contexts[1]!.signal.aborted);
  await other.finish(0);
  assertEquals(figures(await again), { processed: 1, lost: 1 });
});

test("consume: with visibility a lease is renewed for as long as the item is here", async () => {
  const clock = new SteppedClock();
  const lending = new Lending([0, 1], clock).close();
  const held = new Held();
  const running = consume(lending, held.handler, { visibility: 90, clock });
  await clock.pass(1_000);
  assertEquals(lending.log.expired, []);
  assertGreater(lending.log.extended.length, 10);
  assert(lending.log.extended.every(({ milliseconds }) => milliseconds === 90));
  await held.finish(0);
  assertEquals(lending.mostLent, 1);
  await held.finish(1);
  assertEquals(figures(await running), { processed: 2 });
  assertEquals(clock.pending, 0);
});

test("consume: ack and nack that throw or reject lose the delivery, not the run", async () => {
  const broken = new Error("engine");
  const items = [0, 1, 2, 3];
  const source = {
    receive() {
      const item = items.shift();
      if (item === undefined) {
        const error = new Error("closed");
        error.name = "QueueClosedError";
        return Promise.reject(error);
      }
      const answer = (): Promise<boolean> => {
        if (item % 2 === 0) throw broken;
        return Promise.reject(broken);
      };
      return Promise.resolve({
        item,
        attempt: 1,
        enqueuedAt: undefined,
        signal: new AbortController().signal,
        ack: answer,
        nack: answer,
        extend: answer,
        [Symbol.asyncDispose]: () => Promise.resolve(),
      });
    },
  };
  const report = await consume(source, (item) => {
    if (item > 1) throw new Error("handler");
  }, { retry: {} });
  assertEquals(figures(report), { lost: 4 });
});

test("consume: one key is one after the other and in order, retries included, and other keys go on", async () => {
  const clock = new SteppedClock();
  for (const lends of [false, true]) {
    const items = ["a1", "a2", "b1", "a3", "c1", "b2"];
    const running = new Set<string>();
    const log: string[] = [];
    const source = lends ? new Lending(items, clock).close() : items;
    const report = await ended(
      clock,
      consume(source, async (item, { attempt }) => {
        const key = item[0]!;
        assert(!running.has(key), `${key} runs twice`);
        running.add(key);
        log.push(item);
        await turn();
        running.delete(key);
        if (item === "a1" && attempt < 3) throw new Error("again");
      }, {
        concurrency: 3,
        keyOf: (item) => item[0],
        retry: { delay: 50, jitter: 0 },
        clock,
      }),
    );
    assertEquals(log.filter((item) => item[0] === "a"), [
      "a1",
      "a1",
      "a1",
      "a2",
      "a3",
    ]);
    assertEquals(log.slice(0, 3), ["a1", "b1", "c1"]);
    assertLess(log.indexOf("b2"), log.lastIndexOf("a1"));
    assertEquals(figures(report), { processed: 6, retried: 2 });
  }
});

test("consume: no more than readAhead items wait for their key", async () => {
  const source = numbers(1_000);
  const held = new Held();
  void consume(source, held.handler, {
    concurrency: 4,
    keyOf: () => "one",
    readAhead: 5,
  });
  await turn();
  assertEquals([held.started, source.pulled], [[0], 6]);
  await held.finish(0);
  assertEquals([held.started, source.pulled], [[0, 1], 7]);
});

test("consume: a key that cannot be told is a failure of its item", async () => {
  const letters: DeadLetter<number>[] = [];
  const report = await consume(upTo(4), () => {}, {
    keyOf(item) {
      if (item % 2 === 1) throw new Error("no key");
      return 0;
    },
    retry: {},
    deadLetter: (letter) => letters.push(letter),
  });
  assertEquals(figures(report), { processed: 2, failed: 2, deadLettered: 2 });
  assertEquals(letters[0]!.reason, "unrecoverable");
});

test("consume: with keyOf an overrunning handler holds its key until it settles", async () => {
  const clock = new SteppedClock();
  const held = new Held();
  const overrun: number[] = [];
  const running = consume([0, 2, 1, 4], held.handler, {
    concurrency: 4,
    keyOf: (item) => item % 2,
    timeout: 10,
    grace: 10,
    onOverrun: (item) => void overrun.push(item),
    clock,
    onError: "ignore",
  });
  await turn();
  await held.finish(1);
  await clock.pass(100);
  assertEquals([held.started, overrun], [[0, 1], [0]]);
  await held.fail(0, new Error("at last"));
  assertEquals(held.started, [0, 1, 2]);
  await clock.pass(5);
  await held.finish(2);
  await held.finish(4);
  assertEquals(figures(await running), {
    processed: 3,
    failed: 1,
    undelivered: 1,
    overrun: 1,
  });
});

test("consume: a handler that overran its time and then the stop is one", async () => {
  const clock = new SteppedClock();
  const stop = new AbortController();
  const overrun: number[] = [];
  const running = consume([0], () => new Promise(() => {}), {
    keyOf: (item) => item,
    timeout: 10,
    grace: 10,
    signal: stop.signal,
    onOverrun: (item) => void overrun.push(item),
    clock,
  });
  await clock.pass(30);
  stop.abort();
  await clock.pass(10);
  assertEquals(figures(await running), { returned: 1, overrun: 1 });
  assertEquals(overrun, [0]);
});

test("consume: failures are remembered by item and attempt, and not for ever", () => {
  const memory = new FailureMemory<number>();
  function failureAfter(attempts: number): Failure {
    return { attempts, first: attempts, last: 0, firstAt: 0, lastAt: 0 };
  }
  memory.remember(0, failureAfter(1));
  memory.remember(0, failureAfter(2));
  memory.remember(0, failureAfter(1));
  assertEquals(memory.recall(0, 3)?.first, 2);
  assertEquals(memory.recall(0, 3), undefined);
  assertEquals(memory.recall(0, 2)?.first, 1);
  assertEquals(memory.recall(0, 2)?.first, 1);
  assertEquals(memory.recall(0, 2), undefined);
  for (let item = 1; item <= 1_001; item++) {
    memory.remember(item, failureAfter(1));
  }
  assertEquals(memory.recall(1, 2), undefined);
  assertEquals(memory.recall(1_001, 2)?.attempts, 1);
  const equal = new FailureMemory<number>();
  for (let turn = 0; turn <= 1_000; turn++) {
    equal.remember(0, failureAfter(1));
  }
  let count = 0;
  while (equal.recall(0, 2) !== undefined) count++;
  assertEquals(count, 1_000);
});

test("consume: no interval, wherever it begins, has more calls than the rate allows", async () => {
  const clock = new SteppedClock();
  const source = numbers(20);
  const begun: number[] = [];
  const running = consume(source, (_item, { attempt }) => {
    begun.push(clock.now());
    if (attempt === 1 && begun.length === 3) throw new Error("counts twice");
  }, {
    concurrency: 10,
    rate: { limit: 3, interval: 100 },
    retry: { delay: 30, jitter: 0 },
    clock,
  });
  await clock.pass(50);
  assertEquals(begun, [0, 0, 0]);
  assertLess(source.pulled, 5); // what may not begin is not taken
  await ended(clock, running);
  assertEquals(begun.length, 21);
  for (let index = 3; index < begun.length; index++) {
    assert(begun[index]! - begun[index - 3]! >= 100, `${begun}`);
  }
  assertEquals(begun.at(-1), 600);
});

/** Whether it settles without any time passing. */
async function settlesNow(running: Promise<unknown>): Promise<boolean> {
  let isSettled = false;
  const note = (): void => void (isSettled = true);
  running.then(note, note);
  for (let count = 0; count < 10; count++) await turn();
  return isSettled;
}

const RARELY = { limit: 1, interval: 3_600_000 };

async function* failing(): AsyncGenerator<number> {
  yield 0;
  await Promise.resolve();
  throw new Error("the source");
}

for (
  const [name, source] of [
    ["an iterable", () => ["a"]],
    ["an async iterable", () => numbers(1)],
    ["a stream", () => new Blob(["a"]).stream()],
    ["a queue", () => filled(["a"])],
    ["the readable of a queue", () => filled(["a"]).readable],
    [
      "a source that lends",
      (clock: SteppedClock) => new Lending(["a"], clock).close(),
    ],
    [
      "one that can tell at once",
      (clock: SteppedClock) => new PromptLending(["a"], clock).close(),
    ],
  ] as [string, (clock: SteppedClock) => Iterable<unknown>][]
) {
  test(`consume: the end of ${name} is seen though the rate allows no call`, async () => {
    const clock = new SteppedClock();
    const running = consume(source(clock), () => {}, { rate: RARELY, clock });
    assert(await settlesNow(running));
    assertEquals((await running).processed, 1);
    assertEquals(clock.now(), 0);
  });
}

function filled<T>(items: T[]): Queue<T> {
  const queue = new Queue<T>();
  for (const item of items) queue.tryPut(item);
  queue.close();
  return queue;
}

test("consume: a source that fails is seen to though the rate allows no call", async () => {
  const clock = new SteppedClock();
  const running = consume(failing(), () => {}, { rate: RARELY, clock });
  assert(await settlesNow(running));
  await assertRejects(() => running, Error, "the source");
});

for (const verb of ["close", "fail", "abort"] as const) {
  test(`consume: ${verb}() of a queue is seen though the rate allows no call, and takes nothing before`, async () => {
    const clock = new SteppedClock();
    const queue = new Queue<number>();
    const running = consume(queue, () => {}, { rate: RARELY, clock });
    await queue.put(0);
    assertEquals(await settlesNow(running), false);
    await queue.put(1);
    assertEquals(await settlesNow(running), false);
    assertEquals(queue.length, 1); // for others, who may take it now
    assertEquals(await queue.get(), 1);
    const reason = new Error("over");
    if (verb === "close") queue.close();
    else queue[verb](reason);
    assert(await settlesNow(running));
    if (verb === "close") assertEquals((await running).processed, 1);
    else await assertRejects(() => running, Error, "over");
    assertEquals(clock.now(), 0);
  });
}

test("consume: an item that is early because of the rate waits for it", async () => {
  for (const kind of [Lending, PromptLending]) {
    const clock = new SteppedClock();
    const begun: number[] = [];
    const source = new kind([1, 2, 3], clock).close();
    const running = consume(source, () => void begun.push(clock.now()), {
      rate: { limit: 1, interval: 100 },
      clock,
    });
    await clock.pass(50);
    assertEquals([begun, source.lent], [[0], 1]);
    await clock.pass(200);
    assertEquals(begun, [0, 100, 200]);
    assertEquals((await running).processed, 3);
  }
});

test("consume: while the rate allows no call, keys and retries take nothing early", async () => {
  const clock = new SteppedClock();
  const source = numbers(20);
  const stop = new AbortController();
  const running = consume(source, (_item, { attempt }) => {
    if (attempt === 1) throw new Error("once more");
  }, {
    concurrency: 5,
    rate: { limit: 1, interval: 1_000 },
    retry: { delay: 10, jitter: 0 },
    keyOf: () => "one",
    signal: stop.signal,
    clock,
  });
  await clock.pass(500);
  assertEquals(source.pulled, 1);
  stop.abort();
  await ended(clock, running);
});

test("consume: a run that was stopped is not told of the end of a queue any more", async () => {
  const clock = new SteppedClock();
  const queue = new Queue<number>();
  const stop = new AbortController();
  const options = { rate: RARELY, signal: stop.signal, clock };
  const first = consume(queue, () => {}, options);
  const second = consume(queue, () => {}, { rate: RARELY, clock });
  await queue.putMany([0, 1]);
  for (let count = 0; count < 5; count++) await turn();
  stop.abort();
  assertEquals((await first).processed, 1);
  queue.close();
  assert(await settlesNow(second));
  assertEquals((await second).processed, 1);
});

test("consume: a batch is what came within linger, and no more than max", async () => {
  const clock = new SteppedClock();
  const queue = new Queue<number>();
  const batches: [number[], number][] = [];
  const running = consume(queue.readable, (items) => {
    batches.push([items, clock.now()]);
  }, { batch: { max: 3, linger: 20 }, clock });
  await queue.putMany([0, 1]);
  await clock.pass(15);
  await queue.put(2);
  await turn();
  assertEquals(batches, [[[0, 1, 2], 15]]);
  await queue.put(3);
  await clock.pass(19);
  assertEquals(batches.length, 1);
  await clock.pass(1);
  assertEquals(batches[1], [[3], 35]);
  await queue.put(4);
  await turn();
  assertEquals(batches.length, 2);
  queue.close(); // the last one need not wait
  assertEquals(figures(await running), { processed: 5 });
  assertEquals(batches[2], [[4], 35]);
  assertEquals(clock.pending, 0);
});

test("consume: what allSettled gives tells which items of a batch failed, and a throw fails all", async () => {
  const clock = new SteppedClock();
  const lending = new Lending(upTo(7), clock).close();
  const attempts: [number[], number][] = [];
  const letters: number[] = [];
  const running = consume(lending, (items, { attempt, age }) => {
    attempts.push([items, attempt]);
    assertEquals(age, clock.now());
    if (items.includes(6) && attempt === 1) throw new Error("all");
    return Promise.allSettled(items.map(async (item) => {
      await Promise.resolve();
      if (item === 1) throw new Error("one");
      if (item === 4 && attempt === 1) throw new Error("once");
    }));
  }, {
    batch: { max: 3 },
    retry: { attempts: 2, delay: 10, jitter: 0 },
    deadLetter: ({ item }) => letters.push(item),
    clock,
  });
  const report = await ended(clock, running);
  assertEquals(attempts.slice(0, 3), [
    [[0, 1, 2], 1],
    [[3, 4, 5], 1],
    [[6], 1],
  ]);
  assertEquals(letters, [1]);
  assertEquals(lending.log.acked.sort(), upTo(7));
  assertEquals(figures(report), {
    processed: 6,
    failed: 1,
    deadLettered: 1,
    retried: 3,
  });

  const wrong = await consume(upTo(3), (items) => {
    return Promise.allSettled([Promise.reject(items), 1]);
  }, { batch: { max: 3 }, onError: "ignore" });
  assertEquals(wrong.undelivered, 3);
  assert(wrong.errors!.first instanceof TypeError);
  const others = await consume(upTo(3), (items) => items, {
    batch: { max: 3 },
  });
  assertEquals(figures(others), { processed: 3 });
});

test("consume: a put that others could have made, or may let in, waits on", async () => {
  const waits = async (
    handler: (queue: Queue<number>, signal: AbortSignal) => unknown,
    others: (queue: Queue<number>) => unknown = () => {},
  ): Promise<void> => {
    const clock = new SteppedClock();
    const queue = new Queue<number>({ highWaterMark: 1 });
    const { promise, resolve } = deferred<void>();
    await queue.put(0);
    const run = consume(queue, async (item, { signal }) => {
      if (item === 0) await Promise.all([handler(queue, signal), promise]);
    }, { clock });
    await turn();
    queue.tryPut(2);
    void others(queue);
    await turn();
    await clock.pass(10_000);
    assertEquals(queue.stats().waitingPuts > 0, true);
    resolve();
    queue.highWaterMark = Infinity;
    await turn();
    queue.close();
    assertEquals((await run).failed, 0);
  };
  // Somebody else puts, and the handler is slow.
  await waits(() => {}, (queue) => queue.putMany([3, 4, 5]));
  // The handler does not wait for it, and would not handle its rejection.
  await waits((queue) => {
    queue.tryPut(1);
    void queue.put(3);
  });
  // It cannot be told whose it is.
  await waits(async (queue) => {
    await Promise.resolve();
    await queue.put(1);
    await queue.put(3);
  });
  // Somebody has a view, or takes now and then.
  await waits(async (queue) => {
    queue.consumer();
    queue.tryPut(1);
    const reader = queue.readable.getReader();
    reader.releaseLock();
    await queue.get();
    await queue.put(1);
    await queue.put(3);
  });
});

test("consume: at most 1,000 items wait to be tried again, then nothing new is taken", async () => {
  const clock = new SteppedClock();
  const source = numbers(5_000);
  const stop = new AbortController();
  const running = consume(source, () => {
    throw new Error("down");
  }, { retry: { delay: 1e9 }, concurrency: 8, signal: stop.signal, clock });
  await turn();
  await turn();
  assertEquals(source.pulled, 1_000);
  stop.abort();
  assertEquals(figures(await running), { retried: 1_000, returned: 1_000 });
  assertEquals(clock.pending, 0);
});

test("consume: without options about time no alarm is set, and without a timeout all handlers share one signal", async () => {
  const clock = new SteppedClock();
  const signals = new Set<AbortSignal>();
  const report = await consume(upTo(1_000), async (_item, { signal }) => {
    await Promise.resolve();
    signals.add(signal);
  }, { concurrency: 16, clock });
  assertEquals([report.processed, clock.set, signals.size], [1_000, 0, 1]);
});

test("consume: the report tells how long items waited, how long calls took, and for how long it ran", async () => {
  const clock = new SteppedClock();
  const held = new Held();
  const lending = new Lending<number>([], clock);
  const running = consume(lending, held.handler, { clock });
  lending.put(0);
  lending.put(1);
  await clock.pass(100);
  await held.finish(0);
  await clock.pass(900);
  await held.finish(1);
  lending.close();
  const report = await running;
  assertEquals(report.duration, 1_000);
  assertEquals([report.wait.max, report.run.max], [100, 900]);
  assertEquals(report.wait.p50, 2 ** -10);
  assert(Math.abs(report.run.p50 - 100) <= 10, String(report.run.p50));
  assertEquals(report.run.p99, 900);
});

test("consume: an argument that cannot be used is named, and the source is left alone", async () => {
  const bad: [unknown, unknown, unknown, string][] = [
    [5, () => {}, {}, "source must be a ReadableStream or iterable"],
    [[], undefined, {}, "handler must be a function, received undefined"],
    [[], () => {}, null, "options must be an object, received null"],
    ...([
      [{ concurrency: 0 }, "concurrency must be a whole number of 1"],
      [{ concurrency: "2" }, "concurrency must be a number or a function"],
      [{ retry: 3 }, "retry must be an object, received 3"],
      [{ retry: { attempts: 0 } }, "retry.attempts must be a whole number"],
      [
        { retry: { delay: -1 } },
        "retry.delay must be from 0 to Number.MAX_SAFE_INTEGER",
      ],
      [{ retry: { delay: "1" } }, "retry.delay must be a number"],
      [{ retry: { factor: 0.5 } }, "retry.factor must be a finite number of 1"],
      [{ retry: { maxDelay: NaN } }, "retry.maxDelay must be from 0 to"],
      [{ retry: { jitter: 2 } }, "retry.jitter must be from 0 to 1"],
      [{ retry: { when: 1 } }, "retry.when must be a function, received 1"],
      [{ timeout: -1 }, "timeout must be from 0 to"],
      [{ grace: 1e17 }, "grace must be from 0 to Number.MAX_SAFE_INTEGER"],
      [{ retry: { delay: Infinity } }, "retry.delay must be from 0 to"],
      [{ visibility: 0 }, "visibility must be from 1 to"],
      [{ readAhead: 0 }, "readAhead must be a finite number of 1 or more"],
      [{ deadLetter: 1 }, "deadLetter must be a Queue, an unlocked"],
      [{ onUndelivered: 1 }, "onUndelivered must be a function"],
      [{ onOverrun: 1 }, "onOverrun must be a function, received 1"],
      [{ keyOf: 1 }, "keyOf must be a function, received 1"],
      [{ random: 1 }, "random must be a function, received 1"],
      [{ onError: "stop" }, 'onError must be "continue", "abort" or "ignore"'],
      [{ rate: 1 }, "rate must be an object, received 1"],
      [{ rate: { limit: 0, interval: 1 } }, "rate.limit must be a whole"],
      [{ rate: { limit: 1, interval: 0 } }, "rate.interval must be above 0"],
      [{ rate: { limit: 1, interval: Infinity } }, "rate.interval must be"],
      [{ batch: { max: 0 } }, "batch.max must be a whole number of 1 or more"],
      [{ batch: { max: 1, linger: -1 } }, "batch.linger must be from 0 to"],
      [{ batch: { max: 1, linger: Infinity } }, "batch.linger must be"],
      [{ batch: { max: 1 }, keyOf() {} }, "batch and keyOf do not go together"],
      [{ signal: {} }, "signal must be an AbortSignal, received an object"],
    ] as [unknown, string][]).map(([options, rule]) =>
      [
        numbers(3),
        () => {},
        options,
        rule,
      ] as [unknown, unknown, unknown, string]
    ),
  ];
  for (const [source, handler, options, rule] of bad) {
    const error = await assertRejects(() =>
      consume(source as never, handler as never, options as never)
    );
    assert(error instanceof TypeError || error instanceof RangeError, rule);
    assert(error.message.startsWith(`Cannot consume: ${rule}`), error.message);
    assertEquals((source as { pulled?: number }).pulled ?? 0, 0);
  }
  const letters = new WritableStream<DeadLetter<number>>();
  const locked = new ReadableStream<number>();
  locked.getReader();
  const options: ConsumeOptions<number> & { batch?: undefined } = {
    deadLetter: letters,
  };
  await assertRejects(() => consume(locked, () => {}, options), TypeError);
  assertEquals(letters.locked, false);
});

test("consume: an item that waits for its key waits in the report, too", async () => {
  const clock = new SteppedClock();
  const queue = new Queue<string>();
  await queue.putMany(["first", "second"]);
  queue.close();
  const open = deferred<void>();
  const running = consume(queue, () => open.promise, {
    clock,
    concurrency: 2,
    keyOf: () => "same",
  });
  await clock.pass(40);
  open.resolve();
  const { processed, wait } = await running;
  assertEquals([processed, wait.max], [2, 40]);
});

test("consume: an item that waits for others of its batch waits in the report, too", async () => {
  const clock = new SteppedClock();
  const queue = new Queue<string>();
  await queue.putMany(["first", "second"]);
  const running = consume(queue, () => {}, {
    clock,
    batch: { max: 3, linger: 1_000 },
  });
  await clock.pass(40);
  await queue.put("third");
  queue.close();
  const { processed, wait } = await running;
  assertEquals([processed, wait.max], [3, 40]);
});
