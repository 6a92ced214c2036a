/**
 * Queues of Cloudflare: put into them from a Worker, and work on what they push.
 *
 * Written against the binding that Cloudflare gives a Worker, and importing nothing.
 * What is put is delivered **at least once**.
 *
 * @example A Worker that puts and works
 * ```ts
 * import { CloudflareQueue, queueHandler, type QueueBinding } from "@highwater/queue/cloudflare";
 * import { assertEquals } from "@std/assert";
 *
 * interface Environment {
 *   PAGES: QueueBinding;
 *   DEAD: QueueBinding;
 * }
 *
 * const worker = { // export default
 *   async fetch(request: Request, env: Environment): Promise<Response> {
 *     await new CloudflareQueue<string>(env.PAGES).put(new URL(request.url).pathname);
 *     return new Response("Queued.", { status: 202 });
 *   },
 *   queue: queueHandler(
 *     (page: string) => void visited.push(page),
 *     (env: Environment) => ({ concurrency: 4, deadLetter: env.DEAD }),
 *   ),
 * };
 *
 * const visited: string[] = [];
 * const sent: unknown[] = [];
 * const queue: QueueBinding = { // what Cloudflare binds to the Worker
 *   send: (body) => Promise.resolve(sent.push(body)),
 *   sendBatch: (messages) => Promise.resolve(sent.push(...Array.from(messages, ({ body }) => body))),
 * };
 * const env = { PAGES: queue, DEAD: queue };
 * await worker.fetch(new Request("https://example.org/news"), env);
 * const messages = sent.map((body, index) => ({
 *   id: String(index),
 *   timestamp: new Date(),
 *   body,
 *   attempts: 1,
 *   ack() {},
 *   retry() {},
 * }));
 * await worker.queue({ queue: "pages", messages }, env);
 * assertEquals(visited, ["/news"]);
 * ```
 *
 * @module
 */

export { bytes, type BytesOptions, type Codec, json } from "./codec.ts";
export type { BurialReason } from "./engines/core/driver.ts";
export type { EnginePutOptions } from "./engines/core/engine_queue.ts";
export { type CloseOptions, PuttingHandle } from "./engines/core/putting.ts";
export type { PuttingOptions } from "./engines/core/putting_options.ts";
export {
  CloudflareQueue,
  type CloudflareQueueOptions,
} from "./engines/cloudflare/cloudflare_queue.ts";
export {
  type QueueExport,
  queueHandler,
  type QueueHandlerConfiguration,
  type QueueHandlerOptions,
} from "./engines/cloudflare/handler.ts";
export type {
  CloudflareDeadLetter,
  CloudflareDeadLetterTarget,
} from "./engines/cloudflare/dead_letter.ts";
export type {
  CloudflareBatch,
  CloudflareMessage,
  CloudflareRequest,
  ContentType,
  QueueBinding,
} from "./engines/cloudflare/types.ts";
export type { JsonOptions } from "./json_item.ts";
