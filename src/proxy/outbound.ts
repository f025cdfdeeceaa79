/**
 * The life of a request that the local application makes, read top to bottom.
 *
 * ```
 *   accept ─▶ where to ─▶ route ─▶ attempt { pick ─▶ break ─▶ connect } ─▶ relay
 *     │          │          │          │       │        │                   │
 *  NO_CONFIG  UNKNOWN_…  NO_ROUTE  NO_ENDPOINT BREAKER_OPEN CONNECT_…    UPSTREAM_RESET …      rescue.ts answers them all
 * ```
 */
import { MeshError } from "../mesh/errors.ts";
import type { Watch } from "../core/watch.ts";
import { corsEdits } from "../policy/routing/cors.ts";
import { drawFault, type Injection } from "../policy/fault.ts";
import { inTurn, type HeaderEdits } from "../policy/routing/header-edits.ts";
import { isOpaque } from "../policy/compile/clusters.ts";
import { readRequest, type RequestFacts } from "../policy/path.ts";
import { compileRetry, isRepeatable } from "../policy/retry.ts";
import type { RuleRef } from "../policy/routing/router.ts";
import type {
  Destination,
  RefuseDecision,
  RouteExtras,
  Snapshot,
} from "../policy/snapshot.ts";
import { rewriteTarget } from "../policy/routing/url-rewrite.ts";
import type { ServerHandler, ServerStream } from "../wire/exchange.ts";
import { affinityOf } from "./filters/affinity.ts";
import { FilteredStream } from "./filters/body-filter.ts";
import { Account, type Books } from "./exchange/request-record.ts";
import { whereTo, type LocalUpstream, type Where } from "./destination.ts";
import { LocalAnswer } from "./filters/local-response.ts";
import type { Faults } from "./filters/faults.ts";
import type { Mirrors } from "./filters/mirror.ts";
import { atLastHop } from "./exchange/max-forwards.ts";
import type { Judge } from "./exchange/open-ended.ts";
import { refusedPipe } from "./exchange/raw-bytes.ts";
import { guarded, overload, refuse } from "./exchange/refuse.ts";
import {
  OutboundWay,
  type OutboundWayOptions,
} from "./upstream/outbound-plan.ts";
import type { RelayHost } from "./exchange/relay-host.ts";
import { Relay } from "./exchange/relay.ts";
import { isTunnel } from "../wire/tcp.ts";
import { affinityTo, keptTo, placeInSplit } from "./filters/stickiness.ts";
import type { Clusters, ClusterState } from "./upstream/cluster/clusters.ts";
import type { HedgeState } from "./upstream/cluster/hedge.ts";
import type { Outside } from "./upstream/passthrough.ts";
import type { Way } from "./exchange/route-plan.ts";

export interface OutboundOptions {
  readonly snapshot: Watch<Snapshot | undefined>;
  readonly host: RelayHost;
  readonly books: Books;
  readonly clusters: Clusters;
  readonly outside: Outside;
  readonly mirrors: Mirrors;
  readonly faults: Faults;
}

/** The name under which everything outside the mesh is counted: callers must not be able to make series. */
const OUTSIDE = "outside";
const UNKNOWN = "unknown";

/** Serves what comes in on one listener; `upstream` where the listener leads to one service. */
export function makeOutbound(
  options: OutboundOptions,
  upstream?: LocalUpstream,
): ServerHandler {
  const { books } = options;
  // What is no service any more is not forbidden by that: a config that came out empty ends no connection (law 8).
  const judge = (snapshot: Snapshot, stream: ServerStream): Where =>
    whereTo(snapshot, stream.head, stream.connection, upstream);
  const judges: Judges = {
    mesh: (snapshot, stream) => {
      const where = judge(snapshot, stream);
      return where.kind === "refused" ? undefined : piped(where, stream);
    },
    outside: (snapshot, stream) => {
      const where = judge(snapshot, stream);
      return where.kind === "refused" ? where.error : piped(where, stream);
    },
  };
  return {
    request: (stream) =>
      guarded(books, "outbound", stream, () =>
        outbound(options, upstream, stream, judges),
      ),
  };
}

/** How an open exchange is judged again, by where it went at its start. */
type Judges = Readonly<Record<"mesh" | "outside", Judge>>;

/** What a port for HTTP would be sent unparsed, the other end would refuse: it is told here, where the reason can be read (law 14). */
function piped(
  where: Exclude<Where, { kind: "refused" }>,
  { head }: ServerStream,
): MeshError | undefined {
  return refusedPipe(
    head,
    where.kind === "outside" || isOpaque(where.destination.port),
    nameOf(where),
  );
}

function outbound(
  options: OutboundOptions,
  upstream: LocalUpstream | undefined,
  stream: ServerStream,
  judges: Judges,
): void {
  const { books, host } = options;
  // accept: with the snapshot of now, to the end (law 1)
  const snapshot = options.snapshot.value;
  if (snapshot === undefined) {
    refuse(books, "outbound", stream, UNKNOWN, noConfig(), true);
    return;
  }
  const excess = overload(host);
  if (excess !== undefined) {
    refuse(books, "outbound", stream, UNKNOWN, excess, true);
    return;
  }
  // where to: a service of the mesh, or a place outside it
  const where = whereTo(snapshot, stream.head, stream.connection, upstream);
  const account = new Account(books, "outbound", stream, nameOf(where));
  // route: which rule, and which of its backends
  const way = wayTo(options, snapshot, stream, where, account);
  if (way instanceof MeshError) {
    account.refuse(way, true);
    return;
  }
  account.route = way.route;
  if (way instanceof LocalAnswer) {
    account.reply(way.head, true);
    return;
  }
  account.path = way.path;
  const own = atLastHop(stream.head);
  if (own !== undefined) {
    account.reply(own, true);
    return;
  }
  const judge = judges[where.kind === "outside" ? "outside" : "mesh"];
  if (way.fault === undefined) start(host, stream, way, account, judge);
  else
    options.faults.inject(stream, account, way.fault, (through) =>
      start(host, through, way, account, judge),
    );
}

function start(
  host: RelayHost,
  stream: ServerStream,
  way: Way,
  account: Account,
  judge: Judge,
): void {
  // attempt, as often as the retry policy allows, and relay
  const { tee } = way;
  const heard = tee === undefined ? stream : new FilteredStream(stream, tee);
  new Relay(host, heard, way, account, judge).start();
  // copies, where the route has mirrors: behind the request itself
  tee?.open();
}

function nameOf(where: Where): string {
  switch (where.kind) {
    case "mesh":
      return where.destination.cluster.destination;
    case "outside":
      return OUTSIDE;
    case "refused":
      return UNKNOWN;
  }
}

function wayTo(
  options: OutboundOptions,
  snapshot: Snapshot,
  stream: ServerStream,
  where: Where,
  account: Account,
): Way | LocalAnswer | MeshError {
  if (where.kind === "refused") return where.error;
  const refusal = piped(where, stream);
  if (refusal !== undefined) return refusal;
  if (isTunnel(stream.head))
    return where.kind === "mesh"
      ? tunnelWay(options, snapshot, stream, where)
      : options.outside.tunnel(snapshot, where.host, where.port);

  // One reading of the path, for routing and for the upstream (law 6).
  const read = readRequest(stream.head, snapshot.mesh.pathNormalization);
  if (!read.ok)
    return new MeshError("BAD_REQUEST", read.detail, { source: "downstream" });
  account.path = read.facts.path;
  if (where.kind === "outside")
    return options.outside.http(snapshot, where, read, stream);
  const { destination } = where;
  // A split is the called Service's: where its policy asks for a hash, callers keep to their share.
  const split = affinityTo(destination.cluster, stream, snapshot.self);
  const decision = destination.route(
    read.facts,
    split === undefined ? options.host.clock.random() : placeInSplit(split),
  );
  if (decision.kind === "refuse") {
    account.route = routeName(decision);
    if (decision.cors !== undefined)
      account.readers = corsEdits(decision.cors, read.facts);
    return new MeshError(
      decision.code,
      decision.code === "NO_ROUTE"
        ? `no rule of the routes of ${destination.key} matches`
        : `a backend of the route of ${destination.key} does not exist`,
      { source: "proxy", ...policyOf(decision.rule?.route) },
    );
  }
  if (decision.kind !== "forward")
    return new LocalAnswer(
      decision,
      stream.head.authority,
      read,
      destination.cluster.port,
    );
  account.backend = decision.cluster.destination;
  const cors = decision.extras?.cors;
  if (cors !== undefined) account.readers = corsEdits(cors, read.facts);
  const { clusters, host } = options;
  const state = clusters.of(decision.cluster);
  const fault =
    destination.faults === undefined
      ? undefined
      : drawFault(destination.faults, read.facts, host.clock.wall(), () =>
          host.clock.random(),
        );
  const affinity = keptTo(
    destination.cluster,
    decision.cluster,
    split,
    stream,
    snapshot.self,
  );
  const way: OutboundWayOptions = {
    clock: host.clock,
    destination: destination.cluster.destination,
    route: routeName(decision),
    path: read.facts.path,
    target: read.target,
    authority: stream.head.authority,
    state,
    priority: state.restraint?.priorityOf?.(
      snapshot.self.identity,
      read.facts,
      host.clock.wall(),
    ),
    budget: clusters.of(destination.cluster).budget,
    // What was done on purpose is neither mended by a retry nor cut short by a time-out (trap 19).
    timeouts: fault === undefined ? decision.timeouts : NO_TIMEOUTS,
    streamIdle: snapshot.mesh.defaults.timeouts.streamIdle,
    retry: fault === undefined ? decision.retry : NO_RETRY,
    repeatable: isRepeatable(read.facts),
    fault,
    hedge: fault === undefined ? hedgeOf(state, stream, read.facts) : undefined,
    requestEdits: decision.requestFilters,
    responseEdits:
      affinity === undefined
        ? decision.responseFilters
        : inTurn(affinity.edits, decision.responseFilters),
    hash: affinity?.hash,
    tunnel: false,
  };
  return new OutboundWay(
    decision.extras === undefined || endsHere(fault)
      ? way
      : withExtras(
          way,
          decision.extras,
          account.readers,
          options.mirrors,
          stream,
        ),
  );
}

const NO_TIMEOUTS = { request: 0, backendRequest: 0 };
const NO_RETRY = compileRetry(undefined, { attempts: 0, on: [] });

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
  way: OutboundWayOptions,
  { rewrite, mirrors }: RouteExtras,
  readers: HeaderEdits | undefined,
  copies: Mirrors,
  stream: ServerStream,
): OutboundWayOptions {
  const changed = {
    ...way,
    target: rewriteTarget(rewrite?.path, way.path, way.target),
    authority: rewrite?.host ?? way.authority,
    responseEdits: inTurn(readers, way.responseEdits),
  };
  return mirrors.length === 0
    ? changed
    : { ...changed, tee: copies.tee(stream, mirrors, changed) };
}

/** Bytes to a port of the mesh: no route, the service's own endpoints, as a CONNECT stream over the link. */
function tunnelWay(
  options: OutboundOptions,
  snapshot: Snapshot,
  stream: ServerStream,
  { destination }: { readonly destination: Destination },
): Way {
  const { clusters, host } = options;
  const state = clusters.of(destination.cluster);
  const { consistentHash } = destination.cluster.settings.loadBalancer;
  return new OutboundWay({
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

function noConfig(): MeshError {
  return new MeshError("NO_CONFIG", "", { source: "proxy" });
}
