/**
 * The conformance suite as one function, for {@linkcode bundleForRuntimes}.
 *
 * @module
 */

import type { Queue, QueueOptions } from "../../mod.ts";
import { assertInvariants } from "../../src/queue.ts";
import { dashboardCases } from "../conformance/flow_dashboard.ts";
import { flowFanOutCases } from "../conformance/flow_fan_out.ts";
import { portCases } from "../conformance/flow_ports.ts";
import { partitionCases } from "../conformance/flow_partition.ts";
import { fanInCases } from "../conformance/flow_fan_in.ts";
import { consumeCases } from "../conformance/flow_consume.ts";
import { kinds } from "../conformance/kinds.ts";
import { poolCases, workInPool } from "../conformance/threads_pool.ts";
import {
  doubleInSharedQueue,
  sharedCases,
} from "../conformance/threads_shared.ts";
import { type Case, casesFor, type Kind } from "../conformance/suite.ts";

/** How one case ended. */
interface CaseResult {
  name: string;
  status: "passed" | "failed" | "excluded";
  detail: string;
}

const TIME_LIMIT = 60_000;

/** What nobody handled since the case began. */
let unhandled: unknown[] = [];

/** Cases that ask what a runtime may not give, and what it is that lacks. */
interface Exclusion {
  applies(): boolean | Promise<boolean>;
  detail: string;
  names: string[];
}

const EXCLUSIONS: Exclusion[] = [
  {
    applies: async () => !(await nativePipeTells()),
    detail: "a native pipeTo() fulfils here when its destination fails",
    names: [
      "abort() of the queue cancels the source of a pipe",
      "close() of the queue stops a pipe into it before its next item",
    ],
  },
  {
    applies: () => !("ByteLengthQueuingStrategy" in globalThis),
    detail: "there is no ByteLengthQueuingStrategy here",
    names: ["the strategies of the platform are options"],
  },
];

/** Runs every case over every kind, one after the other. */
async function runConformance(): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  const excluded = new Map<string, string>();
  for (const { applies, detail, names } of EXCLUSIONS) {
    if (!(await applies())) continue;
    for (const name of names) excluded.set(name, detail);
  }
  for (const kind of kinds) {
    for (const item of casesFor(kind)) {
      const detail = excluded.get(item.name);
      const name = `${kind.name}: ${item.group}: ${item.name}`;
      results.push(
        detail === undefined
          ? await runCase(kind, name, item)
          : { name, status: "excluded", detail },
      );
    }
  }
  for (
    const { name, run } of [
      ...consumeCases,
      ...fanInCases,
      ...flowFanOutCases,
      ...partitionCases,
      ...portCases,
      ...dashboardCases,
      ...poolCases,
      ...sharedCases,
    ]
  ) results.push(await runAlone(name, run));
  return results;
}

async function runCase(
  kind: Kind,
  name: string,
  item: Case,
): Promise<CaseResult> {
  const created: Queue<never>[] = [];
  const recording: Kind = {
    ...kind,
    create<T>(options?: QueueOptions<T>): Queue<T> {
      const queue = kind.create<T>(options);
      created.push(queue as unknown as Queue<never>);
      return queue;
    },
  };
  return await runAlone(name, async () => {
    await item.run(recording);
    for (const queue of created) assertInvariants(queue);
  });
}

async function runAlone(
  name: string,
  run: () => Promise<void>,
): Promise<CaseResult> {
  unhandled = [];
  try {
    await withinLimit(run());
    // Time for the runtime to find out what nobody handles.
    await new Promise((resolve) => setTimeout(resolve, 0));
    if (unhandled.length > 0) {
      throw new Error("unhandled rejection", { cause: unhandled[0] });
    }
    return { name, status: "passed", detail: "" };
  } catch (error) {
    return { name, status: "failed", detail: describe(error) };
  }
}

/** False where `pipeTo()` fulfils though its destination failed: workerd. */
async function nativePipeTells(): Promise<boolean> {
  let controller: WritableStreamDefaultController | undefined;
  const destination = new WritableStream({
    start(given): void {
      controller = given;
    },
  });
  const piping = new ReadableStream({ cancel(): void {} }).pipeTo(destination);
  const told = piping.then(() => false, () => true);
  await new Promise((resolve) => setTimeout(resolve, 10));
  controller?.error(new Error("failed"));
  return await told;
}

async function withinLimit(running: Promise<void> | void): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`did not end within ${TIME_LIMIT} ms`));
    }, TIME_LIMIT);
  });
  try {
    await Promise.race([running, late]);
  } finally {
    clearTimeout(timer);
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const text = error.stack ?? "";
  const said = text.includes(error.message)
    ? text
    : `${error.name}: ${error.message}\n${text}`;
  return error.cause === undefined
    ? said
    : `${said}\ncaused by: ${describe(error.cause)}`;
}

addEventListener("unhandledrejection", (event) => {
  // edge-runtime has events of its own, with nothing to prevent.
  event.preventDefault?.();
  unhandled.push(event.reason);
});

Object.assign(globalThis, { runConformance });
workInPool();
doubleInSharedQueue();
