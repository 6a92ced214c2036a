/**
 * Examples as processes of their own, on the runtime that runs the test.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { runtime } from "./harness.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** How a process ended, and what it said. */
export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Starts a file of `examples/`. */
export function startExample(
  name: string,
  args: string[],
  cwd: string = ROOT,
  stdin: "ignore" | "pipe" = "ignore",
): ChildProcess {
  return startScript(join("examples", name), args, cwd, stdin);
}

/** Starts a script of this project. */
export function startScript(
  path: string,
  args: string[],
  cwd: string = ROOT,
  stdin: "ignore" | "pipe" = "ignore",
): ChildProcess {
  const flags = {
    deno: () => ["run", "-A", "--quiet", "--no-check"],
    bun: () => [],
    node: () => ["--import", import.meta.resolve("tsx")],
  };
  const file = join(ROOT, path);
  return spawn(process.execPath, [...flags[runtime](), file, ...args], {
    cwd,
    stdio: [stdin, "pipe", "pipe"],
    env: { ...process.env, TSX_TSCONFIG_PATH: join(ROOT, "tsconfig.json") },
  });
}

/** Waits for the end of a process and collects what it says. */
export function outcomeOf(child: ChildProcess): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const output = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
    child.stdout?.on("data", (data) => output.stdout.push(data));
    child.stderr?.on("data", (data) => output.stderr.push(data));
    child.once("error", reject);
    child.once("close", (code) =>
      resolve({
        code,
        stdout: text(output.stdout),
        stderr: text(output.stderr),
      }));
  });
}

/** How a script of this project ended, and the lines that it said. */
export async function linesOf(
  path: string,
  ...args: string[]
): Promise<[code: number | null, ...lines: string[]]> {
  const { code, stdout } = await outcomeOf(startScript(path, args));
  return [code, ...stdout.trim().split("\n")];
}

/** Uses a folder that is there only so long. */
export async function withFolder(
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "highwater-"));
  try {
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function text(chunks: Uint8Array[]): string {
  return new TextDecoder().decode(Uint8Array.from(chunks.flatMap(bytesOf)));
}

function bytesOf(chunk: Uint8Array): number[] {
  return [...chunk];
}
