/**
 * `tee` and `Broadcast` beside the nested `tee` of the platform.
 *
 * @module
 */

import { share, Subject } from "rxjs";
import { Broadcast, tee } from "../../mod.ts";
import { ITEMS, type Row, source } from "./rows.ts";

/** Splits in two, and each half again, until there are so many. */
function nestedTee(
  stream: ReadableStream<number>,
  count: number,
): ReadableStream<number>[] {
  if (count === 1) return [stream];
  return stream.tee().flatMap((half) => nestedTee(half, count / 2));
}

async function read(stream: ReadableStream<number>): Promise<number> {
  const reader = stream.getReader();
  let count = 0;
  while (!(await reader.read()).done) count++;
  return count;
}

/** ITEMS, if that is what every branch came to. */
async function readAll(branches: ReadableStream<number>[]): Promise<number> {
  const counts = await Promise.all(branches.map(read));
  return counts.every((count) => count === ITEMS) ? ITEMS : -1;
}

/** A stream whose items are put instead of pulled: the last is followed by its end. */
function putStream(): {
  stream: ReadableStream<number>;
  put: (item: number) => void;
  close: () => void;
} {
  let controller: ReadableStreamDefaultController<number> | undefined;
  const stream = new ReadableStream<number>({
    start: (own) => void (controller = own),
  });
  return {
    stream,
    put: (item) => controller!.enqueue(item),
    close: () => controller!.close(),
  };
}

async function putItems(
  put: (item: number) => unknown,
  close: () => void,
): Promise<void> {
  for (let item = 0; item < ITEMS; item++) await put(item);
  close();
}

/** rxjs knows no reads and no backpressure: each subscriber is called. */
async function shared(count: number): Promise<number> {
  const counts = new Array<number>(count).fill(0);
  const source = new Subject<number>();
  const items = source.pipe(share());
  for (let index = 0; index < count; index++) {
    items.subscribe(() => void counts[index]!++);
  }
  await putItems((item) => source.next(item), () => source.complete());
  return counts.every((count) => count === ITEMS) ? ITEMS : -1;
}

/** The rows. */
export function fanOutRows(): Row[] {
  return [
    ...[2, 4].flatMap((many): Row[] => [
      {
        group: `${many}-way broadcast`,
        name: "native tee, nested, of a stream that is pulled",
        baseline: true,
        run: () => readAll(nestedTee(source(), many)),
      },
      {
        group: `${many}-way broadcast`,
        name: "native tee, nested, of a stream that is put into, unbounded",
        async run() {
          const { stream, put, close } = putStream();
          const reading = readAll(nestedTee(stream, many));
          await putItems(put, close);
          return reading;
        },
      },
      {
        group: `${many}-way broadcast`,
        name: "tee() of a stream that is pulled",
        run: () => readAll(tee(source(), many)),
      },
      {
        group: `${many}-way broadcast`,
        name: "Broadcast",
        async run() {
          const broadcast = new Broadcast<number>();
          const reading = readAll(
            Array.from({ length: many }, () => broadcast.subscribe()),
          );
          await putItems(
            (item) => broadcast.put(item),
            () => broadcast.close(),
          );
          return reading;
        },
      },
      {
        group: `${many}-way broadcast`,
        name: "rxjs share, calls without backpressure",
        run: () => shared(many),
      },
    ]),
  ];
}
