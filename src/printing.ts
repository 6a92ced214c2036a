/**
 * How a queue looks where it is printed.
 *
 * @module
 */

/** Asked for by `console.log` of Deno, Bun and Node. */
const INSPECT: symbol = /* @__PURE__ */ Symbol.for(
  "nodejs.util.inspect.custom",
);

/**
 * Has those of a class printed by some facts, from the first one on. The constructor
 * asks for it: bundlers keep a class with a computed name in it, used or not.
 */
export function printBy<Q extends object>(
  prototype: Q,
  factsOf: (queue: Q) => Readonly<Record<string, unknown>>,
): void {
  if (INSPECT in prototype) return;
  Object.defineProperty(prototype, INSPECT, {
    value(this: Q): string {
      const texts = Object.entries(factsOf(this)).map(([name, fact]) =>
        `${name}: ${typeof fact === "string" ? JSON.stringify(fact) : fact}`
      );
      return `${this.constructor.name} { ${texts.join(", ")} }`;
    },
    configurable: true,
    writable: true,
  });
}

/** Name, length, bound and state, for who counts them. */
export function factsOfStats(
  queue: {
    stats(): {
      name: string;
      length: number;
      highWaterMark: number;
      state: string;
    };
  },
): Readonly<Record<string, unknown>> {
  const { name, length, highWaterMark, state } = queue.stats();
  return { name, length, highWaterMark, state };
}
