/**
 * Values that throw whatever one does with them.
 *
 * @module
 */

/** A proxy all of whose traps throw; or all but the one that says whose child it is. */
export function hostile<T extends object>(
  target: T,
  but?: "no prototype",
): T {
  const traps: ProxyHandler<T> = {};
  for (const name of Object.getOwnPropertyNames(Reflect)) {
    if (but !== undefined && name === "getPrototypeOf") continue;
    (traps as Record<string, () => never>)[name] = () => {
      throw new Error(`no ${name}`);
    };
  }
  return new Proxy(target, traps);
}
