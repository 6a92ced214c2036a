/**
 * `deno task tools`: installs what `package.json` lists, if it is not there.
 *
 * @module
 */

import { installTools } from "./tools.ts";

await installTools();
