/**
 * Reasons in the shared memory: bounded, so they may have to be cut.
 *
 * @module
 */

import { packReason, unpackReason } from "./failure.ts";
import type { PackedReason } from "./failure.ts";
import { REASON_BYTES } from "./layout.ts";

/** The reason of an end, or the failures of producers before it. */
interface Note {
  readonly reason?: PackedReason;
  readonly failures?: PackedReason[];
  /** How many failures found no room. */
  readonly more?: number;
}

type PackedError = Extract<PackedReason, { kind: "error" }>;

/**
 * The bytes of a reason. What does not fit into 8192 is cut, until it does: first
 * the stacks of causes, then the stack, then causes and errors, then the message.
 */
export function writeReason(reason: unknown): Uint8Array {
  const packed = packReason(reason);
  for (const cut of CUTS) {
    const text = textOf({ reason: cut(packed) });
    if (text.length <= REASON_BYTES) return text;
  }
  return textOf({ reason: { kind: "value", value: "(a reason too long)" } });
}

/** The reason again. */
export function readReason(bytes: Uint8Array): unknown {
  const { reason } = parse(bytes);
  return reason === undefined ? undefined : unpackReason(reason);
}

/** What is there, and one more failure of a producer. */
export function addFailure(found: Uint8Array, reason: unknown): Uint8Array {
  const { failures = [], more = 0 } = parse(found);
  const packed = packReason(reason);
  for (const cut of CUTS) {
    const text = textOf({ failures: [...failures, cut(packed)], more });
    if (text.length <= REASON_BYTES) return text;
  }
  return textOf({ failures, more: more + 1 });
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
  (packed) => withoutNested(withoutStack(packed)),
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
  };
}

function withoutStack(packed: PackedReason): PackedReason {
  if (packed.kind !== "error") return packed;
  const nested = mapNested(packed, withoutStack) as PackedError;
  return { ...nested, stack: undefined };
}

function withoutNested(packed: PackedReason): PackedReason {
  if (packed.kind !== "error") return packed;
  return {
    ...packed,
    cause: undefined,
    errors: packed.errors === undefined ? undefined : [],
  };
}

function shortened(packed: PackedReason, length: number): PackedReason {
  if (packed.kind === "error") {
    const { name, message } = packed;
    return {
      ...packed,
      name: name.slice(0, 100),
      message: message.length > length
        ? `${message.slice(0, length)}…`
        : message,
    };
  }
  const text = typeof packed.value === "string"
    ? packed.value
    : describe(packed.value);
  return { kind: "value", value: `${text.slice(0, length)}…` };
}

/** What JSON cannot say goes as its text. */
function textOf(note: Note): Uint8Array {
  return new TextEncoder().encode(
    JSON.stringify(
      note,
      (_key, value) => typeof value === "bigint" ? `${value}n` : value,
    ),
  );
}

function describe(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}

function parse(bytes: Uint8Array): Note {
  return bytes.length === 0 ? {} : JSON.parse(new TextDecoder().decode(bytes));
}
