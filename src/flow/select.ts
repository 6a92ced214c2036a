/**
 * Waiting at several queues at once.
 *
 * @module
 */

import { wrongType } from "../checks.ts";
import { QueueClosedError } from "../errors.ts";
import { endOf, isQueue, type Queue } from "../queue.ts";
import { Receiver, signalOf, signals, Waiter } from "../waiters.ts";
import { checkOneList } from "./source.ts";

/** Options of {@linkcode select}. */
export interface SelectOptions {
  /** Gives up waiting: the promise rejects with the signal's reason, nothing is taken. */
  signal?: AbortSignal | undefined;
}

/** What {@linkcode select} fulfils with. */
export interface Selected<T> {
  /** The queue that the item is from. */
  readonly queue: Queue<T>;
  /** The item, taken from that queue. */
  readonly item: T;
}

/** What is a {@linkcode Queue} of any items: a type that queues of different items share. */
export type Selectable<T> = Pick<Queue<T>, "tryGet" | "receive" | "taskDone">;

/** What {@linkcode select} fulfils with for a union of queues: with one of them, and an item of the same. */
export type SelectedOf<Q> = Q extends Queue<infer T> ? Selected<T> : never;

/**
 * Takes the first item that any of the queues has, and waits while none has one.
 *
 * - **The losers keep their items.** It stands in the line of every queue, behind
 *   those who came before, and in the moment one of them hands it an item it
 *   leaves all other lines. There is no race and no second item.
 * - **Fair.** Where several have items they take turns: it takes from the one
 *   that `select` took from least recently, whichever call it was, and from the
 *   first in the list where none was before.
 * - **Ends.** A queue that is closed and empty is passed over; when all are, the
 *   promise rejects with `QueueClosedError`. A queue that failed or was aborted
 *   rejects it with its reason, unless another has an item now.
 *
 * An already aborted signal wins over an item that is ready; a rejection has taken
 * nothing; once the promise is fulfilled, a later abort changes nothing. A queue
 * may be listed twice. Any kind of queue will do, and the item comes in its order.
 *
 * Rejects with a `TypeError` for what is no array of queues and a `RangeError`
 * for an empty one. O(n) among n queues, with one listener per signal.
 *
 * @example Whatever comes first
 * ```ts
 * import { Queue, select } from "@highwater/queue";
 * import { assert, assertEquals } from "@std/assert";
 *
 * const orders = new Queue<string>();
 * const returns = new Queue<string>();
 * const first = select([orders, returns]);
 * await returns.put("a broken cup");
 * await orders.put("three cups");
 * const { queue, item } = await first;
 * assert(queue === returns);
 * assertEquals(item, "a broken cup");
 * assertEquals(orders.length, 1); // still there
 * ```
 */
export function select<T, Q extends Selectable<T> = Queue<T>>(
  queues: readonly Q[],
  options?: SelectOptions,
): Promise<SelectedOf<Q>> {
  const some = queues as unknown as readonly Queue<unknown>[];
  return selectFrom(some, options) as Promise<SelectedOf<Q>>;
}

function selectFrom<T>(
  queues: readonly Queue<T>[],
  options: SelectOptions | undefined,
): Promise<Selected<T>> {
  let signal: AbortSignal | undefined;
  try {
    checkQueues(queues);
    checkOneList("select", "queues", options);
    signal = signalOf("select", options, { signal: true });
  } catch (reason) {
    return Promise.reject(reason);
  }
  const ready = leastRecent(queues.filter((queue) => endOf(queue).hasNext()));
  if (ready !== undefined) {
    const item = endOf(ready).take();
    noteTurn(ready);
    return Promise.resolve({ queue: ready, item });
  }
  return new Promise((resolve, reject) => {
    new Selection<T>(resolve, reject).wait(queues, signal);
  });
}

/** The turn in which a queue was last taken from. Held by the queues alone. */
const turns: WeakMap<Queue<never>, number> = new WeakMap();
let turnCount = 0;

function noteTurn<T>(queue: Queue<T>): void {
  turns.set(queue as unknown as Queue<never>, ++turnCount);
}

function turnOf<T>(queue: Queue<T>): number {
  return turns.get(queue as unknown as Queue<never>) ?? 0;
}

function leastRecent<T>(queues: Queue<T>[]): Queue<T> | undefined {
  if (queues.length < 2) return queues[0];
  return queues.reduce((least, queue) =>
    turnOf(queue) < turnOf(least) ? queue : least
  );
}

/** One `select` that waits. A waiter only so that a signal can withdraw it. */
class Selection<T> extends Waiter {
  readonly #resolve: (selected: Selected<T>) => void;
  readonly #reject: (reason: unknown) => void;
  /** Its places in the lines of the queues. */
  #places: SelectReceiver<T>[] = [];
  #ended = 0;

  constructor(
    resolve: (selected: Selected<T>) => void,
    reject: (reason: unknown) => void,
  ) {
    super();
    this.#resolve = resolve;
    this.#reject = reject;
  }

  wait(queues: readonly Queue<T>[], signal: AbortSignal | undefined): void {
    const places = queues.map((queue) => new SelectReceiver(queue, this));
    this.#places = places;
    // Before it stands in line: the last queue may reject it at once.
    if (signal !== undefined) signals.of(signal).add(this);
    for (const place of places) {
      // A queue that has failed ends it all.
      if (this.#places !== places) return;
      endOf(place.queue).serve(place);
    }
  }

  accept(queue: Queue<T>, item: T): void {
    this.leave();
    noteTurn(queue);
    this.#resolve({ queue, item });
  }

  ended(): void {
    if (++this.#ended < this.#places.length) return;
    this.withdraw(
      new QueueClosedError(
        "Cannot select: at least one queue must be open or hold items, " +
          `received ${this.#ended} that are closed and empty`,
      ),
    );
  }

  override leave(): void {
    super.leave();
    for (const place of this.#places) place.leave();
    this.#places = [];
  }

  override reject(reason: unknown): void {
    this.#reject(reason);
  }
}

/** The place of a selection in the line of one queue. */
class SelectReceiver<T> extends Receiver<T> {
  readonly queue: Queue<T>;
  readonly #selection: Selection<T>;

  constructor(queue: Queue<T>, selection: Selection<T>) {
    super();
    this.queue = queue;
    this.#selection = selection;
  }

  accept(item: T): void {
    this.#selection.accept(this.queue, item);
  }

  end(): void {
    this.#selection.ended();
  }

  reject(reason: unknown): void {
    this.#selection.withdraw(reason);
  }
}

function checkQueues(queues: unknown): void {
  if (!Array.isArray(queues)) {
    throw wrongType("select", "queues must be an array", queues);
  }
  if (queues.length === 0) {
    throw new RangeError(
      "Cannot select: queues must hold at least one queue, received none",
    );
  }
  for (let index = 0; index < queues.length; index++) {
    if (isQueue(queues[index])) continue;
    throw wrongType(
      "select",
      `queues[${index}] must be a Queue`,
      queues[index],
    );
  }
}
