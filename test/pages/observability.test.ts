// The dashboard and the rules ask for metrics that there are, by labels that these have.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { parse } from "yaml";
import {
  controlPlaneMetrics,
  proxyMetrics,
} from "../../src/tools/docs/metrics.ts";

const FOLDER = join(import.meta.dirname, "../../config/observability");
const read = (name: string): string => readFileSync(join(FOLDER, name), "utf8");

interface Rule {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: { readonly severity: string };
  readonly annotations?: { readonly summary: string };
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: {
    readonly x: number;
    readonly y: number;
    readonly w: number;
    readonly h: number;
  };
  readonly targets?: readonly {
    readonly refId: string;
    readonly expr: string;
    readonly legendFormat: string;
  }[];
}

const rules = (
  parse(read("rules.yaml")) as {
    readonly groups: readonly { readonly rules: readonly Rule[] }[];
  }
).groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(read("dashboard.json")) as {
  readonly panels: readonly Panel[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly query: string }[];
  };
};

/** Labels by the name of a series: of a histogram those that PromQL knows. */
const SERIES = new Map<string, ReadonlySet<string>>();
/** What Prometheus adds to each. */
const ADDED = ["instance", "job"];
for (const { name, type, labels } of [
  ...proxyMetrics(),
  ...controlPlaneMetrics(),
])
  if (type === "histogram") {
    SERIES.set(`${name}_bucket`, new Set([...labels, ...ADDED, "le"]));
    for (const end of ["_sum", "_count"])
      SERIES.set(name + end, new Set([...labels, ...ADDED]));
  } else SERIES.set(name, new Set([...labels, ...ADDED]));
// LEVEL:METRIC:OPERATION, where the level is the labels that are left, as Prometheus' guide has it.
for (const { record } of rules)
  if (record !== undefined)
    SERIES.set(record, new Set((record.split(":")[0] ?? "").split("_")));

const FUNCTIONS: ReadonlySet<string> = new Set([
  ...["sum", "max", "rate", "increase", "histogram_quantile", "absent"],
  ...["topk", "bottomk", "by", "and", "label_values"],
]);

/** What of an expression names nothing that there is. */
function faultsOf(expr: string): string[] {
  const faults: string[] = [];
  const plain = expr
    .replaceAll(/"[^"]*"/g, '""')
    .replaceAll(/\[(?:[0-9]+[smhd]|\$__rate_interval)\]/g, "");
  const used = [...plain.matchAll(/[a-z_][a-z0-9_:]*/g)]
    .map(([name]) => name)
    .filter((name) => SERIES.has(name));
  const known = new Set(used.flatMap((name) => [...(SERIES.get(name) ?? [])]));
  if (used.length === 0) faults.push("no metric");
  let rest = plain.replaceAll(
    /([a-z_][a-z0-9_:]*)\{([^}]*)\}/g,
    (_, name: string, matchers: string) => {
      for (const matcher of matchers.split(",")) {
        const [, label = ""] =
          /^\s*([a-z_]+)\s*(?:=~|!~|!=|=)\s*""\s*$/.exec(matcher) ?? [];
        if (SERIES.get(name)?.has(label) !== true)
          faults.push(`${name}{${matcher}}`);
      }
      return name;
    },
  );
  rest = rest.replaceAll(/\bby \(([^)]*)\)/g, (_, labels: string) => {
    for (const label of labels.split(/,\s*/))
      if (!known.has(label)) faults.push(`by (${label})`);
    return "";
  });
  rest = rest.replaceAll(/label_values\(([^,]*),[^)]*\)/g, "$1");
  for (const [name] of rest.matchAll(/[a-z_][a-z0-9_:]*/g))
    if (!FUNCTIONS.has(name) && !SERIES.has(name)) faults.push(name);
  return faults;
}

void t.test("what names nothing is found", (t) => {
  for (const [expr, fault] of [
    ["rate(wherry_request_total[5m])", "wherry_request_total"],
    ['wherry_requests_total{code="200"}', 'wherry_requests_total{code=""}'],
    ["sum by (endpoint) (wherry_requests_total)", "by (endpoint)"],
    [
      "rate(wherry_request_duration_seconds[5m])",
      "wherry_request_duration_seconds",
    ],
    ["quantile(wherry_overload_level)", "quantile"],
    [
      "destination:wherry_requests:rate1h",
      "destination:wherry_requests:rate1h",
    ],
    ["1 + 1", "no metric"],
  ] as const)
    t.ok(faultsOf(expr).includes(fault), expr);
  t.same(
    faultsOf('sum by (status) (rate(wherry_requests_total{peer!=""}[5m]))'),
    [],
  );
  t.end();
});

void t.test("rules", (t) => {
  t.ok(rules.length > 15);
  for (const { record, alert, expr, labels, annotations } of rules) {
    const name = record ?? alert ?? "";
    t.same(faultsOf(expr), [], name);
    if (alert === undefined) continue;
    t.match(alert, /^Wherry[A-Za-z]+$/);
    t.match(labels?.severity, /^(?:critical|warning|info)$/, name);
    for (const [, label = ""] of (annotations?.summary ?? "").matchAll(
      /\$labels\.([a-z]+)/g,
    ))
      t.ok(
        /\bby \(/.test(expr)
          ? new RegExp(`by \\([^)]*\\b${label}\\b`).test(expr)
          : [...SERIES].some(
              ([series, each]) => expr.includes(series) && each.has(label),
            ),
        `${name}: ${label} is left where the alert fires`,
      );
  }
  const names = rules.map(({ record, alert }) => record ?? alert);
  t.equal(new Set(names).size, names.length, "no name twice");
  t.end();
});

void t.test("the dashboard", (t) => {
  const { panels, templating } = dashboard;
  const variables = new Set(templating.list.map(({ name }) => name));
  const taken = new Set<string>();
  for (const { title, type, gridPos, targets = [] } of panels) {
    t.equal(targets.length > 0, type !== "row", title);
    for (const { expr, legendFormat } of targets) {
      t.same(faultsOf(expr), [], title);
      for (const [, name = ""] of expr.matchAll(/\$(\w+)/g))
        t.ok(
          name === "__rate_interval" || variables.has(name),
          `${title}: $${name}`,
        );
      for (const [, label = ""] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
        t.ok(
          !/\bby \(/.test(expr) ||
            new RegExp(`by \\([^)]*\\b${label}\\b`).test(expr),
          `${title}: ${label} is left`,
        );
    }
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
      const place = `${x} ${gridPos.y}`;
      t.notOk(taken.has(place), `${title} has its place alone`);
      taken.add(place);
    }
  }
  t.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  for (const { name, query } of templating.list)
    if (query.includes("(")) t.same(faultsOf(query), [], name);
  t.end();
});
