/**
 * One `test()` for every runtime: `Deno.test` on Deno, `bun:test` on Bun,
 * `node:test` on Node.
 *
 * - Every test has a time limit; a hang fails with the name of its test.
 * - A skip says why, and is a failure where `CI=true`.
 * - On Deno the op and resource sanitizers are on, here and in `deno.json`.
 *
 * `tests/` mirrors `src/`: `tests/flow/tee_test.ts` is for `src/flow/tee.ts`. Beside it:
 *
 * - `conformance/`: what every kind of queue promises, on every runtime (`suite.ts` begins).
 * - `model/`: queues beside simpler ones, on random scripts (`reference.ts` begins).
 * - `runtimes/`: runtimes that load no TypeScript, and the package (`entry.ts` begins).
 * - `bench/`: the rows of `bench.ts` (`rows.ts` begins). `fixtures/`: what tests start.
 * - `support/`: this; `waiting`, `streams`, `items`, `sources`, `counted`, `stepped_clock`
 *   for any test; engines, servers and workers by their names; `run_*` are the tasks.
 *
 * @module
 */

import { appendFileSync } from "node:fs";
import process from "node:process";
import { delay } from "@std/async";
import { within } from "./waiting.ts";

/** A runtime that runs the tests under `tests/`. */
export type Runtime = "deno" | "bun" | "node";

/** What a single test may ask for. */
export interface TestOptions {
  /** Time limit in milliseconds. The default is {@linkcode DEFAULT_TIMEOUT}. */
  timeout?: number;
  /**
   * Why the test cannot run here, best with the line that installs what is
   * missing. A failure where `CI=true`. `undefined` and `""` run the test.
   */
  skip?: string | undefined;
  /** `false` switches Deno's op and resource sanitizers off for this test. */
  sanitize?: boolean;
}

/**
 * The time limit of a test that asks for none, in milliseconds. It ends what
 * hangs and says nothing of speed: others may need the machine, too.
 */
export const DEFAULT_TIMEOUT = 120_000;

/** How many times the usual runs a property test makes: `HIGHWATER_RUNS`. */
export const FACTOR: number = Number(process.env["HIGHWATER_RUNS"] || 1);

/** The runtime that the tests run on. */
export const runtime: Runtime = detectRuntime();

/** True where `CI=true`: whatever cannot run is then a failure. */
export const isCI: boolean = process.env["CI"] === "true";

/** The file for the names of tests, by which the runner knows what hangs. */
const journal: string = process.env["HIGHWATER_TEST_JOURNAL"] ?? "";

/** The time within which a runtime's own limit should not be reached. */
const GRACE = 30_000;

type Body = () => void | Promise<void>;
type Register = (name: string, body: Body, options: TestOptions) => void;

interface DenoTests {
  test(definition: {
    name: string;
    fn: Body;
    ignore: boolean;
    sanitizeOps: boolean;
    sanitizeResources: boolean;
  }): void;
}

interface BunTests {
  test: {
    (name: string, body: Body, options: { timeout: number }): void;
    skip(name: string, body: Body): void;
  };
}

interface NodeTests {
  test(
    name: string,
    options: { timeout: number; skip: string | false },
    body: Body,
  ): unknown;
}

const register: Register = await registrar();

/**
 * Registers a test with the runtime's own runner.
 *
 * @example A test
 * ```ts ignore
 * test("get() takes what put() gave", async function () {
 *   const queue = new Queue<number>();
 *   await queue.put(1);
 *   assertEquals(await queue.get(), 1);
 * });
 * ```
 */
export function test(
  name: string,
  fn: () => void | Promise<void>,
  options: TestOptions = {},
): void {
  if (options.skip && isCI) {
    const reason = options.skip;
    register(name, function () {
      throw new Error(`Skipped, which CI=true forbids: ${reason}`);
    }, {});
    return;
  }
  if (options.skip) {
    register(`${name} (skipped: ${options.skip})`, fn, options);
    return;
  }
  const limit = options.timeout ?? DEFAULT_TIMEOUT;
  note("registered", name);
  register(name, async function () {
    note("started", name, limit);
    let end = "failed";
    try {
      await within(limit, fn(), `"${name}"`);
      end = "passed";
    } finally {
      note(end, name);
    }
  }, options);
}

/** True where {@linkcode collectGarbage} does something. */
export function canCollectGarbage(): boolean {
  return collector() !== undefined;
}

/** Runs the garbage collector a few times, with turns of the loop between. */
export async function collectGarbage(): Promise<void> {
  const collect = collector();
  if (collect === undefined) {
    throw new Error("Cannot collect garbage: run with --expose-gc");
  }
  for (let round = 0; round < 4; round++) {
    collect();
    await delay(1);
  }
}

/** The bytes of what is left after a collection. */
export async function heapUsed(): Promise<number> {
  await collectGarbage();
  return process.memoryUsage().heapUsed;
}

function collector(): (() => void) | undefined {
  const scope = globalThis as {
    gc?: () => void;
    Bun?: { gc(force: boolean): void };
  };
  const { Bun, gc } = scope;
  if (Bun !== undefined) {
    return function (): void {
      Bun.gc(true);
    };
  }
  return gc;
}

function detectRuntime(): Runtime {
  if ("Deno" in globalThis) return "deno";
  if ("Bun" in globalThis) return "bun";
  return "node";
}

function note(event: string, name: string, limit?: number): void {
  if (journal === "") return;
  const entry = { event, name, process: process.pid, at: Date.now(), limit };
  appendFileSync(journal, JSON.stringify(entry) + "\n");
}

async function registrar(): Promise<Register> {
  if (runtime === "deno") return registerWithDeno;
  // A name in a variable: no other runtime tries to resolve it beforehand.
  const runner: string = runtime === "bun" ? "bun:test" : "node:test";
  const tests = await import(runner);
  return runtime === "bun" ? registrarOfBun(tests) : registrarOfNode(tests);
}

function registerWithDeno(
  name: string,
  body: Body,
  options: TestOptions,
): void {
  const { Deno } = globalThis as unknown as { Deno: DenoTests };
  const sanitize = options.sanitize ?? true;
  Deno.test({
    name,
    fn: () => failingOnUnhandled(body),
    ignore: Boolean(options.skip),
    sanitizeOps: sanitize,
    sanitizeResources: sanitize,
  });
}

/**
 * Makes an unhandled rejection a failure of its test, as it is one on Bun and
 * Node. Deno by itself would leave out all tests that follow in the file.
 */
async function failingOnUnhandled(body: Body): Promise<void> {
  const reasons: unknown[] = [];
  function note(event: PromiseRejectionEvent): void {
    event.preventDefault();
    reasons.push(event.reason);
  }
  addEventListener("unhandledrejection", note);
  try {
    await body();
  } finally {
    // Deno tells in the next turn of its loop.
    await delay(0);
    removeEventListener("unhandledrejection", note);
  }
  if (reasons.length > 0) {
    throw new Error("A promise was rejected, and nobody handled it", {
      cause: reasons[0],
    });
  }
}

function registrarOfBun(bun: BunTests): Register {
  return function (name, body, options): void {
    if (options.skip) {
      bun.test.skip(name, body);
      return;
    }
    const timeout = (options.timeout ?? DEFAULT_TIMEOUT) + GRACE;
    bun.test(name, body, { timeout });
  };
}

function registrarOfNode(node: NodeTests): Register {
  return function (name, body, options): void {
    const timeout = (options.timeout ?? DEFAULT_TIMEOUT) + GRACE;
    node.test(name, { timeout, skip: options.skip || false }, body);
  };
}
