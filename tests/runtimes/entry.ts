/**
 * The conformance suite as one function, for {@linkcode bundleForRuntimes}.
 *
 * @module
 */

import { LifoQueue, Queue } from "../../mod.ts";
import { assertInvariants } from "../../src/queue.ts";
import { cases, type Kind } from "../conformance/suite.ts";

/** How one case ended. */
interface CaseResult {
  name: string;
  status: "passed" | "failed";
  detail: string;
}

const TIME_LIMIT = 5_000;

async function runConformance(): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  for (const kind of ["Queue", "LifoQueue"] as const) {
    for (const item of cases) {
      const created: Queue<never>[] = [];
      const recording: Kind = {
        name: kind,
        order: kind === "Queue" ? "fifo" : "lifo",
        create<T>(options?: ConstructorParameters<typeof Queue<T>>[0]) {
          const queue = kind === "Queue"
            ? new Queue<T>(options)
            : new LifoQueue<T>(options);
          created.push(queue as unknown as Queue<never>);
          return queue;
        },
      };
      const name = `${kind}: ${item.group}: ${item.name}`;
      let timer: ReturnType<typeof setTimeout> | undefined;
      try {
        await Promise.race([
          (async () => await item.run(recording))(),
          new Promise((_resolve, reject) => {
            timer = setTimeout(
              () => reject(new Error("did not end in time")),
              TIME_LIMIT,
            );
          }),
        ]);
        for (const queue of created) assertInvariants(queue);
        results.push({ name, status: "passed", detail: "" });
      } catch (error) {
        const detail = error instanceof Error
          ? `${error.name}: ${error.message}\n${error.stack}`
          : String(error);
        results.push({ name, status: "failed", detail });
      }
      clearTimeout(timer);
    }
  }
  return results;
}

Object.assign(globalThis, { runConformance });
