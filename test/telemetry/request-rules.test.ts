/** Values of tags and fields: constants, the environment and headers, bounded. */
import t from "tap";
import type { NamedValue } from "../../src/policy/telemetry/telemetry.ts";
import { requestRules } from "../../src/telemetry/request-rules.ts";
import { makeField } from "../../src/wire/fields.ts";

const LONG = "x".repeat(300);

const value = (
  name: string,
  from: NamedValue["from"],
  what: string,
  otherwise?: string,
): NamedValue => ({ name, from, what, otherwise });

for (const [title, tags, expected] of [
  ["none", [], undefined],
  ["a constant", [value("a", "literal", "eu")], { a: "eu" }],
  ["a variable", [value("a", "environment", "ZONE")], { a: "z" }],
  [
    "a variable that is not there",
    [value("a", "environment", "NO")],
    undefined,
  ],
  ["its default", [value("a", "environment", "NO", "d")], { a: "d" }],
  ["a header", [value("a", "header", "x-tenant")], { a: "acme" }],
  ["a header that is not there", [value("a", "header", "x-no")], {}],
  ["its default", [value("a", "header", "x-no", "d")], { a: "d" }],
  [
    "a long header",
    [value("a", "header", "x-long")],
    { a: LONG.slice(0, 256) },
  ],
  [
    "a long variable",
    [value("a", "environment", "LONG")],
    { a: LONG.slice(0, 256) },
  ],
  [
    "several",
    [value("a", "literal", "eu"), value("b", "header", "x-tenant")],
    { a: "eu", b: "acme" },
  ],
] as const)
  void t.test(title, (t) => {
    const rules = requestRules(
      {
        ...{ samplingPercentage: 1, reportsSpans: true, tags, fields: tags },
        ...{ logs: undefined, filter: undefined, policies: [] },
      },
      { ZONE: "z", LONG },
    );
    const fields = [makeField("x-tenant", "acme"), makeField("x-long", LONG)];
    t.strictSame(rules.tags?.(fields), expected);
    t.strictSame(rules.fields?.(fields), expected);
    t.end();
  });
