/**
 * NATS servers with JetStream for tests: on loopback, on a free port, with their
 * data in a folder of their own that survives a restart.
 *
 * @module
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** Why tests with a NATS server cannot run here; undefined when they can. */
export const noNats: string | undefined = hasServer()
  ? undefined
  : "there is no nats-server; apt-get install -y nats-server";

/** A NATS server that tests may kill. */
export class NatsServer implements AsyncDisposable {
  readonly port: number;
  readonly #folder: string;
  readonly #flags: readonly string[];
  #child: ChildProcess | undefined = undefined;

  constructor(port: number, folder: string, flags: readonly string[]) {
    this.port = port;
    this.#folder = folder;
    this.#flags = flags;
  }

  /** Where clients connect to. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Starts it, and waits until it answers. */
  async start(): Promise<void> {
    this.#child = spawn("nats-server", [
      "--jetstream",
      "--addr=127.0.0.1",
      `--port=${this.port}`,
      `--store_dir=${this.#folder}`,
      ...this.#flags,
    ], { stdio: "ignore" });
    process.once("exit", this.#killNow);
    while (!await answers(this.port)) {
      if (this.#child.exitCode !== null) {
        throw new Error("Cannot start nats-server: it ended at once");
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Asks it to stop, and waits until it has. Its data stays. */
  stop(): Promise<void> {
    return this.#end("SIGTERM");
  }

  /** The same without giving it a chance. */
  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  /** Stops its process where it is, and lets it go on. */
  async freeze(): Promise<void> {
    this.#signal("SIGSTOP");
    // All its threads have to notice.
    await new Promise((resolve) => setTimeout(resolve, 50));
  }

  thaw(): void {
    this.#signal("SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    process.removeListener("exit", this.#killNow);
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    process.kill(child.pid!, signal);
    await ended;
  }

  /** As `kill` of a child can be had once on Deno. */
  #signal(signal: "SIGSTOP" | "SIGCONT"): void {
    process.kill(this.#child!.pid!, signal);
  }

  readonly #killNow = (): void => void this.#child?.kill("SIGKILL");
}

/** Starts a server. */
export async function startNats(
  ...flags: readonly string[]
): Promise<NatsServer> {
  const folder = mkdtempSync(join(tmpdir(), "highwater-nats-"));
  const server = new NatsServer(await freePort(), folder, flags);
  await server.start();
  return server;
}

function hasServer(): boolean {
  const { status } = spawnSync("nats-server", ["--version"], {
    stdio: "ignore",
  });
  return status === 0;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** A server that is ready sends its INFO to whoever connects; JetStream is ready by then. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const end = (isThere: boolean): void => {
      socket.destroy();
      resolve(isThere);
    };
    socket.once("data", () => end(true));
    socket.once("error", () => end(false));
    socket.once("close", () => resolve(false));
  });
}
