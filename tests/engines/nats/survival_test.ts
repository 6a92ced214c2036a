/**
 * What only a queue in NATS survives; the rest is in `../survival_test.ts`. Duration
 * proves nothing here; where something must not wait for a visibility, that is so long
 * that the test would not end.
 */

import { connect, headers } from "@nats-io/transport-node";
import { assert, assertEquals } from "@std/assert";
import { readFileSync, writeFileSync } from "node:fs";
import { NatsQueue, type NatsQueueOptions } from "../../../src/nats.ts";
import { startWorker } from "../../support/engine_workers.ts";
import { test } from "../../support/harness.ts";
import { upTo } from "../../support/items.ts";
import { noNats, startNats } from "../../support/nats_server.ts";
import type { ServerProcess } from "../../support/server_process.ts";
import { until } from "../../support/waiting.ts";

const LONG = 600_000;

interface Place {
  readonly server: ServerProcess;
  open<T = number>(options?: NatsQueueOptions<T>): NatsQueue<T>;
}

function testOnNats(
  name: string,
  body: (place: Place) => Promise<void>,
  timeout = 120_000,
): void {
  test(`nats survival: ${name}`, async () => {
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
        open(options = {}) {
          const queue = new NatsQueue({ connection, headers }, "jobs", options);
          queues.push(queue as unknown as NatsQueue<never>);
          return queue;
        },
      });
    } finally {
      const signal = AbortSignal.abort();
      await Promise.all(queues.map((queue) => queue.close({ signal })));
    }
  }, { skip: noNats, timeout });
}

/**
 * As after a kill: of what was told last the server has the messages on its disk, and
 * not yet what its consumer has of them.
 */
async function killBetweenWrites(
  server: ServerProcess,
  consumer: string,
  work: () => Promise<unknown>,
): Promise<void> {
  const path =
    `${server.folder}/jetstream/$G/streams/jobs/obs/${consumer}/o.dat`;
  await server.stop();
  const before = readFileSync(path);
  await server.start();
  await work();
  await server.stop();
  writeFileSync(path, before);
  await server.start();
}

for (const keyOf of [undefined, (item: string) => item[0]!]) {
  testOnNats(
    `what a killed server has no longer takes no room and holds nobody up${
      keyOf === undefined ? "" : ", with keys"
    }`,
    async ({ server, open }) => {
      const options = {
        ...{ capacity: 2, visibility: LONG, prefetch: 0, keyOf },
        ...keyOf === undefined ? {} : { partitions: 2 },
        onError: () => {},
      };
      const queue = open<string>(options);
      // Of two orders; what is first stays, so that the other is gone from the midst.
      await queue.put("a1");
      await queue.put("b1");
      const lent = [await queue.receive(), await queue.receive()];
      const done = lent.find(({ item }) => item === "b1")!;
      const consumer = keyOf === undefined ? "work" : partitionOf("b");
      await killBetweenWrites(server, consumer, async () => {
        assertEquals(await done.ack(), true);
      });
      const other = open<string>(options);
      await other.put("b2");
      assertEquals((await other.receive()).item, "b2");
      const { backlog, inFlight } = await other.stats();
      assertEquals([backlog, inFlight], [0, 2]);
    },
  );
}

/** Which of two consumers has the items of a key. */
function partitionOf(key: string): string {
  return String((0x811c9dc5 ^ key.charCodeAt(0)) & 1);
}

testOnNats(
  "items with keys go on in their order when who has them is killed",
  async ({ server, open }) => {
    const queue = open({
      keyOf: (item) => String(item % 4),
      partitions: 8,
      visibility: 500,
    });
    const count = 40;
    await queue.putMany(upTo(count));
    const options = { work: 5, concurrency: 4, visibility: 500 };
    const victim = startWorker("nats", server, options);
    await victim.hasBegun(10);
    await victim.kill();
    const heir = startWorker("nats", server, options);
    await until(() => isEmpty(queue));
    await heir.stop();
    for (const key of [0, 1, 2, 3]) {
      const own = (item: number): boolean => item % 4 === key;
      const [before, after] = [
        victim.begun.filter(own),
        heir.begun.filter(own),
      ];
      // What was in work is done again; nothing else is, and nothing comes before its turn.
      const last = before.at(-1)!;
      const first = after[0]!;
      assert(first === last || first === last + 4, `${last}, then ${first}`);
      assertEquals(before, steps(key, last));
      assertEquals(after, steps(first, count - 4 + key));
    }
  },
);

function steps(from: number, to: number): number[] {
  return Array.from({ length: (to - from) / 4 + 1 }, (_, i) => from + 4 * i);
}

async function isEmpty<T>(queue: NatsQueue<T>): Promise<boolean> {
  const { backlog, inFlight } = await queue.stats();
  return backlog + inFlight === 0;
}
