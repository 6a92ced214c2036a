/**
 * What an engine refuses for good reaches who asked, in the words of the server; what
 * passes by itself is waited for.
 */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { consume } from "../../mod.ts";
import type { EngineQueue } from "../../src/engines/core/engine_queue.ts";
import { NatsQueue } from "../../src/nats.ts";
import { type RedisClient, RedisQueue } from "../../src/redis.ts";
import { test } from "../support/harness.ts";
import { noNats, startNats, startPlainNats } from "../support/nats_server.ts";
import { printedBy } from "../support/printed.ts";
import { CLIENTS, type TestClient } from "../support/redis_clients.ts";
import { noRedis, startRedis } from "../support/redis_server.ts";
import type { ServerProcess } from "../support/server_process.ts";
import { pause } from "../support/waiting.ts";

const SECRET = "s3cr3t-w0rd";

/** Everything that talks to the engine rejects with the same words, and the handle ends. */
async function assertRefuses(
  queue: EngineQueue<number>,
  words: string,
): Promise<void> {
  const errors = [
    await assertRejects(() => queue.put(1), Error, words),
    await assertRejects(() => queue.putMany([1, 2]), Error, words),
    await assertRejects(() => queue.receive(), Error, words),
    await assertRejects(() => consume(queue, () => {}), Error, words),
    await assertRejects(() => queue.readable.getReader().read(), Error, words),
  ];
  for (const error of errors) assert(!inspect(error).includes(SECRET));
  await queue.close();
}

function testOnRedis(
  name: string,
  config: string[],
  body: (
    server: ServerProcess,
    connect: (url?: string) => Promise<TestClient>,
  ) => Promise<void>,
): void {
  for (const kind of CLIENTS) {
    test(`refusals of redis: ${name} (${kind.name})`, async () => {
      await using server = await startRedis({ config });
      const clients: TestClient[] = [];
      try {
        await body(server, async (url = `redis://${server.address}`) => {
          const client = await kind.connect(url);
          clients.push(client);
          return client;
        });
      } finally {
        for (const client of clients) await client[Symbol.asyncDispose]();
      }
    }, { skip: noRedis, timeout: 60_000 });
  }
}

testOnRedis("a key of another kind", [], async (_, connect) => {
  const { client, command } = await connect();
  for (const key of ["stream", "due"]) {
    const name = `jobs-${key}`;
    await command("SET", `highwater:{${name}}:${key}`, "mine");
    await assertRefuses(new RedisQueue(client, name), "WRONGTYPE");
  }
});

testOnRedis("a user without permission", [], async (server, connect) => {
  const { command } = await connect();
  await command(
    ...["ACL", "SETUSER", "app", "on", `>${SECRET}`, "~*", "&*", "+@all"],
    ...["-evalsha", "-eval"],
  );
  const url = `redis://app:${SECRET}@${server.address}`;
  const { client } = await connect(url);
  await assertRefuses(new RedisQueue(client, "jobs"), "NOPERM");
  await command(
    ...["ACL", "SETUSER", "app", "+evalsha", "+eval", "-xadd", "-xgroup"],
  );
  await assertRefuses(new RedisQueue(client, "jobs"), "can't run this command");
});

testOnRedis("no password, and a wrong one", [], async (server, connect) => {
  const { command } = await connect();
  await command("CONFIG", "SET", "requirepass", SECRET);
  const { createClient } = await import("redis");
  const { Redis } = await import("ioredis");
  for (const [login, words] of [["", "NOAUTH"], [":wr0ng@", "WRONGPASS"]]) {
    const url = `redis://${login}${server.address}`;
    let isOver = false;
    const io = new Redis(url, { retryStrategy: () => isOver ? null : 50 });
    const ended = new Promise((resolve) => io.once("end", resolve));
    const node = createClient({ url, socket: { reconnectStrategy: 50 } });
    node.on("error", () => {});
    const connecting = node.connect().catch(() => {});
    for (const client of [io, node] as RedisClient[]) {
      await assertRefuses(new RedisQueue(client, "jobs"), words!);
    }
    if (node.isOpen) node.destroy();
    // A refused client does not heed disconnect().
    isOver = true;
    await Promise.all([ended, connecting]);
  }
});

testOnRedis(
  "a replica that stays one; one that becomes a primary is waited for",
  [],
  async (_, connect) => {
    const { client, command } = await connect();
    await command("REPLICAOF", "127.0.0.1", "1");
    await command("CONFIG", "SET", "replica-serve-stale-data", "yes");
    await assertRefuses(
      new RedisQueue(client, "jobs", { onError() {} }),
      "READONLY",
    );
    let failures = 0;
    const onError = (): void => void failures++;
    const queue = new RedisQueue<number>(client, "jobs", { onError });
    const putting = queue.put(7);
    while (failures === 0) await pause(5);
    await command("REPLICAOF", "NO", "ONE");
    await putting;
    const delivery = await queue.receive();
    assertEquals([delivery.item, await delivery.ack()], [7, true]);
    await queue.close();
  },
);

test("refusals of redis: a client that was never connected", async () => {
  const { createClient } = await import("redis");
  const client = createClient();
  await assertRefuses(
    new RedisQueue(client, "jobs"),
    "client must be connected, received one that is closed",
  );
}, { skip: noRedis });

testOnRedis(
  "a client that is closed for good ends consumers and puts, and the handle closes",
  [],
  async (_, connect) => {
    const { client } = await connect();
    const queue = new RedisQueue<number>(client, "jobs", { onError() {} });
    await queue.put(1);
    const held = await queue.receive();
    const consuming = assertRejects(
      () => consume(queue, () => {}),
      Error,
      "must be connected",
    );
    // It waits in Redis by then.
    await pause(50);
    if ("quit" in client && "status" in client) {
      await (client.quit as () => Promise<unknown>)();
    } else await (client as unknown as { close(): Promise<void> }).close();
    await consuming;
    await assertRejects(() => queue.put(2), Error, "must be connected");
    await assertRejects(async () => await held.ack(), Error, "must be");
    await queue.close();
  },
);

testOnRedis(
  "without onError the first failure of each kind is printed, once, without a secret",
  [],
  async (server, connect) => {
    const { client } = await connect();
    const queue = new RedisQueue<number>(client, "jobs");
    await queue.put(1);
    const lines = await printedBy(async () => {
      await server.kill();
      const putting = queue.put(2);
      while ((client as { isReady?: boolean; status?: string }).isReady) {
        await pause(5);
      }
      await pause(1_500);
      await server.start();
      await putting;
    });
    const ours = lines.filter((line) => String(line).includes("jobs"));
    assert(ours.length >= 1, "something is printed");
    assertEquals(new Set(ours.map(String)).size, ours.length, "each once");
    assertStringIncludes(
      String(ours[0]),
      'The queue "jobs" had no answer: RedisError: ',
    );
    await queue.close();
  },
);

testOnRedis(
  "one that is full under noeviction refuses puts for the time being, and what is there comes out",
  ["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"],
  async (_, connect) => {
    const { client, command } = await connect();
    const errors: string[] = [];
    const onError = (error: unknown): void => void errors.push(String(error));
    const queue = new RedisQueue<string>(client, "jobs", { onError });
    const item = "x".repeat(900);
    let accepted = 0;
    const stop = new AbortController();
    const putting = (async () => {
      while (true) {
        await queue.putMany(Array(50).fill(item), { signal: stop.signal });
        accepted += 50;
      }
    })().catch(() => {});
    while (!errors.some((error) => error.includes("OOM"))) await pause(5);
    stop.abort();
    await putting;
    const there = await command("XLEN", "highwater:{jobs}:stream") as number;
    assert(there >= accepted && accepted > 0);
    // Not a byte more, whatever becomes free meanwhile.
    await command("CONFIG", "SET", "maxmemory", "1mb");
    const fresh = new RedisQueue<string>(client, "jobs", {
      visibility: 60_000,
    });
    const other = new RedisQueue<string>(client, "jobs", { attempts: 2 });
    const [first, second, third] = [
      await fresh.receive(),
      await fresh.receive({ visibility: 1_000 }),
      await fresh.receive(),
    ];
    assertEquals(await second.extend(60_000), true);
    assertEquals(await second.ack(), true);
    assertEquals(await first.nack({ delay: 1 }), true);
    assertEquals(await third.bury!(new Error("no")), true);
    let done = 2;
    const done$ = new AbortController();
    await consume(other, () => {
      if (++done === there) done$.abort();
    }, { signal: done$.signal, concurrency: 8 });
    assertEquals(await command("XLEN", "highwater:{jobs}:stream"), 0);
    for (const each of [queue, fresh, other]) await each.close();
  },
);

function testOnNats(
  name: string,
  body: () => Promise<void>,
): void {
  test(`refusals of nats: ${name}`, body, { skip: noNats, timeout: 60_000 });
}

testOnNats("no JetStream", async () => {
  await using server = await startPlainNats();
  const { connect, headers } = await import("@nats-io/transport-node");
  const connection = await connect({ servers: server.address });
  const queue = new NatsQueue<number>({ connection, headers }, "jobs");
  await assertRefuses(queue, "must have JetStream");
  await connection.close();
});

testOnNats("a stream that was made for something else", async () => {
  await using server = await startNats();
  const { connect, headers } = await import("@nats-io/transport-node");
  const connection = await connect({ servers: server.address });
  await connection.request(
    "$JS.API.STREAM.CREATE.jobs",
    JSON.stringify({ name: "jobs", subjects: ["x"], retention: "limits" }),
  );
  const queue = new NatsQueue<number>({ connection, headers }, "jobs");
  await assertRefuses(queue, 'must have the retention "workqueue"');
  await connection.close();
});

testOnNats("a user without permission", async () => {
  const config = join(tmpdir(), `highwater-${crypto.randomUUID()}.conf`);
  writeFileSync(
    config,
    `authorization { users = [ { user: app, password: "${SECRET}",
      permissions: { publish: { deny: "$JS.API.>" } } } ] }\n`,
  );
  await using server = await startNats("--config", config);
  const { connect, headers } = await import("@nats-io/transport-node");
  const connection = await connect({
    ...{ servers: server.address, user: "app", pass: SECRET },
  });
  const queue = new NatsQueue<number>({ connection, headers }, "jobs");
  await assertRefuses(queue, "Permissions Violation");
  await connection.close();
});

testOnNats(
  "a connection that is closed for good ends consumers and puts, and the handle closes",
  async () => {
    await using server = await startNats();
    const { connect, headers } = await import("@nats-io/transport-node");
    const connection = await connect({ servers: server.address });
    const queue = new NatsQueue<number>({ connection, headers }, "jobs", {
      onError() {},
    });
    await queue.put(1);
    const held = await queue.receive();
    const consuming = assertRejects(
      () => consume(queue, () => {}),
      Error,
      "received one that is closed",
    );
    await pause(50);
    await connection.close();
    await consuming;
    await assertRejects(() => queue.put(2), Error, "is closed");
    await assertRejects(async () => await held.ack(), Error, "is closed");
    await queue.close();
  },
);

testOnNats("a connection that gives up reconnecting", async () => {
  const server = await startNats();
  const { connect, headers } = await import("@nats-io/transport-node");
  const connection = await connect({
    servers: server.address,
    maxReconnectAttempts: 2,
    reconnectTimeWait: 20,
  });
  const queue = new NatsQueue<number>({ connection, headers }, "jobs", {
    onError() {},
  });
  await queue.put(1);
  await (await queue.receive()).ack();
  const consuming = assertRejects(() => consume(queue, () => {}), Error);
  await server[Symbol.asyncDispose]();
  const putting = assertRejects(() => queue.put(2), Error);
  await Promise.all([consuming, putting]);
  await queue.close();
});
