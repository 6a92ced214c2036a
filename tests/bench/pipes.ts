/**
 * The queue as a pair of streams, beside TransformStream.
 *
 * @module
 */

import { Queue } from "../../mod.ts";
import { ITEMS, type Row, source } from "./rows.ts";

async function writeAndRead(
  pair: ReadableWritablePair<number, number>,
): Promise<number> {
  const writer = pair.writable.getWriter();
  const reader = pair.readable.getReader();
  const writing = (async () => {
    for (let item = 0; item < ITEMS; item++) {
      await writer.ready;
      writer.write(item).catch(() => {});
    }
    await writer.close();
  })();
  let count = 0;
  while (!(await reader.read()).done) count++;
  await writing;
  return count;
}

async function pipeThrough(
  pair: ReadableWritablePair<number, number>,
): Promise<number> {
  let count = 0;
  const sink = new WritableStream<number>({ write: () => void count++ });
  await source().pipeThrough(pair).pipeTo(sink);
  return count;
}

function transform(highWaterMark: number): TransformStream<number, number> {
  return new TransformStream({}, { highWaterMark }, { highWaterMark: 0 });
}

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
