import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import {
  Line,
  Receiver,
  SignalGroups,
  type Waiter,
  WaiterGroup,
} from "../src/waiters.ts";
import { test } from "./support/harness.ts";

class Noted extends Receiver<string> {
  readonly name: string;
  readonly log: string[];

  constructor(name: string, log: string[], weight = 0) {
    super();
    this.name = name;
    this.log = log;
    this.weight = weight;
  }

  accept(item: string): void {
    this.leave();
    this.log.push(`${this.name} took ${item}`);
  }

  end(): void {
    this.log.push(`${this.name} ended`);
  }

  reject(reason: unknown): void {
    this.log.push(`${this.name} rejected ${reason}`);
  }
}

function namesIn(line: Line<Noted>): string {
  let names = "";
  for (
    let waiter: Waiter | undefined = line.first;
    waiter !== undefined;
    waiter = waiter.next
  ) names += (waiter as Noted).name;
  return names;
}

test("Line: leaving the front, the middle and the end keeps the others in order", () => {
  for (const leaving of ["a", "b", "c", "ac", "ca", "abc", "cba", "bca"]) {
    const line = new Line<Noted>();
    const waiters = ["a", "b", "c"].map((name) => new Noted(name, [], 2));
    for (const waiter of waiters) line.push(waiter);
    assertEquals([line.length, line.weight], [3, 6]);
    for (const name of leaving) {
      waiters.find((waiter) => waiter.name === name)!.leave();
    }
    const left = ["a", "b", "c"].filter((name) => !leaving.includes(name));
    assertEquals(namesIn(line), left.join(""));
    assertEquals([line.length, line.weight], [left.length, left.length * 2]);
    assertStrictEquals(
      line.last,
      waiters.findLast((waiter) => left.includes(waiter.name)),
    );
  }
});

test("Waiter: leaving twice is leaving once", () => {
  const line = new Line<Noted>();
  const group = new WaiterGroup();
  const [first, second] = [new Noted("a", []), new Noted("b", [])];
  for (const waiter of [first, second]) {
    line.push(waiter);
    group.add(waiter);
  }
  first.leave();
  first.leave();
  assertEquals([line.length, namesIn(line)], [1, "b"]);
  assertStrictEquals(group.first, second);
});

test("WaiterGroup: withdraws its waiters from the line oldest first, and only its own", () => {
  const log: string[] = [];
  const line = new Line<Noted>();
  const group = new WaiterGroup();
  for (const name of ["a", "b", "c", "d"]) {
    const waiter = new Noted(name, log);
    line.push(waiter);
    if (name !== "b") group.add(waiter);
  }
  group.withdrawAll("why");
  assertEquals(log, ["a rejected why", "c rejected why", "d rejected why"]);
  assertEquals(namesIn(line), "b");
  group.endAll();
  assertEquals(log.length, 3);
});

test("SignalGroups: one listener while somebody waits, none after", () => {
  let listeners = 0;
  let added = 0;
  const controller = new AbortController();
  const { signal } = controller;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: unknown[]) => {
    listeners++;
    added++;
    addEventListener.apply(signal, args as never);
  };
  signal.removeEventListener = (...args: unknown[]) => {
    listeners--;
    removeEventListener.apply(signal, args as never);
  };
  const groups = new SignalGroups();
  const log: string[] = [];
  const waiters = ["a", "b", "c"].map((name) => new Noted(name, log));
  for (const waiter of waiters) groups.of(signal).add(waiter);
  assertEquals([listeners, added], [1, 1]);
  for (const waiter of waiters) waiter.accept("item");
  assertEquals(listeners, 0);
  controller.abort("too late");
  assertEquals(log, ["a took item", "b took item", "c took item"]);
});

test("SignalGroups: a signal that fires withdraws with its reason and is forgotten", () => {
  const groups = new SignalGroups();
  const controller = new AbortController();
  const log: string[] = [];
  const group = groups.of(controller.signal);
  group.add(new Noted("a", log));
  group.add(new Noted("b", log));
  assertStrictEquals(groups.of(controller.signal), group);
  controller.abort("enough");
  assertEquals(log, ["a rejected enough", "b rejected enough"]);
  assert(groups.of(new AbortController().signal) !== group);
});
