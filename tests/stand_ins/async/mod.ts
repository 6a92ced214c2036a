/**
 * A stand-in for the part of `@std/async` that the tests use, for machines
 * that cannot reach JSR. Written for this project.
 *
 * @module
 */

/** How a {@linkcode delay} may be cut short. */
export interface DelayOptions {
  /** Rejects the delay with its reason. */
  signal?: AbortSignal;
}

/** Resolves after `ms` milliseconds. */
export function delay(ms: number, options: DelayOptions = {}): Promise<void> {
  const { signal } = options;
  return new Promise<void>(function (resolve, reject) {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const timer = setTimeout(function () {
      signal?.removeEventListener("abort", cut);
      resolve();
    }, ms);
    function cut(): void {
      clearTimeout(timer);
      reject(signal?.reason);
    }
    signal?.addEventListener("abort", cut, { once: true });
  });
}
