/** Kinds are found by what people and clients call them. */
import t from "tap";
import {
  formatKey,
  formatName,
  keyOf,
  selects,
} from "../../src/resources/envelope.ts";
import { HTTP_ROUTE } from "../../src/resources/http-route/schema.ts";
import { isKind } from "../../src/resources/kind.ts";
import { MESH } from "../../src/resources/mesh/schema.ts";
import {
  kindByAlias,
  kindNamed,
  kindOf,
  KINDS,
} from "../../src/resources/registry.ts";
import { nearest } from "../../src/resources/suggest.ts";

void t.test("every kind is found by each of its names", (t) => {
  for (const kind of KINDS) {
    t.equal(kindOf(kind.apiVersion, kind.kind), kind);
    t.equal(kindNamed(kind.kind), kind);
    for (const alias of [
      kind.kind,
      kind.plural,
      kind.singular,
      ...kind.shortNames,
      `${kind.plural}.${kind.group}`,
      kind.plural.toUpperCase(),
    ])
      t.equal(kindByAlias(alias), kind, alias);
  }
  t.end();
});

void t.test("no two kinds share a name", (t) => {
  const names = KINDS.flatMap((kind) => [
    ...new Set([kind.plural, kind.singular, ...kind.shortNames]),
  ]);
  t.equal(new Set(names).size, names.length);
  t.end();
});

void t.test("what is not there is not found", (t) => {
  t.equal(kindOf("v1", "Service"), undefined);
  t.equal(kindNamed("Pod"), undefined);
  t.equal(kindByAlias("services.example.com"), undefined);
  t.equal(kindByAlias(""), undefined);
  t.end();
});

void t.test("apiVersions of upstream kinds are upstream's, verbatim", (t) => {
  t.strictSame(
    KINDS.map(({ kind, apiVersion, namespaced }) => [
      kind,
      apiVersion,
      namespaced,
    ]),
    [
      ["Mesh", "mesh.wherry.dev/v1alpha1", false],
      ["Service", "mesh.wherry.dev/v1alpha1", true],
      ["Workload", "mesh.wherry.dev/v1alpha1", true],
      ["HTTPRoute", "gateway.networking.k8s.io/v1", true],
      ["GRPCRoute", "gateway.networking.k8s.io/v1", true],
      ["TrafficPolicy", "mesh.wherry.dev/v1alpha1", true],
      ["FaultInjection", "mesh.wherry.dev/v1alpha1", true],
      ["PeerAuthentication", "security.istio.io/v1", true],
      ["RequestAuthentication", "security.istio.io/v1", true],
      ["AuthorizationPolicy", "security.istio.io/v1", true],
      ["Telemetry", "telemetry.istio.io/v1", true],
      ["Revocation", "mesh.wherry.dev/v1alpha1", false],
    ],
  );
  t.end();
});

void t.test("a resource is named by kind, namespace and name", (t) => {
  const route = {
    apiVersion: HTTP_ROUTE.apiVersion,
    kind: "HTTPRoute",
    metadata: { name: "reviews", namespace: "shop" },
    spec: {},
  };
  t.strictSame(keyOf(route), {
    kind: "HTTPRoute",
    namespace: "shop",
    name: "reviews",
  });
  t.equal(formatKey(keyOf(route)), "HTTPRoute shop/reviews");
  t.equal(formatName("", "default"), "default");
  t.ok(isKind(HTTP_ROUTE, route));
  t.notOk(isKind(MESH, route));
  t.notOk(isKind(HTTP_ROUTE, { ...route, apiVersion: "v1" }));
  t.end();
});

void t.test(
  "a selector wants every label, and an empty one selects nothing",
  (t) => {
    t.ok(selects({ app: "web" }, { app: "web", version: "v1" }));
    t.notOk(selects({ app: "web", version: "v2" }, { app: "web" }));
    t.notOk(selects({ app: "web" }, undefined));
    t.notOk(selects({}, { app: "web" }));
    t.end();
  },
);

void t.test("the nearest name is suggested, a far one is not", (t) => {
  const known = ["timeouts", "retry", "backendRefs"];
  t.equal(nearest("timeout", known), "timeouts");
  t.equal(nearest("TIMEOUTS", known), "timeouts");
  t.equal(nearest("rtery", known), "retry", "neighbours swapped");
  t.equal(nearest("backendRef", known), "backendRefs");
  t.equal(nearest("mirror", known), undefined);
  t.equal(nearest("timeouts".repeat(50), known), undefined);
  t.end();
});
