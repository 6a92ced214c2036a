/**
 * Dead letters, back to where the items are worked on.
 *
 * @module
 */

import type { DeliverySource } from "../delivery.ts";
import { QueueClosedError } from "../errors.ts";
import type { PutOptions } from "../queue.ts";
import { checkLimit, checkOptions, wrongType } from "../checks.ts";
import { consume } from "./consume/run.ts";
import type { DeadLetter } from "./consume/dead_letter.ts";
import { lends } from "./consume/intake.ts";
import { checkSource, open, type Source } from "./source.ts";

/** Options of {@linkcode replay}. */
export interface ReplayOptions<T> {
  /** Ends after so many letters; a whole number of 0 or more. Default: Infinity. */
  max?: number | undefined;
  /** Ends now. */
  signal?: AbortSignal | undefined;
  /** Gets a letter that was taken and not put, where the source takes nothing back. */
  onUndelivered?: ((deadLetter: DeadLetter<T>) => void) | undefined;
}

/** Where items can be put: a `Queue`, or a queue on an engine. */
export interface PutTarget<T> {
  /** Takes the item over, or rejects. */
  put(item: T, options?: PutOptions): Promise<unknown>;
}

/**
 * Puts the items of dead letters into a queue, one after the other, and waits
 * while that is full. Fulfils with their number when the source has ended, when
 * there were `max`, or when the signal aborts. From a queue that stays open,
 * `max: letters.length` takes what is there now.
 *
 * Rejects with what the source or a `put` fails with. The letter in hand then goes
 * back to a source that lends, else to `onUndelivered`; the signal does the same.
 * Other sources are left as a `break` would leave them.
 *
 * @example After the repair
 * ```ts
 * import { consume, type DeadLetter, Queue, replay } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * let isRepaired = false;
 * const done: string[] = [];
 * function work(task: string): void {
 *   if (!isRepaired) throw new Error("out of order");
 *   done.push(task);
 * }
 *
 * const letters = new Queue<DeadLetter<string>>();
 * await consume(["a", "b"], work, { deadLetter: letters });
 *
 * isRepaired = true;
 * const tasks = new Queue<string>();
 * assertEquals(await replay(letters, tasks, { max: letters.length }), 2);
 * tasks.close();
 * await consume(tasks, work);
 * assertEquals(done, ["a", "b"]);
 * ```
 */
export async function replay<T>(
  source: Source<DeadLetter<T>> | DeliverySource<DeadLetter<T>>,
  queue: PutTarget<T>,
  options: ReplayOptions<T> = {},
): Promise<number> {
  checkOptions("replay", options, {
    max: true,
    signal: true,
    onUndelivered: true,
  });
  const { max = Infinity, signal, onUndelivered } = options;
  if (!lends(source)) checkSource("replay", "source", source);
  if (typeof (queue as Partial<PutTarget<T>> | null)?.put !== "function") {
    throw wrongType("replay", "queue must be something to put into", queue);
  }
  checkLimit("replay", "max", max, 0);
  const { processed } = await consume<DeadLetter<T>>(
    lends(source) ? lendingFirst(source, max) : first(source, max),
    ({ item }, { signal }) => queue.put(item, { signal }),
    {
      onError: "abort",
      signal,
      onUndelivered: onUndelivered &&
        ((deadLetter) => onUndelivered(deadLetter)),
    },
  );
  return processed;
}

function lendingFirst<T>(
  source: DeliverySource<T>,
  max: number,
): DeliverySource<T> {
  let left = max;
  return {
    receive: (options) =>
      left-- > 0
        ? source.receive(options)
        : Promise.reject(new QueueClosedError("Cannot receive: enough")),
  };
}

function first<T>(source: Source<T>, max: number): AsyncIterable<T> {
  const feed = open(source);
  let left = max;
  const leave = async (): Promise<IteratorResult<T, undefined>> => {
    await feed.cancel(undefined);
    return { done: true, value: undefined };
  };
  return {
    [Symbol.asyncIterator]: () => ({
      next: async () => left-- > 0 ? await feed.next() : await leave(),
      return: leave,
    }),
  };
}
