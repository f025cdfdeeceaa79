import t from "tap";
import { closedForm, keepsOlder } from "../../src/push/stand-in.ts";
import type { Resource } from "../../src/resources/envelope.ts";
import { KINDS } from "../../src/resources/registry.ts";
import { validate } from "../../src/resources/validate.ts";
import { MESH, service } from "../support/control-plane/push-control-plane.ts";

const TARGETS = [{ kind: "Service", name: "orders" }];
const SELECTOR = { matchLabels: { app: "orders" } };

function security(kind: string, spec: Record<string, unknown>): Resource {
  return {
    apiVersion:
      kind === "TrafficPolicy"
        ? "mesh.wherry.dev/v1alpha1"
        : "security.istio.io/v1",
    kind,
    metadata: { name: "orders", namespace: "shop" },
    spec,
  };
}

const EXTERNAL = {
  location: "MESH_EXTERNAL",
  hosts: ["api.example.com"],
  ports: [{ port: 80 }],
};

const { selector: _none, ...outside } = {
  ...(service("api").spec as { selector?: object }),
  ...EXTERNAL,
};
const external: Resource = { ...service("api"), spec: outside };

function traffic(tls: object): Resource {
  const targetRefs = [{ kind: "Service", name: "api" }];
  return security("TrafficPolicy", { targetRefs, tls });
}

void t.test("a stand-in is closed, of the same workloads, and valid", (t) => {
  for (const [title, meant, unknown, spec] of [
    [
      "DENY denies every request",
      security("AuthorizationPolicy", {
        selector: SELECTOR,
        action: "DENY",
        rules: [{ to: [{ operation: { paths: ["/admin"] } }] }],
      }),
      ["spec.rules[].when"],
      { selector: SELECTOR, action: "DENY", rules: [{}] },
    ],
    [
      "ALLOW allows none",
      security("AuthorizationPolicy", { selector: SELECTOR, rules: [{}] }),
      ["spec.rules[].when"],
      { selector: SELECTOR, action: "ALLOW" },
    ],
    [
      "an action that is not known allows none",
      security("AuthorizationPolicy", { action: "CUSTOM", rules: [{}] }),
      ["spec.action"],
      { action: "ALLOW" },
    ],
    [
      "a selector that is not known is the whole namespace",
      security("AuthorizationPolicy", { selector: SELECTOR, action: "DENY" }),
      ["spec.selector.matchExpressions"],
      { action: "DENY", rules: [{}] },
    ],
    [
      "targets that are known stay",
      security("AuthorizationPolicy", { targetRefs: TARGETS, action: "DENY" }),
      ["spec.rules[].when"],
      { targetRefs: TARGETS, action: "DENY", rules: [{}] },
    ],
    [
      "a target that is not known is the whole namespace",
      security("AuthorizationPolicy", { targetRefs: TARGETS, rules: [{}] }),
      ["spec.targetRefs[].kind=Gateway"],
      { action: "ALLOW" },
    ],
    [
      "PeerAuthentication is STRICT on every port",
      security("PeerAuthentication", {
        selector: SELECTOR,
        mtls: { mode: "PERMISSIVE" },
        portLevelMtls: { "80": { mode: "DISABLE" } },
      }),
      ["spec.portLevelMtls.*.mode"],
      { selector: SELECTOR, mtls: { mode: "STRICT" } },
    ],
    [
      "a RequestAuthentication accepts no token, and still takes out what it sets",
      security("RequestAuthentication", {
        selector: SELECTOR,
        jwtRules: [
          {
            issuer: "https://idp",
            jwksUri: "https://idp/keys",
            outputPayloadToHeader: "x-user",
          },
        ],
      }),
      ["spec.jwtRules[].new"],
      {
        selector: SELECTOR,
        jwtRules: [
          {
            issuer: "https://idp",
            jwks: '{"keys":[]}',
            outputPayloadToHeader: "x-user",
          },
        ],
      },
    ],
    [
      "a TrafficPolicy with TLS lets no server be the right one",
      security("TrafficPolicy", {
        targetRefs: [{ kind: "Service", name: "api" }],
        tls: { mode: "SIMPLE" },
        hedging: {},
      }),
      ["spec.tls.new"],
      {
        targetRefs: [{ kind: "Service", name: "api" }],
        tls: { mode: "SIMPLE", subjectAltNames: ["closed.invalid"] },
      },
    ],
    [
      "a Service outside the mesh leads nowhere",
      external,
      ["spec.new"],
      {
        ...(external.spec as object),
        resolution: "STATIC",
        endpoints: [{ address: "255.255.255.255" }],
      },
    ],
    [
      "hosts below a wildcard cannot be closed, and the others are",
      {
        ...external,
        spec: {
          ...(external.spec as object),
          hosts: ["*.example.com", "api.example.com"],
        },
      },
      ["spec.hosts"],
      {
        ...(external.spec as object),
        hosts: ["api.example.com"],
        resolution: "STATIC",
        endpoints: [{ address: "255.255.255.255" }],
      },
    ],
    [
      "the Mesh denies what no policy allows",
      { ...MESH, spec: { ...(MESH.spec as object), trustDomain: "td" } },
      ["spec.new"],
      { authorization: { defaultAction: "DENY" }, trustDomain: "td" },
    ],
    [
      "switches of the Mesh are at their closed end",
      {
        ...MESH,
        spec: {
          ...(MESH.spec as object),
          mtls: { rotateAt: 0.5 },
          outboundTrafficPolicy: "ALLOW_ANY",
        },
      },
      [
        "spec.pathNormalization=X",
        "spec.outboundTrafficPolicy=Y",
        "spec.mtls.mode=Z",
      ],
      {
        ...(MESH.spec as object),
        authorization: { defaultAction: "DENY" },
        mtls: { rotateAt: 0.5, mode: "STRICT" },
        outboundTrafficPolicy: "REGISTRY_ONLY",
        pathNormalization: "DECODE_AND_MERGE_SLASHES",
      },
    ],
  ] as const) {
    const closed = closedForm(meant, unknown);
    t.strictSame(closed, { ...meant, spec }, title);
    t.ok(validate(closed).ok, `${title}: it is valid`);
  }
  t.equal(closedForm(service("orders"), ["spec.new"]), undefined);
  const hosts = ["*.example.com"];
  t.equal(
    closedForm({ ...external, spec: { ...outside, hosts } }, ["spec.hosts"]),
    undefined,
    "no name of it can be closed",
  );
  t.equal(closedForm(traffic({ mode: "DISABLE" }), ["spec.new"]), undefined);
  t.end();
});

void t.test("which kinds go on with an older version", (t) => {
  t.strictSame(
    KINDS.map(({ kind }) => kind).filter(
      (kind) => !keepsOlder({ ...service("orders"), kind }),
    ),
    ["Workload", "FaultInjection"],
  );
  t.equal(keepsOlder(traffic({ mode: "DISABLE" })), true);
  t.equal(
    keepsOlder(traffic({ mode: "SIMPLE" })),
    false,
    "plaintext before it",
  );
  t.end();
});
