import { EventEmitter } from "node:events";
import { Worker } from "node:worker_threads";
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  checkPort,
  Endpoint,
  type EndpointListener,
  type PortLike,
} from "../../src/threads/endpoint.ts";
import { fakeChannel } from "../support/fake_ports.ts";
import { runtime, test } from "../support/harness.ts";
import { turn } from "../support/properties.ts";

/** Writes down what is heard. */
function listener(): EndpointListener & {
  heard: unknown[];
  next(): Promise<unknown>;
} {
  const heard: unknown[] = [];
  let resolve: (() => void) | undefined;
  let read = 0;
  const note = (what: unknown): void => {
    heard.push(what);
    resolve?.();
  };
  return {
    heard,
    async next(): Promise<unknown> {
      while (heard.length <= read) {
        await new Promise<void>((wake) => resolve = wake);
      }
      return heard[read++];
    },
    message: (data) => note(data),
    closed: () => note("closed"),
    failed: (error) => note(error),
  };
}

test("endpoint: a MessagePort is heard until it is stopped", async () => {
  const { port1, port2 } = new MessageChannel();
  const [left, right] = [listener(), listener()];
  const ends = [new Endpoint(port1, left), new Endpoint(port2, right)];
  ends[0]!.post({ item: 1 });
  assertEquals(await right.next(), { item: 1 });
  ends[1]!.post("back");
  assertEquals(await left.next(), "back");
  const { buffer } = new Uint8Array(3);
  ends[0]!.post(buffer, [buffer]);
  assertEquals((await right.next() as ArrayBuffer).byteLength, 3);
  assertEquals(buffer.byteLength, 0);
  assertThrows(() => ends[0]!.post(() => {}), Error);
  ends[1]!.stop();
  ends[0]!.post("unheard");
  port2.postMessage("last");
  assertEquals(await left.next(), "last");
  assertEquals(right.heard.length, 2);
  for (const end of ends) end.close();
});

// Deno's ports say nothing at their end.
if (runtime !== "deno") {
  test("endpoint: a port that is closed on the other side is told of", async () => {
    const { port1, port2 } = new MessageChannel();
    const heard = listener();
    const end = new Endpoint(port1, heard);
    const other = new Endpoint(port2, listener());
    other.close();
    assertEquals(await heard.next(), "closed");
    end.close();
  });
}

test("endpoint: a thread's end and its failure are told of", async () => {
  const heard = listener();
  const worker = new Worker(
    `const { parentPort } = require("node:worker_threads");
     parentPort.postMessage("hello");
     parentPort.once("message", () => { throw new TypeError("boom"); });`,
    { eval: true },
  );
  const end = new Endpoint(worker as unknown as PortLike, heard);
  assertEquals(await heard.next(), "hello");
  end.post("go");
  assertEquals((await heard.next() as Error).message.includes("boom"), true);
  assertEquals(await heard.next(), "closed");
  end.stop();
  await worker.terminate();
});

test("endpoint: a process is kept alive while one of those on the port wants it", () => {
  const calls: string[] = [];
  const port = Object.assign(new EventTarget(), {
    postMessage(): void {},
    start(): void {},
    close: (): void => void calls.push("close"),
    ref: (): void => void calls.push("ref"),
    unref: (): void => void calls.push("unref"),
  });
  const [one, two] = [
    new Endpoint(port, listener()),
    new Endpoint(port, listener()),
  ];
  one.keepsAlive = true;
  two.keepsAlive = true;
  one.keepsAlive = false;
  assertEquals(calls.at(-1), "ref");
  two.keepsAlive = false;
  assertEquals(calls.at(-1), "unref");
  one.keepsAlive = true;
  one.stop();
  assertEquals(calls.at(-1), "unref");
  two.close();
  assertEquals(calls.at(-1), "close");
});

test("endpoint: a worker is neither closed nor told whether to keep the process alive", () => {
  const port = Object.assign(new EventEmitter(), {
    postMessage(): void {},
    terminate: (): never => {
      throw new Error("terminated");
    },
    unref: (): never => {
      throw new Error("unref");
    },
  });
  const end = new Endpoint(port, listener());
  end.keepsAlive = false;
  end.close();
  assertEquals(port.listenerCount("message"), 0);
});

test("endpoint: an error of a web worker is not thrown here again", () => {
  const [port] = fakeChannel();
  const heard = listener();
  const end = new Endpoint(port, heard);
  const event = Object.assign(new Event("error", { cancelable: true }), {
    message: "boom",
  });
  port.dispatchEvent(event);
  assert(event.defaultPrevented);
  assertEquals((heard.heard[0] as Error).message, "boom");
  port.dispatchEvent(new Event("messageerror"));
  assertEquals((heard.heard[1] as Error).name, "DataCloneError");
  end.stop();
  port.dispatchEvent(new Event("messageerror"));
  assertEquals(heard.heard.length, 2);
});

test("endpoint: of what is no port it is said what it should be", async () => {
  const [port] = fakeChannel();
  checkPort("serve", "port", port);
  for (
    const wrong of [undefined, null, 1, {}, { postMessage: (): void => {} }]
  ) {
    assertThrows(
      () => checkPort("serve", "port", wrong),
      TypeError,
      "Cannot serve: port must be a MessagePort or a worker, received",
    );
  }
  await turn();
});
