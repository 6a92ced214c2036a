/**
 * Who may look: user names with passwords, for browsers, and bearer tokens, for
 * programs.
 *
 * @module
 */

import { checkOptions, outOfRange, wrongType } from "../checks.ts";

const ACTION = "make credentials";

/** What {@linkcode credentials} accepts; one of them will do. */
export interface CredentialsOptions {
  /** Passwords by user name, for HTTP Basic: a browser asks for them by itself. */
  basic?: Readonly<Record<string, string>> | undefined;
  /** Tokens that a program sends as `Authorization: Bearer …`. */
  bearer?: readonly string[] | undefined;
}

/** Whether a request is answered, and what it is told to send if not. */
export interface Authorization {
  /** Only `true` lets the request pass. */
  (request: Request): boolean | Promise<boolean>;
  /** The `WWW-Authenticate` of a refusal. Default: HTTP Basic. */
  readonly challenge?: string | undefined;
}

/**
 * An `authorize` for the dashboard that knows names and tokens.
 *
 * What is sent is compared by its SHA-256 with all there is, so that the time it
 * takes tells nothing of how much of it was right. Send it over TLS only: both
 * schemes carry the secret itself.
 *
 * Throws a `TypeError` or `RangeError` that names the option it cannot use, never
 * the secret.
 *
 * @example A person with a browser, and Prometheus
 * ```ts
 * import { Queue } from "@highwater/queue";
 * import { credentials, dashboard } from "@highwater/queue/dashboard";
 * import { assertEquals } from "@std/assert";
 *
 * const handler = dashboard(new Queue({ name: "jobs" }), {
 *   authorize: credentials({ basic: { ada: "enchantress" }, bearer: ["of-numbers"] }),
 * });
 *
 * const address = "http://localhost/metrics";
 * const refused = await handler(new Request(address));
 * assertEquals(refused.status, 401); // a browser asks for name and password now
 * const headers = { authorization: "Bearer of-numbers" };
 * assertEquals((await handler(new Request(address, { headers }))).status, 200);
 * ```
 */
export function credentials(options: CredentialsOptions): Authorization {
  const accepted = acceptedBy(options);
  let hashes: Promise<Uint8Array[]> | undefined;
  const authorize = async (request: Request): Promise<boolean> => {
    const header = request.headers.get("authorization") ?? "";
    const [, scheme = "", sent = ""] = /^(\w+) +(\S+) *$/.exec(header) ?? [];
    const [hash, all] = await Promise.all([
      sha256Of(`${scheme.toLowerCase()} ${sent}`),
      hashes ??= Promise.all(accepted.map(sha256Of)),
    ]);
    let known = 0;
    for (const one of all) known |= Number(areEqual(one, hash));
    return known === 1;
  };
  const challenges = [];
  if (options.basic !== undefined) challenges.push(BASIC);
  if (options.bearer !== undefined) challenges.push('Bearer realm="queues"');
  return Object.assign(authorize, { challenge: challenges.join(", ") });
}

/** What makes a browser ask for a name and a password. */
export const BASIC = 'Basic realm="queues", charset="UTF-8"';

/** The values of the header `Authorization` that pass, with the scheme in lower case. */
function acceptedBy(options: CredentialsOptions): string[] {
  checkOptions(ACTION, options, { basic: true, bearer: true });
  const { basic, bearer } = options;
  if (basic !== undefined) checkBasic(basic);
  if (bearer !== undefined) checkBearer(bearer);
  const accepted = [
    ...Object.entries(basic ?? {}).map(([user, password]) =>
      `basic ${base64(`${user}:${password}`)}`
    ),
    ...(bearer ?? []).map((token) => `bearer ${token}`),
  ];
  if (accepted.length > 0) return accepted;
  throw new RangeError(
    `Cannot ${ACTION}: basic or bearer must have one entry or more, received none`,
  );
}

function checkBasic(basic: unknown): void {
  if (typeof basic !== "object" || basic === null) {
    const rule = "basic must be an object of passwords by user name";
    throw wrongType(ACTION, rule, basic);
  }
  for (const [user, password] of Object.entries(basic)) {
    if (user.includes(":")) {
      const rule = "a user name of basic must have no colon";
      throw outOfRange(ACTION, rule, user);
    }
    checkSecret(`the password of ${JSON.stringify(user)}`, password);
  }
}

function checkBearer(bearer: unknown): void {
  if (!Array.isArray(bearer)) {
    throw wrongType(ACTION, "bearer must be an array of tokens", bearer);
  }
  for (const [index, token] of bearer.entries()) {
    checkSecret(`bearer[${index}]`, token);
    if (/\s/.test(token)) {
      throw new RangeError(
        `Cannot ${ACTION}: bearer[${index}] must have no white space, ` +
          "received one that has",
      );
    }
  }
}

/** Says nothing of the secret itself. */
function checkSecret(name: string, secret: unknown): void {
  if (typeof secret !== "string") {
    throw new TypeError(
      `Cannot ${ACTION}: ${name} must be a string, received a ${typeof secret}`,
    );
  }
  if (secret === "") throw outOfRange(ACTION, `${name} must not be empty`, "");
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

async function sha256Of(text: string): Promise<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** Looks at all of both, whatever it finds. */
function areEqual(one: Uint8Array, other: Uint8Array): boolean {
  let difference = 0;
  for (let at = 0; at < one.length; at++) difference |= one[at]! ^ other[at]!;
  return difference === 0;
}
