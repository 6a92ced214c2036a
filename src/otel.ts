/**
 * Queues for OpenTelemetry: their counters as metrics, and the trace of whoever
 * puts an item around whoever works on it.
 *
 * It is written against the types of `@opentelemetry/api` and imports nothing of
 * it: what is needed of it is handed in. `@opentelemetry/api` 1.9 and later will
 * do, with any SDK, or with Deno's own exporter (`OTEL_DENO=true`).
 *
 * @example A queue with metrics and traces
 * ```ts
 * import * as api from "@opentelemetry/api";
 * import { consume, Queue } from "@highwater/queue";
 * import { instrument, tracing } from "@highwater/queue/otel";
 * import { assertEquals } from "@std/assert";
 *
 * const meter = api.metrics.getMeter("my-service");
 * const traces = tracing(api, { tracer: api.trace.getTracer("my-service"), meter });
 *
 * const jobs = new Queue<{ page: number }>(
 *   traces.captureAtPut({ name: "jobs", highWaterMark: 100, timestamps: true }),
 * );
 * const instruments = instrument(jobs, meter);
 *
 * await jobs.put({ page: 1 }); // notes the active context
 * jobs.close();
 * const pages: number[] = [];
 * await consume(
 *   jobs,
 *   traces.restoreAround(({ page }: { page: number }) => void pages.push(page)), // in a span of that trace
 * );
 * assertEquals(pages, [1]);
 * instruments.stop();
 * ```
 *
 * @module
 */

import type {
  Attributes,
  BatchObservableResult,
  Context,
  ContextAPI,
  Histogram,
  Link,
  Meter,
  Observable,
  PropagationAPI,
  Span,
  SpanKind,
  SpanStatusCode,
  TraceAPI,
  Tracer,
} from "@opentelemetry/api";
import { isThenable, refusePromise } from "./callbacks.ts";
import { checkClock, systemClock } from "./clock.ts";
import type { Clock } from "./clock.ts";
import {
  checkCallbacks,
  checkFunction,
  checkObject,
  checkOptions,
  checkString,
} from "./checks.ts";
import type { Delivery } from "./delivery.ts";
import type { EngineQueue } from "./engines/core/engine_queue.ts";
import type {
  BatchHandler,
  ConsumeContext,
  Handler,
} from "./flow/consume/options.ts";
import { ObservedQueue, type Operation } from "./otel/client.ts";
import { ask, type Counters, Inquiry, listed, nameOf } from "./counters.ts";
import type { Monitored } from "./counters.ts";
import { MEASURES, type Reading } from "./measures.ts";
import type { QueueOptions } from "./strategy.ts";

const SYSTEM = "messaging.system";
const DESTINATION = "messaging.destination.name";
const OPERATION = "messaging.operation.name";

// -- Metrics ------------------------------------------------------------------

/** For how many milliseconds a collection waits for an engine. */
const PATIENCE = 5_000;

/** Options of {@linkcode instrument}. */
export interface InstrumentOptions {
  /** Attributes of every measurement, beside the name of the queue. Default: none. */
  attributes?: Attributes | undefined;
  /** The clock of the queues, for the age of the oldest item. Default: the machine's. */
  clock?: Clock | undefined;
}

/** What {@linkcode instrument} has attached to a meter. */
export interface Instrumentation extends Disposable {
  /** Takes it off again: from then on nothing is measured, and the queues are let go. Nothing happens the second time. */
  stop(): void;
}

/** The attributes of the values of a queue: of all, of those of puts and of gets. */
interface Measured {
  readonly all: Attributes;
  readonly put: Attributes;
  readonly get: Attributes;
}

/**
 * Measures one queue or several whenever the SDK of the meter collects.
 *
 * Nothing is added to the queues: a collection is one `stats()` a queue, so all
 * values of a queue are of the same moment, and between collections there is no
 * cost. The meter holds the queues until {@linkcode Instrumentation.stop}.
 *
 * All values have the attributes `messaging.system` (`"highwater"`) and
 * `messaging.destination.name` (the name of the queue, left out where it has none).
 *
 * | instrument | kind, unit | what |
 * |---|---|---|
 * | `messaging.client.sent.messages` | counter, `{message}` | items put; `messaging.operation.name` is `"put"` |
 * | `messaging.client.consumed.messages` | counter, `{message}` | items taken; `"get"` |
 * | `highwater.queue.dropped` | counter, `{message}` | items dropped by the overflow policy |
 * | `highwater.queue.undelivered` | counter, `{message}` | accepted items that reached no consumer |
 * | `highwater.queue.returned` | counter, `{message}` | lent items that came back |
 * | `highwater.queue.length` | up-down counter, `{message}` | items stored |
 * | `highwater.queue.size` | up-down counter, `1` | their weight, in the unit of `size` |
 * | `highwater.queue.limit` | up-down counter, `1` | `highWaterMark`; nothing while it is Infinity |
 * | `highwater.queue.utilization` | gauge, `1` | the share of it that is in use, above 1 while puts wait |
 * | `highwater.queue.oldest.age` | gauge, `s` | age of the item whose turn it is; needs `timestamps`, nothing while there is none |
 * | `highwater.queue.in_flight` | up-down counter, `{message}` | items that are lent |
 * | `highwater.queue.delayed` | up-down counter, `{message}` | items that a `nack` with a delay keeps back |
 * | `highwater.queue.dead_letters` | up-down counter, `{message}` | items among the dead letters of an engine that tells |
 * | `highwater.queue.waiting` | up-down counter, `{operation}` | puts that wait (`messaging.operation.name` is `"put"`), and gets (`"get"`) |
 *
 * The first two are those of the semantic conventions for messaging, which have no
 * names for the others.
 *
 * A queue on an engine is asked at each collection, and has no values in one in
 * which it fails or does not answer within five seconds.
 *
 * Throws a `TypeError` for what is no queue or no meter, a `RangeError` for no
 * queue at all and for two queues of one name: their values could not be told
 * apart.
 *
 * @example From the start of a service to its end
 * ```ts
 * import { metrics } from "@opentelemetry/api";
 * import { Queue } from "@highwater/queue";
 * import { instrument } from "@highwater/queue/otel";
 * import { assertEquals } from "@std/assert";
 *
 * const pages = new Queue<string>({ name: "pages", timestamps: true });
 * const images = new Queue<string>({ name: "images", timestamps: true });
 * {
 *   using _instruments = instrument([pages, images], metrics.getMeter("crawler"));
 *   await pages.put("https://example.com/");
 *   assertEquals(await pages.get(), "https://example.com/");
 * } // measured until here
 * ```
 */
export function instrument(
  queues: Monitored | Iterable<Monitored>,
  meter: Meter,
  options: InstrumentOptions = {},
): Instrumentation {
  const list = listed("instrument", queues);
  checkFunction(
    "instrument",
    "meter.addBatchObservableCallback",
    meter?.addBatchObservableCallback,
  );
  checkOptions("instrument", options, { attributes: true, clock: true });
  const { attributes, clock = systemClock } = options;
  checkClock("instrument", clock);
  const measured = list.map((queue) => withAttributes(queue, attributes));
  checkNames(measured);
  const inquiries = list.map((queue) => new Inquiry(queue));
  const instruments = makeInstruments(meter);
  const observe = (result: BatchObservableResult, all: Counters[]): void => {
    for (const [index, one] of measured.entries()) {
      const counters = all[index]!;
      // Numbers of before are none.
      if (counters.failure === undefined) {
        observeAll(instruments, counters, one, result);
      }
    }
  };
  const measure = (result: BatchObservableResult): void | Promise<void> => {
    const all = ask(inquiries, clock, PATIENCE);
    if (!("then" in all)) return observe(result, all);
    return all.then((answers) => observe(result, answers));
  };
  const observables = instruments.map(({ observable }) => observable);
  meter.addBatchObservableCallback(measure, observables);
  const stop = (): void => {
    meter.removeBatchObservableCallback(measure, observables);
    measured.length = 0;
    inquiries.length = 0;
  };
  return { stop, [Symbol.dispose]: stop };
}

/** What is observed, and how each of its values is found. */
interface Instrument {
  readonly observable: Observable;
  readonly values: Values;
}

type Values = { readonly [Whose in keyof Measured]?: Reading };

function makeInstruments(meter: Meter): Instrument[] {
  const shared = MEASURES.map(([kind, name, help, all]) => {
    const unit = name === "size" ? "1" : "{message}";
    return [kind, `highwater.queue.${name}`, help, unit, { all }] as const;
  });
  return [...shared, ...OWN].map(([kind, name, description, unit, values]) => {
    const options = { description, unit };
    const observable = kind === "counter"
      ? meter.createObservableCounter(name, options)
      : kind === "level"
      ? meter.createObservableUpDownCounter(name, options)
      : meter.createObservableGauge(name, options);
    return { observable, values };
  });
}

/** What OpenTelemetry has beside what others have. */
const OWN: readonly (readonly [
  kind: "counter" | "level" | "gauge",
  name: string,
  description: string,
  unit: string,
  values: Values,
])[] = [
  ["counter", "messaging.client.sent.messages", "Items put.", "{message}", {
    put: ({ put }) => put,
  }],
  [
    "counter",
    "messaging.client.consumed.messages",
    "Items taken.",
    "{message}",
    { get: ({ taken }) => taken },
  ],
  ["level", "highwater.queue.limit", "The highWaterMark.", "1", {
    all: ({ highWaterMark }) =>
      highWaterMark === Infinity ? undefined : highWaterMark,
  }],
  [
    "gauge",
    "highwater.queue.utilization",
    "Share of the highWaterMark in use, puts that wait included.",
    "1",
    { all: ({ fill }) => fill },
  ],
  [
    "gauge",
    "highwater.queue.oldest.age",
    "Age of the item whose turn it is.",
    "s",
    { all: ({ oldestAge }) => oldestAge && oldestAge / 1000 },
  ],
  [
    "level",
    "highwater.queue.waiting",
    "Puts that wait for room, and gets that wait for an item.",
    "{operation}",
    {
      put: ({ waitingPuts }) => waitingPuts,
      get: ({ own }) => own?.waitingGets,
    },
  ],
];

/** Of one queue at one moment. */
function observeAll(
  instruments: Instrument[],
  counters: Counters,
  attributes: Measured,
  result: BatchObservableResult,
): void {
  for (const { observable, values } of instruments) {
    for (const whose of ["all", "put", "get"] as const) {
      const value = values[whose]?.(counters);
      if (value === undefined) continue;
      result.observe(observable, value, attributes[whose]);
    }
  }
}

function withAttributes(queue: Monitored, more?: Attributes): Measured {
  const all = { ...more, ...attributesOf(nameOf(queue)) };
  return {
    all,
    put: { ...all, [OPERATION]: "put" },
    get: { ...all, [OPERATION]: "get" },
  };
}

function checkNames(queues: Measured[]): void {
  const names = new Set<unknown>();
  for (const { all: { [DESTINATION]: name } } of queues) {
    if (names.has(name)) {
      throw new RangeError(
        `Cannot instrument: queues must have names of their own, received ${
          JSON.stringify(name ?? "")
        } twice`,
      );
    }
    names.add(name);
  }
}

function attributesOf(name: string | undefined): Attributes {
  const attributes: Attributes = { [SYSTEM]: "highwater" };
  if (name !== undefined && name !== "") attributes[DESTINATION] = name;
  return attributes;
}

// -- Traces -------------------------------------------------------------------

/** What {@linkcode tracing} needs of `@opentelemetry/api`: `import * as api from "@opentelemetry/api"` is one. */
export interface TraceApi {
  /** The contexts. */
  readonly context: Pick<ContextAPI, "active" | "with">;
  /** The spans in them. */
  readonly trace: Pick<TraceAPI, "setSpan" | "getSpanContext">;
  /** How contexts become words, for what crosses processes. */
  readonly propagation: Pick<PropagationAPI, "inject" | "extract">;
  /** The context without anything. */
  readonly ROOT_CONTEXT: Context;
  /** Kinds of spans. */
  readonly SpanKind: {
    readonly CLIENT: SpanKind;
    readonly CONSUMER: SpanKind;
    readonly PRODUCER: SpanKind;
  };
  /** How spans end. */
  readonly SpanStatusCode: { readonly ERROR: SpanStatusCode };
}

/** Options of {@linkcode tracing}. */
export interface TracingOptions<T = unknown> {
  /** Makes the spans; without it there are none, and handlers run in the context that was captured. */
  tracer?: Tracer | undefined;
  /** Gets `messaging.process.duration` and `messaging.client.operation.duration`; without it nothing is measured. */
  meter?: Meter | undefined;
  /** The name of the queue for items that were not captured at a put. Default: none. */
  name?: string | undefined;
  /**
   * The context of an item for which none was captured, and that came with no
   * headers either: `(job) => propagation.extract(ROOT_CONTEXT, job.carrier)`.
   */
  contextOf?: ((item: T) => Context | undefined) | undefined;
  /** Where durations come from. Default: the machine. */
  clock?: Clock | undefined;
}

/** The two ends of a trace through queues, see {@linkcode tracing}. */
export interface Tracing<T = unknown> {
  /**
   * The options of a queue that notes the active context of each item put. For
   * every road into it: `put`, `tryPut`, `putMany`, writers, pipes.
   *
   * It is noted where the queue asks for the `size` of an item, once a put; the
   * size itself is what it was. Such a queue puts a little slower than one without
   * `size`, others are not touched.
   */
  captureAtPut<Options extends QueueOptions<never>>(options: Options): Options;
  /**
   * The option `headersOf` of a queue on an engine: the active context travels
   * beside each item, by whatever road it is put, with an id for the message.
   * {@linkcode Tracing.restoreAround} finds it in the process that works on it.
   */
  readonly headersOf: (item: unknown) => Record<string, string>;
  /**
   * A queue on an engine, its operations in spans: `send <name>` of the kind
   * `PRODUCER` for puts, `receive <name>`, `ack <name>`, `nack <name>` and
   * `bury <name>` of the kind `CLIENT`, each with `messaging.message.id` where it
   * is about one that has an id. What the streams put and lend is not seen one by
   * one. Give it to `consume` in place of the queue.
   */
  client<Item>(
    queue: EngineQueue<Item>,
    options?: ClientOptions,
  ): EngineQueue<Item>;
  /** Notes the active context for an item, and returns the item. For what goes through no queue of `captureAtPut`. */
  capture<Item extends T>(item: Item): Item;
  /**
   * A handler for `consume` that runs in the context of its item, in a span of the
   * kind `CONSUMER` named `process <name of the queue>`, as a child of the span that
   * was active at the put. The span ends with the handler, as an error if that
   * fails; each attempt has its own. Results and failures are passed on as they are.
   */
  restoreAround<Item extends T>(handler: Handler<Item>): Handler<Item>;
  /** The same for `batch`: one span, linked to the contexts of all its items, in the context that is active. */
  restoreAroundBatch<Item extends T>(
    handler: BatchHandler<Item>,
  ): BatchHandler<Item>;
}

/**
 * Carries the trace of whoever puts an item to whoever works on it.
 *
 * The whole context is kept, baggage included, beside the item and not in it: in
 * a `WeakMap`, as long as the item lives. So items stay what they are, and the
 * context stays with an item through any number of queues and branches, retries
 * and returns. Three things follow. Only objects have one: a string or a number is
 * worked on in a trace of its own. An object that was put twice has that of the
 * last put. And it ends with the process. Through engines the context goes as
 * headers beside the item, of any kind, see `headersOf`; for other threads put a
 * carrier of `propagation.inject` into the item, and read it with `contextOf`.
 *
 * No span is made for a put in memory: the span that is active there is the parent.
 * For those into an engine there is `client`.
 *
 * Throws a `TypeError` that names the option it cannot use.
 *
 * @example The context of a put is there in the handler
 * ```ts
 * import * as api from "@opentelemetry/api";
 * import { consume, Queue } from "@highwater/queue";
 * import { tracing } from "@highwater/queue/otel";
 * import { assertEquals } from "@std/assert";
 *
 * const traces = tracing(api, { tracer: api.trace.getTracer("mailer") });
 * const mails = new Queue<{ to: string }>(traces.captureAtPut({ name: "mails" }));
 * const receivers: string[] = [];
 * const working = consume(
 *   mails,
 *   traces.restoreAround(({ to }: { to: string }) => void receivers.push(to)),
 * );
 * await mails.put({ to: "ada@example.com" });
 * mails.close();
 * assertEquals((await working).processed, 1);
 * assertEquals(receivers, ["ada@example.com"]);
 * ```
 */
export function tracing<T = unknown>(
  api: TraceApi,
  options: TracingOptions<T> = {},
): Tracing<T> {
  checkFunction("trace", "api.context.with", api?.context?.with);
  checkFunction("trace", "api.trace.setSpan", api.trace?.setSpan);
  checkFunction("trace", "api.propagation.inject", api.propagation?.inject);
  checkOptions("trace", options, {
    tracer: true,
    meter: true,
    name: true,
    contextOf: true,
    clock: true,
  });
  const { tracer, meter, name, contextOf, clock = systemClock } = options;
  if (tracer !== undefined) {
    checkFunction("trace", "tracer.startSpan", tracer?.startSpan);
  }
  if (meter !== undefined) {
    checkFunction("trace", "meter.createHistogram", meter?.createHistogram);
  }
  checkCallbacks("trace", { contextOf });
  if (name !== undefined) checkString("trace", "name", name);
  checkClock("trace", clock);
  return new Traces(api, { tracer, meter, name, contextOf, clock });
}

/** Options of {@linkcode Tracing.client}. */
export interface ClientOptions {
  /** `messaging.system`. Default: "highwater". */
  system?: string | undefined;
  /** `server.address`, the host of the engine. Default: left out. */
  address?: string | undefined;
  /** `server.port`. Default: left out. */
  port?: number | undefined;
}

/** What is known of an item since its put. */
interface Origin {
  readonly context: Context;
  /** Of the queue. */
  readonly name: string | undefined;
}

/** An operation, as it is seen from outside. */
interface Observed {
  readonly verb: string;
  readonly type: "send" | "receive" | "settle" | "process";
  readonly kind: SpanKind;
  readonly name: string | undefined;
  readonly parent: Context;
  readonly links: Link[];
  /** Of the span and of what is measured. */
  readonly common: Attributes;
  /** Of the span alone. */
  readonly attributes: Attributes;
  readonly durations: Histogram | undefined;
}

/** The header that names a message. */
const MESSAGE_ID = "message-id";

/** What is said of a message that has an id. */
function identity(headers: Delivery<unknown>["headers"]): Attributes {
  const id = headers?.[MESSAGE_ID];
  return id === undefined ? {} : { "messaging.message.id": id };
}

class Traces<T> implements Tracing<T> {
  readonly #api: TraceApi;
  readonly #tracer: Tracer | undefined;
  readonly #name: string | undefined;
  readonly #contextOf: ((item: T) => Context | undefined) | undefined;
  readonly #clock: Clock;
  readonly #processDurations: Histogram | undefined;
  readonly #meter: Meter | undefined;
  readonly headersOf: (item: unknown) => Record<string, string>;
  /** The id that `headersOf` gave out last. */
  #lastId: string | undefined = undefined;
  readonly #origins: WeakMap<WeakKey, Origin> = new WeakMap();

  constructor(
    api: TraceApi,
    { tracer, meter, name, contextOf, clock = systemClock }: TracingOptions<T>,
  ) {
    this.#api = api;
    this.#tracer = tracer;
    this.#name = name;
    this.#contextOf = contextOf;
    this.#clock = clock;
    this.headersOf = () => this.#makeHeaders();
    this.#processDurations = durations(
      meter,
      "messaging.process.duration",
      "Duration of processing operation.",
    );
    this.#meter = meter;
  }

  #makeHeaders(): Record<string, string> {
    const { context, propagation } = this.#api;
    this.#lastId = crypto.randomUUID();
    const headers: Record<string, string> = { [MESSAGE_ID]: this.#lastId };
    propagation.inject(context.active(), headers);
    return headers;
  }

  client<Item>(
    queue: EngineQueue<Item>,
    options: ClientOptions = {},
  ): EngineQueue<Item> {
    checkFunction("trace", "queue.receiveMany", queue?.receiveMany);
    const action = "trace";
    checkOptions(action, options, { system: true, address: true, port: true });
    const { system = "highwater", address, port } = options;
    const common: Attributes = {
      ...attributesOf(queue.name),
      [SYSTEM]: system,
    };
    if (address !== undefined) common["server.address"] = address;
    if (port !== undefined) common["server.port"] = port;
    const measured = durations(
      this.#meter,
      "messaging.client.operation.duration",
      "Duration of messaging operation initiated by a producer or consumer client.",
    );
    const target = { name: queue.name, common, durations: measured };
    return new ObservedQueue(queue, {
      observe: (operation) => this.#observe(target, operation),
    });
  }

  #observe<R>(
    target: Pick<Observed, "name" | "common" | "durations">,
    operation: Operation<R>,
  ): R {
    const { verb, count, delivery, arrived, work } = operation;
    const { CLIENT, PRODUCER } = this.#api.SpanKind;
    const isSend = verb === "send";
    const headers = delivery?.headers;
    const attributes = identity(headers);
    if (count !== undefined) {
      attributes["messaging.batch.message_count"] = count;
    }
    return this.#run({
      verb,
      type: isSend || verb === "receive" ? verb : "settle",
      kind: isSend ? PRODUCER : CLIENT,
      parent: this.#api.context.active(),
      links: this.#linksOf(headers),
      attributes,
      ...target,
    }, (span) => {
      this.#lastId = undefined;
      const result = work();
      // Of one message the id is known by now.
      if (isSend && this.#lastId !== undefined && count === undefined) {
        span?.setAttributes(identity({ [MESSAGE_ID]: this.#lastId }));
      }
      if (arrived === undefined || !isThenable(result)) return result;
      return result.then((value) => {
        this.#noteArrival(span, arrived.call(operation, value as Awaited<R>));
        return value;
      });
    }) as R;
  }

  #noteArrival(
    span: Span | undefined,
    deliveries: readonly Delivery<unknown>[],
  ): void {
    if (span === undefined) return;
    span.addLinks(deliveries.flatMap(({ headers }) => this.#linksOf(headers)));
    if (deliveries.length === 1) {
      span.setAttributes(identity(deliveries[0]!.headers));
    } else {
      span.setAttributes({
        "messaging.batch.message_count": deliveries.length,
      });
    }
  }

  #linksOf(headers: Delivery<unknown>["headers"]): Link[] {
    const context = this.#extract(headers);
    return context === undefined ? [] : this.#linksTo(context);
  }

  /** The context that came with a message. */
  #extract(headers: Delivery<unknown>["headers"]): Context | undefined {
    if (headers === undefined) return undefined;
    const { propagation, ROOT_CONTEXT } = this.#api;
    return propagation.extract(ROOT_CONTEXT, headers);
  }

  captureAtPut<Options extends QueueOptions<never>>(options: Options): Options {
    checkObject("trace", "options", options);
    // Read by name: those of a strategy of the platform are getters.
    const { highWaterMark, name } = options;
    const size = options.size as ((item: unknown) => number) | undefined;
    checkCallbacks("trace", { size });
    const sizeOf = (item: unknown): number => {
      const weight = size === undefined ? 1 : size(item);
      this.#note(item, name);
      return weight;
    };
    const bound = highWaterMark === undefined ? {} : { highWaterMark };
    return { ...options, ...bound, size: sizeOf };
  }

  capture<Item extends T>(item: Item): Item {
    this.#note(item, this.#name);
    return item;
  }

  restoreAround<Item extends T>(handler: Handler<Item>): Handler<Item> {
    checkFunction("trace", "handler", handler);
    return (item, context) => {
      const { headers } = context;
      const origin = this.#originOf(item, headers);
      const processing = {
        name: origin?.name ?? this.#name,
        parent: origin?.context ?? this.#api.ROOT_CONTEXT,
        links: [],
        attributes: identity(headers),
      };
      return this.#process(processing, context, () => handler(item, context));
    };
  }

  restoreAroundBatch<Item extends T>(
    handler: BatchHandler<Item>,
  ): BatchHandler<Item> {
    checkFunction("trace", "handler", handler);
    return (items, context) => {
      const origins = items.map((item) => this.#originOf(item, undefined))
        .filter((origin) => origin !== undefined);
      const processing = {
        name: origins.find(({ name }) => name !== undefined)?.name ??
          this.#name,
        parent: this.#api.context.active(),
        links: origins.flatMap(({ context }) => this.#linksTo(context)),
        attributes: { "messaging.batch.message_count": items.length },
      };
      return this.#process(processing, context, () => handler(items, context));
    };
  }

  #note(item: unknown, name: string | undefined): void {
    if (!canBeKey(item)) return;
    this.#origins.set(item, { context: this.#api.context.active(), name });
  }

  #originOf(
    item: T,
    headers: Delivery<unknown>["headers"],
  ): Origin | undefined {
    const origin = canBeKey(item) ? this.#origins.get(item) : undefined;
    if (origin !== undefined) return origin;
    const context = this.#extract(headers) ?? this.#contextOf?.(item);
    refusePromise("trace", "contextOf(item)", context);
    return context === undefined ? undefined : { context, name: this.#name };
  }

  #linksTo(context: Context): Link[] {
    const span = this.#api.trace.getSpanContext(context);
    return span === undefined ? [] : [{ context: span }];
  }

  #process(
    { name, parent, links, attributes }: Pick<
      Observed,
      "name" | "parent" | "links" | "attributes"
    >,
    { attempt }: ConsumeContext,
    work: () => unknown,
  ): unknown {
    return this.#run({
      verb: "process",
      type: "process",
      kind: this.#api.SpanKind.CONSUMER,
      name,
      parent,
      links,
      common: attributesOf(name),
      attributes: { "highwater.attempt": attempt, ...attributes },
      durations: this.#processDurations,
    }, work);
  }

  /** Does the work in a span of its own, and measures it. */
  #run(
    { verb, type, kind, name, parent, links, durations, ...rest }: Observed,
    work: (span: Span | undefined) => unknown,
  ): unknown {
    const common = { ...rest.common, [OPERATION]: verb };
    const span = this.#tracer?.startSpan(
      name === undefined || name === "" ? verb : `${verb} ${name}`,
      {
        kind,
        attributes: {
          ...common,
          "messaging.operation.type": type,
          ...rest.attributes,
        },
        links,
      },
      parent,
    );
    const began = this.#clock.now();
    const end = (failure?: { error: unknown }): void => {
      const failed = failure === undefined
        ? {}
        : { "error.type": typeOf(failure.error) };
      const seconds = (this.#clock.now() - began) / 1000;
      durations?.record(seconds, { ...common, ...failed }, within);
      if (span === undefined) return;
      if (failure !== undefined) this.#fail(span, failure.error, failed);
      span.end();
    };
    const within = span === undefined
      ? parent
      : this.#api.trace.setSpan(parent, span);
    return this.#api.context.with(within, () => settled(() => work(span), end));
  }

  #fail(span: Span, error: unknown, type: Attributes): void {
    const message = error instanceof Error ? error.message : String(error);
    span.recordException(error instanceof Error ? error : message);
    span.setAttributes(type);
    span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message });
  }
}

function durations(
  meter: Meter | undefined,
  name: string,
  description: string,
): Histogram | undefined {
  return meter?.createHistogram(name, {
    description,
    unit: "s",
    advice: {
      // Those of the conventions.
      explicitBucketBoundaries: [
        ...[0.005, 0.01, 0.025, 0.05, 0.075],
        ...[0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
      ],
    },
  });
}

/** Does the work, and tells of its end before anybody else knows. */
function settled(
  work: () => unknown,
  end: (failure?: { error: unknown }) => void,
): unknown {
  let result: unknown;
  try {
    result = work();
    if (!isThenable(result)) {
      end();
      return result;
    }
  } catch (error) {
    end({ error });
    throw error;
  }
  return result.then(
    (value) => {
      end();
      return value;
    },
    (error) => {
      end({ error });
      throw error;
    },
  );
}

function typeOf(error: unknown): string {
  return error instanceof Error ? error.name : "_OTHER";
}

function canBeKey(item: unknown): item is WeakKey {
  return (typeof item === "object" && item !== null) ||
    typeof item === "function";
}
