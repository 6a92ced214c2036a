/**
 * Where items go that nobody could make anything of.
 *
 * @module
 */

import { ignore } from "../../callbacks.ts";
import { wrongType } from "../../checks.ts";
import type { PutOptions, Queue } from "../../queue.ts";
import { markHandled } from "../../waiters.ts";
import type { FailureReason } from "../../retry.ts";

/** An item that failed for good, and how. */
export interface DeadLetter<T> {
  /** The item. */
  readonly item: T;
  /** How often it was tried. */
  readonly attempts: number;
  /** What the first and the last attempt failed with; the same for a single one. Where others have tried it before, the first that this run saw. */
  readonly errors: { readonly first: unknown; readonly last: unknown };
  /** When the first of them failed: milliseconds since 1970, or on the clock given to `consume`. */
  readonly firstAt: number;
  /** When the last of them failed. */
  readonly lastAt: number;
  /** Why it was not tried again. */
  readonly reason: FailureReason;
}

/** Where dead letters go. A queue or stream that is full is waited for, a promise of the function too. */
export type DeadLetterTarget<T> =
  | Queue<DeadLetter<T>>
  | WritableStream<DeadLetter<T>>
  | ((deadLetter: DeadLetter<T>) => unknown);

/** Brings letters to one target. */
export interface DeadLetterSink<T> {
  /** Fulfils when the target has taken it over. Gives up when the signal aborts, if nothing was handed over yet. */
  send(deadLetter: DeadLetter<T>, signal: AbortSignal): Promise<void>;
  /** Lets go of the target. */
  release(): void;
}

/** Locks a stream. Throws a `TypeError` for what is no target. */
export function deadLetterSink<T>(
  action: string,
  target: DeadLetterTarget<T>,
): DeadLetterSink<T> {
  const candidate = target as Partial<Queue<unknown> & WritableStream> | null;
  if (typeof target === "function") {
    return {
      send: async (deadLetter) => void (await target(deadLetter)),
      release: ignore,
    };
  }
  if (typeof candidate?.put === "function") {
    return {
      send: (deadLetter, signal) =>
        (target as {
          put(deadLetter: DeadLetter<T>, options: PutOptions): Promise<void>;
        }).put(deadLetter, { signal }),
      release: ignore,
    };
  }
  if (typeof candidate?.getWriter === "function" && !candidate.locked) {
    return writingTo(target as WritableStream<DeadLetter<T>>);
  }
  throw wrongType(
    action,
    "deadLetter must be a Queue, an unlocked WritableStream or a function",
    target,
  );
}

function writingTo<T>(
  stream: WritableStream<DeadLetter<T>>,
): DeadLetterSink<T> {
  const writer = stream.getWriter();
  markHandled(writer.closed);
  return {
    async send(deadLetter, signal) {
      await writer.ready;
      signal.throwIfAborted();
      await writer.write(deadLetter);
    },
    release() {
      writer.releaseLock();
      markHandled(writer.ready);
      markHandled(writer.closed);
    },
  };
}
