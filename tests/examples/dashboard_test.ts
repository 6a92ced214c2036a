/**
 * `examples/find_duplicates.ts --dashboard` in a process of its own, on the
 * runtime that runs this test, over a real connection.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { outcomeOf, startExample, withFolder } from "../support/example.ts";
import { test } from "../support/harness.ts";

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
}

test("find_duplicates --dashboard serves until Ctrl-C", async function () {
  await withTree(async (folder) => {
    const child = startExample("find_duplicates.ts", ["--dashboard", folder]);
    const outcome = outcomeOf(child);
    const done = says(child, "stderr", "stays until Ctrl-C");
    const address = await addressOf(child);
    assertMatch(address, /^http:\/\/127\.0\.0\.1:\d+\/$/);
    await done;

    const page = await ask(address);
    assertEquals(page.status, 200);
    assertMatch(String(page.headers["content-security-policy"]), /'none'/);
    assertMatch(page.text, /<h2 [^>]*>files to hash<\/h2>/);
    const metrics = await ask(`${address}metrics`);
    assertMatch(
      metrics.text,
      /put_total\{queue="files to hash",index="0"\} 2\n/,
    );
    const events = await ask(`${address}events`);
    assertMatch(events.text, /^data: \{.*\}\n\ndata: \{.*\}\n\nevent: end\n/);
    assertEquals((await ask(`${address}else`)).status, 404);
    const { port } = new URL(address);
    const rebound = await ask(address, { host: `example.com:${port}` });
    assertEquals([rebound.status, rebound.text], [401, ""]);

    if (child.pid !== undefined) process.kill(child.pid, "SIGINT");
    const { code, stdout } = await outcome;
    assertEquals(code, 0);
    assertMatch(stdout, /1 spare copies in 1 groups/);
  });
});

test(
  "find_duplicates --dashboard --json ends with its work",
  async function () {
    await withTree(async (folder) => {
      const { code, stdout, stderr } = await outcomeOf(
        startExample("find_duplicates.ts", ["--dashboard", "--json", folder]),
      );
      assertEquals([code, JSON.parse(stdout).groups.length], [0, 1]);
      assertMatch(stderr, /^Dashboard: http/m);
      assert(!stderr.includes("Ctrl-C"));
    });
  },
);

function withTree(
  use: (folder: string) => Promise<void>,
): Promise<void> {
  return withFolder(async (folder) => {
    for (const name of ["one", "two"]) {
      writeFileSync(join(folder, name), "same");
    }
    await use(folder);
  });
}

async function addressOf(child: ChildProcess): Promise<string> {
  const said = await says(child, "stderr", "Dashboard: ");
  return /Dashboard: (\S+)/.exec(said)![1]!;
}

/** What a process says until it has said that. */
function says(
  child: ChildProcess,
  where: "stdout" | "stderr",
  wanted: string,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    child[where]!.on("data", (data) => {
      said += data;
      if (said.includes(wanted) && said.endsWith("\n")) resolve(said);
    });
    child.once("exit", () => reject(new Error(`ended without "${wanted}"`)));
  });
}

/** Not `fetch`, which does not let a test set the host, and keeps connections. */
function ask(
  address: string,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    get(address, { agent: false, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part) => text += part);
      response.once("error", reject);
      response.once("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
        }));
    }).once("error", reject);
  });
}
