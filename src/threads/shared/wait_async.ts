/**
 * Waiting for a word of shared memory to change, without blocking the thread.
 *
 * @module
 */

import { systemClock } from "../../clock.ts";

/** What the types of `Atomics` do not know yet, and some browsers neither. */
export interface WaitAsync {
  waitAsync?(
    words: Int32Array,
    at: number,
    value: number,
  ):
    | { async: false; value: string }
    | { async: true; value: Promise<string> };
}

const SHORTEST = 1;
const LONGEST = 16;
/** Calls `woken` once, in a later turn, when the word is no longer that value. Returns what makes it not. */
export function listen(
  words: Int32Array,
  at: number,
  value: number,
  woken: () => void,
): () => void {
  const { waitAsync } = Atomics as WaitAsync;
  if (waitAsync === undefined) return poll(words, at, value, woken);
  let listening = true;
  const heard = (): void => {
    if (listening) woken();
  };
  const waiting = waitAsync.call(Atomics, words, at, value);
  if (waiting.async) waiting.value.then(heard);
  else queueMicrotask(heard);
  return () => {
    listening = false;
  };
}

/** The same where there is no `Atomics.waitAsync`: looks soon, and then less and less often. */
export function poll(
  words: Int32Array,
  at: number,
  value: number,
  woken: () => void,
): () => void {
  let pause = SHORTEST;
  let timer: unknown;
  const look = (): void => {
    if (Atomics.load(words, at) !== value) return woken();
    timer = systemClock.setTimer(look, pause);
    pause = Math.min(pause * 2, LONGEST);
  };
  timer = systemClock.setTimer(look, 0);
  return () => systemClock.clearTimer(timer);
}
