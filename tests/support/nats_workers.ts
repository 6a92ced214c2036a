/**
 * Consumers in processes of their own, which tests may kill.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import type { ChildProcess } from "node:child_process";
import { type Outcome, outcomeOf, startScript } from "./example.ts";
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

/** A process of `tests/fixtures/nats_worker.ts`. */
export class Worker {
  /** What it has begun, in order, also after its end. */
  readonly begun: number[] = [];
  readonly ended: Promise<Outcome>;
  isReady = false;
  report: Record<string, number> | undefined = undefined;
  readonly #child: ChildProcess;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.ended = outcomeOf(child);
  }

  /** Waits until it has begun so many. */
  async hasBegun(count: number): Promise<void> {
    await until(() => this.begun.length >= count);
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
    if (code === 0 && this.report !== undefined) return this.report;
    throw new Error(`The worker ended with ${code}: ${stderr}`);
  }
}

/** Starts workers, and notes what they tell. */
export class Workers {
  readonly #address: string;
  readonly #all: Worker[] = [];

  constructor(address: string, connection: NatsConnection) {
    this.#address = address;
    connection.subscribe("note.*.*", {
      callback: (error, message) => {
        if (error !== null) return;
        const [, index, what] = message.subject.split(".");
        const worker = this.#all[Number(index)]!;
        if (what === "ready") worker.isReady = true;
        else if (what === "begun") worker.begun.push(Number(message.string()));
        else worker.report = message.json();
        message.respond();
      },
    });
  }

  start(options: WorkerOptions): Worker {
    const json = JSON.stringify({ prefetch: 0, clockShift: 0, ...options });
    const args = [this.#address, String(this.#all.length), json];
    const script = "tests/fixtures/nats_worker.ts";
    const worker = new Worker(startScript(script, args, undefined, "pipe"));
    this.#all.push(worker);
    return worker;
  }
}
