/**
 * What every kind of queue promises, case by case. The same cases run for each
 * kind and inside each runtime, so nothing in them knows a runtime, a runner or
 * a kind.
 *
 * - A file a group: `conservation.ts`, `cancellation.ts` and so on.
 * - `cases.ts`: what a case is, what a kind can do and a case may need.
 * - `kinds.ts`, `shared_kind.ts`, `port_queue_test.ts`: the kinds.
 * - `flow_*.ts`, `threads_*.ts`: what all else needs of a runtime, in a few cases;
 *   `runtimes.ts`: what not every runtime has.
 * - `*_test.ts`: the kinds on Deno, Bun and Node; `../runtimes`: all else.
 *
 * @module
 */

import { anyValue } from "./any_value.ts";
import { wrongArguments } from "./arguments.ts";
import { bounds } from "./bounds.ts";
import { cancellation } from "./cancellation.ts";
import { abilities, type Case, type Group, type Kind } from "./cases.ts";
import { conservation } from "./conservation.ts";
import { consumers } from "./consumers.ts";
import { handOff } from "./hand_off.ts";
import { iteration } from "./iteration.ts";
import { order } from "./order.ts";
import { overflow } from "./overflow.ts";
import { pipes } from "./pipes.ts";
import { producers } from "./producers.ts";
import { readable } from "./readable.ts";
import { settling } from "./settling.ts";
import { streams } from "./streams.ts";
import { userCode } from "./user_code.ts";
import { waiting } from "./waiting.ts";
import { writable } from "./writable.ts";

const groups: Group[] = [
  conservation,
  cancellation,
  order,
  settling,
  handOff,
  waiting,
  streams,
  readable,
  writable,
  pipes,
  consumers,
  producers,
  iteration,
  anyValue,
  userCode,
  bounds,
  overflow,
  wrongArguments,
];

/** All cases. */
export const cases: Case[] = groups.flatMap((group) => group.cases);

/** Those that a kind has to pass. */
export function casesFor({ can }: Kind): Case[] {
  return cases.filter(({ needs }) =>
    needs.every((need) => !isAbility(need) || can.has(need))
  );
}

function isAbility(need: string): need is keyof typeof abilities {
  return need in abilities;
}
