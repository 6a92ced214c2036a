/**
 * `concurrentMap` beside other bounded maps.
 *
 * @module
 */

import { Readable } from "node:stream";
import { setImmediate } from "node:timers";
import pLimit from "p-limit";
import pMap, { pMapIterable } from "p-map";
import { count, from, lastValueFrom, mergeMap } from "rxjs";
import { concurrentMap } from "../../mod.ts";
import { upTo } from "../support/items.ts";
import { drain, filled, findInStd, ITEMS, type Row, source } from "./rows.ts";

type PooledMap = <T, R>(
  limit: number,
  items: Iterable<T>,
  fn: (item: T) => Promise<R>,
) => AsyncIterable<R>;

type Call = (item: number) => Promise<number>;

const calls: [name: string, call: Call][] = [
  ["calls that end at once", (item) => Promise.resolve(item + 1)],
  [
    "calls that wait a turn",
    (item) =>
      new Promise((resolve) => {
        setImmediate(resolve, item + 1);
      }),
  ],
];

const numbers = upTo(ITEMS);

async function mapByWriter(call: Call): Promise<number> {
  const { readable, writable } = concurrentMap(call);
  const writer = writable.getWriter();
  const reader = readable.getReader();
  const writing = (async () => {
    for (const item of numbers) await writer.write(item);
    await writer.close();
  })();
  let count = 0;
  while (!(await reader.read()).done) count++;
  await writing;
  return count;
}

/** Maps ITEMS numbers by the call, 16 at a time. */
function mapRows(
  name: string,
  call: Call,
  pooledMap: PooledMap | undefined,
): Row[] {
  const group = `concurrentMap 16, ${name}`;
  return [
    {
      group,
      name: "concurrentMap",
      baseline: true,
      run: () => mapByWriter(call),
    },
    {
      group,
      name: "concurrentMap, queue.readable piped through, for await",
      run() {
        const queue = filled(ITEMS);
        queue.close();
        return drain(queue.readable.pipeThrough(concurrentMap(call)));
      },
    },
    {
      group,
      name: "concurrentMap, a native stream piped through, for await",
      run: () => drain(source().pipeThrough(concurrentMap(call))),
    },
    {
      group,
      name: "p-limit",
      async run() {
        const limit = pLimit(16);
        const results = numbers.map((item) => limit(call, item));
        return (await Promise.all(results)).length;
      },
    },
    {
      group,
      name: "p-map",
      run: async () => (await pMap(numbers, call, { concurrency: 16 })).length,
    },
    {
      group,
      name: "p-map, pMapIterable",
      run: () => drain(pMapIterable(numbers, call, { concurrency: 16 })),
    },
    {
      group,
      name: "rxjs mergeMap, unordered",
      run: () => lastValueFrom(from(numbers).pipe(mergeMap(call, 16), count())),
    },
    {
      group,
      name: "Readable.map of Node",
      run: () => drain(Readable.from(numbers).map(call, { concurrency: 16 })),
    },
    ...(pooledMap === undefined ? [] : [{
      group,
      name: "@std/async pooledMap",
      run: () => drain(pooledMap(16, numbers, call)),
    }]),
  ];
}

/** The rows. */
export async function concurrentMapRows(): Promise<Row[]> {
  const pooledMap = await findInStd<PooledMap>("pool", "pooledMap");
  return [
    ...calls.flatMap(([name, call]) => mapRows(name, call, pooledMap)),
  ];
}
