/**
 * Items that come from an engine: fetched when somebody waits, and a little
 * ahead of who takes fast.
 *
 * @module
 */

import type { Codec } from "../../codec.ts";
import type { Delivery } from "../../delivery.ts";
import { QueueClosedError } from "../../errors.ts";
import { endOf, isAwaited, Queue } from "../../queue.ts";
import { BatchGetter, Getter } from "../../taking.ts";
import {
  type Deferred,
  deferred,
  FULFILLED,
  type Receiver,
  SignalGroups,
  type WaiterGroup,
} from "../../waiters.ts";
import type { EndingView } from "../../lifecycle.ts";
import type { DirectEnd } from "../../views/readable.ts";
import type { Driver, Message } from "./driver.ts";
import { type ItemHeaders, unframed } from "./headers.ts";
import { type DeliveryHost, EngineDelivery, wordsOf } from "./delivery.ts";
import type { Connection } from "./connection.ts";

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
  implements DeliveryHost<T, M>, DirectEnd<Delivery<T>> {
  readonly connection: Connection<Driver<M>>;
  readonly attempts: number;
  readonly #options: InboxOptions<T>;
  /** Fetched, and not taken yet. Another one after a failure. */
  #early: Queue<EngineDelivery<T, M>> = new Queue({ highWaterMark: Infinity });
  #end: DirectEnd<EngineDelivery<T, M>> = endOf(this.#early);
  /** Fetched, and lost by somebody before: each of them is to be alone here. */
  readonly #suspects: Set<EngineDelivery<T, M>> = new Set();
  /** The one that is. */
  #alone: EngineDelivery<T, M> | undefined = undefined;
  /** Until when suspects wait for the end of all else. */
  #patience: number | undefined = undefined;
  readonly #signals: SignalGroups = new SignalGroups();
  readonly #unacked: Set<EngineDelivery<T, M>> = new Set();
  readonly #over: AbortController = new AbortController();
  readonly #views: Set<EndingView> = new Set();
  #running = false;
  /** What is being told of messages that nobody here will see. */
  #requests = 0;
  #closed: Deferred<void> | undefined = undefined;
  #staleTimer: unknown = undefined;
  /** How many were taken since when, and what that makes in a millisecond. */
  #taken = 0;
  #countedSince = 0;
  #deliveredCount = 0;
  #rate = 0;

  constructor(connection: Connection<Driver<M>>, options: InboxOptions<T>) {
    this.connection = connection;
    this.attempts = options.attempts;
    this.#options = options;
  }

  /** Deliveries that nobody has settled, those fetched early included. */
  get unacked(): number {
    return this.#unacked.size;
  }

  /** Deliveries that were taken so far. */
  get deliveredCount(): number {
    return this.#deliveredCount;
  }

  /** Gives the next delivery to whoever asks, now or later. */
  receive(
    signal: AbortSignal | undefined,
    visibility: number | undefined,
  ): Promise<Delivery<T>> {
    return new Promise((resolve, reject) => {
      const taken = (delivery: Delivery<T>): void => {
        this.#lendFor(delivery as EngineDelivery<T, M>, visibility);
        resolve(delivery);
      };
      this.#serve(new DeliveryReceiver<Delivery<T>>(taken, reject), signal);
    });
  }

  tryReceive(visibility: number | undefined): Delivery<T> | undefined {
    if (!this.hasNext()) return undefined;
    const delivery = this.#end.take();
    this.#lendFor(delivery, visibility);
    return delivery;
  }

  receiveMany(
    max: number,
    signal: AbortSignal | undefined,
    visibility: number | undefined,
    linger: number,
  ): Promise<Delivery<T>[]> {
    return new Promise((resolve, reject) => {
      const taken = (deliveries: Delivery<T>[]): void => {
        for (const delivery of deliveries) {
          this.#lendFor(delivery as EngineDelivery<T, M>, visibility);
        }
        resolve(deliveries);
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
          this.connection.clock,
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
      this.connection.clock.clearTimer(this.#staleTimer);
      this.#releaseEarly(Infinity);
      this.#early.close();
      // Who holds one and never answers must not be waited for for ever.
      for (const delivery of this.#unacked) delivery.watchDeadline();
      for (const view of this.#views) view.ended();
      this.#views.clear();
      this.#settleClosed();
    }
    return this.#closed.promise;
  }

  /** Waits for nobody: what is not settled is delivered to somebody else once its time is over. */
  abort(): void {
    for (const delivery of this.#unacked) delivery.lose();
  }

  ended(delivery: EngineDelivery<T, M>): void {
    this.#unacked.delete(delivery);
    this.#settleClosed();
    if (this.#alone === undefined && this.#suspects.size === 0) return;
    if (this.#alone === delivery) this.#alone = undefined;
    this.#suspects.delete(delivery);
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

  serve(receiver: Receiver<Delivery<T>>): void {
    this.#end.serve(receiver);
    this.#wake();
  }

  hasNext(): boolean {
    return this.#end.hasNext();
  }

  take(): Delivery<T> {
    const delivery = this.#end.take();
    this.#lendFor(delivery, undefined);
    return delivery;
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

  #serve(
    receiver: Receiver<Delivery<T>>,
    signal: AbortSignal | undefined,
  ): void {
    this.#end.serve(receiver as Receiver<EngineDelivery<T, M>>);
    if (signal !== undefined && receiver.line !== undefined) {
      this.#signals.of(signal).add(receiver);
    }
    this.#wake();
  }

  /** It is taken; what is left of its time may be less than was asked for. */
  #lendFor(
    delivery: EngineDelivery<T, M>,
    visibility: number | undefined,
  ): void {
    this.#taken++;
    this.#deliveredCount++;
    this.#wake();
    const asked = visibility ?? this.#options.visibility;
    const left = delivery.deadline - this.connection.clock.now();
    if (asked - left > asked / 10 || left > asked) {
      void quietly(delivery.extend(asked));
    }
  }

  // -- Fetching -----------------------------------------------------------------

  #wake(): void {
    if (this.#closed !== undefined) return;
    if (this.#suspects.size > 0) this.#admitSuspect();
    if (this.#running || this.#wanted() === 0) return;
    this.#running = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    for (let max = this.#wanted(); max > 0; max = this.#wanted()) {
      const { visibility } = this.#options;
      const asked = this.connection.clock.now();
      let messages: readonly M[];
      try {
        messages = await this.connection.attempt((driver) =>
          driver.fetch(max, visibility, this.#over.signal)
        );
      } catch (error) {
        if (this.#closed !== undefined) break;
        if (this.connection.isFinal(error)) {
          this.#refuse(error);
          break;
        }
        await this.connection.pause(this.#over.signal);
        continue;
      }
      this.#measureRate();
      for (const message of messages) {
        this.#arrived(message, asked + visibility);
      }
      if (this.#suspects.size > 0) this.#admitSuspect();
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
    if (this.#alone !== undefined || this.#suspects.size > 0) return 0;
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
    const now = this.connection.clock.now();
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
            ? driver.bury(message, "undecodable", wordsOf(error))
            : driver.nack(message, UNDECODABLE_DELAY),
        deadline,
      );
    }
    const now = this.connection.clock.now();
    const delivery = new EngineDelivery<T, M>(
      this,
      item,
      headers,
      message,
      now,
      deadline,
    );
    this.#unacked.add(delivery);
    if (this.#closed !== undefined) return void quietly(delivery.release());
    if (lost === undefined) this.#early.tryPut(delivery);
    else this.#suspects.add(delivery);
    if (this.#early.length + this.#suspects.size > 0) this.#watchStale();
  }

  // -- What somebody was lost with -------------------------------------------------

  /** Gives the next one to who waits, once there is nothing else here. */
  #admitSuspect(): void {
    if (this.#alone !== undefined || !isAwaited(this.#early)) return;
    if (this.#unacked.size === this.#suspects.size) {
      this.#patience = undefined;
      const [next] = this.#suspects;
      this.#suspects.delete(next!);
      this.#alone = next!;
      void this.#isolate(next!);
    } else if (this.#patience === undefined) {
      this.#patience = this.connection.clock.now() + this.#options.visibility;
      // Who has one and never answers must not be waited for for ever.
      for (const delivery of [...this.#unacked]) delivery.watchDeadline();
    }
  }

  async #isolate(delivery: EngineDelivery<T, M>): Promise<void> {
    const [isOurs] = await Promise.all([
      quietly(this.connection.insist(
        (driver) => driver.isolate(delivery.message),
        () => delivery.deadline,
      )),
      // It may have waited for its turn.
      quietly(delivery.extend(this.#options.visibility)),
    ]);
    if (!delivery.isOpen) return;
    if (isOurs !== true) return delivery.lose();
    if (this.#closed !== undefined) return void quietly(delivery.release());
    delivery.watchDeadline();
    this.#early.tryPut(delivery);
  }

  /** The others take their time: beside them it is not known whose fault it is, but all goes on. */
  #admitBeside(): void {
    this.#patience = undefined;
    const suspects = [...this.#suspects];
    this.#suspects.clear();
    for (const delivery of suspects) this.#early.tryPut(delivery);
    this.#wake();
  }

  /** Tells what becomes of a message that nobody here will see. */
  #sayFor(
    request: (driver: Driver<M>) => Promise<unknown>,
    deadline: number,
  ): void {
    this.#requests++;
    void quietly(this.connection.insist(request, () => deadline)).then(() => {
      this.#requests--;
      this.#settleClosed();
    });
  }

  #watchStale(): void {
    const longest = Math.min(STALE, this.#options.visibility / 2);
    this.#staleTimer ??= this.connection.clock.setTimer(() => {
      this.#staleTimer = undefined;
      const now = this.connection.clock.now();
      if (this.#patience !== undefined && now >= this.#patience) {
        this.#admitBeside();
      }
      const hadSuspects = this.#suspects.size > 0;
      this.#releaseEarly(now - longest);
      if (this.#early.length + this.#suspects.size > 0) this.#watchStale();
      // Nothing was fetched beside them.
      if (hadSuspects) this.#wake();
    }, longest);
  }

  /** What came until then. The newest first, as each goes to the head of the queue. */
  #releaseEarly(limit: number): void {
    const early = this.#early.clear();
    for (const delivery of early) {
      if (delivery.since > limit) this.#early.tryPut(delivery);
    }
    const here = [...this.#suspects, ...early];
    for (const delivery of here.reverse()) {
      if (delivery.since > limit) continue;
      this.#suspects.delete(delivery);
      void quietly(delivery.release());
    }
  }

  #settleClosed(): void {
    if (this.#unacked.size === 0 && this.#requests === 0 && !this.#running) {
      this.#closed?.resolve();
    }
  }
}

/** Who fails here has told the link. */
function quietly<R>(answer: Promise<R>): Promise<R | undefined> {
  return answer.catch(() => undefined);
}

/** Waits for one delivery. */
class DeliveryReceiver<T> extends Getter<T> {
  override end(): void {
    this.reject(
      new QueueClosedError(
        "Cannot receive: the queue must be open, received a closed queue",
      ),
    );
  }
}
