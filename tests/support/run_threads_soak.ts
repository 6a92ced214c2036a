/**
 * The long form of `tests/shared_queue_threads_test.ts`. The number of records of
 * each producer may be given: `deno task soak:threads 10000`.
 *
 * @module
 */

import { pathOf, runDeno, standardLibraryFlags } from "./tools.ts";

const [count = "1000000"] = Deno.args;
const flags = await standardLibraryFlags();
const script = `
import { soak } from ${
  JSON.stringify(`file://${pathOf("tests/support/shared_soak.ts")}`)
};
const begun = performance.now();
await soak({
  producers: 4, consumers: 4, count: ${Number(count)},
  bytes: 1 << 20, highWaterMark: 8192, padding: 100,
});
const seconds = (performance.now() - begun) / 1000;
console.log("4 x ${count} records, none lost, doubled, damaged or out of order: " + seconds.toFixed(1) + " s");
`;
const path = pathOf(".cache/threads_soak.ts");
Deno.mkdirSync(pathOf(".cache"), { recursive: true });
Deno.writeTextFileSync(path, script);
const soaked = await runDeno(["run", "-A", "--no-check", ...flags, path]);
console.log(soaked.stdout + soaked.stderr);
const died = await runDeno([
  "test",
  "-A",
  "--no-check",
  ...flags,
  "--filter=terminated",
  pathOf("tests/shared_queue_threads_test.ts"),
], { env: { HIGHWATER_DEATHS: "200" } });
console.log(died.stdout + died.stderr);
Deno.exit(soaked.success && died.success ? 0 : 1);
