/**
 * `deno task pack`: makes the tarball for npm and says where it is.
 *
 * @module
 */

import { pack } from "./pack.ts";

console.log(await pack());
