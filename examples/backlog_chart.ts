/**
 * Draws what a stuck consumer looks like from outside.
 *
 * A queue between a steady producer and a consumer is watched by `monitor()`. The
 * consumer works, hangs until the monitor raises `backlog`, and works again until
 * that is over. The samples and alerts of this run become an SVG: the depth
 * against the highWaterMark over time.
 *
 * ```sh
 * node examples/backlog_chart.ts --output backlog.svg
 * ```
 *
 * @module
 */

import {
  type Alert,
  consume,
  monitor,
  type MonitorSample,
  Queue,
} from "@highwater/queue";
import { writeFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";

const INTERVAL = 25;

const WIDTH = 760;
const HEIGHT = 300;
const PLOT = { left: 52, right: WIDTH - 132, top: 56, bottom: HEIGHT - 40 };

const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 14px; }
  .paper { fill: #ffffff; }
  .axis, .tick { stroke: #8c959f; fill: none; }
  .stuck { fill: #d4a72c; opacity: 0.16; }
  .area { fill: #0969da; opacity: 0.16; }
  .depth { stroke: #0969da; stroke-width: 2; fill: none; }
  .bound { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 6 4; }
  .high { stroke: #8c959f; stroke-dasharray: 2 4; }
  .raised { stroke: #bc4c00; fill: #bc4c00; stroke-width: 1.5; }
  .over { stroke: #1a7f37; fill: #1a7f37; stroke-width: 1.5; }
  text.raised, text.over { stroke: none; font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .paper { fill: #0d1117; }
    .area, .depth { stroke: #58a6ff; }
    .area { fill: #58a6ff; stroke: none; }
    .bound { stroke: #ff7b72; }
    .raised { stroke: #f0883e; fill: #f0883e; }
    .over { stroke: #56d364; fill: #56d364; }
  }`;

/** What the run has left behind. */
interface Run {
  name: string;
  highWaterMark: number;
  high: number;
  samples: MonitorSample[];
  alerts: Alert[];
  /** When the consumer hung, on the clock of the samples. */
  stuck: { from: number; to: number };
}

const { values } = parseArgs({
  options: {
    "output": { type: "string", default: "backlog.svg" },
    "high-water-mark": { type: "string", default: "100" },
    // For how many samples each part of the run goes on.
    "samples": { type: "string", default: "24" },
  },
});

const run = await observe(
  countFrom("high-water-mark", values["high-water-mark"]),
  countFrom("samples", values.samples),
);
writeFileSync(values.output, draw(run));
for (const { kind, of, at, sample } of run.alerts) {
  const what = of === undefined ? kind : `${kind} from ${of}`;
  console.log(
    `${seconds(at - run.samples[0]!.at)} s: ${what}, ${sample.length} items`,
  );
}

function countFrom(name: string, text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 2) return count;
  console.error(`--${name} must be a whole number of 2 or more, got ${text}`);
  process.exit(2);
}

// -- The run --------------------------------------------------------------------

async function observe(highWaterMark: number, part: number): Promise<Run> {
  const high = 0.8;
  const queue = new Queue<number>({ name: "jobs", highWaterMark });
  const samples: MonitorSample[] = [];
  const alerts: Alert[] = [];
  let release = (): void => {};
  let hanging: Promise<void> | undefined;
  let isOver = false;

  const producing = produce(queue, () => isOver);
  const consuming = consume(queue, async () => {
    await hanging;
    await delay(10);
  }, { concurrency: 4 });

  const stuck = { from: 0, to: 0 };
  /** What a sample must look like to count for a part of the run. */
  const parts: ((sample: MonitorSample) => boolean)[] = [
    () => true,
    ({ alerts }) => alerts.includes("backlog"),
    ({ alerts }) => !alerts.includes("backlog"),
  ];
  let at = 0;
  let counted = 0;
  const watching = monitor(queue, {
    interval: INTERVAL,
    sustained: 4 * INTERVAL,
    high,
    onAlert: (alert) => alerts.push(alert),
  });
  for await (const sample of watching) {
    samples.push(sample);
    if (parts[at]!(sample)) counted++;
    if (counted < part) continue;
    counted = 0;
    at++;
    if (at === 1) {
      stuck.from = sample.at;
      hanging = new Promise((resolve) => (release = resolve));
    } else if (at === 2) {
      stuck.to = sample.at;
      hanging = undefined;
      release();
    } else break;
  }
  isOver = true;
  await producing;
  await consuming;
  return { name: "jobs", highWaterMark, high, samples, alerts, stuck };
}

/** Two items each ten milliseconds, as long as there is room. */
async function produce(
  queue: Queue<number>,
  isOver: () => boolean,
): Promise<void> {
  for (let item = 0; !isOver(); item += 2) {
    await queue.putMany([item, item + 1]);
    await delay(10);
  }
  queue.close();
}

// -- The picture ----------------------------------------------------------------

function draw(run: Run): string {
  const { samples, highWaterMark, high, stuck } = run;
  const begin = samples[0]!.at;
  const end = samples.at(-1)!.at;
  const most = Math.max(highWaterMark, ...samples.map(({ length }) => length));
  const x = (at: number): number =>
    round(PLOT.left + (at - begin) / (end - begin) * (PLOT.right - PLOT.left));
  const y = (items: number): number =>
    round(PLOT.bottom - items / (most * 1.1) * (PLOT.bottom - PLOT.top));
  const line = samples.map(({ at, length }) => `${x(at)},${y(length)}`);
  const level = (name: string, items: number, label: string): string =>
    `<line class="${name}" x1="${PLOT.left}" x2="${PLOT.right}" ` +
    `y1="${y(items)}" y2="${y(items)}"/>\n` +
    `<text x="${PLOT.right + 8}" y="${y(items) + 4}">${escaped(label)}</text>`;
  const parts = [
    `<rect class="paper" width="${WIDTH}" height="${HEIGHT}"/>`,
    `<text class="title" x="${PLOT.left}" y="20">` +
    `${escaped(run.name)}: items stored, over time</text>`,
    `<rect class="stuck" x="${x(stuck.from)}" y="${PLOT.top}" ` +
    `width="${round(x(stuck.to) - x(stuck.from))}" ` +
    `height="${PLOT.bottom - PLOT.top}"/>`,
    `<text x="${x(stuck.to) - 6}" y="${PLOT.bottom - 8}" text-anchor="end">` +
    `the consumer hangs</text>`,
    level("bound", highWaterMark, `highWaterMark ${highWaterMark}`),
    level("high", highWaterMark * high, `high ${high}`),
    `<polygon class="area" points="${line[0]!.split(",")[0]},${PLOT.bottom} ` +
    `${line.join(" ")} ${PLOT.right},${PLOT.bottom}"/>`,
    `<polyline class="depth" points="${line.join(" ")}"/>`,
    ...axes(x, y, begin, end, highWaterMark),
    ...marks(run, x, y),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" ` +
    `height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" ` +
    `aria-labelledby="title description">\n` +
    `<title id="title">Depth of the queue ${escaped(run.name)}</title>\n` +
    `<desc id="description">${escaped(described(run))}</desc>\n` +
    `<style>${STYLE}\n</style>\n${parts.join("\n")}\n</svg>\n`;
}

function axes(
  x: (at: number) => number,
  y: (items: number) => number,
  begin: number,
  end: number,
  highWaterMark: number,
): string[] {
  const { left, right, top, bottom } = PLOT;
  const lines = [
    `<path class="axis" d="M${left},${top} V${bottom} H${right}"/>`,
  ];
  const step = Math.max(0.5, Math.ceil((end - begin) / 8000 * 2) / 2);
  for (let time = 0; begin + time * 1000 <= end; time += step) {
    const at = x(begin + time * 1000);
    lines.push(
      `<path class="tick" d="M${at},${bottom} v5"/>`,
      `<text x="${at}" y="${
        bottom + 20
      }" text-anchor="middle">${time} s</text>`,
    );
  }
  for (const items of [0, highWaterMark / 2, highWaterMark]) {
    lines.push(
      `<path class="tick" d="M${left},${y(items)} h-5"/>`,
      `<text x="${left - 9}" y="${
        y(items) + 4
      }" text-anchor="end">${items}</text>`,
    );
  }
  return lines;
}

/** A line and a dot for each alert, with its name above; a second row where two are close. */
function marks(
  { alerts }: Run,
  x: (at: number) => number,
  y: (items: number) => number,
): string[] {
  let last = -Infinity;
  let row = 0;
  return alerts.map(({ kind, of, at, sample }) => {
    const label = of === undefined ? kind : `${of} over`;
    const name = of === undefined ? "raised" : "over";
    row = x(at) - last < 90 ? 1 - row : 0;
    last = x(at);
    const top = PLOT.top - 20 + row * 14;
    return `<line class="${name}" x1="${x(at)}" x2="${x(at)}" y1="${
      top + 3
    }" ` +
      `y2="${PLOT.bottom}"/>\n` +
      `<circle class="${name}" cx="${x(at)}" cy="${
        y(sample.length)
      }" r="4"/>\n` +
      `<text class="${name}" x="${x(at) + 5}" y="${top + 6}">` +
      `${escaped(label)}</text>`;
  });
}

function described({ samples, alerts, highWaterMark }: Run): string {
  const told = alerts.map(({ kind, of, at }) =>
    `${of === undefined ? kind : `${kind} from ${of}`} after ` +
    `${seconds(at - samples[0]!.at)} seconds`
  );
  return `${samples.length} samples, a highWaterMark of ${highWaterMark} ` +
    `items. Alerts: ${told.join(", ")}.`;
}

function seconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(2);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`);
}
