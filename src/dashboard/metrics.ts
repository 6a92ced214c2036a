/**
 * The counters of queues in the text format that Prometheus reads.
 *
 * @module
 */

import type { QueueStats } from "../queue.ts";

interface Metric {
  name: string;
  type: "counter" | "gauge";
  help: string;
  valueOf(stats: QueueStats, now: number): number | undefined;
}

const METRICS: readonly Metric[] = [
  gauge("length", "Items stored.", ({ length }) => length),
  gauge("size", "Weight of the items stored.", ({ size }) => size),
  gauge(
    "high_water_mark",
    "The bound, in the unit of size.",
    ({ highWaterMark }) => highWaterMark,
  ),
  gauge(
    "peak_length",
    "The most items ever stored at once.",
    ({ peakLength }) => peakLength,
  ),
  gauge(
    "waiting_puts",
    "Puts that wait for room.",
    ({ waitingPuts }) => waitingPuts,
  ),
  gauge(
    "waiting_gets",
    "Gets that wait for an item.",
    ({ waitingGets }) => waitingGets,
  ),
  gauge("in_flight", "Items that are lent.", ({ inFlight }) => inFlight),
  gauge(
    "delayed",
    "Items that a delayed nack keeps back.",
    ({ delayed }) => delayed,
  ),
  gauge(
    "unfinished",
    "Accepted items that nobody has marked as done.",
    ({ unfinished }) => unfinished,
  ),
  gauge(
    "oldest_age_seconds",
    "How long the item whose turn it is has been stored.",
    ({ oldest }, now) =>
      oldest === undefined ? undefined : Math.max(now - oldest, 0) / 1000,
  ),
  gauge(
    "open",
    "1 while the queue takes items, else 0.",
    ({ state }) => state === "open" ? 1 : 0,
  ),
  counter("put", "Items accepted.", ({ put }) => put),
  counter("taken", "Items given to consumers.", ({ taken }) => taken),
  counter(
    "dropped",
    "Items dropped by the overflow policy.",
    ({ dropped }) => dropped,
  ),
  counter(
    "undelivered",
    "Accepted items that reached no consumer.",
    ({ undelivered }) => undelivered,
  ),
  counter(
    "returned",
    "Times a lent item came back.",
    ({ returned }) => returned,
  ),
];

/** One metric after the other, each with a line for every queue. */
export function metricsOf(all: QueueStats[], now: number): string {
  const lines: string[] = [];
  for (const { name, type, help, valueOf } of METRICS) {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [index, stats] of all.entries()) {
      const value = valueOf(stats, now);
      if (value === undefined) continue;
      // The index, for queues that share a name.
      const labels = `queue="${escaped(stats.name)}",index="${index}"`;
      lines.push(`${name}{${labels}} ${written(value)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function gauge(
  name: string,
  help: string,
  valueOf: Metric["valueOf"],
): Metric {
  return { name: `highwater_queue_${name}`, type: "gauge", help, valueOf };
}

function counter(
  name: string,
  help: string,
  valueOf: Metric["valueOf"],
): Metric {
  const full = `highwater_queue_${name}_total`;
  return { name: full, type: "counter", help, valueOf };
}

function escaped(label: string): string {
  return label.replaceAll("\\", "\\\\").replaceAll('"', '\\"')
    .replaceAll("\n", "\\n");
}

function written(value: number): string {
  return value === Infinity ? "+Inf" : String(value);
}
