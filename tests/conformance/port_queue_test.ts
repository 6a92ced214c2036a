import { assert, assertEquals } from "@std/assert";
import { Queue, type QueueOptions } from "../../mod.ts";
import { assertInvariants } from "../../src/queue.ts";
import { connect, serve } from "../../src/threads.ts";
import { cases, type Kind } from "./suite.ts";
import { fakeChannel } from "../support/fake_ports.ts";
import { test } from "../support/harness.ts";

/** Disposal leaves the queue to its other users: "who disconnects gives back what it has". */
const LEAVES: readonly string[] = [
  "disposal reports what is left",
];

/** One put at a time stands in the line over there; the next comes with the credit after it. */
const LINES: readonly string[] = [
  "of three puts the oldest one leaves, the others keep their order",
  "of three puts the middle one leaves, the others keep their order",
  "of three puts the youngest one leaves, the others keep their order",
  "puts that wait are let in oldest first",
  "puts, writes and batches share one line",
  "300 gets and puts cancelled oldest first leave nobody in line",
  "300 gets and puts cancelled youngest first leave nobody in line",
  "300 gets and puts cancelled a mixed order of first leave nobody in line",
  "onUndelivered may put the dropped item back",
  "size may put: the room it takes is gone",
  "a rendezvous takes from the put that has waited longest",
];

/** desiredSize counts credits, whole puts, and not the weight of what is stored. */
const CREDITS: readonly string[] = [
  "fractions that waited and gave up leave the room as it was, to the last bit",
  "desiredSize counts down by what is stored and what waits",
  "a rendezvous stores nothing: put() waits for its taker",
  "an unbounded queue never makes a put wait",
  "a bound of a fraction lets items in while anything of it is left",
  "one heavy item may overshoot the bound",
  "a light item waits until enough weight is taken",
  "the strategies of the platform are options",
  "lowering the bound makes puts wait until enough is taken",
  "raising the bound lets in no more than it has room for",
];

/** A reason and an item of another thread are copies. */
const COPIES: readonly string[] = [
  "a chunk that cannot be put ends the pipe and fails the queue",
  "abort: a failing producer aborts the queue",
  "an Error is an item on every way in and out",
  "an array is an item on every way in and out",
  "what size throws rejects the put and changes nothing",
  "an item that size refuses is not given to a waiting get",
];

/** What cannot be cloned is refused: "a put that cannot be cloned rejects alone". */
const CLONES: readonly string[] = [
  "a function is an item on every way in and out",
  "a promise is an item: it comes out as the same promise",
  "a promise that never settles does not hold up its put",
  "a thenable is stored, not followed",
  "a thenable's then may use the queue while it is handed over",
];

/** A put waits for its answer, and listens to its signal until then. */
const ANSWERS: readonly string[] = [
  "the listener goes with the last that waits",
  "what needs no waiting listens to no signal",
];

/** tryPut() is true with a credit: the queue refuses or drops the item later, which is reported. */
const PROMISES: readonly string[] = [
  "a size of -1 is a RangeError",
  "a size of NaN is a RangeError",
  "a size of Infinity is a RangeError",
  'a size of "1" is a RangeError',
  "a size of undefined is a RangeError",
  "a size of null is a RangeError",
  "size is asked once for each item, in order of the puts",
  "tryPut() into a rendezvous needs a get that waits",
  "wait: tryPut() into a rendezvous without a taker is false",
  "reject: tryPut() into a rendezvous without a taker is false",
  "drop-oldest: tryPut() into a full queue is true",
  "drop-newest: tryPut() into a rendezvous without a taker is false",
];

/** A batch is what comes first, and nothing is fetched ahead of it here. */
const BATCHES: readonly string[] = [
  "getMany(Infinity) takes all that is there",
];

/** A turn for each of so many calls takes seconds: "2,000 gets and puts are cancelled" has them in one. */
const TURNS: readonly string[] = [
  "40,000 are cancelled at once by a signal they share",
  "40,000 are cancelled one by one, youngest first",
];

const DIFFERS: readonly string[] = [
  ...TURNS,
  ...LEAVES,
  ...LINES,
  ...CREDITS,
  ...COPIES,
  ...CLONES,
  ...ANSWERS,
  ...PROMISES,
  ...BATCHES,
];

/** What is asked of the queue itself: the connected side does not know what is stored. */
const OF_THE_QUEUE: ReadonlySet<PropertyKey> = new Set([
  "clear",
  "highWaterMark",
  "join",
  "length",
  "stats",
  "taskDone",
  "tryGet",
]);

/**
 * Runs a case with turns that end when a call does, so that what is put over a
 * port is there when the next line of the case looks.
 */
class Turns {
  readonly #due: (() => void)[] = [];
  readonly #native: typeof queueMicrotask = globalThis.queueMicrotask;
  readonly checks: (() => void)[] = [];

  async run(act: () => void | Promise<void>): Promise<void> {
    globalThis.queueMicrotask = (callback) => this.add(callback);
    try {
      await act();
    } finally {
      globalThis.queueMicrotask = this.#native;
    }
    this.end();
    for (const check of this.checks) check();
  }

  add(callback: () => void): void {
    this.#due.push(callback);
    // For what happens without a call.
    this.#native(() => this.end());
  }

  end(): void {
    for (
      let callback = this.#due.shift();
      callback !== undefined;
      callback = this.#due.shift()
    ) callback();
  }

  /** A queue whose puts, gets, streams and endings go over a port. */
  connected<T>(options?: QueueOptions<T>): Queue<T> {
    const queue = new Queue<T>(options);
    const [left, right] = fakeChannel((delivery) => this.add(delivery));
    const onUndelivered = (): void => {};
    serve(queue, left, { highWaterMark: 100_000, onUndelivered });
    const there = connect<T>(right, { highWaterMark: 0, onUndelivered });
    this.end();
    this.checks.push(() => assertInvariants(queue));
    const both = (name: PropertyKey): Record<PropertyKey, unknown> =>
      (OF_THE_QUEUE.has(name) ? queue : there) as never;
    return new Proxy(there, {
      get: (_, name): unknown => {
        const value = both(name)[name];
        this.end();
        if (typeof value !== "function") return value;
        return (...parameters: unknown[]): unknown => {
          try {
            return value.apply(both(name), parameters);
          } finally {
            this.end();
          }
        };
      },
      set: (_, name, value): boolean => {
        both(name)[name] = value;
        this.end();
        return true;
      },
    }) as unknown as Queue<T>;
  }
}

for (const item of cases) {
  if (DIFFERS.includes(item.name)) continue;
  test(`PortQueue: ${item.group}: ${item.name}`, async () => {
    const turns = new Turns();
    const kind: Kind = {
      name: "PortQueue",
      order: "fifo",
      create: (options) => turns.connected(options),
    };
    await turns.run(() => item.run(kind));
  });
}

test("PortQueue: conformance: what is left out is of the suite, and little", () => {
  const names = new Set(cases.map((item) => item.name));
  assertEquals(DIFFERS.filter((name) => !names.has(name)), []);
  assert(DIFFERS.length <= 50 && cases.length > 250);
});
