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
import type { Snapshot } from "../policy/snapshot.ts";
import type { ServerHandler, ServerStream } from "../wire/exchange.ts";
import { FilteredStream } from "./exchange/body-filter.ts";
import {
  RequestRecord,
  type TelemetrySinks,
} from "./exchange/request-record.ts";
import { whereTo, type LocalUpstream, type Where } from "./destination.ts";
import { LocalAnswer } from "./filters/local-response.ts";
import type { Faults } from "./filters/faults.ts";
import { atLastHop } from "./exchange/max-forwards.ts";
import type { Judge } from "./exchange/open-ended.ts";
import { guarded, overload, refuse } from "./exchange/refuse.ts";
import type { RelayHost } from "./exchange/relay-host.ts";
import { Relay } from "./exchange/relay.ts";
import type { RoutePlan } from "./exchange/route-plan.ts";
import {
  nameOf,
  piped,
  planRoute,
  UNKNOWN,
  type PlanRouteOptions,
} from "./plan-route.ts";

export interface OutboundOptions extends PlanRouteOptions {
  readonly snapshot: Watch<Snapshot | undefined>;
  readonly sinks: TelemetrySinks;
  readonly faults: Faults;
}

/** Serves what comes in on one listener; `upstream` where the listener leads to one service. */
export function makeOutbound(
  options: OutboundOptions,
  upstream?: LocalUpstream,
): ServerHandler {
  const { sinks } = options;
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
      guarded(sinks, "outbound", stream, () =>
        outbound(options, upstream, stream, judges),
      ),
  };
}

/** How an open exchange is judged again, by where it went at its start. */
type Judges = Readonly<Record<"mesh" | "outside", Judge>>;

function outbound(
  options: OutboundOptions,
  upstream: LocalUpstream | undefined,
  stream: ServerStream,
  judges: Judges,
): void {
  const { sinks, host } = options;
  // accept: with the snapshot of now, to the end (law 1)
  const snapshot = options.snapshot.value;
  if (snapshot === undefined) {
    refuse(sinks, "outbound", stream, UNKNOWN, noConfig(), true);
    return;
  }
  const excess = overload(host);
  if (excess !== undefined) {
    refuse(sinks, "outbound", stream, UNKNOWN, excess, true);
    return;
  }
  // where to: a service of the mesh, or a place outside it
  const where = whereTo(snapshot, stream.head, stream.connection, upstream);
  const record = new RequestRecord(sinks, "outbound", stream, nameOf(where));
  // route: which rule, and which of its backends
  const plan = planRoute(options, snapshot, stream, where, record);
  if (plan instanceof MeshError) {
    record.refuse(plan, true);
    return;
  }
  record.route = plan.route;
  if (plan instanceof LocalAnswer) {
    record.reply(plan.head, true);
    return;
  }
  record.path = plan.path;
  const own = atLastHop(stream.head);
  if (own !== undefined) {
    record.reply(own, true);
    return;
  }
  const judge = judges[where.kind === "outside" ? "outside" : "mesh"];
  if (plan.fault === undefined) start(host, stream, plan, record, judge);
  else
    options.faults.inject(stream, record, plan.fault, (through) =>
      start(host, through, plan, record, judge),
    );
}

function start(
  host: RelayHost,
  stream: ServerStream,
  plan: RoutePlan,
  record: RequestRecord,
  judge: Judge,
): void {
  // attempt, as often as the retry policy allows, and relay
  const { tee } = plan;
  const heard = tee === undefined ? stream : new FilteredStream(stream, tee);
  new Relay(host, heard, plan, record, judge).start();
  // copies, where the route has mirrors: behind the request itself
  tee?.open();
}

function noConfig(): MeshError {
  return new MeshError("NO_CONFIG", "", { source: "proxy" });
}
