/**
 * The page of the dashboard: one document that needs nothing but its events.
 *
 * @module
 */

import { SCRIPT } from "./script.ts";
import { STYLE } from "./style.ts";

const NUMBERS: readonly (readonly [value: string, label: string])[] = [
  ["length", "Items stored"],
  ["inRate", "In, a second"],
  ["outRate", "Out, a second"],
  ["waitingPuts", "Waiting puts"],
  ["waitingGets", "Waiting gets"],
  ["inFlight", "Lent"],
  ["deadLetters", "Dead letters"],
  ["oldestAge", "Oldest"],
  ["fullIn", "Full in"],
  ["emptyIn", "Empty in"],
  ["state", "State"],
];

/** A line of a chart: its class, its name, and whether it is dashed. */
type ChartLine = readonly [name: string, legend: string, dashed?: "dashed"];

/** The page for queues of these names. Only what carries the nonce runs in it. */
export function pageOf(title: string, names: string[], nonce: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapedHtml(title)}</title>
<link rel="icon" href="data:,">
<style nonce="${nonce}">${STYLE}</style>
</head>
<body>
<header>
<h1>${escapedHtml(title)}</h1>
<p id="status" role="status"></p>
<button id="pause" type="button" aria-pressed="false" hidden>Pause</button>
</header>
<noscript><p>The charts need JavaScript.</p></noscript>
<main>
${names.map(sectionOf).join("\n")}
</main>
<template id="panel">${panel()}</template>
<section id="log" aria-labelledby="log-title">
<h2 id="log-title">Alerts since this page was opened</h2>
<ol role="log"></ol>
</section>
<footer><a href="metrics">The same as text for Prometheus</a></footer>
<script nonce="${nonce}">${SCRIPT}</script>
</body>
</html>
`;
}

/** What a queue has below its name. Once in the page, however many there are. */
function panel(): string {
  return `<ul class="alerts" aria-label="Alerts now"></ul>
${
    chartOf("depth", "stored, against the bound", [
      ["stored", "stored"],
      ["bound", "bound", "dashed"],
    ])
  }
${
    chartOf("rates", "in and out, a second", [
      ["in", "in, a second"],
      ["out", "out, a second", "dashed"],
    ])
  }
${
    chartOf("waits", "waiting puts and gets", [
      ["puts", "waiting puts"],
      ["gets", "waiting gets", "dashed"],
    ])
  }
<dl>${
    NUMBERS.map(([value, label]) =>
      `<div><dt>${label}</dt><dd data-value="${value}">–</dd></div>`
    ).join("")
  }</dl>`;
}

function sectionOf(name: string, index: number): string {
  const shown = escapedHtml(name === "" ? `Queue ${index}` : name);
  return `<section data-index="${index}" aria-labelledby="q${index}">` +
    `<h2 id="q${index}">${shown}</h2></section>`;
}

/** A slider, since arrow keys move through its moments. */
function chartOf(
  kind: string,
  label: string,
  lines: readonly ChartLine[],
): string {
  const legend = lines.map(([name, text, dashed]) =>
    `<b class="of-${name}">${dashed ? "┄" : "━"} ${text}</b>`
  ).join("");
  const paths = ["area", ...lines.map(([name]) => name), "cursor"]
    .map((name) => `<path class="${name}" />`).join("");
  return `<figure><figcaption>${legend}<span class="top"></span></figcaption>
<svg class="${kind}" viewBox="0 0 600 100" preserveAspectRatio="none" role="slider" tabindex="0" aria-label="${label}" aria-valuemin="0" aria-valuemax="0" aria-valuenow="0">${paths}</svg>
<output aria-live="off">–</output></figure>`;
}

/** What may stand where text does, and in an attribute. */
function escapedHtml(text: string): string {
  return text.replace(
    /[&<>"']/g,
    (character) => `&#${character.charCodeAt(0)};`,
  );
}
