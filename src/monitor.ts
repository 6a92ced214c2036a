/**
 * A queue seen from outside, at intervals: how full it is, how fast it fills, and
 * whether somebody should look.
 *
 * @module
 */

import { callOut } from "./callbacks.ts";
import { checkFunction, checkOptions } from "./arguments.ts";
import { checkClock, systemClock } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { received } from "./errors.ts";
import type { QueueStats } from "./queue.ts";
import { signalOf } from "./waiters.ts";

/** What can be watched: a `Queue`, a lane, anything with such counters. */
export interface Monitored {
  /** The counters of the moment. */
  stats(): QueueStats;
}

/**
 * What an alert says:
 *
 * - `"backlog"`: the queue is as full as `high`;
 * - `"stalled"`: there are items and nobody takes any;
 * - `"starved"`: somebody waits for an item and nobody puts any;
 * - `"recovered"`: one of these is over.
 */
export type AlertKind = "backlog" | "stalled" | "starved" | "recovered";

/** Something that somebody should know. */
export interface Alert {
  /** What happened. */
  readonly kind: AlertKind;
  /** What is over, with `"recovered"`. */
  readonly of: Exclude<AlertKind, "recovered"> | undefined;
  /** When, on the clock of the monitor, in milliseconds. */
  readonly at: number;
  /** The name of the queue. */
  readonly name: string;
  /** What was seen. */
  readonly sample: MonitorSample;
}

/** One queue at one moment. Rates are of the time since the sample before, per second. */
export interface MonitorSample {
  /** When, on the clock of the monitor, in milliseconds. */
  readonly at: number;
  /** The name of the queue. */
  readonly name: string;
  /** Which of the queues, from 0. */
  readonly index: number;
  /** Items stored. */
  readonly length: number;
  /** The share of the bound that is in use, puts that wait included: above 1 while puts wait. 0 for an unbounded queue. */
  readonly fill: number;
  /** Items put, per second. */
  readonly inRate: number;
  /** Items taken, per second. */
  readonly outRate: number;
  /** How fast it fills, in items per second; below 0 while it empties. */
  readonly growth: number;
  /** Seconds until it is full if it goes on like this; Infinity when it does not fill. */
  readonly timeToFull: number;
  /** Seconds until it is empty if it goes on like this; Infinity when it does not empty. */
  readonly timeToEmpty: number;
  /** For how many milliseconds the item whose turn it is has been stored; undefined without `timestamps`. */
  readonly oldestAge: number | undefined;
  /** Puts that wait for room. */
  readonly waitingPuts: number;
  /** Gets that wait for an item. */
  readonly waitingGets: number;
  /** Items that are lent. */
  readonly inFlight: number;
  /** What is wrong at the moment. */
  readonly alerts: readonly Exclude<AlertKind, "recovered">[];
}

/** Options of {@linkcode monitor}. */
export interface MonitorOptions {
  /** Milliseconds between samples; 1000 unless told. */
  interval?: number | undefined;
  /** The fill from which there is a backlog; 0.8 unless told. */
  high?: number | undefined;
  /** The fill at which a backlog is over; 0.5 unless told. */
  low?: number | undefined;
  /** For how many milliseconds something must be wrong before it is an alert; five intervals unless told. */
  sustained?: number | undefined;
  /** Learns of each alert, once. What it throws or rejects with is printed and goes no further. */
  onAlert?: ((alert: Alert) => void) | undefined;
  /** Ends the stream. */
  signal?: AbortSignal | undefined;
  /** Where time comes from; the machine's clock unless told. To know the age of the oldest item it has to be that of the queue. */
  clock?: Clock | undefined;
}

/**
 * Samples of one queue or several, one of each at an interval, for as long as
 * somebody reads.
 *
 * It reads the counters that a queue keeps anyway, so the queue is not slower for
 * being watched. There is a timer only while a read waits: who does not read gets
 * no alert. An alert is raised once what is wrong has lasted for `sustained`
 * milliseconds, and is over when it is not wrong any more: for a backlog when the
 * fill is at `low`, for the others with the next item taken or put.
 *
 * The stream ends when all queues have ended, with `signal`, and by cancelling.
 * Throws a `TypeError` or `RangeError` that names the option it cannot use.
 *
 * @example Watching a queue fill
 * ```ts
 * import { monitor, Queue } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new Queue<number>({ name: "jobs", highWaterMark: 10 });
 * for (let job = 0; job < 9; job++) queue.tryPut(job);
 * const alerts: string[] = [];
 * const samples = monitor(queue, {
 *   interval: 10,
 *   sustained: 0,
 *   onAlert: ({ kind, name }) => alerts.push(`${name}: ${kind}`),
 * });
 * for await (const { fill, length } of samples) {
 *   assertEquals([fill, length], [0.9, 9]);
 *   break; // stops watching
 * }
 * assertEquals(alerts, ["jobs: backlog"]);
 * ```
 */
export function monitor(
  queues: Monitored | Iterable<Monitored>,
  options: MonitorOptions = {},
): ReadableStream<MonitorSample> {
  return new Monitor(listed("monitor", queues), readOptions(options)).stream;
}

class Monitor {
  readonly stream: ReadableStream<MonitorSample>;
  readonly #watches: Watch[];
  readonly #settings: Settings;
  /** Samples of this moment that were not read yet. */
  #ready: MonitorSample[] = [];
  #last = -Infinity;
  #timer: unknown = undefined;
  #wake: () => void = () => {};

  constructor(queues: Monitored[], settings: Settings) {
    this.#settings = settings;
    this.#watches = queues.map((queue, index) =>
      new Watch(queue, index, settings)
    );
    this.stream = new ReadableStream<MonitorSample>({
      pull: (controller) => this.#pull(controller),
      cancel: () => this.#stop(),
    }, { highWaterMark: 0 });
    settings.signal?.addEventListener("abort", this.#aborted);
  }

  async #pull(
    controller: ReadableStreamDefaultController<MonitorSample>,
  ): Promise<void> {
    const { clock, interval, signal } = this.#settings;
    if (this.#ready.length === 0) {
      const left = this.#last + interval - clock.now();
      if (left > 0) await this.#sleep(left);
      this.#last = clock.now();
      this.#ready = this.#watches.map((watch) => watch.sample(this.#last));
    }
    if (signal?.aborted === true) return this.#end(controller);
    controller.enqueue(this.#ready.shift()!);
    if (this.#ready.length > 0) return;
    if (this.#watches.every(({ over }) => over)) this.#end(controller);
  }

  #sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#timer = this.#settings.clock.setTimer(resolve, milliseconds);
    });
  }

  readonly #aborted: () => void = () => {
    this.#settings.clock.clearTimer(this.#timer);
    this.#wake();
  };

  #end(controller: ReadableStreamDefaultController<MonitorSample>): void {
    this.#stop();
    controller.close();
  }

  #stop(): void {
    this.#settings.signal?.removeEventListener("abort", this.#aborted);
    this.#settings.clock.clearTimer(this.#timer);
  }
}

type Trouble = Exclude<AlertKind, "recovered">;

/** What is remembered of one queue between two samples. */
class Watch {
  /** The queue has ended: nothing will change any more. */
  over = false;
  readonly #queue: Monitored;
  readonly #index: number;
  readonly #settings: Settings;
  #before: { at: number; put: number; taken: number } | undefined = undefined;
  /** Since when each thing has been wrong. */
  readonly #since: Map<Trouble, number> = new Map();
  readonly #raised: Set<Trouble> = new Set();

  constructor(queue: Monitored, index: number, settings: Settings) {
    this.#queue = queue;
    this.#index = index;
    this.#settings = settings;
  }

  sample(at: number): MonitorSample {
    const stats = this.#queue.stats();
    const before = this.#before ?? { at, put: stats.put, taken: stats.taken };
    const put = stats.put - before.put;
    const taken = stats.taken - before.taken;
    const first = this.#before === undefined;
    this.#before = { at, put: stats.put, taken: stats.taken };
    this.over = stats.state === "closed" || stats.state === "errored";
    const fill = fillOf(stats);
    const changes: Alert[] = [];
    const note = (of: Trouble, isWrong: boolean, isOver: boolean): void => {
      const change = this.#note(of, at, isWrong, isOver);
      if (change === undefined) return;
      const raised = change === "raised";
      changes.push({
        kind: raised ? of : "recovered",
        of: raised ? undefined : of,
        at,
        name: stats.name,
        get sample(): MonitorSample {
          return sample;
        },
      });
    };
    const { high, low } = this.#settings;
    note("backlog", fill >= high, fill <= low);
    const waits = stats.length > 0 || stats.waitingPuts > 0;
    note("stalled", !first && waits && taken === 0, !waits || taken > 0);
    const hungry = stats.waitingGets > 0;
    note("starved", !first && hungry && put === 0, !hungry || put > 0);
    const seconds = (at - before.at) / 1000;
    const rate = (count: number): number => seconds > 0 ? count / seconds : 0;
    const growth = rate(put - taken);
    const room = stats.desiredSize ?? 0;
    const sample: MonitorSample = Object.freeze({
      at,
      name: stats.name,
      index: this.#index,
      length: stats.length,
      fill,
      inRate: rate(put),
      outRate: rate(taken),
      growth,
      timeToFull: growth > 0 ? Math.max(room, 0) / growth : Infinity,
      timeToEmpty: growth < 0 ? stats.length / -growth : Infinity,
      oldestAge: stats.oldest === undefined ? undefined : at - stats.oldest,
      waitingPuts: stats.waitingPuts,
      waitingGets: stats.waitingGets,
      inFlight: stats.inFlight,
      alerts: Object.freeze([...this.#raised]),
    });
    for (const alert of changes) this.#tell(alert);
    return sample;
  }

  /** Whether that makes an alert, or ends one. An ended queue has nothing wrong with it. */
  #note(
    of: Trouble,
    at: number,
    isWrong: boolean,
    isOver: boolean,
  ): "raised" | "over" | undefined {
    if (isOver || this.over) {
      this.#since.delete(of);
      return this.#raised.delete(of) ? "over" : undefined;
    }
    if (!isWrong) {
      // Neither wrong enough nor over: what was not raised yet begins anew.
      if (!this.#raised.has(of)) this.#since.delete(of);
      return undefined;
    }
    const since = this.#since.get(of) ?? at;
    this.#since.set(of, since);
    if (this.#raised.has(of) || at - since < this.#settings.sustained) {
      return undefined;
    }
    this.#raised.add(of);
    return "raised";
  }

  #tell(alert: Alert): void {
    const { onAlert } = this.#settings;
    if (onAlert !== undefined) callOut("a monitor", "onAlert", onAlert, alert);
  }
}

/** The share of the bound that is in use, puts that wait included. */
export function fillOf(
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

interface Settings {
  interval: number;
  high: number;
  low: number;
  sustained: number;
  onAlert: ((alert: Alert) => void) | undefined;
  signal: AbortSignal | undefined;
  clock: Clock;
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
    throw new TypeError(
      `Cannot ${action}: queues must be a queue or iterable, received ${
        received(queues)
      }`,
    );
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
    throw new TypeError(
      `Cannot ${action}: queues[${index}] must have stats(), received ${
        received(queue)
      }`,
    );
  }
  return list;
}

function readOptions(options: MonitorOptions): Settings {
  checkOptions("monitor", options, {
    interval: true,
    high: true,
    low: true,
    sustained: true,
    onAlert: true,
    signal: true,
    clock: true,
  });
  const signal = options.signal?.aborted === true
    ? options.signal
    : signalOf("monitor", options);
  const { interval = 1000, high = 0.8, low = 0.5, onAlert } = options;
  const { sustained = interval * 5, clock = systemClock } = options;
  checkAtLeast("interval", interval, 1);
  checkAtLeast("high", high, 0);
  checkAtLeast("low", low, 0);
  checkAtLeast("sustained", sustained, 0);
  if (low > high) {
    throw new RangeError(
      `Cannot monitor: low must be at most high, received ${low} and ${high}`,
    );
  }
  if (onAlert !== undefined) checkFunction("monitor", "onAlert", onAlert);
  checkClock("monitor", clock);
  return { interval, high, low, sustained, onAlert, signal, clock };
}

function checkAtLeast(name: string, value: unknown, least: number): void {
  if (typeof value !== "number") {
    throw new TypeError(
      `Cannot monitor: ${name} must be a number, received ${received(value)}`,
    );
  }
  if (!(value >= least)) {
    throw new RangeError(
      `Cannot monitor: ${name} must be ${least} or more, received ${value}`,
    );
  }
}
