import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import type { Outgoing } from "../../../src/engines/core/driver.ts";
import {
  type RedisConnection,
  RedisError,
} from "../../../src/engines/redis/connection.ts";
import { connectionOf } from "../../../src/engines/redis/roads.ts";
import {
  RedisDriver,
  type RedisDriverOptions,
  type RedisMessage,
} from "../../../src/engines/redis/driver.ts";
import { test } from "../../support/harness.ts";
import { CLIENTS, type TestClient } from "../../support/redis_clients.ts";
import { noRedis, startRedis } from "../../support/redis_server.ts";
import type { ServerProcess } from "../../support/server_process.ts";
import { pause, watched } from "../../support/waiting.ts";

const never: AbortSignal = new AbortController().signal;
const stream = "highwater:{jobs}:stream";
const due = "highwater:{jobs}:due";
const dead = "highwater:{jobs}:dead";
let ids = 0;

interface Place {
  readonly server: ServerProcess;
  readonly client: TestClient;
  readonly connection: RedisConnection;
  /** Another driver of the same queue. */
  open(options?: Partial<RedisDriverOptions>): Promise<RedisDriver>;
  command(...args: string[]): Promise<unknown>;
}

/** A test with each client, on a server of its own. */
function testOnRedis(
  name: string,
  body: (place: Place) => Promise<void>,
): void {
  for (const kind of CLIENTS) {
    test(`redis driver: ${name} (${kind.name})`, async () => {
      await using server = await startRedis();
      await using client = await kind.connect(`redis://${server.address}`);
      const connection = connectionOf("test", client.client);
      const drivers: RedisDriver[] = [];
      try {
        await body({
          server,
          client,
          connection,
          command: client.command,
          async open(options = {}) {
            const driver = driverOf({ connection, ...options });
            drivers.push(driver);
            await driver.open();
            return driver;
          },
        });
      } finally {
        for (const driver of drivers) await driver.close();
      }
    }, { skip: noRedis });
  }
}

function driverOf(
  options: Partial<RedisDriverOptions> & { connection: RedisConnection },
): RedisDriver {
  return new RedisDriver({
    name: "jobs",
    prefix: "highwater",
    consumer: "worker",
    capacity: Infinity,
    maxDeadLetters: Infinity,
    maxPayload: 1_000_000,
    // What should ring and does not shall not be helped by a look in between.
    patience: 25_000,
    ...options,
  });
}

function outgoing(text: string): Outgoing {
  const payload = new TextEncoder().encode(text);
  return { id: `put-${++ids}`, payload, key: undefined };
}

function outgoings(...texts: string[]): Outgoing[] {
  return texts.map((text) => outgoing(text));
}

function textOf(message: { payload: Uint8Array }): string {
  return new TextDecoder().decode(message.payload);
}

function textsOf(messages: readonly RedisMessage[]): string[] {
  return messages.map(textOf);
}

async function fetchOne(
  driver: RedisDriver,
  visibility = 30_000,
): Promise<RedisMessage> {
  while (true) {
    const [message] = await driver.fetch(1, visibility, never);
    if (message !== undefined) return message;
  }
}

testOnRedis(
  "what is sent is fetched in order, and gone when it is done",
  async ({ open, command }) => {
    const driver = await open();
    const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    assertEquals(
      await driver.send([
        { id: "x", payload: bytes, key: undefined },
        outgoing(""),
        outgoing("c"),
      ]),
      ["accepted", "accepted", "accepted"],
    );
    const messages = await driver.fetch(10, 1000, never);
    assertEquals(messages.map(({ payload }) => payload), [
      bytes,
      new Uint8Array(),
      new TextEncoder().encode("c"),
    ]);
    assertEquals(messages.map(({ attempt }) => attempt), [1, 1, 1]);
    assert(Math.abs(messages[0]!.age!) < 10_000);
    const answers = messages.map((message) => driver.ack(message));
    assertEquals(await Promise.all(answers), [true, true, true]);
    assertEquals(await driver.ack(messages[0]!), false);
    assertEquals(await command("XLEN", stream), 0);
    assertEquals(await command("ZCARD", due), 0);
    const pending = await command("XPENDING", stream, "highwater") as unknown[];
    assertEquals(pending[0], 0);
  },
);

testOnRedis(
  "a fetch that waits is woken by one item, and only one is",
  async ({ open }) => {
    const [producer, first, second] = [
      await open(),
      await open(),
      await open(),
    ];
    const fetching = [fetchOne(first), fetchOne(second)];
    await pause(30);
    await producer.send(outgoings("a"));
    const winner = await Promise.race(
      fetching.map((each, index) => each.then(() => index)),
    );
    await producer.send(outgoings("b"));
    const messages = await Promise.all(fetching);
    assertEquals(textOf(messages[winner]!), "a");
    assertEquals(textOf(messages[1 - winner]!), "b");
  },
);

testOnRedis(
  "what one batch leaves goes to the others that wait",
  async ({ open }) => {
    const producer = await open();
    const consumers = await Promise.all([open(), open(), open()]);
    const fetching = consumers.map((driver) => fetchOne(driver));
    await pause(30);
    await producer.send(outgoings("a", "b", "c"));
    assertEquals(textsOf(await Promise.all(fetching)).sort(), ["a", "b", "c"]);
  },
);

testOnRedis(
  "a fetch comes back when its signal aborts; what rings then rings for others",
  async ({ open }) => {
    const [producer, leaving, staying] = [
      await open(),
      await open(),
      await open(),
    ];
    const controller = new AbortController();
    const left = leaving.fetch(1, 1000, controller.signal);
    await pause(30);
    const fetching = fetchOne(staying);
    await pause(30);
    controller.abort();
    assertEquals(await left, []);
    // The one that left is still first in line in Redis.
    await producer.send(outgoings("a"));
    assertEquals(textOf(await fetching), "a");
  },
);

testOnRedis(
  "closing brings a fetch back, and wakes whoever waits beside it",
  async ({ open }) => {
    const [producer, leaving, staying] = [
      await open(),
      await open(),
      await open(),
    ];
    const left = leaving.fetch(1, 1000, never);
    await pause(30);
    const fetching = fetchOne(staying);
    await pause(30);
    await leaving.close();
    assertEquals(await left, []);
    await producer.send(outgoings("a"));
    assertEquals(textOf(await fetching), "a");
  },
);

testOnRedis(
  "a repeated send makes no second item, however much of it had arrived",
  async ({ open, connection, command }) => {
    const broken = brokenAfter(connection);
    const driver = await open({ connection: broken, capacity: 4 });
    const [a, d, e, f] = outgoings("a", "d", "e", "f");
    const [b, c] = outgoings("b".repeat(2_000), "c");
    await driver.send([a!]);
    broken.isBroken = true;
    await assertRejects(() => driver.send([b!, c!]), RedisError);
    await assertRejects(() => driver.send([b!, c!]), RedisError);
    // Two more have room, one has not.
    await assertRejects(() => driver.send([b!, c!, d!, e!]), RedisError);
    broken.isBroken = false;
    assertEquals(
      await driver.send([b!, c!, d!, e!]),
      ["accepted", "accepted", "accepted", "full"],
    );
    assertEquals(await command("XLEN", stream), 4);
    const messages = await driver.fetch(10, 1000, never);
    assertEquals(textsOf(messages), ["a", "b".repeat(2_000), "c", "d"]);
    for (const message of messages) await driver.ack(message);
    // What was refused is new, and so is what comes before it.
    assertEquals(await driver.send([f!, e!]), ["accepted", "accepted"]);
    assertEquals(textsOf(await driver.fetch(10, 1000, never)), ["f", "e"]);
  },
);

testOnRedis(
  "what could not be sent is not lost when others go before it",
  async ({ open, connection }) => {
    const broken = brokenBefore(connection);
    const driver = await open({ connection: broken });
    const [a, b, c] = outgoings("a", "b", "c");
    broken.isBroken = true;
    await assertRejects(() => driver.send([a!, b!]), RedisError);
    broken.isBroken = false;
    await driver.send([c!]);
    await driver.send([a!, b!]);
    assertEquals(textsOf(await driver.fetch(10, 1000, never)), ["c", "a", "b"]);
  },
);

testOnRedis(
  "the bound refuses what is too much, and room() waits for some",
  async ({ open, command }) => {
    const driver = await open({ capacity: 2 });
    const [a, b, c, d] = outgoings("a", "b", "c", "d");
    assertEquals(await driver.send([a!, b!, c!, d!]), [
      "accepted",
      "accepted",
      "full",
      "full",
    ]);
    const room = driver.room(never);
    const watch = watched(room);
    await pause(30);
    assertEquals(watch.state, "pending");
    // Lent is not done.
    const message = await fetchOne(driver);
    await pause(30);
    assertEquals(watch.state, "pending");
    await driver.ack(message);
    await room;
    assertEquals(await driver.send([c!, d!]), ["accepted", "full"]);
    assertEquals(await command("XLEN", stream), 2);
    // A bury makes room, too.
    const waiting = driver.room(never);
    await driver.bury(await fetchOne(driver), "failed", undefined);
    await waiting;
    assertEquals(await driver.send([d!]), ["accepted"]);
  },
);

testOnRedis(
  "who got room wakes the next who waits for some",
  async ({ open }) => {
    const drivers = await Promise.all(
      [open({ capacity: 3 }), open({ capacity: 3 }), open({ capacity: 3 })],
    );
    const [first] = drivers;
    await first!.send(outgoings("a", "b", "c"));
    const waiting = drivers.map(async (driver, index) => {
      const put = outgoing(`more ${index}`);
      while ((await driver.send([put]))[0] === "full") await driver.room(never);
    });
    await pause(30);
    const messages = await first!.fetch(3, 1000, never);
    await Promise.all(messages.map((message) => first!.ack(message)));
    await Promise.all(waiting);
  },
);

testOnRedis(
  "nack gives back in time, with the attempts and the time of the put, before what is new",
  async ({ open }) => {
    const driver = await open();
    await driver.send(outgoings("a", "b"));
    const long = await fetchOne(driver);
    assertEquals(await driver.nack(long, 600_000), true);
    assertEquals(await driver.nack(long, 0), false);
    assertEquals(await driver.ack(long), false);
    const first = await fetchOne(driver);
    assertEquals(textOf(first), "b");
    await driver.nack(first, 40);
    const other = await open();
    const again = await fetchOne(other);
    assertEquals([textOf(again), again.attempt], ["b", 2]);
    assert(again.age! >= first.age!);
    await driver.send(outgoings("c"));
    await other.nack(again, 0);
    const third = await fetchOne(driver);
    assertEquals([textOf(third), third.attempt], ["b", 3]);
  },
);

testOnRedis(
  "large items and small ones keep their order and their bytes",
  async ({ open }) => {
    const driver = await open();
    const all = [10, 1_023, 1_024, 1_025, 0, 100_000, 5, 2_000]
      .map((size, index) => outgoing(String(index).repeat(size)));
    await driver.send(all.slice(0, 3));
    await driver.send(all.slice(3));
    const messages = await driver.fetch(100, 30_000, never);
    assertEquals(textsOf(messages), all.map((each) => textOf(each)));
  },
);

testOnRedis(
  "what is told of an item right after an extension counts",
  async ({ open }) => {
    const driver = await open();
    await driver.send(outgoings("a", "b", "c"));
    const [acked, buried, other] = await driver.fetch(3, 30_000, never);
    const answers = [
      driver.extend(acked!, 40_000),
      driver.extend(buried!, 50_000),
    ];
    await undefined;
    await undefined; // they are on their way
    answers.push(
      driver.ack(other!),
      driver.ack(acked!),
      driver.bury(buried!, "rejected", undefined),
    );
    assertEquals(await Promise.all(answers), [true, true, true, true, true]);
  },
);

testOnRedis(
  "a delay that begins while somebody waits is noticed by who waits",
  async ({ open }) => {
    const [driver, waiting] = [await open(), await open()];
    await driver.send(outgoings("a"));
    const message = await fetchOne(driver);
    const fetching = fetchOne(waiting);
    await pause(30);
    await driver.nack(message, 50);
    assertEquals((await fetching).attempt, 2);
  },
);

testOnRedis(
  "release gives back at once, in order, and the delivery does not count",
  async ({ open }) => {
    const [driver, other] = [await open(), await open()];
    await driver.send(outgoings("a", "b", "c"));
    const messages = await driver.fetch(2, 30_000, never);
    const answers = messages.toReversed().map((each) =>
      driver.release(each, 0)
    );
    assertEquals(await Promise.all(answers), [true, true]);
    const again = await other.fetch(3, 30_000, never);
    assertEquals(textsOf(again), ["a", "b", "c"]);
    assertEquals(again.map(({ attempt }) => attempt), [1, 1, 1]);
    assertEquals(await driver.ack(messages[0]!), false);
    assertEquals(await other.ack(again[0]!), true);
  },
);

testOnRedis(
  "what is lent for too long goes to somebody else, unless it was extended",
  async ({ open }) => {
    const [driver, other] = [await open(), await open()];
    await driver.send(outgoings("a", "b"));
    const [slow, kept] = await driver.fetch(2, 60, never);
    assertEquals(await driver.extend(kept!, 30_000), true);
    const again = await fetchOne(other);
    assertEquals([textOf(again), again.attempt], ["a", 2]);
    assertEquals(await driver.ack(slow!), false);
    assertEquals(await driver.extend(slow!, 1000), false);
    assertEquals(await driver.nack(slow!, 0), false);
    assertEquals(await driver.release(slow!, 0), false);
    assertEquals(await driver.bury(slow!, "failed", undefined), false);
    assertEquals(await other.ack(again), true);
    assertEquals(await driver.ack(kept!), true);
  },
);

testOnRedis(
  "an item that is late, but with nobody else yet, is still ours",
  async ({ open }) => {
    const driver = await open();
    await driver.send(outgoings("a"));
    const message = await fetchOne(driver, 1);
    await pause(30);
    assertEquals(await driver.extend(message, 30_000), true);
    // Told together: the lease of before counts for both.
    const answers = [driver.extend(message, 20_000), driver.ack(message)];
    assertEquals(await Promise.all(answers), [true, true]);
  },
);

testOnRedis(
  "an answer that was lost is true when it is repeated, and nothing happens twice",
  async ({ open, connection, command }) => {
    const broken = brokenAfter(connection);
    const [driver, other] = [await open({ connection: broken }), await open()];
    await driver.send(outgoings("a", "b", "c", "d", "e"));
    const [a, b, c, d, e] = await driver.fetch(5, 30_000, never);
    broken.isBroken = true;
    const words = [
      () => driver.ack(a!),
      () => driver.nack(b!, 0),
      () => driver.release(c!, 0),
      () => driver.bury(d!, "failed", undefined),
      () => driver.extend(e!, 40_000),
    ];
    for (const word of words) await assertRejects(word, RedisError);
    // What came back is somebody else's by then.
    const taken = await other.fetch(5, 30_000, never);
    assertEquals(textsOf(taken).sort(), ["b", "c"]);
    broken.isBroken = false;
    for (const word of words) assertEquals(await word(), true);
    // An extension of which nobody knows when it began does not lose the item.
    broken.isBroken = true;
    await assertRejects(() => driver.extend(e!, 50_000), RedisError);
    broken.isBroken = false;
    assertEquals(await driver.ack(e!), true);
    for (const message of taken) assertEquals(await other.ack(message), true);
    assertEquals(await command("XLEN", stream), 0);
    assertEquals(await command("XLEN", dead), 1);
  },
);

testOnRedis(
  "lost beside others counts once, however often that is; lost alone counts each time",
  async ({ open }) => {
    const driver = await open();
    await driver.send(outgoings("a"));
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
  },
);

testOnRedis(
  "a repeated answer comes too late when its lease is over",
  async ({ open, connection }) => {
    const broken = brokenBefore(connection);
    const [driver, other] = [await open({ connection: broken }), await open()];
    await driver.send(outgoings("a"));
    const [message] = await driver.fetch(1, 50, never);
    broken.isBroken = true;
    await assertRejects(() => driver.ack(message!), RedisError);
    broken.isBroken = false;
    const again = await fetchOne(other);
    assertEquals(again.lost, "beside");
    assertEquals(await driver.ack(message!), false);
    assertEquals(await other.isolate(again), true);
    assertEquals(await other.ack(again), true);
  },
);

testOnRedis(
  "dead letters hold the item and the reason, and no more of them than told",
  async ({ open, command }) => {
    const driver = await open({ maxDeadLetters: 100 });
    await driver.send([outgoing("bad")]);
    const message = await fetchOne(driver);
    assertEquals(
      await driver.bury(message, "failed", "TypeError: no such page"),
      true,
    );
    assertEquals(await driver.bury(message, "failed", undefined), false);
    const [[, fields]] = await command("XRANGE", dead, "-", "+") as [
      [string, string[]],
    ];
    assertEquals(fields, [
      ...["p", "bad"],
      ...["id", message.id, "attempt", "1", "reason", "failed"],
      ...["error", "TypeError: no such page"],
    ]);
    const measures = await driver.measure();
    assertEquals([measures.backlog, measures.deadLetters], [0, 1]);
    await driver.send(Array.from({ length: 500 }, () => outgoing("x")));
    for (const each of await driver.fetch(500, 30_000, never)) {
      await driver.bury(each, "rejected", "text");
    }
    // Redis cuts off whole nodes, of a hundred entries.
    assert((await driver.measure()).deadLetters! <= 200);
  },
);

testOnRedis(
  "measures tell what waits, what is lent and how old the oldest is",
  async ({ open }) => {
    const driver = await open();
    assertEquals(await driver.measure(), {
      backlog: 0,
      delayed: 0,
      capacity: Infinity,
      inFlight: 0,
      oldestAge: undefined,
      deadLetters: 0,
    });
    await driver.send(outgoings("a", "b", "c", "d"));
    const [first, second] = await driver.fetch(3, 30_000, never);
    await driver.nack(first!, 10_000);
    await driver.ack(second!);
    const { backlog, delayed, inFlight, oldestAge } = await driver.measure();
    assertEquals([backlog, delayed, inFlight], [2, 1, 1]);
    assert(oldestAge! >= 0);
  },
);

testOnRedis(
  "scripts, the group and whole queues that Redis has forgotten are made again",
  async ({ open, command }) => {
    const driver = await open();
    await driver.send(outgoings("a"));
    await command("SCRIPT", "FLUSH");
    const message = await fetchOne(driver);
    assertEquals(textOf(message), "a");
    await command("FLUSHALL");
    assertEquals(await driver.ack(message), false);
    await driver.send(outgoings("b"));
    assertEquals(textOf(await fetchOne(driver)), "b");
    // Without its group nothing is known to be lent.
    await command("XGROUP", "DESTROY", stream, "highwater");
    assertEquals(textOf(await fetchOne(driver)), "b");
    await command("FLUSHALL");
    assertEquals((await driver.measure()).backlog, 0);
  },
);

testOnRedis(
  "what others took past us, or deleted, holds up nothing",
  async ({ open, command }) => {
    const driver = await open();
    await driver.send(outgoings("stray", "deleted", "c"));
    await command(
      ...["XREADGROUP", "GROUP", "highwater", "stranger", "COUNT", "1"],
      ...["STREAMS", stream, ">"],
    );
    await driver.open();
    assertEquals(await command("ZCARD", due), 1);
    const [deleted, kept] = await driver.fetch(5, 20, never);
    await command("XDEL", stream, deleted!.id);
    assertEquals(await driver.ack(kept!), true);
    await pause(30);
    assertEquals(await driver.fetch(5, 1000, abortedSoon()), []);
    assertEquals(await command("ZCARD", due), 1);
  },
);

testOnRedis("more than one batch of Lua's arguments", async ({ open }) => {
  const driver = await open();
  const all = Array.from({ length: 2_500 }, (_, index) => outgoing(`${index}`));
  for (let from = 0; from < all.length; from += driver.maxBatch) {
    await driver.send(all.slice(from, from + driver.maxBatch));
  }
  const texts: string[] = [];
  while (texts.length < all.length) {
    const messages = await driver.fetch(5_000, 30_000, never);
    texts.push(...textsOf(messages));
    const answers = await Promise.all(messages.map((each) => driver.ack(each)));
    assert(answers.every((answer) => answer));
  }
  assertEquals(texts, all.map((_, index) => String(index)));
});

testOnRedis(
  "errors tell neither items nor passwords",
  async ({ open, command, client, connection }) => {
    const driver = await open();
    await command("SET", "highwater:{other}:stream", "not a stream");
    const other = driverOf({ connection, name: "other" });
    const wrong = await assertRejects(
      () => other.send(outgoings("my secret")),
      RedisError,
    );
    assertStringIncludes(wrong.message, "WRONGTYPE");
    assertEquals(inspected(wrong).includes("my secret"), false);
    await client[Symbol.asyncDispose]();
    const gone = await assertRejects(
      () => driver.send(outgoings("my secret")),
      RedisError,
    );
    assertStringIncludes(gone.message, "Cannot ask Redis");
    assertEquals(inspected(gone).includes("my secret"), false);
  },
);

/** All that is to be read in an error. */
function inspected(error: Error): string {
  return JSON.stringify(error, Object.getOwnPropertyNames(error));
}

/** A connection that does what it is told, and never tells. */
function brokenAfter(
  connection: RedisConnection,
): RedisConnection & { isBroken: boolean } {
  return {
    isBroken: false,
    async call(command, args, limit) {
      const reply = await connection.call(command, args, limit);
      if (this.isBroken) throw new RedisError("Broken");
      return reply;
    },
    duplicate: () => connection.duplicate(),
    drop: () => connection.drop(),
  };
}

/** A connection that does nothing. */
function brokenBefore(
  connection: RedisConnection,
): RedisConnection & { isBroken: boolean } {
  return {
    isBroken: false,
    async call(command, args, limit) {
      if (this.isBroken) throw new RedisError("Broken");
      return await connection.call(command, args, limit);
    },
    duplicate: () => connection.duplicate(),
    drop: () => connection.drop(),
  };
}

function abortedSoon(): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 30);
  return controller.signal;
}
