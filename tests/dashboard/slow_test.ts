/**
 * Browsers that stop reading, over real connections, on the server that each
 * runtime has of its own.
 *
 * @module
 */

import { assertEquals, assertGreater } from "@std/assert";
import { connect, type Socket } from "node:net";
import { type Clock, Queue } from "../../mod.ts";
import { systemClock } from "../../src/clock.ts";
import { dashboard } from "../../src/dashboard.ts";
import { serveOnLoopback } from "../../examples/loopback.ts";
import { test } from "../support/harness.ts";
import { pause } from "../support/waiting.ts";

const BROWSERS = 20;
/** Large frames, so that what a connection holds is soon full. */
const NAME = "x".repeat(500_000);

type Handler = (request: Request) => Response | Promise<Response>;

interface Server {
  port: number;
  stop(): void | Promise<void>;
}

/** The clock of the machine, which knows how many alarms are set. */
class CountingClock implements Clock {
  readonly pending: Set<unknown> = new Set();

  now(): number {
    return systemClock.now();
  }

  setTimer(callback: () => void, milliseconds: number): unknown {
    const timer = systemClock.setTimer(() => {
      this.pending.delete(timer);
      callback();
    }, milliseconds);
    this.pending.add(timer);
    return timer;
  }

  clearTimer(timer: unknown): void {
    this.pending.delete(timer);
    systemClock.clearTimer(timer);
  }
}

test(
  "dashboard: the server stops making samples for browsers that stop reading",
  async () => {
    const queue = new Queue<number>({ name: NAME });
    const clock = new CountingClock();
    let looks = 0;
    const watched = {
      stats() {
        looks++;
        return queue.stats();
      },
    };
    const server = await serve(dashboard(watched, { clock, interval: 1 }));
    const browsers: Socket[] = [];
    try {
      for (let browser = 0; browser < BROWSERS; browser++) {
        browsers.push(await stuckBrowser(server.port));
      }
      // Comes to rest once all that lies between is full; without backpressure never.
      for (let quiet = 0, before = -1; quiet < 10;) {
        await pause(50);
        quiet = looks === before && clock.pending.size === 0 ? quiet + 1 : 0;
        before = looks;
      }
      assertGreater(looks, BROWSERS);
      const stuck = looks;

      // One that reads again gets fresh samples.
      browsers[0]!.resume();
      while (looks === stuck) await new Promise((next) => setTimeout(next, 5));
    } finally {
      for (const browser of browsers) browser.destroy();
      await server.stop();
    }
    // What went away took its timer along, even the one that was reading.
    while (clock.pending.size > 0) {
      await pause(5);
    }
    assertEquals(clock.pending.size, 0);
  },
  { sanitize: false },
);

/** Asks for the events and never reads an answer. */
function stuckBrowser(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.pause();
      socket.write("GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
      resolve(socket);
    });
    socket.on("error", reject);
  });
}

interface Servers {
  Deno?: {
    serve(options: object, handler: Handler): {
      addr: { port: number };
      shutdown(): Promise<void>;
    };
  };
  Bun?: {
    serve(options: object): {
      port: number;
      stop(closeAll: boolean): Promise<void>;
    };
  };
}

async function serve(handler: Handler): Promise<Server> {
  const { Deno, Bun } = globalThis as Servers;
  const hostname = "127.0.0.1";
  if (Deno !== undefined) {
    const server = Deno.serve({ hostname, port: 0, onListen() {} }, handler);
    return { port: server.addr.port, stop: () => server.shutdown() };
  }
  if (Bun !== undefined) {
    const server = Bun.serve({ hostname, port: 0, fetch: handler });
    return { port: server.port, stop: () => server.stop(true) };
  }
  const server = await serveOnLoopback(handler);
  const port = Number(new URL(server.address).port);
  return { port, stop: server.stop };
}
