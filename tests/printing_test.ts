import { inspect } from "node:util";
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  Broadcast,
  LifoQueue,
  PriorityQueue,
  Queue,
  WorkStealingQueue,
} from "../mod.ts";
import { CloudflareQueue } from "../src/cloudflare.ts";
import { systemClock } from "../src/clock.ts";
import { EngineHandle } from "../src/engines/core/handle.ts";
import { connect, SharedQueue, WorkerPool } from "../src/threads.ts";
import { fakeChannel } from "./support/fake_ports.ts";
import { test } from "./support/harness.ts";
import { MemoryEngine } from "./support/memory_engine.ts";

/** What console.log writes. */
function printed(value: unknown): string {
  const { Deno, Bun } = globalThis as {
    Deno?: { inspect(value: unknown): string };
    Bun?: { inspect(value: unknown): string };
  };
  return (Deno ?? Bun)?.inspect(value) ?? inspect(value);
}

test("printed: a queue of any kind tells name, length, bound and state", async () => {
  const options = { name: "jobs", highWaterMark: 4 };
  for (
    const Kind of [Queue<string>, LifoQueue<string>, PriorityQueue<string>]
  ) {
    const queue = new Kind(options);
    await queue.put("a");
    const text = (state: string): string =>
      `${Kind.name} { name: "jobs", length: 1, highWaterMark: 4, state: "${state}" }`;
    assertEquals(printed(queue), text("open"));
    queue.close();
    assertEquals(printed(queue), text("closing"));
    assert(printed({ deep: [queue] }).includes(text("closing")));
  }
  class Mine extends Queue<string> {}
  assert(printed(new Mine()).startsWith('Mine { name: "", length: 0'));
  assertEquals(Object.keys(new Queue()), []);
});

test("printed: lanes, and what they are lanes of", async () => {
  const group = new WorkStealingQueue<string>({
    lanes: 2,
    name: "work",
    highWaterMark: Infinity,
  });
  await group.lane(0).putMany(["a", "b"]);
  assertEquals(
    printed(group),
    'WorkStealingQueue { name: "work", lanes: 2, length: 2, highWaterMark: Infinity, state: "open" }',
  );
  assertEquals(
    printed(group.lane(0)),
    'Queue { name: "work", length: 2, highWaterMark: Infinity, state: "open" }',
  );
  group.close();
  assert(printed(group).includes('state: "closing"'));
  while (group.length > 0) await group.lane(1).getMany(4);
  assert(printed(group).includes('state: "closed"'), printed(group));
});

test("printed: a broadcast, a shared queue, a port and a pool", async () => {
  const broadcast = new Broadcast({ name: "news", highWaterMark: 2 });
  assertEquals(
    printed(broadcast),
    'Broadcast { name: "news", length: 0, highWaterMark: 2, state: "open" }',
  );
  const shared = new SharedQueue<number>({ name: "ring", highWaterMark: 8 });
  await shared.put(1);
  assertEquals(
    printed(shared),
    'SharedQueue { name: "ring", length: 1, highWaterMark: 8, state: "open" }',
  );
  shared.detach();
  assert(printed(shared).includes('state: "detached"'), printed(shared));

  const [port] = fakeChannel();
  const remote = connect<number>(port as never, { highWaterMark: 3 });
  assertEquals(
    printed(remote),
    'PortQueue { channel: "", length: 0, highWaterMark: 3, state: "open" }',
  );
  remote.abort();

  const nobody = Object.assign(new EventTarget(), {
    postMessage() {},
    terminate() {},
  });
  const pool = new WorkerPool<(task: number) => number>(
    () => nobody as never,
    { name: "pool", size: 2 },
  );
  assertEquals(
    printed(pool),
    'WorkerPool { name: "pool", size: 2, waiting: 0, running: 0, highWaterMark: 16, state: "open" }',
  );
  pool.abort();
});

test("printed: a handle on a queue of an engine", async () => {
  const handle = new EngineHandle<number, never>(
    "jobs",
    new MemoryEngine(systemClock).connect() as never,
  );
  assertEquals(
    printed(handle),
    'EngineHandle { name: "jobs", waitingPuts: 0, highWaterMark: 1024, state: "open" }',
  );
  await handle.close();
  const cloudflare = new CloudflareQueue<number>({
    send: () => Promise.resolve(),
    sendBatch: () => Promise.resolve(),
  });
  const text = (state: string): string =>
    `CloudflareQueue { waitingPuts: 0, highWaterMark: 1024, state: "${state}" }`;
  assertEquals(printed(cloudflare), text("open"));
  const closed = cloudflare.close();
  assertEquals(printed(cloudflare), text("closing"));
  await closed;
  assertEquals(printed(cloudflare), text("closed"));
});

test("taskDone() once too often tells which queue it was", () => {
  const queue = new Queue<string>({ name: "jobs" });
  assertEquals(
    assertThrows(() => queue.taskDone(), RangeError).message,
    "Cannot mark a task as done: taskDone() goes with one item each of " +
      'the queue "jobs", received one call more',
  );
  const group = new WorkStealingQueue<string>({ lanes: 2, name: "group" });
  assertThrows(() => group.taskDone(), RangeError, 'the queue "group"');
});
