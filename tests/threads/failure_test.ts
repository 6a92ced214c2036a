import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
} from "@std/assert";
import { QueueClosedError, QueueFullError } from "../../mod.ts";
import { wordsFor } from "../../src/errors.ts";
import {
  isPackedReason,
  packReason,
  unpackReason,
} from "../../src/threads/failure.ts";
import {
  readReason,
  writeReason,
} from "../../src/threads/shared/reason_text.ts";
import { hostile } from "../support/hostile.ts";
import { test } from "../support/harness.ts";

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

test("reasons: what somebody has hung on an error crosses, as far as it can be cloned", () => {
  const error = Object.assign(new TypeError("no"), {
    status: 503,
    errno: -104,
    code: "ECONNRESET",
    details: new Map([["retry", [1, 2]]]),
    inner: Object.assign(new RangeError("deeper"), { depth: 2 }),
    request: { send(): void {} },
    nothing: undefined,
    ["__proto__x"]: 1,
  });
  Object.defineProperty(error, "__proto__", { value: 1, enumerable: true });
  Object.defineProperty(error, "hidden", { value: 1 });
  Object.defineProperty(error, "broken", {
    enumerable: true,
    get(): never {
      throw new Error("not for you");
    },
  });
  const there = across(error) as typeof error;
  assertInstanceOf(there, TypeError);
  assertEquals(
    Object.keys(there).sort(),
    [
      ...["__proto__", "__proto__x", "code", "details", "errno", "inner"],
      ...["nothing", "status"],
    ],
  );
  assertEquals(
    [there.status, there.errno, there.code, there.details.get("retry")],
    [503, -104, "ECONNRESET", [1, 2]],
  );
  assertInstanceOf(there.inner, RangeError);
  assertEquals([there.inner.message, there.inner.depth], ["deeper", 2]);
  const again = across(there) as typeof error;
  assertEquals([again.status, again.inner.depth], [503, 2]);
});

test("reasons: own fields cross in the shared memory, and are cut before the message", () => {
  const error = Object.assign(new Error("no"), { status: 503, big: 2n });
  const there = readReason(writeReason(error)) as typeof error;
  assertEquals([there.message, there.status], ["no", 503]);
  const large = Object.assign(new Error("no"), { body: "x".repeat(20_000) });
  const cut = readReason(writeReason(large)) as typeof large;
  assertEquals([cut.message, cut.body], ["no", undefined]);
});

test("reasons: a circle is one in the shared memory too", () => {
  const circle: { self?: unknown } = {};
  circle.self = circle;
  assertEquals(readReason(writeReason(circle)), "[object Object]");
  const error = Object.assign(new Error("round"), { circle });
  assertEquals((readReason(writeReason(error)) as Error).message, "round");
});

test("reasons: names that objects have by nature are names like others", () => {
  for (const name of ["constructor", "toString", "valueOf", "__proto__"]) {
    const error = new Error("odd");
    error.name = name;
    const there = across(error) as Error;
    assertInstanceOf(there, Error);
    assertEquals([there.name, there.message], [name, "odd"]);
  }
});

test("reasons: what throws whatever is done with it crosses as some words", () => {
  for (const value of [hostile({}), hostile(() => {}), hostile([])]) {
    assertEquals(across(value), "a value that cannot be looked at");
    const there = across(new Error("mine", { cause: value })) as Error;
    assertEquals(there.cause, "a value that cannot be looked at");
    assertEquals(wordsFor(value), "a value that cannot be looked at");
  }
  assertInstanceOf(across(hostile(new Error("x"), "no prototype")), Error);
});

test("reasons: an error in words has its fields with it", () => {
  const error = Object.assign(new TypeError("no"), {
    status: 503,
    big: 3n,
    odd: Symbol("no text"),
    deep: { a: [1] },
  });
  assertEquals(
    wordsFor(error),
    'TypeError: no {"status":503,"big":"3","deep":{"a":[1]}}',
  );
  assertEquals(wordsFor(new Error("plain")), "Error: plain");
  assertEquals(wordsFor("text"), "text");
});

test("reasons: what is packed is known from what is not", () => {
  const packed = packReason(
    Object.assign(new AggregateError([1], "a", { cause: 2 }), { status: 1 }),
  );
  assert(isPackedReason(structuredClone(packed)));
  for (
    const other of [
      ...[undefined, null, 1, "error", {}, [], { kind: "error" }],
      ...[{ ...packed, name: 1 }, { ...packed, message: undefined }],
      ...[{ ...packed, stack: 1 }, { ...packed, code: {} }],
      ...[{ ...packed, cause: 1 }, { ...packed, errors: {} }],
      ...[{ ...packed, errors: [1] }, { ...packed, fields: [["status"]] }],
      ...[{ ...packed, isDOMException: 1 }, { kind: "other", value: 1 }],
    ]
  ) assert(!isPackedReason(other), JSON.stringify(other));
});
