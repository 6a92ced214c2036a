/**
 * How a consumer takes items: one at a time, when it asks, lent where the source
 * lends.
 *
 * @module
 */

import type { Delivery, DeliverySource, ReceiveOptions } from "../delivery.ts";
import { QueueClosedError } from "../errors.ts";
import { markHandled } from "../waiters.ts";
import { type Feed, open, type Source } from "./source.ts";

/** Who takes. It is called back once for each `ask()`, never before that returns. */
export interface IntakeOwner<T> {
  /** An item came; also one that was under way when the source was left. */
  arrived(item: T, delivery: Delivery<T> | undefined): void;
  /** There is nothing left. */
  ended(): void;
  /** The source has failed, or was left. */
  failed(reason: unknown): void;
}

/** A source under way. */
export interface Intake<T> {
  /** Takes what is there now, where that can be told at once. */
  take(): Delivery<T> | undefined;
  /** Asks for one item. */
  ask(): void;
  /** Wants nothing any more. A lending source knows by its signal. */
  leave(reason: unknown): void;
}

/** Whether the source lends its items. */
export function lends<T>(
  source: Source<T> | DeliverySource<T>,
): source is DeliverySource<T> {
  return typeof (source as Partial<DeliverySource<T>> | null)?.receive ===
    "function";
}

/** Starts to take. Asks for nothing yet. */
export function intakeOf<T>(
  source: Source<T> | DeliverySource<T>,
  owner: IntakeOwner<T>,
  signal: AbortSignal,
  visibility: number | undefined,
): Intake<T> {
  return lends(source)
    ? new DeliveryIntake(source, owner, signal, visibility)
    : new FeedIntake(open(source), owner);
}

/** A source that need not be waited for while it has something. */
interface PromptSource<T> extends DeliverySource<T> {
  tryReceive?(options?: ReceiveOptions): Delivery<T> | undefined;
}

class DeliveryIntake<T> implements Intake<T> {
  readonly #source: PromptSource<T>;
  readonly #isPrompt: boolean;
  readonly #options: { signal: AbortSignal; visibility?: number };
  readonly #arrived: (delivery: Delivery<T>) => void;
  readonly #failed: (reason: unknown) => void;

  constructor(
    source: DeliverySource<T>,
    owner: IntakeOwner<T>,
    signal: AbortSignal,
    visibility: number | undefined,
  ) {
    this.#source = source;
    this.#isPrompt = typeof this.#source.tryReceive === "function";
    this.#options = visibility === undefined
      ? { signal }
      : { signal, visibility };
    this.#arrived = (delivery) => owner.arrived(delivery.item, delivery);
    this.#failed = (reason) =>
      isEnd(reason) ? owner.ended() : owner.failed(reason);
  }

  take(): Delivery<T> | undefined {
    return this.#isPrompt ? this.#source.tryReceive!(this.#options) : undefined;
  }

  ask(): void {
    let delivered: Promise<Delivery<T>>;
    try {
      delivered = this.#source.receive(this.#options);
    } catch (reason) {
      delivered = Promise.reject(reason);
    }
    delivered.then(this.#arrived, this.#failed);
  }

  leave(): void {}
}

class FeedIntake<T> implements Intake<T> {
  readonly #feed: Feed<T>;
  readonly #stepped: (step: IteratorResult<T, unknown>) => void;
  readonly #failed: (reason: unknown) => void;

  constructor(feed: Feed<T>, owner: IntakeOwner<T>) {
    this.#feed = feed;
    this.#stepped = (step) =>
      step.done ? owner.ended() : owner.arrived(step.value, undefined);
    this.#failed = (reason) => owner.failed(reason);
  }

  take(): undefined {}

  ask(): void {
    this.#feed.next().then(this.#stepped, this.#failed);
  }

  leave(reason: unknown): void {
    markHandled(this.#feed.cancel(reason));
  }
}

/** By name as well: an engine may have been built with another copy of the class. */
function isEnd(reason: unknown): boolean {
  return reason instanceof QueueClosedError ||
    (reason instanceof Error && reason.name === "QueueClosedError");
}
