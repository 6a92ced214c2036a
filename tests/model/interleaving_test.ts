import { assert, assertEquals, fail } from "@std/assert";
import fc from "fast-check";
import {
  LifoQueue,
  type Overflow,
  Queue,
  QueueClosedError,
  QueueFullError,
  type QueueOptions,
  WorkStealingQueue,
} from "../../mod.ts";
import { assertInvariants } from "../../src/queue.ts";
import { test } from "../support/harness.ts";
import { parameters, turn } from "../support/properties.ts";

interface Item {
  producer: number;
  serial: number;
}

/** What became of one item. */
interface Fate {
  accepted: boolean;
  delivered: number;
  reported: number;
  cleared: number;
}

interface PutStep {
  verb: "put" | "tryPut" | "putMany";
  /** Which of the shared signals it waits with; 3: none. */
  signal: number;
  /** The next step does not wait for this one. */
  eager: boolean;
}

interface ProducerPlan {
  style: "queue" | "writer";
  steps: PutStep[];
  ending: "close" | "abort" | "leave";
}

interface ConsumerPlan {
  style:
    | "get"
    | "getMany"
    | "loop"
    | "next"
    | "reader"
    | "native reader"
    | "stream loop";
  /** How often it takes before it leaves. */
  takes: number;
  max: number;
  signal: number;
}

interface Intervention {
  verb: "signal" | "resize" | "give up" | "clear" | "close" | "fail" | "abort";
  choice: number;
}

interface Plan {
  highWaterMark: number;
  producers: ProducerPlan[];
  consumers: ConsumerPlan[];
  interventions: Intervention[];
}

const BOUNDS: readonly number[] = [0, 1, 3, Infinity];
const SIGNALS = 3;

const putSteps: fc.Arbitrary<PutStep> = fc.record({
  verb: fc.constantFrom("put" as const, "tryPut" as const, "putMany" as const),
  signal: fc.nat({ max: SIGNALS }),
  eager: fc.boolean(),
});

const plans: fc.Arbitrary<Plan> = fc.record({
  highWaterMark: fc.constantFrom(...BOUNDS),
  producers: fc.array(
    fc.record({
      style: fc.constantFrom("queue" as const, "writer" as const),
      steps: fc.array(putSteps, { minLength: 1, maxLength: 8 }),
      ending: fc.constantFrom(
        "leave" as const,
        "leave" as const,
        "close" as const,
        "abort" as const,
      ),
    }),
    { minLength: 1, maxLength: 3 },
  ),
  consumers: fc.array(
    fc.record({
      style: fc.constantFrom(
        "get" as const,
        "getMany" as const,
        "loop" as const,
        "next" as const,
        "reader" as const,
        "native reader" as const,
        "stream loop" as const,
      ),
      takes: fc.integer({ min: 1, max: 8 }),
      max: fc.integer({ min: 1, max: 3 }),
      signal: fc.nat({ max: SIGNALS }),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  interventions: fc.array(
    fc.record({
      // An end leaves little to see, so it is rare.
      verb: fc.oneof(
        { arbitrary: fc.constant("signal" as const), weight: 6 },
        { arbitrary: fc.constant("give up" as const), weight: 6 },
        { arbitrary: fc.constant("resize" as const), weight: 4 },
        { arbitrary: fc.constant("clear" as const), weight: 1 },
        { arbitrary: fc.constant("close" as const), weight: 1 },
        { arbitrary: fc.constant("fail" as const), weight: 1 },
        { arbitrary: fc.constant("abort" as const), weight: 1 },
      ),
      choice: fc.nat({ max: 7 }),
    }),
    { maxLength: 8 },
  ),
});

type Make = (options: QueueOptions<Item>) => Queue<Item>[];

/** Queues, everybody who uses them, and the book about their items. */
class Session {
  readonly #scheduler: fc.Scheduler;
  readonly #plan: Plan;
  /** One, or lanes that steal from each other. */
  readonly #queues: Queue<Item>[];
  readonly #fates: Map<Item, Fate> = new Map();
  /** Each of them may be what a promise rejects with. */
  readonly #reasons: Set<unknown> = new Set();
  readonly #signals: AbortController[] = [];
  /** What consumers do when an intervention asks them to give up. */
  readonly #givingUp: (() => void)[] = [];
  /** What has not settled yet. */
  readonly #pending: Set<string> = new Set();
  /** Serial numbers of what a consumer took last, by consumer and producer. */
  readonly #last: Map<string, number> = new Map();
  readonly #inOrder: boolean;
  #labels = 0;
  #fault: { reason: unknown } | undefined = undefined;

  constructor(
    scheduler: fc.Scheduler,
    plan: Plan,
    make: Make,
    options: { overflow: Overflow; inOrder: boolean },
  ) {
    this.#scheduler = scheduler;
    this.#plan = plan;
    this.#inOrder = options.inOrder;
    this.#queues = make({
      highWaterMark: plan.highWaterMark,
      overflow: options.overflow,
      onUndelivered: (item) => {
        this.#fate(item).reported++;
        // Callbacks come last: whatever they see is consistent.
        this.#check();
      },
    });
    for (let index = 0; index < SIGNALS; index++) this.#renew(index);
  }

  async run(): Promise<void> {
    const { producers, consumers, interventions } = this.#plan;
    // All producers stand in line before the first is done, or the queue
    // would close before the others have begun.
    const streams = producers.map(({ style }, index) =>
      style === "writer" ? this.#at(index).producer() : undefined
    );
    producers.forEach((plan, index) => {
      this.#act(
        `producer ${index}`,
        this.#produce(index, plan, streams[index]),
      );
    });
    consumers.forEach((plan, index) => {
      this.#act(`consumer ${index}`, this.#consume(index, plan));
    });
    for (const intervention of interventions) {
      this.#act(intervention.verb, this.#intervene(intervention));
    }
    await this.#idle();
    for (const queue of this.#queues) queue.close();
    await this.#idle();
    this.#act("the rest", this.#drain());
    await this.#idle();
    if (this.#fault !== undefined) throw this.#fault.reason;
    assertEquals([...this.#pending], [], "P4: what never settles");
    this.#settle();
  }

  // -- Producers

  async #produce(
    producer: number,
    plan: ProducerPlan,
    stream: WritableStream<Item> | undefined,
  ): Promise<void> {
    const writer = stream?.getWriter();
    // The queue may end it at any time.
    writer?.closed.catch(() => {});
    let serial = 0;
    for (const step of plan.steps) {
      await this.#turn();
      const count = step.verb === "putMany" ? 3 : 1;
      const items = Array.from({ length: count }, () => {
        const item = { producer, serial: serial++ };
        this.#fates.set(item, {
          accepted: false,
          delivered: 0,
          reported: 0,
          cleared: 0,
        });
        return item;
      });
      const put = this.#wait(
        `${step.verb} of producer ${producer}`,
        writer === undefined
          ? this.#put(this.#at(producer), step, items)
          : this.#write(writer, items),
      );
      this.#check();
      // Within a batch each item waits for the one before, so only a batch
      // that is over keeps its place before what comes after.
      if (!step.eager || step.verb === "putMany") await put;
      this.#check();
    }
    await this.#turn();
    if (writer === undefined || plan.ending === "leave") return;
    const end = plan.ending === "close"
      ? writer.close()
      : writer.abort(this.#newReason("a producer gave up"));
    this.#check();
    await this.#wait(
      `${plan.ending} of producer ${producer}`,
      end.catch(() => {}),
    );
  }

  async #put(
    queue: Queue<Item>,
    step: PutStep,
    items: Item[],
  ): Promise<void> {
    const options = this.#options(step.signal);
    if (step.verb === "tryPut") {
      return this.#tryPut(queue, items[0]!);
    }
    const put = step.verb === "put"
      ? queue.put(items[0]!, options)
      : queue.putMany(this.#accepting(items), options);
    try {
      await put;
      if (step.verb === "put") this.#fate(items[0]!).accepted = true;
    } catch (reason) {
      this.#checkReason(reason, items);
    }
  }

  #tryPut(queue: Queue<Item>, item: Item): void {
    try {
      this.#fate(item).accepted = queue.tryPut(item);
    } catch (reason) {
      this.#checkReason(reason, [item]);
    }
  }

  /** An item of a batch is accepted when the next one is asked for. */
  *#accepting(items: Item[]): Generator<Item, void> {
    for (const item of items) {
      yield item;
      this.#fate(item).accepted = true;
    }
  }

  async #write(
    writer: WritableStreamDefaultWriter<Item>,
    items: Item[],
  ): Promise<void> {
    await Promise.all(items.map(async (item) => {
      try {
        await writer.write(item);
        this.#fate(item).accepted = true;
      } catch (reason) {
        // A stream that has ended refuses in words of its own.
        if (!(reason instanceof TypeError)) this.#checkReason(reason, [item]);
      }
    }));
  }

  // -- Consumers

  async #consume(index: number, plan: ConsumerPlan): Promise<void> {
    await this.#turn();
    const take = this.#taking(index, plan);
    for (let takes = 0; takes < plan.takes; takes++) {
      const items = await this.#wait(`${plan.style} of ${index}`, take());
      this.#check();
      if (items === undefined) return;
      this.#took(index, items);
      await this.#turn();
    }
    this.#givingUp[index]?.();
  }

  /** Takes some items, none when that was withdrawn; undefined at the end. */
  #taking(
    index: number,
    { style, max, signal }: ConsumerPlan,
  ): () => Promise<Item[] | undefined> {
    const queue = this.#at(index);
    switch (style) {
      case "get":
      case "getMany":
        this.#givingUp[index] = () => {
          if (signal < SIGNALS) this.#cancel(signal);
        };
        return async () => {
          const options = this.#options(signal);
          try {
            if (style === "get") return [await queue.get(options)];
            const items = await queue.getMany(max, options);
            return items.length === 0 ? undefined : items;
          } catch (reason) {
            this.#checkReason(reason);
            return reason === options?.signal.reason ? [] : undefined;
          }
        };
      case "next":
        return this.#stepping(() => queue.next());
      case "loop": {
        const iterator = queue[Symbol.asyncIterator]();
        this.#givingUp[index] = () => void iterator.return!();
        return this.#stepping(() => iterator.next());
      }
      case "stream loop": {
        const iterator = queue.consumer().values({
          preventCancel: max === 1,
        });
        this.#givingUp[index] = () => {
          // Cancels the stream, which the queue may have errored meanwhile.
          iterator.return!().catch((reason) => this.#checkReason(reason));
        };
        return this.#stepping(() =>
          iterator.next() as Promise<IteratorResult<Item, undefined>>
        );
      }
      default:
        return this.#reading(index, style === "native reader");
    }
  }

  #stepping(
    step: () => Promise<IteratorResult<Item, undefined>>,
  ): () => Promise<Item[] | undefined> {
    return async () => {
      try {
        const result = await step();
        return result.done ? undefined : [result.value];
      } catch (reason) {
        this.#checkReason(reason);
        return undefined;
      }
    };
  }

  /** Gives up by releasing the lock, then by cancelling the stream. */
  #reading(
    index: number,
    native: boolean,
  ): () => Promise<Item[] | undefined> {
    const stream = this.#at(index).consumer();
    let reader: ReadableStreamDefaultReader<Item> | undefined;
    let released = false;
    this.#givingUp[index] = () => {
      if (reader === undefined) return;
      if (released) {
        // An end that has come errors the stream, and then cancel() rejects.
        return void reader.cancel().catch((reason) =>
          this.#checkReason(reason)
        );
      }
      released = true;
      reader.releaseLock();
      reader = undefined;
    };
    return async () => {
      // Not before there is something to read: what a native reader makes of
      // a read that another one gave up is for the stream to know alone.
      reader ??= native
        ? new ReadableStreamDefaultReader(stream)
        : stream.getReader();
      reader.closed.catch(() => {});
      const reading = reader;
      try {
        const result = await reading.read();
        return result.done ? undefined : [result.value];
      } catch (reason) {
        if (reading !== reader && reason instanceof TypeError) return [];
        this.#checkReason(reason);
        return undefined;
      }
    };
  }

  #took(consumer: number, items: Item[]): void {
    for (const item of items) {
      this.#fate(item).delivered++;
      const key = `${consumer} ${item.producer}`;
      const last = this.#last.get(key) ?? -1;
      assert(
        !this.#inOrder || item.serial > last,
        `P3: ${item.serial} of producer ${item.producer} after ${last}`,
      );
      this.#last.set(key, item.serial);
    }
  }

  // -- Interventions

  async #intervene({ verb, choice }: Intervention): Promise<void> {
    await this.#turn();
    const queue = this.#at(choice);
    switch (verb) {
      case "signal":
        this.#cancel(choice % SIGNALS);
        break;
      case "resize":
        queue.highWaterMark = BOUNDS[choice % BOUNDS.length]!;
        break;
      case "give up":
        this.#givingUp[choice % this.#plan.consumers.length]?.();
        break;
      case "clear":
        for (const item of queue.clear()) this.#fate(item).cleared++;
        break;
      case "close":
        queue.close();
        break;
      default:
        queue[verb](this.#newReason(verb));
    }
    this.#check();
  }

  #cancel(index: number): void {
    const { signal } = this.#signals[index]!;
    this.#signals[index]!.abort(this.#newReason("cancelled"));
    this.#renew(index);
    assert(signal.aborted);
  }

  #renew(index: number): void {
    this.#signals[index] = new AbortController();
  }

  #options(index: number): { signal: AbortSignal } | undefined {
    const controller = this.#signals[index];
    return controller && { signal: controller.signal };
  }

  // -- Steps

  /** A point where the scheduler decides who goes on. */
  async #turn(): Promise<void> {
    await this.#scheduler.schedule(Promise.resolve());
    this.#check();
  }

  /** Until everybody is done or waits for somebody else. */
  async #idle(): Promise<void> {
    for (let quiet = 0; quiet < 2; quiet++) {
      if (this.#scheduler.count() > 0) quiet = 0;
      await this.#scheduler.waitIdle();
      // Native streams go on in turns of their own.
      await turn();
    }
    this.#check();
  }

  #check(): void {
    for (const queue of this.#queues) assertInvariants(queue);
  }

  #at(index: number): Queue<Item> {
    return this.#queues[index % this.#queues.length]!;
  }

  #act(name: string, acting: Promise<void>): void {
    this.#wait(name, acting).catch((reason) => {
      this.#fault ??= { reason };
    });
  }

  #wait<T>(name: string, waiting: Promise<T>): Promise<T> {
    const label = `${name} (${this.#labels++})`;
    this.#pending.add(label);
    return waiting.finally(() => this.#pending.delete(label));
  }

  // -- The end

  async #drain(): Promise<void> {
    for (const queue of this.#queues) {
      try {
        for (
          let items = await queue.getMany(Infinity);
          items.length > 0;
          items = await queue.getMany(Infinity)
        ) {
          for (const item of items) this.#fate(item).delivered++;
          this.#check();
        }
        await queue.closed;
      } catch (reason) {
        this.#checkReason(reason);
      }
    }
    for (const queue of this.#queues) {
      assertEquals([queue.length, queue.stats().waitingPuts], [0, 0]);
    }
  }

  #settle(): void {
    for (const [item, fate] of this.#fates) {
      const left = fate.delivered + fate.reported + fate.cleared;
      if (left === (fate.accepted ? 1 : 0)) continue;
      fail(`P1: ${JSON.stringify(item)} came to ${JSON.stringify(fate)}`);
    }
  }

  #fate(item: Item): Fate {
    return this.#fates.get(item) ?? fail("an item that nobody put");
  }

  #newReason(message: string): Error {
    const reason = new Error(message);
    this.#reasons.add(reason);
    return reason;
  }

  /** P2: a rejection is one that somebody asked for, and carries the item. */
  #checkReason(reason: unknown, items?: Item[]): void {
    if (this.#reasons.has(reason)) return;
    if (
      reason instanceof QueueClosedError || reason instanceof QueueFullError
    ) {
      if (items === undefined) return;
      return assert(items.includes(reason.item as Item), "P2: the item");
    }
    if (!(reason instanceof AggregateError)) throw reason;
    for (const error of reason.errors) this.#checkReason(error);
  }
}

const MAKES: readonly [string, Make][] = [
  ["Queue", (options) => [new Queue(options)]],
  ["LifoQueue", (options) => [new LifoQueue(options)]],
  ["WorkStealingQueue", (options) => {
    const queue = new WorkStealingQueue({ ...options, lanes: 3 });
    return [0, 1, 2].map((lane) => queue.lane(lane));
  }],
];

for (const [kind, make] of MAKES) {
  for (
    const overflow of ["wait", "reject", "drop-oldest", "drop-newest"] as const
  ) {
    const options = { overflow, inOrder: kind === "Queue" };
    test(`${kind} that overflows by ${overflow}: in any order of steps no item is lost, doubled or overtaken`, async function () {
      await fc.assert(
        fc.asyncProperty(
          fc.scheduler(),
          plans,
          async function (scheduler, plan) {
            await new Session(scheduler, plan, make, options).run();
          },
        ),
        parameters(overflow === "wait" ? 300 : 150),
      );
    });
  }
}
