/**
 * From where a request goes to the plan that the relay carries out: named steps, of which each may end the request.
 *
 * ```
 *   resolve ─▶ read ─▶ keep to ─▶ match ─▶ break on purpose ─▶ the plan
 *      │         │        │         │
 *  TUNNEL_…  BAD_REQUEST  │   NO_ROUTE, BACKEND_INVALID, or a response of the route itself
 *                    the same share of a split
 * ```
 */
import { MeshError } from "../mesh/errors.ts";
import { corsEdits } from "../policy/routing/cors.ts";
import { drawFault, type Injection } from "../policy/fault.ts";
import { inTurn, type HeaderEdits } from "../policy/routing/header-edits.ts";
import { isOpaque } from "../policy/compile/clusters.ts";
import {
  readRequest,
  type ReadRequest,
  type RequestFacts,
} from "../policy/path.ts";
import { compileRetry, isRepeatable } from "../policy/retry.ts";
import type { RuleRef } from "../policy/router/candidate.ts";
import type {
  Destination,
  ForwardDecision,
  RefuseDecision,
  RouteExtras,
  Snapshot,
} from "../policy/snapshot.ts";
import { rewriteTarget } from "../policy/routing/url-rewrite.ts";
import type { ServerStream } from "../wire/exchange.ts";
import { affinityOf, type Affinity } from "./filters/affinity.ts";
import type { RequestRecord } from "./exchange/request-record.ts";
import type { Where } from "./destination.ts";
import { LocalAnswer } from "./filters/local-response.ts";
import type { Mirrors } from "./filters/mirror.ts";
import { refusedPipe } from "./exchange/raw-bytes.ts";
import {
  OutboundPlan,
  type OutboundPlanOptions,
} from "./upstream/outbound-plan.ts";
import type { RelayHost } from "./exchange/relay-host.ts";
import { isTunnel } from "../wire/tcp.ts";
import { affinityTo, keptTo, placeInSplit } from "./filters/stickiness.ts";
import type { Clusters } from "./upstream/cluster/clusters.ts";
import type { ClusterState } from "./upstream/cluster/cluster-state.ts";
import type { HedgeState } from "./upstream/cluster/hedge.ts";
import type { Passthrough } from "./upstream/passthrough.ts";
import type { RoutePlan } from "./exchange/route-plan.ts";

export interface PlanRouteOptions {
  readonly host: RelayHost;
  readonly clusters: Clusters;
  readonly passthrough: Passthrough;
  readonly mirrors: Mirrors;
}

/** The name under which everything outside the mesh is counted: callers must not be able to make series. */
const OUTSIDE = "outside";
export const UNKNOWN = "unknown";

export function nameOf(where: Where): string {
  switch (where.kind) {
    case "mesh":
      return where.destination.cluster.destination;
    case "outside":
      return OUTSIDE;
    case "refused":
      return UNKNOWN;
  }
}

/** What a port for HTTP would be sent unparsed, the other end would refuse: it is refused here, where the reason can be read (law 14). */
export function piped(
  where: Exclude<Where, { kind: "refused" }>,
  stream: ServerStream,
): MeshError | undefined {
  return refusedPipe(
    stream,
    where.kind === "outside" || isOpaque(where.destination.port),
    nameOf(where),
  );
}

/** One step after the other; each may end the request. */
export function planRoute(
  options: PlanRouteOptions,
  snapshot: Snapshot,
  stream: ServerStream,
  where: Where,
  record: RequestRecord,
): RoutePlan | LocalAnswer | MeshError {
  // resolve
  if (where.kind === "refused") return where.error;
  const refusal = piped(where, stream);
  if (refusal !== undefined) return refusal;
  if (isTunnel(stream.head))
    return where.kind === "mesh"
      ? planTunnel(options, snapshot, stream, where)
      : options.passthrough.tunnel(snapshot, where.host, where.port);
  // read: one reading of the path, for routing and for the upstream (law 6)
  const read = readRequest(stream.head, snapshot.mesh.pathNormalization);
  if (!read.ok)
    return new MeshError("BAD_REQUEST", read.detail, { source: "downstream" });
  record.path = read.facts.path;
  return where.kind === "outside"
    ? options.passthrough.http(snapshot, where, read, stream)
    : planToMesh({
        options,
        snapshot,
        stream,
        record,
        read,
        destination: where.destination,
      });
}

/** A request for a service of the mesh, as far as it is known. */
interface Called {
  readonly options: PlanRouteOptions;
  readonly snapshot: Snapshot;
  readonly stream: ServerStream;
  readonly record: RequestRecord;
  readonly read: Extract<ReadRequest, { ok: true }>;
  readonly destination: Destination;
}

function planToMesh(called: Called): RoutePlan | LocalAnswer | MeshError {
  const { options, snapshot, stream, record, read, destination } = called;
  const { clock } = options.host;
  // keep: a split is the called Service's; where its policy asks for a hash, callers keep to their share
  const split = affinityTo(destination.cluster, stream, snapshot.self);
  // match: the rule, and one of its backends
  const decision = destination.route(
    read.facts,
    split === undefined ? clock.random() : placeInSplit(split),
  );
  if (decision.kind === "refuse") return unrouted(called, decision);
  if (decision.kind !== "forward")
    return new LocalAnswer(
      decision,
      stream.head.authority,
      read,
      destination.cluster.port,
    );
  record.backend = decision.cluster.destination;
  const cors = decision.extras?.cors;
  if (cors !== undefined) record.readers = corsEdits(cors, read.facts);
  // break on purpose
  const fault =
    destination.faults === undefined
      ? undefined
      : drawFault(destination.faults, read.facts, clock.wall(), () =>
          clock.random(),
        );
  return forward(called, decision, fault, split);
}

/** No rule takes the request, or what the rule names does not exist. */
function unrouted(
  { record, read, destination }: Called,
  decision: RefuseDecision,
): MeshError {
  record.route = routeName(decision);
  if (decision.cors !== undefined)
    record.readers = corsEdits(decision.cors, read.facts);
  return new MeshError(
    decision.code,
    decision.code === "NO_ROUTE"
      ? `no rule of the routes of ${destination.key} matches`
      : `a backend of the route of ${destination.key} does not exist`,
    { source: "proxy", ...policyOf(decision.rule?.route) },
  );
}

/** The way to the backend that was drawn. */
function forward(
  called: Called,
  decision: ForwardDecision,
  fault: Injection | undefined,
  split: Affinity | undefined,
): RoutePlan {
  const { options, snapshot, stream, record, read, destination } = called;
  const { clusters, host } = options;
  const state = clusters.of(decision.cluster);
  const kept = keptTo(
    destination.cluster,
    decision.cluster,
    split,
    stream,
    snapshot.self,
  );
  const { timeouts, retry, hedge } =
    fault === undefined
      ? resilience(decision, state, stream, read.facts)
      : UNAIDED;
  const plan: OutboundPlanOptions = {
    clock: host.clock,
    destination: destination.cluster.destination,
    route: routeName(decision),
    path: read.facts.path,
    target: read.target,
    authority: stream.head.authority,
    state,
    priority: state.admission?.priorityOf(
      snapshot.self.identity,
      read.facts,
      host.clock.wall(),
    ),
    budget: clusters.of(destination.cluster).budget,
    timeouts,
    retry,
    hedge,
    streamIdle: snapshot.mesh.defaults.timeouts.streamIdle,
    repeatable: isRepeatable(read.facts),
    fault,
    requestEdits: decision.requestFilters,
    responseEdits:
      kept === undefined
        ? decision.responseFilters
        : inTurn(kept.edits, decision.responseFilters),
    hash: kept?.hash,
    tunnel: false,
  };
  return new OutboundPlan(
    decision.extras === undefined || endsHere(fault)
      ? plan
      : withExtras(
          plan,
          decision.extras,
          record.readers,
          options.mirrors,
          stream,
        ),
  );
}

type Resilience = Pick<OutboundPlanOptions, "timeouts" | "retry" | "hedge">;

function resilience(
  { timeouts, retry }: ForwardDecision,
  state: ClusterState,
  stream: ServerStream,
  facts: RequestFacts,
): Resilience {
  return { timeouts, retry, hedge: hedgeOf(state, stream, facts) };
}

const NO_TIMEOUTS = { request: 0, backendRequest: 0 };
/** What was done on purpose is neither repaired by a retry nor cut short by a time-out (trap 19). */
const UNAIDED: Resilience = {
  timeouts: NO_TIMEOUTS,
  retry: compileRetry(undefined, { attempts: 0, on: [] }),
};

/** A request that is its head alone, and that does no harm where it is done twice. */
function hedgeOf(
  { hedging }: ClusterState,
  stream: ServerStream,
  facts: RequestFacts,
): HedgeState | undefined {
  return hedging !== undefined &&
    stream.ended &&
    isRepeatable(facts) &&
    hedging.matches?.(facts) !== false
    ? hedging
    : undefined;
}

/** The request goes nowhere, and so does no copy of it. */
function endsHere(fault: Injection | undefined): boolean {
  return fault !== undefined && (fault.abort !== undefined || fault.reset);
}

/** The filters that few routes have: another URL, leave for other origins, copies. */
function withExtras(
  plan: OutboundPlanOptions,
  { rewrite, mirrors }: RouteExtras,
  readers: HeaderEdits | undefined,
  copies: Mirrors,
  stream: ServerStream,
): OutboundPlanOptions {
  const changed = {
    ...plan,
    target: rewriteTarget(rewrite?.path, plan.path, plan.target),
    authority: rewrite?.host ?? plan.authority,
    responseEdits: inTurn(readers, plan.responseEdits),
  };
  return mirrors.length === 0
    ? changed
    : { ...changed, tee: copies.tee(stream, mirrors, changed) };
}

/** Bytes to a port of the mesh: no route, the service's own endpoints, as a CONNECT stream over the link. */
function planTunnel(
  options: PlanRouteOptions,
  snapshot: Snapshot,
  stream: ServerStream,
  { destination }: { readonly destination: Destination },
): RoutePlan {
  const { clusters, host } = options;
  const state = clusters.of(destination.cluster);
  const { consistentHash } = destination.cluster.settings.loadBalancer;
  return new OutboundPlan({
    clock: host.clock,
    destination: destination.cluster.destination,
    route: undefined,
    path: "",
    target: "",
    authority: stream.head.authority,
    state,
    budget: state.budget,
    timeouts: NO_TIMEOUTS,
    streamIdle: destination.cluster.settings.connectionPool.tcp.idleTimeout,
    retry: compileRetry(undefined, snapshot.mesh.defaults.retry),
    repeatable: false,
    requestEdits: undefined,
    responseEdits: undefined,
    hash:
      consistentHash?.useSourceIp === undefined
        ? undefined
        : affinityOf(consistentHash, stream, snapshot.self)?.hash,
    tunnel: true,
  });
}

const routeNames = new WeakMap<RuleRef, string>();

/** "shop/orders#0": the same text each time, which the access log finds again without reading it. */
function routeName({ rule }: Pick<RefuseDecision, "rule">): string | undefined {
  if (rule === undefined || rule.route === "") return undefined;
  let name = routeNames.get(rule);
  if (name === undefined) {
    name = `${rule.route}#${rule.rule}`;
    routeNames.set(rule, name);
  }
  return name;
}

function policyOf(route: string | undefined): { readonly policy?: string } {
  return route === undefined || route === "" ? {} : { policy: route };
}
