/**
 * Queues that reach across threads, on Deno, Bun, Node and in browsers.
 *
 * @module
 */

export { type PortLike, type TransferableObject } from "./threads/endpoint.ts";
export { bytes, type BytesOptions, type Codec, json } from "./codec.ts";
export { type SharedQueueHandle } from "./threads/shared/layout.ts";
export { structured } from "./structured.ts";
export type {
  AttachOptions,
  SharedQueueOptions,
  SharedQueueState,
  SharedQueueStats,
  SyncOptions,
} from "./threads/shared/options.ts";
export { SharedQueue } from "./threads/shared/shared_queue.ts";
export { PortClosedError } from "./threads/port/errors.ts";
export type { PortOptions } from "./threads/port/options.ts";
export {
  connect,
  PortQueue,
  type PortQueueStats,
} from "./threads/port/port_queue.ts";
export { serve, type ServedQueue } from "./threads/port/serve.ts";
export { WorkerCrashedError } from "./threads/pool/task.ts";
export type { WorkerLike, WorkerSource } from "./threads/pool/thread.ts";
export {
  type ResultOf,
  type TaskOf,
  Transferred,
  transferred,
  work,
  type WorkContext,
  type WorkHandler,
} from "./threads/pool/work.ts";
export type { PoolWorkerStats } from "./threads/pool/lane.ts";
export type {
  PoolMapOptions,
  RunOptions,
  WorkerPoolOptions,
} from "./threads/pool/options.ts";
export { type PoolStats, WorkerPool } from "./threads/pool/worker_pool.ts";
export type { JsonOptions } from "./json_item.ts";
