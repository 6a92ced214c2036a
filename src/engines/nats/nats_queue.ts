/**
 * The queue that NATS keeps.
 *
 * @module
 */

import {
  checkCount,
  checkFunction,
  checkLimit,
  checkOptions,
  checkWord,
  outOfRange,
  wrongType,
} from "../../checks.ts";
import { checkDelay, systemClock } from "../../clock.ts";
import { checkName } from "../core/naming.ts";
import {
  ENGINE_OPTIONS,
  EngineHandle,
  type EngineHandleOptions,
} from "../core/handle.ts";
import type { NatsClient } from "./client.ts";
import { NatsDriver, type NatsMessage } from "./driver.ts";

/** Options of {@linkcode NatsQueue}. */
export interface NatsQueueOptions<T> extends EngineHandleOptions<T> {
  /** How many items there may be on the server, those that are lent included, for this handle to put another. Default: `Infinity`. At that, `overflow` decides. All handles that put should say the same. */
  capacity?: number | undefined;
  /** The same in bytes, as the server stores them; the last item may exceed it. Default: `Infinity`. */
  maxBytes?: number | undefined;
  /** The most dead letters that are kept; the oldest go first. Default: `Infinity`. Counts when the queue is made on the server. */
  maxDeadLetters?: number | undefined;
  /** For how many milliseconds the server knows a put by its id, so that one whose answer was lost can be repeated. Default: 120,000. Counts when the queue is made on the server. */
  dedupe?: number | undefined;
  /** On how many servers of a cluster the queue is kept. Default: 1. Counts when the queue is made on the server. */
  replicas?: number | undefined;
  /** Where the server keeps it. Default: in files. Counts when the queue is made on the server. */
  storage?: "file" | "memory" | undefined;
  /**
   * Into how many orders items are divided by `keyOf`, of each of which one item is
   * lent at a time. Unless told 16 where there is `keyOf`, none where there is not,
   * and as many as the queue has if it is there already. Counts when the queue is made on the server.
   */
  partitions?: number | undefined;
  /** After how many milliseconds without an answer a word with the server counts as failed. Default: 5,000. */
  timeout?: number | undefined;
  /** What the subjects of JetStream begin with. Default: `"$JS.API"`. */
  apiPrefix?: string | undefined;
  /** What the subjects begin with that answers come to. Default: `"_INBOX"`. */
  inboxPrefix?: string | undefined;
}

const ACTION = "open a queue on NATS";

/**
 * A queue in NATS JetStream, as one process sees it: any number of processes put
 * into it and take from it.
 *
 * - **At least once.** An item is there until it is acknowledged, and the server has
 *   confirmed that. Who crashes, or holds it for longer than its visibility, has it
 *   delivered again to somebody; so handlers must stand a repetition. What is given
 *   back keeps its attempts and the time when it was put, and comes before what is
 *   new. Clocks of hosts do not matter.
 * - **A killed server repeats work.** A NATS server writes what consumers have confirmed
 *   to it down ten times a second at most, so one that is killed (`kill -9`, a power cut)
 *   delivers again what it confirmed in the last tenth of a second: some hundred items
 *   where thousands are done in a second. If it is killed in that write, it may deliver
 *   again whatever its disk still has of what is done. One that is asked to stop (SIGTERM)
 *   repeats nothing of it. No item is lost either way.
 * - **Bounded.** At `capacity` or `maxBytes` a put waits until there is room, and
 *   streams with it, or rejects, as `overflow` says. Nothing is ever discarded. The
 *   server is asked before each batch, so where several processes put at the same time
 *   there may be up to a batch (512) of each of them more. A bound of the stream itself
 *   (`max_msgs`, with `discard: new`) is heeded as well, and is exact; but before NATS 2.10.6 a server
 *   that crashed may drop the oldest items of such a stream when it comes back.
 * - **A put is repeated** until the server answers, which knows a repetition for
 *   `dedupe` milliseconds: it does not make a second item. After a restart the server
 *   knows it of items that are still there.
 * - **In order by key** with `keyOf`: keys are divided into `partitions`, of each of
 *   which one item is lent at a time, among all processes. The next comes when it
 *   is acknowledged or buried, and after a nack it comes first. So no more than `partitions`
 *   items are worked on at a time; and who holds one for longer than its visibility may be
 *   at it still when somebody else gets it. Without keys items are lent in the order
 *   they were put, and done in any.
 * - **Dead letters** are messages of the stream `<name>+dead`, with the reason in their headers.
 * - **Attempts** are counted by the server; those that do not count are noted beside
 *   the queue, such as what a stop gave back. That is one message more for each item
 *   that goes back, and none for the others.
 * - **Nobody is blamed for a neighbour.** What nobody answered for is lent again alone:
 *   a handle has nothing else meanwhile. Only what is lost alone goes to the dead
 *   letters for that.
 * - **Waking** is up to the server, which holds the request of who waits, for up to a
 *   second. It cannot be taken back without a loss, so `close` waits for its end.
 *
 * On the server it is the stream `<name>` and its consumers, `<name>+dead`, and
 * `<name>+notes` for what became of deliveries. They are made when they are not there, and
 * never changed: edit them with the tools of NATS. NATS 2.10 is recommended, 2.9 will do, with JetStream;
 * it tells items that wait for the end of a delay as in flight.
 *
 * The client is the connection and the function `headers` of `@nats-io/transport-node`,
 * of `@nats-io/nats-core` (`wsconnect`, for browsers, too) or of `nats` 2. It stays yours: closing
 * the queue leaves it open. Connect with `maxReconnectAttempts: -1`, or it will be over
 * after some failures: puts and receives reject then, as they do without JetStream,
 * without permission, and with a stream that was made for something else. The server lends for one time for all, the
 * visibility of who made the queue; who says another has it kept, or given back, by
 * its process.
 *
 * Throws a `TypeError` or `RangeError` that names the argument it cannot use.
 *
 * @example Jobs that another process does
 * ```ts ignore
 * import { connect, headers } from "@nats-io/transport-node";
 * import { consume } from "@highwater/queue";
 * import { NatsQueue } from "@highwater/queue/nats";
 *
 * const connection = await connect({ servers: "127.0.0.1", maxReconnectAttempts: -1 });
 * const jobs = new NatsQueue<{ page: string }>({ connection, headers }, "jobs", { capacity: 10_000 });
 *
 * await jobs.put({ page: "/" }); // here,
 *
 * await consume(jobs, ({ page }) => visit(page), { concurrency: 8 }); // and there
 * ```
 */
export class NatsQueue<T> extends EngineHandle<T, NatsMessage> {
  /**
   * Opens the queue, and makes it on the server if it is not there. Nothing is
   * sent before the first put or receive.
   */
  constructor(
    client: NatsClient,
    name: string,
    options: NatsQueueOptions<T> = {},
  ) {
    checkClient(client);
    const rule = '1 to 128 letters, digits, "_" and "-"';
    checkName(ACTION, "name", name, NAMES, rule);
    checkNatsOptions(options);
    const driver = new NatsDriver(client, name, {
      clock: options.clock ?? systemClock,
      inboxPrefix: options.inboxPrefix ?? "_INBOX",
      timeout: options.timeout ?? 5_000,
      capacity: options.capacity ?? 100_000,
      maxBytes: options.maxBytes ?? Infinity,
      maxDeadLetters: options.maxDeadLetters ?? Infinity,
      dedupe: options.dedupe ?? 120_000,
      replicas: options.replicas ?? 1,
      storage: options.storage ?? "file",
      partitions: options.partitions,
      isKeyed: options.keyOf !== undefined,
      visibility: options.visibility ?? 30_000,
      apiPrefix: options.apiPrefix ?? "$JS.API",
    });
    super(name, driver, options);
  }
}

function checkClient(client: unknown): void {
  const { connection, headers } = (client ?? {}) as Partial<NatsClient>;
  checkFunction(ACTION, "client.headers", headers);
  const { publish, subscribe, status } = (connection ?? {}) as Partial<
    NatsClient["connection"]
  >;
  if (
    typeof publish === "function" && typeof subscribe === "function" &&
    typeof status === "function"
  ) return;
  const rule =
    "client.connection must be a connection, as connect() of a NATS client gives it";
  throw wrongType(ACTION, rule, connection);
}

/** They name a stream, consumers, files and subjects. */
const NAMES: RegExp = /^[A-Za-z0-9_-]{1,128}$/;

function checkNatsOptions<T>(options: NatsQueueOptions<T>): void {
  checkOptions(ACTION, options, {
    ...ENGINE_OPTIONS,
    capacity: true,
    maxBytes: true,
    maxDeadLetters: true,
    dedupe: true,
    replicas: true,
    storage: true,
    partitions: true,
    timeout: true,
    apiPrefix: true,
    inboxPrefix: true,
  });
  for (const word of ["capacity", "maxBytes", "maxDeadLetters"] as const) {
    if (options[word] !== undefined) checkLimit(ACTION, word, options[word], 1);
  }
  // For ever would be a lost answer that nobody notices.
  for (const word of ["dedupe", "timeout"] as const) {
    if (options[word] !== undefined) checkDelay(ACTION, word, options[word], 1);
  }
  const { replicas, partitions, keyOf, visibility, storage } = options;
  if (replicas !== undefined) checkCount(ACTION, "replicas", replicas, 1);
  if (partitions !== undefined) {
    checkCount(ACTION, "partitions", partitions, 0, 256);
    if (partitions === 0 && keyOf !== undefined) {
      const rule = "partitions must be 1 or more where there is keyOf";
      throw outOfRange(ACTION, rule, partitions);
    }
  }
  if (visibility !== undefined) {
    checkDelay(ACTION, "visibility", visibility, 1);
  }
  if (storage !== undefined) {
    checkWord(ACTION, "storage", storage, ["file", "memory"]);
  }
  for (const name of ["apiPrefix", "inboxPrefix"] as const) {
    const value: unknown = options[name];
    if (value === undefined || isSubject(value)) continue;
    const rule = `${name} must be a subject without wildcards`;
    throw wrongType(ACTION, rule, value);
  }
}

function isSubject(value: unknown): boolean {
  return typeof value === "string" && /^[^\s*>.]+(\.[^\s*>.]+)*$/.test(value);
}
