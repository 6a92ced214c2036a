/**
 * A queue that Redis keeps.
 *
 * @module
 */

import {
  checkCount,
  checkLimit,
  checkOptions,
  outOfRange,
  wrongType,
} from "../../checks.ts";
import { checkName } from "../core/naming.ts";
import {
  ENGINE_OPTIONS,
  EngineHandle,
  type EngineHandleOptions,
} from "../core/handle.ts";
import type { RedisClient } from "./client.ts";
import { connectionOf } from "./roads.ts";
import { NOBODY, RedisDriver, type RedisMessage } from "./driver.ts";

/** Options of {@linkcode RedisQueue}. */
export interface RedisQueueOptions<T>
  extends Omit<EngineHandleOptions<T>, "keyOf"> {
  /** The most items there may be in Redis, those that are lent included. Default: 100,000, `Infinity` for no bound. At that, `overflow` decides. All handles should say the same. */
  capacity?: number | undefined;
  /** The most dead letters that are kept, about; the oldest go first. Default: `Infinity`. */
  maxDeadLetters?: number | undefined;
  /** The most bytes of an encoded item. Default: 16 MiB. Redis takes up to 512 MB, and both sides hold some copies. */
  maxPayload?: number | undefined;
  /** What the names of all keys begin with. Default: `"highwater"`. */
  prefix?: string | undefined;
  /** Whom `XPENDING` shows lent items under. Default: `"worker"`. Any number of handles may share it. */
  consumer?: string | undefined;
}

/** Options that others have, and why there are none here. */
const ABSENT = {
  keyOf: "as Redis keeps one order of all items, whatever their keys",
  group: "as a queue has one group; a queue of another name is kept apart",
};

/** For how many milliseconds Redis is left alone by one who waits. */
const PATIENCE = 5_000;
const ACTION = "open a queue in Redis";

/**
 * A queue in Redis, as one process sees it: any number of processes put into it and
 * take from it.
 *
 * - **At least once.** An item is there until it is acknowledged. Who crashes, or
 *   holds it for longer than its visibility, has it delivered again to somebody; so
 *   handlers must stand a repetition. What is given back keeps its attempts and the
 *   time when it was put, and comes before what is new. Only the clock of Redis
 *   counts; those of the processes may say what they like.
 * - **Nobody is blamed for a neighbour.** What nobody answered for is lent again alone:
 *   a handle has nothing else meanwhile. Only what is lost alone goes to the dead
 *   letters for that. What a stop gives back, or was fetched early, is no attempt.
 * - **Bounded.** At `capacity` a put waits until there is room, and streams with it,
 *   or rejects, as `overflow` says. Nothing is ever trimmed.
 * - **A put is repeated** until Redis answers, and Redis knows a repetition for ten
 *   minutes: it does not make a second item.
 * - **Dead letters** are entries of a stream beside the queue, with the reason.
 * - **Waking** costs nothing while nothing happens: who waits is blocked in Redis on
 *   a connection of its own, made from `client.duplicate()`, and an item wakes one.
 *
 * The client is that of `redis` (connected, with a listener for `"error"`) or of
 * `ioredis`: of one server, a pool, a cluster, or sentinels. Its options for names and
 * replies may be any; `keyPrefix` comes before `prefix`. A failover and a slot that moves
 * are followed. It stays yours: closing the queue leaves it open. Redis 6.2 or later, or
 * Valkey; `maxmemory-policy` should be `noeviction`: where memory is full puts wait, and
 * what is there still comes out. What Redis has not written
 * to its disk is gone with it, so see to `appendonly`.
 *
 * A server that is away, full, loading or failing over is waited for. What it refuses
 * for good (`WRONGTYPE`, `NOPERM`, `NOAUTH`, `WRONGPASS`, a replica that stays one), and
 * a client that is closed, rejects puts and receives.
 *
 * Throws a `TypeError` or `RangeError` that names the argument it cannot use.
 *
 * @example Jobs that another process does
 * ```ts ignore
 * import { createClient } from "redis";
 * import { consume } from "@highwater/queue";
 * import { RedisQueue } from "@highwater/queue/redis";
 *
 * const client = await createClient().on("error", console.error).connect();
 * const jobs = new RedisQueue<{ page: string }>(client, "jobs", { capacity: 10_000 });
 *
 * await jobs.put({ page: "/" }); // here,
 *
 * await consume(jobs, ({ page }) => visit(page), { concurrency: 8 }); // and there
 * ```
 */
export class RedisQueue<T> extends EngineHandle<T, RedisMessage> {
  /** Opens the queue of that name, which is made when it is first used. */
  constructor(
    client: RedisClient,
    name: string,
    options: RedisQueueOptions<T> = {},
  ) {
    for (const [option, instead] of Object.entries(ABSENT)) {
      const value = (options as Record<string, unknown> | null)?.[option];
      if (value === undefined) continue;
      throw wrongType(ACTION, `${option} must be left out, ${instead}`, value);
    }
    checkOptions(ACTION, options, {
      ...ENGINE_OPTIONS,
      capacity: true,
      maxDeadLetters: true,
      maxPayload: true,
      prefix: true,
      consumer: true,
    });
    const {
      capacity = 100_000,
      maxDeadLetters = Infinity,
      maxPayload = 16_777_216,
      prefix = "highwater",
      consumer = "worker",
    } = options;
    for (const [what, value] of Object.entries({ name, prefix, consumer })) {
      checkName(ACTION, what, value, NAMES, NAMES_RULE);
    }
    if (consumer === NOBODY) {
      const rule = "consumer must not be the one of what nobody has";
      throw outOfRange(ACTION, rule, consumer);
    }
    checkLimit(ACTION, "capacity", capacity, 1);
    checkLimit(ACTION, "maxDeadLetters", maxDeadLetters, 1);
    checkCount(ACTION, "maxPayload", maxPayload, 1);
    // It listens to the client, so the last of all.
    const connection = connectionOf(ACTION, client);
    const driver = new RedisDriver({
      ...{ connection, name, prefix, consumer },
      ...{ capacity, maxDeadLetters, maxPayload, patience: PATIENCE },
    });
    super(name, driver, options);
  }
}

/** Braces would change where a cluster places the keys, and the rest shall be easy to type at a prompt. */
const NAMES: RegExp = /^[\w.:/-]{1,128}$/;
const NAMES_RULE = '1 to 128 letters, digits or ".", ":", "/", "-", "_"';
