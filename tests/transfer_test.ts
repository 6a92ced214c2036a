import { assert, assertEquals, assertRejects } from "@std/assert";
import { Worker } from "node:worker_threads";
import { Queue, type UndeliveredReason } from "../mod.ts";
import { assertInvariants } from "../src/queue.ts";
import { runtime, test, type TestOptions } from "./support/harness.ts";
import { pause, until } from "./support/waiting.ts";
import { readAll } from "./support/streams.ts";
import { upTo } from "./support/items.ts";

/** Bun 1.4 cannot transfer streams. */
const TRANSFERS = runtime !== "bun";

type Stream = ReadableStream<number> | WritableStream<number>;

/** How a stream gets to the other side, and how that side is closed. */
interface Crossing {
  cross<S extends Stream>(stream: S): Promise<S>;
  close(): void;
}

const crossings: Record<string, () => Crossing> = {
  "structuredClone()": function () {
    return {
      cross<S extends Stream>(stream: S): Promise<S> {
        return Promise.resolve(structuredClone(stream, { transfer: [stream] }));
      },
      close(): void {},
    };
  },
  "postMessage()": function () {
    const { port1, port2 } = new MessageChannel();
    return {
      cross<S extends Stream>(stream: S): Promise<S> {
        return new Promise((resolve) => {
          port2.onmessage = ({ data }) => resolve(data as S);
          port1.postMessage(stream, [stream]);
        });
      },
      close(): void {
        port1.close();
        port2.close();
      },
    };
  },
};

/** A queue and all that has become of its items. */
class Account {
  readonly undelivered: number[] = [];
  readonly reasons: Set<UndeliveredReason> = new Set();
  readonly queue: Queue<number>;

  constructor(highWaterMark: number) {
    this.queue = new Queue<number>({
      highWaterMark,
      onUndelivered: (item, reason) => {
        this.undelivered.push(item);
        this.reasons.add(reason);
      },
    });
  }

  fill(count: number): void {
    for (let item = 0; item < count; item++) assert(this.queue.tryPut(item));
  }
}

/**
 * What was read there, and what is left here. The platform sends one item ahead
 * of the one who reads; that one is the other side's, and goes with its stream.
 */
function assertConserved(read: number[], left: number[], all: number[]): void {
  assertEquals(read, all.slice(0, read.length));
  assertEquals(left, all.slice(all.length - left.length));
  const ahead = all.length - read.length - left.length;
  assert(ahead === 0 || ahead === 1, `${ahead} items are nowhere`);
}

function promise(
  name: string,
  run: (crossing: Crossing) => Promise<void>,
  options: TestOptions = {},
): void {
  if (!TRANSFERS) return;
  for (const [way, make] of Object.entries(crossings)) {
    test(`transfer by ${way}: ${name}`, async () => {
      const crossing = make();
      try {
        await run(crossing);
      } finally {
        crossing.close();
      }
    }, options);
  }
}

for (const which of ["consumer", "readable"] as const) {
  promise(
    `all items of a ${which} arrive in order, and close() after them`,
    async ({ cross }) => {
      const { queue, undelivered } = new Account(4);
      const stream = which === "consumer" ? queue.consumer() : queue.readable;
      const reading = readAll(await cross(stream));
      await queue.putMany(upTo(200));
      queue.close();
      assertEquals(await reading, upTo(200));
      await queue.closed;
      assertInvariants(queue);
      assertEquals([undelivered, queue.stats().taken], [[], 200]);
    },
  );

  promise(
    `a ${which} sends at most one item ahead of its reader`,
    async ({ cross }) => {
      const account = new Account(100);
      const { queue } = account;
      account.fill(100);
      const stream = which === "consumer" ? queue.consumer() : queue.readable;
      const reader = (await cross(stream)).getReader();
      const read: number[] = [];
      for (let count = 0; count < 10; count++) {
        read.push((await reader.read()).value!);
      }
      // More would come now, if it came.
      await pause(50);
      assertInvariants(queue);
      assert(queue.length >= 89, `${queue.length} items are left`);
      assertConserved(read, queue.clear(), upTo(100));
      await reader.cancel();
    },
  );

  promise(
    `fail() reaches a ${which} after the last item`,
    async ({ cross }) => {
      const account = new Account(10);
      const { queue } = account;
      account.fill(10);
      const stream = which === "consumer" ? queue.consumer() : queue.readable;
      const reader = (await cross(stream)).getReader();
      queue.fail(new RangeError("the source broke"));
      for (const item of upTo(10)) {
        assertEquals(await reader.read(), { done: false, value: item });
      }
      await assertRejects(() => reader.read(), RangeError, "the source broke");
    },
  );
}

promise(
  "cancelling a consumer over there takes it away and nothing else",
  async ({ cross }) => {
    const account = new Account(10);
    const { queue, undelivered } = account;
    account.fill(10);
    const other = queue.consumer().getReader();
    const reader = (await cross(queue.consumer())).getReader();
    const read = [(await reader.read()).value!, (await reader.read()).value!];
    await reader.cancel("enough");
    await pause(50);
    assertEquals(queue.stats().state, "open");
    assertInvariants(queue);
    const first = queue.length;
    const here = (await other.read()).value!;
    assertConserved(read, [here, ...queue.clear()], upTo(10));
    assertEquals([first >= 7, undelivered], [true, []]);
    // Nothing over there takes what comes later.
    assert(queue.tryPut(10));
    await pause(50);
    assertEquals(queue.tryGet(), 10);
  },
);

promise(
  "cancelling queue.readable over there aborts the queue",
  async ({ cross }) => {
    const account = new Account(10);
    const { queue, undelivered, reasons } = account;
    account.fill(10);
    const reader = (await cross(queue.readable)).getReader();
    const read = [(await reader.read()).value!];
    await reader.cancel("enough");
    assertEquals(await assertRejects(() => queue.closed), "enough");
    assertInvariants(queue);
    assertConserved(read, undelivered, upTo(10));
    assertEquals([...reasons], ["abort"]);
  },
);

promise(
  "two consumers over there share the items, each goes to one",
  async ({ cross }) => {
    const { queue } = new Account(4);
    const left = await cross(queue.consumer());
    const right = await cross(queue.consumer());
    const reading = [readAll(left), readAll(right)];
    await queue.putMany(upTo(200));
    queue.close();
    const [one, two] = await Promise.all(reading);
    for (const part of [one!, two!]) {
      assertEquals(part, [...part].sort((a, b) => a - b));
    }
    assertEquals([...one!, ...two!].sort((a, b) => a - b), upTo(200));
  },
);

promise(
  "what is written over there comes out here in order, and the close after it",
  async ({ cross }) => {
    const { queue } = new Account(4);
    const writer = (await cross(queue.writable)).getWriter();
    const writing = (async () => {
      for (const item of upTo(200)) await writer.write(item);
      await writer.close();
    })();
    const items: number[] = [];
    for await (const item of queue) items.push(item);
    await writing;
    await queue.closed;
    assertInvariants(queue);
    assertEquals(items, upTo(200));
  },
);

promise("a writer over there feels the bound", async ({ cross }) => {
  const { queue } = new Account(4);
  const writer = (await cross(queue.writable)).getWriter();
  let written = 0;
  const writing = (async () => {
    for (const item of upTo(200)) {
      await writer.ready;
      await writer.write(item);
      written++;
    }
  })();
  await until(() => queue.length === 4, "a full queue");
  await pause(50);
  // The queue's four, and the few that the platform keeps on the way.
  assert(written < 20, `${written} written while nobody reads`);
  for (const item of upTo(200)) assertEquals(await queue.get(), item);
  await writing;
  await writer.close();
  await queue.closed;
});

promise(
  "abort() of a writer over there aborts the queue",
  async ({ cross }) => {
    const { queue, undelivered } = new Account(4);
    const writer = (await cross(queue.writable)).getWriter();
    await writer.write(0);
    await until(() => queue.length === 1, "an item");
    await writer.abort("broken");
    assertEquals(await assertRejects(() => queue.closed), "broken");
    assertEquals(undelivered, [0]);
  },
);

promise(
  "close() of the queue reaches a writer over there, what was accepted stays",
  async ({ cross }) => {
    const { queue } = new Account(4);
    const writer = (await cross(queue.writable)).getWriter();
    await writer.write(0);
    await until(() => queue.length === 1, "an item");
    queue.close();
    await assertRejects(() => writer.closed);
    assertEquals(await queue.getMany(10), [0]);
    await queue.closed;
  },
  // Deno leaves the port of a stream open that ends in an error over here.
  { sanitize: false },
);

const WORKER = `
  const { parentPort } = require("node:worker_threads");
  parentPort.once("message", async ({ readable, writable }) => {
    const writer = writable.getWriter();
    const reader = readable.getReader();
    for (let step = await reader.read(); !step.done; step = await reader.read()) {
      await writer.write(step.value * 2);
    }
    await writer.close();
  });
`;

if (TRANSFERS) {
  test("transfer: a worker takes from one queue and puts into another", async () => {
    const { queue: tasks } = new Account(4);
    const { queue: results } = new Account(4);
    const worker = new Worker(WORKER, { eval: true });
    try {
      const [readable, writable] = [tasks.consumer(), results.producer()];
      worker.postMessage(
        { readable, writable },
        [readable, writable] as never,
      );
      const putting = tasks.putMany(upTo(100)).then(() => tasks.close());
      const items: number[] = [];
      for await (const item of results) items.push(item);
      await putting;
      assertEquals(items, upTo(100).map((item) => item * 2));
      assertInvariants(tasks);
      assertInvariants(results);
    } finally {
      await worker.terminate();
    }
  });
} else {
  test("transfer: where streams cannot be transferred, the attempt throws and nothing is lost", () => {
    const account = new Account(10);
    const { queue, undelivered } = account;
    account.fill(10);
    const { port1, port2 } = new MessageChannel();
    for (const stream of [queue.consumer(), queue.readable, queue.writable]) {
      for (
        const attempt of [
          () => structuredClone(stream, { transfer: [stream] }),
          () => port1.postMessage(stream, [stream as Transferable]),
        ]
      ) {
        let thrown: unknown;
        try {
          attempt();
        } catch (error) {
          thrown = error;
        }
        assert(thrown instanceof Error, "the attempt throws");
      }
    }
    port1.close();
    port2.close();
    assertInvariants(queue);
    assertEquals([queue.clear(), undelivered], [upTo(10), []]);
    assertEquals(queue.stats().state, "open");
  });
}
