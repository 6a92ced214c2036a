import type { Queue, QueueOptions } from "../../mod.ts";
import { casesFor } from "./suite.ts";
import { sharedKind } from "./shared_kind.ts";
import { test } from "../support/harness.ts";

for (const item of casesFor(sharedKind)) {
  test(`${sharedKind.name}: ${item.group}: ${item.name}`, async () => {
    const queues: Queue<unknown>[] = [];
    await item.run({
      ...sharedKind,
      create<T>(options?: QueueOptions<T>): Queue<T> {
        const queue = sharedKind.create<T>(options);
        queues.push(queue as Queue<unknown>);
        return queue;
      },
    });
    // Some cases end with somebody waiting, which keeps a timer.
    for (const queue of queues) await queue[Symbol.asyncDispose]();
  });
}
