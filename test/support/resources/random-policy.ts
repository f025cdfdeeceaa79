/** Policy and requests drawn at random from a few values each, so that most draws have to do with each other. */
import type { Resource } from "../../../src/resources/envelope.ts";
import { validate } from "../../../src/resources/validate.ts";
import { resource, type CallOptions } from "../meshes/pair.ts";
import { dice, type Draw } from "./dice.ts";
import {
  ASKED,
  PUBLIC_KEYS,
  randomProviders,
  requestAuthentication,
  revocation,
  tokenConditions,
  tokenSource,
} from "./random-tokens.ts";

export { dice, seeded, type Draw } from "./dice.ts";

const PATHS = ["/", "/a", "/a/b", "/a/b/c", "/admin", "/admin/x", "/v1/a"];
/** As callers write them: other spellings of the paths above among them. */
const TARGETS: readonly string[] = [
  ...PATHS,
  "/x/../a",
  "//a/b",
  "/%61dmin/x",
  "/a/./b",
  "/A",
  "/ab",
  "/a/",
  "/v1/a/b",
  "/other",
];
const METHODS = ["GET", "POST", "PUT", "DELETE"] as const;
const VALUES = ["1", "2", "qa"];
const HEADERS = ["x-user", "x-env"];
const PARAMS = ["q", "page"];
const PRINCIPALS = ["cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/*"];
const OTHERS = ["cluster.local/ns/shop/sa/other", "cluster.local/ns/far/*"];
const HOSTS = ["orders.shop", "orders-a.shop", "new.example"];
/** Tests call from loopback. */
const RANGES = ["127.0.0.0/8", "10.0.0.0/8", "::1"];
const ORIGIN = "https://page.example";

/** The Services behind which the one instance stands. */
export const BACKENDS: readonly string[] = ["orders", "orders-a", "orders-b"];

function unique<T>(items: readonly T[], key: (item: T) => string): T[] {
  return [...new Map(items.map((item) => [key(item), item])).values()];
}

/** The drawn resource, drawn again until it is one that the API would take. */
function valid(draw: () => Resource): Resource {
  for (;;) {
    const drawn = draw();
    if (validate(drawn).ok) return drawn;
  }
}

/** Spec of the Mesh. */
export function randomMesh(draw: Draw): Readonly<Record<string, unknown>> {
  const { chance, pick } = dice(draw);
  return {
    authorization: {
      defaultAction: chance(0.8) ? "ALLOW" : "DENY",
      ...(chance(0.9) ? { providers: randomProviders(draw) } : {}),
    },
    mtls: { mode: chance(0.7) ? "STRICT" : "PERMISSIVE" },
    outboundTrafficPolicy: "REGISTRY_ONLY",
    pathNormalization: pick(["BASE", "MERGE_SLASHES"]),
    ...(chance(0.3) ? { trustDomainAliases: ["old.example"] } : {}),
  };
}

/** Routes, faults and who may call: at most a handful of each. `keys`: of the issuers of tokens. */
export function randomPolicies(
  draw: Draw,
  keys: string = PUBLIC_KEYS,
): Resource[] {
  const { chance, some, upTo } = dice(draw);
  const numbered = (
    count: number,
    make: (index: number) => Resource,
  ): Resource[] =>
    Array.from({ length: count }, (_none, index) => valid(() => make(index)));
  return [
    ...numbered(1 + upTo(2), (index) => route(draw, index)),
    ...(chance(0.4) ? numbered(1, () => fault(draw)) : []),
    ...numbered(some(3, () => 0).length, (index) => authorization(draw, index)),
    ...(chance(0.5) ? numbered(1, () => peerAuthentication(draw)) : []),
    ...(chance(0.5) ? numbered(1, () => sticky(draw)) : []),
    ...(chance(0.6)
      ? numbered(1 + upTo(1), (index) =>
          requestAuthentication(draw, index, keys),
        )
      : []),
    ...(chance(0.3) ? numbered(1, () => revocation(draw)) : []),
    ...(chance(0.3) ? numbered(1, () => telemetry(draw)) : []),
  ];
}

function match(draw: Draw): Record<string, unknown> {
  const { pick, chance, some } = dice(draw);
  const valued = (names: readonly string[]): Record<string, unknown>[] =>
    unique(
      some(2, () =>
        chance(0.3)
          ? { name: pick(names), type: "RegularExpression", value: "[0-9]+" }
          : { name: pick(names), value: pick(VALUES) },
      ),
      ({ name }) => name,
    );
  const path = chance(0.2)
    ? {
        type: "RegularExpression",
        value: pick(["/a(/.*)?", "/[a-z]+", "/v[0-9]/.*"]),
      }
    : { type: pick(["Exact", "PathPrefix", "PathPrefix"]), value: pick(PATHS) };
  const headers = chance(0.4) ? valued(HEADERS) : [];
  const queryParams = chance(0.3) ? valued(PARAMS) : [];
  return {
    ...(chance(0.8) ? { path } : {}),
    ...(chance(0.25) ? { method: pick(METHODS) } : {}),
    ...(headers.length === 0 ? {} : { headers }),
    ...(queryParams.length === 0 ? {} : { queryParams }),
  };
}

function route(draw: Draw, index: number): Resource {
  const { some, pick, chance } = dice(draw);
  const rules = [...some(4, () => 0), 0].map(() => rule(draw));
  return resource(
    "HTTPRoute",
    `route-${index}`,
    {
      parentRefs: [
        { kind: "Service", name: chance(0.85) ? "orders" : pick(BACKENDS) },
      ],
      rules,
    },
    chance(0.5)
      ? {
          creationTimestamp: `2026-01-0${1 + Math.floor(draw() * 9)}T00:00:00Z`,
        }
      : {},
  );
}

function rule(draw: Draw): Record<string, unknown> {
  const { some, chance, pick, upTo } = dice(draw);
  const matches = some(2, () => match(draw));
  const filters: Record<string, unknown>[] = [];
  const edits = (): Record<string, unknown> => ({
    set: [{ name: "x-set", value: pick(VALUES) }],
    ...(chance(0.5) ? { add: [{ name: "X-Add", value: pick(VALUES) }] } : {}),
    ...(chance(0.3) ? { remove: [pick(HEADERS)] } : {}),
  });
  if (chance(0.4))
    filters.push({
      type: "RequestHeaderModifier",
      requestHeaderModifier: edits(),
    });
  if (chance(0.3))
    filters.push({
      type: "ResponseHeaderModifier",
      responseHeaderModifier: edits(),
    });
  if (chance(0.2))
    filters.push({
      type: "CORS",
      cors: { allowOrigins: [ORIGIN], allowMethods: ["GET", "PUT"] },
    });
  const path = chance(0.5)
    ? { type: "ReplaceFullPath", replaceFullPath: pick(PATHS) }
    : { type: "ReplacePrefixMatch", replacePrefixMatch: pick(PATHS) };
  const isRedirect = chance(0.12);
  if (isRedirect)
    filters.push({
      type: "RequestRedirect",
      requestRedirect: {
        ...(chance(0.6) ? { path } : {}),
        ...(chance(0.5) ? { hostname: pick(HOSTS), statusCode: 301 } : {}),
      },
    });
  else if (chance(0.25))
    filters.push({
      type: "URLRewrite",
      urlRewrite: {
        ...(chance(0.4) ? { hostname: pick(HOSTS) } : {}),
        path,
      },
    });
  const backendRefs = Array.from({ length: 1 + upTo(2) }, () => ({
    name: chance(0.95) ? pick(BACKENDS) : "nobody",
    port: 80,
    weight: chance(0.9) ? 1 + upTo(3) : 0,
  }));
  return {
    ...(matches.length === 0 ? {} : { matches }),
    ...(filters.length === 0 ? {} : { filters }),
    ...(isRedirect || chance(0.05) ? {} : { backendRefs }),
  };
}

function fault(draw: Draw): Resource {
  const { chance, pick, some } = dice(draw);
  const matches = some(2, () => match(draw));
  return resource("FaultInjection", "fault", {
    targetRefs: [{ kind: "Service", name: pick(BACKENDS) }],
    ...(matches.length === 0 ? {} : { matches }),
    ...(chance(0.3) ? { from: [{ labels: { app: "web" } }] } : {}),
    abort: {
      httpStatus: pick([500, 503, 418]),
      percentage: chance(0.8) ? 100 : 0,
    },
    expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
  });
}

function authorization(draw: Draw, index: number): Resource {
  const { chance, pick, some } = dice(draw);
  const list = <T>(from: readonly T[]): T[] =>
    unique([pick(from), ...some(1, () => pick(from))], String);
  const from = (): Record<string, unknown> => ({
    source: source(draw, list),
  });
  const to = (): Record<string, unknown> => ({
    operation: {
      ...(chance(0.6)
        ? {
            [pick(["paths", "paths", "notPaths"])]: list([
              ...PATHS,
              "/admin/*",
              "/a/{*}",
              "/{**}/b",
              "/a/{**}/c",
              "*x",
            ]),
          }
        : {}),
      ...(chance(0.4)
        ? { [pick(["methods", "notMethods"])]: list(METHODS) }
        : {}),
      ...(chance(0.2) ? { [pick(["hosts", "notHosts"])]: list(HOSTS) } : {}),
    },
  });
  const rules = Array.from({ length: 3 }, () => ({
    ...(chance(0.6) ? { from: [from()] } : {}),
    ...(chance(0.8) ? { to: [to(), ...some(1, to)] } : {}),
    ...(chance(0.3) ? { when: [condition(draw, list)] } : {}),
  })).slice(Math.floor(draw() * 3));
  const action = chance(0.4) ? "DENY" : chance(0.2) ? "AUDIT" : "ALLOW";
  const asks = chance(0.3);
  const spec = {
    ...target(draw),
    ...(asks
      ? { action: "CUSTOM", provider: { name: pick(ASKED) } }
      : { action }),
    ...(chance(0.95) ? { rules } : {}),
  };
  return !asks && chance(0.35)
    ? resource("AuthorizationPolicy", `who-${index}`, spec, {
        annotations: { "istio.io/dry-run": "true" },
      })
    : resource("AuthorizationPolicy", `who-${index}`, spec);
}

/** By labels, or by a Service: one that is there, or one that is not. */
function target(draw: Draw): Record<string, unknown> {
  const { chance, pick } = dice(draw);
  return chance(0.2)
    ? {
        targetRefs: [
          { kind: "Service", name: chance(0.9) ? pick(BACKENDS) : "nobody" },
        ],
      }
    : { selector: { matchLabels: { app: chance(0.85) ? "orders" : "web" } } };
}

type List = <T>(from: readonly T[]) => T[];

function source(draw: Draw, list: List): Record<string, unknown> {
  const { chance, pick } = dice(draw);
  if (chance(0.2)) return tokenSource(draw, list);
  if (chance(0.5))
    return {
      [pick(["principals", "notPrincipals"])]: list([...PRINCIPALS, ...OTHERS]),
    };
  if (chance(0.4))
    return { [pick(["namespaces", "notNamespaces"])]: list(["shop", "far"]) };
  if (chance(0.4))
    return {
      [pick(["ipBlocks", "notIpBlocks", "remoteIpBlocks"])]: list(RANGES),
    };
  return chance(0.5)
    ? {
        [pick(["serviceAccounts", "notServiceAccounts"])]: list([
          "web",
          "shop/web",
          "far/web",
        ]),
      }
    : {
        [pick(["trustDomains", "notTrustDomains"])]: list([
          "cluster*",
          "other.td",
        ]),
      };
}

function condition(draw: Draw, list: List): Record<string, unknown> {
  const { pick } = dice(draw);
  const [key, values] = pick<readonly [string, readonly string[]]>([
    [`request.headers[${pick(HEADERS)}]`, [...VALUES, "*"]],
    ["source.ip", RANGES],
    ["remote.ip", RANGES],
    ["destination.ip", RANGES],
    ["source.serviceAccount", ["web", "far/web"]],
    ["source.namespace", ["shop", "far"]],
    ...tokenConditions,
  ]);
  return { key, [pick(["values", "values", "notValues"])]: list(values) };
}

function peerAuthentication(draw: Draw): Resource {
  const { chance, pick } = dice(draw);
  return resource("PeerAuthentication", "mtls", {
    ...(chance(0.6) ? { selector: { matchLabels: { app: "orders" } } } : {}),
    mtls: { mode: pick(["STRICT", "PERMISSIVE", "UNSET"]) },
  });
}

/** What is recorded changes no answer. */
function telemetry(draw: Draw): Resource {
  const { chance, pick } = dice(draw);
  return resource("Telemetry", "recorded", {
    ...(chance(0.5) ? { selector: { matchLabels: { app: "orders" } } } : {}),
    tracing: [
      {
        randomSamplingPercentage: pick([0, 50, 100]),
        disableSpanReporting: chance(0.3),
        customTags: { seen: { header: { name: pick(HEADERS) } } },
      },
    ],
    accessLogging: [{ filter: { expression: "response.code >= 400" } }],
  });
}

/** Callers keep to their share of a split. */
function sticky(draw: Draw): Resource {
  const { chance, pick } = dice(draw);
  return resource("TrafficPolicy", "sticky", {
    targetRefs: [
      { kind: "Service", name: chance(0.8) ? "orders" : pick(BACKENDS) },
    ],
    loadBalancer: {
      consistentHash: chance(0.5)
        ? { httpHeaderName: pick(HEADERS) }
        : { useSourceIp: true },
    },
    // A sidecar is called over the link, whatever it says.
    ...(chance(0.3) ? { tls: { mode: "SIMPLE", sni: pick(HOSTS) } } : {}),
    ...(chance(0.3) ? { applicationTls: { sni: pick(HOSTS) } } : {}),
  });
}

export function randomRequest(draw: Draw): Required<
  Pick<CallOptions, "method" | "path" | "host">
> & {
  readonly headers: Record<string, string>;
} {
  const { chance, pick, some } = dice(draw);
  const query = some(2, () => `${pick(PARAMS)}=${pick(VALUES)}`);
  const headers: Record<string, string> = {};
  for (const name of some(2, () => pick(HEADERS))) headers[name] = pick(VALUES);
  const preflight = chance(0.1);
  if (preflight) headers["access-control-request-method"] = pick(METHODS);
  if (preflight || chance(0.15)) headers["origin"] = ORIGIN;
  return {
    method: preflight ? "OPTIONS" : pick([...METHODS, "GET"]),
    path: `${pick(TARGETS)}${query.length === 0 ? "" : `?${query.join("&")}`}`,
    host: chance(0.8)
      ? "orders.shop"
      : pick(["orders", "orders-a.shop:80", "Orders.Shop.svc", "nobody.shop"]),
    headers,
  };
}
