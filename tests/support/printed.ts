/**
 * What is printed while a test looks.
 *
 * @module
 */

/** Collects what is printed by `console.error` while `run` runs. */
export async function printedBy(
  run: (printed: readonly unknown[][]) => unknown,
): Promise<unknown[][]> {
  const printed: unknown[][] = [];
  const print = console.error;
  console.error = (...values: unknown[]): void => void printed.push(values);
  try {
    await run(printed);
  } finally {
    console.error = print;
  }
  return printed;
}
