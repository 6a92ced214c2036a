/**
 * What happens in a chaos run, in the order it happens: all processes append to
 * one file, which outlives them. No clock is asked.
 *
 * @module
 */

import { appendFileSync, closeSync, openSync, readSync } from "node:fs";

/** What is noted: of a job by the consumer that has it, of a consumer by its end, of the server before it dies. */
export type Event = "begun" | "finished" | "acknowledged" | "killed" | "death";

/** Notes an event, at once. */
export function note(
  path: string,
  event: Event,
  consumer: number,
  job: number,
): void {
  appendFileSync(path, `${event} ${consumer} ${job}\n`);
}

/** What is known of a job. */
export interface History {
  finished: number;
  /** In which life of the server that began which was acknowledged, and that confirmed. */
  acknowledged: number | undefined;
  /** It was confirmed, and delivered again by a later life of the server. */
  isForgotten: boolean;
  /** The server died while somebody worked on it, and another got it before that one's end was confirmed. */
  isCut: boolean;
  /** How often who worked on it was killed, or the server died meanwhile. */
  losses: number;
}

/** Reads what was noted. */
export class Ledger {
  readonly #file: number;
  readonly #buffer: Uint8Array = new Uint8Array(65_536);
  readonly #decoder: TextDecoder = new TextDecoder();
  readonly #jobs: Map<number, History> = new Map();
  /** By consumer, what it works on, and since which life of the server. */
  readonly #working: Map<number, Map<number, number>> = new Map();
  #rest = "";
  #life = 0;
  #begun = 0;
  #done = 0;

  constructor(path: string) {
    this.#file = openSync(path, "a+");
  }

  /** How many deliveries were begun so far. */
  get begun(): number {
    this.#read();
    return this.#begun;
  }

  /** How many jobs are finished so far. */
  get done(): number {
    this.#read();
    return this.#done;
  }

  /** What became of each job that was begun. */
  get jobs(): ReadonlyMap<number, History> {
    this.#read();
    return this.#jobs;
  }

  close(): void {
    closeSync(this.#file);
  }

  #read(): void {
    let length: number;
    while ((length = readSync(this.#file, this.#buffer)) > 0) {
      const text = this.#decoder.decode(this.#buffer.subarray(0, length));
      const lines = (this.#rest + text).split("\n");
      this.#rest = lines.pop()!;
      for (const line of lines) {
        const [event, consumer, job] = line.split(" ");
        this.#happened(event as Event, Number(consumer), Number(job));
      }
    }
  }

  #happened(event: Event, consumer: number, number: number): void {
    if (event === "death") {
      this.#life++;
      for (const working of this.#working.values()) this.#lose(working);
      return;
    }
    const working = this.#workOf(consumer);
    if (event === "killed") {
      this.#lose(working);
      this.#working.delete(consumer);
      return;
    }
    const job = this.#job(number);
    if (event === "begun") {
      this.#begun++;
      job.isForgotten ||= this.#isEarlier(job.acknowledged);
      for (const others of this.#working.values()) {
        job.isCut ||= this.#isEarlier(others.get(number));
      }
      working.set(number, this.#life);
    } else if (event === "finished") {
      if (job.finished++ === 0) this.#done++;
    } else {
      job.acknowledged = working.get(number);
      working.delete(number);
    }
  }

  #isEarlier(life: number | undefined): boolean {
    return life !== undefined && life < this.#life;
  }

  #lose(working: ReadonlyMap<number, number>): void {
    for (const number of working.keys()) this.#job(number).losses++;
  }

  #workOf(consumer: number): Map<number, number> {
    let working = this.#working.get(consumer);
    if (working === undefined) {
      this.#working.set(consumer, working = new Map());
    }
    return working;
  }

  #job(number: number): History {
    let job = this.#jobs.get(number);
    if (job === undefined) {
      job = {
        finished: 0,
        acknowledged: undefined,
        isForgotten: false,
        isCut: false,
        losses: 0,
      };
      this.#jobs.set(number, job);
    }
    return job;
  }
}
