/** The page of laws, the places that cite them and the tests that hold them are compared: none without the others. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PAGE = join("src", "laws.md");

interface Statement {
  /** "law 5" */
  readonly name: string;
  readonly tests: readonly string[];
}

/** Each heading "### Law 5: …" of the page, with the tests that its section names. */
function statements(): Statement[] {
  const [, ...sections] = readFileSync(join(ROOT, PAGE), "utf8").split(
    "\n### ",
  );
  return sections.map((section) => {
    const name = /^(?:Law|Trap) \d+(?=: )/.exec(section)?.[0] ?? section;
    const [, line = ""] = /^Tests: (.*)$/m.exec(section) ?? [];
    return {
      name: name.toLowerCase(),
      tests: Array.from(line.matchAll(/`([^`]+)`/g), ([, file = ""]) => file),
    };
  });
}

/** "law 5" for each "law 5", "laws 5 and 7", "traps 11 to 12, 13" of a text, comments broken over lines included. */
function citations(text: string): string[] {
  const flat = text.replace(/\s*\n\s*(?:\*|\/\/)?\s*/g, " ");
  const found = flat.matchAll(
    /\b(law|trap)(?:s (\d+(?:(?:, | and )\d+)*)| (\d+))\b/gi,
  );
  return [...found].flatMap(([, word = "", many, one = ""]) =>
    (many ?? one)
      .split(/, | and /)
      .map((number) => `${word.toLowerCase()} ${number}`),
  );
}

function filesIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(?:[jt]s|md)$/.test(name))
    .map((name) => join(folder, name));
}

const stated = statements();

void t.test("no citation without a law or trap", (t) => {
  const names = new Set(stated.map(({ name }) => name));
  let cited = 0;
  for (const file of ["src", "test", "bench", "config"].flatMap(filesIn))
    for (const name of citations(readFileSync(join(ROOT, file), "utf8"))) {
      cited += 1;
      if (!names.has(name))
        t.fail(`${file} cites ${name}, which ${PAGE} does not state`);
    }
  t.ok(cited > 200, `${cited} citations`);
  t.end();
});

void t.test("no law or trap without a test that says so", (t) => {
  t.ok(stated.length > 25, `${stated.length} statements`);
  t.equal(new Set(stated.map(({ name }) => name)).size, stated.length);
  for (const { name, tests } of stated) {
    t.not(tests.length, 0, `${name} names its tests`);
    for (const file of tests) {
      const there = existsSync(join(ROOT, file));
      t.ok(
        there &&
          citations(readFileSync(join(ROOT, file), "utf8")).includes(name),
        `${name}: ${file} exists and cites it`,
      );
    }
  }
  t.end();
});

void t.test("how citations are read", (t) => {
  const rows: readonly (readonly [text: string, names: readonly string[]])[] = [
    ["(law 5)", ["law 5"]],
    ["Law 10: memory", ["law 10"]],
    ["laws 9 and 11 say", ["law 9", "law 11"]],
    ["(model, traps 1, 3 and 5)", ["trap 1", "trap 3", "trap 5"]],
    ["see trap\n * 16 for it", ["trap 16"]],
    ["lawn 5, trapped 3, laws of nature", []],
  ];
  for (const [text, names] of rows) t.same(citations(text), names, text);
  t.end();
});
