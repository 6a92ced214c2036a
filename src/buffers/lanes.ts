/**
 * Lanes that steal from each other.
 *
 * Source: R. D. Blumofe and C. E. Leiserson, "Scheduling multithreaded
 * computations by work stealing", Journal of the ACM 46 (1999); D. Hendler and
 * N. Shavit, "Non-blocking steal-half work queues", PODC 2002, for taking half.
 *
 * @module
 */

import { Chain, type Chained } from "../chain.ts";
import { Line } from "../waiters.ts";
import type { Putter, Waiter, WaitingLine } from "../waiters.ts";
import type { Buffer, Entry, Peer, Peers, Standing } from "./buffer.ts";
import { IndexSet } from "./index_set.ts";
import { Ring } from "./ring.ts";
import { Tournament } from "./tournament.ts";

/** How lanes steal. */
export interface Stealing {
  /** How much of a victim one theft takes. */
  readonly amount: "half" | "one";
  /** Which lane is the victim: the longest, or any that has items. */
  readonly victim: "longest" | "random";
  /** From 0 to 1, 1 excluded; for random victims. */
  readonly random: () => number;
}

/** Weighs more than any number of items. */
const FULL = 2 ** 52;

/**
 * Rings that belong together.
 *
 * What one of them asks about all is kept, because to look at all costs more the
 * more there are. A lane that has changed is looked at again when somebody asks,
 * and no other is.
 */
export class Lanes<T> {
  readonly all: readonly Lane<T>[];
  /** Items stored in all of them. */
  length = 0;
  /** Puts that wait in all of them. */
  waitingPuts = 0;
  /** Thefts so far. */
  batches = 0;
  readonly #stealing: Stealing;
  #isOver = false;
  /** Gets that wait, the oldest first, whatever lane they wait in. */
  readonly #waiting: Chain<WaitingPlace<T>> = new Chain();
  /** Lanes that have changed since they were looked at. */
  readonly #changed: Lane<T>[] = [];
  // What is kept of them, each from when it is first asked for.
  /** Those that have items. */
  #loaded: IndexSet | undefined = undefined;
  /** Those that have items, or may still come to have some. */
  #alive: IndexSet | undefined = undefined;
  /** Those with items that nobody has marked as done. */
  #unfinished: IndexSet | undefined = undefined;
  /** The longest first. */
  #longest: Tournament | undefined = undefined;
  /** The emptiest first. */
  #emptiest: Tournament | undefined = undefined;

  constructor(count: number, stealing: Stealing) {
    this.#stealing = stealing;
    this.all = Array.from({ length: count }, (_, index) => {
      return new Lane(this, index);
    });
  }

  haveItems(): boolean {
    return this.length > 0 || this.waitingPuts > 0;
  }

  mayHaveItems(): boolean {
    this.#lookAgain();
    this.#alive ??= indexSet(this.all, mayHaveItems);
    return this.#alive.size > 0;
  }

  /** A lane with items that nobody has marked as done. */
  unfinished(): Lane<T> | undefined {
    this.#lookAgain();
    this.#unfinished ??= indexSet(this.all, isUnfinished);
    return this.all[this.#unfinished.at(0) ?? -1];
  }

  /** Of the lanes in which somebody waits for an item, the one where this began first. */
  longestWaiting(): Lane<T> | undefined {
    for (
      let place = this.#waiting.first;
      place !== undefined;
      place = this.#waiting.first
    ) {
      // A lane that is asked lets those go that have given up.
      if (place.lane.queue.isWaiting() && this.#waiting.first === place) {
        return place.lane;
      }
    }
    return undefined;
  }

  /** The one that a put without a lane goes to, of those that are open. */
  emptiest(): Lane<T> | undefined {
    const waiting = this.longestWaiting();
    this.#lookAgain();
    if (waiting?.open === true) return waiting;
    this.#emptiest ??= tournament(this.all, emptiness);
    const found = this.all[this.#emptiest.first]!;
    return found.open ? found : undefined;
  }

  /** Brings items into the thief, which has none. Only called when another has. */
  stealFor(thief: Lane<T>): void {
    const victim = this.#victim();
    // All that it has may be puts that wait: a lane without room for anything.
    if (victim.length === 0) victim.queue.admitOne();
    const most = this.#stealing.amount === "one"
      ? 1
      : Math.ceil(victim.length / 2);
    const count = victim.moveNewest(thief, most, thief.room);
    this.#note(victim, thief, count);
    thief.queue.received(count, victim.queue.gave(count));
  }

  /** Gives an item that was put into the lane to the one that has waited longest. */
  deliver(
    lane: Lane<T>,
    item: T,
    entry: Entry,
    done: number,
  ): void {
    const thief = this.longestWaiting()!;
    this.#note(lane, thief, 1);
    thief.queue.deliver(item, entry, done);
  }

  #note(victim: Lane<T>, thief: Lane<T>, count: number): void {
    this.batches++;
    victim.stolenFrom += count;
    thief.stolenBy += count;
  }

  /** A get waits in the lane. */
  waits(lane: Lane<T>, getter: Waiter): void {
    const place = new WaitingPlace(lane, getter.line!, this.#waiting);
    getter.line = place;
    this.#waiting.push(place);
  }

  /** The lane is to be looked at again. */
  changed(lane: Lane<T>): void {
    if (lane.hasChanged) return;
    lane.hasChanged = true;
    this.#changed.push(lane);
  }

  /** Ends the lanes that have waited for nothing but each other. */
  endIfDrained(): void {
    if (this.#isOver || this.mayHaveItems()) return;
    this.#isOver = true;
    for (const lane of this.all) lane.queue.endIfDrained();
  }

  /** Throws when what is kept is not what a look at all of them gives. */
  assertInvariants(): void {
    this.#lookAgain();
    for (const lane of this.all) assertKnown(lane);
    const { all } = this;
    const sum = (count: (lane: Lane<T>) => number): number =>
      all.reduce((total, lane) => total + count(lane), 0);
    expect(this.length === sum((lane) => lane.length), "how many are stored");
    expect(
      this.waitingPuts === sum((lane) => lane.waitingPuts),
      "how many puts wait",
    );
    const isWaited = all.some(({ queue }) => queue.isWaiting());
    expect(isWaited === (this.longestWaiting() !== undefined), "who waits");
    for (const lane of all) {
      expect(agrees(this.#loaded, lane, hasItems), "which have items");
      expect(agrees(this.#alive, lane, mayHaveItems), "which may have items");
      expect(agrees(this.#unfinished, lane, isUnfinished), "which are done");
    }
    const longest = tournament(all, longness).first;
    expect((this.#longest?.first ?? longest) === longest, "the longest");
    const emptiest = tournament(all, emptiness).first;
    expect((this.#emptiest?.first ?? emptiest) === emptiest, "the emptiest");
  }

  #victim(): Lane<T> {
    this.#lookAgain();
    const { victim, random } = this.#stealing;
    if (victim === "random") {
      this.#loaded ??= indexSet(this.all, hasItems);
      const place = Math.floor(random() * this.#loaded.size);
      return this.all[this.#loaded.at(place)!]!;
    }
    this.#longest ??= tournament(this.all, longness);
    return this.all[this.#longest.first]!;
  }

  #lookAgain(): void {
    const changed = this.#changed;
    for (const lane of changed) {
      lane.hasChanged = false;
      this.#lookAt(lane);
    }
    changed.length = 0;
  }

  #lookAt(lane: Lane<T>): void {
    const { index } = lane;
    lane.queue.tell(lane);
    this.#loaded?.set(index, hasItems(lane));
    this.#alive?.set(index, mayHaveItems(lane));
    this.#unfinished?.set(index, isUnfinished(lane));
    this.#longest?.set(index, longness(lane));
    this.#emptiest?.set(index, emptiness(lane));
  }
}

function hasItems<T>({ load }: Lane<T>): boolean {
  return load > 0;
}

function isUnfinished<T>({ unfinished }: Lane<T>): boolean {
  return unfinished > 0;
}

function mayHaveItems<T>(lane: Lane<T>): boolean {
  return lane.open || lane.load > 0 || lane.inFlight > 0;
}

/** Smaller where more is to be had. */
function longness<T>({ load }: Lane<T>): number {
  return -load;
}

/** Smaller where an item should rather go: where there is room, and then where there are fewer. */
function emptiness<T>(lane: Lane<T>): number {
  if (!lane.open) return Infinity;
  return lane.room > 0 ? lane.load : FULL + lane.load;
}

function indexSet<T>(
  lanes: readonly Lane<T>[],
  isMember: (lane: Lane<T>) => boolean,
): IndexSet {
  const indices = new IndexSet(lanes.length);
  for (const lane of lanes) indices.set(lane.index, isMember(lane));
  return indices;
}

function agrees<T>(
  indices: IndexSet | undefined,
  lane: Lane<T>,
  isMember: (lane: Lane<T>) => boolean,
): boolean {
  return indices === undefined || indices.has(lane.index) === isMember(lane);
}

function tournament<T>(
  lanes: readonly Lane<T>[],
  keyOf: (lane: Lane<T>) => number,
): Tournament {
  return new Tournament(lanes.map(keyOf));
}

function assertKnown<T>(lane: Lane<T>): void {
  const { open, waitingPuts, room, unfinished, inFlight } = lane;
  const now = { open, waitingPuts, room, unfinished, inFlight };
  lane.queue.tell(now);
  for (const fact of Object.keys(now) as (keyof Standing)[]) {
    expect(now[fact] === lane[fact], `of each: ${fact}`);
  }
}

function expect(holds: boolean, fact: string): void {
  if (!holds) throw new Error(`Invariant broken: the lanes know ${fact}`);
}

/** Of a get that waits, in the line of its lane and in that of all. */
class WaitingPlace<T> implements Chained<WaitingPlace<T>> {
  previous: WaitingPlace<T> | undefined = undefined;
  next: WaitingPlace<T> | undefined = undefined;
  readonly lane: Lane<T>;
  readonly #line: Pick<WaitingLine<Waiter>, "remove">;
  readonly #all: Chain<WaitingPlace<T>>;

  constructor(
    lane: Lane<T>,
    line: Pick<WaitingLine<Waiter>, "remove">,
    all: Chain<WaitingPlace<T>>,
  ) {
    this.lane = lane;
    this.#line = line;
    this.#all = all;
  }

  remove(getter: Waiter): void {
    this.#line.remove(getter);
    this.#all.remove(this);
  }
}

/** Puts that wait in a lane. */
class PutLine<T, P> extends Line<Putter<P>> {
  readonly #lanes: Lanes<T>;
  readonly #lane: Lane<T>;

  constructor(lanes: Lanes<T>, lane: Lane<T>) {
    super();
    this.#lanes = lanes;
    this.#lane = lane;
  }

  override push(putter: Putter<P>): void {
    super.push(putter);
    this.#grown(1);
  }

  override remove(putter: Putter<P>): void {
    super.remove(putter);
    this.#grown(-1);
  }

  #grown(by: number): void {
    this.#lanes.waitingPuts += by;
    this.#lanes.changed(this.#lane);
  }
}

/** One of the rings: its own queue takes the oldest item, the others take the newest. */
export class Lane<T> extends Ring<T> implements Buffer<T>, Peers<T>, Standing {
  /** Which of all it is. */
  readonly index: number;
  /** The queue that stores its items here. */
  queue!: Peer<T>;
  /** Items that others took from here. */
  stolenFrom = 0;
  /** Items that came here from others. */
  stolenBy = 0;
  // How the queue stood when it was looked at. Not in an object of its own: what
  // lies together comes into the cache together.
  open = true;
  waitingPuts = 0;
  room = 0;
  unfinished = 0;
  inFlight = 0;
  /** Whether it has changed since it was looked at. */
  hasChanged = false;
  readonly #lanes: Lanes<T>;

  constructor(lanes: Lanes<T>, index: number) {
    super();
    this.#lanes = lanes;
    this.index = index;
  }

  /** Items that are stored, and that waited to be when it was looked at. */
  get load(): number {
    return this.length + this.waitingPuts;
  }

  line<P>(): WaitingLine<Putter<P>> {
    return new PutLine(this.#lanes, this);
  }

  override push(
    item: T,
    weight: number,
    rank?: unknown,
    note?: unknown,
  ): void {
    super.push(item, weight, rank, note);
    this.#grown(1);
  }

  override shift(): T {
    this.#grown(-1);
    return super.shift();
  }

  override evict(): T {
    this.#grown(-1);
    return super.evict();
  }

  override clear(): T[] {
    this.#grown(-this.length);
    return super.clear();
  }

  override moveNewest(to: Ring<T>, most: number, room: number): number {
    const count = super.moveNewest(to, most, room);
    this.#grown(-count);
    return count;
  }

  #grown(by: number): void {
    this.#lanes.length += by;
    this.#lanes.changed(this);
  }

  /** The lane has yet to be looked at. */
  join(queue: Peer<T>): Peers<T> {
    this.queue = queue;
    this.#lanes.changed(this);
    return this;
  }

  hasItems(): boolean {
    return this.#lanes.haveItems();
  }

  mayHaveItems(): boolean {
    return this.#lanes.mayHaveItems();
  }

  fetch(): void {
    this.#lanes.stealFor(this);
  }

  waits(getter: Waiter): void {
    this.#lanes.waits(this, getter);
  }

  isWaiting(): boolean {
    return this.#lanes.longestWaiting() !== undefined;
  }

  deliver(item: T, entry: Entry, done: number): void {
    this.#lanes.deliver(this, item, entry, done);
  }

  changed(): void {
    this.#lanes.changed(this);
  }

  ended(): void {
    this.#lanes.endIfDrained();
  }

  assertInvariants(): void {
    this.#lanes.assertInvariants();
  }
}
