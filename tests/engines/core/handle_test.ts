import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  consume,
  type Delivery,
  QueueClosedError,
  QueueFullError,
} from "../../../mod.ts";
import {
  EngineHandle,
  type EngineHandleOptions,
} from "../../../src/engines/core/handle.ts";
import { Connection } from "../../../src/engines/core/connection.ts";
import { test } from "../../support/harness.ts";
import {
  type Kept,
  type MemoryEngine,
  startHandle,
} from "../../support/memory_engine.ts";
import { SteppedClock } from "../../support/stepped_clock.ts";
import { turns, watched } from "../../support/waiting.ts";

function another(
  engine: MemoryEngine,
  options: EngineHandleOptions<string> = {},
): EngineHandle<string, Kept> {
  const { clock } = engine;
  return new EngineHandle("jobs", engine.connect(), { clock, ...options });
}

test("engines: what one handle puts another receives, and acknowledges once", async () => {
  const { engine, queue } = startHandle();
  const other = another(engine);
  await queue.put("a");
  const delivery = await other.receive();
  assertEquals([delivery.item, delivery.attempt], ["a", 1]);
  assertEquals(await Promise.all([delivery.ack(), delivery.ack()]), [
    true,
    false,
  ]);
  assertEquals([engine.kept.length, engine.acked.length], [0, 1]);
  await Promise.all([queue.close(), other.close()]);
});

test("engines: what is put in one turn goes together, in order", async () => {
  const { engine, queue } = startHandle();
  await Promise.all(["a", "b", "c"].map((item) => queue.put(item)));
  assertEquals(engine.words, 2); // open, send
  const items: string[] = [];
  for (let count = 0; count < 3; count++) {
    const delivery = await queue.receive();
    items.push(delivery.item);
    await delivery.ack();
  }
  assertEquals(items, ["a", "b", "c"]);
  await queue.close();
});

test("engines: an item that is too large is refused with both sizes before anything is sent", async () => {
  const { engine, queue } = startHandle();
  const error = await assertRejects(
    () => queue.put("x".repeat(99)),
    RangeError,
  );
  assertEquals(
    error.message,
    "Cannot put: the encoded item must be at most 100 bytes, received 101",
  );
  assertEquals(engine.words, 0);
  await queue.close();
});

test("engines: what the codec throws loses nothing", async () => {
  const { queue } = startHandle({
    codec: {
      encode: () => {
        throw new TypeError("no words");
      },
      decode: () => "",
    },
  });
  await assertRejects(() => queue.put("a"), TypeError, "no words");
  assertEquals(queue.waitingPuts, 0);
  await queue.close();
});

test("engines: a full engine makes put() wait, and a signal may end that", async () => {
  const { engine, queue } = startHandle();
  engine.bound = 1;
  await queue.put("a");
  const second = watched(queue.put("b"));
  const controller = new AbortController();
  const third = queue.put("c", { signal: controller.signal });
  const watch = watched(third);
  await turns();
  assertEquals([second.state, watch.state], ["pending", "pending"]);
  controller.abort(new Error("late"));
  await assertRejects(() => third, Error, "late");
  const delivery = await queue.receive();
  await delivery.ack();
  await turns();
  assertEquals(second.state, "fulfilled");
  const rest = await queue.receive();
  assertEquals([rest.item, engine.kept.length], ["b", 1]);
  await rest.ack();
  await queue.close();
});

test("engines: overflow reject refuses with the item", async () => {
  const { engine, queue } = startHandle({ overflow: "reject" });
  engine.bound = 1;
  await queue.put("a");
  const error = await assertRejects(() => queue.put("b"), QueueFullError);
  assertEquals((error as QueueFullError).item, "b");
  const delivery = await queue.receive();
  await delivery.ack();
  await queue.put("c");
  await queue.close();
});

test("engines: a put whose answer was lost is repeated, and arrives once", async () => {
  const errors: unknown[] = [];
  const { clock, engine, queue } = startHandle({
    onError: (error) => errors.push(error),
  });
  await queue.put("a");
  engine.failures.push(new Error("reset"));
  engine.failsLate = true;
  const put = watched(queue.put("b"));
  await turns();
  assertEquals(put.state, "pending");
  await clock.advance(1_000);
  await turns();
  assertEquals([put.state, engine.kept.length], ["fulfilled", 2]);
  assertEquals(errors.length, 1);
  await queue.close();
});

test("engines: offline reject refuses what could not be sent", async () => {
  const { engine, queue } = startHandle({ offline: "reject" });
  engine.failures.push(new Error("down"));
  await assertRejects(() => queue.put("a"), Error, "down");
  await queue.put("b");
  assertEquals(engine.kept.length, 1);
  await queue.close();
});

test("engines: a signal ends the wait for an engine that is down", async () => {
  const { engine, queue } = startHandle();
  engine.failures.push(new Error("down"), new Error("down"));
  const controller = new AbortController();
  const put = queue.put("a", { signal: controller.signal });
  put.catch(() => {});
  await turns();
  controller.abort(new Error("enough"));
  await assertRejects(() => put, Error, "enough");
  await queue.close({ signal: AbortSignal.abort() });
});

test("engines: pauses grow with the outage, not with how many words fail in it", async () => {
  const clock = new SteppedClock();
  const driver = { open: () => Promise.reject(new Error("away")) };
  const link = new Connection(driver, {
    name: "jobs",
    clock,
    onError: undefined,
  });
  for (let word = 0; word < 20; word++) {
    clock.advance(1);
    await assertRejects(() => link.attempt(() => Promise.resolve()), Error);
  }
  const pause = watched(link.pause());
  clock.advance(100);
  await turns();
  assertEquals(pause.state, "fulfilled");
  for (let word = 0; word < 10; word++) {
    clock.advance(6_000);
    await assertRejects(() => link.attempt(() => Promise.resolve()), Error);
  }
  const long = watched(link.pause());
  clock.advance(2_400);
  await turns();
  assertEquals(long.state, "pending");
  link.end();
  await turns();
});

test("engines: a consumer goes on by itself after failures", async () => {
  const { clock, engine, queue } = startHandle();
  engine.failures.push(...Array(5).fill(new Error("down")));
  const received = watched(queue.receive().then((delivery) => delivery.ack()));
  const other = another(engine);
  const put = other.put("a");
  for (let count = 0; count < 10; count++) {
    await clock.advance(5_000);
    await turns();
  }
  await put;
  assertEquals([received.state, engine.acked.length], ["fulfilled", 1]);
  await Promise.all([queue.close(), other.close()]);
});

test("engines: nack() delivers again after the delay, until the attempts are over", async () => {
  const { clock, engine, queue } = startHandle({ attempts: 2 });
  await queue.put("a");
  const first = await queue.receive();
  assert(await first.nack({ delay: 500 }));
  const again = queue.receive();
  const watch = watched(again);
  await clock.advance(499);
  await turns();
  assertEquals(watch.state, "pending");
  await clock.advance(1);
  const second = await again;
  assertEquals([second.item, second.attempt], ["a", 2]);
  assert(await second.nack());
  assertEquals(engine.buried.map(({ reason }) => reason), ["failed"]);
  await queue.close();
});

test("engines: an item lent for longer than its visibility is delivered again, and its signal aborts", async () => {
  const { clock, engine, queue } = startHandle({ visibility: 1_000 });
  const other = another(engine);
  await queue.put("a");
  const first = await queue.receive();
  const { signal } = first;
  await clock.advance(1_000);
  assertEquals(signal.aborted, true);
  const second = await other.receive();
  assertEquals([second.item, second.attempt], ["a", 2]);
  assertEquals(await first.ack(), false);
  assertEquals(await second.ack(), true);
  await Promise.all([queue.close(), other.close()]);
});

test("engines: extend() keeps an item", async () => {
  const { clock, queue } = startHandle({ visibility: 1_000 });
  await queue.put("a");
  const delivery = await queue.receive();
  for (let count = 0; count < 5; count++) {
    await clock.advance(900);
    assert(await delivery.extend(1_000));
  }
  assertEquals([delivery.signal.aborted, await delivery.ack()], [false, true]);
  await queue.close();
});

test("engines: an item nobody answers for goes to the dead letters", async () => {
  const { clock, engine, queue } = startHandle({
    visibility: 100,
    attempts: 2,
  });
  await queue.put("poison");
  for (let attempt = 1; attempt <= 2; attempt++) {
    const delivery = await queue.receive();
    assertEquals(delivery.attempt, attempt);
    await clock.advance(100);
  }
  const received = watched(queue.receive());
  await turns();
  assertEquals(engine.buried.map(({ reason }) => reason), ["deliveries"]);
  assertEquals(received.state, "pending");
  await queue.close({ signal: AbortSignal.abort() });
});

test("engines: what cannot be decoded is a failed delivery, and a dead letter in the end", async () => {
  const { clock, engine, queue } = startHandle({ attempts: 3 });
  const text = another(engine, {
    codec: { encode: (item) => item, decode: () => "" },
  });
  await text.put("{");
  const received = watched(queue.receive());
  for (let count = 0; count < 3; count++) {
    await turns();
    await clock.advance(1_000);
  }
  assertEquals(engine.buried.map(({ reason }) => reason), ["undecodable"]);
  await text.put('"fine"');
  await turns();
  assertEquals(received.state, "fulfilled");
  await text.close();
  await queue.close({ signal: AbortSignal.abort() });
});

test("engines: nothing is fetched early for one who takes slowly, and what is goes back", async () => {
  const { clock, engine, queue } = startHandle();
  await queue.putMany(Array.from({ length: 60 }, (_, index) => `${index}`));
  await (await queue.receive()).ack();
  await turns();
  assertEquals(engine.kept.filter(({ isLent }) => isLent).length, 0);
  // Fast now: no time passes between them.
  for (let count = 0; count < 3; count++) await (await queue.receive()).ack();
  await turns();
  const early = engine.kept.filter(({ isLent }) => isLent).length;
  assert(early > 0 && early <= 32, `${early} fetched early`);
  await clock.advance(1_000);
  await turns();
  assertEquals(engine.kept.filter(({ isLent }) => isLent).length, 0);
  const next = await queue.receive();
  assertEquals([next.item, next.attempt], ["4", 1]);
  await next.ack();
  await queue.close();
});

test("engines: prefetch 0 fetches for who waits, and nothing more", async () => {
  const { engine, queue } = startHandle({ prefetch: 0 });
  await queue.putMany(Array.from({ length: 20 }, (_, index) => `${index}`));
  for (let count = 0; count < 10; count++) {
    const delivery = await queue.receive();
    assertEquals(engine.kept.filter(({ isLent }) => isLent).length, 1);
    await delivery.ack();
  }
  await queue.close();
});

test("engines: close() waits for what is lent, gives back what was fetched early, and ends receive()", async () => {
  const { engine, queue } = startHandle();
  await queue.putMany(Array.from({ length: 40 }, (_, index) => `${index}`));
  let held!: Delivery<string>;
  for (let count = 0; count < 5; count++) held = await queue.receive();
  await turns();
  const waiting = another(engine).receive();
  const closed = watched(queue.close());
  await turns();
  assertEquals(closed.state, "pending");
  await assertRejects(() => queue.receive(), QueueClosedError);
  await assertRejects(() => queue.put("late"), QueueClosedError);
  assertEquals((await waiting).item, "5");
  assert(await held.ack());
  await queue.close({ signal: AbortSignal.abort() });
  assertEquals(closed.state, "fulfilled");
});

test("engines: consume() works as on a Queue, and buries what failed for good", async () => {
  const { engine, queue } = startHandle();
  await queue.putMany(["a", "bad", "b"]);
  const seen: string[] = [];
  const running = consume(queue, (item) => {
    seen.push(item);
    if (item === "bad") throw new Error("no");
  }, { concurrency: 2 });
  while (engine.kept.length > 0) await turns();
  await queue.close();
  const report = await running;
  assertEquals(seen.sort(), ["a", "b", "bad"]);
  assertEquals([report.processed, report.deadLettered], [2, 1]);
  assertEquals(engine.buried.length, 1);
});

test("engines: a pipe is slowed by a full engine, and its end waits until all have arrived", async () => {
  const { engine, queue } = startHandle({ highWaterMark: 4 });
  engine.bound = 3;
  let produced = 0;
  const source = new ReadableStream<string>({
    pull(controller) {
      if (++produced > 20) controller.close();
      else controller.enqueue(`${produced}`);
    },
  }, { highWaterMark: 0 });
  const piped = watched(source.pipeTo(queue.producer()));
  for (let count = 0; count < 20; count++) await turns();
  assert(produced <= 3 + 4 + 3, `${produced} produced`);
  const items: string[] = [];
  for (let count = 0; count < 20; count++) {
    const delivery = await queue.receive();
    items.push(delivery.item);
    await delivery.ack();
  }
  for (let count = 0; count < 5; count++) await turns();
  assertEquals(piped.state, "fulfilled");
  assertEquals(items, Array.from({ length: 20 }, (_, index) => `${index + 1}`));
  await queue.close();
});

test("engines: an item that cannot be put errors the stream, those before it arrive", async () => {
  const { engine, queue } = startHandle();
  const writer = queue.writable.getWriter();
  writer.closed.catch(() => {});
  await writer.write("a");
  await assertRejects(() => writer.write("x".repeat(200)), RangeError);
  await assertRejects(() => writer.closed, RangeError);
  await turns();
  assertEquals(engine.kept.length, 1);
  assertStrictEquals(queue.writable, queue.writable);
  await queue.close();
});

test("engines: the readable gives deliveries, and cancelling it loses none", async () => {
  const { engine, queue } = startHandle();
  await queue.putMany(["a", "b"]);
  const reader = queue.readable.getReader();
  const { value } = await reader.read();
  assertEquals(value!.item, "a");
  await value!.ack();
  await reader.cancel();
  const delivery = await queue.receive();
  assertEquals(delivery.item, "b");
  await delivery.ack();
  assertEquals(engine.kept.length, 0);
  await queue.close();
});

test("engines: receiveMany() takes what is there, and none once closed", async () => {
  const { queue } = startHandle();
  await queue.putMany(["a", "b", "c"]);
  const deliveries: Delivery<string>[] = [];
  while (deliveries.length < 3) {
    deliveries.push(...await queue.receiveMany(3));
  }
  assertEquals(deliveries.map(({ item }) => item), ["a", "b", "c"]);
  for (const delivery of deliveries) await delivery.ack();
  await queue.close();
  assertEquals(await queue.receiveMany(3), []);
});

test("engines: options that cannot be used are refused by name", () => {
  const { engine } = startHandle();
  const cases: [EngineHandleOptions<string>, string][] = [
    [
      { prefetch: -1 },
      "prefetch must be a whole number of 0 or more, received -1",
    ],
    [{ attempts: 0 }, "attempts must be a whole number of 1 or more"],
    [{ visibility: Infinity }, "visibility must be"],
    [
      { overflow: "drop" as "wait" },
      'overflow must be "wait" or "reject", received "drop"',
    ],
    [
      { codec: {} as never },
      "codec.encode must be a function, received undefined",
    ],
  ];
  for (const [options, message] of cases) {
    const error = assertThrows(() => another(engine, options), Error);
    assert(error.message.includes(message), error.message);
  }
});

test("engines: there is no delay and no lease for ever", async () => {
  const { queue } = startHandle();
  await queue.put("a");
  const delivery = await queue.receive();
  for (const milliseconds of [Infinity, -1, NaN]) {
    await assertRejects(
      async () => await delivery.nack({ delay: milliseconds }),
      RangeError,
      "delay",
    );
    await assertRejects(
      async () => await delivery.extend(milliseconds),
      RangeError,
      "milliseconds",
    );
  }
  assert(await delivery.ack());
  await queue.close();
});

test("engines: consume sees a handle close though the rate allows no call, and leaves what is there", async () => {
  const { clock, engine, queue } = startHandle({ prefetch: 0 });
  await queue.putMany(["a", "b"]);
  const running = consume(queue, () => {}, {
    rate: { limit: 1, interval: 3_600_000 },
    clock,
  });
  const watch = watched(running);
  await turns();
  assertEquals([watch.state, engine.kept.length], ["pending", 1]);
  assertEquals(engine.kept[0]!.attempt, 0); // nobody has had it
  await queue.close();
  assertEquals((await running).processed, 1);
  assertEquals([clock.now(), engine.kept.length], [0, 1]);
});
