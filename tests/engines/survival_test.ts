/**
 * What a queue on an engine survives, on Redis as on NATS. Duration proves nothing
 * here; where something must not wait for a visibility, that is so long that the test
 * would not end.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import process from "node:process";
import { consume, type ConsumeReport, type Delivery } from "../../mod.ts";
import type { EngineQueue } from "../../src/engines/core/engine_queue.ts";
import {
  startWorker,
  type Worker,
  type WorkerOptions,
} from "../support/engine_workers.ts";
import { MISSING, startEngine } from "../support/engine_servers.ts";
import {
  type EngineName,
  type EnginePlace,
  ENGINES,
} from "../support/engines.ts";
import { runtime, test } from "../support/harness.ts";
import type { ServerProcess } from "../support/server_process.ts";
import { pause, until } from "../support/waiting.ts";

const LONG = 600_000;
/** Processes take their time to start: they are shared out among the runtimes. */
const KILLS = Number(process.env["HIGHWATER_KILLS"]) ||
  (runtime === "deno" ? 16 : 4);
/** Much longer than any machine holds up a process that goes on extending what it has. */
const CRASH_VISIBILITY = 3_000;
const PROCESSES = runtime === "deno" ? 10 : runtime === "bun" ? 5 : 2;

interface Place extends EnginePlace {
  readonly server: ServerProcess;
  start(options: WorkerOptions): Worker;
}

const ALL: readonly EngineName[] = ["redis", "node-redis", "nats"];
/** For what does not depend on the client. */
const ONE_CLIENT: readonly EngineName[] = ["redis", "nats"];

function testOnEngines(
  name: string,
  engines: readonly EngineName[],
  body: (place: Place) => Promise<void>,
): void {
  for (const engine of engines) {
    test(`survival on ${engine}: ${name}`, async () => {
      await using server = await startEngine(engine, true);
      await using place = await ENGINES[engine](server.address);
      const start = (options: WorkerOptions): Worker =>
        startWorker(engine, server, options);
      await body({ ...place, server, start });
    }, { skip: MISSING[engine], timeout: 120_000 });
  }
}

testOnEngines(
  `${KILLS} times a consumer is killed in its work: nothing is lost, and only what was in work is done again`,
  ONE_CLIENT,
  async ({ open, start }) => {
    const concurrency = 4;
    const visibility = CRASH_VISIBILITY;
    const options = { work: 25, concurrency, visibility, prefetch: 8 };
    const queue = open({ capacity: 100, visibility });
    let isEnding = false;
    let count = 0;
    const putting = (async () => {
      while (!isEnding) await queue.put(count++);
    })();
    const running = [start(options), start(options), start(options)];
    const killed: Worker[] = [];
    while (killed.length < KILLS) {
      const victim = running.shift()!;
      running.push(start(options));
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
    for (const [item, workers] of begunBy) {
      for (const worker of workers.slice(0, -1)) {
        redone.set(worker, (redone.get(worker) ?? 0) + 1);
        assert(killed.includes(worker), `${item} was done again without need`);
      }
    }
    // A place is held until the engine has the acknowledgement.
    for (const items of redone.values()) assert(items <= concurrency);
  },
);

testOnEngines(
  `${PROCESSES} consumers in as many processes: each item once, fairly`,
  ONE_CLIENT,
  async ({ open, start }) => {
    const each = 80;
    const count = PROCESSES * each;
    const queue = open({ visibility: LONG });
    await queue.stats();
    const options = { work: 40, concurrency: 2, visibility: LONG };
    const workers = Array.from({ length: PROCESSES }, () => start(options));
    await until(() => workers.every(({ isReady }) => isReady));
    await queue.putMany(Array.from({ length: count }, (_, index) => index));
    await until(() => isEmpty(queue));
    const reports = await Promise.all(workers.map((worker) => worker.stop()));
    assertEquals(sum(reports.map(({ processed }) => processed!)), count);
    const begun = workers.map((worker) => worker.begun);
    assertEquals(sorted(begun.flat()), sorted(Array(count).keys()));
    for (const { length } of begun) {
      // A machine that is busy elsewhere holds some of them up.
      assert(length >= 0.5 * each && length <= 1.5 * each, `fair: ${length}`);
    }
  },
);

testOnEngines(
  "the server stops, crashes and comes back: nothing accepted is lost, all go on by themselves",
  ALL,
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
      await until(() => accepted.length > before + 50);
      await server[end]();
      const failures = errors.length;
      await until(() => errors.length > failures);
      await server.start();
    }
    const before = seen.length;
    await until(() => seen.length > before + 50);
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

testOnEngines(
  "a put whose answer was lost is no second item when it is repeated",
  ALL,
  async ({ server, open, stored }) => {
    const queue = open();
    let isEnding = false;
    let count = 0;
    const putters = Array.from({ length: 8 }, async () => {
      while (!isEnding) await queue.put(count++);
    });
    for (let round = 0; round < 2; round++) {
      const before = count;
      await until(() => count > before + 200);
      await server.kill();
      await server.start();
    }
    const before = count;
    await until(() => count > before + 200);
    isEnding = true;
    await Promise.all(putters);
    const items = (await stored()).map(({ text }) => Number(text));
    assertEquals(sorted(items), sorted(Array(count).keys()));
  },
);

testOnEngines(
  "while the server is away puts reject where that was asked for",
  ONE_CLIENT,
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

testOnEngines(
  "a slow consumer holds up who puts, and both sides stay small",
  ALL,
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

testOnEngines(
  "a poison item ends in the dead letters, and the others are done",
  ALL,
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

testOnEngines(
  "an item that kills who takes it ends in the dead letters",
  ONE_CLIENT,
  async ({ open, start }) => {
    const visibility = 200;
    const queue = open({ attempts: 2, visibility });
    await queue.put(13);
    for (let crash = 0; crash < 2; crash++) {
      const worker = start({ work: LONG, concurrency: 1, visibility });
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

testOnEngines(
  "a handler slower than its visibility keeps its item by extending, and loses it once without",
  ALL,
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

testOnEngines(
  "clocks of the hosts may be wrong by days",
  ONE_CLIENT,
  async ({ open, start }) => {
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
    const worker = start({
      ...{ work: 0, concurrency: 1, visibility: LONG },
      clockShift: -86_400_000,
    });
    await worker.hasBegun(3);
    assertEquals((await worker.stop())["processed"], 3);
  },
);

testOnEngines(
  "a graceful end: what is in work is finished or given back at once",
  ALL,
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
    await until(() => begun.length === 3);
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

async function isEmpty(queue: EngineQueue<number>): Promise<boolean> {
  const { backlog, inFlight } = await queue.stats();
  return backlog + inFlight === 0;
}

function sorted(numbers: Iterable<number>): number[] {
  return [...numbers].sort((one, other) => one - other);
}

function sum(numbers: number[]): number {
  return numbers.reduce((one, other) => one + other, 0);
}
