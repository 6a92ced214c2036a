/**
 * Routes log files by time and by key.
 *
 * Several files, each in order, become one stream in order of time. Everything
 * goes to an archive, which may make the files wait; to workers, where all lines
 * of a key come to the same worker, in order; and to a live display, which skips
 * what it is too slow for and makes nobody wait.
 *
 * @module
 */

import { Broadcast, mergeSorted, partition } from "@highwater/queue";
import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { finished } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";

const HELP = `Usage: log_router [options] [file ...]

Merges log files by time and routes their lines by key. A line begins with a
time, as in 2026-11-24T10:00:00.250Z; one that does not belongs to the line
before it. Without files, or for the file -, standard input is read. Ctrl-C
stops reading and reports what was routed.

  --key <n>         the field that is the key, counted from 1 (default: 2)
  --workers <n>     workers that share the keys (default: 4)
  --behind <n>      lines a subscriber may be behind (default: 64)
  --refresh <ms>    pause between two looks of the live display (default: 50)
  --output <folder> write archive.log and worker-<n>.log there
  --json            one JSON document on standard output
  --help            this text`;

interface Line {
  at: number;
  key: string;
  text: string;
}

interface Subscriber {
  name: string;
  policy: "wait" | "drop-oldest";
  lines: number;
  missed: number;
  /** The most lines that it was seen behind. */
  mostLag: number;
}

interface Worker {
  keys: Map<string, number>;
  lines: number;
}

interface Settings {
  files: string[];
  key: number;
  workers: number;
  behind: number;
  refresh: number;
  output: string | undefined;
  json: boolean;
}

const settings = readSettings();
await checkFiles();

const interruption = new AbortController();
const hub = new Broadcast<Line>({ highWaterMark: settings.behind });
const archive = subscriber("archive", "wait");
const work = subscriber("workers", "wait");
const live = subscriber("live", "drop-oldest");
/** In the order in which they subscribe, which is that of `hub.stats()`. */
const subscribers = [archive, work, live];
const workers: Worker[] = Array.from(
  { length: settings.workers },
  () => ({ keys: new Map(), lines: 0 }),
);
const done = new AbortController();

process.on("SIGINT", interrupt);
try {
  const archived = hub.subscribe();
  const worked = hub.subscribe();
  const shown = hub.subscribe({
    overflow: "drop-oldest",
    onLag: (missed) => void (live.missed += missed),
  });
  const branches = partition(worked, settings.workers, (line) => line.key);
  await Promise.all([
    route().finally(() => done.abort()),
    save(archived, "archive.log", () => void archive.lines++),
    ...branches.map((branch, index) => runWorker(branch, index)),
    display(shown),
  ]);
} catch (error) {
  refuse(`Cannot route the lines: ${(error as Error).message}`, 1);
} finally {
  process.off("SIGINT", interrupt);
}
report();
// Standard input may be open still, and would keep the process alive.
if (interruption.signal.aborted) process.exit(130);

/** The producer: waits for whichever of the archive and the workers is behind. */
async function route(): Promise<void> {
  const files = settings.files.map(linesOf);
  const { signal } = interruption;
  const merged = mergeSorted(files, (one, other) => one.at - other.at, {
    onError: "abort",
    signal, // leaves all files, also one that has nothing to read yet
  });
  let routed = 0;
  try {
    for await (const line of merged) {
      await hub.put(line);
      if (++routed % 16 === 0) lookAtLag();
    }
  } catch (error) {
    if (!signal.aborted) {
      hub.abort(error);
      throw error;
    }
  }
  hub.close(); // the subscribers read on to the last line
}

async function* linesOf(file: string): AsyncGenerator<Line> {
  const stream = file === "-" ? process.stdin : createReadStream(file);
  const decoder = new TextDecoder();
  let before: Line = { at: -Infinity, key: "", text: "" };
  let rest = "";
  for await (const chunk of stream) {
    rest += decoder.decode(chunk as Uint8Array, { stream: true });
    const texts = rest.split("\n");
    rest = texts.pop()!;
    for (const text of texts) yield before = parsed(text, before);
  }
  if (rest !== "") yield parsed(rest, before);
}

function parsed(text: string, before: Line): Line {
  const fields = text.trimEnd().split(/\s+/, Math.max(settings.key, 1));
  const at = Date.parse(fields[0] ?? "");
  if (Number.isNaN(at)) return { ...before, text };
  return { at, key: fields[settings.key - 1] ?? "", text };
}

/** One of several workers: nobody else gets the lines of its keys. */
function runWorker(branch: ReadableStream<Line>, index: number): Promise<void> {
  const worker = workers[index]!;
  return save(branch, `worker-${index}.log`, ({ key }) => {
    worker.keys.set(key, (worker.keys.get(key) ?? 0) + 1);
    worker.lines++;
    work.lines++;
  });
}

/** Reads on when the file has taken what was written, so that a slow disk slows the source down. */
async function save(
  lines: ReadableStream<Line>,
  name: string,
  seen: (line: Line) => void,
): Promise<void> {
  const { output } = settings;
  const file = output === undefined
    ? undefined
    : createWriteStream(join(output, name));
  let chunk = "";
  for await (const line of lines) {
    seen(line);
    if (file === undefined) continue;
    chunk += line.text + "\n";
    if (chunk.length < 16_384) continue;
    if (!file.write(chunk)) await once(file, "drain");
    chunk = "";
  }
  if (file === undefined) return;
  file.end(chunk);
  await finished(file);
}

/** Looks at a line, shows it where somebody sees it, and pauses. What comes meanwhile is skipped but for the last lines. */
async function display(lines: ReadableStream<Line>): Promise<void> {
  const { isTTY = false, columns = 80 } = process.stderr;
  for await (const line of lines) {
    live.lines++;
    if (isTTY) {
      const text = `${live.lines + live.missed} lines, ${line.text}`;
      process.stderr.write(`\r\x1b[K${printable(text).slice(0, columns - 1)}`);
    }
    await delay(settings.refresh, undefined, { signal: done.signal })
      .catch(() => {}); // nothing is skipped any more once all is routed
  }
  if (isTTY) process.stderr.write("\r\x1b[K");
}

function lookAtLag(): void {
  for (const [index, { lag }] of hub.stats().subscribers.entries()) {
    const of = subscribers[index]!;
    of.mostLag = Math.max(of.mostLag, lag);
  }
}

function subscriber(name: string, policy: Subscriber["policy"]): Subscriber {
  return { name, policy, lines: 0, missed: 0, mostLag: 0 };
}

function report(): void {
  const summary = workers.map(({ keys, lines }, index) => ({
    name: `worker ${index}`,
    keys: keys.size,
    lines,
  }));
  if (settings.json) {
    const interrupted = interruption.signal.aborted;
    const document = { interrupted, subscribers, workers: summary };
    console.log(JSON.stringify(document, null, 2));
    return;
  }
  if (interruption.signal.aborted) console.log("Interrupted.");
  print(["subscriber", "policy", "lines", "missed", "most lag"], [
    ...subscribers.map(({ name, policy, lines, missed, mostLag }) => [
      name,
      policy,
      `${lines}`,
      `${missed}`,
      `${mostLag}`,
    ]),
  ]);
  console.log();
  print(
    ["worker", "keys", "lines"],
    summary.map(({ name, keys, lines }) => [name, `${keys}`, `${lines}`]),
  );
}

function print(head: string[], rows: string[][]): void {
  const all = [head, ...rows];
  const widths = head.map((_, column) =>
    Math.max(...all.map((row) => row[column]!.length))
  );
  for (const row of all) {
    const cells = row.map((cell, column) =>
      /^\d+$/.test(cell)
        ? cell.padStart(widths[column]!)
        : cell.padEnd(widths[column]!)
    );
    console.log(cells.join("  ").trimEnd());
  }
}

/** A line may hold anything, and could otherwise steer the terminal. */
function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu,
    (character) => `\\u{${character.charCodeAt(0).toString(16)}}`,
  );
}

function interrupt(): void {
  if (interruption.signal.aborted) process.exit(130);
  interruption.abort();
}

async function checkFiles(): Promise<void> {
  try {
    for (const file of settings.files) {
      if (file !== "-" && (await stat(file)).isDirectory()) {
        refuse(`Not a file: ${file}`, 2);
      }
    }
    if (settings.output !== undefined) {
      await mkdir(settings.output, { recursive: true });
    }
  } catch (error) {
    refuse((error as Error).message, 2);
  }
}

function readSettings(): Settings {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        "key": { type: "string", default: "2" },
        "workers": { type: "string", default: "4" },
        "behind": { type: "string", default: "64" },
        "refresh": { type: "string", default: "50" },
        "output": { type: "string" },
        "json": { type: "boolean", default: false },
        "help": { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(HELP);
      process.exit(0);
    }
    return {
      files: positionals.length === 0 ? ["-"] : positionals,
      key: wholeNumber("key", values.key, 1),
      workers: wholeNumber("workers", values.workers, 1),
      behind: wholeNumber("behind", values.behind, 1),
      refresh: wholeNumber("refresh", values.refresh, 0),
      output: values.output,
      json: values.json,
    };
  } catch (error) {
    refuse((error as Error).message, 2);
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

function refuse(message: string, code: number): never {
  console.error(printable(message.split("\n", 1)[0] ?? ""));
  process.exit(code);
}
