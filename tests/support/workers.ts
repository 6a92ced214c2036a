/**
 * Workers of `tests/fixtures/workers/`, as each runtime can start them.
 *
 * @module
 */

import { Worker as NodeWorker } from "node:worker_threads";
import type { WorkerLike } from "../../src/threads.ts";
import { runtime } from "./harness.ts";

interface Bundler {
  buildSync(options: object): { outputFiles: { text: string }[] };
}

/** A name in a variable: the other runtimes do not look for it. */
const BUNDLER: string = "esbuild";
const bundler: Bundler | undefined = runtime === "node"
  ? await import(BUNDLER)
  : undefined;

const bundles: Map<string, URL> = new Map();

/** The module of a worker. */
export function workerURL(name: string): URL {
  return new URL(`../fixtures/workers/${name}.ts`, import.meta.url);
}

/** Starts such a worker. */
export function startWorker(name: string): WorkerLike {
  if (bundler === undefined) {
    return new Worker(workerURL(name), { type: "module" });
  }
  return new NodeWorker(bundleOf(name), { execArgv: ["--no-warnings"] });
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

/** Node 20 reads no TypeScript, and the loader takes it a second for each worker. */
function bundleOf(name: string): URL {
  let url = bundles.get(name);
  if (url === undefined) {
    const { outputFiles: [file] } = bundler!.buildSync({
      entryPoints: [workerURL(name).pathname],
      bundle: true,
      write: false,
      format: "esm",
      logLevel: "silent",
    });
    url = new URL(`data:text/javascript,${encodeURIComponent(file!.text)}`);
    bundles.set(name, url);
  }
  return url;
}
