/** Who has a host, for callers of each namespace, and what the others are told: sidecars and conditions agree. */
import t from "tap";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import { conflicts } from "../../../src/resources/cross-checks/conflicts.ts";
import {
  checkHosts,
  hostOwner,
  isMeshForm,
} from "../../../src/resources/ownership/host-owners.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  visibilityOf,
  type ServiceResource,
  type ServiceSpec,
} from "../../../src/resources/service/schema.ts";
import { hostFault } from "../../../src/resources/text-checks.ts";
import {
  born,
  self,
  service,
  VERSION,
} from "../../support/resources/policy-fixtures.ts";

const HOST = "api.partner.example";

function external(
  name: string,
  age: number,
  spec: Partial<ServiceSpec> = {},
): ServiceResource {
  return service(
    name,
    {
      location: "MESH_EXTERNAL",
      hosts: [HOST],
      ports: [{ port: 80 }],
      ...spec,
    },
    born(age),
  );
}

const name = (found: Resource | undefined): string | undefined =>
  found === undefined
    ? undefined
    : `${found.metadata.namespace ?? ""}/${found.metadata.name}`;

interface Case {
  readonly title: string;
  readonly services: readonly ServiceResource[];
  /** Caller's namespace → who has HOST:80 there. */
  readonly owners: Readonly<Record<string, string | undefined>>;
  /** "LOSER < WINNER" */
  readonly losses: readonly string[];
}

const CASES: readonly Case[] = [
  {
    title: "the first to claim, for everybody",
    services: [external("a/one", 1), external("b/two", 2)],
    owners: { a: "a/one", b: "a/one", c: "a/one" },
    losses: ["b/two < a/one"],
  },
  {
    title: "what is kept to its own namespace takes nothing from others",
    services: [
      external("a/one", 1, { exportTo: ["."] }),
      external("b/two", 2, { exportTo: ["."] }),
    ],
    owners: { a: "a/one", b: "b/two", c: undefined },
    losses: [],
  },
  {
    title:
      "an older private claim stands in its namespace, and the exported one is told",
    services: [external("a/one", 1, { exportTo: ["."] }), external("b/two", 2)],
    owners: { a: "a/one", b: "b/two", c: "b/two" },
    losses: ["b/two < a/one"],
  },
  {
    title: "a younger private claim loses",
    services: [external("b/two", 1), external("a/one", 2, { exportTo: ["."] })],
    owners: { a: "b/two", c: "b/two" },
    losses: ["a/one < b/two"],
  },
  {
    title: "named namespaces meet where both are seen",
    services: [
      external("a/one", 1, { exportTo: ["c", "d"] }),
      external("b/two", 2, { exportTo: ["d", "e"] }),
      external("z/three", 3, { exportTo: ["f"] }),
    ],
    owners: { c: "a/one", d: "a/one", e: "b/two", f: "z/three", a: undefined },
    losses: ["b/two < a/one"],
  },
  {
    title: "a namespace has a host with all ports; its Services share them",
    services: [
      external("a/one", 1, { ports: [{ port: 443 }] }),
      external("b/other", 2),
      external("a/two", 3),
      external("a/three", 4),
    ],
    owners: { c: "a/two" },
    losses: ["b/other < a/one", "a/three < a/two"],
  },
  {
    title: "of one age the name decides, and without an age the youngest loses",
    services: [
      external("b/two", 1),
      external("a/one", 1),
      service("aa/no-age", {
        location: "MESH_EXTERNAL",
        hosts: [HOST],
        ports: [{ port: 80 }],
      }),
    ],
    owners: { c: "a/one" },
    losses: ["b/two < a/one", "aa/no-age < a/one"],
  },
  {
    title: "a Service of the mesh has its names, however young",
    services: [
      external("a/one", 1, { hosts: ["orders.shop"] }),
      service("shop/orders", {}, born(9)),
    ],
    owners: {},
    losses: ["a/one < shop/orders"],
  },
  {
    title:
      "a Service of the mesh that callers do not see takes no host from them",
    services: [
      external("a/one", 1, { hosts: ["orders.shop"], exportTo: ["."] }),
      service("shop/orders", { exportTo: ["."] }, born(9)),
    ],
    owners: {},
    losses: [],
  },
];

for (const { title, services, owners, losses } of CASES)
  void t.test(title, (t) => {
    const found = conflicts(services).map(({ loser, winner, reason, path }) => {
      t.equal(reason, "HostTaken");
      t.match(path, /^spec\.hosts\[0\]$/);
      return `${name(loser) ?? ""} < ${name(winner) ?? ""}`;
    });
    t.same(found, losses);
    const asFirst = services.filter(({ spec }) => spec.hosts?.[0] === HOST);
    for (const [caller, expected] of Object.entries(owners)) {
      // the order in which they come makes no difference to a sidecar
      for (const order of [services, services.toReversed()]) {
        const snapshot = compileSnapshot(
          order.filter(
            // a sidecar knows what its namespace may see
            ({ metadata, spec }) =>
              metadata.namespace === caller ||
              (spec.exportTo ?? ["*"]).some(
                (to) => to === "*" || to === caller,
              ),
          ),
          self({ namespace: caller }),
          VERSION,
        );
        const { service: at } = snapshot.destination(HOST, 80) ?? {};
        t.equal(
          at && `${at.namespace}/${at.name}`,
          expected,
          `callers in ${caller}`,
        );
      }
      const sorted = asFirst.toSorted(
        (left, right) =>
          Date.parse(left.metadata.creationTimestamp ?? "9999-01-01") -
            Date.parse(right.metadata.creationTimestamp ?? "9999-01-01") ||
          ((name(left) ?? "") < (name(right) ?? "") ? -1 : 1),
      );
      const seen = sorted.filter((resource) =>
        visibilityOf(resource).some((to) => to === "*" || to === caller),
      );
      t.equal(
        name(hostOwner(seen, (each) => each, seen[0], 80)),
        expected,
        `the whole mesh says the same of callers in ${caller}`,
      );
    }
    t.end();
  });

void t.test("which hosts no external Service can have", (t) => {
  for (const [host, message] of [
    ["orders", /single label/],
    ["localhost", /single label/],
    ["orders.shop.svc", /own name/],
    ["svc", /single label/],
    ["a.svc", /own name/],
    ["orders.shop.svc.cluster.local", /own name/],
    ["10.0.0.7", /IP address/],
    ["1", /IP address/],
    ["127.1", /IP address/],
    ["a.0x7f", /IP address/],
    ["a.0x", /IP address/],
  ] as const)
    t.match(hostFault(host), message, host);
  for (const host of ["a.b", "api.partner.example", "svc.example", "7.example"])
    t.equal(hostFault(host), undefined, host);
  t.equal(isMeshForm("a.b.svc.mesh.example", "mesh.example"), true);
  t.equal(isMeshForm("a.b.svc.mesh.example", "cluster.local"), false);
  t.end();
});

void t.test("hosts that shadow names of this mesh", (t) => {
  const faults = (host: string): readonly string[] =>
    checkHosts(
      external("a/one", 1, { hosts: [host] }),
      (namespace) => namespace === "shop",
      { trustDomain: "mesh.example", hostClaims: [] },
    ).map(({ path, message }) => `${path}: ${message}`);
  t.match(faults("orders.shop"), [/spec\.hosts\[0\]: .*Service orders/]);
  t.match(faults("not-yet.shop"), [/namespace shop, which this mesh has/]);
  t.match(faults("a.b.svc.mesh.example"), [/own name/]);
  t.same(faults("a.b.svc.other.example"), []);
  t.same(faults("www.orders.shop"), []);
  t.same(faults("api.partner.example"), []);
  t.end();
});
