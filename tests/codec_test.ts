import {
  assert,
  assertEquals,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import * as cloudflare from "../src/cloudflare.ts";
import { type Codec, payloadOf } from "../src/codec.ts";
import { EngineHandle } from "../src/engines/core/handle.ts";
import * as nats from "../src/nats.ts";
import * as redis from "../src/redis.ts";
import * as threads from "../src/threads.ts";
import { bytes, json, SharedQueue, structured } from "../src/threads.ts";
import { test } from "./support/harness.ts";
import { MemoryEngine } from "./support/memory_engine.ts";
import { parameters } from "./support/properties.ts";
import { SteppedClock } from "./support/stepped_clock.ts";

class Job {
  readonly page = "/";
}

/** What JSON makes something else of, and what the refusal calls it. */
const CHANGED: readonly [unknown, string][] = [
  [{ tags: new Map([[1, 2]]) }, "item.tags"],
  [{ tags: new Set([1]) }, "item.tags"],
  [{ rate: NaN }, "item.rate"],
  [[1, [2, -Infinity]], "item[1][1]"],
  [{ body: new Uint8Array([1]) }, "item.body"],
  [{ "a b": [{ when: new Date(0) }] }, 'item["a b"][0].when'],
  [new Date(0), "item"],
  [new Map(), "item"],
  [new Job(), "item"],
  [new Error("no"), "item"],
  [Promise.resolve(), "item"],
  [Object(1), "item"],
  [NaN, "item"],
  [[undefined], "item[0]"],
  [new Array(1), "item[0]"],
  [{ run() {} }, "item.run"],
  [{ name: Symbol("name") }, "item.name"],
  [{ toJSON: () => "else" }, "item.toJSON"],
];

/** What arrives as it was put. */
const CARRIED: readonly unknown[] = [
  ...[undefined, null, true, "", "x\ud800", "\ufeff😀", [], {}, [[null]]],
  ...[0, -0, -1.5, 1e300, 5e-324, 2 ** 53],
  { a: { b: [1, "2", false, null] } },
];

const DEEP: readonly unknown[] = [
  ...[0n, NaN, -Infinity, new Date(5), /x/g, new Map([["a", new Set([1, 2])]])],
  { deep: [{ er: "ü€😀" }], none: undefined },
  new Float64Array([1.5, -2]),
  { at: new Uint8Array([1, 2, 3]).subarray(1), of: new ArrayBuffer(3) },
  "x".repeat(100_000),
];

/** One codec under test. */
interface Kind {
  make(): Codec<never>;
  readonly items: fc.Arbitrary<unknown>;
  readonly samples: readonly unknown[];
  /** With what the refusal begins. */
  readonly refused: readonly [unknown, string][];
}

const REFUSED: readonly [unknown, string][] = [
  [late, "Cannot encode: item must be a value that JSON can hold, received f"],
  [Symbol("s"), "Cannot encode: item must be a value that JSON can hold, rec"],
];

const jsonItems = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  // Within an item JSON has no -0.
  fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value))),
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.constant(undefined),
);

const byteItems = fc.uint8Array({ maxLength: 300 });

const NO_BYTES: readonly [unknown, string][] = [
  ["text", 'Cannot encode: item must be a Uint8Array, received "text"'],
  [[1], "Cannot encode: item must be a Uint8Array, received an array"],
  [undefined, "Cannot encode: item must be a Uint8Array, received undefined"],
];

/** Every codec that there is, and one that says no more than it must. */
const KINDS: Record<string, Kind> = {
  "json()": {
    make: () => json(),
    items: jsonItems,
    samples: CARRIED,
    refused: [
      ...REFUSED,
      ...CHANGED.map(([item, path]): [unknown, string] => [
        item,
        `Cannot encode: ${path} must be what JSON carries unchanged`,
      ]),
    ],
  },
  "json({ lossy: true })": {
    make: () => json({ lossy: true }),
    items: jsonItems,
    samples: CARRIED,
    refused: REFUSED,
  },
  "bytes()": {
    make: () => bytes() as Codec<never>,
    items: byteItems,
    samples: [],
    refused: NO_BYTES,
  },
  "bytes({ pooled: true })": {
    make: () => bytes({ pooled: true }) as Codec<never>,
    items: byteItems,
    samples: [],
    refused: NO_BYTES,
  },
  "structured()": {
    make: () => structured(),
    items: fc.anything({
      maxDepth: 3,
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
    }),
    samples: [...CARRIED, ...DEEP],
    refused: [],
  },
  "one of encode() and decode()": {
    make: () => words() as Codec<never>,
    items: fc.string({ unit: "binary" }),
    samples: [],
    refused: [],
  },
};

function words(): Codec<string> {
  return {
    encode: (item) => item,
    decode: (from) => new TextDecoder().decode(from),
  };
}

function late(): never {
  return Promise.reject(new Error("late")) as never;
}

/** The item of the bytes, which are lent: a part of something larger, gone after the call. */
function arriving(codec: Codec<never>, payload: Uint8Array): unknown {
  const whole = new Uint8Array(payload.length + 8).fill(0xa5);
  const lent = whole.subarray(3, 3 + payload.length);
  lent.set(payload);
  const item: unknown = codec.decode(lent);
  whole.fill(0x5a);
  return item;
}

/** What `encodeInto` writes, called again as a queue does; what is behind it stays. */
function written(codec: Codec<never>, item: unknown, room: number): Uint8Array {
  for (;;) {
    const whole = new Uint8Array(room + 4).fill(0xa5);
    const length = codec.encodeInto!(item as never, whole.subarray(0, room));
    assertEquals(whole.subarray(room), new Uint8Array(4).fill(0xa5));
    assertEquals(Number.isSafeInteger(length) && length >= 0, true);
    if (length <= room) return whole.subarray(0, length);
    room = length;
  }
}

function assertSame(actual: unknown, expected: unknown): void {
  if (typeof expected === "number") return assertSameNumber(actual, expected);
  assertEquals(actual, expected);
}

function assertSameNumber(actual: unknown, expected: number): void {
  assert(Object.is(actual, expected), `${actual} for ${expected}`);
}

function checkRoads(make: () => Codec<never>, item: unknown): void {
  const codec = make();
  const other = make();
  assertSame(arriving(other, payloadOf(codec, item as never)), item);
  if (codec.encodeInto === undefined) return;
  for (const room of [0, 3, 64, 1000]) {
    assertSame(arriving(other, written(codec, item, room)), item);
  }
}

for (const [name, { make, items, samples, refused }] of Object.entries(KINDS)) {
  test(`codecs: ${name}: an item arrives as it was, by encode() and encodeInto(), out of bytes that are only lent`, () => {
    for (const item of samples) checkRoads(make, item);
    fc.assert(
      fc.property(items, (item) => checkRoads(make, item)),
      parameters(200),
    );
  });

  test(`codecs: ${name}: crosses a SharedQueue alone and in batches, and an engine`, async () => {
    const property = fc.asyncProperty(
      fc.array(items, { maxLength: 8 }),
      (items) => checkQueues(make, [...samples, ...items]),
    );
    await fc.assert(property, parameters(20));
  });

  test(`codecs: ${name}: both roads refuse the same with the same words, and nothing is stored`, async () => {
    const queue = new SharedQueue<unknown>({ codec: make() as Codec<unknown> });
    for (const [item, message] of refused) {
      const codec = make();
      const one = assertThrows(() => codec.encode(item as never), TypeError);
      const target = new Uint8Array(1000);
      const two = assertThrows(
        () => codec.encodeInto!(item as never, target),
        TypeError,
      );
      assertStringIncludes((one as Error).message, message);
      assertEquals((two as Error).message, (one as Error).message);
      await assertRejects(() => queue.put(item), TypeError, message);
    }
    assertEquals(queue.length, 0);
    queue.detach();
  });
}

async function checkQueues(
  make: () => Codec<never>,
  items: readonly unknown[],
): Promise<void> {
  const here = new SharedQueue<never>({ codec: make() });
  const there = SharedQueue.attach<never>(here.handle, { codec: make() });
  try {
    for (const item of items) {
      await here.put(item as never);
      assertSame(await there.get(), item);
    }
    await here.putMany(items as never[]);
    if (items.length > 0) {
      assertEquals(await there.getMany(items.length), items);
    }
    assertEquals(there.length, 0);
  } finally {
    here.detach();
    there.detach();
  }
  const clock = new SteppedClock();
  const engine = new MemoryEngine(clock);
  engine.maxPayload = 1_000_000;
  const queue = engineWith(make(), clock, engine);
  await queue.putMany(items as never[]);
  for (const item of items) {
    const delivery = await queue.receive();
    assertSame(delivery.item, item);
    await delivery.ack();
  }
  await queue.close();
}

function engineWith<T>(
  codec: Codec<T>,
  clock: SteppedClock = new SteppedClock(),
  engine: MemoryEngine = new MemoryEngine(clock),
): EngineHandle<T, never> {
  const options = { clock, codec };
  return new EngineHandle("jobs", engine.connect() as never, options);
}

test("codecs: those of threads and engines are the same", () => {
  for (const  of of[redis, nats]) {
    assertStrictEquals(of.json, threads.json);
    assertStrictEquals(of.bytes, threads.bytes);
    assertStrictEquals(of.structured, threads.structured);
  }
  assertStrictEquals(cloudflare.json, threads.json);
  assertStrictEquals(cloudflare.bytes, threads.bytes);
});

test("codecs: json is text for whoever reads the engine", () => {
  const codec = json<unknown>();
  const texts: [unknown, string][] = [
    [1.5, "1.5"],
    [-0, "-0"],
    ["é", '"é"'],
    [{ a: [1, null], b: undefined }, '{"a":[1,null]}'],
    [undefined, "undefined"],
  ];
  for (const [item, text] of texts) assertEquals(codec.encode(item), text);
});

test("codecs: json leaves out parts that are undefined, and reads no bytes but its own", () => {
  const codec = json<unknown>();
  const read = (...payload: number[]): unknown =>
    codec.decode(new Uint8Array(payload));
  assertEquals(codec.encode({ a: undefined, b: 1 }), '{"b":1}');
  for (const payload of [[], [1], [1, 2, 3, 4, 5, 6, 7, 8], [34, 0xff, 34]]) {
    assertThrows(() => read(...payload));
  }
});

test("codecs: a circle and a bigint are refused by JSON itself", () => {
  const circle: unknown[] = [];
  circle.push(circle);
  for (const item of [circle, { a: 1n }]) {
    const target = new Uint8Array(100);
    assertThrows(() => json().encode(item), TypeError);
    assertThrows(() => json().encodeInto!(item, target), TypeError);
  }
});

test("codecs: json that is lossy makes of an item what JSON does", () => {
  const make = (): Codec<never> => json({ lossy: true });
  for (const [item] of CHANGED) {
    const expected = JSON.parse(JSON.stringify(item));
    assertEquals(arriving(make(), payloadOf(make(), item as never)), expected);
    assertEquals(arriving(make(), written(make(), item, 8)), expected);
  }
});

test("codecs: their options are checked", () => {
  const wrong: [() => unknown, string][] = [
    [
      () => json({ lossy: 1 as never }),
      "Cannot make the codec: lossy must be a boolean, received 1",
    ],
    [
      () => bytes({ pooled: "a" as never }),
      'Cannot make the codec: pooled must be a boolean, received "a"',
    ],
    [() => json({ loosy: true } as never), 'did you mean "lossy"'],
  ];
  for (const [make, message] of wrong) assertThrows(make, TypeError, message);
});

test("codecs: bytes are the caller's again once they are put, on an engine too", async () => {
  const queue = engineWith(bytes());
  const chunk = new Uint8Array([1, 2, 3]);
  const put = queue.put(chunk);
  chunk.fill(0);
  await put;
  const delivery = await queue.receive();
  assertEquals(delivery.item, new Uint8Array([1, 2, 3]));
  assertEquals(delivery.item.buffer.byteLength, 3);
  await delivery.ack();
  await queue.close();
});

test("codecs: of structured() circles, errors and typed arrays arrive, and what cannot be cloned is refused", () => {
  interface Circle {
    self?: Circle;
  }
  const make = (): Codec<never> => structured();
  const carry = (item: unknown): unknown =>
    arriving(make(), payloadOf(make(), item as never));
  const circle: Circle = {};
  circle.self = circle;
  const round = carry(circle) as Circle;
  assertStrictEquals(round.self, round);
  assertNotStrictEquals(round, circle);
  const error = carry(new RangeError("far")) as Error;
  assertEquals([error instanceof RangeError, error.message], [true, "far"]);
  assertThrows(() => carry(() => {}), Error);
  assertThrows(
    () => make().decode(new Uint8Array()),
    TypeError,
    "Cannot decode: bytes must be a structured clone, received none",
  );
  assertThrows(() => make().decode(new Uint8Array([123, 125])), Error);
});

test("codecs: one that gives no bytes is refused by threads and engines alike", async () => {
  const wrong: [unknown, string][] = [
    [8, "received 8"],
    [undefined, "received undefined"],
    [[1], "received an array"],
    [new Uint8Array(1).buffer, "received an object of ArrayBuffer"],
  ];
  for (const [encoded, end] of wrong) {
    const message =
      `Cannot put: codec.encode(item) must be a Uint8Array or a string, ${end}`;
    const codec = { encode: () => encoded as never, decode: () => 1 };
    const queue = new SharedQueue<number>({ codec });
    await assertRejects(() => queue.put(1), TypeError, message);
    assertEquals(queue.length, 0);
    queue.detach();
    const engine = engineWith(codec);
    await assertRejects(() => engine.put(1), TypeError, message);
    await engine.close();
  }
});

test("codecs: encodeInto() that returns no number of bytes is refused, and nothing is stored", async () => {
  for (const length of [-1, 1.5, NaN, Infinity, "8", undefined]) {
    const queue = new SharedQueue<number>({
      bytes: 2 ** 16,
      codec: {
        encode: () => "",
        decode: () => 1,
        encodeInto: () => length as number,
      },
    });
    await assertRejects(
      () => queue.put(1),
      RangeError,
      "Cannot put: codec.encodeInto(item, target) must be a whole number of 0 or more, received",
    );
    await assertRejects(() => queue.putMany([1, 2]), RangeError);
    assertEquals([queue.length, queue.stats().used], [0, 0]);
    queue.detach();
  }
});

test("codecs: without encodeInto() an item may be of any length up to the ring", async () => {
  const queue = new SharedQueue<string>({ bytes: 4096, codec: words() });
  for (const length of [0, 1, 1000, 2000, 4092]) {
    const item = "x".repeat(length);
    assert(queue.tryPut(item));
    assertEquals(queue.tryGet(), item);
  }
  const error = await assertRejects(
    () => queue.put("é".repeat(2047)),
    RangeError,
  );
  assertStringIncludes(error.message, "the 4092 bytes");
  assertStringIncludes(error.message, "one of 4094 bytes");
  queue.detach();
});

test("codecs: threads and engines check what they are given", () => {
  const wrong: [unknown, string][] = [
    [null, "codec.encode must be a function, received undefined"],
    [{ encode() {} }, "codec.decode must be a function, received undefined"],
    [
      { encode() {}, decode() {}, encodeInto: 1 },
      "codec.encodeInto must be a function, received 1",
    ],
  ];
  for (const [codec, message] of wrong) {
    const given = codec as Codec<number>;
    assertThrows(() => new SharedQueue({ codec: given }), TypeError, message);
    assertThrows(() => engineWith(given), TypeError, message);
  }
});
