/** What policies may select is found by what is indexed, as a look at everything finds it, and costs what is selected. */
import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import { Grounds } from "../../../src/resources/cross-checks/grounds.ts";
import {
  reachChecker,
  reachOf,
} from "../../../src/resources/cross-checks/reach.ts";
import { selects, type Resource } from "../../../src/resources/envelope.ts";
import {
  targetPortOf,
  type ServiceResource,
} from "../../../src/resources/service/schema.ts";
import type { WorkloadResource } from "../../../src/resources/workload/schema.ts";
import {
  authorizationPolicy,
  service,
  workload,
} from "../../support/resources/policy-fixtures.ts";
import { seeded } from "../../support/resources/random-policy.ts";

type Labels = Readonly<Record<string, string>>;

const KEYS = ["app", "tier", "v"];
const VALUES = ["a", "b"];

void t.test("random labels and selectors", (t) => {
  let selected = 0;
  for (let seed = 1; seed <= 200; seed += 1) {
    const draw = seeded(seed);
    const labels = (): Labels =>
      Object.fromEntries(
        KEYS.filter(() => draw() < 0.5).map((key) => [
          key,
          VALUES[Math.floor(draw() * VALUES.length)] ?? "",
        ]),
      );
    const count = Math.floor(draw() * 5);
    const services = Array.from({ length: count }, (_, index) =>
      service(`shop/s${index}`, {
        selector: labels(),
        ports: [{ port: 80 + index }],
      }),
    );
    const workloads = Array.from({ length: count }, (_, index) =>
      workload(
        `shop/w${index}`,
        "",
        { ports: { http: 9000 + index } },
        { labels: labels() },
      ),
    );
    const reach = atOnce(reachOf([...services, ...workloads], undefined, true));
    const grounds = new Grounds(
      [...reach.namespaces()].flatMap((name) => reach.inhabitants(name) ?? []),
    );
    for (let asked = 0; asked < 6; asked += 1) {
      const wanted = labels();
      if (Object.keys(wanted).length === 0) continue;
      const behind = services.filter((each) => mayCarry(each, wanted));
      const having = workloads.filter(({ metadata }) =>
        selects(wanted, metadata.labels),
      );
      const said = `${seed}: ${JSON.stringify(wanted)}`;
      t.equal(grounds.holds(wanted), behind.length + having.length > 0, said);
      t.same([...grounds.portsOf(wanted)].sort(), ports(having, behind), said);
      t.same(
        grounds
          .servicePorts(wanted)
          .map(({ port }) => port)
          .sort(),
        behind.flatMap(({ spec }) => spec.ports.map(({ port }) => port)).sort(),
        said,
      );
      selected += behind.length;
    }
    t.same([...grounds.portsOf(undefined)].sort(), ports(workloads, services));
  }
  t.ok(selected > 100, `${selected}`);
  t.end();
});

function mayCarry({ spec }: ServiceResource, labels: Labels): boolean {
  return Object.entries(labels).every(
    ([key, value]) => (spec.selector?.[key] ?? value) === value,
  );
}

function ports(
  workloads: readonly WorkloadResource[],
  services: readonly ServiceResource[],
): string[] {
  return [
    ...new Set([
      ...workloads.flatMap(({ spec }) =>
        Object.values(spec.ports ?? {}).map(String),
      ),
      ...services.flatMap(({ spec }) =>
        spec.ports.map((port) => String(targetPortOf(port))),
      ),
    ]),
  ].sort();
}

void t.test("many policies of one namespace", (t) => {
  /** Looks at a Service or a Workload, for as many policies as there are Services. */
  const looks = (count: number): number => {
    let read = 0;
    const counted = (resource: Resource): Resource => ({
      ...resource,
      get spec() {
        read += 1;
        return resource.spec;
      },
    });
    const names = Array.from({ length: count }, (_, index) => `n${index}`);
    const check = reachChecker(
      atOnce(
        reachOf(
          names.flatMap((name) => [
            counted(service(`shop/${name}`)),
            counted(workload(`shop/${name}`, name)),
          ]),
          undefined,
          true,
        ),
      ),
    );
    for (const name of names)
      for (const [labels, port] of [
        [{ app: name }, "8080"],
        [{ tier: "gold", app: name }, "8080"],
        [{ app: `not-${name}` }, "8080"],
        [undefined, "8080"],
        [{ app: name }, "80"],
      ] as const)
        check(
          authorizationPolicy(`shop/${name}`, {
            ...(labels === undefined
              ? {}
              : { selector: { matchLabels: labels } }),
            rules: [{ to: [{ operation: { ports: [port] } }] }],
          }),
        );
    return read;
  };
  const few = looks(50);
  const many = looks(100);
  t.ok(many <= 2.1 * few, `${few} looks for 50 policies, ${many} for 100`);
  t.end();
});
