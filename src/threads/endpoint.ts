/**
 * One end of a channel between threads, whatever the runtime calls it: a
 * `MessagePort`, a `Worker` of the web or of Node, or a worker's own scope.
 *
 * @module
 */

import { ignore } from "../callbacks.ts";
import { wrongType } from "../checks.ts";

/**
 * What can be moved to another thread instead of being copied: an `ArrayBuffer`, a
 * `MessagePort`, a stream, whatever the platform can move. No type of a platform is
 * there on all of them.
 */
export type TransferableObject = object;

/** What can send messages and hear them: `MessagePort`, `Worker`, the global scope of a worker, `worker_threads.Worker`, `parentPort`. */
export interface PortLike {
  /** Sends a value to the other side. The types of the platforms do not agree on what can be moved. */
  postMessage(message: unknown, transfer: never[]): void;
}

/** Who listens at an endpoint. */
export interface EndpointListener {
  /** A value from the other side. */
  message(data: unknown): void;
  /** The other side is gone, where the runtime tells: the port was closed or the thread has ended. */
  closed(): void;
  /** The thread failed with an error nobody caught, or a message could not be read. */
  failed(error: unknown): void;
}

/** As an `EventTarget` or as Node's `EventEmitter`; some are both. */
interface Port extends PortLike {
  addEventListener?(type: string, listener: (event: Event) => void): void;
  removeEventListener?(type: string, listener: (event: Event) => void): void;
  on?(type: string, listener: (value: unknown) => void): unknown;
  off?(type: string, listener: (value: unknown) => void): unknown;
  start?(): void;
  close?(): void;
  ref?(): unknown;
  unref?(): unknown;
}

/** The endpoints that keep the process alive, by their port: several may share one. */
const keepers: WeakMap<Port, Set<Endpoint>> = new WeakMap();

/** One end of a channel. */
export class Endpoint {
  readonly #port: Port;
  readonly #undo: (() => void)[] = [];

  /** Begins to listen. */
  constructor(port: PortLike, listener: EndpointListener) {
    this.#port = port;
    // Node's ports are both, and only tell of their end as emitters.
    if (typeof this.#port.on === "function") this.#hearEmitter(listener);
    else this.#hearTarget(listener);
    this.#port.start?.();
  }

  /** Sends a value. Throws a `DataCloneError` when it cannot be cloned. */
  post(message: unknown, transfer: TransferableObject[] = []): void {
    this.#port.postMessage(message, transfer as never[]);
  }

  /** Whether the endpoint keeps the process alive, where that can be told of a port. Whether a worker does is for whoever made it. */
  set keepsAlive(keeps: boolean) {
    if (!isMessagePort(this.#port)) return;
    let others = keepers.get(this.#port);
    if (others === undefined) keepers.set(this.#port, others = new Set());
    if (keeps) others.add(this);
    else others.delete(this);
    if (others.size > 0) this.#port.ref?.();
    else {
      this.#port.unref?.();
      void unrefAgain(this.#port);
    }
  }

  /** Hears nothing more. */
  stop(): void {
    this.keepsAlive = false;
    for (const undo of this.#undo.splice(0)) undo();
  }

  /** Hears nothing more and closes the port, if it is one. */
  close(): void {
    this.stop();
    if (isMessagePort(this.#port)) this.#port.close?.();
  }

  #hearEmitter(listener: EndpointListener): void {
    this.#on("message", (data) => listener.message(data));
    this.#on("messageerror", (error) => listener.failed(error));
    this.#on("error", (error) => listener.failed(error));
    this.#on("close", () => listener.closed());
    this.#on("exit", () => listener.closed());
  }

  #hearTarget(listener: EndpointListener): void {
    this.#listen(
      "message",
      (event) => {
        listener.message((event as MessageEvent).data);
        void unrefAgain(this.#port);
      },
    );
    this.#listen("messageerror", () => {
      listener.failed(
        new DOMException("A message could not be read", "DataCloneError"),
      );
    });
    this.#listen("error", (event) => {
      // Otherwise it is thrown in this thread as well.
      event.preventDefault();
      const { error, message } = event as ErrorEvent;
      listener.failed(error ?? new Error(message || "The thread failed"));
    });
    this.#listen("close", () => listener.closed());
  }

  #on(type: string, listener: (value: unknown) => void): void {
    this.#port.on!(type, listener);
    this.#undo.push(() => this.#port.off!(type, listener));
  }

  #listen(type: string, listener: (event: Event) => void): void {
    this.#port.addEventListener!(type, listener);
    this.#undo.push(() => this.#port.removeEventListener!(type, listener));
  }
}

/** Throws unless one can send and hear there. */
export function checkPort(
  action: string,
  name: string,
  port: unknown,
): asserts port is PortLike {
  const given = port as Partial<Port> | null | undefined;
  if (
    typeof given?.postMessage === "function" &&
    (typeof given.addEventListener === "function" ||
      typeof given.on === "function")
  ) return;
  throw wrongType(action, `${name} must be a MessagePort or a worker`, port);
}

/** Deno 2.9 forgets an `unref()` with the next message, and does not hear one in the microtasks after it. */
async function unrefAgain(port: Port): Promise<void> {
  if (!("Deno" in globalThis)) return;
  for (let tick = 0; tick < 8; tick++) await undefined;
  if (keepers.get(port)?.size !== 0) return;
  port.ref?.();
  port.unref?.();
}

let losesMoved: boolean | undefined;

/**
 * Whether of a message that could not be cloned is gone what was to be moved with
 * it: Deno moves before it clones. There, what is moved goes alone, or a neighbour
 * in the message would cost it.
 */
export function failureLosesMoved(): boolean {
  if (losesMoved === undefined) {
    const { port1, port2 } = new MessageChannel();
    const moved = new ArrayBuffer(1);
    try {
      port1.postMessage([moved, ignore], [moved]);
    } catch {
      // Functions cannot be cloned.
    }
    losesMoved = moved.byteLength === 0;
    port1.close();
    port2.close();
  }
  return losesMoved;
}

/** A worker's `close` or `terminate` is not ours to call. */
function isMessagePort(port: Port): boolean {
  return typeof port.start === "function" && typeof port.close === "function";
}
