import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type Alert, monitor, type MonitorSample, Queue } from "../mod.ts";
import { dashboard } from "../src/dashboard.ts";
import { EngineHandle } from "../src/engines/core/handle.ts";
import { instrument } from "../src/otel.ts";
import { test } from "./support/harness.ts";
import { type Kept, MemoryEngine } from "./support/memory_engine.ts";
import { turn } from "./support/properties.ts";
import { SteppedClock } from "./support/stepped_clock.ts";
import { FakeMeter } from "./support/telemetry.ts";

type Handle = EngineHandle<string, Kept>;

function start(): { clock: SteppedClock; engine: MemoryEngine; queue: Handle } {
  const clock = new SteppedClock();
  const engine = new MemoryEngine(clock);
  engine.bound = 10;
  const queue: Handle = new EngineHandle("jobs", engine.connect(), { clock });
  return { clock, engine, queue };
}

/** Reads, one sample a second. */
function reading(
  samples: ReadableStream<MonitorSample>,
  clock: SteppedClock,
): () => Promise<MonitorSample> {
  const reader = samples.getReader();
  return async () => {
    const next = reader.read();
    let sample: MonitorSample | undefined;
    void next.then(({ value }) => sample = value);
    await turn();
    while (sample === undefined) await clock.pass(1_000);
    await next;
    return sample!;
  };
}

test("monitor: a queue on an engine, with what other processes do to it", async () => {
  const { clock, engine, queue } = start();
  const alerts: string[] = [];
  const next = reading(
    monitor(queue, {
      clock,
      sustained: 2_000,
      onAlert: ({ kind, of }: Alert) =>
        alerts.push(`${kind} ${of ?? ""}`.trim()),
    }),
    clock,
  );
  await queue.putMany(["a", "b", "c"]);
  const first = await next();
  assertEquals(
    [first.name, first.length, first.size, first.fill, first.highWaterMark],
    ["jobs", 3, 3, 0.3, 10],
  );
  assertEquals([first.state, first.failure], ["open", undefined]);
  const delivery = await queue.receive();
  await queue.put("d");
  const other = engine.connect();
  await other.send([{ id: "x", payload: new Uint8Array(1), key: undefined }]);
  const second = await next();
  assertEquals(
    [second.length, second.inFlight, second.deadLetters, second.size],
    [4, 1, 0, 5],
  );
  // What this handle does, and what became of the queue.
  assertEquals([second.inRate, second.outRate, second.growth], [1, 1, 2]);
  assertEquals(second.timeToFull, 2.5);
  await delivery.ack();
  for (let second = 0; second < 6; second++) await next();
  assertEquals(alerts, ["stalled"]);
  // Somebody else takes.
  const lent = await other.fetch(1, 60_000, new AbortController().signal);
  await next();
  assertEquals(alerts, ["stalled", "recovered stalled"]);
  await other.nack(lent[0]!, 600_000);
  await queue.close();
});

test("monitor: what a delay keeps back in an engine is not stalled", async () => {
  const { clock, queue } = start();
  const alerts: Alert[] = [];
  const next = reading(
    monitor(queue, { clock, onAlert: (alert) => alerts.push(alert) }),
    clock,
  );
  await queue.put("a");
  await (await queue.receive()).nack({ delay: 600_000 });
  for (let second = 0; second < 10; second++) {
    assertEquals((await next()).length, 1);
  }
  assertEquals(alerts, []);
  await queue.close();
});

test("monitor: an engine that fails shows as a failure with the numbers of before, and the others go on", async () => {
  const { clock, engine, queue } = start();
  const alerts: string[] = [];
  const besides = new Queue<number>({ name: "here" });
  const next = reading(
    monitor([queue, besides], {
      clock,
      onAlert: ({ kind, of, name, sample }) =>
        alerts.push(`${name} ${kind} ${of ?? String(sample.failure)}`),
    }),
    clock,
  );
  await queue.put("a");
  assertEquals([(await next()).length, (await next()).name], [1, "here"]);
  engine.failures = [new Error("The engine is down")];
  const failed = await next();
  assertEquals(String(failed.failure), "Error: The engine is down");
  assertEquals([failed.length, failed.inRate, failed.growth], [1, 0, 0]);
  await next();
  const well = await next();
  assertEquals([well.failure, well.length], [undefined, 1]);
  assertEquals(alerts, [
    "jobs unreachable Error: The engine is down",
    "jobs recovered unreachable",
  ]);
  await queue.close();
});

test("monitor: an engine that does not answer holds nobody up, and is asked once", async () => {
  const { clock, engine, queue } = start();
  const besides = new Queue<number>({ name: "here" });
  const next = reading(monitor([queue, besides], { clock }), clock);
  await next();
  await next();
  let answer!: () => void;
  engine.before = () => new Promise((resolve) => answer = resolve);
  const words = engine.words;
  for (let second = 0; second < 3; second++) {
    const silent = await next();
    assertEquals((silent.failure as Error).name, "TimeoutError");
    assertEquals((await next()).name, "here");
  }
  assertEquals(engine.words, words + 1);
  engine.before = () => Promise.resolve();
  answer();
  assertEquals((await next()).failure, undefined);
  await queue.close();
});

test("monitor: who stops watching an engine that does not answer leaves no timer", async () => {
  const { clock, engine, queue } = start();
  engine.before = () => new Promise(() => {});
  const controller = new AbortController();
  for (const signal of [undefined, controller.signal]) {
    const reader = monitor(queue, { clock, signal }).getReader();
    const reading = reader.read();
    await turn();
    assert(clock.pending > 0);
    if (signal === undefined) await reader.cancel();
    else controller.abort();
    assertEquals((await reading).done, true);
    assertEquals(clock.pending, 0);
  }
});

test("dashboard: shows a queue on an engine, and its failure as one", async () => {
  const { clock, engine, queue } = start();
  await queue.putMany(["a", "b"]);
  const handler = dashboard(queue, { clock });
  const ask = async (path: string): Promise<Response> =>
    await handler(new Request(`http://localhost${path}`));
  assertStringIncludes(await (await ask("/")).text(), ">jobs</h2>");
  const metrics = await (await ask("/metrics")).text();
  const labels = '{queue="jobs",index="0"}';
  for (
    const line of [
      `highwater_queue_length${labels} 2`,
      `highwater_queue_high_water_mark${labels} 10`,
      `highwater_queue_in_flight${labels} 0`,
      `highwater_queue_dead_letters${labels} 0`,
      `highwater_queue_put_total${labels} 2`,
      `highwater_queue_up${labels} 1`,
    ]
  ) assertStringIncludes(metrics, `${line}\n`);
  assert(!metrics.includes(`highwater_queue_unfinished${labels}`));

  engine.failures = [new Error("down"), new Error("<down>")];
  const failing = await (await ask("/metrics")).text();
  assertEquals(
    failing.split("\n").filter((line) => line.includes(labels)),
    [`highwater_queue_up${labels} 0`],
  );
  const reader = (await ask("/events")).body!.getReader();
  const event = new TextDecoder().decode((await reader.read()).value);
  assertStringIncludes(event, '"alerts":["unreachable"]');
  assertStringIncludes(event, '"failure":"Error: \\u003cdown\\u003e"');
  await reader.cancel();
  await queue.close();
});

test("instrument: a queue on an engine is asked at each collection; what fails has no values", async () => {
  const { clock, engine, queue } = start();
  await queue.putMany(["a", "b"]);
  const here = new Queue<number>({ name: "here" });
  const fake = new FakeMeter();
  using _instruments = instrument([queue, here], fake.meter, { clock });
  const found = await fake.collectAll();
  const attributes = {
    "messaging.system": "highwater",
    "messaging.destination.name": "jobs",
  };
  assertEquals(found["highwater.queue.length"]!.map(({ value }) => value), [
    2,
    0,
  ]);
  assertEquals(found["highwater.queue.dead_letters"], [
    { value: 0, attributes },
  ]);
  engine.failures = [new Error("down")];
  const failing = await fake.collectAll();
  assertEquals(failing["highwater.queue.length"]!.length, 1);
  engine.before = () => new Promise(() => {});
  const silent = fake.collectAll();
  await clock.pass(5_000);
  assertEquals((await silent)["highwater.queue.length"]!.length, 1);
  await queue.close({ signal: AbortSignal.abort() });
});
