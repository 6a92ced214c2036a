import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { PriorityQueue } from "../mod.ts";
import { assertInvariants } from "../src/queue.ts";
import { test } from "./support/harness.ts";

/** Items are their own priority. */
function ranked(
  options: ConstructorParameters<typeof PriorityQueue<number>>[0] = {},
): PriorityQueue<number> {
  return new PriorityQueue<number>({ priority: (item) => item, ...options });
}

test("the smallest number comes first, the oldest among equals", async () => {
  const queue = new PriorityQueue<string>();
  await queue.put("default");
  await queue.put("late", { priority: 7 });
  await queue.put("early", { priority: -0.5 });
  await queue.put("default too");
  assertEquals(await queue.getMany(9), [
    "early",
    "default",
    "default too",
    "late",
  ]);
});

test("the priority of the put goes before that of the item", async () => {
  const queue = ranked();
  await queue.put(5);
  await queue.put(9, { priority: 1 });
  queue.tryPut(3, { priority: 2 });
  await queue.putMany([8, 7], { priority: 0 });
  assertEquals(queue.clear(), [8, 7, 9, 3, 5]);
});

test("what is written by a stream has the priority of the item", async () => {
  const queue = ranked();
  const source = new ReadableStream<number>({
    start(controller) {
      for (const item of [3, 1, 2]) controller.enqueue(item);
      controller.close();
    },
  });
  await source.pipeTo(queue.writable);
  assertEquals(await queue.getMany(9), [1, 2, 3]);
});

test("a priority that is no number is refused and nothing is stored", async () => {
  const queue = new PriorityQueue<string>();
  const error = await assertRejects(
    () => queue.put("x", { priority: NaN }),
    RangeError,
  );
  assertEquals(
    error.message,
    "Cannot put: priority must be a number other than NaN, received NaN",
  );
  await assertRejects(
    () => queue.put("x", { priority: "1" as never }),
    TypeError,
    'priority must be a number, received "1"',
  );
  assertThrows(() => queue.tryPut("x", { priority: NaN }), RangeError);
  const strange = new PriorityQueue<string>({ priority: () => NaN });
  await assertRejects(() => strange.put("x"), RangeError, "priority(item)");
  assertThrows(() => queue.reprioritize("x", NaN), RangeError, "reprioritize");
  assertEquals([queue.length, strange.length], [0, 0]);
});

test("an option that cannot be used is named", () => {
  const bad: [object, string][] = [
    [{ priority: 3 }, "priority must be a function, received 3"],
    [{ now: 3 }, "now must be a function, received 3"],
    [{ aging: "1" }, 'aging must be a number of milliseconds, received "1"'],
    ...[0, NaN, 2 ** 53].map((aging): [object, string] => [
      { aging },
      "aging must be above 0, up to Number.MAX_SAFE_INTEGER milliseconds, " +
      `received ${aging}`,
    ]),
  ];
  for (const [options, rule] of bad) {
    const error = assertThrows(() => new PriorityQueue(options as never));
    assertEquals((error as Error).message, `Cannot make a queue: ${rule}`);
  }
});

test("of the puts that wait the best is let in first, the oldest among equals", async () => {
  const queue = new PriorityQueue<string>({ highWaterMark: 1 });
  await queue.put("stored", { priority: 9 });
  const log: string[] = [];
  const waiting = Object.entries({ a: 5, b: 1, c: 5, d: 1 }).map(
    ([item, priority]) =>
      queue.put(item, { priority }).then(() => void log.push(item)),
  );
  assertEquals(queue.stats().waitingPuts, 4);
  const taken: string[] = [];
  for (let count = 0; count < 5; count++) {
    taken.push(await queue.get());
    assertInvariants(queue);
  }
  await Promise.all(waiting);
  assertEquals(taken, ["stored", "b", "d", "a", "c"]);
  assertEquals(log, ["b", "d", "a", "c"]);
});

test("a put that waits can be cancelled wherever it stands", async () => {
  const queue = ranked({ highWaterMark: 0 });
  const controllers = Array.from({ length: 50 }, () => new AbortController());
  const puts = controllers.map(({ signal }, item) =>
    queue.put((item * 37) % 50, { signal }).then(() => true, () => false)
  );
  for (let at = 0; at < 50; at += 3) controllers[at]!.abort();
  assertInvariants(queue);
  const left = queue.stats().waitingPuts;
  const taken: number[] = [];
  while (queue.stats().waitingPuts > 0) taken.push(await queue.get());
  assertEquals(taken.length, left);
  assertEquals(taken, taken.toSorted((one, other) => one - other));
  const accepted = (await Promise.all(puts)).filter(Boolean).length;
  assertEquals(accepted, left);
});

test("close() of a stream waits for its puts, in whatever order they are let in", async () => {
  const queue = ranked({ highWaterMark: 1 });
  const writer = queue.writable.getWriter();
  const written = [5, 9, 1, 7].map((item) => writer.write(item));
  let closed = false;
  const closing = writer.close().then(() => closed = true);
  const taken = [await queue.get(), await queue.get(), await queue.get()];
  assert(!closed || queue.stats().waitingPuts === 0);
  taken.push(await queue.get());
  await Promise.all([...written, closing]);
  assertEquals(taken, [5, 1, 7, 9]);
  await queue.closed;
});

test("drop-oldest drops the worst, which may be the one that arrives", async () => {
  const dropped: [number, string][] = [];
  const queue = ranked({
    highWaterMark: 2,
    overflow: "drop-oldest",
    onUndelivered: (item, reason) => dropped.push([item, reason]),
  });
  await queue.putMany([5, 3, 4]);
  await queue.put(9);
  await queue.put(4); // the latest among equals
  assert(queue.tryPut(1));
  assertInvariants(queue);
  assertEquals(dropped.map(([item]) => item), [5, 9, 4, 4]);
  assertEquals(
    new Set(dropped.map(([, why]) => why)),
    new Set(["drop-oldest"]),
  );
  assertEquals(queue.clear(), [1, 3]);
});

test("reprioritize() moves items by identity or predicate and keeps their arrival", async () => {
  const queue = new PriorityQueue<string>();
  await queue.putMany(["a", "b", "c", "d"]);
  assertEquals(queue.reprioritize("d", -1), 1);
  assertEquals(queue.reprioritize("none", -1), 0);
  assertEquals(
    queue.reprioritize((item) => item !== "a" && item !== "d", -1),
    2,
  );
  // As old as ever: b and c came before d.
  assertEquals(queue.clear(), ["b", "c", "d", "a"]);
});

test("remove() gives items back, lets waiting puts in and counts for join()", async () => {
  const queue = new PriorityQueue<number>({ highWaterMark: 3 });
  await queue.putMany([1, 2, 3]);
  const waiting = queue.put(4);
  assertEquals(queue.remove((item) => item < 3), [1, 2]);
  await waiting;
  assertInvariants(queue);
  assertEquals(queue.stats().unfinished, 2);
  assertEquals(queue.remove(4), [4]);
  queue.close();
  assertEquals(queue.remove(3), [3]);
  await queue.closed;
  await queue.join();
});

test("a predicate may use the queue", async () => {
  const queue = new PriorityQueue<number>();
  await queue.putMany([1, 2, 3]);
  const removed = queue.remove((item) => {
    if (item === 1) assertEquals(queue.tryGet(), 1);
    return true;
  });
  assertEquals(removed, [2, 3]);
  assertInvariants(queue);
});

/** The longest that a patient item waits in a flood of urgent ones, on a clock of its own. */
async function longestWait(aging: number | undefined): Promise<number> {
  let clock = 0;
  const queue = new PriorityQueue<{ at: number; patient: boolean }>({
    highWaterMark: Infinity,
    priority: ({ patient }) => patient ? 10 : 0,
    now: () => clock,
    ...(aging === undefined ? {} : { aging }),
  });
  let longest = 0;
  for (; clock < 20_000; clock++) {
    // As many urgent ones come as are taken, and one patient one in ten.
    await queue.put({ at: clock, patient: false });
    if (clock % 10 === 0) await queue.put({ at: clock, patient: true });
    if (clock % 10 === 5) await queue.get();
    const { at, patient } = await queue.get();
    if (patient) longest = Math.max(longest, clock - at);
  }
  for (const { at, patient } of queue.clear()) {
    if (patient) longest = Math.max(longest, clock - at);
  }
  return longest;
}

/** A flood without a gap: an urgent item comes for each that is taken. */
async function flood(aging: number | undefined): Promise<number> {
  let clock = 0;
  const queue = new PriorityQueue<string>({
    highWaterMark: Infinity,
    now: () => clock,
    ...(aging === undefined ? {} : { aging }),
  });
  await queue.put("patient", { priority: 10 });
  for (; clock < 100_000; clock++) {
    await queue.put("urgent", { priority: 0 });
    if (await queue.get() === "patient") return clock;
  }
  return Infinity;
}

test("with aging nothing starves in a flood, without it does", async () => {
  assertEquals(await flood(undefined), Infinity);
  // Ten levels at 50 ms each.
  assertEquals(await flood(50), 500);
  assertLess(await longestWait(50), 1_000);
});

test("aging keeps what an item has waited when it gets another priority", async () => {
  let clock = 0;
  const queue = new PriorityQueue<string>({ aging: 100, now: () => clock });
  await queue.put("old", { priority: 9 });
  clock = 1_000;
  await queue.put("new", { priority: 4 });
  queue.reprioritize("old", 4);
  assertEquals(queue.clear(), ["old", "new"]);
});

test("an aged queue holds as much as is put, in fractions of a level too", async () => {
  let clock = 0;
  const queue = new PriorityQueue<number>({
    highWaterMark: Infinity,
    aging: 10,
    now: () => clock,
  });
  for (; clock < 1_000; clock++) {
    await queue.put(clock, { priority: clock % 5 });
  }
  const taken = await queue.getMany(Infinity);
  assertEquals(taken.length, 1_000);
  assertGreater(taken.indexOf(999), 900);
});
