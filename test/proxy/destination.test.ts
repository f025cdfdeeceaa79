/** Where a request wants to go, by all the ways that it can say so. */
import t from "tap";
import { type Snapshot } from "../../src/policy/snapshot.ts";
import { compileSnapshot } from "../../src/policy/compile/compile.ts";
import {
  parseAuthority,
  questionsOf,
  whereTo,
  type LocalUpstream,
} from "../../src/proxy/destination.ts";
import type { RequestHead } from "../../src/wire/exchange.ts";
import { resource } from "../support/meshes/pair.ts";

const ALLOW = { authorization: { defaultAction: "ALLOW" } };

function snapshotOf(mesh: Record<string, unknown> = {}): Snapshot {
  return compileSnapshot(
    [
      resource("Mesh", "default", { ...ALLOW, ...mesh }),
      resource("Service", "orders", {
        ports: [{ name: "http", port: 80, targetPort: 8080 }],
        selector: { app: "orders" },
      }),
      resource("Service", "orders-v2", {
        ports: [{ name: "http", port: 80, targetPort: 8080 }],
        selector: { app: "orders" },
      }),
      resource("Service", "elsewhere", {
        ports: [{ name: "http", port: 80, targetPort: 8080 }],
        selector: { app: "elsewhere" },
      }),
      resource(
        "Workload",
        "orders-1",
        {
          address: "10.0.0.7",
          ports: { http: 8080 },
          serviceAccount: "orders",
          link: { port: 15008 },
        },
        { labels: { app: "orders" } },
      ),
      resource("Service", "plain", {
        location: "MESH_EXTERNAL",
        hosts: ["plain.example"],
        resolution: "DNS",
        ports: [{ port: 80, appProtocol: "http" }],
      }),
      resource("Service", "stripe", {
        location: "MESH_EXTERNAL",
        hosts: ["api.stripe.com"],
        resolution: "DNS",
        ports: [{ port: 443, appProtocol: "tls" }],
      }),
    ],
    {
      name: "web-1",
      namespace: "shop",
      serviceAccount: "web",
      labels: {},
      identity: "spiffe://cluster.local/ns/shop/sa/web",
    },
    { store: "s", revision: 1, digest: "" },
  );
}

interface Case {
  readonly name: string;
  readonly authority: string;
  readonly method?: string;
  readonly scheme?: string;
  readonly captured?: { readonly address: string; readonly port: number };
  readonly serverName?: string;
  readonly upstream?: LocalUpstream;
  readonly mesh?: Record<string, unknown>;
  readonly expected: string;
}

const ORDERS_BY_NAME = {
  host: "orders.shop.svc.cluster.local",
  virtual: true,
} as const;

const ORDERS_8080 = { address: "10.0.0.7", port: 8080 };

const CASES: readonly Case[] = [
  {
    name: "a service in the caller's namespace",
    authority: "orders",
    expected: "mesh orders.shop:80",
  },
  {
    name: "a service with its namespace",
    authority: "orders.shop",
    expected: "mesh orders.shop:80",
  },
  {
    name: "its port",
    authority: "orders.shop:80",
    expected: "mesh orders.shop:80",
  },
  {
    name: "case and final dot do not matter",
    authority: "Orders.SHOP.",
    expected: "mesh orders.shop:80",
  },
  {
    name: "an external service",
    authority: "api.stripe.com:443",
    method: "CONNECT",
    expected: "mesh stripe.shop:443",
  },
  {
    name: "no service",
    authority: "example.org",
    expected: "outside example.org:80",
  },
  {
    name: "no service, with a port",
    authority: "example.org:8080",
    expected: "outside example.org:8080",
  },
  {
    name: "an IPv6 address",
    authority: "[2001:db8::1]:81",
    expected: "outside 2001:db8::1:81",
  },
  {
    name: "no service, and REGISTRY_ONLY",
    authority: "example.org",
    mesh: { outboundTrafficPolicy: "REGISTRY_ONLY" },
    expected: "refused UNKNOWN_DESTINATION",
  },
  { name: "no host", authority: "", expected: "refused BAD_REQUEST" },
  {
    name: "user information",
    authority: "me@orders.shop",
    expected: "refused BAD_REQUEST",
  },
  {
    name: "a port that is none",
    authority: "orders.shop:99999",
    expected: "refused BAD_REQUEST",
  },
  {
    name: "CONNECT without a port",
    authority: "orders.shop",
    method: "CONNECT",
    expected: "refused BAD_REQUEST",
  },
  {
    name: "https in absolute form",
    authority: "example.org",
    scheme: "https",
    expected: "refused UNSUPPORTED",
  },
  {
    name: "captured, and Host names the service",
    authority: "orders.shop",
    captured: ORDERS_8080,
    expected: "mesh orders.shop:80",
  },
  {
    name: "captured, and Host names the service and the application's port",
    authority: "orders.shop:8080",
    captured: ORDERS_8080,
    expected: "mesh orders.shop:80",
  },
  {
    name: "a tunnel to its address in the notation of IPv6",
    authority: "[::ffff:10.0.0.7]:8080",
    method: "CONNECT",
    expected: "mesh orders.shop:80",
  },
  {
    name: "captured, and Host names another Service that has the address",
    authority: "orders-v2.shop:8080",
    captured: ORDERS_8080,
    expected: "mesh orders-v2.shop:80",
  },
  {
    name: "captured, and Host is the address: the instance",
    authority: "10.0.0.7:8080",
    captured: ORDERS_8080,
    expected: "mesh orders.shop:80@shop/orders-1:8080",
  },
  {
    name: "captured, and Host names a Service that does not have the address",
    authority: "elsewhere.shop",
    captured: ORDERS_8080,
    expected: "mesh orders.shop:80@shop/orders-1:8080",
  },
  {
    name: "captured, and Host names an external Service",
    authority: "api.stripe.com",
    captured: ORDERS_8080,
    expected: "mesh orders.shop:80@shop/orders-1:8080",
  },
  {
    name: "captured, and Host is no host: the address decides, the codecs have judged the rest",
    authority: "a b",
    captured: ORDERS_8080,
    expected: "mesh orders.shop:80@shop/orders-1:8080",
  },
  {
    name: "captured, and HTTP/1.0 without a Host",
    authority: "",
    captured: ORDERS_8080,
    expected: "refused BAD_REQUEST",
  },
  {
    name: "an upstream's port, and HTTP/1.0 without a Host",
    authority: "",
    upstream: { host: "orders.shop", port: undefined },
    expected: "refused BAD_REQUEST",
  },
  {
    name: "captured bytes",
    authority: "10.0.0.7:8080",
    method: "CONNECT",
    captured: ORDERS_8080,
    expected: "mesh orders.shop:80",
  },
  {
    name: "captured to an unknown address: the address counts, not what Host claims",
    authority: "orders.shop",
    captured: { address: "192.0.2.1", port: 80 },
    expected: "outside 192.0.2.1:80",
  },
  {
    name: "captured to a host of an external service",
    authority: "api.stripe.com",
    captured: { address: "192.0.2.1", port: 443 },
    expected: "mesh stripe.shop:443",
  },
  ...(["ALLOW_ANY", "REGISTRY_ONLY"] as const).map((outboundTrafficPolicy) => ({
    name: `captured TLS to a host of an external service, and ${outboundTrafficPolicy}`,
    authority: "192.0.2.1:443",
    method: "CONNECT",
    captured: { address: "192.0.2.1", port: 443 },
    serverName: "api.stripe.com",
    mesh: { outboundTrafficPolicy },
    expected: "mesh stripe.shop:443",
  })),
  {
    name: "captured TLS to another host, and REGISTRY_ONLY",
    authority: "192.0.2.1:443",
    method: "CONNECT",
    captured: { address: "192.0.2.1", port: 443 },
    serverName: "example.org",
    mesh: { outboundTrafficPolicy: "REGISTRY_ONLY" },
    expected: "refused UNKNOWN_DESTINATION",
  },
  {
    name: "captured TLS that names a port for HTTP outside: it is left where it goes",
    authority: "192.0.2.1:80",
    method: "CONNECT",
    captured: { address: "192.0.2.1", port: 80 },
    serverName: "plain.example",
    expected: "outside 192.0.2.1:80",
  },
  {
    name: "captured TLS that names a Service of the mesh at another address",
    authority: "192.0.2.1:443",
    method: "CONNECT",
    captured: { address: "192.0.2.1", port: 443 },
    serverName: "orders.shop",
    expected: "outside 192.0.2.1:443",
  },
  {
    name: "a listener of one service, whatever Host says",
    authority: "example.org",
    upstream: { host: "orders.shop", port: undefined },
    expected: "mesh orders.shop:80",
  },
  {
    name: "a listener of a service that is gone",
    authority: "x",
    upstream: { host: "gone.shop", port: 80 },
    expected: "refused UNKNOWN_DESTINATION",
  },
  {
    name: "an address that stands for a name, whatever Host says",
    authority: "example.org",
    upstream: { ...ORDERS_BY_NAME, port: 80 },
    expected: "mesh orders.shop:80",
  },
  {
    name: "one on a port that its Service does not have",
    authority: "orders",
    upstream: { ...ORDERS_BY_NAME, port: 81 },
    expected: "refused UNKNOWN_DESTINATION",
  },
  {
    name: "one that stands for no name",
    authority: "orders",
    upstream: { host: "240.240.0.9", port: 80, virtual: true },
    expected: "refused UNKNOWN_DESTINATION",
  },
  {
    name: "one of an external Service",
    authority: "api.stripe.com:443",
    method: "CONNECT",
    upstream: { host: "api.stripe.com", port: 443, virtual: true },
    expected: "mesh stripe.shop:443",
  },
  {
    name: "one of an external Service, on another port",
    authority: "api.stripe.com:8443",
    method: "CONNECT",
    upstream: { host: "api.stripe.com", port: 8443, virtual: true },
    expected: "outside api.stripe.com:8443",
  },
  {
    name: "the same where nothing else is allowed",
    authority: "api.stripe.com:8443",
    method: "CONNECT",
    upstream: { host: "api.stripe.com", port: 8443, virtual: true },
    mesh: { outboundTrafficPolicy: "REGISTRY_ONLY" },
    expected: "refused UNKNOWN_DESTINATION",
  },
];

const HEAD: RequestHead = {
  method: "GET",
  scheme: "http",
  authority: "",
  path: "/",
  protocol: undefined,
  fields: [],
  contentLength: undefined,
  acceptsTrailers: false,
  absoluteForm: false,
};

void t.test("where to", (t) => {
  for (const each of CASES) {
    const head: RequestHead = {
      ...HEAD,
      method: each.method ?? "GET",
      scheme: each.scheme ?? "http",
      authority: each.authority,
      absoluteForm: each.scheme !== undefined,
    };
    const where = whereTo(
      snapshotOf(each.mesh),
      head,
      {
        originalDestination: each.captured,
        serverName: each.serverName,
      },
      each.upstream,
    );
    t.equal(describe(where), each.expected, each.name);
  }
  t.end();
});

void t.test("what has to be asked to know where to", (t) => {
  const captured = { address: "10.0.0.7", port: 8080 };
  for (const [expected, authority, arrival = {}] of [
    [["Host//orders.shop"], "orders.shop:80"],
    [["Host//orders.shop"], "ORDERS.shop."],
    [["Host//10.0.0.7"], "10.0.0.7:8080"],
    [[], "[fd00::1]:80"],
    [[], "a..b"],
    [[], "a".repeat(700)],
    [["Host//db.shop"], "db.shop:5432", { method: "CONNECT" }],
    [
      ["Host//10.0.0.7", "Address//10.0.0.7:8080"],
      "10.0.0.7:8080",
      { method: "CONNECT" },
    ],
    [["Address//[fd00::1]:80"], "[FD00:0:0::1]:80", { method: "CONNECT" }],
    [
      ["Address//10.0.0.7:8080", "Host//api.stripe.com"],
      "api.stripe.com:443",
      { captured },
    ],
    [["Address//10.0.0.7:8080"], "10.0.0.7:8080", { captured }],
    [["Address//10.0.0.7:8080"], "", { captured }],
    [
      ["Address//10.0.0.7:8080", "Host//api.stripe.com"],
      "10.0.0.7:8080",
      { method: "CONNECT", captured, serverName: "api.stripe.com" },
    ],
    [
      ["Address//[fd00::1]:80"],
      "[fd00::1]",
      { captured: { address: "fd00::1", port: 80 } },
    ],
    [
      ["Host//orders.shop"],
      "anything",
      { upstream: { host: "orders.shop", port: 80 } },
    ],
  ] as readonly (readonly [
    readonly string[],
    string,
    {
      readonly method?: string;
      readonly captured?: Case["captured"];
      readonly serverName?: string;
      readonly upstream?: LocalUpstream;
    }?,
  ])[])
    t.same(
      questionsOf(
        { ...HEAD, method: arrival.method ?? "GET", authority },
        {
          originalDestination: arrival.captured,
          serverName: arrival.serverName,
        },
        arrival.upstream,
      ),
      expected,
      authority,
    );
  t.end();
});

function describe(where: ReturnType<typeof whereTo>): string {
  switch (where.kind) {
    case "mesh":
      return `mesh ${where.destination.key}`;
    case "outside":
      return `outside ${where.host}:${where.port}`;
    case "refused":
      return `refused ${where.error.code}`;
  }
}

void t.test("authorities", (t) => {
  for (const [text, expected] of [
    ["a.b", { host: "a.b", port: undefined }],
    ["A.B:1", { host: "a.b", port: 1 }],
    ["[::1]:80", { host: "::1", port: 80 }],
    ["::1", undefined],
    ["a:0", undefined],
    ["a:", undefined],
    ["a b", undefined],
    ["a/b", undefined],
  ] as const)
    t.same(parseAuthority(text), expected, text);
  t.end();
});
