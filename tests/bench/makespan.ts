/**
 * How long workers take for tasks of known cost, on a clock that only counts,
 * so that the figures do not depend on the machine.
 *
 * @module
 */

import { Queue, WorkStealingQueue } from "../../mod.ts";
import { turn } from "../support/properties.ts";

/** Something to do. */
export interface Task {
  /** The worker it was meant for. */
  readonly lane: number;
  /** How many ticks of the clock it takes. */
  readonly cost: number;
}

/** When the last of the tasks was done, and that each was done once. */
export interface Makespan {
  readonly ticks: number;
  readonly done: number;
}

/** Numbers from 0 to 1 that are the same in every run. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Tasks of 1 to 10 ticks; of `share` = 0.9 lane 0 gets 90 %, the others the rest in turn. */
export function tasks(count: number, lanes: number, share: number): Task[] {
  const random = seeded(count);
  const skewed = share > 1 / lanes;
  return Array.from({ length: count }, (_, index) => ({
    lane: !skewed
      ? index % lanes
      : random() < share
      ? 0
      : 1 + Math.floor(random() * (lanes - 1)),
    cost: 1 + Math.floor(random() * 10),
  }));
}

/** All workers take from one queue. */
export function shared(work: Task[], lanes: number): Promise<Makespan> {
  const queue = new Queue<Task>({ highWaterMark: 64 });
  return simulate(
    Array.from({ length: lanes }, () => queue),
    queue.putMany(work).then(() => queue.close()),
  );
}

/** Each worker has a queue of its own and nothing else. */
export function separate(work: Task[], lanes: number): Promise<Makespan> {
  const queues = Array.from(
    { length: lanes },
    () => new Queue<Task>({ highWaterMark: 64 }),
  );
  return simulate(
    queues,
    Promise.all(queues.map(async (queue, lane) => {
      await queue.putMany(work.filter((task) => task.lane === lane));
      queue.close();
    })),
  );
}

/** Each worker has a lane and takes from the others when it is empty. */
export function stealing(
  work: Task[],
  lanes: number,
  options: { steal?: "half" | "one"; victim?: "longest" | "random" } = {},
): Promise<Makespan> {
  const queue = new WorkStealingQueue<Task>({
    ...options,
    lanes,
    highWaterMark: 64,
    random: seeded(1),
  });
  const all = Array.from({ length: lanes }, (_, lane) => queue.lane(lane));
  return simulate(
    all,
    Promise.all(all.map(async (lane, index) => {
      await lane.putMany(work.filter((task) => task.lane === index));
      lane.close();
    })),
  );
}

async function simulate(
  sources: AsyncIterable<Task>[],
  putting: Promise<unknown>,
): Promise<Makespan> {
  const clock = new CountingClock();
  let done = 0;
  let working = true;
  const all = Promise.all(sources.map(async (source) => {
    for await (const { cost } of source) {
      await clock.wait(cost);
      done++;
    }
  })).then(() => working = false);
  while (working) await clock.advance();
  await Promise.all([all, putting]);
  return { ticks: clock.now, done };
}

class CountingClock {
  now = 0;
  #alarms: { at: number; ring: () => void }[] = [];

  wait(ticks: number): Promise<void> {
    return new Promise((ring) => {
      this.#alarms.push({ at: this.now + ticks, ring });
    });
  }

  /** Lets everything happen that is due now, then goes on to the next alarm. */
  async advance(): Promise<void> {
    await turn();
    if (this.#alarms.length === 0) return;
    this.now = Math.min(...this.#alarms.map(({ at }) => at));
    const due = this.#alarms.filter(({ at }) => at === this.now);
    this.#alarms = this.#alarms.filter(({ at }) => at !== this.now);
    for (const { ring } of due) ring();
  }
}
