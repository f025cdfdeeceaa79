/** The benchmark of scale: its mesh is one that a control plane takes, and its windows tell what the calls of their time did. */
import t from "tap";
import { atOnce } from "../../src/core/slices.ts";
import { shown, spreadOf } from "../../bench/scale/figures.ts";
import { Window } from "../../bench/scale/load.ts";
import {
  answeringAddress,
  meshResource,
  resourcesOf,
  shapeOf,
  usedBy,
} from "../../bench/scale/mesh.ts";
import { GOALS, reached } from "../../bench/scale/goals.ts";
import { readScaleOptions } from "../../bench/scale/options.ts";
import { scalePage, type ScaleResult } from "../../bench/scale/report.ts";
import { addressConflicts } from "../../src/resources/cross-checks/conflicts.ts";
import { validate } from "../../src/resources/validate.ts";

void t.test("a mesh has a route a Service and ten Workloads", (t) => {
  const resources = [...resourcesOf(shapeOf(30)), meshResource()];
  for (const resource of resources)
    t.ok(
      validate(resource).ok,
      `${resource.kind} ${resource.metadata.name} is valid`,
    );
  const count = (wanted: string): number =>
    resources.filter(({ kind }) => kind === wanted).length;
  t.equal(count("Service"), 30);
  t.equal(count("HTTPRoute"), 30);
  // The Service whose endpoint moves has one.
  t.equal(count("Workload"), 291);
  t.same(atOnce(addressConflicts(resources)), []);
  t.end();
});

void t.test("Services are used, fresh or neither, in every size", (t) => {
  for (const services of [2, 5, 10, 100, 1000, 10_000]) {
    const { used, fresh } = shapeOf(services);
    t.ok(used.length >= 1 && used.length <= 10);
    t.equal(new Set([...used, ...fresh]).size, used.length + fresh.length);
    t.ok([...used, ...fresh].every((service) => service < services));
  }
  const shape = shapeOf(1000);
  t.equal(answeringAddress(shape, 100, 3), "127.1.1.4");
  t.equal(answeringAddress(shape, 99, 0), undefined);
  t.end();
});

void t.test("the fleet uses all of the mesh, and one Service together", (t) => {
  for (const services of [5, 10, 1000]) {
    const shape = shapeOf(services);
    const uses = Array.from({ length: 1000 }, (_, index) =>
      usedBy(shape, index),
    );
    const counts = new Map<number, number>();
    for (const each of uses) {
      if (new Set(each).size !== Math.min(10, services)) t.fail(String(each));
      for (const one of each) counts.set(one, (counts.get(one) ?? 0) + 1);
    }
    t.equal(counts.size, services);
    t.equal(counts.get(0), 1000);
    if (services === 1000)
      t.ok(
        Math.max(...[...counts.values()].filter((each) => each < 1000)) <= 10,
      );
  }
  t.end();
});

void t.test("a window waits for the calls that began in it", async (t) => {
  let left = false;
  const window = new Window(() => (left = true));
  window.begin();
  window.begin();
  window.record(3, undefined);
  const ended = window.end();
  t.ok(left, "no more calls begin in it");
  window.record(7, "503 NO_ENDPOINT");
  const { calls, failed, worst, reasons } = await ended;
  t.same({ calls, failed, worst }, { calls: 2, failed: 1, worst: 7 });
  t.same(reasons, { "503 NO_ENDPOINT": 1 });
});

void t.test("the figures of two runs are in one table", (t) => {
  const result = (version: string, value: number): ScaleResult => ({
    scenario: "scale",
    date: "2026-11-28T00:00:00.000Z",
    version,
    machine: { cpu: "c", cores: 2, kernel: "k", node: "n", tools: {} },
    options: {},
    meshes: [
      {
        services: 1000,
        resources: 12_000,
        figures: [
          { line: "changes", name: "unused: CPU", unit: "ms a change", value },
          { line: "fleet", name: "streams", unit: "", value: 1000 },
        ],
        failures: { churn: "the API is down" },
      },
    ],
  });
  const old = result("old", 201);
  const [mesh] = old.meshes;
  const ready = { line: "life", name: "ready", unit: "ms", value: 9 } as const;
  const page = scalePage(result("new", 0.5), {
    ...old,
    meshes: mesh ? [{ ...mesh, figures: [...mesh.figures, ready] }] : [],
  });
  t.notMatch(page, /## life/, "lines that were not measured are left out");
  t.match(page, /\| unused: CPU \| ms a change \| 201 \| 0\.500 \|/);
  t.match(page, /\| fleet: streams \| {2}\| at least 1,000 \| 1,000 \| yes \|/);
  t.match(page, /churn, 1,000 Services: no figures: the API is down/);
  t.end();
});

void t.test("figures stand beside their goals", (t) => {
  const figure = (name: string, value: number) =>
    ({ line: "fleet", name, unit: "u", value }) as const;
  t.same(
    reached([
      figure("streams", 999),
      figure("CPU of the control plane in churn", 60),
      figure("RSS of the control plane", 382),
      figure("something else", 1),
    ]).map(({ goal, met }) => [goal.name, met]),
    [
      ["streams", false],
      ["CPU of the control plane in churn", true],
      ["RSS of the control plane", false],
    ],
  );
  t.equal(new Set(GOALS.map(({ name }) => name)).size, GOALS.length);
  t.end();
});

void t.test("digits are those that say something", (t) => {
  t.equal(shown(1234.5), "1,235");
  t.equal(shown(12.34), "12.3");
  t.equal(shown(0.1234), "0.123");
  t.equal(shown(3), "3");
  t.equal(shown(Number.NaN), "–");
  t.same(spreadOf([3, 1, 2]), { p50: 2, p99: 3, worst: 3 });
  t.end();
});

void t.test("options that make no sense are refused", (t) => {
  t.same(readScaleOptions(["--all"])?.sizes, [10, 100, 1000, 10_000]);
  t.same(readScaleOptions(["life", "changes"])?.linesAt(1000), [
    "changes",
    "life",
  ]);
  const table = readScaleOptions(["--table"]);
  t.same(table?.sizes, [10, 100, 1000, 10_000]);
  t.ok(table?.linesAt(1000).includes("envoy"));
  t.notOk(table?.linesAt(10).includes("envoy"));
  t.equal(table?.changes, 8);
  t.equal(readScaleOptions(["--table", "--changes", "3"])?.changes, 3);
  t.equal(readScaleOptions([])?.changes, 20);
  t.equal(readScaleOptions(["--help"]), undefined);
  for (const argv of [
    ["nothing"],
    ["--services", "1"],
    ["--services", "10,x"],
    ["--changes", "0"],
    ["--fill", "file"],
    ["--unknown"],
  ])
    t.throws(() => readScaleOptions(argv), { name: "UserError" });
  t.end();
});
