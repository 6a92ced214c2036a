import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outcomeOf, startExample } from "../support/example.ts";
import { test } from "../support/harness.ts";
import { noNats, startNats } from "../support/nats_server.ts";
import { noRedis, startRedis } from "../support/redis_server.ts";

const EXAMPLE = "distributed/find_duplicates.ts";

function folderWithDuplicates(): string {
  const folder = mkdtempSync(join(tmpdir(), "highwater-distributed-"));
  mkdirSync(join(folder, "below"));
  for (let index = 0; index < 40; index++) {
    const text = `contents ${index % 10}`;
    writeFileSync(join(folder, index % 2 ? "below" : ".", `${index}`), text);
  }
  return folder;
}

interface Answer {
  found: number;
  hashed: number;
  failed: number;
  replaced: number;
  groups: { paths: string[] }[];
}

async function find(server: string, options: string[] = []): Promise<Answer> {
  const folder = folderWithDuplicates();
  try {
    const { code, stdout, stderr } = await outcomeOf(
      startExample(EXAMPLE, ["--server", server, "--json", ...options, folder]),
    );
    assertEquals([code, stderr], [0, ""]);
    return JSON.parse(stdout) as Answer;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function check({ found, hashed, failed, replaced, groups }: Answer): void {
  assertEquals([found, hashed, failed, replaced], [40, 40, 0, 0]);
  assertEquals(groups.map(({ paths }) => paths.length), Array(10).fill(4));
}

test(
  "distributed: over Redis every file is hashed by some process, and nothing is left behind",
  async () => {
    await using server = await startRedis();
    check(await find(`redis://${server.address}`));
    const { createClient } = await import("redis");
    const client = await createClient({ url: `redis://${server.address}` })
      .connect();
    const keys = await client.dbSize();
    await client.close();
    assertEquals(keys, 0);
  },
  { skip: noRedis },
);

test(
  "distributed: what fails for good is counted by the process that counts",
  async () => {
    await using server = await startRedis();
    const { found, hashed, failed } = await find(`redis://${server.address}`, [
      "--fail-rate",
      "1",
    ]);
    assertEquals(found, hashed + failed);
    assert(failed > 0);
  },
  { skip: noRedis },
);

test("distributed: over NATS, with the same handler", async () => {
  await using server = await startNats();
  check(await find(`nats://${server.address}`));
}, { skip: noNats });

test("distributed: without a server it says what is missing", async () => {
  const { code, stderr } = await outcomeOf(
    startExample(EXAMPLE, ["--server", "redis://127.0.0.1:1", "."]),
  );
  assertEquals(code, 2);
  assertStringIncludes(stderr, "No Redis answers at 127.0.0.1:1");
  assertStringIncludes(stderr, "apt-get install redis-server");
});
