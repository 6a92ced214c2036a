import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { Worker as NodeWorker } from "node:worker_threads";
import { Queue, QueueClosedError } from "../../../mod.ts";
import {
  type PoolStats,
  type ResultOf,
  type TaskOf,
  transferred,
  work,
  WorkerCrashedError,
  WorkerPool,
  type WorkerPoolOptions,
} from "../../../src/threads.ts";
import type { Order } from "../../fixtures/workers/jobs.ts";
import { runtime, test } from "../../support/harness.ts";
import { printedBy } from "../../support/printed.ts";
import { parameters } from "../../support/properties.ts";
import { startWorker, workers, workerURL } from "../../support/workers.ts";
import { pause, until } from "../../support/waiting.ts";
import { readAll } from "../../support/streams.ts";
import { upTo } from "../../support/items.ts";

type Obey = typeof import("../../fixtures/workers/jobs.ts").obey;
type Pool = WorkerPool<Obey>;

function makePool(options: WorkerPoolOptions<Order> = {}): Pool {
  return new WorkerPool<Obey>(
    () => startWorker("jobs"),
    { size: 2, ...options },
  );
}

/** A test with a pool that is gone afterwards. */
function poolTest(
  name: string,
  options: WorkerPoolOptions<Order>,
  body: (pool: Pool) => Promise<void>,
): void {
  test(`WorkerPool: ${name}`, async () => {
    const pool = makePool(options);
    try {
      await body(pool);
    } finally {
      await pool[Symbol.asyncDispose]();
    }
  });
}

function allReady(pool: Pool): Promise<void> {
  return until(
    () => pool.stats().workers.every(({ state }) => state === "ready"),
    "all workers ready",
  );
}

/** A worker that nothing gets through to until the gate is opened. */
class Gate {
  readonly cells = new SharedArrayBuffer(8);
  readonly order: Order = { do: "gate", cells: this.cells };

  /** The attempt that has begun, or 0. */
  get begun(): number {
    return Atomics.load(new Int32Array(this.cells), 0);
  }

  entered(): Promise<void> {
    return until(() => this.begun > 0, "a worker at the gate");
  }

  open(): void {
    Atomics.store(new Int32Array(this.cells), 1, 1);
    Atomics.notify(new Int32Array(this.cells), 1);
  }
}

/** A task that goes on until its worker ends. */
class Hanging {
  readonly cell = new SharedArrayBuffer(8);
  readonly order: Order = { do: "hang", cell: this.cell };

  get attempt(): number {
    return Atomics.load(new Int32Array(this.cell), 0);
  }

  begun(attempt = 1): Promise<void> {
    return until(() => this.attempt >= attempt, `attempt ${attempt}`);
  }
}

function echo(value: unknown): Order {
  return { do: "echo", value };
}

function add(stats: PoolStats): number {
  return stats.done + stats.failed + stats.undelivered;
}

// -- Results and errors -------------------------------------------------------

test("WorkerPool: from the URL of a module", async () => {
  // Node 20 reads no TypeScript in a worker.
  const source = runtime === "node"
    ? () => startWorker("jobs")
    : workerURL("jobs");
  const pool = new WorkerPool<Obey>(source, { size: 1 });
  assertEquals(await pool.run(echo("here")), "here");
  await pool.close();
  const another = new WorkerPool<Obey>(
    typeof source === "function" ? source : source.href,
    { size: 1 },
  );
  assertEquals(await another.run(echo("there")), "there");
  await another.close();
});

if (runtime !== "node") {
  test(
    "WorkerPool: workers of node:worker_threads, where those of the web are the rule",
    async () => {
      const pool = new WorkerPool<Obey>(
        () => new NodeWorker(workerURL("jobs")),
        { size: 1, attempts: 2 },
      );
      assertEquals(await pool.run(echo("there")), "there");
      await assertRejects(() => pool.run({ do: "exit" }), WorkerCrashedError);
      assertEquals(await pool.run(echo("again")), "again");
      await pool.close();
    },
  );
}

poolTest("any value is a task and a result", {}, async (pool) => {
  const values = [undefined, null, 0, "", NaN, new Map([[1, { a: [2n] }]])];
  assertEquals(
    await Promise.all(values.map((value) => pool.run(echo(value)))),
    values,
  );
});

poolTest("many tasks, each gets its own result", {}, async (pool) => {
  const results = await Promise.all(
    upTo(1_000).map((value) => pool.run(echo(value))),
  );
  assertEquals(results, upTo(1_000));
  const stats = pool.stats();
  assertEquals([stats.done, stats.waiting, stats.running], [1_000, 0, 0]);
  assertEquals(stats.workers.reduce((sum, { done }) => sum + done, 0), 1_000);
});

poolTest("an error crosses with all that belongs to it", {}, async (pool) => {
  const others = upTo(20).map((value) => pool.run(echo(value)));
  const error = await assertRejects(
    () => pool.run({ do: "throw", kind: "error" }),
    Error,
    "broken",
  );
  assertEquals(error.name, "DiskError");
  assertEquals((error as Error & { code?: string }).code, "EDISK");
  assert(error.stack!.includes("jobs"), error.stack!);
  const cause = error.cause as Error;
  assertInstanceOf(cause, RangeError);
  assertEquals(cause.message, "too many");
  assertInstanceOf(
    await assertRejects(() => pool.run({ do: "throw", kind: "type" })),
    TypeError,
  );
  const dom = await assertRejects(
    () => pool.run({ do: "throw", kind: "dom" }),
    DOMException,
  );
  assertEquals(dom.name, "InvalidStateError");
  const aggregate = await assertRejects(
    () => pool.run({ do: "throw", kind: "aggregate" }),
    AggregateError,
  );
  assertInstanceOf(aggregate.errors[1], TypeError);
  assertEquals(
    await assertRejects(() => pool.run({ do: "throw", kind: "value" })),
    { some: "value" },
  );
  assertEquals(await Promise.all(others), upTo(20));
  const stats = pool.stats();
  assertEquals([stats.failed, stats.done, stats.crashes], [5, 20, 0]);
});

poolTest(
  "what cannot be cloned is an error of its own task, there and back",
  { size: 1 },
  async (pool) => {
    const others = upTo(5).map((value) => pool.run(echo(value)));
    const sent = assertRejects(() => pool.run(echo(() => {})));
    const more = upTo(5).map((value) => pool.run(echo(value)));
    const error = await sent as Error;
    assertEquals(error.name, "DataCloneError");
    const back = await assertRejects(() => pool.run({ do: "function" }));
    assertEquals((back as Error).name, "DataCloneError");
    assertEquals(await Promise.all(others), upTo(5));
    assertEquals(await Promise.all(more), upTo(5));
    assertEquals(pool.stats().failed, 2);
  },
);

poolTest("buffers are moved when asked", {}, async (pool) => {
  const bytes = new Uint8Array(1_000);
  const task: Order = { do: "lengthOf", bytes };
  const length = pool.run(task, { transfer: [bytes.buffer] });
  assertEquals(await length, 1_000);
  assertEquals(bytes.byteLength, 0);
  const back = await pool.run({ do: "bytes", length: 5 }) as Uint8Array;
  assertEquals([...back], [7, 7, 7, 7, 7]);
  await assertRejects(
    () => pool.run(echo(1), { transfer: 1 as never }),
    TypeError,
    "Cannot run: transfer must be an array, received 1",
  );
});

poolTest("the option transfer is asked for every task", {
  transfer: (task) => task.do === "lengthOf" ? [task.bytes.buffer] : [],
}, async (pool) => {
  const bytes = new Uint8Array(10);
  assertEquals(await pool.run({ do: "lengthOf", bytes }), 10);
  assertEquals(bytes.byteLength, 0);
  assertEquals(await pool.run(echo(1)), 1);
});

// -- Who does what ------------------------------------------------------------

poolTest(
  "no task waits behind a long one while a worker is idle",
  { highWaterMark: 100 },
  async (pool) => {
    await allReady(pool);
    const gate = new Gate();
    const long = pool.run(gate.order, { lane: 0 });
    // Some are sent ahead to the busy worker before the other one is idle.
    const short = upTo(60).map((value) => pool.run(echo(value), { lane: 0 }));
    assertEquals(await Promise.all(short), upTo(60));
    await gate.entered();
    const stats = pool.stats();
    assertEquals([stats.running, stats.waiting, stats.done], [1, 0, 60]);
    assert(stats.stolen > 0, "some were stolen");
    gate.open();
    assertEquals(await long, 1);
  },
);

poolTest(
  "what is on the way to a busy worker is called back for an idle one",
  { inFlight: 17 },
  async (pool) => {
    await allReady(pool);
    const [one, two] = [new Gate(), new Gate()];
    const gates = [
      pool.run(one.order, { lane: 0 }),
      pool.run(two.order, { lane: 1 }),
    ];
    await Promise.all([one.entered(), two.entered()]);
    const sent = upTo(8).map((value) => pool.run(echo(value), { lane: 0 }));
    await until(() => pool.stats().workers[0]!.sent === 8, "8 on the way");
    two.open();
    assertEquals(await Promise.all(sent), upTo(8));
    assertEquals(pool.stats().recalled, 8);
    assertEquals(one.begun, 1);
    one.open();
    assertEquals(await Promise.all(gates), [1, 1]);
  },
);

poolTest(
  "a lane is where a task is done, if nobody is idle",
  { size: 2, inFlight: 1 },
  async (pool) => {
    await allReady(pool);
    const gates = [new Gate(), new Gate()];
    const running = gates.map(({ order }, lane) => pool.run(order, { lane }));
    await Promise.all(gates.map((gate) => gate.entered()));
    const tasks = upTo(6).map((value) => pool.run(echo(value), { lane: 1 }));
    await until(() => pool.stats().workers[1]!.waiting === 6, "6 in the lane");
    assertEquals(pool.stats().workers[0]!.waiting, 0);
    for (const gate of gates) gate.open();
    assertEquals(await Promise.all(tasks), upTo(6));
    await Promise.all(running);
    for (const lane of [2, -1, 0.5]) {
      await assertRejects(
        () => pool.run(echo(1), { lane }),
        RangeError,
        "Cannot run: lane must be a whole number",
      );
    }
  },
);

poolTest(
  "a worker does as many tasks at a time as it may",
  { size: 1, concurrency: 3, inFlight: 5 },
  async (pool) => {
    const giveUp = new AbortController();
    const { signal } = giveUp;
    const task: Order = { do: "untilAborted", then: "return" };
    const tasks = upTo(5).map(() => pool.run(task, { signal }));
    await until(() => pool.stats().running === 3, "three running");
    const { workers: [worker], waiting } = pool.stats();
    assertEquals([worker!.sent, waiting], [2, 2]);
    giveUp.abort("enough");
    const results = await Promise.allSettled(tasks);
    assertEquals(
      results.map(({ status }) => status),
      ["fulfilled", "fulfilled", "fulfilled", "rejected", "rejected"],
    );
  },
);

poolTest(
  "run() waits for room in a lane",
  { size: 1, inFlight: 1, highWaterMark: 2 },
  async (pool) => {
    await allReady(pool);
    const gate = new Gate();
    const running = pool.run(gate.order);
    await gate.entered();
    const tasks = upTo(5).map((value) => pool.run(echo(value)));
    assertEquals(pool.stats().workers[0]!.waiting, 2);
    assertEquals(pool.stats().waiting, 5);
    const giveUp = new AbortController();
    const { signal } = giveUp;
    const late = pool.run(echo("late"), { signal });
    giveUp.abort("changed my mind");
    assertEquals(await assertRejects(() => late), "changed my mind");
    gate.open();
    assertEquals(await Promise.all(tasks), upTo(5));
    await running;
    assertEquals(pool.stats().undelivered, 1);
  },
);

// -- Signals ------------------------------------------------------------------

const told: [unknown, unknown][] = [];
poolTest("a task that no worker has begun is cancelled at once", {
  size: 1,
  inFlight: 17,
  highWaterMark: 1,
  onUndelivered: (task, reason) => told.push([task, reason]),
}, async (pool) => {
  await allReady(pool);
  const gate = new Gate();
  const running = pool.run(gate.order);
  await gate.entered();
  const reason = new Error("not needed any more");
  const giveUp = new AbortController();
  const { signal } = giveUp;
  // On the way to the worker, in the lane, and waiting for room.
  const sent = upTo(16).map((value) => pool.run(echo(value), { signal }));
  await until(() => pool.stats().workers[0]!.sent === 16, "16 on the way");
  const stored = pool.run(echo("stored"), { signal });
  const outside = pool.run(echo("outside"), { signal });
  const kept = pool.run(echo("kept"));
  giveUp.abort(reason);
  for (const task of [...sent, stored, outside]) {
    assertStrictEquals(await assertRejects(() => task), reason);
  }
  await assertRejects(() => pool.run(echo(1), { signal }), Error, "not needed");
  gate.open();
  assertEquals(await kept, "kept");
  assertEquals(await running, 1);
  const stats = pool.stats();
  assertEquals([stats.done, stats.undelivered], [2, 18]);
  // Not what has never been accepted.
  assertEquals(told.length, 17);
  assert(
    told.every(([task, why]) =>
      why === reason && (task as { value: unknown }).value !== "outside"
    ),
  );
});

poolTest(
  "the signal of a running task fires in its worker",
  {},
  async (pool) => {
    const reason = new Error("stop", { cause: { why: "because" } });
    const outcomes: Record<string, (task: Promise<unknown>) => Promise<void>> =
      {
        async throw(task) {
          // The very reason, not a copy that has been over there.
          assertStrictEquals(await assertRejects(() => task), reason);
        },
        async return(task) {
          assertEquals(await task, "not interested");
        },
        async other(task) {
          await assertRejects(() => task, RangeError, "cleaning up failed");
        },
      };
    for (const [then, check] of Object.entries(outcomes)) {
      const giveUp = new AbortController();
      const { signal } = giveUp;
      const order = { do: "untilAborted", then } as Order;
      const task = pool.run(order, { signal });
      await until(() => pool.stats().running === 1, "running");
      giveUp.abort(reason);
      await check(task);
    }
    const { done, failed, undelivered, crashes } = pool.stats();
    assertEquals([done, failed, undelivered, crashes], [1, 1, 1, 0]);
  },
);

poolTest(
  "grace: who does not hear the signal is ended, the others of its worker go on",
  { size: 1, concurrency: 2, inFlight: 8, grace: 1 },
  async (pool) => {
    const giveUp = new AbortController();
    const { signal } = giveUp;
    const [deaf, neighbour] = [new Hanging(), new Hanging()];
    const hanging = pool.run(deaf.order, { signal });
    const other = pool.run(neighbour.order);
    const behind = upTo(4).map(() => pool.run({ do: "attempt" }));
    await Promise.all([deaf.begun(), neighbour.begun()]);
    giveUp.abort("enough");
    assertEquals(await assertRejects(() => hanging), "enough");
    assertEquals(await Promise.all(behind), [1, 1, 1, 1]);
    await neighbour.begun();
    const stats = pool.stats();
    assertEquals([stats.crashes, stats.retried], [0, 0]);
    assertEquals([deaf.attempt, neighbour.attempt], [1, 1]);
    pool.abort("over");
    assertEquals(await assertRejects(() => other), "over");
  },
);

// -- Crashes ------------------------------------------------------------------

const DEATHS: Order["do"][] = ["exit", "uncaught", "unhandled"];
// Only there does it end a worker.
if (runtime === "deno") DEATHS.push("close");

for (const death of DEATHS) {
  poolTest(
    `a worker that ends by ${death} is replaced, its task tried again and given up`,
    { attempts: 2 },
    async (pool) => {
      const order = { do: death } as Order;
      const others = upTo(20).map((value) => pool.run(echo(value)));
      const error = await assertRejects(
        () => pool.run(order),
        WorkerCrashedError,
        "Cannot run in the pool: a worker must survive the task, received 2",
      );
      assertStrictEquals(error.item, order);
      assertEquals([error.name, error.attempts], ["WorkerCrashedError", 2]);
      assertInstanceOf(error.cause, Error);
      if (death.startsWith("un")) {
        assert(/nobody (caught|handled) this/.test(error.cause.message));
      }
      assertEquals(Object.keys(error).includes("item"), false);
      assertEquals(await Promise.all(others), upTo(20));
      const stats = pool.stats();
      assertEquals(
        [stats.crashes, stats.retried, stats.undelivered],
        [2, 1, 1],
      );
      assertEquals(await pool.run(echo("still here")), "still here");
    },
  );
}

poolTest(
  "a crash counts for the task that was begun, not for those on the way",
  { size: 1 },
  async (pool) => {
    await allReady(pool);
    const gate = new Gate();
    const running = pool.run(gate.order);
    await gate.entered();
    const crashing = pool.run({ do: "exitUnlessAttempt", attempt: 3 });
    const behind = upTo(10).map(() => pool.run({ do: "attempt" }));
    gate.open();
    assertEquals(await running, 1);
    assertEquals(await crashing, 3);
    assertEquals(await Promise.all(behind), upTo(10).fill(1));
    const { crashes, retried } = pool.stats();
    assertEquals([crashes, retried], [2, 2]);
  },
);

poolTest(
  "what was moved to a worker cannot be sent again",
  { size: 1 },
  async (pool) => {
    const { buffer } = new Uint8Array(8);
    const order = { do: "exit", buffer } as Order;
    const error = await assertRejects(
      () => pool.run(order, { transfer: [buffer] }),
      WorkerCrashedError,
      "a task that can be sent only once",
    );
    assertEquals(error.attempts, 1);
    assertEquals(await pool.run(echo(1)), 1);
  },
);

/** Enough to meet each moment of a task; a worker takes longest to start on Node. */
const TERMINATIONS = runtime === "deno" ? 200 : 30;

test(
  `WorkerPool: ${TERMINATIONS} workers terminated in the middle of a task, and every task ends once`,
  async () => {
    const { source, started } = workers("jobs");
    const told: unknown[] = [];
    const pool = new WorkerPool<Obey>(source, {
      size: 2,
      attempts: 2,
      onUndelivered: (task) => told.push(task),
    });
    const ends = { done: 0, crashed: 0 };
    const tasks: Promise<void>[] = [];
    let terminated = 0;
    async function count(order: Order, expected: unknown): Promise<void> {
      try {
        assertEquals(await pool.run(order), expected);
        ends.done++;
      } catch (error) {
        assertInstanceOf(error, WorkerCrashedError);
        ends.crashed++;
      }
    }
    try {
      await pool.run(echo("begin"));
      while (terminated < TERMINATIONS) {
        const victim = new Hanging();
        tasks.push(count(victim.order, "never"));
        for (const value of upTo(6)) tasks.push(count(echo(value), value));
        // Twice: then it is given up.
        for (const attempt of [1, 2]) {
          await victim.begun(attempt);
          // Those that have ended already do not mind.
          for (const worker of started.splice(0)) {
            void worker.terminate();
            terminated++;
          }
        }
      }
      await Promise.all(tasks);
      const stats = pool.stats();
      assertEquals(ends.done + ends.crashed, tasks.length);
      assertEquals([stats.done - 1, stats.undelivered], [
        ends.done,
        ends.crashed,
      ]);
      assertEquals(told.length, ends.crashed);
      assert(ends.crashed >= tasks.length / 7, `${ends.crashed} given up`);
      assert(ends.done >= tasks.length / 2, `${ends.done} done`);
      assertEquals([stats.waiting, stats.running], [0, 0]);
    } finally {
      await pool[Symbol.asyncDispose]();
    }
  },
);

test(
  "WorkerPool: whatever happens, every task ends once and is counted once",
  async () => {
    const step = fc.oneof(
      { weight: 8, arbitrary: fc.constant("echo") },
      { weight: 2, arbitrary: fc.constant("wait") },
      { weight: 2, arbitrary: fc.constant("throw") },
      { weight: 2, arbitrary: fc.constant("cancel") },
      { weight: 1, arbitrary: fc.constant("exit") },
      { weight: 2, arbitrary: fc.constant("turn") },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 5, maxLength: 60 }),
        fc.constantFrom("close", "abort"),
        fc.integer({ min: 0, max: 20 }),
        fc.boolean(),
        async (steps, ending, highWaterMark, one) => {
          const told: unknown[] = [];
          const pool = makePool({
            size: one ? 1 : 2,
            attempts: 2,
            highWaterMark,
            onUndelivered: (task) => told.push(task),
          });
          const controllers: AbortController[] = [];
          const ends: Promise<unknown>[] = [];
          for (const [index, step] of steps.entries()) {
            if (step === "turn") {
              await pause(0);
              continue;
            }
            if (step === "cancel") {
              controllers[index % controllers.length]?.abort("cancelled");
              continue;
            }
            const order = {
              do: step,
              value: index,
              kind: "error",
              milliseconds: 1,
            } as Order;
            const controller = new AbortController();
            controllers.push(controller);
            const { signal } = controller;
            const end = pool.run(order, { signal });
            end.catch(() => {});
            ends.push(end);
          }
          if (ending === "close") await pool.close();
          else pool.abort("over");
          const settled = await Promise.allSettled(ends);
          const stats = pool.stats();
          assertEquals(add(stats), ends.length);
          const fulfilled = settled.filter(({ status }) =>
            status === "fulfilled"
          );
          assertEquals(stats.done, fulfilled.length);
          assertEquals([stats.waiting, stats.running], [0, 0]);
          assert(told.length <= stats.undelivered);
          assertEquals(new Set(told).size, told.length);
          await pool[Symbol.asyncDispose]();
        },
      ),
      parameters(runtime === "deno" ? 12 : 5),
    );
  },
);

// -- Starting -----------------------------------------------------------------

test(
  "WorkerPool: a module that cannot be loaded is not tried for ever",
  async () => {
    const told: unknown[] = [];
    const pool = new WorkerPool<number>(
      workerURL("there_is_no_such_file"),
      { size: 2, name: "broken", onUndelivered: (task) => told.push(task) },
    );
    const tasks = await Promise.allSettled([1, 2, 3].map((n) => pool.run(n)));
    for (const task of tasks) {
      assertEquals(task.status, "rejected");
      const { reason } = task as PromiseRejectedResult;
      assert(
        reason.message.startsWith(
          'Cannot start the workers of the pool "broken": each has ended 3 times',
        ),
        reason.message,
      );
      assertInstanceOf(reason.cause, Error);
    }
    assertEquals(told, [1, 2, 3]);
    await assertRejects(() => pool.closed, Error, "Cannot start the workers");
    await assertRejects(() => pool.run(4), Error, "Cannot start the workers");
    assertEquals(pool.stats().crashes, 6);
    await pool[Symbol.asyncDispose]();
  },
);

test(
  "WorkerPool: a worker that crashes without having been given a task is not replaced for ever",
  async () => {
    const pool = new WorkerPool<number>(() => startWorker("idle_crash"), {
      size: 1,
    });
    const error = await assertRejects(() => pool.closed, Error, "Cannot start");
    assert(String((error.cause as Error).message).includes("out of order"));
    await pool[Symbol.asyncDispose]();
  },
);

test(
  "WorkerPool: a worker that never calls work() counts as one that does not start",
  async () => {
    const pool = new WorkerPool<number>(() => startWorker("silent"), {
      size: 1,
      startTimeout: 20,
    });
    const error = await assertRejects(() => pool.run(1), Error, "Cannot start");
    assertEquals((error.cause as Error).name, "TimeoutError");
    await pool[Symbol.asyncDispose]();
  },
);

test(
  "WorkerPool: a worker that ends and never called work() is said to be one",
  async () => {
    // On Deno and in browsers a worker stays, and it is the time that is over.
    const pool = new WorkerPool<number>(() => startWorker("forgetful"), {
      size: 1,
      startTimeout: runtime === "deno" ? 20 : 30_000,
    });
    const error = await assertRejects(() => pool.run(1), Error, "Cannot start");
    assertStringIncludes((error.cause as Error).message, "call");
    assertStringIncludes((error.cause as Error).message, "work()");
    await pool[Symbol.asyncDispose]();
  },
);

test("WorkerPool: what the function that starts a worker throws or returns", async () => {
  const throwing = new WorkerPool<number>(() => {
    throw new Error("no more threads");
  }, { size: 1 });
  const error = await assertRejects(() => throwing.run(1), Error);
  assertEquals((error.cause as Error).message, "no more threads");
  const strange = new WorkerPool<number>(() => ({}) as never, { size: 1 });
  const other = await assertRejects(() => strange.run(1), Error);
  assertEquals(
    (other.cause as Error).message,
    "Cannot start a worker: source() must return a worker, received an object of Object",
  );
});

poolTest(
  "a task that cannot be cloned costs its neighbours nothing, what is moved with them neither",
  { size: 1 },
  async (pool) => {
    await allReady(pool);
    const lengths = upTo(4).map((length) => {
      const bytes = new Uint8Array(length + 1);
      return pool.run({ do: "lengthOf", bytes }, { transfer: [bytes.buffer] });
    });
    const bad = pool.run(echo(() => {}));
    const after = upTo(4).map((length) => {
      const bytes = new Uint8Array(length + 1);
      return pool.run({ do: "lengthOf", bytes }, { transfer: [bytes.buffer] });
    });
    const plain = pool.run(echo("plain"));
    const error = await assertRejects(() => bad, Error);
    assertEquals(error.name, "DataCloneError");
    assertEquals(await Promise.all(lengths), [1, 2, 3, 4]);
    assertEquals(await Promise.all(after), [1, 2, 3, 4]);
    assertEquals(await plain, "plain");
  },
);

// -- A worker that is none of ours ---------------------------------------------

test(
  "WorkerPool: a worker that sends nonsense is ended, and breaks nothing",
  async () => {
    const nonsense: unknown[] = [
      ...[null, undefined, 0, "text", [], {}, { cell: "0", result: 1 }],
      ...[{ cell: 0 }, { cell: NaN, result: 1 }, { cell: 0, error: 1 }],
      ...[{ cell: 0, error: { kind: "error" }, aborted: false }],
      { cell: 0, error: { kind: "value", value: 1 } },
      { cell: 0, error: { kind: "error", name: 1 }, aborted: true },
    ];
    const pool = new WorkerPool<unknown>(() => startWorker("nonsense"), {
      size: 1,
      attempts: 1,
    });
    for (const task of nonsense) {
      const error = await assertRejects(
        () => pool.run(task),
        WorkerCrashedError,
      );
      assertStringIncludes((error.cause as Error).message, "must answer");
    }
    assertEquals(await pool.run({ cell: 0, result: "sense" }), "sense");
    assertEquals(pool.stats().crashes, nonsense.length);
    await pool[Symbol.asyncDispose]();
  },
);

// -- Errors that are not like others -------------------------------------------

poolTest(
  "what is hung on an error crosses, both ways",
  { size: 1 },
  async (pool) => {
    const error = await assertRejects(
      () => pool.run({ do: "throw", kind: "fields" }),
      Error,
      "busy",
    ) as Error & { status: number; errno: number };
    assertEquals([error.status, error.errno], [503, -16]);
    const controller = new AbortController();
    const status = pool.run({ do: "reason's status" }, {
      signal: controller.signal,
    });
    await until(() => pool.stats().running === 1, "running");
    controller.abort(Object.assign(new Error("enough"), { status: 429 }));
    assertEquals(await status, 429);
  },
);

poolTest(
  "values that throw when they are looked at end one task each, and no worker",
  { size: 1 },
  async (pool) => {
    const thrown = await pool.run({ do: "throw", kind: "hostile" }).then(
      () => "done",
      (reason) => reason,
    );
    assertEquals(thrown, "a value that cannot be looked at");
    const named = await assertRejects(
      () => pool.run({ do: "throw", kind: "constructor" }),
      Error,
      "odd name",
    );
    assertEquals(named.name, "constructor");
    await assertRejects(() => pool.run({ do: "return hostile" }), Error);
    assertEquals(await pool.run(echo(1)), 1);
    assertEquals(pool.stats().crashes, 0);
  },
);

// -- Endings ------------------------------------------------------------------

poolTest("close() has all tasks done, and takes no more", {
  highWaterMark: 1,
}, async (pool) => {
  const tasks = upTo(100).map((value) => pool.run(echo(value)));
  const closed = pool.close();
  assertStrictEquals(pool.close(), closed);
  const late = echo("late");
  const error = await assertRejects(() => pool.run(late), QueueClosedError);
  assertStrictEquals(error.item, late);
  assertEquals(
    error.message,
    "Cannot run: the pool must be open, received one that is closing",
  );
  await closed;
  assertEquals(await Promise.all(tasks), upTo(100));
  pool.abort("too late");
  await pool.closed;
});

poolTest("close() of a pool that has done nothing", {}, (pool) => pool.close());

const thrownOut: unknown[] = [];
poolTest("abort() ends everything now", {
  size: 1,
  inFlight: 2,
  highWaterMark: 2,
  onUndelivered: (_task, reason) => {
    thrownOut.push(reason);
    const error = new Error("printed");
    if (thrownOut.length % 2 === 0) return Promise.reject(error);
    throw error;
  },
}, async (pool) => {
  const printed = await printedBy(async (printed) => {
    const hanging = new Hanging();
    // Running, on the way, two in the lane, one waiting for room.
    const tasks = [pool.run(hanging.order)];
    await hanging.begun();
    for (const value of upTo(4)) tasks.push(pool.run(echo(value)));
    await until(() => pool.stats().workers[0]!.sent === 1, "one on the way");
    const closed = pool.close();
    const reason = new Error("emergency");
    pool.abort(reason);
    for (const task of tasks) {
      assertStrictEquals(await assertRejects(() => task), reason);
    }
    assertStrictEquals(await assertRejects(() => closed), reason);
    assertStrictEquals(
      await assertRejects(() => pool.run(echo(1))),
      reason,
    );
    await until(() => thrownOut.length >= 4, "four reports");
    assertEquals(new Set(thrownOut), new Set([reason]));
    const stats = pool.stats();
    assertEquals([stats.undelivered, add(stats)], [5, 5]);
    await until(() => printed.length === thrownOut.length, "all printed");
  });
  assert(printed.every(([, error]) => (error as Error).message === "printed"));
});

test("WorkerPool: disposing aborts what has not ended by itself", async () => {
  const hanging = new Hanging();
  let task: Promise<unknown>;
  {
    await using pool = makePool({ size: 1 });
    task = pool.run(hanging.order);
    task.catch(() => {});
    await hanging.begun();
  }
  const error = await assertRejects(() => task, DOMException);
  assertEquals(
    [error.name, error.message],
    ["AbortError", "The pool was disposed"],
  );
});

// -- Streams ------------------------------------------------------------------

for (const ordered of [true, false]) {
  poolTest(`source.pipeThrough(pool), ordered: ${ordered}`, {
    ordered,
  }, async (pool) => {
    const source = new Queue<Order>();
    const putting = source.putMany(upTo(200).map(echo)).then(() => {
      source.close();
    });
    const results = await readAll(source.readable.pipeThrough(pool));
    await putting;
    if (!ordered) results.sort((one, other) => Number(one) - Number(other));
    assertEquals(results, upTo(200));
    await pool.closed;
    await assertRejects(() => pool.run(echo(1)), QueueClosedError);
  });
}

poolTest(
  "a task that fails ends the stream, and no other task",
  {},
  async (pool) => {
    const other = pool.run({ do: "wait", milliseconds: 50, value: "other" });
    const writer = pool.writable.getWriter();
    writer.closed.catch(() => {});
    const reader = pool.readable.getReader();
    await writer.write(echo(1));
    assertEquals(await reader.read(), { done: false, value: 1 });
    await writer.write({ do: "throw", kind: "error" });
    await assertRejects(() => reader.read(), Error, "broken");
    assertEquals(await other, "other");
    await pool.closed;
  },
);

poolTest("map() makes pairs that leave the pool open", {}, async (pool) => {
  const streams = [10, 20].map(async (length) => {
    const source = new Queue<Order>({ highWaterMark: length });
    await source.putMany(upTo(length).map(echo));
    source.close();
    return await readAll(source.readable.pipeThrough(pool.map()));
  });
  assertEquals(await Promise.all(streams), [upTo(10), upTo(20)]);
  const hanging = new Hanging();
  const { readable, writable } = pool.map({ concurrency: 1 });
  const writer = writable.getWriter();
  writer.closed.catch(() => {});
  await writer.write({ do: "untilAborted", then: "throw" });
  await until(() => pool.stats().running === 1, "running");
  await readable.cancel("enough");
  await until(() => pool.stats().undelivered === 1, "cancelled");
  assertEquals(hanging.attempt, 0);
  assertEquals(await pool.run(echo("open")), "open");
});

// -- Arguments and types ------------------------------------------------------

test("WorkerPool: refuses what it cannot use", () => {
  const refused: [unknown, unknown, string][] = [
    [
      1,
      {},
      "source must be the URL of a module or a function that starts a worker, received 1",
    ],
    ["x", null, "options must be an object, received null"],
    ["x", { size: 0 }, "size must be a whole number of 1 or more, received 0"],
    ["x", { size: "2" }, 'size must be a number, received "2"'],
    [
      "x",
      { concurrency: 0 },
      "concurrency must be a whole number of 1 or more",
    ],
    [
      "x",
      { concurrency: 4, inFlight: 3 },
      "inFlight must be a whole number of 4 or more",
    ],
    ["x", { attempts: 0 }, "attempts must be a whole number of 1 or more"],
    ["x", { grace: -1 }, "grace must be from 0 to Number.MAX_SAFE_INTEGER"],
    ["x", { startTimeout: NaN }, "startTimeout must be from 0 to"],
    ["x", { highWaterMark: -1 }, "highWaterMark must be 0 or more"],
    ["x", { ordered: 1 }, "ordered must be a boolean, received 1"],
    ["x", { name: 1 }, "name must be a string, received 1"],
    ["x", { transfer: [] }, "transfer must be a function"],
    ["x", { onUndelivered: 1 }, "onUndelivered must be a function"],
    ["x", { steal: "all" }, 'steal must be "half" or "one", received "all"'],
  ];
  for (const [source, options, message] of refused) {
    const error = assertThrows(
      () => new WorkerPool(source as never, options as never),
    ) as Error;
    assert(
      error.message.startsWith("Cannot make a ") &&
        error.message.includes(message),
      error.message,
    );
  }
});

test("work() and transferred() refuse what they cannot use", () => {
  assertThrows(
    () => work((task: number) => task),
    TypeError,
    "Cannot work: must be called in a worker, received the main thread",
  );
  assertThrows(
    () => work(1 as never),
    TypeError,
    "Cannot work: handler must be a function, received 1",
  );
  assertThrows(
    () => transferred(1, 2 as never),
    TypeError,
    "Cannot transfer: transfer must be an array, received 2",
  );
});

/** Holds when both are the same type. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends
  (<T>() => T extends B ? 1 : 2) ? true : false;

test("WorkerPool: the types of the worker are those of the pool", () => {
  const byModule: Same<TaskOf<Obey>, Order> = true;
  const plainTask: Same<TaskOf<string>, string> = true;
  const result: Same<ResultOf<Obey>, unknown> = true;
  const served = (() => work((text: string) => text.length)) as () =>
    ReturnType<
      typeof work<string, number>
    >;
  type Lengths = ReturnType<typeof served>;
  const lengths: Same<ResultOf<Lengths>, number> = true;
  const moved = () =>
    work((length: number) => {
      const bytes = new Uint8Array(length);
      return transferred(bytes, [bytes.buffer]);
    });
  const unwrapped: Same<
    ResultOf<ReturnType<typeof moved>>,
    Uint8Array<ArrayBuffer>
  > = true;
  const later = () =>
    work(async (text: string) => await Promise.resolve([text]));
  const awaited: Same<ResultOf<ReturnType<typeof later>>, string[]> = true;
  function check(
    pool: WorkerPool<Lengths>,
    other: WorkerPool<string, Date>,
  ): void {
    const length: Promise<number> = pool.run("text");
    const date: Promise<Date> = other.run("text");
    const stream: ReadableStream<number> = new ReadableStream<string>()
      .pipeThrough(pool);
    // @ts-expect-error: the worker takes a string
    void pool.run(1);
    // @ts-expect-error: and gives a number
    const wrong: Promise<string> = pool.run("text");
    void [length, date, stream, wrong];
  }
  assertEquals(
    [byModule, plainTask, result, lengths, unwrapped, awaited, typeof check],
    [true, true, true, true, true, true, "function"],
  );
});
