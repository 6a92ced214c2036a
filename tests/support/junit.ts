/**
 * Reads the JUnit files that Deno, Bun and Node write.
 *
 * @module
 */

/** How one test ended. */
export interface TestResult {
  /** The test's name. */
  name: string;
  /** How it ended. */
  status: "passed" | "failed" | "skipped" | "excluded";
  /**
   * What a failed test said, why it was skipped, or why what it asks for is
   * not to be had on the runtime.
   */
  detail: string;
}

const TESTCASE =
  /<testcase\b((?:[^>"]|"[^"]*")*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g;
const FAULT =
  /<(failure|error)\b((?:[^>"]|"[^"]*")*?)(?:\/>|>([\s\S]*?)<\/\1>)/;

/** The tests of a JUnit file, in its order. A file cut short is read as far as it goes. */
export function parseJUnit(text: string): TestResult[] {
  const results: TestResult[] = [];
  for (const [, attributes = "", body = ""] of text.matchAll(TESTCASE)) {
    const name = attribute(attributes, "name");
    const fault = FAULT.exec(body);
    if (fault !== null) {
      const said = plain(fault[3] ?? "").trim();
      const message = attribute(fault[2] ?? "", "message");
      results.push({ name, status: "failed", detail: said || message });
    } else if (/<skipped\b/.test(body)) {
      results.push({ name, status: "skipped", detail: "" });
    } else {
      results.push({ name, status: "passed", detail: "" });
    }
  }
  return results;
}

/** A name in the one form in which the names of all sources compare. */
export function normalName(name: string): string {
  // Node escapes a name twice and Node 20 drops its line breaks.
  return plain(plain(name)).replace(/\s+/g, " ").trim();
}

function attribute(attributes: string, name: string): string {
  const found = new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(attributes);
  return normalName(found?.[1] ?? "");
}

function plain(text: string): string {
  return text
    .replace(/&#(?:x([0-9a-f]+)|(\d+));/gi, function (_whole, hex, decimal) {
      return String.fromCodePoint(
        hex ? Number.parseInt(hex, 16) : Number(decimal),
      );
    })
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&apos;", "'")
    .replaceAll("&amp;", "&");
}
