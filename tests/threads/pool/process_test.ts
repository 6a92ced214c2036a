import { assertEquals } from "@std/assert";
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { outcomeOf } from "../../support/example.ts";
import { runtime, test } from "../../support/harness.ts";

const FILE = fileURLToPath(
  new URL("../../fixtures/pool_process.ts", import.meta.url),
);

async function linesOf(how: string): Promise<unknown[]> {
  const flags = {
    deno: () => ["run", "-A", "--quiet", "--no-check"],
    bun: () => [],
    node: () => ["--no-warnings", "--import", import.meta.resolve("tsx")],
  };
  const child = spawn(process.execPath, [...flags[runtime](), FILE, how]);
  const { code, stdout } = await outcomeOf(child);
  return [code, ...stdout.trim().split("\n")];
}

test("WorkerPool: one that has no task lets the process end", async () => {
  assertEquals(await linesOf("idle"), [0, "ran", "done"]);
  assertEquals(await linesOf("never"), [0, "done"]);
});

test("WorkerPool: tasks keep the process alive, unless it was told not to", async () => {
  assertEquals(await linesOf("unref"), [0, "ran", "done"]);
  assertEquals(await linesOf("ref"), [0, "ran", "waited", "done"]);
});

test("WorkerPool: close() of one that has no task fulfils before the process ends", async () => {
  assertEquals(await linesOf("close"), [0, "ran", "closed", "done"]);
});
