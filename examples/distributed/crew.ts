/**
 * Processes that another one has started, and starts again when they die.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";

/** After so many workers that died something else is wrong. */
const MAX_DEATHS = 10;

/** The processes that this one has started. */
export class Crew {
  /** How many workers have died, and been replaced. */
  deaths = 0;
  readonly #children: Set<ChildProcess> = new Set();
  readonly #argumentsFor: (role: string) => string[];
  readonly #giveUp: (message: string) => never;
  #dismissed = false;

  constructor(
    argumentsFor: (role: string) => string[],
    giveUp: (message: string) => never,
  ) {
    this.#argumentsFor = argumentsFor;
    this.#giveUp = giveUp;
  }

  /** Starts a process. It is replaced when it dies, unless it is the producer. */
  start(role: string): void {
    const child = spawn(
      process.execPath,
      [...runtimeArguments(), ...this.#argumentsFor(role)],
      { stdio: ["ignore", "inherit", "inherit"] },
    );
    this.#children.add(child);
    child.once("exit", (code) => {
      this.#children.delete(child);
      if (this.#dismissed || code === 0) return;
      // Not all that was found may be in the queue.
      if (role === "producer") this.#giveUp("The process that walks has died");
      if (++this.deaths > MAX_DEATHS) {
        this.#giveUp("Too many workers have died");
      }
      this.start(role);
    });
  }

  /** Tells all to stop, and waits for them. */
  async dismiss(): Promise<void> {
    this.#dismissed = true;
    await Promise.all([...this.#children].map(async (child) => {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await ended;
    }));
  }
}

/** How this very process was started. */
function runtimeArguments(): string[] {
  if ("Deno" in globalThis) return ["run", "-A", "--quiet", "--no-check"];
  return process.execArgv;
}
