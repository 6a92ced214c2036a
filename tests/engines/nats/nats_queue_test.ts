import {
  connect,
  headers,
  type NatsConnection as RealConnection,
} from "@nats-io/transport-node";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  consume,
  type Delivery,
  QueueClosedError,
  QueueFullError,
} from "../../../mod.ts";
import {
  bytes,
  type NatsClient,
  type NatsConnection,
  NatsQueue,
  type NatsQueueOptions,
  structured,
} from "../../../src/nats.ts";
import { test } from "../../support/harness.ts";
import { noNats, startNats } from "../../support/nats_server.ts";
import type { ServerProcess } from "../../support/server_process.ts";
import { pause } from "../../support/waiting.ts";
import { upTo } from "../../support/items.ts";

// The real client is what we ask for, in types, too.
interface RealClient {
  connection: RealConnection;
  headers: typeof headers;
}
const accepted: [
  RealConnection extends NatsConnection ? true : false,
  RealClient extends NatsClient ? true : false,
  Date extends NatsConnection ? true : false,
] = [true, true, false];

interface Place {
  readonly server: ServerProcess;
  readonly connection: RealConnection;
  open<T = string>(options?: NatsQueueOptions<T>, name?: string): NatsQueue<T>;
  deadLetters(): Promise<{ text: string; headers: string }[]>;
}

function testOnNats(
  name: string,
  body: (place: Place) => Promise<void>,
): void {
  test(`nats: ${name}`, async () => {
    await using server = await startNats();
    await using connection = await connect({
      servers: server.address,
      reconnectTimeWait: 20,
      maxReconnectAttempts: -1,
    });
    const queues: NatsQueue<never>[] = [];
    try {
      await body({
        server,
        connection,
        open(options = {}, name = "jobs") {
          const queue = new NatsQueue({ connection, headers }, name, options);
          queues.push(queue as unknown as NatsQueue<never>);
          return queue;
        },
        deadLetters: () => deadLettersOf(connection),
      });
    } finally {
      const signal = AbortSignal.abort();
      await Promise.all(queues.map((queue) => queue.close({ signal })));
    }
  }, { skip: noNats });
}

async function deadLettersOf(
  connection: RealConnection,
): Promise<{ text: string; headers: string }[]> {
  const found: { text: string; headers: string }[] = [];
  for (let seq = 1;; seq++) {
    const answer = await connection.request(
      "$JS.API.STREAM.MSG.GET.jobs+dead",
      JSON.stringify({ seq }),
    );
    const { message } = answer.json<
      { message?: { data?: string; hdrs: string } }
    >();
    if (message === undefined) return found;
    found.push({
      text: atob(message.data ?? ""),
      headers: atob(message.hdrs),
    });
  }
}

/** Nothing of it may be called. */
function clientWithout(what: string): NatsClient {
  const method = (): never => {
    throw new Error("called");
  };
  const connection = {
    ...{ publish: method, subscribe: method },
    ...{ isClosed: method, status: method },
  };
  const client = { connection, headers: method, [what]: undefined };
  return client as unknown as NatsClient;
}

test("nats: the types of the client are accepted, and no others", () => {
  assertEquals(accepted, [true, true, false]);
});

test("nats: arguments are checked before anything is sent", () => {
  const client = clientWithout("");
  function refusal(
    name: unknown,
    options: unknown = {},
    given: unknown = client,
  ): string {
    const error = assertThrows(() =>
      new NatsQueue(given as NatsClient, name as string, options as object)
    );
    assert(error instanceof TypeError || error instanceof RangeError);
    return error.message;
  }
  for (const name of ["", "a.b", "a b", "a*", "a>", "ä", "x".repeat(129), 5]) {
    assertStringIncludes(refusal(name), "name must be");
  }
  for (
    const [word, value] of [
      ...[["capacity", 0], ["maxBytes", "1"], ["maxDeadLetters", -1]],
      ...[["dedupe", 0], ["replicas", 1.5], ["timeout", Infinity]],
      ...[["partitions", 257], ["partitions", -1], ["storage", "disk"]],
      ...[["apiPrefix", "$JS.*"], ["inboxPrefix", "a b"], ["inboxPrefix", ""]],
      ...[["visibility", -1], ["attempts", 0], ["overflow", "drop"]],
    ] as const
  ) {
    assertStringIncludes(refusal("jobs", { [word]: value }), `${word} must be`);
  }
  assertStringIncludes(
    refusal("jobs", { partitions: 0, keyOf: String }),
    "partitions must be 1 or more",
  );
  assertStringIncludes(refusal("jobs", 5), "options must be an object");
  for (const what of ["connection", "headers"]) {
    assertStringIncludes(
      refusal("jobs", {}, clientWithout(what)),
      `client.${what} must be`,
    );
  }
  assertStringIncludes(refusal("jobs", {}, null), "client.");
});

testOnNats(
  "what one process puts another consumes, as from any queue",
  async ({ open }) => {
    const jobs = open<number>();
    const other = open<number>();
    const seen: number[] = [];
    const ending = new AbortController();
    await jobs.putMany([1, 2, 3]);
    const writer = jobs.writable.getWriter();
    await writer.write(4);
    await writer.close();
    const report = await consume(other, (item) => {
      seen.push(item);
      if (seen.length === 4) ending.abort();
    }, { signal: ending.signal });
    assertEquals(seen, [1, 2, 3, 4]);
    assertEquals(report.processed, 4);
    const { backlog, inFlight, deadLetters, oldestAge } = await jobs.stats();
    assertEquals([backlog, inFlight, deadLetters], [0, 0, 0]);
    assertEquals(oldestAge, undefined);
  },
);

testOnNats("bytes of any value arrive as they were", async ({ open }) => {
  const jobs = open<Uint8Array>({ codec: bytes() });
  const all = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  await jobs.putMany([all, new Uint8Array(0)]);
  const [first, second] = await jobs.receiveMany(2, { linger: 1_000 });
  assertEquals(first!.item, all);
  assertEquals(second!.item, new Uint8Array(0));
  await first!.ack();
  await second!.ack();
});

testOnNats(
  "what JSON cannot carry arrives as it was with structured()",
  async ({ open }) => {
    const jobs = open<unknown>({ codec: structured() });
    const items = [
      new Map([["when", new Date(5)]]),
      { rates: [NaN, -0, 1n], tags: new Set(["a"]) },
      new Float64Array([1.5, -2]),
      undefined,
      { body: new Uint8Array(5_000).fill(0xff) },
    ];
    await jobs.putMany(items);
    for (const item of items) {
      const delivery = await jobs.receive();
      assertEquals(delivery.item, item);
      await delivery.ack();
    }
  },
);

testOnNats(
  "json is text on the wire",
  async ({ connection, open }) => {
    const jobs = open<unknown>();
    const items = [{ a: [1, null] }, 1.5, "é", undefined];
    await jobs.putMany(items);
    for (
      const [index, text] of ['{"a":[1,null]}', "1.5", '"é"', "undefined"]
        .entries()
    ) {
      const answer = await connection.request(
        "$JS.API.STREAM.MSG.GET.jobs",
        JSON.stringify({ seq: index + 1 }),
      );
      const { message } = answer.json<{ message: { data?: string } }>();
      const kept = Uint8Array.from(
        atob(message.data ?? ""),
        (letter) => letter.charCodeAt(0),
      );
      assertEquals(new TextDecoder().decode(kept), text);
    }
    for (const item of items) {
      const delivery = await jobs.receive();
      assertEquals(delivery.item, item);
      await delivery.ack();
    }
  },
);

testOnNats(
  "an item that is too large is refused with both sizes before anything is sent",
  async ({ open }) => {
    const jobs = open();
    const error = await assertRejects(
      () => jobs.put("x".repeat(1_048_576)),
      RangeError,
    );
    assertStringIncludes(error.message, "1044480 bytes, received 1048578");
    await jobs.put("x".repeat(1_044_478));
    const delivery = await jobs.receive();
    assertEquals(delivery.item.length, 1_044_478);
    await delivery.ack();
  },
);

testOnNats(
  "a full queue makes a put wait, or reject with the item",
  async ({ open }) => {
    const jobs = open({ capacity: 2 });
    const strict = open({ capacity: 2, overflow: "reject" });
    await jobs.putMany(["a", "b"]);
    const error = await assertRejects(() => strict.put("c"), QueueFullError);
    assertEquals((error as QueueFullError).item, "c");
    let isIn = false;
    const waiting = jobs.put("d").then(() => isIn = true);
    await pause(100);
    assertEquals([isIn, jobs.waitingPuts], [false, 1]);
    const first = await jobs.receive();
    assertEquals(first.item, "a");
    await first.ack();
    await waiting;
    const items: string[] = [];
    for (let count = 0; count < 2; count++) {
      const delivery = await jobs.receive();
      items.push(delivery.item);
      await delivery.ack();
    }
    assertEquals(items, ["b", "d"]);
  },
);

testOnNats(
  "a stream into a slow queue has the backpressure of its capacity",
  async ({ open }) => {
    const jobs = open<number>({ capacity: 5, highWaterMark: 3, prefetch: 0 });
    let pulled = 0;
    const source = new ReadableStream<number>({
      pull(controller) {
        if (pulled === 40) controller.close();
        else controller.enqueue(pulled++);
      },
    }, { highWaterMark: 0 });
    const piping = source.pipeTo(jobs.producer());
    const seen: number[] = [];
    for (let count = 0; count < 40; count++) {
      const delivery = await jobs.receive();
      await pause(2);
      // On the server, on the way, in the streams, and this one.
      assert(pulled - seen.length <= 5 + 3 + 3 + 1, `${pulled - seen.length}`);
      seen.push(delivery.item);
      await delivery.ack();
    }
    await piping;
    assertEquals(seen, upTo(40));
  },
);

testOnNats(
  "what always fails ends among the dead letters, with the error",
  async ({ open, deadLetters }) => {
    const jobs = open({ attempts: 3 });
    await jobs.putMany(["poison", "fine"]);
    const ending = new AbortController();
    const tries: Record<string, number> = {};
    const report = await consume(jobs, async (item) => {
      tries[item] = (tries[item] ?? 0) + 1;
      if (item === "poison") {
        throw Object.assign(new Error("again"), { errno: -104 });
      }
      while ((await jobs.stats()).deadLetters === 0) {
        await pause(10);
      }
      ending.abort();
    }, {
      signal: ending.signal,
      concurrency: 2,
      retry: { attempts: 3, delay: 20 },
    });
    assertEquals(tries, { poison: 3, fine: 1 });
    assertEquals([report.processed, report.deadLettered], [1, 1]);
    const [letter, ...others] = await deadLetters();
    assertEquals([letter!.text, others.length], ['"poison"', 0]);
    assertStringIncludes(
      letter!.headers,
      'Highwater-Error: Error: again {"errno":-104}',
    );
  },
);

testOnNats(
  "what cannot be decoded fails, is counted, and ends among the dead letters",
  async ({ open, deadLetters, connection }) => {
    const jobs = open({ attempts: 2 });
    await jobs.put("fine");
    await connection.request("jobs.item", "{ no json");
    const delivery = await jobs.receive();
    await delivery.ack();
    const next = jobs.receive();
    next.catch(() => {});
    while ((await jobs.stats()).deadLetters === 0) {
      await pause(50);
    }
    const [letter] = await deadLetters();
    assertEquals(letter!.text, "{ no json");
    assertStringIncludes(letter!.headers, "Highwater-Reason: undecodable");
    assertStringIncludes(letter!.headers, "Highwater-Deliveries: 2");
    await jobs.put("after");
    const after: Delivery<string> = await next;
    assertEquals(after.item, "after");
    await after.ack();
  },
);

testOnNats(
  "what a crash cuts off too often is buried before a handler sees it",
  async ({ open, deadLetters }) => {
    const jobs = open({ attempts: 2, visibility: 1_000 });
    await jobs.put("crash");
    for (const attempt of [1, 2]) {
      const delivery = await jobs.receive();
      assertEquals(delivery.attempt, attempt);
    }
    const none = jobs.receive();
    none.catch(() => {});
    while ((await jobs.stats()).deadLetters === 0) {
      await pause(20);
    }
    const [letter] = await deadLetters();
    assertStringIncludes(letter!.headers, "Highwater-Reason: deliveries");
  },
);

testOnNats(
  "items of one key are done in order by any number of consumers",
  async ({ open }) => {
    interface Step {
      key: string;
      number: number;
    }
    const options: NatsQueueOptions<Step> = { keyOf: ({ key }) => key };
    const jobs = open<Step>(options);
    const keys = ["a", "b", "c", "d", "e"];
    await jobs.putMany(
      [0, 1, 2, 3].flatMap((number) => keys.map((key) => ({ key, number }))),
    );
    const done: Record<string, number[]> = {};
    const ending = new AbortController();
    let count = 0;
    const handler = async ({ key, number }: Step): Promise<void> => {
      await pause(5 * Math.random());
      (done[key] ??= []).push(number);
      if (++count === 20) ending.abort();
    };
    await Promise.all([1, 2].map(() =>
      // Who only consumes need not know of keys.
      consume(open<Step>(), handler, { concurrency: 4, signal: ending.signal })
    ));
    for (const key of keys) assertEquals(done[key], [0, 1, 2, 3], key);
  },
);

testOnNats(
  "close() gives back at once what nobody has looked at, and it does not count",
  async ({ open }) => {
    const jobs = open<number>({ prefetch: 100 });
    await jobs.putMany(upTo(50));
    const first = open<number>({ prefetch: 100 });
    let taken = 0;
    // Who takes fast has some fetched early.
    while (taken < 20 || (await first.stats()).unacked === 0) {
      await (await first.receive()).ack();
      taken++;
    }
    const { unacked: held } = await first.stats();
    assert(held > 0);
    await first.close();
    const next = await jobs.receive();
    assertEquals([next.item, next.attempt], [taken, 1]);
    await next.ack();
  },
);

testOnNats(
  "close() waits for what is lent, and afterwards nothing is",
  async ({ open }) => {
    const jobs = open();
    await jobs.put("a");
    const delivery = await jobs.receive();
    let isClosed = false;
    const closing = jobs.close().then(() => isClosed = true);
    await pause(50);
    assert(!isClosed);
    assert(await delivery.ack());
    await closing;
    await assertRejects(() => jobs.receive(), QueueClosedError);
    await assertRejects(() => jobs.put("b"), QueueClosedError);
  },
);

testOnNats(
  "a stream that will not do rejects puts with what is wrong",
  async ({ open, connection }) => {
    await connection.request(
      "$JS.API.STREAM.CREATE.jobs",
      JSON.stringify({
        ...{ name: "jobs", subjects: ["jobs.item"], storage: "memory" },
        ...{ retention: "workqueue", discard: "old", max_msgs: 5 },
      }),
    );
    const jobs = open();
    const error = await assertRejects(() => jobs.put("a"), TypeError);
    assertStringIncludes(error.message, "discard what is new");
  },
);

testOnNats(
  "who shares a connection shares no answers",
  async ({ open, connection }) => {
    const queues = ["a", "b", "c"].map((name) => open<string>({}, name));
    await Promise.all(queues.map((queue) => queue.put(queue.name)));
    for (const queue of queues) {
      const delivery = await queue.receive();
      assertEquals(delivery.item, queue.name);
      await delivery.ack();
      await queue.close();
    }
    assert(!connection.isClosed());
  },
);

test("nats: errors name no password", async () => {
  await using server = await startNats("--user=jobs", "--pass=secret-word");
  const connection = await connect({
    servers: server.address,
    user: "jobs",
    pass: "secret-word",
    reconnectTimeWait: 20,
    maxReconnectAttempts: -1,
  });
  const errors: unknown[] = [];
  const jobs = new NatsQueue({ connection, headers }, "jobs", {
    onError: (error) => errors.push(error),
  });
  await jobs.put("a");
  await server.stop();
  const stuck = jobs.put("b");
  stuck.catch(() => {});
  while (errors.length === 0) {
    await pause(10);
  }
  for (const error of errors) {
    assertInstanceOf(error, Error);
    assert(!`${error.message}${error.stack}`.includes("secret-word"));
  }
  await jobs.close({ signal: AbortSignal.abort() });
  await assertRejects(() => stuck);
  await connection.close();
}, { skip: noNats });

testOnNats(
  "a delay, a lease and a window of any length are taken by the server",
  async ({ open }) => {
    const longest = Number.MAX_SAFE_INTEGER;
    const queue = open({ visibility: longest, dedupe: longest });
    await queue.putMany(["later", "now"]);
    const later = await queue.receive();
    assertEquals([later.item, await later.extend(longest)], ["later", true]);
    assertEquals(await later.nack({ delay: longest }), true);
    const now = await queue.receive();
    assertEquals([now.item, await now.ack()], ["now", true]);
    // Whoever waits for one gets none.
    await assertRejects(
      () => queue.receive({ signal: AbortSignal.timeout(300) }),
      DOMException,
    );
    assertEquals((await queue.stats()).inFlight, 1);
  },
);

testOnNats(
  "headers travel beside an item, as long as it may be",
  async ({ open }) => {
    const queue = open<string>({
      headersOf: (item) => ({ length: String(item.length) }),
    });
    const items = ["", "ü", "x".repeat(5_000)];
    await queue.putMany(items);
    for (const item of items) {
      const delivery = await queue.receive();
      assertEquals(delivery.item, item);
      assertEquals(delivery.headers, { length: String(item.length) });
      await delivery.ack();
    }
  },
);
