/**
 * The life of a request that comes to the local application, read top to bottom.
 *
 * ```
 *   accept ─▶ identify ─▶ check ─▶ authorize ─▶ limit ─▶ local app
 *     │           │       (wait)       │          │         │
 *  MISDIRECTED  MTLS_…                DENIED  RATE_LIMITED  APPLICATION_UNREACHABLE …      rescue.ts answers them all
 * ```
 */
import { MeshError } from "../mesh/errors.ts";
import type { Watch } from "../core/watch.ts";
import type { AuthorizationFacts } from "../policy/authorization/call.ts";
import { ambiguityOf } from "../mesh/header-readings.ts";
import { readRequest } from "../policy/path.ts";
import type { InboundPort, Snapshot } from "../policy/snapshot.ts";
import type { ServerHandler, ServerStream } from "../wire/exchange.ts";
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
import { attend, guarded, overload, refuse } from "./exchange/refuse.ts";
import type { RelayHost } from "./exchange/relay-host.ts";
import { Relay } from "./exchange/relay.ts";
import { isTunnel } from "../wire/tcp.ts";
import { isDialogue } from "../wire/websocket/handshake.ts";
import type { Application } from "./application/application.ts";
import type { Check, Checks } from "./checks/check.ts";
import {
  CheckedRequest,
  factsOf,
  type Read,
} from "./checks/checked-request.ts";
import type { RoutePlan } from "./exchange/route-plan.ts";
import { HeldStream } from "./checks/held-stream.ts";
import { tokenRefusedAnew } from "./checks/tokens/token-check.ts";
import { runChecks } from "./checks/waiting.ts";
import type { Observer } from "./observation/observer.ts";
import { WebSocketStream } from "./exchange/web-socket.ts";

export interface InboundOptions {
  readonly snapshot: Watch<Snapshot | undefined>;
  readonly host: RelayHost;
  readonly sinks: TelemetrySinks;
  readonly application: Application;
  readonly limiter: Limiter;
  readonly observer: Observer;
  /** What has to be found out about requests before they are judged. */
  readonly checks: Checks;
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
  const judge: Judged = (snapshot, stream, checked) => {
    const fallen = options.host.fallen.get(stream.connection);
    if (fallen !== undefined) return fallen;
    const port = portOf(snapshot, arrival, stream, options.ownPorts);
    return port && judgeAnew(snapshot, port, stream, checked);
  };
  const listener = { options, arrival, judge };
  return {
    request: (stream) =>
      guarded(sinks, "inbound", stream, () => inbound(listener, stream)),
  };
}

/** Why policy, as it is now, refuses a request in flight; `checked`: with what its checks have found out. */
type Judged = (
  snapshot: Snapshot,
  stream: ServerStream,
  checked?: CheckedRequest,
) => MeshError | undefined;

/** One listener's requests. */
interface Listener {
  readonly options: InboundOptions;
  readonly arrival: Arrival;
  readonly judge: Judged;
}

function inbound(listener: Listener, stream: ServerStream): void {
  const { options, arrival, judge } = listener;
  const { sinks, host } = options;
  const { peer } = stream.connection;
  const inside = peer !== undefined;
  // accept: with the snapshot of now, to the end (law 1), for a declared port of this workload and no other
  const snapshot = options.snapshot.value;
  const judgedAt = host.policy.changes;
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
  const checks = options.checks.of(snapshot, port);
  const held =
    checks === undefined ? undefined : new HeldStream(stream, host.buffers);
  const record = new RequestRecord(
    sinks,
    "inbound",
    held ?? stream,
    port.key === "" ? `port ${port.targetPort}` : port.key,
  );
  attend(record, inside, () => {
    const read = identify(snapshot, port, stream, record);
    if (read instanceof MeshError) {
      record.refuse(read, inside);
      return;
    }
    const left = deadlineLeft(stream);
    const accepted: Accepted = {
      ...{ listener, snapshot, judgedAt, port, record, inside, left },
    };
    if (checks !== undefined && held !== undefined) {
      const request = new CheckedRequest(snapshot, port, held, read, record);
      check(accepted, checks, request);
      return;
    }
    const facts = factsOf(port, stream.connection, read?.facts);
    onward(accepted, stream, read, facts, judge);
  });
}

/** A request for a declared port, by a caller that may be identified. */
interface Accepted {
  readonly listener: Listener;
  readonly snapshot: Snapshot;
  /** Changes of policy before `snapshot`. */
  readonly judgedAt: number;
  readonly port: InboundPort;
  readonly record: RequestRecord;
  readonly inside: boolean;
  /** Milliseconds that the caller's sidecar has left for it. */
  readonly left: number | undefined;
}

/** What has to be found out before it can be judged: the request waits for it, where it must. */
function check(
  accepted: Accepted,
  checks: readonly Check[],
  request: CheckedRequest,
): void {
  const { listener, port, record, inside, left } = accepted;
  if (left === 0) {
    record.refuse(expired(), inside);
    return;
  }
  const { host } = listener.options;
  const judge: Judge = (snapshot, stream) =>
    listener.judge(snapshot, stream, request);
  runChecks({
    ...{ host, record, request, checks, inside, left },
    passed() {
      const { held, read } = request;
      const refused = overtaken(accepted, held, judge);
      if (refused !== undefined) record.refuse(refused, inside);
      else onward(accepted, held, read, request.factsOf(port), judge);
    },
  });
}

/** Why a dialogue does not begin: policy that came while it waited would end it as soon as it had begun. */
function overtaken(
  { listener, judgedAt }: Accepted,
  stream: ServerStream,
  judge: Judge,
): MeshError | undefined {
  const { changes, current } = listener.options.host.policy;
  return current !== undefined &&
    changes !== judgedAt &&
    isDialogue(stream.head)
    ? judge(current, stream)
    : undefined;
}

/** `read` undefined: a tunnel, which has nothing to read. */
function onward(
  accepted: Accepted,
  stream: ServerStream,
  read: Read | undefined,
  facts: AuthorizationFacts,
  judge: Judge,
): void {
  const { listener, judgedAt, port, record, inside } = accepted;
  const { host } = listener.options;
  // authorize: as policy says, with what is known by now
  const plan =
    (read && ambiguous(port, stream)) ??
    authorize(port, facts, accepted) ??
    admit(accepted, stream, read, facts);
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
  new Relay(host, bounded, plan, record, judge, judgedAt).start();
}

function admit(
  { listener, snapshot, port, left }: Accepted,
  stream: ServerStream,
  read: Read | undefined,
  { peer, claims }: AuthorizationFacts,
): RoutePlan | MeshError {
  const { options } = listener;
  // expired work does not reach the application
  if (left === 0) return expired();
  // limit: of the process, then the rates that the policy of the Service allows
  const excess = overload(options.host);
  if (excess !== undefined) return excess;
  const { limits, body } = port.protection;
  const tooLong = body && refusedLength(stream.head, body);
  if (tooLong !== undefined) return tooLong;
  if (limits !== undefined) {
    const overdrawn = options.limiter.take(limits, peer, read?.facts, claims);
    if (overdrawn !== undefined) return overdrawn;
  }
  return read === undefined
    ? options.application.tunnel(port, stream)
    : options.application.http(snapshot, port, read, stream, left);
}

function expired(): MeshError {
  return deadlineExceeded("nothing was left of its time when the request came");
}

function judgeAnew(
  snapshot: Snapshot,
  port: InboundPort,
  stream: ServerStream,
  checked: CheckedRequest | undefined,
): MeshError | undefined {
  const read = identify(snapshot, port, stream);
  if (read instanceof MeshError) return read;
  const refused = read && tokenRefusedAnew(port, stream.head, checked?.token);
  if (refused !== undefined) return refused;
  const unclear = read && ambiguous(port, checked?.held ?? stream);
  if (unclear !== undefined) return unclear;
  const facts =
    checked?.factsOf(port) ?? factsOf(port, stream.connection, read?.facts);
  // A provider is not asked again, and one that was never asked has not allowed it (ADR 068).
  const unasked =
    checked === undefined
      ? port.custom?.matches(facts)[0]
      : checked.unasked(port);
  return unasked === undefined
    ? authorize(port, facts)
    : new MeshError(
        "PROVIDER_DENIED",
        `rule ${unasked.rule} of ${unasked.policy} asks provider ${unasked.provider}, which was not asked when this began`,
        { source: "proxy", policy: unasked.policy },
      );
}

/** Its headers have to mean one thing to policy and to the application (law 14): as they are once the checks have taken out what is theirs. */
function ambiguous(
  { readHeaders }: InboundPort,
  { head }: Pick<ServerStream, "head">,
): MeshError | undefined {
  const why = readHeaders && ambiguityOf(readHeaders, head.fields);
  return why === undefined
    ? undefined
    : new MeshError("BAD_REQUEST", why, { source: "downstream" });
}

/** The caller, and its request: why it is refused before any policy is asked, or the request as policy reads it; undefined for a tunnel. */
function identify(
  snapshot: Snapshot,
  port: InboundPort,
  stream: ServerStream,
  record?: RequestRecord,
): Read | MeshError | undefined {
  const { peer } = stream.connection;
  // by the certificate of this very connection, or not at all (law 5)
  if (peer === undefined && port.mtls.mode === "STRICT")
    return new MeshError(
      "MTLS_REQUIRED",
      `port ${port.targetPort} takes mesh mTLS only`,
      { source: "downstream", ...policyOf(port.mtls.policy) },
    );
  // nothing but requests that can be judged reaches a port for HTTP (law 14)
  const piped = refusedPipe(stream, port.takesBytes, `port ${port.targetPort}`);
  if (piped !== undefined) return piped;
  // by the very path that is forwarded (law 6)
  if (isTunnel(stream.head)) return undefined;
  const read = readRequest(stream.head, snapshot.mesh.pathNormalization);
  if (!read.ok)
    return new MeshError("BAD_REQUEST", read.detail, { source: "downstream" });
  if (record !== undefined) record.path = read.facts.path;
  return read;
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
  facts: AuthorizationFacts,
  accepted?: Accepted,
): MeshError | undefined {
  const verdict = port.authorize(facts);
  // An exchange that is judged anew was noted when it came.
  if (accepted !== undefined) {
    const { observer } = accepted.listener.options;
    observer.judged(port, facts, verdict, accepted.record);
  }
  if (verdict.kind === "allow") return undefined;
  const caller = facts.peer ?? "a caller without identity";
  return new MeshError(
    verdict.code,
    verdict.rule === undefined
      ? `${caller} is not allowed by ${verdict.policy}`
      : `rule ${verdict.rule} of ${verdict.policy} denies ${caller}`,
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
