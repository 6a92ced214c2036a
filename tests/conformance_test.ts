import { assert, assertEquals } from "@std/assert";
import { LifoQueue, Queue, type QueueOptions } from "../mod.ts";
import { assertInvariants } from "../src/queue.ts";
import { cases, type Kind } from "./conformance/suite.ts";
import { test } from "./support/harness.ts";

const kinds: Kind[] = [
  {
    name: "Queue",
    order: "fifo",
    create: (options) => new Queue(options),
  },
  {
    name: "LifoQueue",
    order: "lifo",
    create: (options) => new LifoQueue(options),
  },
];

for (const kind of kinds) {
  for (const item of cases) {
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
