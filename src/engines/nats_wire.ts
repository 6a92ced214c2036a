/**
 * Questions to a NATS server, each with its answer: over one subscription, with
 * one alarm, and at an end when the connection breaks.
 *
 * @module
 */

import type { Clock } from "../clock.ts";
import type {
  NatsClient,
  NatsConnection,
  NatsHeaders,
  NatsIncoming,
  NatsSubscription,
} from "./nats_client.ts";

/** What JetStream refused a request with. */
export interface ApiFault {
  readonly code: number;
  readonly err_code: number;
  readonly description: string;
}

/** JetStream refused a request. */
export class ApiError extends Error {
  readonly fault: ApiFault;

  constructor(action: string, fault: ApiFault) {
    super(
      `Cannot ${action} on NATS: ${fault.description} (code ${fault.code}, err_code ${fault.err_code})`,
    );
    this.name = "NatsApiError";
    this.fault = fault;
  }
}

/** What a wire is made of. */
export interface WireOptions {
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
  readonly askedAt: number;
  readonly resolve: (message: NatsIncoming) => void;
  readonly reject: (error: unknown) => void;
}

const decoder = new TextDecoder();

/** One handle's side of a connection. */
export class Wire {
  readonly #client: NatsClient;
  readonly #options: WireOptions;
  #health: Health | undefined = undefined;
  readonly #inbox: string;
  /** In the order of their asking. */
  readonly #questions: Map<string, Question> = new Map();
  readonly #pulls: Set<Pull> = new Set();
  #answers: NatsSubscription | undefined = undefined;
  #alarm: unknown = undefined;
  #count = 0;
  readonly #broken = (): void => this.#break();

  constructor(client: NatsClient, options: WireOptions) {
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
    throw new Error(
      `Cannot reach NATS: the connection must be there, received one that is ${
        this.isClosed ? "closed" : "broken"
      }`,
    );
  }

  headers(): NatsHeaders {
    return this.#client.headers();
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
      this.#questions.set(name, { askedAt, resolve, reject });
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
    const pull = new Pull(
      this.#client.connection,
      `${this.#inbox}.pull.${++this.#count}`,
      options,
      this.#options,
    );
    this.#pulls.add(pull);
    try {
      return await pull.run();
    } finally {
      this.#pulls.delete(pull);
    }
  }

  /** Calls back with the next message on a subject, once. */
  listenOnce(subject: string, callback: () => void): NatsSubscription {
    return this.#client.connection.subscribe(subject, { max: 1, callback });
  }

  /** What is without an answer rejects. */
  close(): void {
    this.#break();
    this.#health?.listeners.delete(this.#broken);
    if (!this.isClosed) this.#answers?.unsubscribe();
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
    if (this.#questions.size === 0) this.#watch();
    if (message.data.length === 0 && message.headers?.code === 503) {
      question.reject(
        new Error(
          "Cannot ask NATS: the server must have JetStream and the stream, received word that nobody answers there",
        ),
      );
    } else question.resolve(message);
  }

  #break(): void {
    const questions = [...this.#questions.values()];
    this.#questions.clear();
    this.#watch();
    for (const { reject } of questions) reject(brokenError());
    for (const pull of this.#pulls) pull.break();
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

/** One request for messages. */
class Pull {
  readonly #connection: NatsConnection;
  readonly #inbox: string;
  readonly #options: PullOptions;
  readonly #wire: WireOptions;
  readonly #messages: NatsIncoming[] = [];
  #isOver = false;
  #resolve!: (messages: NatsIncoming[]) => void;
  #reject!: (error: unknown) => void;
  #subscription!: NatsSubscription;
  #alarm: unknown = undefined;

  constructor(
    connection: NatsConnection,
    inbox: string,
    options: PullOptions,
    wire: WireOptions,
  ) {
    this.#connection = connection;
    this.#inbox = inbox;
    this.#options = options;
    this.#wire = wire;
  }

  async run(): Promise<NatsIncoming[]> {
    const { subject, batch, wait } = this.#options;
    const { clock, timeout } = this.#wire;
    const over = new Promise<NatsIncoming[]>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#subscription = this.#connection.subscribe(this.#inbox, {
      callback: (error, message) => {
        if (error === null) this.#arrived(message);
        else this.#fail(error);
      },
    });
    const body = wait === 0
      ? { batch, no_wait: true }
      : { batch, expires: wait * 1e6 };
    this.#connection.publish(subject, JSON.stringify(body), {
      reply: this.#inbox,
    });
    this.#alarm = clock.setTimer(
      () => this.#fail(lateError(timeout)),
      wait + timeout,
    );
    try {
      return await over;
    } finally {
      clock.clearTimer(this.#alarm);
    }
  }

  /** The connection broke. */
  break(): void {
    this.#fail(brokenError());
  }

  #arrived(message: NatsIncoming): void {
    if (message.reply) {
      this.#messages.push(message);
      if (this.#messages.length === this.#options.batch) this.#end();
      return;
    }
    const { code = 0, description = "" } = message.headers ?? {};
    if (code === 404 || code === 408) this.#end();
    else if (code >= 400) {
      this.#fail(
        new Error(`Cannot fetch from NATS: ${description} (code ${code})`),
      );
    }
  }

  #end(): void {
    if (this.#isOver) return;
    this.#leave();
    this.#resolve(this.#messages);
  }

  /** What has come is lent to us all the same. */
  #fail(error: unknown): void {
    this.#leave();
    if (this.#messages.length > 0) this.#resolve(this.#messages);
    else this.#reject(error);
  }

  #leave(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (!this.#connection.isClosed()) this.#subscription.unsubscribe();
  }
}

/** Whether a connection is up, for all handles that use it. */
interface Health {
  isUp: boolean;
  readonly listeners: Set<() => void>;
}

const healths: WeakMap<NatsConnection, Health> = new WeakMap();

function healthOf(connection: NatsConnection): Health {
  let health = healths.get(connection);
  if (health === undefined) {
    health = { isUp: true, listeners: new Set() };
    healths.set(connection, health);
    void follow(connection, health);
  }
  return health;
}

async function follow(
  connection: NatsConnection,
  health: Health,
): Promise<void> {
  for await (const { type } of connection.status()) {
    if (type === "reconnect") health.isUp = true;
    else if (type === "disconnect" || type === "close") {
      health.isUp = false;
      for (const listener of [...health.listeners]) listener();
    }
  }
  health.isUp = false;
  for (const listener of [...health.listeners]) listener();
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
