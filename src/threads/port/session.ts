/**
 * One connection to a queue that is served on a port: a client of the queue, on
 * behalf of the other side.
 *
 * @module
 */

import { endOf, follow, puttingSideOf, type Queue } from "../../queue.ts";
import type { EndingView } from "../../lifecycle.ts";
import type { PuttingSide } from "../../views/ends.ts";
import { FULFILLED, markHandled, WaiterGroup } from "../../waiters.ts";
import { type PackedReason, packReason, unpackReason } from "../failure.ts";
import type { ServerConnection } from "./connection.ts";
import { PortDeliveries } from "./deliveries.ts";
import type { ClientFrame } from "./frames.ts";
import type { CheckedPortOptions } from "./options.ts";

/** Why a put leaves the line whose other side has given it up. */
const GIVEN_UP = Symbol("given up");

/** A put that stands in the line of the queue. */
interface WaitingPut {
  readonly group: WaiterGroup;
  readonly settled: Promise<void>;
}

/** A connection. */
export class PortSession<T> {
  readonly deliveries: PortDeliveries<T>;
  readonly #queue: Queue<T>;
  readonly #puttingEnd: PuttingSide<T>;
  readonly #wire: ServerConnection;
  readonly #options: CheckedPortOptions<T>;
  #over = false;
  /** Whether somebody is there to hear the answers. */
  #isHeard = true;

  /** Credits that are out. */
  #credits = 0;
  /** The number of the last put. */
  #lastPut = 0;
  /** Puts that stand in the line of the queue. */
  readonly #inLine: Map<number, WaitingPut> = new Map();
  /** Puts wait there. */
  #wanted = false;
  /** There while the connection waits for room. */
  #waitsForRoom = false;
  readonly #producers: Map<number, WritableStreamDefaultWriter<T>> = new Map();

  /** The reason with which the other side ended the queue. */
  #given: { readonly reason: unknown } | undefined = undefined;
  /** With what the queue was failed. */
  #failed: { readonly reason: unknown } | undefined = undefined;
  readonly #unfollow: () => void;
  readonly #view: EndingView;

  constructor(
    queue: Queue<T>,
    wire: ServerConnection,
    options: CheckedPortOptions<T>,
  ) {
    this.#queue = queue;
    this.#puttingEnd = puttingSideOf(queue);
    this.#wire = wire;
    this.#options = options;
    this.deliveries = new PortDeliveries(queue, wire, options);
    wire.send([
      "welcome",
      options.transfer !== undefined,
      this.#puttingEnd.refusesWhenFull,
    ]);
    this.#unfollow = follow(queue, {
      endedByQueue: () => wire.send(["closing", undefined]),
      erroredByQueue: (reason, aborted) => {
        if (aborted) return;
        this.#failed = { reason };
        wire.send(["closing", this.#pack(reason)]);
      },
    });
    this.#view = {
      ended: () => wire.send(["ended"]),
      errored: (reason) => {
        const isDrained = this.#failed?.reason === reason;
        wire.send(["errored", this.#pack(reason), isDrained]);
      },
    };
    endOf(queue).watch(this.#view);
  }

  /** Gives the rule of the protocol that the frame breaks, if it breaks one. */
  heard(frame: ClientFrame): string | undefined {
    switch (frame[0]) {
      case "ask":
        return this.deliveries.ask(frame[1]);
      case "taken":
        return this.deliveries.taken(frame[1]);
      case "back":
        return this.deliveries.back(frame[1], frame[2], frame[3] as T[]);
      case "lost":
        return this.deliveries.lost(frame[1]);
      case "puts":
        return this.#putAll(frame[1], frame[2] as T[]);
      case "cancel":
        return void this.#inLine.get(frame[1])?.group.withdrawAll(GIVEN_UP);
      case "want":
        this.#wanted = true;
        return void this.#wire.touch();
      case "producer":
        return this.#register(frame[1], frame[2]);
      case "producer done":
        return this.#unregister(frame[1], (writer) => writer.close());
      case "producer failed": {
        const reason = unpackReason(frame[2]);
        return this.#unregister(frame[1], (writer) => writer.abort(reason));
      }
      case "close":
        return void this.#queue.close();
      case "fail":
        return void this.#queue.fail(this.#give(frame[1]));
      case "abort":
        return void this.#queue.abort(this.#give(frame[1]));
      default:
        return "hello must come first";
    }
  }

  /** Sends what may be sent, and says how many puts may come. */
  tend(): void {
    this.deliveries.send();
    if (this.#over || this.#queue.stats().state !== "open") return;
    const credits = this.#creditsToGive();
    if (credits > 0) {
      this.#wanted = false;
      this.#credits += credits;
      this.#wire.send(["credit", credits]);
    }
    if (this.#credits === 0 && this.#inLine.size === 0) this.#waitForRoom();
  }

  /** The other side has left, or is gone: what it has goes back, what it waits to put is withdrawn. Fulfils when all is decided. */
  async end(isHeard: boolean): Promise<void> {
    this.#over = true;
    this.#isHeard = isHeard;
    this.#unfollow();
    endOf(this.#queue).unwatch(this.#view);
    for (const { group } of this.#inLine.values()) group.withdrawAll(GIVEN_UP);
    this.deliveries.end();
    const left = new DOMException(
      "The producer's side of the port has left",
      "AbortError",
    );
    for (const id of this.#producers.keys()) {
      this.#unregister(id, (writer) => writer.abort(left));
    }
    await Promise.all([...this.#inLine.values()].map(({ settled }) => settled));
  }

  // -- Puts --------------------------------------------------------------------

  #creditsToGive(): number {
    const { highWaterMark } = this.#options;
    const { desiredSize } = this.#queue;
    const standsInLine = this.#inLine.size > 0;
    const room = Math.min(highWaterMark - this.#inLine.size, desiredSize ?? 0);
    const more = Math.ceil(room - this.#credits);
    // In small change it would be a message for every put.
    if (more > 0 && (this.#credits === 0 || more > highWaterMark / 2)) {
      return more;
    }
    // Who waits there stands in line here, one at a time; so does everybody before a rendezvous.
    const mayStand = this.#wanted || this.#queue.highWaterMark === 0;
    return mayStand && this.#credits === 0 && !standsInLine ? 1 : 0;
  }

  #waitForRoom(): void {
    if (this.#waitsForRoom) return;
    this.#waitsForRoom = true;
    const again = (): void => {
      this.#waitsForRoom = false;
      if (!this.#over) this.#wire.touch();
    };
    this.#queue.ready.then(again, again);
  }

  #putAll(first: number, items: readonly T[]): string | undefined {
    if (items.length > this.#credits) {
      return `there must be a credit for each put, and there are ${this.#credits}`;
    }
    if (first <= this.#lastPut || !Number.isSafeInteger(first + items.length)) {
      return "puts must be numbered";
    }
    this.#credits -= items.length;
    this.#lastPut = first + items.length - 1;
    let id = first;
    for (const item of items) this.#put(id++, item);
    this.#wire.touch();
    return undefined;
  }

  #put(id: number, item: T): void {
    const group = new WaiterGroup();
    const put = this.#puttingEnd.put(item, group);
    if (put === FULFILLED) return this.#accepted(id);
    const settled = put.then(
      () => this.#settled(id, () => this.#accepted(id)),
      (reason) => this.#settled(id, () => this.#refused(id, reason)),
    );
    this.#inLine.set(id, { group, settled });
  }

  #settled(id: number, answer: () => void): void {
    this.#inLine.delete(id);
    if (this.#isHeard) answer();
  }

  #refused(id: number, reason: unknown): void {
    const refusal = reason === GIVEN_UP ? undefined : this.#pack(reason);
    this.#wire.send(["refused", id, refusal]);
  }

  #accepted(id: number): void {
    const last = this.#wire.last("accepted");
    if (last !== undefined && last[1] + last[2] === id) last[2]++;
    else this.#wire.send(["accepted", id, 1]);
  }

  /** What came from the other side need not go back there: it has the original. */
  #pack(reason: unknown): PackedReason | "own" {
    const isTheirs = this.#given !== undefined &&
      Object.is(this.#given.reason, reason);
    return isTheirs ? "own" : packReason(reason);
  }

  #give(packed: PackedReason): unknown {
    const reason = unpackReason(packed);
    this.#given = { reason };
    return reason;
  }

  #register(
    id: number,
    onError: "collect" | "abort" | "ignore",
  ): string | undefined {
    if (this.#producers.has(id)) return "producers must be numbered";
    try {
      const stream = this.#queue.producer({ onError });
      const writer = stream.getWriter();
      markHandled(writer.closed);
      this.#producers.set(id, writer);
    } catch {
      // It has ended, which the other side is about to learn.
    }
    return undefined;
  }

  #unregister(
    id: number,
    end: (writer: WritableStreamDefaultWriter<T>) => Promise<void>,
  ): undefined {
    const writer = this.#producers.get(id);
    this.#producers.delete(id);
    if (writer !== undefined) markHandled(end(writer));
  }
}
