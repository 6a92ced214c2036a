/**
 * `deno task ratios`: the budget on Deno, Bun and Node 24, one after the other.
 *
 * @module
 */

import { binPath, installTools, nodePath, run, runDeno } from "./tools.ts";

await installTools();
const file = "tests/support/ratios.ts";
const runs: [string, () => ReturnType<typeof run>][] = [
  ["Deno", () => runDeno(["run", "-A", "--v8-flags=--expose-gc", file])],
  ["Bun", () => run(binPath("bun"), ["--expose-gc", file])],
  [
    "Node 24",
    () =>
      run(nodePath(24), [
        "--expose-gc",
        "--no-warnings",
        "--import",
        "tsx",
        file,
      ]),
  ],
];
for (const [name, measure] of runs) {
  const outcome = await measure();
  console.log(`\n${name}\n\n${outcome.stdout}${outcome.stderr}`);
}
