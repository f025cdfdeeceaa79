/** Resources of a small mesh that get in each other's way, drawn at random: many versions of few names, so that most changes matter. */
import { deepFreeze } from "../../../src/core/frozen.ts";
import type { SelfDescription } from "../../../src/policy/snapshot.ts";
import {
  formatKey,
  keyOf,
  type Resource,
} from "../../../src/resources/envelope.ts";
import { validate } from "../../../src/resources/validate.ts";
import { REGISTERED_BY } from "../../../src/resources/workload/schema.ts";
import { resource } from "../meshes/pair.ts";
import { self } from "./policy-fixtures.ts";
import {
  BACKENDS,
  dice,
  randomMesh,
  randomPolicies,
  type Draw,
} from "./random-policy.ts";

type Spec = Readonly<Record<string, unknown>>;

const NAMESPACES = ["shop", "shop", "far"];
export const HOSTS: readonly string[] = [
  "x.example",
  "y.example",
  "orders.shop",
  "x.y.example",
  "z.x.y.example",
];
const WILDCARDS = ["*.y.example", "*.x.y.example"];
const ADDRESSES = ["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.2", "10.0.0.3"];
const LABELS: readonly Readonly<Record<string, string>>[] = [
  { app: "orders" },
  { app: "orders", env: "live" },
  { app: "web" },
  { env: "live" },
  {},
];

/** As whom the sidecar stands there. */
export const SELVES: readonly SelfDescription[] = [
  self(),
  self({ labels: { app: "orders", env: "live" } }),
  self({ labels: { app: "orders" }, ports: { http: 8080 } }),
  self({ locality: "eu/a" }),
  self({ namespace: "far" }),
];

/** For each key as many versions; every one is what the API would take. */
export function randomVersions(
  draw: Draw,
  versions: number,
): ReadonlyMap<string, readonly Resource[]> {
  const all = new Map<string, Resource[]>();
  const keep = (drawn: Resource): void => {
    const validation = validate(drawn);
    if (!validation.ok) return;
    const key = formatKey(keyOf(validation.resource));
    const list = all.get(key) ?? [];
    all.set(key, list);
    list.push(deepFreeze(validation.resource));
  };
  for (let version = 0; version < versions; version += 1) {
    keep(resource("Mesh", "default", mesh(draw)));
    for (const name of BACKENDS) {
      keep(placed(draw, resource("Service", name, service(draw))));
      keep(placed(draw, resource("Service", name, external(draw))));
      keep(placed(draw, traffic(draw, name)));
    }
    for (const name of ["web-1", "a", "b", "c", "d", "e"])
      keep(placed(draw, workload(draw, name)));
    keep(placed(draw, grpcRoute(draw)));
    keep(placed(draw, copyingRoute(draw)));
    for (const policy of randomPolicies(draw)) keep(placed(draw, policy));
  }
  return all;
}

/** In a namespace and of an age; a route of another namespace is one of its callers'. */
function placed(draw: Draw, drawn: Resource): Resource {
  // It is of the whole mesh.
  if (drawn.metadata.namespace === undefined) return drawn;
  const { pick, chance } = dice(draw);
  const namespace = [
    "AuthorizationPolicy",
    "PeerAuthentication",
    "RequestAuthentication",
    "Telemetry",
  ].includes(drawn.kind)
    ? pick([...NAMESPACES, "wherry-system"])
    : pick(NAMESPACES);
  const parents = (
    drawn.spec as { parentRefs?: readonly Readonly<Record<string, unknown>>[] }
  ).parentRefs;
  return {
    ...drawn,
    metadata: {
      ...drawn.metadata,
      namespace,
      ...(chance(0.5)
        ? { creationTimestamp: `2026-01-0${pick([1, 2, 3])}T00:00:00Z` }
        : {}),
    },
    ...(parents === undefined
      ? {}
      : {
          spec: {
            ...(drawn.spec as object),
            parentRefs: parents.map((parent) => ({
              ...parent,
              ...(chance(0.5) ? { namespace: "shop" } : {}),
              ...(chance(0.2) ? { port: pick([80, 81]) } : {}),
            })),
          },
        }),
  };
}

function mesh(draw: Draw): Spec {
  const { pick, chance } = dice(draw);
  return {
    ...randomMesh(draw),
    ...(chance(0.2) ? { trustDomain: "example.org" } : {}),
    ...(chance(0.3)
      ? { defaults: { timeouts: { request: pick(["1s", "2s"]) } } }
      : {}),
  };
}

function service(draw: Draw): Spec {
  const { pick, chance, some } = dice(draw);
  return {
    selector: pick(LABELS.slice(0, 4)),
    ports: [
      {
        name: "http",
        port: 80,
        targetPort: pick([8080, 8081]),
        ...(chance(0.2) ? { appProtocol: pick(["grpc", "tcp"]) } : {}),
      },
      ...some(1, () => ({
        name: "more",
        port: 81,
        appProtocol: pick(["tcp", "http"]),
      })),
    ],
    ...(chance(0.3) ? { exportTo: pick([["."], ["far"], ["shop"]]) } : {}),
  };
}

function external(draw: Draw): Spec {
  const { pick, chance, some } = dice(draw);
  const fixed = chance(0.5);
  return {
    location: "MESH_EXTERNAL",
    hosts: [
      ...new Set([
        pick(HOSTS),
        ...some(1, () => pick(HOSTS)),
        ...(fixed ? [] : some(1, () => pick(WILDCARDS))),
      ]),
    ],
    ports: [
      { name: "http", port: pick([80, 8080]) },
      ...some(1, () => ({ name: "more", port: 443, appProtocol: "tls" })),
    ],
    ...(fixed
      ? {
          resolution: "STATIC",
          endpoints: [{ address: pick(ADDRESSES) }, { address: "10.9.9.9" }],
        }
      : {}),
    ...(chance(0.2) ? { exportTo: ["."] } : {}),
  };
}

function workload(draw: Draw, name: string): Resource {
  const { pick, chance } = dice(draw);
  return resource(
    "Workload",
    name,
    {
      address: pick(ADDRESSES),
      ports: pick<Spec>([
        { http: 8080 },
        { http: 8081, more: 81 },
        { more: 8080 },
        {},
      ]),
      ...(chance(0.6) ? { link: { port: 15008 } } : {}),
      serviceAccount: pick(["a", "b"]),
      ready: chance(0.8),
      ...(chance(0.3) ? { locality: pick(["eu/a", "us/b"]) } : {}),
    },
    {
      labels: pick(LABELS),
      ...(chance(0.4)
        ? { annotations: { [REGISTERED_BY]: "spiffe://x" } }
        : {}),
    },
  );
}

function traffic(draw: Draw, name: string): Resource {
  const { pick, chance } = dice(draw);
  return resource("TrafficPolicy", `traffic-${name}`, {
    targetRefs: [
      {
        kind: "Service",
        name,
        ...(chance(0.3) ? { sectionName: pick(["http", "more"]) } : {}),
      },
    ],
    ...(chance(0.5)
      ? { loadBalancer: { simple: pick(["RANDOM", "ROUND_ROBIN"]) } }
      : {}),
    ...(chance(0.3) ? { maxRequestBodyBytes: pick([10, 20]) } : {}),
  });
}

function grpcRoute(draw: Draw): Resource {
  const { pick, some } = dice(draw);
  return resource("GRPCRoute", pick(["calls", "rpc"]), {
    parentRefs: [{ kind: "Service", name: pick(BACKENDS) }],
    rules: [
      {
        matches: some(2, () => ({
          method: { service: pick(["shop.Cart", "shop.Pay"]) },
        })),
        backendRefs: [{ name: pick(BACKENDS), port: 80 }],
      },
    ],
  });
}

function copyingRoute(draw: Draw): Resource {
  const { pick } = dice(draw);
  return resource("HTTPRoute", "copying", {
    parentRefs: [{ kind: "Service", name: pick(BACKENDS) }],
    rules: [
      {
        matches: [{ path: { value: pick(["/", "/a"]) } }],
        filters: [
          {
            type: "RequestMirror",
            requestMirror: {
              backendRef: { name: pick([...BACKENDS, "nobody"]), port: 80 },
            },
          },
        ],
        backendRefs: [
          { name: pick(BACKENDS), port: pick([80, 81]), namespace: "shop" },
        ],
      },
    ],
  });
}
