/**
 * Items that are lent to whoever works on them, until that one says what became
 * of them.
 *
 * @module
 */

/** Options of {@linkcode DeliverySource.receive}. */
export interface ReceiveOptions {
  /** Gives up waiting: the promise rejects with the signal's reason and nothing is taken. */
  signal?: AbortSignal | undefined;
  /** How many milliseconds the item is lent for before somebody else gets it. Default: for ever, which is Infinity (a queue on an engine lends for no longer than `Number.MAX_SAFE_INTEGER`). */
  visibility?: number | undefined;
}

/** Options of {@linkcode Delivery.nack}. */
export interface NackOptions {
  /** How many milliseconds to wait before the item may be delivered again, up to `Number.MAX_SAFE_INTEGER`. Default: 0. To never have it again, `ack` it or `bury` it. */
  delay?: number | undefined;
  /** Why, for whoever looks at the queue. */
  reason?: unknown;
  /**
   * Whether it counts as an attempt that failed. False is for who stops, closes
   * or comes too late: nothing is known against the item, and the next delivery
   * has the same `attempt`. Default: true.
   */
  counted?: boolean | undefined;
}

/**
 * An item that is lent. It is done with `ack()`, and goes back with `nack()`, when
 * the time it was lent for is over, or when an `await using` block ends without
 * either. After that the delivery is lost: `ack`, `nack` and `extend` are false and
 * change nothing.
 */
export interface Delivery<T> extends AsyncDisposable {
  /** The item. */
  readonly item: T;
  /** How many times it was delivered, this time included, those that went back uncounted left out; from 1. */
  readonly attempt: number;
  /** When it was put, on the clock of the queue; undefined where the queue does not note it. */
  readonly enqueuedAt: number | undefined;
  /** What travelled beside the item through an engine, see `headersOf` of its queue; undefined where nothing did. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Aborts when the delivery is lost before `ack` or `nack`: the item may be with somebody else now. */
  readonly signal: AbortSignal;
  /** The item is done. False when the delivery was lost before. */
  ack(): boolean | Promise<boolean>;
  /** The item goes back to the head of the queue, to be delivered again. False when the delivery was lost before. */
  nack(options?: NackOptions): boolean | Promise<boolean>;
  /** Gives the item up: it goes to the dead letters of its source, where that keeps some. False when the delivery was lost before. */
  bury?(reason?: unknown): boolean | Promise<boolean>;
  /** Lends the item for so many milliseconds from now; Infinity, where the source knows it, is for ever. False when the delivery was lost before. */
  extend(milliseconds: number): boolean | Promise<boolean>;
}

/** Where deliveries come from: a `Queue`, or a queue on an engine. */
export interface DeliverySource<T> {
  /** For how many milliseconds items are lent unless `receive` says so; for ever where it is left out. `consume` renews what it works on for longer. */
  readonly visibility?: number | undefined;
  /** After how many attempts the source itself gives an item up; never where it is left out. */
  readonly attempts?: number | undefined;
  /** Lends the next item, and waits for one while there is none. Rejects with `QueueClosedError` once the source is closed and empty. */
  receive(options?: ReceiveOptions): Promise<Delivery<T>>;
}
