import {
  assert,
  assertEquals,
  assertLess,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import {
  type Lane,
  QueueClosedError,
  WorkStealingQueue,
  type WorkStealingQueueOptions,
} from "../mod.ts";
import { assertInvariants } from "../src/queue.ts";
import { test } from "./support/harness.ts";
import { seeded, separate, shared, stealing, tasks } from "./bench/makespan.ts";
import { parameters } from "./support/properties.ts";
import { turns } from "./support/waiting.ts";

function lanesOf<T>(queue: WorkStealingQueue<T>): Lane<T>[] {
  return queue.stats().lanes.map((_, index) => queue.lane(index));
}

function check<T>(queue: WorkStealingQueue<T>): void {
  for (const lane of lanesOf(queue)) assertInvariants(lane);
}

/** A queue whose lane 0 has the items 1 to `count`. */
function loaded(
  count: number,
  options: Partial<WorkStealingQueueOptions<number>> = {},
): WorkStealingQueue<number> {
  const queue = new WorkStealingQueue<number>({
    lanes: 3,
    highWaterMark: count,
    ...options,
  });
  for (let item = 1; item <= count; item++) assert(queue.lane(0).tryPut(item));
  return queue;
}

function drain<T>(lane: Lane<T>): T[] {
  const items: T[] = [];
  for (let item = lane.tryGet(); item !== undefined; item = lane.tryGet()) {
    items.push(item);
  }
  return items;
}

// -- Who gets what ----------------------------------------------------------------

test("stealing: a lane takes its own items first, the oldest first", () => {
  const queue = loaded(4);
  queue.lane(1).tryPut(10);
  queue.lane(1).tryPut(11);
  assertEquals(queue.lane(1).tryGet(), 10);
  assertEquals(queue.lane(1).tryGet(), 11);
  assertEquals(queue.stats().steals, 0);
});

test("stealing: an empty lane takes the newer half, rounded up, and goes on with the oldest of it", () => {
  const queue = loaded(5);
  assertEquals(queue.lane(1).tryGet(), 3);
  assertEquals(
    [queue.lane(0).length, queue.lane(1).length, queue.length],
    [2, 2, 4],
  );
  assertEquals(drain(queue.lane(0)), [1, 2, 5, 4]);
  check(queue);
});

test('stealing: "one" takes the newest item and no more', () => {
  const queue = loaded(5, { steal: "one" });
  assertEquals(queue.lane(2).tryGet(), 5);
  assertEquals([queue.lane(0).length, queue.lane(2).length], [4, 0]);
});

test("stealing: the victim is the longest lane, the first of equals", () => {
  const queue = new WorkStealingQueue<string>({ lanes: 4, steal: "one" });
  for (const item of ["a", "b"]) queue.lane(0).tryPut(item);
  for (const item of ["c", "d", "e"]) queue.lane(1).tryPut(item);
  for (const item of ["f", "g", "h"]) queue.lane(2).tryPut(item);
  assertEquals(
    [1, 2, 3, 4].map(() => queue.lane(3).tryGet()),
    ["e", "h", "b", "d"],
  );
});

test("stealing: random victims follow the random numbers, and every lane with items is one", () => {
  const queue = new WorkStealingQueue<number>({
    lanes: 5,
    steal: "one",
    victim: "random",
    random: seeded(7),
    highWaterMark: 1000,
  });
  // Lane 3 has nothing to take.
  for (const victim of [0, 1, 2]) {
    for (let item = 0; item < 300; item++) queue.lane(victim).tryPut(victim);
  }
  const victims = Array.from({ length: 300 }, () => queue.lane(4).tryGet());
  for (const victim of [0, 1, 2]) {
    const times = victims.filter((item) => item === victim).length;
    assert(times > 60 && times < 140, `lane ${victim}: ${times} times`);
  }
  const again = seeded(7);
  assertEquals(
    victims.slice(0, 20),
    Array.from({ length: 20 }, () => Math.floor(again() * 3)),
  );
});

test("stealing: half by number, but no more weight than the thief has room for", () => {
  const queue = new WorkStealingQueue<number>({
    lanes: 2,
    highWaterMark: 100,
    size: (item) => item,
  });
  for (const item of [1, 1, 1, 40, 40, 2]) queue.lane(0).tryPut(item);
  queue.lane(1).highWaterMark = 30;
  // From the back: 2, then 40, which fills it.
  assertEquals(queue.lane(1).tryGet(), 40);
  assertEquals(queue.lane(1).stats().length, 1);
  assertEquals(drain(queue.lane(0)), [1, 1, 1, 40, 2]);
  check(queue);
});

test("stealing: weights travel with their items", () => {
  const queue = new WorkStealingQueue<number>({
    lanes: 2,
    highWaterMark: 100,
    size: (item) => item,
  });
  for (const item of [5, 6, 7, 8]) queue.lane(0).tryPut(item);
  assertEquals(queue.lane(1).tryGet(), 7);
  assertEquals(queue.lane(0).desiredSize, 100 - 11);
  assertEquals(queue.lane(1).desiredSize, 100 - 8);
});

test("stealing: getMany() takes its own items, then those of others", async () => {
  const queue = loaded(4, { steal: "one" });
  queue.lane(1).tryPut(10);
  assertEquals(await queue.lane(1).getMany(3), [10, 4, 3]);
});

test("stealing: the streams of a lane steal as its gets do", async () => {
  const queue = loaded(3, { steal: "one" });
  const reader = queue.lane(1).readable.getReader();
  assertEquals(await reader.read(), { done: false, value: 3 });
  reader.releaseLock();
  queue.close();
  const rest: number[] = [];
  await queue.lane(2).consumer().pipeTo(
    new WritableStream({ write: (item) => void rest.push(item) }),
  );
  assertEquals(rest, [2, 1]);
});

// -- Who sleeps and who is woken ----------------------------------------------------

test("stealing: a put on any lane wakes a get that sleeps on another", async () => {
  for (let from = 0; from < 3; from++) {
    for (let to = 0; to < 3; to++) {
      const queue = new WorkStealingQueue<string>({ lanes: 3 });
      const waiting = queue.lane(to).get();
      assert(queue.lane(from).tryPut("item"));
      assertEquals(await waiting, "item");
      assertEquals(queue.length, 0);
    }
  }
});

test("stealing: an item goes to the lane's own waiting get, before one that has waited longer elsewhere", async () => {
  const queue = new WorkStealingQueue<string>({ lanes: 2 });
  const elsewhere = queue.lane(0).get();
  const own = queue.lane(1).get();
  await queue.lane(1).put("own");
  assertEquals(await own, "own");
  await queue.lane(1).put("stolen");
  assertEquals(await elsewhere, "stolen");
});

test("stealing: among other lanes the one that has waited longest is woken, also after a cancel", async () => {
  const queue = new WorkStealingQueue<number>({ lanes: 4 });
  const giveUp = new AbortController();
  const order: string[] = [];
  const first = queue.lane(2).get({ signal: giveUp.signal });
  for (const [name, lane] of [["a", 3], ["b", 1], ["c", 2]] as const) {
    queue.lane(lane).get().then((item) => order.push(`${name}${item}`));
  }
  giveUp.abort(new Error("gave up"));
  await assertRejects(() => first, Error, "gave up");
  for (const item of [1, 2, 3]) queue.lane(0).tryPut(item);
  await turns();
  assertEquals(order, ["a1", "b2", "c3"]);
});

test("stealing: with no room anywhere a put meets a get of another lane", async () => {
  const queue = new WorkStealingQueue<string>({ lanes: 2, highWaterMark: 0 });
  const waiting = queue.lane(1).get();
  assert(queue.lane(0).tryPut("handed over"));
  assertEquals(await waiting, "handed over");
  assert(!queue.lane(0).tryPut("nobody"));
  const putting = queue.lane(0).put("waits");
  assertEquals(await queue.lane(1).get(), "waits");
  await putting;
  check(queue);
  const { lanes, steals, batches } = queue.stats();
  assertEquals([steals, batches], [2, 2]);
  assertEquals(lanes.map(({ put, taken }) => [put, taken]), [[2, 0], [0, 2]]);
});

test("stealing: a theft lets in the puts that waited for the victim's room, in their order", async () => {
  const queue = loaded(4);
  const order: number[] = [];
  for (const item of [5, 6, 7]) {
    queue.lane(0).put(item).then(() => order.push(item));
  }
  const { ready } = queue.lane(0);
  assertEquals(queue.lane(1).tryGet(), 3);
  await turns();
  assertEquals(order, [5, 6]);
  assertEquals(queue.lane(0).stats().waitingPuts, 1);
  assertEquals(queue.lane(1).tryGet(), 4);
  assertEquals(queue.lane(2).tryGet(), 5);
  await ready;
  await turns();
  assertEquals(order, [5, 6, 7]);
  check(queue);
});

test("stealing: a lone producer feeds all lanes", async () => {
  const lanes = 5;
  const queue = new WorkStealingQueue<number>({ lanes, highWaterMark: 4 });
  const seen: number[] = [];
  const counts = Array.from({ length: lanes }, async (_, index) => {
    let count = 0;
    for await (const item of queue.lane(index)) {
      seen.push(item);
      count++;
      await undefined;
    }
    return count;
  });
  for (let item = 0; item < 1000; item++) await queue.put(item, { lane: 0 });
  queue.close();
  assertEquals(
    seen.length === 1000 && new Set(seen).size === 1000,
    true,
    "each once",
  );
  for (const count of await Promise.all(counts)) {
    assert(count > 50, `no lane starves: ${count}`);
  }
});

test("stealing: a pipe into one lane feeds the readers of all", async () => {
  const queue = new WorkStealingQueue<number>({ lanes: 3, highWaterMark: 2 });
  const source = new ReadableStream<number>({
    start(controller) {
      for (let item = 0; item < 100; item++) controller.enqueue(item);
      controller.close();
    },
  });
  const seen: number[] = [];
  const reading = [0, 1, 2].map((index) =>
    queue.lane(index).readable.pipeTo(
      new WritableStream({ write: (item) => void seen.push(item) }),
    )
  );
  await source.pipeTo(queue.lane(0).writable);
  queue.close();
  await Promise.all(reading);
  assertEquals(seen.sort((a, b) => a - b), Array.from(Array(100).keys()));
});

// -- Without a lane ---------------------------------------------------------------

test("stealing: put() without a lane goes to the shortest, the first of equals", async () => {
  const queue = new WorkStealingQueue<number>({ lanes: 3 });
  for (let item = 1; item <= 7; item++) await queue.put(item);
  assertEquals(lanesOf(queue).map((lane) => lane.clear()), [
    [1, 4, 7],
    [2, 5],
    [3, 6],
  ]);
});

test("stealing: put() without a lane prefers room, then fewer items, and passes over closed lanes", async () => {
  const queue = new WorkStealingQueue<number>({
    lanes: 3,
    highWaterMark: 10,
    size: (item) => item,
  });
  queue.lane(0).tryPut(10); // one item, and full
  for (const item of [1, 1]) queue.lane(1).tryPut(item);
  queue.lane(2).close();
  await queue.put(5);
  assertEquals(queue.lane(1).length, 3);
});

test("stealing: put() without a lane goes where somebody waits, so that nothing is stolen", async () => {
  const queue = new WorkStealingQueue<string>({ lanes: 3 });
  const waiting = queue.lane(2).get();
  await queue.put("item");
  assertEquals(await waiting, "item");
  assertEquals(queue.stats().steals, 0);
});

test("stealing: put() waits for room and gives up as that of a queue does", async () => {
  const queue = loaded(1, { lanes: 1 });
  const giveUp = new AbortController();
  const waiting = queue.put(2, { signal: giveUp.signal });
  const other = queue.put(3, { lane: 0, signal: giveUp.signal });
  giveUp.abort(new Error("enough"));
  await assertRejects(() => waiting, Error, "enough");
  await assertRejects(() => other, Error, "enough");
  assertEquals(queue.lane(0).clear(), [1]);
});

// -- Endings ------------------------------------------------------------------------

test("stealing: close() ends the gets that sleep in every lane", async () => {
  const queue = new WorkStealingQueue<number>({ lanes: 3 });
  const sleeping = lanesOf(queue).map((lane) => lane.next());
  const get = queue.lane(1).get();
  queue.close();
  assertEquals(
    await Promise.all(sleeping),
    sleeping.map(() => ({ done: true as const, value: undefined })),
  );
  await assertRejects(() => get, QueueClosedError);
  await queue.closed;
});

test("stealing: ten thousand lanes with a get each end together, by whatever verb", async () => {
  for (const verb of ["close", "fail", "abort"] as const) {
    const queue = new WorkStealingQueue<number>({ lanes: 10_000 });
    const sleeping = lanesOf(queue).map((lane) => lane.next());
    queue[verb](new Error("over"));
    const endings = await Promise.allSettled(sleeping);
    const ended = verb === "close" ? "fulfilled" : "rejected";
    assert(endings.every(({ status }) => status === ended), verb);
    await queue.closed.catch(() => {});
  }
});

test("stealing: a thousand lanes are fed, joined and closed", async () => {
  const queue = new WorkStealingQueue<number>({ lanes: 1000 });
  let done = 0;
  const working = lanesOf(queue).map(async (lane) => {
    for await (const _ of lane) {
      done++;
      queue.taskDone();
    }
  });
  for (let item = 0; item < 4000; item++) await queue.put(item);
  await queue.join();
  assertEquals([done, queue.length], [4000, 0]);
  queue.close();
  await Promise.all(working);
});

test("stealing: after close() a lane sees the end when all are empty, and not before", async () => {
  const queue = loaded(3, { steal: "one" });
  queue.close();
  assertEquals(await queue.lane(1).next(), { done: false, value: 3 });
  assertEquals(await queue.lane(2).next(), { done: false, value: 2 });
  let closed = false;
  queue.closed.then(() => closed = true);
  let laneClosed = false;
  queue.lane(2).closed.then(() => laneClosed = true);
  await turns();
  assertEquals([closed, laneClosed], [false, false]);
  assertEquals(await queue.lane(1).next(), { done: false, value: 1 });
  assertEquals(await queue.lane(2).next(), { done: true, value: undefined });
  await queue.closed;
});

test("stealing: a lane that is closed alone goes on stealing until the others end", async () => {
  const queue = new WorkStealingQueue<string>({ lanes: 2 });
  queue.lane(1).close();
  await assertRejects(
    () => queue.lane(1).put("late"),
    QueueClosedError,
    "received one that is closing",
  );
  const waiting = queue.lane(1).next();
  await queue.lane(0).put("item");
  assertEquals(await waiting, { done: false, value: "item" });
  const last = queue.lane(1).next();
  queue.lane(0).close();
  assertEquals((await last).done, true);
  await queue.closed;
});

test("stealing: pipes into all lanes close the queue with the last of them", async () => {
  const queue = new WorkStealingQueue<number>({ lanes: 2 });
  const sources = [[1, 2, 3], [4]].map((items) =>
    new ReadableStream<number>({
      start(controller) {
        for (const item of items) controller.enqueue(item);
        controller.close();
      },
    })
  );
  const piping = sources.map((source, index) =>
    source.pipeTo(queue.lane(index).writable)
  );
  const seen: number[] = [];
  for await (const item of queue.lane(1)) seen.push(item);
  await Promise.all(piping);
  assertEquals(seen.sort(), [1, 2, 3, 4]);
});

test("stealing: a put that waits when the queue closes is let in and delivered, to whatever lane", async () => {
  const queue = loaded(1);
  const waiting = queue.lane(0).put(2);
  queue.close();
  const seen: number[] = [];
  for await (const item of queue.lane(2)) seen.push(item);
  await waiting;
  assertEquals(seen, [1, 2]);
  await queue.closed;
});

test("stealing: a waiting put that gives up lets all lanes of a closed queue end", async () => {
  const queue = new WorkStealingQueue<number>({ lanes: 2, highWaterMark: 0 });
  const giveUp = new AbortController();
  const putting = queue.lane(0).put(1, { signal: giveUp.signal });
  queue.close();
  giveUp.abort(new Error("gave up"));
  await assertRejects(() => putting, Error, "gave up");
  await queue.closed;
});

test("stealing: abort() rejects what waits in every lane and reports what is stored in any", async () => {
  const left: number[] = [];
  const queue = loaded(5, { onUndelivered: (item) => left.push(item) });
  queue.lane(1).tryGet();
  const waiting = queue.lane(0).ready;
  queue.abort(new Error("stop"));
  assertEquals(left, [1, 2, 4, 5]);
  await waiting;
  await assertRejects(() => queue.closed, Error, "stop");
  await assertRejects(() => queue.put(1), Error, "stop");
  await assertRejects(() => queue.lane(2).get(), Error, "stop");
  check(queue);
});

test("stealing: abort() from within onUndelivered, and a get there, lose nothing", () => {
  const left: number[] = [];
  const taken: (number | undefined)[] = [];
  const queue: WorkStealingQueue<number> = loaded(6, {
    onUndelivered: (item) => {
      left.push(item);
      if (left.length === 1) taken.push(queue.lane(2).tryGet());
      queue.abort();
    },
  });
  queue.lane(1).tryGet(); // 4; lane 1 holds 5 and 6
  queue.lane(0).abort();
  assertEquals(left.concat(taken as number[]).sort(), [1, 2, 3, 5, 6]);
  check(queue);
});

test("stealing: abort() of one lane leaves the others their items", async () => {
  const left: number[] = [];
  const queue = loaded(4, { onUndelivered: (item) => left.push(item) });
  queue.lane(1).tryGet();
  queue.lane(0).abort(new Error("worker broke"));
  assertEquals(left, [1, 2]);
  assertEquals(await queue.lane(2).get(), 4);
  queue.close();
  await assertRejects(() => queue.closed, Error, "worker broke");
});

test("stealing: a lane that waited for an aborted one only ends", async () => {
  const queue = new WorkStealingQueue<number>({ lanes: 2 });
  const waiting = queue.lane(1).next();
  queue.lane(1).close();
  queue.lane(0).abort(new Error("broke"));
  assertEquals((await waiting).done, true);
});

test("stealing: fail() lets every lane be emptied, then rejects in all", async () => {
  const queue = loaded(1);
  queue.fail(new Error("source broke"));
  assertEquals(await queue.lane(2).get(), 1);
  for (const lane of lanesOf(queue)) {
    await assertRejects(() => lane.get(), Error, "source broke");
  }
  await assertRejects(() => queue.closed, Error, "source broke");
});

test("stealing: closed rejects when a lane failed alone", async () => {
  const queue = new WorkStealingQueue<number>({ lanes: 2 });
  queue.lane(1).fail(new Error("half"));
  queue.lane(0).close();
  await assertRejects(() => queue.closed, Error, "half");
});

test("stealing: await using aborts what is left", async () => {
  const left: number[] = [];
  {
    await using queue = loaded(2, { onUndelivered: (item) => left.push(item) });
    assertEquals(queue.length, 2);
  }
  assertEquals(left, [1, 2]);
});

// -- Counting -----------------------------------------------------------------------

test("stealing: stats() tells who stole what from whom", () => {
  const queue = loaded(8);
  queue.lane(1).tryGet(); // 4 from lane 0
  queue.lane(2).tryGet(); // 2 from lane 0
  const { lanes, ...sums } = queue.stats();
  assertEquals(sums, {
    length: 6,
    put: 8,
    taken: 2,
    unfinished: 8,
    steals: 6,
    batches: 2,
  });
  assertEquals(
    lanes.map(({ length, put, taken, stolenFrom, stolenBy }) => [
      length,
      put,
      taken,
      stolenFrom,
      stolenBy,
    ]),
    [[2, 8, 0, 6, 0], [3, 0, 1, 0, 4], [1, 0, 1, 0, 2]],
  );
  assert(Object.isFrozen(queue.stats()) && Object.isFrozen(lanes));
  assert(Object.isFrozen(lanes[0]));
});

test("stealing: an item that is handed to another lane's get is one steal", async () => {
  const queue = new WorkStealingQueue<number>({ lanes: 2 });
  const waiting = queue.lane(1).get();
  queue.lane(0).tryPut(1);
  await waiting;
  const { steals, batches, lanes } = queue.stats();
  assertEquals([steals, batches], [1, 1]);
  assertEquals(lanes.map(({ put, taken }) => [put, taken]), [[1, 0], [0, 1]]);
});

test("stealing: peakLength counts what was brought in", () => {
  const queue = loaded(9);
  queue.lane(1).tryGet();
  assertEquals(queue.lane(1).stats().peakLength, 5);
});

test("stealing: join() waits for stolen items, wherever they are", async () => {
  const queue = loaded(4);
  let joined = false;
  const joining = queue.join().then(() => joined = true);
  for (const lane of [1, 2, 1, 0]) {
    await queue.lane(lane).get();
    await turns();
    assertEquals(joined, false);
    queue.taskDone();
  }
  await joining;
  assertThrows(
    () => queue.taskDone(),
    RangeError,
    "Cannot mark a task as done",
  );
  await queue.join();
});

test("stealing: a lane's own join() waits for what is its own now", async () => {
  const queue = loaded(2);
  const joining = queue.lane(0).join();
  await queue.lane(1).get(); // takes 2 away
  await queue.lane(0).get();
  queue.lane(0).taskDone();
  await joining;
  queue.lane(1).taskDone();
  await queue.join();
});

test("stealing: what was marked before it was taken stays marked when it is stolen", async () => {
  const queue = loaded(2);
  queue.lane(0).taskDone();
  queue.lane(0).taskDone();
  await queue.lane(1).get();
  await queue.lane(1).get();
  await queue.join();
  assertThrows(() => queue.lane(1).taskDone(), RangeError);
  check(queue);
});

test("stealing: join() after an abort rejects when something is owed", async () => {
  const queue = loaded(2);
  await queue.lane(1).get();
  queue.abort(new Error("stop"));
  await assertRejects(() => queue.join(), Error, "stop");
});

// -- Beside a simple model ----------------------------------------------------------

/** The rules again, with arrays and no promises. */
class Model {
  readonly lanes: {
    items: number[];
    putters: { item: number; done: (outcome: string) => void }[];
    getters: { since: number; done: (outcome: string) => void }[];
    state: "open" | "closing" | "closed" | "aborted";
  }[];
  readonly left: number[] = [];
  readonly #bound: number;
  readonly #half: boolean;
  #clock = 0;

  constructor(lanes: number, bound: number, half: boolean) {
    this.lanes = Array.from({ length: lanes }, () => ({
      items: [],
      putters: [],
      getters: [],
      state: "open",
    }));
    this.#bound = bound;
    this.#half = half;
  }

  put(lane: number | undefined, item: number, done: (outcome: string) => void) {
    const at = this.lanes[lane ?? this.#shortest()]!;
    if (at.state === "aborted") return done("aborted");
    if (at.state !== "open") return done(`refused: ${at.state}`);
    const getter = at.getters[0] ?? this.#longestWaiting();
    if (getter !== undefined) {
      this.#withdraw(getter);
      getter.done(`${item}`);
      return done("put");
    }
    at.putters.push({ item, done });
    this.#admit(at);
  }

  get(lane: number, done: (outcome: string) => void) {
    const at = this.lanes[lane]!;
    if (at.state === "aborted") return done("aborted");
    if (at.state === "closed") return done("closed");
    if (at.items.length + at.putters.length === 0) this.#steal(at);
    let item = at.items.shift();
    if (item === undefined) {
      const putter = at.putters.shift();
      if (putter === undefined) {
        at.getters.push({ since: this.#clock++, done });
        return;
      }
      putter.done("put");
      item = putter.item;
    }
    done(`${item}`);
    this.#admit(at);
    this.#end();
  }

  cancelPut(item: number) {
    for (const lane of this.lanes) {
      const at = lane.putters.findIndex((putter) => putter.item === item);
      if (at >= 0) lane.putters.splice(at, 1)[0]!.done("cancelled");
    }
    this.#end();
  }

  cancelGet(done: (outcome: string) => void) {
    const getter = this.#getters().find((getter) => getter.done === done);
    if (getter === undefined) return;
    this.#withdraw(getter);
    done("cancelled");
  }

  close(lane: number) {
    const at = this.lanes[lane]!;
    if (at.state === "open") at.state = "closing";
    this.#end();
  }

  abort(lane: number) {
    const at = this.lanes[lane]!;
    if (at.state === "closed" || at.state === "aborted") return;
    at.state = "aborted";
    this.left.push(...at.items.splice(0));
    for (const { done } of at.putters.splice(0)) done("aborted");
    for (const { done } of at.getters.splice(0)) done("aborted");
    this.#end();
  }

  #shortest(): number {
    const waiting = this.#longestWaiting();
    const found = this.lanes.findIndex(({ getters, state }) =>
      state === "open" && waiting !== undefined && getters[0] === waiting
    );
    if (found >= 0) return found;
    const open = this.lanes.filter(({ state }) => state === "open");
    const load = (lane: Model["lanes"][number]) =>
      lane.items.length + lane.putters.length +
      (lane.items.length < this.#bound ? 0 : 1e6);
    const best = Math.min(...open.map(load));
    return Math.max(
      0,
      this.lanes.indexOf(open.find((lane) => load(lane) === best)!),
    );
  }

  #getters() {
    return this.lanes.flatMap((lane) => lane.getters);
  }

  #longestWaiting() {
    return this.#getters().sort((a, b) => a.since - b.since)[0];
  }

  #withdraw(getter: { since: number }) {
    for (const lane of this.lanes) {
      lane.getters = lane.getters.filter((other) => other !== getter);
    }
  }

  #steal(thief: Model["lanes"][number]) {
    const load = (lane: typeof thief) =>
      lane.items.length + lane.putters.length;
    const most = Math.max(...this.lanes.map(load));
    if (most === 0) return;
    const victim = this.lanes.find((lane) => load(lane) === most)!;
    if (victim.items.length === 0) {
      const { item, done } = victim.putters.shift()!;
      done("put");
      victim.items.push(item);
    }
    const count = this.#half ? Math.ceil(victim.items.length / 2) : 1;
    thief.items.push(...victim.items.splice(victim.items.length - count));
    this.#admit(victim);
  }

  #admit(lane: Model["lanes"][number]) {
    while (lane.putters.length > 0 && lane.items.length < this.#bound) {
      const { item, done } = lane.putters.shift()!;
      lane.items.push(item);
      done("put");
    }
  }

  #end() {
    const busy = this.lanes.some(({ items, putters, state }) =>
      state === "open" || items.length + putters.length > 0
    );
    if (busy) return;
    for (const lane of this.lanes) {
      if (lane.state !== "closing") continue;
      lane.state = "closed";
      for (const { done } of lane.getters.splice(0)) done("closed");
    }
  }
}

test("stealing: whatever is done to the lanes, a simple model comes to the same", async () => {
  const operation = fc.record({
    verb: fc.constantFrom(
      ...["put", "put", "put", "put", "putAnywhere", "tryPut", "get", "get"],
      ...["get", "get", "tryGet", "cancel", "close", "abort"],
    ),
    lane: fc.nat(2),
    which: fc.nat(9),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { maxLength: 60 }),
      fc.constantFrom(0, 1, 2, 5),
      fc.boolean(),
      async (operations, bound, half) => {
        const left: number[] = [];
        const queue = new WorkStealingQueue<number>({
          lanes: 3,
          highWaterMark: bound,
          steal: half ? "half" : "one",
          onUndelivered: (item) => left.push(item),
        });
        const model = new Model(3, bound, half);
        const real: string[] = [];
        const expected: string[] = [];
        const cancels: (() => void)[] = [];
        let item = 0;
        let rare = 0;
        const told = (error: unknown): string => {
          if (!(error instanceof QueueClosedError)) {
            return (error as Error).message;
          }
          const [, state] = /one that is (\w+)( and empty)?$/.exec(
            error.message,
          )!;
          return "item" in error && error.item !== undefined
            ? `refused: ${state}`
            : state!;
        };
        for (const { verb, lane, which } of operations) {
          const at = real.length;
          const signal = new AbortController();
          const note = (outcome: unknown) => void (real[at] = `${outcome}`);
          const done = (outcome: string) => void (expected[at] = outcome);
          const put = (where: number | undefined) => {
            const mine = ++item;
            const options = where === undefined ? {} : { lane: where };
            queue.put(mine, { ...options, signal: signal.signal })
              .then(() => note("put"), (error) => note(told(error)));
            model.put(where, mine, done);
            cancels.push(() => {
              signal.abort(new Error("cancelled"));
              model.cancelPut(mine);
            });
          };
          real[at] = expected[at] = "nothing";
          if (verb === "put") put(lane);
          if (verb === "putAnywhere") put(undefined);
          if (verb === "tryPut") {
            const mine = ++item;
            try {
              if (queue.lane(lane).tryPut(mine)) note("put");
            } catch (error) {
              note(told(error));
            }
            model.put(lane, mine, done);
            // What would wait is what tryPut leaves alone.
            for (const { putters } of model.lanes) {
              const own = putters.findIndex((putter) => putter.item === mine);
              if (own >= 0) putters.splice(own, 1);
            }
          }
          if (verb === "get") {
            queue.lane(lane).get({ signal: signal.signal })
              .then(note, (error) => note(told(error)));
            model.get(lane, done);
            cancels.push(() => {
              signal.abort(new Error("cancelled"));
              model.cancelGet(done);
            });
          }
          if (verb === "tryGet") {
            const found = queue.lane(lane).tryGet();
            if (found !== undefined) note(found);
            const { getters } = model.lanes[lane]!;
            const waiting = getters.length;
            model.get(lane, done);
            if (getters.length > waiting) getters.pop();
            // The end is nothing, too.
            if (!/\d/.test(expected[at]!)) done("nothing");
          }
          if (verb === "cancel") cancels[which]?.();
          if (verb === "close" && rare++ % 2 === 0) {
            queue.lane(lane).close();
            model.close(lane);
          }
          if (verb === "abort" && rare++ % 3 === 2) {
            queue.lane(lane).abort(new Error("aborted"));
            model.abort(lane);
          }
          await turns();
          check(queue);
          assertEquals(real, expected);
          assertEquals(
            lanesOf(queue).map((each) => [each.length, each.stats().state]),
            model.lanes.map(({ items, state }) => [
              items.length,
              state === "aborted" ? "errored" : state,
            ]),
          );
        }
        assertEquals(left, model.left);
        const { put, taken, length, lanes } = queue.stats();
        const undelivered = lanes.reduce(
          (sum, each) => sum + each.undelivered,
          0,
        );
        assertEquals(put, taken + length + undelivered);
        queue.abort();
        await turns();
      },
    ),
    parameters(1000),
  );
});

// -- Bad input ----------------------------------------------------------------------

test("stealing: options that cannot be used are named", () => {
  const cases: [unknown, string][] = [
    [undefined, "options must be an object, received undefined"],
    [{}, "lanes must be a number, received undefined"],
    [{ lanes: "2" }, 'lanes must be a number, received "2"'],
    [{ lanes: 0 }, "lanes must be a whole number of 1 or more, received 0"],
    [{ lanes: 1.5 }, "lanes must be a whole number of 1 or more, received 1.5"],
    [{ lanes: NaN }, "lanes must be a whole number of 1 or more, received NaN"],
    [
      { lanes: 2, steal: "all" },
      'steal must be "half" or "one", received "all"',
    ],
    [
      { lanes: 2, victim: "me" },
      'victim must be "longest" or "random", received "me"',
    ],
    [{ lanes: 2, random: 4 }, "random must be a function, received 4"],
    [{ lanes: 2, highWaterMark: -1 }, "highWaterMark must be 0 or more"],
  ];
  for (const [options, message] of cases) {
    assertThrows(
      () => new WorkStealingQueue(options as { lanes: number }),
      Error,
      `Cannot make a queue: ${message}`,
    );
  }
});

test("stealing: a lane that does not exist is a RangeError, and nothing is put", async () => {
  const queue = new WorkStealingQueue<number>({ lanes: 2 });
  for (const index of [2, -1, 0.5, NaN]) {
    assertThrows(
      () => queue.lane(index),
      RangeError,
      `Cannot get a lane: index must be a whole number from 0 to 1, received ${index}`,
    );
    await assertRejects(
      () => queue.put(1, { lane: index }),
      RangeError,
      `Cannot put: lane must be a whole number from 0 to 1, received ${index}`,
    );
  }
  assertThrows(() => queue.lane("0" as never), TypeError, 'received "0"');
  assertEquals(queue.length, 0);
  assertStrictEquals(queue.lane(1), queue.lane(1));
});

// -- Makespan -----------------------------------------------------------------------

const LANES = 4;
const TASKS = 2000;

test(
  "stealing: under skewed work it takes as long as a shared queue, and static lanes 2.5 times as long",
  async () => {
    const work = tasks(TASKS, LANES, 0.9);
    const together = await shared(work, LANES);
    const apart = await separate(work, LANES);
    for (
      const options of [
        {},
        { steal: "one" },
        { victim: "random" },
      ] as const
    ) {
      const thieves = await stealing(work, LANES, options);
      assertEquals([together.done, apart.done, thieves.done], [
        TASKS,
        TASKS,
        TASKS,
      ]);
      assertLess(thieves.ticks, together.ticks * 1.15);
      assertLess(thieves.ticks * 2.5, apart.ticks);
    }
  },
);

test(
  "stealing: under uniform work it takes no longer than static lanes",
  async () => {
    const work = tasks(TASKS, LANES, 1 / LANES);
    const apart = await separate(work, LANES);
    const thieves = await stealing(work, LANES);
    assertEquals(thieves.done, TASKS);
    assertLess(thieves.ticks, apart.ticks * 1.05);
  },
);
