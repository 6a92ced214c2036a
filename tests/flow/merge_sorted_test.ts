import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { mergeSorted, Queue } from "../../mod.ts";
import { test } from "../support/harness.ts";
import { parameters, turn } from "../support/properties.ts";
import { cannotLeave, watched } from "../support/sources.ts";
import { collect, outcome } from "../support/streams.ts";
import { never } from "../support/waiting.ts";

const SHAPES = ["async", "sync", "stream"] as const;

function ascending(a: number, b: number): number {
  return a - b;
}

test("mergeSorted: streams, generators, arrays and queues in one order", async () => {
  const queue = new Queue<number>();
  await queue.putMany([3, 9]);
  queue.close();
  async function* generated(): AsyncGenerator<number> {
    yield* [2, 4, 10];
  }
  const stream = watched({
    shape: "stream",
    items: 3,
    item: (serial) => serial * 5,
  });
  const sorted = mergeSorted(
    [[1, 6], generated(), stream.source, queue, []],
    ascending,
  );
  assertEquals(await collect(sorted), [1, 2, 3, 4, 5, 6, 9, 10, 10, 15]);
});

test("mergeSorted: zero sources make a stream that is closed, one is passed on", async () => {
  assertEquals(await collect(mergeSorted([], ascending)), []);
  assertEquals(await collect(mergeSorted([[], []], ascending)), []);
  assertEquals(await collect(mergeSorted([[2, 1]], ascending)), [2, 1]);
});

test("mergeSorted: undefined is an item, and NaN counts as equal", async () => {
  assertEquals(
    await collect(mergeSorted([[undefined, 2], [undefined]], () => NaN)),
    [undefined, 2, undefined],
  );
});

test("mergeSorted: what compares as equal comes in the order of its sources", async () => {
  const sources = Array.from({ length: 9 }, (_, source) => [
    { key: 1, source },
    { key: 1, source },
    { key: 2, source },
  ]);
  const sorted = mergeSorted(sources, (a, b) => a.key - b.key);
  const seen: { key: number; source: number }[] = await collect(sorted);
  assertEquals(
    seen.map(({ source }) => source),
    [
      ...Array.from({ length: 18 }, (_, place) => place >> 1),
      0,
      1,
      2,
      3,
      4,
      5,
      6,
      7,
      8,
    ],
  );
});

for (const shape of SHAPES) {
  test(`mergeSorted: holds one item of each ${shape} source, pulled by reads`, async () => {
    const sources = [1, 2, 3].map(() => watched({ shape }));
    const reader = mergeSorted<number>(
      sources.map(({ source }) => source),
      ascending,
    )
      .getReader();
    const pulled = (): number =>
      sources.reduce((sum, source) => sum + source.pulled, 0);
    await turn();
    assertEquals(pulled(), 0);
    for (let read = 1; read <= 30; read++) {
      assertEquals((await reader.read()).value, Math.ceil(read / 3));
      await turn();
      assertEquals(pulled(), 3 + read - 1);
    }
    await reader.cancel();
  });

  test(`mergeSorted: cancel() and break reach ${shape} sources with the reason`, async () => {
    for (const reads of [0, 1]) {
      const sources = [1, 2].map(() => watched({ shape }));
      const reader = mergeSorted<number>(
        sources.map(({ source }) => source),
        ascending,
      )
        .getReader();
      for (let read = 0; read < reads; read++) await reader.read();
      await reader.cancel("enough");
      assertEquals(sources.map(({ left }) => left), [1, 1]);
      if (shape === "stream") assertEquals(sources[1]!.reason, "enough");
    }
    const left = [1, 2].map(() => watched({ shape }));
    await collect(
      mergeSorted<number>(left.map(({ source }) => source), ascending),
      1,
    );
    assertEquals(left.map(({ left }) => left), [1, 1]);
  });

  test(`mergeSorted: the error of a ${shape} source comes after the items before it`, async () => {
    for (const position of [0, 1, 2]) {
      for (const onError of ["collect", "abort", "ignore"] as const) {
        const error = new Error("broke");
        const sources = [0, 1, 2].map((index) =>
          watched(
            index === position
              ? { shape, items: 2, error, item: (serial) => serial - 0.5 }
              : { shape, items: 5 },
          )
        );
        const { items, ...end } = await outcome(
          mergeSorted<number>(sources.map(({ source }) => source), ascending, {
            onError,
          }),
        );
        assertEquals([...items].sort(ascending), items);
        assertEquals(items.slice(0, 4), [0.5, 1, 1, 1.5]);
        if (onError === "abort") {
          assertStrictEquals(end.error, error);
          assertEquals(
            items,
            [0.5, 1, 1, 1.5, 2, 2],
            "what was held is delivered",
          );
          assertEquals(sources.map(({ left }) => left).sort(), [0, 1, 1]);
        } else {
          assertEquals(items.length, 12);
          if (onError === "ignore") assertEquals("error" in end, false);
          else assertEquals((end.error as AggregateError).errors, [error]);
        }
      }
    }
  });

  test(`mergeSorted: 1,000 ${shape} sources`, async () => {
    const sources = Array.from(
      { length: 1_000 },
      (_, index) =>
        watched({ shape, items: 3, item: (serial) => serial * 7919 + index }),
    );
    const reader = mergeSorted<number>(
      sources.map(({ source }) => source),
      ascending,
    )
      .getReader();
    let last = -1;
    let count = 0;
    for (;;) {
      const step = await reader.read();
      if (step.done) break;
      assert(step.value > last);
      last = step.value;
      count++;
    }
    assertEquals(count, 3_000);
  });
}

test("mergeSorted: a read waits for the slowest, and no source runs ahead meanwhile", async () => {
  const late = new Queue<number>();
  const others = SHAPES.map((shape) => watched({ shape, items: 100_000 }));
  const reader = mergeSorted<number>(
    [late, ...others.map(({ source }) => source)],
    ascending,
  ).getReader();
  const read = reader.read();
  for (let round = 0; round < 10; round++) await turn();
  assertEquals(others.map(({ given }) => given), [1, 1, 1]);
  await late.put(0);
  assertEquals((await read).value, 0);
  late.close();
  assertEquals((await reader.read()).value, 1);
  await reader.cancel();
});

test("mergeSorted: after abort no source is asked any more", async () => {
  const error = new Error("broke");
  const failing = watched({ shape: "sync", items: 0, error });
  const other = watched({ shape: "sync" });
  const end = await outcome(
    mergeSorted<number>([failing.source, other.source], ascending, {
      onError: "abort",
    }),
  );
  assertEquals(end, { items: [], error });
  assertEquals([other.pulled, other.left], [0, 1]);
});

test("mergeSorted: collect gathers every error", async () => {
  const errors = [new Error("one"), new Error("two")];
  const { error } = await outcome(mergeSorted<number>(
    errors.map((error, index) => watched({ items: index, error }).source),
    ascending,
  ));
  assertInstanceOf(error, AggregateError);
  assertEquals(error.errors, errors);
  assertEquals(
    error.message,
    "2 of the merged sources failed, the first with Error: one",
  );
});

test("mergeSorted: an error of compare cancels all sources and fails the stream", async () => {
  for (const failsAt of [1, 2, 5]) {
    const error = new Error("incomparable");
    let calls = 0;
    const sources = [1, 2, 3].map(() => watched({ shape: "stream" }));
    const end = await outcome(mergeSorted<number>(
      sources.map(({ source }) => source),
      (a, b) => {
        if (++calls >= failsAt) throw error;
        return a - b;
      },
    ));
    assertStrictEquals(end.error, error);
    assertEquals(sources.map(({ left, reason }) => [left, reason === error]), [
      [1, true],
      [1, true],
      [1, true],
    ]);
  }
});

test("mergeSorted: cancel() rejects with the first error of a source and waits for none that is parked", async () => {
  async function* parked(): AsyncGenerator<number> {
    await never();
    yield 1;
  }
  const throwing = watched({ leaving: "throw" });
  const hanging = watched({ leaving: "hang" });
  const reader = mergeSorted<number>(
    [parked(), throwing.source, hanging.source],
    ascending,
  ).getReader();
  const read = reader.read();
  await turn();
  const error = await assertRejects(() => reader.cancel());
  assertStrictEquals(error, cannotLeave);
  assertEquals((await read).done, true);
  assertEquals([throwing.left, hanging.left], [1, 1]);
  const other = mergeSorted([parked()], ascending).getReader();
  const waiting = other.read();
  await turn();
  await other.cancel();
  assertEquals((await waiting).done, true);
});

test("mergeSorted: a signal cancels all sources and fails the stream with its reason", async () => {
  const reason = new Error("time is up");
  for (const when of ["before", "unread", "held"]) {
    const controller = new AbortController();
    if (when === "before") controller.abort(reason);
    const sources = SHAPES.map((shape) => watched({ shape }));
    const reader = mergeSorted<number>(
      sources.map(({ source }) => source),
      ascending,
      { signal: controller.signal },
    ).getReader();
    if (when === "held") await reader.read();
    controller.abort(reason);
    assertStrictEquals(await assertRejects(() => reader.read()), reason);
    assertEquals(sources.map(({ left }) => left), [1, 1, 1]);
    assertStrictEquals(sources[2]!.reason, reason);
  }
});

test("mergeSorted: an argument that cannot be used is named, and no source is touched", async () => {
  const stream = watched({ shape: "stream" });
  const bad: [unknown[], string][] = [
    [[[stream.source]], "compare must be a function, received undefined"],
    [[7, ascending], "sources must be iterable, received 7"],
    [
      [[stream.source, 7], ascending],
      "sources[1] must be a ReadableStream or iterable, received 7",
    ],
    [[[stream.source], ascending, 7], "options must be an object, received 7"],
    [
      [[stream.source], ascending, { onError: "x" }],
      'onError must be "collect", "abort" or "ignore", received "x"',
    ],
  ];
  for (const [given, rule] of bad) {
    const error = assertThrows(
      () => (mergeSorted as (...given: unknown[]) => unknown)(...given),
      TypeError,
    );
    assertEquals(error.message, `Cannot merge sorted: ${rule}`);
    assertEquals([stream.source.locked, stream.left], [false, 0]);
  }
  await stream.source.cancel();
});

test("mergeSorted: in any order of steps it is the stable sort of all items", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(
        fc.record({
          keys: fc.array(fc.nat(4), { maxLength: 6 }),
          shape: fc.constantFrom("async", "sync"),
          fails: fc.boolean(),
        }),
        { maxLength: 5 },
      ),
      fc.constantFrom("collect" as const, "abort" as const, "ignore" as const),
      async (scheduler, plans, onError) => {
        const lists = plans.map(({ keys }, source) =>
          keys.sort(ascending).map((key, serial) => ({ key, source, serial }))
        );
        let given = 0;
        async function* slowly(
          index: number,
        ): AsyncGenerator<typeof lists[0][0]> {
          for (const item of lists[index]!) {
            await scheduler.schedule(Promise.resolve());
            given++;
            yield item;
          }
          if (plans[index]!.fails) throw index;
        }
        function* quickly(index: number): Generator<typeof lists[0][0]> {
          for (const item of lists[index]!) {
            given++;
            yield item;
          }
          if (plans[index]!.fails) throw index;
        }
        const sources = plans.map(({ shape }, index) =>
          shape === "async" ? slowly(index) : quickly(index)
        );
        const reader = mergeSorted(sources, (a, b) => a.key - b.key, {
          onError,
        })
          .getReader();
        const seen: typeof lists[0] = [];
        const reading = (async () => {
          for (;;) {
            await scheduler.schedule(Promise.resolve());
            const step = await reader.read();
            if (step.done) return;
            seen.push(step.value);
            assert(given - seen.length <= plans.length);
          }
        })();
        const end = reading.then(() => undefined, (error) => ({ error }));
        await scheduler.waitFor(end);
        const failure = await end;
        const failed = plans.filter(({ fails }) => fails).length;
        const sorted = lists.flat().sort((a, b) => a.key - b.key);
        if (onError === "abort" && failed > 0) {
          // Sorted as far as it goes, with no gap in any source.
          assertEquals([...seen].sort((a, b) => a.key - b.key), seen);
          lists.forEach((list, index) => {
            const got = seen.filter(({ source }) => source === index);
            assertEquals(got, list.slice(0, got.length));
          });
          const index = failure!.error as number;
          assertEquals(
            seen.filter(({ source }) => source === index),
            lists[index]!,
          );
        } else {
          assertEquals(seen, sorted);
          if (onError === "ignore" || failed === 0) {
            assertEquals(failure, undefined);
          } else {assertEquals(
              (failure!.error as AggregateError).errors.length,
              failed,
            );}
        }
      },
    ),
    parameters(300),
  );
});
