import { assertEquals } from "@std/assert";
import { linesOf } from "../../support/example.ts";
import { test } from "../../support/harness.ts";

const FILE = "tests/fixtures/port_process.ts";

test("port: an open port on which nothing waits lets the process end", async () => {
  assertEquals(await linesOf(FILE, "idles"), [0, "connected", "done"]);
});

test("port: a get that waits keeps the process alive", async () => {
  assertEquals(await linesOf(FILE, "waits"), [0, "connected", "came", "done"]);
});
