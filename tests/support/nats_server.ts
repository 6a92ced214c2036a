/**
 * NATS servers with JetStream for tests, with data that survives a restart.
 *
 * @module
 */

import { connect } from "node:net";
import {
  missingServer,
  type ServerProcess,
  startServer,
} from "./server_process.ts";

/** Why tests with a NATS server cannot run here; undefined when they can. */
export const noNats: string | undefined = missingServer("nats-server");

/** Starts a server. */
export function startNats(
  ...flags: readonly string[]
): Promise<ServerProcess> {
  return start((folder) => ["--jetstream", `--store_dir=${folder}`, ...flags]);
}

/** The same without JetStream. */
export function startPlainNats(): Promise<ServerProcess> {
  return start(() => []);
}

function start(
  flagsFor: (folder: string) => string[],
): Promise<ServerProcess> {
  return startServer({
    command: "nats-server",
    argumentsFor: (port, folder) => [
      "--addr=127.0.0.1",
      `--port=${port}`,
      ...flagsFor(folder),
    ],
    answers,
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
