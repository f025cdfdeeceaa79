/** No step of a compile looks at more than a few hundred resources, however many one Service or workload has (law 16). */
import t from "tap";
import { compileSteps } from "../../../src/policy/compile/compile.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  authorizationPolicy,
  mesh,
  peerAuthentication,
  self,
  service,
  VERSION,
  workload,
} from "../../support/resources/policy-fixtures.ts";

const COUNT = 2000;
/** A step takes 32 changes, each of which is looked at up to 18 times, or passes over 256 policies, with up to 6 looks each. */
const MOST = 1600;
const POLICIES = 3000;

let looks = 0;

/** Counts each look at what it says. */
function counted(resource: Resource): Resource {
  const seen = { ...resource };
  for (const field of ["metadata", "spec"] as const)
    Object.defineProperty(seen, field, {
      enumerable: true,
      get() {
        looks += 1;
        return resource[field];
      },
    });
  return seen;
}

const instance = (at: number, version = ""): Resource =>
  counted(
    workload(
      `shop/orders-${at}`,
      "orders",
      { address: `10.1.${at >> 8}.${at & 255}` },
      { labels: { app: "orders", version } },
    ),
  );

/** Looks of the longest step, and of all. */
function compile(
  resources: readonly Resource[],
  previous?: Snapshot,
  namespace = "shop",
): {
  readonly snapshot: Snapshot;
  readonly most: number;
  readonly sum: number;
} {
  const steps = compileSteps(resources, self({ namespace }), VERSION, {
    validated: true,
    owned: true,
    previous,
  });
  let most = 0;
  let sum = 0;
  for (;;) {
    looks = 0;
    const step = steps.next();
    most = Math.max(most, looks);
    sum += looks;
    if (step.done === true) return { snapshot: step.value.snapshot, most, sum };
  }
}

for (const appProtocol of ["http", "tcp"] as const)
  void t.test(`one Service of ${COUNT} instances, ${appProtocol}`, (t) => {
    const orders = service("shop/orders", {
      ports: [{ name: "http", port: 80, targetPort: 8080, appProtocol }],
    });
    const instances = Array.from({ length: COUNT }, (_, at) => instance(at));
    const first = compile([mesh(), orders, ...instances]);
    const changes: readonly (readonly [
      string,
      readonly Resource[],
      string?,
    ])[] = [
      [
        "all of them are others",
        Array.from({ length: COUNT }, (_, at) => instance(at, "2")),
      ],
      ["half of them go", instances.slice(COUNT / 2)],
      ["all of them go", []],
      ["the caller is of another namespace", instances, "web"],
    ];
    const within = (
      { most, sum }: { most: number; sum: number },
      what: string,
    ): void => {
      t.ok(most <= MOST, `${what}: ${most} looks in one step, ${sum} in all`);
    };
    within(first, "the first");
    t.ok(first.sum > COUNT * 5, "looks are counted");
    for (const [what, others, namespace] of changes)
      within(
        compile([mesh(), orders, ...others], first.snapshot, namespace),
        what,
      );
    within(
      compile(
        [mesh(), orders, ...instances],
        compile([mesh(), orders]).snapshot,
      ),
      "all of them come",
    );
    t.end();
  });

void t.test(`${POLICIES} policies of one workload`, (t) => {
  const names = Array.from({ length: POLICIES }, (_, at) => `shop/p-${at}`);
  const selector = { matchLabels: { app: "web" } };
  const rules = [{ to: [{ operation: { paths: ["/a"] } }] }];
  const kinds: Readonly<Record<string, readonly Resource[]>> = {
    ALLOW: names.map((name) =>
      authorizationPolicy(name, { action: "ALLOW", selector, rules }),
    ),
    DENY: names.map((name) =>
      authorizationPolicy(name, { action: "DENY", rules }),
    ),
    PeerAuthentication: names.map((name) =>
      peerAuthentication(name, { mtls: { mode: "STRICT" } }),
    ),
  };
  for (const [kind, policies] of Object.entries(kinds)) {
    const seen = policies.map(counted);
    const all = compile([mesh(), ...seen]);
    const fewer = compile([mesh(), ...seen.slice(1)], all.snapshot);
    for (const { most, sum } of [all, fewer])
      t.ok(
        most <= MOST && sum > POLICIES,
        `${kind}: ${most} looks in one step, ${sum} in all`,
      );
  }
  t.end();
});
