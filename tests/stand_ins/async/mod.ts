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

/** How a {@linkcode deadline} may be cut short. */
export interface DeadlineOptions {
  /** Rejects the wait with its reason. */
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

/**
 * Settles as `promise` does, or rejects with a `TimeoutError` after `ms`
 * milliseconds.
 */
export function deadline<T>(
  promise: Promise<T>,
  ms: number,
  options: DeadlineOptions = {},
): Promise<T> {
  const { signal } = options;
  return new Promise<T>(function (resolve, reject) {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const timer = setTimeout(function () {
      leave();
      reject(new DOMException("Signal timed out.", "TimeoutError"));
    }, ms);
    function cut(): void {
      leave();
      reject(signal?.reason);
    }
    function leave(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", cut);
    }
    signal?.addEventListener("abort", cut, { once: true });
    promise.then(
      function (value) {
        leave();
        resolve(value);
      },
      function (error: unknown) {
        leave();
        reject(error);
      },
    );
  });
}
