/**
 * What a pool and its workers say to each other.
 *
 * @module
 */

import { isPackedReason, type PackedReason } from "../failure.ts";

/** Raised when the messages change, so that two releases of the library do not misunderstand each other. */
export const VERSION = 1;

/** The worker can be sent a {@linkcode Begin}. */
export interface Ready {
  readonly highwater: "ready";
  readonly version: number;
}

/** The first message to a worker. Everything else goes through the port, whose closing tells of the end of the other side. */
export interface Begin {
  readonly highwater: "begin";
  readonly port: MessagePort;
  /** The memory of the claims, where there is any. */
  readonly claims: SharedArrayBuffer | undefined;
  /** How many tasks the worker does at a time. */
  readonly concurrency: number;
}

/** A task on its way. */
export interface SentTask {
  readonly cell: number;
  readonly ticket: number;
  readonly attempt: number;
  readonly task: unknown;
}

/** The signal of a task that was begun has fired. */
export interface Abort {
  readonly cell: number;
  readonly ticket: number;
  readonly reason: PackedReason;
}

/** Tasks, in the order in which to do them, or what has become of one. */
export type ToWorker = readonly SentTask[] | Abort;

/** What became of a task that was begun. */
export type FromWorker =
  | { readonly cell: number; readonly result: unknown }
  | {
    readonly cell: number;
    readonly error: PackedReason;
    /** It was the reason of the task's own signal. */
    readonly aborted: boolean;
  };

/** Whether a worker may say so: it may be anybody's. */
export function isAnswer(message: unknown): message is FromWorker {
  if (typeof message !== "object" || message === null) return false;
  const { cell, error, aborted } = message as {
    cell?: unknown;
    error?: unknown;
    aborted?: unknown;
  };
  if (!Number.isSafeInteger(cell)) return false;
  return "error" in message
    ? isPackedReason(error) && typeof aborted === "boolean"
    : "result" in message;
}

/** Whether this is for us and not for somebody else who talks to the worker. */
export function isReady(message: unknown): message is Ready {
  return kindOf(message) === "ready";
}

/** The same, in the worker. */
export function isBegin(message: unknown): message is Begin {
  return kindOf(message) === "begin";
}

function kindOf(message: unknown): unknown {
  return (message as { highwater?: unknown } | null | undefined)?.highwater;
}
