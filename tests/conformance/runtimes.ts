/**
 * What a case may need of the runtime it runs in, and how to find out whether
 * it is there. Deno, Bun and Node have all that the cases of queues need.
 *
 * @module
 */

import { pause } from "../support/waiting.ts";

/** Something that not every runtime has. */
export type RuntimeNeed =
  | "native pipe"
  | "byte strategy"
  | "ports"
  | "page with workers"
  | "isolated page";

interface Feature {
  /** What is said of a case that needs it, where it is not. */
  absence: string;
  /** Whether it is there. */
  isThere(): boolean | Promise<boolean>;
}

const features: Record<RuntimeNeed, Feature> = {
  "native pipe": {
    absence: "a native pipeTo() fulfils here when its destination fails",
    isThere: nativePipeTells,
  },
  "byte strategy": {
    absence: "there is no ByteLengthQueuingStrategy here",
    isThere: () => "ByteLengthQueuingStrategy" in globalThis,
  },
  ports: {
    absence: "there is no MessageChannel here",
    isThere: () => "MessageChannel" in globalThis,
  },
  "page with workers": {
    absence: "this is no page that starts workers",
    isThere: () => "document" in globalThis && "Worker" in globalThis,
  },
  "isolated page": {
    absence: "this is no page with shared memory",
    isThere: () =>
      "document" in globalThis &&
      (globalThis as { crossOriginIsolated?: boolean })
          .crossOriginIsolated === true,
  },
};

/** One promise that is not of a kind of queue, and how to see it kept. */
export interface RuntimeCase {
  /** The promise in words. */
  name: string;
  /** What it needs of the runtime. */
  needs?: readonly RuntimeNeed[];
  /** Fails when it is broken. */
  run(): Promise<void> | void;
}

/** What this runtime has not, with what is said of that. */
export async function missingHere(): Promise<Map<string, string>> {
  const missing = new Map<string, string>();
  for (const [name, { isThere, absence }] of Object.entries(features)) {
    if (!await isThere()) missing.set(name, absence);
  }
  return missing;
}

/** False where `pipeTo()` fulfils though its destination failed: workerd. */
async function nativePipeTells(): Promise<boolean> {
  let controller: WritableStreamDefaultController | undefined;
  const destination = new WritableStream({
    start(given): void {
      controller = given;
    },
  });
  const piping = new ReadableStream({ cancel(): void {} }).pipeTo(destination);
  const told = piping.then(() => false, () => true);
  await pause(10);
  controller?.error(new Error("failed"));
  return await told;
}
