/**
 * Jobs through an engine while everything that can die does: consumers all the
 * time, the server a few times; some jobs are slow, fail, kill whoever works on
 * them, or are too large.
 *
 * @module
 */

import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Fate,
  fateOf,
  type Job,
  type Opened,
  openEngine,
  TOO_LARGE,
} from "./chaos_jobs.ts";
import { type History, Ledger, note } from "./chaos_ledger.ts";
import { outcomeOf, startScript } from "./example.ts";
import { startNats } from "./nats_server.ts";
import { startRedis } from "./redis_server.ts";
import type { ServerProcess } from "./server_process.ts";
import { pause } from "./waiting.ts";

/** What a chaos run is made of. */
export interface ChaosOptions {
  engine: "redis" | "nats";
  jobs: number;
  /** Consumers at a time, each a process with sixteen handlers. */
  workers: number;
  /** Milliseconds between two kills of a consumer; as many more as it takes until another delivery begins. */
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
  /** Finished more than once for the death of who worked on it. */
  twice: number[];
  /** How many may be: those in the hands of whom was killed. */
  twiceAtMost: number;
  /** Finished more than once as the server died before it confirmed the first end. */
  cut: number[];
  /** How many may be: those in all hands when it died. */
  cutAtMost: number;
  /** Finished more than once though a server had confirmed the first end, which died then. */
  forgotten: number[];
  /** Finished more than once for none of these reasons: it was confirmed, and delivered again all the same. */
  unexplained: number[];
  /** Dead, and not to blame. */
  innocent: number[];
  dead: number;
  kills: number;
  serverDeaths: number;
  /** The longest that no delivery began, in milliseconds. */
  silence: number;
  /** Deaths that nobody planned, of poison left out. */
  failures: string[];
  /** What is on the server in the end, and should not be. */
  leftovers: string[];
}

/** How many jobs a consumer works on at a time. */
const HANDS = 16;
/** A run that does nothing for so many milliseconds never ends: far more than a busy machine needs. */
const STALLED = 120_000;
/** How long things may stay that the server itself removes in the end. */
const TIDYING = 60_000;
/** As many attempts as the queue has. */
const ATTEMPTS = 5;

/** Runs it, and tells what became of the jobs. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const folder = mkdtempSync(join(tmpdir(), "highwater-chaos-"));
  const server = options.engine === "redis"
    ? await startRedis({ persistent: true })
    : await startNats();
  try {
    const chaos = new Chaos(options, join(folder, "ledger"), server);
    return await chaos.run();
  } finally {
    await server[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  }
}

class Chaos {
  readonly #options: ChaosOptions;
  readonly #path: string;
  readonly #ledger: Ledger;
  readonly #server: ServerProcess;
  /** By number of the consumer. */
  readonly #running: Map<number, ChildProcess> = new Map();
  readonly #ends: Set<Promise<void>> = new Set();
  readonly #failures: string[] = [];
  #isPut = false;
  #isEnding = false;
  #isServerDown = false;
  #started = 0;
  #kills = 0;
  #deaths = 0;
  #begun = 0;
  #begunAt: number = performance.now();
  #silence = 0;

  constructor(options: ChaosOptions, path: string, server: ServerProcess) {
    this.#options = options;
    this.#path = path;
    this.#ledger = new Ledger(path);
    this.#server = server;
  }

  async run(): Promise<ChaosReport> {
    const { engine, workers, visibility } = this.#options;
    const opened = await openEngine(engine, this.#server.address, visibility);
    try {
      for (let worker = 0; worker < workers; worker++) this.#start();
      const [{ accepted, refused }] = await Promise.all([
        this.#put(opened),
        this.#killServer(),
        this.#killWorkers(),
        this.#drain(opened),
      ]);
      await this.#endWorkers();
      const dead = await opened.deadLetters();
      const leftovers = await tidied(opened);
      return { ...this.#report(accepted, dead), refused, leftovers };
    } finally {
      this.#isEnding = true;
      for (const child of this.#running.values()) child.kill("SIGKILL");
      await Promise.all(this.#ends);
      this.#ledger.close();
      await opened.queue.close();
      await opened.leave();
    }
  }

  async #put(
    { queue }: Opened,
  ): Promise<{ accepted: number[]; refused: number }> {
    const accepted: number[] = [];
    let refused = 0;
    let next = 0;
    const lanes = Array.from({ length: 64 }, async () => {
      while (next < this.#options.jobs && !this.#isEnding) {
        const job = jobOf(next++);
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
    this.#options.say(`All is put: ${accepted.length}, ${refused} refused`);
    this.#isPut = true;
    return { accepted, refused };
  }

  /** Waits until nothing is left. Throws when nothing happens any more. */
  async #drain({ queue }: Opened): Promise<void> {
    while (
      !this.#isPut || this.#deaths < this.#options.serverDeaths ||
      await left(queue) > 0
    ) {
      await pause(200);
      const { begun } = this.#ledger;
      const now = performance.now();
      this.#silence = Math.max(this.#silence, now - this.#begunAt);
      if (begun > this.#begun) this.#begunAt = now;
      else if (now - this.#begunAt > STALLED) throw await this.#stalled(queue);
      this.#begun = begun;
    }
    this.#isEnding = true;
  }

  /** Asks them to stop. Throws when one does not: its process would be left. */
  async #endWorkers(): Promise<void> {
    for (const child of this.#running.values()) child.stdin!.end();
    const until = performance.now() + STALLED;
    while (this.#ends.size > 0) {
      await pause(20);
      if (performance.now() > until) {
        throw new Error(
          `All consumers must end when asked to, received ${[
            ...this.#running.keys(),
          ]} running ${STALLED} ms later`,
        );
      }
    }
  }

  async #stalled(queue: Opened["queue"]): Promise<Error> {
    const stats = await queue.stats().catch(String);
    return new Error(
      `The run must go on, received none begun within ${STALLED} ms: ${this.#ledger.done} done, ${
        JSON.stringify(stats)
      }, consumers ${[...this.#running.keys()]}, failures ${this.#failures}`,
    );
  }

  #report(
    accepted: number[],
    dead: number[],
  ): Omit<ChaosReport, "refused" | "leftovers"> {
    const { jobs, done } = this.#ledger;
    const buried = new Set(dead);
    const guilty: readonly Fate[] = ["failing", "poisonous"];
    const again = [...jobs].filter(([, { finished }]) => finished > 1);
    return {
      accepted: accepted.length,
      finished: done,
      lost: accepted.filter((job) =>
        !buried.has(job) && !jobs.get(job)?.finished
      ),
      twice: numbersOf(
        again,
        (job) => job.isUnconfirmed && !job.isForgotten && !job.isCut,
      ),
      twiceAtMost: HANDS * this.#kills,
      cut: numbersOf(again, (job) => job.isCut && !job.isForgotten),
      cutAtMost: HANDS * this.#options.workers * this.#deaths,
      forgotten: numbersOf(again, (job) => job.isForgotten),
      unexplained: numbersOf(
        again,
        (job) => !job.isUnconfirmed && !job.isForgotten && !job.isCut,
      ),
      // Whom chance killed as often as a job has attempts looks like poison.
      innocent: [...buried].filter((number) =>
        !guilty.includes(fateOf({ number })) &&
        (jobs.get(number)?.losses ?? 0) < ATTEMPTS
      ),
      dead: buried.size,
      kills: this.#kills,
      serverDeaths: this.#deaths,
      silence: this.#silence,
      failures: this.#failures,
    };
  }

  #start(): void {
    const { engine, visibility } = this.#options;
    const consumer = this.#started++;
    const deaths = this.#deaths;
    const child = startScript(
      "tests/fixtures/chaos_worker.ts",
      [
        ...[engine, this.#server.address, this.#path],
        ...[consumer, visibility, HANDS].map(String),
      ],
      undefined,
      "pipe",
    );
    this.#running.set(consumer, child);
    const ended = outcomeOf(child).then(({ code, stderr }) => {
      this.#running.delete(consumer);
      this.#ends.delete(ended);
      note(this.#path, "killed", consumer, -1);
      // It was killed, by us or by poison, was asked to end, or found no server.
      const hadServer = !this.#isServerDown && deaths === this.#deaths;
      if (code !== null && code !== 0 && hadServer) this.#failures.push(stderr);
      if (code === null) this.#kills++;
      if (!this.#isEnding) this.#start();
    });
    this.#ends.add(ended);
  }

  /** No faster than work goes on: a busy machine may need seconds to start a consumer. */
  async #killWorkers(): Promise<void> {
    const { killEvery, random } = this.#options;
    while (!this.#isEnding) {
      const { begun } = this.#ledger;
      await pause(killEvery);
      while (this.#ledger.begun === begun && !this.#isEnding) await pause(20);
      const all = [...this.#running.values()];
      if (!this.#isEnding) {
        all[Math.floor(random() * all.length)]?.kill("SIGKILL");
      }
    }
  }

  /** By what is done, so that there is work before and after. */
  async #killServer(): Promise<void> {
    const { jobs, serverDeaths, say } = this.#options;
    for (let death = 1; death <= serverDeaths; death++) {
      const due = jobs * death / (serverDeaths + 1);
      while (this.#ledger.done < due) {
        if (this.#isEnding) return;
        await pause(20);
      }
      const { done } = this.#ledger;
      this.#isServerDown = true;
      note(this.#path, "death", -1, -1);
      await this.#server.kill();
      note(this.#path, "gone", -1, -1);
      await this.#server.start();
      this.#deaths++;
      this.#isServerDown = false;
      say(
        `The server died when ${done} jobs were done; ${this.#kills} consumers were killed so far`,
      );
    }
  }
}

function numbersOf(
  jobs: readonly [number, History][],
  match: (job: History) => boolean,
): number[] {
  return jobs.filter(([, job]) => match(job)).map(([number]) => number);
}

/** What is on the server in the end, once it has removed what it removes by itself. */
async function tidied({ leftovers }: Opened): Promise<string[]> {
  const until = performance.now() + TIDYING;
  while (true) {
    const found = await leftovers();
    if (found.length === 0 || performance.now() > until) return found;
    await pause(200);
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
