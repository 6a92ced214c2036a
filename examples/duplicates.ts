/**
 * What finding duplicates is made of, whoever does the hashing.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

/** A file. */
export interface Found {
  path: string;
  size: number;
}

/** A file that was read. */
export interface Hashed extends Found {
  hash: string;
}

/** Files with the same contents. */
export interface Group {
  size: number;
  hash: string;
  paths: string[];
}

/** All files below a folder, links not followed; what cannot be looked at is complained of. */
export async function* walk(
  root: string,
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
      const status = await lstat(path).catch(complain);
      if (status !== undefined) yield { path, size: status.size };
    }
  }
}

/** The SHA-256 of a file; `read` hears of every chunk. */
export async function hashFile(
  path: string,
  read: (length: number) => void = () => {},
): Promise<Hashed> {
  const digest = createHash("sha256");
  let size = 0;
  for await (const chunk of createReadStream(path)) {
    digest.update(chunk);
    size += chunk.length;
    read(chunk.length);
  }
  return { path, size, hash: digest.digest("hex") };
}

/** Those of the files that are there more than once, the most wasteful first. */
export async function grouped(
  files: AsyncIterable<Hashed>,
): Promise<Group[]> {
  const byHash = new Map<string, Group>();
  for await (const { path, size, hash } of files) {
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

/** How many bytes the spare copies take. */
export function wasted({ size, paths }: Group): number {
  return size * (paths.length - 1);
}

/** A number of bytes, for people. */
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
