/**
 * The life of a request that the local application makes, read top to bottom.
 *
 * ```
 *   accept ─▶ where to ─▶ route ─▶ attempt { pick ─▶ break ─▶ connect } ─▶ relay
 *     │       (ask, once)   │          │       │        │                   │
 *  NO_CONFIG  UNKNOWN_…  NO_ROUTE  NO_ENDPOINT BREAKER_OPEN CONNECT_…    UPSTREAM_RESET …      rescue.ts answers them all
 * ```
 */
import { MeshError } from "../mesh/errors.ts";
import type { Lookups } from "../agent/interest/lookups.ts";
import type { Watch } from "../core/watch.ts";
import type { Snapshot } from "../policy/snapshot.ts";
import type { ServerHandler, ServerStream } from "../wire/exchange.ts";
import { FilteredStream } from "./exchange/body-filter.ts";
import {
  RequestRecord,
  type TelemetrySinks,
} from "./exchange/request-record.ts";
import {
  questionsOf,
  whereTo,
  type LocalUpstream,
  type Where,
} from "./destination.ts";
import { isHeld, lookFor, notKnown, type Look } from "./not-held.ts";
import { LocalAnswer } from "./filters/local-response.ts";
import { departureOf } from "./departure.ts";
import type { Departure, Departures } from "./observation/departures.ts";
import type { Faults } from "./filters/faults.ts";
import { atLastHop } from "./exchange/max-forwards.ts";
import type { Judge } from "./exchange/open-ended.ts";
import { attend, guarded, overload, refuse } from "./exchange/refuse.ts";
import type { RelayHost } from "./exchange/relay-host.ts";
import { Relay } from "./exchange/relay.ts";
import type { RoutePlan } from "./exchange/route-plan.ts";
import { WebSocketStream } from "./exchange/web-socket.ts";
import {
  nameOf,
  piped,
  planRoute,
  UNKNOWN,
  type PlanRouteOptions,
} from "./plan-route.ts";

export interface OutboundOptions extends PlanRouteOptions {
  readonly snapshot: Watch<Snapshot | undefined>;
  /** Tells what the snapshot lacks; absent or undefined: it lacks nothing. */
  readonly lookups?: { readonly value: Lookups | undefined };
  readonly sinks: TelemetrySinks;
  readonly faults: Faults;
  /** Hears of the calls that leave the mesh, or would. */
  readonly departures: Pick<Departures, "add">;
}

/** One listener's requests. */
interface Listener {
  readonly options: OutboundOptions;
  readonly upstream: LocalUpstream | undefined;
  readonly judges: Judges;
}

/** Serves what comes in on one listener; `upstream` where the listener leads to one service. */
export function makeOutbound(
  options: OutboundOptions,
  upstream?: LocalUpstream,
): ServerHandler {
  const { sinks } = options;
  // A service that is gone is not forbidden by that: a config that came out empty ends no connection (law 8).
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
  const listener = { options, upstream, judges };
  return {
    request: (stream) =>
      guarded(sinks, "outbound", stream, () => outbound(listener, stream)),
  };
}

/** How an open exchange is judged again, by where it went at its start. */
type Judges = Readonly<Record<"mesh" | "outside", Judge>>;

function outbound(listener: Listener, stream: ServerStream): void {
  const { options, upstream } = listener;
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
  // ask: where this sidecar does not hold what is called, and does not know that there is none
  const look = missing(listener, stream, where);
  if (look !== undefined) {
    const record = new RequestRecord(sinks, "outbound", stream, UNKNOWN);
    attend(record, true, () =>
      ask({ listener, stream, record }, look, MOST_ROUNDS),
    );
    return;
  }
  const record = new RequestRecord(sinks, "outbound", stream, nameOf(where));
  attend(record, true, () => onward(listener, snapshot, stream, where, record));
}

function missing(
  { options, upstream }: Listener,
  { head, connection }: ServerStream,
  where: Where,
): Look | undefined {
  const lookups = options.lookups?.value;
  const destination = where.kind === "mesh" ? where.destination : undefined;
  if (isHeld(lookups, destination) || isMalformed(where)) return undefined;
  return lookFor(lookups, destination, questionsOf(head, connection, upstream));
}

/** Refused for what it says, whatever there is in the mesh. */
function isMalformed(where: Where): boolean {
  return where.kind === "refused" && where.error.code === "BAD_REQUEST";
}

/** A request that waits for what is asked. */
interface Waiting {
  readonly listener: Listener;
  readonly stream: ServerStream;
  readonly record: RequestRecord;
}

/** A result may lead to a Service whose use another thread has to note. More rounds than that have no honest cause. */
const MOST_ROUNDS = 3;

function ask(waiting: Waiting, look: Look, rounds: number): void {
  const { listener, record } = waiting;
  look((failure) => {
    record.waited = listener.options.sinks.clock.now() - record.startedAt;
    attend(record, true, () => {
      if (failure === undefined) resolved(waiting, rounds - 1);
      else record.refuse(notKnown(failure), true);
    });
  });
}

/** The request begins with the snapshot of now (law 1). */
function resolved(waiting: Waiting, rounds: number): void {
  const { listener, stream, record } = waiting;
  const { options, upstream } = listener;
  const snapshot = options.snapshot.value;
  if (snapshot === undefined) {
    record.refuse(noConfig(), true);
    return;
  }
  const where = whereTo(snapshot, stream.head, stream.connection, upstream);
  const look = missing(listener, stream, where);
  if (look === undefined) {
    record.destination = nameOf(where);
    const excess = overload(options.host);
    if (excess === undefined) onward(listener, snapshot, stream, where, record);
    else record.refuse(excess, true);
  } else if (rounds > 0) ask(waiting, look, rounds);
  else record.refuse(noConfig(), true);
}

function onward(
  { options, upstream, judges }: Listener,
  snapshot: Snapshot,
  stream: ServerStream,
  where: Where,
  record: RequestRecord,
): void {
  const { host } = options;
  // route: which rule, and which of its backends
  const plan = planRoute(options, snapshot, stream, where, record);
  if (plan instanceof MeshError) {
    note(options, departureOf(where, undefined, stream, upstream));
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
  const departure = departureOf(where, plan, stream, upstream);
  if (plan.fault === undefined) {
    note(options, departure);
    start(host, stream, plan, record, judge);
    return;
  }
  options.faults.inject(stream, record, plan.fault, (through) => {
    note(options, departure);
    start(host, through, plan, record, judge);
  });
}

/** What leaves the mesh is remembered for the control plane. */
function note(
  { departures }: Pick<OutboundOptions, "departures">,
  departure: Departure | undefined,
): void {
  if (departure !== undefined) departures.add(departure);
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
  const heard =
    stream.head.protocol !== undefined
      ? new WebSocketStream(host, stream, record, true)
      : tee === undefined
        ? stream
        : new FilteredStream(stream, tee);
  new Relay(host, heard, plan, record, judge).start();
  // copies, where the route has mirrors: behind the request itself
  tee?.open();
}

function noConfig(): MeshError {
  return new MeshError("NO_CONFIG", "", { source: "proxy" });
}
