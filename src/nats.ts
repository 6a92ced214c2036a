/**
 * Queues that NATS JetStream keeps, for any number of processes.
 *
 * @module
 */

export { bytes, type BytesOptions, type Codec, json } from "./codec.ts";
export {
  EngineHandle,
  type EngineHandleOptions,
} from "./engines/core/handle.ts";
export { type CloseOptions, PuttingHandle } from "./engines/core/putting.ts";
export type { PuttingOptions } from "./engines/core/putting_options.ts";
export type {
  EnginePutOptions,
  EngineQueue,
  EngineStats,
  ReceiveManyOptions,
} from "./engines/core/engine_queue.ts";
export type {
  NatsClient,
  NatsConnection,
  NatsHeaders,
  NatsIncoming,
  NatsStatus,
  NatsSubscription,
} from "./engines/nats/client.ts";
export type { Message } from "./engines/core/driver.ts";
export type { NatsMessage } from "./engines/nats/driver.ts";
export type { NatsLoan } from "./engines/nats/loans.ts";
export { NatsQueue, type NatsQueueOptions } from "./engines/nats/nats_queue.ts";
export type { JsonOptions } from "./json_item.ts";
export { structured } from "./structured.ts";
