/**
 * A page with live charts of queues, for any server that speaks `Request` and
 * `Response`, and the same numbers for Prometheus.
 *
 * @example On Deno, Bun, Node or workerd: a handler is all it is
 * ```ts
 * import { Queue } from "@highwater/queue";
 * import { dashboard } from "@highwater/queue/dashboard";
 * import { assertStringIncludes } from "@std/assert";
 *
 * const queue = new Queue<string>({ name: "jobs" });
 * const handler = dashboard(queue);
 * // Deno.serve(handler), Bun.serve({ fetch: handler }), export default { fetch: handler }
 *
 * const response = await handler(new Request("http://localhost/metrics"));
 * assertStringIncludes(
 *   await response.text(),
 *   'highwater_queue_length{queue="jobs",index="0"} 0',
 * );
 * ```
 *
 * @module
 */

import { printFailure } from "./callbacks.ts";
import { systemClock } from "./clock.ts";
import { metricsOf } from "./dashboard/metrics.ts";
import { pageOf } from "./dashboard/page.ts";
import { received } from "./errors.ts";
import { checkFunction, checkOptions } from "./arguments.ts";
import { listed, monitor } from "./monitor.ts";
import type { Monitored, MonitorOptions, MonitorSample } from "./monitor.ts";
import type { QueueStats } from "./queue.ts";

export type { Monitored, MonitorOptions, MonitorSample, QueueStats };

const ACTION = "make a dashboard";

/** Options of {@linkcode dashboard}: its own, and how {@linkcode MonitorOptions} says to watch. */
export interface DashboardOptions extends
  Pick<
    MonitorOptions,
    "interval" | "high" | "low" | "sustained" | "clock"
  > {
  /**
   * Whether a request is answered, asked before anything else of each one, the
   * events and metrics included. Only `true` lets it pass; else, and when it
   * throws, which is printed, the answer is an empty 401. Without it everybody
   * is answered.
   */
  authorize?: ((request: Request) => boolean | Promise<boolean>) | undefined;
  /** The title of the page; "Queues" unless told. */
  title?: string | undefined;
}

/**
 * Makes a handler that shows queues: live charts of what is stored against the
 * bound and of the rates, the numbers of {@linkcode MonitorSample}, and the
 * alerts. It tells names and numbers, never items.
 *
 * It looks at the last part of the path, so it can be mounted anywhere:
 *
 * - `…/`, a path that ends with a slash, is the page. It loads nothing else, and
 *   its Content-Security-Policy does not let it;
 * - `…/events` is a stream of server-sent events, a sample each in JSON, made
 *   from `monitor` and only as fast as it is read: without a reader there is no
 *   timer, and a reader that is slow misses samples instead of piling them up.
 *   It ends, with an event `end`, when all queues have ended;
 * - `…/metrics` is the text format of Prometheus, with the labels `queue` (the
 *   name) and `index` (from 0, for queues that share a name).
 *
 * `GET` and `HEAD` are answered, other methods with 405, other paths with 404. A
 * page watches for itself: an alert is raised once something has been wrong for
 * `sustained` milliseconds since it was opened.
 *
 * Throws a `TypeError` or `RangeError` that names the argument it cannot use.
 *
 * @example Only for those who may
 * ```ts
 * import { Queue } from "@highwater/queue";
 * import { dashboard } from "@highwater/queue/dashboard";
 * import { assertEquals } from "@std/assert";
 *
 * const jobs = new Queue<string>({ name: "jobs" });
 * const mails = new Queue<string>({ name: "mails" });
 * const handler = dashboard([jobs, mails], {
 *   title: "My service",
 *   authorize: (request) => request.headers.get("x-token") === "secret",
 * });
 *
 * const address = "http://localhost/admin/queues/";
 * assertEquals((await handler(new Request(address))).status, 401);
 * const headers = { "x-token": "secret" };
 * assertEquals((await handler(new Request(address, { headers }))).status, 200);
 * ```
 */
export function dashboard(
  queues: Monitored | Iterable<Monitored>,
  options: DashboardOptions = {},
): (request: Request) => Response | Promise<Response> {
  const watched = listed("make a dashboard", queues);
  const { authorize, title = "Queues", ...watching } = readOptions(options);
  // Says what is wrong with the others now, not to the first browser.
  monitor(watched, watching);

  function answer(request: Request): Response {
    if (request.method !== "GET" && request.method !== "HEAD") {
      return plain(405, "Method not allowed\n", { allow: "GET, HEAD" });
    }
    const { pathname } = new URL(request.url);
    const answering = answers.get(pathname.slice(pathname.lastIndexOf("/")));
    if (answering === undefined) {
      return plain(404, "Not found. The page is where a path ends with /\n");
    }
    const response = answering();
    if (request.method === "GET") return response;
    // Nothing was read of it: no sample was made, and no timer is set.
    return new Response(null, response);
  }

  const statsOfAll = (): QueueStats[] => watched.map((queue) => queue.stats());

  const answers = new Map<string, () => Response>([
    ["/", () => page(title, statsOfAll().map(({ name }) => name))],
    ["/events", () => {
      const samples = monitor(watched, watching);
      return answerOf(200, "text/event-stream", eventsOf(samples, watched), {
        // A proxy must not hold samples back.
        "x-accel-buffering": "no",
      });
    }],
    ["/metrics", () => {
      const now = (watching.clock ?? systemClock).now();
      const type = "text/plain; version=0.0.4; charset=utf-8";
      return answerOf(200, type, metricsOf(statsOfAll(), now));
    }],
  ]);

  if (authorize === undefined) return answer;
  return async (request) =>
    await allows(authorize, request)
      ? answer(request)
      : answerOf(401, undefined, null);
}

async function allows(
  authorize: (request: Request) => boolean | Promise<boolean>,
  request: Request,
): Promise<boolean> {
  try {
    return await authorize(request) === true;
  } catch (error) {
    printFailure("a dashboard", "authorize", error);
    return false;
  }
}

function page(title: string, names: string[]): Response {
  const nonce = crypto.randomUUID();
  const policy = [
    "default-src 'none'",
    "connect-src 'self'",
    "img-src data:",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join("; ");
  return answerOf(
    200,
    "text/html; charset=utf-8",
    pageOf(title, names, nonce),
    { "content-security-policy": policy },
  );
}

/** Pulled as it is read: whoever stops reading stops the monitor. */
function eventsOf(
  samples: ReadableStream<MonitorSample>,
  watched: Monitored[],
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const reader = samples.getReader();
  return new ReadableStream<Uint8Array>({
    async pull(controller): Promise<void> {
      const { done, value } = await reader.read();
      if (!done) {
        const stats = watched[value.index]!.stats();
        controller.enqueue(encoder.encode(`data: ${json(value, stats)}\n\n`));
        return;
      }
      // Without a word a browser would ask again, for ever.
      controller.enqueue(encoder.encode("event: end\ndata:\n\n"));
      controller.close();
    },
    cancel(reason): Promise<void> {
      return reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
}

/** Infinity is null in JSON. Safe in a script and in HTML too, should somebody put it there. */
function json(sample: MonitorSample, stats: QueueStats): string {
  const { size, highWaterMark, state } = stats;
  return JSON.stringify({ ...sample, size, highWaterMark, state }).replace(
    /[<>&\u2028\u2029]/g,
    (character) =>
      `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function plain(
  status: number,
  text: string,
  headers: Record<string, string> = {},
): Response {
  return answerOf(status, "text/plain; charset=utf-8", text, headers);
}

function answerOf(
  status: number,
  type: string | undefined,
  body: string | ReadableStream<Uint8Array> | null,
  headers: Record<string, string> = {},
): Response {
  return new Response(body as BodyInit | null, {
    status,
    headers: {
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
      ...(type === undefined ? {} : { "content-type": type }),
      ...headers,
    },
  });
}

function readOptions(options: DashboardOptions): DashboardOptions {
  checkOptions(ACTION, options, {
    authorize: true,
    title: true,
    interval: true,
    high: true,
    low: true,
    sustained: true,
    clock: true,
  });
  const { authorize, title, interval, high, low, sustained, clock } = options;
  if (authorize !== undefined) checkFunction(ACTION, "authorize", authorize);
  if (title !== undefined && typeof title !== "string") {
    throw new TypeError(
      `Cannot ${ACTION}: title must be a string, received ${received(title)}`,
    );
  }
  return { authorize, title, interval, high, low, sustained, clock };
}
