/**
 * Stand-ins for what Cloudflare gives a Worker: a binding, and messages that
 * remember what was said of them.
 *
 * @module
 */

import type {
  CloudflareMessage,
  CloudflareRequest,
  ContentType,
  QueueBinding,
} from "../../src/cloudflare.ts";

/** A Queue that a Worker is bound to. */
export class FakeBinding implements QueueBinding {
  /** What arrived, by request. */
  readonly requests: CloudflareRequest[][] = [];
  /** What the next requests fail with. */
  failures: unknown[] = [];
  /** Runs before each request. */
  before: () => Promise<void> | void = () => {};

  /** The bodies that arrived. */
  get bodies(): unknown[] {
    return this.requests.flat().map(({ body }) => body);
  }

  send(
    body: unknown,
    { contentType }: { contentType: ContentType },
  ): Promise<void> {
    return this.#arrive([{ body, contentType }]);
  }

  sendBatch(messages: Iterable<CloudflareRequest>): Promise<void> {
    return this.#arrive([...messages]);
  }

  async #arrive(request: CloudflareRequest[]): Promise<void> {
    await this.before();
    if (this.failures.length > 0) throw this.failures.shift();
    this.requests.push(request);
  }
}

/** A message. Default: on its first delivery. */
export class FakeMessage implements CloudflareMessage {
  readonly id: string = crypto.randomUUID();
  readonly timestamp: Date = new Date();
  readonly body: unknown;
  readonly attempts: number;
  /** What was said of it: `"ack"`, or `"retry"` with the seconds if there were some. */
  readonly said: string[] = [];

  constructor(body: unknown, attempts = 1) {
    this.body = body;
    this.attempts = attempts;
  }

  ack(): void {
    this.said.push("ack");
  }

  retry(options?: { delaySeconds?: number }): void {
    const seconds = options?.delaySeconds;
    this.said.push(seconds === undefined ? "retry" : `retry in ${seconds} s`);
  }
}

/** What was said of each message, which is one thing. */
export function answers(messages: FakeMessage[]): string[] {
  return messages.map(({ body, said }) => {
    if (said.length === 1) return said[0]!;
    throw new Error(
      `${String(body)} was answered for by ${said.join(", ") || "nobody"}`,
    );
  });
}
