import { readdirSync, readFileSync } from "node:fs";
import { assert, assertEquals, assertGreater, assertThrows } from "@std/assert";
import { consume, monitor, Queue } from "../mod.ts";
import {
  checkDelay,
  checkPeriod,
  checkTimeLimit,
  keepAlive,
  setAlarm,
  systemClock,
} from "../src/clock.ts";
import { EngineHandle } from "../src/engines/core/handle.ts";
import { Retry } from "../src/retry.ts";
import {
  connect,
  serve,
  SharedQueue,
  type WorkerLike,
  WorkerPool,
} from "../src/threads.ts";
import { test } from "./support/harness.ts";
import { type Kept, MemoryEngine } from "./support/memory_engine.ts";
import { turn } from "./support/properties.ts";
import { SteppedClock } from "./support/stepped_clock.ts";

/** More is 1 for the timers of all platforms. */
const LONGEST = 2 ** 31 - 1;
const THIRTY_DAYS = 30 * 86_400_000;

/** A timer that nobody has set. */
class FakeTimer {
  readonly delay: number;
  readonly ring: () => void;
  isCleared = false;
  keepsAlive = true;

  constructor(delay: number, ring: () => void) {
    this.delay = delay;
    this.ring = ring;
  }

  ref(): void {
    this.keepsAlive = true;
  }

  unref(): void {
    this.keepsAlive = false;
  }
}

/** While the body runs, the timers of the platform that would be long ring when the test says so. */
async function withLongTimers(
  body: (timers: readonly FakeTimer[]) => void | Promise<void>,
): Promise<void> {
  const timers: FakeTimer[] = [];
  const { setTimeout, setInterval, clearTimeout } = globalThis;
  const isLong = (delay: unknown): delay is number => Number(delay) > 1e6;
  const faked = (
    real: (...args: never[]) => unknown,
  ) =>
  (ring: () => void, delay?: number, ...rest: unknown[]): unknown => {
    if (!isLong(delay)) {
      return real(...[ring, delay, ...rest] as unknown as never[]);
    }
    const timer = new FakeTimer(delay, ring);
    timers.push(timer);
    return timer;
  };
  const replaced = {
    setTimeout: faked(setTimeout),
    setInterval: faked(setInterval),
    clearTimeout(timer: unknown): void {
      if (timer instanceof FakeTimer) timer.isCleared = true;
      else clearTimeout(timer as number);
    },
  };
  Object.assign(globalThis, replaced);
  try {
    await body(timers);
  } finally {
    Object.assign(globalThis, { setTimeout, setInterval, clearTimeout });
  }
}

test("clock: the machine's waits for 30 days, by one timer of the platform after the other", () =>
  withLongTimers((timers) => {
    let rung = 0;
    systemClock.setTimer(() => rung++, THIRTY_DAYS);
    assertEquals(timers.map(({ delay }) => delay), [LONGEST]);
    timers[0]!.ring();
    assertEquals(rung, 0);
    assertEquals(timers.map(({ delay }) => delay), [
      LONGEST,
      THIRTY_DAYS - LONGEST,
    ]);
    timers[1]!.ring();
    assertEquals([rung, timers.length], [1, 2]);
  }));

test("clock: a long alarm can be taken back whenever it waits", () =>
  withLongTimers((timers) => {
    const alarm = systemClock.setTimer(() => {
      throw new Error("was taken back");
    }, Number.MAX_SAFE_INTEGER);
    for (let step = 0; step < 10; step++) timers[step]!.ring();
    assertEquals(timers.map(({ delay }) => delay), Array(11).fill(LONGEST));
    systemClock.clearTimer(alarm);
    assert(timers[10]!.isCleared);
  }));

test("clock: a long alarm keeps nobody alive if told so, by none of its timers", () =>
  withLongTimers((timers) => {
    const alarm = systemClock.setTimer(() => {}, 2 * THIRTY_DAYS);
    keepAlive(alarm, false);
    timers[0]!.ring();
    assertEquals(timers.map(({ keepsAlive }) => keepsAlive), [false, false]);
    keepAlive(alarm, true);
    timers[1]!.ring();
    assertEquals(timers.map(({ keepsAlive }) => keepsAlive), [
      false,
      true,
      true,
    ]);
    systemClock.clearTimer(alarm);
  }));

test("clock: the longest timer of the platform is one timer; a little more is not", () =>
  withLongTimers((timers) => {
    systemClock.setTimer(() => {}, LONGEST);
    systemClock.setTimer(() => {}, LONGEST + 0.5);
    assertEquals(timers.map(({ delay }) => delay), [LONGEST, LONGEST]);
  }));

test("clock: there is no alarm at Infinity", () => {
  const clock = new SteppedClock();
  assertEquals(setAlarm(clock, () => {}, Infinity), undefined);
  assertEquals(clock.set, 0);
});

test("clock: a limit may be Infinity, a delay and a period may not", () => {
  const good = [1, 0.5, 2 ** 31, Number.MAX_SAFE_INTEGER];
  for (const value of good) {
    checkDelay("wait", "delay", value);
    checkPeriod("wait", "period", value);
    checkTimeLimit("wait", "limit", value);
  }
  checkDelay("wait", "delay", 0);
  checkTimeLimit("wait", "limit", Infinity);
  for (const value of [-1, NaN, -Infinity, 2 ** 53]) {
    assertThrows(() => checkDelay("wait", "delay", value), RangeError);
    assertThrows(() => checkPeriod("wait", "period", value), RangeError);
    assertThrows(() => checkTimeLimit("wait", "limit", value), RangeError);
  }
  assertThrows(() => checkDelay("wait", "delay", Infinity), RangeError);
  assertThrows(() => checkPeriod("wait", "period", Infinity), RangeError);
  assertThrows(() => checkPeriod("wait", "period", 0), RangeError);
  for (const value of ["1", undefined, null, 1n]) {
    for (const check of [checkDelay, checkPeriod, checkTimeLimit]) {
      assertThrows(() => check("wait", "time", value), TypeError, "time must");
    }
  }
});

test("clock: nothing in src but the clock sets timers of the platform", () => {
  const root = new URL("../src/", import.meta.url);
  const files = (readdirSync(root, { recursive: true }) as string[])
    .map((file) => file.replaceAll("\\", "/"))
    .filter((file) => file.endsWith(".ts"));
  assertGreater(files.length, 80);
  const setting = files.filter((file) =>
    /\b(set|clear)(Timeout|Interval)\(/.test(
      readFileSync(new URL(file, root), "utf8").replace(/\/\*[^]*?\*\//g, ""),
    )
  );
  assertEquals(setting, ["clock.ts"]);
});

/** What waits for a long time; each returns what ends it. */
const LONG_WAITS: Record<string, () => Promise<() => unknown>> = {
  "nack({ delay })": async () => {
    const queue = new Queue<number>();
    await queue.put(1);
    (await queue.receive()).nack({ delay: THIRTY_DAYS });
    return () => queue.abort();
  },
  "receive({ visibility })": async () => {
    const queue = new Queue<number>();
    await queue.put(1);
    const delivery = await queue.receive({ visibility: THIRTY_DAYS });
    return () => delivery.ack();
  },
  "extend()": async () => {
    const queue = new Queue<number>();
    await queue.put(1);
    const delivery = await queue.receive();
    delivery.extend(THIRTY_DAYS);
    return () => delivery.ack();
  },
  "getMany({ linger })": async () => {
    const queue = new Queue<number>();
    await queue.put(1);
    const batch = queue.getMany(2, { linger: THIRTY_DAYS });
    return async () => {
      queue.close();
      assertEquals(await batch, [1]);
    };
  },
  "SharedQueue.getMany({ linger })": async () => {
    const queue = new SharedQueue<number>();
    await queue.put(1);
    const batch = queue.getMany(2, { linger: THIRTY_DAYS });
    return async () => {
      queue.close();
      assertEquals(await batch, [1]);
      queue.detach();
    };
  },
  "consume({ timeout })": () => held({ timeout: THIRTY_DAYS }),
  "consume({ visibility })": () => held({ visibility: 3 * THIRTY_DAYS }),
  "consume({ grace }) after the stop": async () => {
    const stop = new AbortController();
    const end = await held({ grace: THIRTY_DAYS, signal: stop.signal });
    stop.abort();
    return end;
  },
  "consume({ retry: { delay } })": async () => {
    const stop = new AbortController();
    const running = consume([1], () => {
      throw new Error("again");
    }, {
      retry: { delay: THIRTY_DAYS, maxDelay: THIRTY_DAYS, jitter: 0 },
      signal: stop.signal,
      onUndelivered: () => {},
    });
    await turn();
    return () => {
      stop.abort();
      return running;
    };
  },
  "consume({ rate: { interval } })": async () => {
    const stop = new AbortController();
    const running = consume([1, 2], () => {}, {
      rate: { limit: 1, interval: THIRTY_DAYS },
      signal: stop.signal,
      onUndelivered: () => {},
    });
    await turn();
    return () => {
      stop.abort();
      return running;
    };
  },
  "consume({ batch: { linger } })": async () => {
    const queue = new Queue<number>();
    await queue.put(1);
    const running = consume(queue.readable, () => {}, {
      batch: { max: 2, linger: THIRTY_DAYS },
    });
    await turn();
    return () => {
      queue.close();
      return running;
    };
  },
  "monitor({ interval })": async () => {
    const samples = monitor(new Queue(), { interval: THIRTY_DAYS }).getReader();
    await samples.read();
    const next = samples.read();
    await turn();
    return async () => {
      await samples.cancel();
      assertEquals((await next).done, true);
    };
  },
  "connect({ heartbeat })": async () => {
    const { port1, port2 } = new MessageChannel();
    const queue = new Queue<number>();
    const server = serve(queue, port1);
    const there = connect<number>(port2, { heartbeat: THIRTY_DAYS });
    await there.put(1);
    assertEquals(await queue.get(), 1);
    return async () => {
      await there.disconnect();
      await server.stop();
      port1.close();
      port2.close();
    };
  },
  "a lease of an engine": async () => {
    const engine = new MemoryEngine(systemClock);
    const queue = new EngineHandle<number, Kept>("jobs", engine.connect(), {
      visibility: THIRTY_DAYS,
    });
    await queue.put(1);
    const delivery = await queue.receive();
    delivery.signal;
    return async () => {
      await delivery.ack();
      await queue.close();
    };
  },
  "WorkerPool({ startTimeout })": async () => {
    const { port1, port2 } = new MessageChannel();
    const worker = Object.assign(port1, { terminate() {} });
    const pool = new WorkerPool(() => worker as unknown as WorkerLike, {
      size: 1,
      startTimeout: THIRTY_DAYS,
    });
    await turn();
    return async () => {
      pool.abort();
      await pool.closed.catch(() => {});
      port1.close();
      port2.close();
    };
  },
};

async function held(
  options: Parameters<typeof consume<number>>[2],
): Promise<() => unknown> {
  const queue = new Queue<number>();
  await queue.put(1);
  queue.close();
  let finish!: () => void;
  const running = consume(
    queue,
    () => new Promise<void>((resolve) => finish = resolve),
    options as { batch?: undefined },
  );
  await turn();
  return () => {
    finish();
    return running;
  };
}

for (const [name, begin] of Object.entries(LONG_WAITS)) {
  test(`clock: ${name} waits for 30 days, if told so`, () =>
    withLongTimers(async (timers) => {
      const end = await begin();
      const { length } = timers;
      assertGreater(length, 0);
      for (const { ring } of timers.slice()) ring();
      assertEquals(timers.length, 2 * length);
      const delays = timers.map(({ delay }) => delay);
      assert(delays.every((delay) => delay <= LONGEST), `${delays}`);
      await end();
    }));
}

test("clock: what waits for ever sets no alarm", async () => {
  const clock = new SteppedClock();
  const queue = new Queue<number>({ clock });
  await queue.put(1);
  const delivery = await queue.receive({ visibility: Infinity });
  assertEquals(delivery.extend(Infinity), true);
  assertEquals(delivery.ack(), true);
  await queue.put(2);
  queue.close();
  const stop = new AbortController();
  let finish!: () => void;
  const running = consume(
    queue,
    () => new Promise<void>((resolve) => finish = resolve),
    {
      timeout: Infinity,
      grace: Infinity,
      visibility: Infinity,
      signal: stop.signal,
      clock,
    },
  );
  await turn();
  stop.abort();
  await turn();
  finish();
  assertEquals((await running).stopped, true);
  assertEquals(clock.set, 0);
});

test("clock: a queue lingers on its own", async () => {
  const clock = new SteppedClock();
  const queue = new Queue<number>({ clock });
  await queue.put(1);
  const batch = queue.getMany(2, { linger: Number.MAX_SAFE_INTEGER });
  assertEquals(clock.nextAt, Number.MAX_SAFE_INTEGER);
  clock.ring();
  assertEquals(await batch, [1]);
});

test("clock: a delay that has grown without end is still one", () => {
  const always = { attempts: 9_999, jitter: 0, maxDelay: Infinity };
  const random = (): number => 0;
  const growing = new Retry("wait", { ...always, delay: 1 }, random);
  assertEquals(growing.delayAfter(3), 4);
  assertEquals(growing.delayAfter(5_000), Number.MAX_SAFE_INTEGER);
  const none = new Retry("wait", { ...always, delay: 0 }, random);
  assertEquals(none.delayAfter(5_000), 0);
});

test("clock: the end of a SharedQueue is seen by consume though its rate allows no call", async () => {
  const clock = new SteppedClock();
  const queue = new SharedQueue<number>();
  await queue.putMany([0, 1]);
  const running = consume(queue, () => {}, {
    rate: { limit: 1, interval: THIRTY_DAYS },
    clock,
  });
  for (let count = 0; count < 10; count++) await turn();
  assertEquals(await queue.get(), 1); // it was left to others
  queue.close();
  assertEquals((await running).processed, 1);
  assertEquals(clock.now(), 0);
  queue.detach();
});
