import { assert, assertEquals, assertRejects } from "@std/assert";
import { SharedQueue, structured } from "../src/threads.ts";
import { test } from "./support/harness.ts";

interface Circle {
  self?: Circle;
  name: string;
}

test("structured: what JSON does not say arrives as it was", async () => {
  const queue = new SharedQueue<unknown>({ codec: structured() });
  const items: unknown[] = [
    undefined,
    null,
    0n,
    -0,
    NaN,
    new Date(5),
    new Map([["a", new Set([1, 2])]]),
    /x/g,
    { deep: [{ er: "ü€😀" }] },
    new Float64Array([1.5, -2]),
    "x".repeat(100_000),
  ];
  for (const item of items) await queue.put(item);
  for (const item of items) assertEquals(await queue.get(), item);
  const circle: Circle = { name: "round" };
  circle.self = circle;
  await queue.put(circle);
  const round = await queue.get() as Circle;
  assert(round.self === round);
  await queue.put(new RangeError("far"));
  const error = await queue.get() as Error;
  assertEquals([error instanceof RangeError, error.message], [true, "far"]);
  queue.detach();
});

test("structured: typed arrays are not views of what the next item is read into", async () => {
  const queue = new SharedQueue<Float64Array>({ codec: structured() });
  await queue.putMany([new Float64Array(64).fill(1), new Float64Array(64)]);
  const first = await queue.get();
  await queue.get();
  assertEquals(first, new Float64Array(64).fill(1));
  queue.detach();
});

test("structured: what cannot be cloned is refused, and nothing is lost", async () => {
  const queue = new SharedQueue<unknown>({ codec: structured() });
  await assertRejects(() => queue.put(() => {}), Error);
  assertEquals(queue.length, 0);
  await queue.put("next");
  assertEquals(await queue.get(), "next");
  queue.detach();
});
