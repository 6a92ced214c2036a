/**
 * What JSON carries as it is, and what it would make something else of.
 *
 * @module
 */

import { checkBoolean, isPlain, wrongType } from "./checks.ts";

/** Options of the codecs named `json`. */
export interface JsonOptions {
  /**
   * Whether items may arrive as something else: a `Date` as a string, a `Map` as an
   * empty object, `NaN` as `null`, what is made by a class as a plain object or what
   * its `toJSON()` says. Default: false, and they are refused with a `TypeError`.
   */
  lossy?: boolean | undefined;
}

/**
 * Throws a `TypeError` that names the first part that would arrive as something else.
 * Parts that are `undefined` may be left out, as reading them says the same.
 * What has a circle is not for this: JSON refuses it by itself.
 */
export function checkJsonItem(item: unknown): void {
  if (isCarried(item)) return;
  const [path, part] = firstChanged(item, "item");
  throw wrongType(
    "encode",
    `${path} must be what JSON carries unchanged ` +
      "(another codec carries more, and json({ lossy: true }) changes it)",
    part,
  );
}

/** Reads `lossy`. */
export function isLossy(options: JsonOptions): boolean {
  const { lossy = false } = options;
  checkBoolean("make the codec", "lossy", lossy);
  return lossy;
}

function isCarried(value: unknown): boolean {
  if (typeof value === "string" || typeof value === "boolean") return true;
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object") return false;
  if (value === null) return true;
  if (Array.isArray(value)) {
    for (let at = 0; at < value.length; at++) {
      if (!isCarried(value[at])) return false;
    }
    return true;
  }
  if (!isPlain(value)) return false;
  for (const key in value) {
    const part = (value as Record<string, unknown>)[key];
    if (part !== undefined && !isCarried(part)) return false;
  }
  return true;
}

/** The way to the first part that is not carried, and that part. */
function firstChanged(value: unknown, path: string): [string, unknown] {
  if (Array.isArray(value)) {
    for (let at = 0; at < value.length; at++) {
      if (!isCarried(value[at])) {
        return firstChanged(value[at], `${path}[${at}]`);
      }
    }
  } else if (typeof value === "object" && value !== null && isPlain(value)) {
    for (const [key, part] of Object.entries(value)) {
      if (part === undefined || isCarried(part)) continue;
      const isName = /^[A-Za-z_$][\w$]*$/.test(key);
      const step = isName ? `.${key}` : `[${JSON.stringify(key)}]`;
      return firstChanged(part, path + step);
    }
  }
  return [path, value];
}
