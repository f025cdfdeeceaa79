/** The place that is named is where RFC 8259 is first broken, and the scanner agrees with the runtime's parser on everything. */
import fc from "fast-check";
import t from "tap";
import { jsonFault } from "../../../src/control-plane/api/json-fault.ts";

const INSERTED = [
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  '"',
  "\\",
  "0",
  "-",
  ".",
  "e",
  " ",
  "\n",
];

void t.test("where a text stops being JSON", (t) => {
  const rows: readonly (readonly [string, number, number])[] = [
    ["", 1, 1],
    ['{"kind": }', 1, 10],
    ['{"a": 1,}', 1, 9],
    ["[1,]", 1, 4],
    ["{a: 1}", 1, 2],
    ['{"a" 1}', 1, 6],
    ['{"a": 1\n"b": 2}', 2, 1],
    ['{"a":\n  tru}', 2, 3],
    ["[1}", 1, 3],
    ['{"a": 1]', 1, 8],
    ['"a\nb"', 1, 3],
    ['"\\x"', 1, 2],
    ['"open', 1, 6],
    ["01", 1, 2],
    ["[1] 2", 1, 5],
    ["[", 1, 2],
  ];
  for (const [text, line, column] of rows)
    t.same(jsonFault(text), { line, column }, JSON.stringify(text));
  t.end();
});

void t.test("it takes what the parser takes, and nothing else", (t) => {
  const isJson = (text: string): boolean => {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  };
  const mutated = fc
    .tuple(fc.json(), fc.nat(), fc.constantFrom(...INSERTED))
    .map(([text, at, character]) => {
      const cut = at % (text.length + 1);
      return text.slice(0, cut) + character + text.slice(cut);
    });
  fc.assert(
    fc.property(
      fc.oneof(fc.json(), mutated),
      (text) => (jsonFault(text) === undefined) === isJson(text),
    ),
    { numRuns: 3000, seed: 1 },
  );
  t.end();
});
