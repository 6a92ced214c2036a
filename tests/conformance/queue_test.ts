import { assert, assertEquals } from "@std/assert";
import type { Queue, QueueOptions } from "../../mod.ts";
import { assertInvariants } from "../../src/queue.ts";
import { kinds } from "./kinds.ts";
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

test("conformance: at least 150 cases, each with a name of its own", () => {
  const names = cases.map((item) => `${item.group}: ${item.name}`);
  assertEquals(new Set(names).size, names.length);
  assert(names.length >= 150, `${names.length} cases`);
});

test("conformance: a case that a kind leaves out is one of the suite", () => {
  const names = new Set(cases.map((item) => item.name));
  for (const { differs = [] } of kinds) {
    assertEquals(differs.filter((name) => !names.has(name)), []);
  }
});
