import { assertEquals } from "@std/assert";
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { outcomeOf } from "../../support/example.ts";
import { runtime, test } from "../../support/harness.ts";

const FILE = fileURLToPath(
  new URL("../../fixtures/port_process.ts", import.meta.url),
);

async function linesOf(how: "idles" | "waits"): Promise<unknown[]> {
  const flags = {
    deno: () => ["run", "-A", "--quiet", "--no-check"],
    bun: () => [],
    node: () => ["--import", import.meta.resolve("tsx")],
  };
  const child = spawn(process.execPath, [...flags[runtime](), FILE, how]);
  const { code, stdout } = await outcomeOf(child);
  return [code, ...stdout.trim().split("\n")];
}

test("port: an open port on which nothing waits lets the process end", async () => {
  assertEquals(await linesOf("idles"), [0, "connected", "done"]);
});

test("port: a get that waits keeps the process alive", async () => {
  assertEquals(await linesOf("waits"), [0, "connected", "came", "done"]);
});
