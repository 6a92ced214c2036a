import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import fc from "fast-check";
import {
  LifoQueue,
  PriorityQueue,
  Queue,
  QueueClosedError,
  select,
} from "../../mod.ts";
import { assertInvariants } from "../../src/queue.ts";
import { test } from "../support/harness.ts";
import { parameters, turn } from "../support/properties.ts";

function queues<T>(count: number): Queue<T>[] {
  return Array.from({ length: count }, () => new Queue<T>());
}

/** One by one: two queues are equal in what one can see of them. */
function assertSelected<T>(
  selected: { queue: Queue<T>; item: T },
  queue: Queue<T>,
  item: T,
): void {
  assertStrictEquals(selected.queue, queue);
  assertEquals(selected.item, item);
}

function waiting(of: Pick<Queue<never>, "stats">[]): number[] {
  return of.map((queue) => queue.stats().waitingGets);
}

test("select: takes what is there, from whichever queue, and from it alone", async () => {
  for (const at of [0, 1, 2]) {
    const all = queues<string>(3);
    all[at]!.tryPut("item");
    all[at]!.tryPut("next");
    const { queue, item } = await select(all);
    assertStrictEquals(queue, all[at]);
    assertEquals(item, "item");
    assertEquals(
      all.map(({ length }) => length),
      [0, 1, 2].map((n) => n === at ? 1 : 0),
    );
  }
});

test("select: waits for the first item, and leaves every line in that moment", async () => {
  const all = queues<undefined>(3);
  const selected = select(all);
  assertEquals(waiting(all), [1, 1, 1]);
  all[1]!.tryPut(undefined);
  // In the same turn, before any promise has run.
  assertEquals(waiting(all), [0, 0, 0]);
  all[0]!.tryPut(undefined);
  all[1]!.tryPut(undefined);
  assertSelected(await selected, all[1]!, undefined);
  assertEquals(all.map(({ length }) => length), [1, 1, 0]);
  all.forEach((queue) => assertInvariants(queue));
});

test("select: stands behind the gets that came before, in each line", async () => {
  const [left, right] = [new Queue<number>(), new Queue<number>()];
  const get = left.get();
  const selected = select([left, right]);
  const later = left.get();
  await left.putMany([1, 2, 3]);
  assertEquals(await get, 1);
  assertSelected(await selected, left, 2);
  assertEquals(await later, 3);
});

test("select: those that have items take turns, in a list made anew each time, too", async () => {
  const all = queues<number>(3);
  for (const queue of all) await queue.putMany([1, 2, 3, 4]);
  const order: number[] = [];
  for (let take = 0; take < 12; take++) {
    const { queue } = await select(
      [...all].sort(() => take % 2 === 0 ? 1 : -1),
    );
    order.push(all.indexOf(queue));
  }
  for (let round = 0; round < 12; round += 3) {
    assertEquals(
      new Set(order.slice(round, round + 3)).size,
      3,
      order.join(" "),
    );
  }
});

test("select: a flood in one queue does not keep a trickle waiting", async () => {
  const [flood, trickle] = [
    new Queue<string>({ highWaterMark: Infinity }),
    new Queue<string>(),
  ];
  for (let item = 0; item < 1_000; item++) flood.tryPut("flood");
  for (let round = 0; round < 100; round++) {
    await select([flood, trickle]);
    trickle.tryPut("trickle");
    assertEquals((await select([flood, trickle])).item, "trickle");
  }
});

test("select: what was handed over while it waited counts as a turn", async () => {
  const [left, right] = [new Queue<number>(), new Queue<number>()];
  const selected = select([left, right]);
  left.tryPut(1);
  await selected;
  left.tryPut(2);
  right.tryPut(3);
  assertSelected(await select([left, right]), right, 3);
});

test("select: every kind of queue gives its items in its own order", async () => {
  const lifo = new LifoQueue<number>();
  const priority = new PriorityQueue<number>({ priority: (item) => item });
  await lifo.putMany([1, 2]);
  await priority.putMany([4, 3]);
  const seen: number[] = [];
  for (let take = 0; take < 4; take++) {
    seen.push((await select([lifo, priority])).item);
  }
  assertEquals(seen, [2, 3, 1, 4]);
});

test("select: serves a put that waits at a rendezvous", async () => {
  const meeting = new Queue<number>({ highWaterMark: 0 });
  const put = meeting.put(1);
  assertEquals((await select([new Queue<number>(), meeting])).item, 1);
  await put;
  const selected = select([meeting]);
  await meeting.put(2);
  assertEquals((await selected).item, 2);
});

test("select: an aborted signal wins over an item; later it takes nothing", async () => {
  const reason = new Error("time is up");
  const controller = new AbortController();
  const { signal } = controller;
  const all = queues<number>(2);
  const waits = select(all, { signal });
  controller.abort(reason);
  assertEquals(waiting(all), [0, 0]);
  assertStrictEquals(await assertRejects(() => waits), reason);
  all[0]!.tryPut(1);
  assertStrictEquals(
    await assertRejects(() => select(all, { signal })),
    reason,
  );
  assertEquals(all[0]!.length, 1);
});

test("select: an abort after the item was handed over changes nothing", async () => {
  const controller = new AbortController();
  const all = queues<number>(2);
  const selected = select(all, { signal: controller.signal });
  all[1]!.tryPut(1);
  controller.abort();
  assertSelected(await selected, all[1]!, 1);
});

test("select: one listener for any number, and none once they are over", async () => {
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
  const [open, closing, failing] = queues<number>(3);
  const selects = [
    ...Array.from({ length: 100 }, () => select([open!, closing!], { signal })),
    select([closing!], { signal }),
    select([open!, failing!], { signal }),
  ];
  assertEquals(listeners, 1);
  const ends = Promise.allSettled(selects);
  for (let item = 0; item < 100; item++) open!.tryPut(item);
  closing!.close();
  assertEquals(listeners, 1);
  failing!.abort();
  assertEquals(listeners, 0);
  open!.tryGet();
  const statuses = (await ends).map(({ status }) => status);
  assertEquals(statuses.filter((status) => status === "rejected").length, 2);
  await assertRejects(() => select([closing!], { signal }), QueueClosedError);
  await assertRejects(() => select([failing!], { signal }));
  assertEquals(listeners, 0);
});

test("select: a closed queue gives what it has and is then passed over", async () => {
  const [left, right] = [new Queue<number>(), new Queue<number>()];
  left.tryPut(1);
  left.close();
  assertEquals((await select([left, right])).item, 1);
  const selected = select([left, right]);
  right.tryPut(2);
  assertEquals((await selected).item, 2);
});

test("select: when all are closed and empty it rejects with QueueClosedError", async () => {
  const all = queues<number>(2);
  const waits = select(all);
  all[0]!.close();
  await turn();
  assertEquals(waiting(all), [0, 1]);
  all[1]!.close();
  const error = await assertRejects(() => waits, QueueClosedError);
  assertEquals(
    error.message,
    "Cannot select: at least one queue must be open or hold items, " +
      "received 2 that are closed and empty",
  );
  await assertRejects(() => select(all), QueueClosedError);
});

test("select: a queue that failed rejects it, once the others have nothing", async () => {
  const reason = new Error("broke");
  for (const verb of ["fail", "abort"] as const) {
    const [failed, other] = [new Queue<number>(), new Queue<number>()];
    const waits = select([other, failed]);
    failed[verb](reason);
    assertEquals(waiting([other, failed]), [0, 0]);
    assertStrictEquals(await assertRejects(() => waits), reason);
    other.tryPut(1);
    assertEquals((await select([failed, other])).item, 1);
    assertStrictEquals(
      await assertRejects(() => select([failed, other])),
      reason,
    );
    assertStrictEquals(
      await assertRejects(() => select([other, failed])),
      reason,
    );
    assertEquals(waiting([other]), [0]);
    other.tryPut(2);
    assertEquals(other.length, 1);
  }
});

test("select: what is left in a queue that failed comes before its reason", async () => {
  const queue = new Queue<number>();
  queue.tryPut(1);
  queue.fail(new Error("broke"));
  assertEquals((await select([queue])).item, 1);
  await assertRejects(() => select([queue]), Error, "broke");
});

test("select: a queue may be listed twice", async () => {
  const queue = new Queue<number>();
  const selected = select([queue, queue]);
  await queue.putMany([1, 2]);
  assertEquals((await selected).item, 1);
  assertEquals(queue.length, 1);
  assertEquals((await select([queue, queue])).item, 2);
  const ended = select([queue, queue]);
  queue.close();
  await assertRejects(() => ended, QueueClosedError);
});

test("select: 1,000 queues", async () => {
  const all = queues<number>(1_000);
  for (const at of [999, 0, 500]) {
    const selected = select(all);
    all[at]!.tryPut(at);
    assertEquals((await selected).item, at);
    assertEquals(
      waiting(all).every((count) => count === 0),
      true,
    );
  }
});

test("select: what is no list of queues is named", async () => {
  const bad: [unknown, typeof TypeError | typeof RangeError, string][] = [
    [undefined, TypeError, "queues must be an array, received undefined"],
    [
      new Queue(),
      TypeError,
      "queues must be an array, received an object of Queue",
    ],
    [[], RangeError, "queues must hold at least one queue, received none"],
    [[new Queue(), 7], TypeError, "queues[1] must be a Queue, received 7"],
    [new Array(1), TypeError, "queues[0] must be a Queue, received undefined"],
  ];
  for (const [given, Kind, rule] of bad) {
    const error = await assertRejects(() => select(given as never));
    assertInstanceOf(error, Kind);
    assertEquals(error.message, `Cannot select: ${rule}`);
  }
  await assertRejects(
    () => select([new Queue()], { signal: 7 as never }),
    TypeError,
    "Cannot select: signal must be an AbortSignal, received 7",
  );
});

interface Step {
  verb: "put" | "select" | "get" | "abort" | "close" | "fail" | "abort queue";
  at: number;
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    verb: fc.oneof(
      { arbitrary: fc.constant("put" as const), weight: 8 },
      { arbitrary: fc.constant("select" as const), weight: 8 },
      { arbitrary: fc.constant("get" as const), weight: 2 },
      { arbitrary: fc.constant("abort" as const), weight: 3 },
      { arbitrary: fc.constant("close" as const), weight: 1 },
      { arbitrary: fc.constant("fail" as const), weight: 1 },
      { arbitrary: fc.constant("abort queue" as const), weight: 1 },
    ),
    at: fc.nat(11),
  }),
  { maxLength: 40 },
);

test("select: in any order of steps no item is lost, doubled or overtaken", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      steps,
      fc.constantFrom(0, 1, Infinity),
      async (scheduler, plan, highWaterMark) => {
        const reported: number[] = [];
        const all = Array.from(
          { length: 3 },
          (_, at) =>
            new (at === 2 ? PriorityQueue : Queue)<number>({
              highWaterMark,
              onUndelivered: (item) => void reported.push(item),
            }),
        );
        const lists = [[0], [0, 1], [1, 2], [2, 1, 0]];
        const reasons = new Set<unknown>();
        const accepted: number[] = [];
        const taken: number[][] = [[], [], []];
        const pending = new Set<Promise<unknown>>();
        const controllers = [1, 2].map(() => new AbortController());
        let serial = 0;
        const reasonOf = (verb: string): Error => {
          const reason = new Error(verb);
          reasons.add(reason);
          return reason;
        };
        const track = (settling: Promise<void>): void => {
          const checked = settling.catch((error) => {
            if (error instanceof QueueClosedError || reasons.has(error)) return;
            throw error;
          });
          pending.add(checked);
          checked.finally(() => pending.delete(checked)).catch(() => {});
        };
        const act = ({ verb, at }: Step): void => {
          const queue = all[at % 3]!;
          switch (verb) {
            case "put": {
              const item = serial++;
              return track(
                queue.put(item).then(() => void accepted.push(item)),
              );
            }
            case "get":
              return track(
                queue.get().then((item) => void taken[at % 3]!.push(item)),
              );
            case "select": {
              const list = lists[at % 4]!.map((index) => all[index]!);
              const controller = controllers[at % 3];
              return track(
                select(list, controller && { signal: controller.signal })
                  .then((selected) => {
                    assert(list.includes(selected.queue));
                    taken[all.indexOf(selected.queue)]!.push(selected.item);
                  }),
              );
            }
            case "abort":
              controllers[at % 2]!.abort(reasonOf(verb));
              controllers[at % 2] = new AbortController();
              return;
            case "close":
              return queue.close();
            case "fail":
              return queue.fail(reasonOf(verb));
            case "abort queue":
              return queue.abort(reasonOf(verb));
          }
        };
        const acting = plan.map(async (step) => {
          await scheduler.schedule(Promise.resolve());
          act(step);
          for (const queue of all) assertInvariants(queue);
        });
        await scheduler.waitFor(Promise.all(acting));
        await turn();
        for (const queue of all) queue.close();
        const rest: number[] = [];
        // Until nothing is left: then all are closed, or one has failed.
        for (let done = false; !done;) {
          await select(all).then(
            ({ item }) => void rest.push(item),
            () => void (done = true),
          );
        }
        await Promise.all(pending);
        assertEquals(waiting(all), [0, 0, 0]);
        const seen = [...taken.flat(), ...reported, ...rest].sort((a, b) =>
          a - b
        );
        assertEquals(seen, [...accepted].sort((a, b) => a - b));
        // What was taken from a queue came in the order of its puts.
        for (const items of taken) {
          assertEquals(items, [...items].sort((a, b) => a - b));
        }
      },
    ),
    parameters(500),
  );
});
