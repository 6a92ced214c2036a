/**
 * Finds files with the same contents below a folder, by several processes: one
 * walks, some hash, and this one starts them and counts. Their queues are on a
 * server. The handler is that of `examples/find_duplicates.ts`.
 *
 * Kill a worker in the middle of it: another takes its place, and its files are
 * hashed by somebody else. A file may then be hashed twice, which changes nothing,
 * because results are counted by path.
 *
 * @module
 */

import { consume } from "@highwater/queue";
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
  ATTEMPTS,
  duplicatesAmong,
  type Hashed,
  hashInto,
  printable,
  printGroups,
  walk,
} from "../duplicates.ts";
import { Crew } from "./crew.ts";
import { advice, openQueues, type Queues } from "./engine.ts";

const HELP = `Usage: distributed/find_duplicates [options] [folder]

Finds files with the same contents below a folder (default: the current one),
with a process that walks and others that hash.

  --server <address>  redis://… or nats://… (default: redis://127.0.0.1:6379)
  --workers <n>       processes that hash (default: 2)
  --concurrency <n>   files that each hashes at a time (default: 4)
  --fail-rate <0 to 1>  pretend that so many files cannot be read at first
  --json              one JSON document on standard output
  --help              this text`;

interface Settings {
  role: string;
  run: string;
  folder: string;
  server: string;
  workers: number;
  concurrency: number;
  failRate: number;
  json: boolean;
}

const settings = readSettings();
const roles: Record<string, (queues: Queues) => Promise<void>> = {
  main: count,
  producer: produce,
  worker: work,
};
if (settings.role === "main") await checkFolder(settings.folder);
const queues = await openQueues(settings.server, settings.run)
  .catch(() => refuse(advice(settings.server)));
try {
  await roles[settings.role]!(queues);
} finally {
  await queues[Symbol.asyncDispose]();
}
// A client of a server may leave a timer behind.
process.exit(process.exitCode);

/** The process that walks. Puts wait while as many files are there as the queue holds. */
async function produce({ files, results }: Queues): Promise<void> {
  let found = 0;
  const complain = (error: Error): undefined => {
    console.error(printable(`Cannot read: ${error.message}`));
  };
  const writer = files.writable.getWriter();
  for await (const file of walk(settings.folder, 0, complain)) {
    found++;
    await writer.ready;
    await writer.write(file);
  }
  await writer.close(); // the server has them all
  await results.put({ kind: "walked", found });
}

/** A process that hashes, until it is told to stop. */
async function work({ files, results }: Queues): Promise<void> {
  const stop = new AbortController();
  process.on("SIGTERM", () => stop.abort());
  const handler = hashInto({
    put: (file) => results.put({ kind: "hashed", file }),
  }, { failRate: settings.failRate });
  await consume(files, handler, {
    concurrency: settings.concurrency,
    retry: { attempts: ATTEMPTS, delay: 20 },
    deadLetter: ({ item, attempts, errors }) => {
      const error = (errors.last as Error).message;
      return results.put({ kind: "failed", path: item.path, attempts, error });
    },
    signal: stop.signal,
  });
}

/** The process that counts: done when it has a result for each file that was found. */
async function count({ results, remove }: Queues): Promise<void> {
  const crew = new Crew(argumentsFor, refuse);
  crew.start("producer");
  for (let index = 0; index < settings.workers; index++) crew.start("worker");
  const hashed = new Map<string, Hashed>();
  const failed = new Map<string, { attempts: number; error: string }>();
  let found = Infinity;
  let repeated = 0;
  const interruption = new AbortController();
  const { signal } = interruption;
  process.once("SIGINT", () => interruption.abort());
  try {
    while (hashed.size + failed.size < found) {
      const delivery = await results.receive({ signal });
      const result = delivery.item;
      if (result.kind === "walked") found = result.found;
      else {
        const path = result.kind === "hashed" ? result.file.path : result.path;
        if (hashed.has(path) || failed.has(path)) repeated++;
        else if (result.kind === "hashed") hashed.set(path, result.file);
        else failed.set(path, result);
      }
      await delivery.ack();
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    process.exitCode = 130;
  } finally {
    await crew.dismiss();
    await remove();
  }
  const groups = duplicatesAmong(hashed.values());
  const counters = {
    found,
    hashed: hashed.size,
    failed: failed.size,
    repeated,
    replaced: crew.deaths,
  };
  if (settings.json) {
    console.log(JSON.stringify({ ...counters, groups }, null, 2));
    return;
  }
  const summary = printGroups(groups);
  for (const [path, { error }] of failed) {
    console.error(printable(`Given up: ${path}: ${error}`));
  }
  console.log(
    `${summary}; ${found} files found, ${hashed.size} hashed by ` +
      `${settings.workers} workers, ${failed.size} given up, ${repeated} ` +
      `hashed twice, ${crew.deaths} workers replaced`,
  );
}

/** What the other processes are told. */
function argumentsFor(role: string): string[] {
  const { run, folder, server, concurrency, failRate } = settings;
  const options = { role, run, server, concurrency, "fail-rate": failRate };
  return [
    fileURLToPath(import.meta.url),
    ...Object.entries(options).map(([name, value]) => `--${name}=${value}`),
    "--",
    folder,
  ];
}

async function checkFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch((error: Error) =>
    refuse(`Cannot open the folder: ${error.message}`)
  );
  if (!found.isDirectory()) refuse(`Not a folder: ${folder}`);
}

function readSettings(): Settings {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        "server": { type: "string", default: "redis://127.0.0.1:6379" },
        "workers": { type: "string", default: "2" },
        "concurrency": { type: "string", default: "4" },
        "fail-rate": { type: "string", default: "0" },
        "json": { type: "boolean", default: false },
        "help": { type: "boolean", default: false },
        // What this process tells the others.
        "role": { type: "string", default: "main" },
        "run": { type: "string", default: `duplicates-${crypto.randomUUID()}` },
      },
    });
    if (values.help) {
      console.log(HELP);
      process.exit(0);
    }
    if (positionals.length > 1) throw new Error("Give one folder only");
    if (!(values.role in { main: 1, producer: 1, worker: 1 })) {
      throw new Error(`No such role: ${values.role}`);
    }
    if (!URL.canParse(values.server)) {
      throw new Error(`--server takes an address, not "${values.server}"`);
    }
    return {
      role: values.role,
      run: values.run,
      folder: resolve(positionals[0] ?? "."),
      server: values.server,
      workers: wholeNumber("workers", values.workers),
      concurrency: wholeNumber("concurrency", values.concurrency),
      failRate: Number(values["fail-rate"]),
      json: values.json,
    };
  } catch (error) {
    refuse((error as Error).message);
  }
}

function wholeNumber(option: string, text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new Error(`--${option} takes a whole number from 1 on, not "${text}"`);
}

function refuse(message: string): never {
  console.error(printable(message.split("\n", 1)[0] ?? ""));
  process.exit(2);
}
