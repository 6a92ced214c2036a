/**
 * What goes wrong with a port, and with the items on it.
 *
 * @module
 */

import { callOut } from "../../callbacks.ts";
import { carryItem } from "../../errors.ts";

/**
 * The other side of a port is gone: the port was closed, the thread has ended, or
 * nothing was heard of it for too long.
 *
 * On a put, `item` is the item. One that was on its way may have been accepted
 * just before: nobody is there any more to ask.
 *
 * @example A port that is closed
 * ```ts
 * import { connect, PortClosedError } from "@highwater/queue/threads";
 * import { assert } from "@std/assert";
 *
 * const { port1, port2 } = new MessageChannel();
 * const queue = connect<string>(port1, { heartbeat: 1000 });
 * const error: unknown = new PortClosedError("Cannot put: ...", { item: "task" });
 * assert(error instanceof PortClosedError && error.item === "task");
 * await queue.disconnect();
 * port1.close();
 * port2.close();
 * ```
 */
export class PortClosedError<T = unknown> extends Error {
  /** The item of a put; absent when the call had none. */
  declare readonly item?: T;

  /** Makes the error; connected queues do this for you. */
  constructor(message: string, options: { item?: T; cause?: unknown } = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.name = "PortClosedError";
    if ("item" in options) carryItem(this, options.item);
  }

  /** The same for a put. */
  withItem<U>(item: U): PortClosedError<U> {
    const { message, cause } = this;
    const options = cause === undefined ? { item } : { item, cause };
    return new PortClosedError(message, options);
  }
}

/** Reports an item that reaches nobody; without a handler it is printed. */
export function reportUndelivered<T>(
  onUndelivered: ((item: T, reason: unknown) => void) | undefined,
  item: T,
  reason: unknown,
): void {
  if (onUndelivered === undefined) {
    return console.error("An item on a port reaches nobody", item, reason);
  }
  callOut("a queue on a port", "onUndelivered", onUndelivered, item, reason);
}

/** What the other side is disconnected with that broke a rule of the protocol. */
export function brokenError(action: string, rule: string): PortClosedError {
  return new PortClosedError(
    `${action}: it must keep to the protocol, received a message that does ` +
      `not (${rule})`,
  );
}

/** Reports a connection that ended because one side broke the protocol; without a handler it is printed. */
export function reportBroken(
  onError: ((error: unknown) => void) | undefined,
  error: unknown,
): void {
  if (onError === undefined) {
    return console.error("The other side of a port was disconnected", error);
  }
  callOut("a queue on a port", "onError", onError, error);
}
