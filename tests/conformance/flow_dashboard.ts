/**
 * What the dashboard needs of a runtime, in a few cases that run inside each.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Queue } from "../../mod.ts";
import { dashboard } from "../../src/dashboard.ts";
import type { RuntimeCase } from "./runtimes.ts";

/** The cases. */
export const dashboardCases: RuntimeCase[] = [
  {
    name: "dashboard: page, metrics and refusals",
    async run() {
      const queue = new Queue<number>({ name: "jobs" });
      queue.tryPut(1);
      const handler = dashboard(queue);
      const ask = async (path: string, method = "GET"): Promise<Response> =>
        await handler(new Request(`http://localhost${path}`, { method }));
      const page = await ask("/below/any/path/");
      assertEquals(page.status, 200);
      assertStringIncludes(await page.text(), ">jobs</h2>");
      assertStringIncludes(
        await (await ask("/metrics")).text(),
        'highwater_queue_put_total{queue="jobs",index="0"} 1\n',
      );
      assertEquals((await ask("/", "POST")).status, 405);
      assertEquals((await ask("/else")).status, 404);
      const head = await ask("/events", "HEAD");
      assertEquals([head.status, head.body], [200, null]);
    },
  },
  {
    name: "dashboard: events come as they are read, and end with the queue",
    async run() {
      const queue = new Queue<number>({ name: "jobs" });
      const handler = dashboard(queue, { interval: 1 });
      const response = await handler(new Request("http://localhost/events"));
      const reader = response.body!.getReader();
      const decoder = new TextDecoder();
      const next = async (): Promise<string> =>
        decoder.decode((await reader.read()).value);
      assertMatch(await next(), /^data: \{.*"length":0,.*\}\n\n$/);
      queue.tryPut(1);
      assertMatch(await next(), /^data: \{.*"length":1,.*\}\n\n$/);
      queue.abort();
      assertMatch(await next(), /^data: \{.*"state":"errored".*\}\n\n$/);
      assertEquals(await next(), "event: end\ndata:\n\n");
      assertEquals((await reader.read()).done, true);
    },
  },
];
