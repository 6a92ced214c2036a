import { assert, assertEquals, assertLess } from "@std/assert";
import { LifoQueue, Queue } from "../mod.ts";
import {
  canCollectGarbage,
  collectGarbage,
  heapUsed,
  test,
} from "./support/harness.ts";
import { ignore } from "./support/waiting.ts";

const MANY = 100_000;

/** 20 bytes for each of so many: less than the smallest object takes. */
const SLACK = 2_000_000;

/** A signal that counts its listeners. */
interface Counted {
  readonly controller: AbortController;
  readonly signal: AbortSignal;
  added: number;
  listeners: number;
}

function countedSignal(): Counted {
  const controller = new AbortController();
  const { signal } = controller;
  const counted: Counted = { controller, signal, added: 0, listeners: 0 };
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: unknown[]) => {
    counted.added++;
    counted.listeners++;
    addEventListener.apply(signal, args as never);
  };
  signal.removeEventListener = (...args: unknown[]) => {
    counted.listeners--;
    removeEventListener.apply(signal, args as never);
  };
  return counted;
}

/** Runs the batch three times; the last may leave no more behind than the second. */
async function assertNoGrowth(batch: () => Promise<void>): Promise<void> {
  await batch(); // compiles what it uses, and grows what stays grown
  if (!canCollectGarbage()) return batch();
  await batch();
  const before = await heapUsed();
  await batch();
  const growth = await heapUsed() - before;
  assertLess(growth, SLACK, `${growth} bytes stay after ${MANY} operations`);
}

/** Most, because a collector that looks at the stack may take a number for a reference. */
async function assertCollected(references: WeakRef<object>[]): Promise<void> {
  if (!canCollectGarbage()) return;
  await collectGarbage();
  const alive = references.filter((reference) => reference.deref()).length;
  assert(
    alive <= references.length / 10,
    `${alive} of ${references.length} stay`,
  );
}

/** In a call of its own, so that no variable of the test holds an object. */
async function referencesTo(
  count: number,
  make: (index: number) => object | Promise<object>,
): Promise<WeakRef<object>[]> {
  const references: WeakRef<object>[] = [];
  for (let index = 0; index < count; index++) {
    references.push(new WeakRef(await make(index)));
  }
  return references;
}

test(
  "100,000 puts and gets that were served leave nothing on a signal that lives on",
  async () => {
    const life = countedSignal();
    const options = { signal: life.signal };
    const queue = new Queue<number>({ highWaterMark: 1 });
    await assertNoGrowth(async () => {
      for (let round = 0; round < MANY / 100; round++) {
        const waiting: Promise<unknown>[] = [];
        for (let put = 0; put < 50; put++) {
          waiting.push(queue.put(put, options));
        }
        for (let get = 0; get < 100; get++) waiting.push(queue.get(options));
        for (let put = 0; put < 50; put++) {
          waiting.push(queue.put(put, options));
        }
        await Promise.all(waiting);
        assertEquals(life.listeners, 0);
      }
    });
    assertEquals([queue.length, queue.stats().waitingGets], [0, 0]);
  },
);

test(
  "100,000 cancelled puts, then gets, leave no listener and no memory",
  async () => {
    const queue = new Queue<number>({ highWaterMark: 1 });
    queue.tryPut(0);
    const empty = new Queue<number>();
    await assertNoGrowth(async () => {
      for (
        const wait of [
          (signal: AbortSignal) => queue.put(1, { signal }),
          (signal: AbortSignal) => empty.get({ signal }),
        ]
      ) {
        const cancel = countedSignal();
        const waiting: Promise<unknown>[] = [];
        for (let turn = 0; turn < MANY; turn++) {
          // Handled from the start: Deno searches a list for each that is
          // handled only after its rejection.
          waiting.push(wait(cancel.signal).catch(ignore));
        }
        assertEquals([cancel.added, cancel.listeners], [1, 1]);
        cancel.controller.abort();
        assertEquals(cancel.listeners, 0);
        await Promise.all(waiting);
      }
    });
    assertEquals(queue.stats().waitingPuts, 0);
    assertEquals(empty.stats().waitingGets, 0);
  },
);

test(
  "100,000 cancels one by one, each on a signal of its own, leave nothing",
  async () => {
    const queue = new Queue<number>({ highWaterMark: 1 });
    queue.tryPut(0);
    const empty = new Queue<number>();
    // One that waits all the time: nothing may pile up behind it.
    const patience = new AbortController();
    const oldest = [
      queue.put(1, { signal: patience.signal }).catch(ignore),
      empty.get({ signal: patience.signal }).catch(ignore),
    ];
    await assertNoGrowth(async () => {
      for (let turn = 0; turn < MANY / 2; turn++) {
        const cancel = new AbortController();
        const put = queue.put(turn, { signal: cancel.signal });
        const get = empty.get({ signal: cancel.signal });
        cancel.abort(turn);
        await put.catch(ignore);
        await get.catch(ignore);
      }
    });
    assertEquals(queue.stats().waitingPuts, 1);
    assertEquals(empty.stats().waitingGets, 1);
    patience.abort();
    await Promise.all(oldest);
  },
);

test("the item of a cancelled put is let go", async () => {
  const queue = new Queue<object>({ highWaterMark: 1 });
  queue.tryPut({});
  const references = await referencesTo(50, async () => {
    const item = {};
    const cancel = new AbortController();
    const put = queue.put(item, { signal: cancel.signal });
    cancel.abort();
    await put.catch(ignore);
    return item;
  });
  await assertCollected(references);
  assertEquals(queue.length, 1);
});

for (const Kind of [Queue, LifoQueue]) {
  test(`${Kind.name}: an item that was taken, dropped or cleared is let go`, async () => {
    const queue = new Kind<object>({
      highWaterMark: 40,
      overflow: "drop-oldest",
    });
    // So that none of the slots in use is written again.
    const stays = new Kind<object>({ highWaterMark: Infinity });
    for (let fill = 0; fill < 20; fill++) stays.tryPut({});
    const takes: (() => unknown)[] = [
      () => stays.tryGet(),
      () => stays.get(),
      () => stays.getMany(1),
      () => stays.next(),
    ];
    const taken = await referencesTo(80, async (index) => {
      stays.tryPut({});
      const item: unknown = await takes[index % 4]!();
      if (Array.isArray(item)) return item[0];
      return (item as { value?: object }).value ?? item as object;
    });
    const dropped = await referencesTo(80, (index) => {
      const item = {};
      queue.tryPut(item);
      // The younger half is still there, and goes now.
      if (index === 79) queue.clear();
      return item;
    });
    await assertCollected(taken);
    await assertCollected(dropped);
    assertEquals([queue.length, stays.length], [0, 20]);
  });
}

test("a consumer that was cancelled and dropped is let go", async () => {
  const queue = new Queue<number>();
  const references = await referencesTo(60, async (index) => {
    const consumer = queue.consumer();
    if (index % 3 === 0) {
      await consumer.cancel();
      return consumer;
    }
    const reader = consumer.getReader();
    const read = reader.read();
    await reader.cancel();
    await read;
    if (index % 3 === 1) reader.releaseLock();
    return consumer;
  });
  await assertCollected(references);
  assertEquals(queue.stats().waitingGets, 0);
});

test("a consumer whose reader was released and dropped is let go", async () => {
  const queue = new Queue<number>();
  const references = await referencesTo(50, (index) => {
    const consumer = queue.consumer();
    const reader = consumer.getReader();
    if (index % 2 === 0) reader.read().catch(ignore);
    reader.releaseLock();
    return consumer;
  });
  await assertCollected(references);
  assertEquals(queue.stats().waitingGets, 0);
});

test("a backlog that was worked off gives its memory back", async () => {
  const queue = new Queue<number>({ highWaterMark: Infinity });
  const work = (): void => {
    for (let item = 0; item < 10 * MANY; item++) queue.tryPut(item);
    while (queue.length > 1) queue.tryGet();
  };
  if (!canCollectGarbage()) return work();
  const before = await heapUsed();
  work();
  const growth = await heapUsed() - before;
  assertLess(growth, SLACK, `${growth} bytes stay for ${queue.length} item`);
});

test("a producer that is done and dropped is let go", async () => {
  const queue = new Queue<number>();
  const stays = queue.producer();
  const references = await referencesTo(50, async (index) => {
    const producer = queue.producer({ onError: "ignore" });
    if (index % 2 === 0) await producer.close();
    else await producer.abort();
    return producer;
  });
  await assertCollected(references);
  assertEquals(queue.stats().producers, 1);
  await stays.close();
});

test(
  "100,000 iterators that took nothing and were returned leave nothing",
  async () => {
    const queue = new Queue<number>();
    await assertNoGrowth(async () => {
      for (let turn = 0; turn < MANY; turn++) {
        const iterator = queue[Symbol.asyncIterator]();
        const next = turn % 2 === 0 ? undefined : iterator.next();
        await iterator.return!();
        assertEquals((await next)?.done ?? true, true);
      }
    });
    assertEquals(queue.stats().waitingGets, 0);
  },
);

test("pipes that are over leave no listener on a signal that lives on", async () => {
  const life = countedSignal();
  for (let turn = 0; turn < 200; turn++) {
    const queue = new Queue<number>();
    queue.tryPut(turn);
    queue.close();
    await queue.readable.pipeTo(new WritableStream(), { signal: life.signal });
  }
  assertEquals([life.added, life.listeners], [200, 0]);
});
