/**
 * The life of a request that comes to the local application, read top to bottom.
 *
 * ```
 *   accept ─▶ identify ─▶ authorize ─▶ limit ─▶ local app
 *     │           │           │          │         │
 *  MISDIRECTED  MTLS_…     DENIED    RATE_LIMITED  APPLICATION_UNREACHABLE …      rescue.ts answers them all
 * ```
 */
import { MeshError } from "../mesh/errors.ts";
import type { Watch } from "../core/watch.ts";
import type { AuthorizedRequest } from "../policy/authorization/call.ts";
import { readRequest, type ReadRequest } from "../policy/path.ts";
import type { InboundPort, Snapshot } from "../policy/snapshot.ts";
import type {
  ServerConnectionInfo,
  ServerHandler,
  ServerStream,
} from "../wire/exchange.ts";
import { fieldValue } from "../wire/fields.ts";
import {
  RequestRecord,
  type TelemetrySinks,
} from "./exchange/request-record.ts";
import { deadlineExceeded, deadlineLeft } from "./exchange/time/deadline.ts";
import { DESTINATION } from "./exchange/heads.ts";
import { FilteredStream } from "./exchange/body-filter.ts";
import { limitBody, refusedLength } from "./filters/body-limit.ts";
import type { Limiter } from "./filters/limiter.ts";
import { atLastHop } from "./exchange/max-forwards.ts";
import type { Judge } from "./exchange/open-ended.ts";
import { refusedPipe } from "./exchange/raw-bytes.ts";
import { guarded, overload, refuse } from "./exchange/refuse.ts";
import type { RelayHost } from "./exchange/relay-host.ts";
import { Relay } from "./exchange/relay.ts";
import { isTunnel } from "../wire/tcp.ts";
import type { Application } from "./application/application.ts";
import type { RoutePlan } from "./exchange/route-plan.ts";
import { WebSocketStream } from "./exchange/web-socket.ts";

export interface InboundOptions {
  readonly snapshot: Watch<Snapshot | undefined>;
  readonly host: RelayHost;
  readonly sinks: TelemetrySinks;
  readonly application: Application;
  readonly limiter: Limiter;
  /** Ports that this process listens on: no stream reaches one, whatever a Service declares. */
  readonly ownPorts: ReadonlySet<number>;
}

/** How the listener knows the application's port: the stream says it, the packet rule kept it, or the listener has one. */
export type Arrival =
  | { readonly kind: "link" }
  | { readonly kind: "captured" }
  | { readonly kind: "published"; readonly port: number };

const UNKNOWN = "unknown";

/** Serves what comes in on one listener. */
export function makeInbound(
  options: InboundOptions,
  arrival: Arrival,
): ServerHandler {
  const { sinks } = options;
  // Nobody has forbidden anything of a port that is no longer declared: a config that came out empty ends no connection (law 8).
  const judge: Judge = (snapshot, stream) => {
    const port = portOf(snapshot, arrival, stream, options.ownPorts);
    const judged = port && judgeRequest(snapshot, port, stream);
    return judged instanceof MeshError ? judged : undefined;
  };
  return {
    request: (stream) =>
      guarded(sinks, "inbound", stream, () =>
        inbound(options, arrival, stream, judge),
      ),
  };
}

function inbound(
  options: InboundOptions,
  arrival: Arrival,
  stream: ServerStream,
  judge: Judge,
): void {
  const { sinks, host } = options;
  const { peer } = stream.connection;
  const inside = peer !== undefined;
  // accept: with the snapshot of now, to the end (law 1), for a declared port of this workload and no other
  const snapshot = options.snapshot.value;
  const port =
    snapshot === undefined
      ? undefined
      : portOf(snapshot, arrival, stream, options.ownPorts);
  if (snapshot === undefined || port === undefined) {
    const error =
      snapshot === undefined
        ? new MeshError("NO_CONFIG", "", { source: "proxy" })
        : misdirected(arrival, stream);
    refuse(sinks, "inbound", stream, UNKNOWN, error, inside);
    return;
  }
  const record = new RequestRecord(
    sinks,
    "inbound",
    stream,
    port.key === "" ? `port ${port.targetPort}` : port.key,
  );
  const plan = admit(options, snapshot, port, stream, record);
  if (plan instanceof MeshError) {
    record.refuse(plan, inside);
    return;
  }
  record.path = plan.path;
  const own = atLastHop(stream.head);
  if (own !== undefined) {
    record.reply(own, inside);
    return;
  }
  // local app, which gets no longer bodies than its policy allows
  const { body } = port.protection;
  const bounded =
    stream.head.protocol !== undefined
      ? new WebSocketStream(host, stream, record, inside)
      : body === undefined || stream.ended || isTunnel(stream.head)
        ? stream
        : new FilteredStream(stream, limitBody(body));
  new Relay(host, bounded, plan, record, judge).start();
}

function admit(
  options: InboundOptions,
  snapshot: Snapshot,
  port: InboundPort,
  stream: ServerStream,
  record: RequestRecord,
): RoutePlan | MeshError {
  const read = judgeRequest(snapshot, port, stream, record);
  if (read instanceof MeshError) return read;
  // expired work does not reach the application
  const left = deadlineLeft(stream);
  if (left === 0)
    return deadlineExceeded(
      "nothing was left of its time when the request came",
    );
  // limit: of the process, then the rates that the policy of the Service allows
  const excess = overload(options.host);
  if (excess !== undefined) return excess;
  const { limits, body } = port.protection;
  const tooLong = body && refusedLength(stream.head, body);
  if (tooLong !== undefined) return tooLong;
  if (limits !== undefined) {
    const { peer } = stream.connection;
    const overdrawn = options.limiter.take(limits, peer, read?.facts);
    if (overdrawn !== undefined) return overdrawn;
  }
  return read === undefined
    ? options.application.tunnel(port, stream)
    : options.application.http(snapshot, port, read, stream, left);
}

type Read = Extract<ReadRequest, { ok: true }>;

/** What policy makes of a request: why it refuses it, or the request as it was read; undefined for a tunnel, which has nothing to read. */
function judgeRequest(
  snapshot: Snapshot,
  port: InboundPort,
  stream: ServerStream,
  record?: RequestRecord,
): Read | MeshError | undefined {
  const { peer } = stream.connection;
  // identify: by the certificate of this very connection, or not at all (law 5)
  if (peer === undefined && port.mtls.mode === "STRICT")
    return new MeshError(
      "MTLS_REQUIRED",
      `port ${port.targetPort} takes mesh mTLS only`,
      { source: "downstream", ...policyOf(port.mtls.policy) },
    );
  // nothing but requests that can be judged reaches a port for HTTP (law 14)
  const piped = refusedPipe(stream, port.takesBytes, `port ${port.targetPort}`);
  if (piped !== undefined) return piped;
  // authorize: by the very path that is forwarded (law 6)
  const tunnel = isTunnel(stream.head);
  const read = tunnel
    ? undefined
    : readRequest(stream.head, snapshot.mesh.pathNormalization);
  if (read?.ok === false)
    return new MeshError("BAD_REQUEST", read.detail, { source: "downstream" });
  if (read !== undefined && record !== undefined) record.path = read.facts.path;
  return authorize(port, stream.connection, read?.facts) ?? read;
}

function portOf(
  snapshot: Snapshot,
  arrival: Arrival,
  stream: ServerStream,
  ownPorts: ReadonlySet<number>,
): InboundPort | undefined {
  const port = declaredPort(snapshot, arrival, stream);
  return port === undefined || ownPorts.has(port.targetPort) ? undefined : port;
}

function declaredPort(
  snapshot: Snapshot,
  arrival: Arrival,
  stream: ServerStream,
): InboundPort | undefined {
  const { inbound: policy } = snapshot;
  switch (arrival.kind) {
    case "link": {
      const destination = linkDestination(stream);
      return destination === undefined
        ? undefined
        : policy.resolve(destination);
    }
    case "captured": {
      const original = stream.connection.originalDestination;
      return original === undefined ? undefined : policy.byPort(original.port);
    }
    case "published":
      return policy.byPort(arrival.port);
  }
}

/** CONNECT says it in `:authority`, and may repeat it in the field; where the two differ neither is believed. */
function linkDestination(stream: ServerStream): string | undefined {
  const { head } = stream;
  const named = fieldValue(head.fields, DESTINATION);
  if (!isTunnel(head)) return named;
  return named === undefined || named === head.authority
    ? head.authority
    : undefined;
}

function authorize(
  port: InboundPort,
  connection: ServerConnectionInfo,
  request: AuthorizedRequest | undefined,
): MeshError | undefined {
  const { peer } = connection;
  const verdict = port.authorize({
    peer,
    port: port.targetPort,
    connection,
    request,
  });
  if (verdict.kind === "allow") return undefined;
  return new MeshError(
    verdict.code,
    verdict.rule === undefined
      ? `${peer ?? "a caller without identity"} is not allowed by ${verdict.policy}`
      : `rule ${verdict.rule} of ${verdict.policy} denies ${peer ?? "a caller without identity"}`,
    { source: "proxy", policy: verdict.policy },
  );
}

function misdirected(arrival: Arrival, stream: ServerStream): MeshError {
  const asked =
    arrival.kind === "link"
      ? (linkDestination(stream) ?? "a stream without a destination")
      : arrival.kind === "captured"
        ? `port ${stream.connection.originalDestination?.port ?? 0}`
        : `port ${arrival.port}`;
  return new MeshError(
    "MISDIRECTED",
    `${asked.slice(0, 200)} is not a declared port of this workload`,
    { source: "downstream", unprocessed: true },
  );
}

function policyOf(policy: string | undefined): { readonly policy?: string } {
  return policy === undefined ? {} : { policy };
}
