/**
 * `examples/log_router.ts` in a process of its own, on the runtime that runs
 * this test, on files of more than 100,000 lines.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import type { ChildProcess } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import {
  type Outcome,
  outcomeOf,
  startExample,
  withFolder,
} from "../support/example.ts";
import { test } from "../support/harness.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const FILES = 4;
const LINES = 30_000;
const KEYS = 300;

interface Subscriber {
  name: string;
  policy: string;
  lines: number;
  missed: number;
  mostLag: number;
}

interface Report {
  interrupted: boolean;
  subscribers: Subscriber[];
  workers: { name: string; keys: number; lines: number }[];
}

interface Entry {
  at: number;
  text: string;
}

/** A file of lines in order, with equal times and lines that have none. */
function makeFile(file: number): Entry[] {
  const entries: Entry[] = [];
  let at = Date.UTC(2026, 10, 24);
  for (let line = 0; line < LINES; line++) {
    at += (line * 7 + file * 3) % 5;
    const key = `customer-${(line * 31 + file * 17) % KEYS}`;
    const text = `${new Date(at).toISOString()} ${key} GET /${file}/${line}`;
    entries.push({ at, text });
    if (line % 1_000 === 0) {
      entries.push({ at, text: `    at file ${file}, line ${line}` });
    }
  }
  return entries;
}

function save(path: string, entries: Entry[]): string {
  writeFileSync(path, entries.map(({ text }) => text + "\n").join(""));
  return path;
}

function linesOf(path: string): string[] {
  const text = readFileSync(path, "utf8");
  assert(text.endsWith("\n"));
  return text.slice(0, -1).split("\n");
}

/** The lines of each key; those without a time belong to the one before. */
function byKey(entries: Entry[]): Map<string, string[]> {
  const lines = new Map<string, string[]>();
  let key = "";
  for (const { text } of entries) {
    key = /^\S+Z (\S+)/.exec(text)?.[1] ?? key;
    const own = lines.get(key);
    if (own === undefined) lines.set(key, [text]);
    else own.push(text);
  }
  return lines;
}

test(
  "log_router merges by time, keeps the order of each key, and makes only the live display miss lines",
  async function () {
    await withFolder(async (folder) => {
      const files = Array.from({ length: FILES }, (_, file) => makeFile(file));
      const paths = files.map((entries, file) =>
        save(join(folder, `${file}.log`), entries)
      );
      const total = files.flat().length;
      assertGreater(total, 100_000);

      const output = join(folder, "routed");
      const { code, stdout, stderr } = await run([
        "--json",
        "--behind=32",
        "--workers=5",
        `--output=${output}`,
        ...paths,
      ]);
      assertEquals([code, stderr], [0, ""]);
      const { interrupted, subscribers, workers } = JSON.parse(
        stdout,
      ) as Report;
      assertEquals(interrupted, false);

      // Array.sort is stable, and so is the merge.
      const expected = files.flat().sort((one, other) => one.at - other.at);
      const archived = linesOf(join(output, "archive.log"));
      assertEquals(archived.length, total);
      const wrong = archived.findIndex((line, at) =>
        line !== expected[at]!.text
      );
      assertEquals(wrong, -1, `line ${wrong}: ${archived[wrong]}`);

      // A line without a time takes that of its file, so look key by key and
      // file by file: from one file, nothing may overtake.
      const homes = new Map<string, number>();
      let worked = 0;
      for (const [index, worker] of workers.entries()) {
        const lines = linesOf(join(output, `worker-${index}.log`));
        assertEquals(lines.length, worker.lines);
        worked += lines.length;
        const keys = new Set<string>();
        for (const line of lines) {
          const key = /Z (customer-\d+)/.exec(line)?.[1];
          if (key === undefined) continue;
          keys.add(key);
          assertEquals(homes.get(key) ?? index, index, key);
          homes.set(key, index);
        }
        assertEquals(keys.size, worker.keys);
        const timed = lines.filter((line) => line.includes("Z "));
        const wanted = expected.map(({ text }) => text).filter((text) =>
          keys.has(/Z (customer-\d+)/.exec(text)?.[1] ?? "")
        );
        assert(timed.every((line, at) => line === wanted[at]), worker.name);
        assertEquals(timed.length, wanted.length);
      }
      assertEquals([worked, homes.size], [total, KEYS]);

      const [archive, work, live] = subscribers;
      assertEquals([archive!.name, archive!.policy], ["archive", "wait"]);
      assertEquals([archive!.lines, archive!.missed], [total, 0]);
      assertEquals([work!.name, work!.policy], ["workers", "wait"]);
      assertEquals([work!.lines, work!.missed], [total, 0]);
      assertEquals([live!.name, live!.policy], ["live", "drop-oldest"]);
      assertEquals(live!.lines + live!.missed, total);
      assertGreater(live!.missed, 0);
      assertEquals(live!.mostLag, 32);
      for (const { mostLag } of subscribers) assertLess(mostLag, 33);
    });
  },
);

test(
  "log_router follows lines without a time to the key before them",
  async function () {
    await withFolder(async (folder) => {
      const entries = makeFile(0).slice(0, 3_000);
      const path = save(join(folder, "one.log"), entries);
      const output = join(folder, "routed");
      const { code } = await run(["--workers=7", `--output=${output}`, path]);
      assertEquals(code, 0);
      const found = Array.from(
        { length: 7 },
        (_, index) =>
          readFileSync(join(output, `worker-${index}.log`), "utf8")
            .split("\n").filter(Boolean).map((text) => ({ at: 0, text })),
      );
      const lines = new Map(found.flatMap((own) => [...byKey(own)]));
      for (const [key, own] of byKey(entries)) {
        assertEquals(
          lines.get(key)!.filter((line) => line.includes("Z ")),
          own.filter((line) => line.includes("Z ")),
        );
        for (const line of own.filter((line) => line.startsWith(" "))) {
          const before = own[own.indexOf(line) - 1]!;
          const worker = found.find((all) =>
            all.some(({ text }) => text === before)
          )!;
          const at = worker.findIndex(({ text }) => text === before);
          assertEquals(worker[at + 1]!.text, line);
        }
      }
    });
  },
);

test(
  "log_router prints a table with the lag of each subscriber",
  async function () {
    await withFolder(async (folder) => {
      const path = save(join(folder, "one.log"), makeFile(1).slice(0, 500));
      const { code, stdout, stderr } = await run(["--workers=2", path]);
      assertEquals([code, stderr], [0, ""]);
      const lines = stdout.split("\n");
      assertMatch(lines[0]!, /^subscriber +policy +lines +missed +most lag$/);
      assertMatch(lines[1]!, /^archive +wait +500 +0 +\d+$/);
      assertMatch(lines[2]!, /^workers +wait +500 +0 +\d+$/);
      assertMatch(lines[3]!, /^live +drop-oldest +\d+ +\d+ +\d+$/);
      assertEquals(lines[4], "");
      assertMatch(lines[5]!, /^worker +keys +lines$/);
      assertMatch(lines[6]!, /^worker 0 +\d+ +\d+$/);
      assertMatch(lines[7]!, /^worker 1 +\d+ +\d+$/);
      assertEquals(stdout.match(/(?!\n)\p{Cc}/gu), null);
    });
  },
);

test(
  "log_router reads standard input, and the key from the field it is told",
  async function () {
    const child = start(["--json", "--key=3", "--workers=3"], "pipe");
    const outcome = outcomeOf(child);
    for (let line = 0; line < 100; line++) {
      child.stdin!.write(
        `${new Date(line).toISOString()} x key-${line % 10} ü\n`,
      );
    }
    child.stdin!.end("1970-01-01T00:00:01Z x last, without an end");
    const { code, stdout } = await outcome;
    assertEquals(code, 0);
    const { subscribers, workers } = JSON.parse(stdout) as Report;
    assertEquals(subscribers[0]!.lines, 101);
    assertEquals(workers.reduce((sum, { keys }) => sum + keys, 0), 11);
  },
);

test(
  "log_router reports what it has routed when it is interrupted with its input open",
  async function () {
    await withFolder(async (folder) => {
      const output = join(folder, "routed");
      const child = start([
        "--json",
        "--refresh=0",
        "--workers=1",
        `--output=${output}`,
      ], "pipe");
      const outcome = outcomeOf(child);
      for (let line = 0; line < 1_000; line++) {
        child.stdin!.write(`${new Date(line).toISOString()} a key\n`);
      }
      const path = join(output, "archive.log");
      while (sizeOf(path) === 0) await pause(); // it has begun
      process.kill(child.pid!, "SIGINT");
      const { code, stdout } = await outcome;
      assertEquals(code, 130);
      const { interrupted, subscribers } = JSON.parse(stdout) as Report;
      assertEquals(interrupted, true);
      const [archive, work] = subscribers;
      assertEquals(archive!.lines, work!.lines);
      assertGreater(archive!.lines, 0);
      assertEquals(linesOf(path).length, archive!.lines);
    });
  },
);

test("log_router --help", async function () {
  const { code, stdout, stderr } = await run(["--help"]);
  assertEquals([code, stderr], [0, ""]);
  for (const option of ["key", "workers", "behind", "refresh", "output"]) {
    assertStringIncludes(stdout, `--${option}`);
  }
});

test(
  "log_router answers what it cannot do with one line and 2",
  async function () {
    const wrong = [
      ["/nowhere/at/all.log"],
      [ROOT],
      ["--what"],
      ["--json=yes"],
      ["--workers"],
      ["--workers", "0"],
      ["--behind=0"],
      ["--key=-1"],
      ["--refresh", "often"],
    ];
    const outcomes = await Promise.all(wrong.map((args) => run(args)));
    for (const [index, { code, stdout, stderr }] of outcomes.entries()) {
      const what = `${wrong[index]}: ${stderr}`;
      assertEquals([code, stdout], [2, ""], what);
      assertMatch(stderr, /^[^\n]+\n$/, what);
    }
  },
);

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 20));
}

function start(
  args: string[],
  stdin: "ignore" | "pipe" = "ignore",
): ChildProcess {
  return startExample("log_router.ts", args, undefined, stdin);
}

function run(args: string[]): Promise<Outcome> {
  return outcomeOf(start(args));
}
