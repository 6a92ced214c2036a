/**
 * The queue that threads share, as a kind for the suite: put and taken at one
 * handle. What crosses between handles and threads has tests of its own.
 *
 * @module
 */

import type { Queue, QueueOptions } from "../../mod.ts";
import { type Codec, SharedQueue } from "../../src/threads.ts";
import type { Kind } from "./suite.ts";

/** There is one policy: to wait. */
const OVERFLOW: readonly string[] = [
  "a put whose drop report throws fulfils all the same",
  "onUndelivered sees the queue after the change",
  "onUndelivered may use the queue when an item goes by drop-oldest",
  "onUndelivered may use the queue when an item goes by drop-newest",
  "onUndelivered may abort the queue that is dropping",
  "onUndelivered may put the dropped item back",
  "wait: put() into a full queue waits",
  "wait: put() into a rendezvous without a taker waits",
  "wait: tryPut() into a full queue is false",
  "wait: tryPut() into a rendezvous without a taker is false",
  "wait: putMany() into a full queue waits",
  "wait: putMany() into a rendezvous without a taker waits",
  "wait: writer.write() into a full queue waits",
  "wait: writer.write() into a rendezvous without a taker waits",
  "wait: an item with a get that waits never overflows",
  "wait: an unbounded queue never overflows",
  "reject: put() into a full queue rejects with the item",
  "reject: put() into a rendezvous without a taker rejects with the item",
  "reject: tryPut() into a full queue is false",
  "reject: tryPut() into a rendezvous without a taker is false",
  "reject: putMany() into a full queue rejects with the item",
  "reject: putMany() into a rendezvous without a taker rejects with the item",
  "reject: writer.write() into a full queue rejects with the item",
  "reject: writer.write() into a rendezvous without a taker rejects with the item",
  "reject: an item with a get that waits never overflows",
  "reject: an unbounded queue never overflows",
  "drop-oldest: put() into a full queue fulfils",
  "drop-oldest: put() into a rendezvous without a taker fulfils",
  "drop-oldest: tryPut() into a full queue is true",
  "drop-oldest: tryPut() into a rendezvous without a taker is true",
  "drop-oldest: putMany() into a full queue fulfils",
  "drop-oldest: putMany() into a rendezvous without a taker fulfils",
  "drop-oldest: writer.write() into a full queue fulfils",
  "drop-oldest: writer.write() into a rendezvous without a taker fulfils",
  "drop-oldest: an item with a get that waits never overflows",
  "drop-oldest: an unbounded queue never overflows",
  "drop-newest: put() into a full queue fulfils",
  "drop-newest: put() into a rendezvous without a taker fulfils",
  "drop-newest: tryPut() into a full queue is false",
  "drop-newest: tryPut() into a rendezvous without a taker is false",
  "drop-newest: putMany() into a full queue fulfils",
  "drop-newest: putMany() into a rendezvous without a taker fulfils",
  "drop-newest: writer.write() into a full queue fulfils",
  "drop-newest: writer.write() into a rendezvous without a taker fulfils",
  "drop-newest: an item with a get that waits never overflows",
  "drop-newest: an unbounded queue never overflows",
  "drop-oldest makes way by as many items as it takes",
  "drop-oldest stops as soon as there is room",
  "drop-oldest drops the oldest stored, whatever comes out first",
  "a queue lowered under a dropping policy drops with the next put",
  "putMany() under a dropping policy puts in all there are",
  "putMany() under reject stops at the first that finds no room",
  "a writer whose write was rejected for room goes on writing",
  "an item dropped by put() counts as put, one kept by tryPut() does not",
  "a QueueFullError says what the room was",
];

/** An item weighs what it takes in the ring; there is no `size`. */
const SIZES: readonly string[] = [
  "a heavy item that waits is not overtaken by light ones",
  "a chunk that cannot be put ends the pipe and fails the queue",
  "what size throws rejects the put and changes nothing",
  "an item that size refuses is not given to a waiting get",
  "a size of -1 is a RangeError",
  "a size of NaN is a RangeError",
  "a size of Infinity is a RangeError",
  'a size of "1" is a RangeError',
  "a size of undefined is a RangeError",
  "a size of null is a RangeError",
  "size is asked once for each item, in order of the puts",
  "size may close the queue: its put is refused",
  "size may abort the queue: its put rejects with the reason",
  "size may put: the room it takes is gone",
  "size may take and clear: the put goes on",
  "size may get: the item goes to that get",
  "desiredSize counts down by what is stored and what waits",
  "one heavy item may overshoot the bound",
  "a light item waits until enough weight is taken",
  "weightless items never fill the queue",
  "the strategies of the platform are options",
  "raising the bound lets in no more than it has room for",
];

/** An item is in the ring before anybody has it, so the bound is a whole number from 1. */
const RENDEZVOUS: readonly string[] = [
  "resizing down to nothing loses nothing",
  "cancelling the last waiting put lets a closing queue end",
  "a stream into a rendezvous has room for one until it is taken",
  "a pipe into a rendezvous moves",
  "a pipe from queue to queue moves, also into a rendezvous",
  "300 gets and puts cancelled oldest first leave nobody in line",
  "300 gets and puts cancelled youngest first leave nobody in line",
  "300 gets and puts cancelled a mixed order of first leave nobody in line",
  "an undefined that waits to be put is an item",
  "an undefined that is refused travels with the error",
  "a rendezvous stores nothing: put() waits for its taker",
  "tryPut() into a rendezvous needs a get that waits",
  "a rendezvous takes from the put that has waited longest",
  "a rendezvous takes one put for each get",
  "a weightless item waits for its taker in a rendezvous, too",
  "a bound of a fraction lets items in while anything of it is left",
  "a rendezvous made larger stores what waits",
  "a queue lowered to 0 is a rendezvous once it is empty",
  "40,000 are cancelled at once by a signal they share",
  "40,000 are cancelled one by one, youngest first",
];

/** It has no join(), stats of its own, and lets go of a handle where a queue is disposed of. */
const OTHERS: readonly string[] = [
  "disposal reports what is left",
  "abort() rejects everything that waits with its reason",
  "disposal settles everything that waits",
  "an item handed to a waiting get is never stored",
];

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
  differs: [...OVERFLOW, ...SIZES, ...RENDEZVOUS, ...OTHERS],
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
