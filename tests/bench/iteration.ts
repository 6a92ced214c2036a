/**
 * `for await` over what is there already.
 *
 * @module
 */

import { pushable } from "it-pushable";
import {
  alternate,
  drain,
  filled,
  ITEMS,
  resolved,
  type Row,
  source,
} from "./rows.ts";

/** The rows. */
export function iterationRows(): Row[] {
  return [
    {
      group: "for await",
      name: "two bare awaits (the limit)",
      baseline: true,
      run: () => alternate(() => resolved, () => resolved),
    },
    {
      group: "for await",
      name: "Queue",
      run() {
        const queue = filled(ITEMS);
        queue.close();
        return drain(queue);
      },
    },
    {
      group: "for await",
      name: "queue.readable",
      run() {
        const queue = filled(ITEMS);
        queue.close();
        return drain(queue.readable);
      },
    },
    {
      group: "for await",
      name: "it-pushable",
      run() {
        const items = pushable<number>({ objectMode: true });
        for (let item = 0; item < ITEMS; item++) items.push(item);
        items.end();
        return drain(items);
      },
    },
    {
      group: "for await",
      name: "native ReadableStream",
      run: () => drain(source()),
    },
  ];
}
