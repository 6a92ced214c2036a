/**
 * Puts into a queue of Cloudflare.
 *
 * @module
 */

import { checkOptions, wrongType } from "../../checks.ts";
import { type Clock, systemClock } from "../../clock.ts";
import { type Codec, json } from "../../codec.ts";
import { FULFILLED } from "../../waiters.ts";
import type { CloudflareRequest, QueueBinding } from "./types.ts";
import type { Answer, Outgoing, PuttingDriver } from "../core/driver.ts";
import { pause } from "../core/pause.ts";
import { PuttingHandle } from "../core/putting.ts";
import {
  checkPuttingOptions,
  outboxTo,
  PUTTING_OPTIONS,
  type PuttingOptions,
} from "../core/putting_options.ts";

/** Options of {@linkcode CloudflareQueue}. */
export interface CloudflareQueueOptions<T>
  extends Omit<PuttingOptions<T>, "keyOf" | "headersOf"> {
  /**
   * How items become bytes, which the handler has to be told as well. Unless told
   * they go as JSON that Cloudflare knows as such, for consumers of any kind and
   * the dashboard.
   */
  codec?: Codec<T> | undefined;
  /** What it means for a put that Cloudflare takes nothing at the moment, as the rate or the storage of the queue is exhausted: it waits (`"wait"`) or rejects with `QueueFullError`. Default: `"wait"`. */
  overflow?: "wait" | "reject" | undefined;
  /** What any other failure means for a put: it rejects (`"reject"`), or tries again, later and later (`"wait"`). Default: `"reject"`. */
  offline?: "wait" | "reject" | undefined;
}

/**
 * The putting side of a queue of Cloudflare, over the binding of a Worker. The
 * other side is `queueHandler`.
 *
 * - **Batches.** What is put in one turn, or while another batch is on its way,
 *   goes together, in its order: up to 100 items and 256 kB at a time.
 * - **Sizes.** An item of more than 127,900 bytes (128 kB less what Cloudflare
 *   needs for itself) is a `RangeError` before anything is sent.
 * - **Done** is a put when Cloudflare has written the item to its disks.
 * - **Failures.** A queue that takes nothing for now is waited for; other failures
 *   reject. An item whose put was rejected by a failure may have arrived all the
 *   same, and one that is tried again may arrive twice: Cloudflare cannot tell.
 * - **Order** is kept up to Cloudflare, which promises none.
 *
 * It costs nothing to make: make one for each request. The runtime lets no request
 * wait for what another one has begun. What is put after the response has to be
 * given to `ctx.waitUntil`.
 *
 * @example Putting from a request
 * ```ts
 * import { CloudflareQueue, type QueueBinding } from "@highwater/queue/cloudflare";
 * import { assertEquals } from "@std/assert";
 *
 * const worker = {
 *   async fetch(_request: Request, env: { PAGES: QueueBinding }): Promise<Response> {
 *     const pages = new CloudflareQueue<string>(env.PAGES);
 *     await pages.putMany(["/", "/news"]); // one request to Cloudflare
 *     return new Response("Queued.", { status: 202 });
 *   },
 * };
 *
 * const sent: unknown[] = []; // a binding, as Cloudflare gives it to the Worker
 * const PAGES: QueueBinding = {
 *   send: (body) => Promise.resolve(sent.push(body)),
 *   sendBatch: (messages) => Promise.resolve(sent.push(Array.from(messages, ({ body }) => body))),
 * };
 * await worker.fetch(new Request("https://example.org"), { PAGES });
 * assertEquals(sent, [["/", "/news"]]);
 * ```
 */
export class CloudflareQueue<T> extends PuttingHandle<T> {
  /** Sends nothing yet. A `TypeError` or `RangeError` names what cannot be used. */
  constructor(binding: QueueBinding, options: CloudflareQueueOptions<T> = {}) {
    checkOptions(ACTION, options, PUTTING_OPTIONS);
    checkPuttingOptions(ACTION, options);
    checkBinding(ACTION, "binding", binding);
    const { codec, clock = systemClock, offline = "reject" } = options;
    const request = codec === undefined ? jsonRequest : bytesRequest;
    const driver = new CloudflareDriver(binding, request, clock);
    const { outbox } = outboxTo<T, CloudflareDriver>(driver, "on Cloudflare", {
      ...options,
      offline,
    });
    super(outbox, { codec: codec ?? textOfBodies() });
  }
}

const ACTION = "open a queue of Cloudflare";

/** The limits of Cloudflare: a kB is 1000 bytes, and about 100 bytes of each message are its own. */
const MAX_MESSAGES = 100;
const MAX_MESSAGE_BYTES = 128_000;
const MAX_BATCH_BYTES = 256_000;
const METADATA_BYTES = 100;

/** How long a queue that takes nothing is left alone, at first and at most. */
const FIRST_PAUSE = 200;
const LONGEST_PAUSE = 5_000;

/** The words of `429` and the codes behind them: too fast, or too much. */
const FULL =
  /too many requests|overloaded|storage limit exceeded|\b1025[01]\b/i;

/** What will be said again and again: no such queue, not allowed, too large, not on this plan. */
const REFUSED = /payload too large|\b(1010\d|1020[2-8]|10253)\b/i;

type TypedRequest = Required<CloudflareRequest>;

class CloudflareDriver implements PuttingDriver {
  readonly maxBatch = MAX_MESSAGES;
  readonly maxPayload: number = MAX_MESSAGE_BYTES - METADATA_BYTES;
  readonly maxBatchBytes: number = MAX_BATCH_BYTES -
    MAX_MESSAGES * METADATA_BYTES;
  readonly #binding: QueueBinding;
  readonly #request: (payload: Uint8Array) => TypedRequest;
  readonly #clock: Clock;
  #pause = FIRST_PAUSE;

  constructor(
    binding: QueueBinding,
    request: (payload: Uint8Array) => TypedRequest,
    clock: Clock,
  ) {
    this.#binding = binding;
    this.#request = request;
    this.#clock = clock;
  }

  open(): Promise<void> {
    return FULFILLED;
  }

  async send(messages: readonly Outgoing[]): Promise<readonly Answer[]> {
    try {
      await this.#send(messages.map(({ payload }) => this.#request(payload)));
    } catch (error) {
      const answer = answerFor(error);
      return messages.map(() => answer);
    }
    this.#pause = FIRST_PAUSE;
    return messages.map(() => "accepted");
  }

  async room(signal: AbortSignal): Promise<void> {
    const milliseconds = this.#pause;
    this.#pause = Math.min(milliseconds * 2, LONGEST_PAUSE);
    await pause(this.#clock, milliseconds, signal);
  }

  #send(requests: TypedRequest[]): Promise<unknown> {
    if (requests.length > 1) return this.#binding.sendBatch(requests);
    const { body, contentType } = requests[0]!;
    return this.#binding.send(body, { contentType });
  }
}

/** What a failure means for the items. Throws what may be different next time. */
function answerFor(error: unknown): Answer {
  const message = error instanceof Error ? error.message : String(error);
  if (FULL.test(message)) return "full";
  if (REFUSED.test(message) || isAboutBody(error)) return { error };
  throw error;
}

function isAboutBody(error: unknown): boolean {
  return error instanceof TypeError ||
    (error as Partial<Error> | null)?.name === "DataCloneError";
}

const decoder = /* @__PURE__ */ new TextDecoder();

/** JSON as Cloudflare knows it, which has no word for `undefined`. */
function textOfBodies<T>(): Codec<T> {
  const codec = json<T>();
  return {
    encode(item) {
      if (item !== undefined) return codec.encode(item);
      const rule = "item must be a value that JSON can hold " +
        "(codec: json() carries it as bytes)";
      throw wrongType("encode", rule, item);
    },
    decode: (bytes) => codec.decode(bytes),
  };
}

function jsonRequest(payload: Uint8Array): TypedRequest {
  return { body: JSON.parse(decoder.decode(payload)), contentType: "json" };
}

function bytesRequest(payload: Uint8Array): TypedRequest {
  return { body: payload, contentType: "bytes" };
}

/** Throws a `TypeError` unless messages can be sent there. */
export function checkBinding(
  action: string,
  name: string,
  binding: unknown,
): void {
  if (isBinding(binding)) return;
  const rule = `${name} must be a Queue that the Worker is bound to`;
  throw wrongType(action, rule, binding);
}

/** Whether it has what a binding has. */
export function isBinding(binding: unknown): binding is QueueBinding {
  const candidate = binding as Partial<QueueBinding> | null | undefined;
  return typeof candidate?.send === "function" &&
    typeof candidate.sendBatch === "function";
}
