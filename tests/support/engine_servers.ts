/**
 * Servers of Redis and of NATS, started in one way.
 *
 * @module
 */

import type { EngineName } from "./engines.ts";
import { noNats, startNats } from "./nats_server.ts";
import { noRedis, startRedis } from "./redis_server.ts";
import type { ServerProcess } from "./server_process.ts";

/** Why an engine cannot be tested here, or undefined. */
export const MISSING: Readonly<Record<EngineName, string | undefined>> = {
  redis: noRedis,
  "node-redis": noRedis,
  nats: noNats,
};

/** Starts a server. One that is persistent keeps all that it has answered for when it is killed. */
export function startEngine(
  engine: EngineName,
  persistent = false,
): Promise<ServerProcess> {
  return engine === "nats" ? startNats() : startRedis({ persistent });
}
