/**
 * The journal that the harness writes while tests run: what a runtime that
 * hangs or dies has no time to report. Runs on Deno.
 *
 * @module
 */

import { normalName, type TestResult } from "./junit.ts";
import { exists } from "./tools.ts";

/** Beyond its own limit a test that still runs blocks its thread. */
const GRACE = 120_000;
/** The longest that nothing may happen between two tests. */
const SILENCE = 300_000;

/** What is said of a test that did not begin. */
export const NOT_RUN = "It did not run.";

/** A line of the journal. */
interface Entry {
  event: "registered" | "started" | "passed" | "failed";
  name: string;
  process: number;
  at: number;
  limit?: number;
}

/** Why a process has to be killed. */
export interface Stuck {
  /** The process that hangs; undefined if it is not known. */
  process: number | undefined;
  /** What it did when it was last seen, as a sentence. */
  reason: string;
}

/** What one run of a runtime left in its journal. */
export class Journal {
  readonly #path: string;
  readonly #begun: number = Date.now();

  /** Starts an empty journal at a path. */
  constructor(path: string) {
    this.#path = path;
    if (exists(path)) Deno.removeSync(path);
  }

  /** Says what hangs at this moment, if anything does. */
  stuck(now: number): Stuck | undefined {
    const entries = this.#entries();
    const late = running(entries).find(function ({ at, limit = 0 }) {
      return now > at + limit + GRACE;
    });
    if (late !== undefined) {
      return {
        process: late.process,
        reason: `"${late.name}" blocks its thread since ${now - late.at} ms`,
      };
    }
    const last = entries.at(-1);
    if (running(entries).length > 0) return undefined;
    if (now < (last?.at ?? this.#begun) + SILENCE) return undefined;
    return {
      process: last?.process,
      reason: last === undefined
        ? `No test was registered within ${SILENCE} ms`
        : `Nothing came within ${SILENCE} ms after "${last.name}"`,
    };
  }

  /**
   * The tests that are missing in a report: with the result that the journal
   * has, or as failed where it has none.
   */
  missingIn(report: readonly TestResult[], silent: boolean): TestResult[] {
    const reported = countNames(report.map((result) => result.name));
    const ends = new Map<string, Entry["event"][]>();
    for (const { event, name } of this.#entries()) {
      const events = ends.get(normalName(name)) ?? [];
      events.push(event);
      ends.set(normalName(name), events);
    }
    const missing: TestResult[] = [];
    for (const [name, events] of ends) {
      const registered = count(events, "registered");
      let open = registered - (reported.get(name) ?? 0);
      // A runner that died wrote no report: what ended before still counts.
      for (
        let passed = count(events, "passed");
        silent && passed > 0;
        passed--
      ) {
        if (open-- > 0) missing.push({ name, status: "passed", detail: "" });
      }
      for (; open > 0; open--) {
        const detail = count(events, "failed") > 0
          ? "It failed, and the runner ended before it said why."
          : count(events, "started") > 0
          ? "It began, and its end was not reported."
          : NOT_RUN;
        missing.push({ name, status: "failed", detail });
      }
    }
    return missing;
  }

  #entries(): Entry[] {
    if (!exists(this.#path)) return [];
    return Deno.readTextFileSync(this.#path).split("\n").flatMap(parse);
  }
}

/** The line being written may not be complete. */
function parse(line: string): Entry[] {
  try {
    return [JSON.parse(line) as Entry];
  } catch {
    return [];
  }
}

function running(entries: readonly Entry[]): Entry[] {
  const open = new Map<string, Entry>();
  for (const entry of entries) {
    const key = `${entry.process} ${entry.name}`;
    if (entry.event === "started") open.set(key, entry);
    else if (entry.event !== "registered") open.delete(key);
  }
  return [...open.values()];
}

function count<T>(values: readonly T[], wanted: T): number {
  return values.filter((value) => value === wanted).length;
}

function countNames(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
