import { systemClock } from "../src/clock.ts";
import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { received } from "../src/errors.ts";
import {
  checkHighWaterMark,
  checkWeight,
  readStrategy,
} from "../src/strategy.ts";
import { LifoQueue, QueueClosedError, QueueFullError } from "../mod.ts";
import { test } from "./support/harness.ts";

test("options: the defaults bound a queue to 16 items that wait", () => {
  assertEquals(readStrategy(undefined), {
    highWaterMark: 16,
    size: undefined,
    overflow: "wait",
    onUndelivered: undefined,
    name: "",
    maxInFlight: Infinity,
    timestamps: false,
    clock: systemClock,
  });
});

test("options: each unusable one is named, with its rule and the value received", () => {
  const bad: [object, string][] = [
    [{ highWaterMark: "9" }, 'highWaterMark must be a number, received "9"'],
    [{ highWaterMark: -1 }, "highWaterMark must be 0 or more, received -1"],
    [{ highWaterMark: NaN }, "highWaterMark must be 0 or more, received NaN"],
    [{ size: 3 }, "size must be a function, received 3"],
    [
      { onUndelivered: [] },
      "onUndelivered must be a function, received an array",
    ],
    [{ name: 7n }, "name must be a string, received 7n"],
    [
      { overflow: "drop" },
      'overflow must be "wait", "drop-oldest", "drop-newest" or "reject", received "drop"',
    ],
  ];
  for (const [options, rule] of bad) {
    const error = assertThrows(() => readStrategy(options as never));
    assertEquals((error as Error).message, `Cannot make a queue: ${rule}`);
  }
  const error = assertThrows(() => readStrategy(5 as never), TypeError);
  assertEquals(
    error.message,
    "Cannot make a queue: options must be an object, received 5",
  );
});

test("options: what is no number is a TypeError, a number out of range a RangeError", () => {
  assertThrows(() => checkHighWaterMark("x", null), TypeError);
  assertThrows(() => checkHighWaterMark("x", -0.1), RangeError);
  for (const fine of [0, 0.5, Infinity]) checkHighWaterMark("x", fine);
});

test("options: a strategy whose marks are getters of its class works for every kind", () => {
  const strategy = new ByteLengthQueuingStrategy({ highWaterMark: 100 });
  const queue = new LifoQueue<Uint8Array>(strategy as never);
  queue.tryPut(new Uint8Array(60));
  assertEquals([queue.highWaterMark, queue.desiredSize], [100, 40]);
});

test("size: only finite numbers of 0 or more weigh something", () => {
  for (const fine of [0, 0.25, 1e9]) assertEquals(checkWeight(fine), fine);
  for (const bad of [-1, NaN, Infinity, "1", undefined, null]) {
    assertThrows(() => checkWeight(bad), RangeError, "size(item)");
  }
});

test("errors: carry an item only when there was one, and do not print it", () => {
  const without = new QueueClosedError("message");
  assertEquals([without.name, "item" in without], ["QueueClosedError", false]);
  const nothing = new QueueFullError("message", { item: undefined });
  assertEquals(["item" in nothing, Object.keys(nothing).includes("item")], [
    true,
    false,
  ]);
  const cause = new Error("cause");
  assertEquals(new QueueClosedError("message", { cause }).cause, cause);
  assertInstanceOf(nothing, Error);
});

test("errors: a value is shown so that its type can be told", () => {
  class Thing {}
  const shown: [unknown, string][] = [
    ["a", '"a"'],
    [1, "1"],
    [2n, "2n"],
    [undefined, "undefined"],
    [null, "null"],
    [[], "an array"],
    [new Thing(), "an object of Thing"],
    [Object.create(null), "an object of no class"],
    [received, "function received"],
    [Symbol("s"), "Symbol(s)"],
  ];
  for (const [value, text] of shown) assertEquals(received(value), text);
});
