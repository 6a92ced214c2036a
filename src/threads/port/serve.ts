/**
 * A queue that is served on a port.
 *
 * @module
 */

import { wrongType } from "../../checks.ts";
import { isQueue, type Queue } from "../../queue.ts";
import type { PortLike, TransferableObject } from "../endpoint.ts";
import { packReason, unpackReason } from "../failure.ts";
import { checkPortOptions, type PortOptions } from "./options.ts";
import type { CheckedPortOptions } from "./options.ts";
import { brokenError, type PortClosedError, reportBroken } from "./errors.ts";
import {
  type ConnectionListener,
  PortConnection,
  type ServerConnection,
} from "./connection.ts";
import {
  type ClientFrame,
  type Frame,
  isClientFrame,
  verbOf,
} from "./frames.ts";
import { PortSession } from "./session.ts";

/** A queue on a port, until it is stopped. */
export interface ServedQueue extends AsyncDisposable {
  /** Whether somebody is connected. */
  readonly connected: boolean;
  /**
   * Serves no more. What was sent and not taken goes back to the head of the queue,
   * puts that wait here are refused, and the other side learns of it. The port stays
   * open. Fulfils at once.
   */
  stop(): Promise<void>;
  /** Keeps the process alive, as it does at first where a port can. */
  ref(): void;
  /** Does not keep the process alive. */
  unref(): void;
}

/**
 * Puts a queue on a port: whoever calls `connect` at the other end has a
 * `PortQueue` of it. The queue stays a queue of this thread, with any number of other
 * users, and may be served on any number of ports.
 *
 * - What was sent there is lent: it counts as taken here when it has reached a
 *   consumer there, and goes back to the head of the queue when that side leaves
 *   before, its thread dies, or its port is closed. With a port that just breaks
 *   off, an item that had reached its consumer in that moment is delivered again.
 * - `highWaterMark` is how many puts from there may be on their way or wait in the
 *   line of the queue. A credit goes out for each place that is free.
 * - An item that cannot be cloned is taken out and goes to `onUndelivered`, which
 *   prints it by default; those behind it go on. So is an item that was moved
 *   (`transfer`) to a thread that died.
 * - One connection at a time; a new one ends the one before.
 * - **Whatever is sent, nothing breaks here.** A side that breaks the protocol is
 *   disconnected: it is told why, and so is `onError`, which prints it by default.
 *
 * A served port keeps the process alive, see {@linkcode ServedQueue.unref}. Throws a
 * `TypeError` or `RangeError` that names the argument it cannot use.
 *
 * @example A queue with a thread at the other end
 * ```ts
 * import { Queue } from "@highwater/queue";
 * import { connect, serve } from "@highwater/queue/threads";
 * import { assertEquals } from "@std/assert";
 *
 * const { port1, port2 } = new MessageChannel(); // port2 goes to a worker
 * const tasks = new Queue<number>({ highWaterMark: 2 });
 * const served = serve(tasks, port1);
 *
 * const there = connect<number>(port2);
 * const working = (async () => {
 *   let sum = 0;
 *   for await (const task of there) sum += task;
 *   return sum;
 * })();
 * await tasks.putMany([1, 2, 3, 4]);
 * tasks.close();
 * assertEquals(await working, 10);
 * await served.stop();
 * port1.close();
 * port2.close();
 * ```
 */
export function serve<T>(
  queue: Queue<T>,
  port: PortLike,
  options: PortOptions<T> = {},
): ServedQueue {
  if (!isQueue<T>(queue)) {
    throw wrongType("serve", "queue must be a Queue", queue);
  }
  return new Service(
    queue,
    port,
    checkPortOptions("serve", port, options, 1),
  );
}

class Service<T> implements ServedQueue, ConnectionListener<ClientFrame> {
  readonly waits = undefined;
  readonly isFrame = isClientFrame;
  readonly #queue: Queue<T>;
  readonly #options: CheckedPortOptions<T>;
  readonly #wire: ServerConnection;
  #session: PortSession<T> | undefined = undefined;

  constructor(
    queue: Queue<T>,
    port: PortLike,
    options: CheckedPortOptions<T>,
  ) {
    this.#queue = queue;
    this.#options = options;
    this.#wire = new PortConnection("connected", { port, ...options }, this);
    this.#wire.say(["here"], "");
  }

  get connected(): boolean {
    return this.#session !== undefined;
  }

  stop(): Promise<void> {
    if (!this.#wire.stopped) {
      this.#wire.say(["gone"]);
      this.#endSession(false);
      this.#wire.stop();
    }
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  ref(): void {
    this.#wire.keepsAlive = true;
  }

  unref(): void {
    this.#wire.keepsAlive = false;
  }

  // -- What the other side says -------------------------------------------------

  addressed(session: string, frames: readonly unknown[]): readonly unknown[] {
    const isHello = verbOf(frames[0]) === "hello";
    if (session === this.#wire.session) return isHello ? [] : frames;
    if (isHello) {
      this.#begin(session);
      return frames.slice(1);
    }
    // Of a connection that ended already. Its goodbye needs no answer.
    const isGoodbye = frames.some((frame) => verbOf(frame) === "goodbye");
    if (!isGoodbye) this.#wire.say(["gone"], session);
    return [];
  }

  heard(frame: ClientFrame): string | undefined {
    if (frame[0] !== "goodbye") return this.#session?.heard(frame);
    const [, reason] = frame;
    if (reason === undefined) return void this.#leave();
    // The rule that was broken here is told there; whose fault it is, nobody knows.
    this.#end();
    this.#report(unpackReason(reason));
    return undefined;
  }

  /** The connection is over, here and there. */
  broken(rule: string): void {
    const error = brokenError("Cannot serve the other side", rule);
    const { session } = this.#wire;
    this.#end();
    this.#wire.say(["gone", packReason(error)], session);
    this.#report(error);
  }

  #report(error: unknown): void {
    reportBroken(this.#options.onError, error);
  }

  foreign(): void {
    // Answered in this version, which tells the other side.
    this.#wire.say(["gone"], "");
  }

  tend(): void {
    this.#session?.tend();
  }

  unsendable(frame: Frame, item: unknown, error: unknown): void {
    if (frame[0] === "items") {
      this.#session?.deliveries.unsendable(item as T, error);
    }
  }

  transferOf(item: unknown): TransferableObject[] {
    const moved = this.#options.transfer?.(item as T) ?? [];
    if (moved.length > 0) this.#session?.deliveries.moved(item as T);
    return moved;
  }

  closed(_reason: PortClosedError): void {
    this.#end();
  }

  #end(): void {
    void this.#endSession(false);
    this.#wire.shut();
    this.#wire.session = "";
  }

  // -- Connections --------------------------------------------------------------

  #begin(session: string): void {
    this.#endSession(false);
    this.#wire.shut();
    this.#wire.session = session;
    this.#session = new PortSession(this.#queue, this.#wire, this.#options);
    this.#wire.open();
  }

  /** The other side has said goodbye. */
  #leave(): void {
    const { session } = this.#wire;
    void this.#endSession(true)?.then(() => {
      // Unless another has come in the meantime.
      if (this.#wire.session !== session) return;
      this.#wire.flush(true);
      this.#wire.say(["bye"]);
      this.#wire.shut();
      this.#wire.session = "";
    });
  }

  #endSession(isHeard: boolean): Promise<void> | undefined {
    const ending = this.#session?.end(isHeard);
    this.#session = undefined;
    return ending;
  }
}
