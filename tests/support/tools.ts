/**
 * What the task scripts share: processes, the development tools that npm
 * installs, and the choice between JSR and the stand-ins. Runs on Deno.
 *
 * @module
 */

/** The folder of the repository, with a slash at its end. */
export const root: URL = new URL("../../", import.meta.url);

/** True where `CI=true`: whatever cannot run is then a failure. */
export const isCI: boolean = Deno.env.get("CI") === "true";

/** Node by major version, as named in `package.json`. */
export const nodeVersions: readonly number[] = [20, 22, 24];

const isWindows: boolean = Deno.build.os === "windows";
const scratch: URL = new URL(".cache/", root);

/** How a process ended. */
export interface Outcome {
  /** True if the process ended by itself with exit code 0. */
  success: boolean;
  /** Exit code, or that of the signal. */
  code: number;
  /** Standard output. */
  stdout: string;
  /** Standard error. */
  stderr: string;
}

/** How a process is run. */
export interface RunOptions {
  /** Variables beside those of this process. */
  env?: Record<string, string>;
  /** Sees the process once it runs. */
  onStart?: (child: Deno.ChildProcess) => void;
  /** After so many milliseconds the process is killed. The default: never. */
  timeout?: number;
}

/** The path of a file of the repository. */
export function pathOf(name: string): string {
  const path = decodeURIComponent(new URL(name, root).pathname);
  return isWindows ? path.slice(1) : path;
}

/** The path of a file for results, in a folder that git ignores. */
export function scratchPath(name: string): string {
  Deno.mkdirSync(scratch, { recursive: true });
  return pathOf(`.cache/${name}`);
}

/** Runs a program in the repository's folder and gathers what it prints. */
export async function run(
  program: string,
  args: string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const child = new Deno.Command(program, {
    args,
    cwd: pathOf("."),
    env: { NO_COLOR: "1", ...options.env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  options.onStart?.(child);
  let timer: ReturnType<typeof setTimeout> | undefined;
  if (options.timeout !== undefined) {
    timer = setTimeout(function () {
      child.kill("SIGKILL");
    }, options.timeout);
  }
  const { success, code, stdout, stderr } = await child.output();
  clearTimeout(timer);
  const decoder = new TextDecoder();
  return {
    success,
    code,
    stdout: decoder.decode(stdout),
    stderr: decoder.decode(stderr),
  };
}

/** Runs this very Deno. */
export function runDeno(
  args: string[],
  options: RunOptions = {},
): Promise<Outcome> {
  return run(Deno.execPath(), args, options);
}

/** The path of a Node that npm installed. */
export function nodePath(major: number): string {
  return pathOf(`node_modules/node${major}/bin/node${isWindows ? ".exe" : ""}`);
}

/** The path of a program in `node_modules/.bin`. */
export function binPath(name: string): string {
  return pathOf(`node_modules/.bin/${name}${isWindows ? ".cmd" : ""}`);
}

/** Every file below a folder whose name ends so, sorted. */
export function filesBelow(folder: string, ending: string): string[] {
  const found: string[] = [];
  for (const entry of Deno.readDirSync(new URL(`${folder}/`, root))) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) found.push(...filesBelow(path, ending));
    else if (entry.name.endsWith(ending)) found.push(path);
  }
  return found.sort();
}

/** True if the path exists. */
export function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/**
 * Installs the tools of `package.json`, unless what is in `node_modules` was
 * installed from the same `package.json` and `package-lock.json`.
 */
export async function installTools(): Promise<void> {
  const wanted = await fingerprint();
  const stamp = pathOf("node_modules/.highwater");
  if (exists(stamp) && Deno.readTextFileSync(stamp) === wanted) return;
  console.log("Installing the development tools with npm (once) ...");
  const npm = isWindows ? "npm.cmd" : "npm";
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  let outcome: Outcome;
  try {
    outcome = await run(npm, ["ci", ...quiet]);
    if (!outcome.success) {
      outcome = await run(npm, ["install", "--no-save", ...quiet]);
    }
  } catch (error) {
    throw new Error("Cannot install the development tools: npm is missing", {
      cause: error,
    });
  }
  // npm leaves an optional package out without a word, if it does not fit.
  const listed = JSON.parse(Deno.readTextFileSync(pathOf("package.json"))) as {
    optionalDependencies: Record<string, string>;
  };
  const missing = [
    ...Object.keys(listed.optionalDependencies).map(function (name) {
      return pathOf(`node_modules/${name}`);
    }),
    ...nodeVersions.map(nodePath),
  ].filter(function (path) {
    return !exists(path);
  });
  if (!outcome.success || missing.length > 0) {
    throw new Error(
      `Cannot install the development tools:\n` +
        `${outcome.stdout}\n${outcome.stderr}\n` +
        missing.map(function (path) {
          return `${path} is missing`;
        }).join("\n"),
    );
  }
  Deno.writeTextFileSync(stamp, wanted);
}

/** What only tests and benchmarks import, and is too large for the imports of `deno.json`: Deno fetches those for the demo as well. */
const LARGE: readonly string[] = [
  "bullmq",
  "miniflare",
  "piscina",
  "poolifier",
  "tinypool",
  "workerpool",
];

/**
 * The flag with which Deno finds `@std/assert` and `@std/async`, from JSR where
 * that can be reached or has been, else the stand-ins, and the packages that are in
 * `package.json` alone. Says in one line which it is.
 */
export async function standardLibraryFlags(): Promise<string[]> {
  const config = readJSON("deno.json") as { imports: Record<string, string> };
  const { optionalDependencies: versions } = readJSON("package.json") as {
    optionalDependencies: Record<string, string>;
  };
  const imports: Record<string, string> = { ...config.imports };
  for (const name of LARGE) imports[name] = `npm:${name}@${versions[name]}`;
  const names = ["assert", "async"];
  if (await canLoad(names.map((name) => config.imports[`@std/${name}`]!))) {
    console.log("Assertions: jsr:@std/assert and jsr:@std/async on Deno.");
  } else {
    console.log(
      "Assertions: the stand-ins of tests/stand_ins (JSR cannot be reached).",
    );
    for (const name of names) {
      imports[`@std/${name}`] = `../tests/stand_ins/${name}/mod.ts`;
    }
  }
  const path = scratchPath("import_map.json");
  Deno.writeTextFileSync(path, JSON.stringify({ imports }, null, 2) + "\n");
  return [`--import-map=${path}`];
}

function readJSON(name: string): unknown {
  return JSON.parse(Deno.readTextFileSync(pathOf(name)));
}

/** Asks Deno itself: it knows the registry, its proxy and its cache. */
async function canLoad(specifiers: string[]): Promise<boolean> {
  const outcome = await runDeno(["cache", "--no-config", ...specifiers], {
    timeout: 20_000,
  });
  return outcome.success;
}

async function fingerprint(): Promise<string> {
  const texts = ["package.json", "package-lock.json"].map(function (name) {
    const path = pathOf(name);
    return exists(path) ? Deno.readTextFileSync(path) : "";
  });
  const bytes = new TextEncoder().encode(texts.join("\0"));
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return new Uint8Array(digest).toHex();
}
