import {
  assertEquals,
  assertInstanceOf,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
} from "@std/assert";
import {
  balance,
  Broadcast,
  consume,
  type ConsumeOptions,
  type DeadLetter,
  LifoQueue,
  mergeSorted,
  monitor,
  partition,
  PriorityQueue,
  Queue,
  replay,
  tee,
  WorkStealingQueue,
} from "../mod.ts";
import { queueHandler } from "../src/cloudflare.ts";
import { Connection } from "../src/engines/core/connection.ts";
import { connect, json, serve, SharedQueue } from "../src/threads.ts";
import { deferred } from "../src/waiters.ts";
import { FakeMessage } from "./support/cloudflare.ts";
import { fakeChannel } from "./support/fake_ports.ts";
import { test } from "./support/harness.ts";
import { printedBy } from "./support/printed.ts";
import { SteppedClock } from "./support/stepped_clock.ts";
import { turns } from "./support/waiting.ts";

const boom = new Error("boom");

/** How a callback fails. An unhandled rejection would end this process. */
const ways: Record<string, () => unknown> = {
  throws() {
    throw boom;
  },
  "rejects with"() {
    return Promise.reject(boom);
  },
};

/** Whose callback it is, and what has it called once. */
type Provocation = [
  name: string,
  owner: string,
  provoke: (failing: () => never) => unknown,
];

const provocations: Provocation[] = [
  ["onUndelivered", "Queue", (onUndelivered) => {
    const queue = new Queue<number>({ name: "jobs", onUndelivered });
    queue.tryPut(1);
    queue.abort();
  }],
  ["onUndelivered", "LifoQueue, on a put", (onUndelivered) => {
    const overflow = "drop-oldest";
    const options = { highWaterMark: 1, overflow, onUndelivered } as const;
    return new LifoQueue<number>(options).putMany([1, 2]);
  }],
  ["onUndelivered", "PriorityQueue, on a put", (onUndelivered) => {
    const overflow = "drop-newest";
    const options = { highWaterMark: 1, overflow, onUndelivered } as const;
    return new PriorityQueue<number>(options).putMany([1, 2]);
  }],
  ["onUndelivered", "WorkStealingQueue", async (onUndelivered) => {
    const queue = new WorkStealingQueue<number>({ lanes: 2, onUndelivered });
    await queue.put(1);
    queue.abort();
  }],
  ["onUndelivered", "balance", async (onUndelivered) => {
    const options = { highWaterMark: 1, onUndelivered };
    const reader = balance([1, 2, 3], 1, options)[0]!.getReader();
    await reader.read();
    await turns();
    await reader.cancel();
  }],
  ["onUndelivered", "partition", async (onUndelivered) => {
    const keyOf = (): never => {
      throw new Error("no key");
    };
    const [branch] = partition([1], 1, keyOf, { onUndelivered });
    await assertRejects(() => branch!.getReader().read(), Error, "no key");
  }],
  ["onUndelivered", "consume", (onUndelivered) => {
    const handler = (): never => {
      throw new Error("failed");
    };
    return consume([1], handler, { onUndelivered });
  }],
  ["onOverrun", "consume", async (onOverrun) => {
    const clock = new SteppedClock();
    const { promise, resolve } = deferred<void>();
    const options = { timeout: 10, grace: 10, clock, onOverrun };
    const running = consume([1], () => promise, {
      ...options,
      onUndelivered() {},
    });
    await turns();
    clock.advance(10);
    clock.advance(10);
    resolve();
    await running;
  }],
  ["onUndelivered", "replay", async (onUndelivered) => {
    const letter = { item: 1 } as DeadLetter<number>;
    const full = { put: () => Promise.reject(new Error("full")) };
    const replaying = replay([letter], full, { onUndelivered });
    await assertRejects(() => replaying, Error, "full");
  }],
  ["onLag", "Broadcast", async (onLag) => {
    const news = new Broadcast<number>();
    const overflow = "drop-oldest";
    const options = { overflow, highWaterMark: 1, onLag } as const;
    const reader = news.subscribe(options).getReader();
    for (const item of [1, 2, 3]) await news.put(item);
    assertEquals((await reader.read()).value, 3);
  }],
  ["onLag", "tee", async (onLag) => {
    const overflow = "drop-oldest";
    const options = { overflow, highWaterMark: 1, onLag } as const;
    const [fast, slow] = tee([1, 2, 3], 2, options);
    const reader = fast!.getReader();
    while (!(await reader.read()).done);
    assertEquals((await slow!.getReader().read()).value, 3);
  }],
  ["onAlert", "monitor", async (onAlert) => {
    const queue = new Queue<number>({ highWaterMark: 1 });
    queue.tryPut(1);
    const options = { interval: 1, sustained: 0, onAlert };
    const reader = monitor(queue, options).getReader();
    assertEquals((await reader.read()).value?.fill, 1);
    await reader.cancel();
  }],
  ["onError", "an engine", async (onError) => {
    const clock = new SteppedClock();
    const driver = { open: () => Promise.reject(new Error("away")) };
    const link = new Connection(driver, { name: "jobs", clock, onError });
    const attempt = (): Promise<void> => link.attempt(() => Promise.resolve());
    await assertRejects(attempt, Error, "away");
  }],
  ["onError", "queueHandler", (onError) => {
    const deadLetter = (): never => {
      throw new Error("no room");
    };
    const retry = { attempts: 1 };
    return push(failing, { onError, deadLetter, retry });
  }],
  ["onReport", "queueHandler", (onReport) => push(() => {}, { onReport })],
  ["onUndelivered", "a port", async (onUndelivered) => {
    const [left, right] = fakeChannel();
    const queue = new Queue<number>();
    serve(queue, left);
    const there = connect<number>(right, { onUndelivered });
    await turns();
    there.tryPut(1); // on its way
    queue.abort();
    await turns();
    left.close();
    await turns();
  }],
  ["onUndelivered", "SharedQueue", async (onUndelivered) => {
    const queue = new SharedQueue<number>({ codec: json(), onUndelivered });
    await queue.put(1);
    queue.abort();
    await turns();
  }],
];

function failing(): never {
  throw new Error("failed");
}

function push(
  handler: () => void,
  options: Parameters<typeof queueHandler<unknown>>[1],
): Promise<void> {
  const batch = { queue: "pages", messages: [new FakeMessage("a", 1)] };
  return queueHandler(handler, options as never)(batch, undefined);
}

for (const [way, failing] of Object.entries(ways)) {
  for (const [name, owner, provoke] of provocations) {
    test(`callbacks: what ${name} of ${owner} ${way} is printed and goes no further`, async () => {
      const printed = await printedBy(async () => {
        await provoke(failing as () => never);
        await turns();
      });
      assertEquals(printed.length, 1);
      const [text, error] = printed[0]!;
      assertEquals(String(text).split(" of ")[0], name);
      assertStrictEquals(error, boom);
    });
  }
}

/** Functions whose result is needed at once, and the rejection that a promise of theirs leads to. */
const functions: [name: string, refusal: () => unknown][] = [
  ["keyOf(item)", () => partition([1], 1, late)[0]!.getReader().read()],
  ["keyOf(item)", () => consume([1], () => {}, { keyOf: late })],
  ["concurrency()", () => consume([1], () => {}, { concurrency: late })],
  ["random()", () => {
    const retry = { attempts: 2, delay: 1 };
    return consume([1], failing, { retry, random: late });
  }],
  ["size(item)", () => new Queue<number>({ size: late }).put(1)],
  ["size(item)", () => {
    return new WorkStealingQueue<number>({ lanes: 1, size: late }).put(1);
  }],
  ["priority(item)", () => {
    return new PriorityQueue<number>({ priority: late }).put(1);
  }],
  ["match(item)", async () => {
    const queue = new PriorityQueue<number>();
    await queue.put(1);
    try {
      queue.remove(late);
    } finally {
      assertEquals(queue.length, 1);
    }
  }],
  ["compare(a, b)", () => mergeSorted([[1], [2]], late).getReader().read()],
  ["codec.encode(item)", () => {
    const codec = { encode: late, decode: () => 1 };
    return new SharedQueue<number>({ codec }).put(1);
  }],
  ["codec.encodeInto(item, target)", () => {
    const codec = { encode: () => "", decode: () => 1, encodeInto: late };
    return new SharedQueue<number>({ codec }).put(1);
  }],
];

/** Its type says that it cannot be: who writes JavaScript is not told. */
function late(): never {
  return Promise.reject(boom) as never;
}

for (const [index, [name, refusal]] of functions.entries()) {
  test(`callbacks: a promise of ${name} is a TypeError (${index})`, async () => {
    const error = await assertRejects(async () => void await refusal());
    assertInstanceOf(error, TypeError);
    assertStringIncludes(error.message, name);
    await turns();
  });
}

test("callbacks: a promise of retry.when is a TypeError, and no further attempt", async () => {
  const errors: unknown[] = [];
  let attempts = 0;
  await consume([1], () => {
    attempts++;
    throw new Error("failed");
  }, {
    retry: { attempts: 3, delay: 1, when: late },
    onUndelivered: (_item, _reason, error) => errors.push(error),
  });
  assertEquals(attempts, 1);
  assertInstanceOf(errors[0], TypeError);
});

test("callbacks: the types say that a key is no promise", () => {
  type KeyOf = NonNullable<ConsumeOptions<{ id: string | object }>["keyOf"]>;
  const keyOf: KeyOf = ({ id }) => id;
  // @ts-expect-error: nobody would wait for it.
  const late: KeyOf = ({ id }) => Promise.resolve(id);
  assertNotStrictEquals(keyOf, late);
});
