/**
 * Workers of `tests/fixtures/workers/`, as each runtime can start them.
 *
 * @module
 */

import process from "node:process";
import { Worker as NodeWorker } from "node:worker_threads";
import type { WorkerLike } from "../../src/threads.ts";
import { runtime } from "./harness.ts";

/** The module of a worker. */
export function workerURL(name: string): URL {
  return new URL(`../fixtures/workers/${name}.ts`, import.meta.url);
}

/** Starts such a worker. */
export function startWorker(name: string): WorkerLike {
  const url = workerURL(name);
  if (runtime !== "node") return new Worker(url, { type: "module" });
  // Newer ones read TypeScript by themselves, in half the time.
  const readsTypeScript = Number(process.versions.node.split(".")[0]) >= 22;
  if (readsTypeScript) {
    return new NodeWorker(url, { execArgv: ["--no-warnings"] });
  }
  const script = `
    import(${JSON.stringify(import.meta.resolve("tsx/esm/api"))})
      .then(({ register }) => register())
      .then(() => import(${JSON.stringify(url.href)}));
  `;
  return new NodeWorker(script, { eval: true, execArgv: ["--no-warnings"] });
}

/** A source for pools, that keeps what it has started. */
export function workers(name: string): {
  source: () => WorkerLike;
  started: WorkerLike[];
} {
  const started: WorkerLike[] = [];
  return {
    started,
    source: () => {
      const worker = startWorker(name);
      started.push(worker);
      return worker;
    },
  };
}
