/**
 * One connection to a queue that is served on a port: a client of the queue, on
 * behalf of the other side.
 *
 * @module
 */

import type { Delivery } from "../../delivery.ts";
import {
  endOf,
  follow,
  isAwaited,
  puttingEndOf,
  type Queue,
  receiveWith,
} from "../../queue.ts";
import type { EndingView } from "../../views/readable.ts";
import type { PuttingEnd } from "../../views/writable.ts";
import {
  FULFILLED,
  markHandled,
  type Waiter,
  WaiterGroup,
} from "../../waiters.ts";
import { type PackedReason, packReason, unpackReason } from "../failure.ts";
import { reportUndelivered } from "./errors.ts";
import type { PortConnection } from "./connection.ts";
import type { ClientFrame, ServerFrame } from "./frames.ts";
import type { CheckedPortOptions } from "./options.ts";

/** The serving side of a port. */
export type ServerConnection = PortConnection<ServerFrame, ClientFrame>;

/** Why a put leaves the line whose other side has given it up. */
const GIVEN_UP = Symbol("given up");

/** So many items are lent at once, at most, whatever the other side asks for. */
const MOST_LENT = 4096;

/** An item that is there. */
interface Sent<T> {
  readonly delivery: Delivery<T>;
  /** Whether nothing of it is left here. */
  moved: boolean;
}

/** A connection. */
export class PortSession<T> {
  readonly #queue: Queue<T>;
  readonly #puttingEnd: PuttingEnd<T>;
  readonly #wire: ServerConnection;
  readonly #options: CheckedPortOptions<T>;
  #over = false;
  /** Whether somebody is there to hear the answers. */
  #isHeard = true;

  // Items that go out.
  /** How many may be sent, and how many were, less those that came back. */
  #asked = 0;
  #sentCount = 0;
  /** Those of which the other side has not said that they were taken; oldest first. */
  #sent: Sent<T>[] = [];
  /** There while the connection stands in line for an item. */
  #standing: Waiter | undefined = undefined;

  // Items that come in.
  /** Credits that are out. */
  #credits = 0;
  /** The number of the last put. */
  #lastPut = 0;
  /** Puts that stand in the line of the queue. */
  readonly #inLine: Map<number, WaiterGroup> = new Map();
  readonly #settling: Set<Promise<void>> = new Set();
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
    this.#puttingEnd = puttingEndOf(queue);
    this.#wire = wire;
    this.#options = options;
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
        return void this.#ask(frame[1]);
      case "taken":
        return this.#ruleOfPlaces(0, frame[1]) ?? this.#taken(frame[1]);
      case "back":
        return this.#ruleOfPlaces(frame[1], frame[2]) ??
          this.#back(frame[1], frame[2], frame[3] as T[]);
      case "lost":
        return this.#ruleOfPlaces(frame[1], 1) ?? this.#lost(frame[1]);
      case "puts":
        return this.#putAll(frame[1], frame[2] as T[]);
      case "cancel":
        return void this.#inLine.get(frame[1])?.withdrawAll(GIVEN_UP);
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

  #ruleOfPlaces(place: number, count: number): string | undefined {
    const { length } = this.#sent;
    return place + count <= length
      ? undefined
      : `it must be about items that are lent, and ${length} are`;
  }

  /** Sends what may be sent, and says how many puts may come. */
  tend(): void {
    this.#lend();
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
    this.#wire.unsendItems();
    this.#unfollow();
    endOf(this.#queue).unwatch(this.#view);
    this.#leaveLine();
    for (const group of this.#inLine.values()) group.withdrawAll(GIVEN_UP);
    this.#giveBackAll(this.#sent.splice(0));
    for (const id of this.#producers.keys()) {
      this.#unregister(
        id,
        (writer) =>
          writer.abort(
            new DOMException(
              "The producer's side of the port has left",
              "AbortError",
            ),
          ),
      );
    }
    await Promise.all(this.#settling);
  }

  // -- Items that go out --------------------------------------------------------

  /** It has no way over: it is taken out, or it would stand in the way of all others for ever. */
  unsendable(item: T, error: unknown): void {
    const place = this.#sent.findLastIndex(({ delivery }) =>
      Object.is(delivery.item, item)
    );
    const [sent] = this.#sent.splice(place, 1);
    this.#sentCount--;
    sent!.delivery.ack();
    reportUndelivered(this.#options.onUndelivered, item, error);
    this.#wire.touch();
  }

  /** Nothing of the item will be left here once it is sent. */
  moved(item: T): void {
    const sent = this.#sent.findLast(({ delivery }) =>
      Object.is(delivery.item, item)
    );
    if (sent !== undefined) sent.moved = true;
  }

  /** Sends what may be sent, and stands in line for the rest. */
  #lend(): void {
    while (this.#mayLend()) {
      const delivery = this.#queue.tryReceive();
      if (delivery === undefined) break;
      this.#send(delivery);
    }
    if (this.#mayLend()) this.#standInLine();
  }

  #mayLend(): boolean {
    return this.#sentCount < this.#asked && this.#sent.length < MOST_LENT &&
      this.#standing === undefined && !this.#over;
  }

  #standInLine(): void {
    let isServed = false;
    const left = (): void => {
      isServed = true;
      this.#standing = undefined;
    };
    const standing = receiveWith<T>(this.#queue, (delivery) => {
      left();
      this.#send(delivery);
      this.#lend();
    }, left);
    // It may have been served, or the queue have ended, before it stood there.
    if (!isServed) this.#standing = standing;
  }

  /** Or what is given back would come again. */
  #leaveLine(): void {
    this.#standing?.withdraw(undefined);
  }

  #send(delivery: Delivery<T>): void {
    this.#sentCount++;
    this.#sent.push({ delivery, moved: false });
    const last = this.#wire.last("items");
    if (last === undefined) this.#wire.send(["items", [delivery.item]]);
    else last[1].push(delivery.item);
  }

  #ask(count: number): void {
    this.#asked = count;
    if (this.#sentCount >= count) this.#leaveLine();
    this.#wire.touch();
  }

  #taken(count: number): undefined {
    for (const { delivery } of this.#sent.splice(0, count)) delivery.ack();
    if (this.#mayLend()) this.#wire.touch();
  }

  #back(place: number, count: number, items: T[]): string | undefined {
    const returned = this.#options.transfer === undefined ? 0 : count;
    if (items.length !== returned) {
      return "what was moved must come back itself, and nothing else";
    }
    this.#leaveLine();
    const sent = this.#sent.splice(place, count);
    this.#sentCount -= sent.length;
    items.slice(0, sent.length).forEach((item, index) => {
      // What was moved there and came back is the item from now on.
      const given = sent[index]!;
      (given.delivery as { item: T }).item = item;
      given.moved = false;
    });
    this.#giveBackAll(sent);
    this.#wire.touch();
    return undefined;
  }

  #lost(place: number): undefined {
    this.#sentCount--;
    this.#sent.splice(place, 1)[0]?.delivery.ack();
    this.#wire.touch();
  }

  /** The oldest to those who wait; of the rest the newest first, as each goes to the head of the queue. */
  #giveBackAll(sent: readonly Sent<T>[]): void {
    let given = 0;
    while (given < sent.length && isAwaited(this.#queue)) {
      this.#giveBack(sent[given++]!);
    }
    for (let index = sent.length - 1; index >= given; index--) {
      this.#giveBack(sent[index]!);
    }
  }

  #giveBack({ delivery, moved }: Sent<T>): void {
    if (!moved) return void delivery.nack();
    delivery.ack();
    reportUndelivered(
      this.#options.onUndelivered,
      delivery.item,
      new DOMException(
        "The item was moved to a side that is gone",
        "DataCloneError",
      ),
    );
  }

  // -- Items that come in -------------------------------------------------------

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
    this.#inLine.set(id, group);
    const settled = (): void => {
      this.#inLine.delete(id);
      this.#settling.delete(settling);
    };
    const settling: Promise<void> = put.then(
      () => {
        settled();
        if (this.#isHeard) this.#accepted(id);
      },
      (reason) => {
        settled();
        if (!this.#isHeard) return;
        const refusal = reason === GIVEN_UP ? undefined : this.#pack(reason);
        this.#wire.send(["refused", id, refusal]);
      },
    );
    this.#settling.add(settling);
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
