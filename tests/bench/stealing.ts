/**
 * Four workers whose work is dealt out to them, evenly or not.
 *
 * @module
 */

import { Queue, WorkStealingQueue } from "../../mod.ts";
import { ITEMS, type Row } from "./rows.ts";

/** Workers, and for each of them somebody who puts what is dealt out to it. */
async function dealt(
  queues: Queue<number>[],
  workerOf: (item: number) => number,
): Promise<number> {
  let count = 0;
  const putting = queues.map(async (queue, worker) => {
    for (let item = 0; item < ITEMS; item++) {
      if (workerOf(item) === worker) await queue.put(item);
    }
  });
  const working = queues.map(async (queue) => {
    for await (const item of queue) {
      for (let turn = item % 4; turn >= 0; turn--) await undefined;
      count++;
    }
  });
  await Promise.all(putting);
  for (const queue of queues) queue.close();
  await Promise.all(working);
  return count;
}

/** The rows. */
export function stealingRows(): Row[] {
  return [
    ...([
      ["4 workers, work dealt out evenly", (item) => item % 4],
      [
        "4 workers, 90 % of the work for one",
        (item) => item % 10 < 9 ? 0 : 1 + Math.floor(item / 10) % 3,
      ],
    ] as [string, (item: number) => number][]).flatMap(([group, workerOf]) => {
      const options = { highWaterMark: 64 };
      return [
        {
          group,
          name: "Queue, shared",
          baseline: true,
          run() {
            const queue = new Queue<number>(options);
            return dealt([queue, queue, queue, queue], workerOf);
          },
        },
        {
          group,
          name: "Queue, one for each",
          run: () =>
            dealt([1, 2, 3, 4].map(() => new Queue<number>(options)), workerOf),
        },
        {
          group,
          name: "WorkStealingQueue",
          run() {
            const queue = new WorkStealingQueue<number>({
              ...options,
              lanes: 4,
            });
            return dealt(
              [0, 1, 2, 3].map((lane) => queue.lane(lane)),
              workerOf,
            );
          },
        },
      ];
    }),
  ];
}
