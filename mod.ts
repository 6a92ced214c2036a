/**
 * Producer–consumer queues made of web streams.
 *
 * A {@linkcode Queue} is a WHATWG pair, `{ readable, writable }`, whose
 * `highWaterMark` and `desiredSize` carry the backpressure; `put` and `get` cost
 * about as much as a bare `await`. It runs unchanged on Deno, Bun, Node,
 * browsers and edge runtimes.
 *
 * @example A bounded queue between a fast producer and a slow consumer
 * ```ts
 * import { Queue } from "@highwater/queue";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new Queue<string>({ highWaterMark: 2 });
 * const producing = queue.putMany(["a", "b", "c"]).then(() => queue.close());
 *
 * const seen: string[] = [];
 * for await (const item of queue) seen.push(item);
 * await producing;
 * assertEquals(seen, ["a", "b", "c"]);
 * ```
 *
 * @module
 */

export type { NoPromise } from "./src/callbacks.ts";
export type { Clock } from "./src/clock.ts";
export type {
  Delivery,
  DeliverySource,
  NackOptions,
  ReceiveOptions,
} from "./src/delivery.ts";
export { LaggedError, QueueClosedError, QueueFullError } from "./src/errors.ts";
export type { QueueErrorOptions } from "./src/errors.ts";
export { balance } from "./src/flow/balance.ts";
export type { BalanceOptions } from "./src/flow/balance.ts";
export { Broadcast } from "./src/flow/broadcast.ts";
export type {
  BroadcastOptions,
  BroadcastStats,
  SubscribeOptions,
  SubscriberStats,
} from "./src/flow/broadcast.ts";
export { concurrentMap } from "./src/flow/concurrent_map.ts";
export type { ConcurrentMapOptions } from "./src/flow/concurrent_map.ts";
export type { LagPolicy } from "./src/flow/fan.ts";
export { merge } from "./src/flow/merge.ts";
export type { MergeOptions } from "./src/flow/merge.ts";
export { mergeSorted } from "./src/flow/merge_sorted.ts";
export type { MergeSortedOptions } from "./src/flow/merge_sorted.ts";
export { partition } from "./src/flow/partition.ts";
export type { PartitionOptions } from "./src/flow/partition.ts";
export { select } from "./src/flow/select.ts";
export type {
  Selectable,
  Selected,
  SelectedOf,
  SelectOptions,
} from "./src/flow/select.ts";
export type {
  Branches,
  ItemOf,
  Source,
  SourceErrorPolicy,
} from "./src/flow/source.ts";
export { tee } from "./src/flow/tee.ts";
export type { TeeOptions } from "./src/flow/tee.ts";
export { zip } from "./src/flow/zip.ts";
export { consume } from "./src/flow/consume/run.ts";
export { ConsumeError } from "./src/flow/consume/error.ts";
export type {
  BatchHandler,
  BatchOptions,
  ConsumeContext,
  ConsumeOptions,
  Handler,
  UnconsumedReason,
  Work,
} from "./src/flow/consume/options.ts";
export type {
  DeadLetter,
  DeadLetterTarget,
} from "./src/flow/consume/dead_letter.ts";
export type { ConsumeReport } from "./src/flow/consume/report.ts";
export type { Quantiles } from "./src/flow/consume/histogram.ts";
export type { RateOptions } from "./src/flow/consume/rate.ts";
export { replay } from "./src/flow/replay.ts";
export type { PutTarget, ReplayOptions } from "./src/flow/replay.ts";
export { unrecoverable } from "./src/retry.ts";
export type { FailureReason, RetryOptions } from "./src/retry.ts";
export { LifoQueue } from "./src/lifo_queue.ts";
export { PriorityQueue } from "./src/priority_queue.ts";
export type {
  PriorityPutOptions,
  PriorityQueueOptions,
} from "./src/priority_queue.ts";
export { Queue } from "./src/queue.ts";
export type {
  GetManyOptions,
  GetOptions,
  ProducerOptions,
  PutOptions,
  QueueState,
  QueueStats,
} from "./src/queue.ts";
export type {
  Overflow,
  QueueOptions,
  UndeliveredReason,
} from "./src/strategy.ts";
export { WorkStealingQueue } from "./src/work_stealing_queue.ts";
export type {
  Lane,
  LaneStats,
  WorkStealingPutOptions,
  WorkStealingQueueOptions,
  WorkStealingStats,
} from "./src/work_stealing_queue.ts";
export { monitor } from "./src/monitor.ts";
export type {
  Alert,
  AlertKind,
  EngineCounters,
  Monitored,
  MonitorOptions,
  MonitorSample,
} from "./src/monitor.ts";
