/**
 * A queue on an engine: what all adapters share.
 *
 * @module
 */

import { checkCount, checkLimit, type Names, wrongType } from "../../checks.ts";
import { checkDelay } from "../../clock.ts";
import { json } from "../../codec.ts";
import type { Delivery, ReceiveOptions } from "../../delivery.ts";
import { QueueReadable } from "../../views/readable.ts";
import { signalOf } from "../../waiters.ts";
import type { Driver, Message } from "./driver.ts";
import type {
  EngineQueue,
  EngineStats,
  ReceiveManyOptions,
} from "./engine_queue.ts";
import { Inbox } from "./inbox.ts";
import type { Connection } from "./connection.ts";
import type { Outbox } from "./outbox.ts";
import { PuttingHandle } from "./putting.ts";
import {
  checkPuttingOptions,
  outboxTo,
  PUTTING_OPTIONS,
  type PuttingOptions,
} from "./putting_options.ts";

/** What every queue on an engine may be told. */
export interface EngineHandleOptions<T> extends PuttingOptions<T> {
  /** How many deliveries may be fetched early, for a consumer that takes fast. Default: 32, 0 for none. */
  prefetch?: number | undefined;
  /** For how many milliseconds an item is lent unless `receive` says so. Default: 30,000. */
  visibility?: number | undefined;
  /** After how many attempts an item goes to the dead letters. Default: 5. An attempt is a delivery that failed, or that was worked on alone and nobody answered for; what was lent beside others in a process that died counts once, if it is the first that happens to the item, and is worked on alone then. */
  attempts?: number | undefined;
}

/** The names of all of them. */
export const ENGINE_OPTIONS: Names<EngineHandleOptions<never>> = {
  ...PUTTING_OPTIONS,
  keyOf: true,
  headersOf: true,
  prefetch: true,
  visibility: true,
  attempts: true,
};

/** A queue on an engine, as one process sees it: an {@linkcode EngineQueue}. */
export class EngineHandle<T, M extends Message> extends PuttingHandle<T>
  implements EngineQueue<T> {
  /** The name of the queue. */
  readonly name: string;
  /** For how many milliseconds an item is lent unless `receive` says so. */
  readonly visibility: number;
  /** After how many attempts an item goes to the dead letters. */
  readonly attempts: number;
  readonly #connection: Connection<Driver<M>>;
  readonly #outbox: Outbox<T>;
  readonly #inbox: Inbox<T, M>;
  #readable: ReadableStream<Delivery<T>> | undefined = undefined;

  /** Made by the queues of the engines, each with its driver. */
  constructor(
    name: string,
    driver: Driver<M>,
    options: EngineHandleOptions<T> = {},
  ) {
    checkHandleOptions(name, options);
    const {
      codec = json<T>(),
      prefetch = 32,
      visibility = 30_000,
      attempts = 5,
    } = options;
    const { connection, outbox } = outboxTo(driver, name, options);
    const inbox = new Inbox(connection, {
      codec,
      prefetch,
      visibility,
      attempts,
    });
    super(outbox, { ...options, codec }, inbox);
    this.name = name;
    this.visibility = visibility;
    this.attempts = attempts;
    this.#connection = connection;
    this.#outbox = outbox;
    this.#inbox = inbox;
  }

  /** The deliveries as a stream, each to be acknowledged by whoever reads it. Cancelling it leaves the queue and the items alone. */
  get readable(): ReadableStream<Delivery<T>> {
    return this.#readable ??= new QueueReadable(this.#inbox);
  }

  /**
   * Lends the next item, and waits for one while there is none. Rejects with
   * `QueueClosedError` once this handle is closed, with the signal's reason, and with
   * the words of the engine when it refuses for good; nothing was taken then.
   *
   * An item that comes back from somebody who never answered is lent alone: once all
   * that is lent here has been answered for, and nothing else is lent here until it
   * is. Who holds items for longer than `visibility` gets it beside them.
   */
  receive(options?: ReceiveOptions): Promise<Delivery<T>> {
    try {
      const signal = signalOf("receive", options);
      return this.#inbox.receive(
        signal,
        visibilityOf("receive", options),
      );
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Lends what is here now, if anything is; for `consume`, which need not wait then. */
  tryReceive(options?: ReceiveOptions): Delivery<T> | undefined {
    return this.#inbox.tryReceive(visibilityOf("receive", options));
  }

  /** Lends from 1 to `max` items, and waits for the first; none once this handle is closed. */
  receiveMany(
    max: number,
    options?: ReceiveManyOptions,
  ): Promise<Delivery<T>[]> {
    try {
      checkLimit("receive many", "max", max, 1);
      const signal = signalOf("receive many", options, {
        signal: true,
        visibility: true,
        linger: true,
      });
      const linger = options?.linger ?? 0;
      checkDelay("receive many", "linger", linger);
      return this.#inbox.receiveMany(
        max,
        signal,
        visibilityOf("receive many", options),
        linger,
      );
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Asks the engine how the queue is doing. Rejects when it cannot be reached. */
  async stats(): Promise<EngineStats> {
    const measures = await this.#connection.attempt((driver) =>
      driver.measure()
    );
    return Object.freeze({
      name: this.name,
      ...measures,
      put: this.#outbox.accepted,
      taken: this.#inbox.deliveredCount,
      waitingPuts: this.#outbox.length,
      unacked: this.#inbox.unacked,
      failure: this.#connection.failure?.error,
    });
  }
}

function checkHandleOptions<T>(
  name: unknown,
  options: EngineHandleOptions<T>,
): void {
  const action = "open a queue on an engine";
  if (typeof name !== "string" || name === "") {
    throw wrongType(action, "name must be a string that is not empty", name);
  }
  checkPuttingOptions(action, options);
  const { prefetch, attempts } = options;
  if (prefetch !== undefined) checkCount(action, "prefetch", prefetch, 0);
  if (attempts !== undefined) checkLimit(action, "attempts", attempts, 1);
  visibilityOf(action, options);
}

/** A time that an item can be lent for; engines know no "for ever". */
function visibilityOf(
  action: string,
  options: { visibility?: number | undefined } | undefined,
): number | undefined {
  const visibility = options?.visibility;
  if (visibility !== undefined) {
    checkDelay(action, "visibility", visibility, 1);
  }
  return visibility;
}
