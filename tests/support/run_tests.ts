/**
 * `deno task test [all|deno|bun|node|edge|browser|docs|package ...] [part of a path ...]`:
 * runs the tests on each runtime, a line each, failures in full, and the sum
 * as the last line. Without arguments: on Deno, all but the long ones.
 *
 * @module
 */

import { bundleForRuntimes } from "../runtimes/bundle.ts";
import { runInChromium } from "../runtimes/chromium.ts";
import { lookAtDashboard } from "../runtimes/dashboard_chromium.ts";
import { runInEdgeRuntime } from "../runtimes/edge_runtime.ts";
import { tryPackage } from "../runtimes/package.ts";
import { runInWorkerd } from "../runtimes/workerd.ts";
import { Journal, NOT_RUN } from "./journal.ts";
import { parseJUnit, type TestResult } from "./junit.ts";
import {
  binPath,
  exists,
  filesBelow,
  installTools,
  isCI,
  nodePath,
  nodeVersions,
  type Outcome,
  run,
  scratchPath,
  standardLibraryFlags,
} from "./tools.ts";

/** After this long a runtime is killed, whatever it does. */
const WATCHDOG = 3_000_000;

/** One line of the report. */
interface Suite {
  name: string;
  group: string;
  /** It runs on several cores by itself. */
  isWide?: boolean;
  run(): Promise<TestResult[]>;
}

const GROUPS = ["deno", "docs", "bun", "node", "edge", "browser", "package"];

/** Files that start processes by the dozen, of the runtime or servers. All Nodes together would take longer than all the rest, so the newest stands for them. */
const STARTS_PROCESSES = /\/examples\/|survival_|workerd_/;
const LEAVES_OUT =
  " (without the examples, and the survival of processes and servers)";
const NEWEST = Math.max(...nodeVersions);

/** What `deno task test` leaves to `deno task test:all`: servers and processes that die, what takes long, and what needs more than Deno. */
const LONG = /survival_|_threads_test|_soak_test|workerd_|edge_handler/;

const filters = Deno.args.filter((given) =>
  given !== "all" && !GROUPS.includes(given)
);
const isShort = Deno.args.length === 0;
const wanted = new Set(
  isShort
    ? ["deno", "docs"]
    : Deno.args.includes("all")
    ? GROUPS
    : Deno.args.filter((given) => GROUPS.includes(given)),
);
if (!isShort) await installTools();
const libraryFlags = await standardLibraryFlags();
const testFiles = filesBelow("tests", "_test.ts").filter((file) =>
  isShort
    ? !LONG.test(file)
    : filters.length === 0 || filters.some((filter) => file.includes(filter))
);

if (testFiles.length === 0) {
  console.error(`No file below tests/ has ${filters.join(" or ")} in its path`);
  Deno.exit(2);
}

const suites: Suite[] = [
  {
    name: isShort ? "Deno (the long ones: deno task test:all)" : "Deno",
    group: "deno",
    run: () =>
      runJUnit("deno", Deno.execPath(), (report) => [
        "test",
        "-A",
        "--no-check",
        "--parallel",
        "--quiet",
        "--v8-flags=--expose-gc",
        `--junit-path=${report}`,
        ...libraryFlags,
        ...testFiles,
      ]),
  },
  {
    name: "Examples in README and doc comments",
    group: "docs",
    run: () =>
      runJUnit("docs", Deno.execPath(), (report) => [
        "test",
        "-A",
        "--quiet",
        "--doc",
        `--junit-path=${report}`,
        ...libraryFlags,
        "README.md",
        "mod.ts",
        ...filesBelow("src", ".ts"),
      ], { keepsJournal: false }),
  },
  {
    name: "Bun",
    group: "bun",
    run: () =>
      runJUnit("bun", binPath("bun"), (report) => [
        "test",
        "--reporter=junit",
        `--reporter-outfile=${report}`,
        ...testFiles.map((file) => `./${file}`),
      ]),
  },
  ...nodeVersions.map((major): Suite => ({
    name: `Node ${major}${major === NEWEST ? "" : LEAVES_OUT}`,
    group: "node",
    isWide: true,
    run: async () => {
      const files = testFiles.filter((file) =>
        major === NEWEST || !STARTS_PROCESSES.test(file)
      );
      // Without files it would look for some by itself.
      if (files.length === 0) return [];
      return await runJUnit(`node${major}`, nodePath(major), (report) => [
        "--expose-gc",
        "--no-warnings",
        "--import",
        "tsx",
        "--test",
        "--test-timeout=1800000",
        // Else one file at a time on two cores.
        "--test-concurrency=2",
        "--test-reporter=junit",
        `--test-reporter-destination=${report}`,
        ...files,
      ]);
    },
  })),
  { name: "workerd", group: "edge", run: () => bundled(runInWorkerd) },
  { name: "edge-runtime", group: "edge", run: () => bundled(runInEdgeRuntime) },
  { name: "Chromium", group: "browser", run: () => bundled(runInChromium) },
  { name: "Dashboard in Chromium", group: "browser", run: lookAtDashboard },
  {
    name: "The package for npm, in fresh projects",
    group: "package",
    run: tryPackage,
  },
];

let passed = 0;
const failures: string[] = [];
const chosen = suites.filter(({ group }) =>
  wanted.size === 0 || wanted.has(group)
);
const narrow = chosen.filter(({ isWide }) => isWide !== true).values();
// Two at a time, because each keeps one core busy; then those that use both.
await Promise.all([runAll(narrow), runAll(narrow)]);
await runAll(chosen.filter(({ isWide }) => isWide === true).values());
if (failures.length > 0) {
  const shown = failures.slice(0, 40);
  if (failures.length > shown.length) {
    shown.push(`and ${failures.length - shown.length} more`);
  }
  console.log(`\nFailed:\n${shown.join("\n")}`);
}
console.log(`${passed} passed, ${failures.length} failed`);
Deno.exit(failures.length === 0 ? 0 : 1);

/** Runs one after the other what nobody else has taken. */
async function runAll(suites: Iterator<Suite>): Promise<void> {
  for (let next = suites.next(); !next.done; next = suites.next()) {
    await report(next.value);
  }
}

/** Runs a suite and says how it went. */
async function report(suite: Suite): Promise<void> {
  const started = Date.now();
  const results = await suite.run().catch((error): TestResult[] => [
    { name: "runs at all", status: "failed", detail: String(error) },
  ]);
  const of = (status: TestResult["status"]): TestResult[] =>
    results.filter((result) => result.status === status);
  passed += of("passed").length;
  const seconds = Math.round((Date.now() - started) / 1000);
  console.log(
    `${suite.name}: ${of("passed").length} passed, ` +
      `${of("failed").length} failed` +
      (of("skipped").length > 0 ? `, ${of("skipped").length} skipped` : "") +
      ` (${seconds} s)`,
  );
  for (const { name, detail } of of("excluded")) {
    console.log(`  not applicable: ${name} (${detail})`);
  }
  for (const { name, detail } of of("skipped")) {
    console.log(`  skipped: ${name} ${detail}`);
    if (isCI) failures.push(`${suite.name}: ${name}: a skip, which CI forbids`);
  }
  let notRun = 0;
  for (const { name, detail } of of("failed")) {
    failures.push(`${suite.name}: ${name}`);
    // One that stops a runner may leave out hundreds.
    if (detail === NOT_RUN || detail === "Cancelled") notRun++;
    else console.log(`  FAILED: ${name}\n${indented(detail)}`);
  }
  if (notRun > 0) console.log(`  FAILED: ${notRun} tests did not run`);
}

/**
 * Runs a test runner that writes a JUnit file, kills what hangs, and adds what
 * a runner that was killed or died did not get to say. Examples know nothing of
 * the journal; of a silence between them nothing follows.
 */
async function runJUnit(
  name: string,
  program: string,
  args: (report: string) => string[],
  { keepsJournal = true }: { keepsJournal?: boolean } = {},
): Promise<TestResult[]> {
  const report = scratchPath(`${name}.xml`);
  if (exists(report)) Deno.removeSync(report);
  const journalPath = scratchPath(`${name}.journal`);
  const journal = new Journal(journalPath);
  const killed: string[] = [];
  let timer: ReturnType<typeof setInterval> | undefined;
  const outcome = await run(program, args(report), {
    env: {
      HIGHWATER_TEST_JOURNAL: journalPath,
      HIGHWATER_DENO_FLAGS: JSON.stringify(libraryFlags),
    },
    onStart(child) {
      const begun = Date.now();
      timer = setInterval(() => {
        const now = Date.now();
        const stuck = now >= begun + WATCHDOG
          ? { process: child.pid, reason: `Not done after ${WATCHDOG} ms` }
          : keepsJournal
          ? journal.stuck(now)
          : undefined;
        if (stuck === undefined) return;
        killed.push(`${stuck.reason}: killed`);
        kill(stuck.process ?? child.pid);
        // Node goes on with the next file; what does not has to go as well.
        if (killed.length > 10) kill(child.pid);
      }, 1_000);
    },
  });
  clearInterval(timer);
  const text = exists(report) ? Deno.readTextFileSync(report) : "";
  const results = parseJUnit(text).filter(isTest);
  results.push(...journal.missingIn(results, results.length === 0));
  const reasons = killed.join("\n");
  const uncaught = results.find(({ detail }) => detail === "Cancelled");
  if (uncaught !== undefined) uncaught.detail = tail(outcome);
  const failed = results.some((result) => result.status === "failed");
  if (reasons !== "") {
    results.push({
      name: "no hang",
      status: "failed",
      detail: `${reasons}\n${tail(outcome)}`,
    });
  } else if (results.length === 0 || (!outcome.success && !failed)) {
    results.push({
      name: `${name} runs to its end`,
      status: "failed",
      detail: `exit code ${outcome.code}\n${tail(outcome)}`,
    });
  }
  return results;
}

function kill(process: number): void {
  try {
    Deno.kill(process, "SIGKILL");
  } catch {
    // It has ended meanwhile.
  }
}

/** Node reports a file that has no failing test of its own as a test, too. */
function isTest(result: TestResult): boolean {
  return !(result.status === "passed" && /_test\.ts$/.test(result.name));
}

function tail(outcome: Outcome): string {
  return (outcome.stdout + outcome.stderr).split("\n").slice(-40).join("\n");
}

async function bundled(
  runIt: (script: string) => Promise<TestResult[]>,
): Promise<TestResult[]> {
  return await runIt(await bundleForRuntimes());
}

/** Without the frames of the runtime itself. */
function indented(detail: string): string {
  return detail
    .replace(/^ *(?:at|async) .*node:internal.*\n?/gm, "")
    .replace(/^/gm, "    ");
}
