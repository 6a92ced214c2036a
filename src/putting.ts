/**
 * What all have in common that can be put into.
 *
 * @module
 */

import { checkErrorPolicy, checkOptions, wrongType } from "./checks.ts";
import { QueueClosedError } from "./errors.ts";

/** What the failure of a producer means, of the options it was registered with. */
export function producerPolicy(
  options: { onError?: "collect" | "abort" | "ignore" | undefined } = {},
): "collect" | "abort" | "ignore" {
  const action = "register a producer";
  checkOptions(action, options, { onError: true });
  const { onError = "collect" } = options;
  checkErrorPolicy(action, onError);
  return onError;
}

/** Whether items are given one by one, in time, rather than at once. Throws a `TypeError` for what is not iterable. */
export function comeInTime<T>(
  items: Iterable<T> | AsyncIterable<T>,
): items is AsyncIterable<T> {
  const candidate = items as Partial<AsyncIterable<T> & Iterable<T>> | null;
  if (typeof candidate?.[Symbol.asyncIterator] === "function") return true;
  if (typeof candidate?.[Symbol.iterator] === "function") return false;
  throw wrongType("put many", "items must be iterable", items);
}

/**
 * Puts what an async iterable gives. An item is asked for when the one before has
 * been put; when that is refused, the signal aborts or the queue ends, the iterator
 * is closed. Nobody waits for one that is parked then: what it still gives goes to
 * nobody.
 */
export async function putEach<T>(
  items: AsyncIterable<T>,
  put: (item: T) => Promise<void>,
  signal: AbortSignal | undefined,
  closed: Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.asyncIterator]();
  let stopped: { readonly reason: unknown } | undefined;
  let parked: ((reason: unknown) => void) | undefined;
  const stop = (reason: unknown): void => {
    stopped ??= { reason };
    parked?.(reason);
  };
  const abort = (): void => stop(signal!.reason);
  signal?.addEventListener("abort", abort);
  closed.then(() => stop(endedError()), stop);
  const next = (): Promise<IteratorResult<T, unknown>> =>
    new Promise((resolve, reject) => {
      parked = reject;
      Promise.resolve(iterator.next()).then(resolve, reject);
    });
  let waiting = false;
  try {
    // Of a queue that has ended, this lets it be known: nothing is asked for then.
    await undefined;
    for (;;) {
      if (stopped !== undefined) throw stopped.reason;
      waiting = true;
      const step = checkStep(await next());
      if (step.done) return;
      waiting = false;
      await put(step.value);
    }
  } catch (reason) {
    // What has failed by itself is left already.
    const left = waiting && stopped === undefined ? undefined : leave(iterator);
    if (!waiting) await left;
    throw reason;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** What put the items in has failed already, and that is the error to tell. */
async function leave(iterator: AsyncIterator<unknown>): Promise<void> {
  try {
    await iterator.return?.();
  } catch {
    // As `for await` has it.
  }
}

function checkStep<T>(
  step: IteratorResult<T, unknown>,
): IteratorResult<T, unknown> {
  if (Object(step) === step) return step;
  throw wrongType("put many", "next() of items must give an object", step);
}

function endedError(): QueueClosedError {
  return new QueueClosedError(
    "Cannot put many: the queue must be open, received one that is closed",
  );
}
