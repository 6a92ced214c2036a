/**
 * One ring of items that many read, each at its own pace: what `tee` and
 * `Broadcast` have in common.
 *
 * @module
 */

import { Ring } from "../buffers/ring.ts";
import { callOut } from "../callbacks.ts";
import { LaggedError } from "../errors.ts";
import { NextGetter } from "../taking.ts";
import type { EndingView } from "../lifecycle.ts";
import type { TakingEnd } from "../views/readable.ts";
import { checkCallbacks, checkLimit, checkWord, expect } from "../checks.ts";
import {
  FULFILLED,
  leaving,
  Line,
  type Receiver,
  Waiter,
  type WaiterGroup,
} from "../waiters.ts";

/**
 * What happens when a subscriber is as many items behind as its highWaterMark
 * allows, and one more comes:
 *
 * - `"wait"`: it does not come; whoever brings it waits for this subscriber;
 * - `"drop-oldest"`: the subscriber skips the oldest item it has not read;
 * - `"evict"`: the subscriber's stream fails with a `LaggedError`.
 */
export type LagPolicy = "wait" | "drop-oldest" | "evict";

/** How one subscriber reads, after the check. */
export interface Pace {
  readonly overflow: LagPolicy;
  readonly highWaterMark: number;
  /** Learns before the next item how many were skipped. */
  readonly onLag: ((missed: number) => void) | undefined;
}

/** What the fan says to the one who fills it. */
export interface FanOptions {
  /** How many items are kept for those who come later. */
  replay: number;
  /** For messages. */
  name: string;
  /** Somebody has read, left, or begun to wait. Called last. */
  changed: () => void;
}

/** How the items end. */
export interface FanEnding {
  /** What they end with, if it is a failure. */
  failure: { readonly reason: unknown } | undefined;
}

/**
 * The items that some cursor has still to read, each stored once.
 *
 * - It holds the spread between the fastest and the slowest cursor (or what is
 *   kept for replay, where that is more), however many there are.
 * - Storing costs O(1) for each distinct pair of policy and highWaterMark among
 *   the cursors, reading and leaving O(1), amortised.
 * - An item goes straight to the readers that wait for it, when `feed` is called.
 */
export class Fan<T> {
  /** All that still read, in the order they came. */
  readonly cursors: Set<Cursor<T>> = new Set();
  /** The place of the next item. Places are counted from the first item on. */
  end = 0;
  /** Set when no more items come. */
  ending: FanEnding | undefined = undefined;
  readonly name: string;
  readonly changed: () => void;
  readonly #replay: number;
  readonly #items: Ring<T> = new Ring();
  /** The place of the oldest item held. */
  #first = 0;
  readonly #packs: Pack[] = [];
  /** Cursors that somebody waits at. */
  readonly #hungry: Line<Seat<T>> = new Line();
  #feedDue = false;

  constructor(options: FanOptions) {
    this.#replay = options.replay;
    this.name = options.name;
    this.changed = options.changed;
  }

  /** How many items are held. */
  get length(): number {
    return this.#items.length;
  }

  /** How many more items may come before one has to wait; Infinity while nobody makes it wait. */
  get room(): number {
    let room = Infinity;
    for (const pack of this.#packs) {
      if (pack.waits) room = Math.min(room, pack.room(this.end));
    }
    return room;
  }

  /**
   * Whether one more may come. Who waits for what has come does not count as
   * slow, so before anybody is made to wait, skip or leave, all those are fed.
   */
  hasRoom(): boolean {
    if (this.#hungry.first !== undefined && this.#isAnyFull()) this.feed();
    for (const pack of this.#packs) {
      if (pack.waits && pack.isFull(this.end)) return false;
    }
    return true;
  }

  /** Whether somebody waits for an item that is not here yet. */
  isWanted(): boolean {
    const hungry = this.#hungry;
    while (hungry.last !== undefined) {
      const { cursor } = hungry.last;
      // Who sat down before the last item came has a smaller place, and is in front.
      if (cursor.isWaiting()) return cursor.place === this.end;
      hungry.last.leave();
    }
    return false;
  }

  /** Stores an item. Whoever calls has asked {@linkcode Fan.hasRoom}, and feeds those who wait for it. */
  push(item: T): void {
    // From behind, because a pack goes with the last that is evicted.
    for (let at = this.#packs.length - 1; at >= 0; at--) {
      const pack = this.#packs[at]!;
      if (pack.isFull(this.end)) this.#makeWay(pack);
    }
    this.#items.push(item, 1);
    this.end++;
    this.#release();
  }

  /** Gives those who wait what has come. */
  feed(): void {
    // Who wants still more sits down again behind the others; the count ends it.
    for (let turns = this.#hungry.length; turns > 0; turns--) {
      const seat = this.#hungry.first;
      if (seat === undefined) return;
      seat.leave();
      seat.cursor.feed();
    }
  }

  /**
   * The same in a microtask. Whoever puts in a loop is then an item ahead of the
   * readers, who find it there and need not wait for it: a third of the price.
   */
  feedSoon(): void {
    if (this.#feedDue || this.#hungry.first === undefined) return;
    this.#feedDue = true;
    void FULFILLED.then(this.#feedNow);
  }

  /** No more items come; each cursor learns of it when it has read the last. */
  finish(ending: FanEnding): void {
    this.ending = ending;
    for (const cursor of [...this.cursors]) cursor.endIfDrained();
  }

  /** Ends everything now. */
  abort(reason: unknown): void {
    this.ending = { failure: { reason } };
    this.#items.clear();
    this.#first = this.end;
    for (const cursor of [...this.cursors]) cursor.fail(reason);
  }

  /**
   * A new reader, who begins up to `replay` items back. As a cursor that may
   * not fall far behind does not begin there either, the highWaterMark is the
   * limit for those who do not make others wait.
   */
  subscribe(
    pace: Pace,
    replay: number,
    cancelled?: (reason: unknown) => void | Promise<void>,
  ): Cursor<T> {
    const most = pace.overflow === "wait" ? Infinity : pace.highWaterMark;
    const back = Math.min(replay, most, this.#replay, this.#items.length);
    const pack = this.#packOf(pace);
    const cursor = new Cursor(this, pack, this.end - back, pace, cancelled);
    pack.join(cursor.place, this.end);
    this.cursors.add(cursor);
    if (this.ending !== undefined) cursor.endIfDrained();
    return cursor;
  }

  #packOf({ overflow, highWaterMark }: Pace): Pack {
    let pack = this.#packs.find((pack) =>
      pack.overflow === overflow && pack.highWaterMark === highWaterMark
    );
    if (pack === undefined) {
      pack = new Pack(overflow, highWaterMark);
      this.#packs.push(pack);
    }
    return pack;
  }

  // -- What cursors call ------------------------------------------------------

  /** The item at the place of the cursor, which goes on to the next. */
  read(cursor: Cursor<T>): T {
    const { pack, place } = cursor;
    const item = this.#items.at(place - this.#first);
    cursor.place = place + 1;
    if (pack.move(place, this.end) && place === this.#first) this.#release();
    return item;
  }

  /** Takes the cursor away, and what only it had still to read. */
  remove(cursor: Cursor<T>): void {
    const { pack } = cursor;
    this.cursors.delete(cursor);
    cursor.seat.leave();
    pack.leave(cursor.place, this.end);
    if (pack.size === 0) this.#packs.splice(this.#packs.indexOf(pack), 1);
    this.#release();
  }

  /** Feeds the cursor when an item comes. */
  seat(cursor: Cursor<T>): void {
    const { seat } = cursor;
    if (seat.line === undefined) this.#hungry.push(seat);
  }

  // -- Within -----------------------------------------------------------------

  readonly #feedNow = (): void => {
    this.#feedDue = false;
    this.feed();
  };

  #isAnyFull(): boolean {
    return this.#packs.some((pack) => pack.isFull(this.end));
  }

  #makeWay(pack: Pack): void {
    const { first, highWaterMark, overflow } = pack;
    if (overflow === "drop-oldest") return pack.skipOldest();
    for (const cursor of [...this.cursors]) {
      if (cursor.pack !== pack || cursor.place !== first) continue;
      const missed = this.end - first + 1;
      cursor.fail(
        new LaggedError(
          `Cannot read on: a subscriber of ${this.name} must keep within its ` +
            `highWaterMark of ${highWaterMark}, received ${missed} unread items`,
          { missed },
        ),
      );
    }
  }

  /** Lets go of the items that nobody has still to read. */
  #release(): void {
    let first = Math.max(this.#first, this.end - this.#replay);
    for (const pack of this.#packs) {
      if (pack.first < first) first = pack.first;
    }
    while (this.#first < first) {
      this.#items.shift();
      this.#first++;
    }
  }

  // -- Invariants -------------------------------------------------------------

  /** Throws when the fan contradicts itself. For tests, after every step. */
  assertInvariants(): void {
    let slowest = this.end;
    for (const cursor of this.cursors) {
      slowest = Math.min(slowest, this.end - cursor.lag);
      expect(
        cursor.lag === 0 || this.#feedDue || !cursor.isWaiting(),
        "who waits has read everything, or is about to be fed",
      );
      expect(
        cursor.pack.waits || cursor.lag <= cursor.pack.highWaterMark,
        "who does not make others wait keeps within its highWaterMark",
      );
      expect(
        this.ending === undefined || cursor.lag > 0,
        "after the end, who has read everything has left",
      );
    }
    expect(
      this.#first <= slowest,
      "what somebody has still to read is held",
    );
    expect(
      this.length === this.end - this.#first &&
        this.length <= Math.max(this.end - slowest, this.#replay),
      "what is held is the spread, or what is kept for replay",
    );
    for (const pack of this.#packs) {
      pack.assertInvariants(
        [...this.cursors].filter((cursor) => cursor.pack === pack)
          .map((cursor) => this.end - cursor.lag),
        this.end,
      );
    }
  }
}

/** One reader of a fan: the far end of one stream. */
export class Cursor<T> implements TakingEnd<T> {
  readonly pack: Pack;
  /** The place it reads next, unless its pack has been made to skip that. */
  place: number;
  readonly seat: Seat<T>;
  /** How many items it skipped, as far as it has read. */
  #missed = 0;
  readonly #fan: Fan<T>;
  readonly #pace: Pace;
  readonly #cancelled:
    | ((reason: unknown) => void | Promise<void>)
    | undefined;
  readonly #receivers: Line<Receiver<T>> = new Line();
  #view: EndingView | undefined = undefined;
  /** Set when it reads no more. */
  #ending: FanEnding | undefined = undefined;

  constructor(
    fan: Fan<T>,
    pack: Pack,
    place: number,
    pace: Pace,
    cancelled: ((reason: unknown) => void | Promise<void>) | undefined,
  ) {
    this.#fan = fan;
    this.pack = pack;
    this.place = place;
    this.#pace = pace;
    this.#cancelled = cancelled;
    this.seat = new Seat(this);
  }

  /** How many items wait for it. */
  get lag(): number {
    return this.#fan.end - Math.max(this.place, this.pack.first);
  }

  /** How many items it has skipped. */
  get missed(): number {
    if (this.#ending !== undefined) return this.#missed;
    return this.#missed + Math.max(0, this.pack.first - this.place);
  }

  get overflow(): LagPolicy {
    return this.#pace.overflow;
  }

  get highWaterMark(): number {
    return this.#pace.highWaterMark;
  }

  /** What it ended with: a failure, or the reason of a cancel. */
  get reason(): unknown {
    return this.#ending?.failure?.reason;
  }

  // -- What the stream calls --------------------------------------------------

  hasNext(): boolean {
    // An item that somebody waits for is on its way to that one.
    return this.place < this.#fan.end && this.#receivers.first === undefined &&
      this.#ending === undefined;
  }

  next(group: WaiterGroup): Promise<IteratorResult<T, undefined>> {
    if (this.hasNext()) {
      return Promise.resolve({ done: false, value: this.take() });
    }
    return new Promise((resolve, reject) => {
      const getter = new NextGetter<T>(resolve, reject);
      this.#wait(getter);
      if (getter.line !== undefined) group.add(getter);
    });
  }

  take(): T {
    const missed = this.#catchUp();
    const item = this.#fan.read(this);
    this.#moved();
    if (missed > 0) this.#tellLag(missed);
    return item;
  }

  serve(receiver: Receiver<T>): void {
    if (!this.hasNext()) return this.#wait(receiver);
    const missed = this.#catchUp();
    // The item goes over before the stream may end because of it.
    receiver.accept(this.#fan.read(this));
    this.#moved();
    if (missed > 0) this.#tellLag(missed);
  }

  cancel(reason: unknown): void | Promise<void> {
    if (this.#ending !== undefined) return;
    this.#end({ failure: { reason } }, (receiver) => receiver.end());
    this.#fan.changed();
    return this.#cancelled?.(reason);
  }

  leave(reason: unknown): void | Promise<void> {
    const settled = this.cancel(reason);
    if (this.#fan.cursors.size === 0) return settled;
  }

  watch(view: EndingView): void {
    this.#view = view;
    if (this.#ending !== undefined) this.#tellEnding(view, this.#ending);
  }

  unwatch(view: EndingView): void {
    if (this.#view === view) this.#view = undefined;
  }

  // -- What the fan calls -----------------------------------------------------

  /** Whether somebody waits here. Passes over native reads that were given up, see `views/readable.ts`. */
  isWaiting(): boolean {
    return this.#oldestReceiver() !== undefined;
  }

  /** Gives those who wait here what has come. */
  feed(): void {
    for (
      let receiver = this.#oldestReceiver();
      receiver !== undefined;
      receiver = this.#oldestReceiver()
    ) {
      if (this.place === this.#fan.end) return this.#fan.seat(this);
      receiver.accept(this.#fan.read(this));
      this.#moved();
    }
  }

  endIfDrained(): void {
    if (this.place < this.#fan.end || this.#ending !== undefined) return;
    this.#conclude(this.#fan.ending!);
  }

  fail(reason: unknown): void {
    this.#conclude({ failure: { reason } });
  }

  // -- Within -----------------------------------------------------------------

  #wait(receiver: Receiver<T>): void {
    if (this.#ending?.failure !== undefined) {
      return receiver.reject(this.#ending.failure.reason);
    }
    if (this.#ending !== undefined) return receiver.end();
    this.#receivers.push(receiver);
    this.#fan.seat(this);
    this.#fan.changed();
  }

  #oldestReceiver(): Receiver<T> | undefined {
    let receiver = this.#receivers.first;
    while (receiver !== undefined && !receiver.isWaiting()) {
      receiver.leave();
      receiver.end();
      receiver = this.#receivers.first;
    }
    return receiver;
  }

  /** Goes to where its pack was made to skip to. */
  #catchUp(): number {
    const missed = this.pack.first - this.place;
    if (missed <= 0) return 0;
    this.place = this.pack.first;
    this.#missed += missed;
    return missed;
  }

  #moved(): void {
    if (this.#fan.ending !== undefined) this.endIfDrained();
    this.#fan.changed();
  }

  #conclude(ending: FanEnding): void {
    const { failure } = ending;
    this.#end(ending, (receiver) => {
      if (failure === undefined) receiver.end();
      else receiver.reject(failure.reason);
    });
    if (this.#view !== undefined) this.#tellEnding(this.#view, ending);
  }

  /** Leaves the fan, and tells those who wait. */
  #end(ending: FanEnding, tell: (receiver: Receiver<T>) => void): void {
    this.#missed = this.missed;
    this.#ending = ending;
    this.#fan.remove(this);
    for (const receiver of leaving(this.#receivers)) tell(receiver);
  }

  #tellEnding(view: EndingView, { failure }: FanEnding): void {
    if (failure === undefined) view.ended();
    else view.errored(failure.reason);
  }

  /** The last thing a read does: from here on user code runs. */
  #tellLag(missed: number): void {
    const { onLag } = this.#pace;
    if (onLag === undefined) return;
    callOut(this.#fan.name, "onLag", onLag, missed);
  }
}

/** Where a cursor sits while somebody waits at it. */
class Seat<T> extends Waiter {
  readonly cursor: Cursor<T>;

  constructor(cursor: Cursor<T>) {
    super();
    this.cursor = cursor;
  }

  override reject(): void {}
}

const SMALLEST = 16;

/**
 * The cursors that share a policy and a highWaterMark. All that matters about
 * them is where the slowest is, so the pack only counts how many are at each
 * place: O(1), as the slowest never is further than one step ahead of the count
 * that just went to 0.
 */
class Pack {
  readonly overflow: LagPolicy;
  readonly waits: boolean;
  readonly highWaterMark: number;
  /** How many cursors. */
  size = 0;
  /** The place of the slowest. A cursor at a smaller one was made to skip, and counts as being here. */
  first = 0;
  #counts: Uint32Array = new Uint32Array(SMALLEST);
  /** Always the capacity − 1. */
  #mask: number = SMALLEST - 1;

  constructor(overflow: LagPolicy, highWaterMark: number) {
    this.overflow = overflow;
    this.waits = overflow === "wait";
    this.highWaterMark = highWaterMark;
  }

  room(end: number): number {
    return this.highWaterMark - (end - this.first);
  }

  isFull(end: number): boolean {
    return end - this.first >= this.highWaterMark;
  }

  join(place: number, end: number): void {
    const first = this.size === 0 ? place : Math.min(this.first, place);
    if (end - first > this.#mask) this.#resize(first, end);
    this.first = first;
    this.#counts[place & this.#mask]!++;
    this.size++;
  }

  /** One goes from the place to the next. Whether it was the slowest, and alone. */
  move(place: number, end: number): boolean {
    if (place + 1 - this.first > this.#mask) this.#resize(this.first, end);
    const counts = this.#counts;
    const mask = this.#mask;
    counts[(place + 1) & mask]!++;
    if (--counts[place & mask]! > 0 || place !== this.first) return false;
    this.first = place + 1;
    this.#shrink(end);
    return true;
  }

  leave(place: number, end: number): void {
    this.#counts[Math.max(place, this.first) & this.#mask]!--;
    if (--this.size === 0) return;
    while (this.#counts[this.first & this.#mask] === 0) this.first++;
    this.#shrink(end);
  }

  /** The slowest skip one item, all at once, whoever they are. */
  skipOldest(): void {
    const counts = this.#counts;
    const from = this.first & this.#mask;
    const to = ++this.first & this.#mask;
    counts[to]! += counts[from]!;
    counts[from] = 0;
  }

  #shrink(end: number): void {
    if (this.#mask < SMALLEST || this.#mask < (end - this.first + 1) * 8) {
      return;
    }
    this.#resize(this.first, end);
  }

  #resize(first: number, end: number): void {
    let capacity = SMALLEST;
    while (capacity < (end - first + 1) * 2) capacity *= 2;
    const counts = new Uint32Array(capacity);
    for (let place = this.first; place <= end; place++) {
      if (place - this.first > this.#mask) break;
      counts[place & (capacity - 1)] = this.#counts[place & this.#mask]!;
    }
    this.#counts = counts;
    this.#mask = capacity - 1;
  }

  assertInvariants(places: number[], end: number): void {
    expect(places.length === this.size, "a pack is as large as it says");
    expect(
      Math.min(...places) === this.first,
      "a pack begins with its slowest cursor",
    );
    expect(
      this.#mask < SMALLEST || this.#mask < (end - this.first + 1) * 8,
      "a pack gives back what a backlog has taken",
    );
    const counts = new Uint32Array(this.#mask + 1);
    for (const place of places) counts[place & this.#mask]!++;
    expect(
      counts.every((count, at) => count === this.#counts[at]),
      "a pack counts its cursors at their places",
    );
  }
}

// -- Options ------------------------------------------------------------------

const LAG_POLICIES: readonly LagPolicy[] = ["wait", "drop-oldest", "evict"];

/** Reads and checks how a subscriber wants to read. */
export function readPace(
  action: string,
  options: {
    overflow?: LagPolicy | undefined;
    highWaterMark?: number | undefined;
    onLag?: ((missed: number) => void) | undefined;
  },
  highWaterMark: number,
): Pace {
  const pace = {
    overflow: options.overflow ?? "wait",
    highWaterMark: options.highWaterMark ?? highWaterMark,
    onLag: options.onLag,
  };
  const { overflow, onLag } = pace;
  checkWord(action, "overflow", overflow, LAG_POLICIES);
  checkLimit(action, "highWaterMark", pace.highWaterMark, 1);
  checkCallbacks(action, { onLag });
  return pace;
}
