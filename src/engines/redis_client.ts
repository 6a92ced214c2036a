/**
 * The clients that people have, as one connection.
 *
 * @module
 */

import { systemClock } from "../clock.ts";
import { received } from "../errors.ts";
import { type Deferred, deferred, FULFILLED } from "../waiters.ts";

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

/** What is used of a client of the package `ioredis`, `Cluster` included. */
export interface IORedisClient {
  /** `"ready"` when commands go out now. */
  readonly status: string;
  /** Sends a command; bulk strings of the reply are bytes. */
  callBuffer(
    command: string,
    args: (RedisArgument | number)[],
  ): Promise<unknown>;
  /** Another client for the same server. */
  duplicate(overrides?: object): IORedisClient;
  /** Drops the connection. */
  disconnect(reconnect?: boolean): void;
  /** Tells of `"ready"` and `"error"`. */
  on(event: string, listener: (reason?: unknown) => void): unknown;
  /** Ends that. */
  off(event: string, listener: (reason?: unknown) => void): unknown;
}

/** A client of `redis` (node-redis) or of `ioredis`. */
export type RedisClient = NodeRedisClient | IORedisClient;

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
  const connection = isIORedis(client)
    ? new IORedisConnection(client, false)
    : isNodeRedis(client)
    ? new NodeRedisConnection(client, false)
    : undefined;
  if (connection !== undefined) {
    connections.set(client, connection);
    return connection;
  }
  throw new TypeError(
    `Cannot ${action}: client must be one of the packages redis or ioredis, received ${
      received(client)
    }`,
  );
}

function isIORedis(client: unknown): client is IORedisClient {
  const { callBuffer, duplicate, status } = (client ?? {}) as Partial<
    IORedisClient
  >;
  return typeof callBuffer === "function" && typeof duplicate === "function" &&
    typeof status === "string";
}

function isNodeRedis(client: unknown): client is NodeRedisClient {
  const { sendCommand, duplicate, isReady } = (client ?? {}) as Partial<
    NodeRedisClient
  >;
  return typeof sendCommand === "function" && typeof duplicate === "function" &&
    typeof isReady === "boolean";
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
  /\b(WRONGTYPE|NOPERM|NOAUTH|WRONGPASS|NOPROTO|DENIED)\b|can't run this command|no permissions|unknown (redis )?command|compiling script|invalid password|without any password|no password is set|client must be connected/i;

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

abstract class ClientConnection {
  readonly whenEnded: Set<() => void> = new Set();
  /** What the server refused the connection with, since it was there last. */
  #refusal: RedisError | undefined = undefined;

  constructor(client: Emitter) {
    client.on("error", (reason) => {
      const error = new RedisError(words(reason));
      if (lasts(error)) this.#refusal = error;
    });
    client.on("ready", () => this.#refusal = undefined);
    client.on("end", () => {
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
    client: Emitter,
    isReady: boolean,
    ask: () => Promise<unknown>,
    limit: number = ANSWER_LIMIT,
  ): Promise<unknown> {
    try {
      if (!isReady) await becomesReady(client, () => this.#refusal);
      return await withinLimit(ask(), limit);
    } catch (error) {
      throw error instanceof RedisError ? error : new RedisError(words(error));
    }
  }
}

class NodeRedisConnection extends ClientConnection implements RedisConnection {
  readonly #client: NodeRedisClient;
  readonly #isOurs: boolean;
  readonly #options: object;
  /** Those who wait for an answer. */
  readonly #waiting: Set<Deferred<unknown>> = new Set();

  constructor(client: NodeRedisClient, isOurs: boolean) {
    super(client);
    this.#client = client;
    // A command that went into a connection about to close may never be answered.
    for (const event of ["error", "reconnecting", "end"]) {
      client.on(event, () => this.#loseAnswers());
    }
    this.#isOurs = isOurs;
    // "$" is what a bulk string begins with. Its own time limit costs a signal each.
    const typeMapping = { ["$".charCodeAt(0)]: bufferClass() };
    this.#options = { typeMapping, timeout: undefined };
  }

  async call(
    command: string,
    args: RedisArgument[],
    limit?: number,
  ): Promise<unknown> {
    const client = this.#client;
    if (!client.isOpen && this.#isOurs) {
      return await this.answer(client, true, async () => {
        await client.connect();
        return await this.#send(command, args);
      }, limit);
    }
    if (!client.isOpen) {
      throw new RedisError(
        "Cannot ask Redis: client must be connected, received one that is closed",
      );
    }
    const send = (): Promise<unknown> => this.#send(command, args);
    return await this.answer(client, client.isReady, send, limit);
  }

  duplicate(): RedisConnection {
    const { socket } = (this.#client.options ?? {}) as { socket?: object };
    const client = this.#client.duplicate({
      socket: { ...socket, reconnectStrategy: false },
    });
    return new NodeRedisConnection(client, true);
  }

  drop(): Promise<void> {
    if (this.#client.isOpen) this.#client.destroy();
    return FULFILLED;
  }

  #send(command: string, args: RedisArgument[]): Promise<unknown> {
    const all = [command, ...args.map(toBuffer)];
    const answer = deferred<unknown>();
    this.#waiting.add(answer);
    this.#client.sendCommand(all, this.#options)
      .then(answer.resolve, answer.reject)
      .finally(() => this.#waiting.delete(answer));
    return answer.promise;
  }

  #loseAnswers(): void {
    for (const answer of this.#waiting) answer.reject(lostError());
    this.#waiting.clear();
  }
}

class IORedisConnection extends ClientConnection implements RedisConnection {
  readonly #client: IORedisClient;
  readonly #isOurs: boolean;

  constructor(client: IORedisClient, isOurs: boolean) {
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
    const { status } = client;
    if (status === "end") {
      throw this.#isOurs ? lostError() : new RedisError(
        "Cannot ask Redis: client must be connected, received one that has ended",
      );
    }
    return await this.answer(
      client,
      // One that waits connects when it is asked.
      status === "ready" || status === "wait",
      () => client.callBuffer(command, args.map(toBuffer)),
      limit,
    );
  }

  duplicate(): RedisConnection {
    const client = this.#client.duplicate({
      retryStrategy: null,
      lazyConnect: true,
      commandTimeout: undefined,
    });
    return new IORedisConnection(client, true);
  }

  drop(): Promise<void> {
    const client = this.#client;
    if (client.status === "end") return FULFILLED;
    const { promise, resolve } = deferred<void>();
    client.on("end", () => resolve());
    client.disconnect();
    return promise;
  }
}

function becomesReady(
  client: Emitter,
  refusal: () => RedisError | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      systemClock.clearTimer(timer);
      client.off("ready", ready);
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
    client.on("ready", ready);
    client.on("error", refused);
    refused();
  });
}

function withinLimit(
  answer: Promise<unknown>,
  limit: number,
): Promise<unknown> {
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
