/**
 * What a row of `bench.ts` is, and what the rows share. A file a group:
 * `put_get.ts`, `iteration.ts`, `pipes.ts`, `consume.ts`, `concurrent_map.ts`,
 * `fan_in.ts`, `fan_out.ts`, `priority.ts`, `stealing.ts`, `cancel.ts`. Tables of
 * their own: `growth.ts`, `pool.ts`, `threads.ts`, `engines.ts`; `makespan.ts` is
 * what stealing saves, for a test.
 *
 * @module
 */

import { Queue } from "../../mod.ts";
import { within } from "../support/waiting.ts";

/** How many items a row moves, if it does not say. */
export const ITEMS = 10_000;

/** One row: a way to move its items; the promise is that of their number. */
export interface Row {
  group: string;
  name: string;
  baseline?: boolean;
  /** Default: `ITEMS`. */
  items?: number;
  run(): Promise<number> | number;
}

/** Runs a row, and checks that it moved what it says. */
export async function checked(row: Row): Promise<void> {
  const name = `${row.group}, ${row.name}`;
  const count = await within(20_000, row.run(), name);
  const { items = ITEMS } = row;
  if (count !== items) {
    throw new Error(`${name}: ${count} instead of ${items}`);
  }
}

/** What a module of `@std/async` exports, where JSR answers within three seconds. */
export async function findInStd<T>(
  module: string,
  name: string,
): Promise<T | undefined> {
  const specifier = `jsr:@std/async@^1.5/${module}`;
  try {
    return (await within(3_000, import(specifier), specifier))[name];
  } catch {
    console.error(`@std/async ${name} is left out: JSR cannot be reached.`);
    return undefined;
  }
}

/** For a bare await. */
export const resolved: Promise<void> = Promise.resolve();

/** A handler. */
export async function doNothing(): Promise<void> {}

/** Puts an item and gets it, one after the other. */
export async function alternate(
  put: (item: number) => unknown,
  get: () => Promise<unknown>,
): Promise<number> {
  let count = 0;
  for (let item = 0; item < ITEMS; item++) {
    await put(item);
    await get();
    count++;
  }
  return count;
}

/** Producers and consumers at the same time, `many` of each. */
export async function together(
  many: number,
  put: (item: number) => unknown,
  get: () => Promise<unknown>,
): Promise<number> {
  let count = 0;
  const share = ITEMS / many;
  const work: Promise<void>[] = [];
  for (let worker = 0; worker < many; worker++) {
    work.push((async () => {
      for (let item = 0; item < share; item++) await put(item);
    })());
    work.push((async () => {
      for (let item = 0; item < share; item++) {
        await get();
        count++;
      }
    })());
  }
  await Promise.all(work);
  return count;
}

/** Counts what a loop gets. */
export async function drain(items: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _item of items) count++;
  return count;
}

/** A native stream of so many items. */
export function source(items: number = ITEMS): ReadableStream<number> {
  let item = 0;
  return new ReadableStream({
    pull(controller) {
      if (item < items) controller.enqueue(item++);
      else controller.close();
    },
  });
}

/** A queue that holds so many. */
export function filled(depth: number): Queue<number> {
  const queue = new Queue<number>({ highWaterMark: Infinity });
  for (let item = 0; item < depth; item++) queue.tryPut(item);
  return queue;
}

/** Writes all and reads all, at the same time. */
export async function writeAndRead(
  pair: ReadableWritablePair<number, number>,
  items: number = ITEMS,
): Promise<number> {
  const writer = pair.writable.getWriter();
  const reader = pair.readable.getReader();
  const writing = (async () => {
    for (let item = 0; item < items; item++) {
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

/** Pipes all from a native source through it into a native sink. */
export async function pipeThrough(
  pair: ReadableWritablePair<number, number>,
  items: number = ITEMS,
): Promise<number> {
  let count = 0;
  const sink = new WritableStream<number>({ write: () => void count++ });
  await source(items).pipeThrough(pair).pipeTo(sink);
  return count;
}

/** The pair of the platform. */
export function transform(
  highWaterMark: number,
): TransformStream<number, number> {
  return new TransformStream({}, { highWaterMark }, { highWaterMark: 0 });
}
