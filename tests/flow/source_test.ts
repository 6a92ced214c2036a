import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  balance,
  consume,
  merge,
  mergeSorted,
  partition,
  Queue,
  select,
  tee,
  zip,
} from "../../mod.ts";
import {
  checkSource,
  open,
  type Source,
  type SourceReader,
} from "../../src/flow/source.ts";
import { test } from "../support/harness.ts";
import { turn } from "../support/properties.ts";

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

/** Notes what it is told. */
function listener(): { told: unknown[]; receiver: SourceReader<unknown> } {
  const told: unknown[] = [];
  return {
    told,
    receiver: {
      received: (item) => void told.push(item),
      ended: () => void told.push("ended"),
      failed: (reason) => void told.push(["failed", reason]),
    },
  };
}

test("source: pull() tells of a synchronous source at once, of others later", async () => {
  const { told, receiver } = listener();
  const feed = open([1]);
  feed.pull(receiver);
  feed.pull(receiver);
  assertEquals(told, [1, "ended"]);
  for (const source of [generated(), stream([1])]) {
    const { told, receiver } = listener();
    open<unknown>(source).pull(receiver);
    assertEquals(told, []);
    await turn();
    assertEquals(told, [1]);
  }
});

test("source: pull() tells of an error, and of nothing after cancel()", async () => {
  const reason = new Error("broke");
  const failing = [
    {
      [Symbol.iterator]: () => ({
        next(): never {
          throw reason;
        },
      }),
    },
    new ReadableStream({
      pull() {
        throw reason;
      },
    }),
  ];
  for (const source of failing) {
    const { told, receiver } = listener();
    open<unknown>(source).pull(receiver);
    await turn();
    assertEquals(told, [["failed", reason]]);
  }
  for (const source of [generated(), stream([1])]) {
    const { told, receiver } = listener();
    const feed = open<unknown>(source);
    feed.pull(receiver);
    await feed.cancel(undefined);
    await turn();
    assertEquals(told, []);
  }
});

test("source: release() gives a stream back unread", () => {
  const given = stream([1]);
  open(given).release();
  assertEquals(given.locked, false);
});

/** Gives something that is no step. */
function broken(step: unknown): AsyncIterable<number> & { returned: number } {
  const source = {
    returned: 0,
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.resolve(step as IteratorResult<number>),
      return: () => {
        source.returned++;
        return Promise.resolve({ done: true as const, value: undefined });
      },
    }),
  };
  return source;
}

async function firstOf<T>(stream: ReadableStream<T>): Promise<T | undefined> {
  const { value } = await stream.getReader().read();
  return value;
}

test("source: a step that is no object is a TypeError, as in a loop", async () => {
  for (const step of [undefined, null, 1, "step"]) {
    const readers: Record<string, (source: Source<number>) => unknown> = {
      next: (source) => open(source).next(),
      merge: (source) => firstOf(merge([source], { onError: "abort" })),
      mergeSorted: (source) =>
        firstOf(mergeSorted([source], (a, b) => a - b, { onError: "abort" })),
      zip: (source) => firstOf(zip(source)),
      tee: (source) => firstOf(tee(source, 1)[0]!),
      balance: (source) => firstOf(balance(source, 1)[0]!),
      partition: (source) => firstOf(partition(source, 1, (item) => item)[0]!),
      consume: (source) => consume(source, () => {}),
    };
    for (const [name, read] of Object.entries(readers)) {
      const source = broken(step);
      await assertRejects(
        async () => await read(source),
        TypeError,
        "what next() of a source gives must be an object",
        name,
      );
      // What breaks the rules of iteration is not asked to go in peace.
      assertEquals(source.returned, 0);
    }
  }
});

test("source: the value of an end is not looked at, as in a loop", async () => {
  const sources: Source<number>[] = [
    { [Symbol.iterator]: () => ({ next: endWithoutValue }) },
    {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.resolve(endWithoutValue()),
      }),
    },
  ];
  for (const source of sources) {
    assertEquals(await readAll(merge([source, [1]])), [1]);
    const feed = open(source);
    assertEquals((await feed.next()).done, true);
  }
});

function endWithoutValue(): IteratorReturnResult<undefined> {
  return {
    done: true,
    get value(): undefined {
      throw new Error("nobody asked for it");
    },
  };
}

test("source: an iterator that is no object is a TypeError", () => {
  const source = { [Symbol.iterator]: () => 1 } as unknown as Iterable<number>;
  for (
    const read of [
      () => open(source),
      () => merge([source]),
      () => zip(source),
      () => tee(source, 2),
    ]
  ) assertThrows(read, TypeError, "the iterator of a source");
});

test("source: a string is none", async () => {
  const text = "ab" as unknown as Iterable<string>;
  const compare = (): number => 0;
  for (
    const read of [
      () => merge([text]),
      () => merge(text as unknown as Iterable<string>[]),
      () => mergeSorted([text], compare),
      () => mergeSorted(text as unknown as Iterable<string>[], compare),
      () => zip(text, [1]),
      () => tee(text, 2),
      () => balance(text, 2),
      () => partition(text, 2, (item) => item),
    ]
  ) assertThrows(read, TypeError, 'received "ab"');
  await assertRejects(
    async () => await consume(text, () => {}),
    TypeError,
    'received "ab"',
  );
});

test("source: what merge reads sources from gives no strings either", async () => {
  const names = new Queue<string>();
  await names.put("ab");
  names.close();
  const merged = merge(names as unknown as Queue<string[]>);
  const error = await assertRejects(
    () => firstOf(merged),
    AggregateError,
  );
  assert(error.errors[0] instanceof TypeError);
});

test("source: sources one by one, where a list is meant, are a TypeError", async () => {
  const [a, b] = [new Queue<string>(), new Queue<string>()];
  const options = b as unknown as object;
  assertThrows(
    () => merge(a as unknown as Queue<string[]>, options),
    TypeError,
    "Cannot merge: sources must be given in one list, received an object of Queue",
  );
  assertThrows(
    () => mergeSorted([a], () => 0, options),
    TypeError,
    "Cannot merge sorted: sources must be given in one list",
  );
  await assertRejects(
    () => select([a], options),
    TypeError,
    "Cannot select: queues must be given in one list",
  );
  assertThrows(
    () => zip([a, b]),
    TypeError,
    "Cannot zip: each source must be an argument of its own, received an array of 2",
  );
  assert(!a.readable.locked);
});

test("source: zip reads one array whose items are no sources", async () => {
  assertEquals(await firstOf(zip([1, 2])), [1]);
  assertEquals(await firstOf(zip(["ab", "cd"])), ["ab"]);
});

test("source: a stream that is cancelled without a reason cancels its sources with an AbortError", async () => {
  const make: Record<
    string,
    (source: ReadableStream<number>) => ReadableStream[]
  > = {
    merge: (source) => [merge([source])],
    mergeSorted: (source) => [mergeSorted([source], (a, b) => a - b)],
    zip: (source) => [zip(source)],
    tee: (source) => tee(source, 2),
    balance: (source) => balance(source, 2),
    partition: (source) => partition(source, 2, (item) => item),
  };
  for (const [name, readables] of Object.entries(make)) {
    let reason: unknown;
    const source = new ReadableStream<number>({
      cancel: (given) => void (reason = given),
    });
    await Promise.all(readables(source).map((stream) => stream.cancel()));
    const reasons = (Array.isArray(reason) ? reason : [reason]) as Error[];
    for (const error of reasons) assertEquals(error.name, "AbortError", name);
  }
});
