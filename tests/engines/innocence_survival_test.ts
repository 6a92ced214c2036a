/**
 * Work that did nothing wrong does not end among the dead letters, on Redis as on
 * NATS: not by a stop, not by a neighbour, not by taking its time.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  consume,
  type ConsumeReport,
  type DeadLetter,
  type Delivery,
} from "../../mod.ts";
import { MISSING, startEngine } from "../support/engine_servers.ts";
import {
  type EngineName,
  type EnginePlace,
  ENGINES,
} from "../support/engines.ts";
import { outcomeOf, startScript } from "../support/example.ts";
import { test } from "../support/harness.ts";
import { pause } from "../support/waiting.ts";

const LONG = 600_000;

function testOnEngines(
  name: string,
  body: (
    place: EnginePlace,
    engine: EngineName,
    address: string,
  ) => Promise<void>,
  timeout = 60_000,
): void {
  for (const engine of ["redis", "nats"] as const) {
    test(`innocence on ${engine}: ${name}`, async () => {
      await using server = await startEngine(engine);
      await using place = await ENGINES[engine](server.address);
      await body(place, engine, server.address);
    }, { skip: MISSING[engine], timeout });
  }
}

testOnEngines(
  "a stop is no attempt: the item goes back, and comes again as the same attempt",
  async ({ open }, engine) => {
    const queue = open({ attempts: 1, visibility: LONG });
    await queue.put(7);
    for (let deployment = 0; deployment < 3; deployment++) {
      const stop = new AbortController();
      const attempts: number[] = [];
      const report = await consume(queue, async (_, { signal, attempt }) => {
        attempts.push(attempt);
        queueMicrotask(() => stop.abort());
        await aborted(signal);
      }, { signal: stop.signal });
      assertEquals([report.returned, attempts], [1, [1]]);
      const { backlog, inFlight, deadLetters } = await queue.stats();
      // NATS tells what came back as in flight until it is lent again.
      assertEquals(backlog + (engine === "nats" ? inFlight : 0), 1);
      assertEquals(deadLetters, 0);
    }
    const delivery = await queue.receive();
    assertEquals([delivery.item, delivery.attempt], [7, 1]);
    assertEquals(await delivery.ack(), true);
  },
);

testOnEngines(
  "what a stop gives back comes again in order, before what is new",
  async ({ open }) => {
    const queue = open({ attempts: 1, visibility: LONG, prefetch: 0 });
    await queue.putMany([1, 2, 3, 4, 5, 6]);
    const stop = new AbortController();
    let begun = 0;
    const report = await consume(queue, async (_, { signal }) => {
      if (++begun === 4) queueMicrotask(() => stop.abort());
      await aborted(signal);
    }, { concurrency: 4, signal: stop.signal });
    assertEquals(report.returned, 4);
    const items: number[] = [];
    while (items.length < 6) {
      const delivery = await queue.receive();
      assertEquals(delivery.attempt, 1);
      items.push(delivery.item);
      await delivery.ack();
    }
    assertEquals(items, [1, 2, 3, 4, 5, 6]);
  },
);

testOnEngines(
  "nack({ counted: false }) is no attempt, with a delay or without; a plain one is",
  async ({ open }) => {
    const queue = open({ attempts: 2, visibility: LONG });
    await queue.put(7);
    for (const delay of [0, 0, 30]) {
      const delivery = await queue.receive();
      assertEquals(delivery.attempt, 1);
      assertEquals(await delivery.nack({ counted: false, delay }), true);
    }
    assertEquals(await (await queue.receive()).nack(), true);
    const delivery: Delivery<number> = await queue.receive();
    assertEquals(delivery.attempt, 2);
    assertEquals(await delivery.nack({ counted: false }), true);
    const last = await queue.receive();
    assertEquals(last.attempt, 2);
    assertEquals(await last.nack(), true);
    assertEquals((await queue.stats()).deadLetters, 1);
  },
);

testOnEngines(
  "what fails for good after a stop of others still counts: an item that aborts the run",
  async ({ open }) => {
    const queue = open({ attempts: 3, visibility: LONG });
    await queue.put(7);
    await assertRejects(
      () =>
        consume(queue, () => {
          throw new Error("no");
        }, { onError: "abort" }),
      Error,
      "no",
    );
    const delivery = await queue.receive();
    assertEquals(delivery.attempt, 2);
    await delivery.ack();
  },
);

testOnEngines(
  "1 item of 201 ends the process: 1 dead letter, 200 done, and it was alone each time but the first",
  async ({ open }, engine, address) => {
    const attempts = 3;
    const queue = open({ attempts, visibility: 1_500 });
    const items = Array.from({ length: 201 }, (_, index) => index + 1);
    items[100] = -13;
    await queue.putMany(items);
    const options = { attempts, concurrency: 32, visibility: 1_500 };
    const beside: number[] = [];
    for (let life = 0;; life++) {
      assert(life < 12, "it comes to its end");
      const { code, stdout, stderr } = await outcomeOf(startScript(
        "tests/fixtures/poison_worker.ts",
        [engine, address, JSON.stringify(options)],
      ));
      if (code !== 0) {
        assertEquals(stderr, "");
        beside.push(Number(stdout));
        continue;
      }
      break;
    }
    const { backlog, inFlight, deadLetters } = await queue.stats();
    assertEquals([backlog, inFlight, deadLetters], [0, 0, 1]);
    assert(beside[0]! > 1, "it was beside others once");
    assertEquals(beside.slice(1), beside.slice(1).fill(1));
    assertEquals(beside.length, attempts, "each delivery that began counts");
  },
  120_000,
);

testOnEngines(
  "what was lost beside others is lent alone, however often that was, and is no dead letter",
  async ({ open }) => {
    const options = { attempts: 1, visibility: 3_000, prefetch: 0 };
    const [lost, queue] = [open(options), open(options)];
    await queue.putMany([1, 2, 3]);
    // Nobody ever answers for them.
    assertEquals((await lost.receiveMany(3, { linger: 500 })).length, 3);
    const first = await queue.receive({ visibility: LONG });
    const next = queue.receive({ visibility: LONG });
    await queue.put(4);
    const others = open(options);
    // Not a suspect: others have them all, one each.
    const second = await others.receive({ visibility: LONG });
    assertEquals([first.item, second.item].sort(), [1, 2]);
    assertEquals(await first.ack(), true);
    const third = await next;
    assertEquals(third.item, 3);
    assertEquals(await third.ack(), true);
    assertEquals(await second.ack(), true);
    const fourth = await queue.receive();
    assertEquals([fourth.item, fourth.attempt], [4, 1]);
    assertEquals(await fourth.ack(), true);
    assertEquals((await queue.stats()).deadLetters, 0);
  },
);

testOnEngines(
  "who holds something for long gets what was lost beside it, after a while",
  async ({ open }) => {
    // Longer than a busy machine holds up a word that extends it.
    const options = { attempts: 1, visibility: 3_000, prefetch: 0 };
    const [lost, queue] = [open(options), open(options)];
    await queue.put(1);
    const kept = await queue.receive({ visibility: LONG });
    await queue.putMany([2, 3]);
    assertEquals((await lost.receiveMany(2, { linger: 500 })).length, 2);
    const received = [
      await queue.receive({ visibility: LONG }),
      await queue.receive({ visibility: LONG }),
    ];
    assertEquals(received.map(({ item }) => item).sort(), [2, 3]);
    for (const delivery of [kept, ...received]) {
      assertEquals(await delivery.ack(), true);
    }
  },
);

testOnEngines(
  "a handler that takes longer than the queue lends for keeps its item",
  async ({ open }) => {
    const options = { visibility: 1_500, prefetch: 0 };
    const [queue, other] = [open(options), open(options)];
    await queue.put(7);
    const stop = new AbortController();
    let calls = 0;
    const handler = async (): Promise<void> => {
      calls++;
      await pause(5_000);
      stop.abort();
    };
    const { signal } = stop;
    const reports: ConsumeReport[] = await Promise.all(
      [queue, other].map((each) =>
        consume(each, handler, { signal, grace: 5_000 })
      ),
    );
    assertEquals([calls, reports.map(({ lost }) => lost)], [1, [0, 0]]);
    assertEquals((await queue.stats()).backlog, 0);
  },
);

testOnEngines(
  "retry.attempts above those of the queue are an error; within them the consumer's dead letter gets the item",
  async ({ open }) => {
    const queue = open({ attempts: 3, visibility: LONG });
    await queue.put(7);
    const letters: DeadLetter<number>[] = [];
    const stop = new AbortController();
    const deadLetter = (letter: DeadLetter<number>): void => {
      letters.push(letter);
      stop.abort();
    };
    let calls = 0;
    const handler = (): void => {
      calls++;
      throw new Error("no");
    };
    const { signal } = stop;
    await assertRejects(
      () =>
        consume(queue, handler, {
          retry: { attempts: 10, delay: 1 },
          ...{ deadLetter, signal },
        }),
      RangeError,
      "Cannot consume: retry.attempts must be at most the attempts of the source, which are 3, received 10",
    );
    assertEquals(calls, 0);
    // Unless told it is as many as the queue allows.
    const retry = { delay: 1 };
    const report = await consume(queue, handler, { retry, deadLetter, signal });
    assertEquals([calls, report.failed, report.deadLettered], [3, 1, 1]);
    assertEquals(letters.map(({ item, attempts }) => [item, attempts]), [[
      7,
      3,
    ]]);
    const { backlog, deadLetters } = await queue.stats();
    assertEquals([backlog, deadLetters], [0, 0]);
  },
);

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}
