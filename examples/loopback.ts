/**
 * Serves a fetch-style handler on loopback through `node:http`, which Deno, Bun
 * and Node all have. On Deno alone, `Deno.serve(handler)` does the same.
 *
 * @module
 */

import {
  createServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

type Handler = (request: Request) => Response | Promise<Response>;

/** A server that listens. */
export interface Loopback {
  /** Where, with a slash at its end. */
  address: string;
  /** Stops at once, and hangs up on whoever is connected. */
  stop(): void;
}

/** Serves it at a free port that this machine alone can reach. */
export async function serveOnLoopback(handler: Handler): Promise<Loopback> {
  const server = createServer((incoming, outgoing) => {
    // Whoever hangs up while it is answered needs no answer.
    answer(handler, incoming, outgoing).catch(() => outgoing.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    address: `http://127.0.0.1:${port}/`,
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function answer(
  handler: Handler,
  { method = "GET", url = "/", headers }: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const host = headers.host ?? "127.0.0.1";
  const request = new Request(`http://${host}${url}`, {
    method,
    headers: Object.entries(headers).map(([name, value]) =>
      [name, String(value)] as [string, string]
    ),
  });
  const response = await handler(request);
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  if (response.body === null) {
    outgoing.end();
    return;
  }
  const body = response.body as Parameters<typeof Readable.fromWeb>[0];
  await pipeline(Readable.fromWeb(body), outgoing);
}
