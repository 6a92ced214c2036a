/**
 * What can be seen of a queue from outside, in one shape for those in memory and
 * those on engines.
 *
 * @module
 */

import { wrongType } from "./checks.ts";
import type { Clock } from "./clock.ts";
import { deferred, FULFILLED } from "./waiters.ts";
import type { QueueState, QueueStats } from "./queue.ts";

/** What a queue on an engine tells, see `EngineQueue.stats`. */
export interface EngineCounters {
  /** The name of the queue. */
  readonly name: string;
  /** Items that wait to be delivered, those that wait for the end of a delay included. */
  readonly backlog: number;
  /** Those of them that wait for the end of a delay; undefined where the engine does not tell. */
  readonly delayed: number | undefined;
  /** The most items there may be, those that are lent included; Infinity without a bound. */
  readonly capacity: number;
  /** Items that are lent to consumers, of this process and others. */
  readonly inFlight: number;
  /** For how many milliseconds the oldest item that is not done has existed; undefined when there is none, or the engine does not tell. */
  readonly oldestAge: number | undefined;
  /** Items that ended among the dead letters and are still there; undefined where the engine does not tell. */
  readonly deadLetters: number | undefined;
  /** Items that this handle has put so far. */
  readonly put: number;
  /** Items that were lent to consumers of this handle so far. */
  readonly taken: number;
  /** Puts of this handle that have not been answered yet. */
  readonly waitingPuts: number;
  /** Whether the last word with the engine failed, and with what; undefined while all is well. */
  readonly failure: unknown;
}

/** What can be watched: a `Queue`, a lane, a queue on an engine, anything with such counters. */
export interface Monitored {
  /** The name, where the counters have to be waited for. */
  readonly name?: string | undefined;
  /** The counters of the moment. */
  stats(): QueueStats | EngineCounters | Promise<QueueStats | EngineCounters>;
}

/** Both kinds of counters in one shape. */
export interface Counters {
  readonly name: string;
  readonly state: QueueState;
  readonly length: number;
  readonly size: number;
  readonly highWaterMark: number;
  /** The share of the bound that is in use. */
  readonly fill: number;
  /** Items that may be put before it is full. */
  readonly room: number;
  readonly put: number;
  readonly taken: number;
  readonly waitingPuts: number;
  readonly waitingGets: number;
  readonly inFlight: number;
  /** Items that a delay keeps back. */
  readonly delayed: number | undefined;
  /** In milliseconds. */
  readonly oldestAge: number | undefined;
  readonly deadLetters: number | undefined;
  readonly failure: unknown;
  /** Whether there is something to take that nobody has. */
  readonly hasUntaken: boolean;
  /** What only a queue in memory counts. */
  readonly own: QueueStats | undefined;
}

/** Brings counters into the one shape. Ages are those at `now`, on the clock of the queue. */
function countersOf(
  stats: QueueStats | EngineCounters,
  now: number,
): Counters {
  return "backlog" in stats ? ofEngine(stats) : ofQueue(stats, now);
}

function ofQueue(stats: QueueStats, now: number): Counters {
  const { name, state, length, size, highWaterMark, put, taken } = stats;
  const { waitingPuts, waitingGets, inFlight, delayed, oldest } = stats;
  return {
    ...{ name, state, length, size, highWaterMark, put, taken },
    ...{ waitingPuts, waitingGets, inFlight, delayed },
    fill: fillOf(stats),
    room: Math.max(stats.desiredSize ?? 0, 0),
    oldestAge: oldest === undefined ? undefined : now - oldest,
    deadLetters: undefined,
    failure: undefined,
    hasUntaken: length > 0 || waitingPuts > 0,
    own: stats,
  };
}

function ofEngine(stats: EngineCounters): Counters {
  const { name, backlog, capacity, put, taken, waitingPuts, inFlight } = stats;
  const { delayed, oldestAge, deadLetters, failure } = stats;
  return {
    ...{ name, put, taken, waitingPuts, inFlight, delayed },
    ...{ oldestAge, deadLetters, failure },
    // It goes on for others when this handle is closed.
    state: "open",
    length: backlog,
    size: backlog + inFlight,
    highWaterMark: capacity,
    fill: capacity === Infinity ? 0 : (backlog + inFlight) / capacity,
    room: Math.max(capacity - backlog - inFlight, 0),
    waitingGets: 0,
    // What other processes take is lent for a while.
    hasUntaken: backlog > (delayed ?? 0) && inFlight === 0,
    own: undefined,
  };
}

/** Asks one queue for its counters, again and again. */
export class Inquiry {
  /** Fulfils with the answer of an engine. */
  answered: Promise<void> = FULFILLED;
  readonly #queue: Monitored;
  /** Of the last answer. */
  #counters: Counters | undefined = undefined;
  /** When it was asked what it has not answered yet. */
  #askedAt: number | undefined = undefined;

  constructor(queue: Monitored) {
    this.#queue = queue;
  }

  /** Looks at the counters; true when they have to be waited for. */
  ask(now: number): boolean {
    // An engine that does not answer is not asked again meanwhile.
    if (this.#askedAt !== undefined) return true;
    const stats = this.#queue.stats();
    if (!("then" in stats)) {
      this.#counters = countersOf(stats, now);
      return false;
    }
    this.#askedAt = now;
    this.answered = stats.then(
      (answer) => countersOf(answer, now),
      (error) => this.#failed(error ?? new Error("No reason was given")),
    ).then((counters) => {
      this.#counters = counters;
      this.#askedAt = undefined;
    });
    return true;
  }

  /** What is known at the moment. */
  read(now: number): Counters {
    if (this.#askedAt === undefined) return this.#counters!;
    return this.#failed(
      new DOMException(
        `The engine has not answered for ${now - this.#askedAt} ms`,
        "TimeoutError",
      ),
    );
  }

  /** What is known of the queue is what it was. */
  #failed(failure: unknown): Counters {
    const name = this.#queue.name ?? "";
    const known = this.#counters ?? ofEngine({ ...NOTHING, name, failure });
    return { ...known, failure };
  }
}

/** Asks all of them; waits for engines, but no longer than so many milliseconds, or until the signal aborts. */
export function ask(
  inquiries: readonly Inquiry[],
  clock: Clock,
  limit: number,
  signal?: AbortSignal,
): Counters[] | Promise<Counters[]> {
  const asked = inquiries.filter((inquiry) => inquiry.ask(clock.now()));
  const read = (): Counters[] =>
    inquiries.map((inquiry) => inquiry.read(clock.now()));
  if (asked.length === 0 || signal?.aborted === true) return read();
  const { promise, resolve } = deferred<void>();
  const enough = (): void => resolve();
  const timer = clock.setTimer(enough, limit);
  signal?.addEventListener("abort", enough);
  void Promise.all(asked.map(({ answered }) => answered)).then(enough);
  return promise.then(() => {
    clock.clearTimer(timer);
    signal?.removeEventListener("abort", enough);
    return read();
  });
}

const NOTHING = {
  backlog: 0,
  delayed: undefined,
  capacity: Infinity,
  inFlight: 0,
  oldestAge: undefined,
  deadLetters: undefined,
  put: 0,
  taken: 0,
  waitingPuts: 0,
} as const;

/** The share of the bound that is in use, puts that wait included. */
function fillOf(
  { highWaterMark, size, desiredSize, waitingPuts }: QueueStats,
): number {
  if (highWaterMark === Infinity) return 0;
  // A rendezvous is full as soon as somebody waits.
  if (highWaterMark === 0) return waitingPuts > 0 ? 1 : 0;
  const room = desiredSize === null || desiredSize === 0
    ? undefined
    : desiredSize;
  // Once closed there is no room to speak of, and only what is stored counts.
  return (room === undefined ? size : highWaterMark - room) / highWaterMark;
}

/** The name of a queue that may be far away. */
export function nameOf(queue: Monitored): string {
  if (typeof queue.name === "string") return queue.name;
  const stats = queue.stats();
  return "name" in stats ? stats.name : "";
}

/** One queue or several, as a list; throws unless all of them have counters. */
export function listed(
  action: string,
  queues: Monitored | Iterable<Monitored>,
): Monitored[] {
  const single = typeof (queues as Monitored | null)?.stats === "function";
  if (
    !single &&
    typeof (queues as Iterable<Monitored> | null)?.[Symbol.iterator] !==
      "function"
  ) {
    throw wrongType(action, "queues must be a queue or iterable", queues);
  }
  const list = single
    ? [queues as Monitored]
    : [...queues as Iterable<Monitored>];
  if (list.length === 0) {
    throw new RangeError(
      `Cannot ${action}: queues must have one queue or more, received none`,
    );
  }
  for (const [index, queue] of list.entries()) {
    if (typeof queue?.stats === "function") continue;
    throw wrongType(action, `queues[${index}] must have stats()`, queue);
  }
  return list;
}
