import { assertEquals } from "@std/assert";
import { linesOf } from "../../support/example.ts";
import { test } from "../../support/harness.ts";

const FILE = "tests/fixtures/pool_process.ts";

test("WorkerPool: one that has no task lets the process end", async () => {
  assertEquals(await linesOf(FILE, "idle"), [0, "ran", "done"]);
  assertEquals(await linesOf(FILE, "never"), [0, "done"]);
});

test("WorkerPool: tasks keep the process alive, unless it was told not to", async () => {
  assertEquals(await linesOf(FILE, "unref"), [0, "ran", "done"]);
  assertEquals(await linesOf(FILE, "ref"), [0, "ran", "waited", "done"]);
});

test("WorkerPool: close() of one that has no task fulfils before the process ends", async () => {
  assertEquals(await linesOf(FILE, "close"), [0, "ran", "closed", "done"]);
});
