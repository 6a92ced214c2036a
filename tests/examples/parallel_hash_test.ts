/**
 * `examples/parallel_hash.ts` in a process of its own, on the runtime that runs
 * this test, against the hashes computed here.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { outcomeOf, startExample, withFolder } from "../support/example.ts";
import { runtime, test } from "../support/harness.ts";

/** Node 20 reads no TypeScript in a worker. */
const READS_WORKER = runtime !== "node" ||
  Number(process.versions.node.split(".")[0]) >= 22;

interface Report {
  groups: { size: number; hash: string; paths: string[] }[];
  files: number;
  size: number;
  workers: number;
  speedUp: number;
}

function withTree(
  use: (folder: string) => Promise<void>,
): Promise<void> {
  return withFolder(async (folder) => {
    mkdirSync(join(folder, "below"));
    for (let file = 0; file < 40; file++) {
      // Four contents, of which one is there once only.
      const kind = file === 0 ? 0 : 1 + file % 3;
      const place = file % 2 === 0 ? folder : join(folder, "below");
      writeFileSync(join(place, `file${file}`), `${kind}`.repeat(1_000 * kind));
    }
    await use(folder);
  });
}

if (READS_WORKER) {
  test("parallel_hash finds the duplicates, and says how fast", async () => {
    await withTree(async (folder) => {
      const args = ["--rounds=1", "--workers=2", folder];
      const outcomes = await Promise.all(
        [["--json", ...args], args].map((args) =>
          outcomeOf(startExample("parallel_hash.ts", args))
        ),
      );
      for (const { code, stderr } of outcomes) {
        assertEquals([code, stderr], [0, ""]);
      }
      const [json, text] = outcomes.map(({ stdout }) => stdout);
      const { groups, files, workers, speedUp } = JSON.parse(json!) as Report;
      assertEquals([files, workers, speedUp > 0], [40, 2, true]);
      assertEquals(groups.length, 3);
      assertEquals(groups.flatMap(({ paths }) => paths).length, 39);
      for (const { size, hash } of groups) {
        const kind = size / 1_000;
        const contents = `${kind}`.repeat(size);
        const digest = createHash("sha256").update(contents).digest("hex");
        assertEquals(hash, digest);
      }
      const lines = text!.trimEnd().split("\n");
      assertMatch(
        lines.at(-1)!,
        /^40 files, [\d.]+ kB: one thread [\d.]+ s, 2 workers [\d.]+ s, [\d.]+ times as fast$/,
      );
      assertEquals(lines.filter((line) => line.startsWith("  ")).length, 39);
    });
  });

  test(
    "parallel_hash answers what it cannot do with a line and 2",
    async () => {
      const { code, stdout, stderr } = await outcomeOf(
        startExample("parallel_hash.ts", ["--rounds=0"]),
      );
      assertEquals([code, stdout], [2, ""]);
      assert(
        stderr.includes("--rounds takes a whole number from 1 on"),
        stderr,
      );
    },
  );
} else {
  test(
    "parallel_hash ends with the reason where no worker can be started",
    async () => {
      const { code, stdout, stderr } = await outcomeOf(
        startExample("parallel_hash.ts", []),
      );
      assertEquals([code, stdout], [1, ""]);
      assert(stderr.includes("Cannot start the workers of the pool"), stderr);
    },
  );
}
