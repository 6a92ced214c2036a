import {
  assert,
  assertEquals,
  assertLess,
  assertMatch,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { PriorityQueue, Queue } from "../../mod.ts";
import type { Monitored } from "../../mod.ts";
import {
  credentials,
  type CredentialsOptions,
  dashboard,
  type DashboardOptions,
} from "../../src/dashboard.ts";
import { dashboardCases } from "../conformance/flow_dashboard.ts";
import { SteppedClock } from "../support/stepped_clock.ts";
import { canCollectGarbage, collectGarbage, test } from "../support/harness.ts";
import { turns } from "../support/waiting.ts";

const SCRIPT = "<script>alert(1)</script>";
const SECRET = "what an item holds";

for (const { name, run } of dashboardCases) test(name, run);

async function ask(
  queues: Monitored | Iterable<Monitored>,
  path: string,
  options?: DashboardOptions,
  init?: RequestInit,
): Promise<Response> {
  const request = new Request(`http://localhost${path}`, init);
  return await dashboard(queues, options)(request);
}

async function textOf(
  queues: Monitored | Iterable<Monitored>,
  path: string,
  options?: DashboardOptions,
): Promise<string> {
  return await (await ask(queues, path, options)).text();
}

interface Frame {
  name: string;
  index: number;
  length: number;
  highWaterMark: number | null;
  timeToFull: number | null;
  alerts: string[];
  state: string;
}

class Events {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;

  constructor(response: Response) {
    this.#reader = response.body!.getReader();
  }

  async text(): Promise<string> {
    return new TextDecoder().decode((await this.#reader.read()).value);
  }

  async next(): Promise<Frame> {
    const text = await this.text();
    assertMatch(text, /^data: [^\n]*\n\n$/);
    return JSON.parse(text.slice("data: ".length)) as Frame;
  }

  cancel(): Promise<void> {
    return this.#reader.cancel();
  }
}

/** A queue that counts how often it is looked at. */
function counted(queue: Queue<unknown>): Monitored & { looks: number } {
  return {
    looks: 0,
    stats() {
      this.looks++;
      return queue.stats();
    },
  };
}

test("dashboard: the page is one small document that may load nothing", async () => {
  const queues = Array.from(
    { length: 100 },
    (_, index) => new Queue({ name: `queue ${index}` }),
  );
  const response = await ask(queues, "/");
  assertEquals(
    response.headers.get("content-type"),
    "text/html; charset=utf-8",
  );
  assertEquals(response.headers.get("x-content-type-options"), "nosniff");
  assertEquals(response.headers.get("cache-control"), "no-store");
  const text = await response.text();
  assertLess(new TextEncoder().encode(text).length, 30_000);

  const policy = response.headers.get("content-security-policy")!.split("; ");
  assert(policy.includes("default-src 'none'"));
  assert(policy.includes("connect-src 'self'"));
  assertEquals(policy.filter((rule) => /unsafe|http|\*/.test(rule)), []);
  const nonce = /^script-src 'nonce-(.{20,})'$/m.exec(policy.join("\n"))![1]!;
  assertEquals(
    [...text.matchAll(/<(?:script|style)\b[^>]*>/g)].map(([tag]) => tag),
    [`<style nonce="${nonce}">`, `<script nonce="${nonce}">`],
  );
  assert(!text.includes("://"), "no other address is named");
  assert(!/ (?:on\w+|style)=/.test(text), "nothing inline beside them");
  const again = (await ask(queues, "/")).headers.get("content-security-policy");
  assert(!again!.includes(nonce), "each page has a nonce of its own");
});

test("dashboard: a name is text wherever it stands", async () => {
  const name = `${SCRIPT}"'&\\\n\u2028`;
  const queue = new Queue({ name });
  const page = await textOf(queue, "/", { title: `</title>${SCRIPT}` });
  assert(!page.includes("<script>"));
  assertEquals(page.split("</title>").length, 2);
  assertStringIncludes(page, "&#60;script&#62;alert(1)&#60;/script&#62;");
  assertStringIncludes(page, "&#34;&#39;&#38;\\\n");

  const metrics = await textOf(queue, "/metrics");
  assertStringIncludes(
    metrics,
    `{queue="${SCRIPT}\\"'&\\\\\\n\u2028",index="0"}`,
  );

  const events = new Events(await ask(queue, "/events"));
  const text = await events.text();
  await events.cancel();
  assert(!/[<>&\u2028]/.test(text));
  assertEquals((JSON.parse(text.slice(6)) as Frame).name, name);
});

test("dashboard: tells nothing of an item", async () => {
  const queue = new PriorityQueue<string>({ timestamps: true });
  queue.tryPut(SECRET);
  const events = new Events(await ask(queue, "/events"));
  const texts = [
    await textOf(queue, "/"),
    await textOf(queue, "/metrics"),
    await events.text(),
  ];
  await events.cancel();
  for (const text of texts) assert(!text.includes(SECRET));
});

test("dashboard: authorize comes first, and without it nothing but an empty 401", async () => {
  const queue = counted(new Queue({ name: "secret name" }));
  const answers = [
    () => false,
    () => Promise.resolve(false),
    () => "yes" as unknown as boolean,
  ];
  for (const authorize of answers) {
    for (const path of ["/", "/events", "/metrics", "/nothing"]) {
      for (const method of ["GET", "HEAD", "POST", "DELETE"]) {
        const response = await ask(queue, path, { authorize }, { method });
        assertEquals([response.status, await response.text()], [401, ""]);
        assertEquals(response.headers.get("content-type"), null);
      }
    }
  }
  assertEquals(queue.looks, 0);

  const seen: string[] = [];
  const authorize = async (request: Request): Promise<boolean> => {
    await undefined;
    seen.push(request.url);
    return request.headers.get("x-token") === "secret";
  };
  const headers = { "x-token": "secret" };
  const allowed = await ask(queue, "/", { authorize }, { headers });
  assertEquals(allowed.status, 200);
  assertStringIncludes(await allowed.text(), "secret name");
  assertEquals(seen, ["http://localhost/"]);
});

test("dashboard: a refusal says what to send, so that a browser asks for it", async () => {
  const challengeOf = async (
    authorize: DashboardOptions["authorize"],
  ): Promise<string | null> => {
    const response = await ask(new Queue(), "/", { authorize });
    assertEquals(response.status, 401);
    return response.headers.get("www-authenticate");
  };
  const basic = 'Basic realm="queues", charset="UTF-8"';
  assertEquals(await challengeOf(() => false), basic);
  const other = Object.assign(() => false, { challenge: "DPoP" });
  assertEquals(await challengeOf(other), "DPoP");
  const users = { ada: "enchantress" };
  assertEquals(await challengeOf(credentials({ basic: users })), basic);
  const bearer = 'Bearer realm="queues"';
  const tokens = ["token"];
  assertEquals(await challengeOf(credentials({ bearer: tokens })), bearer);
  assertEquals(
    await challengeOf(credentials({ basic: users, bearer: tokens })),
    `${basic}, ${bearer}`,
  );
});

test("dashboard: credentials let names and tokens pass, and nothing near them", async () => {
  const authorize = credentials({
    basic: { ada: "enchantress", "": "nobody", zoë: "ü: b" },
    bearer: ["token", "other=="],
  });
  const status = async (authorization?: string): Promise<number> => {
    const headers = authorization === undefined
      ? []
      : [["authorization", authorization]];
    const request = new Request(
      "http://localhost/",
      { headers } as RequestInit,
    );
    return (await dashboard(new Queue(), { authorize })(request)).status;
  };
  const basic = (text: string): string =>
    btoa(String.fromCharCode(...new TextEncoder().encode(text)));
  for (
    const good of [
      `Basic ${basic("ada:enchantress")}`,
      `basic   ${basic("ada:enchantress")} `,
      `Basic ${basic(":nobody")}`,
      `Basic ${basic("zoë:ü: b")}`,
      "Bearer token",
      "bearer other==",
    ]
  ) assertEquals(await status(good), 200, good);
  for (
    const bad of [
      undefined,
      "",
      "Basic",
      "Basic ",
      `Basic ${basic("ada:enchantres")}`,
      `Basic ${basic("ada:enchantress ")}`,
      `Basic ${basic("ada:")}`,
      `Basic ${basic("eve:enchantress")}`,
      `Bearer ${basic("ada:enchantress")}`,
      "Bearer Token",
      "Bearer token other==",
      "Bearer",
      "Basic token",
      "token",
    ]
  ) assertEquals(await status(bad), 401, bad);
});

test("dashboard: credentials that cannot be used say so, without the secret", () => {
  const table: [unknown, RegExp][] = [
    [undefined, /options must be an object/],
    [{}, /basic or bearer must have one entry or more, received none$/],
    [{ basic: {} }, /one entry or more/],
    [{ basic: "hush" }, /basic must be an object of passwords/],
    [
      { basic: { ada: 7 } },
      /the password of "ada" must be a string, received a number$/,
    ],
    [{ basic: { ada: "" } }, /the password of "ada" must not be empty/],
    [{ basic: { "a:b": "hush" } }, /no colon, received "a:b"$/],
    [{ bearer: "hush" }, /bearer must be an array of tokens/],
    [{ bearer: ["ok", ""] }, /bearer\[1\] must not be empty/],
    [{ bearer: ["two hush"] }, /bearer\[0\] must have no white space/],
  ];
  for (const [options, message] of table) {
    const error = assertThrows(() =>
      credentials(options as CredentialsOptions)
    );
    assertMatch((error as Error).message, message);
    if ((options as CredentialsOptions)?.bearer?.[0] === "two hush") {
      assert(!(error as Error).message.includes("hush"));
    }
  }
});

test("dashboard: one stream of events too many ends the oldest, which is told", async () => {
  const clock = new SteppedClock();
  const queue = counted(new Queue());
  const handler = dashboard(queue, { maxStreams: 2, interval: 10, clock });
  const open = async (): Promise<Events> =>
    new Events(await handler(new Request("http://localhost/events")));
  const first = await open();
  await first.next();
  const waiting = first.text(); // for the next sample
  const second = await open();
  const third = await open();
  assertEquals(await waiting, "event: replaced\ndata:\n\n");
  await second.next();
  await second.cancel(); // makes room by itself
  const fourth = await open();
  await third.next();
  await fourth.next();
  const fifth = await open();
  // Who was not reading is told when it does.
  assertEquals(await third.text(), "event: replaced\ndata:\n\n");
  const looks = queue.looks;
  await fifth.next();
  assert(queue.looks > looks);
  await fourth.cancel();
  await fifth.cancel();
  assertEquals(clock.nextAt, undefined, "no timer is left");
});

test("dashboard: an authorize that throws lets nobody in, and is printed", async () => {
  const queue = new Queue({ name: "secret name" });
  const printed: unknown[] = [];
  const { error } = console;
  console.error = (...parts: unknown[]): void => {
    printed.push(...parts);
  };
  const reason = new Error("secret reason");
  try {
    for (
      const authorize of [() => {
        throw reason;
      }, () => Promise.reject(reason)]
    ) {
      const response = await ask(queue, "/metrics", { authorize });
      assertEquals([response.status, await response.text()], [401, ""]);
    }
  } finally {
    console.error = error;
  }
  assertEquals(printed.filter((part) => part === reason).length, 2);
});

test("dashboard: other methods and paths are refused", async () => {
  const queue = new Queue();
  for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
    const response = await ask(queue, "/events", {}, { method });
    assertEquals(response.status, 405);
    assertEquals(response.headers.get("allow"), "GET, HEAD");
  }
  for (const path of ["/nothing", "/events/x", "/a/metrics.txt", "/Events"]) {
    assertEquals((await ask(queue, path)).status, 404, path);
  }
  for (const path of ["/", "/a/b/", "/a/events", "/metrics?x=/y"]) {
    const response = await ask(queue, path);
    assertEquals(response.status, 200, path);
    await response.body!.cancel();
  }
});

test("dashboard: HEAD answers as GET does, without a body or a sample", async () => {
  const clock = new SteppedClock();
  const queue = new Queue();
  for (const path of ["/", "/events", "/metrics"]) {
    const response = await ask(queue, path, { clock }, { method: "HEAD" });
    const full = await ask(queue, path, { clock });
    assertEquals([response.status, response.body], [200, null]);
    assertEquals(
      response.headers.get("content-type"),
      full.headers.get("content-type"),
    );
    await full.body!.cancel();
  }
  assertEquals(clock.set, 0);
});

test("dashboard: metrics are what Prometheus reads", async () => {
  const clock = new SteppedClock();
  const jobs = new Queue<number>({
    name: "jobs",
    highWaterMark: 2,
    timestamps: true,
    clock,
  });
  jobs.tryPut(1);
  jobs.tryPut(2);
  const waiting = jobs.put(3);
  clock.advance(1500);
  const mails = new Queue({ highWaterMark: Infinity });
  mails.abort();
  const response = await ask([jobs, mails], "/metrics", { clock });
  assertEquals(
    response.headers.get("content-type"),
    "text/plain; version=0.0.4; charset=utf-8",
  );
  const text = await response.text();
  const values = new Map<string, string>();
  let metric = "";
  for (const line of text.trimEnd().split("\n")) {
    const help = /^# HELP ([a-z_]+) \S.*\.$/.exec(line);
    const type = /^# TYPE ([a-z_]+) (counter|gauge)$/.exec(line);
    if (help !== null) metric = help[1]!;
    else if (type !== null) {
      assertEquals(type[1], metric);
      assertEquals(metric.endsWith("_total"), type[2] === "counter");
    } else {
      const sample = /^([a-z_]+)(\{.*\}) (\+Inf|[\d.]+)$/.exec(line)!;
      assertEquals(sample[1], metric);
      const key = `${metric.slice("highwater_queue_".length)} ${sample[2]}`;
      assert(!values.has(key), "each line once");
      values.set(key, sample[3]!);
    }
  }
  const of = (name: string, labels: string): string | undefined =>
    values.get(`${name} {${labels}}`);
  const first = 'queue="jobs",index="0"';
  const second = 'queue="",index="1"';
  assertEquals(of("length", first), "2");
  assertEquals(of("high_water_mark", first), "2");
  assertEquals(of("waiting_puts", first), "1");
  assertEquals(of("put_total", first), "2");
  assertEquals(of("oldest_age_seconds", first), "1.5");
  assertEquals(of("open", first), "1");
  assertEquals(of("high_water_mark", second), "+Inf");
  assertEquals(of("oldest_age_seconds", second), undefined);
  assertEquals(of("open", second), "0");
  jobs.tryGet();
  await waiting;
});

test("dashboard: events tell what monitor does, of each queue in turn", async () => {
  const clock = new SteppedClock();
  const jobs = new Queue<number>({ name: "jobs", highWaterMark: 10 });
  const mails = new Queue<number>({ name: "mails", highWaterMark: Infinity });
  for (let item = 0; item < 9; item++) jobs.tryPut(item);
  const response = await ask([jobs, mails], "/events", {
    clock,
    interval: 100,
    sustained: 100,
  });
  assertEquals(response.headers.get("content-type"), "text/event-stream");
  const events = new Events(response);
  const first = await events.next();
  assertEquals(
    [first.name, first.index, first.length, first.highWaterMark],
    ["jobs", 0, 9, 10],
  );
  assertEquals([first.timeToFull, first.alerts], [null, []]);
  const second = await events.next();
  assertEquals([second.name, second.highWaterMark], ["mails", null]);

  const reading = events.next();
  await turns();
  assertEquals(clock.pending, 1);
  clock.advance(100);
  assertEquals((await reading).alerts, ["backlog"]);
  await events.cancel();
});

test("dashboard: a browser that goes away takes the timer with it", async () => {
  const clock = new SteppedClock();
  const queue = counted(new Queue());
  const events = new Events(await ask(queue, "/events", { clock }));
  await events.next();
  const looks = queue.looks;
  const reading = events.text();
  await turns();
  assertEquals(clock.pending, 1);
  await events.cancel();
  assertEquals(clock.pending, 0);
  assertEquals(await reading, "");
  clock.advance(10_000);
  await turns();
  assertEquals(queue.looks, looks);
});

test("dashboard: 200 browsers that never read make no sample, no timer, and hold little", async () => {
  const clock = new SteppedClock();
  const queue = counted(new Queue({ name: "x".repeat(10_000) }));
  const handler = dashboard(queue, { clock, interval: 1 });
  const open: Response[] = [];
  for (let browser = 0; browser < 200; browser++) {
    open.push(await handler(new Request("http://localhost/events")));
  }
  await turns();
  assertEquals([queue.looks, clock.set], [0, 0]);

  // Half of them read a little and then stop.
  const readers = open.slice(100).map((response) => new Events(response));
  for (const reader of readers) await reader.next();
  const looks = queue.looks;
  await clock.pass(10_000);
  assertEquals([queue.looks, clock.pending], [looks, 0]);
  for (const reader of readers) await reader.cancel();
});

test("dashboard: memory stays flat while browsers do not read", async () => {
  const clock = new SteppedClock();
  const queue = new Queue({ name: "x".repeat(100_000) });
  const handler = dashboard(queue, { clock, interval: 1 });
  const held: Events[] = [];
  for (let browser = 0; browser < 200; browser++) {
    const request = new Request("http://localhost/events");
    held.push(new Events(await handler(request)));
    await held[browser]!.next();
  }
  await collectGarbage();
  const before = heapUsed();
  for (let second = 0; second < 100; second++) {
    clock.advance(1000);
    await turns();
  }
  await collectGarbage();
  // One frame each would be 20 MB, and a second each 20 GB.
  assertLess(heapUsed() - before, 4_000_000);
  for (const reader of held) await reader.cancel();
}, { skip: canCollectGarbage() ? undefined : "run with --expose-gc" });

function heapUsed(): number {
  return (globalThis as unknown as {
    process: { memoryUsage(): { heapUsed: number } };
  }).process.memoryUsage().heapUsed;
}

test("dashboard: the events end with the last queue", async () => {
  const clock = new SteppedClock();
  const queues = [new Queue<number>(), new Queue<number>()];
  const events = new Events(await ask(queues, "/events", { clock }));
  for (const queue of queues) queue.close();
  assertEquals([(await events.next()).state, (await events.next()).state], [
    "closed",
    "closed",
  ]);
  assertEquals(await events.text(), "event: end\ndata:\n\n");
  assertEquals(await events.text(), "");
  assertEquals(clock.pending, 0);
});

test("dashboard: says which argument it cannot use", () => {
  const queue = new Queue();
  const cases: [unknown, unknown, RegExp][] = [
    [queue, null, /dashboard: options must be an object, received null/],
    [queue, { authorize: 1 }, /dashboard: authorize must be a func.* 1$/],
    [
      queue,
      { maxStreams: 0 },
      /dashboard: maxStreams must be .* 1 or more.* 0$/,
    ],
    [queue, { title: 1 }, /dashboard: title must be a string, received 1$/],
    [queue, { interval: 0 }, /interval must be from 1 to .*, received 0$/],
    [queue, { low: 2 }, /low must be at most high, received 2 and 0.8$/],
    [queue, { clock: {} }, /clock must have now/],
    [[], {}, /queues must have one queue or more, received none$/],
    [5, {}, /queues must be a queue or iterable, received 5$/],
    [[{}], {}, /queues\[0\] must have stats\(\)/],
  ];
  for (const [queues, options, message] of cases) {
    const error = assertThrows(() =>
      dashboard(queues as Monitored, options as DashboardOptions)
    );
    assertMatch((error as Error).message, message);
  }
});
