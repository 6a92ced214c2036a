/**
 * Jobs through an engine while everything that can die does: consumers all the
 * time, the server a few times; some jobs are slow, fail, kill whoever works on
 * them, or are too large.
 *
 * @module
 */

import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Fate,
  fateOf,
  type Job,
  openEngine,
  TOO_LARGE,
} from "./chaos_jobs.ts";
import { outcomeOf, startScript } from "./example.ts";
import { startNats } from "./nats_server.ts";
import { startRedis } from "./redis_server.ts";
import type { ServerProcess } from "./server_process.ts";

/** What a chaos run is made of. */
export interface ChaosOptions {
  engine: "redis" | "nats";
  jobs: number;
  /** Consumers at a time, each a process with sixteen handlers. */
  workers: number;
  /** Milliseconds between two kills of a consumer. */
  killEvery: number;
  /** How often the server dies, spread over the run. */
  serverDeaths: number;
  visibility: number;
  /** Chooses whom to kill. */
  random: () => number;
  say(line: string): void;
}

/** What became of the jobs. */
export interface ChaosReport {
  accepted: number;
  refused: number;
  finished: number;
  /** Accepted, and neither finished nor among the dead. */
  lost: number[];
  /** Finished more than once. */
  twice: number[];
  /** How many may be: those in the hands of whom was killed. */
  twiceAtMost: number;
  /** Dead, and not to blame. */
  innocent: number[];
  dead: number;
  kills: number;
  serverDeaths: number;
  /** Deaths that nobody planned, of poison left out. */
  failures: string[];
}

/** Sixteen handlers, and what may be fetched early beside them. */
const HANDS = 48;

/** Runs it, and tells what became of the jobs. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const folder = mkdtempSync(join(tmpdir(), "highwater-chaos-"));
  const server = options.engine === "redis"
    ? await startRedis({ persistent: true })
    : await startNats();
  try {
    return await new Chaos(options, folder, server).run();
  } finally {
    await server[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  }
}

class Chaos {
  readonly #options: ChaosOptions;
  readonly #folder: string;
  readonly #server: ServerProcess;
  readonly #running: Set<ChildProcess> = new Set();
  readonly #ends: Set<Promise<void>> = new Set();
  readonly #failures: string[] = [];
  #isEnding = false;
  #isServerDown = false;
  #started = 0;
  #kills = 0;
  #deaths = 0;
  #puts = 0;

  constructor(options: ChaosOptions, folder: string, server: ServerProcess) {
    this.#options = options;
    this.#folder = folder;
    this.#server = server;
  }

  async run(): Promise<ChaosReport> {
    const { engine, jobs, workers, visibility, say } = this.#options;
    const { queue, deadLetters, leave } = await openEngine(
      ...[engine, this.#server.address, visibility] as const,
    );
    for (let worker = 0; worker < workers; worker++) this.#start();
    const killing = this.#killWorkers();
    const restarting = this.#killServer();
    const accepted: number[] = [];
    let refused = 0;
    const lanes = Array.from({ length: 64 }, async () => {
      while (this.#puts < jobs) {
        const job = jobOf(this.#puts++);
        try {
          await queue.put(job);
          accepted.push(job.number);
        } catch (error) {
          if (!(error instanceof RangeError)) throw error;
          refused++;
        }
      }
    });
    await Promise.all(lanes);
    await restarting;
    say(`All is put: ${accepted.length} accepted, ${refused} refused`);
    while (await left(queue) > 0) await pause(200);
    this.#isEnding = true;
    await killing;
    for (const child of this.#running) child.stdin!.end();
    await Promise.all(this.#ends);
    const dead = await deadLetters();
    await queue.close();
    await leave();
    return this.#report(accepted, refused, dead);
  }

  #report(accepted: number[], refused: number, dead: number[]): ChaosReport {
    const finished = new Map<number, number>();
    for (const file of readdirSync(this.#folder)) {
      const text = readFileSync(join(this.#folder, file), "utf8");
      for (const [, found] of text.matchAll(/^finished (\d+)\n/gm)) {
        const number = Number(found);
        finished.set(number, (finished.get(number) ?? 0) + 1);
      }
    }
    const buried = new Set(dead);
    const guilty: readonly Fate[] = ["failing", "poisonous"];
    return {
      accepted: accepted.length,
      refused,
      finished: finished.size,
      lost: accepted.filter((job) => !finished.has(job) && !buried.has(job)),
      twice: [...finished].filter(([, times]) => times > 1).map(([job]) => job),
      twiceAtMost: HANDS *
        (this.#kills + this.#deaths * this.#options.workers),
      innocent: [...buried].filter((number) =>
        !guilty.includes(fateOf({ number }))
      ),
      dead: buried.size,
      kills: this.#kills,
      serverDeaths: this.#deaths,
      failures: this.#failures,
    };
  }

  #start(): void {
    const { engine, visibility } = this.#options;
    const path = join(this.#folder, `worker-${this.#started++}`);
    const deaths = this.#deaths;
    const child = startScript(
      "tests/fixtures/chaos_worker.ts",
      [engine, this.#server.address, path, String(visibility)],
      undefined,
      "pipe",
    );
    this.#running.add(child);
    const ended = outcomeOf(child).then(({ code, stderr }) => {
      this.#running.delete(child);
      this.#ends.delete(ended);
      // It was killed, by us or by poison, was asked to end, or found no server.
      const hadServer = !this.#isServerDown && deaths === this.#deaths;
      if (code !== null && code !== 0 && hadServer) this.#failures.push(stderr);
      if (code === null) this.#kills++;
      if (!this.#isEnding) this.#start();
    });
    this.#ends.add(ended);
  }

  async #killWorkers(): Promise<void> {
    const { killEvery, random } = this.#options;
    while (!this.#isEnding) {
      await pause(killEvery);
      const all = [...this.#running];
      if (!this.#isEnding) {
        all[Math.floor(random() * all.length)]?.kill("SIGKILL");
      }
    }
  }

  async #killServer(): Promise<void> {
    const { jobs, serverDeaths, say } = this.#options;
    for (let death = 1; death <= serverDeaths; death++) {
      while (this.#puts < jobs * death / (serverDeaths + 1)) await pause(20);
      this.#isServerDown = true;
      await this.#server.kill();
      await this.#server.start();
      this.#deaths++;
      this.#isServerDown = false;
      say(
        `The server died at ${this.#puts} jobs; ${this.#kills} consumers were killed so far`,
      );
    }
  }
}

function jobOf(number: number): Job {
  const isLarge = fateOf({ number }) === "oversized";
  return { number, text: isLarge ? "x".repeat(TOO_LARGE) : "work" };
}

/** What is not done yet; not a number while the server is away. */
async function left(
  queue: { stats(): Promise<{ backlog: number; inFlight: number }> },
): Promise<number> {
  try {
    const { backlog, inFlight } = await queue.stats();
    return backlog + inFlight;
  } catch {
    return 1;
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
