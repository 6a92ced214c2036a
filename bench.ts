/**
 * Every case beside its peers, each doing the same job for the same number of
 * items, which is checked inside. The rows are in `tests/bench/`, a file a group.
 *
 * ```sh
 * deno task bench        # deno bench
 * deno task bench:bun    # the same cases on Bun
 * deno task bench:node   # and on Node 24
 * deno task bench -- consume  # the groups whose names begin so
 * deno task bench -- growth [lanes]   # 10 to 10,000 of everything there may be many of, in a table of its own
 * ```
 *
 * @module
 */

import process from "node:process";
import { cancelRows } from "./tests/bench/cancel.ts";
import { concurrentMapRows } from "./tests/bench/concurrent_map.ts";
import { consumeRows } from "./tests/bench/consume.ts";
import { fanInRows } from "./tests/bench/fan_in.ts";
import { fanOutRows } from "./tests/bench/fan_out.ts";
import { measureGrowth } from "./tests/bench/growth.ts";
import { iterationRows } from "./tests/bench/iteration.ts";
import { pipeRows } from "./tests/bench/pipes.ts";
import { measureAsyncio, priorityRows } from "./tests/bench/priority.ts";
import { putGetRows } from "./tests/bench/put_get.ts";
import { checked, type Row } from "./tests/bench/rows.ts";
import { stealingRows } from "./tests/bench/stealing.ts";

/** `deno task bench -- consume`: only the groups whose names begin so. */
const wanted = process.argv.slice(2).filter((word) => !word.startsWith("-"));

// First and alone: what the others set up fills the memory.
if (wanted[0] === "growth") {
  await measureGrowth(wanted.slice(1));
  process.exit();
}

const rows: Row[] = [
  ...await putGetRows(),
  ...stealingRows(),
  ...consumeRows(),
  ...iterationRows(),
  ...pipeRows(),
  ...await fanInRows(),
  ...fanOutRows(),
  ...await priorityRows(),
  ...cancelRows(),
  ...await concurrentMapRows(),
];

const chosen = rows.filter(({ group }) =>
  wanted.length === 0 || wanted.some((word) => group.startsWith(word))
);

if (chosen.some(({ group }) => group.endsWith("put all, get all"))) {
  measureAsyncio();
}
if ("Deno" in globalThis) {
  for (const row of chosen) {
    Deno.bench({
      group: row.group,
      name: row.name,
      baseline: row.baseline ?? false,
      // Seconds each, for some peers.
      ...(row.items === undefined ? {} : { n: 5, warmup: 3 }),
      // Deno awaits only what is declared `async`. Anything else it takes for
      // synchronous, whatever it returns, and starts it over and over at once.
      async fn() {
        await checked(row);
      },
    });
  }
} else {
  const { bench, group, run, summary } = await import("mitata");
  for (const name of new Set(chosen.map((row) => row.group))) {
    group(name, () => {
      summary(() => {
        for (const row of chosen.filter((row) => row.group === name)) {
          bench(row.name, () => checked(row)).baseline(row.baseline ?? false);
        }
      });
    });
  }
  const json = process.argv.includes("--json");
  const { benchmarks } = await run({ format: json ? "json" : "mitata" });
  const errors = benchmarks.flatMap(({ runs }) => runs)
    .flatMap(({ error }) => error === undefined ? [] : [error]);
  if (errors.length > 0) throw new AggregateError(errors, "Rows have failed");
}
