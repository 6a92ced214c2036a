import { readdirSync, readFileSync } from "node:fs";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "./support/harness.ts";

/**
 * From the ground up: a file or folder imports from the rules above its own, and
 * from its own, but never in a circle. The longest path that fits is what counts.
 */
const LAYERS: readonly string[][] = [
  ["src/errors.ts"],
  ["src/callbacks.ts", "src/checks.ts", "src/chain.ts", "src/clock.ts"],
  [
    "src/delivery.ts",
    "src/printing.ts",
    "src/json_item.ts",
    "src/retry.ts",
  ],
  ["src/codec.ts", "src/structured.ts"],
  ["src/waiters.ts", "src/strategy.ts", "src/taking.ts", "src/putting.ts"],
  ["src/lifecycle.ts", "src/leases.ts", "src/buffers/"],
  ["src/views/"],
  ["src/queue.ts"],
  ["src/lifo_queue.ts", "src/priority_queue.ts", "src/work_stealing_queue.ts"],
  ["src/flow/"],
  ["src/flow/consume/", "src/flow/replay.ts"],
  ["src/counters.ts", "src/measures.ts", "src/monitor.ts"],
  ["mod.ts", "src/dashboard/", "src/dashboard.ts"],
  ["src/engines/core/", "src/threads/"],
  ["src/engines/", "src/otel/", "src/otel.ts"],
  ["src/threads.ts", "src/redis.ts", "src/nats.ts", "src/cloudflare.ts"],
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

/** The rule of a file: that of its longest path. -1 without one. */
function level(file: string): number {
  let [found, length] = [-1, 0];
  for (const [index, paths] of LAYERS.entries()) {
    for (const path of paths) {
      const fits = path === file ||
        (path.endsWith("/") && file.startsWith(path));
      if (fits && path.length > length) [found, length] = [index, path.length];
    }
  }
  return found;
}

/** What is wrong with an import, or undefined. */
function fault(file: string, imported: string): string | undefined {
  if (imported === `types of ${TYPES[file]}`) return undefined;
  if (level(imported) === -1) return `${file} imports ${imported}`;
  if (level(imported) <= level(file)) return undefined;
  return `${file} imports ${imported}, which is not below it`;
}

/** A circle of imports, as the files on it; undefined if there is none. */
function circle(
  imports: ReadonlyMap<string, readonly string[]>,
): string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  function visit(file: string): string[] | undefined {
    const at = path.indexOf(file);
    if (at !== -1) return [...path.slice(at), file];
    if (done.has(file)) return undefined;
    path.push(file);
    for (const imported of imports.get(file) ?? []) {
      const found = visit(imported);
      if (found !== undefined) return found;
    }
    path.pop();
    done.add(file);
    return undefined;
  }
  for (const file of imports.keys()) {
    const found = visit(file);
    if (found !== undefined) return found;
  }
  return undefined;
}

const FILES: readonly string[] = [...sources("src/"), "mod.ts"];

test("layers: every file has its layer, and every layer a file", () => {
  assertEquals(FILES.filter((file) => level(file) === -1), []);
  const used = new Set(FILES.map(level));
  assertEquals(LAYERS.filter((_, index) => !used.has(index)), []);
});

test("layers: imports only point down, never in a circle, and only into the project", () => {
  const imports = new Map(FILES.map((file) => [file, importsOf(file)]));
  const faults = [...imports].flatMap(([file, all]) =>
    all.map((imported) => fault(file, imported))
  );
  assert(faults.length > FILES.length, "the imports were found");
  assertEquals(faults.filter((found) => found !== undefined), []);
  assertEquals(circle(imports), undefined);
});

test("layers: an upward arrow, a circle and a foreign package would be found", () => {
  assertStringIncludes(
    fault("src/buffers/ring.ts", "src/queue.ts") ?? "",
    "not below",
  );
  const imports = { a: ["b", "c"], c: ["d"], d: ["a"] };
  assertEquals(circle(new Map(Object.entries(imports))), ["a", "c", "d", "a"]);
  assertStringIncludes(fault("src/queue.ts", "npm:left-pad") ?? "", "left-pad");
  const types = "types of @opentelemetry/api";
  assertStringIncludes(fault("src/queue.ts", types) ?? "", types);
  assertEquals(fault("src/otel.ts", types), undefined);
  assertStringIncludes(fault("src/otel.ts", "@opentelemetry/api") ?? "", "api");
  assertEquals(fault("src/queue.ts", "src/buffers/ring.ts"), undefined);
});
