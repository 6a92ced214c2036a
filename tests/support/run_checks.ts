/**
 * `deno task check`: everything that can be known without running the code,
 * and the import layers.
 *
 * @module
 */

import {
  binPath,
  filesBelow,
  installTools,
  type Outcome,
  pathOf,
  run,
  runDeno,
  scratchPath,
  standardLibraryFlags,
} from "./tools.ts";

await installTools();
const flags = await standardLibraryFlags();
const { exports } = JSON.parse(Deno.readTextFileSync(pathOf("deno.json"))) as {
  exports: Record<string, string>;
};
const typed = [
  "mod.ts",
  "bench.ts",
  "tests/bench/pool.ts",
  "tests/bench/threads.ts",
  ...filesBelow("src", ".ts"),
  ...filesBelow("tests", ".ts"),
  ...filesBelow("examples", ".ts"),
];

const checks: [string, () => Promise<Outcome>][] = [
  ["deno check", () => runDeno(["check", ...flags, ...typed])],
  ["tsc", () => run(binPath("tsc"), ["-p", "."])],
  ["deno lint", () => runDeno(["lint"])],
  ["deno fmt --check", () => runDeno(["fmt", "--check"])],
  [
    "deno doc --lint",
    () =>
      runDeno([
        "doc",
        "--lint",
        `--import-map=${withoutPeers()}`,
        ...Object.values(exports),
      ]),
  ],
  [
    "deno publish --dry-run",
    () => runDeno(["publish", "--dry-run", "--allow-dirty"]),
  ],
  [
    "import layers",
    () => runDeno(["test", "-A", ...flags, "tests/layers_test.ts"]),
  ],
];

let failed = 0;
for (const [name, check] of checks) {
  const outcome = await check();
  console.log(`${outcome.success ? "ok  " : "FAIL"} ${name}`);
  if (outcome.success) continue;
  failed++;
  console.log((outcome.stdout + outcome.stderr).replace(/^/gm, "     "));
}
Deno.exit(failed === 0 ? 0 : 1);

/** An import map without the types of peers: how they are documented is not for us to check. */
function withoutPeers(): string {
  const path = scratchPath("documented.json");
  const imports = { "@opentelemetry/api": "data:text/javascript," };
  Deno.writeTextFileSync(path, JSON.stringify({ imports }) + "\n");
  return path;
}
