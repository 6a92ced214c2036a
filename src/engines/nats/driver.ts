/**
 * A queue on NATS JetStream: a work-queue stream with durable pull consumers.
 *
 * @module
 */

import { ignore } from "../../callbacks.ts";
import type { Clock } from "../../clock.ts";
import { wordsFor } from "../../errors.ts";
import type {
  Answer,
  BurialReason,
  Driver,
  Measures,
  Message,
  Outgoing,
} from "../core/driver.ts";
import type { NatsClient, NatsIncoming } from "./client.ts";
import { Partitions } from "./partitions.ts";
import {
  ApiError,
  type ApiFault,
  lasts,
  NAK,
  NatsWire,
  type NatsWireOptions,
} from "./wire.ts";

/** A message that JetStream has lent. */
export interface NatsMessage extends Message {
  /** Where what becomes of it is told. */
  readonly reply: string;
  /** Its number in the stream. */
  readonly sequence: number;
  /** Which of its deliveries it is, as the server counts. */
  readonly delivery: number;
  /** The same without those that do not count. */
  attempt: number;
  /** How many of its deliveries do not count. */
  releases: number;
  /** What is known of the delivery before. */
  lost: Message["lost"];
  /** Since when it is lent at least, on the clock of this process. */
  renewedAt: number;
  /** Until when it is to be lent. */
  until: number;
  /** Rings when it has to be renewed, or is to go back. */
  timer: unknown;
  /** Whether it has been said what becomes of it. */
  isSettled: boolean;
}

/** What a driver is made of. */
export interface NatsDriverOptions extends NatsWireOptions {
  /** The most messages that wait or are lent. */
  readonly capacity: number;
  /** The most bytes of them, as the server counts. */
  readonly maxBytes: number;
  /** The most dead letters; the oldest go first. */
  readonly maxDeadLetters: number;
  /** For how many milliseconds the server knows the id of a put. */
  readonly dedupe: number;
  /** On how many servers of a cluster it is kept. */
  readonly replicas: number;
  readonly storage: "file" | "memory";
  /** In how many orders items are kept by key; undefined for as many as there are, 0 for one order of all. */
  readonly partitions: number | undefined;
  /** Whether items have keys. */
  readonly isKeyed: boolean;
  /** For how many milliseconds items are lent, unless told. */
  readonly visibility: number;
  /** What the subjects of JetStream begin with. */
  readonly apiPrefix: string;
}

interface StreamInfo {
  readonly config: {
    readonly subjects: readonly string[];
    readonly retention: string;
    readonly discard: string;
    readonly max_msgs: number;
    readonly max_bytes: number;
  };
  readonly state: {
    readonly messages: number;
    readonly bytes: number;
    readonly first_ts: string;
    /** The numbers of messages that are gone, between others that are not; where asked for. */
    readonly deleted?: readonly number[] | null;
  };
}

interface ConsumerInfo {
  readonly created: string;
  readonly name: string;
  readonly config: { readonly ack_wait: number };
  /** What comes after it is lent, or is done out of turn. */
  readonly ack_floor: { readonly stream_seq: number };
  readonly delivered: { readonly stream_seq: number };
  readonly num_pending: number;
  readonly num_ack_pending: number;
  readonly num_redelivered: number;
}

/** As many orders as a queue with keys has unless told. */
const PARTITIONS = 16;
/** Left of each message for its headers, and those of a dead letter. */
const HEADERS = 4_096;
const STREAM_NOT_FOUND = 10_059;
const CONSUMER_NOT_FOUND = 10_014;
const STORE_FAILED = 10_077;
/** How long nobody tells of room that came about by other means than an acknowledgement. */
const ROOM_CHECK = 1_000;
/** For how long the server waits for a message, before it is asked again. */
const SHORTEST_WAIT = 100;
const LONGEST_WAIT = 1_000;
/** Longer loans are kept by word of life. */
const LONGEST_LOAN = 3_600_000;
/** 200 years: when it is over has to be a number of nanoseconds since 1970 in 64 bits. */
const LONGEST_DELAY = 200 * 365 * 86_400_000;
/** About what the server stores with each message, subject and id included. */
const STORED = 160;
/** How long it is noted what became of a delivery: a week. */
const NOTES_KEPT = 604_800_000;
const KEY = "Highwater-Key";
/** The name of the consumer where there is one order of all. */
const WORK = "work";

const ACK = "+ACK";
const WORKING = "+WPI";
const TERM = "+TERM";

const decoder = /* @__PURE__ */ new TextDecoder();
const encoder = /* @__PURE__ */ new TextEncoder();

/** What is on the server is not for us. */
class MisfitError extends TypeError {}

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

/** A queue on JetStream, as one handle uses it. */
export class NatsDriver implements Driver<NatsMessage> {
  readonly maxBatch = 512;
  readonly maxBatchBytes = 4_194_304;
  skew = 0;
  readonly #client: NatsClient;
  readonly #name: string;
  readonly #options: NatsDriverOptions;
  readonly #clock: Clock;
  readonly #wire: NatsWire;
  #maxPayload = 1_048_576 - HEADERS;
  /** As the server has it: 0 for one order of all. */
  #partitions = 0;
  /** For how many milliseconds the server lends without further word. */
  #ackWait: number;
  #isSkewKnown = false;
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
  /** Those with an alarm. */
  readonly #kept: Set<NatsMessage> = new Set();

  constructor(client: NatsClient, name: string, options: NatsDriverOptions) {
    this.#client = client;
    this.#name = name;
    this.#options = options;
    this.#clock = options.clock;
    this.#ackWait = options.visibility;
    this.#wire = new NatsWire(client, options);
  }

  /** Less than the server takes, by what headers may need. */
  get maxPayload(): number {
    const { info } = this.#client.connection;
    if (info) this.#maxPayload = info.max_payload - HEADERS;
    return Math.max(1, this.#maxPayload);
  }

  async open(): Promise<void> {
    const stream = await this.#findOrMakeStream();
    const partitions = this.#partitionsOf(stream);
    if (partitions !== this.#partitions) {
      void this.#keyed?.close();
      this.#keyed = undefined;
      this.#partitions = partitions;
    }
    await this.#findOrMakeDeadStream();
    const consumers = await Promise.all(
      this.#consumers().map((consumer) => this.#findOrMakeConsumer(consumer)),
    );
    this.#ackWait = Math.min(
      ...consumers.map(({ config }) => config.ack_wait / 1e6),
    );
    await this.#endTheGone(consumers);
    if (this.#partitions > 0) this.#keyed ??= this.#makePartitions();
    await this.#learnSkew();
  }

  lasts(error: unknown): boolean | undefined {
    return error instanceof MisfitError || lasts(error);
  }

  async send(messages: readonly Outgoing[]): Promise<readonly Answer[]> {
    const fitting = messages.slice(0, await this.#countFitting(messages));
    const answers = this.#partitions > 0
      ? await this.#sendInPartitions(fitting)
      : await this.#sendAll(fitting);
    return messages.map((_, index) => answers[index] ?? "full");
  }

  async room(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && await this.#isFull()) {
      await this.#nextAcknowledgement(signal);
    }
  }

  async fetch(
    max: number,
    visibility: number,
    signal: AbortSignal,
  ): Promise<readonly NatsMessage[]> {
    if (this.#keyed !== undefined) {
      return await this.#keyed.take(max, visibility, signal);
    }
    const found = await this.#pull(WORK, max, 0, visibility);
    if (found.length > 0 || signal.aborted) return found;
    const waiting = this.#waitForOne(WORK, visibility);
    this.#wait = { signal, over: waiting.catch(ignore) };
    return await waiting;
  }

  async ack(message: NatsMessage): Promise<boolean> {
    return await this.#settle(message, ACK);
  }

  async nack(message: NatsMessage, delay: number): Promise<boolean> {
    if (!this.#holds(message)) return false;
    await this.#note(message, message.releases, "back");
    return await this.#settle(message, nakAfter(delay));
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
    if (!this.#holds(message)) return false;
    const state = message.lost === undefined ? "back" : "doubt";
    await this.#note(message, message.releases + 1, state);
    return await this.#settle(message, nakAfter(delay));
  }

  async isolate(message: NatsMessage): Promise<boolean> {
    if (!this.#holds(message)) return false;
    await this.#note(message, message.releases, "alone");
    return this.#holds(message);
  }

  async extend(message: NatsMessage, milliseconds: number): Promise<boolean> {
    if (!this.#holds(message)) return false;
    const asked = this.#clock.now();
    await this.#wire.request(message.reply, WORKING);
    if (message.isSettled || !this.#holds(message)) return false;
    message.renewedAt = asked;
    message.until = asked + milliseconds;
    this.#keep(message);
    return true;
  }

  async bury(
    message: NatsMessage,
    reason: BurialReason,
    error: unknown,
  ): Promise<boolean> {
    if (!this.#holds(message)) return false;
    const headers = this.#wire.headers();
    headers.set("Nats-Msg-Id", `${message.sequence}-${message.enqueuedAt}`);
    headers.set("Highwater-Reason", reason);
    headers.set("Highwater-Deliveries", String(message.attempt));
    if (error !== undefined) headers.set("Highwater-Error", wordsOf(error));
    if (message.key !== undefined) {
      headers.set(KEY, encodeURIComponent(message.key));
    }
    const answer = await this.#wire.request(
      this.#deadSubject,
      message.payload,
      headers,
    );
    const fault = faultOf(answer);
    if (fault !== undefined) throw new ApiError("keep a dead letter", fault);
    return await this.#settle(message, TERM);
  }

  async measure(): Promise<Measures> {
    const [stream, dead, { backlog, inFlight }] = await Promise.all([
      this.#streamInfo(this.#name),
      this.#streamInfo(this.#deadStream),
      this.#counts(),
    ]);
    return {
      backlog,
      delayed: undefined,
      capacity: this.#options.capacity,
      inFlight,
      oldestAge: backlog + inFlight === 0
        ? undefined
        : Math.max(0, this.#serverNow() - Date.parse(stream.state.first_ts)),
      deadLetters: dead.state.messages,
    };
  }

  async close(): Promise<void> {
    await this.#keyed?.close();
    for (const message of this.#kept) {
      this.#clock.clearTimer(message.timer);
    }
    this.#kept.clear();
    this.#wire.close();
  }

  // -- What is on the server ------------------------------------------------------

  get #deadStream(): string {
    return `${this.#name}+dead`;
  }

  get #deadSubject(): string {
    return `${this.#name}.dead`;
  }

  get #noteStream(): string {
    return `${this.#name}+notes`;
  }

  #noteSubject(sequence: number | "*"): string {
    return `${this.#name}.note.${sequence}`;
  }

  #itemSubject(key: string | undefined): string {
    if (this.#partitions === 0) return `${this.#name}.item`;
    const partition = hashOf(key ?? "") % this.#partitions;
    return `${this.#name}.of${this.#partitions}.${partition}`;
  }

  /** The names of the consumers. */
  #consumers(): string[] {
    if (this.#partitions === 0) return [WORK];
    return Array.from({ length: this.#partitions }, (_, index) => `${index}`);
  }

  async #findOrMakeStream(): Promise<StreamInfo> {
    try {
      return await this.#streamInfo(this.#name);
    } catch (error) {
      if (!isFault(error, STREAM_NOT_FOUND)) throw error;
    }
    const { partitions, isKeyed, dedupe } = this.#options;
    const keyed = partitions ?? (isKeyed ? PARTITIONS : 0);
    await this.#makeStream(this.#name, {
      subjects: [
        keyed === 0 ? `${this.#name}.item` : `${this.#name}.of${keyed}.*`,
      ],
      retention: "workqueue",
      // Without a bound: a server before 2.10.6 that crashed enforces it on what is
      // there already, see nats-server #4775. Puts are held up by who puts.
      discard: "new",
      duplicate_window: nanoseconds(dedupe),
    });
    return await this.#streamInfo(this.#name);
  }

  async #findOrMakeDeadStream(): Promise<void> {
    try {
      await this.#streamInfo(this.#deadStream);
    } catch (error) {
      if (!isFault(error, STREAM_NOT_FOUND)) throw error;
      await this.#makeStream(this.#deadStream, {
        subjects: [this.#deadSubject],
        retention: "limits",
        discard: "old",
        max_msgs: boundOf(this.#options.maxDeadLetters),
      });
    }
  }

  /** Somebody else may make it at the same time, and a little differently. */
  async #makeStream(name: string, config: object): Promise<void> {
    const { storage, replicas } = this.#options;
    try {
      await this.#api(`make the stream "${name}"`, `STREAM.CREATE.${name}`, {
        name,
        storage,
        num_replicas: replicas,
        ...config,
      });
    } catch (error) {
      if (!isFault(error, 10_058)) throw error;
    }
  }

  async #findOrMakeConsumer(consumer: string): Promise<ConsumerInfo> {
    try {
      return await this.#consumerInfo(consumer);
    } catch (error) {
      if (!isFault(error, CONSUMER_NOT_FOUND)) throw error;
    }
    return await this.#api<ConsumerInfo>(
      `make a consumer of "${this.#name}"`,
      `CONSUMER.DURABLE.CREATE.${this.#name}.${consumer}`,
      {
        stream_name: this.#name,
        config: {
          durable_name: consumer,
          ack_policy: "explicit",
          ack_wait: Math.round(
            Math.min(this.#options.visibility, LONGEST_LOAN) * 1e6,
          ),
          deliver_policy: "all",
          replay_policy: "instant",
          // How often is too often is counted by whoever receives.
          max_deliver: -1,
          max_waiting: 2_048,
          ...this.#partitions === 0 ? { max_ack_pending: -1 } : {
            // The next of an order is lent once the one before it is done.
            max_ack_pending: 1,
            filter_subject: `${this.#name}.of${this.#partitions}.${consumer}`,
          },
        },
      },
    );
  }

  /** Throws a MisfitError for a stream that will not do. */
  #partitionsOf({ config }: StreamInfo): number {
    const { retention, discard, max_msgs, max_bytes, subjects } = config;
    const action = `open the queue "${this.#name}" on NATS`;
    if (retention !== "workqueue") {
      throw new MisfitError(
        `Cannot ${action}: its stream must have the retention "workqueue", received ${
          JSON.stringify(retention)
        }`,
      );
    }
    if (discard === "old" && (max_msgs > 0 || max_bytes > 0)) {
      throw new MisfitError(
        `Cannot ${action}: its stream must discard what is new, as it has a bound, received "old"`,
      );
    }
    const [subject = ""] = subjects;
    const found = subject === `${this.#name}.item`
      ? 0
      : Number(/\.of([0-9]+)\.\*$/.exec(subject)?.[1] ?? NaN);
    if (Number.isNaN(found)) {
      throw new MisfitError(
        `Cannot ${action}: its stream must have the subject "${this.#name}.item", received ${
          JSON.stringify(subject)
        }`,
      );
    }
    const { partitions, isKeyed } = this.#options;
    const wanted = partitions ?? (isKeyed && found === 0 ? PARTITIONS : found);
    if (wanted === found) return found;
    throw new MisfitError(
      `Cannot ${action}: partitions must be as many as the stream was made with, which are ${found}, received ${wanted}`,
    );
  }

  /**
   * A server before 2.11 that was killed may wait for the end of messages that it has
   * no longer. They would take room, stop their order, and each of them holds up a
   * delivery whenever its turn comes. It tells which are gone, not which of those it
   * waits for.
   */
  async #endTheGone(consumers: readonly ConsumerInfo[]): Promise<void> {
    const lending = consumers.filter((one) => one.num_ack_pending > 0);
    if (lending.length === 0 || !this.#keepsTheGone) return;
    const { state } = await this.#api<StreamInfo>(
      `look at the stream "${this.#name}"`,
      `STREAM.INFO.${this.#name}`,
      { deleted_details: true },
    );
    await Promise.all(lending.map(async ({ name, ack_floor, delivered }) => {
      const subjects = (state.deleted ?? [])
        .filter((sequence) =>
          sequence > ack_floor.stream_seq && sequence <= delivered.stream_seq
        )
        .map((sequence) => `$JS.ACK.${this.#name}.${name}.1.${sequence}.0.0.0`);
      const last = subjects.pop();
      if (last === undefined) return;
      for (const subject of subjects) {
        this.#client.connection.publish(subject, ACK);
      }
      // They are heard in turn: its answer is for all of them.
      await this.#wire.request(last, ACK);
    }));
  }

  get #keepsTheGone(): boolean {
    const { version = "" } = this.#client.connection.info ?? {};
    const [major = 0, minor = 0] = version.split(".").map(Number);
    return major < 2 || (major === 2 && minor < 11);
  }

  /** Newer servers tell their time with all they tell; others when they make something. */
  async #learnSkew(): Promise<void> {
    if (this.#isSkewKnown) return;
    const before = Date.now();
    const { created } = await this.#api<ConsumerInfo>(
      "ask for the time",
      `CONSUMER.CREATE.${this.#deadStream}`,
      {
        stream_name: this.#deadStream,
        config: {
          ack_policy: "none",
          deliver_policy: "new",
          inactive_threshold: 1e9,
          mem_storage: true,
        },
      },
    );
    this.skew = Date.parse(created) - (before + Date.now()) / 2;
    this.#isSkewKnown = true;
  }

  #serverNow(): number {
    return Date.now() + this.skew;
  }

  /** As the consumers have it: a server before 2.10 that crashed may have messages again that are done. */
  async #counts(): Promise<{ backlog: number; inFlight: number }> {
    const consumers = this.#partitions === 0
      ? [await this.#consumerInfo(WORK)]
      : await this.#consumerList();
    const counts = { backlog: 0, inFlight: 0 };
    for (const { num_pending, num_ack_pending } of consumers) {
      counts.backlog += num_pending;
      counts.inFlight += num_ack_pending;
    }
    return counts;
  }

  async #consumerList(): Promise<ConsumerInfo[]> {
    const { consumers } = await this.#api<{ consumers: ConsumerInfo[] | null }>(
      `look at the consumers of "${this.#name}"`,
      `CONSUMER.LIST.${this.#name}`,
    );
    return consumers ?? [];
  }

  #streamInfo(stream: string): Promise<StreamInfo> {
    return this.#api(`look at the stream "${stream}"`, `STREAM.INFO.${stream}`);
  }

  #consumerInfo(consumer: string): Promise<ConsumerInfo> {
    return this.#api(
      `look at a consumer of "${this.#name}"`,
      `CONSUMER.INFO.${this.#name}.${consumer}`,
    );
  }

  #api<R>(action: string, subject: string, body?: unknown): Promise<R> {
    return this.#wire.api(
      action,
      `${this.#options.apiPrefix}.${subject}`,
      body,
    );
  }

  // -- Putting --------------------------------------------------------------------

  async #sendAll(messages: readonly Outgoing[]): Promise<Answer[]> {
    const subject = this.#itemSubject(undefined);
    return await Promise.all(
      messages.map((message) => this.#publish(subject, message)),
    );
  }

  /** Those of one order one after the other, so that none arrives without those before it. */
  async #sendInPartitions(messages: readonly Outgoing[]): Promise<Answer[]> {
    const last: Map<string, Promise<Answer>> = new Map();
    return await Promise.all(messages.map((message) => {
      const subject = this.#itemSubject(message.key);
      const before = last.get(subject);
      const answer = before === undefined
        ? this.#publish(subject, message)
        : this.#publishAfter(before, subject, message);
      last.set(subject, answer);
      return answer;
    }));
  }

  async #publishAfter(
    before: Promise<Answer>,
    subject: string,
    message: Outgoing,
  ): Promise<Answer> {
    return await before === "full" ? "full" : this.#publish(subject, message);
  }

  async #publish(subject: string, message: Outgoing): Promise<Answer> {
    const headers = this.#wire.headers();
    headers.set("Nats-Msg-Id", message.id);
    if (this.#partitions > 0) {
      const key = encodeURIComponent(message.key ?? "");
      if (key.length > 1_024) return { error: keyError(key.length) };
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

  /** How many there is room for. Others may put at the same time. */
  async #countFitting(messages: readonly Outgoing[]): Promise<number> {
    if (!this.#isBounded) return messages.length;
    const room = await this.#measureRoom();
    const most = Math.min(messages.length, room.messages);
    let count = 0;
    for (; count < most && room.bytes > 0; count++) {
      room.bytes -= messages[count]!.payload.byteLength + STORED;
    }
    return count;
  }

  get #isBounded(): boolean {
    const { capacity, maxBytes } = this.#options;
    return capacity !== Infinity || maxBytes !== Infinity;
  }

  async #measureRoom(): Promise<{ messages: number; bytes: number }> {
    const { capacity, maxBytes } = this.#options;
    const [{ backlog, inFlight }, bytes] = await Promise.all([
      this.#counts(),
      maxBytes === Infinity
        ? 0
        : this.#streamInfo(this.#name).then(({ state }) => state.bytes),
    ]);
    return { messages: capacity - backlog - inFlight, bytes: maxBytes - bytes };
  }

  async #isFull(): Promise<boolean> {
    const room = await this.#measureRoom();
    if (room.messages <= 0 || room.bytes <= 0) return true;
    // Somebody may have given the stream a bound of its own.
    const { config, state } = await this.#streamInfo(this.#name);
    return state.messages >= mostOf(config.max_msgs) ||
      state.bytes >= mostOf(config.max_bytes);
  }

  /** Whoever acknowledges makes room, and can be heard by all. */
  async #nextAcknowledgement(signal: AbortSignal): Promise<void> {
    let wake!: () => void;
    const woken = new Promise<void>((resolve) => wake = resolve);
    const subscription = this.#wire.listenOnce(
      `$JS.ACK.${this.#name}.>`,
      wake,
    );
    const timer = this.#clock.setTimer(wake, ROOM_CHECK);
    signal.addEventListener("abort", wake);
    await woken;
    this.#clock.clearTimer(timer);
    signal.removeEventListener("abort", wake);
    if (!this.#wire.isClosed) subscription.unsubscribe();
  }

  // -- Lending --------------------------------------------------------------------

  async #pull(
    consumer: string,
    batch: number,
    wait: number,
    visibility: number,
  ): Promise<NatsMessage[]> {
    const asked = this.#clock.now();
    const subject =
      `${this.#options.apiPrefix}.CONSUMER.MSG.NEXT.${this.#name}.${consumer}`;
    const incoming = await this.#wire.pull({ subject, batch, wait });
    const messages = incoming.map((message) =>
      this.#inFlight(message, asked, visibility)
    );
    await this.#learnFates(messages);
    if (visibility !== this.#ackWait) {
      for (const message of messages) this.#keep(message);
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
      names: this.#consumers(),
      free: () => this.#freePartitions(),
      pull: (name, visibility) => this.#waitForOne(name, visibility),
      release: (message) => this.release(message, 0),
    });
  }

  /** One that was delivered before may be free as well; the server does not tell. */
  async #freePartitions(): Promise<string[]> {
    return (await this.#consumerList())
      .filter(({ num_pending, num_ack_pending, num_redelivered }) =>
        (num_pending > 0 && num_ack_pending === 0) || num_redelivered > 0
      )
      .map(({ name }) => name);
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
      const { message } = await this.#api<{ message: { data: string } }>(
        "look at what became of a delivery",
        `STREAM.MSG.GET.${this.#noteStream}`,
        { last_by_subj: this.#noteSubject(sequence) },
      );
      return JSON.parse(atob(message.data));
    } catch {
      // Nothing of it is noted, or the word failed: then the message is here all the same.
      return undefined;
    }
  }

  async #note(
    { sequence, delivery }: NatsMessage,
    releases: number,
    state: Fate["state"],
  ): Promise<void> {
    try {
      await (this.#hasNotes ??= this.#makeStream(this.#noteStream, {
        subjects: [this.#noteSubject("*")],
        retention: "limits",
        max_msgs_per_subject: 1,
        max_age: nanoseconds(NOTES_KEPT),
      }));
      const fate: Fate = { delivery, releases, state };
      const fault = faultOf(
        await this.#wire.request(
          this.#noteSubject(sequence),
          JSON.stringify(fate),
        ),
      );
      if (fault !== undefined) {
        throw new ApiError("note what became of a delivery", fault);
      }
    } catch (error) {
      this.#hasNotes = undefined;
      throw error;
    }
  }

  #inFlight(
    message: NatsIncoming,
    asked: number,
    visibility: number,
  ): NatsMessage {
    const reply = message.reply!;
    const { deliveries, sequence, timestamp } = tokensOf(reply);
    const key = this.#partitions === 0 ? undefined : message.headers?.get(KEY);
    return {
      // A copy, as it may be a view of all that came with it.
      payload: new Uint8Array(message.data),
      delivery: deliveries,
      attempt: deliveries,
      releases: 0,
      lost: undefined,
      enqueuedAt: timestamp / 1e6,
      key: key === undefined ? undefined : decodeURIComponent(key),
      reply,
      sequence,
      renewedAt: asked,
      until: asked + visibility,
      timer: undefined,
      isSettled: false,
    };
  }

  /** The server answers for all it hears; only the time tells whether the message is still ours. */
  #holds(message: NatsMessage): boolean {
    const now = this.#clock.now();
    return !this.#wire.isClosed && now < message.until &&
      now < message.renewedAt + this.#ackWait;
  }

  async #settle(message: NatsMessage, word: string): Promise<boolean> {
    message.isSettled = true;
    this.#leave(message);
    if (!this.#holds(message)) return false;
    await this.#wire.request(message.reply, word);
    return true;
  }

  #releaseAll(): void {
    const releasing = this.#releasing;
    this.#releasing = [];
    releasing.sort((a, b) => a.message.sequence - b.message.sequence);
    for (const { go } of releasing) go();
  }

  // -- Times other than the server's ------------------------------------------------

  /** The server lends for one time for all. Who has longer is kept by word of life; who has less is given back when it is over. */
  #keep(message: NatsMessage): void {
    this.#leave(message);
    const now = this.#clock.now();
    const end = message.renewedAt + this.#ackWait;
    if (message.isSettled || now >= end) return;
    this.#kept.add(message);
    const isLast = message.until <= end;
    const at = isLast ? message.until : message.renewedAt + this.#ackWait / 2;
    message.timer = this.#clock.setTimer(
      () => void (isLast ? this.#giveBack(message) : this.#renew(message)),
      Math.max(at - now, isLast ? 0 : this.#ackWait / 16),
    );
  }

  async #renew(message: NatsMessage): Promise<void> {
    if (!this.#holds(message)) return this.#leave(message);
    const asked = this.#clock.now();
    try {
      await this.#wire.request(message.reply, WORKING);
      // An answer that comes late may be to a word for who has got it since.
      if (this.#holds(message)) message.renewedAt = asked;
    } catch {
      // It is tried again, as long as it may help.
    }
    if (this.#kept.has(message)) this.#keep(message);
  }

  async #giveBack(message: NatsMessage): Promise<void> {
    this.#leave(message);
    try {
      await this.#wire.request(message.reply, NAK);
    } catch {
      // The server will do it later.
    }
  }

  #leave(message: NatsMessage): void {
    this.#clock.clearTimer(message.timer);
    this.#kept.delete(message);
  }
}

/** From `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<…>.<timestamp>.<pending>`, or the longer form of newer servers. */
function tokensOf(
  reply: string,
): { deliveries: number; sequence: number; timestamp: number } {
  const tokens = reply.split(".");
  const first = tokens.length >= 11 ? 6 : 4;
  return {
    deliveries: Number(tokens[first]),
    sequence: Number(tokens[first + 1]),
    timestamp: Number(tokens[first + 3]),
  };
}

/** What an acknowledgement of a put says against it. */
function faultOf({ data }: NatsIncoming): ApiFault | undefined {
  const text = decoder.decode(data);
  if (!text.includes('"error"')) return undefined;
  return (JSON.parse(text) as { error?: ApiFault }).error;
}

/** A whole number below 1e21: JSON of it has no exponent, which the server does not read. */
function nanoseconds(milliseconds: number): number {
  return Math.round(Math.min(milliseconds, LONGEST_DELAY) * 1e6);
}

/** As the server words it. */
function boundOf(most: number): number {
  return most === Infinity ? -1 : most;
}

function mostOf(bound: number): number {
  return bound > 0 ? bound : Infinity;
}

function isFault(error: unknown, code: number): boolean {
  return error instanceof ApiError && error.fault.err_code === code;
}

function isBound({ err_code, description }: ApiFault): boolean {
  return err_code === STORE_FAILED && description.startsWith("maximum");
}

/** FNV-1a: the same for all processes, whatever they run on. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (const byte of encoder.encode(key)) {
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return hash >>> 0;
}

/** As a header can hold it. */
function wordsOf(error: unknown): string {
  return wordsFor(error).replace(/\p{C}+/gu, " ").slice(0, 900);
}

function keyError(length: number): RangeError {
  return new RangeError(
    `Cannot put: the key must be at most 1024 bytes, URI-encoded, received ${length}`,
  );
}

function nakAfter(delay: number): string {
  if (delay === 0) return NAK;
  return `${NAK} ${JSON.stringify({ delay: nanoseconds(delay) })}`;
}
