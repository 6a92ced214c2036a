/**
 * Runs a handler on what a queue of Cloudflare pushes to a Worker.
 *
 * @module
 */

import { callOut, type NoPromise, refusePromise } from "../../callbacks.ts";
import { checkCallbacks, checkFunction, checkOptions } from "../../checks.ts";
import {
  checkClock,
  checkDelay,
  type Clock,
  systemClock,
} from "../../clock.ts";
import { checkCodec, type Codec } from "../../codec.ts";
import { failuresIn } from "../../flow/consume/outcomes.ts";
import type { ConsumeReport } from "../../flow/consume/report.ts";
import { consume } from "../../flow/consume/run.ts";
import {
  type BatchHandler,
  type BatchOptions,
  checkConsumeOptions,
  type ConsumeContext,
  type ConsumeOptions,
  type Handler,
} from "../../flow/consume/options.ts";
import { Retry, type RetryOptions } from "../../retry.ts";
import { BatchSource, type Parcel } from "./batch.ts";
import { checkTarget, type CloudflareDeadLetterTarget } from "./dead_letter.ts";
import type { CloudflareBatch } from "./types.ts";

/** Options of {@linkcode queueHandler}. Those that `consume` has as well mean the same, within a batch. */
export interface QueueHandlerOptions<T> {
  /** How many calls of the handler run at a time in one batch, from 1 to Infinity. Default: 1. Cloudflare runs several batches at a time besides. */
  concurrency?: number | (() => number) | undefined;
  /** When an item that failed is tried again, and how often in all. Default: 5 times, after a second or less, then two, then four. Cloudflare waits in whole seconds, up to a day. */
  retry?: RetryOptions | undefined;
  /** How many milliseconds an attempt may take before its signal aborts. Default: as long as it likes. */
  timeout?: number | undefined;
  /** How many milliseconds a handler has to end once its signal has aborted. Default: 1000. */
  grace?: number | undefined;
  /** How many milliseconds the batch may take before all signals abort and what is not done is given back. Default: 840,000, 14 of the 15 minutes of Cloudflare, which has everything delivered again of a call that takes longer. */
  maxDuration?: number | undefined;
  /**
   * Gets what failed for good, see {@linkcode CloudflareDeadLetter}. Where it fails,
   * the message is delivered again; to a Queue, that is so with one of nearly
   * 128 kB, which leaves no room for the reason. Without one, what failed for good is handed back
   * to Cloudflare: it comes again until `max_retries` of the consumer is used up, and
   * goes to its `dead_letter_queue`, if there is one.
   */
  deadLetter?: CloudflareDeadLetterTarget | undefined;
  /** How bytes become items, for a `CloudflareQueue` with a codec; without one, bodies are the items. */
  codec?: Codec<T> | undefined;
  /** Items of one key are run one after the other, in the order they have in the batch, and tried again right here. */
  keyOf?: ((item: T) => NoPromise) | undefined;
  /** With `keyOf`: how many items whose key is busy may wait aside. Default: 64. */
  readAhead?: number | undefined;
  /** Gives the handler arrays. Not together with `keyOf`. */
  batch?: BatchOptions | undefined;
  /** Learns at once of a handler that did not end in time after its signal. */
  onOverrun?: ((item: T, attempt: number) => void) | undefined;
  /**
   * Learns what `deadLetter` failed with, and without a `deadLetter` what items failed
   * with for good. Default: the former is printed, the latter once a batch.
   */
  onError?: ((error: unknown) => void) | undefined;
  /** Gets what became of each batch. *lost* are those that failed for good and are delivered again, for lack of a `deadLetter` that took them. */
  onReport?:
    | ((report: ConsumeReport, batch: CloudflareBatch) => void)
    | undefined;
  /** Stops the batch now: what is not done is delivered again. */
  signal?: AbortSignal | undefined;
  /** Where time comes from. Default: the machine. */
  clock?: Clock | undefined;
  /** Where the jitter of retries comes from, from 0 to 1, 1 excluded. Default: `Math.random`. */
  random?: (() => number) | undefined;
}

/** What goes into the default export of a Worker as `queue`. */
export type QueueExport<Environment> = (
  batch: CloudflareBatch,
  environment: Environment,
  context?: unknown,
) => Promise<void>;

/** The options, or what makes them of the bindings of the Worker. */
export type QueueHandlerConfiguration<Options, Environment> =
  | Options
  | ((environment: Environment) => Options);

/**
 * Makes the `queue` export of a Worker of a handler for `consume`.
 *
 * - **Each message by itself.** It is acknowledged when its handler ends well, and
 *   delivered again when it fails, after the delay that `retry` says. One failure
 *   never stops the rest, nor has the rest delivered again.
 * - **Dead letters.** What failed as often as `retry` allows, with an
 *   `unrecoverable` error, cannot be decoded, or was delivered too often without an
 *   answer (it kills the Worker), goes to `deadLetter` with the reason.
 * - **Nothing is done by mistake.** What nobody has answered for when the batch is
 *   stopped is delivered again.
 * - **At least once.** Cloudflare may deliver a message twice, and does so with all
 *   of a call that it kills.
 *
 * Cloudflare counts each delivery, whatever became of it: also what was given back by a
 * stop, and all messages of a call that it killed, of which it does not tell the culprit.
 * Where a message may bring the Worker down, set `max_batch_size` of the consumer to 1.
 *
 * Set `max_retries` of the consumer to `retry.attempts` or more, or Cloudflare drops
 * the message, or moves it to its `dead_letter_queue`, before `deadLetter` gets it.
 *
 * The options may be a function of the bindings. It is called for each batch; where it
 * throws, all of the batch is delivered again. A handler that needs the bindings can
 * import them from `"cloudflare:workers"`. A `TypeError` or `RangeError` names what
 * cannot be used.
 *
 * @example A Worker that is pushed to
 * ```ts
 * import {
 *   type CloudflareDeadLetter,
 *   queueHandler,
 *   type QueueBinding,
 * } from "@highwater/queue/cloudflare";
 * import { assertEquals } from "@std/assert";
 *
 * async function visit(page: string, { signal }: { signal: AbortSignal }): Promise<void> {
 *   await Promise.resolve(signal); // fetch(page, { signal })
 *   if (page === "/broken") throw new Error("500");
 * }
 *
 * const worker = { // export default
 *   queue: queueHandler(visit, (env: { DEAD: QueueBinding }) => ({
 *     concurrency: 4,
 *     timeout: 5_000,
 *     retry: { attempts: 3, delay: 2_000, jitter: 0 },
 *     deadLetter: env.DEAD,
 *   })),
 * };
 *
 * const log: unknown[] = []; // what Cloudflare does
 * function message(body: string, attempts: number) {
 *   return {
 *     id: body,
 *     timestamp: new Date(),
 *     body,
 *     attempts,
 *     ack: () => void log.push(`${body} is done`),
 *     retry: (options?: { delaySeconds?: number }) => void log.push(options?.delaySeconds),
 *   };
 * }
 * const DEAD: QueueBinding = {
 *   send: (letter) => Promise.resolve(log.push((letter as CloudflareDeadLetter).reason)),
 *   sendBatch: () => Promise.resolve(),
 * };
 * await worker.queue({ queue: "pages", messages: [message("/", 1), message("/broken", 2)] }, { DEAD });
 * assertEquals(log, ["/ is done", 4]);
 * await worker.queue({ queue: "pages", messages: [message("/broken", 3)] }, { DEAD });
 * assertEquals(log.slice(2), ["failed", "/broken is done"]);
 * ```
 */
export function queueHandler<T, Environment = unknown>(
  handler: BatchHandler<T>,
  options: QueueHandlerConfiguration<
    QueueHandlerOptions<T> & { batch: BatchOptions },
    Environment
  >,
): QueueExport<Environment>;
/** With the items one by one. */
export function queueHandler<T, Environment = unknown>(
  handler: Handler<T>,
  options?: QueueHandlerConfiguration<
    QueueHandlerOptions<T> & { batch?: undefined },
    Environment
  >,
): QueueExport<Environment>;
export function queueHandler<T, Environment = unknown>(
  handler: Handler<T> | BatchHandler<T>,
  options: QueueHandlerConfiguration<QueueHandlerOptions<T>, Environment> = {},
): QueueExport<Environment> {
  checkFunction(ACTION, "handler", handler);
  if (typeof options !== "function") checkHandlerOptions(options);
  return async function queue(batch, environment): Promise<void> {
    if (typeof options !== "function") return work(batch, handler, options);
    const made = options(environment);
    refusePromise(ACTION, "the function that makes the options", made);
    checkHandlerOptions(made);
    await work(batch, handler, made);
  };
}

const ACTION = "handle a queue of Cloudflare";
const OWNER = "a queue handler";

/** A minute less than Cloudflare gives: what is given back late is worth nothing. */
const MAX_DURATION = 840_000;

async function work<T>(
  batch: CloudflareBatch,
  handler: Handler<T> | BatchHandler<T>,
  options: QueueHandlerOptions<T>,
): Promise<void> {
  const { clock = systemClock, retry = {}, onReport } = options;
  const { codec, deadLetter, onError } = options;
  const { attempts = 5 } = retry;
  const source = new BatchSource(batch, {
    clock,
    codec,
    attempts,
    deadLetter,
    onError: onError === undefined
      ? printing()
      : (error) => callOut(OWNER, "onError", onError, error),
  });
  const stop = new Stop(options, clock);
  try {
    const report = await run(source, handler, {
      ...consumeOptions(options),
      retry: { ...retry, attempts },
      signal: stop.signal,
    });
    if (onReport !== undefined) {
      callOut(OWNER, "onReport", onReport, report, batch);
    }
  } finally {
    stop.release();
    source.returnRest();
  }
}

function run<T>(
  source: BatchSource<T>,
  handler: Handler<T> | BatchHandler<T>,
  { batch, ...options }: ConsumeOptions<Parcel<T>>,
): Promise<ConsumeReport> {
  if (batch !== undefined) {
    const wrapped = ofParcels(handler as BatchHandler<T>);
    return consume(source, wrapped, { ...options, batch });
  }
  function open(parcel: Parcel<T>, context: ConsumeContext): unknown {
    parcel.attempts = context.attempt;
    return (handler as Handler<T>)(parcel.item, context);
  }
  return consume(source, open, options);
}

/** The handler gets what can be used; the rest has failed by itself. */
function ofParcels<T>(handler: BatchHandler<T>): BatchHandler<Parcel<T>> {
  return function open(parcels, context): unknown {
    const items: T[] = [];
    for (const parcel of parcels) {
      if (parcel.fault === undefined) items.push(parcel.item);
    }
    if (items.length === parcels.length) return handler(items, context);
    return beside(parcels, async () => {
      if (items.length === 0) return undefined;
      return failuresIn(await handler(items, context), items.length);
    });
  };
}

/** What became of all, with that of those that can be used. */
async function beside<T>(
  parcels: Parcel<T>[],
  work: () => Promise<(PromiseRejectedResult | undefined)[] | undefined>,
): Promise<unknown[]> {
  let failureAt: (index: number) => PromiseRejectedResult | undefined;
  try {
    const failures = await work();
    failureAt = (index) => failures?.[index];
  } catch (reason) {
    failureAt = () => ({ status: "rejected", reason });
  }
  let next = 0;
  return parcels.map(({ fault }) =>
    fault === undefined
      ? failureAt(next++) ?? DONE
      : { status: "rejected", reason: fault.error }
  );
}

const DONE: PromiseFulfilledResult<undefined> = {
  status: "fulfilled",
  value: undefined,
};

/** What `consume` is told. */
function consumeOptions<T>(
  options: QueueHandlerOptions<T>,
): ConsumeOptions<Parcel<T>> {
  const { keyOf, onOverrun } = options;
  return {
    concurrency: options.concurrency,
    timeout: options.timeout,
    grace: options.grace,
    readAhead: options.readAhead,
    batch: options.batch,
    clock: options.clock,
    random: options.random,
    // What holds no item has a key that nobody else has.
    keyOf: keyOf &&
      ((parcel) => parcel.fault === undefined ? keyOf(parcel.item) : parcel),
    onOverrun: onOverrun && ((parcel, attempt) => {
      if (parcel.fault === undefined) return onOverrun(parcel.item, attempt);
    }),
  };
}

/** Aborts by the signal of the options, and after the longest time of a batch. */
class Stop {
  readonly #controller: AbortController = new AbortController();
  readonly #clock: Clock;
  readonly #timer: unknown;
  readonly #outer: AbortSignal | undefined;
  readonly #stopped: () => void;

  constructor(
    { maxDuration = MAX_DURATION, signal }: {
      maxDuration?: number | undefined;
      signal?: AbortSignal | undefined;
    },
    clock: Clock,
  ) {
    this.#clock = clock;
    this.#outer = signal;
    this.#stopped = () => this.#controller.abort(signal!.reason);
    if (signal?.aborted === true) this.#stopped();
    else signal?.addEventListener("abort", this.#stopped);
    this.#timer = clock.setTimer(() => {
      this.#controller.abort(
        new DOMException(
          `The batch took longer than ${maxDuration} ms`,
          "TimeoutError",
        ),
      );
    }, maxDuration);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  release(): void {
    this.#clock.clearTimer(this.#timer);
    this.#outer?.removeEventListener("abort", this.#stopped);
  }
}

function checkHandlerOptions<T>(options: QueueHandlerOptions<T>): void {
  checkOptions(ACTION, options, {
    concurrency: true,
    retry: true,
    timeout: true,
    grace: true,
    maxDuration: true,
    deadLetter: true,
    codec: true,
    keyOf: true,
    readAhead: true,
    batch: true,
    onOverrun: true,
    onError: true,
    onReport: true,
    signal: true,
    clock: true,
    random: true,
  });
  const { deadLetter, onError, maxDuration, codec, onReport, ...shared } =
    options;
  checkConsumeOptions(shared);
  const { random = Math.random, clock } = options;
  // Checks what it is made of.
  new Retry(ACTION, options.retry, random);
  if (maxDuration !== undefined) {
    // For ever would be longer than the call may take.
    checkDelay(ACTION, "maxDuration", maxDuration, 1);
  }
  if (clock !== undefined) checkClock(ACTION, clock);
  if (codec !== undefined) checkCodec(ACTION, codec);
  if (deadLetter !== undefined) checkTarget(ACTION, deadLetter);
  checkCallbacks(ACTION, { onError, onReport });
}

/** The items of a batch mostly fail with the same: of them the first is printed. */
function printing(): (error: unknown, of: "target" | "item") => void {
  let failed = 0;
  return (error, of) => {
    if (of === "target") {
      console.error("A dead letter could not be sent", error);
    } else if (failed++ === 0) {
      console.error(
        "An item failed for good, and there is no deadLetter: Cloudflare " +
          "delivers it again, up to max_retries",
        error,
      );
    }
  };
}
