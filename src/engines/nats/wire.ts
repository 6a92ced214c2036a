/**
 * Questions to a NATS server, each with its answer: over one subscription, with
 * one alarm, and at an end when the connection breaks.
 *
 * @module
 */

import type { Clock } from "../../clock.ts";
import { type Deferred, deferred } from "../../waiters.ts";
import { ApiError, type ApiFault } from "./api.ts";
import type {
  NatsClient,
  NatsConnection,
  NatsHeaders,
  NatsIncoming,
  NatsStatus,
  NatsSubscription,
} from "./client.ts";

/** There is no answer to wait for. */
export class NoWayError extends Error {
  /** Whether that will not change by itself; undefined where only time can tell. */
  readonly lasts: boolean | undefined;

  constructor(message: string, lasts: boolean | undefined) {
    super(message);
    this.name = "NatsError";
    this.lasts = lasts;
  }
}

const NO_JETSTREAM = [10_039, 10_076];

/** Whether an error will not pass by itself. A stream that is gone is made again. */
export function lasts(error: unknown): boolean | undefined {
  if (error instanceof NoWayError) return error.lasts;
  if (!(error instanceof ApiError)) return false;
  const { code, err_code } = error.fault;
  if (NO_JETSTREAM.includes(err_code)) return true;
  return code >= 400 && code < 500 && ![404, 408, 429].includes(code);
}

/** What a wire is made of. */
export interface NatsWireOptions {
  readonly clock: Clock;
  /** What the subjects begin with that answers come to. */
  readonly inboxPrefix: string;
  /** After how many milliseconds a question counts as not answered. */
  readonly timeout: number;
}

/** Messages that were asked for. */
export interface PullOptions {
  /** Where to ask. */
  readonly subject: string;
  /** The most messages that come. */
  readonly batch: number;
  /** How many milliseconds the server waits for them; 0 for what is there. */
  readonly wait: number;
}

interface Question {
  readonly subject: string;
  readonly askedAt: number;
  readonly resolve: (message: NatsIncoming) => void;
  readonly reject: (error: unknown) => void;
}

const decoder = /* @__PURE__ */ new TextDecoder();

/** One handle's side of a connection. */
export class NatsWire {
  readonly #client: NatsClient;
  readonly #options: NatsWireOptions;
  #health: Health | undefined = undefined;
  readonly #inbox: string;
  /** In the order of their asking. */
  readonly #questions: Map<string, Question> = new Map();
  /** By the subject where messages are asked for. */
  readonly #sources: Map<string, PullSource> = new Map();
  #answers: NatsSubscription | undefined = undefined;
  #alarm: unknown = undefined;
  #count = 0;
  /** How many milliseconds an answer has taken of late, at most. */
  #roundTrip = 0;
  readonly #broken = (refusal?: Refusal): void => {
    if (refusal === undefined) this.#break();
    else this.#refused(refusal);
  };

  constructor(client: NatsClient, options: NatsWireOptions) {
    this.#client = client;
    this.#options = options;
    this.#inbox = `${options.inboxPrefix}.${
      crypto.randomUUID().replaceAll("-", "")
    }`;
  }

  /** Whether the connection is over for good. */
  get isClosed(): boolean {
    return this.#client.connection.isClosed();
  }

  /** Throws unless there is a connection just now. */
  checkUp(): void {
    const { connection } = this.#client;
    if (this.#watchHealth().isUp && connection.info && !this.isClosed) return;
    throw new NoWayError(
      `Cannot reach NATS: the connection must be there, received one that is ${
        this.isClosed ? "closed" : "broken"
      }${wordsOf(this.#health?.failure)}`,
      this.isClosed,
    );
  }

  headers(): NatsHeaders {
    return this.#client.headers();
  }

  /** The version of the server, as long as one is there. */
  get version(): string {
    return this.#client.connection.info?.version ?? "";
  }

  /** Publishes, for nobody's answer. */
  tell(subject: string, text: string): void {
    this.#client.connection.publish(subject, text);
  }

  /** Publishes, and fulfils with the first answer. */
  request(
    subject: string,
    payload: Uint8Array | string,
    headers?: NatsHeaders,
  ): Promise<NatsIncoming> {
    return new Promise((resolve, reject) => {
      this.checkUp();
      this.#listen();
      const name = String(++this.#count);
      const reply = `${this.#inbox}.${name}`;
      const askedAt = this.#options.clock.now();
      this.#questions.set(name, { subject, askedAt, resolve, reject });
      try {
        this.#client.connection.publish(
          subject,
          payload,
          headers === undefined ? { reply } : { reply, headers },
        );
      } catch (error) {
        this.#questions.delete(name);
        throw error;
      }
      this.#watch();
    });
  }

  /** A request to JetStream. Throws an {@linkcode ApiError} for what it refuses. */
  async api<R>(action: string, subject: string, body?: unknown): Promise<R> {
    const text = body === undefined ? "" : JSON.stringify(body);
    const { data } = await this.request(subject, text);
    const answer = JSON.parse(decoder.decode(data)) as { error?: ApiFault };
    if (answer.error !== undefined) throw new ApiError(action, answer.error);
    return answer as R;
  }

  /** Asks for messages, and fulfils with what came. There is no way to take the question back: what the server sends at that moment would be lost until its time is over. */
  async pull(options: PullOptions): Promise<NatsIncoming[]> {
    this.checkUp();
    const { subject } = options;
    let source = this.#sources.get(subject);
    if (source === undefined) {
      const inbox = `${this.#inbox}.pull.${this.#sources.size}`;
      source = new PullSource(this.#client.connection, inbox, this.#options);
      this.#sources.set(subject, source);
    }
    return await source.pull(options, this.#roundTrip);
  }

  /** Calls back with the next message on a subject, once. */
  listenOnce(subject: string, callback: () => void): NatsSubscription {
    return this.#client.connection.subscribe(subject, { max: 1, callback });
  }

  /** What is without an answer rejects. */
  close(): void {
    this.#break();
    this.#health?.listeners.delete(this.#broken);
    if (!this.isClosed) {
      this.#answers?.unsubscribe();
      for (const source of this.#sources.values()) source.close();
    }
    this.#sources.clear();
    this.#answers = undefined;
  }

  #watchHealth(): Health {
    if (this.#health === undefined) {
      this.#health = healthOf(this.#client.connection);
      this.#health.listeners.add(this.#broken);
    }
    return this.#health;
  }

  #listen(): void {
    if (this.#answers !== undefined) return;
    this.#answers = this.#client.connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error === null) this.#answered(message);
      },
    });
  }

  #answered(message: NatsIncoming): void {
    const name = message.subject.slice(this.#inbox.length + 1);
    const question = this.#questions.get(name);
    if (question === undefined) return;
    this.#questions.delete(name);
    const took = this.#options.clock.now() - question.askedAt;
    this.#roundTrip = Math.max(took, 0.9 * this.#roundTrip);
    if (this.#questions.size === 0) this.#watch();
    if (message.data.length === 0 && message.headers?.code === 503) {
      question.reject(
        new NoWayError(
          "Cannot ask NATS: the server must have JetStream and the stream, received word that nobody answers there",
          // While a cluster chooses its leader nobody does either.
          undefined,
        ),
      );
    } else question.resolve(message);
  }

  #break(): void {
    const questions = [...this.#questions.values()];
    this.#questions.clear();
    this.#watch();
    for (const { reject } of questions) reject(brokenError());
    for (const source of this.#sources.values()) source.break();
  }

  /** The server lets us not say or hear something. It does not tell which question that was, but which subject. */
  #refused({ subject, message }: Refusal): void {
    const error = new NoWayError(`Cannot ask NATS: ${message}`, true);
    const isOurs = subject.startsWith(this.#inbox);
    for (const [name, question] of this.#questions) {
      if (!isOurs && question.subject !== subject) continue;
      this.#questions.delete(name);
      question.reject(error);
    }
    if (this.#questions.size === 0) this.#watch();
    for (const [from, source] of this.#sources) {
      if (isOurs || from === subject) source.fail(error);
    }
  }

  /** The alarm is for the oldest question. */
  #watch(): void {
    const { clock, timeout } = this.#options;
    if (this.#questions.size === 0) {
      clock.clearTimer(this.#alarm);
      this.#alarm = undefined;
      return;
    }
    if (this.#alarm !== undefined) return;
    const { askedAt } = this.#questions.values().next().value!;
    this.#alarm = clock.setTimer(
      () => this.#giveUpLate(),
      Math.max(0, askedAt + timeout - clock.now()),
    );
  }

  #giveUpLate(): void {
    this.#alarm = undefined;
    const { clock, timeout } = this.#options;
    for (const [name, { askedAt, reject }] of this.#questions) {
      if (askedAt + timeout > clock.now()) break;
      this.#questions.delete(name);
      reject(lateError(timeout));
    }
    this.#watch();
  }
}

/** To be delivered again. */
export const NAK = "-NAK";
/** It is still worked on. */
export const WORKING = "+WPI";
/** How much later than it has to come an answer may come, on a connection without any delay. */
const PATIENCE = 50;

/**
 * Where messages are asked for, by one question at a time.
 *
 * A server may forget a question (see `old_servers.ts`), so one whose answer is late is asked again. Nothing is lost if it was
 * not forgotten: all questions have one subscription, and what comes late is for
 * the next of them, or goes back when there is none.
 */
class PullSource {
  readonly #connection: NatsConnection;
  readonly #inbox: string;
  readonly #wire: NatsWireOptions;
  #subscription: NatsSubscription | undefined = undefined;
  #pull: Pull | undefined = undefined;
  #count = 0;
  /** Since when questions have had no answer. */
  #silentSince: number | undefined = undefined;

  constructor(
    connection: NatsConnection,
    inbox: string,
    wire: NatsWireOptions,
  ) {
    this.#connection = connection;
    this.#inbox = inbox;
    this.#wire = wire;
  }

  async pull(
    { subject, batch, wait }: PullOptions,
    roundTrip: number,
  ): Promise<NatsIncoming[]> {
    this.#subscription ??= this.#connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error !== null) this.#pull?.fail(error);
        else this.#arrived(message);
      },
    });
    const { clock } = this.#wire;
    const reply = `${this.#inbox}.${++this.#count}`;
    const pull = this.#pull = new Pull(reply, batch);
    const body = wait === 0
      ? { batch, no_wait: true }
      : { batch, expires: wait * 1e6 };
    this.#silentSince ??= clock.now() + wait;
    this.#connection.publish(subject, JSON.stringify(body), { reply });
    const alarm = clock.setTimer(
      () => this.#isLate(pull),
      wait + PATIENCE + 4 * roundTrip,
    );
    try {
      return await pull.over.promise;
    } finally {
      clock.clearTimer(alarm);
      this.#pull = undefined;
    }
  }

  /** The connection broke. */
  break(): void {
    this.fail(brokenError());
  }

  /** There will be no answer. */
  fail(error: unknown): void {
    this.#pull?.fail(error);
  }

  close(): void {
    this.#subscription?.unsubscribe();
  }

  #arrived(message: NatsIncoming): void {
    this.#silentSince = undefined;
    if (this.#pull !== undefined) this.#pull.arrived(message);
    else if (message.reply) this.#connection.publish(message.reply, NAK);
  }

  #isLate(pull: Pull): void {
    const { clock, timeout } = this.#wire;
    const isSilent = this.#silentSince !== undefined &&
      clock.now() >= this.#silentSince + timeout;
    if (!isSilent) return pull.end();
    this.#silentSince = undefined;
    pull.fail(lateError(timeout));
  }
}

/** One question for messages. */
class Pull {
  readonly over: Deferred<NatsIncoming[]> = deferred();
  readonly #reply: string;
  readonly #batch: number;
  readonly #messages: NatsIncoming[] = [];

  constructor(reply: string, batch: number) {
    this.#reply = reply;
    this.#batch = batch;
  }

  arrived(message: NatsIncoming): void {
    if (message.reply) {
      this.#messages.push(message);
      if (this.#messages.length === this.#batch) this.end();
      return;
    }
    // The last word on a question that was given up.
    if (message.subject !== this.#reply) return;
    const { code = 0, description = "" } = message.headers ?? {};
    if (code === 404 || code === 408) this.end();
    else if (code >= 400) {
      this.fail(
        new Error(`Cannot fetch from NATS: ${description} (code ${code})`),
      );
    }
  }

  /** What has come is lent to us all the same. */
  fail(error: unknown): void {
    if (this.#messages.length > 0) this.end();
    else this.over.reject(error);
  }

  /** Takes what has come for all there is. */
  end(): void {
    this.over.resolve(this.#messages);
  }
}

/** What a server did not permit. */
interface Refusal {
  readonly subject: string;
  readonly message: string;
}

/** Whether a connection is up, for all handles that use it. */
interface Health {
  isUp: boolean;
  /** What it broke with last. */
  failure: unknown;
  readonly listeners: Set<(refusal?: Refusal) => void>;
}

const healths: WeakMap<NatsConnection, Health> = new WeakMap();

function healthOf(connection: NatsConnection): Health {
  let health = healths.get(connection);
  if (health === undefined) {
    health = { isUp: true, failure: undefined, listeners: new Set() };
    healths.set(connection, health);
    void follow(connection, health);
  }
  return health;
}

async function follow(
  connection: NatsConnection,
  health: Health,
): Promise<void> {
  void connection.closed?.().then((error) =>
    health.failure = error ?? undefined
  );
  for await (const event of connection.status()) {
    const { type } = event;
    const refusal = refusalIn(event);
    if (type === "reconnect") health.isUp = true;
    else if (type === "disconnect" || type === "close") {
      health.isUp = false;
      for (const listener of [...health.listeners]) listener();
    } else if (refusal !== undefined) {
      for (const listener of [...health.listeners]) listener(refusal);
    }
  }
  health.isUp = false;
  for (const listener of [...health.listeners]) listener();
}

/** Older clients tell it as `data` and `permissionContext`, newer ones as an `error`. */
function refusalIn(
  { error, permissionContext }: NatsStatus,
): Refusal | undefined {
  const { subject, message } = (error ?? {}) as Partial<Refusal>;
  if (typeof subject === "string") return { subject, message: String(message) };
  if (permissionContext === undefined) return undefined;
  const { operation, subject: refused } = permissionContext;
  return {
    subject: refused,
    message: `Permissions Violation for ${operation} to "${refused}"`,
  };
}

function wordsOf(failure: unknown): string {
  return failure instanceof Error ? `: ${failure.message}` : "";
}

function brokenError(): Error {
  return new Error(
    "Cannot ask NATS: the connection must hold until the answer, received its end",
  );
}

function lateError(timeout: number): Error {
  return new Error(
    `Cannot ask NATS: the answer must come within ${timeout} ms, received none`,
  );
}
