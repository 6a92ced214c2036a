/**
 * Handlers that wait for room which only they can make.
 *
 * @module
 */

import { Alarm, type Clock } from "../../clock.ts";
import { QueueFullError } from "../../errors.ts";
import { type PutWatch, type Queue, watchPuts } from "../../queue.ts";
import type { Putter } from "../../waiters.ts";
import type { Call } from "./calls.ts";

/** The run whose source is watched. */
export interface PuttingRun<T> {
  /** All calls under way, if there are as many as may be; else undefined. */
  allCalls(): Call<T>[] | undefined;
  /** How many items the run has got. */
  readonly received: number;
}

/** For how many milliseconds nothing may have moved. */
const QUIET = 1_000;

/**
 * Knows the puts of the handlers of a run into its own source, and rejects them when
 * nothing can end their wait:
 *
 * - as many calls run as may, and each of them waits in such a put: begun before the
 *   handler's first `await`, or with the signal of its context;
 * - somebody looks at the promise of that put;
 * - nobody but the run has ever taken an item meanwhile, or waits for one, or has a
 *   reader: what could take is not known to exist;
 * - for a second nothing was put or taken.
 *
 * Puts that cannot be told apart from those of others are left waiting: to reject a
 * put that would have been accepted is worse than to miss one that hangs.
 */
export class OwnPuts<T> {
  /** The call whose handler has not returned yet. */
  beginning: Call<T> | undefined = undefined;
  readonly #run: PuttingRun<T>;
  readonly #watch: PutWatch;
  /** Puts that wait, or did, and the call that has begun them where it had not returned. */
  readonly #puts: Map<Putter<T>, Call<T> | undefined> = new Map();
  readonly #awaited: WeakSet<Putter<T>> = new WeakSet();
  readonly #takenBefore: number;
  #moves = 0;
  readonly #alarm: Alarm;

  constructor(watch: PutWatch, run: PuttingRun<T>, clock: Clock) {
    this.#watch = watch;
    this.#run = run;
    this.#alarm = new Alarm(clock, () => this.#look());
    this.#takenBefore = watch.taken();
  }

  /** The run is over. */
  end(): void {
    this.#watch.end();
    this.#puts.clear();
    this.#alarm.clear();
  }

  /** A put begins to wait. */
  note(putter: Putter<T>): void {
    const call = this.beginning;
    if (call === undefined && putter.group?.signal === undefined) return;
    this.#noticeWait(putter);
    this.#puts.set(putter, call);
    if (this.#puts.size > 2 * this.#watch.waiting() + 16) this.#forgetSettled();
    if (!this.#alarm.isSet && this.#run.allCalls() !== undefined) this.#wait();
  }

  /** Whoever awaits a promise, or chains to it, asks for its constructor; who has let go of it must not get a rejection that nobody handles. */
  #noticeWait(putter: Putter<T>): void {
    const awaited = this.#awaited;
    Object.defineProperty(putter.promise, "constructor", {
      configurable: true,
      get(): PromiseConstructor {
        awaited.add(putter);
        return Promise;
      },
    });
  }

  #forgetSettled(): void {
    for (const putter of this.#puts.keys()) {
      if (putter.line === undefined) this.#puts.delete(putter);
    }
  }

  #wait(): void {
    this.#moves = this.#watch.moves();
    this.#alarm.set(QUIET);
  }

  #look(): void {
    this.#forgetSettled();
    const calls = this.#run.allCalls();
    if (this.#puts.size === 0 || calls === undefined) return;
    if (this.#watch.moves() !== this.#moves) return this.#wait();
    const taken = this.#watch.taken() - this.#takenBefore;
    if (taken !== this.#run.received || this.#watch.hasOthers()) return;
    const stuck = this.#putsOf(calls);
    if (stuck === undefined) return this.#wait();
    for (const putter of stuck) {
      putter.withdraw(this.#refusal(putter.item, calls.length));
    }
  }

  /** Those that the calls wait for, if each waits for one. */
  #putsOf(calls: Call<T>[]): Putter<T>[] | undefined {
    const signals = new Map(calls.map((call) => [call.ownSignal, call]));
    const all = new Set(calls);
    const left = new Set(calls);
    const puts: Putter<T>[] = [];
    for (const [putter, begunBy] of this.#puts) {
      const signal = putter.group?.signal;
      const call = begunBy ?? (signal && signals.get(signal));
      if (call === undefined || !this.#awaited.has(putter)) continue;
      left.delete(call);
      if (all.has(call)) puts.push(putter);
    }
    return left.size === 0 ? puts : undefined;
  }

  #refusal(item: T, calls: number): QueueFullError<T> {
    const who = calls === 1 ? "the only call" : `all ${calls} calls`;
    return new QueueFullError(
      `Cannot put: a handler of consume must not wait for room that it alone ` +
        `can make, received a put into its own source, ${this.#watch.name}, ` +
        `which is full while ${who} of the handler wait so. Give it a larger ` +
        `highWaterMark (Infinity for a frontier that grows), or use tryPut`,
      { item },
    );
  }
}

/** Undefined where it cannot be known who else takes. */
export function watchOwnPuts<T>(
  queue: Queue<T>,
  run: PuttingRun<T>,
  clock: Clock,
): OwnPuts<T> | undefined {
  const watch = watchPuts(queue, (putter) => own.note(putter));
  if (watch === undefined) return undefined;
  const own = new OwnPuts<T>(watch, run, clock);
  return own;
}
