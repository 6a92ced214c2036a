/**
 * A Redis of our own, for as long as a test wants it.
 *
 * @module
 */

import { connect } from "node:net";
import {
  missingServer,
  type ServerProcess,
  startServer,
} from "./server_process.ts";

/** Why tests with a Redis cannot run here, or undefined. */
export const noRedis: string | undefined = missingServer("redis-server");

/** How a server is started. */
export interface RedisServerOptions {
  /** Whether each command is on the disk before it is answered. */
  persistent?: boolean;
  /** More of what may be written in `redis.conf`. */
  config?: string[];
}

/** Starts a server, and waits until it answers. */
export function startRedis(
  { persistent = false, config = [] }: RedisServerOptions = {},
): Promise<ServerProcess> {
  return startServer({
    command: "redis-server",
    argumentsFor: (port, folder) => [
      ...["--bind", "127.0.0.1", "--port", String(port)],
      ...["--dir", folder, "--save", ""],
      ...(persistent ? ["--appendonly", "yes", "--appendfsync", "always"] : []),
      ...config,
    ],
    answers,
  });
}

/** Whether it takes commands: one that reads its data does not yet. */
export function answers(port: number): Promise<boolean> {
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
