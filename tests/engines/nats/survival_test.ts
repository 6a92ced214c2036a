/**
 * What a queue in NATS survives. Duration proves nothing here; where something
 * must not wait for a visibility, that is so long that the test would not end.
 */

import { connect, headers, type NatsConnection } from "@nats-io/transport-node";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { consume, type ConsumeReport, type Delivery } from "../../../mod.ts";
import { NatsQueue, type NatsQueueOptions } from "../../../src/nats.ts";
import { runtime, test } from "../../support/harness.ts";
import { noNats, startNats } from "../../support/nats_server.ts";
import type { ServerProcess } from "../../support/server_process.ts";
import { type Worker, Workers } from "../../support/nats_workers.ts";
import { pause, until } from "../../support/waiting.ts";
import { upTo } from "../../support/items.ts";

const LONG = 600_000;
/** Processes take their time to start: they are shared out among the runtimes. */
const KILLS = Number(process.env["HIGHWATER_KILLS"]) ||
  (runtime === "deno" ? 16 : 4);
/** Much longer than any machine holds up a process that goes on extending what it has. */
const CRASH_VISIBILITY = 3_000;
const PROCESSES = runtime === "deno" ? 10 : runtime === "bun" ? 5 : 2;

interface Place {
  readonly server: ServerProcess;
  readonly connection: NatsConnection;
  readonly workers: Workers;
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
        connection,
        workers: new Workers(server.address, connection),
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
  `${KILLS} times a consumer is killed in its work: nothing is lost, and only what was in work is done again`,
  async ({ workers, open }) => {
    const concurrency = 4;
    const options = {
      ...{ work: 25, concurrency, visibility: CRASH_VISIBILITY, prefetch: 8 },
    };
    const queue = open({ capacity: 100, visibility: CRASH_VISIBILITY });
    let isEnding = false;
    let count = 0;
    const putting = (async () => {
      while (!isEnding) await queue.put(count++);
    })();
    const start = (): Worker => workers.start(options);
    const running = [start(), start(), start()];
    const killed: Worker[] = [];
    while (killed.length < KILLS) {
      const victim = running.shift()!;
      running.push(start());
      await victim.hasBegun(2 + killed.length % 7);
      await victim.kill();
      killed.push(victim);
    }
    isEnding = true;
    await putting;
    await until(() => isEmpty(queue));
    await Promise.all(running.map((worker) => worker.stop()));

    const begunBy = new Map<number, Worker[]>();
    for (const worker of [...killed, ...running]) {
      for (const item of worker.begun) {
        const others = begunBy.get(item);
        if (others === undefined) begunBy.set(item, [worker]);
        else others.push(worker);
      }
    }
    assertEquals(begunBy.size, count, "every item was worked on");
    const redone = new Map<Worker, number>();
    for (const [item, doers] of begunBy) {
      for (const worker of doers.slice(0, -1)) {
        redone.set(worker, (redone.get(worker) ?? 0) + 1);
        assert(killed.includes(worker), `${item} was done again without need`);
      }
    }
    // A place is held until the server has the acknowledgement.
    for (const items of redone.values()) assert(items <= concurrency);
  },
  120_000,
);

testOnNats(
  `${PROCESSES} consumers in as many processes: each item once, fairly`,
  async ({ workers, open }) => {
    const each = 80;
    const count = PROCESSES * each;
    const queue = open({ visibility: LONG });
    await queue.stats();
    const options = { work: 40, concurrency: 2, visibility: LONG };
    const all = Array.from(
      { length: PROCESSES },
      () => workers.start(options),
    );
    await until(() => Promise.resolve(all.every(({ isReady }) => isReady)));
    await queue.putMany(upTo(count));
    await until(() => isEmpty(queue));
    const reports = await Promise.all(all.map((worker) => worker.stop()));
    assertEquals(sum(reports.map(({ processed }) => processed!)), count);
    const begun = all.map((worker) => worker.begun);
    assertEquals(sorted(begun.flat()), sorted(Array(count).keys()));
    for (const { length } of begun) {
      // A machine that is busy elsewhere holds some of them up.
      assert(length >= 0.5 * each && length <= 1.5 * each, `fair: ${length}`);
    }
  },
);

testOnNats(
  "the server stops, crashes and comes back: nothing accepted is lost, all go on by themselves",
  async ({ server, open }) => {
    const errors: unknown[] = [];
    const options = {
      capacity: 100,
      visibility: 300,
      attempts: Infinity,
      onError: (error: unknown) => errors.push(error),
    };
    const [queue, consumer] = [open(options), open(options)];
    const seen: number[] = [];
    const controller = new AbortController();
    const consuming = consume(consumer, async (item) => {
      seen.push(item);
      await pause(1);
    }, { concurrency: 4, visibility: 300, signal: controller.signal });
    const accepted: number[] = [];
    let isEnding = false;
    let count = 0;
    const putters = Array.from({ length: 4 }, async () => {
      while (!isEnding) {
        const item = count++;
        await queue.put(item);
        accepted.push(item);
      }
    });
    for (const end of ["stop", "kill", "kill"] as const) {
      const before = accepted.length;
      await until(() => Promise.resolve(accepted.length > before + 50));
      await server[end]();
      const failures = errors.length;
      await until(() => Promise.resolve(errors.length > failures));
      await server.start();
    }
    const before = seen.length;
    await until(() => Promise.resolve(seen.length > before + 50));
    isEnding = true;
    await Promise.all(putters);
    await until(() => isEmpty(queue));
    controller.abort();
    await consuming;
    assertEquals(accepted.length, count);
    const all = new Set(seen);
    assertEquals(accepted.filter((item) => !all.has(item)), []);
    assertEquals((await queue.stats()).failure, undefined);
  },
);

testOnNats(
  "a put whose answer was lost is no second item when it is repeated",
  async ({ server, open, connection }) => {
    const queue = open();
    let isEnding = false;
    let count = 0;
    const putters = Array.from({ length: 8 }, async () => {
      while (!isEnding) await queue.put(count++);
    });
    for (let round = 0; round < 2; round++) {
      const before = count;
      await until(() => Promise.resolve(count > before + 200));
      await server.kill();
      await server.start();
    }
    const before = count;
    await until(() => Promise.resolve(count > before + 200));
    isEnding = true;
    await Promise.all(putters);
    const { state } = (await connection.request("$JS.API.STREAM.INFO.jobs"))
      .json<{ state: { messages: number } }>();
    assertEquals(state.messages, count);
  },
);

testOnNats(
  "while the server is away puts reject where that was asked for",
  async ({ server, open }) => {
    const queue = open({ offline: "reject" });
    await queue.put(1);
    await server.stop();
    await assertRejects(() => queue.put(2));
    await server.start();
    await until(async () => await queue.put(3).then(() => true, () => false));
    assertEquals((await queue.receive()).item, 1);
  },
);

testOnNats(
  "a slow consumer holds up who puts, and both sides stay small",
  async ({ open }) => {
    const capacity = 50;
    const highWaterMark = 20;
    const queue = open({ capacity, highWaterMark });
    const consumer = open({ prefetch: 8 });
    const count = 600;
    let produced = 0;
    const source = new ReadableStream<number>({
      pull(controller) {
        controller.enqueue(produced++);
        if (produced === count) controller.close();
      },
    }, { highWaterMark: 0 });
    const piping = source.pipeTo(queue.producer());
    let most = 0;
    let ahead = 0;
    let done = 0;
    while (done < count) {
      const delivery = await consumer.receive();
      done++;
      if (done % 20 === 0) {
        const stats = await queue.stats();
        most = Math.max(most, stats.backlog + stats.inFlight);
        ahead = Math.max(ahead, produced - done);
      }
      await delivery.ack();
    }
    await piping;
    assert(most <= capacity, `${most} there`);
    assert(ahead <= capacity + highWaterMark + 8, `${ahead} ahead`);
  },
);

testOnNats(
  "a poison item ends in the dead letters, and the others are done",
  async ({ open }) => {
    const queue = open({ attempts: 3 });
    await queue.putMany([0, 1, 2, 3, 4, 5]);
    const controller = new AbortController();
    const done: number[] = [];
    const consuming = consume(queue, (item) => {
      if (item % 3 === 1) throw new Error("poison");
      done.push(item);
    }, {
      concurrency: 3,
      retry: { attempts: 3, delay: 1 },
      signal: controller.signal,
    });
    await until(() => isEmpty(queue));
    controller.abort();
    await consuming;
    assertEquals(sorted(done), [0, 2, 3, 5]);
    assertEquals((await queue.stats()).deadLetters, 2);
  },
);

testOnNats(
  "an item that kills who takes it ends in the dead letters",
  async ({ workers, open }) => {
    const queue = open({ attempts: 2, visibility: 200 });
    await queue.put(13);
    for (let crash = 0; crash < 2; crash++) {
      const worker = workers.start({
        work: LONG,
        concurrency: 1,
        visibility: 200,
      });
      await worker.hasBegun(1);
      await worker.kill();
    }
    const waiting = queue.receive();
    await until(async () => (await queue.stats()).deadLetters === 1);
    await queue.put(14);
    const delivery = await waiting;
    assertEquals([delivery.item, delivery.attempt], [14, 1]);
    await delivery.ack();
  },
);

testOnNats(
  "a handler slower than its visibility keeps its item by extending, and loses it once without",
  async ({ open }) => {
    const [queue, other] = [open(), open()];
    await queue.putMany([1, 2]);
    // Long enough for a machine that stands still for a moment.
    const kept = await queue.receive({ visibility: 1_500 });
    const slow = await queue.receive({ visibility: 1_500 });
    const lost = new Promise((resolve) => {
      slow.signal.addEventListener("abort", resolve);
    });
    assertEquals(await kept.extend(LONG), true);
    const again = await other.receive();
    assertEquals([again.item, again.attempt], [2, 2]);
    await lost;
    assertEquals(await slow.ack(), false);
    assertEquals(await kept.ack(), true);
    assertEquals(await again.ack(), true);

    // consume extends by itself.
    await queue.put(3);
    const controller = new AbortController();
    let calls = 0;
    const report = await consume(queue, async () => {
      calls++;
      await pause(700);
      controller.abort();
    }, { visibility: 300, signal: controller.signal });
    assertEquals([calls, report.processed, report.lost], [1, 1, 0]);
  },
);

testOnNats(
  "clocks of the hosts may be wrong by days",
  async ({ workers, open }) => {
    const queue = open();
    const now = Date.now;
    let delivery: Delivery<number>;
    Date.now = () => now() + 3 * 86_400_000;
    try {
      await queue.put(1);
      delivery = await queue.receive({ visibility: LONG });
      assert(Math.abs(performance.now() - delivery.enqueuedAt!) < 60_000);
      assert((await queue.stats()).oldestAge! < 60_000);
      Date.now = () => now() - 3 * 86_400_000;
      const other = open();
      await other.put(2);
      const second = await other.receive();
      assertEquals([second.item, second.attempt], [2, 1]);
      assert(Math.abs(performance.now() - second.enqueuedAt!) < 60_000);
      await second.nack({ delay: 20 });
      const again = await queue.receive();
      assertEquals([again.item, again.attempt], [2, 2]);
      assertEquals(await again.ack(), true);
      assertEquals(await delivery.ack(), true);
    } finally {
      Date.now = now;
    }
    await queue.putMany([3, 4, 5]);
    const worker = workers.start({
      ...{ work: 0, concurrency: 1, visibility: LONG },
      clockShift: -86_400_000,
    });
    await worker.hasBegun(3);
    assertEquals((await worker.stop())["processed"], 3);
  },
);

testOnNats(
  "a graceful end: what is in work is finished or given back at once",
  async ({ open }) => {
    const [leaving, staying] = [open({ prefetch: 8 }), open()];
    await leaving.putMany([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const controller = new AbortController();
    const begun: number[] = [];
    const consuming: Promise<ConsumeReport> = consume(
      leaving,
      async (item, { signal }) => {
        begun.push(item);
        if (item === 0) return await pause(30);
        // Gives up when it is told to.
        await new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
        });
      },
      { concurrency: 3, visibility: LONG, signal: controller.signal },
    );
    await until(() => Promise.resolve(begun.length === 3));
    controller.abort();
    const report = await consuming;
    await leaving.close();
    assertEquals([report.processed, report.returned], [1, 2]);
    const items: number[] = [];
    while (items.length < 9) {
      const delivery = await staying.receive();
      items.push(delivery.item);
      assertEquals(delivery.attempt, 1, "a stop is no attempt");
      await delivery.ack();
    }
    assertEquals(sorted(items), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  },
);

testOnNats(
  "items with keys go on in their order when who has them is killed",
  async ({ workers, open }) => {
    const queue = open({
      keyOf: (item) => String(item % 4),
      partitions: 8,
      visibility: 500,
    });
    const count = 40;
    await queue.putMany(upTo(count));
    const options = { work: 5, concurrency: 4, visibility: 500 };
    const victim = workers.start(options);
    await victim.hasBegun(10);
    await victim.kill();
    const heir = workers.start(options);
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

function sorted(numbers: Iterable<number>): number[] {
  return [...numbers].sort((one, other) => one - other);
}

function sum(numbers: number[]): number {
  return numbers.reduce((one, other) => one + other, 0);
}
