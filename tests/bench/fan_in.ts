/**
 * `merge` and `zip` beside their peers.
 *
 * @module
 */

import { Repeater } from "@repeaterjs/repeater";
import itMerge from "it-merge";
import { merge as ixMerge, zip as ixZip } from "ix/asynciterable";
import { concatMap, from, merge as rxMerge } from "rxjs";
import type { Observable } from "rxjs";
import { merge, zip } from "../../mod.ts";
import { drain, findInStd, ITEMS, type Row } from "./rows.ts";

interface MuxAsyncIterator extends AsyncIterable<number> {
  add(source: AsyncIterable<number>): void;
}

async function* counted(total: number): AsyncGenerator<number> {
  for (let item = 0; item < total; item++) yield item;
}

/** Sources that have ITEMS items together. */
function generators(many: number): AsyncGenerator<number>[] {
  return Array.from({ length: many }, () => counted(ITEMS / many));
}

/** Has an observable push into a function, which cannot make it wait. */
function subscribe(items: Observable<unknown>): Promise<number> {
  return new Promise((resolve, reject) => {
    let count = 0;
    items.subscribe({
      next: () => void count++,
      complete: () => resolve(count),
      error: reject,
    });
  });
}

/** The rows. */
export async function fanInRows(): Promise<Row[]> {
  const MuxAsyncIterator = await findInStd<new () => MuxAsyncIterator>(
    "mux-async-iterator",
    "MuxAsyncIterator",
  );
  return [
    {
      group: "merge of 8",
      name: "merge",
      baseline: true,
      run: () => drain(merge(generators(8))),
    },
    {
      group: "merge of 8",
      name: "it-merge",
      run: () => drain(itMerge(...generators(8))),
    },
    {
      group: "merge of 8",
      name: "ix merge",
      run() {
        const [first, ...others] = generators(8);
        return drain(ixMerge(first!, ...others));
      },
    },
    {
      group: "merge of 8",
      name: "Repeater.merge",
      run: () => drain(Repeater.merge(generators(8))),
    },
    ...(MuxAsyncIterator === undefined ? [] : [{
      group: "merge of 8",
      name: "@std/async MuxAsyncIterator",
      run() {
        const mux = new MuxAsyncIterator();
        for (const source of generators(8)) mux.add(source);
        return drain(mux);
      },
    }]),
    {
      group: "merge of 8",
      name: "rxjs merge, to a consumer that is waited for, unbounded",
      run() {
        const merged = rxMerge(...generators(8).map((source) => from(source)));
        return subscribe(merged.pipe(concatMap(async (item) => await item)));
      },
    },
    {
      group: "merge of 8",
      name: "rxjs merge, pushed into a function",
      run: () =>
        subscribe(
          rxMerge(...generators(8).map((source) => from(source))),
        ),
    },
    {
      group: "zip of 2",
      name: "zip",
      baseline: true,
      run: () => drain(zip(counted(ITEMS), counted(ITEMS))),
    },
    {
      group: "zip of 2",
      name: "ix zip",
      run: () => drain(ixZip(counted(ITEMS), counted(ITEMS))),
    },
  ];
}
