/**
 * What the two sides of a queue on a port say to each other, and how it is sent:
 * all of one turn in one message.
 *
 * @module
 */

import { refusePromise } from "../../callbacks.ts";
import { received } from "../../errors.ts";
import { type Clock, keepAlive } from "../../clock.ts";
import {
  Endpoint,
  failureLosesMoved,
  type PortLike,
  type TransferableObject,
} from "../endpoint.ts";
import { PortClosedError } from "./errors.ts";
import type { ClientFrame, Frame, Heartbeat, ServerFrame } from "./frames.ts";
import { isWhole, itemsOf, partsOf, verbOf } from "./frames.ts";

/** Both sides speak the same one. */
export const VERSION = 1;

type Side = "serving" | "connected";

/** What goes over the port. */
interface Envelope {
  readonly highwater: number;
  readonly channel: string;
  readonly to: Side;
  /** One connection among those that a port sees in its life. */
  readonly session: string;
  readonly frames: readonly unknown[];
  /** The number of the message among those that want an answer; 0 for the others. */
  readonly serial: number;
  /** The number of the last one that was heard. */
  readonly heard: number;
}

/** The side that a connection speaks for. */
export interface ConnectionListener<Heard extends Frame> {
  /** Whether it hears frames, beyond those that begin a connection. */
  readonly connected: boolean;
  /** Whether somebody waits for the other side, who keeps the process alive; undefined where that is not what does. */
  readonly waits: boolean | undefined;
  /** Adds what has to be said in the message that is about to go. */
  tend(): void;
  /** A message has come. Gives the frames in it that are meant for the connection as it stands, or none. */
  addressed(session: string, frames: readonly unknown[]): readonly unknown[];
  /** Whether the other side may ever say such a thing. */
  isFrame(frame: unknown): frame is Heard;
  /** The other side said so. Gives the rule of the protocol that the frame breaks, if it breaks one; then it has no effect. */
  heard(frame: Heard): string | undefined;
  /** The other side broke a rule of the protocol. */
  broken(rule: string): void;
  /** The other side speaks another version. */
  foreign(version: unknown): void;
  /** The item of the frame, its only one, could not be sent. */
  unsendable(frame: Frame, item: unknown, error: unknown): void;
  /** What can be moved instead of copied. */
  transferOf(item: unknown): TransferableObject[];
  /** The other side is gone: the port was closed, the thread has ended, nothing was heard for too long. */
  closed(reason: PortClosedError): void;
}

/** What a connection is made of. */
export interface PortConnectionOptions {
  port: PortLike;
  channel: string;
  heartbeat: number | undefined;
  clock: Clock;
  transfer: ((item: never) => TransferableObject[]) | undefined;
}

/**
 * So many messages may be on their way. What there is to say until one of them has
 * been heard goes with the next: messages grow with the load, and who is alone
 * waits for nobody.
 */
const MESSAGES = 2;

/** So many heartbeats without a word mean that nobody is there. */
const PATIENCE = 3;

/** The word of the serving side with the connected one. */
export type ServerConnection = PortConnection<ServerFrame, ClientFrame>;

/** The word of the connected side with the serving one. */
export type ClientConnection = PortConnection<ClientFrame, ServerFrame>;

/** One side's word with the other. */
export class PortConnection<Sent extends Frame, Heard extends Frame> {
  session = "";
  /** Whether what is said goes over at the end of the turn, or waits. */
  #open = false;
  #frames: Frame[] = [];
  #scheduled = false;
  #stopped = false;
  #keepsAlive = true;
  /** Messages that were sent, those of them that were heard there, and those that were heard here. */
  #sent = 0;
  #sentAndHeard = 0;
  #heardHere = 0;
  /** The other side waits for a word that its last message was heard. */
  #owesAnswer = false;
  /** Heartbeats since the other side spoke. */
  #silence = 0;
  #timer: unknown = undefined;
  readonly #to: Side;
  readonly #options: PortConnectionOptions;
  readonly #listener: ConnectionListener<Heard>;
  readonly #endpoint: Endpoint;
  readonly #flush: () => void = () => {
    this.#scheduled = false;
    this.flush();
  };

  constructor(
    to: Side,
    options: PortConnectionOptions,
    listener: ConnectionListener<Heard>,
  ) {
    this.#to = to;
    this.#options = options;
    this.#listener = listener;
    this.#endpoint = new Endpoint(options.port, {
      message: (data) => this.#heard(data),
      closed: () =>
        this.#closed("the port must be open, received one that is closed"),
      failed: (error) => {
        if (isUnreadable(error)) return;
        this.#closed(
          "the thread behind the port must run, received one that failed",
          { cause: error },
        );
      },
    });
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Whether it keeps the process alive; it does at first. */
  set keepsAlive(keeps: boolean) {
    if (keeps === this.#keepsAlive || this.#stopped) return;
    this.#keepsAlive = keeps;
    this.#endpoint.keepsAlive = keeps;
  }

  /** From now on what is said goes over, and the other side has to be heard from. */
  open(): void {
    this.#open = true;
    this.#silence = 0;
    if (this.#timer === undefined) this.#listen();
    this.touch();
  }

  /** The connection is over; another may follow. */
  shut(): void {
    this.#open = false;
    this.#frames = [];
    this.#sent = this.#sentAndHeard = this.#heardHere = 0;
    this.#owesAnswer = false;
    this.#options.clock.clearTimer(this.#timer);
    this.#timer = undefined;
  }

  /** Hears and says nothing more. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.shut();
    this.#endpoint.stop();
  }

  /** To be said at the end of the turn. */
  send(frame: Sent): void {
    this.#frames.push(frame);
    this.touch();
  }

  /** The last that is to be said, if it has that verb: then more of the same can go with it. */
  last<Verb extends Sent[0]>(
    verb: Verb,
  ): Extract<Sent, [Verb, ...unknown[]]> | undefined {
    const last = this.#frames.at(-1);
    return last?.[0] === verb
      ? last as Extract<Sent, [Verb, ...unknown[]]>
      : undefined;
  }

  /** Items that were to be sent at the end of the turn are not. */
  unsendItems(): void {
    this.#frames = this.#frames.filter(([verb]) => verb !== "items");
  }

  /** Says it now, also before the connection is open. */
  say(frame: Sent | Heartbeat, session: string = this.session): void {
    if (!this.#stopped) this.#tryPost([frame], 0, session);
  }

  /** There will be something to say at the end of the turn. */
  touch(): void {
    if (this.#scheduled || this.#stopped) return;
    this.#scheduled = true;
    queueMicrotask(this.#flush);
  }

  /** Says now what there is to say, if not too much is on its way already, or in any case. */
  flush(inAnyCase: boolean = false): void {
    if (this.#stopped) return;
    const { waits } = this.#listener;
    if (waits !== undefined) this.keepsAlive = waits;
    if (!this.#open) return this.#listener.tend();
    if (this.#sent - this.#sentAndHeard < MESSAGES || inAnyCase) {
      this.#listener.tend();
      if (this.#frames.length > 0) return this.#sendFrames();
    }
    if (this.#owesAnswer) this.#post([], 0);
  }

  #sendFrames(): void {
    const frames = this.#frames;
    this.#frames = [];
    if (this.#mustGoAlone(frames)) return this.#postOneByOne(frames);
    try {
      this.#post(frames, this.#sent + 1);
    } catch {
      this.#postOneByOne(frames);
    }
  }

  #mustGoAlone(frames: readonly Frame[]): boolean {
    return this.#options.transfer !== undefined && failureLosesMoved() &&
      frames.flatMap(itemsOf).length > 1;
  }

  #post(
    frames: readonly (Frame | Heartbeat)[],
    serial: number,
    session: string = this.session,
  ): void {
    const envelope: Envelope = {
      highwater: VERSION,
      channel: this.#options.channel,
      to: this.#to,
      session,
      frames,
      serial,
      heard: this.#heardHere,
    };
    this.#endpoint.post(envelope, this.#transferOf(frames));
    if (serial > 0) this.#sent = serial;
    if (session === this.session) this.#owesAnswer = false;
  }

  #transferOf(frames: readonly (Frame | Heartbeat)[]): TransferableObject[] {
    const transfer: TransferableObject[] = [];
    if (this.#options.transfer === undefined) return transfer;
    for (const item of frames.flatMap(itemsOf)) {
      const moved = this.#listener.transferOf(item);
      refusePromise("send", "transfer(item)", moved);
      transfer.push(...moved);
    }
    return transfer;
  }

  #tryPost(
    frames: readonly (Frame | Heartbeat)[],
    serial: number,
    session?: string,
  ): void {
    try {
      this.#post(frames, serial, session);
    } catch {
      // The port is closed. Where the runtime does not tell, the silence will.
    }
  }

  /** Some item cannot be sent, or might not be: the rest goes without it. */
  #postOneByOne(frames: readonly Frame[]): void {
    for (const [part, item] of frames.flatMap(partsOf)) {
      try {
        this.#post([part], 0);
      } catch (error) {
        this.#listener.unsendable(part, item, error);
      }
    }
    // Heard of when all of them have come.
    if (!this.#stopped) this.#tryPost([], this.#sent + 1);
  }

  #heard(data: unknown): void {
    const envelope = data as Partial<Envelope> | null | undefined;
    if (typeof envelope !== "object" || envelope === null) return;
    const { highwater, channel, to, session, frames } = envelope;
    if (
      highwater === undefined || channel !== this.#options.channel ||
      to === this.#to || typeof session !== "string" || !Array.isArray(frames)
    ) return;
    this.#silence = 0;
    if (highwater !== VERSION) return this.#listener.foreign(highwater);
    const verb = verbOf(frames[0]);
    if (verb === "ping") return this.say(["pong"], session);
    if (verb === "pong") return;
    if (frames.length > 0) {
      this.#hearAll(this.#listener.addressed(session, frames));
    }
    if (session === this.session && this.#open) this.#noteHeard(envelope);
  }

  #hearAll(frames: readonly unknown[]): void {
    for (const frame of frames) {
      const rule = this.#listener.isFrame(frame)
        ? this.#listener.heard(frame)
        : `it must be one of the protocol, received ${received(frame)}`;
      if (rule !== undefined) return this.#listener.broken(rule);
      if (!this.#listener.connected) return;
    }
    this.touch();
  }

  #noteHeard({ serial = 0, heard = 0 }: Partial<Envelope>): void {
    if (!isWhole(serial) || !isWhole(heard) || heard > this.#sent) {
      return this.#listener.broken("its messages must be counted");
    }
    this.#sentAndHeard = Math.max(this.#sentAndHeard, heard);
    if (serial > 0) {
      this.#heardHere = serial;
      this.#owesAnswer = true;
    }
    this.touch();
  }

  #closed(rule: string, options: { cause?: unknown } = {}): void {
    this.#listener.closed(
      new PortClosedError(`Cannot reach the other side: ${rule}`, options),
    );
  }

  #listen(): void {
    const { clock, heartbeat } = this.#options;
    if (heartbeat === undefined) return;
    this.#timer = clock.setTimer(() => {
      if (this.#silence++ >= PATIENCE) {
        return this.#closed(
          `it must answer, received no word for ${PATIENCE} heartbeats`,
        );
      }
      this.say(["ping"]);
      this.#listen();
    }, heartbeat);
    // A heartbeat keeps nobody alive.
    keepAlive(this.#timer, false);
  }
}

function isUnreadable(error: unknown): boolean {
  return (error as { name?: unknown } | null)?.name === "DataCloneError";
}
