import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Histogram, Sampling } from "../../../src/flow/consume/histogram.ts";
import { SlidingWindow } from "../../../src/flow/consume/rate.ts";
import { test } from "../../support/harness.ts";
import { parameters } from "../../support/properties.ts";

test("histogram: without times all quantiles are 0", () => {
  assertEquals(new Histogram().quantiles(), { p50: 0, p90: 0, p99: 0, max: 0 });
});

test("histogram: quantiles are off by a tenth at most, and the longest by nothing", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.002, max: 1e9, noNaN: true }), {
        minLength: 1,
        maxLength: 200,
      }),
      (times) => {
        const histogram = new Histogram();
        for (const time of times) histogram.record(time);
        const sorted = times.toSorted((a, b) => a - b);
        const { max, ...quantiles } = histogram.quantiles();
        assertEquals(max, sorted.at(-1));
        for (const [name, found] of Object.entries(quantiles)) {
          const share = Number(name.slice(1)) / 100;
          const exact = sorted[Math.ceil(share * sorted.length) - 1]!;
          assert(
            found >= exact * 0.999999 && found <= exact * 1.1,
            `${name}: ${found} instead of ${exact}`,
          );
        }
      },
    ),
    parameters(300),
  );
});

test("histogram: nothing, less than a microsecond and a century have a bucket, too", () => {
  const histogram = new Histogram();
  for (const time of [0, 1e-9, 3.2e12]) histogram.record(time);
  const { p50, max } = histogram.quantiles();
  assertEquals([p50, max], [2 ** -10, 3.2e12]);
  const zeros = new Histogram();
  zeros.record(0);
  assertEquals(zeros.quantiles(), { p50: 0, p90: 0, p99: 0, max: 0 });
});

test("rate: whoever waits as told never has more than limit in any interval, and waits no longer than needed", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 50 }),
      fc.array(fc.nat({ max: 60 }), { maxLength: 60 }),
      (limit, interval, pauses) => {
        const rate = new SlidingWindow("test", { limit, interval });
        const begun: number[] = [];
        let now = 0;
        for (const pause of pauses) {
          now += pause % 7 === 0 ? pause : 0;
          const wait = rate.waitFrom(now);
          const recent = begun.filter((at) => at > now - interval);
          assertEquals(wait > 0, recent.length >= limit);
          now += wait;
          if (wait > 0) {
            assertEquals(now, begun.at(-limit)! + interval);
          }
          rate.note(now);
          begun.push(now);
        }
      },
    ),
    parameters(300),
  );
});

test("sampling: slow ones are all measured, of many quick ones one of sixteen", () => {
  const slow = new Sampling();
  for (let call = 0; call < 3_000; call++) {
    assertEquals(slow.next(), 1);
    slow.note(1);
  }
  const quick = new Sampling();
  let measured = 0;
  let stoodFor = 0;
  for (let call = 0; call < 257 + 16_000; call++) {
    const weight = quick.next();
    if (weight === 0) continue;
    measured++;
    stoodFor += weight;
    quick.note(0.001);
  }
  assertEquals([measured, stoodFor], [257 + 1_000, 257 + 16_000]);
});

test("sampling: what follows a slow one is measured", () => {
  const sampling = new Sampling();
  for (let call = 0; call < 256; call++) {
    assertEquals(sampling.next(), 1);
    sampling.note(0);
  }
  assertEquals(sampling.next(), 1);
  for (let call = 0; call < 15; call++) assertEquals(sampling.next(), 0);
  assertEquals(sampling.next(), 16);
  sampling.note(20);
  assertEquals([sampling.next(), sampling.next()], [1, 1]);
});

test("sampling: as many are measured when 64 run at a time", () => {
  const sampling = new Sampling();
  const running: number[] = [];
  let measured = 0;
  for (let call = 0; call < 256 + 16_000; call++) {
    const weight = sampling.next();
    if (weight > 0) measured++;
    running.push(weight);
    if (running.length > 64 && running.shift()! > 0) sampling.note(0.001);
  }
  assert(measured < 256 + 64 + 1_001, `${measured} were measured`);
});
