import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { consume } from "../../mod.ts";
import {
  EngineHandle,
  type EngineHandleOptions,
} from "../../src/engines/core/handle.ts";
import { framed, unframed } from "../../src/engines/core/headers.ts";
import { type Tracing, tracing } from "../../src/otel.ts";
import { test } from "../support/harness.ts";
import { type Kept, MemoryEngine } from "../support/memory_engine.ts";
import { SteppedClock } from "../support/stepped_clock.ts";
import { FakeMeter, FakeTracer, followingApi } from "../support/telemetry.ts";

interface Bench {
  api: ReturnType<typeof followingApi>;
  tracer: FakeTracer;
  meter: FakeMeter;
  traces: Tracing;
  engine: MemoryEngine;
  open(options?: EngineHandleOptions<string>): EngineHandle<string, Kept>;
}

function bench(): Bench {
  const api = followingApi();
  const tracer = new FakeTracer();
  const meter = new FakeMeter();
  const clock = new SteppedClock();
  const engine = new MemoryEngine(clock);
  engine.maxPayload = 400;
  const traces = tracing(api, {
    tracer: tracer.tracer,
    meter: meter.meter,
    clock,
  });
  return {
    ...{ api, tracer, meter, traces, engine },
    open: (options = {}) =>
      new EngineHandle("jobs", engine.connect(), {
        clock,
        headersOf: traces.headersOf,
        ...options,
      }),
  };
}

const COMMON = {
  "messaging.system": "highwater",
  "messaging.destination.name": "jobs",
};

test("headers: what travels in front of the bytes comes back, and bytes that look like it stay what they are", () => {
  const bytes = Uint8Array.of(1, 2, 3);
  assertEquals(framed(bytes, undefined), bytes);
  assertEquals(unframed(bytes), { payload: bytes, headers: undefined });
  for (const headers of [{}, { a: "b", "ü": "\u0000\n" }]) {
    const { payload, headers: found } = unframed(framed(bytes, headers));
    assertEquals([payload, found], [bytes, headers]);
  }
  const empty = new Uint8Array();
  assertEquals(unframed(framed(empty, { a: "" })).payload, empty);
  const alike = framed(bytes, { a: "b" });
  assertEquals(unframed(framed(alike, undefined)).payload, alike);
  // In the middle of a buffer.
  const within = new Uint8Array(40);
  within.set(alike, 7);
  assertEquals(
    unframed(within.subarray(7, 7 + alike.length)).headers,
    { a: "b" },
  );
});

test("engines: headersOf goes beside the item by every road, and what it may not return is refused", async () => {
  const { open } = bench();
  let count = 0;
  const queue = open({ headersOf: (item) => ({ of: `${item} ${++count}` }) });
  await queue.put("a");
  await queue.putMany(["b"]);
  const writer = queue.writable.getWriter();
  await writer.write("c");
  await writer.close();
  const deliveries = await queue.receiveMany(3, { linger: 1_000 });
  assertEquals(
    deliveries.map(({ item, headers }) => [item, headers]),
    [["a", { of: "a 1" }], ["b", { of: "b 2" }], ["c", { of: "c 3" }]],
  );
  await Promise.all(deliveries.map((delivery) => delivery.ack()));
  const plain = open({ headersOf: undefined });
  await plain.put("d");
  const delivery = await plain.receive();
  assertEquals([delivery.item, delivery.headers], ["d", undefined]);
  await delivery.ack();
  for (const wrong of ["text", 1, null, { a: 1 }, Promise.resolve({})]) {
    const refusing = open({ headersOf: () => wrong as never });
    if (wrong instanceof Promise) {
      await refusing.put("e").catch(() => {});
      await (await refusing.receive()).ack();
    } else {
      await assertRejects(
        () => refusing.put("e"),
        TypeError,
        "headersOf(item)",
      );
    }
    await refusing.close();
  }
  await queue.close();
  await plain.close();
});

test("tracing: a trace goes through an engine beside the item, text included, into another process", async () => {
  const { api, tracer, traces, open } = bench();
  const queue = open();
  const request = tracer.startSpan("request", {}, api.ROOT_CONTEXT);
  const context = trace.setSpan(api.ROOT_CONTEXT, request);
  await api.context.with(context, () => queue.put("a"));
  // Elsewhere nothing is known of the item but what came with it.
  const there = new FakeTracer();
  const other = tracing(api, { tracer: there.tracer });
  const controller = new AbortController();
  await consume(
    queue,
    other.restoreAround<string>(() => controller.abort()),
    { signal: controller.signal },
  );
  const [span] = there.spans;
  assertEquals([span!.name, span!.parent], ["process", tracer.spans[0]!.id]);
  const id = span!.attributes["messaging.message.id"];
  assert(typeof id === "string" && id.length > 20);
  assert(traces.headersOf("b")["message-id"] !== id, "each has its own");
  await queue.close();
});

test("tracing: client() sees puts, receives and answers in spans, and measures them", async () => {
  const { api, tracer, meter, traces, open } = bench();
  const queue = open();
  const client = traces.client(queue, {
    system: "redis",
    address: "cache.internal",
    port: 6379,
  });
  assertEquals(
    [client.name, client.visibility, client.attempts],
    [queue.name, queue.visibility, queue.attempts],
  );
  const request = tracer.startSpan("request", {}, api.ROOT_CONTEXT);
  await api.context.with(
    trace.setSpan(api.ROOT_CONTEXT, request),
    () => client.put("a"),
  );
  await client.putMany(["b", "c"]);
  const first = await client.receive();
  assertEquals([first.item, first.attempt], ["a", 1]);
  assertEquals(await first.nack(), true);
  const again = await client.receive();
  assertEquals(await again.ack(), true);
  const rest = await client.receiveMany(5);
  assertEquals(rest.map(({ item }) => item), ["b", "c"]);
  assertEquals(await rest[0]!.bury!(new Error("bad")), true);
  await rest[1]!.ack();
  await client.close();

  const spans = tracer.spans.slice(1);
  const { PRODUCER, CLIENT } = SpanKind;
  assertEquals(spans.map(({ name, kind }) => [name, kind]), [
    ["send jobs", PRODUCER],
    ["send jobs", PRODUCER],
    ["receive jobs", CLIENT],
    ["nack jobs", CLIENT],
    ["receive jobs", CLIENT],
    ["ack jobs", CLIENT],
    ["receive jobs", CLIENT],
    ["bury jobs", CLIENT],
    ["ack jobs", CLIENT],
  ]);
  assert(
    spans.every(({ ended, status }) => ended === 1 && status === undefined),
  );
  const [send, sendMany, receive, nack, , ack, receiveMany] = spans;
  assertEquals(send!.parent, tracer.spans[0]!.id);
  const id = send!.attributes["messaging.message.id"];
  assert(typeof id === "string");
  const where = {
    ...COMMON,
    "messaging.system": "redis",
    "server.address": "cache.internal",
    "server.port": 6379,
  };
  assertEquals(send!.attributes, {
    ...where,
    "messaging.operation.name": "send",
    "messaging.operation.type": "send",
    "messaging.message.id": id,
  });
  assertEquals(sendMany!.attributes["messaging.batch.message_count"], 2);
  assertEquals(sendMany!.attributes["messaging.message.id"], undefined);
  for (const span of [receive, nack, ack]) {
    assertEquals(span!.attributes["messaging.message.id"], id);
    assertEquals(span!.links, [send!.id]);
  }
  assertEquals(nack!.attributes["messaging.operation.type"], "settle");
  assertEquals(receiveMany!.attributes["messaging.batch.message_count"], 2);
  assertEquals(receiveMany!.links, [sendMany!.id, sendMany!.id]);
  const measured = meter.recorded.map(({ name, attributes }) => [
    name,
    attributes["messaging.operation.name"],
    attributes["server.address"],
  ]);
  assertEquals(
    measured,
    [
      "send",
      "send",
      "receive",
      "nack",
      "receive",
      "ack",
      "receive",
      "bury",
      "ack",
    ]
      .map((
        verb,
      ) => ["messaging.client.operation.duration", verb, "cache.internal"]),
  );
});

test("tracing: what fails in client() ends its span as an error, with its type", async () => {
  const { tracer, meter, traces, open, engine } = bench();
  const queue = open({ overflow: "reject", offline: "reject" });
  const client = traces.client(queue);
  await assertRejects(() => client.put("x".repeat(500)), RangeError);
  engine.bound = 0;
  await assertRejects(() => client.put("a"));
  await queue.close();
  await assertRejects(() => client.receive());
  assertEquals(
    tracer.spans.map(({ name, status, attributes }) => [
      ...[name, status?.code, attributes["error.type"]],
    ]),
    [
      ["send jobs", SpanStatusCode.ERROR, "RangeError"],
      ["send jobs", SpanStatusCode.ERROR, "QueueFullError"],
      ["receive jobs", SpanStatusCode.ERROR, "QueueClosedError"],
    ],
  );
  assertEquals(
    meter.recorded.map(({ attributes }) => attributes["error.type"]),
    ["RangeError", "QueueFullError", "QueueClosedError"],
  );
});

test("tracing: consume() works over client() as over the queue itself", async () => {
  const { tracer, traces, open } = bench();
  const queue = open();
  const client = traces.client(queue);
  await client.putMany(["a", "b", "c"]);
  const seen: string[] = [];
  const controller = new AbortController();
  const report = await consume(
    client,
    traces.restoreAround((item: string) => {
      seen.push(item);
      if (item === "b") throw new Error("no");
      if (item === "c") controller.abort();
    }),
    {
      signal: controller.signal,
      retry: { attempts: 1 },
      concurrency: 1,
      onUndelivered: () => {},
    },
  );
  assertEquals(seen, ["a", "b", "c"]);
  assertEquals(report.processed, 2);
  await client.close();
  const [send] = tracer.spans;
  const processing = tracer.spans.filter(({ name }) =>
    name.startsWith("process")
  );
  assertEquals(
    processing.map(({ parent, status }) => [parent, status?.code]),
    [[send!.id, undefined], [send!.id, SpanStatusCode.ERROR], [
      send!.id,
      undefined,
    ]],
  );
});

test("tracing: client() refuses what is no queue on an engine", () => {
  const { traces, open } = bench();
  assertThrows(
    () => traces.client({} as never),
    TypeError,
    "queue.receiveMany",
  );
  assertThrows(
    () => traces.client(open(), { adress: "x" } as never),
    TypeError,
    'did you mean "address"?',
  );
});
