/**
 * `deno task peers`: `bench.ts` on Deno, Bun and Node 24, three times in turn,
 * as one table of times relative to Queue in the same group and run.
 *
 * @module
 */

import { binPath, installTools, nodePath, run, runDeno } from "./tools.ts";
import { median } from "./items.ts";

/** Average time of a row, by group and then by name. */
type Times = Map<string, Map<string, number>>;

interface DenoReport {
  benches: {
    group: string;
    name: string;
    results: { ok?: { avg: number } }[];
  }[];
}

interface MitataReport {
  layout: { name: string | null }[];
  benchmarks: {
    alias: string;
    group: number;
    runs: { stats?: { avg: number } }[];
  }[];
}

/** What is 1.00 in a group; elsewhere it is the row "Queue". */
const units = new Map([
  ["ping-pong", "Queue, highWaterMark 1"],
  ["2-way broadcast", "Broadcast"],
  ["4-way broadcast", "Broadcast"],
  ["20,000 cancels", "Queue: get() with a signal each"],
  ["concurrentMap 16, calls that end at once", "concurrentMap"],
  ["concurrentMap 16, calls that wait a turn", "concurrentMap"],
  ["merge of 8", "merge"],
  ["zip of 2", "zip"],
]);

function add(times: Times, group: string, name: string, time?: number): void {
  if (time === undefined) throw new Error(`${group}, ${name} has failed`);
  let rows = times.get(group);
  if (rows === undefined) times.set(group, rows = new Map());
  rows.set(name, time);
}

async function output(running: ReturnType<typeof run>): Promise<string> {
  const { success, stdout, stderr } = await running;
  if (!success) throw new Error(stderr + stdout);
  return stdout.slice(stdout.indexOf("{"));
}

async function onDeno(): Promise<Times> {
  const text = await output(runDeno(["bench", "-A", "--json", "bench.ts"]));
  const times: Times = new Map();
  for (
    const { group, name, results } of (JSON.parse(text) as DenoReport).benches
  ) {
    add(times, group, name, results[0]?.ok?.avg);
  }
  return times;
}

async function onMitata(program: string, flags: string[]): Promise<Times> {
  const text = await output(run(program, [...flags, "bench.ts", "--json"]));
  const { layout, benchmarks } = JSON.parse(text) as MitataReport;
  const times: Times = new Map();
  for (const { alias, group, runs } of benchmarks) {
    add(times, layout[group]?.name ?? "", alias, runs[0]?.stats?.avg);
  }
  return times;
}

await installTools();
const runtimes: (() => Promise<Times>)[] = [
  onDeno,
  () => onMitata(binPath("bun"), []),
  () => onMitata(nodePath(24), ["--expose-gc", "--import", "tsx"]),
];
const rounds: Times[][] = runtimes.map(() => []);
for (let round = 0; round < 3; round++) {
  for (const [index, measure] of runtimes.entries()) {
    rounds[index]!.push(await measure());
  }
}

console.log("| time, Queue = 1.00 | Deno | Bun | Node 24 |\n|---|---|---|---|");
for (const [group, names] of rounds[0]![0]!) {
  const unit = units.get(group) ?? "Queue";
  if (!names.has(unit)) continue;
  for (const name of names.keys()) {
    if (name === unit) continue;
    const cells = rounds.map((runs) => {
      return median(runs.map((times) => {
        const rows = times.get(group)!;
        return rows.get(name)! / rows.get(unit)!;
      })).toFixed(2);
    });
    console.log(`| ${group}: ${name} | ${cells.join(" | ")} |`);
  }
}
