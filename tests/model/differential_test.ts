/**
 * The same script on a queue and on the platform's own `TransformStream`. What
 * a user of streams can rely on must be the same. Four things differ, and for
 * good:
 *
 * - A queue accepts a chunk as soon as it has room, a transform when somebody
 *   pulls. So a write may have fulfilled here that is pending there, or that
 *   an abort rejects there: {@linkcode Session} compares writes one way round.
 * - For the same reason the writing side of a queue has closed as soon as all
 *   is accepted. An abort that comes after `close()` finds nothing to abort
 *   any more, so the scripts do that only when all has been read.
 * - A chunk that comes after a read was given up is parked in the readable
 *   side there, and waits in the queue here: `desiredSize` is then one less.
 * - Who ends the queue without a reason ends it with an `AbortError`, not with
 *   `undefined`.
 *
 * @module
 */

import { assertEquals, fail } from "@std/assert";
import fc from "fast-check";
import { Queue } from "../../mod.ts";
import { runtime, test } from "../support/harness.ts";
import { parameters, turn } from "../support/properties.ts";

type Verb =
  | "write"
  | "read"
  | "close"
  | "abort"
  | "cancel"
  | "release reader"
  | "release writer"
  | "pipe in"
  | "pipe in a failure"
  | "pipe out"
  | "pipe out to a failure"
  | "stop the pipe"
  | "loop";

interface Operation {
  verb: Verb;
  choice: number;
}

/** How far a slot has to agree. */
type Rule = "same" | "write" | "same in the end";

interface Slot {
  name: string;
  rule: Rule;
  outcome: string;
}

const VERBS: readonly [Verb, number][] = [
  ["write", 14],
  ["read", 12],
  ["close", 1],
  ["abort", 1],
  ["cancel", 1],
  ["release reader", 4],
  ["release writer", 3],
  ["pipe in", 3],
  ["pipe in a failure", 1],
  ["pipe out", 3],
  ["pipe out to a failure", 1],
  ["stop the pipe", 3],
  ["loop", 4],
];

const scripts: fc.Arbitrary<Operation[]> = fc.array(
  fc.record({
    verb: fc.oneof(
      ...VERBS.map(([verb, weight]) => ({
        arbitrary: fc.constant(verb),
        weight,
      })),
    ),
    choice: fc.nat({ max: 5 }),
  }),
  { minLength: 1, maxLength: 30, size: "max" },
);

/** One pair of streams and all that is seen of it. */
class Side {
  readonly readable: ReadableStream<number>;
  readonly writable: WritableStream<number>;
  readonly slots: Slot[] = [];
  /** What sinks were told, in order. */
  readonly sunk: string[] = [];
  reader: ReadableStreamDefaultReader<number> | undefined = undefined;
  writer: WritableStreamDefaultWriter<number> | undefined = undefined;
  stopPipe: AbortController = new AbortController();

  constructor(pair: ReadableWritablePair<number, number>) {
    this.readable = pair.readable;
    this.writable = pair.writable;
  }

  note(name: string, promise: Promise<unknown>, rule: Rule = "same"): void {
    const slot: Slot = { name, rule, outcome: "pending" };
    this.slots.push(slot);
    promise.then(
      (value) => slot.outcome = shown(value),
      (reason) => slot.outcome = `rejects ${shownReason(reason)}`,
    );
  }

  acquireReader(): void {
    this.reader = this.readable.getReader();
    this.note("reader.closed", this.reader.closed);
  }

  acquireWriter(): void {
    this.writer = this.writable.getWriter();
    this.note("writer.closed", this.writer.closed, "same in the end");
    // Nobody asked for it.
    this.writer.ready.catch(() => {});
  }

  releaseReader(): void {
    this.reader?.releaseLock();
    this.reader = undefined;
  }

  releaseWriter(): void {
    this.writer?.releaseLock();
    this.writer = undefined;
  }

  read(): void {
    this.note("read", this.reader!.read());
  }

  source(items: number[], failure: unknown): ReadableStream<number> {
    let at = 0;
    return new ReadableStream<number>({
      pull: (controller) => {
        if (at < items.length) controller.enqueue(items[at++]!);
        else if (failure === undefined) controller.close();
        else controller.error(failure);
      },
      cancel: (reason) => {
        this.note("source cancelled", Promise.reject(reason));
      },
    }, { highWaterMark: 0 });
  }

  sink(failsAt: number, failure: unknown): WritableStream<number> {
    let left = failsAt;
    return new WritableStream<number>({
      write: (item) => {
        if (left-- === 0) throw failure;
        this.sunk.push(String(item));
      },
      close: () => void this.sunk.push("closed"),
      abort: (reason) => void this.sunk.push(`aborted ${shownReason(reason)}`),
    });
  }

  async loop(count: number, preventCancel: boolean): Promise<string> {
    const seen: number[] = [];
    for await (const item of this.readable.values({ preventCancel })) {
      seen.push(item);
      if (seen.length === count) break;
    }
    return seen.join();
  }
}

/** A queue and a transform, and what the script knows of both. */
class Session {
  readonly #queue: Queue<number>;
  readonly #sides: readonly [Side, Side];
  #serial = 0;
  #piping = false;
  #closed = false;
  #errored = false;
  /** A read was given up, so that the transform may have parked a chunk. */
  #givenUp = false;

  constructor(highWaterMark: number) {
    this.#queue = new Queue<number>({ highWaterMark });
    this.#sides = [
      new Side(this.#queue),
      new Side(
        new TransformStream<number, number>(undefined, { highWaterMark }, {
          highWaterMark: 0,
        }),
      ),
    ];
    this.#both((side) => {
      side.acquireReader();
      side.acquireWriter();
    });
  }

  async run(script: Operation[]): Promise<void> {
    await settled();
    for (const operation of script) {
      this.#run(operation);
      await settled();
      this.#compare(false);
    }
    await this.#finish();
  }

  #run({ verb, choice }: Operation): void {
    const [{ reader, writer }] = this.#sides;
    const failure = new Error(`${verb} ${this.#serial}`);
    switch (verb) {
      case "write":
        // Node 20 throws an internal error when a transform is written to
        // after its close.
        if (this.#closed) return;
        if (writer === undefined) this.#both((side) => side.acquireWriter());
        return this.#write();
      case "read":
        if (this.#piping) return;
        if (reader === undefined) this.#both((side) => side.acquireReader());
        return this.#both((side) => side.read());
      case "close":
        return this.#close();
      case "abort":
        if (writer === undefined || this.#closedTooEarly()) return;
        // On Bun an abort does not reach a chunk that is parked.
        if (this.#givenUp && this.#available() > 0) return;
        this.#errored ||= !this.#closed;
        this.#both((side) => side.note("abort", side.writer!.abort(failure)));
        // An abort of a transform waits for the write under way, and that one
        // for somebody who reads. That of a queue waits for nobody.
        return this.#run({ verb: "read", choice });
      case "cancel":
        if (this.#piping || this.#closedTooEarly()) return;
        this.#errored ||= !this.#closed;
        return this.#both((side) =>
          side.note("cancel", (side.reader ?? side.readable).cancel(failure))
        );
      case "release reader":
        if (reader === undefined) return;
        this.#givenUp = true;
        return this.#both((side) => side.releaseReader());
      case "release writer":
        if (writer === undefined || this.#closedTooEarly()) return;
        return this.#both((side) => side.releaseWriter());
      case "pipe in":
        return this.#pipeIn(choice, undefined);
      case "pipe in a failure":
        return this.#pipeIn(choice, failure);
      case "pipe out":
        return this.#pipeOut(Infinity, failure);
      case "pipe out to a failure":
        return this.#pipeOut(choice, failure);
      case "stop the pipe":
        if (!this.#piping) return;
        this.#piping = false;
        this.#givenUp = true;
        return this.#both((side) => side.stopPipe.abort(failure));
      case "loop":
        return this.#loop(choice);
    }
  }

  #write(): void {
    const item = this.#serial++;
    this.#both((side) => {
      side.note(`write ${item}`, side.writer!.write(item), "write");
    });
  }

  #close(): void {
    if (this.#sides[0].writer === undefined) return;
    this.#closed ||= !this.#errored;
    this.#both((side) => {
      side.note("close", side.writer!.close(), "same in the end");
    });
  }

  /** Pipes, and reads on the other side what comes. */
  #pipeIn(choice: number, failure: unknown): void {
    if (this.#piping || this.#closedTooEarly()) return;
    // On Deno 2.9 a pipe into a transform overtakes the writes that wait there.
    if (runtime === "deno" && this.#available() > 0) return;
    const [{ reader }] = this.#sides;
    if (reader === undefined) this.#both((side) => side.acquireReader());
    const items = Array.from({ length: choice + 1 }, () => this.#serial++);
    // One more than there will be: Deno pipes into a transform, to the last
    // step, only while somebody reads.
    const reads = this.#available() + items.length + 1;
    const preventClose = choice % 2 === 0;
    const ended = this.#closed || this.#errored;
    if (!ended) {
      this.#closed = failure === undefined && !preventClose;
      this.#errored = failure !== undefined;
    }
    this.#both((side) => {
      side.releaseWriter();
      // An abort may overtake what has been accepted, so a source that fails
      // has its items read before it does.
      if (failure !== undefined) readMany(side, reads);
      side.note(
        "pipe in",
        side.source(items, failure).pipeTo(side.writable, { preventClose }),
        "same in the end",
      );
      if (failure === undefined) readMany(side, reads);
    });
  }

  #pipeOut(failsAt: number, failure: unknown): void {
    if (this.#piping || this.#closedTooEarly()) return;
    this.#piping = true;
    this.#both((side) => {
      side.releaseReader();
      side.stopPipe = new AbortController();
      const sink = side.sink(failsAt, failure);
      side.note(
        "pipe out",
        side.readable.pipeTo(
          sink,
          failsAt === Infinity
            ? { signal: side.stopPipe.signal, preventCancel: true }
            : { signal: side.stopPipe.signal },
        ),
      );
    });
    this.#givenUp = true;
  }

  #loop(choice: number): void {
    if (this.#piping || this.#closedTooEarly()) return;
    const ended = this.#closed || this.#errored;
    const count = Math.min(choice, this.#available());
    if (count === 0 && !ended) return;
    const preventCancel = choice % 3 !== 0;
    this.#errored ||= !ended && !preventCancel;
    this.#both((side) => {
      side.releaseReader();
      side.note("loop", side.loop(count, preventCancel));
    });
  }

  // -- What the script knows

  #available(): number {
    return this.#queue.length + this.#queue.stats().waitingPuts;
  }

  #closedTooEarly(): boolean {
    return this.#closed && !this.#errored && this.#available() > 0;
  }

  #both(act: (side: Side) => void): void {
    for (const side of this.#sides) act(side);
  }

  // -- Comparing

  #compare(inTheEnd: boolean): void {
    const [real, native] = this.#sides;
    assertEquals(real.sunk, native.sunk, "what the sinks were told");
    assertEquals(
      real.slots.map(({ name }) => name),
      native.slots.map(({ name }) => name),
    );
    for (const [index, slot] of real.slots.entries()) {
      const other = native.slots[index]!;
      if (agree(slot, other, inTheEnd)) continue;
      fail(
        `${index}: ${slot.name}: the queue ${slot.outcome}, ` +
          `the transform ${other.outcome}`,
      );
    }
    if (this.#closed || this.#givenUp || real.writer === undefined) return;
    assertEquals(
      real.writer.desiredSize,
      native.writer!.desiredSize,
      "desiredSize",
    );
  }

  async #finish(): Promise<void> {
    this.#both((side) => {
      if (side.writer === undefined && !side.writable.locked) {
        side.acquireWriter();
      }
    });
    if (!this.#closed && !this.#errored) this.#close();
    await settled();
    for (let reads = this.#serial + 1; reads > 0 && !this.#piping; reads--) {
      this.#run({ verb: "read", choice: 0 });
      await settled();
    }
    this.#compare(true);
    for (const { name, outcome } of this.#sides[0].slots) {
      if (outcome === "pending") fail(`P4: ${name} never settles`);
    }
  }
}

function readMany(side: Side, count: number): void {
  for (let read = 0; read < count; read++) side.read();
}

function agree(real: Slot, native: Slot, inTheEnd: boolean): boolean {
  if (real.outcome === native.outcome) return true;
  if (real.rule === "write") {
    return native.outcome === "pending" ||
      real.outcome === "ok" && native.outcome.startsWith("rejects");
  }
  return real.rule === "same in the end" && !inTheEnd;
}

/** Several turns: a native pipe takes more than one. */
async function settled(): Promise<void> {
  for (let turns = 0; turns < 3; turns++) await turn();
}

function shown(value: unknown): string {
  if (value === undefined) return "ok";
  if (typeof value !== "object" || value === null) return String(value);
  const { done, value: item } = value as ReadableStreamReadResult<number>;
  return done ? "done" : `next ${item}`;
}

/** Errors of the platform by name: their words are its own. */
function shownReason(reason: unknown): string {
  if (reason instanceof TypeError) return "TypeError";
  if (reason === undefined) return "without a reason";
  if ((reason as Error).name === "AbortError") return "without a reason";
  return reason instanceof Error ? reason.message : String(reason);
}

test("streams on a queue keep what a TransformStream promises", async function () {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(1, 2, 3, 16),
      scripts,
      async function (highWaterMark, script) {
        await new Session(highWaterMark).run(script);
      },
    ),
    parameters(1000),
  );
});
