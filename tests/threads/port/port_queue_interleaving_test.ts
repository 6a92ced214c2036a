import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Queue, QueueClosedError } from "../../../mod.ts";
import { assertInvariants } from "../../../src/queue.ts";
import {
  connect,
  PortClosedError,
  type PortQueue,
  serve,
} from "../../../src/threads.ts";
import { fakeChannel } from "../../support/fake_ports.ts";
import { test } from "../../support/harness.ts";
import { parameters, turn } from "../../support/properties.ts";

/** What somebody does, when its turn comes. */
interface Act {
  side: "here" | "there" | "other";
  verb:
    | "put"
    | "tryPut"
    | "putMany"
    | "write"
    | "get"
    | "getMany"
    | "tryGet"
    | "next"
    | "read"
    | "native read";
  /** Which signal it waits with; 2: none. */
  signal: number;
}

interface Intervention {
  verb:
    | "signal"
    | "release"
    | "close"
    | "fail"
    | "abort"
    | "disconnect"
    | "stop"
    | "break";
  side: "here" | "there" | "other";
  choice: number;
}

interface Plan {
  highWaterMark: number;
  places: number;
  ahead: number;
  acts: Act[];
  interventions: Intervention[];
}

const sides = fc.constantFrom(
  "here" as const,
  "there" as const,
  "there" as const,
  "other" as const,
);

const plans: fc.Arbitrary<Plan> = fc.record({
  highWaterMark: fc.constantFrom(0, 1, 2, 5, Infinity),
  places: fc.constantFrom(1, 2, 16),
  ahead: fc.constantFrom(0, 1, 3, 16),
  acts: fc.array(
    fc.record({
      side: sides,
      verb: fc.constantFrom(
        "put" as const,
        "put" as const,
        "tryPut" as const,
        "putMany" as const,
        "write" as const,
        "get" as const,
        "get" as const,
        "getMany" as const,
        "tryGet" as const,
        "next" as const,
        "read" as const,
        "native read" as const,
      ),
      signal: fc.nat({ max: 2 }),
    }),
    { minLength: 4, maxLength: 40 },
  ),
  interventions: fc.array(
    fc.record({
      verb: fc.oneof(
        { arbitrary: fc.constant("signal" as const), weight: 8 },
        { arbitrary: fc.constant("release" as const), weight: 3 },
        { arbitrary: fc.constant("disconnect" as const), weight: 2 },
        { arbitrary: fc.constant("stop" as const), weight: 1 },
        { arbitrary: fc.constant("break" as const), weight: 1 },
        { arbitrary: fc.constant("close" as const), weight: 1 },
        { arbitrary: fc.constant("fail" as const), weight: 1 },
        { arbitrary: fc.constant("abort" as const), weight: 1 },
      ),
      side: sides,
      choice: fc.nat({ max: 1 }),
    }),
    { maxLength: 5 },
  ),
});

/** What became of an item. */
interface Fate {
  /** How its put ended; undefined while it has not. */
  put: "accepted" | "refused" | "unknown" | undefined;
  delivered: number;
  reported: number;
  left: number;
}

/** A queue with a user of its own thread and two on ports, and the book about its items. */
class Session {
  readonly #scheduler: fc.Scheduler;
  readonly #plan: Plan;
  readonly #fates: Fate[] = [];
  readonly #pending: Set<string> = new Set();
  readonly #reasons: Set<string> = new Set();
  readonly #signals: AbortController[] = [];
  readonly #queue: Queue<number>;
  readonly #there: Record<"there" | "other", PortQueue<number>>;
  readonly #stop: Record<"there" | "other", () => void>;
  readonly #break: Record<"there" | "other", () => void>;
  readonly #readers: Set<ReadableStreamDefaultReader<number>> = new Set();
  /** A port broke off: its last word may not have arrived. */
  #broken = false;
  #acts = 0;

  constructor(scheduler: fc.Scheduler, plan: Plan) {
    this.#scheduler = scheduler;
    this.#plan = plan;
    this.#queue = new Queue<number>({
      highWaterMark: plan.highWaterMark,
      onUndelivered: (item) => void this.#fates[item]!.reported++,
    });
    const connection = (
      name: string,
    ): [PortQueue<number>, () => void, () => void] => {
      const [left, right] = fakeChannel((delivery) => {
        void scheduler.schedule(Promise.resolve(), `message ${name}`).then(
          delivery,
        );
      });
      const served = serve(this.#queue, left, { highWaterMark: plan.places });
      const there = connect<number>(right, {
        highWaterMark: plan.ahead,
        onUndelivered: (item, reason) => this.#refused(item, reason),
      });
      return [there, () => void served.stop(), () => right.close()];
    };
    const [there, stopThere, breakThere] = connection("there");
    const [other, stopOther, breakOther] = connection("other");
    this.#there = { there, other };
    this.#stop = { there: stopThere, other: stopOther };
    this.#break = { there: breakThere, other: breakOther };
    for (let index = 0; index < 2; index++) this.#renew(index);
  }

  async run(): Promise<void> {
    const { acts, interventions } = this.#plan;
    for (const act of acts) this.#later(act.verb, () => this.#act(act));
    for (const intervention of interventions) {
      this.#later(intervention.verb, () => this.#intervene(intervention));
    }
    await this.#idle();
    await this.#end();
    assertEquals([...this.#pending], [], "P4: what never settles");
    this.#settle();
  }

  // -- Acts -----------------------------------------------------------------------

  async #act({ side, verb, signal }: Act): Promise<void> {
    const queue = side === "here" ? this.#queue : this.#there[side];
    const options = signal < 2 ? { signal: this.#signals[signal]!.signal } : {};
    switch (verb) {
      case "put":
        return await this.#put(
          this.#item(),
          (item) => queue.put(item, options),
        );
      case "tryPut": {
        const item = this.#item();
        try {
          this.#fates[item]!.put = queue.tryPut(item) ? "accepted" : "refused";
        } catch (reason) {
          this.#refused(item, reason);
        }
        return;
      }
      case "putMany": {
        const items = [this.#item(), this.#item(), this.#item()];
        const put = queue.putMany(items, options);
        // Which of them were accepted is not told when one was not.
        const all = (fate: Fate["put"]): void =>
          items.forEach((item) => this.#fates[item]!.put = fate);
        return await put.then(() => all("accepted"), () => all("unknown"));
      }
      case "write": {
        let stream: WritableStream<number>;
        try {
          stream = queue.producer({ onError: "ignore" });
        } catch {
          return;
        }
        const writer = stream.getWriter();
        writer.closed.catch(() => {});
        await Promise.all(
          [1, 2].map(() =>
            this.#put(this.#item(), (item) => writer.write(item))
          ),
        );
        // It stays registered: with the last of them the queue would close.
        return;
      }
      case "get":
        return await this.#take(() =>
          queue.get(options).then((item) => [item])
        );
      case "getMany":
        return await this.#take(() => queue.getMany(3, options));
      case "tryGet":
        return await this.#take(() => {
          const item = queue.tryGet();
          return Promise.resolve(item === undefined ? [] : [item]);
        });
      case "next":
        return await this.#take(async () => {
          const { done, value } = await queue.next();
          return done ? [] : [value];
        });
      case "read":
      case "native read":
        return await this.#read(queue.consumer(), verb === "native read");
    }
  }

  async #put(
    item: number,
    put: (item: number) => Promise<void>,
  ): Promise<void> {
    try {
      await put(item);
      this.#fates[item]!.put = "accepted";
    } catch (reason) {
      this.#refused(item, reason);
    }
  }

  async #take(take: () => Promise<number[]>): Promise<void> {
    try {
      for (const item of await take()) this.#fates[item]!.delivered++;
    } catch {
      // Then it has taken nothing, which the book will show.
    }
  }

  async #read(
    stream: ReadableStream<number>,
    natively: boolean,
  ): Promise<void> {
    const reader = natively
      ? new ReadableStreamDefaultReader(stream)
      : stream.getReader();
    reader.closed.catch(() => {});
    this.#readers.add(reader);
    await this.#take(async () => {
      const { done, value } = await reader.read();
      return done ? [] : [value];
    });
    this.#readers.delete(reader);
  }

  // -- Interventions --------------------------------------------------------------

  async #intervene({ verb, side, choice }: Intervention): Promise<void> {
    const queue = side === "here" ? this.#queue : this.#there[side];
    const over = side === "here" ? "there" : side;
    switch (verb) {
      case "signal":
        this.#signals[choice]!.abort(new Error("a signal"));
        return this.#renew(choice);
      case "release":
        for (const reader of this.#readers) reader.releaseLock();
        return;
      case "close":
        return queue.close();
      case "fail":
        return queue.fail(new Error("failed"));
      case "abort":
        return queue.abort(new Error("aborted"));
      case "disconnect":
        return await this.#there[over].disconnect();
      case "stop":
        this.#broken = true;
        return this.#stop[over]();
      case "break":
        this.#broken = true;
        return this.#break[over]();
    }
  }

  /** Ends what still waits: first the getters, then all that is left. */
  async #end(): Promise<void> {
    for (const signal of this.#signals) signal.abort(new Error("the end"));
    for (const reader of this.#readers) reader.releaseLock();
    this.#later("the rest", () => this.#drain());
    await this.#idle();
    for (const side of ["there", "other"] as const) {
      this.#later("leave", () => this.#there[side].disconnect());
    }
    await this.#idle();
    assertInvariants(this.#queue);
    const { inFlight, waitingPuts, state } = this.#queue.stats();
    assertEquals([inFlight, waitingPuts], [0, 0]);
    for (const item of this.#queue.clear()) this.#fates[item]!.left++;
    if (state !== "errored") this.#queue.abort(new Error("the end"));
    await this.#idle();
  }

  /** Lets waiting puts in. */
  async #drain(): Promise<void> {
    for (let empty = 0; empty < 20; empty++) {
      const item = this.#queue.tryGet();
      if (item !== undefined) {
        this.#fates[item]!.delivered++;
        empty = 0;
      }
      await this.#scheduler.schedule(Promise.resolve(), "drain");
    }
  }

  // -- The book -------------------------------------------------------------------

  #item(): number {
    this.#fates.push({ put: undefined, delivered: 0, reported: 0, left: 0 });
    return this.#fates.length - 1;
  }

  #refused(item: number, reason: unknown): void {
    const fate = this.#fates[item]!;
    const isLost = reason instanceof PortClosedError;
    fate.put = isLost ? "unknown" : "refused";
    if (reason instanceof QueueClosedError && "item" in reason) {
      assertEquals(reason.item, item);
    }
    this.#reasons.add(String(reason));
  }

  #settle(): void {
    this.#fates.forEach((fate, item) => {
      const { put, delivered, reported, left } = fate;
      const places = delivered + reported + left;
      const told = `item ${item}: ${JSON.stringify(fate)}`;
      assert(put !== undefined, told);
      if (this.#broken) {
        // What had just been delivered may be delivered again, and nothing is lost.
        assert(places >= (put === "accepted" ? 1 : 0) && places <= 2, told);
        return;
      }
      if (put === "accepted") assertEquals(places, 1, told);
      if (put === "refused") assertEquals(places, 0, told);
      if (put === "unknown") assert(places <= 1, told);
    });
  }

  // -- Turns ----------------------------------------------------------------------

  #later(what: string, act: () => Promise<void>): void {
    const label = `${what} ${++this.#acts}`;
    this.#pending.add(label);
    void this.#scheduler.schedule(Promise.resolve(), label).then(async () => {
      await act();
      this.#pending.delete(label);
    });
  }

  #renew(index: number): void {
    this.#signals[index] = new AbortController();
  }

  async #idle(): Promise<void> {
    await turn();
    for (let steps = 0; this.#scheduler.count() > 0; steps++) {
      assert(steps < 5_000, "the two sides never stop talking");
      await this.#scheduler.waitOne();
      await turn();
    }
  }
}

test(
  "port, interleaved: whatever the ports and their users do, no item is lost or doubled and every promise settles",
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), plans, async (scheduler, plan) => {
        await new Session(scheduler, plan).run();
      }),
      parameters(300),
    );
  },
);
