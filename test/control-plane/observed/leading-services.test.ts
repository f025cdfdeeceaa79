/** Which Services that policies are for lead to a workload. */
import t from "tap";
import {
  leadingServices,
  NO_SERVICES,
} from "../../../src/control-plane/observed/leading-services.ts";
import {
  formatKey,
  keyOf,
  type Resource,
} from "../../../src/resources/envelope.ts";
import {
  authorizationPolicy,
  service,
  workload,
} from "../../support/resources/policy-fixtures.ts";

const ONE = { namespace: "shop", name: "orders-1", labels: { app: "orders" } };

function policyFor(...names: string[]): ReturnType<typeof authorizationPolicy> {
  return authorizationPolicy("shop/p", {
    targetRefs: names.map((name) => ({ kind: "Service", name })),
  });
}

function meshOf(...resources: readonly Resource[]): {
  find: (key: Parameters<typeof formatKey>[0]) => Resource | undefined;
} {
  const known = new Map(
    resources.map((each) => [formatKey(keyOf(each)), each]),
  );
  return { find: (key) => known.get(formatKey(key)) };
}

const SERVICES = [
  service("shop/orders"),
  service("shop/both", { selector: { app: "orders" } }),
  service("shop/admin", {
    selector: { app: "orders" },
    ports: [{ name: "admin", port: 80, targetPort: 9000 }],
  }),
  service("shop/other"),
  service("far/orders"),
];
const ALL = ["orders", "both", "admin", "other", "gone"];

void t.test("by the workload's labels and ports", (t) => {
  const mesh = meshOf(
    ...SERVICES,
    workload("shop/orders-1", "orders", { ports: { http: 8081, admin: 9000 } }),
  );
  const leading = leadingServices(mesh, [policyFor(...ALL)]);
  const rows: readonly (readonly [number | undefined, readonly string[]])[] = [
    [undefined, ["orders", "both", "admin"]],
    // A port of the Service's own name counts before its target port.
    [8081, ["orders", "both"]],
    [8080, []],
    [9000, ["admin"]],
  ];
  for (const [port, names] of rows)
    t.strictSame([...leading(ONE, port)], names, String(port));
  t.strictSame([...leading({ ...ONE, namespace: "far" }, undefined)], []);
  t.strictSame([...leading({ ...ONE, labels: {} }, undefined)], []);
  t.end();
});

void t.test(
  "a workload that is not registered is taken at the Services' word",
  (t) => {
    const leading = leadingServices(meshOf(...SERVICES), [policyFor(...ALL)]);
    t.strictSame([...leading(ONE, 8080)], ["orders", "both"]);
    t.end();
  },
);

void t.test("only what policies name, and as it is to be written", (t) => {
  const mesh = meshOf(...SERVICES);
  t.strictSame([...leadingServices(mesh, [policyFor("both")])(ONE)], ["both"]);
  t.equal(leadingServices(mesh, []), NO_SERVICES);
  const moved = service("shop/orders", { selector: { app: "web" } });
  t.strictSame(
    [...leadingServices(mesh, [policyFor("orders")], [moved])(ONE)],
    [],
  );
  t.end();
});
