import {
  connect,
  headers,
  type NatsConnection as RealConnection,
} from "@nats-io/transport-node";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { consume } from "../../../mod.ts";
import {
  type NatsClient,
  type NatsConnection,
  NatsQueue,
  type NatsQueueOptions,
} from "../../../src/nats.ts";
import { test } from "../../support/harness.ts";
import { noNats, startNats } from "../../support/nats_server.ts";
import type { ServerProcess } from "../../support/server_process.ts";
import { pause } from "../../support/waiting.ts";

// The real client is what we ask for, in types, too.
interface RealClient {
  connection: RealConnection;
  headers: typeof headers;
}
const accepted: [
  RealConnection extends NatsConnection ? true : false,
  RealClient extends NatsClient ? true : false,
  Date extends NatsConnection ? true : false,
] = [true, true, false];

interface Place {
  readonly server: ServerProcess;
  readonly connection: RealConnection;
  open<T = string>(options?: NatsQueueOptions<T>, name?: string): NatsQueue<T>;
}

function testOnNats(
  name: string,
  body: (place: Place) => Promise<void>,
): void {
  test(`nats: ${name}`, async () => {
    await using server = await startNats();
    await using connection = await connect({
      servers: server.address,
      reconnectTimeWait: 20,
      maxReconnectAttempts: -1,
    });
    const queues: NatsQueue<never>[] = [];
    try {
      await body({
        server,
        connection,
        open(options = {}, name = "jobs") {
          const queue = new NatsQueue({ connection, headers }, name, options);
          queues.push(queue as unknown as NatsQueue<never>);
          return queue;
        },
      });
    } finally {
      const signal = AbortSignal.abort();
      await Promise.all(queues.map((queue) => queue.close({ signal })));
    }
  }, { skip: noNats });
}

/** Nothing of it may be called. */
function clientWithout(what: string): NatsClient {
  const method = (): never => {
    throw new Error("called");
  };
  const connection = {
    ...{ publish: method, subscribe: method },
    ...{ isClosed: method, status: method },
  };
  const client = { connection, headers: method, [what]: undefined };
  return client as unknown as NatsClient;
}

test("nats: the types of the client are accepted, and no others", () => {
  assertEquals(accepted, [true, true, false]);
});

test("nats: arguments are checked before anything is sent", () => {
  const client = clientWithout("");
  function refusal(
    name: unknown,
    options: unknown = {},
    given: unknown = client,
  ): string {
    const error = assertThrows(() =>
      new NatsQueue(given as NatsClient, name as string, options as object)
    );
    assert(error instanceof TypeError || error instanceof RangeError);
    return error.message;
  }
  for (const name of ["", "a.b", "a b", "a*", "a>", "ä", "x".repeat(129), 5]) {
    assertStringIncludes(refusal(name), "name must be");
  }
  for (
    const [word, value] of [
      ...[["capacity", 0], ["maxBytes", "1"], ["maxDeadLetters", -1]],
      ...[["dedupe", 0], ["replicas", 1.5], ["timeout", Infinity]],
      ...[["partitions", 257], ["partitions", -1], ["storage", "disk"]],
      ...[["apiPrefix", "$JS.*"], ["inboxPrefix", "a b"], ["inboxPrefix", ""]],
      ...[["visibility", -1], ["attempts", 0], ["overflow", "drop"]],
    ] as const
  ) {
    assertStringIncludes(refusal("jobs", { [word]: value }), `${word} must be`);
  }
  assertStringIncludes(
    refusal("jobs", { partitions: 0, keyOf: String }),
    "partitions must be 1 or more",
  );
  assertStringIncludes(refusal("jobs", 5), "options must be an object");
  for (const what of ["connection", "headers"]) {
    assertStringIncludes(
      refusal("jobs", {}, clientWithout(what)),
      `client.${what} must be`,
    );
  }
  assertStringIncludes(refusal("jobs", {}, null), "client.");
});

testOnNats(
  "an item that is too large is refused with both sizes before anything is sent",
  async ({ open }) => {
    const jobs = open();
    const error = await assertRejects(
      () => jobs.put("x".repeat(1_048_576)),
      RangeError,
    );
    assertStringIncludes(error.message, "1044480 bytes, received 1048578");
    await jobs.put("x".repeat(1_044_478));
    const delivery = await jobs.receive();
    assertEquals(delivery.item.length, 1_044_478);
    await delivery.ack();
  },
);

testOnNats(
  "items of one key are done in order by any number of consumers",
  async ({ open }) => {
    interface Step {
      key: string;
      number: number;
    }
    const options: NatsQueueOptions<Step> = { keyOf: ({ key }) => key };
    const jobs = open<Step>(options);
    const keys = ["a", "b", "c", "d", "e"];
    await jobs.putMany(
      [0, 1, 2, 3].flatMap((number) => keys.map((key) => ({ key, number }))),
    );
    const done: Record<string, number[]> = {};
    const ending = new AbortController();
    let count = 0;
    const handler = async ({ key, number }: Step): Promise<void> => {
      await pause(5 * Math.random());
      (done[key] ??= []).push(number);
      if (++count === 20) ending.abort();
    };
    await Promise.all([1, 2].map(() =>
      // Who only consumes need not know of keys.
      consume(open<Step>(), handler, { concurrency: 4, signal: ending.signal })
    ));
    for (const key of keys) assertEquals(done[key], [0, 1, 2, 3], key);
  },
);

testOnNats(
  "a stream that will not do rejects puts with what is wrong",
  async ({ open, connection }) => {
    await connection.request(
      "$JS.API.STREAM.CREATE.jobs",
      JSON.stringify({
        ...{ name: "jobs", subjects: ["jobs.item"], storage: "memory" },
        ...{ retention: "workqueue", discard: "old", max_msgs: 5 },
      }),
    );
    const jobs = open();
    const error = await assertRejects(() => jobs.put("a"), TypeError);
    assertStringIncludes(error.message, "discard what is new");
  },
);

test("nats: errors name no password", async () => {
  await using server = await startNats("--user=jobs", "--pass=secret-word");
  const connection = await connect({
    servers: server.address,
    user: "jobs",
    pass: "secret-word",
    reconnectTimeWait: 20,
    maxReconnectAttempts: -1,
  });
  const errors: unknown[] = [];
  const jobs = new NatsQueue({ connection, headers }, "jobs", {
    onError: (error) => errors.push(error),
  });
  await jobs.put("a");
  await server.stop();
  const stuck = jobs.put("b");
  stuck.catch(() => {});
  while (errors.length === 0) {
    await pause(10);
  }
  for (const error of errors) {
    assertInstanceOf(error, Error);
    assert(!`${error.message}${error.stack}`.includes("secret-word"));
  }
  await jobs.close({ signal: AbortSignal.abort() });
  await assertRejects(() => stuck);
  await connection.close();
}, { skip: noNats });

testOnNats(
  "a delay, a lease and a window of any length are taken by the server",
  async ({ open }) => {
    const longest = Number.MAX_SAFE_INTEGER;
    const queue = open({ visibility: longest, dedupe: longest });
    await queue.putMany(["later", "now"]);
    const later = await queue.receive();
    assertEquals([later.item, await later.extend(longest)], ["later", true]);
    assertEquals(await later.nack({ delay: longest }), true);
    const now = await queue.receive();
    assertEquals([now.item, await now.ack()], ["now", true]);
    // Whoever waits for one gets none.
    await assertRejects(
      () => queue.receive({ signal: AbortSignal.timeout(300) }),
      DOMException,
    );
    assertEquals((await queue.stats()).inFlight, 1);
  },
);
