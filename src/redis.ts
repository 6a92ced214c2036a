/**
 * Queues that Redis keeps, for any number of processes.
 *
 * @module
 */

export {
  RedisQueue,
  type RedisQueueOptions,
} from "./engines/redis/redis_queue.ts";
export {
  type IORedisClient,
  type IORedisCluster,
  type NodeRedisClient,
  type NodeRedisCluster,
  type NodeRedisPool,
  type NodeRedisSentinel,
  type RedisArgument,
  type RedisClient,
  type RedisEmitter,
} from "./engines/redis/client.ts";
export { RedisError } from "./engines/redis/connection.ts";
export {
  EngineHandle,
  type EngineHandleOptions,
} from "./engines/core/handle.ts";
export { type CloseOptions, PuttingHandle } from "./engines/core/putting.ts";
export type { PuttingOptions } from "./engines/core/putting_options.ts";
export { bytes, type BytesOptions, type Codec, json } from "./codec.ts";
export type { Message } from "./engines/core/driver.ts";
export type { RedisMessage } from "./engines/redis/driver.ts";
export type {
  EnginePutOptions,
  EngineQueue,
  EngineStats,
  ReceiveManyOptions,
} from "./engines/core/engine_queue.ts";
export type { JsonOptions } from "./json_item.ts";
export { structured } from "./structured.ts";
