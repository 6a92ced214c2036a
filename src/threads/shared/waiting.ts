/**
 * Who waits at a handle, where that is not as at any other queue.
 *
 * @module
 */

import { Getter } from "../../taking.ts";
import { Putter } from "../../waiters.ts";
import { mayBlock } from "./lock.ts";

/** A put that blocks its thread. */
export class SyncPutter<T> extends Putter<T> {
  failure: { reason: unknown } | undefined = undefined;

  override reject(reason: unknown): void {
    this.failure = { reason };
  }
}

/** Waits for the first item of a batch, and then takes what else is there. */
export class FillingGetter<T> extends Getter<T> {
  constructor(
    resolve: (items: T[]) => void,
    reject: (reason: unknown) => void,
    max: number,
    fill: (items: T[]) => void,
  ) {
    super((item) => {
      const items = [item];
      if (max > 1) fill(items);
      resolve(items);
    }, reject);
    this.#resolve = resolve;
  }

  readonly #resolve: (items: T[]) => void;

  override end(): void {
    this.#resolve([]);
  }
}

/** Throws a `TypeError` on a thread that may not sleep. */
export function checkMayBlock(action: string): void {
  if (mayBlock()) return;
  throw new TypeError(
    `Cannot ${action}: the thread must be one that may block, ` +
      "received the main thread of a page",
  );
}
