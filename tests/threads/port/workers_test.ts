import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import { Worker } from "node:worker_threads";
import { Queue } from "../../../mod.ts";
import { assertInvariants } from "../../../src/queue.ts";
import { connect, PortClosedError, serve } from "../../../src/threads.ts";
import { runtime, test } from "../../support/harness.ts";
import { upTo } from "../../support/items.ts";

const WORKER = new URL("../../fixtures/port_worker.ts", import.meta.url);

/** Node 20 does not let its threads inherit the loader of TypeScript. */
const ON_NODE = `
  import(${JSON.stringify("tsx/esm/api")}).then(({ register }) => {
    register();
    return import(${JSON.stringify(WORKER.href)});
  });
`;

/** A worker, the queues that it uses, and how it ends. */
interface Team {
  worker: Worker;
  ended: Promise<void>;
  stop(): Promise<void>;
}

function start(tasks: Queue<number>, results: Queue<number>): Team {
  const worker = runtime === "node"
    ? new Worker(ON_NODE, { eval: true, execArgv: [] })
    : new Worker(WORKER);
  const ended = new Promise<void>((resolve) => {
    worker.on("exit", () => resolve());
  });
  const served = [
    serve(tasks, worker, { channel: "tasks" }),
    serve(results, worker, { channel: "results" }),
  ];
  return {
    worker,
    ended,
    async stop(): Promise<void> {
      await worker.terminate();
      await ended;
      for (const queue of served) await queue.stop();
    },
  };
}

test("port to a worker: tasks go there, results come back, in order", async () => {
  const tasks = new Queue<number>({ highWaterMark: 4 });
  const results = new Queue<number>({ highWaterMark: 4 });
  const team = start(tasks, results);
  const putting = tasks.putMany(upTo(1000)).then(() => tasks.close());
  const items: number[] = [];
  for await (const item of results) {
    if (item === -1) break;
    items.push(item);
  }
  await putting;
  await tasks.closed;
  assertEquals(items, upTo(1000).map((task) => task * 2));
  await team.stop();
  assertInvariants(tasks);
  assertInvariants(results);
});

test("port to a worker: the worker may serve a queue, too", async () => {
  const [tasks, results] = [new Queue<number>(), new Queue<number>()];
  const team = start(tasks, results);
  const own = connect<string>(team.worker, { channel: "own" });
  await own.putMany(["a", "bb", "ccc"]);
  assertEquals(
    [await results.get(), await results.get(), await results.get()],
    [1, 2, 3],
  );
  await own.put("stop");
  tasks.close();
  assertEquals(await results.get(), -1);
  await assertRejects(() => own.get(), PortClosedError);
  await team.stop();
});

test("port to a worker: one that nothing is left for ends by itself", async () => {
  const [tasks, results] = [new Queue<number>(), new Queue<number>()];
  const team = start(tasks, results);
  const own = connect<string>(team.worker, { channel: "own" });
  tasks.close();
  assertEquals(await results.get(), -1);
  await own.put("stop");
  await team.ended;
  await own.disconnect();
  await team.stop();
});

test("port to a worker: a worker that is terminated in the middle loses nothing", async () => {
  const count = 60;
  const tasks = new Queue<number>({ highWaterMark: Infinity });
  const results = new Queue<number>({ highWaterMark: 2 });
  await tasks.putMany(upTo(count));
  tasks.close();
  const done = new Map<number, number>();
  let terminated = 0;
  for (let finished = false; !finished;) {
    const team = start(tasks, results);
    const after = terminated < 4 ? 3 + terminated : Infinity;
    for (let taken = 0; taken < after; taken++) {
      const result = await results.get();
      if (result === -1) {
        finished = true;
        break;
      }
      done.set(result / 2, (done.get(result / 2) ?? 0) + 1);
    }
    await team.stop();
    if (!finished) terminated++;
    assertInvariants(tasks);
    assertInvariants(results);
    assertEquals([tasks.stats().inFlight, results.stats().waitingPuts], [0, 0]);
  }
  // What a worker had taken and not handed on went with it, one for each.
  const missing = upTo(count).filter((task) => !done.has(task));
  assert(terminated >= 3, `${terminated} workers were terminated`);
  assert(missing.length <= terminated, `${missing.length} tasks are missing`);
  await tasks.closed;
});

test("port to a worker: what waits there rejects when the thread is gone", async () => {
  const [tasks, results] = [new Queue<number>(), new Queue<number>()];
  const team = start(tasks, results);
  const own = connect<string>(team.worker, { channel: "own" });
  await own.put("name");
  assertEquals(await results.get(), 4);
  const waiting = own.get().then(() => undefined, (reason) => reason);
  await team.stop();
  assertInstanceOf(await waiting, PortClosedError);
  await assertRejects(() => own.put("late"), PortClosedError);
});
