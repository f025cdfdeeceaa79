/** Label selectors as Kubernetes documents them ("Labels and Selectors"). */
import t from "tap";
import {
  MOST_TERMS,
  parseLabelSelector,
} from "../../../src/control-plane/api/label-selector.ts";

const LABELS = { app: "web", version: "v1", "wherry.dev/x": "" };

void t.test("what each term selects", (t) => {
  const rows: readonly (readonly [string, boolean])[] = [
    ["", true],
    ["app=web", true],
    ["app==web", true],
    ["app=api", false],
    ["app != api", true],
    ["app!=web", false],
    ["other!=web", true],
    ["app=web,version=v1", true],
    ["app=web, version=v2", false],
    ["version in (v1, v2)", true],
    ["version in (v2)", false],
    ["other in (v2)", false],
    ["version notin (v2,v3)", true],
    ["version notin (v1)", false],
    ["other notin (v1)", true],
    ["app", true],
    ["other", false],
    ["!other", true],
    ["! app", false],
    ["wherry.dev/x=", true],
    ["app in (web,api),!other", true],
    ["constructor", false],
  ];
  for (const [text, expected] of rows)
    t.equal(parseLabelSelector(text)?.(LABELS), expected, text);
  t.equal(parseLabelSelector("!app")?.(undefined), true);
  t.end();
});

void t.test("what is no selector is not guessed at", (t) => {
  for (const text of [
    "a b",
    "=x",
    "app=web,",
    "app in web",
    "app in (web",
    "app like (x)",
    "a=b=c",
    "app>1",
    "-x",
  ])
    t.equal(parseLabelSelector(text), undefined, text);
  t.end();
});

void t.test("terms and values are counted together", (t) => {
  const many = (count: number): string => Array(count).fill("a").join(",");
  for (const [before, after] of [
    ["", ""],
    ["a in (", ")"],
    ["!b,a notin (a,", "),c=d"],
  ] as const) {
    const taken = before.split(",").length + after.split(",").length - 2;
    const of = (count: number): string =>
      `${before}${many(count - taken)}${after}`;
    t.type(parseLabelSelector(of(MOST_TERMS)), "function", `${before}…`);
    t.equal(parseLabelSelector(of(MOST_TERMS + 1)), undefined, `${before}…`);
  }
  t.end();
});
