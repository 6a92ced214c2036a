/**
 * An OpenTelemetry SDK for tests: it keeps what it is told.
 *
 * @module
 */

import {
  type Attributes,
  type BatchObservableCallback,
  type Context,
  type Meter,
  type Observable,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  type SpanOptions,
  SpanStatusCode,
  trace,
  type Tracer,
} from "@opentelemetry/api";
import { AsyncLocalStorage } from "node:async_hooks";
import type { TraceApi } from "../../src/otel.ts";

/** One value of one instrument. */
export interface Measurement {
  value: number;
  attributes: Attributes;
}

/** What an instrument was made with. */
export interface Made {
  name: string;
  kind: string;
  unit: string | undefined;
}

/** A meter that measures when it is asked to. */
export class FakeMeter {
  readonly made: Made[] = [];
  readonly recorded: { name: string; value: number; attributes: Attributes }[] =
    [];
  readonly #callbacks: [BatchObservableCallback, Observable[]][] = [];
  readonly #names: Map<Observable, string> = new Map();

  /** The same, for whom it has to be a whole one. */
  get meter(): Meter {
    return this as unknown as Meter;
  }

  /** How many callbacks are attached. */
  get attached(): number {
    return this.#callbacks.length;
  }

  createObservableCounter(name: string, options: Attributes): Observable {
    return this.#observable(name, "counter", options);
  }

  createObservableUpDownCounter(name: string, options: Attributes): Observable {
    return this.#observable(name, "up-down counter", options);
  }

  createObservableGauge(name: string, options: Attributes): Observable {
    return this.#observable(name, "gauge", options);
  }

  createHistogram(name: string, options: Attributes): unknown {
    this.#note(name, "histogram", options);
    return {
      record: (value: number, attributes: Attributes) =>
        this.recorded.push({ name, value, attributes }),
    };
  }

  addBatchObservableCallback(
    callback: BatchObservableCallback,
    observables: Observable[],
  ): void {
    this.#callbacks.push([callback, observables]);
  }

  removeBatchObservableCallback(
    callback: BatchObservableCallback,
    observables: Observable[],
  ): void {
    const at = this.#callbacks.findIndex((entry) =>
      entry[0] === callback && entry[1].length === observables.length
    );
    if (at !== -1) this.#callbacks.splice(at, 1);
  }

  /** What all callbacks tell at once, by the name of the instrument. */
  collect(): Record<string, Measurement[]> {
    const found: Record<string, Measurement[]> = {};
    void this.#collect(found);
    return found;
  }

  /** The same, once all of them have told. */
  async collectAll(): Promise<Record<string, Measurement[]>> {
    const found: Record<string, Measurement[]> = {};
    await this.#collect(found);
    return found;
  }

  #collect(found: Record<string, Measurement[]>): Promise<unknown> {
    return Promise.all(
      this.#callbacks.map(([callback, observables]) =>
        callback({
          observe: (observable, value, attributes = {}) => {
            const name = this.#names.get(observable as Observable)!;
            if (!observables.includes(observable as Observable)) {
              throw new Error(`${name} was not announced`);
            }
            (found[name] ??= []).push({ value, attributes });
          },
        })
      ),
    );
  }

  #observable(name: string, kind: string, options: Attributes): Observable {
    this.#note(name, kind, options);
    const observable = {} as Observable;
    this.#names.set(observable, name);
    return observable;
  }

  #note(name: string, kind: string, options: Attributes): void {
    this.made.push({ name, kind, unit: options["unit"] as string });
  }
}

/** A span that was made. */
export interface FakeSpan {
  name: string;
  kind: SpanKind | undefined;
  id: string;
  parent: string | undefined;
  links: string[];
  attributes: Attributes;
  exceptions: unknown[];
  status: { code: SpanStatusCode; message?: string } | undefined;
  ended: number;
}

/** A tracer whose spans stay. */
export class FakeTracer {
  readonly spans: FakeSpan[] = [];

  /** The same, for whom it has to be a whole one. */
  get tracer(): Tracer {
    return this as unknown as Tracer;
  }

  startSpan(name: string, options: SpanOptions, context: Context): Span {
    const id = `${this.spans.length + 1}`.padStart(16, "0");
    const entry: FakeSpan = {
      name,
      kind: options.kind,
      id,
      parent: trace.getSpanContext(context)?.spanId,
      links: (options.links ?? []).map(({ context }) => context.spanId),
      attributes: { ...options.attributes },
      exceptions: [],
      status: undefined,
      ended: 0,
    };
    this.spans.push(entry);
    const span = {
      spanContext: () => ({
        traceId: "1".padStart(32, "0"),
        spanId: id,
        traceFlags: 1,
      }),
      addLinks: (links: { context: { spanId: string } }[]) =>
        entry.links.push(...links.map(({ context }) => context.spanId)),
      setAttributes: (more: Attributes) =>
        Object.assign(entry.attributes, more),
      recordException: (error: unknown) => entry.exceptions.push(error),
      setStatus: (status: FakeSpan["status"]) => (entry.status = status),
      end: () => entry.ended++,
    };
    return span as unknown as Span;
  }
}

/** Contexts that follow promises, as those of an SDK do. */
export function followingApi(): TraceApi {
  const storage = new AsyncLocalStorage<Context>();
  return {
    context: {
      active: () => storage.getStore() ?? ROOT_CONTEXT,
      with: (context, work, self, ...args) =>
        storage.run(context, () => work.call(self as never, ...args)),
    },
    trace,
    // As the propagator of the W3C, in short.
    propagation: {
      inject(context, carrier: unknown): void {
        const span = trace.getSpanContext(context);
        if (span === undefined) return;
        const { traceId, spanId } = span;
        (carrier as Record<string, string>)["traceparent"] =
          `00-${traceId}-${spanId}-01`;
      },
      extract(context, carrier: unknown): Context {
        const { traceparent } = carrier as Record<string, string | undefined>;
        if (traceparent === undefined) return context;
        const [, traceId = "", spanId = ""] = traceparent.split("-");
        return trace.setSpanContext(context, {
          ...{ traceId, spanId, traceFlags: 1, isRemote: true },
        });
      },
    },
    ROOT_CONTEXT,
    SpanKind,
    SpanStatusCode,
  };
}
