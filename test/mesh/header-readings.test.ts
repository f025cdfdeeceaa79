/** The readings of a header that applications make: what forbids goes by any of them, what opens by each line and the lines joined. */
import t from "tap";
import {
  ambiguityOf,
  anyReading,
  readHeadersOf,
  wholeReading,
  type HeaderLines,
} from "../../src/mesh/header-readings.ts";

const ROWS: readonly (readonly [
  string,
  HeaderLines,
  HeaderLines,
  HeaderLines,
])[] = [
  ["x", undefined, undefined, undefined],
  ["x", "a", "a", "a"],
  ["x", "a,", ["a,", "a", ""], "a,"],
  [
    "x",
    ["a", "b, c"],
    ["a", "b, c", "a, b, c", "a,b, c", "b", "c"],
    ["a", "b, c", "a, b, c", "a,b, c"],
  ],
  ["cookie", "a=1; b=2", ["a=1; b=2", "a=1", "b=2"], "a=1; b=2"],
  [
    "cookie",
    ["a=1", "b=2"],
    ["a=1", "b=2", "a=1, b=2", "a=1,b=2", "a=1; b=2"],
    "a=1; b=2",
  ],
];

void t.test("the readings of a header", (t) => {
  for (const [name, lines, any, whole] of ROWS) {
    const what = `${name}: ${JSON.stringify(lines)}`;
    t.strictSame(anyReading(name, lines), any, what);
    t.strictSame(wholeReading(name, lines), whole, what);
  }
  t.end();
});

void t.test("what no rule can judge", (t) => {
  t.equal(readHeadersOf([]), undefined, "no header is read");
  const read = readHeadersOf(["X-Role", "x_team"]);
  if (read === undefined) throw new Error("nothing is read");
  const reads = (name: string, value = "a"): string | undefined =>
    ambiguityOf(read, [
      { name: "accept", value: "a,".repeat(2000) },
      { name, value },
    ]);
  for (const name of ["x-role", "x_team", "x-other", "x_other", "x-role-2"])
    t.equal(reads(name), undefined, name);
  for (const name of ["x_role", "x.role", "x-team", "x.team"])
    t.match(reads(name), /^header .* to some applications/, name);
  t.equal(reads("x-role", ",".repeat(999)), undefined, "1,000 members");
  t.match(reads("x-role", ",".repeat(1000)), /too many members/);
  t.end();
});
