/**
 * What happens in a chaos run, in the order it happens: all processes append to
 * one file, which outlives them. No clock is asked.
 *
 * @module
 */

import { appendFileSync, closeSync, openSync, readSync } from "node:fs";

/** What is noted: of a job by the consumer that has it, of a consumer by its end, of the server before it dies and when it is gone. */
export type Event =
  | "begun"
  | "finished"
  | "acknowledged"
  | "late"
  | "killed"
  | "death"
  | "gone";

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
  /** Who had finished it was killed before that was confirmed, or was told that it was too late. */
  isUnconfirmed: boolean;
  /** How often who worked on it was killed, or the server died meanwhile. */
  losses: number;
}

/** So many deliveries are in work or fetched early, at most. */
const HELD = 48;

/** What a consumer has in its hands. */
interface Attempt {
  readonly number: number;
  /** In which life of the server it was delivered, as far as that is known. */
  readonly life: number;
  isFinished: boolean;
}

/** Reads what was noted. */
export class Ledger {
  readonly #file: number;
  readonly #buffer: Uint8Array = new Uint8Array(65_536);
  readonly #decoder: TextDecoder = new TextDecoder();
  readonly #jobs: Map<number, History> = new Map();
  /** By consumer, what it works on; on the same thing twice where the server has forgotten that it has it. */
  readonly #working: Map<number, Set<Attempt>> = new Map();
  /** By consumer, how much it may still have of what was fetched before the server died. */
  readonly #early: Map<number, number> = new Map();
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
    if (event === "death" || event === "gone") {
      this.#life++;
      for (const [consumer, working] of this.#working) {
        if (event === "death") this.#lose(working);
        this.#early.set(consumer, HELD);
      }
      return;
    }
    const working = this.#workOf(consumer);
    if (event === "killed") {
      this.#lose(working);
      for (const { number, isFinished } of working) {
        if (isFinished) this.#job(number).isUnconfirmed = true;
      }
      this.#working.delete(consumer);
      return;
    }
    const job = this.#job(number);
    if (event === "begun") {
      this.#begun++;
      job.isForgotten ||= this.#isEarlier(job.acknowledged);
      for (const attempts of this.#working.values()) {
        for (const attempt of attempts) {
          if (attempt.number !== number) continue;
          job.isCut ||= this.#isEarlier(attempt.life);
        }
      }
      const early = this.#early.get(consumer) ?? 0;
      this.#early.set(consumer, early - 1);
      const life = early > 0 ? this.#life - 1 : this.#life;
      working.add({ number, life, isFinished: false });
      return;
    }
    const isEnding = event === "finished";
    const attempt = [...working].find((one) =>
      one.number === number && one.isFinished !== isEnding
    )!;
    if (isEnding) {
      attempt.isFinished = true;
      if (job.finished++ === 0) this.#done++;
      return;
    }
    if (event === "acknowledged") job.acknowledged = attempt.life;
    else job.isUnconfirmed = true;
    working.delete(attempt);
  }

  #isEarlier(life: number | undefined): boolean {
    return life !== undefined && life < this.#life;
  }

  #lose(working: ReadonlySet<Attempt>): void {
    for (const { number } of working) this.#job(number).losses++;
  }

  #workOf(consumer: number): Set<Attempt> {
    let working = this.#working.get(consumer);
    if (working === undefined) {
      this.#working.set(consumer, working = new Set());
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
        isUnconfirmed: false,
        losses: 0,
      };
      this.#jobs.set(number, job);
    }
    return job;
  }
}
