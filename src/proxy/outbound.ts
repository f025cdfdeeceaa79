/**
 * The life of a request that the local application makes, read top to bottom.
 *
 * ```
 *   accept ─▶ where to ─▶ route ─▶ attempt { pick ─▶ break ─▶ connect } ─▶ relay
 *     │          │          │          │       │        │                   │
 *  NO_CONFIG  UNKNOWN_…  NO_ROUTE  NO_ENDPOINT BREAKER_OPEN CONNECT_…    UPSTREAM_RESET …      rescue.ts answers them all
 * ```
 */
import { MeshError } from "../core/errors.ts";
import type { Watch } from "../core/watch.ts";
import { readRequest } from "../policy/path.ts";
import { compileRetry, isRepeatable } from "../policy/retry.ts";
import type { RuleRef } from "../policy/router.ts";
import type {
  Destination,
  ForwardDecision,
  Snapshot,
} from "../policy/snapshot.ts";
import type { ServerHandler, ServerStream } from "../wire/exchange.ts";
import { Account, type Books } from "./account.ts";
import { whereTo, type LocalUpstream, type Where } from "./destination.ts";
import { guarded, overloaded, refuse } from "./refuse.ts";
import { OutboundWay } from "./outbound-way.ts";
import { Relay, type RelayHost } from "./relay.ts";
import type { Clusters } from "./upstream/endpoints.ts";
import type { Outside } from "./upstream/passthrough.ts";
import type { Way } from "./way.ts";

export interface OutboundOptions {
  readonly snapshot: Watch<Snapshot | undefined>;
  readonly host: RelayHost;
  readonly books: Books;
  readonly clusters: Clusters;
  readonly outside: Outside;
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
  return {
    request: (stream) =>
      guarded(books, "outbound", stream, () =>
        outbound(options, upstream, stream),
      ),
  };
}

function outbound(
  options: OutboundOptions,
  upstream: LocalUpstream | undefined,
  stream: ServerStream,
): void {
  const { books, host } = options;
  // accept: with the snapshot of now, to the end (law 1)
  const snapshot = options.snapshot.value;
  if (snapshot === undefined) {
    refuse(books, "outbound", stream, UNKNOWN, noConfig(), true);
    return;
  }
  if (host.idle.active >= host.maxActive) {
    refuse(books, "outbound", stream, UNKNOWN, overloaded(), true);
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
  account.path = way.path;
  account.route = way.route;
  // attempt, as often as the retry policy allows, and relay
  new Relay(host, stream, way, account).start();
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
): Way | MeshError {
  if (where.kind === "refused") return where.error;
  if (stream.head.method === "CONNECT")
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
  const decision = destination.route(read.facts, options.host.clock.random());
  if (decision.kind === "refuse")
    return new MeshError(
      decision.code,
      decision.code === "NO_ROUTE"
        ? `no rule of the routes of ${destination.key} matches`
        : `a backend of the route of ${destination.key} does not exist`,
      { source: "proxy", ...policyOf(decision.rule?.route) },
    );
  const { clusters, host } = options;
  return new OutboundWay({
    clock: host.clock,
    destination: destination.cluster.destination,
    route: routeName(decision),
    path: read.facts.path,
    target: read.target,
    authority: stream.head.authority,
    state: clusters.of(decision.cluster),
    budget: clusters.of(destination.cluster).budget,
    timeouts: decision.timeouts,
    streamIdle: snapshot.mesh.defaults.timeouts.streamIdle,
    retry: decision.retry,
    repeatable: isRepeatable(read.facts),
    requestEdits: decision.requestFilters,
    responseEdits: decision.responseFilters,
    tunnel: false,
  });
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
  return new OutboundWay({
    clock: host.clock,
    destination: destination.cluster.destination,
    route: undefined,
    path: "",
    target: "",
    authority: stream.head.authority,
    state,
    budget: state.budget,
    timeouts: { request: 0, backendRequest: 0 },
    streamIdle: destination.cluster.settings.connectionPool.tcp.idleTimeout,
    retry: compileRetry(undefined, snapshot.mesh.defaults.retry),
    repeatable: false,
    requestEdits: undefined,
    responseEdits: undefined,
    tunnel: true,
  });
}

const routeNames = new WeakMap<RuleRef, string>();

/** "shop/orders#0": the same text each time, which the access log finds again without reading it. */
function routeName({ rule }: ForwardDecision): string | undefined {
  if (rule.route === "") return undefined;
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
