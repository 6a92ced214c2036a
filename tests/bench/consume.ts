/**
 * `consume` beside other runners of handlers.
 *
 * @module
 */

import fastq from "fastq";
import PQueue from "p-queue";
import { consume, type Queue } from "../../mod.ts";
import { doNothing, filled, ITEMS, type Row } from "./rows.ts";

/** What is there already, by a handler that does nothing; counted by the report. */
async function consumeAll(
  concurrency: number,
  closed: Queue<number>,
): Promise<number> {
  const { processed } = await consume(closed, doNothing, { concurrency });
  return processed;
}

/** The rows. */
export function consumeRows(): Row[] {
  return [
    ...[1, 64].flatMap((concurrency): Row[] => {
      const group = `consume ${ITEMS} that are there, ${concurrency} at a time`;
      return [
        {
          group,
          name: "Queue",
          baseline: true,
          run() {
            const queue = filled(ITEMS);
            queue.close();
            return consumeAll(concurrency, queue);
          },
        },
        {
          group,
          name: "for await, without a report or anything else (the limit)",
          async run() {
            const queue = filled(ITEMS);
            queue.close();
            let count = 0;
            await Promise.all(Array.from({ length: concurrency }, async () => {
              for await (const _item of queue) {
                await doNothing();
                count++;
              }
            }));
            return count;
          },
        },
        {
          group,
          name: "fastq",
          async run() {
            let count = 0;
            const queue = fastq.promise((_item: number) => {
              count++;
              return doNothing();
            }, concurrency);
            for (let item = 0; item < ITEMS; item++) void queue.push(item);
            await queue.drained();
            return count;
          },
        },
        {
          group,
          name: "p-queue",
          async run() {
            let count = 0;
            const queue = new PQueue({ concurrency });
            for (let item = 0; item < ITEMS; item++) {
              void queue.add(() => {
                count++;
                return doNothing();
              });
            }
            await queue.onIdle();
            return count;
          },
        },
      ];
    }),
  ];
}
