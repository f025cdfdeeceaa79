/** How a request is sent once its backend is known: time-outs, retries, balancing and what protects the service, each with who says so. */
import { TRAFFIC_DEFAULTS } from "../../resources/traffic-policy.ts";
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
  /** The request may be sent again though it may have been processed. */
  readonly repeatable: boolean;
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

function timeouts(question: SettingsQuestion): Decision {
  const { request, backendRequest } = question.decision.timeouts;
  const { connect, streamIdle } = question.snapshot.mesh.defaults.timeouts;
  const source = statedAt(
    question,
    ["timeouts"],
    ["defaults", "timeouts", "request"],
  );
  return decision(
    "caller",
    "time-outs",
    `request ${timeText(request)}, each try ${timeText(backendRequest)}${defaultMark(source)}`,
    {
      source,
      details: [
        `connecting ${timeText(connect)}, a stream without data ${timeText(streamIdle)}`,
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
    `${attempts} at most${defaultMark(source)}`,
    {
      source,
      details: [
        `on ${[...on, ...[...codes].map(String)].join(", ")}`,
        question.repeatable
          ? "the request may be repeated whatever became of it"
          : "the request is repeated only where nothing of it was processed: its method is not idempotent and it has no idempotency-key",
        `within ${budget.percent} % of the requests of ${timeText(budget.interval)}, and ${minRetryRate.count} each ${timeText(minRetryRate.interval)} besides; after ${timeText(Math.max(backoff.minimum, 1))} at least, ${timeText(backoff.minimum + backoff.max)} at most`,
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
  const source = blockSource(find, cluster, "loadBalancer");
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
            `${key}${link === undefined ? ", in plaintext: it has no sidecar" : ` over mTLS, as ${identity ?? ""}`}`,
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

function protection(find: Lookup, cluster: Cluster): Decision {
  const { circuitBreaker, outlierDetection, connectionPool } = cluster.settings;
  const source =
    blockSource(find, cluster, "circuitBreaker") ??
    blockSource(find, cluster, "outlierDetection");
  const marked = (text: string, block: keyof typeof TRAFFIC_DEFAULTS): string =>
    `${text}${JSON.stringify(cluster.settings[block]) === JSON.stringify(TRAFFIC_DEFAULTS[block]) ? " (the default)" : ""}`;
  return decision(
    "caller",
    "protection",
    marked(
      `the breaker opens at ${circuitBreaker.errorThresholdPercent} % errors of ${circuitBreaker.volumeThreshold} calls in ${timeText(circuitBreaker.window)}`,
      "circuitBreaker",
    ),
    {
      source,
      details: [
        marked(
          `an endpoint is ejected after ${outlierDetection.consecutive5xxErrors} errors in a row, ${outlierDetection.maxEjectionPercent} % of them at most`,
          "outlierDetection",
        ),
        marked(
          `at most ${connectionPool.http.http2MaxRequests} requests at once`,
          "connectionPool",
        ),
      ],
    },
  );
}

/** The block of the policy in force; where the port's own policy lacks it, that of the Service may have it. */
function blockSource(
  find: Lookup,
  { policy }: Cluster,
  block: string,
): Source | undefined {
  return policy === undefined ||
    valueAt(find(`TrafficPolicy/${policy}`), block) === undefined
    ? undefined
    : sourceOf("TrafficPolicy", policy, `spec.${block}`);
}

function defaultMark(source: Source | undefined): string {
  return source === undefined ? " (the default)" : "";
}
