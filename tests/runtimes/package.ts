/**
 * The package for npm in fresh projects: README's programs compiled against its
 * declarations and run, and what bundles of it weigh. Runs on Deno.
 *
 * @module
 */

import type { TestResult } from "../support/junit.ts";
import { pack } from "../support/pack.ts";
import {
  binPath,
  exists,
  nodePath,
  nodeVersions,
  type Outcome,
  pathOf,
  run,
} from "../support/tools.ts";

/** What bundles weigh at most, minified and gzipped, in kB: now, and what they should. */
const SIZES: readonly [code: string, bound: number, aim: number][] = [
  ['export { QueueClosedError } from "@highwater/queue"', 0.5, 0.3],
  ['export { Queue } from "@highwater/queue"', 13, 6],
  ['export { PriorityQueue } from "@highwater/queue"', 16, 8],
  ['export { WorkStealingQueue } from "@highwater/queue"', 16, 9],
  ['export { merge } from "@highwater/queue"', 14.5, 8],
  ['export { consume } from "@highwater/queue"', 11.5, 7],
  ['export { select } from "@highwater/queue"', 3, 1.5],
  ['export { Broadcast } from "@highwater/queue"', 10, 6],
  ['export { consume, Queue } from "@highwater/queue"', 21, 10],
  ['export * from "@highwater/queue"', 38, 22],
  ['export * from "@highwater/queue/cloudflare"', 19.5, 15],
  ['export * from "@highwater/queue/dashboard"', 13, 9],
  ['export * from "@highwater/queue/nats"', 29, 20],
  ['export * from "@highwater/queue/otel"', 6, 4],
  ['export * from "@highwater/queue/redis"', 28, 20],
  ['export * from "@highwater/queue/threads"', 44, 30],
];

/** What bundles weigh at most, minified, in kB, where the package does not say that it has no effects: constants that bundlers cannot calculate. */
const UNMARKED: readonly [code: string, bound: number][] = [
  ['export { QueueClosedError } from "@highwater/queue"', 1],
  ['import "@highwater/queue"', 0.2],
  ['import "@highwater/queue/cloudflare"', 0.2],
  ['import "@highwater/queue/dashboard"', 0.2],
  ['import "@highwater/queue/nats"', 0.2],
  ['import "@highwater/queue/otel"', 0.2],
  ['import "@highwater/queue/redis"', 10], // its scripts
  ['import "@highwater/queue/threads"', 0.4],
];

/** The members that are named by symbols, of all classes that have some. */
const SYMBOLS = `
import type { Delivery, Lane, PriorityQueue, Queue, WorkStealingQueue } from "@highwater/queue";
import type { CloudflareQueue } from "@highwater/queue/cloudflare";
import type { EngineHandle, NatsQueue } from "@highwater/queue/nats";
import type { Instrumentation } from "@highwater/queue/otel";
import type { RedisQueue } from "@highwater/queue/redis";
import type { PortQueue, ServedQueue, SharedQueue, WorkerPool } from "@highwater/queue/threads";

type Item = { id: number };

export async function lists(
  queues: Queue<Item> | PriorityQueue<Item> | Lane<Item> | SharedQueue<Item> | PortQueue<Item>,
): Promise<number> {
  const items: AsyncIterableIterator<Item> = queues[Symbol.asyncIterator]();
  for await (const { id } of items) return id;
  for await (const { id } of queues) return id;
  return 0;
}

export async function disposes(
  queue: Queue<Item> | PriorityQueue<Item> | WorkStealingQueue<Item> | SharedQueue<Item> | PortQueue<Item>
    | CloudflareQueue<Item> | NatsQueue<Item> | RedisQueue<Item> | EngineHandle<Item, never>
    | WorkerPool<Item, Item> | ServedQueue | Delivery<Item>,
  instrumentation: Instrumentation,
): Promise<void> {
  await using _queue = queue;
  using _instrumentation = instrumentation;
  const disposed: Promise<void> = Promise.resolve(queue[Symbol.asyncDispose]());
  await disposed;
}
`;

const PEER = "@opentelemetry/api";

/** Compiles only if the types of the peer are known: `any` would take the number. */
const TYPED_BY_PEER = `
import { instrument } from "@highwater/queue/otel";
import type { Queue } from "@highwater/queue";
import type { Meter } from "@opentelemetry/api";

export function attach(queue: Queue<string>, meter: Meter): void {
  instrument(queue, meter).stop();
  // @ts-expect-error A number is no meter.
  instrument(queue, 5);
}
`;

const ENTRIES = [
  "",
  "cloudflare",
  "dashboard",
  "nats",
  "otel",
  "redis",
  "threads",
]
  .map((name) => name === "" ? "@highwater/queue" : `@highwater/queue/${name}`);

/** A program of README that needs nothing but this package. */
interface Program {
  name: string;
  text: string;
}

/** Tries the package everywhere. */
export async function tryPackage(): Promise<TestResult[]> {
  const folder = await Deno.makeTempDir({ prefix: "highwater-package-" });
  try {
    return await new Trial(folder, await pack(), await programs()).run();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

class Trial {
  readonly #folder: string;
  readonly #tarball: string;
  readonly #programs: Program[];
  readonly #results: TestResult[] = [];

  constructor(folder: string, tarball: string, programs: Program[]) {
    this.#folder = folder;
    this.#tarball = tarball;
    this.#programs = programs;
  }

  async run(): Promise<TestResult[]> {
    await this.#inNode();
    await this.#inCommonJS();
    await this.#inBundles();
    await this.#inBun();
    await this.#besidePeer();
    await this.#weigh();
    await this.#weighUnmarked();
    await this.#readManifest();
    return this.#results;
  }

  async #inNode(): Promise<void> {
    const project = await this.#project("node", "module");
    await this.#writePrograms(project);
    await this.#compile(project, "Node, ES modules", {
      module: "nodenext",
      lib: ["es2022"],
      types: ["node"],
      typeRoots: [pathOf("node_modules/@types")],
    });
    for (const major of nodeVersions) {
      for (const { name } of this.#programs) {
        await this.#expect(
          `Node ${major} runs ${name}`,
          run(nodePath(major), [`${project}/out/${name}.js`]),
        );
      }
    }
  }

  async #inCommonJS(): Promise<void> {
    const project = await this.#project("commonjs", "commonjs");
    const lines = ENTRIES.map((entry, index) =>
      `import entry${index} = require("${entry}");\n` +
      `if (Object.keys(entry${index}).length === 0) throw new Error("${entry}");\n`
    );
    await Deno.writeTextFile(`${project}/all.ts`, lines.join(""));
    await this.#compile(project, "CommonJS", {
      module: "nodenext",
      lib: ["es2022"],
      types: ["node"],
      typeRoots: [pathOf("node_modules/@types")],
    });
    for (const major of nodeVersions) {
      await this.#expect(
        `Node ${major} requires all entries`,
        run(nodePath(major), [`${project}/out/all.js`]),
      );
    }
  }

  async #inBundles(): Promise<void> {
    const project = await this.#project("bundler", "module");
    await this.#writePrograms(project);
    await this.#compile(project, "a bundler", {
      module: "esnext",
      moduleResolution: "bundler",
      lib: ["es2022", "dom", "dom.iterable", "dom.asynciterable"],
      types: [],
    });
    const names = this.#programs.map(({ name }) => name);
    await this.#expect(
      "esbuild bundles all programs",
      this.#bundle(project, names.map((name) => `${project}/${name}.ts`)),
    );
    for (const name of names) {
      await this.#expect(
        `its bundle of ${name} runs`,
        run(nodePath(24), [`${project}/bundles/${name}.js`]),
      );
    }
  }

  async #inBun(): Promise<void> {
    const project = await this.#folderFor("bun", "module");
    await this.#expect(
      "Bun installs it",
      run(binPath("bun"), [
        "add",
        "--cwd",
        project,
        "--omit=peer",
        this.#tarball,
      ]),
    );
    await this.#writePrograms(project);
    for (const { name } of this.#programs) {
      await this.#expect(
        `Bun runs ${name}`,
        run(binPath("bun"), ["run", `${project}/${name}.ts`]),
      );
    }
  }

  /** Where the peer is installed, the declarations have its types. */
  async #besidePeer(): Promise<void> {
    const project = await this.#project("peer", "module");
    await Deno.mkdir(`${project}/node_modules/@opentelemetry`);
    await Deno.symlink(
      pathOf(`node_modules/${PEER}`),
      `${project}/node_modules/${PEER}`,
    );
    const found = await programs([...ENTRIES, PEER]);
    const beside = found.filter(({ text }) => text.includes(`"${PEER}"`));
    for (const { name, text } of beside) {
      await Deno.writeTextFile(`${project}/${name}.ts`, text);
    }
    await Deno.writeTextFile(`${project}/typed.ts`, TYPED_BY_PEER);
    await this.#compile(project, "beside the peer", {
      module: "nodenext",
      lib: ["es2022"],
      types: ["node"],
      typeRoots: [pathOf("node_modules/@types")],
    });
    for (const { name } of beside) {
      await this.#expect(
        `Node 24 runs ${name}`,
        run(nodePath(24), [`${project}/out/${name}.js`]),
      );
    }
    this.#note(
      "README shows the peer",
      beside.length > 0 ? undefined : "no program imports it",
    );
  }

  async #weigh(): Promise<void> {
    const project = await this.#project("sizes", "module");
    const inputs: string[] = [];
    for (const [index, [code]] of SIZES.entries()) {
      inputs.push(`${project}/size${index}.js`);
      await Deno.writeTextFile(inputs[index]!, code);
    }
    await this.#expect(
      "esbuild minifies all entries",
      this.#bundle(project, inputs, ["--minify"]),
    );
    const rows = ["  minified, gzip, bound and aim in kB:"];
    for (const [index, [code, bound, aim]] of SIZES.entries()) {
      const bundle = await Deno.readFile(`${project}/bundles/size${index}.js`);
      const kilobytes = await gzippedSize(bundle) / 1000;
      rows.push(
        [bundle.length / 1000, kilobytes, bound, aim]
          .map((size) => size.toFixed(1).padStart(6)).join("") + `  ${code}`,
      );
      this.#note(
        `a bundle of \`${code}\` weighs at most ${bound} kB`,
        kilobytes <= bound ? undefined : `it weighs ${kilobytes} kB`,
      );
    }
    console.log(rows.join("\n"));
  }

  async #weighUnmarked(): Promise<void> {
    const project = await this.#project("unmarked", "module");
    const manifest = `${project}/node_modules/@highwater/queue/package.json`;
    const { sideEffects: _, ...unmarked } = JSON.parse(
      await Deno.readTextFile(manifest),
    );
    await Deno.writeTextFile(manifest, JSON.stringify(unmarked));
    const inputs: string[] = [];
    for (const [index, [code]] of UNMARKED.entries()) {
      inputs.push(`${project}/unmarked${index}.js`);
      await Deno.writeTextFile(inputs[index]!, code);
    }
    await this.#expect(
      "esbuild minifies all entries that do not say they have no effects",
      this.#bundle(project, inputs, ["--minify"]),
    );
    for (const [index, [code, bound]] of UNMARKED.entries()) {
      const { size } = await Deno.stat(
        `${project}/bundles/unmarked${index}.js`,
      );
      this.#note(
        `no module has an effect: \`${code}\` keeps at most ${bound} kB`,
        size <= bound * 1000 ? undefined : `it keeps ${size / 1000} kB`,
      );
    }
  }

  /** What npm shows, and what is nobody's business. */
  async #readManifest(): Promise<void> {
    const listing = await run("tar", ["-xOzf", this.#tarball]);
    this.#note(
      "there are no source maps in it",
      /^\/\/# sourceMappingURL/m.test(listing.stdout)
        ? "one at least"
        : undefined,
    );
    const installed = `${this.#folder}/node/node_modules/@highwater/queue`;
    const manifest = JSON.parse(
      await Deno.readTextFile(`${installed}/package.json`),
    );
    const missing = [
      ...["name", "version", "description", "keywords", "license", "engines"],
    ].filter((name) => !(name in manifest));
    for (const name of ["README.md", "LICENSE", "CHANGELOG.md"]) {
      if (!exists(`${installed}/${name}`)) missing.push(name);
    }
    this.#note(
      "it says what npm shows",
      missing.length === 0 ? undefined : `${missing} missing`,
    );
  }

  /** A fresh project. */
  async #folderFor(name: string, type: string): Promise<string> {
    const project = `${this.#folder}/${name}`;
    await Deno.mkdir(project);
    await Deno.writeTextFile(
      `${project}/package.json`,
      JSON.stringify({ private: true, type }),
    );
    return project;
  }

  /** A fresh project with the package in it. */
  async #project(name: string, type: string): Promise<string> {
    const project = await this.#folderFor(name, type);
    const npm = Deno.build.os === "windows" ? "npm.cmd" : "npm";
    await this.#expect(
      `npm installs it (${name})`,
      run(npm, [
        ...["install", "--prefix", project, "--no-audit", "--no-fund"],
        ...["--offline", "--omit=peer", "--loglevel=error", this.#tarball],
      ]),
    );
    return project;
  }

  async #writePrograms(project: string): Promise<void> {
    for (const { name, text } of this.#programs) {
      await Deno.writeTextFile(`${project}/${name}.ts`, text);
    }
    const imports = ENTRIES.map((entry, index) =>
      `import * as entry${index} from "${entry}";\nvoid entry${index};\n`
    );
    await Deno.writeTextFile(`${project}/entries.ts`, imports.join(""));
    await Deno.writeTextFile(`${project}/symbols.ts`, SYMBOLS);
  }

  async #compile(
    project: string,
    name: string,
    options: Record<string, unknown>,
  ): Promise<void> {
    await Deno.writeTextFile(
      `${project}/tsconfig.json`,
      JSON.stringify({
        compilerOptions: {
          strict: true,
          exactOptionalPropertyTypes: true,
          skipLibCheck: false,
          target: "es2022",
          rootDir: project,
          outDir: `${project}/out`,
          ...options,
        },
        include: [`${project}/*.ts`],
      }),
    );
    await this.#expect(
      `tsc compiles everything (${name})`,
      run(binPath("tsc"), ["-p", project]),
    );
  }

  #bundle(
    project: string,
    inputs: string[],
    more: string[] = [],
  ): Promise<Outcome> {
    return run(binPath("esbuild"), [
      ...inputs,
      ...["--bundle", "--format=esm", "--platform=neutral"],
      ...["--external:node:*", "--log-level=error"],
      ...[`--outdir=${project}/bundles`, ...more],
    ]);
  }

  async #expect(name: string, running: Promise<Outcome>): Promise<void> {
    const { success, stdout, stderr } = await running;
    this.#note(name, success ? undefined : stdout + stderr);
  }

  #note(name: string, failure: string | undefined): void {
    this.#results.push({
      name,
      status: failure === undefined ? "passed" : "failed",
      detail: failure ?? "",
    });
  }
}

/** Those of README, by the line at which they begin. */
async function programs(known: string[] = ENTRIES): Promise<Program[]> {
  const found: Program[] = [];
  const readme = await Deno.readTextFile(pathOf("README.md"));
  for (
    const { 1: text = "", index } of readme.matchAll(/^```ts\n(.*?)^```/gms)
  ) {
    const specifiers = [...text.matchAll(/ from "([^"]+)"/g)].map(([, from]) =>
      from!
    );
    if (!specifiers.every((from) => known.includes(from))) continue;
    const line = readme.slice(0, index).split("\n").length;
    found.push({ name: `readme_${line}`, text: `${text}export {};\n` });
  }
  return found;
}

async function gzippedSize(bytes: Uint8Array<ArrayBuffer>): Promise<number> {
  const zipped = new Blob([bytes]).stream()
    .pipeThrough(new CompressionStream("gzip"));
  return (await new Response(zipped).arrayBuffer()).byteLength;
}
