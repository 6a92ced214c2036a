/**
 * The process of `deno task chaos`, see `run_chaos.ts`.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { runChaos } from "./chaos.ts";
import { noNats } from "./nats_server.ts";
import { noRedis } from "./redis_server.ts";

const HELP = `deno task chaos [redis|nats] [--jobs 20000] [--seed 1]

Puts jobs through a queue while a consumer is killed every second or so and the
server four times. Some jobs are slow, fail, kill whoever works on them, or are too
large. None may be lost, few may run twice, and none may die for another.`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    jobs: { type: "string", default: "20000" },
    seed: { type: "string", default: "1" },
    help: { type: "boolean", default: false },
  },
});
const engines = positionals.length === 0 ? ["redis", "nats"] : positionals;
const jobs = Number(values.jobs);
if (
  values.help || !Number.isSafeInteger(jobs) || jobs < 1 ||
  engines.some((engine) => engine !== "redis" && engine !== "nats")
) {
  console.log(HELP);
  process.exit(values.help ? 0 : 2);
}
let isWell = true;
for (const engine of engines as ("redis" | "nats")[]) {
  const missing = engine === "redis" ? noRedis : noNats;
  if (missing !== undefined) {
    console.log(`${engine}: skipped, ${missing}`);
    continue;
  }
  const began = performance.now();
  const report = await runChaos({
    ...{ engine, jobs, workers: 8, killEvery: 1_000, serverDeaths: 4 },
    // Whom chance kills as often as a job has attempts looks like poison: a slow
    // job takes a third of the time that a consumer lives on average.
    visibility: 2_000,
    random: randomFrom(Number(values.seed)),
    say: (line) => console.log(`  ${line}`),
  });
  const { lost, twice, twiceAtMost, cut, cutAtMost, forgotten } = report;
  const { unexplained, innocent, failures, leftovers } = report;
  const faults = [lost, innocent, failures, leftovers];
  // Redis has on its disk what it confirms; a NATS server writes it a little later.
  if (engine === "redis") faults.push(forgotten, unexplained);
  isWell &&= faults.every(({ length }) => length === 0) &&
    twice.length <= twiceAtMost && cut.length <= cutAtMost;
  console.log(
    `${engine}: ${report.accepted} jobs accepted, ${report.refused} too large, ` +
      `${report.finished} finished, ${report.dead} dead\n` +
      `  lost: ${told(lost)}\n` +
      `  ran twice: ${twice.length} for a killed consumer (of at most ${twiceAtMost}), ` +
      `${cut.length} cut short by the server's death (of at most ${cutAtMost}), ` +
      `${forgotten.length} that the server had confirmed and forgot, ` +
      `without a reason: ${told(unexplained)}\n` +
      `  innocent dead letters: ${told(innocent)}\n` +
      `  consumers killed: ${report.kills}, server deaths: ${report.serverDeaths}, ` +
      `longest time without a delivery ${Math.round(report.silence)} ms, ` +
      `${Math.round((performance.now() - began) / 1000)} s`,
  );
  for (const leftover of leftovers) {
    console.log(`  left on the server: ${leftover}`);
  }
  for (const failure of failures) {
    console.log(`  a consumer failed: ${failure}`);
  }
}
process.exit(isWell ? 0 : 1);

function told(jobs: number[]): string {
  const shown = jobs.slice(0, 20).join(", ");
  return jobs.length === 0 ? "0" : `${jobs.length} (${shown})`;
}

/** The same numbers for the same seed: Mulberry32 of Tommy Ettinger. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
