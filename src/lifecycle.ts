/**
 * How something opens, ends and fails: where it stands, the promises about that,
 * and who has to be told. What it does with its items and waiters is its own.
 *
 * @module
 */

import { QueueClosedError } from "./errors.ts";
import { deferred, FULFILLED, markHandled } from "./waiters.ts";
import type { Deferred } from "./waiters.ts";

/**
 * Where a queue stands; it only moves forward. `"closing"`: ended by `close`
 * or `fail`, with items left to take.
 */
export type QueueState = "open" | "closing" | "closed" | "errored";

/** With what something ended that did not end well. */
export interface Failure {
  readonly reason: unknown;
}

/** Learns that a queue takes nothing more: the streams that write into it. */
export interface QueueFollower {
  /** It was closed. */
  endedByQueue(): void;
  /** It has failed or was aborted. */
  erroredByQueue(reason: unknown, aborted: boolean): void;
}

/** Learns that a queue gives nothing more: the streams that read from it. */
export interface EndingView {
  ended(): void;
  errored(reason: unknown): void;
}

/**
 * The life of a queue. Each step is taken in two moves, so that user code runs
 * last: `close`, `abort` and `finish` change the state, `tell` lets everyone know
 * once the owner has put its own house in order.
 */
export class Lifecycle {
  /** How it is called in messages. */
  readonly called: string;
  state: QueueState = "open";
  /** Open, and nobody waits for room: a removal concerns nobody. */
  isCalm = true;
  /** Set by `fail` and `abort`. */
  failure: Failure | undefined = undefined;
  aborted = false;
  /** Somebody waits for room. */
  awaitsRoom = false;
  #ready: Deferred<void> | undefined = undefined;
  #closed: Deferred<void> | undefined = undefined;
  readonly #followers: Set<QueueFollower> = new Set();
  readonly #views: Set<EndingView> = new Set();

  constructor(kind: string, name = "") {
    this.called = name === ""
      ? `the ${kind}`
      : `the ${kind} ${JSON.stringify(name)}`;
  }

  /** Whether all is taken, or nothing will be: there is no way on from here. */
  get over(): boolean {
    return this.state === "closed" || this.state === "errored";
  }

  /** Why it has failed, which it has. */
  get reason(): unknown {
    return this.failure!.reason;
  }

  // -- The promises -------------------------------------------------------------

  /** Fulfilled with room or after `close`, pending without, rejected after a failure. */
  ready(hasRoom: boolean): Promise<void> {
    if (this.#ready !== undefined) return this.#ready.promise;
    const isOpen = this.state === "open";
    if (this.failure === undefined && (!isOpen || hasRoom)) return FULFILLED;
    this.#ready = deferred();
    markHandled(this.#ready.promise);
    if (this.failure !== undefined) this.#ready.reject(this.reason);
    else this.awaitsRoom = true;
    this.isCalm = false;
    return this.#ready.promise;
  }

  /** There is room again. */
  roomCame(): void {
    this.#ready?.resolve();
    this.#forgetReady();
  }

  /** Fulfilled once closed, rejected once errored. */
  get closed(): Promise<void> {
    if (this.#closed === undefined) {
      this.#closed = deferred();
      markHandled(this.#closed.promise);
      this.#settleClosed();
    }
    return this.#closed.promise;
  }

  /** Whether anybody has asked for `closed`. */
  get awaitsEnd(): boolean {
    return this.#closed !== undefined;
  }

  #settleClosed(): void {
    if (this.state === "closed") this.#closed?.resolve();
    if (this.state === "errored") this.#closed?.reject(this.reason);
  }

  #settleReady(): void {
    if (this.failure === undefined) this.#ready?.resolve();
    else this.#ready?.reject(this.reason);
    this.#forgetReady();
  }

  /** Who asks later is to hear what holds then: `abort` may follow upon `fail`. */
  #forgetReady(): void {
    this.#ready = undefined;
    this.awaitsRoom = false;
    this.isCalm = this.state === "open";
  }

  // -- The steps ----------------------------------------------------------------

  /** `close`, or `fail` with a failure: takes nothing more. False when it has ended already. */
  close(failure?: Failure): boolean {
    if (this.state !== "open") return false;
    this.state = "closing";
    this.failure = failure;
    this.#settleReady();
    return true;
  }

  /** Ends now. False when there is nothing left to end. */
  abort(reason: unknown): boolean {
    if (this.over) return false;
    this.state = "errored";
    this.aborted = true;
    this.failure = { reason };
    this.#settleReady();
    return true;
  }

  /** All is taken of what was closed or has failed. */
  finish(): void {
    this.state = this.failure === undefined ? "closed" : "errored";
  }

  // -- Who is told --------------------------------------------------------------

  /** Is told when nothing more is taken, at once if that is so already. */
  follow(follower: QueueFollower): void {
    this.#followers.add(follower);
    if (this.state !== "open") this.#tellFollowers();
  }

  unfollow(follower: QueueFollower): void {
    this.#followers.delete(follower);
  }

  /** Is told when all is over, at once if it is so already. */
  watch(view: EndingView): void {
    if (this.over) this.#tellView(view);
    else this.#views.add(view);
  }

  unwatch(view: EndingView): void {
    this.#views.delete(view);
  }

  /** Whether anybody watches. */
  get isWatched(): boolean {
    return this.#views.size > 0;
  }

  /** Tells everyone of the step that was taken. */
  tell(): void {
    this.#tellFollowers();
    if (!this.over) return;
    const views = [...this.#views];
    this.#views.clear();
    for (const view of views) this.#tellView(view);
    this.#settleClosed();
  }

  /** For the last time: who writes does not outlive the open state. */
  #tellFollowers(): void {
    const followers = [...this.#followers];
    this.#followers.clear();
    for (const follower of followers) {
      if (this.failure === undefined) follower.endedByQueue();
      else follower.erroredByQueue(this.reason, this.aborted);
    }
  }

  #tellView(view: EndingView): void {
    if (this.failure === undefined) view.ended();
    else view.errored(this.reason);
  }

  // -- Refusals -----------------------------------------------------------------

  /** What a put of the item is refused with. */
  refusal<T>(item: T): unknown {
    return this.aborted ? this.reason : this.notOpen("put", { item });
  }

  /** The error of whoever comes too late. */
  notOpen<T = unknown>(
    action: string,
    about: { item?: T } = {},
  ): QueueClosedError<T> {
    return new QueueClosedError<T>(
      `Cannot ${action}: ${this.called} must be open, ` +
        `received one that is ${this.state}`,
      this.failure === undefined ? about : { ...about, cause: this.reason },
    );
  }
}
