/**
 * What is counted of a queue, in words, for those who collect it: the metrics of the
 * dashboard and OpenTelemetry, which each have some more of their own.
 *
 * @module
 */

import type { Counters } from "./counters.ts";

/** Finds the number; undefined where a queue does not count that. */
export type Reading = (counters: Counters) => number | undefined;

/** A counter only grows. */
export type Measure = readonly [
  kind: "counter" | "level",
  name: string,
  help: string,
  read: Reading,
];

/** What all of them have by the same name. */
export const MEASURES: readonly Measure[] = [
  ["level", "length", "Items stored.", ({ length }) => length],
  ["level", "size", "Weight of the items stored.", ({ size }) => size],
  ["level", "in_flight", "Items that are lent.", ({ inFlight }) => inFlight],
  [
    "level",
    "delayed",
    "Items that a delayed nack keeps back.",
    ({ delayed }) => delayed,
  ],
  [
    "level",
    "dead_letters",
    "Items among the dead letters of the engine.",
    ({ deadLetters }) => deadLetters,
  ],
  [
    "counter",
    "dropped",
    "Items dropped by the overflow policy.",
    ({ own }) => own?.dropped,
  ],
  [
    "counter",
    "undelivered",
    "Accepted items that reached no consumer.",
    ({ own }) => own?.undelivered,
  ],
  [
    "counter",
    "returned",
    "Times a lent item came back.",
    ({ own }) => own?.returned,
  ],
];
