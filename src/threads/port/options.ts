/**
 * What both sides of a queue on a port may be told.
 *
 * @module
 */

import { checkCount, checkFunction, checkOptions } from "../../checks.ts";
import {
  checkClock,
  checkDelay,
  type Clock,
  systemClock,
} from "../../clock.ts";
import { received } from "../../errors.ts";
import type { PortLike, TransferableObject } from "../endpoint.ts";
import { checkPort } from "../endpoint.ts";

/** Options of `serve` and `connect`. */
export interface PortOptions<T> {
  /** Which of several queues on one port; the same word on both sides, "" unless told. */
  channel?: string | undefined;
  /** How many items may be on their way to this side and wait here; 16 unless told. */
  highWaterMark?: number | undefined;
  /** What of an item is moved to the other side instead of copied. */
  transfer?: ((item: T) => TransferableObject[]) | undefined;
  /** Receives each item that reaches nobody, and why; it is printed unless told. */
  onUndelivered?: ((item: T, reason: unknown) => void) | undefined;
  /** Learns why the other side was disconnected, if it broke the protocol, or found that this one did. A served queue prints it unless told; of a connected one everything rejects with it. */
  onError?: ((error: unknown) => void) | undefined;
  /**
   * For how many milliseconds at most this side says nothing. After three of them
   * without a word from the other side the connection counts as closed. None unless
   * told: needed only where the runtime does not tell that a port was closed.
   */
  heartbeat?: number | undefined;
  /** Where time comes from, for the heartbeat and for lingering; the machine unless told. */
  clock?: Clock | undefined;
}

/** The options, checked and complete. */
export interface CheckedPortOptions<T> {
  channel: string;
  highWaterMark: number;
  transfer: ((item: T) => TransferableObject[]) | undefined;
  onUndelivered: ((item: T, reason: unknown) => void) | undefined;
  onError: ((error: unknown) => void) | undefined;
  heartbeat: number | undefined;
  clock: Clock;
}

/** Throws a `TypeError` or `RangeError` that names what cannot be used. */
export function checkPortOptions<T>(
  action: string,
  port: PortLike,
  options: PortOptions<T>,
  leastHighWaterMark: number,
): CheckedPortOptions<T> {
  checkPort(action, "port", port);
  checkOptions(action, options, {
    channel: true,
    highWaterMark: true,
    transfer: true,
    onUndelivered: true,
    onError: true,
    heartbeat: true,
    clock: true,
  });
  const {
    channel = "",
    highWaterMark = 16,
    transfer,
    onUndelivered,
    onError,
    heartbeat,
    clock = systemClock,
  } = options;
  if (typeof channel !== "string") {
    throw new TypeError(
      `Cannot ${action}: channel must be a string, received ${
        received(channel)
      }`,
    );
  }
  checkCount(action, "highWaterMark", highWaterMark, leastHighWaterMark);
  if (transfer !== undefined) checkFunction(action, "transfer", transfer);
  if (onUndelivered !== undefined) {
    checkFunction(action, "onUndelivered", onUndelivered);
  }
  if (onError !== undefined) checkFunction(action, "onError", onError);
  if (heartbeat !== undefined) checkDelay(action, "heartbeat", heartbeat, 1);
  checkClock(action, clock);
  return {
    channel,
    highWaterMark,
    transfer,
    onUndelivered,
    onError,
    heartbeat,
    clock,
  };
}
