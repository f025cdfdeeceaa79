/** Expressions of users match whole texts, and no text of a peer makes them expensive. */
import t from "tap";
import {
  compileExpression,
  LEAST_CHARACTERS,
  MOST_STEPS,
} from "../../../src/core/text/expression.ts";
import { growthOf } from "../../support/clocks/growth.ts";

void t.test("the whole text", (t) => {
  const rows: readonly (readonly [string, string, boolean])[] = [
    ["/reports/[0-9]{4}", "/reports/2026", true],
    ["/reports/[0-9]{4}", "/reports/2026/", false],
    ["/reports/[0-9]{4}", "a/reports/2026", false],
    ["a|b", "ab", false],
    ["", "", true],
    ["(?i)a", "A", true],
  ];
  for (const [pattern, text, matches] of rows)
    t.equal(compileExpression(pattern)(text), matches, `${pattern} ${text}`);
  t.end();
});

void t.test("how long a text may be goes by the expression's size", (t) => {
  // What people write looks at all that a request line may have.
  for (const pattern of [".*", "/v[0-9]+/users/.*"])
    t.ok(compileExpression(pattern)(`/v1/users/${"a".repeat(8000)}`), pattern);
  // What counts is large.
  const counts = compileExpression("a{1,1000}.*");
  t.ok(counts("a".repeat(LEAST_CHARACTERS)));
  t.notOk(counts("a".repeat(LEAST_CHARACTERS + 1)));
  t.ok(MOST_STEPS / LEAST_CHARACTERS > 200, "below that size, more");
  t.end();
});

/** Letters at random, the same each time: what makes an automaton large. */
function letters(length: number): string {
  let seed = 1;
  return Array.from({ length }, () => {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fff_ffff;
    return seed & 0x10000 ? "a" : "b";
  }).join("");
}

for (const pattern of [
  "^(a+)+$",
  "(a|a)*c",
  "(x+x+)+y",
  "(.*)(.*)(.*)c",
  "(a|b)*a(a|b){12}",
  "(a|b)*a(a|b){100}c",
])
  void t.test(`${pattern} takes twice as long for twice as much`, (t) => {
    const matches = compileExpression(pattern);
    for (const make of [letters, (size: number) => "a".repeat(size)]) {
      const { linear, ratio } = growthOf((size) => {
        const text = make(size);
        return () => matches(text);
      }, LEAST_CHARACTERS / 2);
      t.ok(linear, `${ratio.toFixed(1)} times as long`);
    }
    t.end();
  });
