/**
 * A port whose other end is the test itself, word by word.
 *
 * @module
 */

import { VERSION } from "../../src/threads/port/connection.ts";

type Listener = (value: unknown) => void;

/** What a side says, as far as a test looks. */
export interface Said {
  readonly session: string;
  readonly frames: readonly (readonly unknown[])[];
}

/** One end; what its listeners throw is thrown at who speaks. */
export class RawPort {
  /** What was sent from here. */
  readonly said: Said[] = [];
  readonly #listeners: Map<string, Set<Listener>> = new Map();
  readonly #to: "serving" | "connected";

  /** `to` is the side that listens here. */
  constructor(to: "serving" | "connected") {
    this.#to = to;
  }

  postMessage(message: unknown, transfer: Transferable[] = []): void {
    this.said.push(structuredClone(message, { transfer }) as Said);
  }

  on(type: string, listener: Listener): void {
    let listeners = this.#listeners.get(type);
    if (listeners === undefined) {
      this.#listeners.set(type, listeners = new Set());
    }
    listeners.add(listener);
  }

  off(type: string, listener: Listener): void {
    this.#listeners.get(type)?.delete(listener);
  }

  /** Speaks to the side that listens. */
  say(session: string, frames: unknown, more: object = {}): void {
    this.raw({
      highwater: VERSION,
      channel: "",
      to: this.#to,
      session,
      frames,
      serial: 0,
      heard: 0,
      ...more,
    });
  }

  /** Sends anything. */
  raw(message: unknown): void {
    this.#tell("message", structuredClone(message));
  }

  close(): void {
    this.#tell("close", undefined);
  }

  /** All frames that were sent from here with that verb. */
  framesOf(verb: string): (readonly unknown[])[] {
    return this.said.flatMap(({ frames }) => frames)
      .filter(([said]) => said === verb);
  }

  #tell(type: string, value: unknown): void {
    for (const listener of [...this.#listeners.get(type) ?? []]) {
      listener(value);
    }
  }
}
