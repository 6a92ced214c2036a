/**
 * The clients that people have, as one connection.
 *
 * @module
 */

import { systemClock } from "../../clock.ts";
import { wrongType } from "../../checks.ts";
import { type Deferred, deferred, FULFILLED } from "../../waiters.ts";

/** What a client is called with. */
export type RedisArgument = string | Uint8Array;

/** What is used of a client of the package `redis` (node-redis). */
export interface NodeRedisClient {
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
  /** Tells of `"ready"` and `"error"`. */
  on(event: string, listener: (reason?: unknown) => void): unknown;
  /** Ends that. */
  off(event: string, listener: (reason?: unknown) => void): unknown;
}

/** What is used of a pool of the package `redis`. */
export interface NodeRedisPool {
  /** Whether `connect()` was called, and `close()` was not. */
  readonly isOpen: boolean;
  /** How many connections there are. */
  readonly totalClients: number;
  /** Sends a command on some connection. */
  sendCommand(args: RedisArgument[], options?: object): Promise<unknown>;
  /** Lends a client of the pool to a function. */
  execute<R>(task: (client: NodeRedisClient) => R): Promise<Awaited<R>>;
  /** Tells of `"error"`. */
  on(event: string, listener: (reason?: unknown) => void): unknown;
  /** Ends that. */
  off(event: string, listener: (reason?: unknown) => void): unknown;
}

/** What is used of a cluster of the package `redis`. */
export interface NodeRedisCluster {
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
  /** Tells of `"connect"`, `"disconnect"` and `"error"`. */
  on(event: string, listener: (reason?: unknown) => void): unknown;
  /** Ends that. */
  off(event: string, listener: (reason?: unknown) => void): unknown;
}

/** What is used of a client of sentinels, of the package `redis`. */
export interface NodeRedisSentinel {
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
  /** Tells of `"ready"` and `"error"`. */
  on(event: string, listener: (reason?: unknown) => void): unknown;
  /** Ends that. */
  off(event: string, listener: (reason?: unknown) => void): unknown;
}

/** What is used of a client of the package `ioredis`, with sentinels or without. */
export interface IORedisClient {
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
  /** Tells of `"ready"` and `"error"`. */
  on(event: string, listener: (reason?: unknown) => void): unknown;
  /** Ends that. */
  off(event: string, listener: (reason?: unknown) => void): unknown;
}

/** What is used of a `Cluster` of the package `ioredis`. */
export interface IORedisCluster {
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
  /** Tells of `"ready"` and `"error"`. */
  on(event: string, listener: (reason?: unknown) => void): unknown;
  /** Ends that. */
  off(event: string, listener: (reason?: unknown) => void): unknown;
}

/** A client of `redis` (node-redis) or of `ioredis`: of one server, a pool, a cluster, sentinels. */
export type RedisClient =
  | NodeRedisClient
  | NodeRedisPool
  | NodeRedisCluster
  | NodeRedisSentinel
  | IORedisClient
  | IORedisCluster;

/** A client with one way to call it. */
export interface RedisConnection {
  /** Calls a command; bulk strings of the reply are bytes. Rejects when there is no connection, or no answer in time. */
  call(
    command: string,
    args: RedisArgument[],
    limit?: number,
  ): Promise<unknown>;
  /** Another connection to the same server, of our own. It is opened when it is called, and not again once it is lost. */
  duplicate(): RedisConnection;
  /** Drops a connection of our own; fulfils when it is gone. */
  drop(): Promise<void>;
  /** Who is called when the client has ended for good. */
  readonly whenEnded?: Set<() => void> | undefined;
}

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

function connect(client: RedisClient): RedisConnection | undefined {
  if (isIORedis(client)) return new IORedisConnection(client, false);
  const road = roadOf(client);
  if (road === undefined) return undefined;
  return new NodeRedisConnection(client as Emitter, road, false);
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

/** An error of Redis or of the way to it. Holds neither arguments nor addresses: there may be secrets in them. */
export class RedisError extends Error {
  /** Makes the error; queues do this for you. */
  constructor(message: string) {
    super(message);
    this.name = "RedisError";
  }
}

/** What a server, or a client that is closed, says again and again; within scripts it may stand behind other words. */
const REFUSALS =
  /\b(WRONGTYPE|NOPERM|NOAUTH|WRONGPASS|NOPROTO|DENIED)\b|can't run this command|no permissions|unknown (redis )?command|compiling script|invalid password|without any password|no password is set|client must be connected|subscriber mode|in this context|\bCROSSSLOT\b/i;

/** Whether an error will not pass by itself. A replica may become a primary, and only time tells. */
export function lasts(error: unknown): boolean | undefined {
  // It is not Redis that failed.
  if (!(error instanceof RedisError)) return true;
  if (REFUSALS.test(error.message)) return true;
  return /\bREADONLY\b/.test(error.message) ? undefined : false;
}

/** How long a client may take to be ready again before that counts as a failure. */
const READY_LIMIT = 1_000;
/** How long an answer may take; what was asked may still happen. */
const ANSWER_LIMIT = 5_000;

interface Emitter {
  on(event: string, listener: (reason?: unknown) => void): unknown;
  off(event: string, listener: (reason?: unknown) => void): unknown;
}

/** The names that a client gives to what happens. */
interface EventNames {
  readonly ready: string;
  readonly end: string;
}

const EVENTS: EventNames = { ready: "ready", end: "end" };

abstract class ClientConnection {
  readonly whenEnded: Set<() => void> = new Set();
  readonly #client: Emitter;
  readonly #events: EventNames;
  /** What the server refused the connection with, since it was there last. */
  #refusal: RedisError | undefined = undefined;

  constructor(client: Emitter, events: EventNames = EVENTS) {
    this.#client = client;
    this.#events = events;
    client.on("error", (reason) => {
      const error = new RedisError(words(reason));
      if (lasts(error)) this.#refusal = error;
    });
    client.on(events.ready, () => this.#refusal = undefined);
    client.on(events.end, () => {
      for (const ended of [...this.whenEnded]) ended();
    });
  }

  abstract call(
    command: string,
    args: RedisArgument[],
    limit?: number,
  ): Promise<unknown>;

  /** Clients keep what they cannot send, without a bound: nothing is called before they can. */
  protected async answer(
    isReady: boolean,
    ask: () => Promise<unknown>,
    limit: number = ANSWER_LIMIT,
  ): Promise<unknown> {
    try {
      if (!isReady) {
        const { ready } = this.#events;
        await becomesReady(this.#client, ready, () => this.#refusal);
      }
      return asTold(await withinLimit(ask(), limit));
    } catch (error) {
      throw error instanceof RedisError ? error : new RedisError(words(error));
    }
  }
}

/** What is different between the clients of node-redis. */
interface NodeRedisRoad {
  readonly events: EventNames;
  /** Whether `connect()` was called, and `close()` was not. */
  isOpen(): boolean;
  isReady(): boolean;
  send(
    key: RedisArgument,
    command: RedisArgument[],
    options: object,
  ): Promise<unknown>;
  /** A connection of our own to whom has the key that it is first called with. */
  duplicate(prefix: RedisArgument | undefined): RedisConnection;
  connect(): Promise<unknown>;
  destroy(): unknown;
}

function roadOf(client: RedisClient): NodeRedisRoad | undefined {
  if (isPool(client)) return poolRoad(client);
  if (isCluster(client)) return clusterRoad(client);
  if (isSentinel(client)) return sentinelRoad(client);
  return isNodeRedis(client) ? clientRoad(client) : undefined;
}

function clientRoad(client: NodeRedisClient): NodeRedisRoad {
  return {
    events: EVENTS,
    isOpen: () => client.isOpen,
    isReady: () => client.isReady,
    send: (_, command, options) => client.sendCommand(command, options),
    duplicate: () => duplicateOf(client),
    connect: () => client.connect(),
    destroy: () => client.destroy(),
  };
}

function poolRoad(pool: NodeRedisPool): NodeRedisRoad {
  return {
    events: EVENTS,
    isOpen: () => pool.isOpen,
    isReady: () => pool.isOpen,
    send: (_, command, options) => pool.sendCommand(command, options),
    duplicate: (prefix) =>
      new LateConnection(prefix, () => pool.execute(duplicateOf)),
    connect: unasked,
    destroy: unasked,
  };
}

function clusterRoad(cluster: NodeRedisCluster): NodeRedisRoad {
  return {
    events: { ready: "connect", end: "disconnect" },
    isOpen: () => cluster.isOpen,
    isReady: () => cluster.isReady ?? cluster.isOpen,
    send: (key, command, options) =>
      cluster.sendCommand(key, false, command, options),
    // Who has moved meanwhile says so, and it is made anew, where it is known to be then.
    duplicate: (prefix) =>
      new LateConnection(prefix, async (key) => {
        const node = cluster.getSlotMaster(slotOf(key));
        return duplicateOf(await cluster.nodeClient(node as never));
      }),
    connect: unasked,
    destroy: unasked,
  };
}

function sentinelRoad(sentinel: NodeRedisSentinel): NodeRedisRoad {
  return {
    events: EVENTS,
    isOpen: () => sentinel.isOpen,
    isReady: () => sentinel.isReady,
    send: (_, command, options) =>
      sentinel.sendCommand(false, command, options),
    duplicate() {
      const other = sentinel.duplicate({
        ...{ masterPoolSize: 1, replicaPoolSize: 0 },
        ...{ reserveClient: false, clientSideCache: undefined },
      });
      return new NodeRedisConnection(other, sentinelRoad(other), true);
    },
    connect: () => sentinel.connect(),
    destroy: () => sentinel.destroy(),
  };
}

function unasked(): never {
  throw new RedisError("Cannot ask Redis: this client is not ours to open");
}

/** One that is ours waits for long, with nothing else on its connection, and is not opened again once it is lost. */
function duplicateOf(client: NodeRedisClient): RedisConnection {
  const { socket } = (client.options ?? {}) as { socket?: object };
  const other = client.duplicate({
    socket: { ...socket, reconnectStrategy: false, socketTimeout: undefined },
    clientSideCache: undefined,
  });
  return new NodeRedisConnection(other, clientRoad(other), true);
}

class NodeRedisConnection extends ClientConnection implements RedisConnection {
  readonly #road: NodeRedisRoad;
  readonly #isOurs: boolean;
  readonly #options: object;
  readonly #prefix: RedisArgument | undefined;
  /** Those who wait for an answer. */
  readonly #waiting: Set<Deferred<unknown>> = new Set();

  constructor(client: Emitter, road: NodeRedisRoad, isOurs: boolean) {
    super(client, road.events);
    this.#road = road;
    // A command that went into a connection about to close may never be answered.
    for (const event of ["error", "reconnecting", road.events.end]) {
      client.on(event, () => this.#loseAnswers());
    }
    this.#isOurs = isOurs;
    // It leaves alone what is not sent by a method of its own.
    this.#prefix = (client as { _keyPrefix?: RedisArgument })._keyPrefix;
    // "$" is what a bulk string begins with. Its own time limit costs a signal each.
    const typeMapping = { ["$".charCodeAt(0)]: bufferClass() };
    this.#options = { typeMapping, timeout: undefined };
  }

  async call(
    command: string,
    args: RedisArgument[],
    limit?: number,
  ): Promise<unknown> {
    const road = this.#road;
    if (!road.isOpen() && this.#isOurs) {
      return await this.answer(true, async () => {
        await road.connect();
        return await this.#send(command, args);
      }, limit);
    }
    if (!road.isOpen()) {
      throw new RedisError(
        "Cannot ask Redis: client must be connected, received one that is closed",
      );
    }
    const send = (): Promise<unknown> => this.#send(command, args);
    return await this.answer(road.isReady(), send, limit);
  }

  duplicate(): RedisConnection {
    return this.#road.duplicate(this.#prefix);
  }

  async drop(): Promise<void> {
    if (!this.#road.isOpen()) return;
    try {
      await this.#road.destroy();
    } catch {
      // It is gone either way.
    }
  }

  #send(command: string, args: RedisArgument[]): Promise<unknown> {
    const all = [command, ...args.map(toBuffer)];
    prefixKeys(this.#prefix, all);
    const answer = deferred<unknown>();
    this.#waiting.add(answer);
    this.#road.send(all[firstKeyOf(all)]!, all, this.#options)
      .then(answer.resolve, answer.reject)
      .finally(() => this.#waiting.delete(answer));
    return answer.promise;
  }

  #loseAnswers(): void {
    for (const answer of this.#waiting) answer.reject(lostError());
    this.#waiting.clear();
  }
}

/** A connection of our own that is made when it is first called: only then it is known where to. */
class LateConnection implements RedisConnection {
  readonly #prefix: RedisArgument | undefined;
  readonly #make: (key: RedisArgument) => Promise<RedisConnection>;
  #made: RedisConnection | undefined = undefined;
  #isDropped = false;

  constructor(
    prefix: RedisArgument | undefined,
    make: (key: RedisArgument) => Promise<RedisConnection>,
  ) {
    this.#prefix = prefix;
    this.#make = make;
  }

  async call(
    command: string,
    args: RedisArgument[],
    limit?: number,
  ): Promise<unknown> {
    const all: RedisArgument[] = [command, ...args];
    prefixKeys(this.#prefix, all);
    this.#made ??= await this.#reach(all[firstKeyOf(all)]!);
    if (this.#isDropped) throw lostError();
    return await this.#made.call(command, all.slice(1), limit);
  }

  duplicate(): RedisConnection {
    return new LateConnection(this.#prefix, this.#make);
  }

  async drop(): Promise<void> {
    this.#isDropped = true;
    await this.#made?.drop();
  }

  async #reach(key: RedisArgument): Promise<RedisConnection> {
    try {
      return await withinLimit(this.#make(key), ANSWER_LIMIT);
    } catch (error) {
      throw new RedisError(words(error));
    }
  }
}

class IORedisConnection extends ClientConnection implements RedisConnection {
  readonly #client: IORedisClient | IORedisCluster;
  readonly #isOurs: boolean;
  /** How each command is sent. */
  readonly #commands: Map<string, BuiltinCommand> = new Map();

  constructor(client: IORedisClient | IORedisCluster, isOurs: boolean) {
    super(client);
    this.#isOurs = isOurs;
    this.#client = client;
  }

  async call(
    command: string,
    args: RedisArgument[],
    limit?: number,
  ): Promise<unknown> {
    const client = this.#client;
    if (client.status === "end") {
      throw this.#isOurs ? lostError() : new RedisError(
        "Cannot ask Redis: client must be connected, received one that has ended",
      );
    }
    if (client.status === "wait") {
      // It may have been told to keep nothing that comes before it is connected.
      return await this.answer(true, async () => {
        await client.connect();
        return await this.#send(command, args);
      }, limit);
    }
    const send = (): Promise<unknown> => this.#send(command, args);
    return await this.answer(client.status === "ready", send, limit);
  }

  duplicate(): RedisConnection {
    const client = this.#client;
    if (!("isCluster" in client) || !client.isCluster) {
      const other = (client as IORedisClient).duplicate({
        ...PATIENT,
        ...{ retryStrategy: null, lazyConnect: true, enableOfflineQueue: true },
      });
      return new IORedisConnection(other, true);
    }
    // Those that it was begun with may be gone meanwhile.
    const nodes = client.nodes().map(({ options: { host, port } }) => ({
      ...{ host, port },
    }));
    const { redisOptions } = (client as { options?: { redisOptions?: object } })
      .options ?? {};
    const other = client.duplicate(nodes as never[], {
      redisOptions: { ...redisOptions, ...PATIENT },
      ...{ clusterRetryStrategy: null, lazyConnect: true },
      ...{ enableOfflineQueue: true },
    });
    return new IORedisConnection(other, true);
  }

  drop(): Promise<void> {
    const client = this.#client;
    if (client.status === "end") return FULFILLED;
    const { promise, resolve } = deferred<void>();
    client.on("end", () => resolve());
    client.disconnect();
    return promise;
  }

  /** As `callBuffer` would, but that one fails with automatic pipelines, which would be no use: we make our own batches. */
  #send(command: string, args: RedisArgument[]): Promise<unknown> {
    let send = this.#commands.get(command);
    if (send === undefined) {
      const made = this.#client.createBuiltinCommand(command);
      send = (made as { buffer: BuiltinCommand }).buffer;
      this.#commands.set(command, send);
    }
    return send.call(this.#client, args.map(toBuffer));
  }
}

type BuiltinCommand = (
  this: IORedisClient | IORedisCluster,
  args: RedisArgument[],
) => Promise<unknown>;

/** Time limits would cut short what waits for long. */
const PATIENT: object = {
  commandTimeout: undefined,
  socketTimeout: undefined,
  blockingTimeout: undefined,
};

function becomesReady(
  client: Emitter,
  event: string,
  refusal: () => RedisError | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      systemClock.clearTimer(timer);
      client.off(event, ready);
      client.off("error", refused);
    };
    const ready = (): void => {
      leave();
      resolve();
    };
    const refused = (): void => {
      const error = refusal();
      if (error === undefined) return;
      leave();
      reject(error);
    };
    const timer = systemClock.setTimer(() => {
      leave();
      reject(new RedisError("Cannot ask Redis: there is no connection"));
    }, READY_LIMIT);
    client.on(event, ready);
    client.on("error", refused);
    refused();
  });
}

function withinLimit<R>(answer: Promise<R>, limit: number): Promise<R> {
  return new Promise((resolve, reject) => {
    const timer = systemClock.setTimer(() => {
      reject(new RedisError(`Cannot ask Redis: no answer within ${limit} ms`));
    }, limit);
    answer.then(
      (reply) => {
        systemClock.clearTimer(timer);
        resolve(reply);
      },
      (error) => {
        systemClock.clearTimer(timer);
        reject(error);
      },
    );
  });
}

/** Not the error itself: that of ioredis carries the arguments of the command, which may be a password or an item. */
function words(error: unknown): string {
  const { message, errors } = (error ?? {}) as {
    message?: unknown;
    errors?: unknown;
  };
  // Of a host with several addresses, none of which answers: without a message.
  const all = message === "" && Array.isArray(errors)
    ? errors.map(words).join(", ")
    : String(message ?? error);
  return all.replaceAll(/\/\/[^/\s@]*@/g, "//");
}

function lostError(): RedisError {
  return new RedisError("Cannot ask Redis: the connection was lost");
}

interface BufferClass {
  from(buffer: ArrayBufferLike, offset: number, length: number): Uint8Array;
}

/** Both clients ask for one, and where they run there is one. */
function bufferClass(): BufferClass {
  return (globalThis as unknown as { Buffer: BufferClass }).Buffer;
}

function toBuffer(argument: RedisArgument): RedisArgument {
  if (typeof argument === "string") return argument;
  const { buffer, byteOffset, byteLength } = argument;
  return bufferClass().from(buffer, byteOffset, byteLength);
}

/** Integers as numbers, whatever the client was told to make of them: bulk strings are bytes, so no text is meant. */
function asTold(reply: unknown): unknown {
  if (typeof reply === "string") {
    return /^-?\d+$/.test(reply) ? Number(reply) : reply;
  }
  if (typeof reply === "bigint") return Number(reply);
  return Array.isArray(reply) ? reply.map(asTold) : reply;
}

/** Where the first key of a command is: that of a script, or the one that is waited at. */
function firstKeyOf(command: readonly RedisArgument[]): number {
  return command[0] === "BLPOP" ? 1 : 3;
}

function prefixKeys(
  prefix: RedisArgument | undefined,
  command: RedisArgument[],
): void {
  if (prefix === undefined) return;
  const first = firstKeyOf(command);
  const count = first === 1 ? 1 : Number(command[2]);
  for (let at = first; at < first + count; at++) {
    const key = command[at] as string;
    command[at] = typeof prefix === "string"
      ? prefix + key
      : toBuffer(Uint8Array.of(...prefix, ...encoder.encode(key)));
  }
}

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
