/**
 * How a consumer takes items: one at a time, when it asks, lent where the source
 * lends.
 *
 * @module
 */

import type {
  Delivery,
  DeliverySource,
  ReceiveOptions,
} from "../../delivery.ts";
import { QueueClosedError } from "../../errors.ts";
import { markHandled } from "../../waiters.ts";
import { type Feed, open, type Source } from "../source.ts";

/** Who takes. It is called back once for each `ask()`, never before that returns. */
export interface IntakeOwner<T> {
  /** An item came; also one that was under way when the source was left. */
  arrived(item: T, delivery: Delivery<T> | undefined): void;
  /** There is nothing left. */
  ended(): void;
  /** The source has failed, or was left. */
  failed(reason: unknown): void;
  /** Nothing was asked, but an answer would tell of an end now. Called back once, after `mayHaveEnded` was false. */
  endCame(): void;
}

/** A source under way. */
export abstract class Intake<T> {
  /** An answer is due. */
  isAsked = false;
  readonly #owner: IntakeOwner<T>;
  readonly #end: SourceEnd;

  constructor(source: object, owner: IntakeOwner<T>) {
    this.#owner = owner;
    this.#end = new SourceEnd(source, owner);
  }

  /** Takes what is there now, where that can be told at once. */
  abstract take(): Delivery<T> | undefined;

  /** Asks for one item. */
  abstract ask(): void;

  /**
   * Whether to ask is the way to learn of an end: always, unless the source tells
   * by itself, as a queue does with `closed`. Then true once it has.
   */
  mayHaveEnded(): boolean {
    return this.#end.mayHaveCome();
  }

  /** Wants nothing any more. A lending source knows by its signal. */
  leave(_reason: unknown): void {
    this.#end.forget();
  }

  protected arrived(item: T, delivery: Delivery<T> | undefined): void {
    this.isAsked = false;
    this.#owner.arrived(item, delivery);
  }

  protected ended(): void {
    this.isAsked = false;
    this.#owner.ended();
  }

  protected failed(reason: unknown): void {
    this.isAsked = false;
    this.#owner.failed(reason);
  }
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
    : new FeedIntake(source, owner);
}

/** A source that need not be waited for while it has something. */
interface PromptSource<T> extends DeliverySource<T> {
  tryReceive?(options?: ReceiveOptions): Delivery<T> | undefined;
}

class DeliveryIntake<T> extends Intake<T> {
  readonly #source: PromptSource<T>;
  readonly #isPrompt: boolean;
  readonly #options: ReceiveOptions;
  readonly #arrived: (delivery: Delivery<T>) => void;
  readonly #failed: (reason: unknown) => void;

  constructor(
    source: PromptSource<T>,
    owner: IntakeOwner<T>,
    signal: AbortSignal,
    visibility: number | undefined,
  ) {
    super(source, owner);
    this.#source = source;
    this.#isPrompt = typeof source.tryReceive === "function";
    this.#options = visibility === undefined
      ? { signal }
      : { signal, visibility };
    this.#arrived = (delivery) => this.arrived(delivery.item, delivery);
    this.#failed = (reason) =>
      isEnd(reason) ? this.ended() : this.failed(reason);
  }

  take(): Delivery<T> | undefined {
    return this.#isPrompt ? this.#source.tryReceive!(this.#options) : undefined;
  }

  ask(): void {
    this.isAsked = true;
    let delivered: Promise<Delivery<T>>;
    try {
      delivered = this.#source.receive(this.#options);
    } catch (reason) {
      delivered = Promise.reject(reason);
    }
    delivered.then(this.#arrived, this.#failed);
  }
}

class FeedIntake<T> extends Intake<T> {
  readonly #feed: Feed<T>;
  readonly #stepped: (step: IteratorResult<T, unknown>) => void;
  readonly #failed: (reason: unknown) => void;

  constructor(source: Source<T>, owner: IntakeOwner<T>) {
    super(source, owner);
    this.#feed = open(source);
    this.#stepped = (step) =>
      step.done ? this.ended() : this.arrived(step.value, undefined);
    this.#failed = (reason) => this.failed(reason);
  }

  take(): undefined {}

  ask(): void {
    this.isAsked = true;
    this.#feed.next().then(this.#stepped, this.#failed);
  }

  override leave(reason: unknown): void {
    super.leave(reason);
    markHandled(this.#feed.cancel(reason));
  }
}

/** The end of a source, as far as the source tells of it by itself. */
class SourceEnd {
  readonly #source: { readonly closed?: unknown };
  readonly #tell: () => void;
  #followers: Set<() => void> | undefined = undefined;
  #came = false;

  constructor(source: object, owner: { endCame(): void }) {
    this.#source = source;
    this.#tell = () => {
      this.#came = true;
      owner.endCame();
    };
  }

  mayHaveCome(): boolean {
    if (this.#followers !== undefined || this.#came) return this.#came;
    if (!tellsItsEnd(this.#source)) return true;
    this.#followers = followersOf(this.#source).add(this.#tell);
    return false;
  }

  forget(): void {
    this.#followers?.delete(this.#tell);
  }
}

/** What a queue has, wherever it is: `closed` of anything else may mean anything else. */
function tellsItsEnd(
  source: object,
): source is { readonly closed: Promise<unknown> } {
  const { closed, receive, tryGet } = source as {
    closed?: Partial<Promise<unknown>>;
    receive?: unknown;
    tryGet?: unknown;
  };
  return typeof closed?.then === "function" &&
    (typeof receive === "function" || typeof tryGet === "function");
}

/** One waits for all: a promise never forgets who does, and a queue may outlive many runs. */
function followersOf(
  source: { readonly closed: Promise<unknown> },
): Set<() => void> {
  const known = followersBySource.get(source);
  if (known !== undefined) return known;
  const followers = new Set<() => void>();
  followersBySource.set(source, followers);
  const tell = (): void => {
    followersBySource.delete(source);
    for (const follower of followers) follower();
  };
  source.closed.then(tell, tell);
  return followers;
}

const followersBySource: WeakMap<object, Set<() => void>> = new WeakMap();

/** By name as well: an engine may have been built with another copy of the class. */
function isEnd(reason: unknown): boolean {
  return reason instanceof QueueClosedError ||
    (reason instanceof Error && reason.name === "QueueClosedError");
}
