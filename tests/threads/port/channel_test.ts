import { portCases } from "../../conformance/flow_ports.ts";
import { test } from "../../support/harness.ts";

for (const { name, run } of portCases) test(name, run);
