import {
  assert,
  assertEquals,
  assertLess,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { balance, Queue } from "../../mod.ts";
import { Counted, numbers } from "../support/counted.ts";
import { test } from "../support/harness.ts";
import { parameters, turn } from "../support/properties.ts";
import { readAll } from "../support/streams.ts";
import { upTo } from "../support/items.ts";

test("balance: each item goes to the branch that has waited longest", async () => {
  const [one, two, three] = balance(numbers(100), 3).map((branch) =>
    branch.getReader()
  );
  const reads = [two!.read(), one!.read(), two!.read(), three!.read()];
  const values = (await Promise.all(reads)).map(({ value }) => value);
  assertEquals(values, [0, 1, 2, 3]);
});

test("balance: a branch that nobody reads holds nobody up and nothing", async () => {
  for (const highWaterMark of [0, 16]) {
    const [idle, busy] = balance(numbers(100_000), 2, { highWaterMark });
    assertEquals((await readAll(busy!)).length, 100_000);
    assertEquals(await readAll(idle!), []);
  }
});

test("balance: an item is pulled when a branch asks, one at a time, and highWaterMark ahead", async () => {
  for (const highWaterMark of [0, 1, 16]) {
    let under = 0;
    const source = new Counted(100_000, async (index) => {
      assertEquals(++under, 1, "one pull at a time");
      await undefined;
      under--;
      return index;
    });
    const readers = balance(source, 3, { highWaterMark }).map((branch) =>
      branch.getReader()
    );
    await turn();
    assertEquals(source.pulled, 0);
    assertEquals((await readers[0]!.read()).value, 0);
    await turn();
    assertEquals(source.pulled, 1 + highWaterMark);
    await Promise.all(readers.map((reader) => reader.read()));
    await turn();
    assertEquals(source.pulled, 4 + highWaterMark);
    await Promise.all(readers.map((reader) => reader.cancel()));
  }
});

test("balance: an item pulled for a branch that left meanwhile goes to another", async () => {
  const arrivals = new Queue<number>();
  const source = new Counted(Infinity, () => arrivals.get());
  for (const waits of [true, false]) {
    const pulled = source.pulled;
    const [one, two] = balance(source, 2).map((branch) => branch.getReader());
    const gone = one!.read();
    const other = waits ? two!.read() : undefined;
    await one!.cancel();
    assertEquals((await gone).done, true);
    await arrivals.put(pulled);
    await turn();
    assertEquals((await (other ?? two!.read())).value, pulled);
    assertEquals(source.pulled, pulled + 1);
    await two!.cancel();
  }
});

test("balance: a read that was given up by releaseLock() loses no item", async () => {
  const arrivals = new Queue<number>();
  for (const native of [true, false]) {
    const source = new Counted(2, () => arrivals.get());
    const [one, two] = balance(source, 2);
    const reader = native
      ? new ReadableStreamDefaultReader(one!)
      : one!.getReader();
    const given = reader.read().catch((error) => error);
    await turn();
    reader.releaseLock();
    assert(await given instanceof TypeError);
    await arrivals.putMany([7, 8]);
    await turn();
    assertEquals(await readAll(two!), [7, 8]);
  }
});

test("balance: cancelling all branches cancels the source with all reasons, and what was pulled is reported", async () => {
  let cancelled: unknown;
  let next = 0;
  const source = new ReadableStream<number>({
    pull: (controller) => controller.enqueue(next++),
    cancel: (why) => void (cancelled = why),
  }, { highWaterMark: 0 });
  const undelivered: [number, string][] = [];
  const [one, two, three] = balance(source, 3, {
    highWaterMark: 2,
    onUndelivered: (item, reason) => undelivered.push([item, reason]),
  });
  const reader = two!.getReader();
  assertEquals((await reader.read()).value, 0);
  await turn();
  await reader.cancel("second");
  await three!.cancel("third");
  assertEquals([cancelled, undelivered], [undefined, []]);
  await one!.cancel("first");
  assertEquals(cancelled, ["first", "second", "third"]);
  assertEquals(undelivered, [[1, "abort"], [2, "abort"]]);
  assertEquals(source.locked, false);
});

test("balance: an item that is under way when all have left is reported", async () => {
  const arrivals = new Queue<number>();
  const source = new Counted(Infinity, () => arrivals.get());
  const undelivered: number[] = [];
  const [branch] = balance(source, 1, {
    onUndelivered: (item) => undelivered.push(item),
  });
  const reader = branch!.getReader();
  void reader.read();
  await reader.cancel();
  await arrivals.put(7);
  await turn();
  assertEquals([undelivered, source.returned], [[7], 1]);
});

test("balance: the error of the source comes after the items before it, at any position", async () => {
  for (const position of [0, 1, 5, 40]) {
    for (const highWaterMark of [0, 16]) {
      const reason = new Error("source broke");
      const source = new Counted(1_000, (index) => {
        if (index === position) throw reason;
        return index;
      });
      const outcomes = await Promise.all(
        balance(source, 3, { highWaterMark }).map(async (branch) => {
          const items: number[] = [];
          const error = await assertRejects(async () => {
            for await (const item of branch) items.push(item);
          });
          assertStrictEquals(error, reason);
          return items;
        }),
      );
      assertEquals(
        outcomes.flat().sort((one, other) => one - other),
        upTo(position),
      );
      assertEquals(source.returned, 0);
    }
  }
});

test("balance: break leaves its branch alone, the last break the source", async () => {
  const source = numbers(1_000);
  const [one, two] = balance(source, 2);
  for await (const _item of one!) break;
  assertEquals(source.returned, 0);
  for await (const _item of two!) break;
  assertEquals([source.returned, source.pulled], [1, 2]);
});

test("balance: the last cancel tells what return() of the source throws; one that hangs behind an item does not hold it up", async () => {
  const throwing = numbers(10, () => {
    throw new Error("cannot leave");
  });
  const [one, two] = balance(throwing, 2);
  const reader = one!.getReader();
  await reader.read();
  await reader.cancel();
  await assertRejects(() => two!.cancel(), Error, "cannot leave");

  const parked = new Counted<number>(
    1,
    () => new Promise(() => {}),
    () => new Promise(() => {}),
  );
  const [only] = balance(parked, 1);
  const waiting = only!.getReader();
  void waiting.read();
  await waiting.cancel();
  assertEquals(parked.returned, 1);
});

test("balance: one branch has all, and a thousand share them", async () => {
  const [all] = balance(numbers(100), 1);
  assertEquals((await readAll(all!)).length, 100);
  const branches = await Promise.all(
    balance(numbers(20_000), 1_000).map(readAll),
  );
  const items = branches.flat();
  assertEquals([items.length, new Set(items).size], [20_000, 20_000]);
  assertEquals(new Set(branches.map((branch) => branch.length)).size, 1);
});

test("balance: undefined is an item, and an empty source ends all branches", async () => {
  const [branch] = balance([undefined, 1, undefined], 1);
  assertEquals(await readAll(branch!), [undefined, 1, undefined]);
  assertEquals(await Promise.all(balance([], 3).map(readAll)), [[], [], []]);
});

test("balance: branches are streams that native readers and pipes read", async () => {
  const [one, two, three] = balance(numbers(1_000), 3);
  const items: number[] = [];
  const sink = new WritableStream<number>({
    write: (item) => void items.push(item),
  });
  const native = new ReadableStreamDefaultReader(two!);
  await Promise.all([
    one!.pipeTo(sink),
    (async () => {
      for (;;) {
        const step = await native.read();
        if (step.done) return;
        items.push(step.value);
      }
    })(),
    readAll(three!).then((read) => items.push(...read)),
  ]);
  assertEquals(items.length, 1_000);
  assertEquals(new Set(items).size, 1_000);
});

test("balance: an argument that cannot be used is named, and the source not touched", () => {
  const source = new ReadableStream<number>();
  const bad: [unknown[], string][] = [
    [[null, 2], "source must be a ReadableStream or iterable"],
    [[source, "2"], 'count must be a number, received "2"'],
    [[source, 0], "count must be a whole number of 1 or more, received 0"],
    [[source, NaN], "count must be a whole number of 1 or more, received NaN"],
    [[source, 2, 7], "options must be an object, received 7"],
    [[source, 2, { highWaterMark: NaN }], "highWaterMark must be 0 or more"],
    [[source, 2, { highWaterMark: "1" }], "highWaterMark must be a number"],
    [[source, 2, { onUndelivered: 1 }], "onUndelivered must be a function"],
  ];
  for (const [args, rule] of bad) {
    const error = assertThrows(() => balance(...args as [never, never]));
    assert(error instanceof TypeError || error instanceof RangeError);
    assert(error.message.startsWith(`Cannot balance: ${rule}`), error.message);
  }
  assertEquals(source.locked, false);
});

test("balance: in any order of steps no item is lost or doubled", async () => {
  const plans = fc.record({
    count: fc.integer({ min: 1, max: 3 }),
    length: fc.integer({ min: 0, max: 20 }),
    failsAt: fc.option(fc.integer({ min: 0, max: 20 })),
    highWaterMark: fc.constantFrom(0, 1, 3),
    // How many items each branch reads before it leaves.
    reads: fc.array(fc.integer({ min: 0, max: 12 }), {
      minLength: 3,
      maxLength: 3,
    }),
    // Leaves with that many reads waiting.
    eager: fc.integer({ min: 0, max: 3 }),
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
      const branches = balance(source, plan.count, {
        highWaterMark: plan.highWaterMark,
        onUndelivered: (item) => seen.push(item),
      });
      const reading = branches.map(async (branch, place) => {
        const reader = plan.native
          ? new ReadableStreamDefaultReader(branch)
          : branch.getReader();
        reader.closed.catch(() => {});
        let last = -1;
        async function read(): Promise<boolean> {
          const step = await reader.read();
          if (step.done) return false;
          assertLess(last, step.value);
          last = step.value;
          seen.push(step.value);
          return true;
        }
        try {
          for (let count = 0; count < plan.reads[place]!; count++) {
            await scheduler.schedule(Promise.resolve());
            if (!await read()) return;
          }
          const left = Array.from({ length: plan.eager }, read);
          await scheduler.schedule(Promise.resolve());
          await Promise.all([reader.cancel(), ...left]);
        } catch (error) {
          assertStrictEquals(error, reason);
        }
      });
      await scheduler.waitFor(Promise.all(reading));
      // What was under way when the last one left.
      await scheduler.waitIdle();
      await turn();
      const { pulled } = source;
      const failed = pulled > (plan.failsAt ?? Infinity) ? 1 : 0;
      assertEquals(
        seen.sort((one, other) => one - other),
        Array.from({ length: pulled - failed }, (_, index) => index),
      );
    }),
    parameters(300),
  );
});
