/**
 * The messages of one call of a Worker, as deliveries.
 *
 * @module
 */

import { checkDelay, checkTimeLimit, type Clock } from "../../clock.ts";
import type { Codec } from "../../codec.ts";
import type { Delivery, DeliverySource, NackOptions } from "../../delivery.ts";
import { wrongType } from "../../checks.ts";
import { QueueClosedError } from "../../errors.ts";
import { unrecoverable } from "../../retry.ts";
import { FULFILLED } from "../../waiters.ts";
import {
  type CloudflareDeadLetterTarget,
  deadLetterOf,
  sendDeadLetter,
} from "./dead_letter.ts";
import type { CloudflareBatch, CloudflareMessage } from "./types.ts";
import type { BurialReason } from "../core/driver.ts";

/** How the messages of a batch are dealt with. */
export interface CloudflareBatchOptions<T> {
  clock: Clock;
  /** How bodies become items; they are the items without one. */
  codec: Codec<T> | undefined;
  /** How many attempts a message has. */
  attempts: number;
  deadLetter: CloudflareDeadLetterTarget | undefined;
  /** Learns what the target failed with, or without one an item for good. */
  onError: (error: unknown, of: "target" | "item") => void;
}

/** A message that was looked into: it holds an item, or is beyond help. */
export class Parcel<T> {
  /** How often it has been tried. */
  attempts: number;
  /** Why it holds no item. */
  readonly fault:
    | { readonly reason: BurialReason; readonly error: unknown }
    | undefined;
  readonly #content: { readonly item: T } | undefined;

  constructor(
    message: CloudflareMessage,
    { codec, attempts, deadLetter }: CloudflareBatchOptions<T>,
  ) {
    this.attempts = message.attempts;
    if (deadLetter !== undefined && message.attempts > attempts) {
      const error = new Error(
        `The message was delivered ${message.attempts} times, and has ${attempts} attempts`,
      );
      this.fault = { reason: "deliveries", error: unrecoverable(error) };
      return;
    }
    try {
      const { body } = message;
      const item = codec === undefined
        ? body as T
        : codec.decode(bytesOf(body));
      this.#content = { item };
    } catch (error) {
      this.fault = { reason: "undecodable", error };
    }
  }

  /** Throws what is wrong with it if it holds none. */
  get item(): T {
    if (this.#content === undefined) throw this.fault!.error;
    return this.#content.item;
  }

  /** Why it is given up after that many attempts. */
  reasonAfter(attempts: number): BurialReason {
    if (this.fault !== undefined) return this.fault.reason;
    return this.attempts >= attempts ? "failed" : "rejected";
  }
}

/** Lends the messages of a batch in their order. */
export class BatchSource<T> implements DeliverySource<Parcel<T>> {
  readonly queue: string;
  readonly options: CloudflareBatchOptions<T>;
  /** Nothing is lost while the Worker runs. */
  readonly signal: AbortSignal = new AbortController().signal;
  readonly #deliveries: CloudflareDelivery<T>[];
  #next = 0;

  constructor(batch: CloudflareBatch, options: CloudflareBatchOptions<T>) {
    this.queue = batch.queue;
    this.options = options;
    this.#deliveries = batch.messages.map((message) =>
      new CloudflareDelivery(this, message)
    );
  }

  tryReceive(): Delivery<Parcel<T>> | undefined {
    return this.#deliveries[this.#next++];
  }

  receive(): Promise<Delivery<Parcel<T>>> {
    const delivery = this.tryReceive();
    if (delivery !== undefined) return Promise.resolve(delivery);
    return Promise.reject(
      new QueueClosedError(
        "Cannot receive: the batch must hold messages, received one that is empty",
      ),
    );
  }

  /** Has all delivered again that nobody has answered for: without a word they would be done. */
  returnRest(): void {
    for (const delivery of this.#deliveries) delivery.nack();
  }
}

/** It is held until Cloudflare has heard what becomes of it. */
class CloudflareDelivery<T> implements Delivery<Parcel<T>> {
  readonly attempt: number;
  readonly #source: BatchSource<T>;
  readonly #message: CloudflareMessage;
  #parcel: Parcel<T> | undefined = undefined;
  #isOpen = true;

  constructor(source: BatchSource<T>, message: CloudflareMessage) {
    this.#source = source;
    this.#message = message;
    this.attempt = message.attempts;
  }

  get item(): Parcel<T> {
    return this.#parcel ??= new Parcel(this.#message, this.#source.options);
  }

  get enqueuedAt(): number {
    const age = Math.max(0, Date.now() - this.#message.timestamp.getTime());
    return this.#source.options.clock.now() - age;
  }

  get signal(): AbortSignal {
    return this.#source.signal;
  }

  ack(): boolean {
    if (!this.#isOpen) return false;
    this.#message.ack();
    this.#isOpen = false;
    return true;
  }

  nack(options?: NackOptions): boolean {
    const delay = options?.delay;
    if (delay !== undefined) checkDelay("nack", "delay", delay);
    if (!this.#isOpen) return false;
    if (delay === undefined) this.#message.retry();
    else this.#message.retry({ delaySeconds: secondsOf(delay) });
    this.#isOpen = false;
    return true;
  }

  /** False, too, when the letter did not get there; then the message is delivered again. */
  async bury(error?: unknown): Promise<boolean> {
    if (!this.#isOpen) return false;
    const { queue, options } = this.#source;
    const { deadLetter, attempts, onError } = options;
    if (deadLetter === undefined) {
      this.nack();
      onError(error, "item");
      return false;
    }
    const { item: parcel } = this;
    const reason = parcel.reasonAfter(attempts);
    try {
      const dead = deadLetterOf(
        queue,
        this.#message,
        parcel.attempts,
        reason,
        error,
      );
      await sendDeadLetter(deadLetter, dead, error);
    } catch (failure) {
      this.nack();
      onError(failure, "target");
      return false;
    }
    return this.ack();
  }

  /** It is ours until the call of the Worker ends. */
  extend(milliseconds: number): boolean {
    checkTimeLimit("extend", "milliseconds", milliseconds);
    return this.#isOpen;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.nack();
    return FULFILLED;
  }
}

/** The longest delay that Cloudflare knows: a day. */
const MAX_DELAY_SECONDS = 86_400;

function secondsOf(milliseconds: number): number {
  return Math.min(Math.ceil(milliseconds / 1000), MAX_DELAY_SECONDS);
}

const encoder = /* @__PURE__ */ new TextEncoder();

function bytesOf(body: unknown): Uint8Array {
  if (body instanceof Uint8Array) return body;
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  if (typeof body === "string") return encoder.encode(body);
  throw wrongType("decode", "the body must be bytes or text", body);
}
