import { fanInCases } from "../conformance/flow_fan_in.ts";
import { test } from "../support/harness.ts";

for (const { name, run } of fanInCases) {
  test(`on every runtime: ${name}`, run);
}
