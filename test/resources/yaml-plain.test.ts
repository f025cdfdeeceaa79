// YAML that is read without the parser says what the parser says, and what could be read in two ways is left to it.
import fc from "fast-check";
import t, { type Test } from "tap";
import { stringify } from "yaml";
import { parseDocuments } from "../../src/resources/yaml.ts";
import { readPlain } from "../../src/resources/yaml-plain.ts";

const ROUTE = `# of the shop
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: web
  labels:
    app.kubernetes.io/name: "web, and more"
spec:
  parentRefs:
  - kind: Service
    name: web
  rules:
    - matches:
        - path:
            type: Exact
            value: /a
      # the newest
      backendRefs:
        - name: web
          port: 80

          weight: 0
      timeouts:
        request: 10s
  hostnames: []
`;

const plain: readonly (readonly [
  what: string,
  text: string,
  value: unknown,
])[] = [
  [
    "a resource",
    ROUTE,
    {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "HTTPRoute",
      metadata: {
        name: "web",
        labels: { "app.kubernetes.io/name": "web, and more" },
      },
      spec: {
        parentRefs: [{ kind: "Service", name: "web" }],
        rules: [
          {
            matches: [{ path: { type: "Exact", value: "/a" } }],
            backendRefs: [{ name: "web", port: 80, weight: 0 }],
            timeouts: { request: "10s" },
          },
        ],
        hostnames: [],
      },
    },
  ],
  ["numbers", "a: 0\nb: -12\nc: 15008", { a: 0, b: -12, c: 15_008 }],
  ["switches", "a: true\nb: false\n", { a: true, b: false }],
  [
    "text of digits",
    "a: 10.0.0.1\nb: 10.0.0.0/8\nc: 10.0.0.1:80\nd: 250ms\n",
    { a: "10.0.0.1", b: "10.0.0.0/8", c: "10.0.0.1:80", d: "250ms" },
  ],
  [
    "quoted text",
    `a: "true"\nb: '# 12: {'\nc: ""\n`,
    { a: "true", b: "# 12: {", c: "" },
  ],
  [
    "an item that is a list's",
    "a:\n  - b:\n    - c\n  - d\n",
    { a: [{ b: ["c"] }, "d"] },
  ],
  ["a URI", "a: spiffe://mesh/ns/a/sa/b\n", { a: "spiffe://mesh/ns/a/sa/b" }],
  ["blank lines", "\n  \n# c\na: b\n\n", { a: "b" }],
];

for (const [what, text, value] of plain)
  void t.test(`read without the parser: ${what}`, (t) => {
    t.strictSame(readPlain(text)?.value, value);
    t.ok(agrees(t, text));
    t.end();
  });

const left: readonly (readonly [what: string, text: string])[] = [
  ["nothing", ""],
  ["a comment alone", "# c\n"],
  ["text alone", "a\n"],
  ["a list alone", "- a\n"],
  ["a key twice", "a: 1\na: 2\n"],
  ["a key that each object has", "__proto__: 1\n"],
  ["a key that is a switch elsewhere", "on: 1\n"],
  ["a key that is a number", "1: a\n"],
  ["a quoted key", '"a": 1\n'],
  ["no value", "a:\nb: 1\n"],
  ["null", "a: null\n"],
  ["a tilde", "a: ~\n"],
  ["a switch of another version", "a: yes\n"],
  ["a switch in capitals", "a: TRUE\n"],
  ["a number with zeros before it", "a: 0123\n"],
  ["a number with a point", "a: 1.5\n"],
  ["a number with an exponent", "a: 1e5\n"],
  ["a number of base 16", "a: 0x1f\n"],
  ["a number that is rounded", "a: 12345678901234567\n"],
  ["a sign", "a: +1\n"],
  ["infinity", "a: .inf\n"],
  ["a map on one line", "a: {b: 1}\n"],
  ["a list on one line", "a: [1]\n"],
  ["an escape", 'a: "\\n"\n'],
  ["a quote in quotes", "a: 'b''c'\n"],
  ["text of several words", "a: b c\n"],
  ["text on several lines", "a: b\n  c\n"],
  ["a name on a line of text", "a: b\n  c: d\n"],
  ["a block of text", "a: |\n  b\n"],
  ["a comment behind a value", "a: b # c\n"],
  ["a blank behind a value", "a: b \n"],
  ["a blank behind a name", "a: \n  b: 1\n"],
  ["two blanks before a value", "a:  b\n"],
  ["an item further in", "a:\n  -  b\n"],
  ["an item in an item", "a:\n  - - b\n"],
  ["an item on the next line", "a:\n  -\n    b\n"],
  ["an anchor", "a: &b c\n"],
  ["an alias", "a: *b\n"],
  ["a tag", "a: !!str 1\n"],
  ["a merge", "<<: 1\n"],
  ["a colon at the end", "a: b:\n"],
  ["a tab", "a:\n\tb: 1\n"],
  ["Windows' ends of lines", "a: b\r\n"],
  ["letters outside of ASCII", "a: é\n"],
  ["a byte order mark", "\ufeffa: b\n"],
  ["a marker", "---\na: b\n"],
  ["two documents", "a: b\n---\nc: d\n"],
  ["an end", "a: b\n...\n"],
  ["a directive", "%YAML 1.2\n---\na: b\n"],
  ["the first line further in", "  a: b\n"],
  ["a line between two indentations", "a:\n    b: c\n  d: e\n"],
  ["a line further in", "a:\n  b: c\n    d: e\n"],
  ["a name after a list's items", "a:\n  - b\n  c: d\n"],
  ["an item after names", "a:\n  b: c\n  - d\n"],
  [
    "fifty levels",
    Array.from({ length: 50 }, (_, depth) => `${" ".repeat(depth)}a:`).join(
      "\n",
    ) + " 1",
  ],
];

for (const [what, text] of left)
  void t.test(`left to the parser: ${what}`, (t) => {
    t.equal(readPlain(text), undefined);
    t.end();
  });

/** Whether it was read without the parser; then both must say the same. */
function agrees(t: Test, text: string): boolean {
  const read = readPlain(text);
  if (read === undefined) return false;
  // With a letter outside of ASCII no text is plain.
  const { documents, problems } = parseDocuments(`${text}\n# é`, "f");
  const [document] = documents;
  const said = [read.value, { line: read.line, column: 1 }];
  const meant = [document?.value, document?.locate("")];
  if (problems.length > 0 || documents.length !== 1)
    t.fail("the parser reads no document", { text, problems });
  // As text, for the order of fields is part of it.
  else if (JSON.stringify(said) !== JSON.stringify(meant))
    t.same(said, meant, text);
  return true;
}

const LINES = [
  "",
  "  ",
  "# c",
  "  # c",
  "a: b",
  "a: 1",
  "a:",
  "b: true",
  "b:",
  "c: '# x'",
  'c: "x: y"',
  "d: {}",
  "d: /x:y",
  "e: 10.0.0.1",
  "e: 10.0.0",
  "f: 5s",
  "f: y",
  "- g",
  "- g: h",
  "- g:",
  "- 1",
  "- -",
  "h: x y",
  "h: x #",
  "i: |",
  "j: ~",
  "k: -1",
  "l: []",
  "---",
];

void t.test("any lines that are read say what the parser says", (t) => {
  let read = 0;
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.constantFrom("", "", "  ", "  ", "    ", "      ", " "),
          fc.constantFrom(...LINES),
        ),
        { maxLength: 8 },
      ),
      (lines) => {
        const text = lines.map((parts) => parts.join("")).join("\n");
        if (agrees(t, text)) read += 1;
      },
    ),
    { numRuns: 20_000, seed: 1 },
  );
  t.ok(read > 300, `${read} texts were read`);
  t.end();
});

const WORDS = [
  "a",
  "b/c",
  "x-y",
  "true",
  "12",
  "1.5",
  "10s",
  "",
  "a: b",
  "- a",
  "#",
  "é",
  "x\ny",
  " a",
  "null",
];
const values = fc.letrec<{ value: unknown; map: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<unknown>(...WORDS),
    fc.integer({ min: -5, max: 70_000 }),
    fc.boolean(),
    fc.array(tie("value"), { maxLength: 3 }),
    tie("map"),
  ),
  map: fc.dictionary(
    fc.constantFrom("name", "kind", "a.b/c", "x", "on", "A"),
    tie("value"),
    { minKeys: 1, maxKeys: 4, noNullPrototype: true },
  ),
}));

void t.test("what a program has written is read as it was meant", (t) => {
  let read = 0;
  fc.assert(
    fc.property(
      values.map,
      fc.boolean(),
      fc.nat(),
      fc.constantFrom("", " ", ":", "-", "#", '"', "'", "\n", "x", "1", "~"),
      (value, indentSeq, at, put) => {
        const text = stringify(value, { indentSeq });
        const here = at % (text.length + 1);
        for (const each of [
          text,
          // One letter of it is another, or one more.
          text.slice(0, here) + put + text.slice(here + (at % 2)),
        ])
          if (agrees(t, each)) read += 1;
      },
    ),
    { numRuns: 4000, seed: 2 },
  );
  t.ok(read > 1000, `${read} texts were read`);
  t.end();
});
