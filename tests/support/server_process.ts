/**
 * A server of our own: a process on a free port of loopback, with its data in a
 * folder of its own, for as long as a test wants it.
 *
 * @module
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { pause } from "./waiting.ts";

/** What server it is. */
export interface ServerKind {
  readonly command: string;
  /** What it is told. */
  argumentsFor(port: number, folder: string): string[];
  /** Whether it takes commands yet. */
  answers(port: number): Promise<boolean>;
}

/** A server that is running, unless it was stopped. Tests may kill it. */
export class ServerProcess implements AsyncDisposable {
  readonly port: number;
  /** Where its data is. */
  readonly folder: string;
  readonly #kind: ServerKind;
  #child: ChildProcess | undefined = undefined;

  constructor(kind: ServerKind, port: number, folder: string) {
    this.port = port;
    this.#kind = kind;
    this.folder = folder;
  }

  /** Where clients connect to. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Starts it, with the data of before, and waits until it answers. */
  async start(): Promise<void> {
    const { command, argumentsFor, answers } = this.#kind;
    const args = argumentsFor(this.port, this.folder);
    const child = spawn(command, args, { stdio: "ignore" });
    this.#child = child;
    // A test that failed to end it keeps no runner waiting.
    child.unref();
    // Also when the tests end without a word.
    process.on("exit", this.#killNow);
    while (!await answers(this.port)) {
      const { exitCode, signalCode } = child;
      if (exitCode !== null || signalCode !== null) {
        throw new Error(`${command} ended with ${exitCode ?? signalCode}`);
      }
      await pause(10);
    }
  }

  /** Asks it to stop, and waits until it has. Its data stays. */
  stop(): Promise<void> {
    return this.#end("SIGTERM");
  }

  /** Ends it as a failing machine would. */
  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  /** Stops its process where it is, and lets it go on. */
  async freeze(): Promise<void> {
    this.#signal("SIGSTOP");
    // All its threads have to notice.
    await pause(50);
  }

  /** The end of `freeze`. */
  thaw(): void {
    this.#signal("SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    process.off("exit", this.#killNow);
    if (child === undefined) return;
    if (child.exitCode !== null || child.signalCode !== null) return;
    // Somebody waits for it now.
    child.ref();
    const ended = new Promise((resolve) => child.once("exit", resolve));
    process.kill(child.pid!, signal);
    await ended;
  }

  /** As `kill` of a child can be had once on Deno. */
  #signal(signal: "SIGSTOP" | "SIGCONT"): void {
    process.kill(this.#child!.pid!, signal);
  }

  readonly #killNow: () => void = () => {
    this.#child?.kill("SIGKILL");
  };
}

/** Starts a server, and waits until it answers. */
export async function startServer(kind: ServerKind): Promise<ServerProcess> {
  const folder = mkdtempSync(join(tmpdir(), `highwater-${kind.command}-`));
  const server = new ServerProcess(kind, await freePort(), folder);
  try {
    await server.start();
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
  return server;
}

/** Why there can be no such server here, with the line that installs it; undefined when there can. */
export function missingServer(command: string): string | undefined {
  const { status } = spawnSync(command, ["--version"], { stdio: "ignore" });
  return status === 0
    ? undefined
    : `there is no ${command}; apt-get install -y ${command}`;
}

/** A port that nobody listens at. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
