import { assert, assertEquals, fail } from "@std/assert";
import fc from "fast-check";
import process from "node:process";
import {
  LifoQueue,
  PriorityQueue,
  type PriorityQueueOptions,
  Queue,
  QueueClosedError,
  QueueFullError,
  type QueueStats,
} from "../../mod.ts";
import { assertInvariants } from "../../src/queue.ts";
import {
  ANY_REJECTION,
  type Item,
  nameOf,
  type Order,
  ReferenceQueue,
  type ReferenceReader,
  type ReferenceWriter,
  type Settle,
} from "./reference.ts";
import { test } from "../support/harness.ts";
import { parameters, turn } from "../support/properties.ts";

/** What a run is made of. */
interface Configuration {
  highWaterMark: number;
  overflow: "wait" | "reject" | "drop-oldest" | "drop-newest";
  callback: "log" | "tryGet" | "tryPut" | "throw";
}

type Verb =
  | "put"
  | "tryPut"
  | "putMany"
  | "get"
  | "tryGet"
  | "getMany"
  | "linger"
  | "next"
  | "iterator.next"
  | "iterator.return"
  | "close"
  | "fail"
  | "abort"
  | "dispose"
  | "clear"
  | "resize"
  | "signal.abort"
  | "read"
  | "releaseLock"
  | "reader.cancel"
  | "write"
  | "writer.close"
  | "writer.abort"
  | "consumer.read"
  | "consumer.cancel"
  | "producer"
  | "producer.write"
  | "producer.close"
  | "producer.abort"
  | "taskDone"
  | "join"
  | "ready"
  | "closed";

/** One operation; what a verb has no use for is ignored. */
interface Operation {
  verb: Verb;
  /** Chooses a weight, a bound, a number of items. */
  choice: number;
  /** Chooses an iterator, a consumer, a producer. */
  which: number;
  /** 0 and 1: a signal that others use as well; 2: one of its own; else none. */
  signal: number;
}

/** Verb and how often it comes. */
const CORE: readonly [Verb, number][] = [
  ["put", 12],
  ["tryPut", 5],
  ["putMany", 4],
  ["get", 8],
  ["tryGet", 4],
  ["getMany", 4],
  ["linger", 2],
  ["next", 3],
  ["iterator.next", 3],
  ["iterator.return", 1],
  ["close", 1],
  ["fail", 1],
  ["abort", 1],
  ["dispose", 1],
  ["clear", 1],
  ["resize", 3],
  ["signal.abort", 4],
  ["taskDone", 3],
  ["join", 2],
  ["ready", 3],
  ["closed", 1],
];

const VIEWS: readonly [Verb, number][] = [
  ["put", 3],
  ["tryPut", 1],
  ["putMany", 1],
  ["get", 2],
  ["tryGet", 2],
  ["iterator.next", 1],
  ["iterator.return", 1],
  ["close", 1],
  ["fail", 1],
  ["abort", 1],
  ["clear", 1],
  ["resize", 2],
  ["signal.abort", 1],
  ["ready", 1],
  ["closed", 1],
  ["taskDone", 1],
  ["join", 1],
  ["read", 6],
  ["releaseLock", 2],
  ["reader.cancel", 1],
  ["write", 8],
  ["writer.close", 1],
  ["writer.abort", 1],
  ["consumer.read", 4],
  ["consumer.cancel", 1],
  ["producer", 4],
  ["producer.write", 6],
  ["producer.close", 4],
  ["producer.abort", 3],
];

const WEIGHTS: readonly number[] = [1, 1, 1, 2, 0.5, 0, 1, NaN];
const PRIORITIES: readonly number[] = [0, 3, 0, -1, 0.5, 3, -7, -1];
const BOUNDS: readonly number[] = [1, 2, 0, 3.5, Infinity];
const POLICIES = ["collect", "abort", "ignore"] as const;

const configurations: fc.Arbitrary<Configuration> = fc.record({
  highWaterMark: fc.constantFrom(...BOUNDS),
  overflow: fc.constantFrom(
    "wait" as const,
    "wait" as const,
    "reject" as const,
    "drop-oldest" as const,
    "drop-newest" as const,
  ),
  callback: fc.constantFrom(
    "log" as const,
    "tryGet" as const,
    "tryPut" as const,
    "throw" as const,
  ),
});

function operationsOf(
  verbs: readonly [Verb, number][],
): fc.Arbitrary<Operation[]> {
  const verb = fc.oneof(
    ...verbs.map(([name, weight]) => ({
      arbitrary: fc.constant(name),
      weight,
    })),
  );
  return fc.array(
    fc.record({
      verb,
      choice: fc.nat({ max: 7 }),
      which: fc.nat({ max: 1 }),
      signal: fc.nat({ max: 7 }),
    }),
    { minLength: 1, maxLength: 40, size: "max" },
  );
}

/** The kinds. */
const KINDS: Record<
  Order,
  new (options: PriorityQueueOptions<Item>) => Queue<Item>
> = { fifo: Queue, lifo: LifoQueue, priority: PriorityQueue };

/** The options that only some of them know. */
const PRIORITY: Record<Order, PriorityQueueOptions<Item>> = {
  fifo: {},
  lifo: {},
  priority: { priority: (item) => item.priority! },
};

/** A signal on both sides: real and, as an owner, in the model. */
class Signal {
  readonly controller = new AbortController();
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

/** One queue and its model, driven side by side. */
class Session {
  readonly #queue: Queue<Item>;
  readonly #model: ReferenceQueue;
  readonly #configuration: Configuration;
  readonly #order: Order;
  /** How each operation ended, by its number. */
  readonly #real: string[] = [];
  readonly #expected: string[] = [];
  readonly #realReports: string[] = [];
  readonly #expectedReports: string[] = [];
  readonly #operations: string[] = [];
  readonly #items: Map<number, Item> = new Map();
  readonly #realOffered: number[] = [];
  readonly #accepted: Set<number> = new Set();
  /** Items that left the queue, in that order, with the way they left by. */
  readonly #left: { id: number; lingered: boolean; taken: boolean }[] = [];
  readonly #shared: Signal[] = [new Signal("first"), new Signal("second")];
  readonly #own: Signal[] = [];
  readonly #iterators: AsyncIterableIterator<Item>[];
  readonly #iteratorOwners: { done: boolean }[] = [];
  #itemCount = 0;
  #realExtra = 1000;
  #expectedExtra = 1000;
  #budget = { real: 5, expected: 5 };
  #reader: ReadableStreamDefaultReader<Item> | undefined = undefined;
  readonly #modelReader: ReferenceReader = {
    ownsQueue: true,
    cancelled: false,
  };
  #writer: WritableStreamDefaultWriter<Item> | undefined = undefined;
  #modelWriter: ReferenceWriter | undefined = undefined;
  readonly #consumers: {
    real: ReadableStreamDefaultReader<Item>;
    model: ReferenceReader;
  }[] = [];
  readonly #producers: {
    real: WritableStreamDefaultWriter<Item>;
    model: ReferenceWriter;
  }[] = [];

  constructor(
    configuration: Configuration,
    order: Order,
    views: boolean,
  ) {
    const { highWaterMark, overflow } = configuration;
    this.#configuration = configuration;
    this.#order = order;
    this.#queue = new KINDS[order]({
      highWaterMark,
      overflow,
      size: (item) => item.weight,
      ...PRIORITY[order],
      onUndelivered: (item, reason) => this.#undelivered(item, reason),
    });
    this.#model = new ReferenceQueue({
      highWaterMark,
      overflow,
      order,
      onUndelivered: (item, reason) => this.#expectUndelivered(item, reason),
    });
    this.#iterators = [0, 1].map(() => this.#queue[Symbol.asyncIterator]());
    this.#iteratorOwners = [{ done: false }, { done: false }];
    if (!views) return;
    this.#reader = this.#queue.readable.getReader();
    this.#writer = this.#queue.writable.getWriter();
    this.#modelWriter = this.#model.writer("queue");
    for (let index = 0; index < 2; index++) {
      this.#consumers.push({
        real: this.#queue.consumer().getReader(),
        model: { ownsQueue: false, cancelled: false },
      });
    }
  }

  // -- The callback, on both sides alike

  #undelivered(item: Item, reason: string): void {
    this.#realReports.push(`${nameOf(item)} ${reason}`);
    this.#left.push({ id: item.id, lingered: false, taken: false });
    assertInvariants(this.#queue);
    if (this.#budget.real-- <= 0) return;
    const { callback } = this.#configuration;
    if (callback === "throw") throw new Error("thrown by the callback");
    if (callback === "tryGet") {
      const taken = this.#queue.tryGet();
      // Gets that were served before it note their items only in a microtask.
      if (taken !== undefined) this.#took([taken], true);
      this.#realReports.push(taken === undefined ? "nothing" : nameOf(taken));
    } else if (callback === "tryPut") {
      const extra = this.#remember({
        id: this.#realExtra++,
        weight: 1,
        priority: 0,
      });
      this.#realReports.push(this.#tryPut(extra));
    }
  }

  #expectUndelivered(item: Item, reason: string): void {
    this.#expectedReports.push(`${nameOf(item)} ${reason}`);
    if (this.#budget.expected-- <= 0) return;
    const { callback } = this.#configuration;
    if (callback === "tryGet") {
      const taken = this.#model.tryGet();
      this.#expectedReports.push(
        taken === undefined ? "nothing" : nameOf(taken),
      );
    } else if (callback === "tryPut") {
      const extra = { id: this.#expectedExtra++, weight: 1 };
      this.#expectedReports.push(this.#model.tryPut(extra));
    }
  }

  // -- Recording

  #item(choice: number): Item {
    const id = this.#itemCount++;
    const priority = PRIORITIES[id % PRIORITIES.length]!;
    return this.#remember({ id, weight: WEIGHTS[choice]!, priority });
  }

  #remember(item: Item): Item {
    this.#items.set(item.id, item);
    return item;
  }

  #took(items: Item[], lingered = false): void {
    for (const { id } of items) this.#left.push({ id, lingered, taken: true });
  }

  /** A place for the outcomes of one operation; returns the model's side. */
  #track(
    operation: string,
    promise: Promise<unknown>,
    noted: (value: unknown) => void = () => {},
  ): Settle {
    const index = this.#real.push("pending") - 1;
    this.#expected.push("pending");
    this.#operations.push(operation);
    promise.then(
      (value) => {
        noted(value);
        this.#real[index] = shown(value);
      },
      (reason) => {
        this.#real[index] = `rejects ${shownReason(reason)}`;
      },
    );
    return (outcome) => {
      if (this.#expected[index] !== "pending") fail("the model settles twice");
      this.#expected[index] = outcome;
    };
  }

  #trackNow(operation: string, real: string, expected: string): void {
    this.#real.push(real);
    this.#expected.push(expected);
    this.#operations.push(operation);
  }

  #trackTake(
    operation: string,
    promise: Promise<unknown>,
    lingered = false,
  ): Settle {
    return this.#track(operation, promise, (value) => {
      this.#took(itemsIn(value), lingered);
    });
  }

  #trackPut(operation: string, item: Item, promise: Promise<void>): Settle {
    return this.#track(operation, promise, () => this.#accepted.add(item.id));
  }

  #tryPut(item: Item): string {
    this.#realOffered.push(item.id);
    const outcome = attempt(() => String(this.#queue.tryPut(item)));
    if (outcome === "true") this.#accepted.add(item.id);
    return outcome;
  }

  /** Items that count as accepted when the one after them is asked for. */
  *#offering(items: Item[]): Generator<Item, void> {
    for (const item of items) {
      this.#realOffered.push(item.id);
      yield item;
      this.#accepted.add(item.id);
    }
  }

  #signal(choice: number): Signal | undefined {
    if (choice < 2) return this.#shared[choice];
    if (choice > 2) return undefined;
    const signal = new Signal(`own ${this.#own.length}`);
    this.#own.push(signal);
    return signal;
  }

  // -- Operations

  run(operation: Operation): void {
    const { verb, choice, which } = operation;
    const queue = this.#queue;
    const model = this.#model;
    switch (verb) {
      case "put":
      case "putMany":
      case "get":
      case "getMany":
      case "linger":
        return this.#runWithSignal(operation);
      case "tryPut": {
        const item = this.#item(choice);
        return this.#trackNow(verb, this.#tryPut(item), model.tryPut(item));
      }
      case "tryGet": {
        const item = queue.tryGet();
        const expected = model.tryGet();
        if (item !== undefined) this.#took([item]);
        return this.#trackNow(
          verb,
          item === undefined ? "nothing" : nameOf(item),
          expected === undefined ? "nothing" : nameOf(expected),
        );
      }
      case "next":
        return model.next(this.#trackTake(verb, queue.next()));
      case "iterator.next": {
        const settle = this.#trackTake(verb, this.#iterators[which]!.next());
        const owner = this.#iteratorOwners[which]!;
        return owner.done ? settle("done") : model.next(settle, owner);
      }
      case "iterator.return": {
        const owner = this.#iteratorOwners[which]!;
        const settle = this.#track(verb, this.#iterators[which]!.return!());
        owner.done = true;
        model.withdraw(owner, "done");
        return settle("done");
      }
      case "close":
        queue.close();
        return model.close();
      case "fail":
        queue.fail(new Error(`fail ${choice}`));
        return model.fail(`fail ${choice}`);
      case "abort":
        queue.abort(choice < 2 ? undefined : new Error(`abort ${choice}`));
        return model.abort(choice < 2 ? "AbortError" : `abort ${choice}`);
      case "dispose": {
        const settle = this.#track(verb, queue[Symbol.asyncDispose]());
        model.abort("AbortError");
        return settle("ok");
      }
      case "clear": {
        const items = queue.clear();
        for (const { id } of items) {
          this.#left.push({ id, lingered: false, taken: false });
        }
        return this.#trackNow(
          verb,
          items.map(nameOf).join(),
          model.clear().map(nameOf).join(),
        );
      }
      case "resize":
        queue.highWaterMark = BOUNDS[choice % BOUNDS.length]!;
        return model.resize(BOUNDS[choice % BOUNDS.length]!);
      case "signal.abort": {
        const signal = choice < 2
          ? this.#shared[choice]
          : this.#own.splice(choice % Math.max(this.#own.length, 1), 1)[0];
        signal?.controller.abort(new Error(signal.reason));
        if (signal) model.withdraw(signal, `rejects ${signal.reason}`);
        return;
      }
      case "taskDone":
        return this.#trackNow(
          verb,
          attempt(() => shown(queue.taskDone())),
          model.taskDone(),
        );
      case "join":
        return model.join(this.#track(verb, queue.join()));
      case "ready":
        return model.ready(this.#track(verb, queue.ready));
      case "closed":
        return model.closed(this.#track(verb, queue.closed));
      default:
        return this.#runOnView(operation);
    }
  }

  #runWithSignal({ verb, choice, signal: number }: Operation): void {
    const signal = this.#signal(number);
    const aborted = signal?.controller.signal.aborted === true;
    const options = signal && { signal: signal.controller.signal };
    const gone = aborted ? `rejects ${signal.reason}` : undefined;
    const queue = this.#queue;
    const model = this.#model;
    if (verb === "put") {
      const item = this.#item(choice);
      this.#realOffered.push(item.id);
      const settle = this.#trackPut(verb, item, queue.put(item, options));
      if (gone === undefined) return model.put(item, settle, signal);
      model.offered.push(item.id);
      return settle(gone);
    }
    if (verb === "putMany") {
      const items = [choice, choice + 1, choice + 2].map((place) =>
        this.#item(place % 8)
      ).slice(choice % 3);
      const settle = this.#track(
        verb,
        queue.putMany(this.#offering(items), options),
      );
      if (gone !== undefined) return settle(gone);
      return model.putMany(items, settle, signal);
    }
    if (verb === "get") {
      const settle = this.#trackTake(verb, queue.get(options));
      return gone === undefined ? model.get(settle, signal) : settle(gone);
    }
    const max = choice === 7 ? Infinity : 1 + choice % 4;
    const linger = verb === "linger";
    const settle = this.#trackTake(
      verb,
      queue.getMany(max, { ...options, linger: linger ? 1_000_000 : 0 }),
      linger,
    );
    if (gone !== undefined) return settle(gone);
    return model.getMany(max, linger, settle, signal);
  }

  #runOnView({ verb, choice, which }: Operation): void {
    const model = this.#model;
    const reader = this.#modelReader;
    const consumer = this.#consumers[which];
    const producer = this.#producers[choice % (this.#producers.length || 1)];
    const reason = `${verb} ${choice}`;
    switch (verb) {
      case "read":
        return model.read(reader, this.#trackTake(verb, this.#reader!.read()));
      case "releaseLock":
        this.#reader!.releaseLock();
        this.#reader = this.#queue.readable.getReader();
        return model.withdraw(reader, "rejects TypeError");
      case "reader.cancel":
        this.#settles(this.#reader!.cancel(new Error(reason)));
        return model.cancelReader(reader, reason);
      case "consumer.read":
        return model.read(
          consumer!.model,
          this.#trackTake(verb, consumer!.real.read()),
        );
      case "consumer.cancel":
        this.#settles(consumer!.real.cancel(new Error(reason)));
        return model.cancelReader(consumer!.model, reason);
      case "producer":
        return this.#register(POLICIES[choice % 3]!);
      case "write":
        return this.#write(verb, this.#writer!, this.#modelWriter!, choice);
      case "writer.close":
        return this.#close(verb, this.#writer!, this.#modelWriter!);
      case "writer.abort":
        this.#settles(this.#writer!.abort(new Error(reason)));
        return model.abortWriter(this.#modelWriter!, reason);
    }
    if (producer === undefined) return;
    switch (verb) {
      case "producer.write":
        return this.#write(verb, producer.real, producer.model, choice);
      case "producer.close":
        return this.#close(verb, producer.real, producer.model);
      case "producer.abort":
        this.#settles(producer.real.abort(new Error(reason)));
        return model.abortWriter(producer.model, reason);
      default:
        fail(`no such verb: ${verb}`);
    }
  }

  #register(onError: (typeof POLICIES)[number]): void {
    if (this.#model.state === "open") {
      const real = this.#queue.producer({ onError }).getWriter();
      this.#producers.push({ real, model: this.#model.writer(onError) });
      return;
    }
    const because = this.#model.failure === undefined
      ? ""
      : ` because ${this.#model.failure}`;
    this.#trackNow(
      "producer",
      attempt(() => String(this.#queue.producer({ onError }))),
      `rejects closed${because}`,
    );
  }

  #write(
    verb: Verb,
    real: WritableStreamDefaultWriter<Item>,
    model: ReferenceWriter,
    choice: number,
  ): void {
    const item = this.#item(choice);
    this.#realOffered.push(item.id);
    const settle = this.#trackPut(verb, item, real.write(item));
    this.#model.write(model, item, settle);
  }

  #close(
    verb: Verb,
    real: WritableStreamDefaultWriter<Item>,
    model: ReferenceWriter,
  ): void {
    // What a second close answers is the platform's affair.
    if (model.closeAsked || model.stream === "errored") return;
    this.#model.closeWriter(model, this.#track(verb, real.close()));
  }

  /** Whatever the platform answers, it answers. */
  #settles(promise: Promise<void>): void {
    const settle = this.#track("settles", promise.then(() => {}, () => {}));
    settle("ok");
  }

  // -- Checks

  async check(): Promise<void> {
    this.#model.flush();
    await turn();
    assertInvariants(this.#queue);
    const model = this.#model;
    const expected: QueueStats = {
      name: "",
      length: model.stored.length,
      size: model.size,
      desiredSize: model.desiredSize,
      highWaterMark: model.highWaterMark,
      peakLength: model.counts.peak,
      put: model.counts.put,
      taken: model.counts.taken,
      dropped: model.counts.dropped,
      undelivered: model.counts.undelivered,
      waitingPuts: model.puts.length,
      waitingGets: model.gets.length,
      unfinished: model.unfinished,
      inFlight: 0,
      delayed: 0,
      returned: 0,
      producers: model.counts.producers,
      oldest: undefined,
      state: model.state,
    };
    same(this.#queue.stats(), expected, "stats");
    same(this.#queue.length, expected.length, "length");
    same(this.#queue.desiredSize, expected.desiredSize, "desiredSize");
    same(this.#realReports, this.#expectedReports, "onUndelivered");
    same(this.#realOffered, model.offered, "what was asked for");
    for (const [index, outcome] of this.#expected.entries()) {
      const real = this.#real[index]!;
      if (outcome === ANY_REJECTION && real.startsWith("rejects")) continue;
      same(real, outcome, `${index}: ${this.#operations[index]}`);
    }
  }

  /** The end of the run: what holds however it went. */
  async finish(): Promise<void> {
    const queue = this.#queue;
    queue.abort(new Error("the end"));
    this.#model.abort("the end");
    while (queue.stats().unfinished > 0) {
      queue.taskDone();
      this.#model.taskDone();
    }
    await this.check();
    for (const [index, outcome] of this.#real.entries()) {
      assert(
        outcome !== "pending",
        `P4: ${this.#operations[index]} never settles`,
      );
    }
    const left = this.#left.map(({ id }) => id);
    assertEquals(left.length, new Set(left).size, "P1: an item left twice");
    assertEquals(
      [...left].sort(byNumber),
      [...this.#accepted].sort(byNumber),
      "P1: what was accepted is not what left",
    );
    if (this.#order !== "fifo") return;
    const places = new Map(
      this.#realOffered.map((id, place) => [id, place] as const),
    );
    let last = -1;
    for (const { id, lingered, taken } of this.#left) {
      if (lingered || !taken) continue;
      const place = places.get(id)!;
      assert(place > last, `P3: #${id} was overtaken`);
      last = place;
    }
  }
}

function byNumber(left: number, right: number): number {
  return left - right;
}

function same(real: unknown, expected: unknown, what: string): void {
  const [left, right] = [JSON.stringify(real), JSON.stringify(expected)];
  if (left !== right) fail(`${what}: ${left} instead of ${right}`);
}

function itemsIn(value: unknown): Item[] {
  if (Array.isArray(value)) return value;
  const result = value as { done?: boolean; value?: Item };
  if (result.done === undefined) return [value as Item];
  return result.done ? [] : [result.value!];
}

function shown(value: unknown): string {
  if (value === undefined) return "ok";
  if (Array.isArray(value)) return `[${value.map(nameOf).join()}]`;
  const result = value as { done?: boolean; value?: Item };
  if (result.done === undefined) return nameOf(value as Item);
  return result.done ? "done" : `next ${nameOf(result.value!)}`;
}

function shownReason(reason: unknown): string {
  if (reason instanceof QueueClosedError) {
    const item = "item" in reason ? ` ${nameOf(reason.item as Item)}` : "";
    const cause = reason.cause === undefined
      ? ""
      : ` because ${shownReason(reason.cause)}`;
    return `closed${item}${cause}`;
  }
  if (reason instanceof QueueFullError) {
    return `full ${nameOf(reason.item as Item)}`;
  }
  if (reason instanceof AggregateError) {
    return `all of ${reason.errors.map(shownReason).join(" and ")}`;
  }
  if (reason instanceof TypeError) return "TypeError";
  if (reason instanceof RangeError) return "RangeError";
  if (reason instanceof DOMException) return reason.name;
  return (reason as Error).message;
}

function attempt(act: () => string): string {
  try {
    return act();
  } catch (reason) {
    return `rejects ${shownReason(reason)}`;
  }
}

async function compare(
  verbs: readonly [Verb, number][],
  order: Order,
  numRuns: number,
): Promise<void> {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  const printed = console.error;
  process.on("unhandledRejection", note);
  console.error = () => {};
  try {
    await fc.assert(
      fc.asyncProperty(
        configurations,
        operationsOf(verbs),
        async (configuration, operations) => {
          const session = new Session(
            configuration,
            order,
            verbs === VIEWS,
          );
          await turn();
          for (const operation of operations) {
            session.run(operation);
            await session.check();
          }
          await session.finish();
          assertEquals(unhandled, [], "P4: an unhandled rejection");
        },
      ),
      parameters(numRuns),
    );
  } finally {
    console.error = printed;
    process.off("unhandledRejection", note);
  }
}

test("a queue does what the model does, step by step", async function () {
  await compare(CORE, "fifo", 900);
});

test("a LifoQueue does what the model does, step by step", async function () {
  await compare(CORE, "lifo", 500);
});

test(
  "streams on a queue do what the model does, step by step",
  async function () {
    await compare(VIEWS, "fifo", 700);
  },
);

test(
  "streams on a LifoQueue do what the model does, step by step",
  async function () {
    await compare(VIEWS, "lifo", 300);
  },
);

test(
  "a PriorityQueue does what the model does, step by step",
  async function () {
    await compare(CORE, "priority", 700);
  },
);

test(
  "streams on a PriorityQueue do what the model does, step by step",
  async function () {
    await compare(VIEWS, "priority", 400);
  },
);
