import {
  context as globalContext,
  createContextKey,
  metrics,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { consume, PriorityQueue, Queue } from "../../mod.ts";
import { instrument, type Tracing, tracing } from "../../src/otel.ts";
import { test } from "../support/harness.ts";
import { SteppedClock } from "../support/stepped_clock.ts";
import { FakeMeter, FakeTracer, followingApi } from "../support/telemetry.ts";

interface Job {
  id: number;
}

const KEY = createContextKey("test");

function labels(name: string): Record<string, string> {
  return {
    "messaging.system": "highwater",
    "messaging.destination.name": name,
  };
}

// -- instrument() ---------------------------------------------------------------

test("instrument: one collection tells all counters of a queue", async () => {
  const clock = new SteppedClock();
  const fake = new FakeMeter();
  const queue = new Queue<number>({
    name: "jobs",
    highWaterMark: 4,
    size: (item) => item > 90 ? 2 : 1,
    timestamps: true,
    clock,
  });
  instrument(queue, fake.meter, { clock });
  await queue.putMany([1, 2, 99]);
  const lent = await queue.receive();
  (await queue.receive()).nack();
  await queue.put(5);
  const waiting = queue.put(6);
  clock.advance(1500);
  const found = fake.collect();
  const only = (name: string): number => {
    assertEquals(found[name]!.length, 1, name);
    assertEquals(found[name]![0]!.attributes, labels("jobs"), name);
    return found[name]![0]!.value;
  };
  assertEquals(found["messaging.client.sent.messages"], [{
    value: 4,
    attributes: { ...labels("jobs"), "messaging.operation.name": "put" },
  }]);
  assertEquals(found["messaging.client.consumed.messages"], [{
    value: 2,
    attributes: { ...labels("jobs"), "messaging.operation.name": "get" },
  }]);
  assertEquals(found["highwater.queue.waiting"], [
    {
      value: 1,
      attributes: { ...labels("jobs"), "messaging.operation.name": "put" },
    },
    {
      value: 0,
      attributes: { ...labels("jobs"), "messaging.operation.name": "get" },
    },
  ]);
  assertEquals(only("highwater.queue.length"), 3);
  assertEquals(only("highwater.queue.size"), 4);
  assertEquals(only("highwater.queue.limit"), 4);
  assertEquals(only("highwater.queue.utilization"), 1.25);
  assertEquals(only("highwater.queue.oldest.age"), 1.5);
  assertEquals(only("highwater.queue.in_flight"), 1);
  assertEquals(only("highwater.queue.delayed"), 0);
  assertEquals(only("highwater.queue.returned"), 1);
  assertEquals(only("highwater.queue.dropped"), 0);
  assertEquals(only("highwater.queue.undelivered"), 0);
  assertEquals(
    [...Object.keys(found), "highwater.queue.dead_letters"].sort(),
    fake.made.map(({ name }) => name).sort(),
  );
  lent.ack();
  queue.clear();
  await waiting;
  queue.clear();
  assertEquals(fake.collect()["highwater.queue.length"]![0]!.value, 0);
});

test("instrument: what there is not is not told, and drops are", () => {
  const fake = new FakeMeter();
  const unbounded = new Queue<number>({
    name: "unbounded",
    highWaterMark: Infinity,
  });
  const dropping = new Queue<number>({
    highWaterMark: 1,
    overflow: "drop-oldest",
  });
  instrument(new Set([unbounded, dropping]), fake.meter, {
    attributes: { shard: 7, "messaging.system": "mine" },
  });
  dropping.tryPut(1);
  dropping.tryPut(2);
  const found = fake.collect();
  assertEquals(found["highwater.queue.oldest.age"], undefined);
  const nameless = { shard: 7, "messaging.system": "highwater" };
  assertEquals(found["highwater.queue.limit"], [{
    value: 1,
    attributes: nameless,
  }]);
  for (const name of ["dropped", "undelivered"]) {
    assertEquals(found[`highwater.queue.${name}`], [
      { value: 0, attributes: { ...labels("unbounded"), shard: 7 } },
      { value: 1, attributes: nameless },
    ]);
  }
});

test("instrument: units and kinds are those of the conventions", () => {
  const fake = new FakeMeter();
  instrument(new Queue<number>(), fake.meter);
  const made = fake.made.map(({ name, kind, unit }) =>
    `${name} ${kind} ${unit}`
  );
  for (
    const wanted of [
      "messaging.client.sent.messages counter {message}",
      "messaging.client.consumed.messages counter {message}",
      "highwater.queue.length up-down counter {message}",
      "highwater.queue.oldest.age gauge s",
      "highwater.queue.utilization gauge 1",
    ]
  ) assert(made.includes(wanted), `${wanted} in ${made}`);
});

test("instrument: stop() and `using` take the callback off, once", () => {
  const fake = new FakeMeter();
  const queue = new Queue<number>({ name: "jobs" });
  const first = instrument(queue, fake.meter);
  const second = instrument(queue, fake.meter);
  assertEquals(fake.attached, 2);
  first.stop();
  first.stop();
  assertEquals(fake.attached, 1);
  second[Symbol.dispose]();
  assertEquals([fake.attached, fake.collect()], [0, {}]);
});

test("instrument: works with a meter that does nothing", () => {
  instrument(new Queue<number>(), metrics.getMeter("none")).stop();
});

test("instrument: refuses what it cannot measure, and attaches nothing", () => {
  const fake = new FakeMeter();
  const attach =
    (queues: unknown, meter: unknown = fake, options: unknown = {}) => () =>
      instrument(queues as never, meter as never, options as never);
  const named = (name: string) => new Queue<number>({ name });
  assertThrows(
    attach([]),
    RangeError,
    "Cannot instrument: queues must have one",
  );
  assertThrows(attach(5), TypeError, "queues must be a queue or iterable");
  assertThrows(
    attach([named("a"), {}]),
    TypeError,
    "queues[1] must have stats()",
  );
  assertThrows(
    attach([named("a"), named("b"), named("a")]),
    RangeError,
    'Cannot instrument: queues must have names of their own, received "a" twice',
  );
  assertThrows(attach(named("a"), {}), TypeError, "meter.addBatchObservable");
  assertThrows(attach(named("a"), fake, 5), TypeError, "options must be");
  assertThrows(attach(named("a"), fake, { clock: 1 }), TypeError, "clock must");
  assertEquals([fake.attached, fake.made.length], [0, 0]);
});

// -- tracing() ------------------------------------------------------------------

interface Bench {
  api: ReturnType<typeof followingApi>;
  fake: FakeTracer;
  meter: FakeMeter;
  clock: SteppedClock;
  traces: Tracing;
  /** Runs in a new span, of which the id is given. */
  within<R>(work: (id: string) => R): R;
}

function bench(): Bench {
  const api = followingApi();
  const fake = new FakeTracer();
  const meter = new FakeMeter();
  const clock = new SteppedClock();
  return {
    api,
    fake,
    meter,
    clock,
    traces: tracing(api, { tracer: fake.tracer, meter: meter.meter, clock }),
    within(work) {
      const parent = fake.startSpan("request", {}, ROOT_CONTEXT);
      const context = trace.setSpan(
        ROOT_CONTEXT.setValue(KEY, "baggage"),
        parent,
      );
      return api.context.with(
        context,
        () => work(parent.spanContext().spanId),
      );
    },
  };
}

test("tracing: the handler runs in the context of the put, in a span that is its child", async () => {
  const { api, fake, meter, traces, clock, within } = bench();
  const queue = new Queue<Job>(traces.captureAtPut({ name: "jobs" }));
  const seen: unknown[] = [];
  const working = consume(
    queue,
    traces.restoreAround(async ({ id }: Job) => {
      clock.advance(250);
      await undefined;
      const active = api.context.active();
      seen.push([
        id,
        active.getValue(KEY),
        trace.getSpanContext(active)?.spanId,
      ]);
    }),
  );
  const first = await within(async (id) => {
    await queue.put({ id: 1 });
    return id;
  });
  await queue.put({ id: 2 });
  queue.close();
  assertEquals((await working).processed, 2);
  const [, one, two] = fake.spans;
  assertEquals(seen, [[1, "baggage", one!.id], [2, undefined, two!.id]]);
  assertEquals([one!.parent, two!.parent], [first, undefined]);
  assertEquals([one!.name, one!.kind, one!.ended], [
    "process jobs",
    SpanKind.CONSUMER,
    1,
  ]);
  assertEquals(one!.attributes, {
    ...labels("jobs"),
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "highwater.attempt": 1,
  });
  const attributes = {
    ...labels("jobs"),
    "messaging.operation.name": "process",
  };
  const name = "messaging.process.duration";
  assertEquals(meter.made, [{ name, kind: "histogram", unit: "s" }]);
  assertEquals(meter.recorded, [
    { name, value: 0.25, attributes },
    { name, value: 0.25, attributes },
  ]);
});

test("tracing: every road into a queue notes the context, and the size is what it was", async () => {
  const { fake, traces, within } = bench();
  const weights: number[] = [];
  const queue = new Queue<Job>(traces.captureAtPut({
    highWaterMark: 100,
    size: ({ id }: Job) => {
      weights.push(id);
      return id;
    },
  }));
  const roads: ((job: Job) => unknown)[] = [
    (job) => queue.put(job),
    (job) => queue.tryPut(job),
    (job) => queue.putMany([job]),
    (job) => {
      const writer = queue.writable.getWriter();
      const written = writer.write(job);
      writer.releaseLock();
      return written;
    },
    (job) => queue.producer().getWriter().write(job),
  ];
  const parents: string[] = [];
  for (const [index, road] of roads.entries()) {
    await within(async (id) => {
      parents.push(id);
      await road({ id: index + 1 });
    });
  }
  assertEquals([queue.stats().size, weights], [15, [1, 2, 3, 4, 5]]);
  queue.close();
  await consume(queue, traces.restoreAround(() => {}));
  assertEquals(
    fake.spans.filter(({ name }) => name === "process")
      .map(({ parent }) => parent),
    parents,
  );
});

test("tracing: a failure ends the span as an error, each attempt has its own, and the failure is passed on", async () => {
  const { fake, meter, traces, within } = bench();
  const queue = new Queue<Job>(traces.captureAtPut({ name: "jobs" }));
  const parent = within((id) => {
    queue.tryPut({ id: 1 });
    return id;
  });
  queue.close();
  let calls = 0;
  const { processed, retried, errors } = await consume(
    queue,
    traces.restoreAround(() => {
      if (++calls === 1) throw new RangeError("no");
      if (calls === 2) return Promise.reject("late");
    }),
    { retry: { attempts: 3, delay: 0 } },
  );
  assertEquals([processed, retried], [1, 2]);
  assertEquals((errors!.first as Error).message, "no");
  assertEquals(errors!.last, "late");
  const spans = fake.spans.slice(1);
  assertEquals(
    spans.map(({ parent, ended, status, attributes, exceptions }) => [
      parent,
      ended,
      status?.code,
      status?.message,
      attributes["error.type"],
      attributes["highwater.attempt"],
      exceptions.length,
    ]),
    [
      [parent, 1, SpanStatusCode.ERROR, "no", "RangeError", 1, 1],
      [parent, 1, SpanStatusCode.ERROR, "late", "_OTHER", 2, 1],
      [parent, 1, undefined, undefined, undefined, 3, 0],
    ],
  );
  assertEquals(
    meter.recorded.map(({ attributes }) => attributes["error.type"]),
    ["RangeError", "_OTHER", undefined],
  );
});

test("tracing: results come back as they are, at once where they were", async () => {
  const { traces } = bench();
  const context = {
    signal: new AbortController().signal,
    attempt: 1,
    age: undefined,
  };
  assertEquals(traces.restoreAround((item) => item)(7, context), 7);
  assertEquals(
    await traces.restoreAround((item) => Promise.resolve(item))(8, context),
    8,
  );
  const failing = traces.restoreAround(() => Promise.reject(new Error("x")));
  await assertRejects(
    () => failing(1, context) as Promise<unknown>,
    Error,
    "x",
  );
});

test("tracing: a batch is one span with a link to each of its items", async () => {
  const { fake, traces, within } = bench();
  const queue = new Queue<Job | number>(traces.captureAtPut({ name: "jobs" }));
  const parents = [1, 2].map((id) =>
    within((parent) => {
      queue.tryPut({ id });
      return parent;
    })
  );
  queue.tryPut(3);
  queue.close();
  await consume(
    queue,
    traces.restoreAroundBatch((items: (Job | number)[]) =>
      assertEquals(items.length, 3)
    ),
    { batch: { max: 10 } },
  );
  const span = fake.spans[2]!;
  assertEquals([span.name, span.parent, span.links], [
    "process jobs",
    undefined,
    parents,
  ]);
  assertEquals(span.attributes["messaging.batch.message_count"], 3);
});

test("tracing: what cannot be noted comes from contextOf, or begins a trace of its own", async () => {
  const { api, fake, within } = bench();
  const contexts = new Map<string, ReturnType<typeof api.context.active>>();
  const parent = within((id) => {
    contexts.set("known", api.context.active());
    return id;
  });
  const traces = tracing<string>(api, {
    tracer: fake.tracer,
    name: "words",
    contextOf: (item) => contexts.get(item),
  });
  await within(() =>
    consume(["known", "unknown"], traces.restoreAround(() => {}))
  );
  assertEquals(
    fake.spans.slice(2).map(({ name, parent }) => [name, parent]),
    [["process words", parent], ["process words", undefined]],
  );
});

test("tracing: without a tracer and a meter the context is there all the same", async () => {
  const { api, within } = bench();
  const traces = tracing(api);
  const item = { id: 1 };
  within(() => assertEquals(traces.capture(item), item));
  const values: unknown[] = [];
  await consume(
    [item],
    traces.restoreAround(() =>
      void values.push(api.context.active().getValue(KEY))
    ),
  );
  assertEquals(values, ["baggage"]);
});

test("tracing: the context of an item is that of its last put, and comes through a lease", async () => {
  const { fake, traces, within } = bench();
  const first = new Queue<Job>(traces.captureAtPut({ name: "first" }));
  const second = new PriorityQueue<Job>(
    traces.captureAtPut({ name: "second", priority: ({ id }: Job) => -id }),
  );
  within(() => first.tryPut({ id: 1 }));
  first.close();
  await consume(
    first,
    traces.restoreAround((job: Job) => second.put(job)),
  );
  second.close();
  (await second.receive()).nack();
  await consume(second, traces.restoreAround(() => {}));
  assertEquals(
    fake.spans.map(({ name, id, parent }) => [name, id, parent]),
    [
      ["request", fake.spans[0]!.id, undefined],
      ["process first", fake.spans[1]!.id, fake.spans[0]!.id],
      ["process second", fake.spans[2]!.id, fake.spans[1]!.id],
    ],
  );
});

test("tracing: a strategy of the platform keeps its bound and its size", () => {
  const { traces } = bench();
  const queue = new Queue<Uint8Array>(
    traces.captureAtPut(new ByteLengthQueuingStrategy({ highWaterMark: 100 })),
  );
  queue.tryPut(new Uint8Array(30));
  assertEquals([queue.highWaterMark, queue.stats().size], [100, 30]);
  const plain = new Queue<Job>(traces.captureAtPut({}));
  assertEquals(plain.highWaterMark, 16);
});

test("tracing: the API itself will do", async () => {
  const api = { ...followingApi(), context: globalContext };
  const traces = tracing(api, { tracer: trace.getTracer("none") });
  const { processed } = await consume([{}], traces.restoreAround(() => {}));
  assertEquals(processed, 1);
});

test("tracing: refuses what it cannot use", () => {
  const { api, traces } = bench();
  const make = (options: unknown, from: unknown = api) => () =>
    tracing(from as never, options as never);
  assertThrows(
    make({}, null),
    TypeError,
    "Cannot trace: api.context.with",
  );
  assertThrows(
    make({}, { context: api.context }),
    TypeError,
    "api.trace.setSpan",
  );
  assertThrows(make(null), TypeError, "options must be an object");
  assertThrows(make({ tracer: 1 }), TypeError, "tracer.startSpan");
  assertThrows(make({ meter: {} }), TypeError, "meter.createHistogram");
  assertThrows(make({ name: 1 }), TypeError, "name must be a string");
  assertThrows(
    make({ contextOf: 1 }),
    TypeError,
    "contextOf must be a function",
  );
  assertThrows(make({ clock: 1 }), TypeError, "clock must have now");
  assertThrows(
    () => traces.restoreAround(1 as never),
    TypeError,
    "handler must be a function",
  );
  assertThrows(
    () => traces.captureAtPut({ size: 1 as never }),
    TypeError,
    "size must be a function",
  );
});
