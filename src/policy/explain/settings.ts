/** How a request is sent once its backend is known: time-outs, retries, balancing and what protects the service, each with its source. */
import type { TrafficPolicySpec } from "../../resources/traffic-policy/settings.ts";
import { isRepeatable } from "../retry.ts";
import {
  isGrpc,
  spanOf,
  type TimedRequest,
  type Timeouts,
} from "../timeout.ts";
import { originatesTls, serverNameOf } from "../origination.ts";
import type {
  Cluster,
  Destination,
  ForwardDecision,
  RouteKind,
  Snapshot,
} from "../snapshot.ts";
import {
  decision,
  sourceOf,
  valueAt,
  type Decision,
  type Lookup,
  type Source,
} from "./decision.ts";
import { plural, timeText } from "./words.ts";

export interface SettingsQuestion {
  readonly find: Lookup;
  readonly snapshot: Snapshot;
  /** The service that was called: the retry budget is its. */
  readonly destination: Destination;
  readonly decision: ForwardDecision;
  readonly kind: RouteKind | undefined;
  readonly request: TimedRequest;
  /** A fault is injected, which neither time-outs nor retries touch. */
  readonly faulty: boolean;
}

export function settingsDecisions(question: SettingsQuestion): Decision[] {
  const { cluster } = question.decision;
  return [
    timeouts(question),
    retries(question),
    balancing(question.find, cluster),
    protection(question.find, cluster),
    ...origination(question.find, cluster),
  ];
}

/** Where the rule says it, else where the Mesh does; undefined: a default of this version. */
function statedAt(
  { find, decision: { rule }, kind }: SettingsQuestion,
  ofRule: readonly string[],
  ofMesh: readonly string[],
): Source | undefined {
  if (
    kind !== undefined &&
    valueAt(find(`${kind}/${rule.route}`), "rules", rule.rule, ...ofRule) !==
      undefined
  )
    return sourceOf(
      kind,
      rule.route,
      `spec.rules[${rule.rule}].${ofRule.join(".")}`,
    );
  return valueAt(find("Mesh/default"), ...ofMesh) === undefined
    ? undefined
    : sourceOf("Mesh", "default", `spec.${ofMesh.join(".")}`);
}

/** Those of the request itself: a gRPC call goes by its caller's deadline (trap 11). */
export function ownTimeouts(
  request: TimedRequest,
  { timeouts }: Pick<ForwardDecision, "timeouts">,
): Timeouts {
  const span = spanOf(request, timeouts);
  // 0 is off, and a deadline that is over at once is not.
  const most = Number.isFinite(span) ? Math.max(1, Math.ceil(span)) : 0;
  return { request: most, backendRequest: timeouts.backendRequest };
}

function timeouts(question: SettingsQuestion): Decision {
  const { request, backendRequest } = ownTimeouts(
    question.request,
    question.decision,
  );
  const grpc = isGrpc(question.request.header("content-type"));
  const by = !grpc
    ? ""
    : request === 0
      ? " (gRPC without a grpc-timeout)"
      : " by the caller's grpc-timeout";
  const { find, snapshot } = question;
  const { streamIdle } = snapshot.mesh.defaults.timeouts;
  const { cluster } = question.decision;
  const { connectTimeout } = cluster.settings.connectionPool.tcp;
  const ofMesh = (name: string): Source | undefined =>
    stated(find, "Mesh", "default", "defaults", "timeouts", name);
  const source = statedAt(
    question,
    grpc ? ["timeouts", "backendRequest"] : ["timeouts"],
    ["defaults", "timeouts", grpc ? "backendRequest" : "request"],
  );
  return decision(
    "caller",
    "time-outs",
    `request ${timeText(request)}${by}, each try ${timeText(backendRequest)}${defaultMark(source)}`,
    {
      source,
      details: [
        `connecting ${timeText(connectTimeout)}${origin(ofPolicy(find, cluster, "connectionPool", ["tcp", "connectTimeout"]) ?? ofMesh("connect"))}`,
        `a stream without data ${timeText(streamIdle)}${origin(ofMesh("streamIdle"))}`,
        ...(question.faulty
          ? ["a fault is injected: neither time-out is in force"]
          : []),
      ],
    },
  );
}

function retries(question: SettingsQuestion): Decision {
  const { attempts, on, codes, backoff } = question.decision.retry;
  const { retryConstraint } = question.destination.cluster.settings;
  const { budget, minRetryRate } = retryConstraint;
  const source = statedAt(question, ["retry"], ["defaults", "retry"]);
  return decision(
    "caller",
    "retries",
    `${attempts} at most${defaultMark(statedAt(question, ["retry", "attempts"], ["defaults", "retry", "attempts"]))}`,
    {
      source,
      details: [
        `on ${[...on, ...[...codes].map(String)].join(", ")}${origin(statedAt(question, ["retry"], ["defaults", "retry", "on"]))}`,
        isRepeatable(question.request)
          ? "the request may be repeated whatever became of it"
          : "the request is repeated only where nothing of it was processed: its method is not idempotent and it has no idempotency-key",
        `within ${budget.percent} % of the requests of ${timeText(budget.interval)}, and ${minRetryRate.count} each ${timeText(minRetryRate.interval)} besides${origin(ofPolicy(question.find, question.destination.cluster, "retryConstraint"))}; after ${timeText(Math.max(backoff.minimum, 1))} at least, ${timeText(backoff.minimum + backoff.max)} at most`,
        ...(question.faulty
          ? ["a fault is injected: nothing is repeated"]
          : []),
      ],
    },
  );
}

function balancing(find: Lookup, cluster: Cluster): Decision {
  const { loadBalancer } = cluster.settings;
  const { consistentHash } = loadBalancer;
  const ready = cluster.endpoints.filter((endpoint) => endpoint.ready);
  const source = ofPolicy(
    find,
    cluster,
    "loadBalancer",
    ["simple"],
    ["consistentHash"],
  );
  const by =
    consistentHash?.httpHeaderName ??
    (consistentHash?.httpCookie === undefined
      ? consistentHash && "the caller's address"
      : `cookie ${consistentHash.httpCookie.name}`);
  return decision(
    "caller",
    "balancing",
    `${by === undefined ? loadBalancer.simple : `by the hash of ${by}`} among ${plural(ready.length, "endpoint")}${defaultMark(source)}`,
    {
      source,
      details: ready
        .slice(0, MOST_ENDPOINTS)
        .map(
          ({ key, link, identity }) =>
            `${key}${link === undefined ? withoutSidecar(cluster) : ` over mTLS, as ${identity ?? ""}`}`,
        )
        .concat(
          ready.length > MOST_ENDPOINTS
            ? [`and ${ready.length - MOST_ENDPOINTS} more`]
            : [],
        ),
    },
  );
}

const MOST_ENDPOINTS = 5;

function withoutSidecar(cluster: Cluster): string {
  return originatesTls(cluster, { link: undefined })
    ? " over TLS: it has no sidecar"
    : ", in plaintext: it has no sidecar";
}

/** The caller's TLS with endpoints that have no sidecar; nothing where there is none. */
function origination(find: Lookup, cluster: Cluster): Decision[] {
  const { tls } = cluster.settings;
  const outside = cluster.endpoints.find((each) =>
    originatesTls(cluster, each),
  );
  if (tls === undefined || outside === undefined) return [];
  const names = tls.subjectAltNames ?? [serverNameOf(tls, outside)];
  return [
    decision(
      "caller",
      "TLS",
      `${tls.mode}: the server proves ${names.join(" or ")}`,
      {
        source: ofPolicy(find, cluster, "tls"),
        details: [
          `trusted: ${tls.caBundle === undefined ? "the roots of this machine" : "the policy's caBundle"}`,
          ...(tls.clientCertificate === undefined
            ? []
            : [`shown: ${tls.clientCertificate}`]),
        ],
      },
    ),
  ];
}

function protection(find: Lookup, cluster: Cluster): Decision {
  const { circuitBreaker, outlierDetection, connectionPool } = cluster.settings;
  const breaker = ofPolicy(find, cluster, "circuitBreaker", ...BREAKER_SHOWN);
  const ejection = ofPolicy(
    find,
    cluster,
    "outlierDetection",
    ...EJECTION_SHOWN,
  );
  const pool = ofPolicy(find, cluster, "connectionPool", [
    "http",
    "http2MaxRequests",
  ]);
  return decision(
    "caller",
    "protection",
    `the breaker opens at ${circuitBreaker.errorThresholdPercent} % errors of ${circuitBreaker.volumeThreshold} calls in ${timeText(circuitBreaker.window)}${defaultMark(breaker)}`,
    {
      source: breaker,
      details: [
        `an endpoint is ejected after ${outlierDetection.consecutive5xxErrors} errors in a row, ${outlierDetection.maxEjectionPercent} % of them at most${origin(ejection)}`,
        `at most ${connectionPool.http.http2MaxRequests} requests at once${origin(pool)}`,
      ],
    },
  );
}

/** What is shown of a block: where a policy states none of it, it is a default even so. */
const BREAKER_SHOWN = [
  ["errorThresholdPercent"],
  ["volumeThreshold"],
  ["window"],
] as const;
const EJECTION_SHOWN = [
  ["consecutive5xxErrors"],
  ["maxEjectionPercent"],
] as const;

/**
 * Where a TrafficPolicy states the block, and any of the fields in it where some are named: the port's own policy has the block
 * whole, where it has it at all, and that of the Service where not (trap 14).
 */
function ofPolicy(
  find: Lookup,
  { policy, servicePolicy }: Cluster,
  block: keyof TrafficPolicySpec,
  ...fields: readonly (readonly string[])[]
): Source | undefined {
  const deciding = [policy, servicePolicy].find(
    (name) =>
      name !== undefined &&
      valueAt(find(`TrafficPolicy/${name}`), block) !== undefined,
  );
  if (deciding === undefined) return undefined;
  const inBlock = (field: readonly string[]): Source | undefined =>
    stated(find, "TrafficPolicy", deciding, block, ...field);
  const [only] = fields;
  if (fields.length === 1 && only !== undefined) return inBlock(only);
  return fields.length === 0 ||
    fields.some((field) => inBlock(field) !== undefined)
    ? inBlock([])
    : undefined;
}

/** The field, where the resource states it. */
function stated(
  find: Lookup,
  kind: string,
  name: string,
  ...path: readonly string[]
): Source | undefined {
  return valueAt(find(`${kind}/${name}`), ...path) === undefined
    ? undefined
    : sourceOf(kind, name, `spec.${path.join(".")}`);
}

function defaultMark(source: Source | undefined): string {
  return source === undefined ? " (the default)" : "";
}

/** Its source, where that is not the decision's own. */
function origin(source: Source | undefined): string {
  return source === undefined
    ? " (the default)"
    : ` (${source.resource} ${source.field ?? ""})`;
}
