import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { merge, Queue } from "../../mod.ts";
import { test } from "../support/harness.ts";
import { parameters, turn } from "../support/properties.ts";
import { cannotLeave, type Watched, watched } from "../support/sources.ts";
import { collect, outcome } from "../support/streams.ts";
import { never } from "../support/waiting.ts";

const SHAPES = ["async", "sync", "stream"] as const;

function total(sources: Watched[], of: "pulled" | "given" | "left"): number {
  return sources.reduce((sum, source) => sum + source[of], 0);
}

function open(sources: Watched[]): Watched["source"][] {
  return sources.map(({ source }) => source);
}

test("merge: streams, generators, arrays and queues give all they have", async () => {
  const queue = new Queue<unknown>();
  await queue.putMany(["q", undefined]);
  queue.close();
  const stream = watched({ shape: "stream", items: 2 });
  async function* generated(): AsyncGenerator<unknown> {
    yield null;
    yield undefined;
  }
  const items = await collect(
    merge<unknown>([[1, undefined], generated(), stream.source, queue]),
  );
  assertEquals(items.length, 8);
  assertEquals(items.filter((item) => item === undefined).length, 3);
});

test("merge: items come in the order of their arrival", async () => {
  const [left, right] = [new Queue<string>(), new Queue<string>()];
  const reader = merge([left, right]).getReader();
  const seen: unknown[] = [];
  for (const [queue, item] of [[right, "a"], [left, "b"], [right, "c"]]) {
    const read = reader.read();
    (queue as Queue<string>).tryPut(item as string);
    seen.push((await read).value);
  }
  assertEquals(seen, ["a", "b", "c"]);
});

test("merge: zero sources make a stream that is closed", async () => {
  assertEquals(await collect(merge([])), []);
  assertEquals(await merge([]).getReader().closed, undefined);
  async function* none(): AsyncGenerator<number[]> {}
  assertEquals(await collect(merge(none())), []);
});

test("merge: one source is passed on in its order", async () => {
  assertEquals(await collect(merge([[1, 2, 3]])), [1, 2, 3]);
});

test("merge: an item that is a promise stays one until it is read", async () => {
  const item = Promise.resolve(1);
  const step = await merge([[item]]).getReader().read();
  assertStrictEquals(step.value, item);
});

for (const shape of SHAPES) {
  test(`merge: nothing is pulled from ${shape} sources before the first read`, async () => {
    const sources = [1, 2, 3].map(() => watched({ shape }));
    const merged = merge(open(sources));
    await turn();
    assertEquals(total(sources, "pulled"), 0);
    await merged.cancel();
  });

  test(`merge: of ${shape} sources at most highWaterMark items are held`, async () => {
    for (const highWaterMark of [3, 5, 16]) {
      const sources = [1, 2, 3].map(() => watched({ shape }));
      const reader = merge(open(sources), { highWaterMark }).getReader();
      for (let read = 1; read <= 40; read++) {
        await reader.read();
        await turn();
        assertEquals(total(sources, "pulled") - read, highWaterMark);
      }
      await reader.cancel();
    }
  });

  test(`merge: a flood of a ${shape} source starves no other`, async () => {
    // They answer in as many turns as each other, and 0 has no end.
    const sources = [Infinity, 50, 50].map((items, index) =>
      watched({ shape, items, item: () => index })
    );
    const seen = await collect(merge<number>(open(sources)), 180);
    const places = (of: number): number[] =>
      seen.flatMap((source, place) => source === of ? [place] : []);
    for (const source of [1, 2]) {
      const at = places(source);
      assertEquals(at.length, 50);
      at.forEach((place, index) => {
        assertLess(place - (at[index - 1] ?? -1), 4 + 16);
      });
      assertLess(at.at(-1)!, 3 * 50 + 16, "one in three is theirs");
    }
  });

  test(`merge: 1,000 ${shape} sources`, async () => {
    const sources = Array.from(
      { length: 1_000 },
      () => watched({ shape, items: 3 }),
    );
    const reader = merge(open(sources)).getReader();
    await reader.read();
    await turn();
    const held = total(sources, "given") - 1;
    assert(held <= (shape === "sync" ? 16 : 1_000), `${held} held`);
    let count = 1;
    while (!(await reader.read()).done) {
      assert(total(sources, "given") - ++count < 1_000);
    }
    assertEquals(count, 3_000);
  });

  test(`merge: cancel() and break reach ${shape} sources with the reason`, async () => {
    for (const pulls of [0, 1]) {
      const sources = [1, 2, 3].map(() => watched({ shape }));
      const reader = merge(open(sources)).getReader();
      for (let read = 0; read < pulls; read++) await reader.read();
      await reader.cancel("enough");
      assertEquals(sources.map(({ left }) => left), [1, 1, 1]);
      if (shape === "stream") assertEquals(sources[2]!.reason, "enough");
      assertEquals(await reader.read(), { done: true, value: undefined });
    }
    const left = [1, 2].map(() => watched({ shape }));
    await collect(merge(open(left)), 1);
    assertEquals(total(left, "left"), 2);
  });

  test(`merge: the error of a ${shape} source comes after the items before it`, async () => {
    for (const position of [0, 1, 2]) {
      for (const onError of ["collect", "abort", "ignore"] as const) {
        const error = new Error("broke");
        const sources = [0, 1, 2].map((index) =>
          index === position
            ? watched({ shape, items: 2, error, item: () => "x" })
            : watched({ shape, items: 5 })
        );
        const end = await outcome(merge(open(sources), { onError }));
        assertEquals(end.items.filter((item) => item === "x").length, 2);
        if (onError === "abort") {
          assertStrictEquals(end.error, error);
          assertEquals(total(sources, "left"), 2);
        } else {
          assertEquals(end.items.length, 12);
          if (onError === "ignore") assertEquals("error" in end, false);
          else assertEquals((end.error as AggregateError).errors, [error]);
        }
      }
    }
  });
}

test("merge: highWaterMark 0 pulls for a read that waits, and no further", async () => {
  const sources = [1, 2].map(() => watched({ shape: "sync" }));
  const reader = merge(open(sources), { highWaterMark: 0 }).getReader();
  for (let read = 1; read <= 5; read++) {
    await reader.read();
    assertEquals(total(sources, "pulled"), read);
  }
  await reader.cancel();
});

test("merge: the room that an ended source leaves is used by the others", async () => {
  const idle = new Queue<number>();
  const flood = watched({ shape: "sync" });
  const reader = merge([idle, flood.source], { highWaterMark: 2 }).getReader();
  await reader.read();
  assertEquals(
    flood.pulled,
    2,
    "one is read, one held, one place is asked for",
  );
  idle.close();
  await turn();
  assertEquals(flood.pulled, 3);
  await reader.cancel();
});

test("merge: what a pipe takes makes room, too", async () => {
  const flood = watched({ shape: "sync" });
  const merged = merge([flood.source], { highWaterMark: 4 });
  const gate = new Queue<void>();
  const sink = new WritableStream({ write: () => gate.get() }, {
    highWaterMark: 3,
  });
  merged.pipeTo(sink).catch(() => {});
  for (let written = 0; written < 3; written++) {
    await turn();
    assertEquals(flood.pulled, written + 3 + 4);
    gate.tryPut(undefined);
  }
  gate.abort();
});

test("merge: a large highWaterMark is filled without a deep stack", async () => {
  const sources = [1, 2].map(() => watched({ shape: "sync" }));
  const reader = merge(open(sources), { highWaterMark: 100_000 }).getReader();
  await reader.read();
  assertEquals(total(sources, "pulled"), 100_001);
  await reader.cancel();
});

test("merge: after abort no source is asked any more", async () => {
  const failing = new Queue<unknown>();
  const flood = watched({ shape: "sync" });
  const reader = merge([failing, flood.source], {
    onError: "abort",
    highWaterMark: 4,
  }).getReader();
  await reader.read();
  failing.fail(new Error("broke"));
  await turn();
  const { pulled } = flood;
  for (let read = 1; read < pulled; read++) await reader.read();
  await assertRejects(() => reader.read(), Error, "broke");
  assertEquals([flood.pulled, flood.left], [pulled, 1]);
});

test("merge: idle sources do not keep the others out, however many", async () => {
  const idle = Array.from(
    { length: 40 },
    () => watched({ items: 0, parks: true }),
  );
  const busy = watched({ items: 100 });
  const reader = merge([...open(idle), busy.source]).getReader();
  for (let read = 0; read < 100; read++) {
    assertEquals((await reader.read()).done, false);
  }
  assertEquals(total(idle, "pulled"), 40);
  await reader.cancel();
});

test("merge: a slow source gets its turn beside a flood of arrays", async () => {
  const slow = new Queue<string>({ highWaterMark: Infinity });
  function* flood(): Generator<string> {
    for (;;) yield "flood";
  }
  const reader = merge([flood(), flood(), slow]).getReader();
  await reader.read();
  for (let round = 0; round < 20; round++) {
    await slow.put("slow");
    await turn();
    let reads = 0;
    while ((await reader.read()).value !== "slow") reads++;
    assertLess(reads, 17);
  }
  await reader.cancel();
});

test("merge: collect gathers every error, and waits for the last source", async () => {
  const errors = [new Error("one"), new Error("two")];
  const { items, error } = await outcome(merge(open([
    watched({ items: 1, error: errors[0] }),
    watched({ items: 4 }),
    watched({ items: 2, error: errors[1] }),
  ])));
  assertEquals(items.length, 7);
  assertInstanceOf(error, AggregateError);
  assertEquals(new Set(error.errors), new Set(errors));
  assertEquals(
    error.message,
    "2 of the merged sources failed, the first with Error: one",
  );
});

test("merge: abort does not wait for a source that is parked or hangs", async () => {
  const error = new Error("broke");
  const parked = watched({ items: 0, parks: true, leaving: "hang" });
  const hanging = watched({
    shape: "stream",
    items: 0,
    parks: true,
    leaving: "hang",
  });
  const end = await outcome(merge(
    open([parked, hanging, watched({ items: 1, error })]),
    { onError: "abort" },
  ));
  assertEquals(end, { items: [1], error });
  assertEquals([parked.left, hanging.left], [1, 1]);
  assertStrictEquals(hanging.reason, error);
});

test("merge: cancel() waits for no source that is parked", async () => {
  async function* parked(): AsyncGenerator<number> {
    await never();
    yield 1;
  }
  const reader = merge([parked(), parked()]).getReader();
  const read = reader.read();
  await turn();
  await reader.cancel();
  assertEquals((await read).done, true);
});

test("merge: cancel() rejects with the first error of a source, having left all", async () => {
  const sources = [
    watched(),
    watched({ leaving: "throw" }),
    watched({ shape: "stream", leaving: "throw" }),
    watched({ leaving: "hang" }),
    watched(),
  ];
  const reader = merge(open(sources)).getReader();
  await reader.read();
  await turn();
  const error = await assertRejects(() => reader.cancel("enough"));
  assertStrictEquals(error, cannotLeave);
  assertEquals(sources.map(({ left }) => left), [1, 1, 1, 1, 1]);
});

test("merge: a signal cancels all sources and fails the stream with its reason", async () => {
  const reason = new Error("time is up");
  for (const when of ["before", "unread", "parked", "held"]) {
    const controller = new AbortController();
    if (when === "before") controller.abort(reason);
    const parks = when === "parked";
    const sources = SHAPES.slice(parks ? 2 : 0).map((shape) =>
      watched(parks ? { shape, parks, items: 0 } : { shape })
    );
    const reader = merge(open(sources), { signal: controller.signal })
      .getReader();
    reader.closed.catch(() => {});
    const read = when === "parked" ? reader.read() : undefined;
    if (when === "held") await reader.read();
    await turn();
    controller.abort(reason);
    const rejected = await assertRejects(() => read ?? reader.read());
    assertStrictEquals(rejected, reason);
    assertEquals(total(sources, "left"), sources.length);
    assertStrictEquals(sources.at(-1)!.reason, reason);
  }
});

test("merge: nothing stays on a signal that lives on", async () => {
  const { signal } = new AbortController();
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...given: unknown[]) => {
    listeners++;
    addEventListener.apply(signal, given as never);
  };
  signal.removeEventListener = (...given: unknown[]) => {
    listeners--;
    removeEventListener.apply(signal, given as never);
  };
  const endings: ((stream: ReadableStream<unknown>) => Promise<unknown>)[] = [
    (stream) => stream.cancel(),
    (stream) => collect(stream),
    (stream) => collect(stream, 1),
  ];
  for (const end of endings) {
    const streams = [1, 2, 3].map(() => merge([[1], [2]], { signal }));
    assertEquals(listeners, 1);
    for (const stream of streams) await end(stream);
    assertEquals(listeners, 0);
  }
  const failing = watched({ items: 1, error: new Error("broke") });
  await outcome(merge([failing.source], { signal, onError: "abort" }));
  assertEquals(listeners, 0);
});

test("merge: sources that come in time join the others", async () => {
  const doors = new Queue<unknown[] | AsyncIterable<unknown>>();
  const reader = merge<unknown>(doors).getReader();
  const read = reader.read();
  await doors.put(watched({ items: 2, item: (serial) => `a${serial}` }).source);
  assertEquals((await read).value, "a1");
  await doors.put(["b1"]);
  const rest: unknown[] = [];
  for (let count = 0; count < 2; count++) {
    rest.push((await reader.read()).value);
  }
  assertEquals(rest.sort(), ["a2", "b1"]);
  const last = reader.read();
  doors.close();
  assertEquals((await last).done, true);
});

test("merge: sources without end are opened as items are read, not before", async () => {
  let opened = 0;
  async function* endless(): AsyncGenerator<number[]> {
    for (;;) yield [++opened];
  }
  const reader = merge(endless()).getReader();
  await turn();
  assertEquals(opened, 0);
  for (let read = 1; read <= 50; read++) {
    await reader.read();
    await turn();
    assertLess(opened, read + 20);
  }
  await reader.cancel();
});

test("merge: an error of the sources' source, and what is none, count as one of a source", async () => {
  const error = new Error("no more doors");
  async function* doors(): AsyncGenerator<Iterable<number>> {
    yield [1];
    yield 7 as never;
    yield [2];
    throw error;
  }
  const end = await outcome(merge(doors()));
  assertEquals(end.items, [1, 2]);
  const { errors } = end.error as AggregateError;
  assertEquals(errors.length, 2);
  assertStrictEquals(errors[1], error);
  assertInstanceOf(errors[0], TypeError);
  assertEquals(
    errors[0].message,
    "Cannot merge: a source from sources must be a ReadableStream or iterable, received 7",
  );
  const aborted = await outcome(merge(doors(), { onError: "abort" }));
  assertInstanceOf(aborted.error, TypeError);
});

test("merge: a source that cannot be used is named, and the others are left alone", async () => {
  const stream = watched({ shape: "stream" });
  const locked = new ReadableStream();
  locked.getReader();
  const bad: [unknown, string][] = [
    [7, "sources must be a ReadableStream or iterable, received 7"],
    [
      [stream.source, 7],
      "sources[1] must be a ReadableStream or iterable, received 7",
    ],
    [[stream.source, locked], "sources[1] must not be locked"],
    [[stream.source, stream.source], "sources[1] must not be locked"],
    [locked, "sources must not be locked"],
  ];
  for (const [sources, rule] of bad) {
    const error = assertThrows(() => merge(sources as never), TypeError);
    assert(error.message.startsWith(`Cannot merge: ${rule}`), error.message);
    assertEquals([stream.source.locked, stream.left], [false, 0]);
  }
  const iterator = watched({ shape: "sync" });
  assertThrows(
    () =>
      merge([iterator.source, stream.source, {
        [Symbol.iterator](): never {
          throw new RangeError("not today");
        },
      }]),
    RangeError,
    "not today",
  );
  assertEquals([stream.source.locked, stream.left, iterator.left], [
    false,
    0,
    0,
  ]);
  await stream.source.cancel();
});

test("merge: an option that cannot be used is named", () => {
  assertThrows(
    () => merge([], 7 as never),
    TypeError,
    "options must be an object",
  );
  assertThrows(
    () => merge([], { onError: "retry" as never }),
    TypeError,
    'Cannot merge: onError must be "collect", "abort" or "ignore", received "retry"',
  );
  assertThrows(
    () => merge([], { highWaterMark: -1 }),
    RangeError,
    "highWaterMark",
  );
  assertThrows(
    () => merge([], { signal: 7 as never }),
    TypeError,
    "Cannot merge: signal must be an AbortSignal, received 7",
  );
});

test("merge: a source whose steps are no objects has failed", async () => {
  const broken = (step: unknown): AsyncIterable<never> => ({
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.resolve(step as never),
    }),
  });
  const { error } = await outcome(merge([broken(undefined), broken(null)]));
  assertEquals((error as AggregateError).errors.length, 2);
  const throwing = {
    [Symbol.asyncIterator]: () => ({
      next(): never {
        throw cannotLeave;
      },
    }),
  };
  const thrown = await outcome(merge([throwing], { onError: "abort" }));
  assertStrictEquals(thrown.error, cannotLeave);
});

test("merge: a source that cancels the stream from within is only left", async () => {
  const other = watched();
  const readers: ReadableStreamDefaultReader<unknown>[] = [];
  let cancelled: Promise<void> | undefined;
  const source: Iterable<number> = {
    [Symbol.iterator]: () => ({
      next() {
        cancelled = readers[0]!.cancel();
        return { done: false, value: 1 };
      },
    }),
  };
  const reader = merge<unknown>([source, other.source]).getReader();
  readers.push(reader);
  assertEquals((await reader.read()).done, true);
  await cancelled;
  assertEquals(other.left, 1);
});

test("merge: a pipe and a native reader get every item", async () => {
  for (const way of ["pipe", "native", "tee"]) {
    const sources = SHAPES.map((shape) => watched({ shape, items: 20 }));
    const merged = merge<number>(open(sources));
    const seen: number[] = [];
    const sink = new WritableStream<number>({
      write: (item) => void seen.push(item),
    });
    if (way === "pipe") await merged.pipeTo(sink);
    else if (way === "native") {
      const reader = new ReadableStreamDefaultReader(merged);
      for (;;) {
        const step = await reader.read();
        if (step.done) break;
        seen.push(step.value);
      }
    } else {
      const [left, right] = merged.tee();
      await Promise.all([
        left.pipeTo(sink),
        right.pipeTo(new WritableStream()),
      ]);
    }
    assertEquals(seen.length, 60);
  }
});

test("merge: a read given up by releaseLock() loses no item", async () => {
  const queue = new Queue<number>();
  const merged = merge([queue]);
  const first = merged.getReader();
  const given = first.read();
  given.catch(() => {});
  await turn();
  first.releaseLock();
  await assertRejects(() => given, TypeError);
  await queue.put(1);
  assertEquals((await merged.getReader().read()).value, 1);
});

test("merge: cancelling leaves a queue open, and its items in it", async () => {
  const queue = new Queue<number>();
  const reader = merge([queue], { highWaterMark: 1 }).getReader();
  const read = reader.read();
  await turn();
  await reader.cancel();
  await read;
  await queue.put(1);
  assertEquals(queue.stats().waitingGets, 0);
  assertEquals(await queue.get(), 1);
});

test("merge: memory is bounded by highWaterMark beside a reader that stops", async () => {
  const sources = [1, 2, 3, 4].map(() => watched({ items: 25_000 }));
  const reader = merge(open(sources)).getReader();
  await reader.read();
  for (let round = 0; round < 10; round++) await turn();
  assertEquals(total(sources, "given"), 17);
  await reader.cancel();
});

test("merge: in any order of steps each item comes once, in the order of its source", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(
        fc.record({ items: fc.nat(6), fails: fc.boolean() }),
        { maxLength: 5 },
      ),
      fc.constantFrom("collect" as const, "abort" as const, "ignore" as const),
      fc.nat(4),
      fc.boolean(),
      async (scheduler, plans, onError, highWaterMark, inTime) => {
        let given = 0;
        let errors = 0;
        async function* source(index: number): AsyncGenerator<number[]> {
          const { items, fails } = plans[index]!;
          for (let serial = 0; serial < items; serial++) {
            await scheduler.schedule(Promise.resolve());
            given++;
            yield [index, serial];
          }
          if (!fails) return;
          errors++;
          throw index;
        }
        async function* arriving(): AsyncGenerator<AsyncIterable<number[]>> {
          for (const index of plans.keys()) {
            await scheduler.schedule(Promise.resolve());
            yield source(index);
          }
        }
        const merged = merge(
          inTime ? arriving() : [...plans.keys()].map(source),
          { onError, highWaterMark },
        );
        const seen: number[][] = [];
        const bound = Math.max(highWaterMark, plans.length);
        const reading = (async () => {
          const reader = merged.getReader();
          for (;;) {
            await scheduler.schedule(Promise.resolve());
            const step = await reader.read();
            if (step.done) return;
            seen.push(step.value);
            assert(given - seen.length <= bound, "no more than may be held");
          }
        })();
        const end = reading.then(() => undefined, (error) => ({ error }));
        await scheduler.waitFor(end);
        plans.forEach(({ items }, index) => {
          const serials = seen.flatMap(([of, serial]) =>
            of === index ? [serial!] : []
          );
          assertEquals(serials, [...serials.keys()], "in order, without a gap");
          if (onError !== "abort") assertEquals(serials.length, items);
        });
        const { error } = await end ?? {};
        if (onError === "ignore" || errors === 0) {
          assertEquals(await end, undefined);
        } else if (onError === "abort") {
          const failed = plans[error as number]!;
          const from = seen.filter(([of]) => of === error);
          assertEquals(from.length, failed.items, "items before the error");
        } else assertEquals((error as AggregateError).errors.length, errors);
      },
    ),
    parameters(300),
  );
});
