/** What Istio reads beside the spec is refused or warned of, never ignored in silence. */
import t from "tap";
import { lintText } from "../support/resources/lint-text.ts";
import type { Metadata } from "../../src/resources/envelope.ts";
import { validate } from "../../src/resources/validate.ts";
import {
  authorizationPolicy,
  service,
} from "../support/resources/policy-fixtures.ts";

type More = Partial<Metadata>;

const DRY = { "istio.io/dry-run": "true" };

/** Metadata beside name and namespace; what is said of an AuthorizationPolicy, and of a Service. */
const TABLE: readonly (readonly [
  More,
  string | undefined,
  string | undefined,
])[] = [
  [{}, undefined, undefined],
  [{ annotations: { "example.com/a": "b" } }, undefined, undefined],
  [{ annotations: { "not-istio.io/dry-run": "true" } }, undefined, undefined],
  [{ annotations: DRY }, undefined, "warning"],
  [{ labels: DRY }, "error", "warning"],
  [{ annotations: { "istio.io/dry-run": "True" } }, "error", "warning"],
  [{ annotations: { "istio.io/dry-run": "" } }, "error", "warning"],
  [{ annotations: { "istio.io/dry-run": "false" } }, undefined, "warning"],
  [{ labels: { "istio.io/rev": "canary" } }, "error", "warning"],
  [{ annotations: { "networking.istio.io/exportTo": "." } }, "error", "error"],
  [{ labels: { "istio.io/use-waypoint": "w" } }, "warning", "warning"],
  [
    { annotations: { "sidecar.istio.io/inject": "false" } },
    "warning",
    "warning",
  ],
  [
    { annotations: { "traffic.sidecar.istio.io/excludeInboundPorts": "80" } },
    "warning",
    "warning",
  ],
  [{ annotations: { "proxy.istio.io/config": "{}" } }, "warning", "warning"],
  [
    { labels: { "security.istio.io/tlsMode": "disabled" } },
    "warning",
    "warning",
  ],
  [{ labels: { "istio.io/dataplane-mode": "none" } }, "warning", "warning"],
];

function saidOf(resource: unknown): readonly string[] {
  const result = validate(resource);
  return (result.ok ? result.warnings : result.problems).map(
    ({ severity = "error", path }) => `${severity} ${path}`,
  );
}

void t.test("annotations and labels of Istio", (t) => {
  for (const [more, ofPolicy, ofService] of TABLE) {
    const [field, key = ""] = Object.entries(more).map(([name, values]) => [
      name,
      Object.keys(values as object)[0],
    ])[0] ?? [""];
    const expected = (severity: string | undefined): readonly string[] =>
      severity === undefined ? [] : [`${severity} metadata.${field}["${key}"]`];
    const name = JSON.stringify(more);
    t.same(
      saidOf(authorizationPolicy("shop/p", { rules: [{}] }, more)),
      expected(ofPolicy),
      name,
    );
    t.same(saidOf(service("shop/s", {}, more)), expected(ofService), name);
  }
  t.end();
});

void t.test("policies in Istio's root namespace", (t) => {
  const policy = authorizationPolicy("istio-system/p", { rules: [{}] });
  t.same(saidOf(policy), ["error metadata.namespace"]);
  t.match(validate(policy), {
    problems: [
      { message: /the root namespace is wherry-system; move it there/ },
    ],
  });
  t.same(
    saidOf({
      apiVersion: "security.istio.io/v1",
      kind: "PeerAuthentication",
      metadata: { name: "p", namespace: "istio-system" },
      spec: { mtls: { mode: "STRICT" } },
    }),
    ["error metadata.namespace"],
  );
  for (const namespace of ["kube-system", "wherry-system", "istio-systems"])
    t.same(saidOf(authorizationPolicy(`${namespace}/p`, {})), [], namespace);
  t.same(saidOf(service("istio-system/ingress")), [], "what else lives there");
  t.end();
});

void t.test("lint says so at the line", (t) => {
  const text = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: p
  namespace: istio-system
  annotations:
    istio.io/dry-run: "yes"
spec:
  rules: [{}]
`;
  t.match(lintText(text, "a.yaml"), [
    { line: 5, path: "metadata.namespace", severity: "error" },
    { line: 7, severity: "error", message: /expected "true" or "false"/ },
  ]);
  t.end();
});
