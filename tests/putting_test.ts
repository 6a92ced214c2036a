import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  LifoQueue,
  PriorityQueue,
  Queue,
  QueueClosedError,
  WorkStealingQueue,
} from "../mod.ts";
import { CloudflareQueue } from "../src/cloudflare.ts";
import { connect, serve, SharedQueue } from "../src/threads.ts";
import { fakeChannel } from "./support/fake_ports.ts";
import { test } from "./support/harness.ts";
import { rounds } from "./support/waiting.ts";

/** What all kinds have that take items from here. */
interface Taking {
  putMany(
    items: AsyncIterable<number>,
    options?: { signal?: AbortSignal | undefined },
  ): Promise<void>;
  getMany(max: number): Promise<number[]>;
  close(): void;
  abort(reason: unknown): void;
}

/** Each kind, with a bound of 2, and what lets go of it. */
const kinds: Record<string, () => [Taking, () => unknown]> = {
  Queue: () => [new Queue<number>({ highWaterMark: 2 }), () => {}],
  LifoQueue: () => [new LifoQueue<number>({ highWaterMark: 2 }), () => {}],
  PriorityQueue: () => [
    new PriorityQueue<number>({ highWaterMark: 2 }),
    () => {},
  ],
  Lane: () => {
    const group = new WorkStealingQueue<number>({ lanes: 1, highWaterMark: 2 });
    return [group.lane(0), () => {}];
  },
  SharedQueue: () => {
    const queue = new SharedQueue<number>({ highWaterMark: 2 });
    return [queue, () => queue.detach()];
  },
  PortQueue: () => {
    const [left, right] = fakeChannel();
    const queue = new Queue<number>({ highWaterMark: 2 });
    const served = serve(queue, left as never, { highWaterMark: 2 });
    return [connect<number>(right as never), () => served.stop()];
  },
};

/** Counts up, and notes how it was used. */
class Numbers implements AsyncIterable<number> {
  asked = 0;
  returned = 0;
  /** Lets go of who waits. */
  give: () => void = () => {};
  /** From that number on it keeps who asks waiting. */
  readonly #stuckAt: number;

  constructor(stuckAt: number) {
    this.#stuckAt = stuckAt;
  }

  [Symbol.asyncIterator](): AsyncIterator<number> {
    return {
      next: () => {
        const value = ++this.asked;
        const step = { done: false, value };
        if (value < this.#stuckAt) return Promise.resolve(step);
        return new Promise((resolve) => this.give = () => resolve(step));
      },
      return: () => {
        this.returned++;
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }
}

for (const [kind, make] of Object.entries(kinds)) {
  test(`putMany of a ${kind}: an async iterable feels the backpressure`, async () => {
    const [queue, release] = make();
    const numbers = new Numbers(Infinity);
    const stop = new AbortController();
    const putting = queue.putMany(numbers, { signal: stop.signal });
    await rounds();
    const before = numbers.asked;
    assert(before >= 3 && before <= 6, String(before));
    assertEquals(numbers.returned, 0);
    await queue.getMany(1);
    await rounds();
    assert(numbers.asked > before, "goes on when there is room");
    const reason = new Error("enough");
    stop.abort(reason);
    assertEquals(await assertRejects(() => putting), reason);
    assertEquals(numbers.returned, 1);
    queue.abort(reason);
    await release();
  });

  test(`putMany of a ${kind}: a signal and the end of the queue do not wait for a source that is busy`, async () => {
    const [queue, release] = make();
    const numbers = new Numbers(2);
    const stop = new AbortController();
    const stopped = queue.putMany(numbers, { signal: stop.signal });
    const others = new Numbers(1);
    const ended = queue.putMany(others);
    await rounds();
    const reason = new Error("enough");
    stop.abort(reason);
    assertEquals(await assertRejects(() => stopped), reason);
    assertEquals([numbers.asked, numbers.returned], [2, 1]);
    assertEquals(others.returned, 0);
    queue.abort(reason);
    assertEquals(await assertRejects(() => ended), reason);
    assertEquals([others.asked, others.returned], [1, 1]);
    await release();
  });
}

test("putMany: a refused item travels with the error, and the source is closed", async () => {
  const queue = new Queue<number>({ highWaterMark: 2 });
  const numbers = new Numbers(2);
  const putting = queue.putMany(numbers);
  await rounds();
  queue.close();
  numbers.give();
  const error = await assertRejects(() => putting, QueueClosedError);
  assertEquals((error as QueueClosedError<number>).item, 2);
  assertEquals([numbers.asked, numbers.returned], [2, 1]);
  assertEquals(await queue.getMany(8), [1]);

  const unread = new Numbers(Infinity);
  await assertRejects(() => queue.putMany(unread), QueueClosedError);
  assertEquals(unread.asked, 0);
});

test("putMany: the error of the source is the error, and what it gave before is stored", async () => {
  const queue = new Queue<string>();
  async function* failing(): AsyncGenerator<string> {
    yield "a";
    throw new Error("source");
  }
  await assertRejects(() => queue.putMany(failing()), Error, "source");
  assertEquals(await queue.getMany(4), ["a"]);
  const wrong = { [Symbol.asyncIterator]: () => ({ next: () => 5 }) };
  await assertRejects(
    () => queue.putMany(wrong as never),
    TypeError,
    "must give an object, received 5",
  );
  await assertRejects(
    () => queue.putMany(5 as never),
    TypeError,
    "items must be iterable, received 5",
  );
});

test("putMany: a stream is put and not lost, into an engine as well", async () => {
  const queue = new Queue<number>();
  await queue.putMany(new Queue<number>({}).readable.pipeThrough({
    writable: new WritableStream(),
    readable: new ReadableStream({
      start(controller) {
        for (const item of [1, 2, 3]) controller.enqueue(item);
        controller.close();
      },
    }),
  }));
  assertEquals(await queue.getMany(8), [1, 2, 3]);
  const sent: unknown[] = [];
  const cloudflare = new CloudflareQueue<number>({
    send: (body) => Promise.resolve(sent.push(body)),
    sendBatch: (messages) => {
      for (const { body } of messages) sent.push(body);
      return Promise.resolve();
    },
  });
  async function* three(): AsyncGenerator<number> {
    yield* [1, 2, 3];
  }
  await cloudflare.putMany(three());
  assertEquals(sent, [1, 2, 3]);
  const busy = new Numbers(1);
  const putting = cloudflare.putMany(busy);
  await cloudflare.close();
  await assertRejects(() => putting, QueueClosedError);
  assertEquals(busy.returned, 1);
});
