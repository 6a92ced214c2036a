/**
 * Adds up the sizes of the files below each folder of a folder, three times:
 * with one queue that all workers share, with a lane for each worker, and with
 * lanes that steal. Folders are uneven, so the lanes without stealing leave
 * workers idle while one still has most of the work.
 *
 * A worker is producer and consumer at once: what it finds goes into its own
 * lane. Waiting for room there could wait for itself for ever, so what finds no
 * room is done at once, in depth.
 *
 * @module
 */

import { Queue, WorkStealingQueue } from "@highwater/queue";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";

const HELP = `Usage: directory_sizes [options] [folder]

Adds up the files below each folder of a folder (default: the current one),
with a shared queue, with a lane for each worker, and with lanes that steal.
Links are not followed.

  --workers <n>  workers, and lanes (default: 4)
  --json         one JSON document on standard output
  --help         this text`;

/** A folder to read, and the top folder that its files count for. */
interface Task {
  path: string;
  top: string;
}

/** Where a worker gets its tasks, and puts those that it finds. */
interface Inbox extends AsyncIterable<Task> {
  tryPut(task: Task): boolean;
  taskDone(): void;
}

interface Plan {
  strategy: string;
  inboxes: Inbox[];
  /** Waits until all is done, and lets the workers end. */
  finish(): Promise<void>;
}

interface Outcome {
  strategy: string;
  /** Folders and files that each worker looked at. */
  perWorker: number[];
  milliseconds: number;
  bytes: Record<string, number>;
  unreadable: number;
}

const ROOM = 64;

const { folder, workers, json } = readSettings();
await checkFolder();
const outcomes: Outcome[] = [];
// The first to read warms the caches of the system for the others.
await run(sharedQueue());
for (const plan of [sharedQueue(), staticLanes(), stealingLanes()]) {
  outcomes.push(await run(plan));
}
report();

function sharedQueue(): Plan {
  const queue = new Queue<Task>({ highWaterMark: ROOM * workers });
  return {
    strategy: "shared queue",
    inboxes: Array.from({ length: workers }, () => queue),
    async finish() {
      await queue.join();
      queue.close();
    },
  };
}

function staticLanes(): Plan {
  const queues = Array.from(
    { length: workers },
    () => new Queue<Task>({ highWaterMark: ROOM }),
  );
  return {
    strategy: "static lanes",
    inboxes: queues,
    async finish() {
      for (const queue of queues) await queue.join();
      for (const queue of queues) queue.close();
    },
  };
}

function stealingLanes(): Plan {
  const queue = new WorkStealingQueue<Task>({
    lanes: workers,
    highWaterMark: ROOM,
  });
  return {
    strategy: "stealing lanes",
    inboxes: Array.from({ length: workers }, (_, index) => {
      const lane = queue.lane(index);
      return {
        tryPut: (task: Task) => lane.tryPut(task),
        taskDone: () => queue.taskDone(),
        [Symbol.asyncIterator]: () => lane[Symbol.asyncIterator](),
      };
    }),
    async finish() {
      await queue.join();
      queue.close();
    },
  };
}

async function run({ strategy, inboxes, finish }: Plan): Promise<Outcome> {
  const perWorker = inboxes.map(() => 0);
  const bytes: Record<string, number> = {};
  let unreadable = 0;
  const start = performance.now();

  async function read({ path, top }: Task, worker: number): Promise<void> {
    const inbox = inboxes[worker]!;
    try {
      for (const entry of await readdir(path, { withFileTypes: true })) {
        perWorker[worker]!++;
        const found = { path: join(path, entry.name), top };
        if (entry.isDirectory()) {
          if (!inbox.tryPut(found)) await read(found, worker);
        } else if (entry.isFile()) {
          const { size } = await lstat(found.path);
          bytes[top]! += size;
        }
      }
    } catch {
      unreadable++;
    }
  }

  async function work(worker: number): Promise<void> {
    for await (const task of inboxes[worker]!) {
      await read(task, worker);
      inboxes[worker]!.taskDone(); // after what it found was put
    }
  }

  const tops = (await readdir(folder, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory());
  const working = inboxes.map((_, worker) => work(worker));
  for (const [index, { name }] of tops.entries()) {
    bytes[name] = 0;
    const task = { path: join(folder, name), top: name };
    const worker = index % workers;
    if (!inboxes[worker]!.tryPut(task)) await read(task, worker);
  }
  await finish();
  await Promise.all(working);
  const milliseconds = performance.now() - start;
  return { strategy, perWorker, milliseconds, bytes, unreadable };
}

function report(): void {
  if (json) return console.log(JSON.stringify({ folder, workers, outcomes }));
  const { bytes, unreadable } = outcomes[0]!;
  const largest = Object.entries(bytes).sort((a, b) => b[1] - a[1]);
  for (const [name, size] of largest.slice(0, 10)) {
    console.log(`${(size / 1024).toFixed(0).padStart(12)} KiB  ${name}`);
  }
  if (unreadable > 0) console.log(`${unreadable} could not be read`);
  console.log(
    `\n${"".padEnd(16)}busiest worker   least busy   makespan`,
  );
  for (const { strategy, perWorker, milliseconds } of outcomes) {
    const total = perWorker.reduce((sum, count) => sum + count, 0);
    const share = (count: number): string =>
      `${(100 * count / Math.max(total, 1)).toFixed(0)} %`;
    console.log(
      strategy.padEnd(16) +
        share(Math.max(...perWorker)).padStart(14) +
        share(Math.min(...perWorker)).padStart(13) +
        `${milliseconds.toFixed(0)} ms`.padStart(11),
    );
  }
}

async function checkFolder(): Promise<void> {
  try {
    await readdir(folder);
  } catch (error) {
    console.error(`Cannot read the folder: ${(error as Error).message}`);
    process.exit(2);
  }
}

function readSettings(): { folder: string; workers: number; json: boolean } {
  try {
    const { values, positionals } = parseArgs({
      options: {
        workers: { type: "string", default: "4" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
      allowPositionals: true,
    });
    if (values.help) {
      console.log(HELP);
      process.exit(0);
    }
    const count = Number(values.workers);
    if (!(Number.isInteger(count) && count >= 1)) {
      throw new RangeError(
        `--workers must be a whole number of 1 or more, received ${values.workers}`,
      );
    }
    if (positionals.length > 1) {
      throw new RangeError(`one folder, received ${positionals.join(" ")}`);
    }
    return { folder: positionals[0] ?? ".", workers: count, json: values.json };
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    process.exit(2);
  }
}
