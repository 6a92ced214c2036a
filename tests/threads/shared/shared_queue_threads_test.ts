import { assert, assertEquals, assertRejects } from "@std/assert";
import process from "node:process";
import { QueueClosedError } from "../../../mod.ts";
import { bytes, SharedQueue } from "../../../src/threads.ts";
import { memberAt, MEMBERS, Slot } from "../../../src/threads/shared/layout.ts";
import { runtime, test } from "../../support/harness.ts";
import { type Soak, soak } from "../../support/shared_soak.ts";
import { startThread, type Thread } from "../../support/threads.ts";
import type { Job } from "../../support/shared_queue_worker.ts";
import { collect } from "../../support/streams.ts";
import { pause } from "../../support/waiting.ts";

/** A thread takes its time to start, most on Node, which compiles it anew; `deno task soak:threads` lets 200 die. */
const DEATHS = Number(process.env["HIGHWATER_DEATHS"]) ||
  (runtime === "deno" ? 24 : runtime === "bun" ? 16 : 6);
const FOUR_BY_FOUR: Soak = {
  producers: 4,
  consumers: 4,
  count: 2_500,
  bytes: 65536,
  highWaterMark: 1024,
  padding: 100,
};

test(
  "threads: 4 producers and 4 consumers lose, double and damage nothing",
  () => soak(FOUR_BY_FOUR),
);

test(
  "threads: the same through a ring in which one parcel has room",
  () => soak({ ...FOUR_BY_FOUR, count: 250, bytes: 256, highWaterMark: 1 }),
);

test("threads: parcels of any size up to the ring", () =>
  soak({
    ...FOUR_BY_FOUR,
    producers: 2,
    consumers: 2,
    count: 500,
    bytes: 4096,
    padding: 4000,
  }));

test("threads: blocking puts and gets that are woken for nothing", () =>
  soak({
    ...FOUR_BY_FOUR,
    producers: 2,
    consumers: 2,
    count: 1_500,
    highWaterMark: 3,
    spurious: true,
    blocking: true,
  }));

test(
  "threads: the memory of a queue whose consumers stopped is its ring",
  async () => {
    const queue = new SharedQueue<Uint8Array>({ bytes: 4096, codec: bytes() });
    const thread = startThread({
      handle: queue.handle,
      kind: "put for ever",
      codec: "bytes",
      padding: 100,
    });
    const id = await thread.attached;
    while (queue.stats().waitingPuts === 0) {
      await pause(1);
    }
    const { put, bytes: room, used } = queue.stats();
    await pause(20);
    assertEquals([queue.stats().put, room], [put, 4096]);
    assert(used <= room);
    await thread.terminate();
    assert(queue.reap(id));
    assertEquals(queue.stats().waitingPuts, 0);
    queue.detach();
  },
);

test(
  "threads: close() and abort() end threads that wait at either end",
  async () => {
    for (const ending of ["close", "abort"] as const) {
      for (const kind of ["put for ever", "get for ever"] as const) {
        for (const blocking of [true, false]) {
          const queue = new SharedQueue<Uint8Array>({
            bytes: 256,
            codec: bytes(),
          });
          const thread = startThread({
            handle: queue.handle,
            kind,
            codec: "bytes",
            blocking,
          });
          await thread.attached;
          queue[ending](new Error("it is over"));
          if (ending === "close") { for await (const _ of queue); }
          const error = await assertRejects(() => thread.result, Error);
          assert(
            /it is over|QueueClosedError/.test(error.message),
            error.message,
          );
          await queue.closed.catch(() => {});
          await thread.terminate();
          queue.detach();
        }
      }
    }
  },
);

test(
  `threads: ${DEATHS} are terminated while they put, and nothing is lost before`,
  async () => {
    const queue = new SharedQueue<Uint8Array>({
      bytes: 1 << 18,
      highWaterMark: 64,
      codec: bytes(),
    });
    const next = new Map<number, number>();
    let counting = true;
    const taking = (async () => {
      for await (const record of queue) {
        const view = new DataView(record.buffer, record.byteOffset);
        const from = view.getUint32(0);
        const number = view.getUint32(4);
        assertEquals(number, next.get(from) ?? 0, `from ${from}`);
        assert(
          record.subarray(8).every((byte) => byte === number % 256),
          "whole, or not at all",
        );
        next.set(from, number + 1);
        if (!counting) break;
      }
    })();
    for (let death = 0; death < DEATHS; death++) {
      const thread = startThread({
        handle: queue.handle,
        kind: "put for ever",
        codec: "bytes",
        from: death,
        // Long records: most of the time goes into the copy, inside.
        padding: 16384,
        seed: death + 1,
        blocking: death % 2 === 0,
      });
      const id = await thread.attached;
      await pause(death % 4);
      await thread.terminate();
      queue.reap(id);
    }
    counting = false;
    queue.close();
    await taking;
    const { put, taken, length, handles } = queue.stats();
    assertEquals([taken + length, handles], [put, 1]);
    queue.abort();
    queue.detach();
  },
);

test(
  `threads: ${DEATHS} are terminated while they take, and the others go on`,
  async () => {
    const queue = new SharedQueue<Uint8Array>({
      bytes: 1 << 18,
      highWaterMark: 64,
      codec: bytes(),
    });
    let stopped = false;
    let put = 0;
    const putting = (async () => {
      while (!stopped) {
        await queue.put(new Uint8Array(8192));
        put++;
        if (put % 16 === 0) {
          await pause(0);
        }
      }
    })();
    for (let death = 0; death < DEATHS; death++) {
      const thread = startThread({
        handle: queue.handle,
        kind: "get for ever",
        codec: "bytes",
        blocking: death % 2 === 0,
      });
      const id = await thread.attached;
      await pause(death % 4);
      await thread.terminate();
      assert(queue.reap(id));
    }
    stopped = true;
    // What is left, and what one put that still waits adds.
    while (
      (await Promise.race([
        putting.then(() => true),
        queue.get().then(() => false),
      ])) === false
    );
    const { taken, length } = queue.stats();
    assertEquals(taken + length, put);
    await queue.put(new Uint8Array([7]));
    queue.close();
    await assertRejects(async () => {
      for (;;) await queue.get();
    }, QueueClosedError);
    queue.detach();
  },
);

// -- Death in whatever it was doing --------------------------------------------------

/** How a thread ends; the last one is terminated while it waits. */
const ENDINGS = ["throw", "reject", "exit", "stay"] as const;

/** A thread that has something at the queue, and has ended. */
async function dead(
  queue: SharedQueue<unknown>,
  holding: Job["holding"],
  ending: Job["ending"],
): Promise<number> {
  const thread = hold(queue, holding, ending);
  const id = await thread.attached;
  if (ending === "stay") await thread.terminate();
  else await thread.ended;
  return id;
}

function hold(
  queue: SharedQueue<unknown>,
  holding: Job["holding"],
  ending: Job["ending"],
  cell?: SharedArrayBuffer,
): Thread {
  const { handle } = queue;
  return startThread({ handle, kind: "hold", holding, ending, cell });
}

for (const ending of ENDINGS) {
  const how = ending === "stay" ? "terminate()" : ending;
  test(
    `threads: close() waits for no put of a thread that has ended by ${how}`,
    async () => {
      const found: number[] = [];
      const queue = new SharedQueue<unknown>({
        highWaterMark: 1,
        onAbandoned: (id) => void found.push(id),
      });
      assert(queue.tryPut("first"));
      const id = await dead(queue, "put", ending);
      queue.close();
      assertEquals(await collect(queue), ["first"]);
      await queue.closed;
      const { waitingPuts, handles, abandoned } = queue.stats();
      assertEquals([waitingPuts, handles, abandoned, found], [0, 1, 1, [id]]);
      queue.detach();
    },
    { timeout: 60_000 },
  );
}

test(
  "threads: close() waits for no blocking put of a thread that was terminated",
  async () => {
    const queue = new SharedQueue<Uint8Array>({
      highWaterMark: 1,
      codec: bytes(),
    });
    const { handle } = queue;
    const thread = startThread({
      handle,
      kind: "put for ever",
      codec: "bytes",
      blocking: true,
    });
    await thread.attached;
    while (queue.stats().waitingPuts === 0) await pause(5);
    await thread.terminate();
    queue.close();
    const items = await collect(queue);
    // The one that waited came in if it was faster than its end.
    assert(items.length <= 2, `${items.length} items`);
    await queue.closed;
    queue.detach();
  },
  { timeout: 60_000 },
);

test(
  "threads: a producer whose thread has ended has failed, and consumers learn of it",
  async () => {
    const queue = new SharedQueue<unknown>();
    await dead(queue, "producer", "exit");
    const error = await assertRejects(() => queue.get(), AggregateError);
    assert(/has ended/.test(String(error.errors[0])), String(error.errors[0]));
    queue.detach();
  },
  { timeout: 60_000 },
);

test(
  "threads: who waits for an item is told of a thread that has ended, whatever that had there",
  async () => {
    for (const holding of ["get", "ready", "nothing"] as const) {
      let tell!: (id: number) => void;
      const told = new Promise<number>((resolve) => tell = resolve);
      const queue = new SharedQueue<unknown>({ onAbandoned: (id) => tell(id) });
      const waiting = queue.get();
      const id = await dead(queue, holding, "exit");
      assertEquals(await told, id, holding);
      assertEquals(queue.stats().handles, 1, holding);
      assert(queue.tryPut(holding));
      assertEquals(await waiting, holding);
      queue.detach();
    }
  },
  { timeout: 60_000 },
);

test(
  `threads: ${MEMBERS - 1} threads that crash leave their places to the next`,
  async () => {
    const queue = new SharedQueue<unknown>();
    const atOnce = runtime === "node" ? 8 : 4;
    for (let begun = 0; begun < MEMBERS - 1; begun += atOnce) {
      const count = Math.min(atOnce, MEMBERS - 1 - begun);
      await Promise.all(
        Array.from(
          { length: count },
          () => dead(queue, "nothing", "exit"),
        ),
      );
    }
    // At once: nobody has waited here and looked.
    const next = SharedQueue.attach<unknown>(queue.handle);
    assert(next.tryPut("alive"));
    assertEquals(await queue.get(), "alive");
    next.detach();
    assertEquals(queue.stats().handles, 1);
    queue.detach();
  },
  { timeout: 120_000 },
);

test(
  "threads: one that lets nothing else happen is asked, and not taken for dead",
  async () => {
    const cell = new SharedArrayBuffer(4);
    const queue = new SharedQueue<unknown>();
    const thread = hold(queue, "producer", "block", cell);
    const id = await thread.attached;
    const words = new Int32Array(queue.handle.buffer);
    const at = memberAt(id % MEMBERS) + Slot.WAITERS;
    const before = Atomics.load(words, at);
    const waiting = queue.next();
    while (Atomics.load(words, at) > before - 2) await pause(5);
    assertEquals(queue.stats().abandoned, 0);
    Atomics.store(new Int32Array(cell), 0, 1);
    Atomics.notify(new Int32Array(cell), 0);
    assertEquals(await thread.result, "let go");
    assertEquals(await waiting, { done: true, value: undefined });
    await thread.terminate();
    queue.detach();
  },
  { timeout: 60_000 },
);
