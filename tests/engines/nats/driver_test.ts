import { connect, headers, type NatsConnection } from "@nats-io/transport-node";
import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { systemClock } from "../../../src/clock.ts";
import type { Outgoing } from "../../../src/engines/core/driver.ts";
import {
  NatsDriver,
  type NatsDriverOptions,
  type NatsMessage,
} from "../../../src/engines/nats/driver.ts";
import { test as plainTest, type TestOptions } from "../../support/harness.ts";
import { noNats, startNats } from "../../support/nats_server.ts";
import type { ServerProcess } from "../../support/server_process.ts";
import { pause } from "../../support/waiting.ts";

const NEVER = new AbortController().signal;

function test(
  name: string,
  body: () => Promise<void>,
  options: TestOptions = {},
): void {
  plainTest(`nats driver: ${name}`, body, { skip: noNats, ...options });
}

/** A server, a connection, and as many drivers as are asked for. */
class Bench implements AsyncDisposable {
  readonly server: ServerProcess;
  readonly connection: NatsConnection;
  readonly #drivers: NatsDriver[] = [];

  constructor(server: ServerProcess, connection: NatsConnection) {
    this.server = server;
    this.connection = connection;
  }

  async driver(options: Partial<NatsDriverOptions> = {}): Promise<NatsDriver> {
    const { connection } = this;
    const driver = new NatsDriver({ connection, headers }, "jobs", {
      clock: systemClock,
      inboxPrefix: "_INBOX",
      timeout: 10_000,
      capacity: Infinity,
      maxBytes: Infinity,
      maxDeadLetters: Infinity,
      dedupe: 120_000,
      replicas: 1,
      storage: "file",
      partitions: undefined,
      isKeyed: false,
      visibility: 10_000,
      apiPrefix: "$JS.API",
      ...options,
    });
    this.#drivers.push(driver);
    await driver.open();
    return driver;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const driver of this.#drivers) await driver.close();
    await this.connection.close();
    await this.server[Symbol.asyncDispose]();
  }
}

async function start(...flags: string[]): Promise<Bench> {
  const server = await startNats(...flags);
  const connection = await connect({
    servers: server.address,
    reconnectTimeWait: 20,
    maxReconnectAttempts: -1,
  });
  return new Bench(server, connection);
}

let ids = 0;

function outgoing(text: string, key?: string): Outgoing {
  return {
    id: `id-${++ids}`,
    payload: new TextEncoder().encode(text),
    key,
  };
}

function textOf(message: NatsMessage): string {
  return new TextDecoder().decode(message.payload);
}

async function putAll(driver: NatsDriver, texts: string[]): Promise<void> {
  assertEquals(
    await driver.send(texts.map((text) => outgoing(text))),
    texts.map(() => "accepted"),
  );
}

async function fetchOne(
  driver: NatsDriver,
  visibility = 10_000,
): Promise<NatsMessage> {
  for (;;) {
    const [message] = await driver.fetch(1, visibility, NEVER);
    if (message !== undefined) return message;
  }
}

test("what is sent comes in order, with its attempt and time, and is done once acknowledged", async () => {
  await using bench = await start();
  const driver = await bench.driver();
  const before = Date.now();
  await putAll(driver, ["a", "b", "c"]);
  const messages = await driver.fetch(10, 10_000, NEVER);
  assertEquals(messages.map(textOf), ["a", "b", "c"]);
  assertEquals(messages.map(({ attempt }) => attempt), [1, 1, 1]);
  // The same machine: the clock of the server is that of this process, give or take a round trip.
  const { age = NaN } = messages[0]!;
  assert(Math.abs(age) < Date.now() - before + 1_000, `${age}`);
  assertEquals(await driver.measure().then(({ inFlight }) => inFlight), 3);
  for (const message of messages) assert(await driver.ack(message));
  const { backlog, inFlight, oldestAge } = await driver.measure();
  assertEquals([backlog, inFlight, oldestAge], [0, 0, undefined]);
});

test("a fetch waits for the first message, and comes back when its signal aborts", async () => {
  await using bench = await start();
  const driver = await bench.driver();
  const waiting = fetchOne(driver);
  await pause(50);
  await putAll(driver, ["late"]);
  assertEquals(textOf(await waiting), "late");
  const controller = new AbortController();
  const none = driver.fetch(10, 600_000, controller.signal);
  await pause(50);
  controller.abort();
  assertEquals(await none, []);
  // Nobody waits there any more who could be lent what comes now.
  await putAll(driver, ["next"]);
  const next = await fetchOne(driver);
  assertEquals([textOf(next), next.attempt], ["next", 1]);
});

test("the same id is stored once", async () => {
  await using bench = await start();
  const driver = await bench.driver();
  const message = outgoing("once");
  assertEquals(await driver.send([message, message]), ["accepted", "accepted"]);
  assertEquals(await driver.send([message]), ["accepted"]);
  assertEquals((await driver.measure()).backlog, 1);
});

test("a bound of messages answers full, and room comes with an acknowledgement", async () => {
  await using bench = await start();
  const driver = await bench.driver({ capacity: 2 });
  const messages = ["a", "b", "c", "d"].map((text) => outgoing(text));
  assertEquals(await driver.send(messages), [
    "accepted",
    "accepted",
    "full",
    "full",
  ]);
  let hasRoom = false;
  const room = driver.room(NEVER).then(() => hasRoom = true);
  await pause(50);
  assert(!hasRoom);
  const lent = await fetchOne(driver);
  await driver.ack(lent);
  await room;
  assertEquals(await driver.send(messages.slice(2)), ["accepted", "full"]);
});

test("waiting for room ends with the signal", async () => {
  await using bench = await start();
  const driver = await bench.driver({ capacity: 1 });
  await putAll(driver, ["a"]);
  const controller = new AbortController();
  const room = driver.room(controller.signal);
  await pause(20);
  controller.abort();
  await room;
});

test("a bound of bytes answers full", async () => {
  await using bench = await start();
  const driver = await bench.driver({ maxBytes: 16_000 });
  const messages = [1, 2, 3].map(() => outgoing("x".repeat(8_000)));
  assertEquals(await driver.send(messages), ["accepted", "accepted", "full"]);
  const room = driver.room(NEVER);
  await driver.ack(await fetchOne(driver));
  await room;
  assertEquals(await driver.send(messages.slice(2)), ["accepted"]);
});

test("a bound of the stream itself answers full as well", async () => {
  await using bench = await start();
  await bench.connection.request(
    "$JS.API.STREAM.CREATE.jobs",
    JSON.stringify({
      ...{ name: "jobs", subjects: ["jobs.item"], storage: "file" },
      ...{ retention: "workqueue", discard: "new", max_msgs: 2 },
    }),
  );
  const driver = await bench.driver();
  const messages = ["a", "b", "c"].map((text) => outgoing(text));
  assertEquals(await driver.send(messages), ["accepted", "accepted", "full"]);
  const room = driver.room(NEVER);
  await driver.ack(await fetchOne(driver));
  await room;
  assertEquals(await driver.send(messages.slice(2)), ["accepted"]);
});

test("the most a payload may be follows the server, and fits with all headers", async () => {
  await using bench = await start();
  const driver = await bench.driver({ isKeyed: true });
  assertEquals(driver.maxPayload, 1_048_576 - 4_096);
  const key = "é".repeat(160);
  const message = outgoing("x".repeat(driver.maxPayload), key);
  assertEquals(await driver.send([message]), ["accepted"]);
  const lent = await fetchOne(driver);
  assertEquals(lent.key, key);
  assert(await driver.bury(lent, "failed", "ü".repeat(5_000)));
  assertEquals((await driver.measure()).deadLetters, 1);
});

test("nack() delivers again, at once or after the delay, and counts", async () => {
  await using bench = await start();
  const driver = await bench.driver();
  await putAll(driver, ["a", "b"]);
  const first = await fetchOne(driver);
  assert(await driver.nack(first, 0));
  const again = await fetchOne(driver);
  assertEquals([textOf(again), again.attempt], ["a", 2]);
  assert(await driver.nack(again, 600_000));
  const next = await fetchOne(driver);
  assertEquals([textOf(next), next.attempt], ["b", 1]);
  assert(await driver.nack(next, 50));
  const late = await fetchOne(driver);
  assertEquals([textOf(late), late.attempt], ["b", 2]);
});

test("what is released in one turn comes back in the order it was put", async () => {
  await using bench = await start();
  const driver = await bench.driver();
  await putAll(driver, ["a", "b", "c"]);
  const messages = [...await driver.fetch(3, 10_000, NEVER)];
  const back = messages.reverse().map((message) => driver.release(message, 0));
  assertEquals(await Promise.all(back), [true, true, true]);
  const again = await driver.fetch(3, 10_000, NEVER);
  assertEquals(again.map(textOf), ["a", "b", "c"]);
});

test("a release does not count as a delivery, a nack does", async () => {
  await using bench = await start();
  const driver = await bench.driver();
  const other = await bench.driver();
  await putAll(driver, ["a"]);
  const attempts: number[] = [];
  for (const word of ["release", "release", "nack", "release"] as const) {
    const message = await fetchOne(word === "nack" ? other : driver);
    attempts.push(message.attempt);
    if (word === "nack") await other.nack(message, 0);
    else await driver.release(message, 0);
  }
  const last = await fetchOne(other);
  assertEquals([...attempts, last.attempt], [1, 1, 1, 2, 2]);
  assert(await other.ack(last));
});

test("what is not answered within its time is delivered again, and lost to who had it", async () => {
  await using bench = await start();
  const driver = await bench.driver({ visibility: 800 });
  await putAll(driver, ["a"]);
  const first = await fetchOne(driver, 800);
  const second = await fetchOne(driver, 800);
  assertEquals([textOf(second), second.attempt], ["a", 2]);
  for (
    const word of [
      driver.ack(first),
      driver.nack(first, 0),
      driver.release(first, 0),
      driver.extend(first, 1_000),
      driver.bury(first, "failed", undefined),
    ]
  ) assertEquals(await word, false);
  assert(await driver.ack(second));
  const { backlog, inFlight, deadLetters } = await driver.measure();
  assertEquals([backlog, inFlight, deadLetters], [0, 0, 0]);
});

test("lost beside others counts once, however often that is; lost alone counts each time", async () => {
  await using bench = await start();
  const driver = await bench.driver();
  await putAll(driver, ["a"]);
  const seen: unknown[] = [];
  for (let time = 0; time < 4; time++) {
    const message = await fetchOne(driver, 50);
    seen.push([message.attempt, message.lost]);
  }
  const doubted = await fetchOne(driver);
  assertEquals(await driver.release(doubted, 0), true);
  const alone = await fetchOne(driver, 2_000);
  seen.push([alone.attempt, alone.lost]);
  assertEquals(await driver.isolate(alone), true);
  const last = await fetchOne(driver);
  seen.push([last.attempt, last.lost]);
  assertEquals(seen, [
    [1, undefined],
    [2, "beside"],
    [2, "beside"],
    [2, "beside"],
    [2, "beside"],
    [3, "alone"],
  ]);
  assertEquals(await driver.ack(last), true);
});

test("an acknowledgement whose answer was lost is true when it is repeated", async () => {
  await using bench = await start();
  const { connection } = bench;
  const driver = await bench.driver({ timeout: 300 });
  await putAll(driver, ["a"]);
  const message = await fetchOne(driver);
  const { publish } = connection;
  connection.publish = (subject, payload, options) =>
    publish.call(connection, subject, payload, {
      ...options,
      ...(payload === "+ACK" ? { reply: "nobody.listens" } : {}),
    });
  await assertRejects(() => driver.ack(message), Error, "within 300 ms");
  connection.publish = publish;
  assertEquals((await driver.measure()).inFlight, 0);
  assertEquals(await driver.ack(message), true);
});

test("extend() keeps a message for longer than the server would, and no longer than it says", async () => {
  await using bench = await start();
  const driver = await bench.driver({ visibility: 600 });
  await putAll(driver, ["a", "b"]);
  const [long, brief] = await driver.fetch(2, 600, NEVER);
  assert(await driver.extend(long!, 600_000));
  assert(await driver.extend(brief!, 1_000));
  const second = await fetchOne(driver, 600);
  assertEquals([textOf(second), second.attempt], ["b", 2]);
  assertEquals(await driver.ack(brief!), false);
  assert(await driver.ack(long!));
});

test("who lends for less than the server gives back in time, who lends for more keeps", async () => {
  await using bench = await start();
  const driver = await bench.driver({ visibility: 400 });
  await putAll(driver, ["a"]);
  const brief = await fetchOne(driver, 50);
  const long = await fetchOne(driver, 1_500);
  assertEquals([brief.attempt, long.attempt], [1, 2]);
  assertEquals(await driver.ack(brief), false);
  await pause(700);
  assert(await driver.ack(long));
});

test("bury() moves a message to the dead letters, with the reason, and once", async () => {
  await using bench = await start();
  const driver = await bench.driver();
  await putAll(driver, ["a"]);
  const lent = await fetchOne(driver);
  assert(await driver.bury(lent, "failed", "TypeError: no\r\nway"));
  const { backlog, inFlight, deadLetters } = await driver.measure();
  assertEquals([backlog, inFlight, deadLetters], [0, 0, 1]);
  const { message } = (await bench.connection.request(
    "$JS.API.STREAM.MSG.GET.jobs+dead",
    JSON.stringify({ seq: 1 }),
  )).json<{ message: { data: string; hdrs: string; subject: string } }>();
  assertEquals(atob(message.data), "a");
  assertEquals(message.subject, "jobs.dead");
  const found = atob(message.hdrs);
  for (
    const header of [
      "Highwater-Reason: failed",
      "Highwater-Deliveries: 1",
      "Highwater-Error: TypeError: no way",
    ]
  ) assertStringIncludes(found, header);
});

test("the oldest is as old as its put", async () => {
  await using bench = await start();
  const driver = await bench.driver();
  await putAll(driver, ["a"]);
  // Much longer than the clocks of the server and of this process differ by.
  await pause(300);
  const { oldestAge = 0, backlog } = await driver.measure();
  assertEquals(backlog, 1);
  assertGreater(oldestAge, 90);
  assertLess(oldestAge, 10_000);
});

test("a server that is gone makes words fail, and one that is back makes them work", async () => {
  await using bench = await start();
  const driver = await bench.driver();
  await putAll(driver, ["a"]);
  const waiting = driver.fetch(1, 10_000, NEVER);
  const lent = (await waiting)[0]!;
  const idle = driver.fetch(1, 600_000, NEVER);
  const failed = assertRejects(() => idle, Error, "Cannot");
  await bench.server.stop();
  await failed;
  await assertRejects(() => driver.ack(lent), Error, "Cannot");
  await assertRejects(() => driver.send([outgoing("b")]), Error, "Cannot");
  await bench.server.start();
  for (;;) {
    try {
      await driver.open();
      break;
    } catch {
      await pause(20);
    }
  }
  assert(await driver.ack(lent));
  await putAll(driver, ["c"]);
  assertEquals(textOf(await fetchOne(driver)), "c");
});

test("a server that hangs makes words fail after the time for answers", async () => {
  await using bench = await start();
  const driver = await bench.driver({ timeout: 200 });
  await bench.server.freeze();
  await assertRejects(() => driver.send([outgoing("a")]), Error, "200 ms");
  await assertRejects(() => driver.measure(), Error, "200 ms");
  bench.server.thaw();
  await pause(50);
  // The one that had no answer was stored all the same.
  assertEquals(textOf(await fetchOne(driver)), "a");
});

test("items of one key come one at a time and in order, also when they fail", async () => {
  await using bench = await start();
  const driver = await bench.driver({ isKeyed: true, partitions: 4 });
  const messages = [1, 2, 3].flatMap((number) =>
    ["x", "y", "z"].map((key) => outgoing(`${key}${number}`, key))
  );
  await driver.send(messages);
  const other = await bench.driver();
  const order: Record<string, string[]> = { x: [], y: [], z: [] };
  const lent: Set<string> = new Set();
  let isFirst = true;
  async function work(driver: NatsDriver): Promise<void> {
    while (Object.values(order).flat().length < 9) {
      for (const message of await driver.fetch(2, 1_000, NEVER)) {
        const { key = "" } = message;
        assert(!lent.has(key), "one at a time");
        lent.add(key);
        await pause(5);
        lent.delete(key);
        if (isFirst) {
          isFirst = false;
          await driver.nack(message, 100);
        } else {
          order[key]!.push(textOf(message));
          await driver.ack(message);
        }
      }
    }
  }
  await Promise.all([work(driver), work(other)]);
  assertEquals(order, {
    x: ["x1", "x2", "x3"],
    y: ["y1", "y2", "y3"],
    z: ["z1", "z2", "z3"],
  });
});

test("orders that do not agree, and streams that will not do, reject with the words of the rule", async () => {
  await using bench = await start();
  await bench.driver({ isKeyed: true, partitions: 4 });
  const error = await assertRejects(
    () => bench.driver({ isKeyed: true, partitions: 8 }),
    TypeError,
    "which are 4, received 8",
  );
  const { connection } = bench;
  await connection.request("$JS.API.STREAM.DELETE.jobs");
  await connection.request(
    "$JS.API.STREAM.CREATE.jobs",
    JSON.stringify({
      name: "jobs",
      subjects: ["jobs.item"],
      retention: "limits",
      storage: "memory",
    }),
  );
  await assertRejects(() => bench.driver(), TypeError, "limits");
  // Once it is mended, it works.
  await connection.request("$JS.API.STREAM.DELETE.jobs");
  const driver = await bench.driver();
  assertEquals(driver.lasts(error), true);
  await putAll(driver, ["a"]);
});

test("a connection that is closed refuses puts, and owns nothing", async () => {
  await using bench = await start();
  const driver = await bench.driver();
  await putAll(driver, ["a"]);
  const lent = await fetchOne(driver);
  await bench.connection.close();
  const error = await assertRejects(() => driver.send([outgoing("b")]), Error);
  assertEquals(driver.lasts(error), true);
  assertEquals(await driver.ack(lent), false);
  await assertRejects(() => driver.fetch(1, 1_000, NEVER), Error, "closed");
});
