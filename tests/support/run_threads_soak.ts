/**
 * The long form of `tests/threads/shared/shared_queue_threads_test.ts`, on Deno, Bun and Node 24.
 * The number of records of each producer may be given, and runtimes:
 * `deno task soak:threads 10000 bun`.
 *
 * @module
 */

import {
  binPath,
  installTools,
  nodePath,
  type Outcome,
  pathOf,
  run,
  standardLibraryFlags,
} from "./tools.ts";

const SOAK = pathOf(".cache/threads_soak.ts");
const TEST = pathOf("tests/threads/shared/shared_queue_threads_test.ts");
const env = { HIGHWATER_DEATHS: "200" };

const words = Deno.args.filter((word) => !/^\d+$/.test(word));
const [count = "1000000"] = Deno.args.filter((word) => /^\d+$/.test(word));
await installTools();
const flags = await standardLibraryFlags();
const node = ["--import", "tsx"];
const deno = ["-A", "--no-check", ...flags];

/** How each of them soaks, and lets threads die. */
const RUNTIMES: Record<string, [string, string[], string[]]> = {
  deno: [
    Deno.execPath(),
    ["run", ...deno, SOAK],
    ["test", ...deno, "--filter=terminated", TEST],
  ],
  bun: [
    binPath("bun"),
    [SOAK],
    ["test", "--timeout=300000", "-t", "terminated", TEST],
  ],
  node: [
    nodePath(24),
    [...node, SOAK],
    [...node, "--test", "--test-name-pattern=terminated", TEST],
  ],
};

Deno.mkdirSync(pathOf(".cache"), { recursive: true });
Deno.writeTextFileSync(
  SOAK,
  `
import { soak } from "../tests/support/shared_soak.ts";
const begun = performance.now();
await soak({
  producers: 4, consumers: 4, count: ${Number(count)},
  bytes: 1 << 20, highWaterMark: 8192, padding: 100,
});
const seconds = (performance.now() - begun) / 1000;
console.log("4 x ${count} records, none lost, doubled, damaged or out of order: " + seconds.toFixed(1) + " s");
`,
);
let hasFailed = false;
for (const [name, [program, soak, die]] of Object.entries(RUNTIMES)) {
  if (words.length > 0 && !words.includes(name)) continue;
  console.log(`\n${name}`);
  show(await run(program, soak));
  show(await run(program, die, { env }));
}
Deno.exit(hasFailed ? 1 : 0);

function show({ success, stdout, stderr }: Outcome): void {
  console.log((stdout + stderr).trim());
  hasFailed ||= !success;
}
