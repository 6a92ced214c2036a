import {
  assert,
  assertEquals,
  assertLess,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { concurrentMap, type ConcurrentMapOptions, Queue } from "../../mod.ts";
import { numbers } from "../support/counted.ts";
import { canCollectGarbage, collectGarbage, test } from "../support/harness.ts";
import { parameters, turn } from "../support/properties.ts";
import { readAll } from "../support/streams.ts";
import { upTo } from "../support/items.ts";

/** A map whose calls end when the test says so. */
class Held<R = number> {
  readonly pair: ReadableWritablePair<R, number>;
  readonly writer: WritableStreamDefaultWriter<number>;
  readonly started: number[] = [];
  readonly signals: AbortSignal[] = [];
  readonly #ends: Map<
    number,
    { resolve: (result: R) => void; reject: (reason: unknown) => void }
  > = new Map();

  constructor(options: ConcurrentMapOptions) {
    this.pair = concurrentMap<number, R>((item, signal) => {
      this.started.push(item);
      this.signals.push(signal);
      return new Promise<R>((resolve, reject) => {
        this.#ends.set(item, { resolve, reject });
      });
    }, options);
    this.writer = this.pair.writable.getWriter();
    this.writer.closed.catch(() => {});
    this.writer.ready.catch(() => {});
  }

  write(...items: number[]): Promise<PromiseSettledResult<void>[]> {
    return Promise.allSettled(items.map((item) => this.writer.write(item)));
  }

  async finish(item: number, result: R): Promise<void> {
    this.#ends.get(item)!.resolve(result);
    await turn();
  }

  async fail(item: number, reason: unknown): Promise<void> {
    this.#ends.get(item)!.reject(reason);
    await turn();
  }
}

/** Pipes the numbers from 0 through the map and reads all results. */
async function mapped<R>(
  length: number,
  fn: (item: number, signal: AbortSignal) => R | Promise<R>,
  options?: ConcurrentMapOptions,
): Promise<R[]> {
  const queue = new Queue<number>({ highWaterMark: Infinity });
  for (const item of upTo(length)) queue.tryPut(item);
  queue.close();
  return await readAll(queue.readable.pipeThrough(concurrentMap(fn, options)));
}

test("concurrentMap: results come in the order of the items, whatever ends first", async () => {
  const map = new Held<string>({ concurrency: 3 });
  void map.write(0, 1, 2);
  const reader = map.pair.readable.getReader();
  const results: unknown[] = [];
  const reading = (async () => {
    for (let count = 0; count < 3; count++) {
      results.push((await reader.read()).value);
    }
  })();
  await map.finish(2, "c");
  await map.finish(1, "b");
  assertEquals(results, []);
  await map.finish(0, "a");
  await reading;
  assertEquals(results, ["a", "b", "c"]);
});

test("concurrentMap: unordered, results come as they are ready", async () => {
  const map = new Held<string>({ concurrency: 3, ordered: false });
  void map.write(0, 1, 2);
  await map.finish(2, "c");
  await map.finish(0, "a");
  await map.finish(1, "b");
  void map.writer.close();
  assertEquals(await readAll(map.pair.readable), ["c", "a", "b"]);
});

test("concurrentMap: never more than concurrency calls run, and all of them do", async () => {
  for (const ordered of [true, false]) {
    for (const concurrency of [1, 2, 16, Infinity]) {
      let running = 0;
      let most = 0;
      const results = await mapped(500, async (item) => {
        most = Math.max(most, ++running);
        for (let hops = (item * 7) % 5; hops > 0; hops--) await undefined;
        if (item % 50 < 20) await turn();
        running--;
        return item;
      }, { concurrency, ordered });
      assertEquals(results.toSorted((a, b) => a - b), upTo(500));
      if (ordered) assertEquals(results, upTo(500));
      assert(most <= concurrency, `${most} at a time`);
      if (concurrency <= 16) assertEquals(most, concurrency);
    }
  }
});

test("concurrentMap: calls that run and results not read are at most concurrency + highWaterMark", async () => {
  for (const ordered of [true, false]) {
    for (const [concurrency, highWaterMark] of [[1, 0], [4, 0], [4, 3]]) {
      let started = 0;
      const { readable, writable } = concurrentMap((item: number) => {
        started++;
        return Promise.resolve(item);
      }, { concurrency: concurrency!, highWaterMark: highWaterMark!, ordered });
      const source = numbers(100_000);
      const queue = new Queue<number>({ highWaterMark: 0 });
      const feeding = (async () => {
        for await (const item of source) await queue.put(item);
      })().catch(() => {});
      const piping = queue.readable.pipeTo(writable).catch(() => {});
      await turn();
      const places = concurrency! + highWaterMark!;
      assertEquals(started, places);
      // One more waits in the queue before.
      assertEquals(source.pulled, places + 1);
      const reader = readable.getReader();
      for (let read = 1; read <= 10; read++) {
        await reader.read();
        await turn();
        assertEquals(started, places + read);
      }
      await reader.cancel();
      await Promise.all([piping, feeding]);
    }
  }
});

test("concurrentMap: a result that an earlier one holds up takes a place", async () => {
  const map = new Held({ concurrency: 2, highWaterMark: 1 });
  void map.write(0, 1, 2, 3, 4);
  assertEquals(map.started, [0, 1]);
  await map.finish(1, 1);
  assertEquals(map.started, [0, 1, 2]);
  await map.finish(2, 2);
  assertEquals(map.started, [0, 1, 2]);
  const reader = map.pair.readable.getReader();
  const read = reader.read();
  await map.finish(0, 0);
  assertEquals((await read).value, 0);
  assertEquals(map.started, [0, 1, 2, 3]);
  await reader.cancel();
});

test("concurrentMap: desiredSize and ready of the writer tell whether a call can begin", async () => {
  const map = new Held({ concurrency: 2, highWaterMark: 1 });
  const { writer } = map;
  assertEquals(writer.desiredSize, 2);
  void map.write(0);
  assertEquals(writer.desiredSize, 1);
  await writer.ready;
  void map.write(1, 2);
  assertEquals(writer.desiredSize, -1);
  let ready = false;
  void writer.ready.then(() => ready = true);
  await map.finish(0, 0);
  assertEquals([writer.desiredSize, ready], [0, false]);
  await map.finish(1, 1);
  assertEquals([writer.desiredSize, ready], [0, false]);
  const reader = map.pair.readable.getReader();
  await reader.read();
  assertEquals(writer.desiredSize, 1);
  await turn();
  assertEquals(ready, true);
  await reader.cancel();
  assertEquals(writer.desiredSize, null);
});

test("concurrentMap: a ready that waits settles with every end", async () => {
  for (const end of ["close", "fail", "abort", "cancel"]) {
    const map = new Held({ concurrency: 1 });
    void map.write(0);
    const { ready } = map.writer;
    const reason = new Error(end);
    if (end === "close") map.writer.close().catch(() => {});
    if (end === "fail") await map.fail(0, reason);
    if (end === "abort") await map.writer.abort(reason);
    if (end === "cancel") await map.pair.readable.cancel(reason);
    if (end === "close") await ready;
    else assertStrictEquals(await assertRejects(() => ready), reason);
    if (end === "close") await map.pair.readable.cancel();
  }
});

test("concurrentMap: an error in fn ends both sides, after the results before it, at any position", async () => {
  for (const throws of ["throws", "rejects", "throws in a thenable"]) {
    for (const position of [0, 1, 7, 40]) {
      const reason = new Error(`item ${position}`);
      const map = concurrentMap<number, number>((item) => {
        if (item !== position) return Promise.resolve(item);
        if (throws === "throws") throw reason;
        if (throws === "rejects") return Promise.reject(reason);
        return {
          get then(): never {
            throw reason;
          },
        } as never;
      }, { concurrency: 4 });
      const results: number[] = [];
      let cancelled: unknown;
      let next = 0;
      const source = new ReadableStream<number>({
        pull: (controller) => controller.enqueue(next++),
        cancel: (why) => void (cancelled = why),
      }, { highWaterMark: 0 });
      const piping = source.pipeTo(map.writable);
      piping.catch(() => {});
      const error = await assertRejects(async () => {
        for await (const result of map.readable) results.push(result);
      });
      assertStrictEquals(error, reason);
      assertEquals(results, upTo(position));
      assertStrictEquals(await assertRejects(() => piping), reason);
      assertStrictEquals(cancelled, reason);
    }
  }
});

test("concurrentMap: in order, the results of earlier calls come before the error, and the writer knows at once", async () => {
  const map = new Held({ concurrency: 4 });
  const written = map.write(0, 1, 2, 3, 4, 5);
  const reason = new Error("third");
  await map.finish(0, 0);
  await map.finish(3, 3);
  await map.fail(2, reason);
  // 4 had begun in the place of 0, and 5 in that of 3.
  assertEquals(map.started, [0, 1, 2, 3, 4, 5]);
  assertStrictEquals(await assertRejects(() => map.writer.closed), reason);
  assert(map.signals.every((signal) => signal.reason === reason));
  assertEquals((await written).map(({ status }) => status), [
    ...upTo(6).map(() => "fulfilled" as const),
  ]);
  const reader = map.pair.readable.getReader();
  reader.closed.catch(() => {});
  assertEquals((await reader.read()).value, 0);
  let ended = false;
  const second = reader.read();
  const third = assertRejects(() => reader.read()).finally(() => ended = true);
  await turn();
  assertEquals(ended, false);
  await map.finish(1, 1);
  assertEquals((await second).value, 1);
  assertStrictEquals(await third, reason);
  await map.finish(4, 4); // of no interest any more
  await map.fail(5, new Error("late"));
});

test("concurrentMap: an earlier call that fails in turn ends the wait, with the first reason", async () => {
  const map = new Held({ concurrency: 4 });
  void map.write(0, 1, 2);
  const reason = new Error("last");
  await map.fail(2, reason);
  await map.fail(0, new Error("because of the signal"));
  const reader = map.pair.readable.getReader();
  reader.closed.catch(() => {});
  assertStrictEquals(await assertRejects(() => reader.read()), reason);
  await map.fail(1, new Error("nobody's business"));
});

test("concurrentMap: unordered, what was ready comes before the error and nothing is waited for", async () => {
  const map = new Held({ concurrency: 4, ordered: false });
  void map.write(0, 1, 2, 3);
  const reason = new Error("failed");
  await map.finish(2, 2);
  await map.finish(0, 0);
  await map.fail(3, reason);
  const reader = map.pair.readable.getReader();
  reader.closed.catch(() => {});
  assertEquals((await reader.read()).value, 2);
  assertEquals((await reader.read()).value, 0);
  assertStrictEquals(await assertRejects(() => reader.read()), reason);
  assert(map.signals.every((signal) => signal.reason === reason));
});

test("concurrentMap: writes that wait when a call fails reject with its reason, and begin no call", async () => {
  const map = new Held({ concurrency: 1 });
  const written = map.write(0, 1, 2);
  const reason = new Error("failed");
  await map.fail(0, reason);
  assertEquals(await written, [
    { status: "fulfilled", value: undefined },
    { status: "rejected", reason },
    { status: "rejected", reason },
  ]);
  assertStrictEquals(await assertRejects(() => map.writer.write(3)), reason);
  assertEquals(map.started, [0]);
});

test("concurrentMap: cancelling the readable aborts the signals and errors the writer with the reason", async () => {
  const map = new Held({ concurrency: 2 });
  const written = map.write(0, 1, 2);
  const reason = new Error("enough");
  const reader = map.pair.readable.getReader();
  const read = reader.read();
  await reader.cancel(reason);
  assertEquals((await read).done, true);
  assert(map.signals.every((signal) => signal.reason === reason));
  assertStrictEquals(await assertRejects(() => map.writer.closed), reason);
  assertEquals((await written)[2], { status: "rejected", reason });
  await map.finish(0, 0);
  await map.fail(1, new Error("late"));
  assertEquals(map.started, [0, 1]);
});

test("concurrentMap: break cancels the source of a pipe", async () => {
  let cancelled = false;
  let next = 0;
  const source = new ReadableStream<number>({
    pull: (controller) => controller.enqueue(next++),
    cancel: () => void (cancelled = true),
  }, { highWaterMark: 0 });
  for await (const _item of source.pipeThrough(concurrentMap((item) => item))) {
    break;
  }
  await turn();
  assertEquals(cancelled, true);
});

test("concurrentMap: aborting the writer aborts the signals and errors the readable with the reason", async () => {
  const map = new Held({ concurrency: 2 });
  const written = map.write(0, 1, 2);
  const reason = new Error("gave up");
  await map.finish(0, 0);
  const reader = map.pair.readable.getReader();
  reader.closed.catch(() => {});
  await map.writer.abort(reason);
  assertStrictEquals(await assertRejects(() => reader.read()), reason);
  assert(map.signals.every((signal) => signal.reason === reason));
  assertEquals((await written).at(-1)!.status, "fulfilled");
  await map.finish(1, 1);
});

test("concurrentMap: the error of a source comes at once, as in any pipe", async () => {
  const reason = new Error("source broke");
  let next = 0;
  const source = new ReadableStream<number>({
    pull(controller) {
      if (next === 3) controller.error(reason);
      else controller.enqueue(next++);
    },
  });
  const error = await assertRejects(() =>
    readAll(source.pipeThrough(concurrentMap((item) => item)))
  );
  assertStrictEquals(error, reason);
});

test("concurrentMap: closing the writer lets waiting writes begin and waits for the calls", async () => {
  const map = new Held({ concurrency: 1 });
  void map.write(0, 1, 2);
  let closed = false;
  const closing = map.writer.close().then(() => closed = true);
  const results = readAll(map.pair.readable);
  await map.finish(0, 0);
  await map.finish(1, 1);
  assertEquals([map.started, closed], [[0, 1, 2], false]);
  await map.finish(2, 2);
  await closing;
  assertEquals(await results, [0, 1, 2]);
  assert(map.signals.every((signal) => !signal.aborted));
});

test("concurrentMap: close() fulfils though nobody has read the last results", async () => {
  for (const ordered of [true, false]) {
    const map = concurrentMap((item: number) => Promise.resolve(item), {
      concurrency: 1,
      highWaterMark: 0,
      ordered,
    });
    const writer = map.writable.getWriter();
    await writer.write(1);
    await writer.close();
    assertEquals(await readAll(map.readable), [1]);
  }
});

test("concurrentMap: close() rejects with the reason of a call that fails after it", async () => {
  for (const way of ["fail", "cancel"]) {
    const map = new Held({ concurrency: 2 });
    void map.write(0, 1);
    const closing = map.writer.close();
    closing.catch(() => {});
    const reason = new Error("late");
    await map.finish(0, 0);
    if (way === "fail") await map.fail(1, reason);
    else await map.pair.readable.cancel(reason);
    assertStrictEquals(await assertRejects(() => closing), reason);
    assertStrictEquals(await assertRejects(() => map.writer.closed), reason);
  }
});

test("concurrentMap: an empty source ends the readable", async () => {
  assertEquals(await mapped(0, (item) => item), []);
});

test("concurrentMap: fn may return a plain value, and thousands of writes that wait go through it", async () => {
  const map = concurrentMap((item: number) => item + 1, {
    concurrency: 1,
    highWaterMark: 0,
  });
  const writer = map.writable.getWriter();
  const written = upTo(50_000).map((item) => writer.write(item));
  const closing = writer.close();
  const results = await readAll(map.readable);
  await Promise.all([...written, closing]);
  assertEquals(results.length, 50_000);
  assertEquals(results.at(-1), 50_000);
});

test("concurrentMap: a call that ends late lets thousands through that end at once", async () => {
  let end!: () => void;
  const first = new Promise<void>((resolve) => end = resolve);
  const map = concurrentMap<number, number>(
    (item) => item === 0 ? first.then(() => item) : item,
    { concurrency: 1, highWaterMark: Infinity },
  );
  const writer = map.writable.getWriter();
  const written = upTo(50_000).map((item) => writer.write(item));
  end();
  await Promise.all([...written, writer.close()]);
  assertEquals((await readAll(map.readable)).length, 50_000);
});

test("concurrentMap: what was read is not kept", async () => {
  if (!canCollectGarbage()) return;
  const map = concurrentMap<number, object>(() => Promise.resolve({}));
  const writer = map.writable.getWriter();
  const reader = map.readable.getReader();
  const references: WeakRef<object>[] = [];
  async function pass(): Promise<void> {
    const written = upTo(16).map((item) => writer.write(item));
    await Promise.all(written);
    for (const _item of upTo(16)) {
      references.push(new WeakRef((await reader.read()).value!));
    }
  }
  await pass();
  await collectGarbage();
  const alive = references.filter((reference) => reference.deref()).length;
  // A collector that looks at the stack may take a number for a reference.
  assertLess(alive, 4);
  await reader.cancel();
});

test("concurrentMap: undefined is an item and a result", async () => {
  const items: unknown[] = [];
  const map = concurrentMap<undefined, undefined>((item) => {
    items.push(item);
    return Promise.resolve(undefined);
  });
  const writer = map.writable.getWriter();
  const writing = Promise.all([
    writer.write(undefined),
    writer.write(undefined),
  ]);
  await Promise.all([writing, writer.close()]);
  assertEquals(await readAll(map.readable), [undefined, undefined]);
  assertEquals(items, [undefined, undefined]);
});

test("concurrentMap: fn may write, cancel and abort the pair it belongs to", async () => {
  const pair = concurrentMap<number, number>((item) => {
    if (item < 5) writer.write(item + 1).catch(() => {});
    return item;
  }, { concurrency: 2, highWaterMark: 10 });
  const writer = pair.writable.getWriter();
  await writer.write(0);
  await turn();
  const reader = pair.readable.getReader();
  const results: number[] = [];
  for (let count = 0; count < 6; count++) {
    results.push((await reader.read()).value!);
  }
  assertEquals(results.sort(), upTo(6));
  for (const way of ["cancel", "abort"]) {
    const reason = new Error(way);
    const other: ReadableWritablePair<number, number> = concurrentMap(
      (item: number) => {
        if (way === "cancel") void other.readable.cancel(reason);
        else void others.abort(reason);
        return item;
      },
    );
    const others = other.writable.getWriter();
    others.closed.catch(() => {});
    others.write(0).catch(() => {});
    await turn();
    assertStrictEquals(await assertRejects(() => others.closed), reason);
  }
});

test("concurrentMap: a native pipe and a native reader go through it", async () => {
  const source = new ReadableStream<number>({
    start(controller) {
      for (const item of upTo(100)) controller.enqueue(item);
      controller.close();
    },
  });
  const { readable, writable } = concurrentMap((item: number) =>
    Promise.resolve(item * 2)
  );
  const piping = source.pipeTo(writable);
  const reader = new ReadableStreamDefaultReader(readable);
  const results: number[] = [];
  for (;;) {
    const step = await reader.read();
    if (step.done) break;
    results.push(step.value);
  }
  await piping;
  assertEquals(results, upTo(100).map((item) => item * 2));
});

test("concurrentMap: an argument that cannot be used is named", () => {
  const bad: [unknown, unknown, string][] = [
    [undefined, {}, "fn must be a function, received undefined"],
    [upTo, null, "options must be an object, received null"],
    [upTo, { concurrency: 0 }, "concurrency must be a whole number of 1"],
    [upTo, { concurrency: 1.5 }, "concurrency must be a whole number of 1"],
    [upTo, { concurrency: "2" }, 'concurrency must be a number, received "2"'],
    [upTo, { ordered: 1 }, "ordered must be a boolean, received 1"],
    [upTo, { highWaterMark: -1 }, "highWaterMark must be 0 or more"],
    [upTo, { highWaterMark: null }, "highWaterMark must be a number"],
  ];
  for (const [fn, options, rule] of bad) {
    const error = assertThrows(() =>
      concurrentMap(fn as never, options as never)
    );
    assert(error instanceof TypeError || error instanceof RangeError);
    assert(error.message.startsWith(`Cannot map: ${rule}`), error.message);
  }
});

test("concurrentMap: in any order of steps each item has one call and one result, in its place", async () => {
  const plans = fc.record({
    concurrency: fc.integer({ min: 1, max: 4 }),
    highWaterMark: fc.constantFrom(0, 1, 3),
    ordered: fc.boolean(),
    length: fc.integer({ min: 0, max: 20 }),
    failsAt: fc.option(fc.integer({ min: 0, max: 25 })),
    reads: fc.integer({ min: 0, max: 25 }),
    end: fc.constantFrom("close" as const, "abort" as const),
    eager: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), plans, async (scheduler, plan) => {
      const { concurrency, highWaterMark, ordered } = plan;
      const reasons = {
        fails: new Error("fn"),
        cancels: new Error("reader"),
        aborts: new Error("writer"),
      };
      const known: unknown[] = Object.values(reasons);
      const started: number[] = [];
      const ended: number[] = [];
      const results: number[] = [];
      let running = 0;
      let shared: AbortSignal | undefined;
      const { readable, writable } = concurrentMap<number, number>(
        async (item, signal) => {
          shared ??= signal;
          assertStrictEquals(signal, shared);
          started.push(item);
          running++;
          assert(running <= concurrency, "concurrency");
          assert(
            started.length - results.length <= concurrency + highWaterMark + 1,
            "places",
          );
          await scheduler.schedule(Promise.resolve());
          running--;
          if (item === plan.failsAt) throw reasons.fails;
          ended.push(item);
          return item;
        },
        { concurrency, highWaterMark, ordered },
      );
      const accepted: number[] = [];
      async function write(): Promise<void> {
        const writer = writable.getWriter();
        writer.closed.catch(() => {});
        try {
          for (const item of upTo(plan.length)) {
            const written = writer.write(item).then(() =>
              void accepted.push(item)
            );
            written.catch(() => {});
            if (!plan.eager) await written;
            await scheduler.schedule(Promise.resolve());
          }
          await (plan.end === "close"
            ? writer.close()
            : writer.abort(reasons.aborts));
        } catch (error) {
          // A stream that has ended refuses in words of its own.
          assert(known.includes(error) || error instanceof TypeError);
        }
      }
      async function read(): Promise<"end" | unknown> {
        const reader = readable.getReader();
        reader.closed.catch(() => {});
        try {
          while (results.length < plan.reads) {
            await scheduler.schedule(Promise.resolve());
            const step = await reader.read();
            if (step.done) return "end";
            results.push(step.value);
          }
          await reader.cancel(reasons.cancels);
          return reasons.cancels;
        } catch (error) {
          return error;
        }
      }
      const [, outcome] = await scheduler.waitFor(
        Promise.all([write(), read()]),
      );
      await scheduler.waitIdle();
      await turn();
      assertEquals(
        started,
        upTo(started.length),
        "each begins once, in order",
      );
      assertEquals(accepted, started, "what was accepted has begun");
      if (ordered) assertEquals(results, upTo(results.length));
      assertEquals(new Set(results).size, results.length);
      assert(results.every((result) => ended.includes(result)));
      assertLess(results.indexOf(plan.failsAt ?? -1), 0);
      if (outcome === "end") assertEquals(results.length, plan.length);
      else {
        assert(known.includes(outcome), String(outcome));
        if (started.length > 0) {
          assert(shared!.aborted || results.length === plan.length);
        }
      }
      if (outcome === reasons.fails && ordered) {
        assertEquals(results, upTo(plan.failsAt!));
      }
    }),
    parameters(400),
  );
});
