/**
 * A service that answers 202 and does the work afterwards.
 *
 * An HTTP server puts each request into a bounded queue and answers once it is
 * in there, so that clients feel it when the workers cannot keep up. The workers
 * are one `consume`. The first SIGTERM or SIGINT drains: no new work, what was
 * accepted is finished. The second one, or the drain limit, stops: what is not
 * finished is reported by name. The exit code tells which it was: 0 or 1.
 *
 * ```sh
 * node examples/service.ts --port 8080
 * curl -d "some work" localhost:8080
 * ```
 *
 * @module
 */

import {
  consume,
  type ConsumeContext,
  Queue,
  QueueClosedError,
} from "@highwater/queue";
import {
  createServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";

interface Job {
  id: number;
  text: string;
}

const { values } = parseArgs({
  options: {
    "port": { type: "string", default: "8080" },
    "concurrency": { type: "string", default: "16" },
    "high-water-mark": { type: "string", default: "256" },
    // How many milliseconds the work on one request takes, in this example.
    "work": { type: "string", default: "20" },
    // Milliseconds: stay below what the platform waits before it kills.
    "drain-limit": { type: "string", default: "8000" },
  },
});

let requests = 0;
let accepted = 0;
let unfinished = 0;
let isDraining = false;
let drainTimer: ReturnType<typeof setTimeout> | undefined;
/** Requests whose answer is not out yet. */
const answering: Set<Promise<void>> = new Set();
const stop = new AbortController();

const jobs = new Queue<Job>({
  name: "jobs",
  highWaterMark: Number(values["high-water-mark"]),
  onUndelivered: reportUnfinished, // in the queue when it was aborted
});
const server = createServer(accept);
server.listen(Number(values.port), () => {
  console.log(`listening on ${(server.address() as AddressInfo).port}`);
});
process.on("SIGTERM", shutDown);
process.on("SIGINT", shutDown);

const report = await consume(jobs, work, {
  concurrency: Number(values.concurrency),
  timeout: 10_000,
  retry: { attempts: 3, delay: 100 },
  deadLetter: ({ item, errors }) => {
    console.log(`dead ${item.id} ${errors.last}`);
  },
  onUndelivered: reportUnfinished, // with a worker when it was stopped
  signal: stop.signal,
});
jobs.abort(); // nothing is left in it, unless the run was stopped
clearTimeout(drainTimer);
await Promise.all(answering);
console.log(JSON.stringify({ accepted, unfinished, ...report }));
process.exit(report.stopped ? 1 : 0);

/** Answers once the job is in the queue: accepted is accepted. */
function accept(request: IncomingMessage, response: ServerResponse): void {
  const answered = new Promise<void>((resolve) => {
    response.once("close", resolve);
    response.once("finish", resolve);
  });
  answering.add(answered);
  void answered.then(() => answering.delete(answered));
  answer(request, response).catch((error) => {
    console.error(error);
    response.destroy();
  });
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let text = "";
  request.setEncoding("utf8");
  for await (const chunk of request) text += chunk;
  const job = { id: ++requests, text };
  try {
    await jobs.put(job);
    accepted++;
    response.statusCode = 202;
    if (isDraining) response.setHeader("connection", "close");
    response.end(String(job.id));
  } catch (error) {
    if (!(error instanceof QueueClosedError) && !stop.signal.aborted) {
      throw error;
    }
    response.statusCode = 503;
    response.setHeader("connection", "close");
    response.end("shutting down");
  }
}

async function work({ id }: Job, { signal }: ConsumeContext): Promise<void> {
  await delay(Number(values.work), undefined, { signal });
  console.log(`done ${id}`);
}

function reportUnfinished({ id }: Job): void {
  unfinished++;
  console.log(`unfinished ${id}`);
}

function shutDown(): void {
  if (isDraining) return stop.abort(new Error("A second signal came"));
  isDraining = true;
  server.close();
  server.closeIdleConnections?.();
  jobs.close(); // what waits to be put is still let in
  drainTimer = setTimeout(
    () => stop.abort(new Error("The drain limit was reached")),
    Number(values["drain-limit"]),
  );
}
