/**
 * A queue in shared memory between a page, whose thread may not block, and its
 * worker, which may. Only pages that are cross-origin isolated have such memory.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { SharedQueue, type SharedQueueHandle } from "../../src/threads.ts";
import type { RuntimeCase } from "./runtimes.ts";
import { upTo } from "../support/items.ts";

/** Where the page finds the script that this is bundled into. */
const SCRIPT = "/script.js";
/** The name by which the script knows that it is the worker of this case. */
const NAME = "worker of the shared queue";

interface WorkerScope {
  name?: string;
  onmessage: ((event: MessageEvent<SharedQueueHandle[]>) => void) | null;
}

/** Doubles numbers, if this is the worker of the case; it sleeps while there is none. */
export function doubleInSharedQueue(): void {
  const scope = globalThis as unknown as WorkerScope;
  if (scope.name !== NAME) return;
  scope.onmessage = ({ data: [from, to] }) => {
    const numbers = SharedQueue.attach<number>(from!);
    const doubled = SharedQueue.attach<number>(to!);
    try {
      while (true) doubled.putSync(numbers.getSync() * 2);
    } catch (error) {
      if ((error as Error).name === "QueueClosedError") doubled.close();
      else doubled.fail(error);
    }
  };
}

/** The cases. */
export const sharedCases: RuntimeCase[] = [
  {
    name: "shared: a page and its worker put and take",
    needs: ["isolated page"],
    async run() {
      const numbers = new SharedQueue<number>({ highWaterMark: 8 });
      const doubled = new SharedQueue<number>({ bytes: 256 });
      const worker = new Worker(SCRIPT, { name: NAME });
      worker.postMessage([numbers.handle, doubled.handle]);
      const items = upTo(2_000);
      const putting = numbers.putMany(items).then(() => numbers.close());
      const taken: number[] = [];
      for await (const item of doubled) taken.push(item);
      await putting;
      assertEquals(taken, items.map((item) => item * 2));
      worker.terminate();
      numbers.detach();
      doubled.detach();
    },
  },
  {
    name: "shared: the thread of a page is told that it may not block",
    needs: ["isolated page"],
    run() {
      const queue = new SharedQueue<number>();
      const error = assertThrows(() => queue.getSync(), TypeError);
      assert(error.message.startsWith("Cannot get"), error.message);
      queue.detach();
      return Promise.resolve();
    },
  },
];
