/**
 * A producer that is registered over a port.
 *
 * @module
 */

import type { Lifecycle } from "../../lifecycle.ts";
import { type PuttingEnd, QueueWritable } from "../../views/writable.ts";
import type { WaiterGroup } from "../../waiters.ts";
import { packReason } from "../failure.ts";
import type { ClientConnection } from "./connection.ts";
import type { ClientFrame } from "./frames.ts";
import type { PortSender } from "./sender.ts";

/** Puts as the queue does, and ends by itself. */
export class PortProducer<T> implements PuttingEnd<T> {
  readonly stream: QueueWritable<T>;
  readonly #wire: ClientConnection;
  readonly #sender: PortSender<T>;
  readonly #life: Lifecycle;
  readonly #id: number;
  /** What it still waits to put. */
  #waiting: WaiterGroup | undefined = undefined;
  #done = false;

  constructor(
    wire: ClientConnection,
    sender: PortSender<T>,
    life: Lifecycle,
    id: number,
    onError: "collect" | "abort" | "ignore",
  ) {
    this.#wire = wire;
    this.#sender = sender;
    this.#life = life;
    this.#id = id;
    wire.send(["producer", id, onError]);
    this.stream = new QueueWritable<T>(this);
    life.follow(this.stream);
  }

  get desiredSize(): number | null {
    return this.#sender.desiredSize;
  }

  get ready(): Promise<void> {
    return this.#sender.ready;
  }

  get refusesWhenFull(): boolean {
    return this.#sender.refusesWhenFull;
  }

  get open(): boolean {
    return this.#sender.open;
  }

  put(item: T, group: WaiterGroup): Promise<void> {
    this.#waiting = group;
    return this.#sender.put(item, group);
  }

  async close(): Promise<void> {
    try {
      await this.#waiting?.settled();
    } catch (reason) {
      this.failed(reason);
      throw reason;
    }
    this.#finish(["producer done", this.#id]);
  }

  abort(reason: unknown, pending: WaiterGroup): void {
    pending.withdrawAll(reason);
    this.failed(reason);
  }

  failed(reason: unknown): void {
    this.#finish(["producer failed", this.#id, packReason(reason)]);
  }

  #finish(frame: ClientFrame): void {
    if (this.#done) return;
    this.#done = true;
    this.#life.unfollow(this.stream);
    this.#wire.send(frame);
  }
}
