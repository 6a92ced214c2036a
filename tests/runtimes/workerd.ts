/**
 * Runs the conformance suite inside a request to workerd.
 *
 * @module
 */

import type { TestResult } from "../support/junit.ts";
import { binPath, scratchPath } from "../support/tools.ts";
import { pause } from "../support/waiting.ts";
import { freePort } from "../support/server_process.ts";

/** Serves the script as a worker on loopback and asks it once. */
export async function runInWorkerd(script: string): Promise<TestResult[]> {
  const port = await freePort();
  Deno.writeTextFileSync(
    scratchPath("worker.mjs"),
    `${script}\nexport default { async fetch() {
  return Response.json(await globalThis.runConformance());
} };\n`,
  );
  const config = scratchPath("workerd.capnp");
  Deno.writeTextFileSync(
    config,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .worker) ],
  sockets = [ (name = "http", address = "127.0.0.1:${port}", http = (), service = "main") ],
);
const worker :Workerd.Worker = (
  modules = [ (name = "worker.mjs", esModule = embed "worker.mjs") ],
  compatibilityDate = "2026-11-01",
);
`,
  );
  const server = new Deno.Command(binPath("workerd"), {
    args: ["serve", config],
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  try {
    const response = await answering(`http://127.0.0.1:${port}/`);
    const text = await response.text();
    if (!response.ok) throw new Error(`workerd answered ${text}`);
    return JSON.parse(text) as TestResult[];
  } finally {
    server.kill("SIGKILL");
    await server.status;
  }
}

/** Asks until the server listens. */
async function answering(address: string): Promise<Response> {
  for (let attempt = 0; attempt < 900; attempt++) {
    try {
      return await fetch(address, { signal: AbortSignal.timeout(900_000) });
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      await pause(100);
    }
  }
  throw new Error("workerd does not listen");
}
