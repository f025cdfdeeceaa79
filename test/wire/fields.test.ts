/** Header fields: how each is represented, and what is read from a list of them. */
import t from "tap";
import { classOf } from "../../src/mesh/field-class.ts";
import {
  fieldValue,
  joinedValue,
  makeField,
  mayOutlive,
} from "../../src/wire/fields.ts";

void t.test(
  "what is secret is never indexed, unless its sender chose otherwise",
  (t) => {
    for (const [name, indexing] of [
      ["accept", "incremental"],
      ["x-forwarded-for", "incremental"],
      ["traceparent", "incremental"],
      ["authorization", "never"],
      ["cookie", "never"],
      ["x-vault-token", "never"],
      ["x-forwarded-access-token", "never"],
    ] as const) {
      const field = makeField(name, "x");
      t.equal(field.indexing, indexing, name);
      t.equal(field.bits, classOf(name), name);
    }
    t.equal(makeField("accept", "x", "without").indexing, "without");
    t.equal(makeField("cookie", "x", "without").indexing, "without");
    t.end();
  },
);

void t.test("a field begins without encodings", (t) => {
  t.strictSame(makeField("accept", "*/*"), {
    name: "accept",
    value: "*/*",
    bits: 0,
    indexing: "incremental",
    line: undefined,
    literal: undefined,
  });
  t.end();
});

void t.test(
  "values are found by name: the first, or all of them joined (RFC 9110 5.3, RFC 9113 8.2.3)",
  (t) => {
    const fields = [
      makeField("accept", "a"),
      makeField("cookie", "x=1"),
      makeField("accept", "b"),
      makeField("cookie", "y=2"),
      makeField("empty", ""),
      makeField("empty", ""),
    ];
    t.equal(fieldValue(fields, "accept"), "a");
    t.equal(fieldValue(fields, "empty"), "");
    t.equal(fieldValue(fields, "Accept"), undefined, "names are lower-case");
    t.equal(fieldValue([], "accept"), undefined);
    t.equal(joinedValue(fields, "accept"), "a, b");
    t.equal(joinedValue(fields, "cookie"), "x=1; y=2");
    t.equal(joinedValue(fields, "empty"), ", ");
    t.equal(joinedValue(fields, "host"), undefined);
    t.end();
  },
);

void t.test("neither credentials nor queries outlive their request", (t) => {
  t.equal(mayOutlive(classOf("accept"), "text/html"), true);
  t.equal(mayOutlive(classOf("authorization"), "Bearer a"), false);
  t.equal(mayOutlive(classOf("x-vault-token"), "a"), false);
  t.equal(mayOutlive(classOf("referer"), "https://a/?access_token=b"), false);
  t.end();
});
