/**
 * Reasons in the shared memory: bounded, so they may have to be cut.
 *
 * @module
 */

import { textOf } from "../../errors.ts";
import { packReason, unpackReason } from "../failure.ts";
import type { PackedReason } from "../failure.ts";
import { REASON_BYTES } from "./layout.ts";

/** The reason of an end, or the failures of producers before it. */
interface StoredReason {
  readonly reason?: PackedReason;
  readonly failures?: PackedReason[];
  /** How many failures found no room. */
  readonly more?: number;
}

type PackedError = Extract<PackedReason, { kind: "error" }>;

/**
 * The bytes of a reason. What does not fit into 8192 is cut, until it does: first
 * the stacks of causes, then the stack, then own fields, then causes and errors,
 * then the message.
 */
export function writeReason(reason: unknown): Uint8Array {
  return fitting(reason, (cut) => ({ reason: cut })) ??
    bytesOf({ reason: { kind: "value", value: "(a reason too long)" } });
}

/** The reason again. */
export function readReason(bytes: Uint8Array): unknown {
  const { reason } = parse(bytes);
  return reason === undefined ? undefined : unpackReason(reason);
}

/** What is there, and one more failure of a producer. */
export function addFailure(found: Uint8Array, reason: unknown): Uint8Array {
  const { failures = [], more = 0 } = parse(found);
  return fitting(reason, (cut) => ({ failures: [...failures, cut], more })) ??
    bytesOf({ failures, more: more + 1 });
}

/** What is stored of a reason, cut until it fits; undefined if it never does. */
function fitting(
  reason: unknown,
  stored: (cut: PackedReason) => StoredReason,
): Uint8Array | undefined {
  const packed = sayable(packReason(reason));
  for (const cut of CUTS) {
    const text = bytesOf(stored(cut(packed)));
    if (text.length <= REASON_BYTES) return text;
  }
  return undefined;
}

/** The failures of producers that were noted, and how many were too many to note. */
export function readFailures(
  bytes: Uint8Array,
): { failures: unknown[]; more: number } {
  const { failures = [], more = 0 } = parse(bytes);
  return { failures: failures.map(unpackReason), more };
}

const CUTS: readonly ((packed: PackedReason) => PackedReason)[] = [
  (packed) => packed,
  (packed) => mapNested(packed, withoutStack),
  (packed) => withoutStack(packed),
  (packed) => withoutFields(withoutStack(packed)),
  (packed) => withoutNested(withoutFields(withoutStack(packed))),
  (packed) => shortened(withoutNested(withoutStack(packed)), 1000),
  (packed) => shortened(withoutNested(withoutStack(packed)), 100),
];

function mapNested(
  packed: PackedReason,
  map: (packed: PackedReason) => PackedReason,
): PackedReason {
  if (packed.kind !== "error") return packed;
  return {
    ...packed,
    cause: packed.cause && map(packed.cause),
    errors: packed.errors?.map(map),
    fields: packed.fields?.map(([name, value]) => [name, map(value)]),
  };
}

function withoutFields(packed: PackedReason): PackedReason {
  return mapErrors(packed, (error) => ({ ...error, fields: undefined }));
}

function withoutStack(packed: PackedReason): PackedReason {
  return mapErrors(packed, (error) => ({ ...error, stack: undefined }));
}

/** The error and all within, innermost first. */
function mapErrors(
  packed: PackedReason,
  map: (error: PackedError) => PackedReason,
): PackedReason {
  if (packed.kind !== "error") return packed;
  const nested = mapNested(packed, (inner) => mapErrors(inner, map));
  return map(nested as PackedError);
}

function withoutNested(packed: PackedReason): PackedReason {
  if (packed.kind !== "error") return packed;
  return {
    ...packed,
    cause: undefined,
    errors: packed.errors === undefined ? undefined : [],
    fields: undefined,
  };
}

function shortened(packed: PackedReason, length: number): PackedReason {
  if (packed.kind === "error") {
    const { name, code, message } = packed;
    return {
      ...packed,
      name: name.slice(0, 100),
      code: typeof code === "string" ? code.slice(0, 100) : code,
      message: message.length > length
        ? `${message.slice(0, length)}…`
        : message,
    };
  }
  const text = typeof packed.value === "string"
    ? packed.value
    : jsonOf(packed.value) ?? "undefined";
  return { kind: "value", value: `${text.slice(0, length)}…` };
}

/** What JSON cannot say goes as its text. */
function sayable(packed: PackedReason): PackedReason {
  if (packed.kind === "error") return mapNested(packed, sayable);
  try {
    jsonOf(packed.value);
    return packed;
  } catch {
    return { kind: "value", value: textOf(packed.value) };
  }
}

function bytesOf(note: StoredReason): Uint8Array {
  return new TextEncoder().encode(jsonOf(note));
}

function jsonOf(value: unknown): string {
  return JSON.stringify(
    value,
    (_key, value) => typeof value === "bigint" ? `${value}n` : value,
  );
}

function parse(bytes: Uint8Array): StoredReason {
  return bytes.length === 0 ? {} : JSON.parse(new TextDecoder().decode(bytes));
}
