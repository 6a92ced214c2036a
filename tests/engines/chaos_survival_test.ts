/** `deno task chaos` in short: see `support/chaos.ts`. */

import { assert, assertEquals } from "@std/assert";
import { runChaos } from "../support/chaos.ts";
import { test } from "../support/harness.ts";
import { noNats } from "../support/nats_server.ts";
import { noRedis } from "../support/redis_server.ts";

for (const [engine, skip] of [["redis", noRedis], ["nats", noNats]] as const) {
  test(
    `chaos on ${engine}: nothing is lost, little runs twice, nobody dies for another`,
    async () => {
      const report = await runChaos({
        ...{ engine, jobs: 600, workers: 3, killEvery: 2_000, serverDeaths: 1 },
        visibility: 2_000,
        random: Math.random,
        say: () => {},
      });
      const { lost, innocent, failures, leftovers } = report;
      assertEquals({ lost, innocent, failures, leftovers }, {
        lost: [],
        innocent: [],
        failures: [],
        leftovers: [],
      });
      assertEquals(report.serverDeaths, 1);
      // One is poisonous, and one fails and another: 97; 7 and 314.
      assertEquals([report.dead, report.refused], [3, 2]);
      assertEquals(report.finished + report.dead, report.accepted);
      assert(report.twice.length <= report.twiceAtMost);
      assert(report.cut.length <= report.cutAtMost);
      // Redis has on its disk what it confirms.
      if (engine === "redis") {
        assertEquals([report.forgotten, report.unexplained], [[], []]);
      }
    },
    { skip, timeout: 600_000 },
  );
}
