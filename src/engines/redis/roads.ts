/**
 * The clients of the packages `redis` and `ioredis`, each told by its shape, and what
 * is different between them: of one server, a pool, a cluster, sentinels.
 *
 * @module
 */

import { wrongType } from "../../checks.ts";
import { deferred } from "../../waiters.ts";
import type {
  IORedisClient,
  IORedisCluster,
  NodeRedisClient,
  NodeRedisCluster,
  NodeRedisPool,
  NodeRedisSentinel,
  RedisArgument,
  RedisClient,
} from "./client.ts";
import {
  bufferClass,
  ClientConnection,
  LateConnection,
  type RedisConnection,
  type Road,
} from "./connection.ts";

/** One for all queues of a client: more listeners than ten make a warning. */
const connections: WeakMap<object, RedisConnection> = new WeakMap();

/** Wraps a client. Throws a `TypeError` unless it is one of those we know. */
export function connectionOf(
  action: string,
  client: RedisClient,
): RedisConnection {
  const known = connections.get(client as object ?? {});
  if (known !== undefined) return known;
  const connection = connect(client);
  if (connection !== undefined) {
    connections.set(client, connection);
    return connection;
  }
  throw wrongType(action, `client must be ${wanted(client)}`, client);
}

function connect(
  client: RedisClient,
  isOurs = false,
): RedisConnection | undefined {
  const road = roadOf(client, isOurs);
  return road && new ClientConnection(client, road, isOurs);
}

function roadOf(client: RedisClient, isOurs: boolean): Road | undefined {
  if (isIORedis(client)) return ioredisRoad(client);
  if (isPool(client)) return poolRoad(client, isOurs);
  if (isCluster(client)) return clusterRoad(client, isOurs);
  if (isSentinel(client)) return sentinelRoad(client, isOurs);
  return isNodeRedis(client) ? clientRoad(client, isOurs) : undefined;
}

/** What the client must be; more exactly where it comes from one of the packages. */
function wanted(client: unknown): string {
  const { callBuffer, sendCommand, release, exec } = (client ?? {}) as Record<
    string,
    unknown
  >;
  if (typeof callBuffer === "function" && typeof exec === "function") {
    return "the one that the pipeline was made of, as a pipeline does not answer by itself";
  }
  if (typeof sendCommand === "function" && typeof release === "function") {
    return "the sentinel that lent it, as what is lent does not follow a failover";
  }
  if (typeof sendCommand === "function" && sendCommand.length < 2) {
    return "the one that legacy() was called on, as a legacy client takes callbacks";
  }
  return "one of the packages redis or ioredis";
}

function isIORedis(client: unknown): client is IORedisClient | IORedisCluster {
  return has(client, "createBuiltinCommand", "duplicate") &&
    typeof (client as { status?: unknown }).status === "string";
}

function isPool(client: unknown): client is NodeRedisPool {
  return has(client, "sendCommand", "execute") && "totalClients" in client;
}

function isCluster(client: unknown): client is NodeRedisCluster {
  return has(client, "sendCommand", "getSlotMaster", "nodeClient");
}

function isSentinel(client: unknown): client is NodeRedisSentinel {
  return has(client, "sendCommand", "getMasterNode", "duplicate");
}

function isNodeRedis(client: unknown): client is NodeRedisClient {
  return has(client, "sendCommand", "duplicate") &&
    typeof (client as { isReady?: unknown }).isReady === "boolean";
}

function has(client: unknown, ...methods: string[]): client is object {
  if (typeof client !== "object" || client === null) return false;
  return methods.every((name) =>
    typeof (client as Record<string, unknown>)[name] === "function"
  );
}

const EVENTS: Road["events"] = { ready: "ready", end: "end" };

// -- node-redis -----------------------------------------------------------------------

/** What is different between the clients of node-redis. */
interface NodeRedisKind {
  readonly events?: Road["events"];
  isReady(): boolean;
  send(
    command: RedisArgument[],
    key: RedisArgument,
    options: object,
  ): Promise<unknown>;
  duplicate(prefix: RedisArgument | undefined): RedisConnection;
}

function nodeRedisRoad(
  client:
    | NodeRedisClient
    | NodeRedisPool
    | NodeRedisCluster
    | NodeRedisSentinel,
  isOurs: boolean,
  { events = EVENTS, isReady, send, duplicate }: NodeRedisKind,
): Road {
  // It leaves alone what is not sent by a method of its own.
  const prefix = (client as { _keyPrefix?: RedisArgument })._keyPrefix;
  // "$" is what a bulk string begins with. Its own time limit costs a signal each.
  const typeMapping = { ["$".charCodeAt(0)]: bufferClass() };
  const options = { typeMapping, timeout: undefined };
  // Nothing else is made, opened and dropped by us.
  const ours = client as NodeRedisClient | NodeRedisSentinel;
  return {
    events,
    losses: ["error", "reconnecting", events.end],
    prefix,
    state() {
      if (!client.isOpen) return isOurs ? "idle" : "closed";
      return isReady() ? "ready" : "waiting";
    },
    send: (command, key) => send(command, key, options),
    duplicate: () => duplicate(prefix),
    connect: () => ours.connect(),
    async drop() {
      if (client.isOpen) await ours.destroy();
    },
  };
}

function clientRoad(client: NodeRedisClient, isOurs: boolean): Road {
  return nodeRedisRoad(client, isOurs, {
    isReady: () => client.isReady,
    send: (command, _, options) => client.sendCommand(command, options),
    duplicate: () => duplicateOf(client),
  });
}

function poolRoad(pool: NodeRedisPool, isOurs: boolean): Road {
  return nodeRedisRoad(pool, isOurs, {
    isReady: () => true,
    send: (command, _, options) => pool.sendCommand(command, options),
    duplicate: (prefix) =>
      new LateConnection(prefix, () => pool.execute(duplicateOf)),
  });
}

function clusterRoad(cluster: NodeRedisCluster, isOurs: boolean): Road {
  return nodeRedisRoad(cluster, isOurs, {
    events: { ready: "connect", end: "disconnect" },
    isReady: () => cluster.isReady ?? true,
    send: (command, key, options) =>
      cluster.sendCommand(key, false, command, options),
    // Who has moved meanwhile says so, and it is made anew, where it is known to be then.
    duplicate: (prefix) =>
      new LateConnection(prefix, async (key) => {
        const node = cluster.getSlotMaster(slotOf(key));
        return duplicateOf(await cluster.nodeClient(node as never));
      }),
  });
}

function sentinelRoad(sentinel: NodeRedisSentinel, isOurs: boolean): Road {
  return nodeRedisRoad(sentinel, isOurs, {
    isReady: () => sentinel.isReady,
    send: (command, _, options) =>
      sentinel.sendCommand(false, command, options),
    duplicate() {
      const other = sentinel.duplicate({
        ...{ masterPoolSize: 1, replicaPoolSize: 0 },
        ...{ reserveClient: false, clientSideCache: undefined },
      });
      return new ClientConnection(other, sentinelRoad(other, true), true);
    },
  });
}

/** One that is ours waits for long, with nothing else on its connection, and is not opened again once it is lost. */
function duplicateOf(client: NodeRedisClient): RedisConnection {
  const { socket } = (client.options ?? {}) as { socket?: object };
  const other = client.duplicate({
    socket: { ...socket, reconnectStrategy: false, socketTimeout: undefined },
    clientSideCache: undefined,
  });
  return new ClientConnection(other, clientRoad(other, true), true);
}

// -- ioredis --------------------------------------------------------------------------

type BuiltinCommand = (
  this: IORedisClient | IORedisCluster,
  args: RedisArgument[],
) => Promise<unknown>;

/** By the status of the client. "wait": it may have been told to keep nothing that comes before it is connected. */
const STATES: Readonly<Record<string, ReturnType<Road["state"]>>> = {
  ready: "ready",
  wait: "idle",
  end: "closed",
};

function ioredisRoad(client: IORedisClient | IORedisCluster): Road {
  /** How each command is sent. */
  const commands: Map<string, BuiltinCommand> = new Map();
  /** As `callBuffer` would, but that one fails with automatic pipelines, which would be no use: we make our own batches. */
  function senderOf(command: string): BuiltinCommand {
    const made = client.createBuiltinCommand(command);
    const { buffer } = made as { buffer: BuiltinCommand };
    commands.set(command, buffer);
    return buffer;
  }
  return {
    events: EVENTS,
    // It sees to them by itself.
    losses: [],
    state: () => STATES[client.status] ?? "waiting",
    send([command, ...args]) {
      const name = command as string;
      return (commands.get(name) ?? senderOf(name)).call(client, args);
    },
    duplicate() {
      const other = isIORedisCluster(client)
        ? duplicateOfCluster(client)
        : client.duplicate({
          ...PATIENT,
          ...{ retryStrategy: null, lazyConnect: true },
          enableOfflineQueue: true,
        });
      return new ClientConnection(other, ioredisRoad(other), true);
    },
    connect: () => client.connect(),
    drop() {
      const { promise, resolve } = deferred<void>();
      client.on("end", () => resolve());
      client.disconnect();
      return promise;
    },
  };
}

function isIORedisCluster(
  client: IORedisClient | IORedisCluster,
): client is IORedisCluster {
  return "isCluster" in client && client.isCluster;
}

function duplicateOfCluster(cluster: IORedisCluster): IORedisCluster {
  // Those that it was begun with may be gone meanwhile.
  const nodes = cluster.nodes().map(({ options: { host, port } }) => ({
    ...{ host, port },
  }));
  const { redisOptions } =
    (cluster as { options?: { redisOptions?: object } }).options ?? {};
  return cluster.duplicate(nodes as never[], {
    redisOptions: { ...redisOptions, ...PATIENT },
    ...{ clusterRetryStrategy: null, lazyConnect: true },
    enableOfflineQueue: true,
  });
}

/** Time limits would cut short what waits for long. */
const PATIENT: object = {
  commandTimeout: undefined,
  socketTimeout: undefined,
  blockingTimeout: undefined,
};

const encoder = /* @__PURE__ */ new TextEncoder();

/** The slot of a cluster that a key is in: CRC-16 (XMODEM) of what is in braces. */
function slotOf(key: RedisArgument): number {
  const bytes = typeof key === "string" ? encoder.encode(key) : key;
  const from = bytes.indexOf(0x7b) + 1;
  const to = bytes.indexOf(0x7d, from);
  let crc = 0;
  for (const byte of from > 0 && to > from ? bytes.subarray(from, to) : bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
    }
  }
  return crc & 0x3fff;
}
