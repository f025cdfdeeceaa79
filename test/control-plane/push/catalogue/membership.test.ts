import t from "tap";
import { Catalogue } from "../../../../src/control-plane/push/catalogue/catalogue.ts";
import { resourceName } from "../../../../src/push/names.ts";
import { keyOf, type Resource } from "../../../../src/resources/envelope.ts";
import {
  MESH,
  route,
  service,
} from "../../../support/control-plane/push-control-plane.ts";
import { scope } from "../../../support/resources/scope-oracle.ts";

const SELF = {
  namespace: "shop",
  labels: { app: "web", tier: "front" },
  name: "web-1",
};

function workload(name: string, app: string, namespace = "shop"): Resource {
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Workload",
    metadata: { name, namespace, labels: { app } },
    spec: { address: "10.0.0.1" },
  };
}

function policy(
  kind: string,
  namespace: string,
  matchLabels?: Record<string, string>,
  targets?: readonly string[],
): Resource {
  return {
    apiVersion: `${kind === "Telemetry" ? "telemetry" : "security"}.istio.io/v1`,
    kind,
    metadata: { name: "p", namespace },
    spec: {
      ...(matchLabels === undefined ? {} : { selector: { matchLabels } }),
      ...(targets === undefined
        ? {}
        : { targetRefs: targets.map((name) => ({ kind: "Service", name })) }),
    },
  };
}

function trafficPolicy(namespace: string, target: string): Resource {
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "TrafficPolicy",
    metadata: { name: "tp", namespace },
    spec: { targetRefs: [{ kind: "Service", name: target }] },
  };
}

function fault(
  namespace: string,
  target: string,
  from?: readonly object[],
): Resource {
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "FaultInjection",
    metadata: { name: "f", namespace },
    spec: {
      targetRefs: [{ kind: "Service", name: target }],
      reset: { percentage: 1 },
      expiresAt: "2026-12-01T00:00:00Z",
      ...(from === undefined ? {} : { from }),
    },
  };
}

const infra = service("db", {}, "infra");
const hidden = service("db", { exportTo: ["."] }, "infra");
const forShop = service("db", { exportTo: ["shop"] }, "infra");

const TABLE: readonly (readonly [
  name: string,
  subject: Resource,
  others: readonly Resource[],
  inScope: boolean,
])[] = [
  ["the Mesh", MESH, [], true],
  [
    "a fault in calls to a Service that it sees",
    fault("infra", "db"),
    [infra],
    true,
  ],
  [
    "a fault in calls to one that it does not",
    fault("infra", "db"),
    [hidden],
    false,
  ],
  [
    "a fault for callers with its labels",
    fault("infra", "db", [{ labels: { app: "web" } }]),
    [infra],
    true,
  ],
  [
    "a fault for other callers",
    fault("infra", "db", [{ labels: { app: "jobs" } }, { namespace: "infra" }]),
    [infra],
    false,
  ],
  ["a Service of its namespace", service("orders"), [], true],
  [
    "a Service of its namespace that is exported elsewhere only",
    service("orders", { exportTo: ["infra"] }),
    [],
    true,
  ],
  ["a Service of another namespace", infra, [], true],
  ["a Service of another namespace, kept there", hidden, [], false],
  ["a Service of another namespace, exported to this one", forShop, [], true],
  [
    "a Workload that a visible Service selects",
    workload("orders-1", "orders"),
    [service("orders")],
    true,
  ],
  [
    "a Workload that nothing selects",
    workload("job-1", "job"),
    [service("orders")],
    false,
  ],
  [
    "a Workload that a Service of another namespace would select",
    workload("db-1", "db"),
    [infra],
    false,
  ],
  [
    "a Workload of another namespace behind an exported Service",
    workload("db-1", "db", "infra"),
    [infra],
    true,
  ],
  [
    "a Workload of another namespace behind a kept Service",
    workload("db-1", "db", "infra"),
    [hidden],
    false,
  ],
  [
    "a route of its namespace (consumer)",
    {
      ...route("r", "db"),
      spec: { parentRefs: [{ name: "db", namespace: "infra" }], rules: [] },
    },
    [infra],
    true,
  ],
  [
    "a route beside a visible Service (producer)",
    route("r", "db", "infra"),
    [infra],
    true,
  ],
  [
    "a GRPCRoute beside a visible Service (producer)",
    { ...route("r", "db", "infra"), kind: "GRPCRoute" },
    [infra],
    true,
  ],
  [
    "a GRPCRoute beside a kept Service",
    { ...route("r", "db", "infra"), kind: "GRPCRoute" },
    [hidden],
    false,
  ],
  ["a route beside a kept Service", route("r", "db", "infra"), [hidden], false],
  [
    "another namespace's consumer route",
    {
      ...route("r", "orders", "infra"),
      spec: { parentRefs: [{ name: "orders", namespace: "shop" }], rules: [] },
    },
    [service("orders"), infra],
    false,
  ],
  [
    "the TrafficPolicy of a visible Service",
    trafficPolicy("infra", "db"),
    [infra],
    true,
  ],
  [
    "the TrafficPolicy of a kept Service",
    trafficPolicy("infra", "db"),
    [hidden],
    false,
  ],
  [
    "an AuthorizationPolicy of its namespace",
    policy("AuthorizationPolicy", "shop"),
    [],
    true,
  ],
  [
    "an AuthorizationPolicy of the root namespace",
    policy("AuthorizationPolicy", "wherry-system"),
    [],
    true,
  ],
  [
    "an AuthorizationPolicy of another namespace",
    policy("AuthorizationPolicy", "infra"),
    [],
    false,
  ],
  [
    "an AuthorizationPolicy that selects it",
    policy("AuthorizationPolicy", "shop", { app: "web" }),
    [],
    true,
  ],
  [
    "an AuthorizationPolicy that selects it and more",
    policy("AuthorizationPolicy", "shop", { app: "web", tier: "back" }),
    [],
    false,
  ],
  [
    "a PeerAuthentication that selects another",
    policy("PeerAuthentication", "shop", { app: "orders" }),
    [],
    false,
  ],
  [
    "a PeerAuthentication of the root namespace that selects it",
    policy("PeerAuthentication", "wherry-system", { tier: "front" }),
    [],
    true,
  ],
  [
    "an AuthorizationPolicy for a Service that selects it",
    policy("AuthorizationPolicy", "shop", undefined, ["gone", "front"]),
    [service("front", { selector: { tier: "front" } })],
    true,
  ],
  [
    "an AuthorizationPolicy for a Service that selects others",
    policy("AuthorizationPolicy", "shop", undefined, ["orders"]),
    [service("orders", { selector: { app: "orders" } })],
    false,
  ],
  [
    "an AuthorizationPolicy for a Service that is not there",
    policy("AuthorizationPolicy", "shop", undefined, ["front"]),
    [],
    false,
  ],
  [
    "an AuthorizationPolicy for a Service of another namespace",
    policy("AuthorizationPolicy", "infra", undefined, ["front"]),
    [
      service("front", { selector: { tier: "front" } }),
      service("front", { selector: { tier: "front" } }, "infra"),
    ],
    false,
  ],
  [
    "an AuthorizationPolicy of the root namespace for a Service of that name here",
    policy("AuthorizationPolicy", "wherry-system", undefined, ["front"]),
    [service("front", { selector: { tier: "front" } })],
    false,
  ],
  [
    "a Telemetry that selects it",
    policy("Telemetry", "shop", { app: "web" }),
    [],
    true,
  ],
  [
    "a Telemetry that selects another",
    policy("Telemetry", "shop", { app: "orders" }),
    [],
    false,
  ],
  [
    "a kind that only the store knows",
    { ...MESH, kind: "EnrolmentToken" },
    [],
    false,
  ],
];

for (const [name, subject, others, inScope] of TABLE)
  void t.test(`${name} is ${inScope ? "" : "not "}in scope`, (t) => {
    const catalogue = new Catalogue();
    for (const resource of [...others, subject]) catalogue.put(resource);
    const wanted = resourceName(keyOf(subject));
    const { set } = catalogue.open(SELF);
    t.equal(
      set.entries.values().some(({ name }) => name === wanted),
      inScope,
    );
    t.equal(
      scope(SELF, [...others, subject]).includes(subject),
      inScope,
      "and so says the look at everything",
    );
    t.end();
  });

void t.test(
  "a policy for a Service comes and goes with what the Service selects, also for a sidecar that asks for itself alone",
  (t) => {
    for (const names of [["*"], ["self"]]) {
      const catalogue = new Catalogue();
      let version = 0;
      const put = (resource: Resource): void => {
        version += 1;
        const { metadata } = resource;
        const resourceVersion = String(version);
        catalogue.put({
          ...resource,
          metadata: { ...metadata, resourceVersion },
        });
      };
      const front = (tier: string): Resource =>
        service("front", { selector: { tier } });
      const deny = policy("AuthorizationPolicy", "shop", undefined, ["front"]);
      const tokens = policy("RequestAuthentication", "shop", undefined, [
        "front",
      ]);
      put(deny);
      put(tokens);
      const view = catalogue.open(SELF, names);
      const held = (): boolean => {
        const has = [deny, tokens].map((wanted) =>
          view.set.entries
            .values()
            .some(({ name }) => name === resourceName(keyOf(wanted))),
        );
        t.equal(has[0], has[1], "both kinds");
        return has[0] === true;
      };
      t.equal(held(), false, "no Service");
      put(front("back"));
      t.equal(held(), false, "it selects others");
      put(front("front"));
      t.equal(held(), true, "it selects the workload");
      put(front("back"));
      t.equal(held(), false, "and others again");
      put(front("front"));
      version += 1;
      catalogue.remove(front("front"), version);
      t.equal(held(), false, "and is deleted");
      put(front("front"));
      put(policy("AuthorizationPolicy", "shop", undefined, ["orders"]));
      put(policy("RequestAuthentication", "shop", undefined, ["orders"]));
      t.equal(held(), false, "the policies are for another");
    }
    t.end();
  },
);
