/**
 * A queue seen from outside, at intervals: how full it is, how fast it fills, and
 * whether somebody should look.
 *
 * @module
 */

import { callOut } from "./callbacks.ts";
import { checkAtLeast, checkCallbacks, checkOptions } from "./checks.ts";
import {
  checkClock,
  checkDelay,
  checkTimeLimit,
  type Clock,
  systemClock,
} from "./clock.ts";
import {
  ask,
  type Counters,
  type EngineCounters,
  Inquiry,
  listed,
  type Monitored,
} from "./counters.ts";
import type { QueueState } from "./queue.ts";
import { signalOf } from "./waiters.ts";

export type { EngineCounters, Monitored };

/**
 * What an alert says:
 *
 * - `"backlog"`: the queue is as full as `high`;
 * - `"stalled"`: there are items and nobody takes any;
 * - `"starved"`: somebody waits for an item and nobody puts any;
 * - `"unreachable"`: the engine that keeps the queue does not answer, or with an
 *   error; it is raised at once;
 * - `"recovered"`: one of these is over.
 */
export type AlertKind =
  | "backlog"
  | "stalled"
  | "starved"
  | "unreachable"
  | "recovered";

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
  /** Where the queue stands; a queue on an engine is always open. */
  readonly state: QueueState;
  /** Items stored; on an engine those that wait. */
  readonly length: number;
  /** Their weight, in the unit of `size`; on an engine their number, those that are lent included. */
  readonly size: number;
  /** The bound, in the unit of `size`. */
  readonly highWaterMark: number;
  /** The share of the bound that is in use, puts that wait included: above 1 while puts wait. 0 for an unbounded queue. */
  readonly fill: number;
  /** Items put, per second; on an engine by this handle. */
  readonly inRate: number;
  /** Items taken, per second; on an engine by this handle. */
  readonly outRate: number;
  /** How fast it fills, in items per second; below 0 while it empties. */
  readonly growth: number;
  /** Seconds until it is full if it goes on like this; Infinity when it does not fill. */
  readonly timeToFull: number;
  /** Seconds until it is empty if it goes on like this; Infinity when it does not empty. */
  readonly timeToEmpty: number;
  /** For how many milliseconds the item whose turn it is has been stored; undefined without `timestamps`. On an engine that of the oldest item that is not done. */
  readonly oldestAge: number | undefined;
  /** Puts that wait for room. */
  readonly waitingPuts: number;
  /** Gets that wait for an item. */
  readonly waitingGets: number;
  /** Items that are lent. */
  readonly inFlight: number;
  /** Items among the dead letters of an engine; undefined where there are none, or it does not tell. */
  readonly deadLetters: number | undefined;
  /** Why an engine could not be asked, the numbers being those of before; undefined while all is well. */
  readonly failure: unknown;
  /** What is wrong at the moment. */
  readonly alerts: readonly Exclude<AlertKind, "recovered">[];
}

/** Options of {@linkcode monitor}. */
export interface MonitorOptions {
  /** Milliseconds between samples. Default: 1000. */
  interval?: number | undefined;
  /** The fill from which there is a backlog. Default: 0.8. */
  high?: number | undefined;
  /** The fill at which a backlog is over. Default: 0.5. */
  low?: number | undefined;
  /** For how many milliseconds something must be wrong before it is an alert. Default: five intervals. */
  sustained?: number | undefined;
  /** Learns of each alert, once. What it throws or rejects with is printed and goes no further. */
  onAlert?: ((alert: Alert) => void) | undefined;
  /** Ends the stream. */
  signal?: AbortSignal | undefined;
  /** Where time comes from. Default: the machine's clock. To know the age of the oldest item it has to be that of the queue. */
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
 * A queue on an engine is asked once a sample. One that has not answered within an
 * interval, or answers with an error, shows as `failure`, and the others go on.
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
  readonly #watches: QueueWatch[];
  readonly #settings: Settings;
  /** Samples of this moment that were not read yet. */
  #ready: MonitorSample[] = [];
  readonly #inquiries: Inquiry[];
  readonly #over: AbortController = new AbortController();
  #last = -Infinity;
  #timer: unknown = undefined;
  #wake: () => void = () => {};

  constructor(queues: Monitored[], settings: Settings) {
    this.#settings = settings;
    this.#inquiries = queues.map((queue) => new Inquiry(queue));
    this.#watches = queues.map((_queue, index) =>
      new QueueWatch(index, settings)
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
      const all = await ask(
        this.#inquiries,
        clock,
        interval,
        this.#over.signal,
      );
      this.#ready = this.#watches.map((watch, index) =>
        watch.sample(all[index]!, this.#last)
      );
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
    this.#over.abort();
    this.#wake();
  };

  #end(controller: ReadableStreamDefaultController<MonitorSample>): void {
    this.#stop();
    controller.close();
  }

  #stop(): void {
    this.#settings.signal?.removeEventListener("abort", this.#aborted);
    this.#settings.clock.clearTimer(this.#timer);
    this.#over.abort();
  }
}

type Trouble = Exclude<AlertKind, "recovered">;
type Change = Pick<Alert, "kind" | "of">;

/** What is remembered of one queue between two samples. */
class QueueWatch {
  /** The queue has ended: nothing will change any more. */
  over = false;
  readonly #index: number;
  readonly #settings: Settings;
  readonly #troubles: Troubles;
  #before: (Counters & { at: number }) | undefined = undefined;

  constructor(index: number, settings: Settings) {
    this.#index = index;
    this.#settings = settings;
    this.#troubles = new Troubles(settings.sustained);
  }

  sample(counters: Counters, at: number): MonitorSample {
    const isFirst = this.#before === undefined;
    const before = this.#before ?? { ...counters, at };
    this.#before = { ...counters, at };
    // What only the trends are made of is not shown.
    const { put, taken, delayed: _, room, hasUntaken, own, ...shown } =
      counters;
    this.over = shown.state === "closed" || shown.state === "errored";
    const came = put - before.put;
    const went = taken - before.taken;
    // Others put into an engine, too, and take.
    const grown = own === undefined ? shown.size - before.size : came - went;
    const changes = this.#changes(counters, at, {
      stalled: hasUntaken && went === 0 && grown >= 0,
      starved: shown.waitingGets > 0 && came === 0,
    }, isFirst);
    const seconds = (at - before.at) / 1000;
    const rate = (count: number): number => seconds > 0 ? count / seconds : 0;
    const growth = rate(grown);
    const sample: MonitorSample = Object.freeze({
      at,
      index: this.#index,
      ...shown,
      inRate: rate(came),
      outRate: rate(went),
      growth,
      timeToFull: growth > 0 ? room / growth : Infinity,
      timeToEmpty: growth < 0 ? shown.length / -growth : Infinity,
      alerts: Object.freeze(this.#troubles.raised),
    });
    const { name } = shown;
    for (const change of changes) this.#tell({ ...change, at, name, sample });
    return sample;
  }

  /** What is wrong now and was not before, and the reverse. */
  #changes(
    { failure, fill }: Counters,
    at: number,
    { stalled, starved }: { stalled: boolean; starved: boolean },
    isFirst: boolean,
  ): Change[] {
    const { high, low } = this.#settings;
    const note = (of: Trouble, isWrong: boolean, isOver: boolean): Change[] =>
      // An ended queue has nothing wrong with it.
      this.#troubles.note(of, at, isWrong, isOver || this.over);
    if (failure !== undefined) return note("unreachable", true, false);
    return [
      ...note("unreachable", false, true),
      ...note("backlog", fill >= high, fill <= low),
      ...note("stalled", !isFirst && stalled, !stalled),
      ...note("starved", !isFirst && starved, !starved),
    ];
  }

  #tell(alert: Alert): void {
    const { onAlert } = this.#settings;
    if (onAlert !== undefined) callOut("a monitor", "onAlert", onAlert, alert);
  }
}

/** What is wrong with a queue, since when, and whether it was said. */
class Troubles {
  readonly #sustained: number;
  readonly #since: Map<Trouble, number> = new Map();
  readonly #raised: Set<Trouble> = new Set();

  constructor(sustained: number) {
    this.#sustained = sustained;
  }

  /** Those that were said and are not over. */
  get raised(): Trouble[] {
    return [...this.#raised];
  }

  /** Whether that makes an alert, or ends one. */
  note(of: Trouble, at: number, isWrong: boolean, isOver: boolean): Change[] {
    if (isOver) {
      this.#since.delete(of);
      return this.#raised.delete(of) ? [{ kind: "recovered", of }] : [];
    }
    if (!isWrong) {
      // Neither wrong enough nor over: what was not raised yet begins anew.
      if (!this.#raised.has(of)) this.#since.delete(of);
      return [];
    }
    const since = this.#since.get(of) ?? at;
    this.#since.set(of, since);
    // An engine that cannot be reached is not one that is slow.
    const sustained = of === "unreachable" ? 0 : this.#sustained;
    if (this.#raised.has(of) || at - since < sustained) return [];
    this.#raised.add(of);
    return [{ kind: of, of: undefined }];
  }
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
  checkDelay("monitor", "interval", interval, 1);
  checkAtLeast("monitor", "high", high, 0);
  checkAtLeast("monitor", "low", low, 0);
  if (options.sustained !== undefined) {
    checkTimeLimit("monitor", "sustained", sustained);
  }
  if (low > high) {
    throw new RangeError(
      `Cannot monitor: low must be at most high, received ${low} and ${high}`,
    );
  }
  checkCallbacks("monitor", { onAlert });
  checkClock("monitor", clock);
  return { interval, high, low, sustained, onAlert, signal, clock };
}
