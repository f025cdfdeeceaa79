// When the benchmark gives a ratio, and when it says that there is none.
import t from "tap";
import type { Entry } from "../../bench/contest.ts";
import { summarise } from "../../bench/figures.ts";
import { scenarioMarkdown } from "../../bench/markdown.ts";
import { FEATURE_NAMES, type Feature } from "../../bench/peer.ts";
import { reportOf, type Ratio } from "../../bench/report.ts";
import { PLAIN, type Run, type Scenario } from "../../bench/scenario.ts";

const scenario: Scenario = {
  name: "some",
  families: ["hop"],
  title: "some calls",
  setup: PLAIN,
  contenders: [],
  reference: "Envoy",
  columns: ["cpu", "delivered", "rate"],
  goals: [{ figure: "cpu", of: "ratio", atMost: 0.5 }],
  run: () => Promise.resolve({}),
};

function entry(
  name: string,
  runs: readonly Run[],
  without: readonly Feature[] = [],
): Entry {
  const features = FEATURE_NAMES.filter((each) => !without.includes(each));
  return { name, version: "1", features, runs };
}

function ratioOf(
  ours: Entry,
  reference: Entry | undefined,
  more: Partial<Scenario> = {},
): Ratio | undefined {
  const entries = reference === undefined ? [ours] : [ours, reference];
  return reportOf({ ...scenario, ...more }, entries).rows[0]?.ratios.cpu;
}

void t.test("a ratio is that of the medians", (t) => {
  const ours = entry("Wherry", [{ cpu: 30 }, { cpu: 90 }, { cpu: 20 }]);
  const reference = entry("Envoy", [{ cpu: 60 }, { cpu: 61 }, { cpu: 10 }]);
  t.same(ratioOf(ours, reference), { kind: "is", value: 0.5 });
  t.end();
});

for (const { what, ours, reference, varies, is } of [
  {
    what: "a feature that one has and the other has not",
    ours: entry("Wherry", [{ cpu: 30 }], ["tracing"]),
    reference: entry("Envoy", [{ cpu: 60 }]),
    is: { kind: "other features" },
  },
  {
    what: "the feature that the scenario asks about",
    ours: entry("Wherry", [{ cpu: 30 }], ["link-h2"]),
    reference: entry("Envoy", [{ cpu: 60 }]),
    varies: "link-h2" as const,
    is: { kind: "is", value: 0.5 },
  },
  {
    what: "spans that ours lost in one run",
    ours: entry("Wherry", [
      { cpu: 30, delivered: 100 },
      { cpu: 30, delivered: 98.9 },
    ]),
    reference: entry("Envoy", [{ cpu: 60, delivered: 100 }]),
    is: { kind: "lost spans" },
  },
  {
    what: "spans that the reference lost",
    ours: entry("Wherry", [{ cpu: 30, delivered: 99 }]),
    reference: entry("Envoy", [{ cpu: 60, delivered: 50 }]),
    is: { kind: "at most", value: 0.5 },
  },
  {
    what: "a rate that ours did not reach in one run",
    ours: entry("Wherry", [
      { cpu: 30, reached: 100 },
      { cpu: 30, reached: 96.9 },
    ]),
    reference: entry("Envoy", [{ cpu: 60, reached: 100 }]),
    is: { kind: "fell behind" },
  },
  {
    what: "a rate that the reference did not reach",
    ours: entry("Wherry", [{ cpu: 30, reached: 97 }]),
    reference: entry("Envoy", [
      { cpu: 60, reached: 100 },
      { cpu: 60, reached: 71 },
    ]),
    is: { kind: "at most", value: 0.5 },
  },
  {
    what: "no reference",
    ours: entry("Wherry", [{ cpu: 30 }]),
    reference: undefined,
    is: undefined,
  },
  {
    what: "a reference without a run",
    ours: entry("Wherry", [{ cpu: 30 }]),
    reference: entry("Envoy", []),
    is: undefined,
  },
])
  void t.test(`${what}: ${is?.kind ?? "no ratio"}`, (t) => {
    const more = varies === undefined ? {} : { varies };
    t.same(ratioOf(ours, reference, more), is);
    t.end();
  });

void t.test("a goal without a ratio is not met", (t) => {
  const ours = entry("Wherry", [{ cpu: 1, delivered: 20 }]);
  const report = reportOf(scenario, [ours, entry("Envoy", [{ cpu: 60 }])]);
  t.match(report.verdicts, [{ value: undefined, met: false }]);
  const page = scenarioMarkdown(report);
  t.match(page, /not measured; aimed at ≤ 0\.5: \*\*missed\*\*/);
  t.match(page, /Wherry lost spans/);
  t.notMatch(page, /\| 0\.02/);
  t.end();
});

void t.test("who did not reach the rate is named, with what was", (t) => {
  const goals = [{ figure: "rate", of: "value", atMost: 10 }] as const;
  const slow = [
    entry("Wherry", [{ cpu: 30, rate: 9, reached: 90 }]),
    entry("Envoy", [{ cpu: 60, rate: 7, reached: 71 }]),
  ];
  const report = reportOf({ ...scenario, goals }, slow);
  t.match(report.verdicts, [{ value: undefined, met: false }]);
  t.same(report.columns, [...scenario.columns, "reached"]);
  const page = scenarioMarkdown(report);
  t.match(page, /Wherry did not reach the rate: .*, and there is no ratio/);
  t.match(page, /Envoy did not reach the rate: .* the most that they can be/);
  const fast = [entry("Wherry", [{ cpu: 30, reached: 100 }])];
  t.same(reportOf(scenario, fast).columns, scenario.columns);
  t.end();
});

void t.test("a goal is met by a bound, which is told as one", (t) => {
  const report = reportOf(scenario, [
    entry("Wherry", [{ cpu: 30, reached: 100 }]),
    entry("Envoy", [{ cpu: 60, reached: 71 }]),
  ]);
  t.match(report.verdicts, [{ value: 0.5, isBound: true, met: true }]);
  t.match(scenarioMarkdown(report), /ratio ≤ 0\.50; aimed at ≤ 0\.5: \*\*met/);
  t.end();
});

void t.test("a goal is met at its bound, and judged by its contender", (t) => {
  const goals = [
    { figure: "cpu", of: "ratio", atMost: 0.5 },
    { figure: "rate", of: "value", atMost: 10, contender: "Wherry, other" },
  ] as const;
  const report = reportOf({ ...scenario, goals }, [
    entry("Wherry", [{ cpu: 30, rate: 9 }]),
    entry("Wherry, other", [{ cpu: 30, rate: 11 }]),
    entry("Envoy", [{ cpu: 60 }]),
  ]);
  t.match(report.verdicts, [
    { value: 0.5, met: true },
    { value: 11, met: false },
  ]);
  t.end();
});

void t.test("who failed is named with the reason", (t) => {
  const failed = { ...entry("Wherry", []), failure: "3 of 9 requests failed" };
  t.match(
    scenarioMarkdown(reportOf(scenario, [failed])),
    /Wherry failed in a run: 3 of 9 requests failed/,
  );
  t.end();
});

void t.test("of an even number of runs the median is the lower one", (t) => {
  t.same(summarise([4, 1, 3, 2]), { median: 2, lowest: 1, highest: 4 });
  t.end();
});

void t.test(
  "stolen time stands behind all figures, where it was counted",
  (t) => {
    const runs = [
      { cpu: 30, stolen: 0.4 },
      { cpu: 31, stolen: 12 },
      { cpu: 32, stolen: 3 },
    ];
    const envoy = entry("Envoy", [{ cpu: 60, stolen: 1 }]);
    const report = reportOf(scenario, [entry("Wherry", runs), envoy]);
    t.same(report.columns, [...scenario.columns, "stolen"]);
    t.equal(report.rows[0]?.ratios.stolen, undefined);
    t.match(scenarioMarkdown(report), /\| 3\.0 \(0\.4–12\.0\) \|/);
    const without = reportOf(scenario, [entry("Wherry", [{ cpu: 30 }])]);
    t.same(without.columns, scenario.columns);
    t.end();
  },
);
