import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import fc from "fast-check";
import { Queue } from "../../../mod.ts";
import { assertInvariants } from "../../../src/queue.ts";
import {
  connect,
  PortClosedError,
  type PortOptions,
  type PortQueue,
  serve,
  type ServedQueue,
} from "../../../src/threads.ts";
import { packReason } from "../../../src/threads/failure.ts";
import { runtime, test } from "../../support/harness.ts";
import { printedBy } from "../../support/printed.ts";
import { parameters, turn } from "../../support/properties.ts";
import { RawPort } from "../../support/raw_port.ts";
import { ignore, reasonOf } from "../../support/waiting.ts";
import { upTo } from "../../support/items.ts";

const SESSION = "raw";

/** A queue that is served to the test, which has said hello. */
function serving(
  items: number,
  options: PortOptions<unknown> = {},
): {
  queue: Queue<unknown>;
  port: RawPort;
  served: ServedQueue;
  errors: unknown[];
} {
  const queue = new Queue<unknown>({ highWaterMark: items + 4 });
  for (let item = 0; item < items; item++) assert(queue.tryPut(item));
  const port = new RawPort("serving");
  const errors: unknown[] = [];
  const served = serve(queue, port, {
    onUndelivered: () => {},
    onError: (error) => errors.push(error),
    ...options,
  });
  port.say(SESSION, [["hello"]]);
  return { queue, port, served, errors };
}

/** A queue of the test, to which somebody has connected. */
async function connecting(): Promise<
  {
    there: PortQueue<unknown>;
    port: RawPort;
    session: string;
    errors: unknown[];
  }
> {
  const port = new RawPort("connected");
  const errors: unknown[] = [];
  const there = connect<unknown>(port, {
    onUndelivered: () => {},
    onError: (error) => errors.push(error),
  });
  const { session } = port.said[0]!;
  port.say(session, [["welcome", false, false]]);
  await turn();
  return { there, port, session, errors };
}

// -- What the connected side may say ------------------------------------------------

const CIRCLE: unknown[] = [];
CIRCLE.push(CIRCLE);
const HOLES: unknown[] = [];
// Bun takes its time to clone what is not there.
HOLES.length = runtime === "bun" ? 2 ** 16 : 2 ** 32 - 1;

const MALFORMED: readonly unknown[] = [
  ...[null, undefined, 1, "ask", {}, [], [null], [["ask", 1]], ["unknown"]],
  ...[["toString"], ["constructor"], ["__proto__"], CIRCLE, HOLES],
];

const BAD_NUMBERS: readonly unknown[] = [
  ...[undefined, null, -1, 1.5, NaN, Infinity, -Infinity, 2 ** 53, "1", {}],
  ...[[1], true],
];

const BAD_REASONS: readonly unknown[] = [
  ...[null, 1, "text", {}, { kind: "other" }, { kind: "error" }, []],
  ...[{ ...errorPacked(), errors: HOLES }, { ...errorPacked(), cause: 1 }],
];

const FROM_CLIENT: readonly unknown[] = [
  ...MALFORMED,
  ...BAD_NUMBERS.flatMap((number) => [
    ...[["ask", number], ["taken", number], ["lost", number]],
    ...[["cancel", number], ["puts", number, [1]], ["back", number, 1, []]],
    ...[["back", 0, number, []], ["producer", number, "collect"]],
    ...[["producer done", number], ["producer failed", number, errorPacked()]],
  ]),
  ...BAD_REASONS.flatMap((reason) => [
    ...[["fail", reason], ["abort", reason], ["goodbye", reason]],
    ["producer failed", 1, reason],
  ]),
  ...[["ask", 1, 2], ["taken", 1], ["lost", 0], ["back", 0, 1, []]],
  ...[["back", 0, 1, null], ["back", 0, 1, [1]], ["puts", 1, null]],
  ...[["puts", 1, []], ["puts", 1, "ab"], ["puts", 1, HOLES], ["hello"]],
  ...[["puts", 1, Array(100_000).fill(0)], ["producer", 1, "never"]],
  ...[["welcome", true, true], ["items", [1]], ["credit", 1], ["bye"]],
  ...[["ping"], ["pong"], ["close", 1], ["want", 1]],
];

function errorPacked(): object {
  return packReason(new Error("packed"));
}

test(`port: each of ${FROM_CLIENT.length} frames that no client may say disconnects it, and costs no item`, async () => {
  for (const frame of FROM_CLIENT) {
    const { queue, port, served, errors } = serving(3);
    const label = String(JSON.stringify(short(frame)));
    port.say(SESSION, [["want"], frame, ["puts", 1, ["after"]]]);
    await turn();
    assertEquals([served.connected, errors.length], [false, 1], label);
    assertInstanceOf(errors[0], PortClosedError);
    assertEquals(port.framesOf("gone").length, 1, label);
    assertEquals(queue.clear(), [0, 1, 2], label);
    // The port is as good as before to who speaks well.
    port.say("another", [["hello"], ["ask", 1]]);
    await turn();
    assert(served.connected, label);
    await served.stop();
    assertInvariants(queue);
  }
});

test("port: puts without a credit are not held, with one they are accepted", async () => {
  const { queue, port, served, errors } = serving(0);
  await turn();
  const [[, credits]] = port.framesOf("credit") as [[string, number]];
  const items = upTo(credits);
  port.say(SESSION, [["puts", 1, items]]);
  assertEquals([queue.length, errors.length], [credits, 0]);
  port.say(SESSION, [["puts", credits + 1, ["one too many"]]]);
  assertEquals([served.connected, errors.length], [false, 1]);
  assertEquals(queue.clear(), items);
});

test("port: who asks for everything is lent a portion, and the next when it has taken that", async () => {
  const { queue, port, served } = serving(10_000);
  port.say(SESSION, [["ask", Number.MAX_SAFE_INTEGER]]);
  await turn();
  const lent = (): number =>
    port.framesOf("items").reduce(
      (sum, [, items]) => sum + (items as unknown[]).length,
      0,
    );
  assertEquals([lent(), queue.length], [4096, 10_000 - 4096]);
  port.say(SESSION, [["taken", 4096]]);
  await turn();
  assertEquals(lent(), 8192);
  await served.stop();
  assertEquals(queue.length, 10_000 - 4096);
});

test("port: messages that are not counted disconnect, here and there", async () => {
  for (
    const more of [{ heard: Infinity }, { heard: 7 }, { serial: -1 }, {
      serial: NaN,
    }, { heard: "1" }]
  ) {
    const { port, served, errors } = serving(1);
    await turn();
    port.say(SESSION, [["want"]], more);
    assertEquals([served.connected, errors.length], [false, 1]);
    const { port: other, there, session } = await connecting();
    other.say(session, [["credit", 1]], more);
    assertInstanceOf(await reasonOf(there.closed), PortClosedError);
  }
});

test("port: what was said first over there holds: closed rejects though close() was called here", async () => {
  const { there, port, session } = await connecting();
  const reason = new Error("failed over there");
  there.close();
  port.say(session, [["closing", packReason(reason)], [
    "errored",
    packReason(reason),
    true,
  ]]);
  assertEquals(
    ((await reasonOf(there.closed)) as Error).message,
    reason.message,
  );
  assertEquals([there.stats().state, there.desiredSize], ["errored", null]);
});

test("port: what was said first over there holds: closed fulfils though fail() was called here", async () => {
  const { there, port, session } = await connecting();
  there.fail(new Error("too late"));
  port.say(session, [["closing", undefined], ["ended"]]);
  await there.closed;
});

test("port: what breaks the protocol is printed where nobody wants to learn of it", async () => {
  const printed = await printedBy(() => {
    const { port } = serving(1, { onError: undefined });
    port.say(SESSION, [null]);
  });
  assertEquals(printed.length, 1);
  assertInstanceOf(printed[0]![1], PortClosedError);
});

test("port: messages that are no envelopes are somebody else's", async () => {
  const { queue, port, served, errors } = serving(2);
  const mine = { highwater: 1, channel: "", to: "serving", session: SESSION };
  for (
    const message of [
      ...[null, undefined, 0, "text", [], {}, CIRCLE, HOLES],
      ...[{ ...mine, frames: null }, { ...mine, frames: {} }],
      ...[{ ...mine, session: 1, frames: [["abort"]] }],
      ...[{ ...mine, to: "connected", frames: [["abort"]] }],
      ...[{ ...mine, channel: "other", frames: [["abort"]] }],
    ]
  ) port.raw(message);
  await turn();
  assertEquals([served.connected, errors.length], [true, 0]);
  assertEquals(queue.clear(), [0, 1]);
});

// -- What the serving side may say --------------------------------------------------

const FROM_SERVER: readonly unknown[] = [
  ...MALFORMED,
  ...BAD_NUMBERS.flatMap((number) => [
    ...[["credit", number], ["accepted", number, 1], ["accepted", 1, number]],
    ["refused", number, errorPacked()],
  ]),
  ...BAD_REASONS.flatMap((reason) => [
    ...[["refused", 1, reason], ["closing", reason], ["gone", reason]],
    ["errored", reason, false],
  ]),
  ...[["items", null], ["items", []], ["items", "ab"], ["items", HOLES]],
  ...[["items", Array(10_000).fill(0)], ["accepted", 1, 1e15], ["bye"]],
  ...[["accepted", 3, 1], ["accepted", 1, 3], ["refused", 1], [
    "refused",
    9,
    errorPacked(),
  ]],
  ...[["closing", "own"], ["errored", "own", false], ["errored"]],
  ...[["welcome", false, false], ["ask", 1], ["puts", 1, [1]], ["hello"]],
  ...[["ended", 1], ["here", 1], ["ping"], ["pong"]],
];

test(`port: each of ${FROM_SERVER.length} frames that no server may say ends the connection, and nothing hangs`, async () => {
  for (const frame of FROM_SERVER) {
    const { there, port, session, errors } = await connecting();
    const label = String(JSON.stringify(short(frame)));
    port.say(session, [["credit", 1]]);
    const put = reasonOf(there.put("under way"));
    const get = reasonOf(there.get());
    const waits = reasonOf(there.put("waits"));
    await turn();
    port.say(session, [["credit", 1], frame, ["items", ["after"]]]);
    await turn();
    for (const ended of [put, get, waits, reasonOf(there.closed)]) {
      assertInstanceOf(await ended, PortClosedError, label);
    }
    assertEquals(errors.length, 1, label);
    assertEquals(port.framesOf("goodbye").length, 1, label);
    await there.disconnect();
  }
});

test("port: nothing comes before the welcome", async () => {
  const port = new RawPort("connected");
  const there = connect<number>(port);
  const { session } = port.said[0]!;
  port.say(session, [["items", [1]]]);
  assertInstanceOf(await reasonOf(there.get()), PortClosedError);
});

test("port: nothing ends while items of it are here", async () => {
  const { there, port, session } = await connecting();
  const get = there.get();
  await turn();
  port.say(session, [["items", [1, 2]], ["ended"]]);
  assertEquals(await get, 1);
  const error = await reasonOf(there.closed);
  assertInstanceOf(error, PortClosedError);
  assert(error.message.includes("all items are taken"), error.message);
  await there.disconnect();
});

test("port: each side tells the other which rule it broke", async () => {
  const { there, port, session, errors } = await connecting();
  const reason = packReason(new Error("puts must be numbered"));
  port.say(session, [["gone", reason]]);
  const error = await reasonOf(there.closed) as PortClosedError;
  assertEquals((error.cause as Error).message, "puts must be numbered");
  assertEquals(errors.length, 1);
  const { port: other, served, errors: here, queue } = serving(2);
  other.say(SESSION, [["ask", 2]]);
  await turn();
  other.say(SESSION, [["goodbye", reason]]);
  assertEquals([served.connected, here.length], [false, 1]);
  assertEquals(queue.clear(), [0, 1]);
});

// -- Anything, in any order ------------------------------------------------------------

const number = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 6 }) },
  { weight: 1, arbitrary: fc.constantFrom(...BAD_NUMBERS) },
);
const reason = fc.oneof(
  { weight: 3, arbitrary: fc.constant<unknown>(errorPacked()) },
  { weight: 1, arbitrary: fc.constantFrom(...BAD_REASONS, "own", undefined) },
);
const items = fc.oneof(
  { weight: 4, arbitrary: fc.array(fc.integer(), { maxLength: 4 }) },
  { weight: 1, arbitrary: fc.anything() },
);
const nonsense = fc.oneof(
  fc.anything(),
  fc.array(fc.anything()),
  fc.constantFrom(...MALFORMED),
);

const clientFrame = fc.oneof(
  { weight: 1, arbitrary: nonsense },
  {
    weight: 12,
    arbitrary: fc.oneof(
      fc.tuple(fc.constantFrom("ask", "taken", "lost", "cancel"), number),
      fc.tuple(fc.constantFrom("producer done"), number),
      fc.tuple(fc.constant("back"), number, number, fc.constant([])),
      fc.tuple(fc.constant("puts"), number, items),
      fc.tuple(
        fc.constant("producer"),
        number,
        fc.constantFrom("collect", "abort", "ignore", "?"),
      ),
      fc.tuple(fc.constant("producer failed"), number, reason),
      fc.tuple(fc.constantFrom("fail", "abort"), reason),
      fc.constantFrom(["want"], ["close"], ["goodbye"], ["hello"]),
    ),
  },
);

const serverFrame = fc.oneof(
  { weight: 1, arbitrary: nonsense },
  {
    weight: 12,
    arbitrary: fc.oneof(
      fc.tuple(fc.constant("items"), items),
      fc.tuple(fc.constant("credit"), number),
      fc.tuple(fc.constant("accepted"), number, number),
      fc.tuple(fc.constant("refused"), number, reason),
      fc.tuple(fc.constant("closing"), reason),
      fc.tuple(fc.constant("errored"), reason, fc.constantFrom(true, false, 1)),
      fc.constantFrom(["ended"], ["bye"], ["here"], ["welcome", true, true]),
    ),
  },
);

const counted = fc.record({
  serial: fc.oneof(fc.constant(0), number),
  heard: fc.oneof(fc.constant(0), number),
}, { requiredKeys: [] });

test("port: whatever a client says, no item is lost or doubled, and the next is served", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.array(clientFrame, { maxLength: 4 }), counted), {
        maxLength: 8,
      }),
      async (messages) => {
        const undelivered: unknown[] = [];
        const queue = new Queue<unknown>({
          highWaterMark: 16,
          onUndelivered: (item) => undelivered.push(item),
        });
        for (let item = 0; item < 8; item++) queue.tryPut(`item ${item}`);
        const port = new RawPort("serving");
        const served = serve(queue, port, {
          onUndelivered: () => {},
          onError: () => {},
          highWaterMark: 4,
        });
        port.say(SESSION, [["hello"]]);
        let taken = 0;
        for (const [frames, more] of messages) {
          await turn();
          port.say(SESSION, frames, more);
          taken = queue.stats().taken;
        }
        await turn();
        await served.stop();
        await turn();
        assertInvariants(queue);
        const left = queue.clear();
        const mine = [...left, ...undelivered].filter((item) =>
          String(item).startsWith("item ")
        );
        assertEquals(new Set(mine).size, mine.length, "none is doubled");
        assert(
          mine.length + Math.max(taken, queue.stats().taken) >= 8,
          "none is lost",
        );
        if (queue.stats().state !== "open") return;
        const again = new RawPort("serving");
        const other = serve(queue, again, { onError: () => {} });
        again.say("next", [["hello"], ["ask", 1]]);
        assert(queue.tryPut("for the next"));
        await turn();
        assertEquals(again.framesOf("items"), [["items", ["for the next"]]]);
        await other.stop();
      },
    ),
    parameters(400),
  );
});

test("port: whatever a server says, everything that waits there ends with the port", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.array(serverFrame, { maxLength: 4 }), counted), {
        maxLength: 8,
      }),
      async (messages) => {
        const { there, port, session } = await connecting();
        const waiting: Promise<unknown>[] = [];
        for (const [frames, more] of messages) {
          waiting.push(
            there.put(1).then(ignore, ignore),
            there.get().then(ignore, ignore),
          );
          waiting.push(
            there.getMany(2).then(ignore, ignore),
            there.ready.then(ignore, ignore),
          );
          await turn();
          port.say(session, frames, more);
          await turn();
          there.tryGet();
        }
        port.close();
        await Promise.all(waiting);
        await there.closed.then(ignore, ignore);
        await there.disconnect();
      },
    ),
    parameters(300),
  );
});

function short(frame: unknown): unknown {
  if (frame === CIRCLE) return "circle";
  return JSON.parse(
    JSON.stringify(
      frame,
      (_key, value) =>
        Array.isArray(value) && value.length > 20 ? "long" : value,
    ) ?? "null",
  );
}
