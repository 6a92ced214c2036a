/**
 * The queue that threads share, as a kind for the suite: put and taken at one
 * handle. What crosses between handles and threads has tests of its own.
 *
 * @module
 */

import type { Queue, QueueOptions } from "../../mod.ts";
import { type Codec, SharedQueue } from "../../src/threads.ts";
import { everythingBut, type Kind } from "./cases.ts";

/** Hands items over by number, so that a case may look at their identity: what a copy changes is for the tests of the codecs. */
function byReference<T>(): Codec<T> {
  const items = new Map<number, T>();
  let next = 0;
  return {
    encode(item) {
      const number = next++;
      items.set(number, item);
      return `${number}`;
    },
    decode(bytes) {
      const number = Number(new TextDecoder().decode(bytes));
      const item = items.get(number) as T;
      items.delete(number);
      return item;
    },
  };
}

/** SharedQueue over a codec that hands over references. */
export const sharedKind: Kind = {
  name: "SharedQueue",
  order: "fifo",
  can: everythingBut(
    // There is one policy: to wait.
    "overflow",
    "drop-oldest",
    // An item weighs what it takes in the ring.
    "size",
    // An item is in the ring before anybody has it, so the bound is a whole number from 1.
    "rendezvous",
    "hand-off",
    // Disposal lets go of a handle, not of the queue.
    "owner",
    "disposal",
    "join",
  ),
  create<T>(options: QueueOptions<T> = {}): Queue<T> {
    const { highWaterMark = 16, name = "", onUndelivered } = options;
    const queue = new SharedQueue<T>({
      bytes: 65536,
      highWaterMark,
      name,
      codec: byReference<T>(),
      ...(onUndelivered && { onUndelivered }),
    });
    return queue as unknown as Queue<T>;
  },
};
