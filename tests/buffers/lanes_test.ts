import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Delivery, Queue, WorkStealingQueue } from "../../mod.ts";
import { storedIn } from "../../src/buffers/buffer.ts";
import { IndexSet } from "../../src/buffers/index_set.ts";
import { Lanes } from "../../src/buffers/lanes.ts";
import { Tournament } from "../../src/buffers/tournament.ts";
import { assertInvariants } from "../../src/queue.ts";
import { readStrategy } from "../../src/strategy.ts";
import { test } from "../support/harness.ts";
import { parameters } from "../support/properties.ts";

// -- What an operation looks at ---------------------------------------------------

/** Queues over the lanes of one group, and how often one of them was asked or told something. */
class Watched {
  readonly queues: Queue<number>[];
  looks = 0;

  constructor(count: number, victim: "longest" | "random" = "longest") {
    const random = (): number => 0.5;
    const lanes = new Lanes<number>(count, { amount: "one", victim, random });
    const strategy = readStrategy<number>({ highWaterMark: 4 });
    this.queues = lanes.all.map((lane) => {
      const queue = new Queue(storedIn(lane, strategy));
      lane.queue = new Proxy(lane.queue, {
        get: (told, name, receiver) => {
          this.looks++;
          return Reflect.get(told, name, receiver);
        },
      });
      return queue;
    });
  }

  /** So many looks does that take. */
  during(work: () => void): number {
    const before = this.looks;
    work();
    return this.looks - before;
  }
}

/** What a few operations look at, after each has been done once. */
function looks(count: number, victim?: "longest" | "random"): number[] {
  const watched = new Watched(count, victim);
  const { queues } = watched;
  const [own, other, third] = [queues[0]!, queues[1]!, queues.at(-1)!];
  const ignored = (): void => {};
  const operations: Record<string, () => void> = {
    "put, get": () => {
      own.tryPut(1);
      assertEquals(own.tryGet(), 1);
    },
    "put, steal": () => {
      own.tryPut(1);
      own.tryPut(2);
      assertEquals(third.tryGet(), 2);
      assertEquals(other.tryGet(), 1);
    },
    "wait, put elsewhere": () => {
      void third.get();
      void other.get();
      own.tryPut(1);
      own.tryPut(2);
    },
    "look in vain": () => assertEquals(other.tryGet(), undefined),
    "fill, put, get": () => {
      for (let item = 0; item < 4; item++) own.tryPut(item);
      void own.put(4);
      for (let item = 0; item < 5; item++) own.tryGet();
    },
    "lend, return, lend, done": () => {
      own.tryPut(1);
      other.tryReceive()!.nack();
      third.tryReceive()!.ack();
    },
    "end one": () => {
      const ending = queues[--last]!;
      void ending.closed.catch(ignored);
      ending.close();
    },
    "abort one": () => queues[--last]!.abort(new Error("stop")),
  };
  let last = queues.length - 1;
  for (const operation of Object.values(operations)) operation();
  return Object.values(operations).map((operation) =>
    watched.during(operation)
  );
}

test("lanes: an operation looks at as many lanes among 10 as among 3,000", () => {
  for (const victim of ["longest", "random"] as const) {
    assertEquals(looks(3000, victim), looks(10, victim));
  }
});

test("lanes: to end them all looks at each a few times", () => {
  for (const verb of ["close", "fail", "abort"] as const) {
    const watched = new Watched(1000);
    const waiting = watched.queues.map((queue) => queue.next());
    for (const each of waiting) each.catch(() => {});
    const total = watched.during(() => {
      for (const queue of watched.queues) queue[verb](new Error("over"));
    });
    assert(total <= 5 * 1000, `${verb}: ${total} looks at 1,000 lanes`);
    for (const queue of watched.queues) assertInvariants(queue);
  }
});

// -- Items that come back ---------------------------------------------------------

/** A lane that has lent its item, and another that waits for one. */
async function lent(): Promise<
  [Queue<string>, Delivery<string>, Queue<string>]
> {
  const queue = new WorkStealingQueue<string>({ lanes: 2 });
  const [lane, other] = [queue.lane(0), queue.lane(1)];
  const delivery = lane.receive();
  await lane.put("item");
  return [lane, await delivery, other];
}

test("lanes: an item that comes back and goes elsewhere is no longer owed by its lane", async () => {
  const [lane, delivery, other] = await lent();
  const joined = lane.join();
  const taken = other.get();
  delivery.nack();
  assertEquals(await taken, "item");
  await joined;
  assertEquals([lane.stats().unfinished, other.stats().unfinished], [0, 1]);
  other.taskDone();
  await other.join();
});

test("lanes: an item that was marked as done stays so where it goes", async () => {
  const [lane, delivery, other] = await lent();
  lane.taskDone();
  const taken = other.get();
  delivery.nack();
  assertEquals(await taken, "item");
  assertEquals([lane.stats().unfinished, other.stats().unfinished], [0, 0]);
  for (const each of [lane, other]) assertInvariants(each);
});

// -- What is kept -----------------------------------------------------------------

test("lanes: whatever is done, what is kept of the lanes is what they tell", async () => {
  const operation = fc.record({
    verb: fc.constantFrom(
      ...[
        "put",
        "put",
        "put",
        "putAnywhere",
        "get",
        "get",
        "getMany",
        "tryGet",
      ],
      ...["receive", "receive", "ack", "nack", "nackLater", "taskDone", "done"],
      ...["resize", "clear", "cancel", "close", "fail", "abort"],
    ),
    lane: fc.nat(3),
    which: fc.nat(5),
  });
  const start = fc.record({
    highWaterMark: fc.constantFrom(0, 1, 3),
    steal: fc.constantFrom("half" as const, "one" as const),
    victim: fc.constantFrom("longest" as const, "random" as const),
    overflow: fc.constantFrom(
      ...["wait", "wait", "drop-oldest", "drop-newest", "reject"] as const,
    ),
    maxInFlight: fc.constantFrom(2, Infinity),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { maxLength: 50 }),
      start,
      async (operations, options) => {
        const queue = new WorkStealingQueue<number>({ lanes: 4, ...options });
        const lanes = [0, 1, 2, 3].map((index) => queue.lane(index));
        const held: Delivery<number>[] = [];
        const cancels: AbortController[] = [];
        const ignore = (): void => {};
        let item = 0;
        let rare = 0;
        for (const { verb, lane: index, which } of operations) {
          const lane = lanes[index]!;
          const cancel = new AbortController();
          const { signal } = cancel;
          cancels.push(cancel);
          if (verb === "put") {
            queue.put(item++, { lane: index, signal }).catch(ignore);
          }
          if (verb === "putAnywhere") {
            queue.put(item++, { signal }).catch(ignore);
          }
          if (verb === "get") lane.get({ signal }).catch(ignore);
          if (verb === "getMany") {
            lane.getMany(3, { signal, linger: which }).catch(ignore);
          }
          if (verb === "tryGet") lane.tryGet();
          if (verb === "receive") {
            lane.receive({ signal }).then((each) => held.push(each), ignore);
          }
          if (verb === "ack") held.splice(which, 1)[0]?.ack();
          if (verb === "nack") held.splice(which, 1)[0]?.nack();
          if (verb === "nackLater") {
            held.splice(which, 1)[0]?.nack({ delay: 1 });
          }
          if (verb === "taskDone" && queue.stats().unfinished > 0) {
            queue.taskDone();
          }
          if (verb === "done" && lane.stats().unfinished > 0) lane.taskDone();
          if (verb === "resize") lane.highWaterMark = which;
          if (verb === "clear") lane.clear();
          if (verb === "cancel") cancels[which]?.abort(new Error("gave up"));
          const ends = verb === "close" || verb === "fail" || verb === "abort";
          if (ends && rare++ % 2 === 1) lane[verb](new Error("over"));
          assertInvariants(lane);
          await undefined;
          assertInvariants(lane);
          const stats = queue.stats();
          assertEquals(queue.length, stats.length);
        }
        queue.abort(new Error("over"));
        assertInvariants(lanes[0]!);
        for (const each of held) each.ack();
        await queue.closed.catch(ignore);
        assertInvariants(lanes[0]!);
      },
    ),
    parameters(1000),
  );
});

// -- The parts --------------------------------------------------------------------

test("tournament: the winner is the smallest key, the first of equals, whatever changes", () => {
  const key = fc.constantFrom(0, 1, 2, 3, Infinity);
  fc.assert(
    fc.property(
      fc.array(key, { minLength: 1, maxLength: 20 }),
      fc.array(fc.tuple(fc.nat(19), key)),
      (keys, changes) => {
        const tournament = new Tournament(keys);
        for (const [player, changed] of [[0, keys[0]!] as const, ...changes]) {
          if (player >= keys.length) continue;
          keys[player] = changed;
          tournament.set(player, changed);
          assertEquals(tournament.first, keys.indexOf(Math.min(...keys)));
        }
      },
    ),
    parameters(500),
  );
});

test("index set: has what was let in, each once, and at every place one of them", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(9), fc.boolean())),
      (changes) => {
        const indices = new IndexSet(10);
        const model = new Set<number>();
        for (const [index, isMember] of changes) {
          indices.set(index, isMember);
          if (isMember) model.add(index);
          else model.delete(index);
          const places = Array.from(
            { length: indices.size },
            (_, place) => indices.at(place)!,
          );
          assertEquals(new Set(places), model);
          assertEquals(indices.size, model.size);
          assertEquals(indices.has(index), isMember);
          assertEquals(indices.at(indices.size), undefined);
        }
      },
    ),
    parameters(500),
  );
});
