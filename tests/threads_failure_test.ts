import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
} from "@std/assert";
import { QueueClosedError, QueueFullError } from "../mod.ts";
import { packReason, unpackReason } from "../src/threads/failure.ts";
import { test } from "./support/harness.ts";

/** As it comes out of another thread. */
function across(reason: unknown): unknown {
  return unpackReason(structuredClone(packReason(reason)));
}

test("reasons: an error keeps its class, name, message, stack and code", () => {
  for (
    const error of [
      new Error("plain"),
      new TypeError("type"),
      new RangeError("range"),
      new SyntaxError("syntax"),
      new QueueClosedError("closed"),
      new QueueFullError("full"),
    ]
  ) {
    Object.assign(error, { code: "E_CODE" });
    const there = across(error) as Error & { code: unknown };
    assertStrictEquals(there.constructor, error.constructor);
    assertEquals(
      [there.name, there.message, there.stack, there.code],
      [error.name, error.message, error.stack, "E_CODE"],
    );
    assert(!Object.keys(there).includes("stack"));
  }
});

test("reasons: a class of one's own comes as an Error of that name", () => {
  class ParseError extends Error {
    override name = "ParseError";
  }
  const there = across(new ParseError("line 3"));
  assertInstanceOf(there, Error);
  assertEquals([there.name, there.message], ["ParseError", "line 3"]);
});

test("reasons: a DOMException stays one", () => {
  const there = across(AbortSignal.abort().reason);
  assertInstanceOf(there, DOMException);
  assertEquals(there.name, "AbortError");
  const timeout = across(new DOMException("late", "TimeoutError"));
  assertInstanceOf(timeout, DOMException);
  assertEquals([timeout.name, timeout.message], ["TimeoutError", "late"]);
});

test("reasons: causes and the errors of an AggregateError come along", () => {
  const error = new AggregateError(
    [new TypeError("first"), "second"],
    "both",
    { cause: new RangeError("why", { cause: 7 }) },
  );
  const there = across(error) as AggregateError;
  assertInstanceOf(there, AggregateError);
  assertInstanceOf(there.errors[0], TypeError);
  assertEquals(there.errors[1], "second");
  assertInstanceOf(there.cause, RangeError);
  assertEquals(there.cause.cause, 7);
});

test("reasons: a circle of causes has an end", () => {
  const error = new Error("round");
  error.cause = error;
  let there = across(error) as Error;
  let depth = 0;
  while (there.cause !== undefined) {
    there = there.cause as Error;
    depth++;
  }
  assert(depth > 0 && depth < 20, `${depth} causes`);
});

test("reasons: any value is one, what cannot be cloned as its text", () => {
  for (const value of [undefined, null, 0, "text", { a: [1] }]) {
    assertEquals(across(value), value);
  }
  assertEquals(across(Symbol("mine")), "Symbol(mine)");
  assertEquals(typeof across(() => 1), "string");
  const hostile = {
    method(): void {},
    toString(): string {
      throw new Error("no text");
    },
  };
  assertEquals(across(hostile), "[object Object]");
});

test("reasons: an error whose properties throw is still a reason", () => {
  const error = new Error("hostile");
  for (const name of ["code", "errors", "cause", "stack"]) {
    Object.defineProperty(error, name, {
      get(): never {
        throw new Error(`no ${name}`);
      },
    });
  }
  const there = across(error) as Error;
  assertInstanceOf(there, Error);
  assertEquals(there.message, "hostile");
});

test("reasons: a name that is no text does no harm", () => {
  const error = new Error("odd");
  Object.assign(error, { name: { toString: null }, message: Symbol("odd") });
  assertInstanceOf(across(error), Error);
});

test("a reason that throws when it is looked at crosses with what can be seen of it", () => {
  const error = new TypeError("seen");
  Object.defineProperty(error, "code", {
    get() {
      throw new Error("not for you");
    },
  });
  const arrived = unpackReason(structuredClone(packReason(error))) as Error;
  assertEquals([arrived.name, arrived.message], ["TypeError", "seen"]);
});
