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

/** The same promise, but an error naming it if it takes longer. */
async function within<T>(
  milliseconds: number,
  promise: T | Promise<T>,
  name: string,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${name}: not settled after ${milliseconds} ms`));
    }, milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
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

/** A native stream of all items. */
export function source(): ReadableStream<number> {
  let item = 0;
  return new ReadableStream({
    pull(controller) {
      if (item < ITEMS) controller.enqueue(item++);
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
