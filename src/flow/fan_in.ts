/**
 * Many sources in one stream: what `merge`, `mergeSorted` and `zip` have in common.
 *
 * @module
 */

import { allOf } from "../errors.ts";
import { Queue } from "../queue.ts";
import { Abortion, markHandled, Waiter } from "../waiters.ts";
import { readableOnDemand, type Supplier } from "./demand.ts";
import type { Feed, SourceErrorPolicy, SourceReader } from "./source.ts";

/**
 * Sources that are asked while somebody wants something of them, the stream that
 * their items go into, and how it ends. What one kind does with the items, and when
 * it asks for more, is for its own class to say.
 */
export abstract class FanIn<T> implements Supplier {
  readonly readable: ReadableStream<T>;
  /** Unbounded: a bound is kept before a source is asked. */
  readonly queue: Queue<T> = new Queue<T>({ highWaterMark: Infinity });
  /** Those that have neither ended nor failed. */
  readonly inputs: Set<Input> = new Set();
  readonly onError: SourceErrorPolicy;
  readonly #errors: unknown[] = [];
  #abortion: Abortion | undefined = undefined;
  #asking = false;

  constructor(onError: SourceErrorPolicy) {
    this.onError = onError;
    this.readable = readableOnDemand(this.queue, this);
  }

  /** Whether there is something to ask for. */
  abstract mayAsk(): boolean;
  /** Asks for it. A source that answers at once does so within. */
  abstract ask(): void;
  /** A source has answered. */
  abstract received(input: Input, item: unknown): void;

  /** Called once the first sources have come in. Without any it ends. */
  start(signal?: AbortSignal): void {
    this.#abortion = new Abortion(signal, (reason) => {
      this.dismiss(reason);
      this.queue.abort(reason);
    });
    this.#endIfDone();
  }

  enter(feed: Feed<unknown>): Input {
    const input = new Input(feed, this.inputs.size, this);
    this.inputs.add(input);
    return input;
  }

  asked(): void {
    // A source that answers at once leads back here.
    if (this.#asking) return;
    this.#asking = true;
    while (this.mayAsk()) this.ask();
    this.#asking = false;
  }

  async cancel(reason: unknown): Promise<void> {
    const cancelled = this.cancelAll(reason);
    this.queue.abort(reason);
    await Promise.all(cancelled);
  }

  ended(input: Input): void {
    this.inputs.delete(input);
    this.#endIfDone();
    this.asked();
  }

  failed(input: Input, reason: unknown): void {
    this.fail(reason);
    this.ended(input);
  }

  /** As the policy has it. */
  fail(reason: unknown): void {
    if (this.onError === "collect") this.#errors.push(reason);
    if (this.onError === "abort") this.breakOff(reason);
  }

  /** Ends with the reason after what the queue holds. */
  breakOff(reason: unknown): void {
    this.dismiss(reason);
    this.queue.fail(reason);
  }

  /** Cancels all sources, and waits for none. */
  dismiss(reason: unknown): void {
    this.cancelAll(reason).forEach(markHandled);
  }

  cancelAll(reason: unknown): Promise<void>[] {
    const inputs = [...this.inputs];
    this.inputs.clear();
    for (const input of inputs) input.leave();
    this.#abortion?.leave();
    return inputs.map(({ feed }) => feed.cancel(reason));
  }

  #endIfDone(): void {
    if (this.inputs.size > 0) return;
    this.#abortion?.leave();
    const errors = this.#errors;
    if (errors.length === 0) return this.queue.close();
    const message = `${errors.length} of the merged sources failed`;
    this.queue.fail(allOf(errors, message));
  }
}

/** One of the sources. Who lets them take turns has them wait in a line. */
export class Input extends Waiter implements SourceReader<unknown> {
  readonly feed: Feed<unknown>;
  /** How many were there before it. */
  readonly index: number;
  /** What was received of it and is held back. */
  item: unknown = undefined;
  readonly #fanIn: Pick<FanIn<never>, "received" | "ended" | "failed">;

  constructor(
    feed: Feed<unknown>,
    index: number,
    fanIn: Pick<FanIn<never>, "received" | "ended" | "failed">,
  ) {
    super();
    this.feed = feed;
    this.index = index;
    this.#fanIn = fanIn;
  }

  received(item: unknown): void {
    this.#fanIn.received(this, item);
  }

  ended(): void {
    this.#fanIn.ended(this);
  }

  failed(reason: unknown): void {
    this.#fanIn.failed(this, reason);
  }

  /** Nobody gives up waiting for a turn. */
  override reject(): void {}
}
