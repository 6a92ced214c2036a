import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Heap, type Rank } from "../../src/buffers/heap.ts";
import { test } from "../support/harness.ts";
import { parameters } from "../support/properties.ts";
import { upTo } from "../support/items.ts";

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
  fc.assert(fc.property(steps, compareWithSorted), parameters(600));
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

/** The same numbers on every run, from 0 to below 1. */
function dice(seed: number): () => number {
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
}

test("Heap: a backlog of 20,000 does what a sorted array does", () => {
  const heap = new Heap<number>(noRank);
  const model: Entry[] = [];
  const roll = dice(11);
  const pick = (): number => Math.floor(roll() * model.length);
  let next = 0;
  const insert = (entry: Entry): void => {
    let [low, high] = [0, model.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (inOrder(model[middle]!, entry) < 0) low = middle + 1;
      else high = middle;
    }
    model.splice(low, 0, entry);
  };
  // Few keys, so that many are equal.
  const push = (key: number, weight: number): void => {
    heap.push(next, weight, { key, since: 0 });
    insert({ item: next, key, weight, arrival: next++ });
  };
  const anyKey = (): number => Math.floor(roll() * 2_000);
  for (let step = 0; step < 60_000; step++) {
    // It grows to 20,000, stays there, shrinks to nothing, and once more.
    const phase = Math.floor(step / 10_000) % 3;
    if (model.length < 20_000 && phase === 0) {
      for (let count = 0; count < 3; count++) push(anyKey(), 1);
    }
    const kind = Math.floor(roll() * (phase === 2 ? 8 : 400));
    if (model.length === 0) continue;
    if (kind === 0) {
      assertEquals(heap.evict(), model.pop()!.item);
    } else if (kind === 1) {
      const [entry] = model.splice(pick(), 1);
      assertEquals(heap.remove(entry!.item), [entry!.item]);
    } else if (kind === 2) {
      const [entry] = model.splice(pick(), 1);
      const key = anyKey();
      assertEquals(heap.rerank(entry!.item, key), 1);
      insert({ ...entry!, key });
    } else if (kind === 3) {
      // Before all, or among the first few.
      push(model[0]!.key - 1, 2);
      push(model[Math.min(9, model.length - 1)]!.key, 0.5);
    } else if (kind % 2 === 0) {
      push(anyKey(), 1);
    } else {
      for (let count = 0; count < 3 && model.length > 0; count++) {
        const { item, weight } = model.shift()!;
        assertEquals(heap.first(), item);
        const before = heap.size;
        assertEquals(heap.shift(), item);
        assert(model.length === 0 || heap.size === before - weight);
      }
    }
    if (heap.length !== model.length) {
      throw new Error(`${heap.length} instead of ${model.length}`);
    }
  }
  assertEquals(heap.clear(), model.map(({ item }) => item));
});

test("Heap: what a million puts leave behind keeps its order", () => {
  const heap = new Heap<number>(noRank);
  const roll = dice(5);
  // By key, in the order of arrival.
  const model: number[][] = Array.from({ length: 64 }, () => []);
  const heads: number[] = model.map(() => 0);
  let next = 0;
  const take = (): void => {
    const key = model.findIndex((items, key) => heads[key]! < items.length);
    const item = model[key]![heads[key]!++];
    if (heap.shift() !== item) throw new Error(`not the turn of ${item}`);
  };
  for (let round = 0; round < 40; round++) {
    for (let count = 0; count < 25_000; count++) {
      const key = Math.floor(roll() * 64);
      model[key]!.push(next);
      heap.push(next++, 1, { key, since: 0 });
    }
    for (let count = 0; count < 24_000; count++) take();
  }
  assertEquals(heap.length, 40_000);
  assertEquals(heap.remove(-1), []);
  while (heap.length > 0) take();
});

test("Heap: a predicate may put and take as many as it likes", () => {
  const heap = new Heap<number>(noRank);
  const push = (item: number): void => {
    heap.push(item, 1, { key: item % 10, since: 0 });
  };
  const inTurn = (one: number, other: number): number =>
    one % 10 - other % 10 || one - other;
  const before = upTo(20_000);
  before.forEach(push);
  let first = true;
  const removed = heap.remove((item) => {
    if (first) {
      first = false;
      for (let count = 0; count < 12_000; count++) heap.shift();
      // New ones are not asked about.
      for (let later = 20_000; later < 45_000; later++) push(later);
    }
    return item % 3 === 0;
  });
  const left = before.toSorted(inTurn).slice(12_000);
  assertEquals(removed, left.filter((item) => item % 3 === 0));
  const later = Array.from({ length: 25_000 }, (_, at) => 20_000 + at);
  const rest = [...left.filter((item) => item % 3 !== 0), ...later];
  assertEquals(heap.clear(), rest.sort(inTurn));
});

test("Heap: what is put back comes before its equals, also once items were looked for", () => {
  for (const isLookedFor of [false, true]) {
    const heap = new Heap<string>(noRank);
    for (const item of ["a", "b", "c"]) heap.push(item, 1, noRank());
    if (isLookedFor) assertEquals(heap.remove("z"), []);
    const known = heap.next();
    const first = heap.shift();
    heap.putBack(first, known);
    heap.push("d", 1, noRank());
    assertEquals(heap.clear(), ["a", "b", "c", "d"]);
  }
});

test("Heap: items of few keys keep their order when some leave, move and come back", () => {
  const heap = new Heap<number>(noRank);
  const roll = dice(3);
  let model: Entry[] = [];
  let front = 0;
  for (let step = 0; step < 20_000; step++) {
    model.sort(inOrder);
    const entry = model[Math.floor(roll() * model.length)];
    const kind = Math.floor(roll() * 12);
    // Some have one of very few keys, some one of more than are remembered.
    const key = Math.floor(roll() * (roll() < 0.5 ? 3 : 200));
    if (kind < 4 && model.length < 300) {
      // Several of a key in a row.
      for (let count = 0; count < 3; count++) {
        const item = step * 3 + count;
        heap.push(item, 1, { key, since: 0 });
        model.push({ item, key, weight: 1, arrival: item });
      }
    } else if (entry === undefined) continue;
    else if (kind === 4) {
      assertEquals(heap.remove(entry.item), [entry.item]);
      model = model.filter((other) => other !== entry);
    } else if (kind === 5) {
      assertEquals(heap.rerank(entry.item, key), 1);
      entry.key = key;
    } else if (kind === 6) {
      assertEquals(heap.evict(), model.pop()!.item);
    } else if (kind === 7) {
      const known = heap.next();
      assertEquals(heap.shift(), model[0]!.item);
      heap.putBack(model[0]!.item, known);
      model[0]!.arrival = --front;
    } else if (kind < 11) assertEquals(heap.shift(), model.shift()!.item);
    else if (step % 50 === 0) {
      const third = (item: number): boolean => item % 3 === 0;
      const gone = model.filter(({ item }) => third(item));
      assertEquals(heap.remove(third), gone.map(({ item }) => item));
      model = model.filter(({ item }) => !third(item));
    }
    assertEquals(heap.length, model.length);
  }
  assertEquals(heap.clear(), model.sort(inOrder).map(({ item }) => item));
});
