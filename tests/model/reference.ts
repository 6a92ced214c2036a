/**
 * A queue as one would describe it: plain arrays, no promises, nothing clever.
 * What settles is told to a callback, as a text.
 *
 * - `queue_test.ts`: any script of calls on a queue and on this one.
 * - `interleaving_test.ts`: many users at once, in any order of their turns.
 * - `differential_test.ts`: the same script on the platform's TransformStream.
 * - `broadcast_test.ts`: a broadcast, beside one with an array for each subscriber.
 *
 * @module
 */

/** What the model stores. */
export interface Item {
  readonly id: number;
  readonly weight: number;
  /** Smaller is earlier, where the order is by priority. */
  readonly priority?: number;
}

/** Which stored item comes next. */
export type Order = "fifo" | "lifo" | "priority";

/** What the model is told of a settled operation. */
export type Settle = (outcome: string) => void;

/** Whose waiters are withdrawn together: a signal, a reader, a writer. */
export type Owner = object;

/** How the model behaves. */
export interface ReferenceOptions {
  highWaterMark: number;
  overflow: "wait" | "reject" | "drop-oldest" | "drop-newest";
  order: Order;
  onUndelivered: (item: Item, reason: string) => void;
}

interface WaitingPut {
  at: number;
  item: Item;
  settle: Settle;
  owner: Owner | undefined;
}

interface WaitingGet {
  at: number;
  kind: "get" | "next" | "batch";
  settle: Settle;
  owner: Owner | undefined;
  items: Item[];
  max: number;
  linger: boolean;
}

/** A writing stream: `queue.writable` or that of a producer. */
export interface ReferenceWriter {
  onError: "queue" | "collect" | "abort" | "ignore";
  registered: boolean;
  /** The stream itself, as far as the outside can tell. */
  stream: "open" | "closing" | "closed" | "errored";
  /** Why a write that the stream itself refuses is refused. */
  refusal: string | undefined;
  closeAsked: boolean;
  failure: string;
  closers: Settle[];
}

/** A reading stream: `queue.readable` or that of a consumer. */
export interface ReferenceReader {
  ownsQueue: boolean;
  cancelled: boolean;
}

/** Stands for a rejection whatever its reason. */
export const ANY_REJECTION = "rejects whatever";

/** How an item reads in an outcome. */
export function nameOf(item: Item): string {
  return `#${item.id}`;
}

function rank({ priority = 0 }: Item): number {
  return priority;
}

/** The model. */
export class ReferenceQueue {
  readonly options: ReferenceOptions;
  highWaterMark: number;
  state: "open" | "closing" | "closed" | "errored" = "open";
  /** Undefined unless fail or abort came. */
  failure: string | undefined = undefined;
  aborted = false;
  stored: Item[] = [];
  puts: WaitingPut[] = [];
  gets: WaitingGet[] = [];
  counts = {
    put: 0,
    taken: 0,
    dropped: 0,
    undelivered: 0,
    done: 0,
    peak: 0,
    producers: 0,
  };
  /** Each item that was asked of somebody, in that order. */
  offered: number[] = [];
  #clock = 0;
  #later: (() => void)[] = [];
  #ready: Settle[] = [];
  #closed: Settle[] = [];
  #joins: Settle[] = [];
  #writers: ReferenceWriter[] = [];
  #producerErrors: string[] = [];

  constructor(options: ReferenceOptions) {
    this.options = options;
    this.highWaterMark = options.highWaterMark;
  }

  get size(): number {
    return this.stored.reduce((sum, item) => sum + item.weight, 0);
  }

  get desiredSize(): number | null {
    if (this.failure !== undefined) return null;
    if (this.state !== "open") return 0;
    const waiting = this.puts.reduce((sum, put) => sum + put.item.weight, 0);
    return this.highWaterMark - this.size - waiting;
  }

  get unfinished(): number {
    return this.counts.put - this.counts.done;
  }

  /** What runs in later microtasks: the next pull of a putMany. */
  flush(): void {
    for (let step = this.#later.shift(); step; step = this.#later.shift()) {
      step();
    }
  }

  // -- Putting

  put(item: Item, settle: Settle, owner?: Owner): void {
    this.offered.push(item.id);
    this.#put(item, settle, owner);
  }

  #put(item: Item, settle: Settle, owner: Owner | undefined): void {
    if (Number.isNaN(item.weight)) return settle("rejects RangeError");
    if (this.state !== "open") return settle(this.#refusal(item));
    if (this.puts.length === 0 && this.#accept(item)) return settle("ok");
    switch (this.options.overflow) {
      case "wait":
        this.puts.push({ at: this.#clock++, item, settle, owner });
        return;
      case "reject":
        return settle(`rejects full ${nameOf(item)}`);
      case "drop-newest":
        this.counts.put++;
        this.#drop([item], "drop-newest");
        return settle("ok");
      case "drop-oldest":
        this.#replaceOldest(item);
        return settle("ok");
    }
  }

  tryPut(item: Item): string {
    this.offered.push(item.id);
    if (Number.isNaN(item.weight)) return "rejects RangeError";
    if (this.state !== "open") return this.#refusal(item);
    if (this.puts.length === 0 && this.#accept(item)) return "true";
    if (this.options.overflow !== "drop-oldest") return "false";
    this.#replaceOldest(item);
    return "true";
  }

  putMany(items: Item[], settle: Settle, owner?: Owner): void {
    const left = [...items];
    const step = (): void => {
      for (let item = left.shift(); item; item = left.shift()) {
        let outcome: string | undefined;
        let waited = false;
        this.put(item, (settled) => {
          if (!waited) outcome = settled;
          else if (settled === "ok") this.#later.push(step);
          else settle(settled);
        }, owner);
        waited = true;
        if (outcome === undefined) return;
        if (outcome !== "ok") return settle(outcome);
      }
      settle("ok");
    };
    step();
  }

  #refusal(item: Item): string {
    if (this.aborted) return `rejects ${this.failure}`;
    const cause = this.failure === undefined ? "" : ` because ${this.failure}`;
    return `rejects closed ${nameOf(item)}${cause}`;
  }

  /** To the oldest get, or into the store. */
  #accept(item: Item): boolean {
    const get = this.gets[0];
    if (get === undefined && !this.#hasRoom()) return false;
    this.counts.put++;
    if (get === undefined) {
      this.stored.push(item);
      this.counts.peak = Math.max(this.counts.peak, this.stored.length);
      return true;
    }
    this.counts.taken++;
    get.items.push(item);
    const complete = get.kind !== "batch" || !get.linger ||
      get.items.length === get.max;
    if (complete) {
      this.gets.shift();
      deliver(get);
    }
    return true;
  }

  #replaceOldest(item: Item): void {
    const dropped: Item[] = [];
    while (!this.#hasRoom() && this.#yieldsTo(item)) {
      dropped.push(this.#evict());
    }
    this.counts.put++;
    if (this.#hasRoom()) {
      this.stored.push(item);
      this.counts.peak = Math.max(this.counts.peak, this.stored.length);
    } else dropped.push(item);
    this.#drop(dropped, "drop-oldest");
  }

  /** The stored items in the order of their turn. */
  #ordered(): Item[] {
    if (this.options.order === "priority") {
      return this.stored.toSorted((left, right) => rank(left) - rank(right));
    }
    return this.options.order === "lifo"
      ? this.stored.toReversed()
      : [...this.stored];
  }

  #yieldsTo(item: Item): boolean {
    if (this.stored.length === 0) return false;
    if (this.options.order !== "priority") return true;
    return rank(this.#ordered().at(-1)!) > rank(item);
  }

  #evict(): Item {
    const item = this.options.order === "priority"
      ? this.#ordered().at(-1)!
      : this.stored[0]!;
    this.stored = this.stored.filter((other) => other !== item);
    return item;
  }

  #drop(items: Item[], reason: string): void {
    this.counts.dropped += items.length;
    this.counts.undelivered += items.length;
    this.#markDone(items.length);
    this.#settleAll();
    for (const item of items) this.options.onUndelivered(item, reason);
  }

  #hasRoom(): boolean {
    return this.highWaterMark - this.size > 0;
  }

  // -- Taking

  get(settle: Settle, owner?: Owner): void {
    this.#get("get", settle, owner, 1, false);
  }

  next(settle: Settle, owner?: Owner): void {
    this.#get("next", settle, owner, 1, false);
  }

  getMany(max: number, linger: boolean, settle: Settle, owner?: Owner): void {
    this.#get("batch", settle, owner, max, linger);
  }

  tryGet(): Item | undefined {
    return this.#hasNext() ? this.#take() : undefined;
  }

  #get(
    kind: WaitingGet["kind"],
    settle: Settle,
    owner: Owner | undefined,
    max: number,
    linger: boolean,
  ): void {
    const items: Item[] = [];
    while (items.length < max && this.#hasNext()) items.push(this.#take());
    const get: WaitingGet = {
      at: this.#clock++,
      kind,
      settle,
      owner,
      items,
      max,
      linger,
    };
    if (items.length === max || (items.length > 0 && !linger)) deliver(get);
    else if (this.state === "closed") this.#end(get);
    else if (this.state === "errored") refuse(get, `rejects ${this.failure}`);
    else this.gets.push(get);
  }

  #hasNext(): boolean {
    return this.stored.length > 0 || this.puts.length > 0;
  }

  #take(): Item {
    this.counts.taken++;
    let item: Item;
    if (this.stored.length > 0) {
      item = this.#ordered()[0]!;
      this.stored = this.stored.filter((other) => other !== item);
    } else {
      const put = this.#nextPut();
      this.counts.put++;
      item = put.item;
      put.settle("ok");
    }
    this.#changed();
    return item;
  }

  clear(): Item[] {
    const items = this.#ordered();
    this.stored = [];
    this.#markDone(items.length);
    this.#changed();
    return items;
  }

  resize(highWaterMark: number): void {
    this.highWaterMark = highWaterMark;
    this.#changed();
  }

  /** Takes the put whose turn it is out of those that wait. */
  #nextPut(): WaitingPut {
    const put = this.options.order === "priority"
      ? this.puts.toSorted((left, right) => rank(left.item) - rank(right.item))
        .at(0)!
      : this.puts[0]!;
    this.puts = this.puts.filter((other) => other !== put);
    return put;
  }

  /** Lets waiting puts in, tells who waits for something to come true. */
  #changed(): void {
    while (this.puts.length > 0 && this.#hasRoom()) {
      const put = this.#nextPut();
      this.#accept(put.item);
      put.settle("ok");
    }
    if (this.state === "closing" && !this.#hasNext()) {
      this.state = this.failure === undefined ? "closed" : "errored";
      const gets = this.gets;
      this.gets = [];
      for (const get of gets) {
        if (this.failure === undefined) this.#end(get);
        else refuse(get, `rejects ${this.failure}`);
      }
    }
    this.#settleAll();
  }

  #end(get: WaitingGet): void {
    if (get.items.length > 0) deliver(get);
    else if (get.kind === "get") get.settle("rejects closed");
    else get.settle(get.kind === "next" ? "done" : "[]");
  }

  /** Whoever waits for that owner gives up, oldest first. */
  withdraw(owner: Owner, outcome: string): void {
    const puts = this.puts.filter((put) => put.owner === owner);
    const gets = this.gets.filter((get) => get.owner === owner);
    this.puts = this.puts.filter((put) => put.owner !== owner);
    this.gets = this.gets.filter((get) => get.owner !== owner);
    for (const put of puts) put.settle(outcome);
    for (const get of gets) refuse(get, outcome);
    this.#changed();
  }

  // -- Endings

  close(): void {
    if (this.state !== "open") return;
    this.state = "closing";
    this.#endWriters(undefined);
    this.#changed();
  }

  fail(reason: string): void {
    if (this.state !== "open") return;
    this.state = "closing";
    this.failure = reason;
    this.#endWriters(reason);
    this.#changed();
  }

  abort(reason: string): void {
    if (this.state === "closed" || this.state === "errored") return;
    const items = this.#ordered();
    const { puts, gets } = this;
    this.state = "errored";
    this.failure = reason;
    this.aborted = true;
    this.stored = [];
    this.puts = [];
    this.gets = [];
    this.counts.undelivered += items.length;
    this.#markDone(items.length);
    for (const put of puts) put.settle(`rejects ${reason}`);
    for (const get of gets) refuse(get, `rejects ${reason}`);
    this.#endWriters(reason);
    this.#settleAll();
    for (const item of items) this.options.onUndelivered(item, "abort");
  }

  // -- What can be waited for

  ready(settle: Settle): void {
    this.#ready.push(settle);
    this.#settleAll();
  }

  closed(settle: Settle): void {
    this.#closed.push(settle);
    this.#settleAll();
  }

  join(settle: Settle): void {
    this.#joins.push(settle);
    this.#settleAll();
  }

  taskDone(): string {
    if (this.unfinished === 0) return "rejects RangeError";
    this.#markDone(1);
    this.#settleAll();
    return "ok";
  }

  #markDone(count: number): void {
    this.counts.done = Math.min(this.counts.done + count, this.counts.put);
  }

  #settleAll(): void {
    const failed = `rejects ${this.failure}`;
    if (this.failure !== undefined) settle(this.#ready, failed);
    else if (this.state !== "open" || this.desiredSize! > 0) {
      settle(this.#ready, "ok");
    }
    if (this.state === "closed") settle(this.#closed, "ok");
    if (this.state === "errored") settle(this.#closed, failed);
    if (this.unfinished === 0) settle(this.#joins, "ok");
    else if (this.aborted) settle(this.#joins, failed);
    for (const writer of this.#writers) {
      if (writer.stream !== "closing") continue;
      if (this.puts.some((put) => put.owner === writer)) continue;
      writer.stream = "closed";
      settle(writer.closers, "ok");
    }
  }

  // -- Streams

  writer(onError: ReferenceWriter["onError"]): ReferenceWriter {
    const writer: ReferenceWriter = {
      onError,
      registered: true,
      stream: "open",
      refusal: undefined,
      closeAsked: false,
      failure: "",
      closers: [],
    };
    this.#writers.push(writer);
    if (onError !== "queue") this.counts.producers++;
    return writer;
  }

  write(writer: ReferenceWriter, item: Item, settled: Settle): void {
    if (writer.refusal !== undefined) {
      this.offered.push(item.id);
      return settled(writer.refusal);
    }
    let waited = false;
    this.put(item, (outcome) => {
      // A stream that is closing fails with the write it waits for.
      if (waited && outcome !== "ok" && writer.stream === "closing") {
        writer.stream = "errored";
        writer.failure = outcome;
        settle(writer.closers, outcome);
      }
      settled(outcome);
    }, writer);
    waited = true;
  }

  closeWriter(writer: ReferenceWriter, settled: Settle): void {
    writer.closeAsked = true;
    writer.refusal = ANY_REJECTION;
    if (writer.stream === "errored") return settled(writer.failure);
    writer.closers.push(settled);
    if (writer.stream === "closed") return settle(writer.closers, "ok");
    writer.stream = "closing";
    if (writer.onError === "queue") this.close();
    else if (this.#unregister(writer)) this.#producerDone();
    this.#settleAll();
  }

  abortWriter(writer: ReferenceWriter, reason: string): void {
    if (writer.stream === "closed" || writer.stream === "errored") return;
    writer.refusal = ANY_REJECTION;
    if (writer.onError === "queue") this.abort(reason);
    else this.withdraw(writer, `rejects ${reason}`);
    writer.stream = "errored";
    writer.failure = `rejects ${reason}`;
    if (writer.onError === "queue" || !this.#unregister(writer)) return;
    if (writer.onError === "abort") return this.abort(reason);
    if (writer.onError === "collect") this.#producerErrors.push(reason);
    this.#producerDone();
  }

  #unregister(writer: ReferenceWriter): boolean {
    const counts = writer.registered && this.state === "open";
    writer.registered = false;
    return counts;
  }

  #producerDone(): void {
    this.counts.producers--;
    if (this.counts.producers > 0) return;
    const errors = this.#producerErrors;
    if (errors.length === 0) this.close();
    else this.fail(`all of ${errors.join(" and ")}`);
  }

  #endWriters(reason: string | undefined): void {
    this.counts.producers = 0;
    for (const writer of this.#writers) {
      if (!writer.registered || writer.stream !== "open") continue;
      writer.registered = false;
      if (reason === undefined) writer.stream = "closing";
      else {
        writer.stream = "errored";
        writer.failure = `rejects ${reason}`;
        writer.refusal = ANY_REJECTION;
      }
    }
  }

  read(reader: ReferenceReader, settled: Settle): void {
    if (reader.cancelled) settled("done");
    else this.next(settled, reader);
  }

  cancelReader(reader: ReferenceReader, reason: string): void {
    if (this.state === "closed" || this.state === "errored") return;
    reader.cancelled = true;
    this.withdraw(reader, "done");
    if (reader.ownsQueue) this.abort(reason);
  }
}

function deliver(get: WaitingGet): void {
  const names = get.items.map(nameOf).join();
  if (get.kind === "batch") get.settle(`[${names}]`);
  else get.settle(get.kind === "next" ? `next ${names}` : names);
}

/** What holds items already does not fail any more. */
function refuse(get: WaitingGet, outcome: string): void {
  if (get.items.length > 0) deliver(get);
  else get.settle(outcome);
}

function settle(waiting: Settle[], outcome: string): void {
  for (const one of waiting.splice(0)) one(outcome);
}
