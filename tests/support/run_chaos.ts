/**
 * `deno task chaos [redis|nats] [--jobs 20000] [--seed 1]`: what the queues on
 * engines survive, at length.
 *
 * @module
 */

import { installTools, pathOf, standardLibraryFlags } from "./tools.ts";

await installTools();
const { code } = await new Deno.Command(Deno.execPath(), {
  args: [
    ...["run", "-A", "--no-check", ...await standardLibraryFlags()],
    ...[pathOf("tests/support/chaos_main.ts"), ...Deno.args],
  ],
  cwd: pathOf("."),
}).spawn().status;
Deno.exit(code);
