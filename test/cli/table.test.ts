/** Columns, colours and ages. */
import t from "tap";
import { age, painter, table } from "../../src/cli/table.ts";

void t.test(
  "columns are as wide as their widest cell, the last is not padded",
  (t) => {
    t.equal(
      table(
        ["A", "LONG", "C"],
        [
          ["1", "2", "3"],
          ["wide", "", "x"],
          ["", "", ""],
        ],
      ),
      "A     LONG  C\n1     2     3\nwide        x\n\n",
    );
    t.equal(table(["A", "B"], []), "A  B\n");
    t.equal(table(["A", "B"], [["1"]]), "A  B\n1\n", "a short row");
    t.end();
  },
);

void t.test("colours take no room in a column", (t) => {
  const paint = painter(true);
  t.equal(
    table(
      ["A", "B"],
      [
        [paint("red", "no"), "1"],
        ["yes", "2"],
      ],
    ),
    "A    B\n\u001b[31mno\u001b[39m   1\nyes  2\n",
  );
  t.equal(painter(false)("red", "no"), "no");
  t.end();
});

void t.test("an age has its largest unit and the one below", (t) => {
  const rows: readonly (readonly [number, string])[] = [
    [-5, "0s"],
    [0, "0s"],
    [999, "0s"],
    [1000, "1s"],
    [59_999, "59s"],
    [60_000, "1m"],
    [61_000, "1m1s"],
    [3_600_000, "1h"],
    [3_659_000, "1h"],
    [3_660_000, "1h1m"],
    [86_399_000, "23h59m"],
    [90_061_000, "1d1h"],
    [Number.NaN, "-"],
    [Number.POSITIVE_INFINITY, "-"],
  ];
  for (const [ms, text] of rows) t.equal(age(ms), text, String(ms));
  t.end();
});

void t.test("a table has any number of rows", (t) => {
  const rows = Array.from({ length: 300_000 }, () => ["n", "m"]);
  t.equal(table(["N", "M"], rows).length, 300_001 * "N  M\n".length);
  t.end();
});
