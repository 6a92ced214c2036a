/**
 * A case of the suite, the kinds of queue it runs for, and what it needs of
 * them and of the runtime. A need is named where the case fails without it.
 *
 * @module
 */

import { assert } from "@std/assert";
import type { Queue, QueueOptions, UndeliveredReason } from "../../mod.ts";
import type { RuntimeNeed } from "./runtimes.ts";

/** What a kind can do. What every kind can do has no name here. */
export const abilities = {
  overflow: "it has policies other than to wait, and counts what they drop",
  "drop-oldest": "what was put first is what drop-oldest drops",
  size: "items weigh what the user says",
  rendezvous: "with a bound below 1, items wait for their taker",
  room: "desiredSize and the bound go by the weight of what is stored",
  line: "puts that one party makes at once stand in line at once",
  crowds: "40,000 wait, and leave, in the time of a test",
  "hand-off": "an item for a get that waits is never stored",
  answers: "true or false of tryPut() is the last word about its item",
  signals: "a put that needs no waiting listens to no signal",
  batches: "getMany() finds all that is stored",
  identity: "items and errors of any type come out as the same value",
  owner: "disposing of it gives up its items",
  disposal: "disposing of it rejects what waits with an AbortError",
  join: "it waits until what was taken is done",
} as const;

/** One of them. */
export type Ability = keyof typeof abilities;

/** All of them. */
export const everything: ReadonlySet<Ability> = new Set(
  Object.keys(abilities) as Ability[],
);

/** All of them but these. */
export function everythingBut(...lacking: Ability[]): ReadonlySet<Ability> {
  const can = new Set(everything);
  for (const ability of lacking) can.delete(ability);
  return can;
}

/** A kind of queue under test. */
export interface Kind {
  /** The name of its class. */
  name: string;
  /** Which of several stored items comes first. */
  order: "fifo" | "lifo";
  /** Its abilities. What it promises in another form its own tests check. */
  can: ReadonlySet<Ability>;
  /** Makes a queue of that kind. */
  create<T>(options?: QueueOptions<T>): Queue<T>;
}

/** What a case may ask for. */
export type Need = Ability | RuntimeNeed;

/** Sees a promise kept by a kind, or fails. */
export type Look = (kind: Kind) => Promise<void> | void;

/** One promise, and how to see it kept. */
export interface Case {
  /** The promise it belongs to. */
  group: string;
  /** The promise in words. */
  name: string;
  /** What it asks for. */
  needs: readonly Need[];
  /** Fails when it is broken. */
  run: Look;
}

/** The promises of a group, in the order in which they were made. */
export interface Group {
  /** Its cases so far. */
  cases: Case[];
  /** Adds one. */
  promise(name: string, run: Look, options?: { needs: readonly Need[] }): void;
}

/** Begins a group. */
export function group(name: string): Group {
  const cases: Case[] = [];
  return {
    cases,
    promise(promised, run, { needs } = { needs: [] }): void {
      cases.push({ group: name, name: promised, needs, run });
    },
  };
}

/** Items put in this order come out in that one. */
export function inOrder<T>(kind: Kind, items: T[]): T[] {
  return kind.order === "fifo" ? [...items] : [...items].reverse();
}

/** A queue that holds these items, and has no room unless it is told. */
export function full<T>(
  kind: Kind,
  items: T[],
  options: QueueOptions<T> = {},
): Queue<T> {
  const queue = kind.create<T>({ highWaterMark: items.length, ...options });
  for (const item of items) assert(queue.tryPut(item));
  return queue;
}

/** Takes all that is stored. */
export function drain<T>(queue: Queue<T>): T[] {
  const items: T[] = [];
  while (queue.length > 0) items.push(queue.tryGet() as T);
  return items;
}

/** What a queue says about the items that nobody got. */
export interface Report<T> {
  readonly items: T[];
  readonly reasons: UndeliveredReason[];
  /** The option of the queue. */
  readonly onUndelivered: (item: T, reason: UndeliveredReason) => void;
}

/** Notes it. */
export function report<T>(): Report<T> {
  const items: T[] = [];
  const reasons: UndeliveredReason[] = [];
  return {
    items,
    reasons,
    onUndelivered(item, reason) {
      items.push(item);
      reasons.push(reason);
    },
  };
}

/** What went wrong. */
export const boom: Error = new Error("boom");
