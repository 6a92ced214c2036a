import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Ring } from "../../src/buffers/ring.ts";
import { test } from "../support/harness.ts";
import { parameters } from "../support/properties.ts";

type Step =
  | { kind: "push"; weight: number }
  | { kind: "shift" | "evict" | "clear" };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant("push" as const),
        weight: fc.constantFrom(1, 1, 1, 0, 2, 0.1, 7),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant("shift" as const) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant("evict" as const) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constantFrom("clear" as const) }),
    },
  ),
  { maxLength: 200, size: "max" },
);

function compareWithArray(newestFirst: boolean, script: Step[]): void {
  const ring = new Ring<number>({ newestFirst });
  let model: { item: number; weight: number }[] = [];
  let next = 0;
  for (const step of script) {
    if (step.kind === "push") {
      ring.push(next, step.weight);
      model.push({ item: next++, weight: step.weight });
    } else if (step.kind === "clear") {
      const items = model.map((entry) => entry.item);
      assertEquals(ring.clear(), newestFirst ? items.reverse() : items);
      model = [];
    } else if (model.length > 0) {
      assert(ring.yieldsTo());
      const last = step.kind === "shift" && newestFirst;
      const expected = last ? model.pop()! : model.shift()!;
      assertEquals(
        step.kind === "shift" ? ring.shift() : ring.evict(),
        expected.item,
      );
    }
    assertEquals(ring.length, model.length);
    const size = model.reduce((sum, entry) => sum + entry.weight, 0);
    assert(Math.abs(ring.size - size) < 1e-9, `${ring.size} is not ${size}`);
    assert(model.length > 0 || ring.size === 0, "empty weighs exactly 0");
  }
}

for (const newestFirst of [false, true]) {
  const order = newestFirst ? "newest first" : "oldest first";

  test(`Ring, ${order}: does what an array does`, () => {
    fc.assert(
      fc.property(steps, (script) => compareWithArray(newestFirst, script)),
      parameters(300),
    );
  });

  test(`Ring, ${order}: keeps the order while it grows, wraps and shrinks`, () => {
    const ring = new Ring<number>({ newestFirst });
    const model: number[] = [];
    let next = 0;
    for (const target of [10, 5_000, 3, 40, 2_000, 0]) {
      // One step back for two forward, so that the head wanders round.
      while (model.length < target) {
        for (let count = 0; count < 2; count++) {
          ring.push(next, 1);
          model.push(next++);
        }
        assertEquals(ring.shift(), newestFirst ? model.pop() : model.shift());
      }
      while (model.length > target) {
        assertEquals(ring.shift(), newestFirst ? model.pop() : model.shift());
      }
    }
    assertEquals([ring.length, ring.size, ring.yieldsTo()], [0, 0, false]);
  });
}

for (const backlog of [20, 40, 100]) {
  for (const weight of [1, 2]) {
    test(`Ring: cleared of ${backlog} that weigh ${weight}, it is as good as new`, () => {
      const ring = new Ring<number>();
      for (let item = 0; item < backlog; item++) ring.push(item, weight);
      for (let item = 0; item < backlog - 3; item++) ring.shift();
      assertEquals(ring.clear(), [backlog - 3, backlog - 2, backlog - 1]);
      for (let item = 0; item < 10; item++) ring.push(item, 1);
      for (let item = 0; item < 9; item++) assertEquals(ring.shift(), item);
      // Round the end of the ring, then beyond what it holds.
      for (let item = 10; item < 60; item++) ring.push(item, 1);
      assertEquals(ring.size, 51);
      for (let item = 9; item < 60; item++) {
        assertEquals(ring.shift(), item);
        assertEquals(ring.size, 59 - item);
      }
    });
  }
}

test("Ring: weights that come late leave those before at 1", () => {
  const ring = new Ring<string>();
  ring.push("light", 1);
  ring.push("heavy", 5);
  ring.push("light", 1);
  const sizes = [ring.size];
  while (ring.length > 0) {
    ring.shift();
    sizes.push(ring.size);
  }
  assertEquals(sizes, [7, 6, 1, 0]);
});

test("ring: what is put back comes next, also when the ring is full or wraps", () => {
  for (const newestFirst of [false, true]) {
    for (let filled = 0; filled <= 70; filled++) {
      const ring = new Ring<number>({ newestFirst });
      const expected: number[] = [];
      // Not from the first slot on, so that it wraps.
      for (let turn = 0; turn < 11; turn++) ring.push(-1, 1);
      for (let turn = 0; turn < 11; turn++) ring.shift();
      for (let item = 0; item < filled; item++) {
        ring.push(item, 1 + item % 3, undefined, `note ${item}`);
        expected.push(item);
      }
      if (newestFirst) expected.reverse();
      for (let back = 1; back <= 20; back++) {
        ring.putBack(-back, { weight: 2, note: `note ${-back}` });
        expected.unshift(-back);
      }
      assertEquals(ring.length, expected.length);
      for (const item of expected) {
        const weight = item < 0 ? 2 : 1 + item % 3;
        assertEquals(ring.next(), { weight, note: `note ${item}` });
        assertEquals(ring.shift(), item);
      }
      assertEquals([ring.length, ring.size], [0, 0]);
    }
  }
});
