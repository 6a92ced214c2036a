/**
 * The package for npm, as `deno task pack` makes it. Runs on Deno.
 *
 * @module
 */

import { pathOf, run, runDeno, scratchPath } from "./tools.ts";

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
  await Deno.writeTextFile(
    manifest,
    JSON.stringify({ ...made, ...FACTS }, null, 2) + "\n",
  );
  const otel = `${folder}/package/src/otel.d.ts`;
  const declared = await Deno.readTextFile(otel);
  // The end of a comment may stand on the line of the import.
  await Deno.writeTextFile(
    otel,
    declared.replace(
      /(import type [^;]* from "@opentelemetry\/api";)/,
      "\n// @ts-ignore It need not be installed.\n$1",
    ),
  );
  const npm = Deno.build.os === "windows" ? "npm.cmd" : "npm";
  await succeeding(run(npm, [
    ...["pack", "--silent", `${folder}/package`],
    ...["--pack-destination", pathOf(".cache")],
  ]));
  return scratchPath(`highwater-queue-${made.version}.tgz`);
}

async function succeeding(
  running: ReturnType<typeof run>,
): Promise<void> {
  const { success, stdout, stderr } = await running;
  if (!success) throw new Error(`Cannot pack:\n${stdout}${stderr}`);
}
