/**
 * What a queue over a port needs of a runtime, in a case that runs inside each
 * of them that has ports.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { Queue } from "../../mod.ts";
import { connect, serve } from "../../src/threads.ts";
import type { RuntimeCase } from "./runtimes.ts";

/** The cases. */
export const portCases: RuntimeCase[] = [{
  name: "ports: a queue works from both ends of a channel",
  needs: ["ports"],
  run,
}];

async function run(): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  const [tasks, results] = [new Queue<number>(), new Queue<number>()];
  const served = [
    serve(tasks, port1, { channel: "tasks" }),
    serve(results, port1, { channel: "results" }),
  ];
  const there = {
    tasks: connect<number>(port2, { channel: "tasks" }),
    results: connect<number>(port2, { channel: "results" }),
  };
  const working = (async () => {
    for await (const task of there.tasks) await there.results.put(task * 2);
    there.results.close();
  })();
  const putting = tasks.putMany([1, 2, 3, 4]).then(() => tasks.close());
  const items: number[] = [];
  for await (const item of results) items.push(item);
  await Promise.all([working, putting]);
  assertEquals(items, [2, 4, 6, 8]);
  for (const queue of served) await queue.stop();
  port1.close();
  port2.close();
}
