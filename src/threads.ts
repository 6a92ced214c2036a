/**
 * Queues that reach across threads, on Deno, Bun, Node and in browsers.
 *
 * @module
 */

export { type PortLike } from "./threads/endpoint.ts";
export { WorkerCrashedError } from "./threads/job.ts";
export type { WorkerLike, WorkerSource } from "./threads/thread.ts";
export {
  type ResultOf,
  type TaskOf,
  Transferred,
  transferred,
  work,
  type WorkContext,
  type WorkHandler,
} from "./threads/work.ts";
export {
  type PoolMapOptions,
  type PoolStats,
  type PoolWorkerStats,
  type RunOptions,
  WorkerPool,
  type WorkerPoolOptions,
} from "./threads/worker_pool.ts";
