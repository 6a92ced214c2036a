/**
 * The same work with 10 to 10,000 of something: what is flat (P10) takes as long
 * with 10,000 as with 10, but for the memory that is touched.
 *
 * @module
 */

import {
  balance,
  Broadcast,
  consume,
  type Delivery,
  merge,
  mergeSorted,
  monitor,
  partition,
  Queue,
  select,
  tee,
  WorkStealingQueue,
  zip,
} from "../../mod.ts";
import { dashboard } from "../../src/dashboard.ts";

/** How many there are. */
export const SIZES: readonly number[] = [10, 100, 1000, 10_000];

/** How many items a run moves: each of 10,000 one, of 10 a thousand. */
export const MOVED = 10_000;

/** Moves {@linkcode MOVED} items and tells how many came out. May be called again. */
export type Move = () => Promise<number>;

/** Sets everything up, which is not measured. */
export type Setting = (many: number) => Move;

/** By what there are many of. */
export const SETTINGS: Readonly<Record<string, Setting>> = {
  "plain queues, put and get": (many) => {
    const queues = queuesOf(many);
    return async () => {
      let count = 0;
      for (let item = 0; item < MOVED; item++) {
        const queue = queues[item % many]!;
        await queue.put(item);
        await queue.get();
        count++;
      }
      return count;
    };
  },

  "bare promises that are waited for (the limit)": (many) => {
    const tally = new Tally();
    const resolvers: ((item: number) => void)[] = [];
    for (let index = 0; index < many; index++) {
      void (async () => {
        while (true) {
          await new Promise<number>((resolve) => resolvers[index] = resolve);
          tally.add();
        }
      })();
    }
    return async () => {
      for (let item = 0; item < MOVED; item++) {
        resolvers[item % many]!(item);
        await undefined;
        await undefined;
      }
      return tally.reached(MOVED);
    };
  },

  "lanes with a get that waits, put without a lane": (many) => {
    const queue = new WorkStealingQueue<number>({ lanes: many });
    const tally = new Tally();
    for (let lane = 0; lane < many; lane++) tally.drain(queue.lane(lane));
    return async () => {
      for (let item = 0; item < MOVED; item++) await queue.put(item);
      return tally.reached(MOVED);
    };
  },

  "lanes, put without a lane, get from each in turn": (many) => {
    const queue = new WorkStealingQueue<number>({ lanes: many });
    return async () => {
      let count = 0;
      for (let item = 0; item < MOVED; item++) {
        await queue.put(item);
        await queue.lane(item % many).get();
        count++;
      }
      return count;
    };
  },

  "lanes that are closed": (many) => async () => {
    let count = 0;
    for (let times = 0; times < MOVED / many; times++) {
      const queue = new WorkStealingQueue<number>({ lanes: many });
      const ends: Promise<unknown>[] = [];
      for (let lane = 0; lane < many; lane++) {
        ends.push(queue.lane(lane).next());
      }
      queue.close();
      count += (await Promise.all(ends)).length;
    }
    return count;
  },

  "subscribers of a Broadcast that wait": (many) => {
    const broadcast = new Broadcast<number>();
    const tally = new Tally();
    for (let index = 0; index < many; index++) {
      tally.read(broadcast.subscribe());
    }
    return async () => {
      for (let item = 0; item < MOVED / many; item++) await broadcast.put(item);
      return tally.reached(MOVED);
    };
  },

  "branches of tee": (many) => {
    const source = new Queue<number>();
    const tally = new Tally();
    for (const branch of tee(source, many)) tally.read(branch);
    return async () => {
      for (let item = 0; item < MOVED / many; item++) await source.put(item);
      return tally.reached(MOVED);
    };
  },

  "branches of partition": (many) => {
    const source = new Queue<number>();
    const tally = new Tally();
    for (const branch of partition(source, many, (item) => item)) {
      tally.read(branch);
    }
    return async () => {
      for (let item = 0; item < MOVED; item++) await source.put(item);
      return tally.reached(MOVED);
    };
  },

  "branches of balance": (many) => {
    const source = new Queue<number>();
    const tally = new Tally();
    for (const branch of balance(source, many)) tally.read(branch);
    return async () => {
      for (let item = 0; item < MOVED; item++) await source.put(item);
      return tally.reached(MOVED);
    };
  },

  "sources of merge": (many) => {
    const queues = queuesOf(many);
    const tally = new Tally();
    tally.read(merge(queues));
    return async () => {
      for (let item = 0; item < MOVED; item++) {
        await queues[item % many]!.put(item);
      }
      return tally.reached(MOVED);
    };
  },

  "sources of mergeSorted": (many) => {
    const queues = queuesOf(many);
    const tally = new Tally();
    tally.read(mergeSorted(queues, (one, other) => one - other));
    // One of each is held, and the last of each is never known to be next.
    for (const queue of queues) void queue.put(-1);
    let first = 0;
    return async () => {
      for (let item = 0; item < MOVED; item++) {
        await queues[item % many]!.put(first + Math.floor(item / many));
      }
      first += MOVED / many;
      return tally.reached(MOVED);
    };
  },

  "sources of zip": (many) => {
    const queues = queuesOf(many);
    const reader = zip(...queues).getReader();
    return async () => {
      let count = 0;
      for (let times = 0; times < MOVED / many; times++) {
        const tuple = reader.read();
        for (const queue of queues) await queue.put(times);
        count += (await tuple).value!.length;
      }
      return count;
    };
  },

  "queues of select, in which items lie": (many) => {
    const queues = queuesOf(many);
    for (const queue of queues) queue.tryPut(0);
    return async () => {
      let count = 0;
      for (let times = 0; times < MOVED / many; times++) {
        const { queue, item } = await select(queues);
        await queue.put(item);
        count += many;
      }
      return count;
    };
  },

  "queues of select, all empty": (many) => {
    const queues = queuesOf(many);
    return async () => {
      let count = 0;
      for (let times = 0; times < MOVED / many; times++) {
        const selected = select(queues);
        await queues[times % many]!.put(times);
        await selected;
        count += many;
      }
      return count;
    };
  },

  "keys of consume": (many) => async () => {
    const queue = new Queue<number>({ highWaterMark: Infinity });
    for (let item = 0; item < MOVED; item++) queue.tryPut(item);
    queue.close();
    const { processed } = await consume(queue, () => {}, {
      concurrency: 16,
      keyOf: (item) => item % many,
    });
    return processed;
  },

  "calls of consume under way": (many) => {
    const queue = new Queue<number>();
    const ends: (() => void)[] = [];
    const tally = new Tally();
    void consume(
      queue,
      () => {
        tally.add();
        return new Promise<void>((resolve) => void ends.push(resolve));
      },
      { concurrency: many },
    );
    return async () => {
      for (let item = 0; item < MOVED; item++) {
        await queue.put(item);
        if (ends.length === many) { for (const end of ends.splice(0)) end(); }
      }
      for (const end of ends.splice(0)) end();
      return tally.reached(MOVED);
    };
  },

  "leases that are open": (many) => {
    const queue = new Queue<number>();
    const open: Delivery<number>[] = [];
    for (let item = 0; item < many; item++) {
      queue.tryPut(item);
      open.push(queue.tryReceive()!);
    }
    return async () => {
      let count = 0;
      for (let item = 0; item < MOVED; item++) {
        await queue.put(item);
        const delivery = await queue.receive({ visibility: 60_000 });
        if (delivery.ack()) count++;
      }
      return count;
    };
  },

  "producers": (many) => {
    const queue = new Queue<number>();
    const tally = new Tally();
    tally.drain(queue);
    const writers = Array.from(
      { length: many },
      () => queue.producer().getWriter(),
    );
    return async () => {
      for (let item = 0; item < MOVED; item++) {
        await writers[item % many]!.write(item);
      }
      return tally.reached(MOVED);
    };
  },

  "producers that come and go": (many) => {
    const queue = new Queue<number>();
    const tally = new Tally();
    tally.drain(queue);
    for (let index = 0; index < many; index++) queue.producer();
    return async () => {
      for (let item = 0; item < MOVED; item++) {
        const writer = queue.producer().getWriter();
        await writer.write(item);
        await writer.close();
      }
      return tally.reached(MOVED);
    };
  },

  "consumers that wait": (many) => {
    const queue = new Queue<number>();
    const tally = new Tally();
    for (let index = 0; index < many; index++) tally.read(queue.consumer());
    return async () => {
      for (let item = 0; item < MOVED; item++) await queue.put(item);
      return tally.reached(MOVED);
    };
  },

  "signals that gets wait with, the newest aborted": (many) => {
    const queue = new Queue<number>();
    for (let index = 0; index < many; index++) {
      queue.get({ signal: new AbortController().signal }).catch(() => {});
    }
    return async () => {
      let count = 0;
      for (let times = 0; times < MOVED; times++) {
        const giveUp = new AbortController();
        const get = queue.get({ signal: giveUp.signal });
        giveUp.abort();
        await get.catch(() => count++);
      }
      return count;
    };
  },

  "gets that wait with one signal": (many) => {
    const queue = new Queue<number>();
    return async () => {
      let count = 0;
      for (let times = 0; times < MOVED / many; times++) {
        const giveUp = new AbortController();
        const { signal } = giveUp;
        // Handled before they reject: Deno searches all that are not.
        const gets = Promise.allSettled(
          Array.from({ length: many }, () => queue.get({ signal })),
        );
        giveUp.abort();
        for (const { status } of await gets) {
          if (status === "rejected") count++;
        }
      }
      return count;
    };
  },

  "queues under one monitor": (many) => {
    const queues = queuesOf(many);
    return async () => {
      let count = 0;
      const samples = monitor(queues, { interval: 1 }).getReader();
      for (; count < MOVED; count++) await samples.read();
      await samples.cancel();
      return count;
    };
  },

  "queues of one dashboard, metrics": (many) => {
    const answer = dashboard(queuesOf(many));
    return async () => {
      let count = 0;
      for (let times = 0; times < MOVED / many; times++) {
        const request = new Request("http://localhost/metrics");
        const text = await (await answer(request)).text();
        count += text.split("\n").filter((line) =>
          line.startsWith("highwater_queue_length{")
        ).length;
      }
      return count;
    };
  },
};

function queuesOf(many: number): Queue<number>[] {
  return Array.from(
    { length: many },
    (_, index) => new Queue<number>({ name: `queue ${index}` }),
  );
}

/** Counts what any number of consumers get. */
class Tally {
  #count = 0;
  #awaited = Infinity;
  #tell: (count: number) => void = () => {};

  add(): void {
    this.#count++;
    if (this.#count < this.#awaited) return;
    this.#awaited = Infinity;
    this.#tell(this.#count);
  }

  async drain(items: AsyncIterable<number>): Promise<void> {
    for await (const _ of items) this.add();
  }

  async read(stream: ReadableStream<unknown>): Promise<void> {
    const reader = stream.getReader();
    while (!(await reader.read()).done) this.add();
  }

  /** Waits for so many more than were told the last time. */
  async reached(count: number): Promise<number> {
    const reached = this.#count >= count
      ? this.#count
      : await new Promise<number>((resolve) => {
        this.#awaited = count;
        this.#tell = resolve;
      });
    this.#count -= count;
    return reached;
  }
}
