/**
 * Items that come from an engine: fetched when somebody waits, and a little
 * ahead of who takes fast.
 *
 * @module
 */

import type { Codec } from "../codec.ts";
import type { Delivery } from "../delivery.ts";
import { QueueClosedError } from "../errors.ts";
import { endOf, isAwaited, Queue } from "../queue.ts";
import { BatchGetter, Getter } from "../takers.ts";
import {
  type Deferred,
  deferred,
  FULFILLED,
  SignalGroups,
  type Taker,
  type WaiterGroup,
} from "../waiters.ts";
import type { EndingView, TakingEnd } from "../views/readable.ts";
import type { Driver, Message } from "./driver.ts";
import { type ItemHeaders, unframed } from "./headers.ts";
import { type Lender, Lent } from "./lent.ts";
import type { Link } from "./link.ts";

/** What an inbox is made of. */
export interface InboxOptions<T> {
  codec: Codec<T>;
  /** The most deliveries that are fetched early. */
  prefetch: number;
  /** For how many milliseconds an item is lent. */
  visibility: number;
  /** How many deliveries an item has. */
  attempts: number;
}

/** Fetched early is what is taken in so many milliseconds. */
const AHEAD = 100;
/** What has not been taken after so many milliseconds goes back. */
const STALE = 1_000;
/** Before an item that cannot be decoded is delivered again, perhaps to somebody who can. */
const UNDECODABLE_DELAY = 1_000;

/** The deliveries of one handle. */
export class Inbox<T, M extends Message>
  implements Lender<T, M>, TakingEnd<Delivery<T>> {
  readonly link: Link<Driver<M>>;
  readonly attempts: number;
  readonly #options: InboxOptions<T>;
  /** Fetched, and not taken yet. Another one after a failure. */
  #early: Queue<Lent<T, M>> = new Queue({ highWaterMark: Infinity });
  #end: TakingEnd<Lent<T, M>> = endOf(this.#early);
  /** Fetched, and lost by somebody before: each of them is to be alone here. */
  readonly #suspects: Lent<T, M>[] = [];
  /** The one that is. */
  #alone: Lent<T, M> | undefined = undefined;
  /** Until when suspects wait for the end of all else. */
  #patience: number | undefined = undefined;
  readonly #signals: SignalGroups = new SignalGroups();
  readonly #held: Set<Lent<T, M>> = new Set();
  readonly #over: AbortController = new AbortController();
  readonly #views: Set<EndingView> = new Set();
  #running = false;
  /** What is being told of messages that nobody here will see. */
  #words = 0;
  #closed: Deferred<void> | undefined = undefined;
  #staleTimer: unknown = undefined;
  /** How many were taken since when, and what that makes in a millisecond. */
  #taken = 0;
  #countedSince = 0;
  #lentCount = 0;
  #rate = 0;

  constructor(link: Link<Driver<M>>, options: InboxOptions<T>) {
    this.link = link;
    this.attempts = options.attempts;
    this.#options = options;
  }

  /** Deliveries that nobody has settled, those fetched early included. */
  get held(): number {
    return this.#held.size;
  }

  /** Deliveries that were taken so far. */
  get lentCount(): number {
    return this.#lentCount;
  }

  /** Gives the next delivery to whoever asks, now or later. */
  receive(
    signal: AbortSignal | undefined,
    visibility: number | undefined,
  ): Promise<Delivery<T>> {
    return new Promise((resolve, reject) => {
      const taken = (lent: Delivery<T>): void => {
        this.#lendFor(lent as Lent<T, M>, visibility);
        resolve(lent);
      };
      this.#serve(new Receiver<Delivery<T>>(taken, reject), signal);
    });
  }

  tryReceive(visibility: number | undefined): Delivery<T> | undefined {
    if (!this.hasNext()) return undefined;
    const lent = this.#end.take();
    this.#lendFor(lent, visibility);
    return lent;
  }

  receiveMany(
    max: number,
    signal: AbortSignal | undefined,
    visibility: number | undefined,
    linger: number,
  ): Promise<Delivery<T>[]> {
    return new Promise((resolve, reject) => {
      const taken = (lents: Delivery<T>[]): void => {
        for (const lent of lents) {
          this.#lendFor(lent as Lent<T, M>, visibility);
        }
        resolve(lents);
      };
      const items: Delivery<T>[] = [];
      while (items.length < max && this.hasNext()) {
        items.push(this.#end.take());
      }
      if (items.length === max || (items.length > 0 && linger === 0)) {
        return taken(items);
      }
      this.#serve(
        new BatchGetter<Delivery<T>>(
          taken,
          reject,
          items,
          max,
          linger,
          this.link.clock,
        ),
        signal,
      );
    });
  }

  /** Lends nothing more. Fulfils when all that was lent has been settled. */
  close(): Promise<void> {
    if (this.#closed === undefined) {
      this.#closed = deferred();
      this.#over.abort();
      this.link.clock.clearTimer(this.#staleTimer);
      this.#releaseEarly(Infinity);
      this.#early.close();
      // Who holds one and never answers must not be waited for for ever.
      for (const lent of this.#held) lent.watchDeadline();
      for (const view of this.#views) view.ended();
      this.#views.clear();
      this.#settleClosed();
    }
    return this.#closed.promise;
  }

  /** Waits for nobody: what is not settled is delivered to somebody else once its time is over. */
  abort(): void {
    for (const lent of this.#held) lent.lose();
  }

  ended(lent: Lent<T, M>): void {
    this.#held.delete(lent);
    this.#settleClosed();
    if (this.#alone === undefined && this.#suspects.length === 0) return;
    if (this.#alone === lent) this.#alone = undefined;
    const at = this.#suspects.indexOf(lent);
    if (at !== -1) this.#suspects.splice(at, 1);
    this.#wake();
  }

  // -- As the end of a readable -------------------------------------------------

  async next(
    group: WaiterGroup,
  ): Promise<IteratorResult<Delivery<T>, undefined>> {
    const step = this.#end.next(group);
    this.#wake();
    const { done, value } = await step;
    if (done) return { done, value };
    this.#lendFor(value, undefined);
    return { done: false, value };
  }

  serve(taker: Taker<Delivery<T>>): void {
    this.#end.serve(taker);
    this.#wake();
  }

  hasNext(): boolean {
    return this.#end.hasNext();
  }

  take(): Delivery<T> {
    const lent = this.#end.take();
    this.#lendFor(lent, undefined);
    return lent;
  }

  cancel(): void {}

  watch(view: EndingView): void {
    if (this.#closed === undefined) this.#views.add(view);
    else view.ended();
  }

  unwatch(view: EndingView): void {
    this.#views.delete(view);
  }

  // -- Taking -------------------------------------------------------------------

  #serve(taker: Taker<Delivery<T>>, signal: AbortSignal | undefined): void {
    this.#end.serve(taker as Taker<Lent<T, M>>);
    if (signal !== undefined && taker.line !== undefined) {
      this.#signals.of(signal).add(taker);
    }
    this.#wake();
  }

  /** It is taken; what is left of its time may be less than was asked for. */
  #lendFor(lent: Lent<T, M>, visibility: number | undefined): void {
    this.#taken++;
    this.#lentCount++;
    this.#wake();
    const asked = visibility ?? this.#options.visibility;
    const left = lent.deadline - this.link.clock.now();
    if (asked - left > asked / 10 || left > asked) {
      void quietly(lent.extend(asked));
    }
  }

  // -- Fetching -----------------------------------------------------------------

  #wake(): void {
    if (this.#closed !== undefined) return;
    if (this.#suspects.length > 0) this.#admitSuspect();
    if (this.#running || this.#wanted() === 0) return;
    this.#running = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    for (let max = this.#wanted(); max > 0; max = this.#wanted()) {
      const { visibility } = this.#options;
      const asked = this.link.clock.now();
      let messages: readonly M[];
      try {
        messages = await this.link.attempt((driver) =>
          driver.fetch(max, visibility, this.#over.signal)
        );
      } catch (error) {
        if (this.#closed !== undefined) break;
        if (this.link.isFinal(error)) {
          this.#refuse(error);
          break;
        }
        await this.link.pause(this.#over.signal);
        continue;
      }
      this.#measureRate();
      for (const message of messages) {
        this.#arrived(message, asked + visibility);
      }
      if (this.#suspects.length > 0) this.#admitSuspect();
      else if (messages.length > 0) this.#patience = undefined;
      // Who has just got an item asks for the next before more is fetched.
      await FULFILLED;
    }
    this.#running = false;
    this.#settleClosed();
  }

  /** Who waits learns of it, and who asks next asks the engine again. */
  #refuse(error: unknown): void {
    this.#rate = 0;
    if (!isAwaited(this.#early)) return;
    this.#early.abort(error);
    this.#early = new Queue({ highWaterMark: Infinity });
    this.#end = endOf(this.#early);
  }

  /** Those that wait, or what is taken in a moment, less what is here. Nothing beside a suspect. */
  #wanted(): number {
    if (this.#closed !== undefined) return 0;
    if (this.#alone !== undefined || this.#suspects.length > 0) return 0;
    const ahead = this.#ahead();
    if (isAwaited(this.#early)) {
      return Math.max(this.#early.stats().waitingGets, ahead);
    }
    const { length } = this.#early;
    return length <= ahead / 2 ? ahead - length : 0;
  }

  #ahead(): number {
    return Math.min(this.#options.prefetch, Math.floor(this.#rate * AHEAD));
  }

  #measureRate(): void {
    const now = this.link.clock.now();
    const elapsed = now - this.#countedSince;
    this.#rate = this.#taken === 0 ? 0 : this.#taken / elapsed;
    this.#countedSince = now;
    this.#taken = 0;
  }

  #arrived(message: M, deadline: number): void {
    const { attempt, lost } = message;
    // What was lost beside others may have nothing to do with it.
    if (attempt > this.attempts && lost !== "beside") {
      return this.#sayFor(
        (driver) => driver.bury(message, "deliveries", undefined),
        deadline,
      );
    }
    let item: T;
    let headers: ItemHeaders | undefined;
    try {
      const parts = unframed(message.payload);
      headers = parts.headers;
      item = this.#options.codec.decode(parts.payload);
    } catch (error) {
      return this.#sayFor(
        (driver) =>
          attempt >= this.attempts
            ? driver.bury(message, "undecodable", error)
            : driver.nack(message, UNDECODABLE_DELAY),
        deadline,
      );
    }
    const now = this.link.clock.now();
    const lent = new Lent<T, M>(
      this,
      item,
      headers,
      message,
      this.#sinceOf(message, now),
      now,
      deadline,
    );
    this.#held.add(lent);
    if (this.#closed !== undefined) return void quietly(lent.release());
    if (lost === undefined) this.#early.tryPut(lent);
    else this.#suspects.push(lent);
    if (this.#early.length + this.#suspects.length > 0) this.#watchStale();
  }

  // -- What somebody was lost with -------------------------------------------------

  /** Gives the next one to who waits, once there is nothing else here. */
  #admitSuspect(): void {
    if (this.#alone !== undefined || !isAwaited(this.#early)) return;
    if (this.#held.size === this.#suspects.length) {
      this.#patience = undefined;
      this.#alone = this.#suspects.shift()!;
      void this.#isolate(this.#alone);
    } else if (this.#patience === undefined) {
      this.#patience = this.link.clock.now() + this.#options.visibility;
      // Who has one and never answers must not be waited for for ever.
      for (const lent of [...this.#held]) lent.watchDeadline();
    }
  }

  async #isolate(lent: Lent<T, M>): Promise<void> {
    const [isOurs] = await Promise.all([
      quietly(this.link.insist(
        (driver) => driver.isolate(lent.message),
        () => lent.deadline,
      )),
      // It may have waited for its turn.
      quietly(lent.extend(this.#options.visibility)),
    ]);
    if (!lent.held) return;
    if (isOurs !== true) return lent.lose();
    if (this.#closed !== undefined) return void quietly(lent.release());
    lent.watchDeadline();
    this.#early.tryPut(lent);
  }

  /** The others take their time: beside them it is not known whose fault it is, but all goes on. */
  #admitBeside(): void {
    this.#patience = undefined;
    for (const lent of this.#suspects.splice(0)) this.#early.tryPut(lent);
    this.#wake();
  }

  /** When it was put, on the clock of this process. */
  #sinceOf({ enqueuedAt }: M, now: number): number | undefined {
    if (enqueuedAt === undefined) return undefined;
    return now - Math.max(0, Date.now() + this.link.driver.skew - enqueuedAt);
  }

  /** Tells what becomes of a message that nobody here will see. */
  #sayFor(
    word: (driver: Driver<M>) => Promise<unknown>,
    deadline: number,
  ): void {
    this.#words++;
    void quietly(this.link.insist(word, () => deadline)).then(() => {
      this.#words--;
      this.#settleClosed();
    });
  }

  #watchStale(): void {
    const longest = Math.min(STALE, this.#options.visibility / 2);
    this.#staleTimer ??= this.link.clock.setTimer(() => {
      this.#staleTimer = undefined;
      const now = this.link.clock.now();
      if (this.#patience !== undefined && now >= this.#patience) {
        this.#admitBeside();
      }
      const hadSuspects = this.#suspects.length > 0;
      this.#releaseEarly(now - longest);
      if (this.#early.length + this.#suspects.length > 0) this.#watchStale();
      // Nothing was fetched beside them.
      if (hadSuspects) this.#wake();
    }, longest);
  }

  /** What came until then. The newest first, as each goes to the head of the queue. */
  #releaseEarly(limit: number): void {
    const early = this.#early.clear();
    for (const lent of early) if (lent.since > limit) this.#early.tryPut(lent);
    const suspects = this.#suspects.splice(0);
    for (const lent of suspects) {
      if (lent.since > limit) this.#suspects.push(lent);
    }
    for (const lent of [...suspects, ...early].reverse()) {
      if (lent.since <= limit) void quietly(lent.release());
    }
  }

  #settleClosed(): void {
    if (this.#held.size === 0 && this.#words === 0 && !this.#running) {
      this.#closed?.resolve();
    }
  }
}

/** Who fails here has told the link. */
function quietly<R>(answer: Promise<R>): Promise<R | undefined> {
  return answer.catch(() => undefined);
}

/** Waits for one delivery. */
class Receiver<T> extends Getter<T> {
  override end(): void {
    this.reject(
      new QueueClosedError(
        "Cannot receive: the queue must be open, received a closed queue",
      ),
    );
  }
}
