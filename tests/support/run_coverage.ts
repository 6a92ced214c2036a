/**
 * `deno task coverage`: line and branch coverage of `src/`, on Deno.
 *
 * @module
 */

import {
  exists,
  filesBelow,
  installTools,
  runDeno,
  scratchPath,
  standardLibraryFlags,
} from "./tools.ts";

const LINES = 97;
const BRANCHES = 93;

await installTools();
const flags = await standardLibraryFlags();
const folder = scratchPath("coverage");
if (exists(folder)) Deno.removeSync(folder, { recursive: true });
const tests = await runDeno([
  "test",
  "-A",
  "--quiet",
  "--v8-flags=--expose-gc",
  `--coverage=${folder}`,
  ...flags,
  ...filesBelow("tests", "_test.ts"),
], { env: { HIGHWATER_DENO_FLAGS: JSON.stringify(flags) } });
if (!tests.success) {
  console.log(tests.stdout + tests.stderr);
  Deno.exit(1);
}
const report = await runDeno(["coverage", folder, "--include=/src/", "--lcov"]);
let enough = true;
const sum = { lines: [0, 0], branches: [0, 0] };
console.log("file                          lines  branches");
for (const record of report.stdout.split("end_of_record")) {
  const file = /SF:.*\/(src\/.*)/.exec(record)?.[1];
  if (file === undefined) continue;
  const lines = [number(record, "LH"), number(record, "LF")];
  const branches = [number(record, "BRH"), number(record, "BRF")];
  for (const at of [0, 1]) {
    sum.lines[at]! += lines[at]!;
    sum.branches[at]! += branches[at]!;
  }
  console.log(
    `${file.padEnd(28)} ${percent(lines)} ${percent(branches)}` +
      missed(record),
  );
}
console.log(
  `${"all".padEnd(28)} ${percent(sum.lines)} ${percent(sum.branches)}`,
);
enough = ratio(sum.lines) >= LINES && ratio(sum.branches) >= BRANCHES;
console.log(
  `${enough ? "ok" : "FAIL"}: at least ${LINES} % and ${BRANCHES} % wanted`,
);
Deno.exit(enough ? 0 : 1);

function number(record: string, key: string): number {
  return Number(new RegExp(`^${key}:(\\d+)`, "m").exec(record)?.[1] ?? 0);
}

function ratio([hit, found]: number[]): number {
  return found === 0 ? 100 : (100 * hit!) / found!;
}

function percent(pair: number[]): string {
  return ratio(pair).toFixed(1).padStart(7);
}

function missed(record: string): string {
  const lines = [...record.matchAll(/^DA:(\d+),0$/gm)].map((match) => match[1]);
  return lines.length === 0 ? "" : `  lines ${lines.join(" ")}`;
}
