/** References and conflicts between resources (model, traps 3, 9, 13). */
import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import { AUTHORIZATION_POLICY } from "../../../src/resources/authorization-policy/schema.ts";
import {
  conflicts,
  oldestFirst,
} from "../../../src/resources/cross-checks/conflicts.ts";
import {
  formatKey,
  keyOf,
  type Resource,
} from "../../../src/resources/envelope.ts";
import { HTTP_ROUTE } from "../../../src/resources/http-route/schema.ts";
import type { KindDefinition } from "../../../src/resources/kind.ts";
import { PEER_AUTHENTICATION } from "../../../src/resources/peer-authentication/schema.ts";
import { TELEMETRY } from "../../../src/resources/telemetry/schema.ts";
import { checkReferences } from "../../../src/resources/cross-checks/references.ts";
import {
  SERVICE,
  type ServiceResource,
} from "../../../src/resources/service/schema.ts";
import { TRAFFIC_POLICY } from "../../../src/resources/traffic-policy/schema.ts";
import {
  compare,
  type Expected,
} from "../../support/resources/resource-cases.ts";

function make<S>(
  definition: KindDefinition<S>,
  spec: S,
  metadata: Partial<Resource["metadata"]> = {},
): Resource<S> {
  return {
    apiVersion: definition.apiVersion,
    kind: definition.kind,
    metadata: { name: "sample", namespace: "shop", ...metadata },
    spec,
  };
}

const web: ServiceResource = make(
  SERVICE,
  {
    ports: [
      { name: "http", port: 80 },
      { name: "db", port: 5432, appProtocol: "tcp" },
    ],
    selector: { app: "web", tier: "front" },
    exportTo: ["."],
  },
  { name: "web" },
);
const raw: ServiceResource = make(
  SERVICE,
  { ports: [{ port: 6379, appProtocol: "tcp" }], selector: { app: "raw" } },
  { name: "raw" },
);
const existing = new Map(
  [web, raw].map((service) => [formatKey(keyOf(service)), service]),
);

type Ref = { name: string; port?: number; sectionName?: string };

const parents: readonly (readonly [Ref, ...Expected[]])[] = [
  [{ name: "web" }],
  [{ name: "web", port: 80 }],
  [{ name: "web", sectionName: "http" }],
  [{ name: "web", port: 80, sectionName: "http" }],
  [
    { name: "gone" },
    ["spec.parentRefs[0].name", /no Service shop\/gone yet.*no effect/],
  ],
  [
    { name: "web", port: 81 },
    [
      "spec.parentRefs[0].port",
      /Service shop\/web has no port 81; it declares http \(80\), db \(5432\)/,
    ],
  ],
  [
    { name: "web", sectionName: "grpc" },
    ["spec.parentRefs[0].sectionName", /has no port "grpc"/],
  ],
  [
    { name: "web", port: 80, sectionName: "db" },
    ["spec.parentRefs[0].sectionName", /"db" is not the name of port 80/],
  ],
  [
    { name: "web", port: 5432 },
    ["spec.parentRefs[0]", /speaks tcp on 5432, where an HTTPRoute cannot act/],
  ],
  [{ name: "raw" }, ["spec.parentRefs[0]", /speaks tcp on 6379/]],
];

for (const [ref, ...expected] of parents)
  void t.test(`parent ${JSON.stringify(ref)}`, (t) => {
    const route = make(HTTP_ROUTE, {
      parentRefs: [{ kind: "Service", ...ref }],
      rules: [{ backendRefs: [{ name: "web", port: 80 }] }],
    });
    const problems = checkReferences(route, (key) =>
      existing.get(formatKey(key)),
    );
    compare(t, problems, expected);
    for (const { path, severity } of problems)
      t.equal(
        severity === "warning",
        path.endsWith(".name"),
        "only what is missing is a warning",
      );
    t.end();
  });

void t.test(
  "backends: missing, undeclared, not exported, in another namespace",
  (t) => {
    const route = make(
      HTTP_ROUTE,
      {
        parentRefs: [{ kind: "Service", name: "web", namespace: "shop" }],
        rules: [
          {
            backendRefs: [
              { name: "web", namespace: "shop", port: 80 },
              { name: "web", namespace: "shop", port: 8080 },
              { name: "web", port: 80 },
            ],
          },
        ],
      },
      { namespace: "consumer" },
    );
    compare(
      t,
      checkReferences(route, (key) => existing.get(formatKey(key))),
      [
        ["spec.parentRefs[0].name", /not exported to namespace consumer/],
        ["spec.rules[0].backendRefs[0].name", /not exported/],
        ["spec.rules[0].backendRefs[1].port", /has no port 8080/],
        [
          "spec.rules[0].backendRefs[2].name",
          /no Service consumer\/web yet.*gets status 500/,
        ],
      ],
    );
    t.end();
  },
);

void t.test("targets of a TrafficPolicy; other kinds refer to nothing", (t) => {
  const policy = make(TRAFFIC_POLICY, {
    targetRefs: [
      { kind: "Service", name: "web", sectionName: "http" },
      { kind: "Service", name: "web", sectionName: "grpc" },
      { kind: "Service", name: "gone" },
    ],
  });
  compare(
    t,
    checkReferences(policy, (key) => existing.get(formatKey(key))),
    [
      ["spec.targetRefs[1].sectionName", /has no port "grpc"/],
      ["spec.targetRefs[2].name", /no Service shop\/gone yet/],
    ],
  );
  t.strictSame(
    checkReferences(web, () => undefined),
    [],
  );
  t.strictSame(
    checkReferences(
      make(HTTP_ROUTE, {
        parentRefs: [{ kind: "Service", name: "x" }],
        rules: [],
      }),
      () => make(TRAFFIC_POLICY, { targetRefs: [] }),
    ).length,
    1,
    "a look-up that finds another kind found nothing",
  );
  t.end();
});

function policy(
  name: string,
  creationTimestamp: string | undefined,
  ...sections: (string | undefined)[]
): Resource {
  return make(
    TRAFFIC_POLICY,
    {
      targetRefs: sections.map((sectionName) => ({
        kind: "Service" as const,
        name: "web",
        ...(sectionName === undefined ? {} : { sectionName }),
      })),
    },
    {
      name,
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    },
  );
}

function losses(resources: readonly Resource[]): string[] {
  return conflicts(resources).map(
    ({ loser, winner, path }) =>
      `${loser.metadata.name} ${path} to ${winner.metadata.name}`,
  );
}

void t.test(
  "trap 13: the oldest TrafficPolicy of a target wins, then the first by name",
  (t) => {
    const old = "2026-01-01T00:00:00Z";
    const young = "2026-01-01T01:00:00.5+01:00";
    t.strictSame(
      losses([policy("a", young, undefined), policy("b", old, undefined)]),
      ["a spec.targetRefs[0] to b"],
    );
    t.strictSame(
      losses([policy("b", old, undefined), policy("a", old, undefined)]),
      ["b spec.targetRefs[0] to a"],
    );
    t.strictSame(
      losses([policy("a", undefined, undefined), policy("b", old, undefined)]),
      ["a spec.targetRefs[0] to b"],
      "without a timestamp it is the youngest",
    );
    t.strictSame(
      losses([
        policy("a", old, undefined),
        policy("b", old, "http", undefined),
      ]),
      ["b spec.targetRefs[1] to a"],
      "the Service and its port are two targets",
    );
    const same = [policy("a", old), policy("a", old)];
    t.strictSame(atOnce(oldestFirst(same)), same, "equals stay in their order");
    t.strictSame(
      atOnce(
        oldestFirst([
          policy("b", undefined),
          policy("c", old),
          policy("a", undefined),
        ]),
      ).map(({ metadata }) => metadata.name),
      ["c", "a", "b"],
    );
    t.match(
      conflicts([policy("a", old, "http"), policy("b", old, "http")])[0]
        ?.message,
      /Service shop\/web port http has TrafficPolicy shop\/a already/,
    );
    t.end();
  },
);

void t.test(
  "trap 13: one PeerAuthentication or Telemetry a namespace and a selector; other kinds add up",
  (t) => {
    const peer = (
      name: string,
      labels?: Record<string, string>,
      namespace = "shop",
    ): Resource =>
      make(
        PEER_AUTHENTICATION,
        labels === undefined ? {} : { selector: { matchLabels: labels } },
        { name, namespace },
      );
    t.strictSame(
      losses([peer("b"), peer("a"), peer("c", undefined, "other")]),
      ["b spec to a"],
    );
    t.strictSame(
      losses([
        peer("a", { x: "1", y: "2" }),
        peer("b", { y: "2", x: "1" }),
        peer("c", { x: "1" }),
      ]),
      ["b spec.selector to a"],
    );
    const sampling = { tracing: [{ randomSamplingPercentage: 1 }] };
    t.strictSame(
      losses([
        make(TELEMETRY, sampling, { name: "b" }),
        make(TELEMETRY, sampling, { name: "a" }),
        peer("c"),
      ]),
      ["b spec to a"],
    );
    t.strictSame(
      losses([
        make(AUTHORIZATION_POLICY, {}, { name: "a" }),
        make(AUTHORIZATION_POLICY, {}, { name: "b" }),
      ]),
      [],
    );
    t.end();
  },
);
