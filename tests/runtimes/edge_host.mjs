// Runs on Node: `node edge_host.mjs SCRIPT` runs the script in edge-runtime
// and prints the results of its runConformance() as JSON.

import { readFileSync } from "node:fs";
import process from "node:process";
import { EdgeRuntime } from "edge-runtime";

const runtime = new EdgeRuntime({
  initialCode: `${readFileSync(process.argv[2], "utf8")}
addEventListener("fetch", (event) => {
  event.respondWith(runConformance().then((results) => Response.json(results)));
});`,
});

// Promises alone do not keep Node alive.
const keepAlive = setInterval(() => {}, 1_000);
const response = await runtime.dispatchFetch("http://127.0.0.1/");
process.stdout.write(await response.text());
clearInterval(keepAlive);
