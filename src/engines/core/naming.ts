/**
 * What queues on engines may be called.
 *
 * @module
 */

import { checkString, outOfRange } from "../../checks.ts";

/** Throws unless it is a text that the engine can make names of its own of. */
export function checkName(
  action: string,
  name: string,
  value: unknown,
  pattern: RegExp,
  rule: string,
): void {
  checkString(action, name, value);
  if (pattern.test(value as string)) return;
  throw outOfRange(action, `${name} must be ${rule}`, value);
}
