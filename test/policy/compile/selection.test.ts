import t from "tap";
import { selection } from "../../../src/policy/compile/selection.ts";
import type { WorkloadResource } from "../../../src/resources/workload/schema.ts";
import { service, workload } from "../../support/policy-fixtures.ts";

/** Workloads of one namespace: as many apps, one instance each, all with the label `env: live`; and how often their labels were read. */
function instances(count: number): {
  readonly workloads: readonly WorkloadResource[];
  readonly reads: () => number;
} {
  let reads = 0;
  const workloads = Array.from({ length: count }, (_none, index) => {
    const made = workload(`shop/w${index}`, "");
    const labels = { env: "live", app: `s${index}` };
    return {
      ...made,
      metadata: {
        ...made.metadata,
        get labels() {
          reads += 1;
          return labels;
        },
      },
    };
  });
  return { workloads, reads: () => reads };
}

void t.test("a Service looks at the instances of its rarest label", (t) => {
  const { workloads, reads } = instances(100);
  const selected = selection(workloads);
  const before = reads();
  for (const selector of [
    { env: "live", app: "s7" },
    { app: "s7", env: "live" },
  ])
    t.strictSame(
      selected(service("shop/s", { selector })).map(
        ({ metadata }) => metadata.name,
      ),
      ["w7"],
    );
  t.equal(reads() - before, 2);
  t.end();
});

void t.test(
  "what no instance has selects nothing, and all that it has in common selects all",
  (t) => {
    const { workloads } = instances(3);
    const selected = selection(workloads);
    for (const [selector, count] of [
      [{ env: "live" }, 3],
      [{ env: "test" }, 0],
      [{ app: "s1", env: "test" }, 0],
      [{}, 0],
    ] as const)
      t.equal(
        selected(service("shop/s", { selector })).length,
        count,
        JSON.stringify(selector),
      );
    t.equal(
      selected(service("far/s", { selector: { env: "live" } })).length,
      0,
      "another namespace",
    );
    t.end();
  },
);
