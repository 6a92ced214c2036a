/**
 * Waiting for something to happen in Redis, on a connection of its own, which
 * is blocked meanwhile.
 *
 * @module
 */

import { systemClock } from "../../clock.ts";
import { pause } from "../core/pause.ts";
import type { RedisConnection } from "./connection.ts";

/** What Redis could not be reached for. */
interface Failure {
  readonly error: unknown;
}

/** A list in Redis with at most one element, which wakes the one who has waited longest. */
export class RedisNotify {
  readonly #key: string;
  /** For how many milliseconds one call waits at most. */
  readonly #patience: number;
  readonly #connect: () => RedisConnection;
  readonly #notifyOne: (key: string) => Promise<unknown>;
  readonly #waiting: Set<(failure?: Failure) => void> = new Set();
  #connection: RedisConnection | undefined = undefined;
  #listening: Promise<void> | undefined = undefined;
  #closed = false;

  constructor(
    key: string,
    patience: number,
    connect: () => RedisConnection,
    notifyOne: (key: string) => Promise<unknown>,
  ) {
    this.#key = key;
    this.#patience = patience;
    this.#connect = connect;
    this.#notifyOne = notifyOne;
  }

  /** Waits until it rings, or so many milliseconds, or the signal aborts. Rejects when Redis cannot be reached. */
  async wait(milliseconds: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#closed) return;
    let failed: Failure | undefined;
    let woken!: (failure?: Failure) => void;
    await pause(systemClock, milliseconds, signal, (wake) => {
      woken = (failure) => {
        failed = failure;
        wake();
      };
      this.#waiting.add(woken);
      this.#listening ??= this.#listen();
    });
    this.#waiting.delete(woken);
    if (failed !== undefined) throw (failed as Failure).error;
  }

  /** Whoever waits looks again. */
  wake(): void {
    for (const woken of this.#waiting) woken();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.wake();
    if (this.#listening !== undefined) {
      void this.#connection?.drop();
      await this.#listening;
      // It may have rung for this one in the last moment.
      await this.#notifyOne(this.#key);
    }
    await this.#connection?.drop();
  }

  /** Goes on when those who waited have left: Redis cannot be told to stop. */
  async #listen(): Promise<void> {
    let failure: Failure | undefined;
    try {
      this.#connection ??= this.#connect();
      const seconds = String(this.#patience / 1000);
      const woken = await this.#connection
        .call("BLPOP", [this.#key, seconds], 2 * this.#patience);
      // Somebody else may be waiting for what was meant for nobody here.
      if (woken !== null && this.#waiting.size === 0) {
        await this.#notifyOne(this.#key);
      }
    } catch (error) {
      failure = { error };
      // Made anew: what it still waits for there would take a ring with it.
      await this.#connection?.drop();
      this.#connection = undefined;
    }
    this.#listening = undefined;
    for (const woken of this.#waiting) woken(failure);
    this.#waiting.clear();
  }
}
