/**
 * What is used of Cloudflare's own objects. The types of its packages fit.
 *
 * @module
 */

/** How Cloudflare keeps a body. */
export type ContentType = "json" | "bytes" | "text" | "v8";

/** One message of {@linkcode QueueBinding.sendBatch}. */
export interface CloudflareRequest {
  /** What is sent. */
  body: unknown;
  /** How it is kept; always told here. */
  contentType?: ContentType;
}

/** A Queue as a Worker is bound to it: `env.TASKS`. */
export interface QueueBinding {
  /** Sends one message. */
  send(
    body: unknown,
    options: { contentType: ContentType },
  ): Promise<unknown>;
  /** Sends up to 100. */
  sendBatch(messages: Iterable<CloudflareRequest>): Promise<unknown>;
}

/** A message as a Worker gets it. */
export interface CloudflareMessage {
  /** The name that Cloudflare gave it. */
  readonly id: string;
  /** When it was sent. */
  readonly timestamp: Date;
  /** What was sent. */
  readonly body: unknown;
  /** How many times it was delivered, this time included; from 1. */
  readonly attempts: number;
  /** It is done. */
  ack(): void;
  /** It is to be delivered again. */
  retry(options?: { delaySeconds?: number }): void;
}

/** What the `queue` export of a Worker is called with. */
export interface CloudflareBatch {
  /** The name of the queue. */
  readonly queue: string;
  /** From 1 to 100 of them. */
  readonly messages: readonly CloudflareMessage[];
}
