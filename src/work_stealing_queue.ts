/**
 * One queue per worker; who has nothing to do takes from the others.
 *
 * @module
 */

import {
  checkCount,
  checkFunction,
  checkObject,
  checkWord,
  wrongNumber,
} from "./checks.ts";
import { storedIn } from "./buffers/buffer.ts";
import { Lanes } from "./buffers/lanes.ts";
import type { Stealing } from "./buffers/lanes.ts";
import { reasonOr } from "./errors.ts";
import { printBy } from "./printing.ts";
import { Queue } from "./queue.ts";
import type { PutOptions, QueueStats } from "./queue.ts";
import { readStrategy } from "./strategy.ts";
import type { OwnNames, QueueOptions } from "./strategy.ts";
import { deferred, FULFILLED, markHandled } from "./waiters.ts";
import type { Deferred } from "./waiters.ts";

/** Options of a {@linkcode WorkStealingQueue}; those of a `Queue` are for each lane. */
export interface WorkStealingQueueOptions<T> extends QueueOptions<T> {
  /** How many lanes, from 1; one for each worker. */
  lanes: number;
  /** How much an idle lane takes from another: the newer `"half"` of its items or `"one"`. Default: `"half"`. */
  steal?: "half" | "one" | undefined;
  /** Whom it takes from: the `"longest"` lane or a `"random"` one that has items. Default: `"longest"`. */
  victim?: "longest" | "random" | undefined;
  /** Chooses a random victim: a number from 0 to 1, 1 excluded. Default: `Math.random`. */
  random?: (() => number) | undefined;
}

const OWN_OPTIONS: OwnNames<WorkStealingQueueOptions<never>> = {
  lanes: true,
  steal: true,
  victim: true,
  random: true,
};

/** Options of {@linkcode WorkStealingQueue.put}. */
export interface WorkStealingPutOptions extends PutOptions {
  /** The lane. Default: the shortest one. */
  lane?: number | undefined;
}

/**
 * One lane of a {@linkcode WorkStealingQueue}: a `Queue` with all its verbs,
 * whose consumers also get what the other lanes have.
 *
 * - Its own items come first, the oldest of them first. When it has none, it
 *   takes the newest of another lane's.
 * - A get waits while all lanes are empty. An item that is put into any of them
 *   goes to a get that waits there, otherwise to the lane that has waited
 *   longest.
 * - `close()`, and so the end of a pipe into `writable`, ends the puts of this
 *   lane. Its consumers see the end when all lanes are closed and empty.
 * - `abort(reason)` ends this lane alone; its items go to `onUndelivered`.
 */
export type Lane<T> = Queue<T>;

/** What {@linkcode WorkStealingQueue.stats} tells of a lane. */
export interface LaneStats extends QueueStats {
  /** Items put here that another lane took. They do not count as taken here. */
  readonly stolenFrom: number;
  /** Items put elsewhere that this lane took. They do not count as put here. */
  readonly stolenBy: number;
}

/** What {@linkcode WorkStealingQueue.stats} tells: a frozen snapshot. */
export interface WorkStealingStats {
  /** Items stored. */
  readonly length: number;
  /** Items accepted so far. */
  readonly put: number;
  /** Items given to consumers so far. */
  readonly taken: number;
  /** Accepted items that nobody has marked as done, see {@linkcode WorkStealingQueue.join}. */
  readonly unfinished: number;
  /** Items that went to a consumer of another lane, or are on their way in its lane. */
  readonly steals: number;
  /** How many times that took; the items of one batch move together. */
  readonly batches: number;
  /** Each lane, by index. */
  readonly lanes: readonly LaneStats[];
}

/**
 * A bounded queue with a lane for each worker, so that related work stays with
 * one, and no worker is idle while another has more than it can do.
 *
 * - **A lane is a {@linkcode Queue}**, with its own bound and its own pair of
 *   streams. Everything a queue promises holds for each lane.
 * - **First in, first out** for a lane's own consumers. An idle lane takes from the
 *   other end, the newest half of the longest lane, and goes on with the oldest
 *   of these.
 * - **Nobody sleeps beside work**: a get waits only while all lanes are empty, and
 *   any put wakes one.
 * - **Nothing is lost on the way**: a stolen item is counted once, frees the room
 *   it took, and is waited for by `join()` until it is done.
 *
 * **Flat cost**: puts, gets and endings cost the same with 4 and with 10,000
 * lanes; to find the shortest or the longest lane is O(log lanes). Items that
 * depend on each other's order belong into a `Queue`.
 *
 * @example Three workers, one source
 * ```ts
 * import { WorkStealingQueue } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new WorkStealingQueue<number>({ lanes: 3, highWaterMark: 8 });
 * let sum = 0;
 * async function work(index: number): Promise<void> {
 *   for await (const task of queue.lane(index)) sum += task;
 * }
 * const working = [0, 1, 2].map(work);
 * for (let task = 1; task <= 10; task++) await queue.put(task, { lane: 0 });
 * queue.close();
 * await Promise.all(working);
 * assertEquals(sum, 55);
 * ```
 */
export class WorkStealingQueue<T> implements AsyncDisposable {
  readonly #buffers: Lanes<T>;
  readonly #lanes: readonly Lane<T>[];
  #closed: Deferred<void> | undefined = undefined;

  /** Throws a `TypeError` or `RangeError` that names the option it cannot use. */
  constructor(options: WorkStealingQueueOptions<T>) {
    printBy(WorkStealingQueue.prototype, factsOfGroup);
    checkObject("make a queue", "options", options);
    const strategy = readStrategy(options, OWN_OPTIONS);
    checkCount("make a queue", "lanes", options.lanes, 1);
    this.#buffers = new Lanes<T>(options.lanes, stealing(options));
    this.#lanes = this.#buffers.all.map((buffer) =>
      new Queue<T>(storedIn(buffer, strategy))
    );
  }

  /** How many items are stored, in all lanes. */
  get length(): number {
    return this.#buffers.length;
  }

  /**
   * Fulfils when all lanes are closed and the last item has been taken. Rejects
   * when a lane was aborted or failed, with the reason of the first by index,
   * once all lanes have ended. Ignoring it causes no unhandled rejection.
   */
  get closed(): Promise<void> {
    if (this.#closed === undefined) {
      this.#closed = deferred();
      markHandled(this.#closed.promise);
      this.#settleClosed(this.#closed);
    }
    return this.#closed.promise;
  }

  /**
   * The lane of that index, from 0; the same object each time. `RangeError` when
   * there is none.
   *
   * @example The lane of a worker
   * ```ts
   * import { WorkStealingQueue } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new WorkStealingQueue<string>({ lanes: 2 });
   * await queue.lane(0).putMany(["a", "b", "c"]);
   * assertEquals(await queue.lane(0).get(), "a"); // its own, the oldest first
   * assertEquals(await queue.lane(1).get(), "c"); // stolen, the newest first
   * ```
   */
  lane(index: number): Lane<T> {
    return this.#laneAt("get a lane", "index", index);
  }

  /**
   * Puts one item into a lane, and waits for room while that is full. Unless
   * `lane` tells which: where somebody waits for an item, else the shortest lane
   * that is open and has room, else the shortest one that is open.
   *
   * Fulfils and rejects as {@linkcode Queue.put} does, and with a `RangeError`
   * when there is no such lane. O(1); O(log lanes) without a lane.
   *
   * @example To whoever has the least to do
   * ```ts
   * import { WorkStealingQueue } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new WorkStealingQueue<string>({ lanes: 2 });
   * await queue.put("first", { lane: 1 });
   * await queue.put("second");
   * assertEquals(queue.lane(0).length, 1);
   * ```
   */
  put(item: T, options?: WorkStealingPutOptions): Promise<void> {
    const index = options?.lane;
    if (index === undefined) return this.#emptiest().put(item, options);
    try {
      return this.#laneAt("put", "lane", index).put(item, options);
    } catch (reason) {
      return Promise.reject(reason);
    }
  }

  /** Closes all lanes: {@linkcode Queue.close}. Consumers take what is left and then see the end. */
  close(): void {
    for (const lane of this.#lanes) lane.close();
  }

  /** Fails all lanes: {@linkcode Queue.fail}. Consumers take what is left and then see `reason`. */
  fail(reason: unknown): void {
    for (const lane of this.#lanes) lane.fail(reason);
  }

  /** Aborts all lanes: {@linkcode Queue.abort}. What is stored goes to `onUndelivered`. */
  abort(reason?: unknown): void {
    const why = reasonOr(reason, "The queue was aborted");
    for (const lane of this.#lanes) lane.abort(why);
  }

  /**
   * Marks one taken item as done, for {@linkcode WorkStealingQueue.join}, whatever
   * lane it was taken from. `RangeError` when all accepted items are marked
   * already.
   */
  taskDone(): void {
    const lane = this.#unfinished() ?? this.#lanes[0]!;
    lane.taskDone();
  }

  /** Fulfils when every item accepted by any lane was marked as done: {@linkcode Queue.join}. */
  async join(): Promise<void> {
    for (
      let lane = this.#unfinished();
      lane !== undefined;
      lane = this.#unfinished()
    ) await lane.join();
  }

  /**
   * A frozen snapshot of the counters. O(lanes).
   *
   * @example Who stole
   * ```ts
   * import { WorkStealingQueue } from "@highwater/queue";
   * import { assertEquals } from "@std/assert";
   *
   * const queue = new WorkStealingQueue<number>({ lanes: 2 });
   * await queue.lane(0).putMany([1, 2, 3, 4]);
   * await queue.lane(1).get();
   * const { steals, batches, lanes } = queue.stats();
   * assertEquals([steals, batches], [2, 1]); // half of them, at once
   * assertEquals([lanes[0]!.stolenFrom, lanes[1]!.stolenBy], [2, 2]);
   * ```
   */
  stats(): WorkStealingStats {
    const lanes = this.#lanes.map((lane, index) => {
      const { stolenFrom, stolenBy } = this.#buffers.all[index]!;
      return Object.freeze({ ...lane.stats(), stolenFrom, stolenBy });
    });
    const sum = (
      count: "length" | "put" | "taken" | "unfinished" | "stolenBy",
    ): number => lanes.reduce((total, lane) => total + lane[count], 0);
    return Object.freeze({
      length: sum("length"),
      put: sum("put"),
      taken: sum("taken"),
      unfinished: sum("unfinished"),
      steals: sum("stolenBy"),
      batches: this.#buffers.batches,
      lanes: Object.freeze(lanes),
    });
  }

  /** Aborts what has not ended by itself, as that of a `Queue` does. */
  [Symbol.asyncDispose](): Promise<void> {
    for (const lane of this.#lanes) void lane[Symbol.asyncDispose]();
    return FULFILLED;
  }

  async #settleClosed(closed: Deferred<void>): Promise<void> {
    const endings = await Promise.allSettled(
      this.#lanes.map((lane) => lane.closed),
    );
    const failed = endings.find(({ status }) => status === "rejected");
    if (failed === undefined) closed.resolve();
    else closed.reject((failed as PromiseRejectedResult).reason);
  }

  /** When no lane is open, any of them says why not. */
  #emptiest(): Lane<T> {
    return this.#lanes[this.#buffers.emptiest()?.index ?? 0]!;
  }

  #unfinished(): Lane<T> | undefined {
    return this.#lanes[this.#buffers.unfinished()?.index ?? -1];
  }

  #laneAt(action: string, name: string, index: number): Lane<T> {
    const lane = typeof index === "number" ? this.#lanes[index] : undefined;
    if (lane !== undefined) return lane;
    const rule = `a whole number from 0 to ${this.#lanes.length - 1}`;
    throw wrongNumber(action, name, rule, index);
  }
}

/** For `await using`. */
export interface WorkStealingQueue<T> extends AsyncDisposable {}

function factsOfGroup<T>(
  queue: WorkStealingQueue<T>,
): Readonly<Record<string, unknown>> {
  const { lanes, length } = queue.stats();
  const { name, highWaterMark } = lanes[0]!;
  const states = new Set(lanes.map(({ state }) => state));
  const state = (["open", "closing", "errored"] as const)
    .find((state) => states.has(state)) ?? "closed";
  return { name, lanes: lanes.length, length, highWaterMark, state };
}

function stealing(
  options: Pick<
    WorkStealingQueueOptions<never>,
    "steal" | "victim" | "random"
  >,
): Stealing {
  const { steal = "half", victim = "longest", random = Math.random } = options;
  checkWord("make a queue", "steal", steal, ["half", "one"]);
  checkWord("make a queue", "victim", victim, ["longest", "random"]);
  checkFunction("make a queue", "random", random);
  return { amount: steal, victim, random };
}
