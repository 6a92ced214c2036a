/**
 * The counters of queues in the text format that Prometheus reads.
 *
 * @module
 */

import type { Counters } from "../counters.ts";

interface Metric {
  name: string;
  type: "counter" | "gauge";
  help: string;
  /** Undefined where a queue does not count that. */
  valueOf(counters: Counters): number | undefined;
}

/** One metric after the other, each with a line for every queue. */
export function metricsOf(all: readonly Counters[]): string {
  const lines: string[] = [];
  for (const { name, type, help, valueOf } of metrics()) {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [index, counters] of all.entries()) {
      // Numbers of before are none: an engine that fails has nothing but "up".
      const isKnown = counters.failure === undefined || name.endsWith("_up");
      const value = isKnown ? valueOf(counters) : undefined;
      if (value === undefined) continue;
      // The index, for queues that share a name.
      const labels = `queue="${escaped(counters.name)}",index="${index}"`;
      lines.push(`${name}{${labels}} ${written(value)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function metrics(): Metric[] {
  return [
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
      ({ own }) => own?.peakLength,
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
      ({ own }) => own?.unfinished,
    ),
    gauge(
      "oldest_age_seconds",
      "How long the item whose turn it is has been stored.",
      ({ oldestAge }) =>
        oldestAge === undefined ? undefined : Math.max(oldestAge, 0) / 1000,
    ),
    gauge(
      "dead_letters",
      "Items among the dead letters of the engine.",
      ({ deadLetters }) => deadLetters,
    ),
    gauge(
      "up",
      "1 while the engine that keeps the queue answers, else 0.",
      ({ own, failure }) =>
        own === undefined ? Number(failure === undefined) : undefined,
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
      ({ own }) => own?.dropped,
    ),
    counter(
      "undelivered",
      "Accepted items that reached no consumer.",
      ({ own }) => own?.undelivered,
    ),
    counter(
      "returned",
      "Times a lent item came back.",
      ({ own }) => own?.returned,
    ),
  ];
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
