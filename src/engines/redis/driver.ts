/**
 * A queue in Redis: what is done with its scripts, and what is remembered here.
 *
 * @module
 */

import { type Deferred, deferred } from "../../waiters.ts";
import type {
  Answer,
  BurialReason,
  Driver,
  Measures,
  Message,
  Outgoing,
} from "../core/driver.ts";
import { RedisNotify } from "./notify.ts";
import type { RedisArgument } from "./client.ts";
import { lasts, type RedisConnection, RedisError } from "./connection.ts";
import {
  BURY_SCRIPT,
  LARGE,
  LEND_SCRIPT,
  MEASURE_SCRIPT,
  OPEN_SCRIPT,
  PUT_SCRIPT,
  RING_SCRIPT,
  SETTLE_SCRIPT,
} from "./scripts.ts";

/** An entry of the stream, lent. */
export interface RedisMessage extends Message {
  /** The id of the entry. */
  readonly id: string;
  /** Until when it is lent, on the clock of Redis; what the lease is known by. */
  lease: number;
  /** Whether the answer to a word about it was lost. */
  isUnsure: boolean;
}

/** What a driver is made of. All of it has been checked. */
export interface RedisDriverOptions {
  connection: RedisConnection;
  name: string;
  /** What the names of all keys begin with. */
  prefix: string;
  consumer: string;
  /** The most entries there may be. */
  capacity: number;
  /** The most dead letters that are kept. */
  maxDeadLetters: number;
  /** The most bytes of an item. */
  maxPayload: number;
  /** For how many milliseconds one call waits at most; so late is noticed what was not rung for. */
  patience: number;
}

/** The keys of a queue. What is in braces is what a cluster places a key by: they are all in one place. */
export interface RedisKeys {
  readonly stream: string;
  readonly due: string;
  readonly notify: string;
  readonly room: string;
  readonly wanted: string;
  readonly dead: string;
  readonly put: string;
}

/** The consumer that entries belong to which nobody has, as the scripts know. */
export const NOBODY = "-";
/** The consumer group. */
const GROUP = "highwater";
/** For how many milliseconds a repeated put is known as one. */
const PUT_WINDOW = 600_000;
/** For how many milliseconds an entry stays with whoever took it past us. */
const STRAY_VISIBILITY = 30_000;
/** Scripts pass the ids to one command, and Lua does not take more than some thousand arguments. */
const MAX_BATCH = 1_000;
/** The longest that anything is lent or delayed: when it ends is a number of milliseconds since 1970, exact in a score until the year 2248. */
const MAX_MILLISECONDS = Number.MAX_SAFE_INTEGER - 2 ** 43;

/** One batch more than Redis is busy with, so that it need not wait for the next. */
const MAX_TELLING = 2;

/** An answer that waits to be told. */
interface Saying {
  readonly word: "ack" | "nack" | "release" | "doubt" | "isolate" | "extend";
  readonly message: RedisMessage;
  readonly number: number;
  readonly told: Deferred<boolean>;
}

/** The {@linkcode Driver} of Redis. */
export class RedisDriver implements Driver<RedisMessage> {
  readonly maxBatch: number = MAX_BATCH;
  readonly maxPayload: number;
  readonly maxBatchBytes: number = 1_048_576;
  readonly keys: RedisKeys;
  readonly #options: RedisDriverOptions;
  readonly #connection: RedisConnection;
  readonly #notify: RedisNotify;
  readonly #room: RedisNotify;
  /** The digests of scripts that Redis has, or had. */
  readonly #digests: Map<string, string> = new Map();
  /** Numbers of puts, in ascending order, and those of which it is not known whether they arrived. */
  #numbers = 0;
  #unsure: Map<string, number> = new Map();
  #sayings: Saying[] = [];
  /** How many batches are being told. */
  #telling = 0;
  /** What is being extended: until then nobody knows what its lease is known by. */
  readonly #extensions: Map<RedisMessage, Promise<void>> = new Map();
  /** Those who wait shall learn that there is nothing to wait for. */
  readonly #ended = (): void => {
    this.#notify.wake();
    this.#room.wake();
  };

  constructor(options: RedisDriverOptions) {
    const { connection, maxPayload, patience } = options;
    this.#options = options;
    this.#connection = connection;
    this.maxPayload = maxPayload;
    this.keys = keysOf(options);
    const connect = (): RedisConnection => connection.duplicate();
    const ring = (key: string): Promise<unknown> =>
      this.run(RING_SCRIPT, [key, this.keys.due]);
    this.#notify = new RedisNotify(this.keys.notify, patience, connect, ring);
    this.#room = new RedisNotify(this.keys.room, patience, connect, ring);
    connection.whenEnded?.add(this.#ended);
  }

  async open(): Promise<void> {
    const { stream, due } = this.keys;
    const visibility = String(STRAY_VISIBILITY);
    await this.run(OPEN_SCRIPT, [stream, due], [GROUP, visibility]);
  }

  lasts(error: unknown): boolean | undefined {
    return lasts(error);
  }

  async send(messages: readonly Outgoing[]): Promise<readonly Answer[]> {
    const { stream, notify, put, wanted, room } = this.keys;
    const { capacity } = this.#options;
    const numbers = this.#numbersOf(messages);
    const sizes: number[] = [];
    const small: Uint8Array[] = [];
    const large: Uint8Array[] = [];
    messages.forEach(({ payload }, index) => {
      sizes.push(numbers[index]!, payload.byteLength);
      (payload.byteLength > LARGE ? large : small).push(payload);
    });
    let taken: number;
    try {
      taken = await this.run(PUT_SCRIPT, [stream, notify, put, wanted, room], [
        String(capacity === Infinity ? -1 : capacity),
        String(PUT_WINDOW),
        JSON.stringify(sizes),
        joined(small),
        ...large,
      ]) as number;
    } catch (error) {
      messages.forEach(({ id }, index) =>
        this.#unsure.set(id, numbers[index]!)
      );
      throw error;
    }
    // Also those that are not among these: their numbers would be too low now.
    this.#unsure.clear();
    return messages.map((_, index) => index < taken ? "accepted" : "full");
  }

  room(signal: AbortSignal): Promise<void> {
    return this.#room.wait(this.#options.patience, signal);
  }

  async fetch(
    max: number,
    visibility: number,
    signal: AbortSignal,
  ): Promise<readonly RedisMessage[]> {
    const { stream, due, notify } = this.keys;
    const { consumer, patience } = this.#options;
    const time = wholeMilliseconds(visibility);
    const [heads, small, lease, wait, ...large] = await this.#insisting(() =>
      this.run(LEND_SCRIPT, [stream, due, notify], [
        GROUP,
        consumer,
        String(Math.min(max, MAX_BATCH)),
        String(time),
        String(patience),
      ])
    ) as [Uint8Array, Uint8Array, number, number, ...Uint8Array[]];
    if (heads.byteLength > 0) {
      return messagesOf(heads, small, large, lease, lease - time);
    }
    // What comes then is fetched by the next call, whose time begins when it asks.
    await this.#notify.wait(wait, signal);
    return [];
  }

  ack(message: RedisMessage): Promise<boolean> {
    return this.#say("ack", message, 0);
  }

  nack(message: RedisMessage, delay: number): Promise<boolean> {
    return this.#say("nack", message, wholeMilliseconds(delay));
  }

  release(message: RedisMessage, delay = 0): Promise<boolean> {
    const word = message.lost === undefined ? "release" : "doubt";
    return this.#say(word, message, wholeMilliseconds(delay));
  }

  isolate(message: RedisMessage): Promise<boolean> {
    return this.#say("isolate", message, 0);
  }

  extend(message: RedisMessage, milliseconds: number): Promise<boolean> {
    return this.#say("extend", message, wholeMilliseconds(milliseconds));
  }

  async bury(
    message: RedisMessage,
    reason: BurialReason,
    error: string | undefined,
  ): Promise<boolean> {
    const { stream, due, dead, wanted, room } = this.keys;
    const { maxDeadLetters } = this.#options;
    await this.#extensions.get(message);
    const { id, attempt } = message;
    try {
      const buried = await this.run(
        BURY_SCRIPT,
        [stream, due, dead, wanted, room],
        [
          ...[GROUP, id, String(leaseOf(message))],
          String(maxDeadLetters === Infinity ? -1 : maxDeadLetters),
          ...["id", id, "attempt", String(attempt), "reason", reason],
          ...(error === undefined ? [] : ["error", error]),
        ],
      );
      return buried === 1;
    } catch (error) {
      message.isUnsure = true;
      throw error;
    }
  }

  async measure(): Promise<Measures> {
    const { stream, due, dead } = this.keys;
    const [length, delivery, age, deadLetters, delayed] = await this.#insisting(
      () => this.run(MEASURE_SCRIPT, [stream, due, dead], [GROUP]),
    ) as [number, number, number, number, number];
    return {
      backlog: length - delivery,
      delayed,
      capacity: this.#options.capacity,
      inFlight: delivery,
      oldestAge: age < 0 ? undefined : age,
      deadLetters,
    };
  }

  async close(): Promise<void> {
    this.#connection.whenEnded?.delete(this.#ended);
    await Promise.all([this.#notify.close(), this.#room.close()]);
  }

  /** Runs a script. Redis keeps scripts in its memory alone, so one that it has forgotten is sent again. */
  async run(
    script: string,
    keys: readonly string[],
    args: readonly RedisArgument[] = [],
  ): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args];
    let digest = this.#digests.get(script);
    if (digest === undefined) {
      digest = await digestOf(script);
      this.#digests.set(script, digest);
    }
    try {
      return await this.#connection.call("EVALSHA", [digest, ...rest]);
    } catch (error) {
      if (!says(error, "NOSCRIPT")) throw error;
      return await this.#connection.call("EVAL", [script, ...rest]);
    }
  }

  /** Others may have deleted the group, or a server come back without it. */
  async #insisting(word: () => Promise<unknown>): Promise<unknown> {
    try {
      return await word();
    } catch (error) {
      if (!says(error, "NOGROUP")) throw error;
      await this.open();
      return await word();
    }
  }

  /** One that may have arrived keeps its number, as long as it is in order. */
  #numbersOf(messages: readonly Outgoing[]): number[] {
    let previous = 0;
    return messages.map(({ id }) => {
      const known = this.#unsure.get(id);
      previous = known !== undefined && known > previous
        ? known
        : ++this.#numbers;
      return previous;
    });
  }

  /** What is to be told in one turn, or while enough is being told, is told together. */
  #say(
    word: Saying["word"],
    message: RedisMessage,
    number: number,
  ): Promise<boolean> {
    const extension = this.#extensions.get(message);
    if (extension !== undefined) {
      return extension.then(() => this.#say(word, message, number));
    }
    const told = deferred<boolean>();
    this.#sayings.push({ word, message, number, told });
    if (word === "extend") this.#awaitExtension(message, told.promise);
    if (this.#sayings.length === 1) queueMicrotask(() => void this.#sayAll());
    return told.promise;
  }

  #awaitExtension(message: RedisMessage, told: Promise<unknown>): void {
    const over = (): void => void this.#extensions.delete(message);
    this.#extensions.set(message, told.then(over, over));
  }

  async #sayAll(): Promise<void> {
    while (this.#sayings.length > 0 && this.#telling < MAX_TELLING) {
      const batch = this.#sayings.splice(0, MAX_BATCH);
      this.#telling++;
      try {
        const results = await this.#tell(batch);
        batch.forEach(({ told }, index) => told.resolve(results[index]!));
      } catch (error) {
        for (const { message, told } of batch) {
          message.isUnsure = true;
          told.reject(error);
        }
      }
      this.#telling--;
    }
  }

  async #tell(batch: readonly Saying[]): Promise<boolean[]> {
    const { stream, due, notify, wanted, room } = this.keys;
    const answers = batch.flatMap(({ word, message, number }) => [
      ...[word, message.id],
      ...[leaseOf(message), number],
    ]);
    const [results, now] = await this.run(
      SETTLE_SCRIPT,
      [stream, due, notify, wanted, room],
      [GROUP, this.#options.consumer, JSON.stringify(answers)],
    ) as [Uint8Array, number];
    return batch.map(({ word, message, number }, index) => {
      const isOurs = results[index] === ONE;
      if (isOurs && word === "extend") {
        message.lease = now + number;
        message.isUnsure = false;
      }
      return isOurs;
    });
  }
}

const ONE = "1".charCodeAt(0);
const encoder = /* @__PURE__ */ new TextEncoder();
const decoder = /* @__PURE__ */ new TextDecoder();

function keysOf({ prefix, name }: RedisDriverOptions): RedisKeys {
  const base = `${prefix}:{${name}}`;
  return {
    stream: `${base}:stream`,
    due: `${base}:due`,
    notify: `${base}:bell`,
    room: `${base}:room`,
    wanted: `${base}:wanted`,
    dead: `${base}:dead`,
    put: `${base}:put:${crypto.randomUUID()}`,
  };
}

/** The messages of what {@linkcode LEND_SCRIPT} returned. */
function messagesOf(
  heads: Uint8Array,
  small: Uint8Array,
  large: readonly Uint8Array[],
  lease: number,
  now: number,
): RedisMessage[] {
  const words = decoder.decode(heads).split(" ");
  const messages: RedisMessage[] = [];
  let at = 0;
  let nextLarge = 0;
  for (let word = 0; word < words.length; word += 3) {
    const id = words[word]!;
    const attempt = words[word + 1]!;
    const size = Number(words[word + 2]);
    const isLarge = size > LARGE;
    const bytes = isLarge ? large[nextLarge++]! : small;
    const first = isLarge ? 0 : at;
    if (!isLarge) at += size;
    messages.push({
      id,
      lease,
      isUnsure: false,
      attempt: parseInt(attempt),
      lost: LOST[attempt.at(-1)!],
      age: now - parseInt(id),
      payload: new Uint8Array(bytes.buffer, bytes.byteOffset + first, size),
    });
  }
  return messages;
}

/** By what is behind the attempt. */
const LOST: Record<string, RedisMessage["lost"]> = { a: "alone", b: "beside" };

/** As the scripts know it. */
function leaseOf({ lease, isUnsure }: RedisMessage): number {
  return isUnsure ? -lease : lease;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const length = parts.reduce((sum, part) => sum + part.byteLength, 0);
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

async function digestOf(script: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-1", encoder.encode(script));
  return [...new Uint8Array(hash)]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function says(error: unknown, word: string): boolean {
  return error instanceof RedisError && error.message.includes(word);
}

function wholeMilliseconds(milliseconds: number): number {
  return Math.ceil(Math.min(milliseconds, MAX_MILLISECONDS));
}
