/** Which Services an ALLOW of the same files closes. */
import t from "tap";
import { closuresIn } from "../../../src/resources/cross-checks/closures.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  authorizationPolicy,
  service,
} from "../../support/resources/policy-fixtures.ts";

const ORDERS = service("shop/orders");
const FOR_ORDERS = { selector: { matchLabels: { app: "orders" } } };
const TARGETS = {
  targetRefs: [{ kind: "Service" as const, name: "orders" }],
};
const ALL = { rules: [{}] };

/** Policies, and "SERVICE by POLICIES" of each closed Service. */
const TABLE: readonly (readonly [string, readonly Resource[], ...string[]])[] =
  [
    ["no policy", []],
    [
      "an ALLOW",
      [authorizationPolicy("shop/a", FOR_ORDERS)],
      "shop/orders by shop/a",
    ],
    [
      "two of them",
      [
        authorizationPolicy("shop/a", ALL),
        authorizationPolicy("shop/b", FOR_ORDERS),
      ],
      "shop/orders by shop/a,shop/b",
    ],
    [
      "the root namespace's",
      [authorizationPolicy("wherry-system/a", ALL)],
      "shop/orders by wherry-system/a",
    ],
    ["another namespace's", [authorizationPolicy("far/a", ALL)]],
    ["a DENY", [authorizationPolicy("shop/a", { action: "DENY", ...ALL })]],
    ["an AUDIT", [authorizationPolicy("shop/a", { action: "AUDIT", ...ALL })]],
    [
      "one on trial",
      [
        authorizationPolicy("shop/a", ALL, {
          annotations: { "istio.io/dry-run": "true" },
        }),
      ],
    ],
    [
      "one for the Service",
      [authorizationPolicy("shop/a", TARGETS)],
      "shop/orders by shop/a",
    ],
    [
      "one for the Service of that name elsewhere",
      [
        authorizationPolicy("wherry-system/a", TARGETS),
        authorizationPolicy("far/a", TARGETS),
      ],
    ],
    [
      "one for some of its workloads",
      [
        authorizationPolicy("shop/a", {
          selector: { matchLabels: { version: "v2" } },
        }),
      ],
    ],
  ];

for (const [title, policies, ...expected] of TABLE)
  void t.test(title, (t) => {
    t.strictSame(
      closuresIn([ORDERS, ...policies]).map(
        ({ service: name, by }) => `${name} by ${by.join()}`,
      ),
      expected,
    );
    t.end();
  });

void t.test("a Service outside of the mesh is nobody's to close", (t) => {
  const outside = service("shop/pay", {
    location: "MESH_EXTERNAL",
    hosts: ["pay.example"],
  });
  t.strictSame(closuresIn([outside, authorizationPolicy("shop/a", ALL)]), []);
  t.end();
});
