/**
 * Consumers of a queue on an engine in processes of their own, which tests may kill.
 *
 * @module
 */

import type { ChildProcess } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { EngineName } from "./engines.ts";
import { type Outcome, outcomeOf, startScript } from "./example.ts";
import type { ServerProcess } from "./server_process.ts";
import { until } from "./waiting.ts";

/** How a worker works. */
export interface WorkerOptions {
  /** For how many milliseconds it works on an item. */
  work: number;
  concurrency: number;
  visibility: number;
  prefetch?: number;
  /** How many milliseconds the clock of its host is wrong by. */
  clockShift?: number;
}

/** A process of `tests/fixtures/engine_worker.ts`. It notes what it does in a file, a line each. */
export class Worker {
  readonly ended: Promise<Outcome>;
  readonly #child: ChildProcess;
  readonly #notes: string;
  #outcome: Outcome | undefined = undefined;

  constructor(child: ChildProcess, notes: string) {
    this.#child = child;
    this.#notes = notes;
    this.ended = outcomeOf(child).then((outcome) => this.#outcome = outcome);
  }

  /** Whether it asks for items. */
  get isReady(): boolean {
    return this.#told("ready").length > 0;
  }

  /** What it has begun, in order, also after its end. */
  get begun(): number[] {
    return this.#told("begun").map(Number);
  }

  /** Waits until it has begun so many. */
  async hasBegun(count: number): Promise<void> {
    await until(() => {
      const { code, stderr } = this.#outcome ?? {};
      if (code) throw new Error(`The worker ended with ${code}: ${stderr}`);
      return this.begun.length >= count;
    });
  }

  /** Ends it in the middle of its work. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.ended;
  }

  /** Asks it to end, and returns the report of `consume`. */
  async stop(): Promise<Record<string, number>> {
    this.#child.stdin!.end();
    const { code, stderr } = await this.ended;
    if (code !== 0) throw new Error(`The worker ended with ${code}: ${stderr}`);
    return JSON.parse(this.#told("report")[0]!);
  }

  #told(what: string): string[] {
    if (!existsSync(this.#notes)) return [];
    return readFileSync(this.#notes, "utf8").split("\n")
      .filter((line) => line.startsWith(`${what} `))
      .map((line) => line.slice(what.length + 1));
  }
}

let workers = 0;

/** Starts a worker of the queue "jobs". */
export function startWorker(
  engine: EngineName,
  { address, folder }: ServerProcess,
  options: WorkerOptions,
): Worker {
  const notes = join(folder, `worker-${++workers}.notes`);
  const json = JSON.stringify({ prefetch: 0, clockShift: 0, ...options });
  const script = "tests/fixtures/engine_worker.ts";
  const args = [engine, address, notes, json];
  return new Worker(startScript(script, args, undefined, "pipe"), notes);
}
