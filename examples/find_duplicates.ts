/**
 * Finds files with the same contents below a folder.
 *
 * One walk fills a bounded queue, `consume` hashes what is in it, several files at
 * a time, and the results come together in a second queue with one reader.
 * Whichever side is slow, the others wait for it, and memory stays flat. What
 * cannot be read is tried again, then set aside: at the end every file is either
 * hashed or listed as failed.
 *
 * @module
 */

import {
  consume,
  type ConsumeReport,
  type DeadLetter,
  Queue,
} from "@highwater/queue";
import { dashboard } from "@highwater/queue/dashboard";
import { SingleBar } from "cli-progress";
import { stat } from "node:fs/promises";
import process from "node:process";
import { parseArgs } from "node:util";
import {
  ATTEMPTS,
  bytes,
  duplicatesAmong,
  type Found,
  type Group,
  type Hashed,
  hashInto,
  printable,
  printGroups,
  walk,
} from "./duplicates.ts";
import { type Loopback, serveOnLoopback } from "./loopback.ts";

const HELP = `Usage: find_duplicates [options] [folder]

Finds files with the same contents below a folder (default: the current one).
Links are not followed. Ctrl-C stops the walk and reports what was found.

  --concurrency <n>      files hashed at the same time (default: 8)
  --high-water-mark <n>  files that may wait to be hashed (default: 64)
  --min-size <bytes>     ignore smaller files (default: 0)
  --fail-rate <0 to 1>   pretend that so many files cannot be read at first;
                         a third of them never can (default: 0)
  --json                 one JSON document on standard output
  --dashboard            show the queues in a browser: serves a page on loopback
                         and prints its address; goes on until Ctrl-C when the
                         work is done, unless there is --json
  --help                 this text`;

/** A file that was given up. */
interface Failed {
  path: string;
  attempts: number;
  error: string;
}

interface Settings {
  folder: string;
  concurrency: number;
  highWaterMark: number;
  minSize: number;
  failRate: number;
  json: boolean;
  dashboard: boolean;
}

const settings = readSettings();
await checkFolder(settings.folder);

const files = new Queue<Found>({
  name: "files to hash",
  highWaterMark: settings.highWaterMark,
  timestamps: settings.dashboard,
});
const results = new Queue<Hashed>({ name: "results" });
const counters = { found: 0, hashed: 0, bytes: 0, unreadable: 0 };
const failed: Failed[] = [];
const complaints: string[] = [];
const interruption = new AbortController();
const started = performance.now();
const bar = new SingleBar({
  format: progress,
  clearOnComplete: true,
  gracefulExit: false,
  noTTYOutput: true,
});

const server = settings.dashboard ? await serve() : undefined;
process.on("SIGINT", interrupt);
bar.start(1, 0);
let groups: Group[];
let report: ConsumeReport;
try {
  [groups, report] = await Promise.all([collect(), hashFiles(), findFiles()]);
} finally {
  bar.stop();
  process.off("SIGINT", interrupt);
}
// Only now: a line in between would tear the live line apart.
for (const complaint of complaints) console.error(printable(complaint));
if (settings.json) printJSON(groups, report);
else print(groups, report);
if (interruption.signal.aborted) process.exitCode = 130;
else if (server !== undefined && !settings.json) await lookedAt();
server?.stop();

/** For --dashboard: what the queues are like, for this machine alone. */
async function serve(): Promise<Loopback> {
  const handler = dashboard([files, results], {
    title: "Finding duplicates",
    interval: 250,
    // Another site can make a name of its own point here, but not look like it.
    authorize: ({ url }) => new URL(url).hostname === "127.0.0.1",
  });
  const server = await serveOnLoopback(handler);
  console.error(`Dashboard: ${server.address}`);
  return server;
}

async function lookedAt(): Promise<void> {
  console.error("The dashboard stays until Ctrl-C.");
  await new Promise((resolve) => process.once("SIGINT", resolve));
}

/** The producer: waits whenever `highWaterMark` files are ahead of the hashers. */
async function findFiles(): Promise<void> {
  const { signal } = interruption;
  try {
    const { folder, minSize } = settings;
    for await (const file of walk(folder, minSize, complain)) {
      counters.found++;
      await files.put(file, { signal });
    }
  } catch (error) {
    if (!signal.aborted) files.fail(error);
  }
  files.close(); // the hashers finish what is in the queue, then end
}

/** The consumers: each file is hashed, or ends in `failed`. */
async function hashFiles(): Promise<ConsumeReport> {
  const counted = {
    async put(hashed: Hashed): Promise<void> {
      counters.hashed++;
      await results.put(hashed);
    },
  };
  const hashFile = hashInto(counted, {
    failRate: settings.failRate,
    onBytes: (count) => counters.bytes += count,
  });
  try {
    return await consume(files, hashFile, {
      concurrency: settings.concurrency,
      retry: { attempts: ATTEMPTS, delay: 20 },
      deadLetter: giveUp,
    });
  } finally {
    results.close(); // the reporter takes what is left, then ends
  }
}

function giveUp({ item, attempts, errors }: DeadLetter<Found>): void {
  const error = errors.last as Error;
  failed.push({ path: item.path, attempts, error: error.message });
  complain(error);
}

/** The reporter: the only reader of all results. */
async function collect(): Promise<Group[]> {
  const hashed: Hashed[] = [];
  for await (const result of results) hashed.push(result);
  return duplicatesAmong(hashed);
}

/** The live line: everything in it is a counter that exists anyway. */
function progress(): string {
  const { length, highWaterMark, waitingPuts, waitingGets } = files.stats();
  const seconds = (performance.now() - started) / 1000;
  const waiting = waitingPuts > 0
    ? "the walk"
    : waitingGets > 0
    ? "the hashers"
    : "nobody";
  return `${counters.found} found, ${counters.hashed} hashed, ` +
    `${bytes(counters.bytes / Math.max(seconds, 0.001))}/s, ` +
    `queue ${length}/${highWaterMark}, waiting: ${waiting}`;
}

function printJSON(groups: Group[], { retried }: ConsumeReport): void {
  const interrupted = interruption.signal.aborted;
  const { folder } = settings;
  failed.sort((one, other) => one.path < other.path ? -1 : 1);
  const document = {
    folder,
    interrupted,
    ...counters,
    retried,
    failed,
    groups,
  };
  console.log(JSON.stringify(document, null, 2));
}

function print(groups: Group[], { retried }: ConsumeReport): void {
  const summary = printGroups(groups);
  const { found, hashed, unreadable } = counters;
  console.log(
    `${interruption.signal.aborted ? "Interrupted: " : ""}${summary}; ` +
      `${found} files found, ${hashed} hashed, ${unreadable} unreadable` +
      (retried + failed.length === 0
        ? ""
        : `; ${retried} retries, ${failed.length} given up`),
  );
}

function complain(error: Error): undefined {
  counters.unreadable++;
  complaints.push(`Cannot read: ${error.message}`);
}

function interrupt(): void {
  if (interruption.signal.aborted) {
    bar.stop();
    process.exit(130);
  }
  interruption.abort();
}

async function checkFolder(folder: string): Promise<void> {
  try {
    if ((await stat(folder)).isDirectory()) return;
  } catch (error) {
    refuse(`Cannot open the folder: ${(error as Error).message}`);
  }
  refuse(`Not a folder: ${folder}`);
}

function readSettings(): Settings {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        "concurrency": { type: "string", default: "8" },
        "high-water-mark": { type: "string", default: "64" },
        "min-size": { type: "string", default: "0" },
        "fail-rate": { type: "string", default: "0" },
        "json": { type: "boolean", default: false },
        "dashboard": { type: "boolean", default: false },
        "help": { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(HELP);
      process.exit(0);
    }
    if (positionals.length > 1) throw new Error("Give one folder only");
    return {
      folder: positionals[0] ?? ".",
      concurrency: wholeNumber("concurrency", values.concurrency, 1),
      highWaterMark: wholeNumber(
        "high-water-mark",
        values["high-water-mark"],
        0,
      ),
      minSize: wholeNumber("min-size", values["min-size"], 0),
      failRate: share("fail-rate", values["fail-rate"]),
      json: values.json,
      dashboard: values.dashboard,
    };
  } catch (error) {
    refuse((error as Error).message);
  }
}

function wholeNumber(option: string, text: string, least: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) {
    return value;
  }
  throw new Error(
    `--${option} takes a whole number from ${least} on, not "${text}"`,
  );
}

function share(option: string, text: string): number {
  const value = Number(text);
  if (/^\d*\.?\d+$/.test(text) && value <= 1) return value;
  throw new Error(`--${option} takes a number from 0 to 1, not "${text}"`);
}

function refuse(message: string): never {
  console.error(printable(message.split("\n", 1)[0] ?? ""));
  process.exit(2);
}
