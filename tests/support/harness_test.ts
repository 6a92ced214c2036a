import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { runtime, test } from "./harness.ts";
import { parseJUnit } from "./junit.ts";

const FIXTURE = "./tests/fixtures/failing.ts";

/** The command line by which each runtime tests a file. */
const COMMANDS: Record<typeof runtime, string[]> = {
  deno: ["test", "-A", "--no-check", ...flagsOfDeno(), FIXTURE],
  bun: ["test", FIXTURE],
  node: ["--import", "tsx", "--test", FIXTURE],
};

/** Where the runner found `@std/assert` and `@std/async` for Deno. */
function flagsOfDeno(): string[] {
  return JSON.parse(process.env["HIGHWATER_DENO_FLAGS"] ?? "[]");
}

/** Runs the tests of the fixture in a process of their own. */
function runFixture(
  variables: Record<string, string>,
): Promise<{ code: number | null; output: string }> {
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    NO_COLOR: "1",
    CI: "",
    HIGHWATER_TEST_JOURNAL: "",
    ...variables,
  };
  // Node's runner would take itself for a child of the one that runs this.
  delete env["NODE_TEST_CONTEXT"];
  const child = spawn(process.execPath, COMMANDS[runtime], {
    cwd: fileURLToPath(new URL("../../", import.meta.url)),
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", function (text: string) {
      output += text;
    });
  }
  return new Promise(function (resolve, reject) {
    child.on("error", reject);
    child.on("close", function (code) {
      resolve({ code, output });
    });
  });
}

test(
  "harness: a hang fails by its name, and the tests after it run",
  async function () {
    const { code, output } = await runFixture({});
    assert(code !== 0, `exit code ${code}`);
    assertStringIncludes(
      output,
      '"a promise that never settles" did not end within 200 ms',
    );
    assertStringIncludes(output, "on its own");
    assertStringIncludes(output, "a test after those");
    const counts = [
      /\b1 passed \| 2 failed \| 1 ignored\b/,
      /\b1 pass\n\s*1 skip\n\s*2 fail\b/,
      /pass 1\n\S* ?fail 2\n\S* ?cancelled 0\n\S* ?skipped 1\n/,
    ];
    assert(counts.some((pattern) => pattern.test(output)), output);
  },
);

test(
  "harness: a skip fails where CI=true, and says what is missing",
  async function () {
    const { code, output } = await runFixture({ CI: "true" });
    assert(code !== 0, `exit code ${code}`);
    assertStringIncludes(
      output,
      "Skipped, which CI=true forbids: apt-get install tool",
    );
  },
);

test("harness: a report is read to where it was cut short", function () {
  const report = `<testsuites>
    <testcase name="a &lt;b&gt;" classname="x"/>
    <testcase name="c &amp;quot;d&amp;quot;" time="1">
      <failure message="in short">
Error: in full &amp; more</failure>
    </testcase>
    <testcase name="e"><error message="Cancelled"/></testcase>
    <testcase name="f"><skipped/></testcase>
    <testcase name="g"><fail`;
  assertEquals(parseJUnit(report), [
    { name: "a <b>", status: "passed", detail: "" },
    { name: 'c "d"', status: "failed", detail: "Error: in full & more" },
    { name: "e", status: "failed", detail: "Cancelled" },
    { name: "f", status: "skipped", detail: "" },
  ]);
});
