/** Query parameters are read once, decoded as far as they can be, in time that grows with the query's length alone. */
import t from "tap";
import { readQuery } from "../../../src/core/text/query.ts";
import { growthOf } from "../../support/clocks/growth.ts";

const WANTED = new Set(["q", "é", "%zz"]);

void t.test("the first value of each parameter that is asked for", (t) => {
  const rows: readonly (readonly [string, Record<string, string>])[] = [
    ["", {}],
    ["q", { q: "" }],
    ["q=", { q: "" }],
    ["q=1", { q: "1" }],
    ["a=2&q=1&b", { q: "1" }],
    ["q=2&q=1", { q: "2" }],
    ["Q=1&qq=1&=q", {}],
    ["&&q=1&&", { q: "1" }],
    ["q=a=b", { q: "a=b" }],
    ["%71=a%20b", { q: "a b" }],
    ["q=a+b", { q: "a+b" }],
    ["q=%zz", { q: "%zz" }],
    ["q=%41%zz", { q: "%41%zz" }],
    ["q=%ff", { q: "%ff" }],
    ["q=%C3%A9%c3%a9", { q: "éé" }],
    ["%C3%A9=1&é=2", { é: "1" }],
    ["q=é%41", { q: "éA" }],
    ["q=%F0%9F%98%80", { q: "😀" }],
    ["q=%ED%A0%80", { q: "%ED%A0%80" }],
    ["%zz=1&q=%", { "%zz": "1", q: "%" }],
  ];
  for (const [query, values] of rows)
    t.strictSame(Object.fromEntries(readQuery(query, WANTED)), values, query);
  t.end();
});

void t.test("an escape of any character, in digits of either case", (t) => {
  for (let code = 0; code < 0x3000; code += 1) {
    const character = String.fromCharCode(code);
    const escaped = Buffer.from(character)
      .toString("hex")
      .replaceAll(/../g, "%$&");
    for (const value of [escaped, escaped.toUpperCase()])
      if (readQuery(`q=a${value}b`, WANTED).get("q") !== `a${character}b`)
        t.fail(value);
  }
  t.end();
});

for (const [name, part] of [
  ["parameters without a value", "a&"],
  ["parameters with a value", "a=b&"],
  ["separators", "&"],
  ["equals signs", "="],
  ["escapes that are no UTF-8", "%ff&"],
  ["escapes that are none", "%&"],
  ["escaped characters", "%C3%A9=%C3%A9&"],
  ["one long value", "a"],
] as const)
  void t.test(`twice as many ${name} take about twice the time`, (t) => {
    const { linear, ratio } = growthOf((size) => {
      const query = part.repeat(size / part.length);
      return () => readQuery(query, WANTED);
    }, 8000);
    t.ok(linear, `${ratio.toFixed(1)} times`);
    t.end();
  });
