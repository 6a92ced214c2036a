/**
 * An engine in memory, for tests of what all adapters share: it lends by time,
 * counts deliveries, has a bound, and breaks down when told to.
 *
 * @module
 */

import type { Clock } from "../../src/clock.ts";
import type {
  Answer,
  BurialReason,
  Driver,
  Measures,
  Message,
  Outgoing,
} from "../../src/engines/core/driver.ts";
import {
  EngineHandle,
  type EngineHandleOptions,
} from "../../src/engines/core/handle.ts";
import { SteppedClock } from "./stepped_clock.ts";

/** A message of this engine. */
export interface Kept extends Message {
  readonly id: string;
  attempt: number;
  /** When it may be delivered again. */
  visibleAt: number;
  isLent: boolean;
  lost: "alone" | "beside" | undefined;
  isAlone: boolean;
}

/** What several drivers have in common: the server, as it were. */
export class MemoryEngine {
  readonly clock: Clock;
  bound: number = Infinity;
  maxPayload = 100;
  readonly kept: Kept[] = [];
  readonly acked: Uint8Array[] = [];
  readonly buried: { payload: Uint8Array; reason: BurialReason }[] = [];
  readonly #seen: Set<string> = new Set();
  readonly #waiting: Set<() => void> = new Set();
  /** What the next words fail with. */
  failures: unknown[] = [];
  /** Whether a failing word has its effect all the same. */
  failsLate = false;
  /** Which of them do not pass by themselves. */
  lasts: (error: unknown) => boolean | undefined = () => false;
  words = 0;
  /** Runs before each word. */
  before: () => Promise<void> = () => Promise.resolve();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  connect(): Driver<Kept> {
    return new MemoryDriver(this);
  }

  async word<R>(effect: () => R): Promise<R> {
    this.words++;
    await this.before();
    if (this.failures.length === 0) return effect();
    const failure = this.failures.shift();
    if (this.failsLate) effect();
    throw failure;
  }

  put(message: Outgoing): Answer {
    if (this.#seen.has(message.id)) return "accepted";
    if (this.kept.length >= this.bound) return "full";
    this.#seen.add(message.id);
    this.kept.push({
      id: message.id,
      payload: message.payload,
      key: message.key,
      attempt: 0,
      age: undefined,
      visibleAt: 0,
      isLent: false,
      lost: undefined,
      isAlone: false,
    });
    this.changed();
    return "accepted";
  }

  take(max: number, visibility: number): Kept[] {
    const now = this.clock.now();
    const taken: Kept[] = [];
    for (const [index, kept] of this.kept.entries()) {
      if (taken.length === max) break;
      if (kept.visibleAt > now) continue;
      // Each delivery is a message of its own: who lost one cannot answer for the next.
      const next: Kept = {
        ...kept,
        lost: kept.isLent ? kept.isAlone ? "alone" : "beside" : kept.lost,
        isAlone: false,
        attempt: kept.attempt + 1,
        visibleAt: now + visibility,
        isLent: true,
      };
      this.kept[index] = next;
      taken.push(next);
    }
    return taken;
  }

  /** Whether the message is still lent to whoever holds this delivery of it. */
  holds(message: Kept): boolean {
    return this.kept.includes(message) && message.isLent &&
      message.visibleAt > this.clock.now();
  }

  remove(message: Kept): void {
    this.kept.splice(this.kept.indexOf(message), 1);
    this.changed();
  }

  changed(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /** Fulfils with the next change, the end of a delay, or the signal. */
  async change(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const now = this.clock.now();
    const next = Math.min(
      ...this.kept.map((kept) => kept.visibleAt).filter((at) => at > now),
    );
    let wake!: () => void;
    const woken = new Promise<void>((resolve) => wake = resolve);
    this.#waiting.add(wake);
    signal.addEventListener("abort", wake);
    const timer = next === Infinity
      ? undefined
      : this.clock.setTimer(wake, next - now);
    await woken;
    this.clock.clearTimer(timer);
    signal.removeEventListener("abort", wake);
    this.#waiting.delete(wake);
  }
}

class MemoryDriver implements Driver<Kept> {
  readonly maxBatch = 10;
  readonly maxPayload: number;
  readonly maxBatchBytes: number;
  readonly #engine: MemoryEngine;

  constructor(engine: MemoryEngine) {
    this.#engine = engine;
    this.maxPayload = engine.maxPayload;
    this.maxBatchBytes = 5 * engine.maxPayload;
  }

  open(): Promise<void> {
    return this.#engine.word(() => {});
  }

  send(messages: readonly Outgoing[]): Promise<readonly Answer[]> {
    return this.#engine.word(() => {
      let isFull = false;
      return messages.map((message) => {
        const answer = isFull ? "full" : this.#engine.put(message);
        isFull = answer === "full";
        return answer;
      });
    });
  }

  async room(signal: AbortSignal): Promise<void> {
    while (
      this.#engine.kept.length >= this.#engine.bound && !signal.aborted
    ) await this.#engine.change(signal);
  }

  async fetch(
    max: number,
    visibility: number,
    signal: AbortSignal,
  ): Promise<readonly Kept[]> {
    while (!signal.aborted) {
      const taken = await this.#engine.word(() =>
        this.#engine.take(max, visibility)
      );
      if (taken.length > 0) return taken;
      await this.#engine.change(signal);
    }
    return [];
  }

  ack(message: Kept): Promise<boolean> {
    return this.#if(message, () => {
      this.#engine.acked.push(message.payload);
      this.#engine.remove(message);
    });
  }

  nack(message: Kept, delay: number): Promise<boolean> {
    return this.#if(message, () => {
      message.isLent = false;
      message.lost = undefined;
      message.visibleAt = this.#engine.clock.now() + delay;
      this.#engine.changed();
    });
  }

  release(message: Kept, delay: number): Promise<boolean> {
    return this.#if(message, () => {
      message.isLent = false;
      message.attempt--;
      message.visibleAt = delay === 0 ? 0 : this.#engine.clock.now() + delay;
      this.#engine.changed();
    });
  }

  isolate(message: Kept): Promise<boolean> {
    return this.#if(message, () => message.isAlone = true);
  }

  extend(message: Kept, milliseconds: number): Promise<boolean> {
    return this.#if(message, () => {
      message.visibleAt = this.#engine.clock.now() + milliseconds;
    });
  }

  bury(message: Kept, reason: BurialReason): Promise<boolean> {
    return this.#if(message, () => {
      this.#engine.buried.push({ payload: message.payload, reason });
      this.#engine.remove(message);
    });
  }

  measure(): Promise<Measures> {
    return this.#engine.word(() => {
      const { kept, bound, clock } = this.#engine;
      const waiting = kept.filter(({ isLent }) => !isLent);
      const inFlight = kept.length - waiting.length;
      const now = clock.now();
      return {
        backlog: waiting.length,
        delayed: waiting.filter(({ visibleAt }) => visibleAt > now).length,
        capacity: bound,
        inFlight,
        oldestAge: undefined,
        deadLetters: this.#engine.buried.length,
      };
    });
  }

  lasts(error: unknown): boolean | undefined {
    return this.#engine.lasts(error);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #if(message: Kept, effect: () => void): Promise<boolean> {
    return this.#engine.word(() => {
      if (!this.#engine.holds(message)) return false;
      effect();
      return true;
    });
  }
}

/** A handle on an engine of its own, with a clock that the test turns. */
export function startHandle(options: EngineHandleOptions<string> = {}): {
  clock: SteppedClock;
  engine: MemoryEngine;
  queue: EngineHandle<string, Kept>;
} {
  const clock = new SteppedClock();
  const engine = new MemoryEngine(clock);
  const queue = new EngineHandle<string, Kept>("jobs", engine.connect(), {
    clock,
    ...options,
  });
  return { clock, engine, queue };
}
