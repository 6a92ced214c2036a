/**
 * What it costs that many wait, and that they leave.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { reasonOf } from "../support/waiting.ts";
import { boom, type Group, group } from "./cases.ts";

export const waiting: Group = group("P6 waiting");
const { promise } = waiting;

/** Looks like an AbortSignal, and counts who listens. */
class CountingSignal extends EventTarget {
  aborted = false;
  reason: unknown = undefined;
  listeners = 0;
  added = 0;

  override addEventListener(
    ...listening: Parameters<EventTarget["addEventListener"]>
  ): void {
    this.listeners++;
    this.added++;
    super.addEventListener(...listening);
  }

  override removeEventListener(
    ...listening: Parameters<EventTarget["removeEventListener"]>
  ): void {
    this.listeners--;
    super.removeEventListener(...listening);
  }

  abort(reason: unknown): void {
    this.aborted = true;
    this.reason = reason;
    this.dispatchEvent(new Event("abort"));
  }

  get asOption(): { signal: AbortSignal } {
    return { signal: this as unknown as AbortSignal };
  }
}

promise("one listener serves all that wait on one signal", async (kind) => {
  const signal = new CountingSignal();
  const queue = kind.create<number>();
  const waiting = Array.from(
    { length: 100 },
    () => reasonOf(queue.get(signal.asOption)),
  );
  assertEquals(signal.added, 1);
  signal.abort(boom);
  assertEquals(new Set(await Promise.all(waiting)), new Set([boom]));
});

promise("the listener goes with the last that waits", async (kind) => {
  const signal = new CountingSignal();
  const queue = kind.create<number>({ highWaterMark: 1 });
  const gets = [queue.get(signal.asOption), queue.get(signal.asOption)];
  queue.tryPut(1);
  assertEquals(signal.listeners, 1);
  queue.tryPut(2);
  assertEquals(signal.listeners, 0);
  await Promise.all(gets);
  queue.tryPut(3);
  const put = queue.put(4, signal.asOption);
  assertEquals(signal.listeners, 1);
  queue.tryGet();
  assertEquals(signal.listeners, 0);
  await put;
}, { needs: ["signals"] });

for (const end of ["close", "fail", "abort"] as const) {
  promise(`${end}() takes the listeners off the signals`, async (kind) => {
    const signal = new CountingSignal();
    const queue = kind.create<number>();
    const waiting = [
      queue.get(signal.asOption),
      queue.getMany(2, signal.asOption),
    ].map((each) => each.catch(() => {}));
    assertEquals(signal.listeners, 1);
    queue[end](boom);
    assertEquals(signal.listeners, 0);
    await Promise.all(waiting);
  });
}

promise("what needs no waiting listens to no signal", async (kind) => {
  const signal = new CountingSignal();
  const queue = kind.create<number>();
  await queue.put(1, signal.asOption);
  await queue.putMany([2, 3], signal.asOption);
  await queue.get(signal.asOption);
  await queue.getMany(2, signal.asOption);
  assertEquals(signal.added, 0);
}, { needs: ["signals"] });

for (
  const [direction, turn] of [
    ["oldest", (_: unknown, at: number): number => at],
    ["youngest", (_: unknown, at: number): number => 299 - at],
    ["a mixed order of", (_: unknown, at: number): number => at * 7 % 300],
  ] as const
) {
  promise(
    `300 gets and puts cancelled ${direction} first leave nobody in line`,
    async (kind) => {
      const empty = kind.create<number>();
      const none = kind.create<number>({ highWaterMark: 0 });
      const controllers = Array.from(
        { length: 300 },
        () => new AbortController(),
      );
      const waiting = controllers.flatMap((controller, item) => [
        reasonOf(empty.get(controller)),
        reasonOf(none.put(item, controller)),
      ]);
      const last = [empty.get(), none.put(300)];
      for (const at of controllers.map(turn)) controllers[at]!.abort(at);
      const reasons = await Promise.all(waiting);
      assertEquals(reasons.filter((_, at) => at % 2 === 0), [
        ...controllers.keys(),
      ]);
      assertEquals([
        empty.stats().waitingGets,
        none.stats().waitingPuts,
        none.desiredSize,
      ], [1, 1, -1]);
      assertEquals(none.tryGet(), 300);
      empty.tryPut(301);
      assertEquals(await Promise.all(last), [301, undefined]);
    },
    { needs: ["rendezvous", "line"] },
  );
}

promise("40,000 are cancelled at once by a signal they share", async (kind) => {
  const empty = kind.create<number>();
  const none = kind.create<number>({ highWaterMark: 0 });
  const cancel = new AbortController();
  const count = new Map<unknown, number>();
  const note = (reason: unknown): void =>
    void count.set(reason, (count.get(reason) ?? 0) + 1);
  const waiting: Promise<unknown>[] = [];
  for (let item = 0; item < 20_000; item++) {
    waiting.push(empty.get(cancel).catch(note));
    waiting.push(none.put(item, cancel).catch(note));
  }
  cancel.abort(boom);
  await Promise.all(waiting);
  assertEquals([...count], [[boom, 40_000]]);
  assertEquals(empty.stats().waitingGets + none.stats().waitingPuts, 0);
}, { needs: ["rendezvous", "crowds"] });

promise("40,000 are cancelled one by one, youngest first", async (kind) => {
  const empty = kind.create<number>();
  const none = kind.create<number>({ highWaterMark: 0 });
  let cancelled = 0;
  const note = (): void => void cancelled++;
  const controllers: AbortController[] = [];
  const waiting: Promise<unknown>[] = [];
  for (let item = 0; item < 20_000; item++) {
    const cancel = new AbortController();
    controllers.push(cancel);
    waiting.push(empty.get(cancel).catch(note));
    waiting.push(none.put(item, cancel).catch(note));
  }
  for (const cancel of controllers.reverse()) cancel.abort(boom);
  await Promise.all(waiting);
  assertEquals(cancelled, 40_000);
  assertEquals(empty.stats().waitingGets + none.stats().waitingPuts, 0);
}, { needs: ["rendezvous", "crowds"] });
