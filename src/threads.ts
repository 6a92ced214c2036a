/**
 * Queues that reach across threads, on Deno, Bun, Node and in browsers.
 *
 * @module
 */

export { type PortLike } from "./threads/endpoint.ts";
