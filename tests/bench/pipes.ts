/**
 * The queue as a pair of streams, beside TransformStream.
 *
 * @module
 */

import { Queue } from "../../mod.ts";
import { pipeThrough, type Row, transform, writeAndRead } from "./rows.ts";

/** The rows. */
export function pipeRows(): Row[] {
  return [
    {
      group: "writer and reader",
      name: "TransformStream",
      baseline: true,
      run: () => writeAndRead(transform(16)),
    },
    {
      group: "writer and reader",
      name: "Queue",
      run: () => writeAndRead(new Queue<number>()),
    },
    {
      group: "source.pipeThrough(x).pipeTo(sink)",
      name: "TransformStream",
      baseline: true,
      run: () => pipeThrough(transform(16)),
    },
    {
      group: "source.pipeThrough(x).pipeTo(sink)",
      name: "Queue",
      run: () => pipeThrough(new Queue<number>()),
    },
  ];
}
