import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  consume,
  type DeadLetter,
  Queue,
  QueueClosedError,
  replay,
} from "../../mod.ts";
import { numbers } from "../support/counted.ts";
import { test } from "../support/harness.ts";
import { Lending } from "../support/lending.ts";
import { turn } from "../support/properties.ts";
import { SteppedClock } from "../support/stepped_clock.ts";

function letterOf(item: number): DeadLetter<number> {
  const errors = { first: "error", last: "error" };
  return {
    item,
    attempts: 1,
    errors,
    firstAt: 0,
    lastAt: 0,
    reason: "attempts",
  };
}

test("replay: puts the items back in order, and waits while the queue is full", async () => {
  const letters = [0, 1, 2, 3].map(letterOf);
  const queue = new Queue<number>({ highWaterMark: 2 });
  const replaying = replay(letters, queue);
  await turn();
  assertEquals([queue.length, queue.stats().waitingPuts], [2, 1]);
  assertEquals(await queue.getMany(9), [0, 1, 2]);
  assertEquals(await replaying, 4);
  assertEquals(await queue.getMany(9), [3]);
});

test("replay: max ends it on a queue that stays open, and takes no more", async () => {
  const letters = new Queue<DeadLetter<number>>();
  await letters.putMany([0, 1, 2].map(letterOf));
  const queue = new Queue<number>();
  assertEquals(await replay(letters, queue, { max: 0 }), 0);
  assertEquals(await replay(letters, queue, { max: 2 }), 2);
  assertEquals([letters.length, letters.stats().state], [1, "open"]);
  assertEquals(queue.clear(), [0, 1]);

  const lending = new Lending([0, 1, 2].map(letterOf), new SteppedClock());
  assertEquals(await replay(lending, queue, { max: 2 }), 2);
  assertEquals([lending.stored.length, lending.lent], [1, 0]);
});

test("replay: a letter whose put fails goes back", async () => {
  const queue = new Queue<number>();
  queue.close();
  const lending = new Lending([0, 1].map(letterOf), new SteppedClock());
  const error = await assertRejects(
    () => replay(lending, queue),
    QueueClosedError,
  );
  assertEquals(error.item, 0);
  assertEquals(lending.stored.map(({ item }) => item.item), [0, 1]);

  const source = numbers(5);
  const reported: number[] = [];
  await assertRejects(() =>
    replay(mapped(source), queue, {
      onUndelivered: ({ item }) => void reported.push(item),
    })
  );
  assertEquals([reported, source.pulled], [[0], 1]);
});

async function* mapped(
  source: AsyncIterable<number>,
): AsyncGenerator<DeadLetter<number>> {
  for await (const item of source) yield letterOf(item);
}

test("replay: a signal ends it, and the letter in hand goes back", async () => {
  const queue = new Queue<number>({ highWaterMark: 1 });
  const lending = new Lending([0, 1, 2].map(letterOf), new SteppedClock());
  const stop = new AbortController();
  const replaying = replay(lending, queue, { signal: stop.signal });
  await turn();
  stop.abort();
  assertEquals(await replaying, 1);
  assertEquals(lending.stored.map(({ item }) => item.item), [1, 2]);
  assertEquals([queue.length, queue.stats().waitingPuts], [1, 0]);
});

test("replay: what was dead-lettered is worked on again", async () => {
  const letters = new Queue<DeadLetter<string>>();
  await consume(["a", "b"], () => Promise.reject("down"), {
    deadLetter: letters,
  });
  letters.close();
  const tasks = new Queue<string>();
  assertEquals(await replay(letters, tasks), 2);
  assertEquals(tasks.clear(), ["a", "b"]);
});

test("replay: an argument that cannot be used is named", async () => {
  const queue = new Queue<number>();
  const bad: [unknown, unknown, unknown, string][] = [
    [1, queue, {}, "source must be a ReadableStream or iterable, received 1"],
    [[], {}, {}, "queue must be something to put into, received an object"],
    [[], queue, 1, "options must be an object, received 1"],
    [[], queue, { max: -1 }, "max must be a whole number of 0 or more"],
  ];
  for (const [source, target, options, rule] of bad) {
    const error = await assertRejects(() =>
      replay(source as never, target as never, options as never)
    );
    assert(error instanceof TypeError || error instanceof RangeError);
    assert(error.message.startsWith(`Cannot replay: ${rule}`), error.message);
  }
});
