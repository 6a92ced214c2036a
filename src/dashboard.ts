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

import { ignore, printFailure } from "./callbacks.ts";
import { systemClock } from "./clock.ts";
import {
  type Authorization,
  BASIC,
  credentials,
  type CredentialsOptions,
} from "./dashboard/credentials.ts";
import { metricsOf } from "./dashboard/metrics.ts";
import { pageOf } from "./dashboard/page.ts";
import {
  checkCallbacks,
  checkCount,
  checkOptions,
  checkString,
  type Names,
} from "./checks.ts";
import { ask, Inquiry, listed, nameOf } from "./counters.ts";
import type { EngineCounters, Monitored } from "./counters.ts";
import { monitor } from "./monitor.ts";
import type { MonitorOptions, MonitorSample } from "./monitor.ts";
import type { QueueStats } from "./queue.ts";

export { credentials };
export type { Authorization, CredentialsOptions };
export type {
  EngineCounters,
  Monitored,
  MonitorOptions,
  MonitorSample,
  QueueStats,
};

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
   * throws, which is printed, the answer is an empty 401 that asks for what its
   * `challenge` says, by default for a name and a password. See
   * {@linkcode credentials}. Without it everybody is answered.
   */
  authorize?: Authorization | undefined;
  /**
   * How many streams of events may be open; one more ends the oldest, with an
   * event `replaced`. Each of them looks at all queues at each interval.
   * Default: 100.
   */
  maxStreams?: number | undefined;
  /** The title of the page. Default: "Queues". */
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
 *   It ends, with an event `end`, when all queues have ended, and with an event
 *   `replaced`, when more than `maxStreams` are open and it is the oldest;
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
 * import { credentials, dashboard } from "@highwater/queue/dashboard";
 * import { assertEquals } from "@std/assert";
 *
 * const jobs = new Queue<string>({ name: "jobs" });
 * const mails = new Queue<string>({ name: "mails" });
 * const handler = dashboard([jobs, mails], {
 *   title: "My service",
 *   authorize: credentials({ basic: { ada: "enchantress" } }),
 * });
 *
 * const address = "http://localhost/admin/queues/";
 * assertEquals((await handler(new Request(address))).status, 401);
 * const headers = { authorization: `Basic ${btoa("ada:enchantress")}` };
 * assertEquals((await handler(new Request(address, { headers }))).status, 200);
 * ```
 */
export function dashboard(
  queues: Monitored | Iterable<Monitored>,
  options: DashboardOptions = {},
): (request: Request) => Response | Promise<Response> {
  const watched = listed(ACTION, queues);
  const { authorize, title = "Queues", maxStreams = 100, ...watching } =
    readOptions(options);
  const open = new OpenStreams(maxStreams);
  // Says what is wrong with the others now, not to the first browser.
  monitor(watched, watching);

  async function answer(request: Request): Promise<Response> {
    if (request.method !== "GET" && request.method !== "HEAD") {
      return plain(405, "Method not allowed\n", { allow: "GET, HEAD" });
    }
    const { pathname } = new URL(request.url);
    const answering = answers.get(pathname.slice(pathname.lastIndexOf("/")));
    if (answering === undefined) {
      return plain(404, "Not found. The page is where a path ends with /\n");
    }
    const response = await answering();
    if (request.method === "GET") return response;
    // Nothing was read of it: no sample was made, and no timer is set.
    await response.body?.cancel();
    return new Response(null, response);
  }

  const answers = new Map<string, () => Response | Promise<Response>>([
    ["/", () => page(title, watched.map(nameOf))],
    ["/events", () => {
      const samples = monitor(watched, watching);
      const events = open.add(new EventStream(samples));
      return answerOf(200, "text/event-stream", events, {
        // A proxy must not hold samples back.
        "x-accel-buffering": "no",
      });
    }],
    ["/metrics", async () => {
      const { clock = systemClock, interval = 1000 } = watching;
      const inquiries = watched.map((queue) => new Inquiry(queue));
      const all = await ask(inquiries, clock, interval);
      const type = "text/plain; version=0.0.4; charset=utf-8";
      return answerOf(200, type, metricsOf(all));
    }],
  ]);

  if (authorize === undefined) return answer;
  return async (request) =>
    await allows(authorize, request)
      ? answer(request)
      : answerOf(401, undefined, null, {
        "www-authenticate": authorize.challenge ?? BASIC,
      });
}

async function allows(
  authorize: Authorization,
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

/** Server-sent events, pulled as they are read: whoever stops reading stops the monitor. */
class EventStream {
  readonly body: ReadableStream<Uint8Array>;
  readonly #samples: ReadableStreamDefaultReader<MonitorSample>;
  /** Without a last word a browser would ask again, for ever. */
  #lastWord = "end";
  #ended: () => void = ignore;

  constructor(samples: ReadableStream<MonitorSample>) {
    const encoder = new TextEncoder();
    this.#samples = samples.getReader();
    this.body = new ReadableStream<Uint8Array>({
      pull: async (controller): Promise<void> => {
        const { done, value } = await this.#samples.read();
        if (!done) {
          controller.enqueue(encoder.encode(`data: ${json(value)}\n\n`));
          return;
        }
        this.#ended();
        controller.enqueue(
          encoder.encode(`event: ${this.#lastWord}\ndata:\n\n`),
        );
        controller.close();
      },
      cancel: (reason): Promise<void> => {
        this.#ended();
        return this.#samples.cancel(reason);
      },
    }, { highWaterMark: 0 });
  }

  /** Calls back once nobody needs it any more. */
  onEnd(ended: () => void): void {
    this.#ended = ended;
  }

  /** Ends it with an event of that name. */
  end(lastWord: string): void {
    this.#lastWord = lastWord;
    void this.#samples.cancel();
  }
}

/** The streams of events that are open, the oldest first. */
class OpenStreams {
  readonly #max: number;
  readonly #streams: Set<EventStream> = new Set();

  constructor(max: number) {
    this.#max = max;
  }

  add(stream: EventStream): ReadableStream<Uint8Array> {
    stream.onEnd(() => void this.#streams.delete(stream));
    this.#streams.add(stream);
    if (this.#streams.size > this.#max) {
      const [oldest] = this.#streams;
      this.#streams.delete(oldest!);
      oldest!.end("replaced");
    }
    return stream.body;
  }
}

/** Infinity is null in JSON. Safe in a script and in HTML too, should somebody put it there. */
function json({ failure, ...sample }: MonitorSample): string {
  const why = failure === undefined ? {} : { failure: String(failure) };
  return JSON.stringify({ ...sample, ...why }).replace(
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

/** Each option once, by its name: those of an instance may be getters of its class. */
function readOptions(options: DashboardOptions): DashboardOptions {
  checkOptions(ACTION, options, KNOWN);
  const names = Object.keys(KNOWN) as (keyof DashboardOptions)[];
  const read: DashboardOptions = Object.fromEntries(
    names.map((name) => [name, options[name]]),
  );
  const { authorize, title, maxStreams } = read;
  checkCallbacks(ACTION, { authorize });
  if (title !== undefined) checkString(ACTION, "title", title);
  if (maxStreams !== undefined) checkCount(ACTION, "maxStreams", maxStreams, 1);
  return read;
}

const KNOWN: Names<DashboardOptions> = {
  authorize: true,
  title: true,
  maxStreams: true,
  interval: true,
  high: true,
  low: true,
  sustained: true,
  clock: true,
};
