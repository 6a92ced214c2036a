/**
 * A queue on an engine whose operations are seen by OpenTelemetry.
 *
 * @module
 */

import type { Delivery, NackOptions, ReceiveOptions } from "../delivery.ts";
import type {
  EnginePutOptions,
  EngineQueue,
  EngineStats,
  ReceiveManyOptions,
} from "../engines/core/engine_queue.ts";

/** Runs an operation in a span of its own, and measures it. */
export interface Observer {
  /** `deliveries` tells what came, for who has to look. */
  observe<R>(operation: Operation<R>): R;
}

/** One word with the engine. */
export interface Operation<R> {
  readonly verb: "send" | "receive" | "ack" | "nack" | "bury";
  /** How many items; undefined for one, or when that is not known. */
  readonly count?: number | undefined;
  /** The delivery it is about. */
  readonly delivery?: Delivery<unknown> | undefined;
  /** What came of it. */
  arrived?(result: Awaited<R>): readonly Delivery<unknown>[];
  work(): R;
}

/** Delegates to a queue, and has an observer see each operation on the engine. */
export class ObservedQueue<T> implements EngineQueue<T> {
  readonly #queue: EngineQueue<T>;
  readonly #observer: Observer;

  constructor(queue: EngineQueue<T>, observer: Observer) {
    this.#queue = queue;
    this.#observer = observer;
  }

  get name(): string {
    return this.#queue.name;
  }

  get visibility(): number | undefined {
    return this.#queue.visibility;
  }

  get attempts(): number | undefined {
    return this.#queue.attempts;
  }

  get readable(): ReadableStream<Delivery<T>> {
    return this.#queue.readable;
  }

  get writable(): WritableStream<T> {
    return this.#queue.writable;
  }

  get closed(): Promise<void> {
    return this.#queue.closed;
  }

  put(item: T, options?: EnginePutOptions): Promise<void> {
    return this.#observer.observe({
      verb: "send",
      work: () => this.#queue.put(item, options),
    });
  }

  putMany(
    items: Iterable<T> | AsyncIterable<T>,
    options?: EnginePutOptions,
  ): Promise<void> {
    return this.#observer.observe({
      verb: "send",
      count: Array.isArray(items) ? items.length : undefined,
      work: () => this.#queue.putMany(items, options),
    });
  }

  async receive(options?: ReceiveOptions): Promise<Delivery<T>> {
    const delivery = await this.#observer.observe({
      verb: "receive",
      arrived: (delivery) => [delivery],
      work: () => this.#queue.receive(options),
    });
    return new ObservedDelivery(delivery, this.#observer);
  }

  async receiveMany(
    max: number,
    options?: ReceiveManyOptions,
  ): Promise<Delivery<T>[]> {
    const deliveries = await this.#observer.observe({
      verb: "receive",
      arrived: (deliveries) => deliveries,
      work: () => this.#queue.receiveMany(max, options),
    });
    return deliveries.map((delivery) =>
      new ObservedDelivery(delivery, this.#observer)
    );
  }

  producer(): WritableStream<T> {
    return this.#queue.producer();
  }

  close(): Promise<void> {
    return this.#queue.close();
  }

  stats(): Promise<EngineStats> {
    return this.#queue.stats();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

class ObservedDelivery<T> implements Delivery<T> {
  readonly #delivery: Delivery<T>;
  readonly #observer: Observer;

  constructor(delivery: Delivery<T>, observer: Observer) {
    this.#delivery = delivery;
    this.#observer = observer;
  }

  get item(): T {
    return this.#delivery.item;
  }

  get attempt(): number {
    return this.#delivery.attempt;
  }

  get enqueuedAt(): number | undefined {
    return this.#delivery.enqueuedAt;
  }

  get headers(): Delivery<T>["headers"] {
    return this.#delivery.headers;
  }

  get signal(): AbortSignal {
    return this.#delivery.signal;
  }

  ack(): boolean | Promise<boolean> {
    return this.#settle("ack", () => this.#delivery.ack());
  }

  nack(options?: NackOptions): boolean | Promise<boolean> {
    return this.#settle("nack", () => this.#delivery.nack(options));
  }

  bury(reason?: unknown): boolean | Promise<boolean> {
    return this.#settle("bury", () => this.#delivery.bury!(reason));
  }

  extend(milliseconds: number): boolean | Promise<boolean> {
    return this.#delivery.extend(milliseconds);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.nack();
  }

  #settle(
    verb: "ack" | "nack" | "bury",
    work: () => boolean | Promise<boolean>,
  ): boolean | Promise<boolean> {
    const delivery = this.#delivery;
    return this.#observer.observe({ verb, delivery, work });
  }
}
