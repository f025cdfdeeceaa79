/** Routes that lead to wildcard hosts alone: what is warned of is what then comes to nothing. */
import t from "tap";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import { checkReferences } from "../../../src/resources/cross-checks/references.ts";
import {
  formatKey,
  keyOf,
  type Resource,
} from "../../../src/resources/envelope.ts";
import type { HTTPRouteSpec } from "../../../src/resources/http-route/spec.ts";
import {
  httpRoute,
  request,
  self,
  service,
  VERSION,
  workload,
} from "../../support/resources/policy-fixtures.ts";

const ports = [{ name: "http", port: 80, targetPort: 8080 }];
const outside = (name: string, ...hosts: string[]): Resource =>
  service(`shop/${name}`, {
    ...{ location: "MESH_EXTERNAL", hosts, ports },
  });
const SERVICES = [
  service("shop/orders", { ports }),
  workload("shop/orders-1", "orders"),
  outside("wild", "*.a.example", "*.b.example"),
  outside("mixed", "*.c.example", "c.example"),
  outside("exact", "d.example"),
];
const byKey = new Map(SERVICES.map((each) => [formatKey(keyOf(each)), each]));

interface RouteOf {
  readonly parents: readonly string[];
  readonly backend?: string;
  readonly mirror?: string;
  readonly hostname?: string;
}

function routeOf({ parents, backend, mirror, hostname }: RouteOf): Resource {
  const ref = (name: string): object => ({ kind: "Service", name, port: 80 });
  const filters = [
    ...(mirror === undefined
      ? []
      : [
          {
            type: "RequestMirror",
            requestMirror: { backendRef: ref(mirror) },
          },
        ]),
    ...(hostname === undefined
      ? []
      : [{ type: "URLRewrite", urlRewrite: { hostname } }]),
  ];
  return httpRoute("shop/route", {
    parentRefs: parents.map((name) => ({
      ...{ group: "mesh.wherry.dev", kind: "Service", name },
    })),
    rules: [
      {
        ...(backend === undefined ? {} : { backendRefs: [ref(backend)] }),
        ...(filters.length === 0 ? {} : { filters }),
      },
    ],
  } as unknown as HTTPRouteSpec);
}

const BACKEND = "spec.rules[0].backendRefs[0].name";
const MIRROR = "spec.rules[0].filters[0].requestMirror.backendRef.name";
const HOSTNAME = "spec.rules[0].filters[0].urlRewrite.hostname";

const ROWS: readonly (readonly [RouteOf, ...string[]])[] = [
  [{ parents: ["orders"], backend: "wild" }, BACKEND],
  [{ parents: ["wild", "orders"], backend: "wild" }, BACKEND],
  [{ parents: ["mixed"], backend: "wild" }, BACKEND],
  [{ parents: ["wild"], backend: "wild" }],
  [{ parents: ["orders"], backend: "mixed" }],
  [{ parents: ["orders"], backend: "exact" }],
  [{ parents: ["wild"], backend: "orders" }],
  [{ parents: ["orders"], backend: "orders", mirror: "wild" }, MIRROR],
  [{ parents: ["wild"], backend: "wild", mirror: "wild" }],
  [{ parents: ["orders"], backend: "orders", mirror: "exact" }],
  [{ parents: ["wild"], backend: "wild", hostname: "x.a.example" }, HOSTNAME],
  [{ parents: ["mixed"], backend: "mixed", hostname: "x.c.example" }],
  [{ parents: ["orders"], backend: "orders", hostname: "x.a.example" }],
  // What is not there yet has no hosts.
  [{ parents: ["gone"], backend: "wild" }],
];

for (const [row, ...expected] of ROWS)
  void t.test(JSON.stringify(row), (t) => {
    const found = checkReferences(routeOf(row), (key) =>
      byKey.get(formatKey(key)),
    ).filter(({ message }) => message.includes("wildcard hosts alone"));
    t.same(
      found.map(({ path, severity }) => [path, severity]),
      expected.map((path) => [path, "warning"]),
    );
    t.end();
  });

void t.test("a call that is warned of has no endpoint", (t) => {
  const endpoints = (backend: string): number => {
    const resources = [...SERVICES, routeOf({ parents: ["orders"], backend })];
    const snapshot = compileSnapshot(resources, self(), VERSION);
    const decision = snapshot
      .destination("orders.shop", 80)
      ?.route(request("/"), 0);
    if (decision?.kind !== "forward") throw new Error("it is not forwarded");
    return decision.cluster.endpoints.length;
  };
  t.equal(endpoints("wild"), 0);
  t.equal(endpoints("mixed"), 1);
  t.equal(endpoints("exact"), 1);
  t.end();
});
