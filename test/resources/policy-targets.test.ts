/** Security policies for Services (Istio's targetRefs). */
import t from "tap";
import { AUTHORIZATION_POLICY } from "../../src/resources/authorization-policy/schema.ts";
import { checkReferences } from "../../src/resources/cross-checks/references.ts";
import { formatKey, keyOf } from "../../src/resources/envelope.ts";
import { REQUEST_AUTHENTICATION } from "../../src/resources/request-authentication/schema.ts";
import {
  authorizationPolicy,
  service,
} from "../support/resources/policy-fixtures.ts";
import {
  compare,
  runCases,
  type Case,
  type Expected,
} from "../support/resources/resource-cases.ts";

const ORDERS = { kind: "Service" as const, name: "orders" };
const SELECTOR = { matchLabels: { app: "orders" } };

const cases = (rest: object): readonly Case[] => [
  ["one Service", { targetRefs: [ORDERS], ...rest }],
  [
    "several, with each spelling of the group",
    {
      targetRefs: ["", "core", "mesh.wherry.dev"].map((group, index) => ({
        ...{ group, kind: "Service", name: `s${index}` },
      })),
      ...rest,
    },
  ],
  [
    "beside a selector",
    { selector: SELECTOR, targetRefs: [ORDERS], ...rest },
    ["spec.targetRefs", /must not stand beside selector/],
  ],
  [
    "the same Service twice",
    { targetRefs: [ORDERS, { ...ORDERS, group: "core" }], ...rest },
    ["spec.targetRefs[1]", /"orders" is there already/],
  ],
  ["none", { targetRefs: [], ...rest }, ["spec.targetRefs", /is empty/]],
  [
    "a Gateway",
    { targetRefs: [{ kind: "Gateway", name: "g" }], ...rest },
    ["spec.targetRefs[0].kind", /Service/],
  ],
  [
    "another API group",
    {
      targetRefs: [{ ...ORDERS, group: "gateway.networking.k8s.io" }],
      ...rest,
    },
    ["spec.targetRefs[0].group", /core/],
  ],
  [
    "a Service of another namespace",
    { targetRefs: [{ ...ORDERS, namespace: "far" }], ...rest },
    ["spec.targetRefs[0].namespace", /of its own namespace/],
  ],
  [
    "a port of it",
    { targetRefs: [{ ...ORDERS, sectionName: "http" }], ...rest },
    ["spec.targetRefs[0].sectionName", /./],
  ],
  [
    "the older single one",
    { targetRef: ORDERS, ...rest },
    ["spec.targetRef", /write targetRefs/],
  ],
];

void t.test("an AuthorizationPolicy", (t) => {
  runCases(t, AUTHORIZATION_POLICY, cases({ rules: [{}] }));
  t.end();
});

void t.test("a RequestAuthentication", (t) => {
  runCases(
    t,
    REQUEST_AUTHENTICATION,
    cases({ jwtRules: [{ issuer: "https://idp.example" }] }),
  );
  t.end();
});

void t.test("whether the Service can be guarded", (t) => {
  const services = new Map(
    [
      service("shop/orders"),
      service("far/basket"),
      service("shop/pay", {
        location: "MESH_EXTERNAL",
        hosts: ["pay.example"],
      }),
    ].map((each) => [formatKey(keyOf(each)), each]),
  );
  const rows: readonly (readonly [
    string,
    "warning" | "error",
    ...Expected[],
  ])[] = [
    ["orders", "warning"],
    [
      "basket",
      "warning",
      [
        "spec.targetRefs[0].name",
        /no Service shop\/basket yet; .*acts on nothing.*refuses no call/,
      ],
    ],
    [
      "pay",
      "error",
      ["spec.targetRefs[0].name", /shop\/pay is external, and no sidecar/],
    ],
  ];
  for (const [name, severity, ...expected] of rows)
    for (const { kind, apiVersion } of [
      AUTHORIZATION_POLICY,
      REQUEST_AUTHENTICATION,
    ]) {
      const policy = {
        ...authorizationPolicy("shop/p", {
          targetRefs: [{ kind: "Service", name }],
        }),
        ...{ kind, apiVersion },
      };
      const problems = checkReferences(policy, (key) =>
        services.get(formatKey(key)),
      );
      compare(t, problems, expected);
      for (const problem of problems)
        t.equal(problem.severity ?? "error", severity);
    }
  t.end();
});
