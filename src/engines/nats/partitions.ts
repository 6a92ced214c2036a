/**
 * Messages of several orders, of each of which one is lent at a time.
 *
 * @module
 */

import type { Clock } from "../../clock.ts";
import { pause } from "../core/pause.ts";

/** What orders are made of. */
export interface PartitionsOptions<M> {
  readonly clock: Clock;
  /** Their names. */
  readonly names: readonly string[];
  /** Those that seem to have a message that nobody has. */
  free(): Promise<readonly string[]>;
  /** Waits for the next message of an order, not for ever. */
  pull(name: string, visibility: number): Promise<readonly M[]>;
  /** A message goes back. */
  release(message: M): Promise<unknown>;
}

/** Somebody else was faster; it is time to look again. */
const LOOK_AGAIN = 100;
/** What has not been taken after so many milliseconds goes back. */
const STALE = 1_000;

/**
 * A request for a message stays open until its time is over. So a message may come
 * that nobody waits for; it is for who asks next, and goes back when nobody does.
 */
export class Partitions<M> {
  readonly #options: PartitionsOptions<M>;
  readonly #open: Map<string, Promise<void>> = new Map();
  #isClosed = false;
  readonly #shelf: { readonly message: M; readonly since: number }[] = [];
  #change: (() => void) | undefined = undefined;
  #failure: { readonly error: unknown } | undefined = undefined;
  /** Where the next look begins. */
  #cursor = 0;
  #staleTimer: unknown = undefined;

  constructor(options: PartitionsOptions<M>) {
    this.#options = options;
  }

  /** Up to `max` messages; it may be none. */
  async take(
    max: number,
    visibility: number,
    signal: AbortSignal,
  ): Promise<M[]> {
    if (this.#shelf.length === 0 && !signal.aborted) {
      this.#failure = undefined;
      const free = await this.#options.free();
      const some = this.#fromCursor(free).slice(0, max);
      for (const name of some) this.#ask(name, visibility);
      if (some.length === 0) {
        for (const name of this.#options.names) this.#ask(name, visibility);
      }
      await this.#nextChange(signal, some.length > 0 ? LOOK_AGAIN : Infinity);
      if (this.#failure !== undefined && this.#shelf.length === 0) {
        throw (this.#failure as { error: unknown }).error;
      }
    }
    if (signal.aborted) return [];
    return this.#shelf.splice(0, max).map(({ message }) => message);
  }

  /** Asks for nothing more, and gives back what nobody took. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#options.clock.clearTimer(this.#staleTimer);
    await Promise.all(this.#open.values());
    await this.#release(this.#shelf.splice(0));
  }

  /** Each gets its turn, even if not all that are free can be asked. */
  #fromCursor(names: readonly string[]): string[] {
    const { length } = this.#options.names;
    const distance = (name: string): number =>
      (this.#options.names.indexOf(name) - this.#cursor + length) % length;
    const turned = names.filter((name) => !this.#open.has(name))
      .sort((a, b) => distance(a) - distance(b));
    return turned;
  }

  #ask(name: string, visibility: number): void {
    if (this.#open.has(name)) return;
    this.#cursor = this.#options.names.indexOf(name) + 1;
    this.#open.set(name, this.#receive(name, visibility));
  }

  async #receive(name: string, visibility: number): Promise<void> {
    const { pull, clock } = this.#options;
    try {
      for (const message of await pull(name, visibility)) {
        this.#shelf.push({ message, since: clock.now() });
      }
      if (this.#shelf.length > 0) this.#watchStale();
    } catch (error) {
      this.#failure = { error };
    }
    this.#open.delete(name);
    if (
      this.#shelf.length > 0 || this.#failure !== undefined ||
      this.#open.size === 0
    ) this.#change?.();
  }

  async #nextChange(signal: AbortSignal, longest: number): Promise<void> {
    if (signal.aborted || this.#shelf.length > 0) return;
    await pause(this.#options.clock, longest, signal, (wake) => {
      this.#change = wake;
    });
    this.#change = undefined;
  }

  #watchStale(): void {
    if (this.#isClosed) return;
    const { clock } = this.#options;
    this.#staleTimer ??= clock.setTimer(() => {
      this.#staleTimer = undefined;
      const limit = clock.now() - STALE;
      const count = this.#shelf.filter(({ since }) => since <= limit).length;
      void this.#release(this.#shelf.splice(0, count));
      if (this.#shelf.length > 0) this.#watchStale();
    }, STALE);
  }

  /** What cannot be given back comes back by itself once its time is over. */
  async #release(shelf: { message: M }[]): Promise<void> {
    await Promise.allSettled(
      shelf.map(({ message }) => this.#options.release(message)),
    );
  }
}
