// A text that is cut into parts says what the whole says.
import fc from "fast-check";
import t from "tap";
import { atOnce } from "../../src/core/slices.ts";
import { parseDocuments } from "../../src/resources/yaml.ts";
import { splitDocuments } from "../../src/resources/yaml-split.ts";

const partsOf = (text: string): string[] => {
  const bytes = Buffer.from(text);
  return Array.from(atOnce(splitDocuments(bytes)), ({ start, end }) =>
    bytes.subarray(start, end).toString("utf8"),
  );
};

const rows: readonly (readonly [
  what: string,
  text: string,
  parts: readonly string[],
])[] = [
  ["nothing", "", [""]],
  ["one document", "a: 1\n", ["a: 1\n"]],
  ["two", "a: 1\n---\nb: 2\n", ["a: 1\n", "b: 2\n"]],
  ["a marker first", "---\na: 1\n---\nb: 2", ["a: 1\n", "b: 2"]],
  [
    "Windows' ends of lines",
    "a: 1\r\n---\r\nb: 2\r\n",
    ["a: 1\r\n", "b: 2\r\n"],
  ],
  ["on the marker's line", "a: 1\n--- {b: 2}\n", ["a: 1\n", "--- {b: 2}\n"]],
  [
    "a comment after it",
    "a: 1\n---\t# b\nb: 2\n",
    ["a: 1\n", "---\t# b\nb: 2\n"],
  ],
  ["markers alone", "---\n---\n---", ["", "", "---"]],
  ["no marker: longer", "a: 1\n----\n", ["a: 1\n----\n"]],
  ["no marker: a word", "a: |\n x\n---x\n", ["a: |\n x\n---x\n"]],
  ["no marker: within a line", "a: b\n ---\n", ["a: b\n ---\n"]],
  [
    "a directive keeps it whole",
    "a: 1\n...\n%YAML 1.2\n---\nb: 2\n",
    ["a: 1\n...\n%YAML 1.2\n---\nb: 2\n"],
  ],
  [
    "so it does at the beginning",
    "%TAG ! !x\n---\na: 1\n",
    ["%TAG ! !x\n---\na: 1\n"],
  ],
  [
    "and a mark of another file",
    "a: 1\n---\n\ufeffb: 2",
    ["a: 1\n---\n\ufeffb: 2"],
  ],
  ["and an end", "a: 1\n...\n---\nb: 2\n", ["a: 1\n...\n---\nb: 2\n"]],
];

for (const [what, text, parts] of rows)
  void t.test(what, (t) => {
    t.strictSame(partsOf(text), parts);
    t.end();
  });

/** Lines that mean something at the border of documents. */
const LINES = [
  "---",
  "--- ",
  "---\r",
  "--- # c",
  "--- {a: 1}",
  "---x",
  "...",
  "%YAML 1.2",
  "# c",
  "",
  "a: 1",
  "b:",
  "  c: x",
  "  - y",
  "- z",
  "d: |",
  "d: >-",
  "  text",
  " ---",
  'e: "x',
  '  y"',
  "f: 'x",
  "  y'",
  "g: [1,",
  "  2]",
  "h: {i: 1}",
  "j: &anchor 1",
  "k: *anchor",
  "? l",
  ": m",
  "\ufeff",
];

void t.test("parsed part by part, any text gives what the whole gives", (t) => {
  let compared = 0;
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...LINES), { maxLength: 12 }),
      fc.boolean(),
      (lines, ended) => {
        const text = lines.join("\n") + (ended ? "\n" : "");
        const parts = partsOf(text);
        const whole = parseDocuments(text, "f");
        const cut = parts.map((part) => parseDocuments(part, "f"));
        const faults = cut.flatMap(({ problems }) => problems).length;
        if (whole.problems.length === 0 || faults === 0) {
          compared += 1;
          const values = cut.flatMap(({ documents }) =>
            documents.map(({ value }) => value),
          );
          if (
            faults !== whole.problems.length ||
            JSON.stringify(values) !==
              JSON.stringify(whole.documents.map(({ value }) => value))
          )
            throw new Error(
              JSON.stringify({
                text,
                values,
                problems: whole.problems,
                faults,
              }),
            );
        }
      },
    ),
    { numRuns: 6000, seed: 1 },
  );
  t.ok(compared > 1500, `${compared} without a fault`);
  t.end();
});
