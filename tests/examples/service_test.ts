/**
 * `examples/service.ts` in a process of its own, under load, with signals.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import type { ChildProcess } from "node:child_process";
import { Agent, request } from "node:http";
import process from "node:process";
import { type Outcome, outcomeOf, startExample } from "../support/example.ts";
import { test } from "../support/harness.ts";

const REQUESTS = 10_000;

/** What became of the jobs, by the words that the service prints. */
interface Fates {
  done: number[];
  unfinished: number[];
  report: Record<string, number>;
}

test(
  "service: of 10,000 requests with a SIGTERM in the middle, every accepted one is worked on, and it ends with 0",
  async () => {
    const service = startExample("service.ts", [
      "--port=0",
      "--work=1",
      "--concurrency=32",
      "--high-water-mark=64",
      "--drain-limit=30000",
    ]);
    const ending = outcomeOf(service);
    const port = await portOf(service);
    const agent = new Agent({ keepAlive: true, maxSockets: 50 });
    const accepted: number[] = [];
    let refused = 0;
    let sent = 0;
    let isTold = false;

    async function send(): Promise<void> {
      while (sent < REQUESTS) {
        sent++;
        const id = await post(port, agent, `job ${sent}`);
        if (id === undefined) refused++;
        else accepted.push(id);
        if (accepted.length < REQUESTS / 2 || isTold) continue;
        isTold = true;
        kill(service, "SIGTERM");
      }
    }
    await Promise.all(Array.from({ length: 50 }, send));
    const { code, stdout, stderr } = await ending;
    agent.destroy();

    assertEquals([code, stderr], [0, ""]);
    assertEquals(accepted.length + refused, REQUESTS);
    assert(isTold);
    assertGreater(refused, 0);
    const { done, unfinished, report } = fatesIn(stdout);
    assertEquals(unfinished, []);
    const finished = new Set(done);
    assertEquals(finished.size, done.length, "each once");
    assertEquals(accepted.filter((id) => !finished.has(id)), []);
    assertEquals(report["processed"], done.length);
    assertEquals(report["accepted"], done.length);
    // In hand when the signal came: those may have lost their answer.
    assertLess(done.length - accepted.length, 51);
  },
);

test(
  "service: a second signal, or the drain limit, stops it with 1, and what is not finished is reported",
  async () => {
    for (const ways of [["SIGINT", "SIGTERM"], ["SIGTERM"]] as const) {
      const service = startExample("service.ts", [
        "--port=0",
        "--work=60000",
        "--concurrency=3",
        `--drain-limit=${ways.length === 2 ? 60_000 : 50}`,
      ]);
      const ending = outcomeOf(service);
      const port = await portOf(service);
      const agent = new Agent({ keepAlive: true });
      const accepted: number[] = [];
      for (let index = 0; index < 10; index++) {
        const id = await post(port, agent, "job");
        assert(id !== undefined);
        accepted.push(id);
      }
      for (const signal of ways) {
        kill(service, signal);
        if (ways.length === 2) {
          accepted.push(...await acceptedUntilClosed(port));
        }
      }
      const { code, stdout } = await ending;
      agent.destroy();
      const { done, unfinished, report } = fatesIn(stdout);
      assertEquals([code, done], [1, []]);
      assertEquals(unfinished.toSorted((one, other) => one - other), accepted);
      const count = accepted.length;
      assertEquals([report["accepted"], report["unfinished"]], [count, count]);
    }
  },
);

function portOf(service: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = "";
    service.stdout?.on("data", (data) => {
      text += data;
      const found = /^listening on (\d+)\n/.exec(text);
      if (found !== null) resolve(Number(found[1]));
    });
    service.once("exit", () => reject(new Error("ended before it listened")));
  });
}

/** The number of the job, or undefined if it was not accepted. */
function post(
  port: number,
  agent: Agent,
  text: string,
): Promise<number | undefined> {
  return new Promise((resolve) => {
    const refused = (): void => resolve(undefined);
    const sending = request(
      { port, host: "127.0.0.1", method: "POST", agent },
      (response) => {
        let body = "";
        response.on("data", (chunk) => body += chunk);
        response.on("error", refused);
        response.on("close", refused);
        response.on("end", () => {
          resolve(response.statusCode === 202 ? Number(body) : undefined);
        });
      },
    );
    sending.on("error", refused);
    sending.end(text);
  });
}

/** Asks until nothing listens there any more; what came before the signal was accepted. */
async function acceptedUntilClosed(port: number): Promise<number[]> {
  const agent = new Agent();
  const accepted: number[] = [];
  for (;;) {
    const id = await post(port, agent, "too late");
    if (id === undefined) break;
    accepted.push(id);
  }
  agent.destroy();
  return accepted;
}

/** Not `child.kill()`: Deno's sends once, and takes what follows for its doing. */
function kill(service: ChildProcess, signal: "SIGINT" | "SIGTERM"): void {
  if (service.pid !== undefined) process.kill(service.pid, signal);
}

function fatesIn(stdout: Outcome["stdout"]): Fates {
  const fates: Fates = { done: [], unfinished: [], report: {} };
  for (const line of stdout.trimEnd().split("\n")) {
    const [word, id] = line.split(" ");
    if (word === "done" || word === "unfinished") fates[word].push(Number(id));
    else if (line.startsWith("{")) fates.report = JSON.parse(line);
  }
  return fates;
}
