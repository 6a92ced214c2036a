/**
 * The worker of `parallel_hash.ts`: a file for a task, its hash for a result.
 *
 * @module
 */

import { work } from "@highwater/queue/threads";
import { hashFile } from "./duplicates.ts";

work((path: string) => hashFile(path));
