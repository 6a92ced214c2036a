/**
 * How a thread is started, and how it finds the one that started it, on each
 * runtime.
 *
 * @module
 */

import { wrongType } from "../../checks.ts";
import type { PortLike } from "../endpoint.ts";

/** A `Worker` of the web, or one of `node:worker_threads`. */
export interface WorkerLike {
  /** Sends a value to the thread. */
  postMessage(message: unknown): void;
  /** Ends the thread. */
  terminate(): unknown;
}

/** The module of the worker, or a function that starts one. */
export type WorkerSource = string | URL | (() => WorkerLike);

interface NodeThreads {
  Worker: new (url: URL | string, options: object) => WorkerLike;
  parentPort: PortLike | null;
}

interface Scope {
  Worker?: new (url: URL | string, options: object) => WorkerLike;
  WorkerGlobalScope?: abstract new () => object;
  process?: { getBuiltinModule?(name: string): unknown };
}

const scope = globalThis as unknown as Scope;

/** Throws unless a worker can be started from it. */
export function checkWorkerSource(action: string, source: unknown): void {
  if (
    typeof source === "string" || typeof source === "function" ||
    source instanceof URL
  ) return;
  throw wrongType(
    action,
    "source must be the URL of a module or a function that starts a worker",
    source,
  );
}

/** Starts a worker: that of the web where there is one. */
export function startWorker(source: WorkerSource, name: string): WorkerLike {
  if (typeof source === "function") return checkWorker(source());
  const Worker = scope.Worker ?? nodeThreads()?.Worker;
  if (Worker === undefined) {
    throw new TypeError(
      "Cannot start a worker: the runtime must have workers, " +
        "received one that has none",
    );
  }
  return new Worker(
    typeof source === "string" && scope.Worker === undefined
      ? urlOf(source)
      : source,
    { type: "module", name },
  );
}

/** A channel whose ports tell when the thread of the other has ended: those of Deno only do once Node's module was loaded. */
export function makeChannel(): MessageChannel {
  nodeThreads();
  return new MessageChannel();
}

/** The other end of this worker, for messages to whoever started it. */
export function parentOfThread(action: string): PortLike {
  const { WorkerGlobalScope } = scope;
  if (
    WorkerGlobalScope !== undefined && globalThis instanceof WorkerGlobalScope
  ) return globalThis as unknown as PortLike;
  // Only now: in a worker of Deno, looking for it would be most of the start.
  const parentPort = nodeThreads()?.parentPort;
  if (parentPort) return parentPort;
  throw new TypeError(
    `Cannot ${action}: must be called in a worker, received the main thread`,
  );
}

/** Not imported: a static import would break browsers, a dynamic one bundlers. */
function nodeThreads(): NodeThreads | undefined {
  return scope.process?.getBuiltinModule?.("node:worker_threads") as
    | NodeThreads
    | undefined;
}

/** `node:worker_threads` takes a text for a path. */
function urlOf(text: string): URL | string {
  return URL.canParse(text) ? new URL(text) : text;
}

function checkWorker(worker: unknown): WorkerLike {
  const given = worker as Partial<WorkerLike> | null | undefined;
  if (
    typeof given?.postMessage === "function" &&
    typeof given.terminate === "function"
  ) return given as WorkerLike;
  throw wrongType("start a worker", "source() must return a worker", worker);
}
