/**
 * The worker's side of a pool.
 *
 * @module
 */

import { isThenable } from "../../callbacks.ts";
import { checkFunction, wrongType } from "../../checks.ts";
import { Claims } from "./claims.ts";
import { Endpoint, type TransferableObject } from "../endpoint.ts";
import { packReason, unpackReason } from "../failure.ts";
import { isBegin, VERSION } from "./messages.ts";
import type {
  Abort,
  Begin,
  FromWorker,
  Ready,
  SentTask,
  ToWorker,
} from "./messages.ts";
import { parentOfThread } from "./thread.ts";

/** What a handler learns about its task. */
export interface WorkContext {
  /** Aborts when the signal given to `run()` does, with its reason. A handler that never lets go of its thread does not see it. */
  readonly signal: AbortSignal;
  /** How many times the task was begun, this time included; from 1. More than 1 after a crash. */
  readonly attempt: number;
}

/** Does a task. */
export type WorkHandler<T, R> = (
  task: T,
  context: WorkContext,
) => R | Transferred<R> | Promise<R | Transferred<R>>;

/** The tasks of a handler, `TaskOf<typeof handler>`; anything that is no function is the tasks themselves. */
export type TaskOf<W> = [W] extends
  [(task: infer T, ...more: never[]) => unknown] ? T
  : W;

/** The results of a handler; unknown of anything that is no function. */
export type ResultOf<W> = [W] extends [(...given: never[]) => infer R]
  ? Awaited<R> extends infer A ? A extends Transferred<infer M> ? M : A : never
  : unknown;

/** A result with parts that are moved and not copied, see {@linkcode transferred}. */
export class Transferred<R> {
  /** The result. */
  readonly result: R;
  /** The parts of it that are moved. */
  readonly transfer: readonly TransferableObject[];

  /** Use {@linkcode transferred}. */
  constructor(result: R, transfer: readonly TransferableObject[]) {
    this.result = result;
    this.transfer = transfer;
  }
}

/**
 * For a handler to return: `result`, whose parts listed in `transfer` are moved to
 * the pool's thread and not copied. They are gone here. Throws a `TypeError` when
 * `transfer` is no array.
 *
 * @example A buffer that is not copied
 * ```ts
 * import { transferred } from "@highwater/queue/threads";
 * import { assertEquals } from "@std/assert";
 *
 * function zeros(length: number) {
 *   const bytes = new Uint8Array(length);
 *   return transferred(bytes, [bytes.buffer]);
 * }
 *
 * assertEquals(zeros(3).result.length, 3); // in a worker: work(zeros)
 * ```
 */
export function transferred<R>(
  result: R,
  transfer: readonly TransferableObject[],
): Transferred<R> {
  if (!Array.isArray(transfer)) {
    throw wrongType("transfer", "transfer must be an array", transfer);
  }
  return new Transferred(result, transfer);
}

/**
 * Makes this worker do the tasks of the `WorkerPool` that has started it. Call it
 * once, at the top of the worker's module; what comes before it may take its time.
 *
 * The handler gets a task at a time (or as many as the pool's `concurrency`) and
 * its result goes back when it returns or its promise fulfils. What it throws
 * rejects the promise of that one task, with name, message, stack and cause; so
 * does a result that cannot be cloned. An error that nobody catches, outside of a
 * handler, is a crash: the pool replaces the worker.
 *
 * Throws a `TypeError` when `handler` is no function or this is no worker. Returns the
 * handler, whose type is all that a pool needs to know of its worker.
 *
 * @example A worker, and its pool in another file
 * ```ts ignore
 * // hash_worker.ts
 * import { work } from "@highwater/queue/threads";
 *
 * export async function hash(text: string): Promise<ArrayBuffer> {
 *   return await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
 * }
 *
 * work(hash);
 *
 * // main.ts
 * import { WorkerPool } from "@highwater/queue/threads";
 *
 * const url = new URL("./hash_worker.ts", import.meta.url);
 * await using pool = new WorkerPool<typeof import("./hash_worker.ts").hash>(url);
 * const digest = await pool.run("some text"); // an ArrayBuffer
 * ```
 */
export function work<T, R>(handler: WorkHandler<T, R>): WorkHandler<T, R> {
  checkFunction("work", "handler", handler);
  const parent = new Endpoint(parentOfThread("work"), {
    message(data) {
      if (!isBegin(data)) return;
      parent.stop();
      new Bench(handler as WorkHandler<unknown, unknown>, data);
    },
    closed() {},
    failed() {},
  });
  // Before this nobody may be listening here, and a message would be lost.
  const ready: Ready = { highwater: "ready", version: VERSION };
  parent.post(ready);
  return handler;
}

/** Where the tasks of a worker lie, and are done. */
class Bench {
  readonly #handler: WorkHandler<unknown, unknown>;
  readonly #concurrency: number;
  readonly #claims: Claims | undefined;
  readonly #port: Endpoint;
  readonly #waiting: SentTask[] = [];
  readonly #calls: Map<number, RunningTask> = new Map();

  constructor(handler: WorkHandler<unknown, unknown>, begin: Begin) {
    const { port, claims, concurrency } = begin;
    this.#handler = handler;
    this.#concurrency = concurrency;
    this.#claims = claims === undefined ? undefined : new Claims(claims);
    this.#port = new Endpoint(port, {
      message: (data) => this.#heard(data as ToWorker),
      closed() {},
      failed() {},
    });
  }

  #heard(message: ToWorker): void {
    if (isAbort(message)) return this.#abort(message);
    this.#waiting.push(...message);
    this.#beginWaiting();
  }

  #abort({ cell, ticket, reason }: Abort): void {
    const call = this.#calls.get(cell);
    if (call?.sent.ticket === ticket) call.abort(unpackReason(reason));
  }

  #beginWaiting(): void {
    while (this.#calls.size < this.#concurrency) {
      const sent = this.#waiting.shift();
      if (sent === undefined) return;
      if (this.#claims?.begin(sent.cell, sent.ticket) ?? true) {
        this.#begin(sent);
      }
    }
  }

  #begin(sent: SentTask): void {
    const call = new RunningTask(sent);
    this.#calls.set(sent.cell, call);
    try {
      const result = (0, this.#handler)(sent.task, call);
      if (isThenable(result)) return void this.#wait(call, result);
      this.#succeeded(call, result);
    } catch (error) {
      this.#failed(call, error);
    }
  }

  async #wait(call: RunningTask, result: PromiseLike<unknown>): Promise<void> {
    try {
      this.#succeeded(call, await result);
    } catch (error) {
      this.#failed(call, error);
    }
    this.#beginWaiting();
  }

  /** At once, and not together with the next: that may be waiting for what follows from this one. */
  #succeeded({ sent: { cell } }: RunningTask, result: unknown): void {
    if (result instanceof Transferred) {
      this.#answer({ cell, result: result.result }, [...result.transfer]);
    } else this.#answer({ cell, result });
  }

  #failed(call: RunningTask, error: unknown): void {
    const { cell } = call.sent;
    const aborted = call.wasAbortedBy(error);
    this.#answer({ cell, error: packReason(error), aborted });
  }

  #answer(answer: FromWorker, transfer?: TransferableObject[]): void {
    this.#port.post(answer, transfer);
    this.#calls.delete(answer.cell);
  }
}

/** A task under way. Its signal is made when the handler asks for it. */
class RunningTask implements WorkContext {
  readonly sent: SentTask;
  #controller: AbortController | undefined = undefined;
  #aborted: { reason: unknown } | undefined = undefined;

  constructor(sent: SentTask) {
    this.sent = sent;
  }

  get attempt(): number {
    return this.sent.attempt;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted !== undefined) {
        this.#controller.abort(this.#aborted.reason);
      }
    }
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.#aborted = { reason };
    this.#controller?.abort(reason);
  }

  wasAbortedBy(error: unknown): boolean {
    return this.#aborted !== undefined &&
      Object.is(this.#controller?.signal.reason, error);
  }
}

function isAbort(message: ToWorker): message is Abort {
  return !Array.isArray(message);
}
