import { readdirSync, readFileSync } from "node:fs";
import { assertEquals } from "@std/assert";
import { test } from "./support/harness.ts";

const tests = new URL("./", import.meta.url);

function textsBelow(folder: URL): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === "stand_ins") return [];
    if (entry.isDirectory()) {
      return textsBelow(new URL(`${entry.name}/`, folder));
    }
    if (!/\.(ts|md)$/.test(entry.name)) return [];
    return [readFileSync(new URL(entry.name, folder), "utf8")];
  });
}

function namesImported(specifier: string): string[] {
  const root = new URL("../", tests);
  const texts = [
    ...textsBelow(tests),
    ...textsBelow(new URL("src/", root)),
    ...["mod.ts", "README.md"].map((name) =>
      readFileSync(new URL(name, root), "utf8")
    ),
  ];
  const imported = new RegExp(
    `import(?: type)? \\{([^}]*)\\} from "${specifier}"`,
    "g",
  );
  const names = texts.flatMap((text) =>
    [...text.matchAll(imported)].flatMap((match) =>
      match[1]!.replace(/^ \* ?/gm, "").split(",")
    )
  );
  return [...new Set(names.map((name) => name.trim()))].filter(Boolean).sort();
}

for (const name of ["assert", "async"]) {
  test(`stand-ins: @std/${name} exports what the tests use, and no more`, () => {
    const file = new URL(`stand_ins/${name}/mod.ts`, tests);
    const exported = [
      ...readFileSync(file, "utf8").matchAll(
        /^export (?:async )?(?:function|class|const) (\w+)/gm,
      ),
    ].map((match) => match[1]!);
    assertEquals(
      [...new Set(exported)].sort(),
      namesImported(`@std/${name}`),
    );
  });
}
