/**
 * A Redis of our own: a `redis-server` on a free port of loopback, with its data
 * in a folder of its own, for as long as a test wants it.
 *
 * @module
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { delay } from "@std/async";

/** Why tests with a Redis cannot run here, or undefined. */
export const noRedis: string | undefined = missing();

/** How a server is started. */
export interface RedisServerOptions {
  /** Whether each command is on the disk before it is answered. */
  persistent?: boolean;
  /** More of what may be written in `redis.conf`. */
  config?: string[];
}

/** A server that is running, unless it was stopped. */
export interface RedisServer extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** Starts it again, with the data of before if it is persistent. */
  start(): Promise<void>;
  /** Ends it in an orderly way. */
  stop(): Promise<void>;
  /** Ends it as a failing machine would. */
  kill(): Promise<void>;
}

/** Starts a server, and waits until it answers. */
export async function startRedis(
  options: RedisServerOptions = {},
): Promise<RedisServer> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "highwater-redis-"));
  const server = new Server(port, folder, options);
  await server.start();
  return server;
}

class Server implements RedisServer {
  readonly port: number;
  readonly #folder: string;
  readonly #options: RedisServerOptions;
  #child: ChildProcess | undefined = undefined;

  constructor(port: number, folder: string, options: RedisServerOptions) {
    this.port = port;
    this.#folder = folder;
    this.#options = options;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const { persistent = false, config = [] } = this.#options;
    const child = spawn("redis-server", [
      ...["--bind", "127.0.0.1", "--port", String(this.port)],
      ...["--dir", this.#folder, "--save", ""],
      ...(persistent ? ["--appendonly", "yes", "--appendfsync", "always"] : []),
      ...config,
    ], { stdio: "ignore" });
    this.#child = child;
    // Also when the tests end without a word.
    process.on("exit", this.#killNow);
    while (!await answers(this.port)) {
      if (child.exitCode !== null) {
        throw new Error(`redis-server ended with code ${child.exitCode}`);
      }
      await delay(10);
    }
  }

  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    process.off("exit", this.#killNow);
    const ended = new Promise((resolve) => child.once("close", resolve));
    child.kill(signal);
    await ended;
  }

  readonly #killNow: () => void = () => {
    this.#child?.kill("SIGKILL");
  };
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

/** Whether it takes commands: one that reads its data does not yet. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    let isReady = false;
    socket.once("connect", () => socket.write("PING\r\n"));
    socket.once("data", (data) => {
      isReady = String(data).startsWith("+PONG");
      socket.destroy();
    });
    socket.on("error", () => socket.destroy());
    socket.once("close", () => resolve(isReady));
  });
}

function missing(): string | undefined {
  const { status } = spawnSync("redis-server", ["--version"]);
  return status === 0
    ? undefined
    : "there is no redis-server: apt-get install redis-server";
}
