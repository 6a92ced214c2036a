/**
 * What handles on engines may be told of putting, and what is made of it.
 *
 * @module
 */

import {
  checkCallbacks,
  checkLimit,
  checkWord,
  type Names,
} from "../../checks.ts";
import { checkClock, type Clock, systemClock } from "../../clock.ts";
import { checkCodec, type Codec } from "../../codec.ts";
import { Connection } from "./connection.ts";
import type { PuttingDriver } from "./driver.ts";
import { Outbox } from "./outbox.ts";

/** What every handle that puts may be told. */
export interface PuttingOptions<T> {
  /** How items become bytes. Default: `json()`. */
  codec?: Codec<T> | undefined;
  /** Items of one key stay in order, where the engine can do that. */
  keyOf?: ((item: T) => string) | undefined;
  /**
   * What travels beside an item, words by name: `Delivery.headers`. Asked when it
   * is put, by whatever road. Handles of older versions cannot read an item that
   * has some. Default: nothing.
   */
  headersOf?:
    | ((item: T) => Readonly<Record<string, string>> | undefined)
    | undefined;
  /** How many puts of this handle may be without an answer before streams and `putMany` are told to wait. Default: 1024. */
  highWaterMark?: number | undefined;
  /** What a full engine means for a put: it waits (`"wait"`) or rejects with `QueueFullError`. Default: `"wait"`. */
  overflow?: "wait" | "reject" | undefined;
  /** What an engine that cannot be reached means for a put: it waits for it (`"wait"`) or rejects. Default: `"wait"`. */
  offline?: "wait" | "reject" | undefined;
  /** Learns of each word with the engine that failed. Without it the first failure of each kind that is waited out is printed. */
  onError?: ((error: unknown) => void) | undefined;
  /** Where the time of this process comes from. Default: the machine. */
  clock?: Clock | undefined;
}

/** The names of those that make sense on every engine. */
export const PUTTING_OPTIONS: Names<
  Omit<PuttingOptions<never>, "keyOf" | "headersOf">
> = {
  codec: true,
  highWaterMark: true,
  overflow: true,
  offline: true,
  onError: true,
  clock: true,
};

/** Throws unless a handle can put with them. */
export function checkPuttingOptions<T>(
  action: string,
  options: PuttingOptions<T>,
): void {
  const { highWaterMark, codec, clock } = options;
  if (highWaterMark !== undefined) {
    checkLimit(action, "highWaterMark", highWaterMark, 1);
  }
  for (const name of ["overflow", "offline"] as const) {
    const value = options[name];
    if (value !== undefined) checkWord(action, name, value, ["wait", "reject"]);
  }
  const { keyOf, headersOf, onError } = options;
  checkCallbacks(action, { keyOf, headersOf, onError });
  if (codec !== undefined) checkCodec(action, codec);
  if (clock !== undefined) checkClock(action, clock);
}

/** The way to an engine, and what is put on it. */
export function outboxTo<T, D extends PuttingDriver>(
  driver: D,
  name: string,
  options: PuttingOptions<T>,
): { connection: Connection<D>; outbox: Outbox<T> } {
  const {
    highWaterMark = 1024,
    overflow = "wait",
    offline = "wait",
    onError,
    clock = systemClock,
  } = options;
  const connection = new Connection(driver, { name, clock, onError });
  const outbox = new Outbox<T>(connection, {
    highWaterMark,
    overflow,
    offline,
  });
  return { connection, outbox };
}
