/**
 * The connected side of a port: what it hears of the queue over there, and how it
 * ends.
 *
 * @module
 */

import { received } from "../../errors.ts";
import { type Failure, Lifecycle } from "../../lifecycle.ts";
import type { TransferableObject } from "../endpoint.ts";
import { type PackedReason, packReason, unpackReason } from "../failure.ts";
import { type Deferred, deferred } from "../../waiters.ts";
import {
  type ClientConnection,
  type ConnectionListener,
  PortConnection,
  VERSION,
} from "./connection.ts";
import {
  brokenError,
  PortClosedError,
  reportBroken,
  reportUndelivered,
} from "./errors.ts";
import {
  type Frame,
  isServerFrame,
  type ServerFrame,
  verbOf,
} from "./frames.ts";
import type { CheckedPortOptions } from "./options.ts";
import { PortReceiver } from "./receiver.ts";
import { PortSender } from "./sender.ts";
import type { PortLike } from "../endpoint.ts";

let connections = 0;

/** The connected side. */
export class PortClient<T> implements ConnectionListener<ServerFrame> {
  readonly life: Lifecycle = new Lifecycle("queue");
  readonly wire: ClientConnection;
  readonly sender: PortSender<T>;
  readonly receiver: PortReceiver<T>;
  readonly isFrame: typeof isServerFrame = isServerFrame;
  /** The other side has answered, and is still there. */
  connected = false;
  readonly #options: CheckedPortOptions<T>;
  /** The queue has ended, and nothing more will come. */
  #ended = false;
  /** It is about to say goodbye. */
  #farewell = false;
  #leaving: Deferred<void> | undefined = undefined;

  constructor(port: PortLike, options: CheckedPortOptions<T>) {
    this.#options = options;
    this.wire = new PortConnection("serving", { port, ...options }, this);
    this.wire.session = `${++connections} ${Math.random()}`;
    this.receiver = new PortReceiver<T>(this.wire, options);
    this.sender = new PortSender<T>(
      this.life,
      this.wire,
      options.onUndelivered,
      (reason) => this.abort(reason),
    );
    this.wire.keepsAlive = false;
    this.wire.say(["hello"]);
  }

  // -- Endings ----------------------------------------------------------------

  /** Aborts the queue, for all its users. */
  abort(reason: unknown): void {
    if (this.life.over) return;
    this.#end(reason);
    this.wire.send(["abort", packReason(reason)]);
  }

  /** Leaves the queue to its other users. Fulfils when the fate of every put is known. */
  leave(): Promise<void> {
    if (this.#leaving === undefined) {
      this.#leaving = deferred();
      this.#leave();
    }
    return this.#leaving.promise;
  }

  #leave(): void {
    const reason = new DOMException(
      "This side of the queue was disconnected",
      "AbortError",
    );
    this.#end(reason);
    this.sender.giveUp(reason);
    if (this.wire.stopped) return this.#stop();
    this.#sayGoodbye();
    // Only the fate of a put has to be waited for.
    if (this.sender.underWay === 0) this.#stop();
  }

  /** What waits here rejects, what is here goes back. */
  #end(reason: unknown): void {
    this.receiver.abort(reason);
    this.sender.stop(reason);
  }

  /** The queue has ended, all is decided: the rest of the way is free. */
  #leaveSoon(): void {
    if (this.#farewell) return;
    this.#farewell = true;
    queueMicrotask(() => {
      if (this.wire.stopped) return;
      this.#sayGoodbye();
      this.#stop();
    });
  }

  #sayGoodbye(): void {
    this.wire.flush(true);
    this.wire.say(["goodbye"]);
  }

  #stop(): void {
    this.connected = false;
    this.wire.stop();
    this.#leaving?.resolve();
  }

  // -- What the connection asks -------------------------------------------------

  get waits(): boolean {
    const { waiting, underWay } = this.sender;
    return this.receiver.waiting + waiting + underWay > 0;
  }

  tend(): void {
    this.receiver.tend();
    this.sender.tend();
    if (this.#ended && this.sender.underWay === 0) this.#leaveSoon();
  }

  transferOf(item: unknown): TransferableObject[] {
    return this.#options.transfer?.(item as T) ?? [];
  }

  unsendable(frame: Frame, item: unknown, error: unknown): void {
    if (frame[0] === "puts") this.sender.unsendable(frame[1], error);
    if (frame[0] !== "back") return;
    this.wire.say(["lost", frame[1]]);
    reportUndelivered(this.#options.onUndelivered, item as T, error);
  }

  // -- What the other side says -------------------------------------------------

  addressed(session: string, frames: readonly unknown[]): readonly unknown[] {
    if (verbOf(frames[0]) !== "here") {
      return session === this.wire.session ? frames : [];
    }
    if (!this.connected) this.wire.say(["hello"]);
    return [];
  }

  heard(frame: ServerFrame): string | undefined {
    const [verb] = frame;
    if (verb !== "gone" && (verb === "welcome") === this.connected) {
      return "welcome must come first, and once";
    }
    if (
      (frame as unknown[]).includes("own") && this.life.failure === undefined
    ) {
      return "a reason of this side must be one";
    }
    switch (frame[0]) {
      case "welcome":
        return void this.#welcomed(frame[1], frame[2]);
      case "items":
        return this.#ended
          ? "items must come before the end"
          : this.receiver.arrive(frame[1] as T[]);
      case "credit":
        return this.sender.credited(frame[1]);
      case "accepted":
        return this.sender.acceptedThere(frame[1], frame[2]);
      case "refused":
        return this.sender.refused(frame[1], frame[2]);
      case "closing":
        return void this.sender.closing(this.sender.unpack(frame[1]));
      case "ended":
        return this.#hearEnd();
      case "errored":
        return void this.#hearFailure(frame[1], frame[2]);
      case "bye":
        return this.#hearBye();
      case "gone":
        return void this.#hearGone(frame[1]);
    }
    return undefined;
  }

  #welcomed(returnsItems: boolean, refusesWhenFull: boolean): void {
    this.connected = true;
    this.receiver.returnsItems = returnsItems;
    this.sender.refusesWhenFull = refusesWhenFull;
    this.wire.open();
  }

  #hearEnd(): string | undefined {
    // They would be of nobody whose they are, and `closed` would wait for them.
    if (this.receiver.length > 0) {
      return "ended must come when all items are taken";
    }
    this.#ended = true;
    this.sender.closing(undefined);
    this.receiver.ended();
    this.#finish(undefined);
    return undefined;
  }

  #hearFailure(packed: PackedReason | "own", isDrained: boolean): void {
    const { reason } = this.sender.unpack(packed)!;
    this.#ended = true;
    // Puts after a drain are refused as those before it.
    if (isDrained) this.sender.closing({ reason });
    else this.sender.stop(reason);
    this.receiver.abort(reason);
    this.#finish({ reason });
  }

  /** What was said first over there holds, whatever was said here. */
  #finish(failure: Failure | undefined): void {
    if (this.life.over) return;
    this.life.failure = failure;
    this.life.finish();
    this.life.tell();
  }

  #hearBye(): string | undefined {
    if (this.#leaving === undefined) return "bye must answer a goodbye";
    this.#stop();
    return undefined;
  }

  #hearGone(packed: PackedReason | undefined): void {
    const cause = packed === undefined ? {} : { cause: unpackReason(packed) };
    this.closed(
      new PortClosedError(
        "Cannot reach the queue: somebody must serve it, received a port " +
          "where nobody does any more",
        cause,
      ),
    );
    if (packed !== undefined) this.#report(cause.cause);
  }

  broken(rule: string): void {
    const error = brokenError("Cannot reach the queue", rule);
    this.wire.say(["goodbye", packReason(error)]);
    this.closed(error);
    this.#report(error);
  }

  foreign(version: unknown): void {
    this.closed(
      new PortClosedError(
        `Cannot connect: both sides must speak version ${VERSION}, ` +
          `received version ${received(version)}`,
      ),
    );
  }

  closed(reason: PortClosedError): void {
    if (this.wire.stopped) return;
    this.receiver.drop(reason);
    this.sender.drop(reason);
    this.#stop();
  }

  /** Who does not want to know: all that waited has rejected with it. */
  #report(error: unknown): void {
    const { onError } = this.#options;
    if (onError !== undefined) reportBroken(onError, error);
  }
}
