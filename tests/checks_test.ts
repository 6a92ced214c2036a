import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  balance,
  Broadcast,
  concurrentMap,
  consume,
  LifoQueue,
  merge,
  mergeSorted,
  monitor,
  partition,
  PriorityQueue,
  Queue,
  replay,
  select,
  tee,
  WorkStealingQueue,
} from "../mod.ts";
import {
  checkAbortSignal,
  checkAtLeast,
  checkBoolean,
  checkCallbacks,
  checkCount,
  checkFunction,
  checkLimit,
  checkObject,
  checkRange,
  checkString,
  checkWord,
} from "../src/checks.ts";
import { CloudflareQueue, queueHandler } from "../src/cloudflare.ts";
import { dashboard } from "../src/dashboard.ts";
import { NatsQueue } from "../src/nats.ts";
import { instrument, tracing } from "../src/otel.ts";
import { RedisQueue } from "../src/redis.ts";
import {
  bytes,
  connect,
  serve,
  SharedQueue,
  WorkerPool,
} from "../src/threads.ts";
import { test } from "./support/harness.ts";
import { ignore } from "./support/waiting.ts";

const binding = { send: ignore, sendBatch: ignore } as never;
const ioredis = {
  callBuffer: ignore,
  duplicate: ignore,
  on: ignore,
  status: "",
} as never;
const nats = {
  connection: { publish: ignore, subscribe: ignore, status: ignore },
  headers: ignore,
} as never;
const meter = { addBatchObservableCallback: ignore } as never;
const port = { postMessage: ignore, addEventListener: ignore } as never;

/** All that takes options once, and one of the names that each of them knows. */
const takers: Record<string, [string, (options: never) => unknown]> = {
  Queue: ["highWaterMark", (options) => new Queue(options)],
  LifoQueue: ["overflow", (options) => new LifoQueue(options)],
  PriorityQueue: ["aging", (options) => new PriorityQueue(options)],
  WorkStealingQueue: ["steal", (options) => new WorkStealingQueue(options)],
  Broadcast: ["replay", (options) => new Broadcast(options)],
  subscribe: ["onLag", (options) => new Broadcast().subscribe(options)],
  producer: ["onError", (options) => new Queue().producer(options)],
  getMany: ["linger", (options) => new Queue().getMany(1, options)],
  select: ["signal", (options) => select([new Queue()], options)],
  tee: ["onLag", (options) => tee([], 2, options)],
  partition: ["overflow", (options) => partition([], 2, String, options)],
  balance: ["onUndelivered", (options) => balance([], 2, options)],
  merge: ["onError", (options) => merge([], options)],
  mergeSorted: [
    "signal",
    (options) => mergeSorted<number>([], (a, b) => a - b, options),
  ],
  consume: ["concurrency", (options) => consume([], ignore, options)],
  concurrentMap: ["concurrency", (options) => concurrentMap(ignore, options)],
  replay: ["onUndelivered", (options) => replay([], new Queue(), options)],
  monitor: ["interval", (options) => monitor(new Queue(), options)],
  dashboard: ["authorize", (options) => dashboard(new Queue(), options)],
  instrument: [
    "attributes",
    (options) => instrument(new Queue(), meter, options),
  ],
  tracing: [
    "contextOf",
    (options) =>
      tracing(
        {
          context: { with: ignore, active: ignore },
          trace: { setSpan: ignore },
          propagation: { inject: ignore },
        } as never,
        options,
      ),
  ],
  SharedQueue: ["bytes", (options) => new SharedQueue(options)],
  attach: [
    "codec",
    (options) => SharedQueue.attach(new SharedQueue().handle, options),
  ],
  putSync: ["timeout", (options) => new SharedQueue().putSync(1, options)],
  "getMany of a SharedQueue": [
    "linger",
    (options) => new SharedQueue().getMany(1, options),
  ],
  "producer of a SharedQueue": [
    "onError",
    (options) => new SharedQueue().producer(options),
  ],
  "putMany of a CloudflareQueue": [
    "signal",
    (options) => new CloudflareQueue(binding).putMany([], options),
  ],
  "close of a CloudflareQueue": [
    "signal",
    (options) => new CloudflareQueue(binding).close(options),
  ],
  bytes: ["pooled", (options) => bytes(options)],
  connect: ["heartbeat", (options) => connect(port, options)],
  serve: ["channel", (options) => serve(new Queue(), port, options)],
  WorkerPool: [
    "startTimeout",
    (options) => new WorkerPool(new URL("data:,"), options),
  ],
  RedisQueue: [
    "visibility",
    (options) => new RedisQueue(ioredis, "q", options),
  ],
  NatsQueue: ["partitions", (options) => new NatsQueue(nats, "q", options)],
  CloudflareQueue: [
    "offline",
    (options) => new CloudflareQueue(binding, options),
  ],
  queueHandler: ["maxDuration", (options) => queueHandler(ignore, options)],
};

/** What it says to those options, whether at once or by a promise. */
async function complaint(
  take: (options: never) => unknown,
  options: unknown,
): Promise<string> {
  const error = await assertRejects(
    async () => void (await take(options as never)),
    TypeError,
  );
  return error.message;
}

for (const [taker, [name, take]] of Object.entries(takers)) {
  test(`options: ${taker} refuses a name it does not know, and tells the one that was meant`, async () => {
    const misspelt = name.slice(0, 3) + name.slice(4);
    const message = await complaint(take, { [misspelt]: 1 });
    assertStringIncludes(
      message,
      `: options must have known names, received "${misspelt}" ` +
        `(did you mean "${name}"?)`,
    );
    assert(message.startsWith("Cannot "));
    assertStringIncludes(
      await complaint(take, { signalOfNobody: undefined }),
      name,
    );
  });
}

test("options: each nested one is called by its name", async () => {
  for (
    const [name, inner] of [["retry", "attempts"], ["batch", "max"], [
      "rate",
      "limit",
    ]] as const
  ) {
    const take = (nested: unknown): Promise<unknown> =>
      consume([], ignore, { [name]: nested } as never);
    assertEquals(
      await complaint(take, 3),
      `Cannot consume: ${name} must be an object, received 3`,
    );
    assertEquals(
      await complaint(take, { [`${inner}s`]: 3 }),
      `Cannot consume: ${name} must have known names, received "${inner}s" (did you mean "${inner}"?)`,
    );
  }
});

test("options: a name that comes near none is answered with all there are", () => {
  assertEquals(
    assertThrows(() => new Queue({ maxSize: 3 } as never), TypeError).message,
    'Cannot make a queue: options must have known names, received "maxSize" ' +
      "(known: highWaterMark, size, overflow, onUndelivered, name, maxInFlight, " +
      "timestamps, clock)",
  );
});

test("options: upper and lower case are no reason to know a name", () => {
  const error = assertThrows(
    () => new Queue({ highwatermark: 3 } as never),
    TypeError,
  );
  assertStringIncludes(error.message, 'mean "highWaterMark"');
});

test("options: a strategy of the platform and an instance of a class may carry what they like", () => {
  class Settings {
    highWaterMark = 3;
    maxSize = 4;
  }
  assertEquals(new Queue(new Settings()).highWaterMark, 3);
  assertEquals(new PriorityQueue(new Settings()).highWaterMark, 3);
  assertEquals(
    new Queue(new CountQueuingStrategy({ highWaterMark: 5 })).highWaterMark,
    5,
  );
  const inherited = Object.create({ highWaterMark: 6, maxSize: 7 });
  assertEquals(new Queue(inherited).highWaterMark, 6);
});

test("options: an object without a prototype is plain, and symbols are nobody's names", () => {
  const bare = Object.assign(Object.create(null), { maxSize: 1 });
  assertThrows(() => new Queue(bare), TypeError, "maxSize");
  assertEquals(new Queue({ [Symbol("mine")]: 1 } as never).length, 0);
});

test("options: what is no object is no options, of any kind of queue", () => {
  for (const Kind of [Queue, LifoQueue, PriorityQueue, WorkStealingQueue]) {
    for (const options of [3, null, "lanes"]) {
      assertThrows(
        () => new Kind(options as never),
        TypeError,
        "options must be an object",
      );
    }
  }
});

test("checks: each says who wanted what, the rule and the value", () => {
  const [type, range] = [TypeError, RangeError];
  const cases: [() => void, typeof type | typeof range, string][] = [
    [() => checkCount("try", "n", "1", 0), type, 'a number, received "1"'],
    [
      () => checkCount("try", "n", 0.5, 0),
      range,
      "a whole number of 0 or more",
    ],
    [
      () => checkCount("try", "n", 9, 1, 8),
      range,
      "a whole number from 1 to 8",
    ],
    [() => checkCount("try", "n", Infinity, 1), range, "received Infinity"],
    [() => checkLimit("try", "n", 0, 1), range, "of 1 or more, or Infinity"],
    [() => checkAtLeast("try", "n", -1, 0), range, "0 or more, received -1"],
    [() => checkAtLeast("try", "n", NaN, 0), range, "0 or more, received NaN"],
    [() => checkRange("try", "n", 2, 0, 1), range, "from 0 to 1, received 2"],
    [
      () => checkRange("try", "n", Infinity, 1, Infinity),
      range,
      "a finite number of 1 or more, received Infinity",
    ],
    [() => checkString("try", "n", 1), type, "a string, received 1"],
    [() => checkBoolean("try", "n", 1), type, "a boolean, received 1"],
    [
      () => checkWord("try", "n", "d", ["a", "b", "c"]),
      type,
      '"a", "b" or "c", received "d"',
    ],
    [() => checkFunction("try", "n", 1), type, "a function, received 1"],
    [() => checkCallbacks("try", { n: null }), type, "a function"],
    [() => checkObject("try", "n", null), type, "an object, received null"],
  ];
  for (const [check, kind, rule] of cases) {
    const error = assertThrows(check, kind);
    assertStringIncludes(error.message, "Cannot try: n must be ");
    assertStringIncludes(error.message, rule);
  }
});

test("checks: what fits passes", () => {
  checkCount("try", "n", 8, 1, 8);
  checkLimit("try", "n", Infinity, 1);
  checkAtLeast("try", "n", Infinity, 0);
  checkRange("try", "n", 0.5, 0, 1);
  checkRange("try", "n", 1e300, 1, Infinity);
  checkWord("try", "n", "b", ["a", "b"]);
  checkCallbacks("try", { n: undefined, m: ignore });
  checkAbortSignal("try", undefined);
  checkAbortSignal("try", new AbortController().signal);
  const error = assertThrows(() => checkAbortSignal("try", null), TypeError);
  assertStringIncludes(error.message, "signal must be an AbortSignal");
});
