import {
  assert,
  assertEquals,
  assertLess,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { partition, type PartitionOptions, Queue } from "../../mod.ts";
import { hashOf } from "../../src/flow/partition.ts";
import { partitionCases } from "../conformance/flow_partition.ts";
import { Counted, numbers } from "../support/counted.ts";
import { test } from "../support/harness.ts";
import { parameters, turn } from "../support/properties.ts";
import { readAll } from "../support/streams.ts";
import { upTo } from "../support/items.ts";

/** The branch of a key among so many. */
function placeOf(key: string | number, count: number): number {
  return hashOf(key) % count;
}

/** The first numbers that belong to a branch. */
function keysOf(place: number, count: number, many: number): number[] {
  const keys: number[] = [];
  for (let key = 0; keys.length < many; key++) {
    if (placeOf(key, count) === place) keys.push(key);
  }
  return keys;
}

function identity(item: number): number {
  return item;
}

test("partition: same key, same branch, and the order within a key is kept", async () => {
  const items = Array.from({ length: 5_000 }, (_, serial) => ({
    key: `customer ${(serial * 7919) % 101}`,
    serial,
  }));
  const branches = await Promise.all(
    partition(items, 7, (item) => item.key).map(readAll),
  );
  assertEquals(branches.flat().length, items.length);
  const homes = new Map<string, number>();
  for (const [place, branch] of branches.entries()) {
    const last = new Map<string, number>();
    for (const { key, serial } of branch) {
      assertEquals(homes.get(key) ?? place, place, key);
      homes.set(key, place);
      assertLess(last.get(key) ?? -1, serial);
      last.set(key, serial);
    }
  }
  assertEquals(homes.size, 101);
});

/** How far from even: chi square over its expectation, the number of places − 1. */
function unevenness(keys: Iterable<string | number>, places: number): number {
  const counts = new Array<number>(places).fill(0);
  let total = 0;
  for (const key of keys) {
    counts[placeOf(key, places)]!++;
    total++;
  }
  const expected = total / places;
  const square = counts.reduce(
    (sum, count) => sum + (count - expected) ** 2 / expected,
    0,
  );
  return square / (places - 1);
}

test("partition: keys that differ by little are spread as if by chance", () => {
  const range = upTo(20_000);
  const sets: Record<string, (string | number)[]> = {
    numbers: range,
    "multiples of 1,024": range.map((index) => index * 1024),
    negatives: range.map((index) => -index - 1),
    fractions: range.map((index) => index / 1000),
    "times in milliseconds": range.map((index) => 1.7e12 + index * 1000),
    names: range.map((index) => `user-${index}`),
    "paths with the number in front": range.map((index) => `${index}/feed`),
    "numbers as text": range.map(String),
  };
  for (const [name, keys] of Object.entries(sets)) {
    for (const places of [2, 3, 10, 16, 64, 1000]) {
      const uneven = unevenness(keys, places);
      // By chance it is 1 ± √(2 / (places − 1)); this is more than 4 times that.
      const bound = 1 + 6 * Math.sqrt(2 / (places - 1));
      assertLess(uneven, bound, `${name} over ${places} places: ${uneven}`);
    }
  }
});

test("partition: the branch of a key never changes", () => {
  const hashes: [string | number, number][] = [
    ["", 2872998923],
    ["a", 444641715],
    ["customer 17", 2255601307],
    ["日本", 236567117],
    [0, 2886220781],
    [1, 3912211683],
    [-1, 305361269],
    [0.5, 4148119564],
    [1e300, 4168783834],
    [NaN, 2182039870],
  ];
  for (const [key, hash] of hashes) assertEquals(hashOf(key), hash, `${key}`);
});

test("partition: 0 and -0 are one key, and so are all NaN", () => {
  assertEquals(hashOf(0), hashOf(-0));
  const bits = new DataView(new ArrayBuffer(8));
  bits.setUint32(0, 0xfff80000);
  bits.setUint32(4, 123);
  assertEquals(hashOf(bits.getFloat64(0)), hashOf(NaN));
});

test("partition: a key that is neither string nor number fails all branches, and the item is reported", async () => {
  for (const key of [undefined, null, 1n, {}, Symbol.iterator, true]) {
    const source = numbers(10);
    const undelivered: [number, string][] = [];
    const branches = partition(
      source,
      3,
      (item) => item === 4 ? key as never : item,
      { onUndelivered: (item, reason) => undelivered.push([item, reason]) },
    );
    const outcomes = await Promise.all(branches.map(async (branch) => {
      const items: number[] = [];
      const error = await assertRejects(
        async () => {
          for await (const item of branch) items.push(item);
        },
        TypeError,
        "Cannot partition: keyOf(item) must be a string or number, received",
      );
      return { items, error };
    }));
    assertEquals(outcomes.flatMap(({ items }) => items).sort(), [0, 1, 2, 3]);
    assertEquals(new Set(outcomes.map(({ error }) => error)).size, 1);
    assertEquals(undelivered, [[4, "abort"]]);
    assertEquals([source.pulled, source.returned], [5, 1]);
  }
});

test("partition: what keyOf throws fails all branches after the items before", async () => {
  const reason = new Error("no key");
  let cancelled: unknown;
  let next = 0;
  const source = new ReadableStream<number>({
    pull: (controller) => controller.enqueue(next++),
    cancel: (why) => void (cancelled = why),
  }, { highWaterMark: 0 });
  const undelivered: number[] = [];
  const [branch] = partition(source, 1, (item) => {
    if (item === 3) throw reason;
    return item;
  }, { onUndelivered: (item) => undelivered.push(item) });
  const items: number[] = [];
  const error = await assertRejects(async () => {
    for await (const item of branch!) items.push(item);
  });
  assertStrictEquals(error, reason);
  assertStrictEquals(cancelled, reason);
  assertEquals([items, undelivered], [[0, 1, 2], [3]]);
});

test("partition: nothing is pulled before the first read, and no more than fits after it", async () => {
  for (const highWaterMark of [0, 1, 16]) {
    const source = numbers(100_000);
    const [branch] = partition(source, 1, identity, { highWaterMark });
    await turn();
    assertEquals(source.pulled, 0);
    const reader = branch!.getReader();
    assertEquals((await reader.read()).value, 0);
    await turn();
    assertEquals(source.pulled, 1 + highWaterMark);
    await reader.read();
    await turn();
    assertEquals(source.pulled, 2 + highWaterMark);
    await reader.cancel();
  }
});

test("partition: a branch that nobody reads holds highWaterMark items and one more stops the source", async () => {
  const undelivered: number[] = [];
  const source = numbers(100_000);
  const [idle, busy] = partition(source, 2, identity, {
    onUndelivered: (item) => undelivered.push(item),
  });
  const reader = busy!.getReader();
  let read = 0;
  const reading = (async () => {
    while (!(await reader.read()).done) read++;
  })();
  await turn();
  const expected = keysOf(0, 2, 17);
  assertEquals(source.pulled - read, 17);
  assertEquals(source.pulled, expected[16]! + 1);
  await turn();
  assertEquals(source.pulled, expected[16]! + 1, "stopped");
  // Cancelled, it holds nobody up any more, and what it held is reported.
  await idle!.cancel();
  await reading;
  assertEquals(source.pulled, 100_000);
  assertEquals(read + undelivered.length, 100_000);
  assertEquals(undelivered.slice(0, 17).sort((a, b) => a - b), expected);
  assertEquals(new Set(undelivered).size, undelivered.length);
});

test("partition: under a dropping policy a branch that nobody reads holds nobody up", async () => {
  for (const overflow of ["drop-oldest", "drop-newest"] as const) {
    const dropped: [number, string][] = [];
    const source = numbers(100_000);
    const [idle, busy] = partition(source, 2, identity, {
      overflow,
      onUndelivered: (item, reason) => dropped.push([item, reason]),
    });
    const read = (await readAll(busy!)).length;
    const mine = keysOf(0, 2, 100_000 - read);
    assertEquals(read + dropped.length + 16, 100_000);
    assertEquals(new Set(dropped.map(([, reason]) => reason)).size, 1);
    assertEquals(dropped[0]![1], overflow);
    assertEquals(
      await readAll(idle!),
      overflow === "drop-oldest" ? mine.slice(-16) : mine.slice(0, 16),
    );
  }
});

test("partition: under a dropping policy nothing is pulled for nobody", async () => {
  const source = numbers(1_000);
  const [branch] = partition(source, 1, identity, { overflow: "drop-oldest" });
  const reader = branch!.getReader();
  await reader.read();
  await turn();
  assertEquals(source.pulled, 17);
});

test("partition: after a cancel nothing is pulled for nobody", async () => {
  const [first] = keysOf(1, 2, 1);
  const own = keysOf(0, 2, 1)[0]!;
  // Endless, and all but one for the branch that is gone.
  const source = new Counted(
    Infinity,
    (index) => index === 0 ? first! : own,
  );
  const [gone, left] = partition(source, 2, identity);
  await gone!.cancel();
  const reader = left!.getReader();
  assertEquals((await reader.read()).value, first);
  await turn();
  assertEquals(source.pulled, 1);
});

test("partition: cancelling all branches cancels the source with all reasons", async () => {
  let cancelled: unknown;
  const source = new ReadableStream<number>({
    cancel: (why) => void (cancelled = why),
  }, { highWaterMark: 0 });
  const [one, two, three] = partition(source, 3, identity);
  const pending = two!.getReader();
  const read = pending.read();
  await one!.cancel("first");
  await three!.cancel("third");
  assertEquals(cancelled, undefined);
  await pending.cancel("second");
  assertEquals(cancelled, ["first", "second", "third"]);
  assertEquals((await read).done, true);
  assertEquals(source.locked, false);
});

test("partition: an item that is under way when all have left is reported", async () => {
  const arrivals = new Queue<number>();
  const source = new Counted(Infinity, () => arrivals.get());
  const undelivered: [number, string][] = [];
  const [branch] = partition(source, 1, identity, {
    onUndelivered: (item, reason) => undelivered.push([item, reason]),
  });
  const reader = branch!.getReader();
  const read = reader.read();
  await reader.cancel();
  assertEquals((await read).done, true);
  assertEquals(source.returned, 1);
  await arrivals.put(7);
  await turn();
  assertEquals(undelivered, [[7, "abort"]]);
  assertEquals(source.pulled, 1);
});

test("partition: the error of the source comes after the items before it, at any position", async () => {
  for (const position of [0, 1, 5, 40]) {
    const reason = new Error("source broke");
    const source = new Counted(1_000, (index) => {
      if (index === position) throw reason;
      return index;
    });
    const outcomes = await Promise.all(
      partition(source, 3, identity).map(async (branch) => {
        const items: number[] = [];
        const error = await assertRejects(async () => {
          for await (const item of branch) items.push(item);
        });
        assertStrictEquals(error, reason);
        return items;
      }),
    );
    assertEquals(
      outcomes.flat().sort((a, b) => a - b),
      upTo(position),
    );
    assertEquals(source.returned, 0);
  }
});

test("partition: break leaves its branch alone, the last break the source", async () => {
  const source = numbers(1_000);
  const [one, two] = partition(source, 2, identity);
  for await (const _item of one!) break;
  assertEquals(source.returned, 0);
  for await (const _item of two!) break;
  assertEquals(source.returned, 1);
});

test("partition: the last cancel tells what return() of the source throws; one that hangs behind an item does not hold it up", async () => {
  const throwing = numbers(10, () => {
    throw new Error("cannot leave");
  });
  const [one, two] = partition(throwing, 2, identity);
  const reader = one!.getReader();
  await Promise.race([reader.read(), turn()]);
  await reader.cancel();
  await assertRejects(() => two!.cancel(), Error, "cannot leave");

  const parked = new Counted<number>(1, () => new Promise(() => {}), () => {
    return new Promise(() => {});
  });
  const [only] = partition(parked, 1, identity);
  const waiting = only!.getReader();
  void waiting.read();
  await waiting.cancel();
  assertEquals(parked.returned, 1);
});

test("partition: one branch has all, and a thousand have them all together", async () => {
  const [all] = partition(numbers(100), 1, identity);
  assertEquals((await readAll(all!)).length, 100);
  const branches = await Promise.all(
    partition(numbers(20_000), 1_000, identity).map(readAll),
  );
  assertEquals(branches.flat().length, 20_000);
  assert(branches.every((branch) => branch.length > 0));
});

test("partition: undefined is an item", async () => {
  const [branch] = partition([undefined, 1, undefined], 1, () => "");
  assertEquals(await readAll(branch!), [undefined, 1, undefined]);
});

test("partition: branches are streams that native readers and pipes read", async () => {
  const [one, two] = partition(numbers(1_000), 2, identity);
  const items: number[] = [];
  const sink = new WritableStream<number>({
    write: (item) => void items.push(item),
  });
  const native = new ReadableStreamDefaultReader(two!);
  const [, read] = await Promise.all([
    one!.pipeTo(sink),
    (async () => {
      let count = 0;
      while (!(await native.read()).done) count++;
      return count;
    })(),
  ]);
  assertEquals(items.length + read, 1_000);
  assertEquals(items, keysOf(0, 2, items.length));
});

test("partition: an argument that cannot be used is named, and the source not touched", () => {
  const source = new ReadableStream<number>();
  const bad: [unknown[], string][] = [
    [[5, 2, identity], "source must be a ReadableStream or iterable"],
    [[source, "2", identity], 'count must be a number, received "2"'],
    [[source, 0, identity], "count must be a whole number of 1 or more"],
    [[source, 1.5, identity], "count must be a whole number of 1 or more"],
    [[source, 2, "key"], 'keyOf must be a function, received "key"'],
    [[source, 2, identity, null], "options must be an object, received null"],
    [[source, 2, identity, { highWaterMark: -1 }], "highWaterMark must be"],
    [[source, 2, identity, { highWaterMark: "1" }], "highWaterMark must be"],
    [[source, 2, identity, { overflow: "reject" }], "overflow must be"],
    [[source, 2, identity, { onUndelivered: 1 }], "onUndelivered must be"],
  ];
  for (const [args, rule] of bad) {
    const error = assertThrows(() =>
      partition(...args as [never, never, never])
    );
    assert(error instanceof TypeError || error instanceof RangeError);
    assert(
      error.message.startsWith(`Cannot partition: ${rule}`),
      error.message,
    );
  }
  assertEquals(source.locked, false);
});

test("partition: what onUndelivered throws is printed and goes no further", async () => {
  const { error } = console;
  const printed: unknown[] = [];
  console.error = (...values: unknown[]) => void printed.push(values);
  try {
    const [one, two] = partition(numbers(50), 2, identity, {
      onUndelivered() {
        throw new Error("bad callback");
      },
    });
    await one!.cancel();
    assertEquals(
      (await readAll(two!)).length,
      keysOf(1, 2, 50).filter((key) => key < 50).length,
    );
  } finally {
    console.error = error;
  }
  assertEquals(
    printed.length,
    keysOf(0, 2, 50).filter((key) => key < 50).length,
  );
});

test("partition: in any order of steps no item is lost, doubled or overtaken", async () => {
  const plans = fc.record({
    count: fc.integer({ min: 1, max: 3 }),
    length: fc.integer({ min: 0, max: 20 }),
    failsAt: fc.option(fc.integer({ min: 0, max: 20 })),
    options: fc.record({
      highWaterMark: fc.constantFrom(0, 1, 3),
      overflow: fc.constantFrom(
        "wait" as const,
        "drop-oldest" as const,
        "drop-newest" as const,
      ),
    }),
    // How many items each branch reads before it leaves.
    reads: fc.array(fc.integer({ min: 0, max: 12 }), {
      minLength: 3,
      maxLength: 3,
    }),
    native: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), plans, async (scheduler, plan) => {
      const reason = new Error("source broke");
      const source = new Counted(plan.length, async (index) => {
        await scheduler.schedule(Promise.resolve());
        if (index === plan.failsAt) throw reason;
        return index;
      });
      const seen: number[] = [];
      const options: PartitionOptions<number> = {
        ...plan.options,
        onUndelivered: (item) => seen.push(item),
      };
      const branches = partition(source, plan.count, identity, options);
      const reading = branches.map(async (branch, place) => {
        const reader = plan.native
          ? new ReadableStreamDefaultReader(branch)
          : branch.getReader();
        reader.closed.catch(() => {});
        let last = -1;
        try {
          for (let read = 0; read < plan.reads[place]!; read++) {
            await scheduler.schedule(Promise.resolve());
            const step = await reader.read();
            if (step.done) return;
            assertEquals(placeOf(step.value, plan.count), place);
            assertLess(last, step.value);
            last = step.value;
            seen.push(step.value);
          }
          await scheduler.schedule(Promise.resolve());
          await reader.cancel();
        } catch (error) {
          assertStrictEquals(error, reason);
        }
      });
      await scheduler.waitFor(Promise.all(reading));
      // What was under way when the last one left.
      await scheduler.waitIdle();
      await turn();
      const pulled = source.pulled -
        (source.pulled > (plan.failsAt ?? Infinity) ? 1 : 0);
      assertEquals(
        seen.sort((one, other) => one - other),
        upTo(pulled),
      );
    }),
    parameters(300),
  );
});

for (const { name, run } of partitionCases) test(`flow: ${name}`, run);
