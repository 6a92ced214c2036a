import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { QueueClosedError } from "../../../mod.ts";
import {
  type AttachOptions,
  bytes,
  type Codec,
  json,
  SharedQueue,
  type SharedQueueHandle,
  type SharedQueueOptions,
} from "../../../src/threads.ts";
import { poll } from "../../../src/threads/shared/wait_async.ts";
import {
  Header,
  memberAt,
  MEMBERS,
  Slot,
} from "../../../src/threads/shared/layout.ts";
import { dieBefore } from "../../support/dying.ts";
import { test } from "../../support/harness.ts";
import { parameters } from "../../support/properties.ts";
import { pause, reasonOf } from "../../support/waiting.ts";
import { upTo } from "../../support/items.ts";

/** Two handles on one queue, as two threads have them. */
async function between<T>(
  options: SharedQueueOptions<T>,
  run: (here: SharedQueue<T>, there: SharedQueue<T>) => unknown,
  { codec, onUndelivered, onAbandoned }: AttachOptions<T> = options,
): Promise<void> {
  const here = new SharedQueue<T>(options);
  const there = SharedQueue.attach<T>(
    structuredClone(here.handle),
    { codec, onUndelivered, onAbandoned },
  );
  try {
    await run(here, there);
  } finally {
    here.detach();
    there.detach();
  }
}

// -- Between handles -----------------------------------------------------------

test("a get that waits at one handle is woken by a put at another", () =>
  between<string>({}, async (here, there) => {
    const got = there.get();
    await here.put("item");
    assertEquals(await got, "item");
  }));

test("a put that waits at one handle is woken by a get at another", () =>
  between<number>({ highWaterMark: 1 }, async (here, there) => {
    await here.put(1);
    const waiting = here.put(2);
    assertEquals(there.stats().waitingPuts, 1);
    assertEquals(await there.get(), 1);
    await waiting;
    assertEquals(await there.get(), 2);
  }));

test("an item goes to exactly one of the handles that wait", () =>
  between<number>({}, async (here, there) => {
    const gets = upTo(20).map((index) => (index % 2 ? here : there).get());
    await here.putMany(upTo(20));
    const items = await Promise.all(gets);
    assertEquals(items.sort((a, b) => a - b), upTo(20));
  }));

test("what a handle does not take itself is passed on when its waiter is gone", () =>
  between<number>({}, async (here, there) => {
    const third = SharedQueue.attach<number>(here.handle);
    const giveUp = new AbortController();
    const first = there.get({ signal: giveUp.signal });
    const second = third.get();
    // In the same turn: the handle that is rung has nobody left.
    await here.put(1);
    giveUp.abort(new Error("gave up"));
    const outcomes = await Promise.allSettled([first, second]);
    const taken = outcomes.filter(({ status }) => status === "fulfilled");
    if (outcomes[0]!.status === "rejected") assertEquals(taken.length, 1);
    else {
      await here.put(2);
      await second;
    }
    third.detach();
  }));

test("a handle whose gets wait goes on asking when one of them is served or gives up", () =>
  between<number>({}, async (here, there) => {
    const words = new Int32Array(here.handle.buffer);
    const isAsking = (): boolean => Atomics.load(words, Header.WAIT_ITEM) !== 0;
    const giveUp = new AbortController();
    const served = there.get();
    const givenUp = there.get({ signal: giveUp.signal });
    const last = there.get();
    await here.put(1);
    assertEquals(await served, 1);
    assert(isAsking(), "after the first was served");
    giveUp.abort(new Error("gave up"));
    await assertRejects(() => givenUp, Error, "gave up");
    assert(isAsking(), "after the second gave up");
    await here.put(2);
    assertEquals(await last, 2);
    assert(!isAsking(), "nobody waits any more");
  }));

test("close() reaches the other handles after the last item", () =>
  between<number>({}, async (here, there) => {
    await here.putMany([1, 2, 3]);
    here.close();
    const items: number[] = [];
    for await (const item of there) items.push(item);
    assertEquals(items, [1, 2, 3]);
    await Promise.all([here.closed, there.closed]);
    assertEquals(here.stats().state, "closed");
    await assertRejects(() => there.put(4), QueueClosedError);
    await assertRejects(() => there.get(), QueueClosedError);
  }));

test("close() lets in what waits at other handles, and only that", () =>
  between<number>({ highWaterMark: 1 }, async (here, there) => {
    await here.put(1);
    const waiting = there.put(2);
    here.close();
    await assertRejects(() => there.put(3), QueueClosedError);
    assertEquals(await here.getMany(10), [1]);
    await waiting;
    assertEquals(await here.getMany(10), [2]);
    assertEquals(await here.getMany(10), []);
    await Promise.all([here.closed, there.closed]);
  }));

test("a put given up elsewhere lets a closing queue end", () =>
  between<number>({ highWaterMark: 1 }, async (here, there) => {
    await here.put(1);
    const giveUp = new AbortController();
    const waiting = there.put(2, { signal: giveUp.signal });
    here.close();
    assertEquals(await here.get(), 1);
    giveUp.abort(new Error("gave up"));
    // It may have been let in before.
    const { status } = (await Promise.allSettled([waiting]))[0]!;
    if (status === "fulfilled") assertEquals(await here.get(), 2);
    await Promise.all([here.closed, there.closed]);
  }));

test("fail(reason) crosses with class, name, message, stack, cause and code", () =>
  between<number>({}, async (here, there) => {
    const reason = Object.assign(
      new RangeError("source broke", { cause: new Error("below") }),
      { code: "E_SOURCE" },
    );
    await here.put(1);
    here.fail(reason);
    assertEquals(await there.get(), 1);
    const arrived = await reasonOf(there.get()) as RangeError & {
      code: string;
    };
    assertInstanceOf(arrived, RangeError);
    assertEquals(
      [arrived.name, arrived.message, arrived.stack, arrived.code],
      [reason.name, reason.message, reason.stack, reason.code],
    );
    assertEquals((arrived.cause as Error).message, "below");
    assertStrictEquals(await reasonOf(here.closed), reason);
    const refused = await reasonOf(there.put(2));
    assertInstanceOf(refused, QueueClosedError);
    assertEquals(refused.item, 2);
    assertEquals((refused.cause as Error).message, "source broke");
  }));

test("a reason of any kind and length arrives, as much as fits", () => {
  const cases: [unknown, (arrived: unknown) => void][] = [
    ["text", (arrived) => assertEquals(arrived, "text")],
    [undefined, (arrived) => assertInstanceOf(arrived, DOMException)],
    [{ a: [1] }, (arrived) => assertEquals(arrived, { a: [1] })],
    [12n, (arrived) => assertEquals(arrived, "12n")],
    ["é".repeat(20_000), (arrived) => {
      assertMatch(arrived as string, /^é+…$/);
    }],
    [new Error("é".repeat(20_000)), (arrived) => {
      assertInstanceOf(arrived, Error);
      assertMatch((arrived as Error).message, /^é{100,}…$/);
    }],
    [
      new Error("short", {
        cause: Object.assign(new Error("below"), { stack: "x".repeat(9000) }),
      }),
      (arrived) => {
        assertEquals(((arrived as Error).cause as Error).message, "below");
        assert((arrived as Error).stack!.includes("short"));
      },
    ],
    [
      new AggregateError(upTo(500).map((n) => new Error(`number ${n}`)), "all"),
      (arrived) => {
        assertInstanceOf(arrived, AggregateError);
        assertEquals((arrived as Error).message, "all");
      },
    ],
  ];
  return Promise.all(
    cases.map(([reason, check]) =>
      between<number>({}, async (here, there) => {
        here.abort(reason);
        check(await reasonOf(there.get()));
      })
    ),
  ).then(() => {});
});

test("abort() rejects what waits at every handle and reports what is stored once", async () => {
  const left: number[] = [];
  await between<number>({
    highWaterMark: 3,
    onUndelivered: (item) => void left.push(item),
  }, async (here, there) => {
    await here.putMany([1, 2, 3]);
    const waiting = there.put(4);
    const closed = there.closed;
    const reader = there.consumer().getReader();
    here.abort(new Error("stop"));
    for (const promise of [waiting, closed, there.get(), reader.closed]) {
      assertEquals((await reasonOf(promise) as Error).message, "stop");
    }
    assertEquals([left, there.length, there.desiredSize], [[1, 2, 3], 0, null]);
    assertEquals(here.stats().undelivered, 3);
    assertEquals(here.stats().taken, 0);
  });
});

test("abort() cuts a close() short on every handle", () =>
  between<number>({}, async (here, there) => {
    await here.put(1);
    here.close();
    there.abort(new Error("now"));
    assertEquals((await reasonOf(here.closed) as Error).message, "now");
    assertEquals(here.tryGet(), undefined);
  }));

test("detach() settles all that waits here and leaves the queue to the others", () =>
  between<number>({ highWaterMark: 1 }, async (here, there) => {
    await here.put(1);
    const put = there.put(2);
    const ready = there.ready;
    const closed = there.closed;
    const reader = there.consumer().getReader();
    there.detach();
    const error = await assertRejects(() => put, QueueClosedError);
    assertEquals(error.item, 2);
    for (const promise of [ready, closed, reader.closed, there.get()]) {
      assertInstanceOf(await reasonOf(promise), QueueClosedError);
    }
    assertThrows(() => there.tryPut(3), QueueClosedError);
    assertThrows(() => there.getSync(), QueueClosedError);
    assertThrows(() => there.producer(), QueueClosedError);
    assertEquals(there.tryGet(), undefined);
    assertEquals(there.clear(), []);
    there.detach();
    assertEquals(await here.get(), 1);
    assertEquals(here.stats().handles, 1);
    await here.put(5);
    assertEquals(here.tryGet(), 5);
  }));

test("the bound is one for all handles, and may be moved from any", () =>
  between<number>({ highWaterMark: 2 }, async (here, there) => {
    await here.putMany([1, 2]);
    const waiting = here.put(3);
    assertEquals([here.desiredSize, there.desiredSize], [-1, 0]);
    there.highWaterMark = 3;
    await waiting;
    assertEquals([here.highWaterMark, here.length], [3, 3]);
    there.highWaterMark = Infinity;
    assertEquals(here.desiredSize, Infinity);
    assertThrows(() => here.highWaterMark = 0, RangeError);
  }));

test("ready waits for room, in items and in bytes", () =>
  between<string>({ bytes: 32 }, async (here, there) => {
    await here.put("x".repeat(26));
    assert(here.desiredSize! <= 0, `${here.desiredSize}`);
    let isReady = false;
    const ready = here.ready.then(() => isReady = true);
    await pause(5);
    assertEquals(isReady, false);
    await there.get();
    await ready;
    assert(here.desiredSize! > 0);
  }));

test("streams of two handles are the two ends of one pipe", () =>
  between<number>({ highWaterMark: 4 }, async (here, there) => {
    const source = new ReadableStream<number>({
      start(controller) {
        for (const item of upTo(100)) controller.enqueue(item);
        controller.close();
      },
    });
    const items: number[] = [];
    const sink = new WritableStream<number>({
      write: (item) => void items.push(item),
    });
    await Promise.all([
      source.pipeTo(here.writable),
      there.readable.pipeTo(sink),
    ]);
    assertEquals(items, upTo(100));
    await here.closed;
  }));

test("the queue closes with the last producer of any handle", () =>
  between<number>({}, async (here, there) => {
    const first = here.producer().getWriter();
    const second = there.producer().getWriter();
    await first.write(1);
    await first.close();
    assertEquals([here.stats().producers, here.stats().state], [1, "open"]);
    await second.write(2);
    await second.close();
    assertEquals(await here.getMany(10), [1, 2]);
    await there.closed;
    assertThrows(() => here.producer(), QueueClosedError);
  }));

test("producers that fail at several handles are one AggregateError in the end", () =>
  between<number>({}, async (here, there) => {
    const writers = [here, there, here].map((queue) =>
      queue.producer().getWriter()
    );
    await writers[0]!.abort(new RangeError("first"));
    await writers[1]!.abort(new Error("second"));
    await writers[2]!.close();
    const reason = await reasonOf(there.get()) as AggregateError;
    assertInstanceOf(reason, AggregateError);
    assertEquals(
      reason.errors.map((error: Error) => [error.name, error.message]),
      [["RangeError", "first"], ["Error", "second"]],
    );
  }));

test("a handle that is detached or reaped fails its producers", async () => {
  for (const way of ["detach", "reap"] as const) {
    await between<number>({}, async (here, there) => {
      there.producer();
      const own = here.producer().getWriter();
      if (way === "detach") there.detach();
      else assert(here.reap(there.id));
      assertEquals(here.stats().producers, 1);
      await own.close();
      const reason = await reasonOf(here.closed) as AggregateError;
      assertEquals(reason.errors.length, 1);
    });
  }
});

// -- Blocking ------------------------------------------------------------------

test("putSync() and getSync() throw when their time is over, and change nothing", () =>
  between<number>({ highWaterMark: 1 }, (here, there) => {
    const late = assertThrows(() => there.getSync({ timeout: 0 }));
    assertEquals((late as Error).name, "TimeoutError");
    here.putSync(1);
    assertThrows(() => here.putSync(2, { timeout: 5 }), DOMException);
    assertEquals([here.length, here.stats().waitingPuts], [1, 0]);
    assertEquals(there.getSync(), 1);
    assertThrows(() => there.getSync({ timeout: -1 }), RangeError);
    assertThrows(() => there.getSync({ timeout: "1" as never }), TypeError);
  }));

test("getSync() ends as get() does", () =>
  between<number>({}, (here, there) => {
    here.putSync(1);
    here.fail(new RangeError("broke"));
    assertEquals(there.getSync(), 1);
    assertThrows(() => there.getSync(), RangeError, "broke");
    const refusal = assertThrows(() => there.putSync(2), QueueClosedError);
    assertEquals(refusal.item, 2);
    assertInstanceOf(refusal.cause, RangeError);
  }));

test("putSync() lets those in that wait here before it", () =>
  between<number>({ highWaterMark: 1 }, async (here) => {
    await here.put(1);
    const waiting = here.put(2);
    assertThrows(() => here.putSync(3, { timeout: 5 }), DOMException);
    assertEquals(here.tryGet(), 1);
    await waiting;
    assertEquals([here.tryGet(), here.tryGet()], [2, undefined]);
  }));

// -- Records and rings ---------------------------------------------------------

test("records of every length wrap around at every offset of small rings", async () => {
  for (const size of [16, 20, 28, 64]) {
    await between<Uint8Array>(
      { bytes: size, codec: bytes() },
      (here, there) => {
        let next = 0;
        for (let start = 0; start < size; start += 4) {
          for (let length = 0; length <= size - 4; length++) {
            const item = new Uint8Array(length).map(() => next++);
            assert(here.tryPut(item), `${size} ${start} ${length}`);
            assertEquals(there.tryGet(), item);
          }
          here.tryPut(new Uint8Array(0));
          there.tryGet();
        }
        assertEquals(here.stats().used, 0);
      },
    );
  }
});

test("a record larger than the ring is a RangeError that says both sizes", () =>
  between<string>({ bytes: 64 }, async (here) => {
    for (
      const put of [
        () => here.put("x".repeat(100)),
        () => here.putMany(["x".repeat(100)]),
      ]
    ) {
      const error = await assertRejects(put, RangeError);
      assertMatch(error.message, /60 bytes .* 102 bytes/);
    }
    assertThrows(() => here.tryPut("é".repeat(1000)), RangeError);
    await here.put("x".repeat(58));
    assertEquals(here.tryGet(), "x".repeat(58));
  }));

test("model: any mix of puts and gets of any length is a FIFO of bounded bytes", () => {
  const command = fc.oneof(
    fc.record({ put: fc.integer({ min: 0, max: 60 }) }),
    fc.record({
      putMany: fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 8 }),
    }),
    fc.record({ get: fc.constant(1) }),
    fc.record({ getMany: fc.integer({ min: 1, max: 9 }) }),
    fc.record({ clear: fc.constant(1) }),
  );
  const property = fc.asyncProperty(
    fc.integer({ min: 16, max: 90 }),
    fc.integer({ min: 1, max: 9 }),
    fc.array(command, { maxLength: 60 }),
    async (size, highWaterMark, commands) => {
      await between<string>(
        { bytes: size, highWaterMark },
        async (here, there) => {
          const stored: string[] = [];
          const waiting: Promise<void>[] = [];
          let count = 0;
          const make = (length: number): string =>
            String.fromCharCode(97 + count++ % 26).repeat(
              Math.min(length, Math.ceil(size / 4) * 4 - 6),
            );
          for (const step of commands as Record<string, unknown>[]) {
            if ("put" in step) {
              const item = make(step["put"] as number);
              const giveUp = new AbortController();
              const put = here.put(item, { signal: giveUp.signal });
              const before = here.stats().waitingPuts;
              if (before === 0) stored.push(item);
              else {
                giveUp.abort();
                await put.catch(() => {});
                continue;
              }
              waiting.push(put);
            } else if ("putMany" in step) {
              for (const length of step["putMany"] as number[]) {
                const item = make(length);
                if (here.tryPut(item)) stored.push(item);
                else break;
              }
            } else if ("get" in step) {
              assertEquals(there.tryGet(), stored.shift());
            } else if ("getMany" in step) {
              if (stored.length === 0) continue;
              const items = await there.getMany(step["getMany"] as number);
              assertEquals(items, stored.splice(0, items.length));
            } else assertEquals(here.clear(), stored.splice(0));
            assertEquals([here.length, there.length], [
              stored.length,
              stored.length,
            ]);
            assert(stored.length <= highWaterMark);
            assert(here.stats().used <= here.stats().bytes);
          }
          await Promise.all(waiting);
        },
      );
    },
  );
  return fc.assert(property, parameters(150));
});

test("many waiting puts and gets are cancelled in any order", () =>
  between<number>({ highWaterMark: 1 }, async (here) => {
    await here.put(0);
    const aborts = upTo(300).map(() => new AbortController());
    const puts = aborts.map(({ signal }, item) => here.put(item, { signal }));
    aborts.reverse().forEach((abort) => abort.abort(new Error("gone")));
    const outcomes = await Promise.allSettled(puts);
    assert(outcomes.every(({ status }) => status === "rejected"));
    assertEquals([here.stats().waitingPuts, here.clear()], [0, [0]]);
  }));

// -- Codecs --------------------------------------------------------------------

test("json: what JSON says arrives, alone and in batches, and undefined too", () =>
  between<unknown>({}, async (here, there) => {
    const items = [
      0,
      -0,
      1.5,
      -1e300,
      "",
      "é",
      "😀".repeat(50),
      "\ud800",
      null,
      undefined,
      true,
      [],
      [1, [2]],
      {},
      { a: { b: "c" } },
      "plain",
      undefined,
      "x".repeat(1000),
    ];
    const expected = items.map((item) =>
      item === undefined || Object.is(item, -0)
        ? item
        : JSON.parse(JSON.stringify(item))
    );
    for (const [index, item] of items.entries()) {
      await here.put(item);
      assertEquals(await there.get(), expected[index]);
    }
    await here.putMany(items);
    assertEquals(await there.getMany(100), expected);
    for (const refused of [() => {}, Symbol("s"), 1n]) {
      await assertRejects(() => here.put(refused), TypeError);
    }
    assertEquals(here.length, 0);
  }));

test("bytes: what arrives is a copy, and only byte arrays go in", () =>
  between<Uint8Array>({ codec: bytes() }, async (here, there) => {
    const item = new Uint8Array([1, 2, 3]);
    const waiting = here.put(item);
    item.fill(9);
    await waiting;
    const arrived = await there.get();
    assertEquals(arrived, new Uint8Array([1, 2, 3]));
    assertEquals(arrived.buffer.byteLength, 3);
    await assertRejects(() => here.put("text" as never), TypeError);
    await here.putMany([item, new Uint8Array(0)]);
    assertEquals(await there.getMany(5), [item, new Uint8Array(0)]);
  }));

test("bytes, pooled: what one getMany returns lies in one buffer, and nothing else does", () =>
  between<Uint8Array>(
    { codec: bytes({ pooled: true }) },
    async (here, there) => {
      const items = Array.from(
        { length: 9 },
        (_, length) => new Uint8Array(length).fill(length),
      );
      await here.putMany(items);
      items[8]!.fill(99);
      const first = await there.getMany(5);
      const rest = await there.getMany(3);
      const alone = await there.get();
      assertEquals([...first, ...rest], items.slice(0, 8));
      assertEquals(alone, new Uint8Array(8).fill(8));
      assertEquals(new Set(first.map((item) => item.buffer)).size, 1);
      assertEquals(new Set(rest.map((item) => item.buffer)).size, 1);
      assert(first[0]!.buffer !== rest[0]!.buffer);
      assertEquals(alone.buffer.byteLength, 8);
      // Written to, it changes no other, and nothing in the ring.
      await here.putMany([new Uint8Array([1]), new Uint8Array([2])]);
      const [one, two] = await there.getMany(2);
      one!.fill(7);
      assertEquals(two, new Uint8Array([2]));
      await assertRejects(() => here.put("text" as never), TypeError);
      assertThrows(() => bytes({ pooled: 1 as never }), TypeError, "pooled");
      assertThrows(() => bytes(null as never), TypeError, "options");
    },
  ));

test("bytes, pooled: batches of every length wrap around in a small ring", () =>
  between<Uint8Array>(
    { bytes: 256, codec: bytes({ pooled: true }) },
    async (here, there) => {
      let next = 0;
      for (let round = 0; round < 200; round++) {
        const items = Array.from(
          { length: 1 + round % 7 },
          (_, at) => new Uint8Array((round * 5 + at) % 23).map(() => next++),
        );
        await here.putMany(items);
        assertEquals(await there.getMany(9), items);
      }
      assertEquals(here.stats().used, 0);
    },
  ));

test("bytes: a put that waits holds a copy of its own", () =>
  between<Uint8Array>(
    { codec: bytes(), highWaterMark: 1 },
    async (here, there) => {
      await here.put(new Uint8Array(1));
      const item = new Uint8Array([1]);
      const waiting = here.put(item);
      item.fill(9);
      await there.get();
      await waiting;
      assertEquals(await there.get(), new Uint8Array([1]));
    },
  ));

/** Refuses what it is told to. */
function moody(): Codec<number> & { refuses: (item: number) => boolean } {
  const inner = json<number>();
  return {
    refuses: () => false,
    encode(item) {
      if (this.refuses(item)) throw new Error(`no ${item}`);
      return inner.encode(item);
    },
    decode(from) {
      const item = inner.decode(from);
      if (this.refuses(item)) throw new Error(`no ${item}`);
      return item;
    },
  };
}

test("a codec that throws in encode() refuses that item and loses nothing", () => {
  const codec = moody();
  return between<number>({ codec }, async (here, there) => {
    codec.refuses = (item) => item === 3;
    await assertRejects(() => here.put(3), Error, "no 3");
    await assertRejects(() => here.putMany([1, 2, 3, 4]), Error, "no 3");
    assertThrows(() => here.tryPut(3), Error, "no 3");
    assertEquals(await there.getMany(9), [1, 2]);
  });
});

test("a codec that throws in decode() fails that get; the record is the next", async () => {
  const ways: Record<string, (queue: SharedQueue<number>) => unknown> = {
    get: (queue) => queue.get(),
    tryGet: (queue) => queue.tryGet(),
    getSync: (queue) => queue.getSync(),
    getMany: (queue) => queue.getMany(5),
    next: (queue) => queue.next(),
  };
  for (const [name, way] of Object.entries(ways)) {
    const codec = moody();
    await between<number>({ codec }, async (here, there) => {
      await here.putMany([1, 2, 3]);
      codec.refuses = (item) => item === 1;
      await assertRejects(async () => await way(there), Error, "no 1");
      assertEquals(there.length, 3, name);
      codec.refuses = (item) => item === 3;
      assertEquals(await there.getMany(5), [1, 2]);
      await assertRejects(() => there.get(), Error, "no 3");
      here.close();
      codec.refuses = () => false;
      assertEquals(await there.get(), 3);
      await there.closed;
    });
  }
});

test("a get that waits is rejected by its codec, and the record is the next", () => {
  const codec = moody();
  return between<number>({ codec }, async (here, there) => {
    const waiting = there.get();
    codec.refuses = () => false;
    await here.put(1);
    codec.refuses = () => true;
    await assertRejects(() => waiting, Error, "no 1");
    codec.refuses = () => false;
    assertEquals(await there.get(), 1);
  });
});

test("a pipe ends with what decode() throws, and the record stays", () => {
  const codec = moody();
  return between<number>({ codec }, async (here, there) => {
    await here.putMany([1, 2]);
    codec.refuses = (item) => item === 2;
    const items: number[] = [];
    const piped = there.consumer().pipeTo(
      new WritableStream({ write: (item) => void items.push(item) }),
    );
    await assertRejects(() => piped, Error, "no 2");
    codec.refuses = () => false;
    assertEquals([items, there.tryGet()], [[1], 2]);
  });
});

test("a codec may use its queue: it sees it after the change", () => {
  const inner = json<number>();
  const seen: unknown[] = [];
  let use: (() => void) | undefined;
  const codec: Codec<number> = {
    encode: (item) => inner.encode(item),
    encodeInto(item, target) {
      const then = use;
      use = undefined;
      then?.();
      return inner.encodeInto!(item, target);
    },
    decode(from) {
      const copy = from.slice();
      const then = use;
      use = undefined;
      then?.();
      assertEquals(from, copy);
      return inner.decode(from);
    },
  };
  return between<number>({ codec }, (here) => {
    use = () => seen.push(here.tryPut(1));
    here.tryPut(2);
    use = () => seen.push(here.tryGet());
    seen.push(here.tryGet());
    assertEquals(seen, [true, 2, 1]);
  });
});

// -- Handles -------------------------------------------------------------------

test("a handle of something else is refused, and says what is wrong", () => {
  const queue = new SharedQueue<number>({ bytes: 64 });
  const { handle } = queue;
  const spoil = (word: number, value: number): SharedQueueHandle => {
    const copy = new SharedArrayBuffer(handle.buffer.byteLength);
    new Uint8Array(copy).set(new Uint8Array(handle.buffer));
    new Int32Array(copy)[word] = value;
    return { ...handle, buffer: copy };
  };
  const cases: [unknown, RegExp][] = [
    [undefined, /must be the handle of a SharedQueue, received undefined/],
    [{}, /received an object of Object/],
    [{ ...handle, kind: "other" }, /must be the handle/],
    [{ ...handle, buffer: new ArrayBuffer(64) }, /must be a SharedArrayBuffer/],
    [{ ...handle, buffer: new SharedArrayBuffer(64) }, /memory .* received 64/],
    [spoil(0, 1), /magic number/],
    [spoil(1, 99), /version .* must be 2, received 99/],
    [spoil(2, 32), /ring .* must be 64, received 32/],
    [spoil(4, 5), /size/],
  ];
  for (const [given, message] of cases) {
    const error = assertThrows(() => SharedQueue.attach(given as never));
    assertMatch((error as Error).message, /^Cannot attach: /);
    assertMatch((error as Error).message, message);
  }
  queue.detach();
});

test("the options are checked, and the messages name them", () => {
  const wrong: [object, ErrorConstructor, RegExp][] = [
    [{ bytes: 8 }, RangeError, /bytes/],
    [{ bytes: 2 ** 31 }, RangeError, /bytes/],
    [{ bytes: "64" }, TypeError, /bytes/],
    [{ highWaterMark: 0 }, RangeError, /highWaterMark/],
    [{ codec: {} }, TypeError, /codec/],
    [{ onUndelivered: 1 }, TypeError, /onUndelivered/],
    [{ onAbandoned: 1 }, TypeError, /onAbandoned/],
  ];
  for (const [options, type, message] of wrong) {
    const error = assertThrows(
      () => new SharedQueue(options as SharedQueueOptions<unknown>),
    );
    assertInstanceOf(error, type);
    assertMatch((error as Error).message, message);
  }
});

test("there are 32 places; a handle that leaves frees its own", () => {
  const queue = new SharedQueue<number>();
  const others = upTo(MEMBERS - 1).map(() => SharedQueue.attach(queue.handle));
  assertThrows(() => SharedQueue.attach(queue.handle), RangeError, "32");
  const gone = others[3]!.id;
  others[3]!.detach();
  others[3] = SharedQueue.attach(queue.handle);
  assert(others[3]!.id !== gone);
  assertEquals(queue.reap(gone), false);
  for (const other of others) assert(queue.reap(other.id));
  assertEquals([queue.stats().handles, queue.stats().abandoned], [1, 31]);
  queue.detach();
});

test("a handle that was reaped by mistake learns of it where it waits", () =>
  between<number>({}, async (here, there) => {
    const waiting = there.get();
    here.reap(there.id);
    await assertRejects(() => waiting, QueueClosedError, "detached");
  }));

test("an item that is too large is refused with the number of its bytes", async () => {
  const queue = new SharedQueue<string>({ bytes: 1024 });
  const room = "the 1020 bytes that the queue has for one, received one of";
  for (
    const [item, length] of [
      ["x".repeat(5000), 5002],
      ["é".repeat(1000), 2002],
      ["x".repeat(1019), 1021],
    ] as const
  ) {
    const error = await assertRejects(() => queue.put(item), RangeError);
    assertEquals(
      error.message,
      `Cannot put: an item must fit into ${room} ${length} bytes`,
    );
    assertThrows(() => queue.tryPut(item), RangeError, `${length} bytes`);
    await assertRejects(
      () => queue.putMany([item]),
      RangeError,
      `${length} bytes`,
    );
  }
  await queue.put("x".repeat(1018));
  queue.detach();
});

// -- Death ---------------------------------------------------------------------

const doings: Record<string, (queue: SharedQueue<number>) => unknown> = {
  "tryPut()": (queue) => queue.tryPut(100),
  "putMany()": (queue) => void queue.putMany([100, 101, 102]).catch(() => {}),
  "tryGet()": (queue) => queue.tryGet(),
  "getMany()": (queue) => void queue.getMany(3).catch(() => {}),
  "clear()": (queue) => queue.clear(),
  "getSync()": (queue) => queue.getSync({ timeout: 0 }),
  "close()": (queue) => queue.close(),
  "fail()": (queue) => queue.fail(new Error("dying")),
  "abort()": (queue) => queue.abort(new Error("dying")),
  "detach()": (queue) => queue.detach(),
};

for (const [name, doing] of Object.entries(doings)) {
  test(`a thread may die at any step of ${name}, and the others go on`, async () => {
    for (let step = 0, died = true; died; step++) {
      const undelivered: number[] = [];
      const here = new SharedQueue<number>({
        bytes: 160,
        onUndelivered: (item) => void undelivered.push(item),
      });
      const there = SharedQueue.attach<number>(here.handle);
      // Not at the beginning of the ring.
      for (let round = 0; round < 7; round++) assert(here.tryPut(0));
      for (let round = 0; round < 7; round++) here.tryGet();
      assert(here.tryPut(1) && here.tryPut(2));
      died = dieBefore(step, () => doing(there));
      here.reap(there.id);
      if (here.stats().state !== "open") {
        await Promise.allSettled([here.closed, here.getMany(9)]);
        continue;
      }
      assert(here.tryPut(3), `step ${step}`);
      const items = await here.getMany(9);
      // What the dead one took is gone with it, what it put is there or is not.
      assertEquals(
        items.filter((item) => item < 100),
        [1, 2, 3].filter((item) => items.includes(item)),
        `step ${step}`,
      );
      assert(items.includes(3), `step ${step}: ${items}`);
      const put = items.filter((item) => item >= 100);
      assert([0, 1, 3].includes(put.length), `step ${step}: ${items}`);
      // The whole ring is to be had again.
      for (const item of upTo(10)) assert(here.tryPut(item));
      assertEquals(await here.getMany(20), upTo(10), `step ${step}`);
      assertEquals(here.stats().used, 0, `step ${step}`);
      here.detach();
    }
  });
}

test("a thread that died inside is found by those that wait, and told of", async () => {
  const abandoned: number[] = [];
  // Right after it has published its item, still inside.
  for (let step = 0;; step++) {
    const here = new SharedQueue<number>({
      onAbandoned: (id) => void abandoned.push(id),
    });
    const there = SharedQueue.attach<number>(here.handle);
    assert(dieBefore(step, () => there.tryPut(1)), "it dies before its end");
    if (here.length === 0) {
      here.reap(there.id);
      here.detach();
      continue;
    }
    await here.put(2);
    await Promise.resolve();
    assertEquals(abandoned, [there.id]);
    assertEquals(here.stats().abandoned, 1);
    assertEquals(await here.getMany(5), [1, 2]);
    here.detach();
    return;
  }
});

for (
  const [name, doing] of Object.entries({
    "attach()": (here: SharedQueue<number>) => SharedQueue.attach(here.handle),
    "detach()": (_: SharedQueue<number>, there: SharedQueue<number>) =>
      there.detach(),
  })
) {
  test(`a thread may die at any step of ${name}, and its place is free again`, () => {
    const { now } = performance;
    for (let step = 0, died = true; died; step++) {
      const here = new SharedQueue<number>();
      const there = SharedQueue.attach<number>(here.handle);
      died = dieBefore(step, () => doing(here, there));
      here.stats();
      // Time enough to come or to go.
      performance.now = () => now.call(performance) + 6000;
      try {
        here.stats();
      } finally {
        performance.now = now;
      }
      const words = new Int32Array(here.handle.buffer);
      for (let index = 0; index < MEMBERS; index++) {
        const at = memberAt(index);
        const isTaken = words[at + Slot.GENERATION] !== 0 &&
          (words[at + Slot.GENERATION]! & 1) === 1;
        assert(
          !isTaken || words[at + Slot.WAITERS]! > 0,
          `step ${step}: place ${index}`,
        );
      }
      here.detach();
    }
  });
}

test("handles that leave and come keep the waiters of their place apart", async () => {
  const queue = new SharedQueue<number>();
  for (let round = 0; round < 5; round++) {
    const other = SharedQueue.attach<number>(queue.handle);
    const words = new Int32Array(queue.handle.buffer);
    const at = memberAt(other.id % MEMBERS);
    await Promise.resolve();
    // As many as are there can be woken, and come again.
    const left = words[at + Slot.WAITERS]!;
    assertEquals(Atomics.notify(words, at + Slot.PULSE), left);
    while (words[at + Slot.ANSWERS]! < left) {
      await pause(0);
    }
    assertEquals(Atomics.notify(words, at + Slot.PULSE), left);
    other.detach();
  }
  queue.detach();
});

// -- Without Atomics.waitAsync ---------------------------------------------------

test("without Atomics.waitAsync a bell is heard all the same", async () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const rung = new Promise<void>((resolve) => poll(words, 1, 0, resolve));
  setTimeout(() => Atomics.store(words, 1, 1), 3);
  await rung;
  const stop = poll(words, 1, 1, () => {
    throw new Error("rung after it was stopped");
  });
  stop();
  Atomics.store(words, 1, 2);
  await pause(40);
});

test("without Atomics.waitAsync queues between handles work", async () => {
  const scope = Atomics as { waitAsync?: unknown };
  const { waitAsync } = scope;
  scope.waitAsync = undefined;
  try {
    await between<number>({ highWaterMark: 2 }, async (here, there) => {
      const items: number[] = [];
      const taking = (async () => {
        for await (const item of there) items.push(item);
      })();
      for (const item of upTo(20)) await here.put(item);
      here.close();
      await taking;
      assertEquals(items, upTo(20));
    });
  } finally {
    scope.waitAsync = waitAsync;
  }
});
