/**
 * A client of any kind as one connection: with limits of time, errors without secrets,
 * and replies that are always the same.
 *
 * @module
 */

import { systemClock } from "../../clock.ts";
import { type Deferred, deferred } from "../../waiters.ts";
import type { RedisArgument, RedisEmitter } from "./client.ts";

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

/** What is different between the clients. */
export interface Road {
  /** What it calls it when commands go out again, and when it has ended. */
  readonly events: { readonly ready: string; readonly end: string };
  /** At which events answers are lost that it goes on waiting for. */
  readonly losses: readonly string[];
  /** What it puts before keys where it is called by a method of its own, which we do not do. */
  readonly prefix?: RedisArgument | undefined;
  /** Whether commands go out, may soon, will once `connect` is called, or never again. */
  state(): "ready" | "waiting" | "idle" | "closed";
  /** Sends a command to whom has the key. */
  send(command: RedisArgument[], key: RedisArgument): Promise<unknown>;
  /** A connection of our own to whom has the key that it is first called with. */
  duplicate(): RedisConnection;
  connect(): Promise<unknown>;
  /** Drops the connection; fulfils when it is gone. */
  drop(): Promise<unknown>;
}

/** How long a client may take to be ready again before that counts as a failure. */
const READY_LIMIT = 1_000;
/** How long an answer may take; what was asked may still happen. */
const ANSWER_LIMIT = 5_000;

/** A client as we see it. */
export class ClientConnection implements RedisConnection {
  readonly whenEnded: Set<() => void> = new Set();
  readonly #client: RedisEmitter;
  readonly #road: Road;
  /** Whether we have made the client. */
  readonly #isOurs: boolean;
  /** What the server refused the connection with, since it was there last. */
  #refusal: RedisError | undefined = undefined;
  /** Those who wait for an answer that may be lost. */
  readonly #waiting: Set<Deferred<unknown>> = new Set();

  constructor(client: RedisEmitter, road: Road, isOurs: boolean) {
    this.#client = client;
    this.#road = road;
    this.#isOurs = isOurs;
    client.on("error", (reason) => {
      const error = new RedisError(words(reason));
      if (lasts(error)) this.#refusal = error;
    });
    client.on(road.events.ready, () => this.#refusal = undefined);
    client.on(road.events.end, () => {
      for (const ended of [...this.whenEnded]) ended();
    });
    for (const event of road.losses) {
      client.on(event, () => this.#loseAnswers());
    }
  }

  /** Clients keep what they cannot send, without a bound: nothing is called before they can. */
  async call(
    command: string,
    args: RedisArgument[],
    limit: number = ANSWER_LIMIT,
  ): Promise<unknown> {
    const road = this.#road;
    const state = road.state();
    if (state === "closed") throw this.#isOurs ? lostError() : closedError();
    const all = [command, ...args.map(toBuffer)];
    prefixKeys(road.prefix, all);
    try {
      if (state === "waiting") await this.#becomesReady();
      const answer = state === "idle"
        ? road.connect().then(() => this.#send(all))
        : this.#send(all);
      return asTold(await withinLimit(answer, limit));
    } catch (error) {
      throw error instanceof RedisError ? error : new RedisError(words(error));
    }
  }

  duplicate(): RedisConnection {
    return this.#road.duplicate();
  }

  async drop(): Promise<void> {
    if (this.#road.state() === "closed") return;
    try {
      await this.#road.drop();
    } catch {
      // It is gone either way.
    }
  }

  #send(command: RedisArgument[]): Promise<unknown> {
    const sent = this.#road.send(command, command[firstKeyOf(command)]!);
    if (this.#road.losses.length === 0) return sent;
    const answer = deferred<unknown>();
    this.#waiting.add(answer);
    sent.then(answer.resolve, answer.reject)
      .finally(() => this.#waiting.delete(answer));
    return answer.promise;
  }

  /** A command that went into a connection about to close may never be answered. */
  #loseAnswers(): void {
    for (const answer of this.#waiting) answer.reject(lostError());
    this.#waiting.clear();
  }

  #becomesReady(): Promise<void> {
    const client = this.#client;
    const { ready: event } = this.#road.events;
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
        if (this.#refusal === undefined) return;
        leave();
        reject(this.#refusal);
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
}

/** A connection of our own that is made when it is first called: only then it is known where to. */
export class LateConnection implements RedisConnection {
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

function closedError(): RedisError {
  return new RedisError(
    "Cannot ask Redis: client must be connected, received one that is closed",
  );
}

function lostError(): RedisError {
  return new RedisError("Cannot ask Redis: the connection was lost");
}

interface BufferClass {
  from(buffer: ArrayBufferLike, offset: number, length: number): Uint8Array;
}

/** Both clients ask for one, and where they run there is one. */
export function bufferClass(): BufferClass {
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
