/**
 * A `fetch` handler for Deno, Bun and edge runtimes: takes lines of JSON, does
 * slow work on each, and streams the results back, a line each, while the
 * request is still arriving.
 *
 * A client that reads slowly slows the workers, these slow the reading of the
 * request, and that slows the client's sending: memory stays flat. A client
 * that goes away stops all of it.
 *
 * ```sh
 * deno serve --host 127.0.0.1 --port 8000 examples/edge_handler.ts
 * printf '"one"\n"two"\n' | curl -T - -X POST http://127.0.0.1:8000/
 * ```
 *
 * Deno 2.8.3 to 2.9.5 delivers no more of a request over HTTP/1.1 once its
 * response has begun; long requests need HTTP/2 there.
 *
 * @module
 */

import { Queue } from "@highwater/queue";

const WORKERS = 4;
/** Milliseconds that the work on one line takes. */
const DURATION = 10;
/** The longest line taken, in UTF-16 code units. */
const LONGEST = 1_000_000;

const USAGE = `POST lines of JSON to /, read lines of JSON back.
GET /stats tells what the server is doing.
`;

interface Line {
  number: number;
  text: string;
}

type Answer =
  | { line: number; result: unknown }
  | { line: number; error: string };

const stats = { requests: 0, active: 0, lines: 0, done: 0, stopped: 0 };

function handle(request: Request): Response {
  const { pathname } = new URL(request.url);
  const reading = request.method === "GET" || request.method === "HEAD";
  if (pathname === "/stats" && reading) return Response.json(stats);
  if (pathname !== "/") return new Response("Not found\n", { status: 404 });
  if (reading) return new Response(USAGE);
  if (request.method !== "POST") {
    const headers = { allow: "GET, HEAD, POST" };
    return new Response("Method not allowed\n", { status: 405, headers });
  }
  if (request.body === null) {
    return new Response("No lines to work on\n", { status: 400 });
  }
  return new Response(answers(request.body), {
    headers: { "content-type": "application/x-ndjson" },
  });
}

/** Connects it all: body → lines → workers → results. */
function answers(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const lines = new Queue<Line>({ highWaterMark: WORKERS });
  const results = new Queue<Uint8Array<ArrayBuffer>>({
    highWaterMark: WORKERS,
  });
  const work = new AbortController();

  function stop(reason: unknown): void {
    lines.abort(reason); // cancels the body, by the pipe
    results.abort(reason); // breaks the response
    work.abort(reason);
  }
  function end(): void {
    stats.active--;
  }
  stats.requests++;
  stats.active++;
  // Whichever end fails takes the other with it: the client stops sending
  // (`lines`), or stops reading, which cancels the stream (`results`).
  lines.closed.catch(stop);
  results.closed.catch(stop).finally(end);

  body.pipeThrough(new TextDecoderStream())
    .pipeThrough(splitLines())
    .pipeTo(lines.writable)
    .catch(stop);
  for (let worker = 0; worker < WORKERS; worker++) {
    const output = results.producer().getWriter();
    answer(lines, output, work.signal).catch(stop);
  }
  return results.readable;
}

/** One worker. The last one to close its output ends the response. */
async function answer(
  lines: Queue<Line>,
  output: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>,
  signal: AbortSignal,
): Promise<void> {
  const encoder = new TextEncoder();
  for await (const line of lines) {
    const record = JSON.stringify(await answerTo(line, signal));
    stats.done++;
    await output.write(encoder.encode(`${record}\n`));
  }
  await output.close();
}

/** A line that is no JSON is answered, too, and stops nobody. */
async function answerTo(line: Line, signal: AbortSignal): Promise<Answer> {
  let value: unknown;
  try {
    if (line.text.length > LONGEST) {
      throw new RangeError("The line is too long");
    }
    value = JSON.parse(line.text);
  } catch (error) {
    return { line: line.number, error: (error as Error).message };
  }
  return { line: line.number, result: await slowWork(value, signal) };
}

/** Stands for a database, a model or another service. */
async function slowWork(
  value: unknown,
  signal: AbortSignal,
): Promise<unknown> {
  // A line may have been on its way to the worker when all was stopped.
  signal.throwIfAborted();
  await new Promise<void>(function (resolve, reject) {
    function stopped(): void {
      clearTimeout(timer);
      stats.stopped++;
      reject(signal.reason);
    }
    const timer = setTimeout(function () {
      signal.removeEventListener("abort", stopped);
      resolve();
    }, DURATION);
    signal.addEventListener("abort", stopped, { once: true });
  });
  return value;
}

function splitLines(): TransformStream<string, Line> {
  let number = 0;
  let rest = "";
  function emit(
    text: string,
    controller: TransformStreamDefaultController<Line>,
  ): void {
    number++;
    if (text.trim() === "") return;
    stats.lines++;
    controller.enqueue({ number, text });
  }
  return new TransformStream({
    transform(chunk, controller): void {
      const [first = "", ...others] = chunk.split("\n");
      // Of an endless line only as much is kept as shows that it is too long.
      rest += rest.length > LONGEST ? "" : first;
      for (const text of others) {
        emit(rest, controller);
        rest = text;
      }
    },
    flush(controller): void {
      emit(rest, controller);
    },
  });
}

interface Handler {
  fetch(request: Request): Response;
}

const handler: Handler = { fetch: handle };

export default handler;
