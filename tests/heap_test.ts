import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Heap, type Rank } from "../src/buffers/heap.ts";
import { test } from "./support/harness.ts";

interface Entry {
  item: number;
  key: number;
  arrival: number;
  weight: number;
}

type Step =
  | { kind: "push"; key: number; weight: number }
  | { kind: "shift" | "evict" | "clear" }
  | { kind: "remove" | "rerank"; which: number; key: number };

const keys = fc.constantFrom(0, 0, 1, -1, 2.5, 2.5, -Infinity, Infinity);

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        kind: fc.constant("push" as const),
        key: keys,
        weight: fc.constantFrom(1, 1, 0, 2, 0.1),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constantFrom(
          "shift" as const,
          "shift" as const,
          "evict" as const,
        ),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constantFrom("remove" as const, "rerank" as const),
        which: fc.nat(),
        key: keys,
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant("clear" as const) }),
    },
  ),
  { maxLength: 200, size: "max" },
);

function noRank(): Rank {
  return { key: 0, since: 0 };
}

function inOrder(left: Entry, right: Entry): number {
  if (left.key !== right.key) return left.key < right.key ? -1 : 1;
  return left.arrival - right.arrival;
}

function compareWithSorted(script: Step[]): void {
  const heap = new Heap<number>(noRank);
  let model: Entry[] = [];
  let next = 0;
  for (const step of script) {
    model.sort(inOrder);
    switch (step.kind) {
      case "push": {
        const { key, weight } = step;
        heap.push(next, weight, { key, since: 0 });
        model.push({ item: next, key, weight, arrival: next++ });
        break;
      }
      case "shift":
        if (model.length === 0) break;
        assertEquals(heap.first(), model[0]!.item);
        assertEquals(heap.shift(), model.shift()!.item);
        break;
      case "evict": {
        const worst = model.at(-1);
        assertEquals(
          heap.yieldsTo({ key: -Infinity, since: 0 }),
          worst !== undefined && worst.key > -Infinity,
        );
        if (worst === undefined) break;
        assert(!heap.yieldsTo({ key: worst.key, since: 0 }));
        assertEquals(heap.evict(), model.pop()!.item);
        break;
      }
      case "clear":
        assertEquals(heap.clear(), model.map(({ item }) => item));
        model = [];
        break;
      case "remove": {
        // By identity, and by a predicate.
        const item = model[step.which % (model.length || 1)]?.item ?? -1;
        const byTen = step.which % 3 === 0;
        const matches = (candidate: number): boolean =>
          byTen ? candidate % 10 === item % 10 : candidate === item;
        assertEquals(
          heap.remove(byTen ? matches : item),
          model.filter((entry) => matches(entry.item)).map(({ item }) => item),
        );
        model = model.filter((entry) => !matches(entry.item));
        break;
      }
      case "rerank": {
        const entry = model[step.which % (model.length || 1)];
        assertEquals(heap.rerank(entry?.item ?? -1, step.key), entry ? 1 : 0);
        if (entry !== undefined) entry.key = step.key;
      }
    }
    const weights = model.reduce((sum, { weight }) => sum + weight, 0);
    assertEquals(heap.length, model.length);
    assert(Math.abs(heap.size - weights) < 1e-9, `${heap.size}: ${weights}`);
    assert(model.length > 0 || heap.size === 0, "empty weighs exactly 0");
  }
  assertEquals(heap.clear(), model.sort(inOrder).map(({ item }) => item));
}

test("Heap: does what a sorted array does", () => {
  fc.assert(fc.property(steps, compareWithSorted), { numRuns: 600 });
});

test("Heap: 100,000 equal keys come out in the order of their arrival", () => {
  const heap = new Heap<number>(noRank);
  for (let item = 0; item < 100_000; item++) heap.push(item, 1, noRank());
  for (let item = 0; item < 100_000; item++) {
    if (heap.shift() !== item) throw new Error(`${item} was overtaken`);
  }
});

test("Heap: an item that is stored twice is found twice", () => {
  const heap = new Heap<string>(noRank);
  for (const [place, item] of ["a", "b", "a"].entries()) {
    heap.push(item, 1, { key: place, since: 0 });
  }
  assertEquals(heap.rerank("a", 5), 2);
  assertEquals(heap.remove("a"), ["a", "a"]);
  assertEquals(heap.clear(), ["b"]);
});

test("Heap: evictions among many puts keep no memory of what has left", () => {
  const heap = new Heap<number>(noRank);
  for (let item = 0; item < 50_000; item++) {
    heap.push(item, 1, { key: item % 7, since: 0 });
    if (heap.length > 10) heap.evict();
    if (item % 3 === 0) heap.shift();
  }
  const left = heap.clear();
  assert(left.length <= 10, `${left.length} left`);
  assertEquals(left, left.toSorted((a, b) => a % 7 - b % 7 || a - b));
});
