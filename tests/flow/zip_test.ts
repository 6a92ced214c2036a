import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { Queue, zip } from "../../mod.ts";
import { test } from "../support/harness.ts";
import { parameters, turn } from "../support/properties.ts";
import { cannotLeave, watched } from "../support/sources.ts";
import { collect, outcome } from "../support/streams.ts";
import { never } from "../support/waiting.ts";

const SHAPES = ["async", "sync", "stream"] as const;

test("zip: tuples of streams, generators, arrays and queues, typed", async () => {
  const queue = new Queue<string>();
  await queue.putMany(["q", "r"]);
  queue.close();
  async function* generated(): AsyncGenerator<boolean> {
    yield true;
    yield false;
  }
  const zipped: ReadableStream<[number, boolean, string, unknown]> = zip(
    [1, 2],
    generated(),
    queue,
    watched({ shape: "stream", item: () => undefined }).source,
  );
  assertEquals(await collect(zipped), [
    [1, true, "q", undefined],
    [2, false, "r", undefined],
  ]);
});

test("zip: zero sources make a stream that is closed, one makes tuples of one", async () => {
  assertEquals(await collect(zip()), []);
  assertEquals(await collect(zip([1, undefined])), [[1], [undefined]]);
});

for (const shape of SHAPES) {
  test(`zip: a read pulls one item from each ${shape} source, and none before`, async () => {
    const sources = [1, 2, 3].map(() => watched({ shape }));
    const reader = zip(...sources.map(({ source }) => source)).getReader();
    await turn();
    assertEquals(sources.map(({ pulled }) => pulled), [0, 0, 0]);
    for (let read = 1; read <= 5; read++) {
      assertEquals((await reader.read()).value, [read, read, read]);
      await turn();
      assertEquals(sources.map(({ pulled }) => pulled), [read, read, read]);
    }
    await reader.cancel();
  });

  test(`zip: ends with the shortest and cancels the other ${shape} sources`, async () => {
    for (const shortest of [0, 1, 2]) {
      const sources = [0, 1, 2].map((index) =>
        watched({ shape, items: index === shortest ? 3 : Infinity })
      );
      const tuples = await collect(zip(...sources.map(({ source }) => source)));
      await turn();
      assertEquals(tuples, [[1, 1, 1], [2, 2, 2], [3, 3, 3]]);
      sources.forEach(({ left, reason, given }, index) => {
        assertEquals([left, reason], [index === shortest ? 0 : 1, undefined]);
        assert(given <= 4, "one of each goes with the tuple that never comes");
      });
    }
  });

  test(`zip: the error of a ${shape} source ends it after the tuples before`, async () => {
    for (const position of [0, 1, 2]) {
      const error = new Error("broke");
      const sources = [0, 1, 2].map((index) =>
        watched(index === position ? { shape, items: 2, error } : { shape })
      );
      const end = await outcome(zip(...sources.map(({ source }) => source)));
      assertEquals(end, { items: [[1, 1, 1], [2, 2, 2]], error });
      assertEquals(
        sources.map(({ left }) => left),
        [0, 1, 2].map((index) => index === position ? 0 : 1),
      );
      if (shape !== "stream") continue;
      assertStrictEquals(sources[(position + 1) % 3]!.reason, error);
    }
  });

  test(`zip: cancel() and break reach ${shape} sources with the reason`, async () => {
    for (const reads of [0, 1]) {
      const sources = [1, 2].map(() => watched({ shape }));
      const reader = zip(...sources.map(({ source }) => source)).getReader();
      for (let read = 0; read < reads; read++) await reader.read();
      await reader.cancel("enough");
      assertEquals(sources.map(({ left }) => left), [1, 1]);
      if (shape === "stream") assertEquals(sources[1]!.reason, "enough");
    }
    const left = [1, 2].map(() => watched({ shape }));
    await collect(zip(...left.map(({ source }) => source)), 1);
    assertEquals(left.map(({ left }) => left), [1, 1]);
  });

  test(`zip: 1,000 ${shape} sources`, async () => {
    const sources = Array.from(
      { length: 1_000 },
      () => watched({ shape, items: 3 }),
    );
    const tuples = await collect(zip(...sources.map(({ source }) => source)));
    assertEquals(tuples.map((tuple) => new Set(tuple).size), [1, 1, 1]);
    assertEquals(tuples.map((tuple) => tuple.length), [1_000, 1_000, 1_000]);
  });
}

test("zip: sources are pulled at the same time, not one after the other", async () => {
  const [left, right] = [new Queue<number>(), new Queue<number>()];
  const reader = zip(left, right).getReader();
  const reads = [reader.read(), reader.read()];
  await turn();
  assertEquals([left, right].map((queue) => queue.stats().waitingGets), [1, 1]);
  await right.putMany([10, 20]);
  await turn();
  assertEquals(right.length, 1, "the second waits for the first tuple");
  await left.putMany([1, 2]);
  assertEquals((await Promise.all(reads)).map((read) => read.value), [[1, 10], [
    2,
    20,
  ]]);
  await reader.cancel();
});

test("zip: a source that reads the stream from within gets its tuple", async () => {
  const reads: Promise<ReadableStreamReadResult<[number]>>[] = [];
  let count = 0;
  const source: Iterable<number> = {
    [Symbol.iterator]: () => ({
      next() {
        if (++count === 1) reads.push(reader.read());
        return { done: false, value: count };
      },
    }),
  };
  const reader: ReadableStreamDefaultReader<[number]> = zip(source).getReader();
  reads.unshift(reader.read());
  const values = (await Promise.all(reads)).map(({ value }) => value);
  assertEquals(values.flat().sort(), [1, 2]);
  await reader.cancel();
});

test("zip: the end does not wait for a source that is parked, throws or hangs", async () => {
  const others = [
    watched({ items: 1, parks: true, leaving: "hang" }),
    watched({ shape: "stream", items: 1, parks: true, leaving: "hang" }),
    watched({ leaving: "throw" }),
    watched({ shape: "sync", leaving: "throw" }),
  ];
  const sources = others.map(({ source }) => source);
  assertEquals((await collect(zip([1], ...sources))).length, 1);
  assertEquals(others.map(({ left }) => left), [1, 1, 1, 1]);
});

test("zip: a source that has ended at once spares those after it", async () => {
  const after = watched({ shape: "sync" });
  assertEquals(await collect(zip([], after.source)), []);
  assertEquals([after.pulled, after.left], [0, 1]);
});

test("zip: cancel() rejects with the first error of a source and waits for none that is parked", async () => {
  async function* parked(): AsyncGenerator<number> {
    await never();
    yield 1;
  }
  const throwing = watched({ leaving: "throw" });
  const hanging = watched({ leaving: "hang" });
  const reader = zip(parked(), throwing.source, hanging.source).getReader();
  const read = reader.read();
  await turn();
  const error = await assertRejects(() => reader.cancel());
  assertStrictEquals(error, cannotLeave);
  assertEquals((await read).done, true);
  assertEquals([throwing.left, hanging.left], [1, 1]);
  const other = zip(parked()).getReader();
  const waiting = other.read();
  await turn();
  await other.cancel();
  assertEquals((await waiting).done, true);
});

test("zip: a source that cannot be used is named, and the others are left alone", async () => {
  const stream = watched({ shape: "stream" });
  const error = assertThrows(() => zip(stream.source, 7 as never), TypeError);
  assertEquals(
    error.message,
    "Cannot zip: sources[1] must be a ReadableStream or iterable, received 7",
  );
  assertThrows(() => zip(stream.source, stream.source), TypeError, "locked");
  assertEquals([stream.source.locked, stream.left], [false, 0]);
  await stream.source.cancel();
});

test("zip: a read given up by releaseLock() loses no tuple", async () => {
  const queue = new Queue<number>();
  const zipped = zip(queue, [1, 2, 3]);
  const first = zipped.getReader();
  const given = first.read();
  given.catch(() => {});
  await turn();
  first.releaseLock();
  await queue.put(10);
  await turn();
  assertEquals((await zipped.getReader().read()).value, [10, 1]);
});

test("zip: a source that never answers holds the others at one item each", async () => {
  const others = SHAPES.map((shape) => watched({ shape, items: 100_000 }));
  const stuck = watched({ items: 0, parks: true });
  const sources = [...others, stuck].map(({ source }) => source);
  const reader = zip(...sources).getReader();
  const reads = Array.from({ length: 20 }, () => reader.read());
  for (let round = 0; round < 10; round++) await turn();
  assertEquals(others.map(({ given }) => given), [1, 1, 1]);
  await reader.cancel();
  assertEquals((await Promise.all(reads)).every(({ done }) => done), true);
});

test("zip: in any order of steps the tuples are whole and in order", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(
        fc.record({ items: fc.nat(5), fails: fc.boolean() }),
        { minLength: 1, maxLength: 4 },
      ),
      fc.integer({ min: 1, max: 3 }),
      async (scheduler, plans, readers) => {
        async function* source(index: number): AsyncGenerator<number[]> {
          for (let serial = 0; serial < plans[index]!.items; serial++) {
            await scheduler.schedule(Promise.resolve());
            yield [index, serial];
          }
          await scheduler.schedule(Promise.resolve());
          if (plans[index]!.fails) throw index;
        }
        const reader = zip(...[...plans.keys()].map(source)).getReader();
        const seen: number[][][] = [];
        const reading = async (): Promise<void> => {
          for (;;) {
            await scheduler.schedule(Promise.resolve());
            const step = await reader.read();
            if (step.done) return;
            seen.push(step.value);
          }
        };
        const all = Promise.all(Array.from({ length: readers }, reading));
        const end = all.then(() => undefined, (error) => ({ error }));
        await scheduler.waitFor(end);
        const shortest = Math.min(...plans.map(({ items }) => items));
        assertEquals(
          seen,
          Array.from(
            { length: shortest },
            (_, serial) => [...plans.keys()].map((index) => [index, serial]),
          ),
        );
        const failure = await end;
        const candidates = plans.filter(({ items }) => items === shortest);
        if (candidates.every(({ fails }) => fails)) {
          assertEquals(plans[failure!.error as number]!.items, shortest);
        }
        if (!candidates.some(({ fails }) => fails)) {
          assertEquals(failure, undefined);
        }
      },
    ),
    parameters(300),
  );
});
