/**
 * The places in which calls of the handler run: timeouts, and handlers that overrun
 * them.
 *
 * @module
 */

import { callOut, isThenable } from "../../callbacks.ts";
import { type Clock, setAlarm } from "../../clock.ts";
import type { Call } from "./calls.ts";
import type { ConsumeOptions, Handler } from "./options.ts";
import type { OwnPuts } from "./own_puts.ts";
import type { Measures } from "./report.ts";

/** Decides what becomes of a call. Its place is held until a promise of it settles, which must not reject. */
export interface Judge<T> {
  /** The handler has ended well. */
  fulfilled(call: Call<T>, result: unknown): Promise<unknown> | undefined;
  /** It has not, or not in time. */
  rejected(call: Call<T>, error: unknown): Promise<unknown> | undefined;
}

/** What slots need of their run. */
export interface SlotsOwner {
  /** Whether items may go on while their handler, which overruns, does as well. */
  readonly leavesOverrunning: boolean;
  /** A place is free, or items have gone on. */
  advance(): void;
}

/** A place for a call, used again: its functions are made once. */
interface Slot<T> {
  call: Call<T> | undefined;
  /** The alarm of a timeout. */
  timer: unknown;
  /** When the call began, where that is measured. */
  began: number;
  /** For how many calls its time stands; 0 when it is not measured. */
  weight: number;
  /** Whether the call overruns: that has been told, and its items may have gone on without it. */
  overrun: "no" | "told" | "left";
  readonly fulfilled: (result: unknown) => void;
  readonly rejected: (error: unknown) => void;
  readonly timedOut: () => void;
  readonly overran: () => void;
}

/** All places there are. As many are made as are needed at a time. */
export class Slots<T> {
  /** How many calls have overrun. */
  overruns = 0;
  readonly #free: Slot<T>[] = [];
  readonly #all: Slot<T>[] = [];
  readonly #handler: Handler<T & T[]>;
  readonly #options: ConsumeOptions<T>;
  readonly #timeout: number | undefined;
  readonly #clock: Clock;
  readonly #measures: Measures;
  readonly #judge: Judge<T>;
  readonly #owner: SlotsOwner;
  readonly #ownPuts: OwnPuts<T> | undefined;

  constructor(
    handler: Handler<T & T[]>,
    options: ConsumeOptions<T>,
    parts: {
      clock: Clock;
      measures: Measures;
      judge: Judge<T>;
      owner: SlotsOwner;
      ownPuts: OwnPuts<T> | undefined;
    },
  ) {
    this.#handler = handler;
    this.#options = options;
    this.#timeout = options.timeout;
    this.#clock = parts.clock;
    this.#measures = parts.measures;
    this.#judge = parts.judge;
    this.#owner = parts.owner;
    this.#ownPuts = parts.ownPuts;
  }

  /** Places that are taken: by a handler, or by items on their way to the dead letters. */
  get taken(): number {
    return this.#all.length - this.#free.length;
  }

  /** The calls in all places; undefined where one is held by items on their way. */
  calls(): Call<T>[] | undefined {
    const calls: Call<T>[] = [];
    for (const { call } of this.#all) {
      if (call === undefined) return undefined;
      calls.push(call);
    }
    return calls;
  }

  /** Calls the handler. */
  run(call: Call<T>): void {
    const slot = this.#free.pop() ?? this.#make();
    slot.call = call;
    slot.weight = this.#measures.weightOfNext();
    if (slot.weight > 0) slot.began = this.#clock.now();
    if (this.#timeout !== undefined) {
      slot.timer = setAlarm(this.#clock, slot.timedOut, this.#timeout);
    }
    const own = this.#ownPuts;
    try {
      // What is put before the handler returns is its own.
      if (own !== undefined) own.beginning = call;
      const result = (0, this.#handler)(call.work as T & T[], call);
      if (own !== undefined) own.beginning = undefined;
      if (!isThenable(result)) return this.#fulfilled(slot, result);
      Promise.resolve(result).then(slot.fulfilled, slot.rejected);
    } catch (error) {
      if (own !== undefined) own.beginning = undefined;
      this.#rejected(slot, error);
    }
  }

  /** Tells all handlers to end. */
  abort(reason: unknown): void {
    for (const { call } of this.#all) call?.abort(reason);
  }

  /** Those that have not ended by now overrun. */
  tellOverruns(): void {
    for (const slot of this.#all) {
      if (slot.call !== undefined) this.#tellOverrun(slot);
    }
  }

  #make(): Slot<T> {
    const slot: Slot<T> = {
      call: undefined,
      timer: undefined,
      began: 0,
      weight: 0,
      overrun: "no",
      fulfilled: (result) => this.#fulfilled(slot, result),
      rejected: (error) => this.#rejected(slot, error),
      timedOut: () => this.#timedOut(slot),
      overran: () => this.#overran(slot),
    };
    this.#all.push(slot);
    return slot;
  }

  #fulfilled(slot: Slot<T>, result: unknown): void {
    const call = this.#end(slot);
    if (slot.overrun === "left") return this.#release(slot);
    this.#releaseAfter(slot, this.#judge.fulfilled(call, result));
  }

  #rejected(slot: Slot<T>, error: unknown): void {
    const call = this.#end(slot);
    if (slot.overrun === "left") return this.#release(slot);
    this.#releaseAfter(slot, this.#judge.rejected(call, error));
  }

  #end(slot: Slot<T>): Call<T> {
    const call = slot.call!;
    slot.call = undefined;
    this.#clear(slot);
    if (slot.weight > 0) {
      const took = this.#clock.now() - slot.began;
      this.#measures.ran(took, slot.weight, this.taken);
    }
    return call;
  }

  #clear(slot: Slot<T>): void {
    if (slot.timer !== undefined) this.#clock.clearTimer(slot.timer);
    slot.timer = undefined;
  }

  #releaseAfter(slot: Slot<T>, ending: Promise<unknown> | undefined): void {
    if (ending === undefined) this.#release(slot);
    else ending.then(() => this.#release(slot));
  }

  #release(slot: Slot<T>): void {
    slot.overrun = "no";
    this.#free.push(slot);
    this.#owner.advance();
  }

  #timedOut(slot: Slot<T>): void {
    const { grace = 1000 } = this.#options;
    // Before the handler learns of it: it may end at once.
    slot.timer = setAlarm(this.#clock, slot.overran, grace);
    slot.call!.abort(
      new DOMException(
        `The handler took longer than ${this.#timeout} ms`,
        "TimeoutError",
      ),
    );
  }

  #overran(slot: Slot<T>): void {
    slot.timer = undefined;
    this.#tellOverrun(slot);
    if (!this.#owner.leavesOverrunning) return;
    slot.overrun = "left";
    const call = slot.call!;
    const ending = this.#judge.rejected(call, call.aborted!.reason);
    if (ending === undefined) this.#owner.advance();
    else ending.then(() => this.#owner.advance());
  }

  #tellOverrun(slot: Slot<T>): void {
    if (slot.overrun !== "no") return;
    slot.overrun = "told";
    this.overruns++;
    const { onOverrun } = this.#options;
    if (onOverrun === undefined) return;
    for (const { item, attempt } of slot.call!.jobs) {
      callOut("consume", "onOverrun", onOverrun, item, attempt);
    }
  }
}
