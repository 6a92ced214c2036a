import { assert, assertEquals } from "@std/assert";
import type { Queue, QueueOptions } from "../../mod.ts";
import { assertInvariants } from "../../src/queue.ts";
import { everything } from "./cases.ts";
import { kinds } from "./kinds.ts";
import { sharedKind } from "./shared_kind.ts";
import { cases, casesFor } from "./suite.ts";
import { test } from "../support/harness.ts";

for (const kind of kinds) {
  for (const item of casesFor(kind)) {
    test(`${kind.name}: ${item.group}: ${item.name}`, async () => {
      const checks: (() => void)[] = [];
      await item.run({
        ...kind,
        create<T>(options?: QueueOptions<T>): Queue<T> {
          const queue = kind.create<T>(options);
          checks.push(() => assertInvariants(queue));
          return queue;
        },
      });
      for (const check of checks) check();
    });
  }
}

test("conformance: at least 330 cases, each with a name of its own", () => {
  const names = cases.map((item) => `${item.group}: ${item.name}`);
  assertEquals(new Set(names).size, names.length);
  assert(names.length >= 330, `${names.length} cases`);
});

test("conformance: each ability is what some case needs", () => {
  const needed = new Set(cases.flatMap(({ needs }) => needs));
  assertEquals([...everything].filter((one) => !needed.has(one)), []);
});

test("conformance: a kind leaves out no more cases than it has to", () => {
  const counts = [...kinds, sharedKind].map((kind) => [
    kind.name,
    cases.length - casesFor(kind).length,
  ]);
  assertEquals(Object.fromEntries(counts), {
    Queue: 0,
    LifoQueue: 0,
    PriorityQueue: 12,
    WorkStealingQueue: 0,
    SharedQueue: 101,
  });
});
