/**
 * The same work with 10 to 10,000 of something. What is flat (P10) takes as long
 * with 10,000 as with 10, but that more memory is touched: how much that costs is
 * what a control beside it shows.
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
import type { Clock } from "../../src/clock.ts";
import { dashboard } from "../../src/dashboard.ts";
import { hashOf } from "../../src/flow/partition.ts";

/** How many items a run moves: each of 10,000 one, of 10 a thousand. */
const MOVED = 10_000;

/** So many rounds are measured, after the first few; the best counts. */
const ROUNDS = 15;
const WARM_UP = 2;

/** How much more than its control something may grow in a run that others disturb. */
const TOLERANCE = 1.5;

/** Moves {@linkcode MOVED} items and tells how many came out. May be called again. */
type Move = () => Promise<number>;

/** Sets everything up, which is not measured. */
type Setting = (many: number) => Move;

/** What there may be many of. */
interface Growing {
  name: string;
  setting: Setting;
  /** What is flat as far as the memory allows: as many objects, used in the same order. */
  controls?: readonly (keyof typeof CONTROLS)[];
  /** 10 in place of another number. */
  few?: number;
}

const CONTROLS = {
  "bare promises that wait, settled all at once": (many: number): Move => {
    const tally = new Tally();
    async function wait(promise: Promise<void>): Promise<void> {
      await promise;
      tally.add();
    }
    return async () => {
      for (let times = 0; times < MOVED / many; times++) {
        const ends: (() => void)[] = [];
        for (let index = 0; index < many; index++) {
          void wait(new Promise((resolve) => void ends.push(resolve)));
          await undefined;
        }
        for (const end of ends) end();
        await tally.reached(many);
      }
      return MOVED;
    };
  },

  "plain queues, put and get in turn": (many: number): Move =>
    plainQueues(many, inTurn(many)),

  "plain queues, put and get in mixed order": (many: number): Move =>
    plainQueues(many, mixed(many)),

  "plain queues with a get that waits, in turn": (many: number): Move => {
    const queues = queuesOf(many);
    const tally = new Tally();
    for (const queue of queues) tally.drain(queue);
    return async () => {
      for (let item = 0; item < MOVED; item++) {
        await queues[item % many]!.put(item);
        await tally.reached(1);
      }
      return MOVED;
    };
  },

  "plain queues with a reader that waits, in turn": (many: number): Move =>
    readQueues(many, inTurn(many)),

  "plain queues with a reader that waits, in mixed order": (
    many: number,
  ): Move => readQueues(many, mixed(many)),

  "plain queues with a reader that waits, all at once": (
    many: number,
  ): Move => {
    const queues = queuesOf(many);
    const tally = new Tally();
    for (const { readable } of queues) tally.read(readable);
    return async () => {
      for (let item = 0; item < MOVED / many; item++) {
        for (const queue of queues) queue.tryPut(item);
        await tally.reached(many);
      }
      return MOVED;
    };
  },

  "plain queues that are written to, in turn": (many: number): Move => {
    const queues = queuesOf(many);
    const tally = new Tally();
    for (const queue of queues) tally.drain(queue);
    const writers = queues.map(({ writable }) => writable.getWriter());
    return async () => {
      for (let item = 0; item < MOVED; item++) {
        await writers[item % many]!.write(item);
        await tally.reached(1);
      }
      return MOVED;
    };
  },

  "plain queues that are closed": (many: number): Move => async () => {
    let count = 0;
    for (let times = 0; times < MOVED / many; times++) {
      const queues = queuesOf(many);
      const ends = queues.map((queue) => queue.next());
      for (const queue of queues) queue.close();
      count += (await Promise.all(ends)).length;
    }
    return count;
  },

  "plain queues, stats() of each": (many: number): Move => {
    const queues = queuesOf(many);
    return async () => {
      let count = 0;
      for (let times = 0; times < MOVED / many; times++) {
        const all = queues.map((queue) => queue.stats());
        await undefined;
        count += all.filter(({ length }) => length === 0).length;
      }
      return count;
    };
  },

  "plain queues, length and an entry in a WeakMap of each": (
    many: number,
  ): Move => {
    const queues = queuesOf(many);
    const entries = new WeakMap(queues.map((queue) => [queue, 0]));
    return async () => {
      let count = 0;
      for (let times = 0; times < MOVED / many; times++) {
        await undefined;
        for (const queue of queues) {
          if (queue.length === entries.get(queue)) count++;
        }
      }
      return count;
    };
  },

  "native readables that are read, in turn": (many: number): Move =>
    nativeReadables(many, inTurn(many)),

  "native readables that are read, in the same mixed order": (
    many: number,
  ): Move => nativeReadables(many, mixed(many)),

  "native readables that are read, all at once": (many: number): Move => {
    const tally = new Tally();
    const controllers = readNatively(many, tally);
    return async () => {
      for (let item = 0; item < MOVED / many; item++) {
        for (const controller of controllers) controller.enqueue(item);
        await tally.reached(many);
      }
      return MOVED;
    };
  },

  "native writables, in turn": (many: number): Move => {
    let count = 0;
    const write = (): void => void count++;
    const writers = Array.from(
      { length: many },
      () => new WritableStream<number>({ write }).getWriter(),
    );
    return async () => {
      count = 0;
      for (let item = 0; item < MOVED; item++) {
        await writers[item % many]!.write(item);
      }
      return count;
    };
  },
} satisfies Record<string, Setting>;

/** Which of them an item goes to. */
type Order = Uint16Array;

function inTurn(many: number): Order {
  return Uint16Array.from({ length: MOVED }, (_, item) => item % many);
}

/** As `partition` mixes them. */
function mixed(many: number): Order {
  return Uint16Array.from({ length: MOVED }, (_, item) => hashOf(item) % many);
}

function plainQueues(many: number, order: Order): Move {
  const queues = queuesOf(many);
  return async () => {
    let count = 0;
    for (let item = 0; item < MOVED; item++) {
      const queue = queues[order[item]!]!;
      await queue.put(item);
      await queue.get();
      count++;
    }
    return count;
  };
}

function readQueues(many: number, order: Order): Move {
  const queues = queuesOf(many);
  const tally = new Tally();
  for (const { readable } of queues) tally.read(readable);
  return async () => {
    for (let item = 0; item < MOVED; item++) {
      await queues[order[item]!]!.put(item);
      await tally.reached(1);
    }
    return MOVED;
  };
}

function ownLanes(many: number, order: Order): Move {
  const queue = new WorkStealingQueue<number>({ lanes: many });
  return async () => {
    let count = 0;
    for (let item = 0; item < MOVED; item++) {
      const lane = queue.lane(order[item]!);
      await lane.put(item);
      await lane.get();
      count++;
    }
    return count;
  };
}

function nativeReadables(many: number, order: Order): Move {
  const tally = new Tally();
  const controllers = readNatively(many, tally);
  return async () => {
    for (let item = 0; item < MOVED; item++) {
      controllers[order[item]!]!.enqueue(item);
      await tally.reached(1);
    }
    return MOVED;
  };
}

function readNatively(
  many: number,
  tally: Tally,
): ReadableStreamDefaultController<number>[] {
  const controllers: ReadableStreamDefaultController<number>[] = [];
  for (let index = 0; index < many; index++) {
    const start = (
      controller: ReadableStreamDefaultController<number>,
    ): void => void controllers.push(controller);
    tally.read(new ReadableStream<number>({ start }, { highWaterMark: 0 }));
  }
  return controllers;
}

const GROWING: readonly Growing[] = [
  {
    name: "plain queues",
    controls: ["native readables that are read, in turn"],
    setting: CONTROLS["plain queues, put and get in turn"],
  },

  {
    name: "lanes, put and get in each in turn",
    controls: ["plain queues, put and get in turn"],
    few: 4,
    setting: (many) => ownLanes(many, inTurn(many)),
  },

  {
    name: "lanes, put and get in each in mixed order",
    controls: ["plain queues, put and get in mixed order"],
    few: 4,
    setting: (many) => ownLanes(many, mixed(many)),
  },

  {
    name: "lanes with a get that waits, put without a lane",
    controls: ["plain queues with a get that waits, in turn"],
    few: 4,
    setting: (many) => {
      const queue = new WorkStealingQueue<number>({ lanes: many });
      const tally = new Tally();
      for (let lane = 0; lane < many; lane++) tally.drain(queue.lane(lane));
      return async () => {
        for (let item = 0; item < MOVED; item++) {
          await queue.put(item);
          await tally.reached(1);
        }
        return MOVED;
      };
    },
  },

  {
    name: "lanes, put without a lane, get from each in turn",
    controls: ["plain queues, put and get in turn"],
    few: 4,
    setting: (many) => {
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
  },

  {
    name: "lanes that are closed",
    controls: ["plain queues that are closed"],
    few: 4,
    setting: (many) => async () => {
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
  },

  {
    name: "subscribers of a Broadcast that wait",
    controls: [
      "native readables that are read, all at once",
      "plain queues with a reader that waits, all at once",
    ],
    setting: (many) => {
      const broadcast = new Broadcast<number>();
      const tally = new Tally();
      for (let index = 0; index < many; index++) {
        tally.read(broadcast.subscribe());
      }
      return async () => {
        for (let item = 0; item < MOVED / many; item++) {
          await broadcast.put(item);
          await tally.reached(many);
        }
        return MOVED;
      };
    },
  },

  {
    name: "branches of tee",
    controls: ["native readables that are read, all at once"],
    setting: (many) => {
      const source = new Queue<number>();
      const tally = new Tally();
      for (const branch of tee(source, many)) tally.read(branch);
      return async () => {
        for (let item = 0; item < MOVED / many; item++) {
          await source.put(item);
          await tally.reached(many);
        }
        return MOVED;
      };
    },
  },

  {
    name: "branches of partition",
    controls: [
      "native readables that are read, in the same mixed order",
      "plain queues with a reader that waits, in mixed order",
    ],
    setting: (many) => {
      const source = new Queue<number>();
      const tally = new Tally();
      for (const branch of partition(source, many, (item) => item)) {
        tally.read(branch);
      }
      return async () => {
        for (let item = 0; item < MOVED; item++) {
          await source.put(item);
          await tally.reached(1);
        }
        return MOVED;
      };
    },
  },

  {
    name: "branches of balance",
    controls: [
      "native readables that are read, in turn",
      "plain queues with a reader that waits, in turn",
    ],
    setting: (many) => {
      const source = new Queue<number>();
      const tally = new Tally();
      for (const branch of balance(source, many)) tally.read(branch);
      return async () => {
        for (let item = 0; item < MOVED; item++) {
          await source.put(item);
          await tally.reached(1);
        }
        return MOVED;
      };
    },
  },

  {
    name: "sources of merge",
    controls: ["plain queues with a get that waits, in turn"],
    setting: (many) => {
      const queues = queuesOf(many);
      const tally = new Tally();
      tally.read(merge(queues));
      return async () => {
        for (let item = 0; item < MOVED; item++) {
          await queues[item % many]!.put(item);
          await tally.reached(1);
        }
        return MOVED;
      };
    },
  },

  {
    name: "sources of mergeSorted",
    controls: ["plain queues with a get that waits, in turn"],
    setting: (many) => {
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
  },

  {
    name: "sources of zip",
    controls: ["plain queues, put and get in turn"],
    setting: (many) => {
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
  },

  {
    name: "queues of select, in which items lie",
    controls: ["plain queues, length and an entry in a WeakMap of each"],
    setting: (many) => {
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
  },

  {
    name: "queues of select, all empty",
    controls: ["plain queues, put and get in turn"],
    setting: (many) => {
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
  },

  {
    name: "keys of consume",
    setting: (many) => async () => {
      const queue = new Queue<number>({ highWaterMark: Infinity });
      for (let item = 0; item < MOVED; item++) queue.tryPut(item);
      queue.close();
      const { processed } = await consume(queue, () => {}, {
        concurrency: 16,
        keyOf: (item) => item % many,
      });
      return processed;
    },
  },

  {
    name: "calls of consume under way",
    controls: ["bare promises that wait, settled all at once"],
    setting: (many) => {
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
  },

  {
    name: "leases that are open",
    setting: (many) => {
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
  },

  {
    name: "producers",
    controls: [
      "native writables, in turn",
      "plain queues that are written to, in turn",
    ],
    setting: (many) => {
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
  },

  {
    name: "producers that come and go",
    setting: (many) => {
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
  },

  {
    name: "consumers that wait",
    controls: [
      "native readables that are read, in turn",
      "plain queues with a reader that waits, in turn",
    ],
    setting: (many) => {
      const queue = new Queue<number>();
      const tally = new Tally();
      for (let index = 0; index < many; index++) tally.read(queue.consumer());
      return async () => {
        for (let item = 0; item < MOVED; item++) {
          await queue.put(item);
          await tally.reached(1);
        }
        return MOVED;
      };
    },
  },

  {
    name: "signals that gets wait with, the newest aborted",
    setting: (many) => {
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
  },

  {
    name: "gets that wait with one signal",
    setting: (many) => {
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
  },

  {
    name: "queues under one monitor",
    controls: ["plain queues, stats() of each"],
    setting: (many) => {
      const queues = queuesOf(many);
      return async () => {
        let count = 0;
        const samples = monitor(queues, { clock: new FastClock() }).getReader();
        for (; count < MOVED; count++) await samples.read();
        await samples.cancel();
        return count;
      };
    },
  },

  {
    name: "queues of one dashboard, metrics",
    controls: ["plain queues, stats() of each"],
    setting: (many) => {
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
  },
];

function queuesOf(many: number): Queue<number>[] {
  return Array.from(
    { length: many },
    (_, index) => new Queue<number>({ name: `queue ${index}` }),
  );
}

/** On which no time is spent waiting. */
class FastClock implements Clock {
  #now = 0;

  now(): number {
    return this.#now;
  }

  setTimer(callback: () => void, milliseconds: number): void {
    this.#now += milliseconds;
    queueMicrotask(callback);
  }

  clearTimer(): void {}
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

/** One line of the table: nanoseconds an item, by how many there are. */
interface Line {
  name: string;
  best: number[];
}

/** Measures all, or only what has one of the words in its name, and prints a table. */
export async function measureGrowth(words: readonly string[]): Promise<void> {
  const wanted = GROWING.filter(({ name }) =>
    words.length === 0 || words.some((word) => name.includes(word))
  );
  console.log(HEADER);
  for (const { name, setting, controls = [], few = 10 } of wanted) {
    const sizes = [few, 100, 1000, 10_000];
    const lines: Line[] = [{ name, best: [] }];
    const moves = [sizes.map(setting)];
    for (const control of controls) {
      lines.push({ name: `  = ${control}`, best: [] });
      moves.push(sizes.map(CONTROLS[control]));
    }
    for (let round = 0; round < WARM_UP + ROUNDS; round++) {
      for (let place = 0; place < sizes.length; place++) {
        for (const [index, { name, best }] of lines.entries()) {
          const time = await timeOf(moves[index]![place]!, name);
          if (round < WARM_UP) continue;
          best[place] = Math.min(best[place] ?? Infinity, time);
        }
      }
    }
    print(lines);
  }
}

async function timeOf(move: Move, name: string): Promise<number> {
  const start = performance.now();
  const count = await move();
  const end = performance.now();
  if (count !== MOVED) throw new Error(`${name}: ${count} instead of ${MOVED}`);
  return (end - start) * 1e6 / MOVED;
}

const HEADER = `
Nanoseconds an item, with 10 (of lanes: 4) to 10,000 of each; how that grows; and
under it, after "=", a control: as many of something simpler, used in the same order.

${row("", ["10", "100", "1,000", "10,000"], "grows")}`;

function print(lines: Line[]): void {
  const growths = lines.map(({ best }) => best.at(-1)! / best[0]!);
  const [own, ...others] = growths;
  const more = own! / Math.max(1, ...others);
  let verdict = `${more.toFixed(1)}x more than its control`;
  if (more <= TOLERANCE) verdict = "as its control";
  if (own! <= TOLERANCE) verdict = "flat";
  for (const [index, { name, best }] of lines.entries()) {
    const growth = `${growths[index]!.toFixed(1)}x`;
    const end = index === 0 ? `${growth}  ${verdict}` : growth;
    console.log(row(name, best.map((time) => time.toFixed(0)), end));
  }
}

function row(name: string, cells: string[], end: string): string {
  const numbers = cells.map((cell) => cell.padStart(8)).join("");
  return `${name.padEnd(64)}${numbers}   ${end}`;
}
