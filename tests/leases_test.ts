import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import {
  type Delivery,
  LifoQueue,
  PriorityQueue,
  Queue,
  QueueClosedError,
  type QueueOptions,
  type UndeliveredReason,
  WorkStealingQueue,
} from "../mod.ts";
import { assertInvariants } from "../src/queue.ts";
import { SteppedClock } from "./support/stepped_clock.ts";
import { test } from "./support/harness.ts";
import { parameters } from "./support/properties.ts";
import { turns, watched } from "./support/waiting.ts";

const KINDS: [string, (options: QueueOptions<string>) => Queue<string>][] = [
  ["Queue", (options) => new Queue(options)],
  ["LifoQueue", (options) => new LifoQueue(options)],
  ["PriorityQueue", (options) => new PriorityQueue(options)],
  [
    "WorkStealingQueue",
    (options) => {
      const queue = new WorkStealingQueue({ ...options, lanes: 2 });
      queue.lane(1).close();
      return queue.lane(0);
    },
  ],
];

for (const [kind, create] of KINDS) {
  test(`leases: ${kind}: ack() is what join() waits for, and true once`, async () => {
    const queue = create({});
    await queue.put("task");
    const delivery = await queue.receive();
    assertEquals([delivery.item, delivery.attempt], ["task", 1]);
    const joined = watched(queue.join());
    await turns();
    assertEquals(joined.state, "pending");
    assertEquals(queue.stats().inFlight, 1);
    assertEquals([delivery.ack(), delivery.ack()], [true, false]);
    await turns();
    assertEquals(joined.state, "fulfilled");
    assertEquals([delivery.nack(), delivery.extend(1)], [false, false]);
    assertInvariants(queue);
  });

  test(`leases: ${kind}: nack() brings the item back before all others, with the next attempt`, async () => {
    const queue = create({});
    await queue.putMany(["a", "b", "c"]);
    const first = await queue.receive();
    const second = await queue.receive();
    second.nack();
    first.nack();
    assertInvariants(queue);
    const again = await queue.receive();
    assertEquals([again.item, again.attempt], [first.item, 2]);
    assertEquals((await queue.receive()).item, second.item);
    assertEquals((await queue.receive()).attempt, 1);
  });

  test(`leases: ${kind}: nack({ counted: false }) is no attempt, with a delay or without`, async () => {
    const queue = create({});
    await queue.putMany(["a", "b"]);
    const first = await queue.receive();
    assertEquals(first.nack({ counted: false }), true);
    assertInvariants(queue);
    const again = await queue.receive();
    assertEquals([again.item, again.attempt], [first.item, 1]);
    again.nack();
    const second = await queue.receive();
    assertEquals([second.item, second.attempt], [first.item, 2]);
    second.nack({ counted: false, delay: 1 });
    const other = first.item === "a" ? "b" : "a";
    assertEquals((await queue.receive()).item, other);
    const third = await queue.receive();
    assertEquals([third.item, third.attempt], [first.item, 2]);
    assertEquals(third.enqueuedAt, first.enqueuedAt);
  });

  test(`leases: ${kind}: what comes back goes to who waits, and needs no room`, async () => {
    const queue = create({ highWaterMark: 1 });
    await queue.put("a");
    const delivery = await queue.receive();
    await queue.put("b");
    const waiting = queue.put("c");
    delivery.nack();
    assertEquals([queue.length, queue.desiredSize], [2, -2]);
    const state = watched(waiting);
    assertEquals((await queue.receive()).item, "a");
    await turns();
    assertEquals(state.state, "pending");
    const other = await queue.receive();
    await waiting;
    const third = await queue.receive();
    const getting = queue.get();
    third.nack();
    assertEquals(await getting, third.item);
    assertEquals(other.ack(), true);
    assertInvariants(queue);
  });

  test(`leases: ${kind}: a closed queue ends when the last lent item is done`, async () => {
    const queue = create({});
    await queue.put("task");
    const delivery = await queue.receive();
    queue.close();
    const closed = watched(queue.closed);
    const waiting = queue.receive();
    await turns();
    assertEquals(closed.state, "pending");
    delivery.nack();
    const again = await waiting;
    assertEquals(again.attempt, 2);
    const end = queue.next();
    again.ack();
    assertEquals(await end, { done: true, value: undefined });
    await queue.closed;
    await assertRejects(
      () => queue.receive(),
      QueueClosedError,
      "Cannot receive: the queue must be open or hold items",
    );
  });

  test(`leases: ${kind}: what comes back after abort() is reported, and its signal tells before`, async () => {
    const left: [string, UndeliveredReason][] = [];
    const queue = create({
      onUndelivered: (item, reason) => left.push([item, reason]),
    });
    await queue.putMany(["a", "b", "c"]);
    const taken = [await queue.receive(), await queue.receive()];
    const { signal } = taken[0]!;
    queue.abort(new Error("stop"));
    assertEquals(left.length, 1);
    assertEquals((signal.reason as Error).message, "stop");
    assert(taken[1]!.signal.aborted);
    assertEquals(taken[0]!.ack(), true);
    assertEquals(taken[1]!.nack(), true);
    assertEquals(left[1], [taken[1]!.item, "abort"]);
    await assertRejects(() => queue.receive(), Error, "stop");
    assertInvariants(queue);
    assertEquals(queue.stats().unfinished, 0);
  });

  test(`leases: ${kind}: an item that is not acknowledged in time goes to somebody else`, async () => {
    const clock = new SteppedClock();
    const queue = create({ clock, timestamps: true });
    clock.advance(5);
    await queue.put("task");
    const delivery = await queue.receive({ visibility: 100 });
    const { signal } = delivery;
    clock.advance(99);
    assertEquals([signal.aborted, queue.length], [false, 0]);
    clock.advance(1);
    assertEquals((signal.reason as DOMException).name, "TimeoutError");
    assertEquals([delivery.ack(), delivery.nack()], [false, false]);
    const again = await queue.receive({ visibility: 100 });
    assertEquals([again.attempt, again.enqueuedAt], [2, 5]);
    clock.advance(60);
    assertEquals(again.extend(100), true);
    clock.advance(99);
    assertEquals(again.ack(), true);
    assertEquals(clock.pending, 0);
    assertEquals(queue.stats().returned, 1);
  });
}

test("leases: nack() with a delay keeps the item back, also from the end of the queue", async () => {
  const clock = new SteppedClock();
  const queue = new Queue<string>({ clock });
  await queue.putMany(["a", "b"]);
  (await queue.receive()).nack({ delay: 50 });
  queue.close();
  assertEquals([queue.length, queue.stats().delayed], [1, 1]);
  assertEquals((await queue.receive()).ack(), true);
  const waiting = queue.receive();
  clock.advance(49);
  assertEquals(watched(waiting).state, "pending");
  clock.advance(1);
  const again = await waiting;
  assertEquals([again.item, again.attempt], ["a", 2]);
  again.ack();
  await queue.closed;
});

test("leases: abort() reports what a delay keeps back, and takes its alarm away", async () => {
  const clock = new SteppedClock();
  const left: string[] = [];
  const queue = new Queue<string>({
    clock,
    onUndelivered: (item) => left.push(item),
  });
  await queue.putMany(["a", "b"]);
  (await queue.receive()).nack({ delay: 50 });
  queue.abort();
  assertEquals(left, ["b", "a"]);
  assertEquals([clock.pending, queue.stats().delayed], [0, 0]);
  assertInvariants(queue);
});

test("leases: await using gives back what was not acknowledged", async () => {
  const queue = new Queue<string>();
  await queue.putMany(["a", "b"]);
  {
    await using delivery = await queue.receive();
    delivery.ack();
  }
  await assertRejects(async () => {
    await using _delivery = await queue.receive();
    throw new Error("handler broke");
  });
  const again = await queue.receive();
  assertEquals([again.item, again.attempt], ["b", 2]);
});

test("leases: tryReceive() lends what is there now, and overtakes no receiver", async () => {
  const clock = new SteppedClock();
  const queue = new Queue<number>({ maxInFlight: 2, clock });
  assertEquals(queue.tryReceive(), undefined);
  await queue.putMany([1, 2, 3]);
  const first = queue.tryReceive({ visibility: 10 })!;
  assertEquals([first.item, first.attempt], [1, 1]);
  assertEquals(queue.tryReceive()!.item, 2);
  assertEquals(queue.tryReceive(), undefined); // two are lent
  const waiting = queue.receive();
  clock.advance(10); // the first comes back, for the receiver
  assertEquals((await waiting).item, 1);
  assertEquals(queue.tryReceive(), undefined);
  assertThrows(() => queue.tryReceive({ visibility: -1 }), RangeError);
  queue.abort();
  assertEquals(queue.tryReceive(), undefined);
  assertInvariants(queue);
});

test("leases: tryReceive() serves a rendezvous, and steals", async () => {
  const rendezvous = new Queue<number>({ highWaterMark: 0 });
  const putting = rendezvous.put(1);
  const delivery = rendezvous.tryReceive()!;
  await putting;
  assertEquals([delivery.item, delivery.nack()], [1, true]);
  const queue = new WorkStealingQueue<number>({ lanes: 2 });
  await queue.put(1, { lane: 0 });
  assertEquals(queue.lane(1).tryReceive()!.item, 1);
});

test("leases: maxInFlight bounds what is lent, in the order of arrival", async () => {
  const queue = new Queue<number>({ maxInFlight: 2 });
  await queue.putMany([1, 2, 3, 4, 5]);
  const first = await queue.receive();
  const second = await queue.receive();
  const waiting = [queue.receive(), queue.receive()];
  await turns();
  assertEquals(queue.stats().waitingGets, 2);
  assertEquals(await queue.get(), 3); // a plain get is not lent
  first.ack();
  const third = await waiting[0]!;
  assertEquals(third.item, 4);
  second.nack();
  assertEquals((await waiting[1]!).item, 2);
});

test("leases: maxInFlight counts receivers that wait for an item, and not those that gave up", async () => {
  const queue = new Queue<number>({ maxInFlight: 1 });
  const giveUp = new AbortController();
  const first = queue.receive({ signal: giveUp.signal });
  const second = queue.receive();
  const third = queue.receive({ signal: giveUp.signal });
  giveUp.abort(new Error("gave up"));
  await assertRejects(() => first, Error, "gave up");
  await assertRejects(() => third, Error, "gave up");
  await queue.put(1);
  assertEquals((await second).item, 1);
  assertEquals(queue.stats().waitingGets, 0);
  queue.abort();
});

test("leases: a signal that was given up before a lease was free takes nothing", async () => {
  const queue = new Queue<number>({ maxInFlight: 1 });
  await queue.putMany([1, 2]);
  const first = await queue.receive();
  const giveUp = new AbortController();
  const waiting = queue.receive({ signal: giveUp.signal });
  first.ack();
  const second = await waiting;
  giveUp.abort(); // later: changes nothing
  assertEquals([second.item, second.ack()], [2, true]);
});

test("leases: abort() rejects receivers that wait for a lease", async () => {
  const queue = new Queue<number>({ maxInFlight: 1 });
  await queue.put(1);
  await queue.receive();
  const waiting = queue.receive();
  queue.abort(new Error("stop"));
  await assertRejects(() => waiting, Error, "stop");
});

test("leases: closing ends receivers that wait for a lease once nothing can come back", async () => {
  const queue = new Queue<number>({ maxInFlight: 1 });
  await queue.put(1);
  const first = await queue.receive();
  const waiting = queue.receive();
  queue.close();
  first.ack();
  await assertRejects(() => waiting, QueueClosedError);
});

test("leases: fail() ends them with its reason", async () => {
  const queue = new Queue<number>();
  await queue.put(1);
  const first = await queue.receive();
  const waiting = queue.receive();
  queue.fail(new Error("source broke"));
  first.ack();
  await assertRejects(() => waiting, Error, "source broke");
});

test("leases: a rendezvous lends what a put brings", async () => {
  const queue = new Queue<number>({ highWaterMark: 0 });
  const putting = queue.put(1);
  const delivery = await queue.receive();
  await putting;
  delivery.nack();
  assertEquals(queue.length, 1);
  assertEquals((await queue.receive()).attempt, 2);
});

test("leases: weight and priority come back with the item", async () => {
  const queue = new PriorityQueue<string>({
    highWaterMark: 100,
    size: (item) => item.length,
  });
  await queue.put("urgent", { priority: -1 });
  await queue.put("late", { priority: 5 });
  await queue.put("normal");
  const urgent = await queue.receive();
  const normal = await queue.receive();
  const late = await queue.receive();
  assertEquals(queue.desiredSize, 100);
  for (const delivery of [late, normal, urgent]) delivery.nack();
  assertEquals(queue.desiredSize, 100 - 16);
  await queue.put("other");
  assertEquals(await queue.getMany(4), ["urgent", "normal", "other", "late"]);
});

test("leases: a lane's item that comes back may be stolen, with its attempts", async () => {
  const queue = new WorkStealingQueue<string>({ lanes: 2 });
  await queue.put("task", { lane: 0 });
  (await queue.lane(0).receive()).nack();
  const stolen = await queue.lane(1).receive();
  assertEquals([stolen.item, stolen.attempt], ["task", 2]);
  const sleeping = queue.lane(0).receive();
  stolen.nack();
  const again = await sleeping;
  assertEquals(again.attempt, 3);
  queue.close();
  again.ack();
  await queue.closed;
});

test("leases: an item that is lent by one lane keeps the others from ending", async () => {
  const queue = new WorkStealingQueue<string>({ lanes: 2 });
  await queue.put("task", { lane: 0 });
  const delivery = await queue.lane(0).receive();
  queue.close();
  const waiting = queue.lane(1).next();
  await turns();
  assertEquals(watched(waiting).state, "pending");
  delivery.nack();
  assertEquals(await waiting, { done: false, value: "task" });
});

test("leases: the item is whatever was put, a promise too", async () => {
  const queue = new Queue<unknown>();
  const never = new Promise(() => {});
  await queue.putMany([never, undefined]);
  assertStrictEquals((await queue.receive()).item, never);
  assertEquals((await queue.receive()).item, undefined);
});

test("leases: enqueuedAt is undefined unless timestamps are noted", async () => {
  const clock = new SteppedClock();
  const plain = new Queue<number>({ clock });
  await plain.put(1);
  assertEquals((await plain.receive()).enqueuedAt, undefined);
  const noting = new Queue<number>({ clock, timestamps: true });
  clock.advance(7);
  const waiting = noting.receive();
  await noting.put(1);
  assertEquals((await waiting).enqueuedAt, 7);
});

test("leases: bad input is named, and nothing is taken", async () => {
  const queue = new Queue<number>();
  await queue.put(1);
  await assertRejects(
    () => queue.receive({ visibility: -1 }),
    RangeError,
    "Cannot receive: visibility must be from 0 to Number.MAX_SAFE_INTEGER " +
      "milliseconds, or Infinity, received -1",
  );
  await assertRejects(
    () => queue.receive({ visibility: "1" as never }),
    TypeError,
    'visibility must be a number of milliseconds, received "1"',
  );
  await assertRejects(
    () => queue.receive({ signal: 1 as never }),
    TypeError,
    "Cannot receive: signal must be an AbortSignal",
  );
  await assertRejects(() => queue.receive({ signal: AbortSignal.abort() }));
  assertEquals(queue.length, 1);
  const delivery = await queue.receive();
  for (const delay of [NaN, -1, Infinity, 2 ** 53]) {
    assertThrows(
      () => delivery.nack({ delay }),
      RangeError,
      "Cannot nack: delay must be from 0 to Number.MAX_SAFE_INTEGER " +
        `milliseconds, received ${delay}`,
    );
  }
  assertThrows(() => delivery.extend(-1), RangeError, "Cannot extend");
  assertEquals(delivery.ack(), true);
  for (
    const [options, message] of [
      [{ maxInFlight: 0 }, "maxInFlight must be a whole number of 1 or more"],
      [{ maxInFlight: "1" }, "maxInFlight must be a number"],
      [{ timestamps: 1 }, "timestamps must be a boolean, received 1"],
      [{ clock: {} }, "clock must have now, setTimer and clearTimer"],
    ] as [QueueOptions<number>, string][]
  ) assertThrows(() => new Queue(options), Error, message);
});

test("leases: in whatever order, each item ends once: done, taken or reported", async () => {
  const operation = fc.record({
    verb: fc.constantFrom(
      ...["put", "put", "put", "receive", "receive", "receive", "ack", "ack"],
      ...["nack", "nack later", "extend", "time", "get", "lose", "close"],
      ...["abort", "clear"],
    ),
    which: fc.nat(5),
    milliseconds: fc.nat(30),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { maxLength: 80 }),
      fc.constantFrom(...KINDS),
      fc.constantFrom(0, 1, 3),
      fc.constantFrom(1, 2, Infinity),
      async (operations, [, create], highWaterMark, maxInFlight) => {
        const clock = new SteppedClock();
        const fates = new Map<string, string[]>();
        const attempts = new Map<string, number>();
        const accepted = new Set<string>();
        const queue = create({
          clock,
          highWaterMark,
          maxInFlight,
          onUndelivered: (item) => fates.get(item)!.push("reported"),
        });
        const held: { delivery: Delivery<string>; until: number }[] = [];
        let serial = 0;
        let rare = 0;
        for (const { verb, which, milliseconds } of operations) {
          const at = held.length === 0 ? -1 : which % held.length;
          const lease = held[at];
          const isLost = lease !== undefined && lease.until <= clock.now();
          switch (verb) {
            case "put": {
              const item = `${serial++}`;
              fates.set(item, []);
              queue.put(item).then(() => accepted.add(item), () => {});
              break;
            }
            case "receive": {
              const visibility = which < 3 ? Infinity : milliseconds + 1;
              queue.receive({ visibility }).then((delivery) => {
                const { item, attempt } = delivery;
                assertEquals(attempt, (attempts.get(item) ?? 0) + 1);
                attempts.set(item, attempt);
                held.push({ delivery, until: clock.now() + visibility });
              }, () => {});
              break;
            }
            case "get":
              queue.get().then(
                (item) => fates.get(item)!.push("taken"),
                () => {},
              );
              break;
            case "ack":
              if (lease === undefined) break;
              assertEquals(lease.delivery.ack(), !isLost);
              if (!isLost) fates.get(lease.delivery.item)!.push("done");
              held.splice(at, 1);
              break;
            case "nack":
            case "nack later":
              if (lease === undefined) break;
              assertEquals(
                lease.delivery.nack({
                  delay: verb === "nack" ? 0 : milliseconds,
                }),
                !isLost,
              );
              held.splice(at, 1);
              break;
            case "lose":
              if (lease === undefined) break;
              await lease.delivery[Symbol.asyncDispose]();
              held.splice(at, 1);
              break;
            case "extend":
              if (lease === undefined) break;
              assertEquals(lease.delivery.extend(milliseconds + 1), !isLost);
              if (!isLost) lease.until = clock.now() + milliseconds + 1;
              break;
            case "time":
              // Step by step: what is lent on the way is lent from then on.
              for (let step = 0; step < milliseconds; step++) {
                clock.advance(1);
                await turns();
              }
              break;
            case "close":
              if (rare++ % 3 === 0) queue.close();
              break;
            case "abort":
              if (rare++ % 3 === 2) queue.abort(new Error("stop"));
              break;
            case "clear":
              for (const item of queue.clear()) {
                fates.get(item)!.push("cleared");
              }
          }
          await turns();
          assertInvariants(queue);
          const alive = held.filter(({ until }) => until > clock.now()).length;
          const { inFlight } = queue.stats();
          assertEquals(inFlight, alive);
          assert(inFlight <= maxInFlight);
        }
        queue.close();
        for (const { delivery } of held.splice(0)) {
          if (delivery.ack()) fates.get(delivery.item)!.push("done");
        }
        clock.advance(100);
        await turns();
        // What is left goes to who still waits, and after that to gets.
        for (let rounds = 0; rounds < 200; rounds++) {
          for (const { delivery } of held.splice(0)) {
            if (delivery.ack()) fates.get(delivery.item)!.push("done");
          }
          const item = queue.tryGet();
          if (item !== undefined) fates.get(item)!.push("taken");
          await turns();
        }
        await queue.closed.catch(() => {});
        assertEquals(clock.pending, 0);
        for (const [item, ends] of fates) {
          assertEquals([item, ends.length], [item, accepted.has(item) ? 1 : 0]);
        }
      },
    ),
    parameters(300),
  );
});
