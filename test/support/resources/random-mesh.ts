/** Meshes drawn at random from a few namespaces, names and labels, so that most resources have to do with each other; and their changes. */
import type { Resource } from "../../../src/resources/envelope.ts";
import type { Draw } from "./random-policy.ts";

const NAMESPACES = ["shop", "far", "infra", "wherry-system"] as const;
const SERVICES = ["a", "b", "c"] as const;
const WORKLOADS = ["w1", "w2", "w3", "w4"] as const;
const NAMES = ["x", "y", "z"] as const;
const EXPORTS: readonly (readonly string[] | undefined)[] = [
  undefined,
  ["*"],
  ["."],
  ["shop"],
  ["far", "infra"],
];

type Labels = Readonly<Record<string, string>>;

/** A workload as its certificate may bind it. */
export interface RandomViewer {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
}

/** The resource as the store has it at that revision. */
export function at(resource: Resource, revision: number): Resource {
  return {
    ...resource,
    metadata: { ...resource.metadata, resourceVersion: String(revision) },
  };
}

function pick<T>(draw: Draw, from: readonly T[]): T {
  return from[Math.floor(draw() * from.length)] as T;
}

function labels(draw: Draw): Labels {
  return {
    ...(draw() < 0.8 ? { app: pick(draw, ["a", "b"]) } : {}),
    ...(draw() < 0.4 ? { tier: pick(draw, ["front", "back"]) } : {}),
  };
}

/** A selector is never empty. */
function selector(draw: Draw): Labels {
  const drawn = labels(draw);
  return Object.keys(drawn).length === 0 ? { app: "a" } : drawn;
}

export function randomViewer(draw: Draw): RandomViewer {
  return {
    namespace: pick(draw, NAMESPACES),
    name: pick(draw, WORKLOADS),
    labels: labels(draw),
  };
}

/** One resource of any kind, under one of few names: it may take another's place. */
export function randomResource(draw: Draw): Resource {
  return pick(draw, MAKERS)(draw);
}

const OWN = "mesh.wherry.dev/v1alpha1";

function resource(
  apiVersion: string,
  kind: string,
  draw: Draw,
  names: readonly string[],
  spec: object,
  of?: Labels,
): Resource {
  return {
    apiVersion,
    kind,
    metadata: {
      name: pick(draw, names),
      namespace: pick(draw, NAMESPACES),
      creationTimestamp: `2026-01-0${1 + Math.floor(draw() * 9)}T00:00:00Z`,
      ...(of === undefined ? {} : { labels: of }),
    },
    spec,
  };
}

const HOSTS = [
  ...["one.example", "two.example", "a.shop"],
  ...["x.one.example", "*.one.example", "*.x.one.example"],
] as const;

function service(draw: Draw): Resource {
  const exportTo = pick(draw, EXPORTS);
  const inMesh = draw() < 0.7;
  const host = pick(draw, HOSTS);
  return resource(OWN, "Service", draw, SERVICES, {
    ports: [
      inMesh
        ? { name: "http", port: pick(draw, [80, 81]), targetPort: 8080 }
        : { name: "http", port: pick(draw, [80, 81, 8080]) },
    ],
    ...(exportTo === undefined ? {} : { exportTo }),
    ...(inMesh
      ? { selector: selector(draw) }
      : {
          location: "MESH_EXTERNAL",
          hosts: [host],
          ...(draw() < 0.5 && !host.startsWith("*")
            ? {
                resolution: "STATIC",
                endpoints: [{ address: pick(draw, ADDRESSES) }],
              }
            : {}),
        }),
  });
}

const ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.0.3"] as const;

function workload(draw: Draw): Resource {
  const made = resource(
    OWN,
    "Workload",
    draw,
    WORKLOADS,
    {
      address: pick(draw, ADDRESSES),
      ports: { http: pick(draw, [8080, 81]) },
      serviceAccount: pick(draw, ["one", "two"]),
      ...(draw() < 0.5 ? { link: { port: 15_008 } } : {}),
    },
    labels(draw),
  );
  return draw() < 0.5
    ? made
    : {
        ...made,
        metadata: {
          ...made.metadata,
          annotations: { "mesh.wherry.dev/registered-by": "somebody" },
        },
      };
}

function elsewhere(draw: Draw): object {
  return draw() < 0.4 ? { namespace: pick(draw, NAMESPACES) } : {};
}

function route(draw: Draw): Resource {
  const kind = draw() < 0.7 ? "HTTPRoute" : "GRPCRoute";
  const refs = (): object[] =>
    Array.from({ length: 1 + Math.floor(draw() * 2) }, () => ({
      kind: "Service",
      name: pick(draw, SERVICES),
      ...elsewhere(draw),
    }));
  const mirror = {
    type: "RequestMirror",
    requestMirror: { backendRef: { ...refs()[0], port: 80 } },
  };
  const expression = { path: { type: "RegularExpression", value: "/x" } };
  return resource("gateway.networking.k8s.io/v1", kind, draw, NAMES, {
    parentRefs: refs().map((ref) =>
      draw() < 0.3 ? { ...ref, port: pick(draw, [80, 81]) } : ref,
    ),
    rules: [
      {
        ...(kind === "HTTPRoute" && draw() < 0.4
          ? { matches: [expression] }
          : {}),
        backendRefs: refs().map((ref) => ({ ...ref, port: 80 })),
        ...(draw() < 0.3 ? { filters: [mirror] } : {}),
      },
    ],
  });
}

function targeted(draw: Draw): Resource {
  const targetRefs = [
    {
      kind: "Service",
      name: pick(draw, SERVICES),
      ...(draw() < 0.3 ? { sectionName: "http" } : {}),
    },
  ];
  if (draw() < 0.5)
    return resource(OWN, "TrafficPolicy", draw, NAMES, { targetRefs });
  return resource(OWN, "FaultInjection", draw, NAMES, {
    targetRefs,
    reset: { percentage: 100 },
    expiresAt: "2026-12-01T00:00:00Z",
    ...(draw() < 0.6
      ? {
          from: [
            draw() < 0.5
              ? { namespace: pick(draw, NAMESPACES) }
              : { labels: selector(draw) },
          ],
        }
      : {}),
  });
}

function security(draw: Draw): Resource {
  if (draw() < 0.2)
    return resource("telemetry.istio.io/v1", "Telemetry", draw, NAMES, {
      ...(draw() < 0.6 ? { selector: { matchLabels: selector(draw) } } : {}),
      tracing: [{ randomSamplingPercentage: 50 }],
    });
  const kind = draw() < 0.5 ? "AuthorizationPolicy" : "PeerAuthentication";
  const port = pick(draw, ["8080", "9"]);
  const isTargeted = kind === "AuthorizationPolicy" && draw() < 0.4;
  return resource("security.istio.io/v1", kind, draw, NAMES, {
    ...(isTargeted
      ? { targetRefs: [{ kind: "Service", name: pick(draw, SERVICES) }] }
      : draw() < 0.6
        ? { selector: { matchLabels: selector(draw) } }
        : {}),
    ...(kind === "PeerAuthentication"
      ? {
          mtls: { mode: "STRICT" },
          ...(draw() < 0.5 ? { portLevelMtls: { [port]: {} } } : {}),
        }
      : {
          rules: [
            {
              from: [{ source: { namespaces: [pick(draw, NAMESPACES)] } }],
              ...(draw() < 0.5
                ? { to: [{ operation: { ports: [port] } }] }
                : {}),
            },
          ],
        }),
  });
}

function mesh(): Resource {
  return {
    apiVersion: OWN,
    kind: "Mesh",
    metadata: { name: "default" },
    spec: { authorization: { defaultAction: "ALLOW" } },
  };
}

function revocation(draw: Draw): Resource {
  return {
    apiVersion: OWN,
    kind: "Revocation",
    metadata: { name: pick(draw, NAMES) },
    spec: { instance: `${pick(draw, NAMESPACES)}/${pick(draw, WORKLOADS)}` },
  };
}

const MAKERS: readonly ((draw: Draw) => Resource)[] = [
  mesh,
  revocation,
  service,
  service,
  service,
  workload,
  workload,
  workload,
  route,
  route,
  targeted,
  targeted,
  security,
];
