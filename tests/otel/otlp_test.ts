/**
 * Metrics and traces as they arrive at an OTLP endpoint, sent by the exporter that
 * Deno has built in. There is none in Bun and Node.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { runtime, test } from "../support/harness.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** A kind of span and a status, in the numbers of the protocol. */
const CONSUMER = 5;
const ERROR = 2;

interface KeyValue {
  key: string;
  value: { stringValue?: string; intValue?: string };
}

interface Point {
  attributes: KeyValue[];
  asInt?: string;
  asDouble?: number;
  count?: string;
}

interface Metric {
  name: string;
  unit: string;
  gauge?: { dataPoints: Point[] };
  sum?: { dataPoints: Point[]; isMonotonic: boolean };
  histogram?: { dataPoints: Point[] };
}

interface Span {
  traceId: string;
  spanId: string;
  parentSpanId: string;
  name: string;
  kind: number;
  attributes: KeyValue[];
  status: { code: number; message: string };
}

interface Export {
  resourceMetrics?: { scopeMetrics: { metrics: Metric[] }[] }[];
  resourceSpans?: { scopeSpans: { spans: Span[] }[] }[];
}

/** What has arrived: spans in all, of each metric the last. */
class Arrivals {
  readonly spans: Span[] = [];
  readonly metrics: Map<string, Metric> = new Map();
  readonly paths: Set<string> = new Set();

  add(path: string, { resourceMetrics, resourceSpans }: Export): void {
    this.paths.add(path);
    for (const { scopeMetrics } of resourceMetrics ?? []) {
      for (const metric of scopeMetrics.flatMap(({ metrics }) => metrics)) {
        this.metrics.set(metric.name, metric);
      }
    }
    for (const { scopeSpans } of resourceSpans ?? []) {
      this.spans.push(...scopeSpans.flatMap(({ spans }) => spans));
    }
  }

  /** Of how many calls of a handler the durations have arrived. */
  get processed(): number {
    return this.#points("messaging.process.duration")
      .reduce((sum, { count }) => sum + Number(count), 0);
  }

  /** The points of a metric as lines. */
  values(name: string): string[] {
    return this.#points(name).map((point) => {
      const value = point.asInt ?? point.asDouble ?? point.count;
      return `${described(point.attributes)} = ${value}`;
    }).sort();
  }

  #points(name: string): Point[] {
    const { gauge, sum, histogram } = this.metrics.get(name) ?? {};
    return (gauge ?? sum ?? histogram)?.dataPoints ?? [];
  }
}

function described(attributes: KeyValue[]): string {
  return attributes.map(({ key, value }) =>
    `${key.replace(/^messaging\./, "")}: ${value.stringValue ?? value.intValue}`
  ).sort().join(", ");
}

async function bodyOf(request: IncomingMessage): Promise<Export> {
  let text = "";
  request.setEncoding("utf8");
  for await (const chunk of request) text += chunk;
  return JSON.parse(text) as Export;
}

/** Runs the service with an endpoint of its own, until it has sent everything. */
async function runService(): Promise<Arrivals> {
  const arrivals = new Arrivals();
  let enough = (): void => {};
  const collected = new Promise<void>((resolve) => (enough = resolve));
  const server = createServer((request, response) => {
    void bodyOf(request).then((sent) => {
      arrivals.add(request.url!, sent);
      if (arrivals.processed === 3) enough();
      response.setHeader("content-type", "application/json");
      response.end("{}");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const flags = JSON.parse(process.env["HIGHWATER_DENO_FLAGS"] ?? "[]");
  const service = spawn(process.execPath, [
    "run",
    "-A",
    "--quiet",
    "--no-check",
    ...flags,
    join(ROOT, "tests/fixtures/otlp_service.ts"),
  ], {
    cwd: ROOT,
    stdio: ["pipe", "pipe", "inherit"],
    env: {
      ...process.env,
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_METRIC_EXPORT_INTERVAL: "50",
    },
  });
  const ended = once(service, "close");
  service.stdout.resume();
  await Promise.race([collected, ended]);
  service.stdin.end();
  const [code] = await ended;
  server.closeAllConnections();
  server.close();
  await once(server, "close");
  assertEquals(code, 0);
  return arrivals;
}

if (runtime === "deno") {
  test(
    "otel: metrics and spans arrive at an OTLP endpoint, each handler below the request that put its item",
    async () => {
      const arrivals = await runService();
      assert(
        arrivals.paths.has("/v1/metrics") && arrivals.paths.has("/v1/traces"),
      );

      const jobs = "destination.name: jobs, operation.name";
      const left = "destination.name: left, operation.name";
      assertEquals(arrivals.values("messaging.client.sent.messages"), [
        `${jobs}: put, system: highwater = 3`,
        `${left}: put, system: highwater = 1`,
      ]);
      assertEquals(arrivals.values("messaging.client.consumed.messages"), [
        `${jobs}: get, system: highwater = 3`,
        `${left}: get, system: highwater = 0`,
      ]);
      assertEquals(arrivals.values("highwater.queue.length"), [
        "destination.name: jobs, system: highwater = 0",
        "destination.name: left, system: highwater = 1",
      ]);
      assertEquals(arrivals.values("highwater.queue.utilization"), [
        "destination.name: jobs, system: highwater = 0",
        "destination.name: left, system: highwater = 0.5",
      ]);
      assertEquals(
        arrivals.metrics.get("highwater.queue.length")!.unit,
        "{message}",
      );
      const { sum } = arrivals.metrics.get("messaging.client.sent.messages")!;
      assertEquals(sum!.isMonotonic, true);

      const name = "messaging.process.duration";
      assertEquals(arrivals.values(name), [
        "destination.name: jobs, error.type: RangeError, " +
        "operation.name: process, system: highwater = 1",
        `${jobs}: process, system: highwater = 2`,
      ]);
      assertEquals(arrivals.metrics.get(name)!.unit, "s");

      for (const id of [1, 2, 3]) {
        const byName = (name: string): Span =>
          arrivals.spans.find((span) => span.name === name)!;
        const request = byName(`request ${id}`);
        const handler = arrivals.spans.find(({ parentSpanId }) =>
          parentSpanId === request.spanId
        )!;
        const store = byName(`store ${id}`);
        assertEquals([handler.name, handler.kind], ["process jobs", CONSUMER]);
        assertEquals(store.parentSpanId, handler.spanId);
        assertEquals(
          [handler.traceId, store.traceId],
          [request.traceId, request.traceId],
        );
        assertEquals(
          handler.status,
          id === 3
            ? { code: ERROR, message: "three" }
            : { code: 0, message: "" },
        );
      }
      assertEquals(arrivals.spans.length, 9);
      assertEquals(
        new Set(arrivals.spans.map(({ traceId }) => traceId)).size,
        3,
      );
    },
  );
}
