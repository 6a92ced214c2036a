/**
 * What it costs to cancel those who wait.
 *
 * @module
 */

import { Queue } from "../../mod.ts";
import type { Row } from "./rows.ts";

async function cancel(shared: boolean): Promise<number> {
  const queue = new Queue<number>();
  const reason = new Error("cancelled");
  const one = new AbortController();
  const controllers = shared
    ? [one]
    : Array.from({ length: 20_000 }, () => new AbortController());
  let count = 0;
  const gets = Array.from({ length: 20_000 }, (_, index) => {
    const { signal } = shared ? one : controllers[index]!;
    return queue.get({ signal }).catch(() => void count++);
  });
  for (const controller of controllers) controller.abort(reason);
  await Promise.all(gets);
  return count / 2;
}

function abortListeners(): number {
  const reason = new Error("cancelled");
  const controllers = Array.from(
    { length: 20_000 },
    () => new AbortController(),
  );
  let count = 0;
  for (const { signal } of controllers) {
    signal.addEventListener("abort", () => void count++);
  }
  for (const controller of controllers) controller.abort(reason);
  return count / 2;
}

/** The rows. */
export function cancelRows(): Row[] {
  return [
    {
      group: "20,000 cancels",
      name: "AbortController and one listener each (the platform)",
      baseline: true,
      run: abortListeners,
    },
    {
      group: "20,000 cancels",
      name: "Queue: get() with a signal each",
      run: () => cancel(false),
    },
    {
      group: "20,000 cancels",
      name: "Queue: get() on one shared signal",
      run: () => cancel(true),
    },
  ];
}
