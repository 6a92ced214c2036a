/**
 * Pipes in, out and through, with all that may end them.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { QueueClosedError } from "../../mod.ts";
import {
  collect,
  readAll,
  sinkInto,
  slowSink,
  sourceOf,
} from "../support/streams.ts";
import { reasonOf, rounds, settled, turns } from "../support/waiting.ts";
import { boom, drain, full, type Group, group, inOrder } from "./cases.ts";

export const pipes: Group = group("pipes");
const { promise } = pipes;

promise(
  "a pipe through the queue delivers all in order and closes both ends",
  async (kind) => {
    const queue = kind.create<number>({ highWaterMark: 1 });
    const items: number[] = [];
    await sourceOf([1, 2, 3, 4]).pipeThrough(queue).pipeTo(sinkInto(items));
    assertEquals(items, [1, 2, 3, 4]);
    await queue.closed;
  },
);

promise("a pipe into a rendezvous moves", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 0 });
  const items: number[] = [];
  await sourceOf([1, 2, 3]).pipeThrough(queue).pipeTo(sinkInto(items));
  assertEquals(items, [1, 2, 3]);
}, { needs: ["rendezvous"] });

promise(
  "a pipe from queue to queue moves, also into a rendezvous",
  async (kind) => {
    const first = full(kind, [1, 2, 3]);
    first.close();
    const second = kind.create<number>({ highWaterMark: 0 });
    const piping = first.readable.pipeTo(second.writable);
    assertEquals(await collect(second), inOrder(kind, [1, 2, 3]));
    await piping;
  },
  { needs: ["rendezvous"] },
);

promise(
  "a pipe takes from its source only what the queue has room for",
  async (kind) => {
    let pulled = 0;
    const source = new ReadableStream<number>({
      pull(controller) {
        controller.enqueue(pulled++);
      },
    }, { highWaterMark: 0 });
    const queue = kind.create<number>({ highWaterMark: 3 });
    const piping = source.pipeTo(queue.writable);
    await rounds();
    assert(pulled >= 3 && pulled <= 5, `pulled ${pulled}`);
    queue.abort(boom);
    assertStrictEquals(await reasonOf(piping), boom);
  },
);

promise(
  "a pipe out of the queue takes only what its sink has room for",
  async (kind) => {
    const queue = full(kind, [1, 2, 3, 4, 5]);
    let finish!: () => void;
    const first = new Promise<void>((resolve) => finish = resolve);
    const sink = new WritableStream<number>({ write: () => first }, {
      highWaterMark: 2,
    });
    const piping = queue.readable.pipeTo(sink);
    await rounds();
    assertEquals(queue.length, 3);
    finish();
    queue.close();
    await piping;
  },
);

promise("an error of the source aborts the queue", async (kind) => {
  const queue = kind.create<number>();
  const source = new ReadableStream<number>({
    start: (controller) => controller.error(boom),
  });
  assertStrictEquals(await reasonOf(source.pipeTo(queue.writable)), boom);
  assertStrictEquals(await reasonOf(queue.get()), boom);
});

promise("preventAbort and preventClose keep the queue open", async (kind) => {
  const queue = kind.create<number>();
  const broken = new ReadableStream<number>({
    start: (controller) => controller.error(boom),
  });
  await reasonOf(broken.pipeTo(queue.writable, { preventAbort: true }));
  await sourceOf([1]).pipeTo(queue.writable, { preventClose: true });
  await queue.put(2);
  assertEquals(drain(queue), inOrder(kind, [1, 2]));
});

promise("abort() of the queue cancels the source of a pipe", async (kind) => {
  const queue = kind.create<number>();
  let cancelled: unknown;
  const source = new ReadableStream<number>({
    cancel(reason) {
      cancelled = reason;
    },
  });
  const piping = source.pipeTo(queue.writable);
  await rounds();
  queue.abort(boom);
  assertStrictEquals(await reasonOf(piping), boom);
  assertStrictEquals(cancelled, boom);
}, { needs: ["native pipe"] });

promise(
  "close() of the queue stops a pipe into it before its next item",
  async (kind) => {
    const queue = kind.create<number>();
    const piping = new ReadableStream<number>().pipeTo(queue.writable);
    await rounds();
    queue.close();
    assertInstanceOf(await reasonOf(piping), QueueClosedError);
  },
  { needs: ["native pipe"] },
);

promise("an error of the sink aborts the queue", async (kind) => {
  const queue = full(kind, [1, 2]);
  const sink = new WritableStream<number>({
    write() {
      throw boom;
    },
  });
  assertStrictEquals(await reasonOf(queue.readable.pipeTo(sink)), boom);
  assertStrictEquals(await reasonOf(queue.closed), boom);
});

promise("preventCancel keeps the queue when the sink breaks", async (kind) => {
  const queue = full(kind, [1, 2, 3]);
  const sink = new WritableStream<number>({
    write() {
      throw boom;
    },
  });
  const piping = queue.readable.pipeTo(sink, { preventCancel: true });
  assertStrictEquals(await reasonOf(piping), boom);
  assertEquals([queue.stats().state, queue.length], ["open", 2]);
  assert(!queue.readable.locked);
});

promise(
  "a pipe whose sink has broken takes nothing that comes later",
  async (kind) => {
    const queue = kind.create<number>();
    let broken!: WritableStreamDefaultController;
    const sink = new WritableStream<number>({
      start(controller) {
        broken = controller;
      },
    });
    const piping = queue.readable.pipeTo(sink, { preventCancel: true });
    await rounds();
    broken.error(boom);
    queue.tryPut(1);
    assertStrictEquals(await reasonOf(piping), boom);
    assertEquals(queue.length, 1);
  },
);

promise(
  "the signal of a pipe stops it and loses nothing that is stored",
  async (kind) => {
    const queue = kind.create<number>();
    const controller = new AbortController();
    const items: number[] = [];
    const piping = queue.readable.pipeTo(sinkInto(items), {
      signal: controller.signal,
      preventCancel: true,
      preventAbort: true,
    });
    queue.tryPut(1);
    await rounds();
    controller.abort(boom);
    assertStrictEquals(await reasonOf(piping), boom);
    queue.tryPut(2);
    assertEquals([items, drain(queue)], [[1], [2]]);
  },
);

promise(
  "the signal of a pipe aborts both ends unless told otherwise",
  async (kind) => {
    const queue = kind.create<number>();
    const controller = new AbortController();
    let aborted: unknown;
    const sink = new WritableStream<number>({
      abort(reason) {
        aborted = reason;
      },
    });
    const piping = queue.readable.pipeTo(sink, { signal: controller.signal });
    controller.abort(boom);
    assertStrictEquals(await reasonOf(piping), boom);
    assertStrictEquals(aborted, boom);
    assertStrictEquals(await reasonOf(queue.closed), boom);
  },
);

promise(
  "fail() reaches the sink of a pipe after the last item",
  async (kind) => {
    const queue = full(kind, [1, 2]);
    const items: number[] = [];
    let aborted: unknown;
    const sink = new WritableStream<number>({
      write: (item) => void items.push(item),
      abort(reason) {
        aborted = reason;
      },
    });
    queue.fail(boom);
    assertStrictEquals(await reasonOf(queue.readable.pipeTo(sink)), boom);
    assertEquals(items, inOrder(kind, [1, 2]));
    assertStrictEquals(aborted, boom);
  },
);

promise("preventClose leaves the sink of a pipe open", async (kind) => {
  const queue = full(kind, [1]);
  queue.close();
  const sink = sinkInto<number>([]);
  await queue.readable.pipeTo(sink, { preventClose: true });
  const writer = sink.getWriter();
  await writer.ready;
  assertEquals(writer.desiredSize, 1);
});

promise("a pipe refuses what is locked or no stream", async (kind) => {
  const queue = kind.create<number>();
  const locked = sinkInto<number>([]);
  locked.getWriter();
  assertInstanceOf(await reasonOf(queue.readable.pipeTo(locked)), TypeError);
  assertInstanceOf(
    await reasonOf(queue.readable.pipeTo({} as WritableStream)),
    TypeError,
  );
  queue.readable.getReader();
  assertInstanceOf(
    await reasonOf(queue.readable.pipeTo(sinkInto([]))),
    TypeError,
  );
});

promise("a pipe waits for room under the policy that rejects", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 1, overflow: "reject" });
  const items: number[] = [];
  await sourceOf([1, 2, 3]).pipeThrough(queue).pipeTo(sinkInto(items));
  assertEquals(items, [1, 2, 3]);
});

promise(
  "a chunk that cannot be put ends the pipe and fails the queue",
  async (kind) => {
    const queue = kind.create<number>({
      size(item) {
        if (item === 2) throw boom;
        return 1;
      },
    });
    assertStrictEquals(
      await reasonOf(sourceOf([1, 2, 3]).pipeTo(queue.writable)),
      boom,
    );
    assertEquals(await queue.get(), 1);
    assertStrictEquals(await reasonOf(queue.get()), boom);
  },
  { needs: ["size", "identity"] },
);

promise(
  "a pipe fulfils when its sink has written the last item",
  async (kind) => {
    const queue = full(kind, [1, 2]);
    queue.close();
    const { written, sink, finish } = slowSink<number>();
    const piping = queue.readable.pipeTo(sink, { preventClose: true });
    await rounds();
    assertEquals(await settled(piping), "pending");
    finish();
    await piping;
    assertEquals(written, inOrder(kind, [1, 2]));
  },
);

promise(
  "fail() lets a slow sink write every item before it is aborted",
  async (kind) => {
    const queue = full(kind, [1, 2, 3]);
    queue.fail(boom);
    const { written, sink, finish } = slowSink<number>();
    const piping = reasonOf(queue.readable.pipeTo(sink));
    await rounds();
    finish();
    assertStrictEquals(await piping, boom);
    assertEquals(written, inOrder(kind, [1, 2, 3]));
  },
);

promise(
  "a pipe that waits for its last write takes nothing more",
  async (kind) => {
    const queue = full(kind, [1]);
    const { written, sink, finish } = slowSink<number>();
    const controller = new AbortController();
    const piping = reasonOf(queue.readable.pipeTo(sink, {
      signal: controller.signal,
      preventAbort: true,
      preventCancel: true,
    }));
    await rounds();
    controller.abort(boom);
    queue.tryPut(2);
    finish();
    assertStrictEquals(await piping, boom);
    assertEquals([written, drain(queue)], [[1], [2]]);
  },
);

promise("a sink that breaks on the last item fails the pipe", async (kind) => {
  const queue = full(kind, [1]);
  queue.close();
  const sink = new WritableStream<number>({
    async write() {
      await rounds();
      throw boom;
    },
  });
  assertStrictEquals(await reasonOf(queue.readable.pipeTo(sink)), boom);
});

promise(
  "a sink that breaks with several writes under way leaves none unhandled",
  async (kind) => {
    const queue = full(kind, [1, 2, 3]);
    const sink = new WritableStream<number>({
      async write() {
        await rounds();
        throw boom;
      },
    }, { highWaterMark: 3 });
    assertStrictEquals(await reasonOf(queue.readable.pipeTo(sink)), boom);
    await rounds();
  },
);

promise("a pipe into a closed sink cancels its queue", async (kind) => {
  const queue = kind.create<number>();
  const sink = sinkInto<number>([]);
  await sink.close();
  const piping = reasonOf(queue.readable.pipeTo(sink));
  await rounds();
  assertEquals(queue.stats().state, "errored");
  assertInstanceOf(await piping, TypeError);
});

promise("preventAbort leaves the sink of a pipe open", async (kind) => {
  const controller = new AbortController();
  const { signal } = controller;
  const stopped = sinkInto<number>([]);
  const stopping = kind.create<number>().readable.pipeTo(stopped, {
    signal,
    preventAbort: true,
  });
  controller.abort(boom);
  assertStrictEquals(await reasonOf(stopping), boom);
  const failed = kind.create<number>();
  failed.fail(boom);
  const sink = sinkInto<number>([]);
  const piping = failed.readable.pipeTo(sink, { preventAbort: true });
  assertStrictEquals(await reasonOf(piping), boom);
  for (const open of [stopped, sink]) {
    const writer = open.getWriter();
    await writer.write(1);
    assertEquals(writer.desiredSize, 1);
  }
});

promise("a pipe and gets take turns, and none is passed over", async (kind) => {
  const queue = kind.create<number>();
  const piped: number[] = [];
  const piping = queue.readable.pipeTo(
    new WritableStream({ write: (item) => void piped.push(item) }, {
      highWaterMark: 10,
    }),
  );
  await rounds();
  const got: number[] = [];
  const gets = [queue.get(), queue.get()].map(async (get) => {
    got.push(await get);
  });
  for (let item = 1; item <= 6; item++) queue.tryPut(item);
  queue.close();
  await Promise.all([piping, ...gets]);
  assertEquals([piped, got], [[1, 4, 5, 6], [2, 3]]);
});

promise(
  "a pipe into a full queue waits, whatever a put would do",
  async (kind) => {
    const queue = kind.create<number>({ highWaterMark: 1, overflow: "reject" });
    const piping = sourceOf([1, 2, 3, 4]).pipeTo(queue.writable);
    await rounds();
    assertEquals(queue.length, 1);
    assertEquals(await collect(queue), [1, 2, 3, 4]);
    await piping;
  },
);

promise("a pipe that waits for room learns of abort()", async (kind) => {
  const queue = kind.create<number>({ highWaterMark: 1, overflow: "reject" });
  const piping = sourceOf([1, 2, 3, 4]).pipeTo(queue.writable);
  await rounds();
  queue.abort(boom);
  assertStrictEquals(await reasonOf(piping), boom);
});

promise("a queue is piped through a transform", async (kind) => {
  const queue = full(kind, [1, 2, 3]);
  queue.close();
  const doubling = new TransformStream<number, number>({
    transform: (item, controller) => controller.enqueue(item * 2),
  });
  assertEquals(
    await readAll(queue.readable.pipeThrough(doubling)),
    inOrder(kind, [2, 4, 6]),
  );
});

promise("pipeThrough() refuses what is locked or no pair", (kind) => {
  const queue = full(kind, [1]);
  const pair = new TransformStream<number, number>();
  const writer = pair.writable.getWriter();
  assertThrows(() => queue.readable.pipeThrough(pair), TypeError);
  writer.releaseLock();
  assertThrows(
    () => queue.readable.pipeThrough({} as TransformStream<number, number>),
    TypeError,
  );
  assertEquals(queue.length, 1);
});

promise("a pipe whose signal has fired already moves nothing", async (kind) => {
  const queue = full(kind, [1, 2]);
  const items: number[] = [];
  const sink = sinkInto(items);
  const reason = await reasonOf(
    queue.consumer().pipeTo(sink, {
      signal: AbortSignal.abort(boom),
      preventAbort: true,
    }),
  );
  assertStrictEquals(reason, boom);
  assert(!sink.locked);
  assertEquals([items, queue.length], [[], 2]);
});

promise("a pipe into a sink that has failed takes nothing", async (kind) => {
  const queue = full(kind, [1, 2]);
  const sink = new WritableStream<number>({
    start: (controller) => controller.error(boom),
  });
  // A stream of workerd that is as young as this one still says it has room.
  await turns();
  const reason = await reasonOf(
    queue.readable.pipeTo(sink, { preventCancel: true }),
  );
  assertStrictEquals(reason, boom);
  assert(!queue.readable.locked);
  assertEquals(queue.length, 2);
});

promise("a pipe rejects with what the end of its sink throws", async (kind) => {
  const queue = full(kind, [1]);
  queue.close();
  const sink = new WritableStream<number>({
    close() {
      throw boom;
    },
  });
  assertStrictEquals(await reasonOf(queue.readable.pipeTo(sink)), boom);
  assert(!sink.locked);
});

/** Options that the standard refuses, and what reading them throws. */
const wrongPipeOptions: [name: string, options: unknown, thrown: unknown][] = [
  ["a controller for a signal", { signal: new AbortController() }, undefined],
  ["null for a signal", { signal: null }, undefined],
  ["a number", 1, undefined],
  ...["preventAbort", "preventCancel", "preventClose", "signal"].map(
    (name): [string, unknown, unknown] => [
      `an option ${name} that throws`,
      Object.defineProperty({}, name, {
        get() {
          throw boom;
        },
      }),
      boom,
    ],
  ),
];

for (const [name, options, thrown] of wrongPipeOptions) {
  promise(`a pipe given ${name} rejects and locks nothing`, async (kind) => {
    const queue = full(kind, [1]);
    for (const readable of [queue.readable, queue.consumer()]) {
      const pair = new TransformStream<number, number>();
      const piping = readable.pipeTo(
        pair.writable,
        options as StreamPipeOptions,
      );
      const reason = await reasonOf(piping);
      if (thrown === undefined) assertInstanceOf(reason, TypeError);
      else assertStrictEquals(reason, thrown);
      let caught: unknown;
      try {
        readable.pipeThrough(pair, options as StreamPipeOptions);
      } catch (error) {
        caught = error;
      }
      if (thrown === undefined) assertInstanceOf(caught, TypeError);
      else assertStrictEquals(caught, thrown);
      assert(!readable.locked && !pair.writable.locked);
    }
    assertEquals(queue.length, 1);
  });
}

promise("a pipe into no stream rejects and locks nothing", async (kind) => {
  const queue = full(kind, [1]);
  for (const sink of [undefined, null, {}, "sink", queue.readable]) {
    const wrong = sink as unknown as WritableStream<number>;
    assertInstanceOf(await reasonOf(queue.readable.pipeTo(wrong)), TypeError);
  }
  const forged = Object.create(WritableStream.prototype);
  assertInstanceOf(await reasonOf(queue.readable.pipeTo(forged)), TypeError);
  assert(!queue.readable.locked);
  assertEquals(queue.length, 1);
});

promise("pipeThrough() refuses a readable that is none", (kind) => {
  const queue = full(kind, [1]);
  const { writable } = new TransformStream<number, number>();
  for (const readable of [undefined, null, {}, writable]) {
    const wrong = { readable, writable } as unknown as TransformStream<
      number,
      number
    >;
    assertThrows(() => queue.readable.pipeThrough(wrong), TypeError);
  }
  for (const pair of [undefined, null, 1]) {
    const wrong = pair as unknown as TransformStream<number, number>;
    assertThrows(() => queue.readable.pipeThrough(wrong), TypeError);
  }
  assert(!queue.readable.locked && !writable.locked);
});

promise(
  "a pipe reads each of its arguments once, in the order of the standard",
  async (kind) => {
    const queue = kind.create<number>();
    queue.close();
    const pair = new TransformStream<number, number>();
    const read: string[] = [];
    const watched = <T extends object>(values: T): T =>
      new Proxy(values, {
        get(target, key): unknown {
          read.push(String(key));
          return Reflect.get(target, key);
        },
      });
    const { readable, writable } = pair;
    const options = watched<StreamPipeOptions>({});
    const piped = queue.readable.pipeThrough(
      watched({ readable, writable }),
      options,
    );
    assertStrictEquals(piped, readable);
    const names = ["preventAbort", "preventCancel", "preventClose", "signal"];
    assertEquals(read.splice(0), ["readable", "writable", ...names]);
    assertEquals(await readAll(piped), []);
    await queue.consumer().pipeTo(new WritableStream(), options);
    assertEquals(read, names);
  },
);

promise(
  "a signal that fires after the end of the source changes nothing",
  async (kind) => {
    for (const end of ["close", "abort"] as const) {
      const queue = kind.create<number>();
      const controller = new AbortController();
      const items: number[] = [];
      const piping = queue.readable.pipeTo(sinkInto(items), {
        signal: controller.signal,
      });
      await rounds();
      queue[end](boom);
      controller.abort(new Error("too late"));
      if (end === "close") await piping;
      else assertStrictEquals(await reasonOf(piping), boom);
    }
  },
);

promise(
  "a pipe that its signal stopped says so, whatever its source ends with meanwhile",
  async (kind) => {
    const queue = full(kind, [1]);
    const { written, sink, finish } = slowSink<number>();
    const controller = new AbortController();
    const piping = queue.readable.pipeTo(sink, { signal: controller.signal });
    await rounds();
    const stopped = new Error("stopped");
    controller.abort(stopped);
    queue.abort(boom);
    finish();
    assertStrictEquals(await reasonOf(piping), stopped);
    assertEquals(written, [1]);
  },
);
