/**
 * What is used of the clients that people have, in types of our own.
 *
 * @module
 */

/** What a client is called with. */
export type RedisArgument = string | Uint8Array;

/** What all clients do: they tell of `"error"`, of their connection, and of its end. */
export interface RedisEmitter {
  /** Tells of an event. */
  on(event: string, listener: (reason?: unknown) => void): unknown;
  /** Ends that. */
  off(event: string, listener: (reason?: unknown) => void): unknown;
}

/** What is used of a client of the package `redis` (node-redis). */
export interface NodeRedisClient extends RedisEmitter {
  /** Whether `connect()` was called, and `close()` was not. */
  readonly isOpen: boolean;
  /** Whether commands go out now. */
  readonly isReady: boolean;
  /** Sends a command. */
  sendCommand(
    args: readonly RedisArgument[],
    options?: object,
  ): Promise<unknown>;
  /** What it was made with. */
  readonly options?: object | undefined;
  /** Another client for the same server. */
  duplicate(overrides?: object): NodeRedisClient;
  /** Opens the connection. */
  connect(): Promise<unknown>;
  /** Drops the connection. */
  destroy(): void;
}

/** What is used of a pool of the package `redis`. */
export interface NodeRedisPool extends RedisEmitter {
  /** Whether `connect()` was called, and `close()` was not. */
  readonly isOpen: boolean;
  /** How many connections there are. */
  readonly totalClients: number;
  /** Sends a command on some connection. */
  sendCommand(args: RedisArgument[], options?: object): Promise<unknown>;
  /** Lends a client of the pool to a function. */
  execute<R>(task: (client: NodeRedisClient) => R): Promise<Awaited<R>>;
}

/** What is used of a cluster of the package `redis`. */
export interface NodeRedisCluster extends RedisEmitter {
  /** Whether `connect()` was called, and `close()` was not. */
  readonly isOpen: boolean;
  /** Whether it is known which node has which keys. */
  readonly isReady?: boolean | undefined;
  /** Sends a command to the node that has the key. */
  sendCommand(
    firstKey: RedisArgument | undefined,
    isReadonly: boolean | undefined,
    args: RedisArgument[],
    options?: object,
  ): Promise<unknown>;
  /** The primary of a slot. */
  getSlotMaster(slot: number): object;
  /** The client of a node. */
  nodeClient(node: never): Promise<NodeRedisClient>;
}

/** What is used of a client of sentinels, of the package `redis`. */
export interface NodeRedisSentinel extends RedisEmitter {
  /** Whether `connect()` was called, and `close()` was not. */
  readonly isOpen: boolean;
  /** Whether commands go out now. */
  readonly isReady: boolean;
  /** Sends a command to the primary. */
  sendCommand(
    isReadonly: boolean | undefined,
    args: readonly RedisArgument[],
    options?: object,
  ): Promise<unknown>;
  /** Where the primary is. */
  getMasterNode(): object | undefined;
  /** Another client of the same sentinels. */
  duplicate(overrides?: object): NodeRedisSentinel;
  /** Opens the connections. */
  connect(): Promise<unknown>;
  /** Drops the connections. */
  destroy(): Promise<unknown>;
}

/** What is used of a client of the package `ioredis`, with sentinels or without. */
export interface IORedisClient extends RedisEmitter {
  /** `"ready"` when commands go out now. */
  readonly status: string;
  /** Makes the function that sends a command; bulk strings of the reply to `buffer` are bytes. */
  createBuiltinCommand(command: string): object;
  /** Opens the connection. */
  connect(): Promise<unknown>;
  /** Another client for the same server. */
  duplicate(overrides?: object): IORedisClient;
  /** Drops the connection. */
  disconnect(reconnect?: boolean): void;
}

/** What is used of a `Cluster` of the package `ioredis`. */
export interface IORedisCluster extends RedisEmitter {
  /** `"ready"` when it is known which node has which keys. */
  readonly status: string;
  /** What tells it from a client of one server. */
  readonly isCluster: boolean;
  /** Makes the function that sends a command; bulk strings of the reply to `buffer` are bytes. */
  createBuiltinCommand(command: string): object;
  /** Opens the connections. */
  connect(): Promise<unknown>;
  /** The clients of its nodes. */
  nodes(): { readonly options: { host?: string; port?: number } }[];
  /** Another one for the same cluster. */
  duplicate(nodes?: never[], overrides?: object): IORedisCluster;
  /** Drops the connections. */
  disconnect(reconnect?: boolean): void;
}

/** A client of `redis` (node-redis) or of `ioredis`: of one server, a pool, a cluster, sentinels. */
export type RedisClient =
  | NodeRedisClient
  | NodeRedisPool
  | NodeRedisCluster
  | NodeRedisSentinel
  | IORedisClient
  | IORedisCluster;
