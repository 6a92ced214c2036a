/**
 * The classes of the platform that the views extend, under names of our own:
 * bundlers keep a class that extends a global they do not know, used or not.
 *
 * @module
 */

/** `ReadableStream`. */
export const NativeReadable: typeof ReadableStream = /* @__PURE__ */
  (() => ReadableStream)();

/** `ReadableStreamDefaultReader`. */
export const NativeReader: typeof ReadableStreamDefaultReader =
  /* @__PURE__ */ (() => ReadableStreamDefaultReader)();

/** `WritableStream`. */
export const NativeWritable: typeof WritableStream = /* @__PURE__ */
  (() => WritableStream)();

/** `WritableStreamDefaultWriter`. */
export const NativeWriter: typeof WritableStreamDefaultWriter =
  /* @__PURE__ */ (() => WritableStreamDefaultWriter)();
