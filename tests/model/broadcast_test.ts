import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  Broadcast,
  LaggedError,
  type LagPolicy,
  QueueClosedError,
} from "../../mod.ts";
import { assertInvariants } from "../../src/flow/broadcast.ts";
import { test } from "../support/harness.ts";
import { parameters, turn } from "../support/properties.ts";

// -- A broadcast in which every subscriber has an array of its own --------------

type Settle = (outcome: string) => void;

interface ReferenceSubscriber {
  overflow: LagPolicy;
  highWaterMark: number;
  items: number[];
  waiting: Settle[];
  /** Skipped since it read last, and in all. */
  skipped: number;
  missed: number;
  lags: number[];
  /** What reads settle with once it reads no more. */
  end: string | undefined;
}

interface ReferencePut {
  item: number;
  settle: Settle;
  signal: number | undefined;
}

class ReferenceBroadcast {
  state: "open" | "closing" | "closed" | "errored" = "open";
  failure: string | undefined = undefined;
  aborted = false;
  readonly subscribers: ReferenceSubscriber[] = [];
  puts: ReferencePut[] = [];
  kept: number[] = [];
  put = 0;
  readonly #replay: number;
  readonly #highWaterMark: number;
  readonly #closed: Settle;

  constructor(highWaterMark: number, replay: number, closed: Settle) {
    this.#highWaterMark = highWaterMark;
    this.#replay = replay;
    this.#closed = closed;
  }

  get live(): ReferenceSubscriber[] {
    return this.subscribers.filter((one) => one.end === undefined);
  }

  get desiredSize(): number | null {
    if (this.failure !== undefined) return null;
    if (this.state !== "open") return 0;
    const rooms = this.live.filter((one) => one.overflow === "wait")
      .map((one) => one.highWaterMark - one.items.length);
    const room = Math.min(...rooms);
    return (room === Infinity ? this.#highWaterMark : room) - this.puts.length;
  }

  get length(): number {
    const lags = this.live.map((one) => one.items.length);
    return Math.max(0, this.kept.length, ...lags);
  }

  subscribe(
    overflow: LagPolicy,
    highWaterMark: number,
    replay: number,
  ): ReferenceSubscriber {
    const most = overflow === "wait" ? replay : Math.min(replay, highWaterMark);
    const one: ReferenceSubscriber = {
      overflow,
      highWaterMark,
      items: most === 0 ? [] : this.kept.slice(-most),
      waiting: [],
      skipped: 0,
      missed: 0,
      lags: [],
      end: undefined,
    };
    this.subscribers.push(one);
    this.#endSubscribers();
    return one;
  }

  read(one: ReferenceSubscriber, settle: Settle): void {
    if (one.end !== undefined) return settle(one.end);
    one.waiting.push(settle);
    if (one.waiting.length === 1 && one.items.length > 0) this.#serve(one);
    this.#goOn();
  }

  /** What waits is served, which the real one does in a microtask. */
  feed(): void {
    this.#serveAll();
    this.#goOn();
  }

  release(one: ReferenceSubscriber): void {
    for (const settle of one.waiting.splice(0)) settle("rejects TypeError");
  }

  cancel(one: ReferenceSubscriber): void {
    if (one.end !== undefined) return;
    this.#end(one, "done");
    this.#goOn();
  }

  offer(item: number, settle: Settle, signal: number | undefined): void {
    const hasRoom = this.#hasRoom();
    if (this.state !== "open") return settle(this.#refusal(item));
    if (hasRoom && this.puts.length === 0) {
      this.#store(item);
      return settle("ok");
    }
    this.puts.push({ item, settle, signal });
  }

  tryPut(item: number): string {
    const hasRoom = this.#hasRoom();
    if (this.state !== "open") return this.#refusal(item);
    if (!hasRoom || this.puts.length > 0) return "false";
    this.#store(item);
    return "true";
  }

  withdraw(signal: number): void {
    const gone = this.puts.filter((put) => put.signal === signal);
    this.puts = this.puts.filter((put) => put.signal !== signal);
    for (const put of gone) put.settle(`rejects signal ${signal}`);
    this.#goOn();
  }

  close(failure?: string): void {
    if (this.state !== "open") return;
    this.state = "closing";
    this.failure = failure;
    this.#goOn();
  }

  abort(reason: string): void {
    this.feed();
    if (this.state === "closed" || this.state === "errored") return;
    this.state = "errored";
    this.aborted = true;
    this.failure = reason;
    this.kept = [];
    for (const put of this.puts.splice(0)) put.settle(`rejects ${reason}`);
    for (const one of this.live) this.#end(one, `rejects ${reason}`);
    this.#closed(`rejects ${reason}`);
  }

  #refusal(item: number): string {
    return this.aborted
      ? `rejects ${this.failure}`
      : `rejects closed with ${item}`;
  }

  #isFull(one: ReferenceSubscriber): boolean {
    return one.items.length >= one.highWaterMark;
  }

  #hasRoom(): boolean {
    if (this.live.some((one) => this.#isFull(one))) this.feed();
    return !this.live.some((one) =>
      one.overflow === "wait" && this.#isFull(one)
    );
  }

  #store(item: number): void {
    for (const one of this.live) {
      if (this.#isFull(one)) {
        if (one.overflow === "evict") {
          this.#end(one, `rejects lagged ${one.items.length + 1}`);
          continue;
        }
        one.items.shift();
        one.skipped++;
        one.missed++;
      }
      one.items.push(item);
    }
    this.put++;
    this.kept.push(item);
    if (this.kept.length > this.#replay) this.kept.shift();
  }

  #serve(one: ReferenceSubscriber): void {
    one.waiting.shift()!(`item ${one.items.shift()}`);
    if (one.skipped > 0) one.lags.push(one.skipped);
    one.skipped = 0;
  }

  #goOn(): void {
    while (this.puts.length > 0 && this.#roomForPut()) {
      const put = this.puts.shift()!;
      this.#store(put.item);
      put.settle("ok");
    }
    this.#endSubscribers();
    if (this.state !== "closing" || this.puts.length > 0) return;
    if (this.live.length > 0) return;
    this.state = this.failure === undefined ? "closed" : "errored";
    this.#closed(this.failure === undefined ? "ok" : `rejects ${this.failure}`);
  }

  #roomForPut(): boolean {
    if (this.live.some((one) => this.#isFull(one))) this.#serveAll();
    return !this.live.some((one) =>
      one.overflow === "wait" && this.#isFull(one)
    );
  }

  #serveAll(): void {
    for (const one of this.live) {
      while (one.waiting.length > 0 && one.items.length > 0) this.#serve(one);
    }
  }

  #endSubscribers(): void {
    if (this.state === "open" || this.puts.length > 0) return;
    for (const one of this.live) {
      if (one.items.length > 0) continue;
      this.#end(
        one,
        this.failure === undefined ? "done" : `rejects ${this.failure}`,
      );
    }
  }

  #end(one: ReferenceSubscriber, outcome: string): void {
    one.end = outcome;
    one.items = [];
    for (const settle of one.waiting.splice(0)) settle(outcome);
  }
}

// -- Both, side by side ---------------------------------------------------------

type Verb =
  | "subscribe"
  | "read"
  | "release"
  | "cancel"
  | "put"
  | "tryPut"
  | "signal"
  | "close"
  | "fail"
  | "abort";

interface Operation {
  verb: Verb;
  which: number;
  choice: number;
  /** Whether everything that is due happens before the next operation. */
  pause: boolean;
}

interface Configuration {
  highWaterMark: number;
  replay: number;
}

const POLICIES: readonly LagPolicy[] = ["wait", "wait", "drop-oldest", "evict"];
const BOUNDS: readonly (number | undefined)[] = [1, 2, undefined, 3, Infinity];

const operations: fc.Arbitrary<Operation[]> = fc.array(
  fc.record({
    verb: fc.oneof(
      ...([
        ["subscribe", 5],
        ["read", 14],
        ["release", 1],
        ["cancel", 2],
        ["put", 12],
        ["tryPut", 6],
        ["signal", 1],
      ] as [Verb, number][]).map(([verb, weight]) => ({
        arbitrary: fc.constant(verb),
        weight,
      })),
    ),
    which: fc.nat({ max: 5 }),
    choice: fc.nat({ max: 59 }),
    pause: fc.boolean(),
  }),
  { minLength: 1, maxLength: 60, size: "max" },
);

const endings: fc.Arbitrary<Operation[]> = fc.array(
  fc.record({
    verb: fc.constantFrom(
      "close" as const,
      "fail" as const,
      "abort" as const,
      "read" as const,
      "read" as const,
      "read" as const,
      "read" as const,
      "put" as const,
      "tryPut" as const,
      "subscribe" as const,
      "cancel" as const,
      "signal" as const,
    ),
    which: fc.nat({ max: 5 }),
    choice: fc.nat({ max: 59 }),
    pause: fc.boolean(),
  }),
  { maxLength: 30, size: "max" },
);

const configurations: fc.Arbitrary<Configuration> = fc.record({
  highWaterMark: fc.constantFrom(1, 2, 4),
  replay: fc.constantFrom(0, 0, 1, 3, Infinity),
});

class Session {
  readonly #real: Broadcast<number>;
  readonly #model: ReferenceBroadcast;
  readonly #replay: number;
  readonly #highWaterMark: number;
  readonly #outcomes: string[] = [];
  readonly #expected: string[] = [];
  readonly #subscribers: {
    stream: ReadableStream<number>;
    reader: ReadableStreamDefaultReader<number>;
    model: ReferenceSubscriber;
    lags: number[];
    done: boolean;
  }[] = [];
  readonly #controllers: AbortController[] = [];
  #items = 0;

  constructor({ highWaterMark, replay }: Configuration) {
    this.#replay = replay;
    this.#highWaterMark = highWaterMark;
    this.#real = new Broadcast({ highWaterMark, replay });
    const closed = this.#track("closed", this.#real.closed);
    this.#model = new ReferenceBroadcast(highWaterMark, replay, closed);
    this.#controllers.push(new AbortController(), new AbortController());
  }

  async run(steps: Operation[]): Promise<void> {
    for (const operation of steps) {
      this.#apply(operation);
      this.#compare(operation.verb);
      if (operation.pause) await this.#settle();
    }
    await this.#settle();
  }

  #apply({ verb, which, choice }: Operation): void {
    const real = this.#real;
    const model = this.#model;
    const one =
      this.#subscribers[which % Math.max(1, this.#subscribers.length)];
    switch (verb) {
      case "subscribe":
        return this.#subscribe(choice);
      case "read": {
        if (one === undefined) return;
        const settle = this.#track(`read ${which}`, one.reader.read());
        return model.read(one.model, settle);
      }
      case "release": {
        if (one === undefined || one.model.end !== undefined) return;
        one.reader.releaseLock();
        one.reader = one.stream.getReader();
        one.reader.closed.catch(() => {});
        return model.release(one.model);
      }
      case "cancel":
        if (one === undefined) return;
        // A stream that has failed rejects its cancel().
        one.reader.cancel().catch(() => {});
        return model.cancel(one.model);
      case "put": {
        const item = this.#items++;
        const number = choice < 2 ? choice : undefined;
        const signal = number === undefined
          ? undefined
          : this.#controllers[number]!.signal;
        const put = real.put(item, signal && { signal });
        const settle = this.#track(`put ${item}`, put);
        if (signal?.aborted) return settle(`rejects signal ${number}`);
        return model.offer(item, settle, number);
      }
      case "tryPut": {
        const item = this.#items++;
        this.#outcomes.push(`tryPut ${attempt(() => real.tryPut(item))}`);
        this.#expected.push(`tryPut ${model.tryPut(item)}`);
        return;
      }
      case "signal":
        this.#controllers[choice % 2]!.abort(
          new Error(`signal ${choice % 2}`),
        );
        return model.withdraw(choice % 2);
      case "close":
        real.close();
        return model.close();
      case "fail":
        real.fail(new Error(`fail ${choice}`));
        return model.close(`fail ${choice}`);
      case "abort":
        real.abort(new Error(`abort ${choice}`));
        return model.abort(`abort ${choice}`);
    }
  }

  #subscribe(choice: number): void {
    const overflow = POLICIES[choice % 4]!;
    const bound = BOUNDS[choice % 5];
    const wanted = choice % 3 === 0 ? undefined : choice % 3 - 1;
    const replay = wanted === undefined
      ? undefined
      : Math.min(wanted, this.#replay);
    const lags: number[] = [];
    const stream = this.#real.subscribe({
      overflow,
      highWaterMark: bound,
      replay,
      onLag: (missed) => {
        lags.push(missed);
        assertInvariants(this.#real);
      },
    });
    const reader = stream.getReader();
    reader.closed.catch(() => {});
    const model = this.#model.subscribe(
      overflow,
      bound ?? this.#highWaterMark,
      replay ?? this.#replay,
    );
    this.#subscribers.push({ stream, reader, model, lags, done: false });
  }

  #track(name: string, promise: Promise<unknown>): Settle {
    const at = this.#outcomes.push(`${name}: pending`) - 1;
    this.#expected.push(`${name}: pending`);
    promise.then(
      (value) => this.#outcomes[at] = `${name}: ${shown(value)}`,
      (reason) => this.#outcomes[at] = `${name}: ${shownReason(reason)}`,
    );
    return (outcome) => {
      assertEquals(this.#expected[at], `${name}: pending`);
      this.#expected[at] = `${name}: ${outcome}`;
    };
  }

  #compare(verb: Verb): void {
    const { desiredSize, length, put, waitingPuts, state, subscribers } = this
      .#real.stats();
    const model = this.#model;
    assertEquals(
      {
        desiredSize,
        length,
        put,
        waitingPuts,
        state,
        subscribers: subscribers.map(({ lag, missed }) => [lag, missed]),
      },
      {
        desiredSize: model.desiredSize,
        length: model.length,
        put: model.put,
        waitingPuts: model.puts.length,
        state: model.state,
        subscribers: model.live.map((one) => [one.items.length, one.missed]),
      },
      `after ${verb}`,
    );
    assertInvariants(this.#real);
  }

  async #settle(): Promise<void> {
    this.#model.feed();
    await turn();
    assertEquals(this.#outcomes, this.#expected);
    for (const { lags, model } of this.#subscribers) {
      assertEquals(lags, model.lags);
    }
    this.#compare("read");
  }
}

function attempt(put: () => boolean): string {
  try {
    return String(put());
  } catch (reason) {
    return shownReason(reason);
  }
}

function shown(value: unknown): string {
  if (value === undefined) return "ok";
  const step = value as ReadableStreamReadResult<number>;
  return step.done ? "done" : `item ${step.value}`;
}

function shownReason(reason: unknown): string {
  if (reason instanceof LaggedError) return `rejects lagged ${reason.missed}`;
  if (reason instanceof QueueClosedError) {
    return `rejects closed with ${reason.item}`;
  }
  if (reason instanceof TypeError) return "rejects TypeError";
  assert(reason instanceof Error);
  return `rejects ${reason.message}`;
}

test("broadcast: beside a model with an array for each subscriber, every step comes to the same", async () => {
  await fc.assert(
    fc.asyncProperty(
      configurations,
      operations,
      endings,
      async (configuration, before, after) => {
        await new Session(configuration).run([...before, ...after]);
      },
    ),
    parameters(500),
  );
});
