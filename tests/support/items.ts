/**
 * Items to put.
 *
 * @module
 */

/** The numbers from one up to another, which is not among them. */
export function upTo(count: number, from: number = 0): number[] {
  return Array.from({ length: count - from }, (_, index) => from + index);
}
