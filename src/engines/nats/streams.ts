/**
 * What there is of a queue on a NATS server: a stream of its items with a consumer, or
 * one for each partition, a stream of its dead letters, and one of notes.
 *
 * @module
 */

import type { Measures } from "../core/driver.ts";
import {
  type Api,
  ApiError,
  type ConsumerInfo,
  type StreamInfo,
} from "./api.ts";
import { askTheTime, endTheGone } from "./old_servers.ts";
import type { NatsWire } from "./wire.ts";

/** How a queue is kept on the server. */
export interface NatsStreamOptions {
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
  /** For how many milliseconds items are lent by default. */
  readonly visibility: number;
  /** What the subjects of JetStream begin with. */
  readonly apiPrefix: string;
}

/** What is on the server is not for us. */
export class MisfitError extends TypeError {}

/** How many partitions a queue with keys has by default. */
const PARTITIONS = 16;
const STREAM_NOT_FOUND = 10_059;
const STREAM_EXISTS = 10_058;
const CONSUMER_NOT_FOUND = 10_014;
/** Longer loans are kept by word of life. */
const LONGEST_LOAN = 3_600_000;
/** 200 years: when it is over has to be a number of nanoseconds since 1970 in 64 bits. */
const LONGEST_DELAY = 200 * 365 * 86_400_000;
/** How long it is noted what became of a delivery: a week. */
const NOTES_KEPT = 604_800_000;
/** The name of the consumer where there is one order of all. */
const WORK = "work";

const encoder = /* @__PURE__ */ new TextEncoder();

/** The streams of one queue. */
export class NatsStreams {
  readonly #wire: NatsWire;
  readonly #name: string;
  readonly #options: NatsStreamOptions;
  /** As the server has it: 0 for one order of all. */
  #partitions = 0;
  /** For how many milliseconds the server lends without further word. */
  #ackWait: number;
  /** How many milliseconds the clock of the server is ahead of that of this process. */
  #skew = 0;
  #isSkewKnown = false;
  readonly #api: Api;

  constructor(wire: NatsWire, name: string, options: NatsStreamOptions) {
    this.#wire = wire;
    this.#name = name;
    this.#options = options;
    this.#ackWait = options.visibility;
    this.#api = (action, subject, body) =>
      wire.api(action, `${options.apiPrefix}.${subject}`, body);
  }

  get ackWait(): number {
    return this.#ackWait;
  }

  get isPartitioned(): boolean {
    return this.#partitions > 0;
  }

  /** The time of the server. */
  get now(): number {
    return Date.now() + this.#skew;
  }

  /** The names of the consumers. */
  get consumers(): string[] {
    if (!this.isPartitioned) return [WORK];
    return Array.from({ length: this.#partitions }, (_, index) => `${index}`);
  }

  /** Where the next message of a consumer is asked for. */
  nextOf(consumer: string): string {
    const { apiPrefix } = this.#options;
    return `${apiPrefix}.CONSUMER.MSG.NEXT.${this.#name}.${consumer}`;
  }

  /** Where items of a key are put. */
  itemSubject(key: string | undefined): string {
    if (!this.isPartitioned) return `${this.#name}.item`;
    const partition = hashOf(key ?? "") % this.#partitions;
    return `${this.#name}.of${this.#partitions}.${partition}`;
  }

  get deadSubject(): string {
    return `${this.#name}.dead`;
  }

  noteSubject(sequence: number | "*"): string {
    return `${this.#name}.note.${sequence}`;
  }

  /** What all hear who listen for acknowledgements. */
  get ackSubjects(): string {
    return `$JS.ACK.${this.#name}.>`;
  }

  // -- Making them ------------------------------------------------------------------

  /** Finds or makes them. Throws a {@linkcode MisfitError} for a stream that will not do. */
  async open(): Promise<void> {
    this.#partitions = this.#partitionsOf(await this.#itemStream());
    await this.#found<unknown>(
      this.#info(this.#deadStream),
      STREAM_NOT_FOUND,
      () =>
        this.#make(this.#deadStream, {
          subjects: [this.deadSubject],
          retention: "limits",
          discard: "old",
          max_msgs: boundOf(this.#options.maxDeadLetters),
        }),
    );
    const consumers = await Promise.all(
      this.consumers.map((name) =>
        this.#found(
          this.#consumer(name),
          CONSUMER_NOT_FOUND,
          () => this.#makeConsumer(name),
        )
      ),
    );
    this.#ackWait = Math.min(
      ...consumers.map(({ config }) => config.ack_wait / 1e6),
    );
    await endTheGone(this.#wire, this.#api, this.#name, consumers);
    if (this.#isSkewKnown) return;
    await this.#timed(
      () => askTheTime(this.#api, this.#deadStream),
      (time) => time,
    );
  }

  /** Makes the place for notes. */
  makeNotes(): Promise<void> {
    return this.#make(this.#noteStream, {
      subjects: [this.noteSubject("*")],
      retention: "limits",
      max_msgs_per_subject: 1,
      max_age: nanoseconds(NOTES_KEPT),
    });
  }

  /** The last note on a message. */
  async noteOn(sequence: number): Promise<string> {
    const { message } = await this.#api<{ message: { data: string } }>(
      "look at what became of a delivery",
      `STREAM.MSG.GET.${this.#noteStream}`,
      { last_by_subj: this.noteSubject(sequence) },
    );
    return atob(message.data);
  }

  get #deadStream(): string {
    return `${this.#name}+dead`;
  }

  get #noteStream(): string {
    return `${this.#name}+notes`;
  }

  async #found<R>(
    finding: Promise<R>,
    missing: number,
    make: () => Promise<R>,
  ): Promise<R> {
    try {
      return await finding;
    } catch (error) {
      if (!isFault(error, missing)) throw error;
      return await make();
    }
  }

  #itemStream(): Promise<StreamInfo> {
    return this.#found(this.#info(this.#name), STREAM_NOT_FOUND, async () => {
      const { partitions, isKeyed, dedupe } = this.#options;
      const keyed = partitions ?? (isKeyed ? PARTITIONS : 0);
      const subject = keyed === 0 ? "item" : `of${keyed}.*`;
      await this.#make(this.#name, {
        subjects: [`${this.#name}.${subject}`],
        retention: "workqueue",
        discard: "new",
        duplicate_window: nanoseconds(dedupe),
      });
      return await this.#info(this.#name);
    });
  }

  /** Somebody else may make it at the same time, and a little differently. */
  async #make(name: string, config: object): Promise<void> {
    const { storage, replicas } = this.#options;
    try {
      await this.#api(`make the stream "${name}"`, `STREAM.CREATE.${name}`, {
        name,
        storage,
        num_replicas: replicas,
        ...config,
      });
    } catch (error) {
      if (!isFault(error, STREAM_EXISTS)) throw error;
    }
  }

  #makeConsumer(name: string): Promise<ConsumerInfo> {
    const order = this.isPartitioned
      ? {
        // The next of an order is lent once the one before it is done.
        max_ack_pending: 1,
        filter_subject: `${this.#name}.of${this.#partitions}.${name}`,
      }
      : { max_ack_pending: -1 };
    const loan = Math.min(this.#options.visibility, LONGEST_LOAN);
    return this.#api(
      `make a consumer of "${this.#name}"`,
      `CONSUMER.DURABLE.CREATE.${this.#name}.${name}`,
      {
        stream_name: this.#name,
        config: {
          durable_name: name,
          ack_policy: "explicit",
          ack_wait: nanoseconds(loan),
          deliver_policy: "all",
          replay_policy: "instant",
          // How often is too often is counted by whoever receives.
          max_deliver: -1,
          max_waiting: 2_048,
          ...order,
        },
      },
    );
  }

  #partitionsOf({ config }: StreamInfo): number {
    const { retention, discard, max_msgs, max_bytes, subjects } = config;
    const refuse = (rule: string): never => {
      throw new MisfitError(
        `Cannot open the queue "${this.#name}" on NATS: ${rule}`,
      );
    };
    if (retention !== "workqueue") {
      refuse(
        `its stream must have the retention "workqueue", received ${
          JSON.stringify(retention)
        }`,
      );
    }
    if (discard === "old" && (max_msgs > 0 || max_bytes > 0)) {
      refuse(
        'its stream must discard what is new, as it has a bound, received "old"',
      );
    }
    const [subject = ""] = subjects;
    const found = subject === `${this.#name}.item`
      ? 0
      : Number(/\.of([0-9]+)\.\*$/.exec(subject)?.[1] ?? NaN);
    if (Number.isNaN(found)) {
      refuse(
        `its stream must have the subject "${this.#name}.item", received ${
          JSON.stringify(subject)
        }`,
      );
    }
    const { partitions, isKeyed } = this.#options;
    const wanted = partitions ?? (isKeyed && found === 0 ? PARTITIONS : found);
    if (wanted !== found) {
      refuse(
        `partitions must be as many as the stream was made with, which are ${found}, received ${wanted}`,
      );
    }
    return found;
  }

  // -- Asking after them ------------------------------------------------------------

  async measure(): Promise<Measures> {
    const [stream, dead, { backlog, inFlight }] = await Promise.all([
      this.#info(this.#name),
      this.#info(this.#deadStream),
      this.#counts(),
    ]);
    return {
      backlog,
      delayed: undefined,
      capacity: this.#options.capacity,
      inFlight,
      oldestAge: backlog + inFlight === 0
        ? undefined
        : Math.max(0, this.now - Date.parse(stream.state.first_ts)),
      deadLetters: dead.state.messages,
    };
  }

  /** How much more the queue takes, by its own bounds. Others may put at the same time. */
  async room(): Promise<{ messages: number; bytes: number }> {
    const { capacity, maxBytes } = this.#options;
    if (capacity === Infinity && maxBytes === Infinity) {
      return { messages: Infinity, bytes: Infinity };
    }
    const [{ backlog, inFlight }, bytes] = await Promise.all([
      this.#counts(),
      maxBytes === Infinity
        ? 0
        : this.#info(this.#name).then(({ state }) => state.bytes),
    ]);
    return { messages: capacity - backlog - inFlight, bytes: maxBytes - bytes };
  }

  async isFull(): Promise<boolean> {
    const { messages, bytes } = await this.room();
    if (messages <= 0 || bytes <= 0) return true;
    // Somebody may have given the stream a bound of its own.
    const { config, state } = await this.#info(this.#name);
    return state.messages >= mostOf(config.max_msgs) ||
      state.bytes >= mostOf(config.max_bytes);
  }

  /** The partitions that seem to have a message that nobody has. One that was delivered before may be free as well; the server does not tell. */
  async freePartitions(): Promise<string[]> {
    return (await this.#consumerInfos())
      .filter(({ num_pending, num_ack_pending, num_redelivered }) =>
        (num_pending > 0 && num_ack_pending === 0) || num_redelivered > 0
      )
      .map(({ name }) => name);
  }

  async #counts(): Promise<{ backlog: number; inFlight: number }> {
    const counts = { backlog: 0, inFlight: 0 };
    for (
      const { num_pending, num_ack_pending } of await this.#consumerInfos()
    ) {
      counts.backlog += num_pending;
      counts.inFlight += num_ack_pending;
    }
    return counts;
  }

  async #consumerInfos(): Promise<ConsumerInfo[]> {
    if (!this.isPartitioned) return [await this.#consumer(WORK)];
    const { consumers } = await this.#api<{ consumers: ConsumerInfo[] | null }>(
      `look at the consumers of "${this.#name}"`,
      `CONSUMER.LIST.${this.#name}`,
    );
    return consumers ?? [];
  }

  #consumer(name: string): Promise<ConsumerInfo> {
    return this.#api(
      `look at a consumer of "${this.#name}"`,
      `CONSUMER.INFO.${this.#name}.${name}`,
    );
  }

  #info(stream: string): Promise<StreamInfo> {
    return this.#timed(
      () =>
        this.#api<StreamInfo>(
          `look at the stream "${stream}"`,
          `STREAM.INFO.${stream}`,
        ),
      ({ ts }) => ts,
    );
  }

  /** Compares the clocks, where an answer tells the time. */
  async #timed<R>(
    ask: () => Promise<R>,
    timeIn: (answer: R) => string | undefined,
  ): Promise<R> {
    const asked = Date.now();
    const answer = await ask();
    const time = timeIn(answer);
    if (time !== undefined) {
      this.#skew = Date.parse(time) - (asked + Date.now()) / 2;
      this.#isSkewKnown = true;
    }
    return answer;
  }
}

/** A whole number below 1e21: JSON of it has no exponent, which the server does not read. */
export function nanoseconds(milliseconds: number): number {
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

/** FNV-1a: the same for all processes, whatever they run on. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (const byte of encoder.encode(key)) {
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return hash >>> 0;
}
