/**
 * Real threads for tests, on Deno, Bun and Node.
 *
 * @module
 */

import { rmSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { runtime } from "./harness.ts";
import type { Job } from "./shared_queue_worker.ts";

/** A thread at work. */
export interface Thread {
  /** The id of its handle, once it is attached. */
  readonly attached: Promise<number>;
  /** What it has to say in the end. */
  readonly result: Promise<unknown>;
  /** Fulfils when it has ended, however. */
  readonly ended: Promise<void>;
  /** Ends it, wherever it is. */
  terminate(): Promise<unknown>;
}

/** Starts a thread for a job. */
export function startThread(job: Job): Thread {
  const worker = startWorker(job);
  let attach!: (id: number) => void;
  let fail!: (error: unknown) => void;
  const attached = new Promise<number>((resolve, reject) => {
    attach = resolve;
    fail = reject;
  });
  const result = new Promise<unknown>((resolve, reject) => {
    worker.on("message", (message) => {
      if ("id" in message) attach(message.id);
      else if ("error" in message) reject(new Error(message.error));
      else resolve(message.result);
    });
    worker.on("error", (error) => {
      fail(error);
      reject(error);
    });
  });
  const ended = new Promise<void>((resolve) => {
    worker.on("exit", () => resolve());
  });
  result.catch(() => {});
  attached.catch(() => {});
  return { attached, result, ended, terminate: () => worker.terminate() };
}

/** Runs the jobs, one thread each, and gives back what they say. */
export async function runThreads(jobs: Job[]): Promise<unknown[]> {
  const threads = jobs.map(startThread);
  try {
    return await Promise.all(threads.map(({ result }) => result));
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
}

const source: URL = new URL("./shared_queue_worker.ts", import.meta.url);
const script: URL = runtime === "node" ? await compiled() : source;

function startWorker(job: Job): Worker {
  return new Worker(script, { workerData: job });
}

/** Node would compile it for every thread anew, which takes a second each. */
async function compiled(): Promise<URL> {
  const name: string = "esbuild";
  const { buildSync } = await import(name);
  const output = new URL(
    `../../.cache/shared_queue_worker_${process.pid}.mjs`,
    import.meta.url,
  );
  buildSync({
    entryPoints: [fileURLToPath(source)],
    outfile: fileURLToPath(output),
    bundle: true,
    platform: "node",
    format: "esm",
    target: "es2022",
  });
  process.on("exit", () => rmSync(output, { force: true }));
  return output;
}
