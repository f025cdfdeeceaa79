/** Law 15: what is read of a peer or of a document takes time that grows with its size alone. The codecs: test/wire/linear.test.ts; whole sidecars: test/hostile/red-team/c10-doubling.test.ts. */
import t from "tap";
import { upperEscapes } from "../../src/core/text/percent.ts";
import { parseJson, parseYaml } from "../../src/control-plane/api/bodies.ts";
import { jsonFault } from "../../src/control-plane/api/json-fault.ts";
import { parseLabelSelector } from "../../src/control-plane/api/label-selector.ts";
import { mergePatch } from "../../src/control-plane/api/merge-patch.ts";
import { hideTokens } from "../../src/control-plane/tokens.ts";
import { readCsr } from "../../src/identity/csr.ts";
import { childrenOf, encodeOid, readElement } from "../../src/identity/der.ts";
import { readCertificates } from "../../src/identity/pem.ts";
import { parseSpiffeId } from "../../src/identity/spiffe.ts";
import { compileAuthorization } from "../../src/policy/authorization/authorization.ts";
import { compileCors, preflightFields } from "../../src/policy/routing/cors.ts";
import { parseReason, parseRetryAfter } from "../../src/policy/outcome.ts";
import { normalisePath, readRequest } from "../../src/policy/path.ts";
import { parseGrpcTimeout } from "../../src/policy/timeout.ts";
import { cookieValue } from "../../src/proxy/filters/affinity.ts";
import { parseAuthority } from "../../src/proxy/destination.ts";
import { parseToken } from "../../src/push/token.ts";
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
import { parseTraceparent } from "../../src/telemetry/trace-context.ts";
import { growthOf } from "../support/growth.ts";
import { authorizationPolicy } from "../support/policy-fixtures.ts";

/** An input of that many characters. */
type Make = (size: number) => string;

const of =
  (part: string, before = "", after = ""): Make =>
  (size) =>
    before + part.repeat(Math.ceil(size / part.length)) + after;

/** What most readers of texts stumble over. */
const SHAPES: Readonly<Record<string, Make>> = {
  blanks: of(" ", "a", "b"),
  letters: of("a"),
  digits: of("1"),
  commas: of(","),
  members: of("a, "),
  pairs: of("a=b;"),
  semicolons: of(";"),
  colons: of(":1"),
  dots: of("."),
  labels: of("a."),
  slashes: of("/"),
  elements: of("/a"),
  "dot segments": of("/.."),
  "steps up and down": of("/a/.."),
  escapes: of("%61"),
  "escapes that stay": of("%C3"),
  percents: of("%"),
  backslashes: of("\\"),
  brackets: of("["),
  "brackets that close": of("[]"),
  quotes: of('"'),
  braces: of("{"),
  "lines with blanks": of(" \n"),
};

/** Errors are answers too. */
function quietly(run: () => unknown): void {
  try {
    run();
  } catch {
    // Refused.
  }
}

function holds(
  what: string,
  run: (text: string) => unknown,
  size: number,
  shapes: Readonly<Record<string, Make>> = SHAPES,
): void {
  void t.test(what, (t) => {
    for (const [shape, make] of Object.entries(shapes)) {
      const { linear, ratio } = growthOf((length) => {
        const text = make(length);
        return () => quietly(() => run(text));
      }, size);
      t.ok(linear, `${shape}: ${ratio.toFixed(1)} times as long`);
    }
    t.end();
  });
}

const REQUEST = {
  method: "GET",
  scheme: "http",
  host: "orders",
  query: "",
  header: (): undefined => undefined,
};
const authorizer = compileAuthorization(
  [
    authorizationPolicy("deny", {
      action: "DENY",
      rules: [
        {
          to: [
            {
              operation: {
                paths: ["/{*}/admin/{**}", "/%C3/*", "*/secret", "/a/{*}/b"],
              },
            },
          ],
        },
      ],
    }),
  ],
  { namespace: "shop", labels: {} },
  "ALLOW",
);
const cors = compileCors({
  allowOrigins: ["https://*.shop.example", "https://shop.example"],
  allowMethods: ["*"],
  allowHeaders: ["*"],
  allowCredentials: true,
});

holds(
  "a path is normalised",
  (text) => normalisePath(`/${text}`, "DECODE_AND_MERGE_SLASHES"),
  8000,
);
holds("escapes get their one form", upperEscapes, 8000);
holds(
  "a path is judged",
  (path) =>
    authorizer.authorize({
      peer: undefined,
      port: 80,
      request: { ...REQUEST, path: `/${path}` },
    }),
  8000,
);
holds(
  "a host is read",
  (authority) =>
    readRequest(
      { method: "GET", scheme: "http", authority, path: "/", fields: [] },
      "NONE",
    ),
  8000,
);
holds("an authority is read", parseAuthority, 8000);
holds("cookies are read", (text) => cookieValue(text, "basket"), 30_000);
holds("a traceparent is read", parseTraceparent, 30_000);
holds("a gRPC time-out is read", parseGrpcTimeout, 30_000);
holds("Retry-After is read", (text) => parseRetryAfter(text, 0), 30_000);
holds("a reason is read", parseReason, 30_000);
holds(
  "a preflight is answered",
  (text) =>
    preflightFields(cors, {
      method: "OPTIONS",
      header: (name) => (name === "origin" ? `https://${text}` : text),
    }),
  30_000,
);
holds("a SPIFFE ID is read", (text) => parseSpiffeId(`spiffe://${text}`), 8000);
holds("an enrolment token is read", parseToken, 8000);
holds("tokens are hidden", hideTokens, 8000);
holds("tokens are hidden, however many", hideTokens, 8000, {
  "beginnings of tokens": of("wherry1."),
  "beginnings of beginnings": of("wherry"),
  tokens: of("wherryapi1.a/"),
});
holds("a label selector is read", parseLabelSelector, 8000);
holds("a label selector is read, in its own forms", parseLabelSelector, 8000, {
  keys: of("a,"),
  "a long key": of("a-"),
  equalities: of("a=b,"),
  "equals signs": of("="),
  "a set": of("a,", "a in (", ")"),
  "open sets": of("a in ("),
  parentheses: of("("),
  blanks: of(" ", "a", "in (b)"),
});

const CSR = "-----BEGIN CERTIFICATE REQUEST-----";
holds("a certificate request is read", readCsr, 7000, {
  "blanks before it": of(" "),
  "blanks in it": of(" ", CSR),
  beginnings: of(CSR),
  base64: of("AAAA", CSR, "-----END CERTIFICATE REQUEST-----"),
  "nested sequences": (size) =>
    `${CSR}${nested(size).toString("base64")}-----END CERTIFICATE REQUEST-----`,
});
holds("certificates are read", (text) => readCertificates(text, "it"), 30_000, {
  beginnings: of("-----BEGIN CERTIFICATE-----"),
  "blanks in one": of(" ", "-----BEGIN CERTIFICATE-----"),
  base64: of("AAAA", "-----BEGIN CERTIFICATE-----", "-----END"),
  dashes: of("-"),
});

/** Sequences within sequences, as deep as their lengths can say. */
function nested(size: number): Buffer {
  let inner = Buffer.alloc(0);
  while (inner.length < size) {
    const { length } = inner;
    const head =
      length < 128
        ? Buffer.from([0x30, length])
        : length < 256
          ? Buffer.from([0x30, 0x81, length])
          : Buffer.from([0x30, 0x82, length >> 8, length & 0xff]);
    inner = Buffer.concat([head, inner]);
  }
  return inner;
}

void t.test("DER is read, flat", (t) => {
  const { linear, ratio } = growthOf((count) => {
    const content = Buffer.from("0500".repeat(count), "hex");
    const head = Buffer.from([0x30, 0x82, content.length >> 8, content.length]);
    const whole = Buffer.concat([head, content]);
    return () => childrenOf(readElement(whole));
  }, 8000);
  t.ok(linear, `${ratio.toFixed(1)} times as long`);
  t.end();
});
void t.test("an object identifier of many arcs is written", (t) => {
  const { linear, ratio } = growthOf((count) => {
    const dotted = `1.2${".3".repeat(count)}`;
    return () => encodeOid(dotted);
  }, 400);
  t.ok(linear, `${ratio.toFixed(1)} times as long`);
  t.end();
});

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
  const opaque = opaqueServices(services);
  const namespaces = new Set(services.map((each) => each.metadata.namespace));
  for (const each of resources) {
    checkAttributes(each, opaque);
    checkReferences(each, (key) => byKey.get(formatKey(key)));
    if (isKind(SERVICE, each))
      checkHosts(each, (name) => namespaces.has(name), "cluster.local");
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
