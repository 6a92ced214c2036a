/**
 * The counters of queues in the text format that Prometheus reads.
 *
 * @module
 */

import type { Counters } from "../counters.ts";
import { type Measure, MEASURES } from "../measures.ts";

/** One metric after the other, each with a line for every queue. */
export function metricsOf(all: readonly Counters[]): string {
  const lines: string[] = [];
  for (const [kind, measure, help, read] of [...MEASURES, ...OWN]) {
    const isCounter = kind === "counter";
    const name = `highwater_queue_${measure}${isCounter ? "_total" : ""}`;
    const type = isCounter ? "counter" : "gauge";
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [index, counters] of all.entries()) {
      // Numbers of before are none: an engine that fails has nothing but "up".
      const isKnown = counters.failure === undefined || measure === "up";
      const value = isKnown ? read(counters) : undefined;
      if (value === undefined) continue;
      // The index, for queues that share a name.
      const labels = `queue="${escapedLabel(counters.name)}",index="${index}"`;
      lines.push(`${name}{${labels}} ${written(value)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

/** What Prometheus has beside what others have. */
const OWN: readonly Measure[] = [
  [
    "level",
    "high_water_mark",
    "The bound, in the unit of size.",
    ({ highWaterMark }) => highWaterMark,
  ],
  [
    "level",
    "peak_length",
    "The most items ever stored at once.",
    ({ own }) => own?.peakLength,
  ],
  [
    "level",
    "waiting_puts",
    "Puts that wait for room.",
    ({ waitingPuts }) => waitingPuts,
  ],
  [
    "level",
    "waiting_gets",
    "Gets that wait for an item.",
    ({ waitingGets }) => waitingGets,
  ],
  [
    "level",
    "unfinished",
    "Accepted items that nobody has marked as done.",
    ({ own }) => own?.unfinished,
  ],
  [
    "level",
    "oldest_age_seconds",
    "How long the item whose turn it is has been stored.",
    ({ oldestAge }) =>
      oldestAge === undefined ? undefined : Math.max(oldestAge, 0) / 1000,
  ],
  [
    "level",
    "up",
    "1 while the engine that keeps the queue answers, else 0.",
    ({ own, failure }) =>
      own === undefined ? Number(failure === undefined) : undefined,
  ],
  [
    "level",
    "open",
    "1 while the queue takes items, else 0.",
    ({ state }) => state === "open" ? 1 : 0,
  ],
  ["counter", "put", "Items accepted.", ({ put }) => put],
  ["counter", "taken", "Items given to consumers.", ({ taken }) => taken],
];

function escapedLabel(label: string): string {
  return label.replaceAll("\\", "\\\\").replaceAll('"', '\\"')
    .replaceAll("\n", "\\n");
}

function written(value: number): string {
  return value === Infinity ? "+Inf" : String(value);
}
