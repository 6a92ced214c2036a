import { assert, assertEquals } from "@std/assert";
import { Queue, QueueFullError } from "../../../mod.ts";
import { type Call, ItemCall } from "../../../src/flow/consume/calls.ts";
import { watchOwnPuts } from "../../../src/flow/consume/own_puts.ts";
import { test } from "../../support/harness.ts";
import { ignore } from "../../support/waiting.ts";

/** How often a call was looked up when so many had waited in a put of their own, and were told. */
async function looks(count: number): Promise<number> {
  let looked = 0;
  const calls: Call<number>[] = Array.from(
    { length: count },
    (_, item) => new ItemCall(item, undefined),
  );
  const counted = new Proxy(calls, {
    get(target, name, receiver) {
      if (typeof name === "string" && Number(name) >= 0) looked++;
      return Reflect.get(target, name, receiver);
    },
  });
  let ring = ignore;
  const clock = {
    now: () => 0,
    setTimer: (callback: () => void) => void (ring = callback),
    clearTimer: ignore,
  };
  const queue = new Queue<number>({ highWaterMark: 1 });
  queue.tryPut(0);
  const run = { received: 0, allCalls: () => counted };
  const own = watchOwnPuts(queue, run, clock)!;
  const puts = calls.map((call, item) => {
    own.beginning = call;
    const put = queue.put(item).then(ignore, (error: unknown) => error);
    own.beginning = undefined;
    return put;
  });
  ring();
  for (const error of await Promise.all(puts)) {
    assertEquals(error instanceof QueueFullError, true);
  }
  return looked;
}

test("consume: to tell the calls that wait for room in their own source looks at each as often among 10 as among 300", async () => {
  const [ten, threeHundred] = [await looks(10), await looks(300)];
  assert(threeHundred <= 30 * ten, `${threeHundred} looks, not ${30 * ten}`);
});
