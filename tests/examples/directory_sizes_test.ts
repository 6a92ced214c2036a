import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Outcome,
  outcomeOf,
  startExample,
  withFolder,
} from "../support/example.ts";
import { test } from "../support/harness.ts";

interface Report {
  workers: number;
  outcomes: {
    strategy: string;
    perWorker: number[];
    bytes: Record<string, number>;
    unreadable: number;
  }[];
}

function run(args: string[]): Promise<Outcome> {
  return outcomeOf(startExample("directory_sizes.ts", args));
}

/** Four folders; below the first is nearly everything: 300 folders, three files in each. */
function withTree(
  use: (folder: string) => Promise<void>,
): Promise<void> {
  return withFolder(async (folder) => {
    for (const name of ["heavy", "light", "little", "low"]) {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, "file"), "x".repeat(10));
    }
    for (let branch = 0; branch < 10; branch++) {
      for (let twig = 0; twig < 30; twig++) {
        const path = join(folder, "heavy", `b${branch}`, `t${twig}`);
        mkdirSync(path, { recursive: true });
        for (let file = 0; file < 3; file++) {
          writeFileSync(join(path, `f${file}`), "x".repeat(7));
        }
      }
    }
    await use(folder);
  });
}

test(
  "directory_sizes: every strategy finds the same, and only static lanes leave it to one worker",
  async () => {
    await withTree(async (folder) => {
      const { code, stdout, stderr } = await run(["--json", folder]);
      assertEquals([code, stderr], [0, ""]);
      const { outcomes } = JSON.parse(stdout) as Report;
      assertEquals(outcomes.map(({ strategy }) => strategy), [
        "shared queue",
        "static lanes",
        "stealing lanes",
      ]);
      for (const { bytes, unreadable, perWorker } of outcomes) {
        assertEquals(bytes, {
          heavy: 10 + 900 * 7,
          light: 10,
          little: 10,
          low: 10,
        });
        assertEquals(unreadable, 0);
        const entries = perWorker.reduce((sum, count) => sum + count, 0);
        assertEquals(entries, 4 + 10 + 300 + 900);
      }
      const busiest = outcomes.map(({ perWorker }) => Math.max(...perWorker));
      assertEquals(busiest[1], 1 + 10 + 300 + 900);
      assert(busiest[2]! < busiest[1]! * 0.75, `stealing: ${busiest[2]}`);
    });
  },
);

test(
  "directory_sizes: prints the largest folders and a table of the makespans",
  async () => {
    await withTree(async (folder) => {
      const { code, stdout } = await run(["--workers", "2", folder]);
      assertEquals(code, 0);
      assertStringIncludes(stdout, "KiB  heavy");
      for (
        const strategy of ["shared queue", "static lanes", "stealing lanes"]
      ) {
        assertMatch(
          stdout,
          new RegExp(`^${strategy} +\\d+ % +\\d+ % +\\d+ ms$`, "m"),
        );
      }
    });
  },
);

test(
  "directory_sizes: what it cannot use is named, with exit code 2",
  async () => {
    const wrong: [string[], string][] = [
      [["--workers", "0"], "--workers must be a whole number of 1 or more"],
      [["--speed"], "--speed"],
      [["a", "b"], "one folder, received a b"],
      [["/no/such/folder"], "Cannot read the folder"],
    ];
    for (const [args, message] of wrong) {
      const { code, stderr } = await run(args);
      assertEquals(code, 2);
      assertStringIncludes(stderr, message);
    }
  },
);
