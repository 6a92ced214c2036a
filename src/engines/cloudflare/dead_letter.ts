/**
 * Messages that nobody could make anything of, on their way to where somebody
 * may look at them.
 *
 * @module
 */

import { isPlain, wrongType } from "../../checks.ts";
import { wordsFor } from "../../errors.ts";
import { isBinding } from "./cloudflare_queue.ts";
import type { CloudflareMessage, QueueBinding } from "./types.ts";
import type { BurialReason } from "../core/driver.ts";

/** A message that failed for good, and how. */
export interface CloudflareDeadLetter {
  /** The name of the queue it was in. */
  readonly queue: string;
  /** The name that Cloudflare gave the message. */
  readonly id: string;
  /** What was sent, untouched: send it again to have it tried again. */
  readonly body: unknown;
  /** How often it was tried. */
  readonly attempts: number;
  /** When it was sent, in milliseconds since 1970. */
  readonly enqueuedAt: number;
  /**
   * Why it was given up: it `"failed"` as often as `retry` allows, its error was
   * of a kind that is not tried again (`"rejected"`), it could not be decoded
   * (`"undecodable"`), or nobody answered for any of its `"deliveries"`, because it
   * brings the Worker down.
   */
  readonly reason: BurialReason;
  /** What the last attempt failed with, in words, up to 1000 characters. */
  readonly error: string;
}

/** Where dead letters go: to another Queue of the Worker, or to a function, which also gets the error itself. Its promise is waited for. */
export type CloudflareDeadLetterTarget =
  | QueueBinding
  | ((dead: CloudflareDeadLetter, error: unknown) => unknown);

/** Longer words would take the room of the body. */
const MAX_WORDS = 1_000;

/** Words the letter of a message. */
export function deadLetterOf(
  queue: string,
  message: CloudflareMessage,
  attempts: number,
  reason: BurialReason,
  error: unknown,
): CloudflareDeadLetter {
  return {
    queue,
    id: message.id,
    body: message.body,
    attempts,
    enqueuedAt: message.timestamp.getTime(),
    reason,
    error: wordsFor(error).slice(0, MAX_WORDS),
  };
}

/** Fulfils when the target has it. */
export async function sendDeadLetter(
  target: CloudflareDeadLetterTarget,
  dead: CloudflareDeadLetter,
  error: unknown,
): Promise<void> {
  if (typeof target === "function") return void await target(dead, error);
  const contentType = isJson(dead.body) ? "json" : "v8";
  await target.send(dead, { contentType });
}

/** Throws a `TypeError` for what is no target. */
export function checkTarget(action: string, target: unknown): void {
  if (typeof target === "function" || isBinding(target)) return;
  const rule =
    "deadLetter must be a function, or a Queue that the Worker is bound to";
  throw wrongType(action, rule, target);
}

/** Whether JSON gives back the same. */
function isJson(value: unknown): boolean {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0);
    case "object":
      return value === null || isDense(value) &&
          Object.values(value).every(isJson);
    default:
      return false;
  }
}

/** Whether its properties are all there is to it. */
function isDense(value: object): boolean {
  return Array.isArray(value)
    ? Object.keys(value).length === value.length
    : isPlain(value);
}
