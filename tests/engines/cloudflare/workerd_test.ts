/**
 * The Queues of Cloudflare as they run on this machine: real Workers in workerd,
 * behind the broker of miniflare.
 */

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { assert, assertEquals } from "@std/assert";
import { Miniflare, Response } from "miniflare";
import type { ConsumeReport } from "../../../mod.ts";
import type { CloudflareDeadLetter } from "../../../src/cloudflare.ts";
import type { Asked } from "../../fixtures/cloudflare_worker.ts";
import { test } from "../../support/harness.ts";
import { pause } from "../../support/waiting.ts";

const ESBUILD = fileURLToPath(
  new URL("../../../node_modules/esbuild/bin/esbuild", import.meta.url),
);

/** A batch before anything is done with it. */
interface Begun {
  queue: string;
  /** The most of its messages. */
  attempts: number;
}

/** The test's side of the Worker. */
class Host {
  readonly asked: Asked[] = [];
  readonly letters: CloudflareDeadLetter[] = [];
  readonly reports: ConsumeReport[] = [];
  /** Batches that are worked on. */
  batches = 0;
  /** What becomes of an item: the words of a failure, or nothing. */
  decide: (asked: Asked) => string | void | Promise<string | void> = () => {};
  /** Whether a batch kills the Worker, and how. */
  begin: (batch: Begun) => string = () => "";
  send: (count: number) => Promise<void> | void = () => {};
  readonly #waiting: Set<() => void> = new Set();

  async answer(path: string, what: unknown): Promise<string> {
    let answer = "";
    if (path === "/ask") {
      this.asked.push(what as Asked);
      this.#changed();
      answer = await this.decide(what as Asked) ?? "";
    } else if (path === "/letter") {
      this.letters.push(what as CloudflareDeadLetter);
    } else if (path === "/begin") {
      this.batches++;
      answer = this.begin(what as Begun);
    } else if (path === "/end") {
      this.batches--;
      this.reports.push(...what as ConsumeReport[]);
    } else await this.send(what as number);
    this.#changed();
    return answer;
  }

  /** Fulfils when the condition holds. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  #changed(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}

let host: Host;
let started: Promise<Miniflare> | undefined;

const QUEUES = [
  "tasks",
  "coded",
  "plain",
  "keyed",
  "patient",
  "hasty",
  "brief",
  "poison",
];

async function start(): Promise<Miniflare> {
  const miniflare = new Miniflare({
    modules: true,
    compatibilityDate: "2026-04-01",
    script: await bundle("../../fixtures/cloudflare_worker.ts"),
    queueProducers: Object.fromEntries(
      [...QUEUES, "dead"].map((queue) => [queue.toUpperCase(), queue]),
    ),
    queueConsumers: Object.fromEntries(
      [...QUEUES, "dead"].map((queue) => [queue, {
        maxBatchSize: 10,
        // Long enough for what was sent together to come together.
        maxBatchTimeout: queue === "keyed" || queue === "brief" ? 0.5 : 0.02,
        maxRetries: queue === "plain" ? 2 : 10,
        ...(queue === "plain" ? { deadLetterQueue: "dead" } : {}),
      }]),
    ),
    serviceBindings: {
      async HOST(request: { url: string; json(): Promise<unknown> }) {
        const { pathname } = new URL(request.url);
        return new Response(await host.answer(pathname, await request.json()));
      },
    },
  });
  await miniflare.ready;
  return miniflare;
}

function bundle(path: string): Promise<string> {
  const entry = fileURLToPath(new URL(path, import.meta.url));
  const flags = [
    "--bundle",
    "--format=esm",
    "--target=es2022",
    "--log-level=warning",
  ];
  return new Promise((resolve, reject) =>
    execFile(ESBUILD, [entry, ...flags], (error, stdout) => {
      if (error) reject(error);
      else resolve(stdout);
    })
  );
}

async function ask(
  path: string,
  body: string,
): Promise<{ result?: unknown; error?: string }> {
  const miniflare = await (started ??= start());
  const response = await miniflare.dispatchFetch(`http://worker${path}`, {
    method: "POST",
    body,
  });
  return await response.json() as { result?: unknown; error?: string };
}

async function put(queue: string, items: unknown[]): Promise<unknown> {
  const coded = queue === "CODED" ? "&coded" : "";
  const { result, error } = await ask(
    `/put?queue=${queue}${coded}`,
    JSON.stringify(items),
  );
  assertEquals(error, undefined);
  return result;
}

function workerdTest(name: string, body: () => Promise<void>): void {
  test(`workerd: ${name}`, async () => {
    host = new Host();
    await body();
    await host.until(() => host.batches === 0);
  }, {
    // One workerd for all.
    sanitize: false,
    skip: existsSync(ESBUILD)
      ? undefined
      : "esbuild is missing: deno task tools",
  });
}

workerdTest("120 items go in two requests and all arrive once", async () => {
  const items = Array.from({ length: 120 }, (_, index) => `${index}`);
  assertEquals(await put("TASKS", items), [100, 20]);
  await host.until(() => host.asked.length === 120);
  assertEquals(
    host.asked.map(({ item }) => Number(item)).sort((a, b) => a - b),
    items.map(Number),
  );
  assert(host.asked.every(({ attempt }) => attempt === 1));
});

workerdTest(
  "what fails is delivered again, attempts 1, 2, 3, and then is a dead letter with its reason; the rest is done once",
  async () => {
    host.decide = ({ item }) => item === "bad" ? "No luck" : undefined;
    await put("TASKS", ["a", "bad", "b"]);
    await host.until(() => host.letters.length === 1);
    assertEquals(
      host.asked.filter(({ item }) => item === "bad")
        .map(({ attempt }) => attempt),
      [1, 2, 3],
    );
    assertEquals(host.asked.filter(({ item }) => item !== "bad").length, 2);
    const { queue, body, attempts, reason, error } = host.letters[0]!;
    assertEquals([queue, body, attempts, reason, error], [
      "tasks",
      "bad",
      3,
      "failed",
      "Error: No luck",
    ]);
    await host.until(() => host.batches === 0);
    const sum = (count: (report: ConsumeReport) => number): number =>
      host.reports.reduce((total, report) => total + count(report), 0);
    assertEquals(
      [
        sum(({ processed }) => processed),
        sum(({ retried }) => retried),
        sum(({ deadLettered }) => deadLettered),
      ],
      [2, 2, 1],
    );
  },
);

workerdTest(
  "as many items of a batch are worked on at a time as told",
  async () => {
    let running = 0;
    let most = 0;
    let release!: () => void;
    const released = new Promise<void>((resolve) => release = resolve);
    host.decide = async () => {
      most = Math.max(most, ++running);
      if (running === 4) release();
      await released;
      running--;
    };
    await put("TASKS", ["a", "b", "c", "d", "e", "f", "g", "h"]);
    await host.until(() => host.asked.length === 8 && running === 0);
    assertEquals(most, 4);
  },
);

workerdTest(
  "a codec is the same on both sides, and what it cannot read ends as a dead letter",
  async () => {
    await put("CODED", ["fine"]);
    await ask("/text?queue=CODED", "{");
    await ask("/map?queue=CODED", "");
    await host.until(() => host.letters.length === 2);
    assertEquals(host.asked.map(({ item }) => item), ["fine"]);
    assertEquals(
      host.letters.map(({ body, reason, attempts }) => [body, reason, attempts])
        .sort(),
      [["a Map", "undecodable", 2], ["{", "undecodable", 2]],
    );
  },
);

workerdTest(
  "without a deadLetter Cloudflare's own queue gets the bare item",
  async () => {
    host.decide = () => "No luck";
    await put("PLAIN", ["bad"]);
    await host.until(() => host.letters.length === 1);
    assertEquals(host.letters as unknown[], ["bad"]);
    assertEquals(host.asked.map(({ attempt }) => attempt), [1, 2, 3]);
  },
);

workerdTest("items of one key stay in order, retries included", async () => {
  host.decide = ({ item, attempt }) =>
    item === "a1" && attempt < 3 ? "Again" : undefined;
  await put("KEYED", ["a1", "b1", "a2", "b2", "a3"]);
  await host.until(() => host.reports.length === 1);
  const of = (key: string): string[] =>
    host.asked.filter(({ item }) => item.startsWith(key))
      .map(({ item, attempt }) => `${item} ${attempt}`);
  assertEquals(of("a"), ["a1 1", "a1 2", "a1 3", "a2 1", "a3 1"]);
  assertEquals(of("b"), ["b1 1", "b2 1"]);
});

workerdTest(
  "what is to be delivered later comes after what was put behind it",
  async () => {
    host.decide = async ({ item, attempt }) => {
      if (item !== "late" || attempt > 1) return;
      await put("PATIENT", ["next"]);
      return "Not now";
    };
    await put("PATIENT", ["late"]);
    await host.until(() => host.asked.length === 3);
    assertEquals(host.asked.map(({ item, attempt }) => `${item} ${attempt}`), [
      "late 1",
      "next 1",
      "late 2",
    ]);
  },
);

workerdTest(
  "an attempt that takes too long is aborted and delivered again",
  async () => {
    host.decide = ({ item, attempt }) =>
      item === "slow" && attempt === 1 ? new Promise(() => {}) : undefined;
    await put("HASTY", ["slow", "quick"]);
    await host.until(() => host.asked.length >= 3);
    const attempts = host.asked.filter(({ item }) => item === "slow")
      .map(({ attempt }) => attempt);
    assertEquals(attempts, [1, 2]);
  },
);

workerdTest(
  "of a batch that takes too long nothing is done by mistake",
  async () => {
    host.decide = ({ item, attempt }) =>
      item === "b" && attempt === 1 ? new Promise(() => {}) : undefined;
    await put("BRIEF", ["a", "b", "c", "d"]);
    await host.until(() => host.asked.length === 5);
    assertEquals(host.asked.map(({ item, attempt }) => `${item} ${attempt}`), [
      "a 1",
      "b 1",
      "b 2",
      "c 2",
      "d 2",
    ]);
    await host.until(() => host.batches === 0);
    assertEquals(host.reports.map(({ stopped }) => stopped), [true, false]);
  },
);

workerdTest("what brings the Worker down is not tried for ever", async () => {
  host.begin = ({ queue, attempts }) =>
    queue === "poison" && attempts < 3 ? "Killed" : "";
  await put("POISON", ["bad"]);
  await host.until(() => host.letters.length === 1);
  assertEquals(host.asked, []);
  const [{ body, reason, attempts }] = host.letters as [CloudflareDeadLetter];
  assertEquals([body, reason, attempts], ["bad", "deliveries", 3]);
});

workerdTest(
  "the largest item passes, a larger one is refused before Cloudflare does it",
  async () => {
    const largest = "x".repeat(127_898);
    assertEquals(await put("TASKS", [largest, largest, "small"]), [1, 2]);
    await host.until(() => host.asked.length === 3);
    assertEquals(host.asked.map(({ item }) => item.length).sort(), [
      127_898,
      127_898,
      5,
    ]);
    const { error } = await ask(
      "/put?queue=TASKS",
      JSON.stringify([`${largest}x`]),
    );
    assertEquals(
      error,
      "RangeError: Cannot put: the encoded item must be at most 127900 bytes, received 127901",
    );
    const theirs = await ask("/text?queue=TASKS", "x".repeat(128_001));
    assert(theirs.error !== undefined, "Cloudflare took it");
  },
);

workerdTest(
  "a pipe waits while as many puts as highWaterMark have no answer",
  async () => {
    const items = Array.from({ length: 20 }, (_, index) => `${index}`);
    let sends = 0;
    host.send = async () => {
      sends++;
      await pause(1);
    };
    const { result } = await ask("/pipe?queue=TASKS", JSON.stringify(items));
    const { pulled, most } = result as { pulled: number; most: number };
    assertEquals(pulled, 20);
    assert(most <= 3, `received ${most}`);
    assert(sends >= 7, `received ${sends}`);
    await host.until(() => host.asked.length === 20);
  },
);

workerdTest("ends", async () => {
  await (await started)?.dispose();
});
