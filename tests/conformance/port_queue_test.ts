import { assertEquals } from "@std/assert";
import { Queue, type QueueOptions } from "../../mod.ts";
import { assertInvariants } from "../../src/queue.ts";
import { connect, serve } from "../../src/threads.ts";
import { everythingBut, type Kind } from "./cases.ts";
import { cases, casesFor } from "./suite.ts";
import { fakeChannel } from "../support/fake_ports.ts";
import { test } from "../support/harness.ts";

/** Its own tests check what it promises instead. */
const can = everythingBut(
  // "who disconnects gives back what it has"
  "owner",
  // One put at a time stands in the line over there; the next comes with the credit after it.
  "line",
  // desiredSize counts credits, whole puts.
  "room",
  // A reason and an item of another thread are copies, and what cannot be cloned is refused:
  // "a put that cannot be cloned rejects alone".
  "identity",
  // A put waits for its answer, and listens to its signal until then.
  "signals",
  // True with a credit: the queue refuses or drops the item later, which is reported.
  "answers",
  // A batch is what comes first, and nothing is fetched ahead of it here.
  "batches",
  // A turn for each takes seconds: "2,000 gets and puts are cancelled" has them in one.
  "crowds",
);

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

function kindOver(turns: Turns): Kind {
  return {
    name: "PortQueue",
    order: "fifo",
    can,
    create: (options) => turns.connected(options),
  };
}

for (const item of casesFor(kindOver(new Turns()))) {
  test(`PortQueue: ${item.group}: ${item.name}`, async () => {
    const turns = new Turns();
    await turns.run(() => item.run(kindOver(turns)));
  });
}

test("PortQueue: conformance: what is left out is little", () => {
  assertEquals(cases.length - casesFor(kindOver(new Turns())).length, 50);
});
