/**
 * A pool of workers in a page. There are no threads in the other runtimes that
 * load no TypeScript.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import { work, WorkerCrashedError, WorkerPool } from "../../src/threads.ts";
import type { RuntimeCase } from "./runtimes.ts";
import { upTo } from "../support/items.ts";

/** Where the page finds the script that this is bundled into. */
const SCRIPT = "/script.js";
/** The name by which the script knows that it is a worker of the pool. */
const NAME = "worker of the pool";

type Task = { square: number } | { crash: true } | { wait: true };

async function obey(
  task: Task,
  { signal }: { signal: AbortSignal },
): Promise<number> {
  if ("square" in task) return task.square ** 2;
  if ("crash" in task) {
    setTimeout(() => {
      throw new Error("nobody caught this");
    });
  }
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
  throw signal.reason;
}

/** Does its tasks, if this is a worker of the pool. */
export function workInPool(): void {
  if ((globalThis as { name?: string }).name === NAME) work(obey);
}

function pool(): WorkerPool<typeof obey> {
  return new WorkerPool<typeof obey>(SCRIPT, {
    size: 2,
    name: NAME,
    attempts: 2,
  });
}

/** The cases. */
export const poolCases: RuntimeCase[] = [
  {
    name: "pool: tasks are done in the workers of a page",
    needs: ["page with workers"],
    async run() {
      const squares = pool();
      const numbers = upTo(100);
      const results = await Promise.all(
        numbers.map((square) => squares.run({ square })),
      );
      assertEquals(results, numbers.map((number) => number ** 2));
      const giveUp = new AbortController();
      const { signal } = giveUp;
      const waiting = squares.run({ wait: true }, { signal });
      setTimeout(() => giveUp.abort("enough"), 20);
      assertEquals(await assertRejects(() => waiting), "enough");
      await squares.close();
    },
  },
  {
    name: "pool: a worker of a page that crashes is replaced",
    needs: ["page with workers"],
    async run() {
      const crashing = pool();
      await assertRejects(
        () => crashing.run({ crash: true }),
        WorkerCrashedError,
        "received 2 that have not",
      );
      assertEquals(await crashing.run({ square: 4 }), 16);
      assertEquals(crashing.stats().crashes, 2);
      await crashing.close();
    },
  },
];
