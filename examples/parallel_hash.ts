/**
 * `find_duplicates` with the hashing in other threads, and what that gains here.
 *
 * Two walks that differ in one line: who is called for a file, a `WorkerPool` or this
 * thread. They are timed again and again in turns, because the first to read a
 * file reads it from the disk.
 *
 * ```sh
 * deno run -A examples/parallel_hash.ts [--workers=2] [--rounds=3] [folder]
 * ```
 *
 * @module
 */

import { concurrentMap } from "@highwater/queue";
import { WorkerPool } from "@highwater/queue/threads";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
  bytes,
  duplicatesAmong,
  type Group,
  type Hashed,
  hashFile,
  printable,
  printGroups,
  walk,
} from "./duplicates.ts";

/** One thread reads so many files at a time, and so does a worker. */
const AT_A_TIME = 4;

/** What came of one walk. */
interface Pass {
  groups: Group[];
  files: number;
  size: number;
  milliseconds: number;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    workers: { type: "string" },
    rounds: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
  },
});
const folder = positionals[0] ?? ".";
const rounds = wholeNumber("rounds", values.rounds);

await using pool = new WorkerPool<typeof hashFile>(
  new URL("./hash_worker.ts", import.meta.url),
  {
    ...(values.workers === undefined
      ? {}
      : { size: wholeNumber("workers", values.workers) }),
    concurrency: AT_A_TIME,
  },
);
const { size: workers } = pool.stats();

const complaints = new Set<string>();

// Waits for a worker, or ends with the reason why there is none.
await pool.run(fileURLToPath(import.meta.url));
// Brings the files into memory.
const found = await inWorkers();
const times = { workers: Infinity, thread: Infinity };
for (let round = 0; round < rounds; round++) {
  const [one, many] = [await inOneThread(), await inWorkers()];
  if (one.files !== many.files) throw new Error("The folder has changed");
  times.thread = Math.min(times.thread, one.milliseconds);
  times.workers = Math.min(times.workers, many.milliseconds);
}
await pool.close();
report();

function inOneThread(): Promise<Pass> {
  return pass((path) => hashFile(path), AT_A_TIME);
}

/** So many that each worker has its next ones there before it has done the last. */
function inWorkers(): Promise<Pass> {
  return pass((path) => pool.run(path), 3 * AT_A_TIME * workers);
}

/** Walks once, and hashes so many files at a time. */
async function pass(
  hash: (path: string) => Promise<Hashed>,
  concurrency: number,
): Promise<Pass> {
  const begin = performance.now();
  const files: Hashed[] = [];
  let size = 0;
  const hashed = paths().pipeThrough(
    concurrentMap((path: string) => hash(path).catch(complain), {
      concurrency,
      ordered: false,
    }),
  );
  for await (const file of hashed) {
    if (file === undefined) continue;
    files.push(file);
    size += file.size;
  }
  const groups = duplicatesAmong(files);
  const milliseconds = performance.now() - begin;
  return { groups, files: files.length, size, milliseconds };
}

/** The walk as a stream: it goes on when somebody reads. */
function paths(): ReadableStream<string> {
  const files = walk(folder, 0, complain);
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await files.next();
      if (done) controller.close();
      else controller.enqueue(value.path);
    },
  });
}

function report(): void {
  const { groups, files, size } = found;
  const speedUp = times.thread / times.workers;
  if (values.json) {
    console.log(JSON.stringify({ groups, files, size, workers, speedUp }));
    return;
  }
  console.log(`${printGroups(groups)}.`);
  console.log(
    `${files} files, ${bytes(size)}: one thread ${seconds(times.thread)}, ` +
      `${workers} workers ${seconds(times.workers)}, ` +
      `${speedUp.toFixed(2)} times as fast`,
  );
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`;
}

function complain(error: Error): undefined {
  const complaint = printable(`Cannot read: ${error.message}`);
  if (complaints.has(complaint)) return;
  complaints.add(complaint);
  console.error(complaint);
}

function wholeNumber(option: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  console.error(`--${option} takes a whole number from 1 on, not "${text}"`);
  process.exit(2);
}
