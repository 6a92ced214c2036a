import { readdirSync, readFileSync } from "node:fs";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "./support/harness.ts";

/** From the ground up: a file imports only from the lines above its own, or files of its own line that do not import it back. */
const LAYERS: readonly string[][] = [
  ["src/errors.ts"],
  [
    "src/arguments.ts",
    "src/callbacks.ts",
    "src/chain.ts",
    "src/clock.ts",
    "src/delivery.ts",
    "src/json_item.ts",
    "src/printing.ts",
  ],
  [
    "src/codec.ts",
    "src/putting.ts",
    "src/strategy.ts",
    "src/waiters.ts",
  ],
  [
    "src/structured.ts",
    "src/takers.ts",
    "src/buffers/buffer.ts",
    "src/buffers/tree.ts",
  ],
  ["src/leases.ts"],
  [
    "src/buffers/ring.ts",
    "src/buffers/heap.ts",
    "src/buffers/index_set.ts",
    "src/buffers/tournament.ts",
  ],
  ["src/buffers/lanes.ts"],
  ["src/views/native.ts", "src/views/pipe.ts"],
  ["src/views/readable.ts", "src/views/writable.ts"],
  ["src/queue.ts"],
  ["src/lifo_queue.ts", "src/priority_queue.ts", "src/work_stealing_queue.ts"],
  [
    "src/flow/source.ts",
    "src/flow/demand.ts",
    "src/flow/fan.ts",
  ],
  ["src/flow/retry.ts"],
  ["src/flow/pump.ts"],
  [
    "src/flow/balance.ts",
    "src/flow/broadcast.ts",
    "src/flow/concurrent_map.ts",
    "src/flow/merge.ts",
    "src/flow/merge_sorted.ts",
    "src/flow/partition.ts",
    "src/flow/select.ts",
    "src/flow/tee.ts",
    "src/flow/zip.ts",
  ],
  ["src/counters.ts"],
  ["src/monitor.ts"],
  [
    "src/dashboard/credentials.ts",
    "src/dashboard/metrics.ts",
    "src/dashboard/script.ts",
    "src/dashboard/style.ts",
  ],
  ["src/dashboard/page.ts"],
  ["src/dashboard.ts"],
  [
    "src/flow/dead_letter.ts",
    "src/flow/histogram.ts",
    "src/flow/intake.ts",
    "src/flow/keys.ts",
    "src/flow/rate.ts",
  ],
  ["src/flow/consume_options.ts"],
  ["src/flow/consume_error.ts"],
  ["src/flow/calls.ts"],
  ["src/flow/own_puts.ts"],
  ["src/flow/consume.ts"],
  ["src/flow/replay.ts"],
  ["mod.ts"],
  ["src/engines/headers.ts"],
  ["src/engines/closing.ts", "src/engines/driver.ts"],
  ["src/engines/engine_queue.ts", "src/engines/link.ts"],
  ["src/otel/client.ts"],
  ["src/otel.ts"],
  ["src/engines/lent.ts", "src/engines/outbox.ts"],
  ["src/engines/putting.ts"],
  ["src/engines/cloudflare_types.ts"],
  ["src/engines/cloudflare_queue.ts"],
  ["src/engines/cloudflare_letter.ts"],
  ["src/engines/cloudflare_batch.ts"],
  ["src/engines/cloudflare_handler.ts"],
  ["src/cloudflare.ts"],
  ["src/engines/inbox.ts"],
  ["src/engines/engine_handle.ts"],
  ["src/engines/redis_client.ts", "src/engines/redis_scripts.ts"],
  ["src/engines/redis_bell.ts"],
  ["src/engines/redis_driver.ts"],
  ["src/engines/redis_queue.ts"],
  ["src/redis.ts"],
  ["src/engines/nats_client.ts"],
  ["src/engines/nats_wire.ts", "src/engines/nats_orders.ts"],
  ["src/engines/nats_driver.ts"],
  ["src/engines/nats_queue.ts"],
  ["src/nats.ts"],
  ["src/threads/endpoint.ts", "src/threads/failure.ts"],
  ["src/threads/layout.ts", "src/threads/ear.ts"],
  [
    "src/threads/pulse.ts",
    "src/threads/record.ts",
    "src/threads/reason_text.ts",
  ],
  ["src/threads/lock.ts", "src/threads/members.ts", "src/threads/runs.ts"],
  ["src/threads/ring.ts"],
  ["src/threads/shared_queue.ts"],
  ["src/threads/port_errors.ts", "src/threads/port_options.ts"],
  ["src/threads/port_frames.ts"],
  ["src/threads/port_protocol.ts"],
  [
    "src/threads/port_arrivals.ts",
    "src/threads/port_departures.ts",
    "src/threads/port_session.ts",
  ],
  ["src/threads/port_queue.ts", "src/threads/serve.ts"],
  [
    "src/threads/claims.ts",
    "src/threads/job.ts",
    "src/threads/messages.ts",
    "src/threads/thread.ts",
  ],
  ["src/threads/member.ts", "src/threads/work.ts"],
  ["src/threads/worker_pool.ts"],
  ["src/threads.ts"],
];

/** Packages of whose types a file may speak. Nothing of them is there at run time. */
const TYPES: Readonly<Record<string, string>> = {
  "src/otel.ts": "@opentelemetry/api",
};

const root = new URL("../", import.meta.url);

function sources(folder: string): string[] {
  const found: string[] = [];
  for (
    const entry of readdirSync(new URL(folder, root), { withFileTypes: true })
  ) {
    if (entry.isDirectory()) found.push(...sources(`${folder}${entry.name}/`));
    else if (entry.name.endsWith(".ts")) found.push(`${folder}${entry.name}`);
  }
  return found;
}

function importsOf(file: string): string[] {
  const text = readFileSync(new URL(file, root), "utf8");
  // Types count: a cycle of types is a cycle for the reader.
  const found = text.matchAll(
    /^(import type|import|export)\b[^;]*?from "([^"]+)";/gm,
  );
  return [...found].map((match) => {
    const specifier = match[2]!;
    if (!specifier.startsWith(".")) {
      return match[1] === "import type" ? `types of ${specifier}` : specifier;
    }
    const at = new URL(specifier, new URL(file, root));
    return decodeURIComponent(at.href.slice(root.href.length));
  });
}

/** What is wrong with an import, or undefined. */
function fault(file: string, imported: string): string | undefined {
  const level = (name: string): number =>
    LAYERS.findIndex((layer) => layer.includes(name));
  if (imported === `types of ${TYPES[file]}`) return undefined;
  if (level(imported) === -1) return `${file} imports ${imported}`;
  if (level(imported) < level(file)) return undefined;
  return `${file} imports ${imported}, which is not below it`;
}

test("layers: every file has its layer", () => {
  assertEquals([...sources("src/"), "mod.ts"].sort(), LAYERS.flat().sort());
});

test("layers: imports only point down, and only into the project", () => {
  const files = LAYERS.flat();
  const imports = files.flatMap((file) =>
    importsOf(file).map((imported) => [file, imported] as const)
  );
  assert(imports.length > files.length, "the imports were found");
  assertEquals(
    imports.map(([file, imported]) => fault(file, imported))
      .filter((found) => found !== undefined),
    [],
  );
});

test("layers: an upward arrow and a foreign package would be found", () => {
  assertStringIncludes(
    fault("src/buffers/ring.ts", "src/queue.ts") ?? "",
    "not below",
  );
  assertStringIncludes(fault("src/queue.ts", "npm:left-pad") ?? "", "left-pad");
  const types = "types of @opentelemetry/api";
  assertStringIncludes(fault("src/queue.ts", types) ?? "", types);
  assertEquals(fault("src/otel.ts", types), undefined);
  assertStringIncludes(fault("src/otel.ts", "@opentelemetry/api") ?? "", "api");
  assertEquals(fault("src/queue.ts", "src/buffers/ring.ts"), undefined);
});
