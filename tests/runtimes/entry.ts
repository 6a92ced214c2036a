/**
 * The conformance suite as one function, for {@linkcode bundleForRuntimes}.
 *
 * - `bundle.ts`: makes one script of this file and all that it imports.
 * - `workerd.ts`, `edge_runtime.ts`, `chromium.ts`: run that script; the `*_host.mjs`
 *   are their other halves, on Node.
 * - `dashboard_chromium.ts`: the dashboard in a page. `package.ts`: the package for npm.
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
import type { Case, Kind } from "../conformance/cases.ts";
import { missingHere, type RuntimeCase } from "../conformance/runtimes.ts";
import { casesFor } from "../conformance/suite.ts";
import { pause, within } from "../support/waiting.ts";

/** How one case ended. */
interface CaseResult {
  name: string;
  status: "passed" | "failed" | "excluded";
  detail: string;
}

const TIME_LIMIT = 60_000;

/** What may need what is not there. */
interface Runnable {
  needs?: readonly string[];
  run(): Promise<void> | void;
}

/** What all but the kinds of queue needs of a runtime. */
const runtimeCases: RuntimeCase[] = [
  ...consumeCases,
  ...fanInCases,
  ...flowFanOutCases,
  ...partitionCases,
  ...portCases,
  ...dashboardCases,
  ...poolCases,
  ...sharedCases,
];

/** What nobody handled since the case began. */
let unhandled: unknown[] = [];

/** Runs every case over every kind, one after the other. */
async function runConformance(): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  const missing = await missingHere();
  async function note(name: string, item: Runnable): Promise<void> {
    const absent = item.needs?.find((need) => missing.has(need));
    results.push(
      absent === undefined
        ? await runAlone(name, item.run)
        : { name, status: "excluded", detail: missing.get(absent)! },
    );
  }
  for (const kind of kinds) {
    for (const item of casesFor(kind)) {
      const name = `${kind.name}: ${item.group}: ${item.name}`;
      await note(name, { needs: item.needs, run: () => runCase(kind, item) });
    }
  }
  for (const item of runtimeCases) await note(item.name, item);
  return results;
}

async function runCase(kind: Kind, item: Case): Promise<void> {
  const created: Queue<never>[] = [];
  await item.run({
    ...kind,
    create<T>(options?: QueueOptions<T>): Queue<T> {
      const queue = kind.create<T>(options);
      created.push(queue as unknown as Queue<never>);
      return queue;
    },
  });
  for (const queue of created) assertInvariants(queue);
}

async function runAlone(
  name: string,
  run: Runnable["run"],
): Promise<CaseResult> {
  unhandled = [];
  try {
    await within(TIME_LIMIT, run(), "It");
    // Time for the runtime to find out what nobody handles.
    await pause(0);
    if (unhandled.length > 0) {
      throw new Error("unhandled rejection", { cause: unhandled[0] });
    }
    return { name, status: "passed", detail: "" };
  } catch (error) {
    return { name, status: "failed", detail: describe(error) };
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
