/**
 * The package for npm, as `deno task pack` makes it. Runs on Deno.
 *
 * @module
 */

import { filesBelow, pathOf, run, runDeno, scratchPath } from "./tools.ts";

/** What `deno pack` does not know. */
const FACTS = {
  description:
    "Producer-consumer queues made of web streams: bounded, typed, with backpressure, for Deno, Bun, Node, browsers and edge runtimes",
  keywords: [
    ...["queue", "async", "streams", "web-streams", "backpressure", "bounded"],
    ...["producer-consumer", "priority-queue", "work-stealing", "worker-pool"],
    ...["concurrency", "channel", "redis", "nats", "cloudflare", "typescript"],
  ],
  // `require` of a module needs 20.19; all else runs on any 20.
  engines: { node: ">=20" },
  sideEffects: false,
  peerDependencies: { "@opentelemetry/api": "^1.9.0" },
  peerDependenciesMeta: { "@opentelemetry/api": { optional: true } },
};

/** Makes the tarball and returns its path. */
export async function pack(): Promise<string> {
  const folder = scratchPath("pack");
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  await Deno.mkdir(folder);
  const raw = `${folder}/raw.tgz`;
  await succeeding(runDeno([
    ...["pack", "--quiet", "--allow-dirty", "--no-source-maps"],
    ...["--output", raw],
  ]));
  await succeeding(run("tar", ["-xzf", raw, "-C", folder]));
  const manifest = `${folder}/package/package.json`;
  const made = JSON.parse(await Deno.readTextFile(manifest));
  made.exports["./package.json"] = "./package.json";
  await Deno.writeTextFile(
    manifest,
    JSON.stringify({ ...made, ...FACTS }, null, 2) + "\n",
  );
  for (const file of filesBelow(".cache/pack/package", ".js")) {
    await rewrite(pathOf(file), withNamedSymbols);
  }
  for (const file of filesBelow(".cache/pack/package", ".d.ts")) {
    await rewrite(pathOf(file), declaredAlone);
  }
  const npm = Deno.build.os === "windows" ? "npm.cmd" : "npm";
  await succeeding(run(npm, [
    ...["pack", "--silent", `${folder}/package`],
    ...["--pack-destination", pathOf(".cache")],
  ]));
  return scratchPath(`highwater-queue-${made.version}.tgz`);
}

/** Deno has statements set the names of `[Symbol.x]` members, which bundlers keep, and the class with them. */
function withNamedSymbols(code: string): string {
  const symbols = new Map(
    [...code.matchAll(/(_computedKey\d*) = (Symbol\.\w+)/g)]
      .map(([, key, symbol]) => [key, symbol]),
  );
  return code
    .replace(/\bvar _computedKey[\w, ]*;/, "")
    .replace(/^_computedKey\d* = Symbol\..*;$/gm, "")
    .replace(/\[(_computedKey\d*)\]/g, (_, key) => `[${symbols.get(key)}]`);
}

/** Declarations that need neither a library that is not the default of a target, nor the packages of peers. */
function declaredAlone(declarations: string): string {
  const library = /\b(?:Async)?Disposable\b/.test(declarations)
    ? '/// <reference lib="esnext.disposable" />\n'
    : "";
  // The end of a comment may stand on the line of the import.
  return library + declarations.replace(
    /(import type [^;]* from "@opentelemetry\/api";)/,
    "\n// @ts-ignore It need not be installed.\n$1",
  );
}

async function rewrite(
  path: string,
  change: (text: string) => string,
): Promise<void> {
  await Deno.writeTextFile(path, change(await Deno.readTextFile(path)));
}

async function succeeding(
  running: ReturnType<typeof run>,
): Promise<void> {
  const { success, stdout, stderr } = await running;
  if (!success) throw new Error(`Cannot pack:\n${stdout}${stderr}`);
}
