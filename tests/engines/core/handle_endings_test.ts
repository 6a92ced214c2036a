import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { QueueClosedError } from "../../../mod.ts";
import { EngineHandle } from "../../../src/engines/core/handle.ts";
import { test } from "../../support/harness.ts";
import { MemoryEngine, startHandle } from "../../support/memory_engine.ts";
import { turn } from "../../support/properties.ts";
import { SteppedClock } from "../../support/stepped_clock.ts";
import { never, watched } from "../../support/waiting.ts";

test("engines: close() by force waits for no put that the engine never answers", async () => {
  const { engine, queue } = startHandle();
  await queue.put("a");
  engine.before = never;
  const sent = watched(queue.put("b"));
  await turn();
  const waiting = watched(queue.put("c"));
  await queue.close({ signal: AbortSignal.abort("now") });
  assertEquals([sent.reason, waiting.reason], ["now", "now"]);
});

test("engines: close() by force waits for no fetch and no ack() that the engine never answers", async () => {
  const { engine, queue } = startHandle();
  await queue.put("a");
  const delivery = await queue.receive();
  engine.before = never;
  const receiving = watched(queue.receive());
  void delivery.ack();
  await turn();
  const closing = watched(queue.close());
  await turn();
  assertEquals(closing.state, "pending");
  await queue.close({ signal: AbortSignal.abort("now") });
  assertInstanceOf(receiving.reason, QueueClosedError);
});

test("engines: close() waits for a delivery that nobody answers for no longer than it is lent", async () => {
  const { clock, queue } = startHandle({ visibility: 1_000 });
  await queue.put("a");
  const delivery = await queue.receive();
  const closing = watched(queue.close());
  await clock.pass(900);
  await delivery.extend(1_000);
  await clock.pass(900);
  assertEquals(closing.state, "pending");
  await clock.pass(200);
  assertEquals([closing.state, clock.pending], ["fulfilled", 0]);
  assertEquals(await delivery.ack(), false);
});

test("engines: a write that waits for room is given up with its stream, and never arrives", async () => {
  const { engine, queue } = startHandle({ highWaterMark: 1 });
  engine.bound = 0;
  const writer = queue.writable.getWriter();
  const closed = watched(writer.closed);
  const begun = watched(writer.write("a"));
  const waiting = watched(writer.write("b"));
  await turn();
  assertEquals(writer.desiredSize, -1);
  await writer.abort("no more");
  await turn();
  assertEquals([begun.state, waiting.reason, closed.reason], [
    "fulfilled",
    "no more",
    "no more",
  ]);
  engine.bound = Infinity;
  engine.changed();
  await queue.close();
  assertEquals(engine.kept.length, 1);
});

test("engines: closing a stream waits for its writes that wait for room", async () => {
  const { engine, queue } = startHandle({ highWaterMark: 1 });
  engine.bound = 0;
  const put = queue.put("a");
  const writer = queue.writable.getWriter();
  const writes = ["b", "c"].map((item) => watched(writer.write(item)));
  const closing = watched(writer.close());
  await turn();
  assertEquals(closing.state, "pending");
  for (engine.bound = 1; engine.bound < 3; engine.bound++) {
    engine.changed();
    await turn();
    assertEquals(closing.state, "pending");
  }
  engine.changed();
  await turn();
  assertEquals([closing.state, engine.kept.length], ["fulfilled", 3]);
  assertEquals(writes.map(({ state }) => state), ["fulfilled", "fulfilled"]);
  await put;
  await queue.close();
});

test("engines: those who wait for room are served in their order, and no one more than there is room for", async () => {
  const { engine, queue } = startHandle({ highWaterMark: 2 });
  engine.bound = 0;
  const writers = ["a", "b", "c"].map(() => queue.producer().getWriter());
  const writes = writers.flatMap((writer, index) =>
    [1, 2].map((round) => writer.write(`${index}${round}`))
  );
  await turn();
  assertEquals(queue.waitingPuts, 2);
  engine.bound = 3;
  engine.changed();
  await turn();
  assertEquals(queue.waitingPuts, 2);
  engine.bound = Infinity;
  engine.changed();
  await Promise.all(writes);
  await queue.close();
  assertEquals(
    engine.kept.map(({ payload }) =>
      JSON.parse(new TextDecoder().decode(payload))
    ),
    ["01", "02", "11", "12", "21", "22"],
  );
});

test("engines: the signal of putMany() ends its wait for room that others have", async () => {
  const { engine, queue } = startHandle({ highWaterMark: 1 });
  engine.bound = 0;
  const put = watched(queue.put("a"));
  const controller = new AbortController();
  const { signal } = controller;
  const many = watched(queue.putMany(["b", "c"], { signal }));
  await turn();
  controller.abort("enough");
  await turn();
  assertEquals([put.state, many.reason], ["pending", "enough"]);
  engine.bound = Infinity;
  engine.changed();
  await queue.close();
  assertEquals(engine.kept.length, 1);
});

test("engines: putMany() ends with the first that failed, and puts none of those that wait for room", async () => {
  const { engine, queue } = startHandle({
    highWaterMark: 2,
    offline: "reject",
  });
  const failure = new Error("The engine is down");
  engine.failures = [failure];
  let taken = 0;
  function* items(): Generator<string> {
    while (true) yield `${++taken}`;
  }
  const error = await assertRejects(() => queue.putMany(items()));
  assertStrictEquals(error as unknown, failure);
  assertEquals([taken, engine.kept.length, queue.waitingPuts], [3, 0, 0]);
  await queue.close();
});

test("engines: a stream made after close() is closed, and so is one of deliveries", async () => {
  const { queue } = startHandle();
  await using closing = queue;
  await closing.close();
  const writer = queue.producer().getWriter();
  await assertRejects(() => writer.write("late"));
  const { done } = await queue.readable.getReader().read();
  assertEquals(done, true);
  await queue.closed;
});

test("engines: a pipe of deliveries takes them as the sink asks for them", async () => {
  const { engine, queue } = startHandle();
  await queue.putMany(["a", "b", "c"]);
  const items: string[] = [];
  const controller = new AbortController();
  const piping = watched(
    queue.readable.pipeThrough(new TransformStream()).pipeTo(
      new WritableStream({
        async write(delivery) {
          items.push(delivery.item);
          await delivery.ack();
        },
      }),
      { signal: controller.signal },
    ),
  );
  while (engine.acked.length < 3) await turn();
  assertEquals(items, ["a", "b", "c"]);
  await queue.close();
  while (piping.state === "pending") await turn();
  assertEquals(piping.state, "fulfilled");
});

test("engines: stats() tells what the engine says, what waits here, and what went wrong", async () => {
  const { clock, engine, queue } = startHandle({ overflow: "wait" });
  await queue.putMany(["a", "b"]);
  const delivery = await queue.receive();
  engine.bound = 0;
  const put = queue.put("c");
  await turn();
  assertEquals(await queue.stats(), {
    name: "jobs",
    backlog: 1,
    delayed: 0,
    capacity: 0,
    inFlight: 1,
    oldestAge: undefined,
    deadLetters: 0,
    put: 2,
    taken: 1,
    waitingPuts: 1,
    unacked: 1,
    failure: undefined,
  });
  const failure = new Error("The engine is down");
  engine.failures = [failure];
  assertStrictEquals(
    await assertRejects(() => queue.stats()) as unknown,
    failure,
  );
  engine.bound = Infinity;
  engine.changed();
  await clock.pass(1_000);
  await put;
  await delivery.ack();
  await queue.close();
});

test("engines: the signal of close() may abort later, or never", async () => {
  for (const aborts of [true, false]) {
    const { queue } = startHandle();
    await queue.put("a");
    const delivery = await queue.receive();
    const controller = new AbortController();
    const closing = watched(queue.close({ signal: controller.signal }));
    await turn();
    assertEquals(closing.state, "pending");
    if (aborts) {
      controller.abort();
      await turn();
      assertEquals(await delivery.ack(), false);
      assert(delivery.signal.aborted);
    } else assertEquals(await delivery.ack(), true);
    await queue.closed;
  }
});

test("engines: a shorter time to hold an item ends sooner, for who looked at its signal before", async () => {
  const { clock, queue } = startHandle({ visibility: 10_000 });
  await queue.put("a");
  const delivery = await queue.receive();
  assertEquals(delivery.signal.aborted, false);
  await delivery.extend(1_000);
  await clock.pass(1_000);
  assertEquals(delivery.signal.aborted, true);
  assertEquals(await delivery.extend(1_000), false);
  await queue.close();
});

test("engines: an engine that fails while it is waited for to have room is asked again", async () => {
  const { clock, engine, queue } = startHandle();
  engine.bound = 0;
  const put = watched(queue.put("a"));
  await turn();
  // The wait ends, and the next words fail.
  engine.failures = [new Error("down"), new Error("down")];
  engine.bound = 1;
  engine.changed();
  await clock.pass(2_000);
  assertEquals([put.state, engine.kept.length], ["fulfilled", 1]);
  await queue.close();
});

test("engines: a key that is none is refused, and a name that is none", async () => {
  const { queue } = startHandle({ keyOf: () => 1 as unknown as string });
  await assertRejects(
    () => queue.put("a"),
    TypeError,
    "keyOf must return a string, received 1",
  );
  await queue.close();
  const engine = new MemoryEngine(new SteppedClock());
  assertThrows(
    () => new EngineHandle("", engine.connect()),
    TypeError,
    "name must be a string that is not empty",
  );
});
