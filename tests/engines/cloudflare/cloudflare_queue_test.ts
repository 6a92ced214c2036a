import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import {
  consume,
  Queue,
  QueueClosedError,
  QueueFullError,
} from "../../../mod.ts";
import { unrecoverable } from "../../../mod.ts";
import {
  bytes,
  type CloudflareDeadLetter,
  CloudflareQueue,
  type CloudflareQueueOptions,
  type ContentType,
  json,
  queueHandler,
  type QueueHandlerOptions,
} from "../../../src/cloudflare.ts";
import type { ConsumeContext, ConsumeReport } from "../../../mod.ts";
import { BatchSource } from "../../../src/engines/cloudflare/batch.ts";
import { answers, FakeBinding, FakeMessage } from "../../support/cloudflare.ts";
import { printedBy } from "../../support/printed.ts";
import { test } from "../../support/harness.ts";
import { parameters, turn } from "../../support/properties.ts";
import { SteppedClock } from "../../support/stepped_clock.ts";
import { watched } from "../../support/waiting.ts";
import { upTo } from "../../support/items.ts";

const TOO_FAST = "Queue sendBatch failed: Too Many Requests (10250)";

function open<T>(
  options: CloudflareQueueOptions<T> = {},
): { binding: FakeBinding; queue: CloudflareQueue<T>; clock: SteppedClock } {
  const binding = new FakeBinding();
  const clock = new SteppedClock();
  const queue = new CloudflareQueue<T>(binding, { clock, ...options });
  return { binding, queue, clock };
}

/** Lets requests through one by one. */
function gate(binding: FakeBinding): () => Promise<void> {
  const waiting: (() => void)[] = [];
  binding.before = () => new Promise((resolve) => waiting.push(resolve));
  return async () => {
    waiting.shift()!();
    await turn();
  };
}

// -- Putting --------------------------------------------------------------------

test("CloudflareQueue: an item goes as the JSON it was when it was put", async () => {
  const { binding, queue } = open<{ page: string; old?: unknown }>();
  const item = { page: "/", old: undefined };
  const put = queue.put(item);
  item.page = "/changed";
  await put;
  assertEquals(binding.requests, [[{
    body: { page: "/" },
    contentType: "json",
  }]]);
});

/** A binding that knows what is sent over it. */
interface Narrow<Body> {
  send(body: Body, options?: { contentType?: ContentType }): Promise<void>;
  sendBatch(
    messages: Iterable<{ body: Body; contentType?: ContentType }>,
  ): Promise<void>;
}

test("CloudflareQueue: a binding that is typed by what is sent over it will do", async () => {
  const binding = new FakeBinding();
  const narrow: Narrow<string> = {
    send: (body) => binding.send(body, { contentType: "json" }),
    sendBatch: (messages) => binding.sendBatch(messages),
  };
  await new CloudflareQueue<string>(narrow).putMany(["a", "b"]);
  await push([new FakeMessage("c", 5)], () => Promise.reject("no"), {
    deadLetter: narrow,
  });
  assertEquals(binding.bodies.length, 3);
});

test("CloudflareQueue: with a codec items go as bytes", async () => {
  const { binding, queue } = open({ codec: json<string>() });
  await queue.put("ä");
  assertEquals(binding.requests, [[{
    body: new Uint8Array([34, 195, 164, 34]),
    contentType: "bytes",
  }]]);
});

test("CloudflareQueue: undefined is an item with a codec, and refused without one", async () => {
  const { binding, queue } = open<unknown>();
  await assertRejects(
    () => queue.put(undefined),
    TypeError,
    "Cannot encode: item must be a value that JSON can hold (codec: json() carries it as bytes), received undefined",
  );
  assertEquals(binding.requests, []);
  const coded = open<unknown>({ codec: json() });
  await coded.queue.put(undefined);
  assertEquals(coded.binding.requests, [[{
    body: new TextEncoder().encode("undefined"),
    contentType: "bytes",
  }]]);
});

test("CloudflareQueue: what is put in one turn goes together, in its order, and what comes meanwhile is the next batch", async () => {
  const { binding, queue } = open<number>();
  const pass = gate(binding);
  const puts = [queue.put(1), queue.put(2), queue.put(3)];
  await turn();
  puts.push(queue.put(4), queue.put(5));
  await turn();
  assertEquals(queue.waitingPuts, 5);
  await pass();
  await pass();
  await Promise.all(puts);
  assertEquals(queue.waitingPuts, 0);
  assertEquals(
    binding.requests.map((request) => request.map(({ body }) => body)),
    [[1, 2, 3], [4, 5]],
  );
});

test("CloudflareQueue: a batch has at most 100 messages", async () => {
  const { binding, queue } = open<number>();
  const items = upTo(250);
  await queue.putMany(items);
  assertEquals(binding.requests.map(({ length }) => length), [100, 100, 50]);
  assertEquals(binding.bodies, items);
});

test("CloudflareQueue: a batch has at most 256 kB, what Cloudflare adds included", async () => {
  const { binding, queue } = open<string>();
  const items = Array.from({ length: 20 }, (_, index) => `${index}`)
    .map((text) => text.padEnd(50_000, "."));
  await queue.putMany(items);
  assertEquals(binding.bodies, items);
  for (const request of binding.requests) {
    const total = request.reduce(
      (sum, { body }) => sum + JSON.stringify(body).length + 100,
      0,
    );
    assert(total <= 256_000, `received ${total}`);
  }
  assertEquals(binding.requests.length, 5);
});

test("CloudflareQueue: an item that is too large is refused before it is sent, and both sizes are said", async () => {
  const { binding, queue } = open<string>();
  const error = await assertRejects(
    () => queue.put("x".repeat(127_899)),
    RangeError,
    "at most 127900 bytes",
  );
  assert(error.message.includes("received 127901"), error.message);
  await assertRejects(() => queue.putMany(["a", "ä".repeat(64_000)]));
  await queue.put("y".repeat(127_898));
  assertEquals(binding.bodies.map((body) => `${body}`.length), [1, 127_898]);
});

test("CloudflareQueue: what JSON has no word for is refused", async () => {
  const { binding, queue } = open<unknown>();
  await assertRejects(() => queue.put(undefined), TypeError, "Cannot encode");
  await queue.put(null);
  assertEquals(binding.bodies, [null]);
});

test("CloudflareQueue: a queue that takes nothing for now is waited for, later and later", async () => {
  const { binding, queue, clock } = open<number>();
  binding.failures = [
    new Error(TOO_FAST),
    new Error("Queue sendBatch failed: Storage Limit Exceeded"),
  ];
  const put = watched(queue.putMany([1, 2, 3]));
  await clock.pass(0);
  assertEquals(clock.nextAt, 200);
  await clock.pass(200);
  assertEquals(clock.nextAt, 600);
  assertEquals([put.state, binding.bodies], ["pending", []]);
  await clock.pass(400);
  assertEquals([put.state, binding.bodies], ["fulfilled", [1, 2, 3]]);
  binding.failures = [new Error(TOO_FAST)];
  const next = watched(queue.put(4));
  await clock.pass(200);
  assertEquals([next.state, binding.bodies], ["fulfilled", [1, 2, 3, 4]]);
  assertEquals(clock.pending, 0);
});

test("CloudflareQueue: overflow: reject tells that it takes nothing for now, with the item", async () => {
  const { binding, queue } = open<number>({ overflow: "reject" });
  binding.failures = [new Error(TOO_FAST)];
  const error = await assertRejects(() => queue.put(7), QueueFullError);
  assertEquals(error.item, 7);
  await queue.put(8);
  assertEquals(binding.bodies, [8]);
});

test("CloudflareQueue: another failure rejects what was on its way, and only that", async () => {
  const errors: unknown[] = [];
  const { binding, queue } = open<number>({ onError: (e) => errors.push(e) });
  const failure = new Error(
    "Queue send failed: Unknown Internal Error (15000)",
  );
  binding.failures = [failure];
  const put = queue.put(1);
  const later = turn().then(() => queue.put(2));
  const thrown = await assertRejects(() => put);
  assertStrictEquals(thrown, failure);
  await later;
  assertEquals([binding.bodies, errors], [[2], [failure]]);
});

test("CloudflareQueue: offline: wait tries again, but not what can never be sent", async () => {
  const { binding, queue, clock } = open<number>({ offline: "wait" });
  binding.failures = [new Error("Queue send failed: Unknown (15000)")];
  const put = watched(queue.put(1));
  await clock.pass(0);
  assertEquals([put.state, clock.pending], ["pending", 1]);
  await clock.pass(100);
  assertEquals([put.state, binding.bodies], ["fulfilled", [1]]);
  const refusals = [
    new Error("Queue send failed: Payload Too Large"),
    new Error("Queue send failed: QueueNotFound (10104)"),
    new Error("Queue send failed: Free tier limit exceeded (10253)"),
    new DOMException("It could not be cloned", "DataCloneError"),
    new TypeError("Message body cannot be undefined"),
  ];
  for (const refusal of refusals) {
    binding.failures = [refusal];
    assertStrictEquals(
      await assertRejects(() => queue.put(2)) as unknown,
      refusal,
    );
  }
  assertEquals(clock.pending, 0);
});

test("CloudflareQueue: streams wait while as many puts as highWaterMark have no answer", async () => {
  const { binding, queue } = open<number>({ highWaterMark: 2 });
  const pass = gate(binding);
  const writer = queue.writable.getWriter();
  assertStrictEquals(queue.writable, queue.writable);
  assertEquals(writer.desiredSize, 2);
  await writer.write(1);
  await writer.write(2);
  const third = watched(writer.write(3));
  const ready = watched(writer.ready);
  await turn();
  assertEquals([writer.desiredSize, third.state, ready.state], [
    -1,
    "pending",
    "pending",
  ]);
  await pass();
  assertEquals([third.state, ready.state], ["fulfilled", "pending"]);
  const closed = watched(writer.close());
  await turn();
  assertEquals([closed.state, binding.bodies], ["pending", [1]]);
  await pass();
  assertEquals(ready.state, "fulfilled");
  assertEquals([closed.state, binding.bodies], ["fulfilled", [1, 2, 3]]);
});

test("CloudflareQueue: putMany takes from its source no faster than Cloudflare takes from it", async () => {
  const { binding, queue } = open<number>({ highWaterMark: 10 });
  const pass = gate(binding);
  let taken = 0;
  function* numbers(): Generator<number> {
    while (taken < 100) yield taken++;
  }
  const all = watched(queue.putMany(numbers()));
  for (let answered = 0; answered <= 90; answered += 10) {
    await turn();
    assert(taken <= answered + 11, `received ${taken} after ${answered}`);
    await pass();
  }
  await turn();
  assertEquals(all.state, "fulfilled");
  assertEquals(binding.bodies.length, 100);
});

test("CloudflareQueue: any number of streams put; one that cannot be sent ends its stream, not the others", async () => {
  const { binding, queue } = open<unknown>();
  const one = queue.producer();
  const other = queue.producer();
  const good = ReadableStream.from([1, 2, 3]).pipeTo(one);
  const bad = ReadableStream.from([4, undefined, 5]).pipeTo(other);
  await assertRejects(() => bad, TypeError, "Cannot encode");
  await good;
  assertEquals(binding.bodies.sort(), [1, 2, 3, 4]);
  await queue.put(6);
  assert(binding.bodies.includes(6));
});

test("CloudflareQueue: a put that has not begun is given up by its signal, one on its way has its answer", async () => {
  const { binding, queue } = open<number>();
  const pass = gate(binding);
  const controller = new AbortController();
  const { signal } = controller;
  const begun = watched(queue.put(1, { signal }));
  await turn();
  const waiting = queue.put(2, { signal });
  const other = queue.put(3);
  controller.abort("enough");
  assertEquals(await waiting.catch((reason) => reason), "enough");
  assertEquals(begun.state, "pending");
  await pass();
  assertEquals(begun.state, "fulfilled");
  await pass();
  await other;
  assertEquals(binding.bodies, [1, 3]);
  const never = queue.put(4, { signal });
  assertEquals(await never.catch((reason) => reason), "enough");
});

test("CloudflareQueue: close() waits for what is on its way and takes nothing more", async () => {
  const { binding, queue } = open<number>();
  const pass = gate(binding);
  const put = queue.put(1);
  const closing = watched(queue.close());
  const error = await assertRejects(() => queue.put(2), QueueClosedError);
  assertEquals(error.item, 2);
  await turn();
  assertEquals(closing.state, "pending");
  await pass();
  await put;
  await queue.closed;
  assertEquals([closing.state, binding.bodies], ["fulfilled", [1]]);
  await queue.close();
});

test("CloudflareQueue: the signal of close() gives up what has no answer", async () => {
  const { binding, queue, clock } = open<number>();
  binding.failures = [new Error(TOO_FAST)];
  const put = queue.put(1);
  await clock.pass(0);
  await queue.close({ signal: AbortSignal.abort("over") });
  assertEquals(await put.catch((reason) => reason), "over");
  await turn();
  assertEquals([binding.bodies, clock.pending], [[], 0]);
});

test("CloudflareQueue: the signal of close() may abort later, or not at all", async () => {
  for (const aborts of [true, false]) {
    const { binding, queue } = open<number>();
    const pass = gate(binding);
    const put = watched(queue.put(1));
    const controller = new AbortController();
    const closing = watched(queue.close({ signal: controller.signal }));
    await turn();
    assertEquals([put.state, closing.state], ["pending", "pending"]);
    if (aborts) controller.abort();
    else await pass();
    await queue.closed;
    assertEquals(put.state, aborts ? "rejected" : "fulfilled");
  }
});

test("CloudflareQueue: await using sends all", async () => {
  const binding = new FakeBinding();
  let put: Promise<void>;
  {
    await using queue = new CloudflareQueue<number>(binding);
    put = queue.put(1);
  }
  assertEquals(binding.bodies, [1]);
  await put;
});

test("CloudflareQueue: what cannot be used is named", () => {
  const binding = new FakeBinding();
  assertThrows(
    () => new CloudflareQueue(undefined as never),
    TypeError,
    "binding must be a Queue that the Worker is bound to, received undefined",
  );
  const wrong: [unknown, string][] = [
    [{ highWaterMark: 0 }, "highWaterMark"],
    [{ overflow: "drop" }, "overflow"],
    [{ offline: 1 }, "offline"],
    [{ codec: {} }, "codec.encode"],
    [{ onError: 1 }, "onError"],
    [{ clock: {} }, "clock"],
    [null, "options"],
  ];
  for (const [options, name] of wrong) {
    const error = assertThrows(
      () => new CloudflareQueue(binding, options as never),
    ) as Error;
    assert(
      error.message.includes(`Cannot open a queue of Cloudflare: ${name}`),
    );
  }
});

test("BatchSource: its deliveries are held until they are answered for, and go back with their block", async () => {
  const messages = [new FakeMessage("a"), new FakeMessage("b")];
  const source = new BatchSource<string>({ queue: "q", messages }, {
    clock: new SteppedClock(),
    codec: undefined,
    attempts: 5,
    deadLetter: undefined,
    onError() {},
  });
  {
    await using delivery = await source.receive();
    assertEquals([delivery.item.item, delivery.extend(1)], ["a", true]);
    assertThrows(() => delivery.extend(-1), RangeError);
    assertThrows(() => delivery.nack({ delay: NaN }), RangeError);
  }
  const other = await source.receive();
  assertEquals([other.ack(), other.ack(), other.nack()], [true, false, false]);
  assertEquals([other.extend(1), await other.bury!()], [false, false]);
  assertEquals(other.signal.aborted, false);
  source.returnRest();
  assertEquals(answers(messages), ["retry", "ack"]);
  await assertRejects(() => source.receive(), QueueClosedError);
});

// -- Working --------------------------------------------------------------------

/** What Cloudflare does, with no bindings. */
async function push<T>(
  messages: FakeMessage[],
  handler: (item: T, context: ConsumeContext) => unknown,
  options: QueueHandlerOptions<T> & { batch?: undefined } = {},
): Promise<string[]> {
  const clock = options.clock === undefined ? {} : { clock: options.clock };
  await queueHandler(handler, { ...options, ...clock })(
    { queue: "pages", messages },
    undefined,
  );
  return answers(messages);
}

const NO_JITTER = { delay: 1000, jitter: 0 };

test("queueHandler: one failure stops nobody, and each message has its own answer", async () => {
  const messages = ["a", "b", "c"].map((body) => new FakeMessage(body));
  const seen: unknown[] = [];
  const said = await push<string>(messages, (item, { attempt, age }) => {
    assert(age! >= 0 && age! < 60_000);
    seen.push([item, attempt]);
    if (item === "b") throw new Error("no");
  }, { retry: NO_JITTER });
  assertEquals(said, ["ack", "retry in 1 s", "ack"]);
  assertEquals(seen, [["a", 1], ["b", 1], ["c", 1]]);
});

test("queueHandler: the delay grows with the attempts, in whole seconds, up to a day", async () => {
  const messages = [1, 2, 3, 10].map((attempt) =>
    new FakeMessage(attempt, attempt)
  );
  const fail = (): never => {
    throw new Error("no");
  };
  assertEquals(
    await push(messages, fail, {
      retry: { ...NO_JITTER, delay: 1500, attempts: 99, maxDelay: 1e12 },
    }),
    ["retry in 2 s", "retry in 3 s", "retry in 6 s", "retry in 768 s"],
  );
  assertEquals(
    await push([new FakeMessage(1)], fail, {
      retry: { delay: 1e9, jitter: 0, maxDelay: 1e9 },
    }),
    ["retry in 86400 s"],
  );
  assertEquals(
    await push([new FakeMessage(1)], fail, { retry: { delay: 0 } }),
    ["retry in 0 s"],
  );
});

test("queueHandler: what failed as often as allowed goes to another queue, with the reason", async () => {
  const binding = new FakeBinding();
  const [good, bad] = [new FakeMessage("good", 3), new FakeMessage("bad", 3)];
  const said = await push<string>([bad, good], (item) => {
    if (item === "bad") throw new RangeError("no such page");
  }, { retry: { attempts: 3 }, deadLetter: binding });
  assertEquals(said, ["ack", "ack"]);
  assertEquals(binding.requests, [[{
    body: {
      queue: "pages",
      id: bad.id,
      body: "bad",
      attempts: 3,
      enqueuedAt: bad.timestamp.getTime(),
      reason: "failed",
      error: "RangeError: no such page",
    },
    contentType: "json",
  }]]);
});

test("queueHandler: a function gets the letter and the error, and is waited for before the message is done", async () => {
  const message = new FakeMessage("bad", 5);
  const failure = new Error("no");
  const got: unknown[] = [];
  await push<string>([message], () => Promise.reject(failure), {
    async deadLetter(letter, error) {
      await turn();
      got.push(letter.reason, error === failure, ...message.said);
    },
  });
  assertEquals([got, message.said], [["failed", true], ["ack"]]);
});

test("queueHandler: an error that would come again is not tried again", async () => {
  const letters: CloudflareDeadLetter[] = [];
  const messages = ["unrecoverable", "when", "else"]
    .map((body) => new FakeMessage(body));
  const said = await push<string>(messages, (item) => {
    const error = new Error(item);
    throw item === "unrecoverable" ? unrecoverable(error) : error;
  }, {
    retry: {
      ...NO_JITTER,
      when: (error) => (error as Error).message !== "when",
    },
    deadLetter: (letter) => letters.push(letter),
  });
  assertEquals(said, ["ack", "ack", "retry in 1 s"]);
  assertEquals(
    letters.map(({ body, reason, attempts }) => [body, reason, attempts]),
    [["unrecoverable", "rejected", 1], ["when", "rejected", 1]],
  );
});

test("queueHandler: a message that was delivered too often without an answer is not tried again", async () => {
  const letters: CloudflareDeadLetter[] = [];
  const messages = [new FakeMessage("fine", 3), new FakeMessage("poison", 4)];
  const seen: string[] = [];
  const said = await push<string>(messages, (item) => void seen.push(item), {
    retry: { attempts: 3 },
    deadLetter: (letter) => letters.push(letter),
  });
  assertEquals([said, seen], [["ack", "ack"], ["fine"]]);
  const [{ reason, attempts, error }] = letters as [CloudflareDeadLetter];
  assertEquals([reason, attempts], ["deliveries", 4]);
  assertEquals(
    error,
    "Error: The message was delivered 4 times, and has 3 attempts",
  );
});

test("queueHandler: what cannot be decoded fails by itself, and ends as a dead letter with its body", async () => {
  const binding = new FakeBinding();
  const messages = [
    new FakeMessage(new Uint8Array([123]), 1),
    new FakeMessage("{}", 1),
    new FakeMessage(new Uint8Array([123, 125]).buffer, 1),
    new FakeMessage("{", 2),
    new FakeMessage(new Uint8Array([123]), 2),
    new FakeMessage({ not: "bytes" }, 2),
  ];
  const seen: unknown[] = [];
  const said = await push<object>(messages, (item) => void seen.push(item), {
    codec: json(),
    retry: { ...NO_JITTER, attempts: 2 },
    deadLetter: binding,
  });
  assertEquals(said, ["retry in 1 s", "ack", "ack", "ack", "ack", "ack"]);
  assertEquals(seen, [{}, {}]);
  assertEquals(
    binding.requests.flat().map(({ body, contentType }) => {
      const { reason, body: sent } = body as CloudflareDeadLetter;
      return [reason, sent, contentType];
    }),
    [
      ["undecodable", "{", "json"],
      ["undecodable", new Uint8Array([123]), "v8"],
      ["undecodable", { not: "bytes" }, "json"],
    ],
  );
  assertEquals(
    (binding.bodies[2] as CloudflareDeadLetter).error,
    "TypeError: Cannot decode: the body must be bytes or text, received an object of Object",
  );
});

test("queueHandler: a body that throws when it is looked at fails by itself", async () => {
  const messages = [new FakeMessage(0, 1), new FakeMessage("b", 1)];
  Object.defineProperty(messages[0], "body", {
    get() {
      throw new SyntaxError("no JSON");
    },
  });
  await push(messages, () => {}, { retry: NO_JITTER }).catch(() => {});
  assertEquals(messages.map(({ said }) => said), [["retry in 1 s"], ["ack"]]);
});

test("queueHandler: bytes are items as they are with a codec that says so", async () => {
  const seen: Uint8Array[] = [];
  await push<Uint8Array>(
    [new FakeMessage(new Uint8Array([1, 2]).buffer)],
    (item) => void seen.push(item),
    { codec: bytes() },
  );
  assertEquals(seen, [new Uint8Array([1, 2])]);
});

test("queueHandler: a body that JSON would change goes to the dead letters as it is", async () => {
  const bodies: unknown[] = [
    new Date(0),
    new Map([[1, 2]]),
    { deep: [1n] },
    [NaN],
    undefined,
    { a: undefined },
    // deno-lint-ignore no-sparse-arrays
    [1, , 2],
    -0,
  ];
  for (const body of bodies) {
    const binding = new FakeBinding();
    await push([new FakeMessage(body, 5)], () => Promise.reject("no"), {
      deadLetter: binding,
    });
    assertEquals(binding.requests[0]![0]!.contentType, "v8");
    assertStrictEquals((binding.bodies[0] as CloudflareDeadLetter).body, body);
  }
  const binding = new FakeBinding();
  const plain = { a: [1, "b", null, true], __proto__: null };
  await push([new FakeMessage(plain, 5)], () => Promise.reject("no"), {
    deadLetter: binding,
  });
  assertEquals(binding.requests[0]![0]!.contentType, "json");
});

test("queueHandler: the words of a dead letter leave room for its body", async () => {
  const letters: CloudflareDeadLetter[] = [];
  const hostile = {
    toString(): string {
      throw new Error("no words");
    },
  };
  for (const error of [new Error("x".repeat(1e5)), hostile, undefined]) {
    await push([new FakeMessage("a", 5)], () => {
      throw error;
    }, { deadLetter: (letter) => letters.push(letter) });
  }
  assertEquals(letters.map(({ error }) => error.slice(0, 10)), [
    "Error: xxx",
    "[object Ob",
    "undefined",
  ]);
  assertEquals(letters[0]!.error.length, 1000);
});

test("queueHandler: without a deadLetter, what failed for good is left to Cloudflare", async () => {
  const messages = [
    new FakeMessage("a", 5),
    new FakeMessage("b", 9),
    new FakeMessage("c", 1),
  ];
  const seen: string[] = [];
  let report: ConsumeReport | undefined;
  const said = await push<string>(messages, (item) => {
    seen.push(item);
    throw item === "c" ? unrecoverable(new Error("c")) : new Error(item);
  }, { onReport: (given) => report = given });
  assertEquals([said, seen], [["retry", "retry", "retry"], ["a", "b", "c"]]);
  assertEquals([report!.lost, report!.failed], [3, 0]);
});

test("queueHandler: a dead letter that does not arrive is delivered again", async () => {
  const errors: unknown[] = [];
  const binding = new FakeBinding();
  const failure = new Error("Queue send failed: Too Many Requests");
  binding.failures = [failure];
  const messages = [new FakeMessage("a", 5), new FakeMessage("b", 6)];
  const said = await push(messages, () => Promise.reject(new Error("no")), {
    deadLetter: binding,
    onError: (error) => errors.push(error),
  });
  assertEquals([said, errors], [["retry", "ack"], [failure]]);
  assertEquals(
    (binding.bodies as CloudflareDeadLetter[]).map(({ body }) => body),
    ["b"],
  );
});

test("queueHandler: a delay that Cloudflare refuses is none, and no answer to an ack() is a retry", async () => {
  class Picky extends FakeMessage {
    override ack(): void {
      throw new Error("No ack");
    }
    override retry(options?: { delaySeconds?: number }): void {
      if (options !== undefined) throw new Error("Too long");
      super.retry();
    }
  }
  const messages = [new Picky("good"), new Picky("bad"), new FakeMessage("c")];
  const said = await push<string>(messages, (item) => {
    if (item === "bad") throw new Error("no");
  });
  assertEquals(said, ["retry", "retry", "ack"]);
});

test("queueHandler: as many calls as told run at a time", async () => {
  for (const concurrency of [1, 3, 10, Infinity]) {
    let running = 0;
    let most = 0;
    const messages = Array.from({ length: 10 }, (_, n) => new FakeMessage(n));
    await push(messages, async () => {
      most = Math.max(most, ++running);
      await turn();
      running--;
    }, { concurrency });
    assertEquals(most, Math.min(concurrency, 10));
  }
});

test("queueHandler: items of one key are worked on in their order, and tried again on the spot", async () => {
  const clock = new SteppedClock();
  const messages = ["a1", "b1", "a2", "b2"].map((body) =>
    new FakeMessage(body)
  );
  const log: string[] = [];
  const letters: CloudflareDeadLetter[] = [];
  const pushing = push<string>(messages, (item, { attempt }) => {
    log.push(`${item} ${attempt}`);
    if (item === "a1" || (item === "b1" && attempt === 1)) throw new Error();
  }, {
    clock,
    concurrency: 4,
    keyOf: (item) => item[0],
    retry: { ...NO_JITTER, attempts: 3 },
    deadLetter: (letter) => letters.push(letter),
  });
  await clock.pass(10_000);
  assertEquals(await pushing, ["ack", "ack", "ack", "ack"]);
  const of = (key: string): string[] =>
    log.filter((entry) => entry.startsWith(key));
  assertEquals(of("a"), ["a1 1", "a1 2", "a1 3", "a2 1"]);
  assertEquals(of("b"), ["b1 1", "b1 2", "b2 1"]);
  assertEquals(letters.map(({ attempts, reason }) => [attempts, reason]), [
    [3, "failed"],
  ]);
  assertEquals(clock.pending, 0);
});

test("queueHandler: a keyOf that throws fails its item alone, and what cannot be decoded has no key", async () => {
  const letters: CloudflareDeadLetter[] = [];
  const messages = ['"a"', '"bad"', "{", '"b"'].map((body) =>
    new FakeMessage(body, 5)
  );
  const said = await push<string>(messages, () => {}, {
    codec: json(),
    concurrency: 2,
    keyOf(item) {
      if (item === "bad") throw new Error("no key");
      return 1;
    },
    deadLetter: (letter) => letters.push(letter),
  });
  assertEquals(said, ["ack", "ack", "ack", "ack"]);
  assertEquals(
    letters.map(({ body, reason }) => `${body} ${reason}`).sort(),
    ['"bad" failed', "{ undecodable"],
  );
});

test("queueHandler: an attempt that takes too long is aborted, and one that does not listen holds up nobody", async () => {
  const clock = new SteppedClock();
  const overruns: unknown[] = [];
  const messages = ["listens", "deaf", "quick"].map((body) =>
    new FakeMessage(body)
  );
  let end!: () => void;
  const pushing = push<string>(messages, (item, { signal }) => {
    if (item === "quick") return;
    return new Promise<void>((resolve, reject) => {
      if (item === "deaf") end = resolve;
      else signal.addEventListener("abort", () => reject(signal.reason));
    });
  }, {
    clock,
    timeout: 100,
    grace: 50,
    retry: NO_JITTER,
    concurrency: 2,
    onOverrun: (item, attempt) => overruns.push([item, attempt]),
  });
  await clock.pass(1000);
  assertEquals(await pushing, ["retry in 1 s", "retry in 1 s", "ack"]);
  assertEquals(overruns, [["deaf", 1]]);
  end();
  await turn();
  assertEquals(messages[1]!.said, ["retry in 1 s"]);
});

test("queueHandler: when the batch takes too long, what is not done is delivered again", async () => {
  const clock = new SteppedClock();
  const messages = ["a", "b", "c", "d"].map((body) => new FakeMessage(body));
  const reasons: unknown[] = [];
  const pushing = push<string>(messages, (item, { signal }) => {
    if (item === "a") return;
    return new Promise<void>((_, reject) =>
      signal.addEventListener("abort", () => {
        reasons.push(signal.reason.name);
        reject(signal.reason);
      })
    );
  }, { clock, concurrency: 2, maxDuration: 5_000 });
  await clock.pass(5_000);
  assertEquals(await pushing, ["ack", "retry", "retry", "retry"]);
  assertEquals([reasons, clock.pending], [[
    "TimeoutError",
    "TimeoutError",
  ], 0]);
});

test("queueHandler: 14 minutes are the limit unless told", async () => {
  const clock = new SteppedClock();
  const messages = [new FakeMessage("a")];
  const pushing = push(messages, () => new Promise(() => {}), { clock });
  await turn();
  assertEquals(clock.nextAt, 14 * 60_000);
  await clock.pass(14 * 60_000 + 1_000);
  assertEquals(await pushing, ["retry"]);
});

test("queueHandler: its signal stops the batch", async () => {
  const controller = new AbortController();
  const messages = ["a", "b", "c"].map((body) => new FakeMessage(body));
  let report: ConsumeReport | undefined;
  const said = await push<string>(messages, (item) => {
    if (item === "b") controller.abort("enough");
  }, { signal: controller.signal, onReport: (given) => report = given });
  assertEquals([said[0], said[2]], ["ack", "retry"]);
  assertEquals(report!.stopped, true);
  const none = [new FakeMessage("a")];
  assertEquals(
    await push(none, () => {}, { signal: controller.signal }),
    ["retry"],
  );
});

test("queueHandler: a dead letter on its way when the batch is stopped may arrive twice, and is never lost", async () => {
  const clock = new SteppedClock();
  const message = new FakeMessage("a", 5);
  let arrive!: () => void;
  const pushing = push([message], () => Promise.reject(new Error("no")), {
    clock,
    maxDuration: 1_000,
    deadLetter: () => new Promise<void>((resolve) => arrive = resolve),
  });
  await clock.pass(2_000);
  assertEquals(await pushing, ["retry"]);
  arrive();
  await turn();
  assertEquals(message.said, ["retry"]);
});

test("queueHandler: in arrays, with those that cannot be decoded beside", async () => {
  const letters: CloudflareDeadLetter[] = [];
  const texts = ["1", "{", "2", "3", "}", "4"];
  const messages = texts.map((text) => new FakeMessage(text, 5));
  const batches: number[][] = [];
  await queueHandler((items: number[]) => {
    batches.push(items);
    return Promise.allSettled(
      items.map((item) => item === 2 ? Promise.reject("two") : item),
    );
  }, {
    codec: json(),
    batch: { max: 5 },
    deadLetter: (letter) => letters.push(letter),
  })({ queue: "numbers", messages }, undefined);
  assertEquals(answers(messages), Array(6).fill("ack"));
  assertEquals(batches, [[1, 2, 3], [4]]);
  assertEquals(
    letters.map(({ body, reason, error }) => [body, reason, error]),
    [
      ["{", "undecodable", letters[0]!.error],
      ["2", "failed", "two"],
      ["}", "undecodable", letters[2]!.error],
    ],
  );
});

test("queueHandler: an array that fails as a whole, one of which nothing can be decoded, and one with too few results", async () => {
  const run = async (
    texts: string[],
    handler: (items: number[]) => unknown,
  ): Promise<string[]> => {
    const messages = texts.map((text) => new FakeMessage(text));
    await queueHandler(handler, {
      codec: json(),
      batch: { max: 10 },
      retry: NO_JITTER,
    })({ queue: "numbers", messages }, undefined);
    return answers(messages);
  };
  const again = "retry in 1 s";
  assertEquals(await run(["1", "{", "2"], () => Promise.reject("no")), [
    again,
    again,
    again,
  ]);
  let calls = 0;
  assertEquals(await run(["{", "}"], () => ++calls), [again, again]);
  assertEquals(calls, 0);
  assertEquals(await run(["1", "{", "2"], () => undefined), [
    "ack",
    again,
    "ack",
  ]);
  assertEquals(
    await run(["1", "{", "2"], () => [{ status: "rejected", reason: 1 }]),
    [again, again, again],
  );
});

test("queueHandler: the options may be made of the bindings, for each batch", async () => {
  interface Environment {
    DEAD: FakeBinding;
  }
  const queue = queueHandler(
    (_item: string) => Promise.reject(new Error("no")),
    (environment: Environment) => ({ deadLetter: environment.DEAD }),
  );
  const [one, two] = [new FakeBinding(), new FakeBinding()];
  for (const DEAD of [one, two, two]) {
    const messages = [new FakeMessage("a", 5)];
    await queue({ queue: "q", messages }, { DEAD }, {});
    assertEquals(answers(messages), ["ack"]);
  }
  assertEquals([one.bodies.length, two.bodies.length], [1, 2]);
  const message = new FakeMessage("a");
  const DEAD = "no binding" as unknown as FakeBinding;
  await assertRejects(
    () => queue({ queue: "q", messages: [message] }, { DEAD }),
    TypeError,
    "deadLetter must be a function, or a Queue",
  );
  const broken = queueHandler(() => {}, () => {
    throw new Error("no such binding");
  });
  await assertRejects(
    () => broken({ queue: "q", messages: [message] }, undefined),
    Error,
    "no such binding",
  );
  assertEquals(message.said, []);
});

test("queueHandler: what cannot be used is named before any message comes", () => {
  assertThrows(
    () => queueHandler("no" as never),
    TypeError,
    "Cannot handle a queue of Cloudflare: handler must be a function",
  );
  const wrong: [object | null, string][] = [
    [null, "options"],
    [{ concurrency: 0 }, "concurrency"],
    [{ timeout: -1 }, "timeout"],
    [{ grace: NaN }, "grace"],
    [{ retry: { attempts: 0 } }, "retry.attempts"],
    [{ retry: 3 }, "retry"],
    [{ maxDuration: 0 }, "maxDuration"],
    [{ maxDuration: Infinity }, "maxDuration"],
    [{ deadLetter: {} }, "deadLetter"],
    [{ codec: { encode() {} } }, "codec.decode"],
    [{ keyOf: 1 }, "keyOf"],
    [{ readAhead: 0 }, "readAhead"],
    [{ batch: { max: 0 } }, "batch.max"],
    [{ batch: { max: 1 }, keyOf: () => 1 }, "batch and keyOf"],
    [{ onOverrun: 1 }, "onOverrun"],
    [{ onError: 1 }, "onError"],
    [{ onReport: 1 }, "onReport"],
    [{ signal: 1 }, "signal"],
    [{ clock: 1 }, "clock"],
    [{ random: 1 }, "random"],
  ];
  for (const [options, name] of wrong) {
    const error = assertThrows(
      () => queueHandler(() => {}, options as never),
    ) as Error;
    assert(error.message.includes(name), `${name}: ${error.message}`);
  }
});

test("queueHandler: what its callbacks throw is their own affair", async () => {
  const message = new FakeMessage("a", 5);
  const { error } = console;
  const printed: unknown[] = [];
  console.error = (...words: unknown[]) => void printed.push(words[0]);
  const loud = (): never => {
    throw new Error("loud");
  };
  try {
    await push([message], () => Promise.reject(new Error("no")), {
      deadLetter: loud,
      onError: loud,
      onReport: loud,
    });
    await push([new FakeMessage("b", 5)], () => Promise.reject("no"), {
      deadLetter: loud,
    });
  } finally {
    console.error = error;
  }
  assertEquals(message.said, ["retry"]);
  assertEquals(printed, [
    "onError of a queue handler failed",
    "onReport of a queue handler failed",
    "A dead letter could not be sent",
  ]);
});

test("queueHandler: what fails for good without a deadLetter is told, or printed once", async () => {
  const told: unknown[] = [];
  const fail = (item: string): never => {
    throw new Error(item);
  };
  const messages = (): FakeMessage[] => [
    new FakeMessage("a", 5),
    new FakeMessage("b", 5),
  ];
  const printed = await printedBy(async () => {
    assertEquals(await push(messages(), fail), ["retry", "retry"]);
    await push(messages(), fail, {
      onError: (error) => told.push((error as Error).message),
    });
  });
  assertEquals(told, ["a", "b"]);
  assertEquals(printed.map(([, error]) => (error as Error).message), ["a"]);
});

test("queueHandler: the same handler works on a Queue and on messages", async () => {
  const done: string[] = [];
  async function handler(
    item: string,
    { signal, attempt }: ConsumeContext,
  ): Promise<void> {
    await turn();
    signal.throwIfAborted();
    done.push(`${item} ${attempt}`);
  }
  const queue = new Queue<string>();
  await queue.putMany(["a", "b"]);
  queue.close();
  await consume(queue, handler, { timeout: 1000 });
  await push([new FakeMessage("a"), new FakeMessage("b")], handler, {
    timeout: 1000,
  });
  assertEquals(done, ["a 1", "b 1", "a 1", "b 1"]);
});

test("queueHandler: whatever happens, each message is answered for once, and done only when its item is", async () => {
  const fate = fc.constantFrom(
    "good",
    "slow",
    "throws",
    "unrecoverable",
    "undecodable",
    "hangs",
    "stops",
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ fate, attempts: fc.integer({ min: 1, max: 4 }) }), {
        maxLength: 12,
      }),
      fc.record({
        concurrency: fc.integer({ min: 1, max: 4 }),
        keyed: fc.boolean(),
        deadLetter: fc.constantFrom("none", "works", "fails", "slow"),
        timeout: fc.constantFrom(undefined, 5),
      }),
      async (fates, { concurrency, keyed, deadLetter, timeout }) => {
        const clock = new SteppedClock();
        const controller = new AbortController();
        const done = new Set<string>();
        const messages = fates.map(({ fate, attempts }, index) =>
          new FakeMessage(
            fate === "undecodable" ? "{" : JSON.stringify(`${fate} ${index}`),
            attempts,
          )
        );
        async function handler(
          item: string,
          { signal }: ConsumeContext,
        ): Promise<void> {
          const [fate] = item.split(" ");
          if (fate === "throws") throw new Error("no");
          if (fate === "unrecoverable") throw unrecoverable(new Error("no"));
          if (fate === "hangs") {
            await new Promise((_, reject) =>
              signal.addEventListener("abort", () => reject(signal.reason))
            );
          }
          if (fate === "slow") await turn();
          if (fate === "stops") controller.abort("stop");
          done.add(JSON.stringify(item));
        }
        const target = async (letter: CloudflareDeadLetter): Promise<void> => {
          if (deadLetter === "slow") await turn();
          if (deadLetter === "fails") throw new Error("full");
          done.add(letter.id);
        };
        const pushing = queueHandler(handler, {
          codec: json<string>(),
          clock,
          concurrency,
          timeout,
          retry: { attempts: 3, delay: 10 },
          maxDuration: 1_000,
          signal: controller.signal,
          onError: () => {},
          ...(keyed ? { keyOf: (item: string) => item.length % 2 } : {}),
          ...(deadLetter === "none" ? {} : { deadLetter: target }),
        })({ queue: "q", messages }, undefined);
        await clock.pass(3_000);
        await pushing;
        answers(messages).forEach((answer, index) => {
          const { body, id } = messages[index]!;
          const isDone = done.has(body as string) || done.has(id);
          if (answer === "ack") assert(isDone, `${body} was lost`);
        });
        assertEquals(clock.pending, 0);
      },
    ),
    parameters(150),
  );
});
