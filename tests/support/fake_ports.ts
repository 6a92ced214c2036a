/**
 * Two ports whose messages arrive when a test says so, in their order.
 *
 * @module
 */

/** Runs the delivery of one message, now or later. */
export type Deliver = (delivery: () => void) => void;

/** One end. */
export class FakePort extends EventTarget {
  /** Messages that were sent from here. */
  sent = 0;
  /** Whether what is sent from here gets lost. */
  silent = false;
  peer!: FakePort;
  readonly #deliver: Deliver;
  readonly #underWay: (() => void)[] = [];
  #closed = false;

  constructor(deliver: Deliver) {
    super();
    this.#deliver = deliver;
  }

  postMessage(message: unknown, transfer: Transferable[]): void {
    const data = structuredClone(message, { transfer });
    this.sent++;
    if (this.#closed || this.silent) return;
    this.#send(() => {
      if (this.peer.#closed) return;
      this.peer.dispatchEvent(new MessageEvent("message", { data }));
    });
  }

  /** Both ends learn of it, the other one after what is on its way. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#send(() => {
      this.dispatchEvent(new Event("close"));
      if (this.peer.#closed) return;
      this.peer.#closed = true;
      this.peer.dispatchEvent(new Event("close"));
    });
  }

  #send(delivery: () => void): void {
    this.#underWay.push(delivery);
    this.#deliver(() => this.#underWay.shift()!());
  }
}

/** A channel of two. Unless told, a message arrives with the next microtask. */
export function fakeChannel(
  deliver: Deliver = queueMicrotask,
): [FakePort, FakePort] {
  const [left, right] = [new FakePort(deliver), new FakePort(deliver)];
  left.peer = right;
  right.peer = left;
  return [left, right];
}
