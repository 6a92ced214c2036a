/**
 * What of a NATS client is used, in types of our own: any client with these
 * methods will do.
 *
 * @module
 */

/** What is used of the headers of a message. */
export interface NatsHeaders {
  /** The status that a server answers with; 0 in a message. */
  readonly code: number;
  /** The status in words. */
  readonly description: string;
  /** The value of a header; empty when there is none. */
  get(name: string): string;
  /** Sets a header. */
  set(name: string, value: string): void;
}

/** What is used of a message that arrives. */
export interface NatsIncoming {
  /** What it was published to. */
  readonly subject: string;
  /** Where an answer goes. */
  readonly reply?: string | undefined;
  /** The bytes. */
  readonly data: Uint8Array;
  /** The headers, if it has any. */
  readonly headers?: NatsHeaders | undefined;
}

/** What is used of a subscription. */
export interface NatsSubscription {
  /** Ends it. */
  unsubscribe(): void;
}

/** What is used of what a connection says of itself. */
export interface NatsStatus {
  /** What happened. */
  readonly type: string;
  /** What went wrong; with the subject, where that was not permitted. */
  readonly error?: unknown;
  /** What was not permitted, as older clients tell it. */
  readonly permissionContext?: {
    readonly operation: string;
    readonly subject: string;
  } | undefined;
}

/** What is used of a connection of `@nats-io/transport-node`, `@nats-io/nats-core` (`wsconnect`), or `nats` 2. */
export interface NatsConnection {
  /** What the server says of itself; undefined while there is none. */
  readonly info?: {
    /** The most bytes of a message, its headers included. */
    readonly max_payload: number;
    /** The version of the server. */
    readonly version: string;
  } | undefined;
  /** Publishes. */
  publish(
    subject: string,
    payload?: Uint8Array | string,
    options?: { reply?: string; headers?: NatsHeaders },
  ): void;
  /** Calls back for each message. */
  subscribe(
    subject: string,
    options?: {
      max?: number;
      callback?: (error: Error | null, message: NatsIncoming) => void;
    },
  ): NatsSubscription;
  /** True once it is over for good. */
  isClosed(): boolean;
  /** What becomes of the connection. */
  status(): AsyncIterable<NatsStatus>;
  /** Fulfils once it is over for good, with what it broke with. */
  closed?(): Promise<unknown>;
}

/** A NATS client: a connection, and the function of the same package that makes headers. */
export interface NatsClient {
  /** What `connect` returned. It stays yours: closing a queue leaves it open. */
  readonly connection: NatsConnection;
  /** The `headers` of the client's package. */
  readonly headers: () => NatsHeaders;
}
