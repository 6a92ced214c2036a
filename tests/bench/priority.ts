/**
 * Priorities beside other heaps and queues, all put and all got, and at a depth.
 *
 * @module
 */

import { PriorityQueue as DatastructuresQueue } from "@datastructures-js/priority-queue";
import async from "async";
import { Heap as HeapJs } from "heap-js";
import { spawnSync } from "node:child_process";
import PQueue from "p-queue";
import { PriorityQueue } from "../../mod.ts";
import { ignore } from "../support/waiting.ts";
import { ITEMS, type Row } from "./rows.ts";

const priorities = Float64Array.from({ length: 1_000_000 }, Math.random);

/** What a priority queue does without waiting; the smallest number first. */
interface Ranked {
  put(item: number, priority: number): unknown;
  get(): number | undefined;
}

interface Prioritized {
  item: number;
  priority: number;
}

function byPriority(one: Prioritized, other: Prioritized): number {
  return one.priority - other.priority;
}

function ownRanked(): Ranked {
  const queue = new PriorityQueue<number>({ highWaterMark: Infinity });
  return {
    put: (item, priority) => queue.tryPut(item, { priority }),
    get: () => queue.tryGet(),
  };
}

function datastructuresRanked(): Ranked {
  const queue = new DatastructuresQueue<Prioritized>(byPriority);
  return {
    put: (item, priority) => queue.enqueue({ item, priority }),
    get: () => queue.dequeue()?.item,
  };
}

function heapJsRanked(): Ranked {
  const heap = new HeapJs<Prioritized>(byPriority);
  return {
    put: (item, priority) => heap.push({ item, priority }),
    get: () => heap.pop()?.item,
  };
}

/** p-queue's own PriorityQueue; its package does not export it, so it is there only where npm has installed p-queue. */
interface PQueueRanked {
  enqueue(run: unknown, options: { priority: number }): void;
  dequeue(): unknown;
}

async function findPQueueRanked(): Promise<(() => Ranked) | undefined> {
  const url = new URL(
    "../../node_modules/p-queue/dist/priority-queue.js",
    import.meta.url,
  ).href;
  let RankedQueue: new () => PQueueRanked;
  try {
    RankedQueue = (await import(url)).default;
  } catch {
    console.error(
      "p-queue's PriorityQueue is left out: `deno task tools` installs it.",
    );
    return undefined;
  }
  return () => {
    const queue = new RankedQueue();
    return {
      // The largest number first there.
      put: (item, priority) => queue.enqueue(item, { priority: -priority }),
      get: () => queue.dequeue() as number | undefined,
    };
  };
}

function heldAtDepth(queue: Ranked): Ranked {
  for (const priority of priorities.subarray(0, 10_000)) {
    queue.put(priority, priority);
  }
  return queue;
}

/** Items are their own priorities, so that their order can be checked. */
function putAllGetAll(queue: Ranked, items: number): number {
  for (let at = 0; at < items; at++) {
    queue.put(priorities[at]!, priorities[at]!);
  }
  return inOrder(items, () => queue.get()!);
}

/** How many come, up to the first that is out of order. */
function inOrder(items: number, get: () => number): number {
  let last = -Infinity;
  for (let count = 0; count < items; count++) {
    const item = get();
    if (!(item >= last)) return count;
    last = item;
  }
  return items;
}

function atDepth(queue: Ranked): number {
  let count = 0;
  for (let at = 0; at < ITEMS; at++) {
    queue.put(priorities[at]!, priorities[at]!);
    if (queue.get() !== undefined) count++;
  }
  return count;
}

async function asyncPriorityQueue(items: number): Promise<number> {
  const taken: number[] = [];
  const queue = async.priorityQueue<number>(
    (item: number, done: () => void) => {
      taken.push(item);
      done();
    },
    1,
  );
  queue.pause();
  const drained = queue.drain();
  for (let at = 0; at < items; at++) {
    // With a callback it makes no promise for each.
    queue.push(priorities[at]!, priorities[at]!, ignore);
  }
  queue.resume();
  await drained;
  let at = 0;
  return inOrder(taken.length, () => taken[at++]!);
}

async function pQueueTasks(items: number): Promise<number> {
  const taken: number[] = [];
  const queue = new PQueue({ concurrency: 1, autoStart: false });
  for (const priority of priorities.subarray(0, items)) {
    queue.add(() => void taken.push(priority), { priority: -priority });
  }
  queue.start();
  await queue.onIdle();
  let at = 0;
  return inOrder(taken.length, () => taken[at++]!);
}

const ASYNCIO = `
import asyncio, random, time
async def main(items):
    keys = [random.random() for _ in range(items)]
    queue = asyncio.PriorityQueue()
    start = time.perf_counter()
    for key in keys: queue.put_nowait((key, key))
    got = [queue.get_nowait()[1] for _ in range(items)]
    spent = time.perf_counter() - start
    assert got == sorted(keys)
    print(f"{items:,} random priorities: asyncio.PriorityQueue {spent * 1000:.0f} ms")
for items in (80_000, 1_000_000): asyncio.run(main(items))
`;

/** Python counts for itself; on standard error, which leaves a report in JSON alone. */
export function measureAsyncio(): void {
  const { error, status, stdout, stderr } = spawnSync(
    "python3",
    ["-c", ASYNCIO],
    { encoding: "utf8", timeout: 60_000 },
  );
  if (error !== undefined) {
    console.error(`asyncio.PriorityQueue is left out: ${error.message}`);
  } else if (status !== 0) throw new Error(`asyncio.PriorityQueue: ${stderr}`);
  else console.error(stdout.trim());
}

/** The rows. */
export async function priorityRows(): Promise<Row[]> {
  const pQueueRanked = await findPQueueRanked();
  const ranked: [string, () => Ranked][] = [
    ["PriorityQueue", ownRanked],
    ["@datastructures-js/priority-queue, not stable", datastructuresRanked],
    ["heap-js, not stable", heapJsRanked],
  ];
  if (pQueueRanked !== undefined) {
    ranked.push(["p-queue, PriorityQueue", pQueueRanked]);
  }
  const deep = ranked.map((
    [name, make],
  ): [string, Ranked] => [name, heldAtDepth(make())]);
  return [
    ...[80_000, 1_000_000].flatMap((items) =>
      ranked
        // p-queue moves half of what is stored with each put: minutes for a million.
        .filter(([, make]) => items === 80_000 || make !== pQueueRanked)
        .map(([name, make]): Row => ({
          group: `${items} random priorities, put all, get all`,
          name,
          baseline: make === ownRanked,
          items,
          run: () => putAllGetAll(make(), items),
        }))
    ),
    {
      group: "80000 random priorities, put all, get all",
      name: "async.priorityQueue, tasks",
      items: 80_000,
      run: () => asyncPriorityQueue(80_000),
    },
    {
      group: "80000 random priorities, put all, get all",
      name: "p-queue, tasks",
      items: 80_000,
      run: () => pQueueTasks(80_000),
    },
    ...deep.map(([name, queue]): Row => ({
      group: "random priorities at depth 10000, put and get",
      name,
      baseline: name === "PriorityQueue",
      run: () => atDepth(queue),
    })),
  ];
}
