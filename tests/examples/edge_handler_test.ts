/**
 * `examples/edge_handler.ts`: asked directly on every runtime, and served by
 * `deno serve`, Bun and workerd to clients that are slow or go away.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertStringIncludes,
} from "@std/assert";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectHTTP2 } from "node:http2";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import handler from "../../examples/edge_handler.ts";
import { runtime, test } from "../support/harness.ts";
import { ignore, pause, until } from "../support/waiting.ts";
import { freePort } from "../support/server_process.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const EXAMPLE = join(ROOT, "examples/edge_handler.ts");

interface Stats {
  requests: number;
  active: number;
  lines: number;
  done: number;
  stopped: number;
}

interface Answer {
  line: number;
  result?: unknown;
  error?: string;
}

test("edge_handler answers each line, and the bad ones with an error", async function () {
  const response = handler.fetch(post('"one"\n{bad\n\n{"three":"ü"}'));
  assertEquals(response.status, 200);
  assertEquals(response.headers.get("content-type"), "application/x-ndjson");
  const answers = parse(await response.text());
  assertEquals(answers.map(({ line }) => line), [1, 2, 4]);
  assertEquals(answers[0]?.result, "one");
  assertEquals(answers[1]?.result, undefined);
  assertStringIncludes(answers[1]?.error ?? "", "JSON");
  assertEquals(answers[2]?.result, { three: "ü" });
});

test("edge_handler answers a thousand short lines, each once", async function () {
  const lines = Array.from({ length: 1000 }, (_, index) => `${index}\n`);
  const response = handler.fetch(post(lines.join("")));
  const answers = parse(await response.text());
  assertEquals(answers.length, lines.length);
  for (const [index, { line, result }] of answers.entries()) {
    assertEquals(line, index + 1);
    assertEquals(result, index);
  }
});

test("edge_handler answers a line that is too long with an error", async function () {
  const long = JSON.stringify("x".repeat(3_000_000));
  const response = handler.fetch(post(`1\n${long}\n3\n`));
  const answers = parse(await response.text());
  assertEquals(answers.length, 3);
  assertEquals(answers[1]?.error, "The line is too long");
  assertEquals(answers[2]?.result, 3);
});

test("edge_handler tells other requests what it takes", async function () {
  const usage = ask("/");
  assertEquals(usage.status, 200);
  assertStringIncludes(await usage.text(), "POST");
  assertEquals(ask("/nowhere").status, 404);
  assertEquals(ask("/", "DELETE").status, 405);
  assertEquals(ask("/", "DELETE").headers.get("allow"), "GET, HEAD, POST");
  assertEquals(ask("/", "POST").status, 400);
  assertEquals((await statsHere()).active, 0);
});

test("edge_handler cancels the request body when the response is cancelled", async function () {
  const before = await statsHere();
  let pulled = 0;
  let cancelled: unknown;
  const body = new ReadableStream<Uint8Array>({
    pull(controller): void {
      pulled++;
      controller.enqueue(new TextEncoder().encode(`${pulled}\n`));
    },
    cancel(reason): void {
      cancelled = reason;
    },
  });
  const reader = handler.fetch(post(body)).body?.getReader();
  await reader?.read();
  const reason = new Error("gone");
  await reader?.cancel(reason);
  await until(() => cancelled !== undefined);
  assertEquals(cancelled, reason);
  const { active, stopped, done } = await statsHere();
  assertEquals(active, 0);
  assertGreater(stopped, before.stopped);
  assertLess(pulled, 100);
  await pause(100);
  assertEquals((await statsHere()).done, done);
});

test("edge_handler breaks the response when the request body fails", async function () {
  const reason = new Error("the upload broke");
  const body = new ReadableStream<Uint8Array>({
    start(controller): void {
      controller.error(reason);
    },
  });
  const failure = await handler.fetch(post(body)).text().then(
    () => undefined,
    (error: unknown) => error,
  );
  assert(failure !== undefined);
  assertEquals((await statsHere()).active, 0);
});

// The other two would only start the same three servers again.
if (runtime === "deno") {
  for (const start of [serveByDeno, serveByBun, serveByWorkerd]) {
    const name = start.name.replace("serveBy", "");

    test(
      `edge_handler under ${name} answers while the request goes on`,
      async function () {
        await using server = await start();
        const client = new Client(server);
        client.send("1\n");
        await until(() => client.received.includes('{"line":1,"result":1}'));
        client.send("{bad\n2\n");
        await until(() => client.received.includes('"result":2'));
        assertStringIncludes(client.received, '"line":2,"error":');
        await client.leave();
      },
      { sanitize: false },
    );

    test(
      `edge_handler under ${name} reads no more than a slow client takes`,
      async function () {
        await using server = await start();
        const client = new Client(server);
        client.pause();
        client.sendForEver(JSON.stringify("x".repeat(64_000)) + "\n");
        const held = await settled(server.port);
        assertGreater(held.lines, 0);
        assertLess(held.lines, 1000);
        assertEquals(held.active, 1);

        client.resume();
        await until(async () =>
          (await statsOf(server.port)).lines > held.lines + 200
        );
        await client.leave();
        await until(async () => (await statsOf(server.port)).active === 0);
      },
      { sanitize: false },
    );

    test(
      `edge_handler under ${name} stops when the client goes away`,
      async function () {
        await using server = await start();
        const client = new Client(server);
        client.sendForEver("1\n");
        await until(() => client.received.includes('"line":50,'));
        await client.leave();
        await until(async () => (await statsOf(server.port)).active === 0);
        const { lines, done, stopped } = await statsOf(server.port);
        assertGreater(stopped, 0);
        await pause(300);
        const later = await statsOf(server.port);
        assertEquals([later.lines, later.done], [lines, done]);
      },
      { sanitize: false },
    );
  }
}

/** A client that reads and sends as it likes, or not at all. */
class Client {
  readonly #stream: Duplex;
  readonly #frame: (text: string) => string;
  readonly #destroy: () => void;
  received = "";

  constructor({ port, protocol }: Server) {
    if (protocol === "HTTP/2") {
      const session = connectHTTP2(`http://127.0.0.1:${port}`);
      session.on("error", ignore);
      this.#stream = session.request({ ":method": "POST", ":path": "/" });
      this.#frame = (text) => text;
      this.#destroy = () => session.destroy();
    } else {
      this.#stream = connect({ host: "127.0.0.1", port });
      this.#stream.write(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n" +
          "Transfer-Encoding: chunked\r\n\r\n",
      );
      this.#frame = (text) => {
        const size = new TextEncoder().encode(text).length.toString(16);
        return `${size}\r\n${text}\r\n`;
      };
      this.#destroy = () => this.#stream.destroy();
    }
    this.#stream.on("error", ignore);
    this.#stream.on("data", (data) => {
      this.received = (this.received + data.toString()).slice(0, 100_000);
    });
  }

  send(text: string): boolean {
    return this.#stream.write(this.#frame(text));
  }

  /** Sends the text again and again, as fast as the other side takes it. */
  sendForEver(text: string): void {
    const more = (): void => {
      for (let turn = 0; turn < 16; turn++) {
        if (this.#stream.destroyed) return;
        if (!this.send(text)) {
          this.#stream.once("drain", more);
          return;
        }
      }
      setTimeout(more, 1);
    };
    more();
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  leave(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#stream.destroyed) return resolve();
      this.#stream.once("close", () => resolve());
      this.#destroy();
    });
  }
}

/** A server in a process of its own, with a folder of its own. */
class Server {
  readonly port: number;
  readonly protocol: Protocol;
  readonly #process: ChildProcess;
  readonly #folder: string;

  constructor(
    port: number,
    protocol: Protocol,
    process: ChildProcess,
    folder: string,
  ) {
    this.port = port;
    this.protocol = protocol;
    this.#process = process;
    this.#folder = folder;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stopped(this.#process);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function serveByDeno(): Promise<Server> {
  return serve((_folder, port) => ({
    program: process.execPath,
    args: [
      ..."serve -A --quiet --host 127.0.0.1 --port".split(" "),
      String(port),
      EXAMPLE,
    ],
    // Over HTTP/1.1, Deno 2.8.3 to 2.9.5 delivers no more of a request once its
    // response has begun: https://github.com/denoland/deno/issues/36624
  }), "HTTP/2");
}

function serveByBun(): Promise<Server> {
  return serve((folder, port) => {
    const file = join(folder, "serve.ts");
    // `bun edge_handler.ts` would listen on every address of the machine.
    writeFileSync(
      file,
      `import handler from ${JSON.stringify(EXAMPLE)};
Bun.serve({ ...handler, hostname: "127.0.0.1", port: ${port} });\n`,
    );
    return { program: join(ROOT, "node_modules/.bin/bun"), args: [file] };
  });
}

function serveByWorkerd(): Promise<Server> {
  return serve(async (folder, port) => {
    await finished(spawn(join(ROOT, "node_modules/.bin/esbuild"), [
      EXAMPLE,
      "--bundle",
      "--format=esm",
      "--target=es2022",
      `--outfile=${join(folder, "worker.mjs")}`,
      "--log-level=warning",
    ], { cwd: ROOT, stdio: "inherit" }));
    const file = join(folder, "config.capnp");
    writeFileSync(
      file,
      `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .worker) ],
  sockets = [
    (name = "http", address = "127.0.0.1:${port}", http = (), service = "main")
  ],
);
const worker :Workerd.Worker = (
  modules = [ (name = "worker.mjs", esModule = embed "worker.mjs") ],
  compatibilityDate = "2026-11-01",
);
`,
    );
    return {
      program: join(ROOT, "node_modules/.bin/workerd"),
      args: ["serve", file],
    };
  });
}

type Protocol = "HTTP/1.1" | "HTTP/2";

interface Command {
  program: string;
  args: string[];
}

async function serve(
  prepare: (folder: string, port: number) => Command | Promise<Command>,
  protocol: Protocol = "HTTP/1.1",
): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), "highwater-edge-"));
  const port = await freePort();
  const { program, args } = await prepare(folder, port);
  const child = spawn(program, args, {
    cwd: ROOT,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const server = new Server(port, protocol, child, folder);
  try {
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`${program} ended`);
      return await statsOf(port).then(() => true, () => false);
    });
    return server;
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}

/** What the server says when its count of lines has stood still for a second. */
async function settled(port: number): Promise<Stats> {
  let last = await statsOf(port);
  let since = Date.now();
  while (Date.now() - since < 1000 || last.lines === 0) {
    await pause(50);
    const stats = await statsOf(port);
    if (stats.lines !== last.lines) since = Date.now();
    last = stats;
  }
  return last;
}

async function statsOf(port: number): Promise<Stats> {
  const response = await fetch(`http://127.0.0.1:${port}/stats`, {
    signal: AbortSignal.timeout(90_000),
  });
  return await response.json() as Stats;
}

async function statsHere(): Promise<Stats> {
  return await ask("/stats").json() as Stats;
}

function ask(path: string, method = "GET"): Response {
  return handler.fetch(new Request(`http://edge.test${path}`, { method }));
}

function post(body: string | ReadableStream<Uint8Array>): Request {
  // `duplex` is missing in some type libraries, and needed by Node.
  const init = { method: "POST", body, duplex: "half" };
  return new Request("http://edge.test/", init as RequestInit);
}

/** The records, by the number of their line. */
function parse(text: string): Answer[] {
  return text.trimEnd().split("\n")
    .map((line) => JSON.parse(line) as Answer)
    .sort((one, other) => one.line - other.line);
}

async function finished(child: ChildProcess): Promise<void> {
  const code = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", resolve);
  });
  assertEquals(code, 0);
}

function stopped(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}
