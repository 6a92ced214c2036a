import { assertEquals, assertRejects } from "@std/assert";
import type {
  NatsClient,
  NatsIncoming,
} from "../../../src/engines/nats/client.ts";
import { NatsWire } from "../../../src/engines/nats/wire.ts";
import { test } from "../../support/harness.ts";
import { SteppedClock } from "../../support/stepped_clock.ts";

type Callback = (error: Error | null, message: NatsIncoming) => void;

/** A server that answers what the test says, and nothing else. */
class Silence {
  readonly clock: SteppedClock = new SteppedClock();
  readonly published: { subject: string; reply: string | undefined }[] = [];
  readonly wire: NatsWire;
  #callback: Callback | undefined = undefined;

  constructor() {
    const connection = {
      info: {},
      isClosed: () => false,
      publish: (
        subject: string,
        _payload: unknown,
        options?: { reply?: string },
      ) => void this.published.push({ subject, reply: options?.reply }),
      subscribe: (_subject: string, { callback }: { callback: Callback }) => {
        this.#callback = callback;
        return { unsubscribe() {} };
      },
      status: () => ({
        [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
      }),
    };
    const client = { connection, headers: () => ({}) };
    this.wire = new NatsWire(client as unknown as NatsClient, {
      clock: this.clock,
      inboxPrefix: "_INBOX",
      timeout: 5_000,
    });
  }

  ask(): Promise<NatsIncoming[]> {
    return this.wire.pull({ subject: "next", batch: 1, wait: 100 });
  }

  send(message: Partial<NatsIncoming>): void {
    this.#callback!(null, message as NatsIncoming);
  }
}

test("nats wire: a question that the server forgot is over soon after its time, without an error", async () => {
  const server = new Silence();
  const asked = server.ask();
  server.clock.advance(149);
  let isOver = false;
  asked.then(() => isOver = true);
  await Promise.resolve();
  assertEquals(isOver, false);
  server.clock.advance(1);
  assertEquals(await asked, []);
});

test("nats wire: a server that answers nothing any more is told of", async () => {
  const server = new Silence();
  await assertRejects(
    async () => {
      for (let asked = 0; asked < 100; asked++) {
        const answer = server.ask();
        server.clock.advance(150);
        await answer;
      }
    },
    Error,
    "the answer must come within 5000 ms",
  );
});

test("nats wire: what comes late is for the next question, or goes back", async () => {
  const server = new Silence();
  const forgotten = server.ask();
  server.clock.advance(150);
  await forgotten;
  server.send({ subject: "jobs", reply: "$JS.ACK.1" });
  assertEquals(server.published.at(-1)!.subject, "$JS.ACK.1");
  const next = server.ask();
  server.send({ subject: "jobs", reply: "$JS.ACK.2" });
  assertEquals((await next).map(({ reply }) => reply), ["$JS.ACK.2"]);
});

test("nats wire: the last word on a question that was given up is not that on the next", async () => {
  const server = new Silence();
  const forgotten = server.ask();
  server.clock.advance(150);
  await forgotten;
  const next = server.ask();
  const headers = { code: 408, description: "Request Timeout" };
  server.send({
    subject: server.published[0]!.reply!,
    headers: headers as unknown as NonNullable<NatsIncoming["headers"]>,
  });
  server.send({ subject: "jobs", reply: "$JS.ACK.1" });
  assertEquals((await next).map(({ reply }) => reply), ["$JS.ACK.1"]);
});
