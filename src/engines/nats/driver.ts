/**
 * A queue on NATS JetStream: a work-queue stream with durable pull consumers.
 *
 * @module
 */

import { ignore } from "../../callbacks.ts";
import type { Clock } from "../../clock.ts";
import type {
  Answer,
  BurialReason,
  Driver,
  Measures,
  Message,
  Outgoing,
} from "../core/driver.ts";
import { pause } from "../core/pause.ts";
import { ApiError, type ApiFault } from "./api.ts";
import type { NatsClient, NatsIncoming } from "./client.ts";
import { type NatsLoan, NatsLoans } from "./loans.ts";
import { Partitions } from "./partitions.ts";
import {
  MisfitError,
  nanoseconds,
  type NatsStreamOptions,
  NatsStreams,
} from "./streams.ts";
import { lasts, NAK, NatsWire, type NatsWireOptions } from "./wire.ts";

/** A message that JetStream has lent. */
export interface NatsMessage extends Message, NatsLoan {
  /** Its number in the stream. */
  readonly sequence: number;
  /** When it was put, in milliseconds since 1970 on the clock of the server. */
  readonly putAt: number;
  /** Which of its deliveries it is, as the server counts. */
  readonly delivery: number;
  /** The same without those that do not count. */
  attempt: number;
  /** How many of its deliveries do not count. */
  releases: number;
  /** What is known of the delivery before. */
  lost: Message["lost"];
}

/** What a driver is made of. */
export interface NatsDriverOptions extends NatsWireOptions, NatsStreamOptions {}

/**
 * What is noted of a message when a delivery of it is answered for, or begins alone:
 * the server counts deliveries and tells nothing else of them. What has no note was
 * lost.
 */
interface Fate {
  /** Which delivery, as the server counts. */
  readonly delivery: number;
  /** How many until then do not count. */
  readonly releases: number;
  /** It came `"back"`, came back and was lost before that (`"doubt"`), or is `"alone"`. */
  readonly state: "back" | "doubt" | "alone";
}

/** Left of each message for its headers, and those of a dead letter. */
const HEADERS = 4_096;
/** About what the server stores with each message, subject and id included. */
const STORED = 160;
/** The most bytes of a key, as a header holds it. */
const MAX_KEY = 1_024;
const STORE_FAILED = 10_077;
/** How long nobody tells of room that came about by other means than an acknowledgement. */
const ROOM_CHECK = 1_000;
/** For how long the server waits for a message, before it is asked again. */
const SHORTEST_WAIT = 100;
const LONGEST_WAIT = 1_000;
const KEY = "Highwater-Key";

const ACK = "+ACK";
const TERM = "+TERM";

const decoder = /* @__PURE__ */ new TextDecoder();

/** A queue on JetStream, as one handle uses it. */
export class NatsDriver implements Driver<NatsMessage> {
  readonly maxBatch = 512;
  readonly maxBatchBytes = 4_194_304;
  readonly #client: NatsClient;
  readonly #clock: Clock;
  readonly #wire: NatsWire;
  readonly #streams: NatsStreams;
  readonly #loans: NatsLoans;
  #maxPayload = 1_048_576 - HEADERS;
  /** How long the next wait for a message is. */
  #idle = SHORTEST_WAIT;
  /** The last wait for a message. */
  #wait:
    | { readonly signal: AbortSignal; readonly over: Promise<unknown> }
    | undefined = undefined;
  /** Where items have keys. */
  #keyed: Partitions<NatsMessage> | undefined = undefined;
  /** Whether there is a place for notes. */
  #hasNotes: Promise<void> | undefined = undefined;
  #releasing: { message: NatsMessage; go: () => void }[] = [];

  constructor(client: NatsClient, name: string, options: NatsDriverOptions) {
    this.#client = client;
    this.#clock = options.clock;
    this.#wire = new NatsWire(client, options);
    this.#streams = new NatsStreams(this.#wire, name, options);
    const ackWait = (): number => this.#streams.ackWait;
    this.#loans = new NatsLoans(this.#wire, options.clock, ackWait);
  }

  /** Less than the server takes, by what headers may need. */
  get maxPayload(): number {
    const { info } = this.#client.connection;
    if (info) this.#maxPayload = info.max_payload - HEADERS;
    return Math.max(1, this.#maxPayload);
  }

  async open(): Promise<void> {
    const before = this.#streams.consumers.length;
    await this.#streams.open();
    if (this.#streams.consumers.length !== before) {
      void this.#keyed?.close();
      this.#keyed = undefined;
    }
    if (this.#streams.isPartitioned) this.#keyed ??= this.#makePartitions();
  }

  lasts(error: unknown): boolean | undefined {
    return error instanceof MisfitError || lasts(error);
  }

  async measure(): Promise<Measures> {
    return await this.#streams.measure();
  }

  async close(): Promise<void> {
    await this.#keyed?.close();
    this.#loans.close();
    this.#wire.close();
  }

  // -- Putting --------------------------------------------------------------------

  /** Those of one order one after the other, so that none arrives without those before it. */
  async send(messages: readonly Outgoing[]): Promise<readonly Answer[]> {
    const fitting = messages.slice(0, await this.#countFitting(messages));
    const last: Map<string, Promise<Answer>> = new Map();
    const answers = await Promise.all(fitting.map((message) => {
      const subject = this.#streams.itemSubject(message.key);
      const answer = this.#publishAfter(last.get(subject), subject, message);
      if (this.#streams.isPartitioned) last.set(subject, answer);
      return answer;
    }));
    return messages.map((_, index) => answers[index] ?? "full");
  }

  async room(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && await this.#streams.isFull()) {
      await this.#nextAcknowledgement(signal);
    }
  }

  async #countFitting(messages: readonly Outgoing[]): Promise<number> {
    const room = await this.#streams.room();
    const most = Math.min(messages.length, room.messages);
    let count = 0;
    for (; count < most && room.bytes > 0; count++) {
      room.bytes -= messages[count]!.payload.byteLength + STORED;
    }
    return count;
  }

  async #publishAfter(
    before: Promise<Answer> | undefined,
    subject: string,
    message: Outgoing,
  ): Promise<Answer> {
    if (before !== undefined && await before === "full") return "full";
    const headers = this.#wire.headers();
    headers.set("Nats-Msg-Id", message.id);
    if (this.#streams.isPartitioned) {
      const key = encodeURIComponent(message.key ?? "");
      if (key.length > MAX_KEY) return { error: keyError(key.length) };
      headers.set(KEY, key);
    }
    const fault = faultOf(
      await this.#wire.request(subject, message.payload, headers),
    );
    if (fault === undefined) return "accepted";
    if (isBound(fault)) return "full";
    const error = new ApiError("put", fault);
    if (fault.code === 400) return { error };
    throw error;
  }

  /** Whoever acknowledges makes room, and can be heard by all. */
  async #nextAcknowledgement(signal: AbortSignal): Promise<void> {
    const { ackSubjects } = this.#streams;
    let end: (() => void) | undefined;
    await pause(this.#clock, ROOM_CHECK, signal, (wake) => {
      const subscription = this.#wire.listenOnce(ackSubjects, wake);
      end = () => subscription.unsubscribe();
    });
    if (!this.#wire.isClosed) end?.();
  }

  // -- Lending --------------------------------------------------------------------

  async fetch(
    max: number,
    visibility: number,
    signal: AbortSignal,
  ): Promise<readonly NatsMessage[]> {
    if (this.#keyed !== undefined) {
      return await this.#keyed.take(max, visibility, signal);
    }
    const [consumer] = this.#streams.consumers;
    const found = await this.#pull(consumer!, max, 0, visibility);
    if (found.length > 0 || signal.aborted) return found;
    const waiting = this.#waitForOne(consumer!, visibility);
    this.#wait = { signal, over: waiting.catch(ignore) };
    return await waiting;
  }

  async #pull(
    consumer: string,
    batch: number,
    wait: number,
    visibility: number,
  ): Promise<NatsMessage[]> {
    const asked = this.#clock.now();
    const subject = this.#streams.nextOf(consumer);
    const incoming = await this.#wire.pull({ subject, batch, wait });
    const messages = incoming.map((message) =>
      this.#inFlight(message, asked, visibility)
    );
    await this.#learnFates(messages);
    if (visibility !== this.#streams.ackWait) {
      for (const message of messages) this.#loans.keep(message);
    }
    return messages;
  }

  /**
   * A question cannot be taken back, and whoever closes waits for its end: so it is
   * a short one at first, and longer while nothing comes. Most of the time a
   * message is lent for has to be left when it does.
   */
  async #waitForOne(
    consumer: string,
    visibility: number,
  ): Promise<NatsMessage[]> {
    const wait = Math.max(20, Math.min(this.#idle, visibility / 4));
    const found = await this.#pull(consumer, 1, Math.round(wait), visibility);
    this.#idle = found.length > 0
      ? SHORTEST_WAIT
      : Math.min(2 * this.#idle, LONGEST_WAIT);
    return found;
  }

  #makePartitions(): Partitions<NatsMessage> {
    return new Partitions({
      clock: this.#clock,
      names: this.#streams.consumers,
      free: () => this.#streams.freePartitions(),
      pull: (name, visibility) => this.#waitForOne(name, visibility),
      release: (message) => this.release(message, 0),
    });
  }

  #inFlight(
    message: NatsIncoming,
    asked: number,
    visibility: number,
  ): NatsMessage {
    const reply = message.reply!;
    const { delivery, sequence, putAt } = tokensOf(reply);
    const key = this.#streams.isPartitioned
      ? message.headers?.get(KEY)
      : undefined;
    return {
      // A copy, as it may be a view of all that came with it.
      payload: new Uint8Array(message.data),
      delivery,
      attempt: delivery,
      releases: 0,
      lost: undefined,
      age: this.#streams.now - putAt,
      putAt,
      key: key === undefined ? undefined : decodeURIComponent(key),
      reply,
      sequence,
      renewedAt: asked,
      until: asked + visibility,
      timer: undefined,
      isSettled: false,
    };
  }

  // -- What becomes of it ---------------------------------------------------------

  async ack(message: NatsMessage): Promise<boolean> {
    return await this.#loans.settle(message, ACK);
  }

  async nack(message: NatsMessage, delay: number): Promise<boolean> {
    if (!await this.#note(message, message.releases, "back")) return false;
    return await this.#loans.settle(message, nakAfter(delay));
  }

  /** What goes back in one turn goes in the order of the stream, as it will be delivered in the order it comes in. */
  async release(message: NatsMessage, delay = 0): Promise<boolean> {
    await new Promise<void>((resolve) => {
      this.#releasing.push({ message, go: resolve });
      if (this.#releasing.length === 1) {
        queueMicrotask(() => this.#releaseAll());
      }
    });
    if (this.#wait?.signal.aborted) await this.#wait.over;
    const state = message.lost === undefined ? "back" : "doubt";
    if (!await this.#note(message, message.releases + 1, state)) return false;
    return await this.#loans.settle(message, nakAfter(delay));
  }

  async isolate(message: NatsMessage): Promise<boolean> {
    return await this.#note(message, message.releases, "alone") &&
      this.#loans.holds(message);
  }

  async extend(message: NatsMessage, milliseconds: number): Promise<boolean> {
    return await this.#loans.extend(message, milliseconds);
  }

  async bury(
    message: NatsMessage,
    reason: BurialReason,
    error: string | undefined,
  ): Promise<boolean> {
    if (!this.#loans.holds(message)) return false;
    const headers = this.#wire.headers();
    headers.set("Nats-Msg-Id", `${message.sequence}-${message.putAt}`);
    headers.set("Highwater-Reason", reason);
    headers.set("Highwater-Deliveries", String(message.attempt));
    if (error !== undefined) headers.set("Highwater-Error", headerOf(error));
    if (message.key !== undefined) {
      headers.set(KEY, encodeURIComponent(message.key));
    }
    const { deadSubject } = this.#streams;
    await this.#store(
      "keep a dead letter",
      deadSubject,
      message.payload,
      headers,
    );
    return await this.#loans.settle(message, TERM);
  }

  #releaseAll(): void {
    const releasing = this.#releasing.splice(0);
    releasing.sort((a, b) => a.message.sequence - b.message.sequence);
    for (const { go } of releasing) go();
  }

  async #store(
    action: string,
    ...message: Parameters<NatsWire["request"]>
  ): Promise<void> {
    const fault = faultOf(await this.#wire.request(...message));
    if (fault !== undefined) throw new ApiError(action, fault);
  }

  /** False when the message is not ours any more. */
  async #note(
    message: NatsMessage,
    releases: number,
    state: Fate["state"],
  ): Promise<boolean> {
    if (!this.#loans.holds(message)) return false;
    const fate: Fate = { delivery: message.delivery, releases, state };
    try {
      await (this.#hasNotes ??= this.#streams.makeNotes());
      await this.#store(
        "note what became of a delivery",
        this.#streams.noteSubject(message.sequence),
        JSON.stringify(fate),
      );
    } catch (error) {
      this.#hasNotes = undefined;
      throw error;
    }
    return true;
  }

  /** Those that were delivered before. */
  async #learnFates(messages: readonly NatsMessage[]): Promise<void> {
    const again = messages.filter(({ delivery }) => delivery > 1);
    await Promise.all(again.map(async (message) => {
      const fate = await this.#fateOf(message);
      // Lost beside others counts once, and only as the first that happened to it.
      const noted = fate?.delivery ?? 1;
      message.releases = (fate?.releases ?? 0) +
        Math.max(0, message.delivery - 1 - noted);
      message.attempt = Math.max(1, message.delivery - message.releases);
      const state = fate?.delivery === message.delivery - 1
        ? fate.state
        : "beside";
      if (state !== "back") message.lost = state === "alone" ? state : "beside";
    }));
  }

  async #fateOf({ sequence }: NatsMessage): Promise<Fate | undefined> {
    try {
      return JSON.parse(await this.#streams.noteOn(sequence));
    } catch {
      // Nothing of it is noted, or the word failed: then the message is here all the same.
      return undefined;
    }
  }
}

/** From `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<…>.<timestamp>.<pending>`, or the longer form of newer servers. */
function tokensOf(
  reply: string,
): { delivery: number; sequence: number; putAt: number } {
  const tokens = reply.split(".");
  const first = tokens.length >= 11 ? 6 : 4;
  return {
    delivery: Number(tokens[first]),
    sequence: Number(tokens[first + 1]),
    putAt: Number(tokens[first + 3]) / 1e6,
  };
}

/** What an acknowledgement of a put says against it. */
function faultOf({ data }: NatsIncoming): ApiFault | undefined {
  const text = decoder.decode(data);
  if (!text.includes('"error"')) return undefined;
  return (JSON.parse(text) as { error?: ApiFault }).error;
}

function isBound({ err_code, description }: ApiFault): boolean {
  return err_code === STORE_FAILED && description.startsWith("maximum");
}

/** As a header can hold it. */
function headerOf(text: string): string {
  return text.replace(/\p{C}+/gu, " ").slice(0, 900);
}

function keyError(length: number): RangeError {
  return new RangeError(
    `Cannot put: the key must be at most ${MAX_KEY} bytes, URI-encoded, received ${length}`,
  );
}

function nakAfter(delay: number): string {
  if (delay === 0) return NAK;
  return `${NAK} ${JSON.stringify({ delay: nanoseconds(delay) })}`;
}
