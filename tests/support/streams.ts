/**
 * Streams to read from and to write into, and what comes out of them, on every
 * runtime.
 *
 * @module
 */

/** A stream that gives each item when it is pulled, and then ends. */
export function sourceOf<T>(items: readonly T[]): ReadableStream<T> {
  let at = 0;
  return new ReadableStream<T>({
    pull(controller) {
      if (at < items.length) controller.enqueue(items[at++]!);
      else controller.close();
    },
  }, { highWaterMark: 0 });
}

/** A native stream that counts what is done to it. */
export interface Counting {
  stream: ReadableStream<number>;
  /** How many numbers were pulled. */
  pulled: number;
  /** What it was cancelled with. */
  reason: unknown;
}

/** Counts up, one number for each pull, and then ends. */
export function counting(count: number, from: number = 0): Counting {
  const counted: Counting = {
    stream: new ReadableStream<number>({
      pull(controller): void {
        if (counted.pulled === count) controller.close();
        else controller.enqueue(from + counted.pulled++);
      },
      cancel(reason): void {
        counted.reason = reason;
      },
    }, { highWaterMark: 0 }),
    pulled: 0,
    reason: undefined,
  };
  return counted;
}

/** A stream that appends what is written to a list. */
export function sinkInto<T>(items: T[]): WritableStream<T> {
  return new WritableStream<T>({ write: (item) => void items.push(item) });
}

/** A sink with room for plenty that writes nothing before it is told to. */
export function slowSink<T>(): {
  written: T[];
  sink: WritableStream<T>;
  finish: () => void;
} {
  const written: T[] = [];
  let finish!: () => void;
  const told = new Promise<void>((resolve) => finish = resolve);
  const sink = new WritableStream<T>({
    async write(item) {
      await told;
      written.push(item);
    },
  }, { highWaterMark: 10 });
  return { written, sink, finish };
}

/** Everything that a loop gets, up to `max` items; then it leaves. */
export async function collect<T>(
  source: AsyncIterable<T>,
  max: number = Infinity,
): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) {
    items.push(item);
    if (items.length === max) break;
  }
  return items;
}

/** Everything that a reader gets. */
export async function readAll<T>(stream: ReadableStream<T>): Promise<T[]> {
  const all = await outcome(stream);
  if ("error" in all) throw all.error;
  return all.items;
}

/** What a stream gives before it ends or fails, and what it fails with. */
export async function outcome<T>(
  stream: ReadableStream<T>,
): Promise<{ items: T[]; error?: unknown }> {
  const items: T[] = [];
  const reader = stream.getReader();
  try {
    for (;;) {
      const step = await reader.read();
      if (step.done) return { items };
      items.push(step.value);
    }
  } catch (error) {
    return { items, error };
  }
}
