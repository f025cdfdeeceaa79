/** What `wherry get` shows of each kind beside its name and age. */
import { AUTHORIZATION_POLICY } from "../resources/authorization-policy/schema.ts";
import type { Resource } from "../resources/envelope.ts";
import { GRPC_ROUTE } from "../resources/grpc-route/schema.ts";
import { HTTP_ROUTE } from "../resources/http-route/schema.ts";
import type { BackendRef, ParentRef } from "../resources/http-route/spec.ts";
import { FAULT_INJECTION } from "../resources/fault-injection/schema.ts";
import { describeFault } from "../resources/fault-injection/spec.ts";
import { isKind, type KindDefinition } from "../resources/kind.ts";
import { MESH } from "../resources/mesh/schema.ts";
import { PEER_AUTHENTICATION } from "../resources/peer-authentication/schema.ts";
import type { PolicyTargets } from "../resources/policy-targets.ts";
import { REQUEST_AUTHENTICATION } from "../resources/request-authentication/schema.ts";
import { REVOCATION } from "../resources/revocation/schema.ts";
import { SERVICE } from "../resources/service/schema.ts";
import { TELEMETRY } from "../resources/telemetry/schema.ts";
import { TRAFFIC_POLICY } from "../resources/traffic-policy/schema.ts";
import { WORKLOAD, type WorkloadSpec } from "../resources/workload/schema.ts";

export type Column = readonly [
  header: string,
  value: (resource: Resource) => string,
];

interface KindColumns {
  readonly kind: string;
  readonly always: readonly Column[];
  readonly wide: readonly Column[];
}

type SpecColumn<S> = readonly [
  header: string,
  value: (spec: S, resource: Resource) => string,
];

function columnsFor<S>(
  definition: KindDefinition<S>,
  always: readonly SpecColumn<S>[],
  wide: readonly SpecColumn<S>[] = [],
): KindColumns {
  const column = ([header, value]: SpecColumn<S>): Column => [
    header,
    (resource) =>
      isKind(definition, resource) ? value(resource.spec, resource) : "",
  ];
  return {
    kind: definition.kind,
    always: always.map(column),
    wide: wide.map(column),
  };
}

function labelText(
  labels: Readonly<Record<string, string>> | undefined,
): string {
  return Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}

/** The Services that a policy names, or the labels that it selects. */
function targetsText({ selector, targetRefs = [] }: PolicyTargets): string {
  return [
    ...targetRefs.map(({ kind, name }) => `${kind}/${name}`),
    labelText(selector?.matchLabels),
  ]
    .filter((text) => text !== "")
    .join(",");
}

/** Some of its ports may not be ready. */
function readyText({ ready, unreadyPorts }: WorkloadSpec): string {
  if (ready === false) return "no";
  return unreadyPorts === undefined
    ? "yes"
    : `not ${Object.keys(unreadyPorts).join(",")}`;
}

interface RouteSpec {
  readonly parentRefs: readonly ParentRef[];
  readonly rules: readonly { readonly backendRefs?: readonly BackendRef[] }[];
}

/** Columns of both kinds of route. */
const ROUTE_COLUMNS: readonly [
  readonly SpecColumn<RouteSpec>[],
  readonly SpecColumn<RouteSpec>[],
] = [
  [
    [
      "PARENTS",
      (spec) => spec.parentRefs.map((parent) => parent.name).join(","),
    ],
    ["RULES", (spec) => String(spec.rules.length)],
  ],
  [
    [
      "BACKENDS",
      (spec) =>
        spec.rules
          .flatMap((rule) => rule.backendRefs ?? [])
          .map((backend) => `${backend.name}:${backend.weight ?? 1}`)
          .join(","),
    ],
  ],
];

const COLUMNS: readonly KindColumns[] = [
  columnsFor(MESH, [
    ["TRUST DOMAIN", (spec) => spec.trustDomain ?? "cluster.local"],
    ["AUTHORIZATION", (spec) => spec.authorization.defaultAction],
  ]),
  columnsFor(
    SERVICE,
    [
      [
        "PORTS",
        (spec) =>
          spec.ports
            .map((port) => `${port.port}/${port.appProtocol ?? "http"}`)
            .join(","),
      ],
    ],
    [
      ["SELECTOR", (spec) => labelText(spec.selector)],
      ["HOSTS", (spec) => (spec.hosts ?? []).join(",")],
    ],
  ),
  columnsFor(
    WORKLOAD,
    [
      ["ADDRESS", (spec) => spec.address],
      ["READY", readyText],
      ["SERVICE ACCOUNT", (spec) => spec.serviceAccount ?? ""],
    ],
    [
      [
        "PORTS",
        (spec) =>
          Object.entries(spec.ports ?? {})
            .map(([name, port]) => `${name}=${String(port)}`)
            .join(","),
      ],
      ["LINK", (spec) => String(spec.link?.port ?? "")],
      ["LABELS", (_spec, resource) => labelText(resource.metadata.labels)],
    ],
  ),
  columnsFor(HTTP_ROUTE, ...ROUTE_COLUMNS),
  columnsFor(GRPC_ROUTE, ...ROUTE_COLUMNS),
  columnsFor(
    TRAFFIC_POLICY,
    [
      [
        "TARGETS",
        (spec) => spec.targetRefs.map((target) => target.name).join(","),
      ],
    ],
    [["BALANCER", (spec) => spec.loadBalancer?.simple ?? ""]],
  ),
  columnsFor(FAULT_INJECTION, [
    [
      "TARGETS",
      (spec) => spec.targetRefs.map((target) => target.name).join(","),
    ],
    ["FAULT", describeFault],
    ["EXPIRES", (spec) => spec.expiresAt],
  ]),
  columnsFor(AUTHORIZATION_POLICY, [
    ["ACTION", (spec) => spec.action ?? "ALLOW"],
    ["SELECTOR", targetsText],
    ["RULES", (spec) => String(spec.rules?.length ?? 0)],
  ]),
  columnsFor(PEER_AUTHENTICATION, [
    ["MODE", (spec) => spec.mtls?.mode ?? ""],
    ["SELECTOR", (spec) => labelText(spec.selector?.matchLabels)],
  ]),
  columnsFor(TELEMETRY, [
    [
      "SAMPLING",
      (spec) =>
        (spec.tracing ?? [])
          .flatMap(({ randomSamplingPercentage: percentage }) =>
            percentage === undefined ? [] : [`${percentage}%`],
          )
          .join(","),
    ],
    ["SELECTOR", (spec) => labelText(spec.selector?.matchLabels)],
  ]),
  columnsFor(REVOCATION, [
    [
      "REVOKED",
      ({ serial, instance, identity }) =>
        serial !== undefined
          ? `serial ${serial}`
          : (instance ?? identity ?? ""),
    ],
    ["UNTIL", (spec) => spec.until ?? ""],
    ["REASON", (spec) => spec.reason ?? ""],
  ]),
  columnsFor(REQUEST_AUTHENTICATION, [
    [
      "ISSUERS",
      (spec) => (spec.jwtRules ?? []).map(({ issuer }) => issuer).join(","),
    ],
    ["SELECTOR", targetsText],
  ]),
];

const IN_FORCE: Column = ["STATUS", statusOf];

export function columnsOf(
  kind: KindDefinition,
  wide: boolean,
): readonly Column[] {
  const own = COLUMNS.find((each) => each.kind === kind.kind);
  return [...(own?.always ?? []), ...(wide ? (own?.wide ?? []) : []), IN_FORCE];
}

/** The first condition that is not as it should be, else what Programmed says. */
function statusOf(resource: Resource): string {
  const conditions = resource.status?.conditions ?? [];
  const bad = conditions.find((condition) =>
    condition.type === "Conflicted"
      ? condition.status === "True"
      : condition.type !== "Programmed" && condition.status === "False",
  );
  return bad === undefined
    ? (conditions.find((condition) => condition.type === "Programmed")
        ?.message ?? "")
    : `${bad.type}: ${bad.message}`;
}
