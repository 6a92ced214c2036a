/**
 * `examples/find_duplicates.ts` in a process of its own, on the runtime that
 * runs this test, against `sha256sum` on a tree of thousands of files.
 *
 * @module
 */

import {
  assertEquals,
  assertGreater,
  assertGreaterOrEqual,
  assertLess,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { type ChildProcess, spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Outcome, outcomeOf, startExample } from "../support/example.ts";
import { test } from "../support/harness.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const EXAMPLE = join(ROOT, "examples/find_duplicates.ts");
const SEED = 20_261_124;
const FILES = 2_400;

interface Report {
  folder: string;
  interrupted: boolean;
  found: number;
  hashed: number;
  bytes: number;
  unreadable: number;
  retried: number;
  failed: { path: string; attempts: number; error: string }[];
  groups: { size: number; hash: string; paths: string[] }[];
}

test("find_duplicates finds what sha256sum finds", async function () {
  await withTree(makeTree, async (folder) => {
    const expected = groupsBySha256sum(folder);
    assertGreater(expected.length, 100);

    const { code, stdout, stderr } = await run(["--json", folder]);
    assertEquals(code, 0);
    const report = JSON.parse(stdout) as Report;
    assertEquals(groupsOf(report), expected);
    assertEquals(report.found, FILES);
    assertEquals(report.hashed, FILES);
    assertEquals(report.interrupted, false);
    assertEquals([report.retried, report.failed], [0, []]);
    for (const { size, paths } of report.groups) {
      for (const path of paths) assertEquals(readFileSync(path).length, size);
    }
    const wasted = report.groups.map(({ size, paths }) =>
      size * (paths.length - 1)
    );
    assertEquals(wasted, wasted.toSorted((one, other) => other - one));

    // The folder and the file whose paths are too long for the system.
    assertEquals(report.unreadable, 2);
    assertEquals(stderr.match(/^Cannot read: .*ENAMETOOLONG/gm)?.length, 2);
  });
});

test(
  "find_duplicates gives the same answer whatever the queue holds",
  async function () {
    await withTree(makeTree, async (folder) => {
      const expected = groupsBySha256sum(folder);
      for (const highWaterMark of ["0", "1", "1000"]) {
        const { code, stdout } = await run([
          "--json",
          "--concurrency=8",
          `--high-water-mark=${highWaterMark}`,
          folder,
        ]);
        assertEquals(code, 0);
        assertEquals(groupsOf(JSON.parse(stdout) as Report), expected);
      }
    });
  },
);

test(
  "find_duplicates --fail-rate: what fails is tried again or given up, and every file is accounted for",
  async function () {
    await withTree(makeTree, async (folder) => {
      const { code, stdout, stderr } = await run([
        "--json",
        "--fail-rate",
        "0.05",
        folder,
      ]);
      assertEquals(code, 0);
      const report = JSON.parse(stdout) as Report;
      const { found, hashed, failed, retried } = report;
      assertEquals(found, FILES);
      assertEquals(hashed + failed.length, FILES);
      // About 120 files fail at first; those given up have been tried twice more.
      assertGreater(failed.length, 5);
      assertGreater(retried, failed.length * 2);
      assertLess(retried + failed.length, FILES / 4);
      assertEquals(new Set(failed.map(({ path }) => path)).size, failed.length);
      for (const { path, attempts, error } of failed) {
        assertEquals([attempts, statSync(path).isFile()], [3, true]);
        assertStringIncludes(error, "failed as asked, attempt 3");
      }
      assertEquals(
        stderr.match(/^Cannot read: failed as asked/gm)?.length,
        failed.length,
      );
      assertEquals(report.unreadable, 2 + failed.length);
      const given = new Set(failed.map(({ path }) => path));
      const expected = groupsBySha256sum(folder)
        .map((paths) => paths.filter((path) => !given.has(path)))
        .filter(({ length }) => length > 1);
      assertEquals(groupsOf(report), sorted(expected));

      const all = await run(["--fail-rate=1", "--concurrency=64", folder]);
      const line = all.stdout.trimEnd().split("\n").at(-1) ?? "";
      const match =
        /2400 files found, (\d+) hashed, (\d+) unreadable; (\d+) retries, (\d+) given up$/
          .exec(line);
      const [, hashedNow, unreadable, retries, givenUp] = (match ?? []).map(
        Number,
      );
      assertEquals(hashedNow! + givenUp!, FILES);
      assertEquals(unreadable, 2 + givenUp!);
      assertGreater(retries!, FILES);
    });
  },
);

test(
  "find_duplicates writes plain lines where there is no terminal",
  async function () {
    await withTree(makeTree, async (folder) => {
      const { code, stdout, stderr } = await run([folder]);
      assertEquals(code, 0);
      for (const text of [stdout, stderr]) {
        assertEquals(text.match(/(?!\n)\p{Cc}/gu), null);
      }
      assertStringIncludes(stderr, `${FILES} found, ${FILES} hashed, `);
      assertMatch(stderr, /\/s, queue 0\/64, waiting: /);
      assertStringIncludes(stdout, "\\u{a}");
      const lines = stdout.trimEnd().split("\n");
      const expected = groupsBySha256sum(folder);
      const paths = lines.filter((line) => line.startsWith("  "));
      assertEquals(paths.length, expected.flat().length);
      assertEquals(
        lines.filter((line) => / wasted: \d+ × \d+ B$/.test(line)).length,
        expected.length,
      );
      assertMatch(
        lines.at(-1) ?? "",
        /^\d+ spare copies in \d+ groups, .* wasted; 2400 files found, 2400 hashed, 2 unreadable$/,
      );
    });
  },
);

test(
  "find_duplicates --min-size leaves the smaller files out",
  async function () {
    await withTree(makeSmallTree, async (folder) => {
      const all = await report(["--json", folder]);
      assertEquals(all.groups.map(({ size }) => size), [100, 3, 0]);
      const some = await report(["--json", "--min-size", "3", folder]);
      assertEquals(some.groups.map(({ size }) => size), [100, 3]);
      assertEquals(some.found, 4);
      const large = await report(["--json", "--min-size=101", folder]);
      assertEquals([large.found, large.groups], [0, []]);
    });
  },
);

test(
  "find_duplicates looks at the current folder unless told",
  async function () {
    const cwd = join(ROOT, "examples");
    const { folder, found } = JSON.parse((await run(["--json"], cwd)).stdout);
    const entries = readdirSync(cwd, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile());
    assertEquals([folder, found], [".", files.length]);
  },
);

test("find_duplicates --help", async function () {
  const { code, stdout, stderr } = await run(["--help"]);
  assertEquals([code, stderr], [0, ""]);
  for (
    const option of [
      "--concurrency",
      "--high-water-mark",
      "--min-size",
      "--fail-rate",
      "--json",
      "--dashboard",
      "--help",
    ]
  ) assertStringIncludes(stdout, option);
});

test(
  "find_duplicates answers what it cannot do with one line and 2",
  async function () {
    const wrong = [
      ["/nowhere/at/all"],
      [EXAMPLE],
      ["one", "two"],
      ["--what"],
      ["--json=yes"],
      ["--concurrency"],
      ["--concurrency", "0"],
      ["--concurrency=-1"],
      ["--high-water-mark", "many"],
      ["--high-water-mark=-1"],
      ["--min-size", "1.5"],
      ["--min-size", ""],
      ["--fail-rate", "2"],
      ["--fail-rate=x"],
    ];
    const outcomes = await Promise.all(wrong.map((args) => run(args)));
    for (const [index, { code, stdout, stderr }] of outcomes.entries()) {
      const what = `${wrong[index]}: ${stderr}`;
      assertEquals(code, 2, what);
      assertEquals(stdout, "", what);
      assertMatch(stderr, /^[^\n]+\n$/, what);
    }
  },
);

test(
  "find_duplicates reports what it has when it is interrupted",
  async function () {
    await withTree(makeLargeTree, async (folder) => {
      const child = start(["--json", "--concurrency=1", folder]);
      await firstLine(child);
      interrupt(child);
      const { code, stdout } = await outcomeOf(child);
      assertEquals(code, 130);
      const report = JSON.parse(stdout) as Report;
      assertEquals(report.interrupted, true);
      assertLess(report.found, LARGE_FILES);
      // All that was in the queue is finished; only the walk's last put is not.
      assertGreaterOrEqual(report.hashed, report.found - 1);
    });
  },
);

test(
  "find_duplicates ends at once when it is interrupted twice",
  async function () {
    await withTree(makeHugeFile, async (folder) => {
      const child = start(["--json", folder]);
      await lineLike(child, /[1-9]\d*(\.\d+)? [a-zA-Z]+\/s/);
      // Two that come at once are one.
      const again = setInterval(() => interrupt(child), 200);
      child.once("exit", () => clearInterval(again));
      const { code, stdout } = await outcomeOf(child);
      assertEquals([code, stdout], [130, ""]);
    });
  },
);

async function withTree(
  make: (folder: string) => void,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "highwater-files-"));
  try {
    make(folder);
    await use(folder);
  } finally {
    // rm: the paths in there are too long for the functions of the runtimes.
    spawnSync("rm", ["-rf", "--", folder]);
  }
}

/** Duplicates, near duplicates, empty files, odd names, links, long paths. */
function makeTree(folder: string): void {
  const random = generator(SEED);
  const names = ["plain", "with space", "new\nline", "ünï cödé 🦆", "-dash"];
  names.push("tab\t", "quote\"'", "back\\slash", "esc\x1b[31m");
  const folders = [folder];
  for (let index = 0; index < 60; index++) {
    const parent = folders[Math.floor(random() * folders.length)] ?? folder;
    const path = join(parent, `${names[index % names.length]} ${index}`);
    mkdirSync(path);
    folders.push(path);
  }
  let deep = folder;
  for (let depth = 0; depth < 40; depth++) deep = join(deep, `deep${depth}`);
  mkdirSync(deep, { recursive: true });
  folders.push(deep);
  for (let index = 0; index < FILES; index++) {
    const parent = folders[Math.floor(random() * folders.length)] ?? folder;
    const path = join(parent, `${names[index % names.length]}.${index}`);
    // Some of the contents differ in the last byte only.
    const kind = Math.floor(random() * 1_500);
    const size = kind < 20 ? 0 : (kind % 7) ** 5 + 1;
    const contents = new Uint8Array(size).fill(kind % 251);
    if (size > 0) contents[size - 1] = Math.floor(kind / 251);
    writeFileSync(path, contents);
    if (index % 100 === 0) symlinkSync(path, `${path}.link`);
  }
  symlinkSync(folder, join(folder, "loop"));
  symlinkSync(join(folder, "nowhere"), join(folder, "dangling"));
  makeUnreadable(folder);
}

/**
 * A folder and a file whose paths are longer than the system allows: nobody can
 * read them, the superuser included. They are made elsewhere and moved in.
 */
function makeUnreadable(folder: string): void {
  const limit = 4096;
  let parent = folder;
  while (parent.length < limit - 330) parent = join(parent, "l".repeat(200));
  parent = join(parent, "l".repeat(limit - 100 - parent.length));
  mkdirSync(parent, { recursive: true });
  const parts = mkdtempSync(join(tmpdir(), "highwater-part-"));
  const names = join(parts, "p");
  mkdirSync(join(names, "f".repeat(150)), { recursive: true });
  writeFileSync(join(names, "g".repeat(150)), "out of reach");
  renameSync(names, join(parent, "p"));
  rmSync(parts, { recursive: true });
}

function makeSmallTree(folder: string): void {
  for (const [index, size] of [0, 0, 3, 3, 100, 100, 1, 2].entries()) {
    const contents = size === 0 ? "" : "x".repeat(size);
    writeFileSync(join(folder, `file${index}`), contents);
  }
}

const LARGE_FILES = 300;

/** 300 files of 20 MB that take no room, and some time to hash. */
function makeLargeTree(folder: string): void {
  for (let index = 0; index < LARGE_FILES; index++) {
    const path = join(folder, `large${index}`);
    writeFileSync(path, "");
    truncateSync(path, 20_000_000);
  }
}

/** A file that takes no room, and minutes to hash. */
function makeHugeFile(folder: string): void {
  const path = join(folder, "huge");
  writeFileSync(path, "");
  truncateSync(path, 1_000_000_000_000);
}

/** The paths with the same contents, as `sha256sum` sees them. */
function groupsBySha256sum(folder: string): string[][] {
  const { stdout } = spawnSync(
    "find",
    [folder, "-type", "f", "-exec", "sha256sum", "-z", "--", "{}", "+"],
    { maxBuffer: 100_000_000, stdio: ["ignore", "pipe", "ignore"] },
  );
  const byHash = new Map<string, string[]>();
  for (const line of stdout.toString().split("\0").filter(Boolean)) {
    const paths = byHash.get(line.slice(0, 64)) ?? [];
    byHash.set(line.slice(0, 64), [...paths, line.slice(66)]);
  }
  return sorted([...byHash.values()].filter(({ length }) => length > 1));
}

function groupsOf(report: Report): string[][] {
  for (const { paths } of report.groups) {
    assertEquals(paths, paths.toSorted());
  }
  return sorted(report.groups.map(({ paths }) => paths));
}

function sorted(groups: string[][]): string[][] {
  return groups.map((paths) => paths.toSorted())
    .sort(([one = ""], [other = ""]) => one < other ? -1 : 1);
}

/** Numbers in [0, 1), the same ones each time (mulberry32). */
function generator(seed: number): () => number {
  return function (): number {
    seed = (seed + 0x6d2b79f5) | 0;
    let bits = Math.imul(seed ^ (seed >>> 15), seed | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

function start(args: string[], cwd?: string): ChildProcess {
  return startExample("find_duplicates.ts", args, cwd);
}

function run(args: string[], cwd?: string): Promise<Outcome> {
  return outcomeOf(start(args, cwd));
}

async function report(args: string[]): Promise<Report> {
  return JSON.parse((await run(args)).stdout) as Report;
}

/** Not `child.kill()`: Deno's sends once, and takes what follows for its doing. */
function interrupt(child: ChildProcess): void {
  if (child.pid !== undefined) process.kill(child.pid, "SIGINT");
}

/** A line of progress like that. */
function lineLike(child: ChildProcess, pattern: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stderr?.on("data", (text) => pattern.test(String(text)) && resolve());
    child.once("exit", () => reject(new Error("ended before it said that")));
  });
}

/** The first line of progress: the walk has begun. */
function firstLine(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stderr?.once("data", () => setTimeout(resolve, 100));
    child.once("exit", () => reject(new Error("ended before it began")));
  });
}
