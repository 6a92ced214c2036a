import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import {
  LaggedError,
  Queue,
  type Source,
  tee,
  type TeeOptions,
} from "../../mod.ts";
import { flowFanOutCases } from "../conformance/flow_fan_out.ts";
import { test } from "../support/harness.ts";
import { parameters, turn } from "../support/properties.ts";
import { settled } from "../support/waiting.ts";
import { outcome, readAll } from "../support/streams.ts";
import { upTo } from "../support/items.ts";

for (const { name, run } of flowFanOutCases) test(name, run);

/** 0, 1, 2, … for as long as told, with a count of what was pulled and how it was left. */
class Counter implements AsyncIterable<number> {
  pulled = 0;
  returned = 0;
  readonly #total: number;

  constructor(total: number) {
    this.#total = total;
  }

  [Symbol.asyncIterator](): AsyncIterator<number> {
    return {
      next: () =>
        Promise.resolve(
          this.pulled < this.#total
            ? { done: false, value: this.pulled++ }
            : { done: true, value: undefined },
        ),
      return: () => {
        this.returned++;
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }
}

async function* failing(
  count: number,
  error: Error | undefined,
): AsyncGenerator<number> {
  yield* upTo(count);
  if (error !== undefined) throw error;
}

test("tee: one branch, two and a thousand get every item of every kind of source", async () => {
  const queue = new Queue<number>({ highWaterMark: 40 });
  await queue.putMany(upTo(40));
  queue.close();
  const full = new Queue<number>({ highWaterMark: 40 });
  await full.putMany(upTo(40));
  full.close();
  const sources: [Source<number>, number][] = [
    [new Counter(40), 1],
    [upTo(40), 2],
    [new Set(upTo(40)), 1000],
    [queue, 3],
    [full.readable, 3],
  ];
  for (const [source, count] of sources) {
    const branches = tee(source, count, { highWaterMark: 3 });
    assertEquals(branches.length, count);
    for (const items of await Promise.all(branches.map(readAll))) {
      assertEquals(items, upTo(40));
    }
  }
});

test("tee: an empty source ends every branch", async () => {
  assertEquals(await Promise.all(tee([], 3).map(readAll)), [[], [], []]);
});

test("tee: undefined, null and promises are items", async () => {
  const promise = Promise.resolve(1);
  const items = [undefined, null, 0, promise, undefined];
  async function* generate(): AsyncGenerator<unknown> {
    for (const item of items) yield { item };
  }
  for (const branch of tee(items, 2)) {
    const reader = branch.getReader();
    for (const item of items) {
      const step = await reader.read();
      assertEquals(step.done, false);
      assertStrictEquals(step.value, item);
    }
    assertEquals((await reader.read()).done, true);
  }
  assertEquals((await readAll(tee(generate(), 1)[0]!)).length, items.length);
});

test("tee: nothing is pulled before somebody reads, and one item for each read that finds none", async () => {
  const source = new Counter(100);
  const [left, right] = tee(source, 2).map((branch) => branch.getReader());
  await turn();
  assertEquals(source.pulled, 0);
  await left!.read();
  await turn();
  assertEquals(source.pulled, 1);
  await right!.read();
  await turn();
  assertEquals(source.pulled, 1, "it was in the ring");
  const reads = [right!.read(), right!.read(), left!.read()];
  await Promise.all(reads);
  await turn();
  assertEquals(source.pulled, 3);
});

test("tee: a read that was given up asks for nothing more", async () => {
  const source = new Counter(100);
  const [branch] = tee(source, 1);
  const reader = branch!.getReader();
  const reads = [reader.read(), reader.read(), reader.read()];
  reader.releaseLock();
  for (const read of reads) await assertRejects(() => read, TypeError);
  await turn();
  assertEquals(source.pulled, 1, "the one that was under way");
  assertEquals((await branch!.getReader().read()).value, 0);
});

test("tee: with a branch that never reads, of 100,000 items no more than highWaterMark are pulled", async () => {
  for (const highWaterMark of [1, 16]) {
    const source = new Counter(100_000);
    const [reading] = tee(source, 4, { highWaterMark });
    const reader = reading!.getReader();
    let read = 0;
    const reads = Array.from(
      { length: 200 },
      () => reader.read().then(() => read++),
    );
    await turn();
    assertEquals([source.pulled, read], [highWaterMark, highWaterMark]);
    // Not awaited: as with a native tee, that would be for all branches.
    void reader.cancel();
    await Promise.all(reads);
  }
});

test("tee: under the policies that do not wait, a branch that never reads holds nobody up", async () => {
  for (const overflow of ["drop-oldest", "evict"] as const) {
    const source = new Counter(10_000);
    const [reading, idle] = tee(source, 2, { overflow });
    assertEquals((await readAll(reading!)).length, 10_000);
    const { items, error } = await outcome(idle!);
    if (overflow === "drop-oldest") {
      assertEquals(items, upTo(10_000).slice(-16));
      assertEquals(error, undefined);
    } else {
      assertEquals(items, []);
      assertInstanceOf(error, LaggedError);
      assertEquals(error.missed, 17);
    }
  }
});

test("tee: what all branches have read is let go", async () => {
  let held: WeakRef<object>[] = [];
  const gc = (globalThis as { gc?: () => void }).gc;
  const items = Array.from({ length: 100 }, (_, index) => ({ index }));
  held = items.map((item) => new WeakRef(item));
  function* draining(): Generator<object> {
    while (items.length > 0) yield items.shift()!;
  }
  const [left, right] = tee(draining(), 2, { highWaterMark: Infinity })
    .map((branch) => branch.getReader());
  for (let read = 0; read < 100; read++) await left!.read();
  for (let read = 0; read < 90; read++) await right!.read();
  if (gc === undefined) return;
  for (let round = 0; round < 4; round++) {
    gc();
    await turn();
  }
  const alive = held.filter((reference) => reference.deref()).length;
  assert(alive >= 10 && alive < 20, `${alive} of 100 are alive`);
});

test("tee: onLag learns how many a branch skipped, once for each gap, before the next item is out", async () => {
  const heard: unknown[] = [];
  const [fast, slow] = tee(upTo(20), 2, {
    overflow: "drop-oldest",
    highWaterMark: 3,
    onLag: (missed, branch) => heard.push([missed, branch]),
  }).map((branch) => branch.getReader());
  for (let read = 0; read < 10; read++) await fast!.read();
  assertEquals(heard, [], "it has not read on");
  assertEquals((await slow!.read()).value, 7);
  assertEquals(heard, [[7, 1]]);
  assertEquals((await slow!.read()).value, 8);
  for (let read = 0; read < 10; read++) await fast!.read();
  assertEquals((await slow!.read()).value, 17);
  assertEquals(heard, [[7, 1], [8, 1]]);
});

test("tee: onLag may read, cancel and throw", async () => {
  const printed: unknown[] = [];
  const { error } = console;
  console.error = (...words: unknown[]) => printed.push(words);
  try {
    let again: Promise<ReadableStreamReadResult<number>> | undefined;
    const [fast, slow] = tee(upTo(9), 2, {
      overflow: "drop-oldest",
      highWaterMark: 3,
      onLag() {
        again = slow!.read();
        void fast!.cancel("enough");
        throw new Error("thrown by onLag");
      },
    }).map((branch) => branch.getReader());
    for (let read = 0; read < 7; read++) await fast!.read();
    assertEquals((await slow!.read()).value, 4);
    assertEquals((await again!).value, 5);
    assertEquals([(await slow!.read()).value, (await slow!.read()).value], [
      6,
      7,
    ]);
    assertEquals(printed.length, 1);
  } finally {
    console.error = error;
  }
});

test("tee: cancelling the slowest releases the others", async () => {
  const source = new Counter(100);
  const [fast, slow] = tee(source, 2, { highWaterMark: 2 });
  const reader = fast!.getReader();
  await reader.read();
  await reader.read();
  const third = reader.read();
  assertEquals(await settled(third), "pending");
  void slow!.cancel("too slow");
  assertEquals((await third).value, 2);
  assertEquals(source.returned, 0);
});

test("tee: cancelling all cancels the source once, with the reasons in the order of the branches", async () => {
  const reasons: unknown[] = [];
  const source = new ReadableStream<number>({
    pull: (controller) => controller.enqueue(1),
    cancel: (reason) => void reasons.push(reason),
  });
  const [first, second, third] = tee(source, 3);
  const reader = first!.getReader();
  await reader.read();
  const cancels = [third!.cancel("3"), second!.cancel("2")];
  assertEquals(await settled(Promise.race(cancels)), "pending");
  assertEquals(reasons, []);
  await Promise.all([...cancels, reader.cancel("1")]);
  assertEquals(reasons, [["1", "2", "3"]]);
});

test("tee: each cancel() settles as that of the source does", async () => {
  const error = new Error("cannot cancel");
  let cancels = 0;
  const source = new ReadableStream<number>({
    cancel() {
      cancels++;
      throw error;
    },
  });
  const branches = tee(source, 3);
  const results = await Promise.allSettled(
    branches.map((branch, index) => branch.cancel(index)),
  );
  assertEquals(
    results.map((result) => result.status === "rejected" && result.reason),
    [error, error, error],
  );
  assertEquals([cancels, source.locked], [1, false]);
});

test("tee: a cancel() that waits for the other branches fulfils when the source ends or fails", async () => {
  for (const fails of [undefined, new Error("broke")]) {
    const [left, right] = tee(failing(1, fails), 2);
    const cancelled = left!.cancel("enough");
    assertEquals(await settled(cancelled), "pending");
    await outcome(right!);
    await cancelled;
  }
});

test("tee: breaking off a loop waits for nobody but, in the last branch, the source", async () => {
  const source = new Counter(100);
  const branches = tee(source, 3);
  for (const branch of branches) {
    assertEquals(source.returned, 0);
    for await (const item of branch) if (item === 2) break;
  }
  assertEquals([source.returned, source.pulled], [1, 3]);
});

test("tee: a pipe whose destination fails lets go of its branch, and says so at once", async () => {
  const source = new Counter(100);
  const [left, right] = tee(source, 2, { highWaterMark: 2 });
  const error = new Error("disk full");
  const piping = left!.pipeTo(
    new WritableStream({
      write(): void {
        throw error;
      },
    }),
  );
  const items = readAll(right!);
  assertStrictEquals(await assertRejects(() => piping), error);
  assertEquals(await items, upTo(100));
});

test("tee: a source that cannot be left well: return() that throws, and one that never ends", async () => {
  const throwing = {
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.resolve({ done: false as const, value: 1 }),
      return(): Promise<IteratorResult<number>> {
        throw new Error("cannot leave");
      },
    }),
  };
  const [left, right] = tee(throwing, 2);
  const cancelled = left!.cancel();
  await right!.getReader().read();
  const [only] = tee(throwing, 1);
  await assertRejects(() => only!.cancel(), Error, "cannot leave");
  assertEquals(await settled(cancelled), "pending");

  async function* parked(): AsyncGenerator<number> {
    await new Promise(() => {});
    yield 1;
  }
  const [stuck] = tee(parked(), 1);
  const reader = stuck!.getReader();
  const read = reader.read();
  await reader.cancel(); // return() stands behind next(), and is not waited for
  assertEquals((await read).done, true);
});

test("tee: the error of the source comes to every branch after the items before it, wherever that is", async () => {
  for (const before of [0, 1, 5]) {
    const error = new Error("broke");
    const [ahead, ...others] = tee(failing(before, error), 3, {
      highWaterMark: 16,
    });
    assertEquals(await outcome(ahead!), { items: upTo(before), error });
    for (const branch of others) {
      assertEquals(await outcome(branch), { items: upTo(before), error });
    }
  }
});

test("tee: an error that comes while all are gated or waiting reaches all", async () => {
  let fail!: (reason: unknown) => void;
  const source = new ReadableStream<number>({
    start(controller) {
      controller.enqueue(1);
      fail = (reason) => controller.error(reason);
    },
  });
  const readers = tee(source, 2).map((branch) => branch.getReader());
  for (const reader of readers) assertEquals((await reader.read()).value, 1);
  const reads = readers.map((reader) => outcome(reader.read()));
  const closed = readers.map((reader) => outcome(reader.closed));
  fail("broke");
  assertEquals(
    await Promise.all([...reads, ...closed]),
    Array(4).fill("broke"),
  );

  function outcome(promise: Promise<unknown>): Promise<unknown> {
    return promise.then(() => "fulfilled", (reason) => reason);
  }
});

test("tee: when the last that still read leaves behind only evicted branches, the source is left", async () => {
  const reasons: unknown[] = [];
  const source = new ReadableStream<number>({
    pull: (controller) => controller.enqueue(1),
    cancel: (reason) => void reasons.push(reason),
  }, { highWaterMark: 0 });
  const [reading, idle] = tee(source, 2, {
    highWaterMark: 1,
    overflow: "evict",
  });
  const reader = reading!.getReader();
  await reader.read();
  await reader.read();
  await reader.cancel("enough");
  assertEquals(reasons.length, 1);
  const [first, second] = reasons[0] as unknown[];
  assertEquals(first, "enough");
  assertInstanceOf(second, LaggedError);
  await assertRejects(() => idle!.getReader().read(), LaggedError);
});

test("tee: when the item under way evicts the last branch, the source is left", async () => {
  const reasons: unknown[] = [];
  const source = new ReadableStream<number>({
    pull: (controller) => controller.enqueue(1),
    cancel: (reason) => void reasons.push(reason),
  }, { highWaterMark: 0 });
  const [reading, idle] = tee(source, 2, {
    highWaterMark: 1,
    overflow: "evict",
  });
  const reader = reading!.getReader();
  await reader.read();
  void reader.read();
  await reader.cancel("enough");
  await assertRejects(() => idle!.getReader().read(), LaggedError);
  const [first, second] = reasons[0] as unknown[];
  assertEquals([reasons.length, first], [1, "enough"]);
  assertInstanceOf(second, LaggedError);
});

test("tee: releaseLock() of a native read that waits puts nothing out of order", async () => {
  const queue = new Queue<number>();
  const [left, right] = tee(queue.readable, 2);
  const native = new ReadableStreamDefaultReader(left!);
  const given = native.read();
  const other = right!.getReader();
  const read = other.read();
  await turn();
  native.releaseLock();
  await assertRejects(() => given, TypeError);
  await queue.putMany([1, 2, 3]);
  queue.close();
  assertEquals((await read).value, 1);
  other.releaseLock();
  assertEquals(await readAll(left!), [1, 2, 3]);
  assertEquals(await readAll(right!), [2, 3]);
});

test("tee: a native tee and a native pipe of a branch get all of it", async () => {
  const [left, right] = tee(new Counter(50), 2, { highWaterMark: 4 });
  const [a, b] = ReadableStream.prototype.tee.call(left!) as ReadableStream<
    number
  >[];
  const seen: number[] = [];
  const piping = ReadableStream.prototype.pipeTo.call(
    right!,
    new WritableStream<number>({ write: (item) => void seen.push(item) }),
  );
  assertEquals(await Promise.all([readAll(a!), readAll(b!)]), [
    upTo(50),
    upTo(50),
  ]);
  await piping;
  assertEquals(seen, upTo(50));
});

test("tee: arguments that cannot be used are named, and the source stays untouched", () => {
  const source = new ReadableStream<number>();
  const cases: [() => unknown, typeof TypeError | typeof RangeError, string][] =
    [
      [() => tee(7 as never, 2), TypeError, "Cannot tee: source must be"],
      [() => tee(source, 0), RangeError, "count must be a whole number of 1"],
      [() => tee(source, -1), RangeError, "received -1"],
      [() => tee(source, 1.5), RangeError, "received 1.5"],
      [() => tee(source, NaN), RangeError, "received NaN"],
      [() => tee(source, Infinity), RangeError, "received Infinity"],
      [() => tee(source, "2" as never), TypeError, 'received "2"'],
      [() => tee(source, 2, null as never), TypeError, "options must be"],
      ...([0, -1, 0.5, NaN] as number[]).map((highWaterMark) =>
        [
          () => tee(source, 2, { highWaterMark }),
          RangeError,
          "highWaterMark must be a whole number of 1 or more",
        ] as [() => unknown, typeof RangeError, string]
      ),
      [
        () => tee(source, 2, { highWaterMark: "1" as never }),
        TypeError,
        "highWaterMark must be a number",
      ],
      [
        () => tee(source, 2, { overflow: "reject" as never }),
        TypeError,
        'overflow must be "wait", "drop-oldest" or "evict", received "reject"',
      ],
      [
        () => tee(source, 2, { onLag: 1 as never }),
        TypeError,
        "onLag must be a function, received 1",
      ],
    ];
  for (const [make, kind, message] of cases) assertThrows(make, kind, message);
  assertEquals(source.locked, false);
  const locked = new ReadableStream();
  locked.getReader();
  assertThrows(() => tee(locked, 2), TypeError);
});

// -- In any order of steps -----------------------------------------------------

interface Plan {
  total: number;
  fails: boolean;
  options: TeeOptions & { highWaterMark: number };
  branches: { style: string; reads: number }[];
}

const plans: fc.Arbitrary<Plan> = fc.record({
  total: fc.nat({ max: 20 }),
  fails: fc.boolean(),
  options: fc.record({
    highWaterMark: fc.constantFrom(1, 2, 5, Infinity),
    overflow: fc.constantFrom(
      "wait" as const,
      "wait" as const,
      "drop-oldest" as const,
      "evict" as const,
    ),
  }),
  branches: fc.array(
    fc.record({
      style: fc.constantFrom(
        "reader",
        "loop",
        "native",
        "pipe",
        "restless",
        "idle",
      ),
      reads: fc.nat({ max: 30 }),
    }),
    { minLength: 1, maxLength: 4 },
  ),
});

/** One branch, what it saw and what it was told. */
class Watcher {
  readonly stream: ReadableStream<number>;
  readonly seen: number[] = [];
  readonly missed: number[] = [];
  /** "ended", "left", or what it failed with. */
  end: unknown = "waiting";
  readonly #scheduler: fc.Scheduler;

  constructor(stream: ReadableStream<number>, scheduler: fc.Scheduler) {
    this.stream = stream;
    this.#scheduler = scheduler;
  }

  async run(style: string, reads: number): Promise<void> {
    try {
      this.end = await this.#read(style, reads);
    } catch (reason) {
      this.end = reason;
    }
  }

  async #read(style: string, reads: number): Promise<string> {
    const { stream } = this;
    if (style === "idle") return "left";
    if (style === "pipe") {
      await stream.pipeTo(
        new WritableStream({
          write: async (item) => {
            this.seen.push(item);
            await this.#turn();
          },
        }),
      );
      return "ended";
    }
    if (style === "loop") {
      for await (const item of stream) {
        this.seen.push(item);
        await this.#turn();
        if (this.seen.length > reads) return "left";
      }
      return "ended";
    }
    let reader: ReadableStreamDefaultReader<number> = stream.getReader();
    for (let read = 0; read < reads; read++) {
      await this.#turn();
      if (style === "native") {
        reader.releaseLock();
        reader = new ReadableStreamDefaultReader(stream);
      }
      const reading = reader.read();
      if (style === "restless" && read % 3 === 1) {
        reader.releaseLock();
        reader = stream.getReader();
      }
      try {
        const step = await reading;
        if (step.done) return "ended";
        this.seen.push(step.value);
      } catch (reason) {
        if (!(reason instanceof TypeError)) throw reason;
      }
    }
    await this.#turn();
    reader.cancel().catch(() => {});
    return "left";
  }

  #turn(): Promise<void> {
    return this.#scheduler.schedule(Promise.resolve());
  }
}

test("tee: in any order of steps, each branch sees the source in order, whole but for what it was told of", async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), plans, async (scheduler, plan) => {
      const error = new Error("broke");
      const { total, fails, options } = plan;
      let pulled = 0;
      const source: AsyncIterable<number> = {
        [Symbol.asyncIterator]: () => ({
          async next(): Promise<IteratorResult<number>> {
            await scheduler.schedule(Promise.resolve());
            if (pulled < total) return { done: false, value: pulled++ };
            if (fails) throw error;
            return { done: true, value: undefined };
          },
        }),
      };
      const watchers: Watcher[] = [];
      const streams = tee(source, plan.branches.length, {
        ...options,
        onLag: (missed, branch) => {
          watchers[branch]!.missed.push(missed);
        },
      });
      for (const stream of streams) {
        watchers.push(new Watcher(stream, scheduler));
      }
      plan.branches.forEach(({ style, reads }, index) => {
        void watchers[index]!.run(style, reads);
      });
      for (let quiet = 0; quiet < 3; quiet++) {
        if (scheduler.count() > 0) quiet = 0;
        await scheduler.waitIdle();
        await turn();
      }
      const idle = plan.branches.some(({ style }) => style === "idle");
      for (const { seen, missed, end } of watchers) {
        const skipped = missed.reduce((sum, count) => sum + count, 0);
        const last = seen.at(-1) ?? -1;
        assertEquals(last + 1, seen.length + skipped, "no item is lost");
        assert(
          seen.every((item, at) => at === 0 || item > seen[at - 1]!),
          "in order",
        );
        if (skipped > 0) assertEquals(options.overflow, "drop-oldest");
        if (end === "ended") {
          assertEquals([fails, seen.length + skipped], [false, total]);
        } else if (end === error) {
          assertEquals([fails, seen.length + skipped], [true, total]);
        } else if (end instanceof LaggedError) {
          assertEquals(options.overflow, "evict");
          assert(end.missed >= options.highWaterMark);
        } else if (end === "waiting") {
          assert(
            idle && options.overflow === "wait",
            "only a gate stops a read",
          );
          assertEquals(pulled, Math.min(total, options.highWaterMark));
        } else assertEquals(end, "left");
      }
      if (idle && options.overflow === "wait") {
        assert(pulled <= options.highWaterMark, "bounded by the idle branch");
      }
    }),
    parameters(300),
  );
});
