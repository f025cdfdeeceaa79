/** Law 15: JSON, YAML and resources are read and checked in time that grows with their size alone. */
import t from "tap";
import { MESH_DEFAULTS } from "../../src/resources/mesh/schema.ts";
import { parseJson, parseYaml } from "../../src/control-plane/api/bodies.ts";
import { jsonFault } from "../../src/control-plane/api/json-fault.ts";
import { mergePatch } from "../../src/control-plane/api/merge-patch.ts";
import { atOnce } from "../../src/core/slices.ts";
import { AUTHORIZATION_POLICY } from "../../src/resources/authorization-policy/schema.ts";
import {
  checkAttributes,
  opaqueServices,
} from "../../src/resources/cross-checks/attributes.ts";
import { conflicts } from "../../src/resources/cross-checks/conflicts.ts";
import { checkReferences } from "../../src/resources/cross-checks/references.ts";
import { unreachableMatches } from "../../src/resources/cross-checks/unreachable.ts";
import {
  formatKey,
  keyOf,
  type Resource,
} from "../../src/resources/envelope.ts";
import { GRPC_ROUTE } from "../../src/resources/grpc-route/schema.ts";
import { HTTP_ROUTE } from "../../src/resources/http-route/schema.ts";
import { isKind } from "../../src/resources/kind.ts";
import { checkHosts } from "../../src/resources/ownership/host-owners.ts";
import { SERVICE } from "../../src/resources/service/schema.ts";
import { TRAFFIC_POLICY } from "../../src/resources/traffic-policy/schema.ts";
import { validate } from "../../src/resources/validate.ts";
import { WORKLOAD } from "../../src/resources/workload/schema.ts";
import { parseDocuments } from "../../src/resources/yaml.ts";
import { growthOf } from "../support/clocks/growth.ts";
import { holds, of, SHAPES, type Make } from "../support/laws/linear.ts";

const DOCUMENTS: Readonly<Record<string, Make>> = {
  ...SHAPES,
  "nested lists": of("[", "", ""),
  "nested objects": of('{"a":'),
  "a long list": of("1,", "[", "1]"),
  "a long list of objects": of('{"a":1},', "[", "{}]"),
  "many keys": (size) =>
    `{${Array.from({ length: size / 10 }, (_each, index) => `"k${index}":1`).join(",")}}`,
  "one key again and again": of('"a":1,', "{", '"a":1}'),
  "a long text": of("a", '"', '"'),
  "escapes of a text": of("\\u0061", '"', '"'),
  "a text that does not end": of("\\\\", '"'),
  "a number that does not end": of("1", "[", "x"),
};
holds(
  "JSON is read",
  (text) => parseJson(Buffer.from(text)),
  20_000,
  DOCUMENTS,
);
holds("the fault of JSON is found", jsonFault, 20_000, DOCUMENTS);

const YAML: Readonly<Record<string, Make>> = {
  ...DOCUMENTS,
  "many keys": (size) =>
    Array.from({ length: size / 8 }, (_each, index) => `k${index}: 1\n`).join(
      "",
    ),
  "one key again and again": of("a: 1\n"),
  "a list": of("- a\n"),
  "nested by blanks": (size) => {
    let text = "";
    for (let depth = 0; text.length < size; depth += 1)
      text += `${" ".repeat(depth % 60)}a:\n`;
    return text;
  },
  aliases: of("- *a\n", "- &a b\n"),
  anchors: of("- &a b\n"),
  "aliases of aliases": (size) =>
    Array.from(
      { length: Math.min(90, size / 40) },
      (_each, index) =>
        `- &a${index} [*a${Math.max(0, index - 1)},*a${Math.max(0, index - 1)}]\n`,
    ).join(""),
  comments: of("# a\n"),
  "a folded text": of("a b\n  ", "a: >\n  "),
  "a quoted text of lines": of("a\n\n", '"'),
  documents: of("---\na: 1\n"),
  tags: of("!!str "),
  directives: of("%YAML 1.2\n"),
};
holds("YAML is read", (text) => parseYaml(Buffer.from(text)), 4000, YAML);
holds("documents are read", (text) => parseDocuments(text, "it"), 4000, YAML);

holds(
  "a patch is merged",
  (text) => mergePatch(JSON.parse(text), JSON.parse(text)),
  20_000,
  {
    keys: DOCUMENTS["many keys"] ?? of(""),
    texts: DOCUMENTS["a long text"] ?? of(""),
  },
);

/** A resource whose spec has so many of something. */
const many =
  (kind: string, group: string, spec: (count: number) => unknown): Make =>
  (count) =>
    JSON.stringify({
      apiVersion: group,
      kind,
      metadata: { name: "a", namespace: "shop" },
      spec: spec(count),
    });
const list = (count: number, item: (index: number) => unknown): unknown[] =>
  Array.from({ length: count }, (_each, index) => item(index));

holds("a resource is judged", (text) => validate(JSON.parse(text)), 1000, {
  "fields that are not known": many(
    "Service",
    "mesh.wherry.dev/v1alpha1",
    (count) =>
      Object.fromEntries(
        list(count, (index) => [`field${index}`, 1]) as [string, number][],
      ),
  ),
  ports: many("Service", "mesh.wherry.dev/v1alpha1", (count) => ({
    ports: list(count, (index) => ({ name: `p${index}`, port: index })),
  })),
  "ports of the wrong type": many(
    "Service",
    "mesh.wherry.dev/v1alpha1",
    (count) => ({
      ports: list(count, () => "a"),
    }),
  ),
  rules: many("HTTPRoute", "gateway.networking.k8s.io/v1", (count) => ({
    parentRefs: [{ name: "a" }],
    rules: list(count, () => ({ backendRefs: [{ name: "a", port: 1 }] })),
  })),
  "codes of a retry": many(
    "HTTPRoute",
    "gateway.networking.k8s.io/v1",
    (count) => ({
      rules: [{ retry: { codes: list(count, (index) => 400 + index) } }],
    }),
  ),
  origins: many("HTTPRoute", "gateway.networking.k8s.io/v1", (count) => ({
    rules: [
      {
        filters: [
          {
            type: "CORS",
            cors: { allowOrigins: list(count, (index) => `https://a${index}`) },
          },
        ],
      },
    ],
  })),
  paths: many("AuthorizationPolicy", "security.istio.io/v1", (count) => ({
    rules: [
      { to: [{ operation: { paths: list(count, (index) => `/a${index}`) } }] },
    ],
  })),
  labels: many("Workload", "mesh.wherry.dev/v1alpha1", (count) => ({
    address: "10.0.0.1",
    ports: Object.fromEntries(
      list(count, (index) => [`p${index}`, index]) as [string, number][],
    ),
  })),
});

const resource = (
  { apiVersion, kind }: { readonly apiVersion: string; readonly kind: string },
  index: number,
  spec: unknown,
  metadata: Partial<Resource["metadata"]> = {},
): Resource => ({
  apiVersion,
  kind,
  metadata: { name: `n${index}`, namespace: "shop", ...metadata },
  spec,
});

/** Resources, so many of each sort. */
const LISTS: Readonly<Record<string, (index: number) => readonly Resource[]>> =
  {
    "Workloads, each with its address": (index) => [
      resource(WORKLOAD, index, {
        address: `10.0.${index >> 8}.${index & 255}`,
        ports: { http: 80 },
      }),
    ],
    "Workloads of one address and many accounts": (index) => [
      resource(WORKLOAD, index, {
        address: "10.0.0.1",
        ports: { http: 80 },
        serviceAccount: `a${index}`,
      }),
    ],
    "external Services, each with its host": (index) => [
      resource(SERVICE, index, {
        location: "MESH_EXTERNAL",
        hosts: [`h${index}.example`],
        ports: [{ port: 443 }],
      }),
    ],
    "external Services of one host in many namespaces": (index) => [
      resource(
        SERVICE,
        index,
        {
          location: "MESH_EXTERNAL",
          hosts: ["h.example"],
          ports: [{ port: 443 }],
        },
        { namespace: `s${index}` },
      ),
    ],
    "policies, each with its Service and Workload": (index) => [
      resource(SERVICE, index, {
        ports: [{ port: 80, appProtocol: "tcp" }],
        selector: { app: `a${index}` },
      }),
      resource(
        WORKLOAD,
        index,
        { address: `10.0.${index >> 8}.${index & 255}`, ports: { http: 80 } },
        { labels: { app: `a${index}` } },
      ),
      resource(AUTHORIZATION_POLICY, index, {
        selector: { matchLabels: { app: `a${index}` } },
        rules: [{ to: [{ operation: { ports: ["80"], methods: ["GET"] } }] }],
      }),
    ],
    "policies that select nothing": (index) => [
      resource(SERVICE, index, {
        ports: [{ port: 80, appProtocol: "tcp" }],
        selector: { app: "a" },
      }),
      resource(AUTHORIZATION_POLICY, index, {
        selector: { matchLabels: { app: `b${index}` } },
        rules: [{ to: [{ operation: { ports: ["80"], methods: ["GET"] } }] }],
      }),
    ],
    "routes of one Service": (index) => [
      resource(HTTP_ROUTE, index, {
        parentRefs: [{ name: "a" }],
        rules: [{ backendRefs: [{ name: "a", port: 80 }] }],
      }),
      resource(GRPC_ROUTE, index, { parentRefs: [{ name: "a" }], rules: [] }),
    ],
    "TrafficPolicies of one Service": (index) => [
      resource(TRAFFIC_POLICY, index, { targetRefs: [{ name: "a" }] }),
    ],
  };

/** As lint and the API check a list together; without what each is checked for alone. */
function checkTogether(resources: readonly Resource[]): void {
  const services = resources.filter((each) => isKind(SERVICE, each));
  const byKey = new Map(
    resources.map((each) => [formatKey(keyOf(each)), each] as const),
  );
  const opaque = atOnce(opaqueServices(services));
  const namespaces = new Set(services.map((each) => each.metadata.namespace));
  for (const each of resources) {
    checkAttributes(each, opaque);
    checkReferences(each, (key) => byKey.get(formatKey(key)));
    if (isKind(SERVICE, each))
      checkHosts(each, (name) => namespaces.has(name), MESH_DEFAULTS);
  }
  conflicts(resources);
  unreachableMatches(resources);
}

void t.test("resources are checked together", (t) => {
  for (const [what, make] of Object.entries(LISTS)) {
    const { linear, ratio } = growthOf((size) => {
      const resources = Array.from({ length: size }, (_, index) =>
        make(index),
      ).flat();
      return () => checkTogether(resources);
    }, 400);
    t.ok(linear, `${what}: ${ratio.toFixed(1)} times as long`);
  }
  t.end();
});
