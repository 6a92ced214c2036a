/**
 * What every finder of duplicates does, wherever its queues are: it walks,
 * hashes, and groups by hash.
 *
 * @module
 */

import { unrecoverable } from "@highwater/queue";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

/** How often a file is tried. */
export const ATTEMPTS = 3;
/** What will be the same the next time. */
const HOPELESS = ["EACCES", "EISDIR", "ENAMETOOLONG", "ENOENT", "EPERM"];

/** A file to be hashed. */
export interface Found {
  path: string;
  size: number;
}

/** A file that was. */
export interface Hashed extends Found {
  hash: string;
}

/** Files with the same contents. */
export interface Group {
  size: number;
  hash: string;
  paths: string[];
}

/** How files are hashed. */
export interface HashOptions {
  /** Pretends that so many files cannot be read at first, from 0 to 1. */
  failRate?: number;
  /** Learns of bytes that were read. */
  onBytes?: (count: number) => void;
}

/** All files below a folder. What cannot be read is told, and left out. */
export async function* walk(
  root: string,
  minSize: number,
  complain: (error: Error) => undefined,
): AsyncGenerator<Found> {
  const folders = [root];
  for (
    let folder = folders.pop();
    folder !== undefined;
    folder = folders.pop()
  ) {
    const entries = await readdir(folder, { withFileTypes: true })
      .catch(complain) ?? [];
    for (const entry of entries) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      if (!entry.isFile()) continue;
      const size = (await lstat(path).catch(complain))?.size ?? -1;
      if (size >= minSize) yield { path, size };
    }
  }
}

/** A handler for `consume`: hashes a file and puts what it found. It knows nothing of where the file came from, nor where the result goes. */
export function hashInto(
  results: { put(hashed: Hashed): Promise<void> },
  options: HashOptions = {},
): (file: Found, context: { attempt: number }) => Promise<void> {
  return async function hashAndPut({ path }, { attempt }): Promise<void> {
    failAsAsked(path, attempt, options.failRate ?? 0);
    let hashed: Hashed;
    try {
      hashed = await hashFile(path, options);
    } catch (error) {
      const { code } = error as { code?: string };
      throw HOPELESS.includes(code ?? "") ? unrecoverable(error) : error;
    }
    await results.put(hashed);
  };
}

/** The SHA-256 of a file. */
export async function hashFile(
  path: string,
  { onBytes }: HashOptions = {},
): Promise<Hashed> {
  const digest = createHash("sha256");
  let size = 0;
  for await (const chunk of createReadStream(path)) {
    digest.update(chunk);
    size += chunk.length;
    onBytes?.(chunk.length);
  }
  return { path, size, hash: digest.digest("hex") };
}

/** The same files each time, for one to three attempts. */
function failAsAsked(path: string, attempt: number, failRate: number): void {
  if (failRate === 0) return;
  const digest = createHash("sha256").update(path).digest();
  const failures = 1 + digest.readUInt32LE(4) % ATTEMPTS;
  if (digest.readUInt32LE(0) / 2 ** 32 >= failRate) return;
  if (attempt <= failures) {
    throw new Error(`failed as asked, attempt ${attempt}: ${path}`);
  }
}

/** Those that are there more than once, the largest waste first. */
export function duplicatesAmong(files: Iterable<Hashed>): Group[] {
  const byHash = new Map<string, Group>();
  for (const { path, size, hash } of files) {
    const group = byHash.get(hash);
    if (group === undefined) byHash.set(hash, { size, hash, paths: [path] });
    else group.paths.push(path);
  }
  const groups = [...byHash.values()].filter(({ paths }) => paths.length > 1);
  for (const { paths } of groups) paths.sort();
  return groups.sort((one, other) =>
    wasted(other) - wasted(one) || (one.hash < other.hash ? -1 : 1)
  );
}

function wasted({ size, paths }: Group): number {
  return size * (paths.length - 1);
}

/** Prints the groups, and returns what they come to. */
export function printGroups(groups: Group[]): string {
  let spare = 0;
  let total = 0;
  for (const group of groups) {
    const { size, paths } = group;
    spare += paths.length - 1;
    total += wasted(group);
    console.log(`${bytes(wasted(group))} wasted: ${paths.length} × ${size} B`);
    for (const path of paths) console.log(`  ${printable(path)}`);
  }
  return `${spare} spare copies in ${groups.length} groups, ` +
    `${bytes(total)} wasted`;
}

/** A number of bytes in words. */
export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; count >= 1000 && unit < units.length - 1; unit++) count /= 1000;
  return `${count.toFixed(unit === 0 ? 0 : 1)} ${units[unit]}`;
}

/** A file name may hold anything, and could otherwise steer the terminal. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu,
    (character) => `\\u{${character.charCodeAt(0).toString(16)}}`,
  );
}
