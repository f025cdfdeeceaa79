/** A regular expression beside a rule that takes every path is never reached, and that is said. */
import t from "tap";
import type { HTTPRouteSpec } from "../../../src/resources/http-route/spec.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { lintText } from "../../support/resources/lint-text.ts";
import { unreachableMatches } from "../../../src/resources/cross-checks/unreachable.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import {
  httpRoute,
  request,
  self,
  service,
  VERSION,
  workload,
} from "../../support/resources/policy-fixtures.ts";

type Rules = HTTPRouteSpec["rules"];

const backendRefs = [{ name: "orders", port: 80 }];
const regex = { path: { type: "RegularExpression", value: "/x.*" } } as const;
const all: Rules = [{ backendRefs }];
const expression: Rules = [{ matches: [regex], backendRefs }];

function route(
  name: string,
  rules: Rules,
  ...parents: readonly object[]
): Resource<HTTPRouteSpec> {
  return httpRoute(name, {
    parentRefs: (parents.length === 0 ? [{}] : parents).map((parent) => ({
      group: "mesh.wherry.dev",
      kind: "Service",
      name: "orders",
      ...parent,
    })) as unknown as HTTPRouteSpec["parentRefs"],
    rules,
  });
}

const prefixed = (match: object): Rules => [{ matches: [match], backendRefs }];

/** Routes; the fields that are never reached. */
const CASES: readonly (readonly [string, readonly Resource[], ...string[]])[] =
  [
    ["no catch-all", [route("shop/a", expression)]],
    [
      "a rule without matches",
      [route("shop/a", [...expression, ...all])],
      "shop/a spec.rules[0].matches[0].path",
    ],
    [
      "a prefix of /",
      [
        route("shop/a", [
          ...prefixed({ path: { type: "PathPrefix", value: "/" } }),
          ...expression,
        ]),
      ],
      "shop/a spec.rules[1].matches[0].path",
    ],
    [
      "of another route that merges",
      [route("shop/a", expression), route("shop/b", all)],
      "shop/a spec.rules[0].matches[0].path",
    ],
    [
      "one for all ports, one for one",
      [route("shop/a", expression, { port: 80 }), route("shop/b", all)],
      "shop/a spec.rules[0].matches[0].path",
    ],
    [
      "another port",
      [
        route("shop/a", expression, { port: 80 }),
        route("shop/b", all, { port: 81 }),
      ],
    ],
    [
      "one port of all",
      [route("shop/a", expression), route("shop/b", all, { port: 81 })],
    ],
    [
      "another parent leaves it something",
      [
        route("shop/a", expression, {}, { name: "other" }),
        route("shop/b", all),
      ],
    ],
    [
      "another namespace",
      [
        route("shop/a", expression),
        route("bank/b", all, { namespace: "shop" }),
      ],
    ],
    [
      "a longer prefix",
      [
        route("shop/a", [
          ...expression,
          ...prefixed({ path: { type: "PathPrefix", value: "/x" } }),
        ]),
      ],
    ],
    [
      "a method",
      [route("shop/a", [...expression, ...prefixed({ method: "GET" })])],
    ],
    [
      "a header",
      [
        route("shop/a", [
          ...expression,
          ...prefixed({ headers: [{ name: "a", value: "b" }] }),
        ]),
      ],
    ],
  ];

for (const [name, routes, ...expected] of CASES)
  void t.test(name, (t) => {
    const found = unreachableMatches(routes);
    t.same(
      found.map(
        ({ route, path }) =>
          `${route.metadata.namespace ?? ""}/${route.metadata.name} ${path}`,
      ),
      expected,
    );
    // The router says the same: a request that the expression is for goes to it, or never does.
    const snapshot = compileSnapshot(
      [
        ...["orders", "other"].map((each) =>
          service(`shop/${each}`, {
            ports: [
              { name: "http", port: 80, targetPort: 8080 },
              { name: "more", port: 81, targetPort: 8081 },
            ],
          }),
        ),
        workload("shop/orders-1", "orders"),
        ...routes,
      ],
      self(),
      VERSION,
    );
    const [first] = routes;
    const taken = ["orders", "other"].some((each) =>
      [80, 81].some((port) => {
        const decision = snapshot
          .destination(each, port)
          ?.route(request("/x1"), 0);
        return (
          decision?.kind === "forward" &&
          decision.rule.route === "shop/a" &&
          first?.spec !== undefined &&
          (first.spec as HTTPRouteSpec).rules[decision.rule.rule]?.matches?.[0]
            ?.path?.type === "RegularExpression"
        );
      }),
    );
    // "a longer prefix", "a method" and "a header" take this very request, not every one.
    if (!["a longer prefix", "a method", "a header"].includes(name))
      t.equal(taken, expected.length === 0);
    t.end();
  });

void t.test("lint names both rules, at the line", (t) => {
  const text = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: mesh.wherry.dev, kind: Service, name: web }]
  rules:
    - backendRefs: [{ name: web, port: 80 }]
    - matches:
        - path: { type: RegularExpression, value: "/v[0-9]+/.*" }
      backendRefs: [{ name: web, port: 80 }]
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: web, namespace: shop }
spec: { ports: [{ port: 80 }], selector: { app: web } }
`;
  t.match(lintText(text, "a.yaml"), [
    {
      line: 9,
      severity: "warning",
      message:
        /rule 1 of HTTPRoute shop\/web is never reached .*: rule 0 of HTTPRoute shop\/web takes every path/,
    },
  ]);
  t.end();
});
