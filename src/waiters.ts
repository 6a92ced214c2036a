/**
 * Who waits, in what order, and how a waiter is withdrawn.
 *
 * @module
 */

import {
  checkAbortSignal,
  checkObject,
  checkOptions,
  type Names,
} from "./checks.ts";
import { ignore } from "./callbacks.ts";

/** The one fulfilled promise that every operation without a wait hands out. */
export const FULFILLED: Promise<void> = /* @__PURE__ */ Promise.resolve();

/** A promise together with its ends. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(reason: unknown): void;
}

/** Makes a {@linkcode Deferred}. Node 20 has no `Promise.withResolvers`. */
export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((onFulfilled, onRejected) => {
    resolve = onFulfilled;
    reject = onRejected;
  });
  return { promise, resolve, reject };
}

/** Keeps a rejection that nobody may ever look at from being reported. */
export function markHandled(promise: Promise<unknown>): void {
  promise.then(undefined, ignore);
}

/**
 * A place in a line, and perhaps in a group. Both lists run through the waiter
 * itself, so that leaving them is O(1) and leaves nothing behind.
 */
export abstract class Waiter {
  line: Pick<WaitingLine<Waiter>, "remove"> | undefined = undefined;
  previous: Waiter | undefined = undefined;
  next: Waiter | undefined = undefined;
  group: WaiterGroup | undefined = undefined;
  previousInGroup: Waiter | undefined = undefined;
  nextInGroup: Waiter | undefined = undefined;
  /** What it adds to the weight of its line. */
  weight = 0;

  /** Settles what waits with an error. The waiter has left already. */
  abstract reject(reason: unknown): void;

  /** Leaves line and group. */
  leave(): void {
    this.line?.remove(this);
    this.group?.remove(this);
  }

  /** Gives up waiting. */
  withdraw(reason: unknown): void {
    this.leave();
    this.reject(reason);
  }
}

/** Someone who waits for room. */
export class Putter<T> extends Waiter {
  readonly item: T;
  /** The place it asks for, as the buffer understands it. */
  readonly rank: unknown;
  /** What the one who waits holds. */
  readonly promise: Promise<void>;
  #accept!: () => void;
  #refuse!: (reason: unknown) => void;
  readonly #withdrawn: () => void;

  constructor(item: T, weight: number, rank: unknown, withdrawn: () => void) {
    super();
    this.item = item;
    this.weight = weight;
    this.rank = rank;
    this.#withdrawn = withdrawn;
    this.promise = new Promise((resolve, reject) => {
      this.#accept = resolve;
      this.#refuse = reject;
    });
  }

  /** The item has been taken over; the putter has left already. */
  accepted(): void {
    this.#accept();
  }

  override reject(reason: unknown): void {
    this.#refuse(reason);
  }

  override withdraw(reason: unknown): void {
    super.withdraw(reason);
    // A closing queue may have been waiting for just this put.
    this.#withdrawn();
  }
}

/** Someone who waits for an item. */
export abstract class Receiver<T> extends Waiter {
  /** Takes an item and leaves, unless it wants more. The rest is for who may put the item back. */
  abstract accept(
    item: T,
    weight?: number,
    rank?: unknown,
    note?: unknown,
  ): void;
  /** Learns that no item will come. It has left already. */
  abstract end(): void;

  /** False when nobody is behind this waiter any more. */
  isWaiting(): boolean {
    return true;
  }
}

/** Waiters in some order. */
export interface WaitingLine<W extends Waiter> {
  /** Whose turn it is. */
  readonly first: W | undefined;
  readonly length: number;
  /** The sum of their weights. */
  readonly weight: number;
  push(waiter: W): void;
  remove(waiter: W): void;
}

/** Waiters in order of arrival. */
export class Line<W extends Waiter> implements WaitingLine<W> {
  first: W | undefined = undefined;
  last: W | undefined = undefined;
  length = 0;
  weight = 0;

  push(waiter: W): void {
    waiter.line = this as unknown as WaitingLine<Waiter>;
    waiter.previous = this.last;
    if (this.last === undefined) this.first = waiter;
    else this.last.next = waiter;
    this.last = waiter;
    this.length++;
    this.weight += waiter.weight;
  }

  remove(waiter: W): void {
    const { previous, next } = waiter;
    if (previous === undefined) this.first = next as W | undefined;
    else previous.next = next;
    if (next === undefined) this.last = previous as W | undefined;
    else next.previous = previous;
    waiter.line = undefined;
    waiter.previous = undefined;
    waiter.next = undefined;
    this.length--;
    this.weight = this.length === 0 ? 0 : this.weight - waiter.weight;
  }
}

/** A line that says when it gets shorter. */
export class WatchedLine<W extends Waiter> extends Line<W> {
  readonly #shorter: (length: number) => void;

  constructor(shorter: (length: number) => void) {
    super();
    this.#shorter = shorter;
  }

  override remove(waiter: W): void {
    super.remove(waiter);
    this.#shorter(this.length);
  }
}

/** Each waiter of a line in turn, as it leaves. */
export function* leaving<W extends Waiter>(
  line: { readonly first: W | undefined },
): Generator<W, void> {
  for (let waiter = line.first; waiter !== undefined; waiter = line.first) {
    waiter.leave();
    yield waiter;
  }
}

/** Waiters that are withdrawn together: those of one signal, one reader, one writer. */
export class WaiterGroup {
  first: Waiter | undefined = undefined;
  last: Waiter | undefined = undefined;
  /** What its waiters wait under, if that is a signal. */
  get signal(): AbortSignal | undefined {
    return undefined;
  }

  add(waiter: Waiter): void {
    waiter.group = this;
    waiter.previousInGroup = this.last;
    if (this.last === undefined) this.first = waiter;
    else this.last.nextInGroup = waiter;
    this.last = waiter;
  }

  remove(waiter: Waiter): void {
    const { previousInGroup, nextInGroup } = waiter;
    if (previousInGroup === undefined) this.first = nextInGroup;
    else previousInGroup.nextInGroup = nextInGroup;
    if (nextInGroup === undefined) this.last = previousInGroup;
    else nextInGroup.previousInGroup = previousInGroup;
    waiter.group = undefined;
    waiter.previousInGroup = undefined;
    waiter.nextInGroup = undefined;
  }

  /** Withdraws all, oldest first. */
  withdrawAll(reason: unknown): void {
    while (this.first !== undefined) this.first.withdraw(reason);
  }

  /** Settles when the puts that wait have all been accepted, or with the first that was not. */
  async settled(): Promise<void> {
    while (this.last !== undefined) {
      await (this.last as Putter<unknown>).promise;
    }
  }

  /** Tells all takers, oldest first, that no item will come to them. */
  endAll(): void {
    while (this.first !== undefined) {
      const receiver = this.first as Receiver<unknown>;
      receiver.leave();
      receiver.end();
    }
  }
}

/**
 * The groups of the signals that somebody waits with. One listener per signal,
 * however many wait: a listener costs more than a whole put, and the 40,000th
 * on one signal a thousand times more. It goes with the last waiter, because
 * `{ once: true }` stays for ever on a signal that never fires.
 */
export class SignalGroups {
  readonly #groups: Map<AbortSignal, SignalGroup> = new Map();

  /** The group of that signal; put a waiter into it at once. */
  of(signal: AbortSignal): WaiterGroup {
    let group = this.#groups.get(signal);
    if (group === undefined) {
      group = new SignalGroup(signal, this.#groups);
      this.#groups.set(signal, group);
    }
    return group;
  }
}

class SignalGroup extends WaiterGroup {
  readonly #signal: AbortSignal;
  readonly #groups: Map<AbortSignal, SignalGroup>;
  readonly #listener: () => void;

  constructor(signal: AbortSignal, groups: Map<AbortSignal, SignalGroup>) {
    super();
    this.#signal = signal;
    this.#groups = groups;
    this.#listener = () => this.withdrawAll(signal.reason);
    signal.addEventListener("abort", this.#listener);
  }

  override get signal(): AbortSignal {
    return this.#signal;
  }

  override remove(waiter: Waiter): void {
    super.remove(waiter);
    if (this.first !== undefined) return;
    this.#signal.removeEventListener("abort", this.#listener);
    this.#groups.delete(this.#signal);
  }
}

/** For those who wait in no queue of their own. */
export const signals: SignalGroups = /* @__PURE__ */ new SignalGroups();

/** Does something when a signal fires, until it leaves. One listener per signal, however many wait for it. */
export class Abortion extends Waiter {
  readonly #aborted: (reason: unknown) => void;

  /** Calls at once if the signal has fired already. */
  constructor(
    signal: AbortSignal | undefined,
    aborted: (reason: unknown) => void,
  ) {
    super();
    this.#aborted = aborted;
    if (signal === undefined) return;
    if (signal.aborted) aborted(signal.reason);
    else signals.of(signal).add(this);
  }

  override reject(reason: unknown): void {
    this.#aborted(reason);
  }
}

/** The signal among the options, after {@linkcode checkSignal}. Throws its reason if it has fired. */
export function signalOf<Options extends Signalled>(
  action: string,
  options: Options | undefined,
  known?: Names<NoInfer<Options>>,
): AbortSignal | undefined {
  const signal = checkSignal(action, options, known);
  if (signal?.aborted) throw signal.reason;
  return signal;
}

/** Options with a signal among them. */
interface Signalled {
  readonly signal?: AbortSignal | undefined;
}

/**
 * The signal among the options. The names of the others are looked at where they are
 * given: for what is called for every item that would cost a tenth of the call.
 */
export function checkSignal<Options extends Signalled>(
  action: string,
  options: Options | undefined,
  known?: Names<NoInfer<Options>>,
): AbortSignal | undefined {
  if (options === undefined) return undefined;
  if (known === undefined) checkObject(action, "options", options);
  else checkOptions(action, options, known);
  const { signal } = options;
  checkAbortSignal(action, signal);
  return signal;
}
