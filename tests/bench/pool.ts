/**
 * `WorkerPool` beside its peers, all with two workers, all hashing the same bytes;
 * every result is compared with the hash computed here.
 *
 * ```sh
 * deno task bench:pool                                         # on Node 24
 * deno run -A tests/bench/pool.ts                                    # on Deno
 * node_modules/.bin/bun tests/bench/pool.ts                          # on Bun
 * ```
 *
 * The pools take turns, in rounds, so that what else the machine does hits all of
 * them. A ratio is the median, over the rounds, of the time of that pool by the time
 * of `WorkerPool` in the same round.
 *
 * @module
 */

import process from "node:process";
import { WorkerPool } from "../../src/threads.ts";
import { hash, type Hashing } from "../fixtures/pools/hashing.ts";
import { within } from "../support/waiting.ts";
import { median } from "../support/items.ts";

const WORKERS = 2;
/** How many tasks whoever has them keeps under way. */
const UNDER_WAY = 64;
const ROUNDS = Number(process.env["ROUNDS"] ?? 15);

/** A pool, reduced to what is compared. */
interface Contestant {
  readonly name: string;
  run(task: Hashing): Promise<string>;
  close(): Promise<unknown>;
}

interface Workload {
  readonly name: string;
  readonly tasks: readonly Hashing[];
}

/** What each of them has to do: short tasks of one kind, longer ones, and a mixture whose few long ones are most of the work. */
const workloads: Workload[] = [
  uniform("uniform, 64 B", 4_000, 64),
  uniform("uniform, 4 KiB", 4_000, 4_096),
  uniform("uniform, 256 KiB", 300, 262_144),
  skewed("skewed, 64 B and 1 in 50 of 64 KiB", 4_000, 64, 65_536),
  skewed("skewed, 1 KiB and 1 in 50 of 256 KiB", 2_000, 1_024, 262_144),
  skewed("skewed, 4 KiB and 1 in 50 of 4 MiB", 500, 4_096, 4_194_304),
];

const makers: Record<string, () => Promise<Contestant>> = {
  async WorkerPool() {
    const pool = new WorkerPool<typeof hash>(moduleOf("highwater"), {
      size: WORKERS,
      highWaterMark: UNDER_WAY,
    });
    return await Promise.resolve({
      name: "WorkerPool",
      run: (task) => pool.run(task),
      close: () => pool.close(),
    });
  },
  async piscina() {
    const { Piscina } = await import("piscina");
    const pool = new Piscina({
      filename: moduleOf("hashing").href,
      minThreads: WORKERS,
      maxThreads: WORKERS,
    });
    return {
      name: "piscina",
      run: (task) => pool.run(task),
      close: () => pool.destroy(),
    };
  },
  async tinypool() {
    const { Tinypool } = await import("tinypool");
    const pool = new Tinypool({
      filename: moduleOf("hashing").href,
      minThreads: WORKERS,
      maxThreads: WORKERS,
    });
    return {
      name: "tinypool",
      run: (task) => pool.run(task),
      close: () => pool.destroy(),
    };
  },
  async poolifier() {
    const { FixedThreadPool } = await import("poolifier");
    const pool = new FixedThreadPool<Hashing, string>(
      WORKERS,
      moduleOf("poolifier").pathname,
    );
    return {
      name: "poolifier",
      run: (task) => pool.execute(task),
      close: () => pool.destroy(),
    };
  },
  async workerpool() {
    const { default: workerpool } = await import("workerpool");
    const pool = workerpool.pool(moduleOf("workerpool").pathname, {
      minWorkers: WORKERS,
      maxWorkers: WORKERS,
      workerType: "thread",
    });
    return {
      name: "workerpool",
      run: async (task) => await pool.exec("hash", [task]),
      close: async () => await pool.terminate(),
    };
  },
};

const known: Record<number, string> = {};
const contestants = await makeAll();
for (const workload of workloads) await compare(workload);
for (const { close } of contestants) await close();
process.exit(0); // Some of them leave threads behind.

function uniform(name: string, count: number, length: number): Workload {
  return { name, tasks: Array.from({ length: count }, () => ({ length })) };
}

function skewed(
  name: string,
  count: number,
  short: number,
  long: number,
): Workload {
  const tasks = Array.from(
    { length: count },
    // Not all in the same lane of who takes turns.
    (_, index) => ({ length: index % 50 === (index / 50 & 1) ? long : short }),
  );
  return { name, tasks };
}

function moduleOf(name: string): URL {
  return new URL(`../fixtures/pools/${name}.ts`, import.meta.url);
}

/** Those that work on this runtime. */
async function makeAll(): Promise<Contestant[]> {
  const made: Contestant[] = [];
  for (const [name, make] of Object.entries(makers)) {
    try {
      const contestant = await make();
      await within(10_000, check(contestant, { length: 1 }), contestant.name);
      made.push(contestant);
    } catch (error) {
      const [line] = String((error as Error).message).split("\n");
      console.error(`${name} is left out, it does not work here: ${line}`);
    }
  }
  return made;
}

async function compare({ name, tasks }: Workload): Promise<void> {
  const times = new Map(contestants.map(({ name }) => [name, [] as number[]]));
  for (let round = -2; round < ROUNDS; round++) {
    // Who comes first changes from round to round.
    const shift = (round + 2) % contestants.length;
    const order = [
      ...contestants.slice(shift),
      ...contestants.slice(0, shift),
    ];
    for (const contestant of order) {
      const time = await measure(contestant, tasks);
      if (round >= 0) times.get(contestant.name)!.push(time);
    }
  }
  console.log(`\n${name}: ${tasks.length} tasks, ${ROUNDS} rounds`);
  const [own] = times.values();
  for (const [name, theirs] of times) {
    const perTask = median(theirs) / tasks.length * 1_000;
    const ratio = median(theirs.map((time, round) => time / own![round]!));
    console.log(
      `  ${name.padEnd(12)}${perTask.toFixed(1).padStart(10)} µs a task` +
        `${ratio.toFixed(2).padStart(8)}×`,
    );
  }
}

async function measure(
  contestant: Contestant,
  tasks: readonly Hashing[],
): Promise<number> {
  const begin = performance.now();
  let next = 0;
  let done = 0;
  await Promise.all(Array.from({ length: UNDER_WAY }, async () => {
    while (next < tasks.length) {
      await check(contestant, tasks[next++]!);
      done++;
    }
  }));
  if (done !== tasks.length) throw new Error(`${done} of ${tasks.length}`);
  return performance.now() - begin;
}

async function check({ name, run }: Contestant, task: Hashing): Promise<void> {
  const result = await run(task);
  if (result !== expected(task)) throw new Error(`${name}: a wrong result`);
}

function expected(task: Hashing): string {
  known[task.length] ??= hash(task);
  return known[task.length]!;
}
