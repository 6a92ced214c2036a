/**
 * What both sides of a queue on a port may be told.
 *
 * @module
 */

import {
  checkCallbacks,
  checkCount,
  checkString,
  type Complete,
  withDefaults,
} from "../../checks.ts";
import {
  checkClock,
  checkDelay,
  type Clock,
  systemClock,
} from "../../clock.ts";
import type { PortLike, TransferableObject } from "../endpoint.ts";
import { checkPort } from "../endpoint.ts";

/** Options of `serve` and `connect`. */
export interface PortOptions<T> {
  /** Which of several queues on one port; the same word on both sides. Default: "". */
  channel?: string | undefined;
  /** How many items may be on their way to this side and wait here. Default: 16. */
  highWaterMark?: number | undefined;
  /** What of an item is moved to the other side instead of copied. */
  transfer?: ((item: T) => TransferableObject[]) | undefined;
  /** Receives each item that reaches nobody, and why. Default: it is printed. */
  onUndelivered?: ((item: T, reason: unknown) => void) | undefined;
  /** Learns why the other side was disconnected, if it broke the protocol, or found that this one did. Default: a served queue prints it; of a connected one everything rejects with it. */
  onError?: ((error: unknown) => void) | undefined;
  /**
   * For how many milliseconds at most this side says nothing. After three of them
   * without a word from the other side the connection counts as closed. None unless
   * told: needed only where the runtime does not tell that a port was closed.
   */
  heartbeat?: number | undefined;
  /** Where time comes from, for the heartbeat and for lingering. Default: the machine. */
  clock?: Clock | undefined;
}

/** What has no default. */
type Bare = "transfer" | "onUndelivered" | "onError" | "heartbeat";

/** The options, checked and complete. */
export type CheckedPortOptions<T> = Complete<PortOptions<T>, Bare>;

/** Throws a `TypeError` or `RangeError` that names what cannot be used. */
export function checkPortOptions<T>(
  action: string,
  port: PortLike,
  options: PortOptions<T>,
  leastHighWaterMark: number,
): CheckedPortOptions<T> {
  checkPort(action, "port", port);
  const checked = withDefaults<PortOptions<T>, Bare>(action, options, {
    channel: "",
    highWaterMark: 16,
    transfer: undefined,
    onUndelivered: undefined,
    onError: undefined,
    heartbeat: undefined,
    clock: systemClock,
  });
  const { highWaterMark, transfer, onUndelivered, onError, heartbeat } =
    checked;
  checkString(action, "channel", checked.channel);
  checkCount(action, "highWaterMark", highWaterMark, leastHighWaterMark);
  checkCallbacks(action, { transfer, onUndelivered, onError });
  if (heartbeat !== undefined) checkDelay(action, "heartbeat", heartbeat, 1);
  checkClock(action, checked.clock);
  return checked;
}
