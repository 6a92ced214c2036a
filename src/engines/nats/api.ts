/**
 * What JetStream answers when it is asked for something.
 *
 * @module
 */

/** A request to JetStream. Rejects with an {@linkcode ApiError} when it is refused. */
export type Api = <R>(
  action: string,
  subject: string,
  body?: unknown,
) => Promise<R>;

/** What JetStream refused a request with. */
export interface ApiFault {
  readonly code: number;
  readonly err_code: number;
  readonly description: string;
}

/** JetStream refused a request. */
export class ApiError extends Error {
  readonly fault: ApiFault;

  constructor(action: string, fault: ApiFault) {
    super(
      `Cannot ${action} on NATS: ${fault.description} (code ${fault.code}, err_code ${fault.err_code})`,
    );
    this.name = "NatsApiError";
    this.fault = fault;
  }
}

/** What a server says of a stream. */
export interface StreamInfo {
  readonly config: {
    readonly subjects: readonly string[];
    readonly retention: string;
    readonly discard: string;
    readonly max_msgs: number;
    readonly max_bytes: number;
  };
  readonly state: {
    readonly messages: number;
    readonly bytes: number;
    readonly first_ts: string;
    /** The numbers of messages that are gone, between others that are not; where asked for. */
    readonly deleted?: readonly number[] | null;
  };
  /** The time of the server. */
  readonly ts?: string;
}

/** What a server says of a consumer. */
export interface ConsumerInfo {
  readonly created: string;
  readonly name: string;
  readonly config: { readonly ack_wait: number };
  /** What comes after it is lent, or is done out of turn. */
  readonly ack_floor: { readonly stream_seq: number };
  readonly delivered: { readonly stream_seq: number };
  readonly num_pending: number;
  readonly num_ack_pending: number;
  readonly num_redelivered: number;
}
