/**
 * Consumers in processes of their own, which tests may kill.
 *
 * @module
 */

import type { ChildProcess } from "node:child_process";
import { type Outcome, outcomeOf, startScript } from "./example.ts";
import { CLIENTS, type TestClient } from "./redis_clients.ts";
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
  /** The package of its client; they take turns unless told. */
  kind?: string;
}

/** A process of `tests/fixtures/redis_worker.ts`. */
export class Worker {
  readonly name: string;
  readonly ended: Promise<Outcome>;
  readonly #child: ChildProcess;
  readonly #client: TestClient;

  constructor(
    name: string,
    child: ChildProcess,
    client: TestClient,
  ) {
    this.name = name;
    this.#child = child;
    this.#client = client;
    this.ended = outcomeOf(child);
  }

  /** What it has begun, in order, also after its end. */
  async begun(): Promise<number[]> {
    const { command } = this.#client;
    const items = await command("LRANGE", `begun:${this.name}`, "0", "-1");
    return (items as string[]).map(Number);
  }

  /** Waits until it has begun so many. */
  async hasBegun(count: number): Promise<void> {
    await until(async () => (await this.begun()).length >= count);
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
    const { command } = this.#client;
    return JSON.parse(await command("GET", `report:${this.name}`) as string);
  }
}

let workers = 0;

/** Starts a worker. */
export function startWorker(
  url: string,
  client: TestClient,
  { kind, prefetch = 0, clockShift = 0, ...options }: WorkerOptions,
): Worker {
  const name = `worker-${++workers}`;
  kind ??= CLIENTS[workers % CLIENTS.length]!.name;
  const json = JSON.stringify({ prefetch, clockShift, ...options });
  const args = [url, kind, name, json];
  const script = "tests/fixtures/redis_worker.ts";
  const child = startScript(script, args, undefined, "pipe");
  return new Worker(name, child, client);
}
