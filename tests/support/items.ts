/**
 * Numbers to put, and what is said of those that were measured.
 *
 * @module
 */

/** The numbers from one up to another, which is not among them. */
export function upTo(count: number, from: number = 0): number[] {
  return Array.from({ length: count - from }, (_, index) => from + index);
}

/** The one in the middle. */
export function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[values.length >> 1]!;
}
