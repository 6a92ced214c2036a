import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Queue } from "../mod.ts";
import { checkSource, open, type Source } from "../src/flow/source.ts";
import { test } from "./support/harness.ts";

async function readAll<T>(source: Source<T>): Promise<T[]> {
  const feed = open(source);
  const items: T[] = [];
  for (;;) {
    const step = await feed.next();
    if (step.done) return items;
    items.push(step.value);
  }
}

async function* generated(): AsyncGenerator<number, string> {
  yield 1;
  yield* [2, 3];
  return "what a generator returns is no item";
}

function stream<T>(items: T[]): ReadableStream<T> {
  return new ReadableStream<T>({
    start(controller) {
      for (const item of items) controller.enqueue(item);
      controller.close();
    },
  });
}

test("source: arrays, generators, streams and queues are all read to their end", async () => {
  const queue = new Queue<number>();
  await queue.putMany([1, 2, 3]);
  queue.close();
  for (
    const source of [[1, 2, 3], generated(), stream([1, 2, 3]), queue]
  ) {
    assertEquals(await readAll<number>(source), [1, 2, 3]);
  }
});

test("source: opening one pulls nothing, and each next() pulls one", async () => {
  let pulled = 0;
  const feed = open({
    *[Symbol.iterator]() {
      for (;;) yield ++pulled;
    },
  });
  assertEquals(pulled, 0);
  await feed.next();
  assertEquals(pulled, 1);
});

test("source: a stream is unlocked at its end, after its error and by cancel()", async () => {
  const ended = stream<number>([]);
  await open(ended).next();
  const failed = new ReadableStream({
    pull() {
      throw new Error("broke");
    },
  });
  await assertRejects(() => open(failed).next(), Error, "broke");
  let reason: unknown;
  const left = new ReadableStream({ cancel: (why) => void (reason = why) });
  await open(left).cancel("enough");
  assertEquals(reason, "enough");
  assertEquals([ended.locked, failed.locked, left.locked], [
    false,
    false,
    false,
  ]);
});

test("source: cancel() waits for the return() of an iterator, and tells its error", async () => {
  const steps: string[] = [];
  async function* leaving(): AsyncGenerator<number> {
    try {
      yield 1;
    } finally {
      await undefined;
      steps.push("left");
    }
  }
  const feed = open(leaving());
  await feed.next();
  await feed.cancel(undefined);
  assertEquals(steps, ["left"]);
  function* throwing(): Generator<number> {
    try {
      yield 1;
    } finally {
      // deno-lint-ignore no-unsafe-finally
      throw new Error("cannot leave");
    }
  }
  const other = open(throwing());
  await other.next();
  await assertRejects(() => other.cancel(undefined), Error, "cannot leave");
});

test("source: cancel() does not wait behind a next() that never comes", async () => {
  async function* parked(): AsyncGenerator<number> {
    await new Promise(() => {});
    yield 1;
  }
  const feed = open(parked());
  void feed.next();
  await feed.cancel(undefined);
});

test("source: cancel() after the end, an error or another cancel() does nothing", async () => {
  let returned = 0;
  function counting(next: () => IteratorResult<number>): Iterable<number> {
    return {
      [Symbol.iterator]: () => ({
        next,
        return: () => ({ done: true as const, value: returned++ }),
      }),
    };
  }
  const ended = open(counting(() => ({ done: true, value: undefined })));
  await ended.next();
  await ended.cancel(undefined);
  const failing = open(counting(() => {
    throw new Error("broke");
  }));
  await assertRejects(() => failing.next(), Error, "broke");
  await failing.cancel(undefined);
  assertEquals(returned, 0);
  const left = open(counting(() => ({ done: false, value: 1 })));
  await left.cancel(undefined);
  await left.cancel(undefined);
  assertEquals(returned, 1);
});

test("source: what cannot be read from is a TypeError that names it", () => {
  checkSource("merge", "sources[0]", [1]);
  assertThrows(
    () => checkSource("merge", "sources[0]", 7),
    TypeError,
    "Cannot merge: sources[0] must be a ReadableStream or iterable, received 7",
  );
  assertThrows(() => checkSource("tee", "source", null), TypeError, "null");
});
